"""The ResNet-18 that classifies frame by frame, against a loop over frames."""

import pytest
import torch

from data_modules.labels import SEVEN
from fer_lightning import CNNLSTM, FrameAverage, FrameBackbone
from fer_lightning.layers.masking import masked_mean_probability
from fer_lightning.training.cost import count_parameters
from tests.models import Case, random_batch, small_backbone

CONTRACT_CASES = {
    "FrameAverage": Case(lambda: FrameAverage(SEVEN, small_backbone())),
    "CNNLSTM of a ResNet": Case(lambda: CNNLSTM(SEVEN, small_backbone(), hidden=(8,), dropout=0.0)),
}


def test_the_frames_probabilities_are_averaged():
    model = FrameAverage(SEVEN, small_backbone()).eval()
    mask = torch.tensor([[True, True, True, True], [False, True, False, True], [False] * 4])
    batch = random_batch(3, 4, mask=mask)
    found = model(batch)
    for clip in range(2):
        frames = [frame for frame in range(4) if mask[clip, frame]]
        features = [model.backbone(batch.face[clip, frame][None])[0] for frame in frames]
        probabilities = [model.head(feature).softmax(dim=0) for feature in features]
        assert torch.allclose(found.logits[clip].softmax(dim=0), sum(probabilities) / len(frames), atol=1e-6)
        assert torch.allclose(found.feature[clip], sum(features) / len(frames), atol=1e-5)
    assert found.logits[2].softmax(dim=0).tolist() == pytest.approx([1 / 7] * 7)


def test_a_certain_frame_is_one_vote():
    """Scores of any size give probabilities, in half precision too."""
    scores = torch.tensor([[[3e4, -3e4], [-3e4, 3e4], [3e4, -3e4]]], dtype=torch.float16)
    found = masked_mean_probability(scores, torch.ones(1, 3, dtype=torch.bool))
    assert found.dtype == torch.float32
    assert found.softmax(dim=1)[0].tolist() == pytest.approx([2 / 3, 1 / 3])


def test_parameters_are_those_of_resnet_18():
    with torch.device("meta"):
        assert count_parameters(FrameAverage(class_names=SEVEN)) == 11_176_512 + 512 * 7 + 7


def test_ceflnets_cnn_lstm_is_resnet_18_and_one_lstm():
    with torch.device("meta"):
        model = CNNLSTM(SEVEN, FrameBackbone("resnet18"), hidden=(512,))
    assert count_parameters(model) == 11_176_512 + 4 * 512 * (512 + 512 + 2) + 512 * 7 + 7
