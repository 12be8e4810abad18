"""What a model predicts when its frames are seen in another order."""

import numpy as np
import pytest
import torch

from data_modules.labels import SEVEN
from data_modules.sampling import MiddleFrameSampler
from fer_lightning import VideoClassifier
from fer_lightning.evaluation.frame_order import ORDERS, in_order
from fer_lightning.evaluation.outputs import ClassifierOutput
from fer_lightning.training.temporal import predict_in_orders
from tests.small_runs import MadeFaces, made_data

DATASET = MadeFaces(subjects=4, tested=1)


class Weighted(VideoClassifier):
    """Scores the k-th class by the brightness of the k-th frame, so that every frame's place decides."""

    def __init__(self) -> None:
        super().__init__(SEVEN)

    def forward(self, batch):
        brightness = batch.face.float().mean(dim=(2, 3, 4)) * batch.mask
        logits = torch.nn.functional.pad(brightness, (0, len(SEVEN) - brightness.shape[1]))
        return ClassifierOutput(logits, logits)


@pytest.fixture(scope="module")
def data():
    return made_data(DATASET, inputs=frozenset({"face", "landmarks"}))


def frames_of(batch, row):
    return batch.face[row].float().mean(dim=(1, 2, 3))


def test_frames_move_together_and_padding_and_labels_stay(data):
    batch = next(iter(data.test_dataloader()[1]))
    batch.mask[0, -1] = False  # as if the first clip were shorter
    before = frames_of(batch, 0)
    reversed_, middle = in_order(batch, "reversed"), in_order(batch, "middle")
    assert frames_of(reversed_, 0).tolist() == [*before[:3].flip(0).tolist(), float(before[3])]
    assert frames_of(reversed_, 1).tolist() == frames_of(batch, 1).flip(0).tolist()
    assert torch.equal(reversed_.landmarks[1], batch.landmarks[1].flip(0))
    assert torch.equal(reversed_.frame_index[1], batch.frame_index[1].flip(0))
    assert set(frames_of(middle, 0)[:3].tolist()) == {float(before[1])}
    assert torch.equal(middle.mask, batch.mask)
    assert torch.equal(middle.label, batch.label)
    apex = in_order(batch, "apex")
    brightest = int(batch.intensity[1].argmax())
    assert set(frames_of(apex, 1).tolist()) == {float(frames_of(batch, 1)[brightest])}
    assert frames_of(batch, 0).tolist() == before.tolist(), "the batch itself stays as it is"


def test_a_clip_is_shuffled_alike_wherever_it_stands(data):
    batch = next(iter(data.test_dataloader()[1]))
    shuffled = in_order(batch, "shuffled")
    assert sorted(frames_of(shuffled, 1).tolist()) == sorted(frames_of(batch, 1).tolist())
    alone = [*made_data(DATASET, inputs=data.inputs, batch_size=1).test_dataloader()[1]]
    again = next(each for each in alone if each.clip_id == batch.clip_id[1:2])
    assert frames_of(in_order(again, "shuffled"), 0).tolist() == frames_of(shuffled, 1).tolist()
    assert any(frames_of(shuffled, row).tolist() != frames_of(batch, row).tolist() for row in range(len(batch)))


def test_every_clip_is_predicted_in_every_order(data):
    tables = predict_in_orders(Weighted(), data, "32-true")
    assert set(tables) == set(ORDERS)
    reference = {}
    for batch in data.test_dataloader()[1]:
        for row, clip in enumerate(batch.clip_id):
            scores = np.zeros(len(SEVEN))
            scores[:4] = frames_of(batch, row).flip(0).numpy()
            reference[clip] = np.exp(scores - scores.max()) / np.exp(scores - scores.max()).sum()
    table = tables["reversed"]
    assert table.clip_id.tolist() == [clip.record.clip_id for clip in data.split("test")]
    assert table.clip_id[table.missing].tolist() == ["s0-anger"]
    for clip, row in zip(table.clip_id.tolist(), table.probabilities, strict=True):
        if clip in reference:
            np.testing.assert_allclose(row, reference[clip], atol=1e-5)
    assert {tuple(row) for row in tables["middle"].probabilities.round(6)} != {
        tuple(row) for row in table.probabilities
    }


def test_a_model_of_one_frame_has_no_order(data):
    single = made_data(DATASET, sampler=MiddleFrameSampler())
    assert predict_in_orders(Weighted(), single, "32-true") == {}
