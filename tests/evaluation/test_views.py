"""The views of a clip: consecutive samples, whose outputs are averaged."""

import pytest
import torch

from fer_lightning.evaluation.outputs import StreamScores
from fer_lightning.evaluation.views import ClipViews

CPU = torch.device("cpu")


@pytest.mark.parametrize(
    ("clips", "first", "means"),
    [("a", [0], [1.0]), ("aab", [0, 2], [1.5, 3.0]), ("abbb", [0, 1], [1.0, 3.0]), ("aba", [0, 1, 2], [1.0, 2.0, 3.0])],
)
def test_consecutive_samples_of_a_clip_are_averaged(clips, first, means):
    views, values = ClipViews(tuple(clips), CPU), torch.arange(1.0, len(clips) + 1)[:, None]
    assert views.first == first
    assert views.mean(values)[:, 0].tolist() == means


def test_probabilities_are_averaged_and_not_logits():
    logits = torch.tensor([[0.0, 0.0], [4.0, 0.0], [1.0, 2.0]])
    found = ClipViews(("a", "a", "b"), CPU).probabilities(logits)
    torch.testing.assert_close(found[0], (logits[0].softmax(0) + logits[1].softmax(0)) / 2)
    torch.testing.assert_close(found[1], logits[2].softmax(0))


def test_a_stream_is_averaged_over_the_views_that_it_has():
    logits = torch.tensor([[0.0, 1.0], [2.0, 0.0], [1.0, 2.0]])
    partial = logits.clone()
    partial[1:] = torch.nan
    streams = (StreamScores("face", logits), StreamScores("audio", partial))
    found = ClipViews(("a", "a", "b"), CPU).stream_probabilities(streams)
    assert found.shape == (2, 2, 2)
    torch.testing.assert_close(found[0, 1], logits[0].softmax(0))
    torch.testing.assert_close(found[1, 0], logits[2].softmax(0))
    assert found[1, 1].isnan().all()
