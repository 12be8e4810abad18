"""CEFLNet's second form against the authors' public code, written plainly with torch's own layers.

Names of layers, heads, dropout rates and the order of operations are those of
https://github.com/CVLab-Liuyuanyuan/CEFLNet, models/Model.py.
"""

import pytest
import torch
import torch.nn.functional as F
from torch import nn

from data_modules.labels import SEVEN
from fer_lightning import CEFLNet
from tests.models import Case, random_batch, small_backbone

CONTRACT_CASES = {
    "CEFLNet of its authors": Case(
        lambda: CEFLNet(SEVEN, small_backbone(), 3, form="authors"),
        any_length=False,
        unmoved=frozenset({"eian.score.bias"}),
    )
}
OUR_NAMES = {
    "attn.in_proj_weight": "sal.query_key_value.weight",
    "attn.in_proj_bias": "sal.query_key_value.bias",
    "attn.out_proj.weight": "sal.output.weight",
    "attn.out_proj.bias": "sal.output.bias",
    "norm1.weight": "sal.norm.weight",
    "norm1.bias": "sal.norm.bias",
    "beta.weight": "lrl.weigh.weight",
    "beta.bias": "lrl.weigh.bias",
    "fc.weight": "lrl.merge.weight",
    "fc.bias": "lrl.merge.bias",
    "temp_attn.weight": "eian.score.weight",
    "fc256.weight": "classifier.0.weight",
    "fc256.bias": "classifier.0.bias",
    "fc128.weight": "classifier.3.weight",
    "fc128.bias": "classifier.3.bias",
    "fc7.weight": "classifier.6.weight",
    "fc7.bias": "classifier.6.bias",
}
FRAME_FIRST = ("beta.weight", "fc.weight")  # they concatenate [frame, clip], equation 2 has [clip, frame]


class AuthorsNetwork(nn.Module):
    """What follows the ResNet-18: features (B, 7, 5, D) -> logits (B, 7) and the clips' scores (B, 7)."""

    def __init__(self, size):
        super().__init__()
        self.attn = nn.MultiheadAttention(size, 4, dropout=0.1)
        self.norm1 = nn.LayerNorm(size)
        self.beta = nn.Linear(2 * size, 1)
        self.fc = nn.Linear(2 * size, size)
        self.temp_attn = nn.Conv1d(size, 1, 1, bias=False)
        self.fc256, self.fc128, self.fc7 = nn.Linear(size, 256), nn.Linear(256, 128), nn.Linear(128, 7)

    def forward(self, features):
        clips = [self.clip(features[:, i]) for i in range(features.shape[1])]
        video = torch.stack(clips, dim=2)  # (B, D, 7)
        scores = self.temp_attn(video).softmax(dim=2)  # (B, 1, 7)
        rich = (video * scores).amax(dim=2)
        hidden = self.fc128(self.fc256(rich).relu()).relu()
        return self.fc7(F.dropout(hidden, 0.4, self.training)), scores[:, 0]

    def clip(self, frames):
        """Frames (B, 5, D) -> the clip's feature (B, D)."""
        sequence = frames.transpose(0, 1)
        attended, _ = self.attn(sequence, sequence, sequence)
        related = self.norm1(sequence + F.dropout(attended, 0.1, self.training))
        whole = related.amax(dim=0)
        pairs = [torch.cat([frame, whole], dim=1) for frame in sequence]  # the frames before the attention
        weights = [torch.sigmoid(self.beta(F.dropout(pair, 0.5, self.training))) for pair in pairs]
        return self.fc(sum(w * pair for w, pair in zip(weights, pairs, strict=True)) / sum(weights))


def authors_of(model):
    """The authors' network with the weights of ours."""
    size = model.backbone.num_features
    weights = model.state_dict()
    state = {theirs: weights[ours] for theirs, ours in OUR_NAMES.items()}
    for name in FRAME_FIRST:
        clip, frame = state[name].split(size, dim=1)
        state[name] = torch.cat([frame, clip], dim=1)
    network = AuthorsNetwork(size)
    network.load_state_dict(state)
    return network


def mark(x, p=0.5, training=True, inplace=False):
    """In the place of dropout: shows where it is and with which rate, and nothing is random."""
    return x * (1 + p) + p if training else x


def plain_attention(query, key, value, attn_mask, dropout_p):
    assert attn_mask.all()
    weights = (query @ key.transpose(-1, -2) / query.shape[-1] ** 0.5).softmax(dim=-1)
    return (mark(weights, dropout_p) if dropout_p else weights) @ value


@pytest.fixture
def pair():
    torch.manual_seed(0)
    model = CEFLNet(SEVEN, small_backbone(), form="authors")
    for parameter in model.parameters():  # biases begin with 0, and would hide a difference
        nn.init.normal_(parameter, std=0.3)
    return model, authors_of(model)


@pytest.mark.parametrize("training", [False, True])
def test_the_authors_form_is_their_network(pair, training, monkeypatch):
    model, authors = pair
    monkeypatch.setattr(F, "dropout", mark)
    monkeypatch.setattr(F, "scaled_dot_product_attention", plain_attention)
    batch = random_batch(3)
    with torch.no_grad():
        features = model.eval().backbone(batch.face).unflatten(1, (7, 5))
        model.train(training).backbone.eval()
        found, (logits, scores) = model(batch), authors.train(training)(features)
    assert torch.allclose(found.attention, scores, atol=1e-5)
    assert torch.allclose(found.logits, logits, rtol=1e-4, atol=1e-4)


def test_the_papers_form_is_another_network(pair):
    model, authors = pair
    paper = CEFLNet(SEVEN, model.backbone).eval()
    paper.load_state_dict(model.state_dict())
    batch = random_batch(3)
    with torch.no_grad():
        features = model.eval().backbone(batch.face).unflatten(1, (7, 5))
        logits = authors.eval()(features)[0]
        assert torch.allclose(model(batch).logits, logits, rtol=1e-4, atol=1e-4)
        assert (paper(batch).logits - logits).abs().max() > 0.01


def test_the_authors_first_weights():
    torch.manual_seed(0)
    model = CEFLNet(SEVEN, form="authors")
    reference = nn.MultiheadAttention(512, 4).in_proj_weight.std().item()
    assert model.sal.query_key_value.weight.std().item() == pytest.approx(reference, rel=0.01)
    assert not model.sal.query_key_value.bias.any()
    assert not model.sal.output.bias.any()
    assert model.eian.score.weight.std().item() == pytest.approx(2**0.5, rel=0.15)  # fan-out 1, of 512 values


def test_their_dropout_rates_are_not_ours_to_choose():
    with pytest.raises(ValueError, match=r"form: authors has the authors' dropout rates; found dropout: 0\.2"):
        CEFLNet(SEVEN, small_backbone(), form="authors", dropout=0.2)


def test_an_unknown_form_is_refused():
    with pytest.raises(ValueError, match="expected form to be one of paper, authors; found 'author'"):
        CEFLNet(SEVEN, small_backbone(), form="author")
