"""S2D against plain references of its adapters and its image model, and its parameters counted by hand."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from torch import nn

from data_modules.labels import SEVEN
from fer_lightning import S2D, CLIPTower, FrameBackbone
from fer_lightning.architectures.s2d import TemporalAdapter
from fer_lightning.training.cost import count_parameters, multiply_adds
from tests.learning import learned_parts
from tests.models import Case, random_batch, small_backbone
from tests.plain_clip import norm
from tests.plain_transformer import numbers, plain_attention

FRAMES = 6


def tower(**options) -> CLIPTower:
    return CLIPTower(**{"size": 32, "patch": 16, "width": 64, "depth": 3, "features": 48} | options)


def small(backbone: FrameBackbone | None = None, names=SEVEN, **options) -> S2D:
    return S2D(names, backbone or tower(), **{"frames": FRAMES, "heads": 2, "dropout": 0.0} | options)


def begun(**options) -> S2D:
    """Whose adapters are no longer 0."""
    model = small(**options)
    for adapter in model.adapters:
        nn.init.normal_(adapter.up.weight, std=0.3)
    return model


INSIDE = ("temporal_down", "temporal_up", "norm", "down")
FIRST = {f"adapters.{n}.{part}.{end}" for n in range(3) for part in INSIDE for end in ("weight", "bias")}
FIRST |= {f"adapters.{n}.attention.{part}" for n in range(3) for part in ("query_key_value.weight", "output.weight")}
FIRST |= {f"adapters.{n}.attention.output.bias" for n in range(3)}
FIRST |= {f"norms.{n}.{end}" for n in range(2) for end in ("weight", "bias")}
CONTRACT_CASES = {
    "S2D": Case(begun, any_length=False),
    "S2D at its beginning": Case(small, any_length=False, unmoved=frozenset(FIRST)),
    "S2D trained whole": Case(lambda: begun(frozen=False), any_length=False),
    "S2D without adapters": Case(lambda: small(adapters=False), any_length=False),
}


def gelu(x):
    return torch.nn.functional.gelu(torch.tensor(x)).numpy()


def plain_adapter(state, tokens, visible, heads):
    """For one clip (T, N, D), place by place."""

    def linear(name, x):
        return x @ state[f"{name}.weight"].T + state[f"{name}.bias"]

    related = []
    for place in range(tokens.shape[1]):
        x = gelu(linear("temporal_down", tokens[:, place]))
        related.append(linear("temporal_up", plain_attention(state, x, visible, heads, "attention.")))
    return linear("up", gelu(linear("down", norm(state, "norm", np.stack(related, axis=1)))))


def test_an_adapter_relates_the_tokens_of_a_place_over_the_real_frames():
    torch.manual_seed(0)
    adapter = TemporalAdapter(8, 4, 2).double()
    for parameter in adapter.parameters():
        nn.init.normal_(parameter, std=0.5)
    tokens = torch.randn(2, 5, 3, 8, dtype=torch.float64)
    visible = torch.tensor([[True] * 5, [False, True, True, False, True]])
    found = adapter(tokens, visible).detach().numpy()
    for clip in range(2):
        wanted = plain_adapter(numbers(adapter), tokens[clip].numpy(), visible[clip].numpy(), 2)
        assert found[clip] == pytest.approx(wanted, abs=1e-8)


@pytest.mark.parametrize("backbone", ["tower", "vit"])
def test_it_begins_as_the_image_model(backbone):
    torch.manual_seed(0)
    small_vit = CLIPTower("vit_base_patch16_224", size=32, width=64, depth=2, features=16)
    model = small(tower() if backbone == "tower" else small_vit).eval()
    nn.init.zeros_(model.position)
    batch = random_batch(2, FRAMES)
    batch.mask[1, 3:] = False
    frames = model.backbone(batch.face)
    feature = torch.stack([frames[0].mean(dim=0), frames[1, :3].mean(dim=0)])
    torch.testing.assert_close(model(batch).feature, feature)
    torch.testing.assert_close(model(batch).logits, model.head(feature))


def test_the_adapters_stand_before_the_encoders():
    """Tokens of places alone, before the positions for the first; each with the norm of the encoder before it."""
    torch.manual_seed(0)
    model, batch = begun().eval(), random_batch(2, FRAMES)
    network = model.backbone.network
    x = network.patch_embed(model.backbone.normalise(batch.face.flatten(0, 1))).view(2, FRAMES, 4, 64)
    x = x + model.adapters[0](model.norms[0](x), batch.mask)
    token = network.cls_token.expand(2, FRAMES, 1, 64)
    x = network.norm_pre(torch.cat([token, x], dim=2) + network.pos_embed + model.position)
    for number in range(3):
        if number:
            x = x.clone()
            x[:, :, 1:] += model.adapters[number](model.norms[number - 1](x[:, :, 1:]), batch.mask)
        x = network.blocks[number](x.flatten(0, 1)).view(2, FRAMES, 5, 64)
    feature = network.head(network.norm(x[:, :, 0])).mean(dim=1)
    torch.testing.assert_close(model(batch).feature, feature)


def test_checkpointing_spares_activations_and_changes_no_gradient():
    """Each encoder runs again in the backward pass, of a training alone."""
    batch, found = random_batch(2, FRAMES), []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        model, calls = begun(backbone=tower(checkpointing=checkpointing), frozen=False).train(), []
        for block in model.backbone.network.blocks:
            block.norm1.register_forward_hook(lambda *_, calls=calls: calls.append(1))
        model(batch).logits.square().sum().backward()
        assert len(calls) == (6 if checkpointing else 3)
        found.append([parameter.grad for parameter in model.parameters()])
        calls.clear()
        model.eval()(batch).logits.sum().backward()
        assert len(calls) == 3
    for one, other in zip(*found, strict=True):
        torch.testing.assert_close(one, other)


def test_order_matters_only_with_adapters_or_positions():
    model, batch = begun().eval(), random_batch(2, FRAMES)
    order = torch.tensor([3, 0, 5, 1, 4, 2])
    shuffled = replace(batch, face=batch.face[:, order])
    assert (model(batch).logits - model(shuffled).logits).abs().max() > 1e-5
    plain = small(adapters=False).eval()
    nn.init.zeros_(plain.position)
    torch.testing.assert_close(plain(batch).logits, plain(shuffled).logits)


def test_what_is_trained_is_the_adapters_and_little_more():
    model = small()
    trained = {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    within = {name for name in trained if name.startswith("backbone.")}
    assert within == {"backbone.network.norm.weight", "backbone.network.norm.bias"}
    assert {name.split(".")[0] for name in trained - within} == {"adapters", "norms", "position", "head"}
    assert all(parameter.requires_grad for parameter in small(frozen=False).parameters())


def test_what_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="a vision transformer of timm; found resnet10t"):
        S2D(SEVEN, small_backbone())
    with pytest.raises(ValueError, match="positions for 6 frames; found 7: set the model's `frames`"):
        small()(random_batch(1, 7))


def test_parameters_and_multiply_adds_are_those_counted_by_hand():
    with torch.device("meta"):
        model = S2D(SEVEN).eval()
    image = 85_798_656  # of ViT-B/16 without its last layer
    adapter = 4 * 768 * 192 + 2 * 192 + 2 * 768 + 4 * 192**2 + 192 + 2 * 768
    assert count_parameters(model) == image + 12 * adapter + 11 * 2 * 768 + 16 * 768 + 769 * 7
    trained = sum(parameter.numel() for parameter in model.parameters() if parameter.requires_grad)
    assert trained == count_parameters(model) - image + 2 * 768
    encoders = 12 * (197 * 12 * 768**2)
    adapters = 12 * 196 * (4 * 768 * 192 + 4 * 192**2)
    layers = 16 * (196 * 768 * 768 + encoders + adapters) + 768 * 7
    attention = 16 * 12 * 2 * 197**2 * 768 + 12 * 196 * 2 * 16**2 * 192
    found = multiply_adds(model, random_batch(1, 16, 224).to(torch.device("meta")))
    assert found in (layers, layers + attention)


def test_it_learns_what_shows():
    """Bright clips from dark ones, by the trainer; the image model stays as it was."""
    torch.manual_seed(0)
    model = small(names=("anger", "joy"), optimizer=lambda groups: torch.optim.AdamW(groups, lr=3e-3))
    learned_parts(model, FRAMES)
