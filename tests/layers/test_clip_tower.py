"""CLIP's image tower against a plain one, files of OpenAI's form, and low-rank updates."""

import copy

import numpy as np
import pytest
import timm
import torch
from torch import nn

from fer_lightning import CLIPTower
from fer_lightning.layers.clip_tower import LowRankLinear
from fer_lightning.training.cost import count_parameters
from fer_lightning.weights import ENTRY
from tests.models import random_images
from tests.plain_clip import image_feature, random_clip

SIZES = {"size": 32, "patch": 16, "width": 64, "depth": 2, "features": 48}
MEAN, STD = (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)  # clip.py in OpenAI's code


def plain_features(state, images):
    state = {name: value.double().numpy() for name, value in state.items()}
    pixels = (images.numpy() / 255 - np.array(MEAN)[:, None, None]) / np.array(STD)[:, None, None]
    return np.array([image_feature(state, image) for image in pixels])


@pytest.mark.parametrize("rank", [0, 3])
@pytest.mark.parametrize("form", ["openai", "half", "module"])
def test_a_file_by_openais_names_gives_its_tower_and_pixels(tmp_path, form, rank):
    state = random_clip()
    kept = {name: value.half() if form == "half" else value for name, value in state.items()}
    kept = {f"module.{name}": value for name, value in kept.items()} if form == "module" else kept
    torch.save({"state_dict": kept} if form == "module" else kept, tmp_path / "clip.pt")
    tower = CLIPTower(weights=str(tmp_path / "clip.pt"), rank=rank, **SIZES)
    tower.load_weights()
    assert tower.conversion.convention.name == "clip"
    images = random_images(2, 3, 32, 32)
    expected = plain_features(state, images)
    found = tower.eval()(images).detach().numpy()
    assert found == pytest.approx(expected, abs=0.02 if form == "half" else 1e-3)
    assert np.abs(expected).max() > 1


def test_timms_own_files_load_with_their_projection(monkeypatch):
    """All but the download."""
    made = timm.create_model
    torch.manual_seed(3)
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained=False, **options: made(name, **SMALL | options))
    published = made("vit_base_patch32_clip_quickgelu_224.openai", **SMALL)
    nn.init.zeros_(published.head.bias)
    tower = CLIPTower(weights="timm", **SIZES)
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained=False, **options: published)
    tower.load_weights()
    assert tower.conversion.convention.name == "clip"
    images = random_images(2, 3, 32, 32)
    torch.testing.assert_close(tower.eval()(images), published.eval()(tower.conversion(images)))


SMALL = {"img_size": 32, "patch_size": 16, "embed_dim": 64, "depth": 2, "num_heads": 1, "num_classes": 48}


def test_what_does_not_fit_is_refused(tmp_path):
    torch.save(random_clip(depth=3), tmp_path / "deeper.pt")
    with pytest.raises(ValueError, match=r"has 12 tensors more, such as blocks\.2"):
        CLIPTower(weights=str(tmp_path / "deeper.pt"), **SIZES).load_weights()
    torch.save(random_clip(width=128), tmp_path / "wider.pt")
    with pytest.raises(ValueError, match="have another shape"):
        CLIPTower(weights=str(tmp_path / "wider.pt"), **SIZES).load_weights()
    torch.save(random_clip(), tmp_path / "clip.pt")
    with pytest.raises(ValueError, match="other pixels than 'unit'; found 'clip'"):
        CLIPTower(weights=str(tmp_path / "clip.pt"), pixels="unit", **SIZES).load_weights()
    with pytest.raises(FileNotFoundError, match=r"no checkpoint in .*missing\.pt"):
        CLIPTower(weights=str(tmp_path / "missing.pt"), **SIZES).load_weights()
    for name in ("resnet18", "hf-hub:timm/vit_base_patch32_clip_224.openai"):
        with pytest.raises(ValueError, match=f"a vision transformer that timm builds itself; found {name}"):
            CLIPTower(name, size=32)


def test_positions_are_resampled_for_frames_of_another_size(tmp_path):
    torch.save(random_clip(side=7), tmp_path / "clip.pt")
    tower = CLIPTower(weights=str(tmp_path / "clip.pt"), **SIZES | {"size": 64})
    tower.load_weights()
    assert tower.network.pos_embed.shape == (1, 17, 64)
    assert tower(random_images(2, 3, 64, 64)).isfinite().all()


def test_a_low_rank_layer_is_its_equation_and_the_same_when_merged():
    torch.manual_seed(0)
    linear = nn.Linear(6, 5)
    layer = LowRankLinear(copy.deepcopy(linear), rank=2, alpha=3.0)
    x = torch.randn(4, 7, 6)
    for mode in (True, False):
        torch.testing.assert_close(layer.train(mode)(x), linear(x))  # it begins as the frozen layer
    nn.init.normal_(layer.low_rank_b)
    weight = (
        linear.weight.detach().numpy() + 3 / 2 * layer.low_rank_b.detach().numpy() @ layer.low_rank_a.detach().numpy()
    )
    expected = x.numpy() @ weight.T + linear.bias.detach().numpy()
    for mode in (True, False):
        assert layer.train(mode)(x).detach().numpy() == pytest.approx(expected, abs=1e-5)


def test_random_weights_are_as_large_as_in_openais_code():
    """model.py: positions, class token and projection by the width, attention by torch's MultiheadAttention."""
    torch.manual_seed(0)
    network = CLIPTower(**SIZES | {"width": 256}).network
    for parameter in (network.pos_embed, network.cls_token, network.head.weight):
        assert parameter.std().item() == pytest.approx(256**-0.5, rel=0.15)
    theirs = nn.MultiheadAttention(256, 4)
    for parameter, other in (
        (network.blocks[1].attn.qkv.weight, theirs.in_proj_weight),
        (network.blocks[1].attn.proj.weight, theirs.out_proj.weight),
        (network.blocks[1].mlp.fc1.weight, nn.Linear(256, 1024).weight),
    ):
        assert parameter.std().item() == pytest.approx(other.std().item(), rel=0.03)
    assert not network.blocks[1].attn.qkv.bias.any()


@pytest.mark.parametrize(("adapt_mlp", "layers"), [(True, 4), (False, 2)])
def test_low_rank_updates_alone_are_trained(adapt_mlp, layers):
    torch.manual_seed(0)
    tower = CLIPTower(rank=4, adapt_mlp=adapt_mlp, **SIZES).train()
    tower(random_images(2, 3, 32, 32)).sum().backward()
    trained = {name for name, parameter in tower.named_parameters() if parameter.requires_grad}
    assert all(".low_rank_" in name for name in trained)
    assert len(trained) == 2 * layers * 2
    for name, parameter in tower.named_parameters():
        assert (parameter.grad is not None) == (name in trained)


def test_a_run_gives_its_updates_or_the_tower_that_they_begin_from(tmp_path):
    class Run(nn.Module):
        def __init__(self, backbone):
            super().__init__()
            self.backbone = backbone

    towers = {"plain": CLIPTower(pixels="clip", **SIZES), "updated": CLIPTower(pixels="clip", rank=2, **SIZES)}
    nn.init.normal_(towers["updated"].network.blocks[1].mlp.fc2.low_rank_b)
    for name, tower in towers.items():
        content = {"state_dict": Run(tower).state_dict(), ENTRY: {"class_names": []}}
        torch.save(content, tmp_path / f"{name}.ckpt")
    images = random_images(2, 3, 32, 32)
    for name, tower in towers.items():
        found = CLIPTower(weights=str(tmp_path / f"{name}.ckpt"), rank=2, **SIZES)
        found.load_weights()
        torch.testing.assert_close(found.eval()(images), tower.eval()(images))
    with pytest.raises(ValueError, match=r"has 16 tensors more, such as .*low_rank"):
        CLIPTower(weights=str(tmp_path / "updated.ckpt"), **SIZES).load_weights()


def test_checkpointing_changes_no_gradient():
    torch.manual_seed(0)
    plain = CLIPTower(**SIZES).train()
    spared = CLIPTower(checkpointing=True, **SIZES).train()
    spared.load_state_dict(plain.state_dict())
    images = random_images(2, 3, 32, 32)
    for tower in (plain, spared):
        tower(images).square().sum().backward()
    for one, other in zip(plain.parameters(), spared.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad)
    assert spared.network.grad_checkpointing


@pytest.mark.parametrize(
    ("name", "width", "depth", "patch", "features"),
    [
        ("vit_base_patch32_clip_quickgelu_224.openai", 768, 12, 32, 512),
        ("vit_base_patch16_clip_quickgelu_224.openai", 768, 12, 16, 512),
        ("vit_large_patch14_clip_quickgelu_224.openai", 1024, 24, 14, 768),
    ],
)
def test_parameters_are_those_counted_by_hand(name, width, depth, patch, features):
    with torch.device("meta"):
        tower, adapted = CLIPTower(name), CLIPTower(name, rank=8)
    block = 12 * width**2 + 9 * width + 4 * width
    tokens = 3 * patch**2 * width + width + ((224 // patch) ** 2 + 1) * width
    expected = depth * block + tokens + 4 * width + width * features
    assert count_parameters(tower) == expected
    assert tower.num_features == features
    updates = depth * 8 * (4 * width + 2 * width + 5 * width + 5 * width)
    assert count_parameters(adapted) == expected + updates
    assert sum(p.numel() for p in adapted.parameters() if p.requires_grad) == updates
