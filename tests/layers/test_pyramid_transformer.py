"""SVFAP's transformer beside a plain writing of its stages, and files by the names of its authors' modules."""

from functools import partial

import numpy as np
import pytest
import torch

from fer_lightning import PyramidTransformer
from fer_lightning.layers.pyramid_transformer import CrossBlock, SpatialBottleneck
from fer_lightning.training.cost import count_parameters
from tests.layers.test_video_transformer import (
    compare_gradients_with_checkpointing,
    plain_attention,
    plain_mlp,
    plain_norm,
    randomised,
)
from tests.models import random_images
from tests.plain_transformer import numbers

FRAMES, SIDE, WIDTH, PLACES = 8, 32, 12, 4  # four moments of 2 x 2 places
SMALL = {"frames": FRAMES, "size": SIDE, "width": WIDTH, "depths": (2, 3, 1), "heads": 2, "bottleneck": 3}


def part(state, name):
    return {key.removeprefix(f"{name}."): value for key, value in state.items() if key.startswith(f"{name}.")}


def clips_and_mask(count=2):
    return random_images(count, FRAMES, 3, SIDE, SIDE), torch.ones(count, FRAMES, dtype=torch.bool)


def plain_bottleneck(state, moments):
    """Weighted means of the places (T, P, D) of each moment: (T, K, D)."""
    found = []
    for places in moments:
        scores = plain_mlp(state, plain_norm(state, "norm", places))  # (P, K)
        weights = np.exp(scores) / np.exp(scores).sum(axis=0)
        found.append(weights.T @ places)
    return np.stack(found)


def plain_cross(state, tokens, context, heads):
    context = plain_norm(state, "context_norm", context)
    tokens = tokens + plain_attention(state, "cross", plain_norm(state, "cross_norm", tokens), context, heads)
    return plain_joint(state, tokens, heads)


def plain_joint(state, tokens, heads):
    normed = plain_norm(state, "norm1", tokens)
    tokens = tokens + plain_attention(state, "attention", normed, normed, heads)
    return tokens + plain_mlp(state, plain_norm(state, "norm2", tokens))


def test_a_bottleneck_weighs_the_places_of_each_moment():
    layer, tokens = randomised(SpatialBottleneck(WIDTH, 3)), torch.randn(2, 5, PLACES, WIDTH, dtype=torch.float64)
    found = layer(tokens).detach().numpy()
    assert found.shape == (2, 5, 3, WIDTH)
    for clip in range(2):
        assert found[clip] == pytest.approx(plain_bottleneck(numbers(layer), tokens[clip].numpy()), abs=1e-9)


def test_a_cross_block_reads_its_context_and_then_relates_its_tokens():
    block = randomised(CrossBlock(WIDTH, 3, 0.5))
    tokens, context = (torch.randn(2, count, WIDTH, dtype=torch.float64) for count in (6, 9))
    found = block(tokens, context).detach().numpy()
    for clip in range(2):
        expected = plain_cross(numbers(block), tokens[clip].numpy(), context[clip].numpy(), 3)
        assert found[clip] == pytest.approx(expected, abs=1e-9)


def test_stages_make_one_of_two_moments_and_exchange_with_few_tokens():
    model = randomised(PyramidTransformer(**SMALL))
    clips, mask = clips_and_mask()
    first = model.embedded(clips, mask)
    assert first.shape == (2, 4 * PLACES, WIDTH)
    found, state = model.tokens(clips, mask).detach().numpy(), numbers(model)
    assert found.shape == (2, PLACES, WIDTH), "four moments became one"
    for clip in range(2):
        x = first[clip].detach().numpy()
        for block in (0, 1):
            x = plain_joint(part(state, f"blocks.{block}"), x, 2)
        for stage, (inner, last) in enumerate((((2, 3), 4), ((), 5))):
            kernel, bias = state[f"join.{stage}.weight"], state[f"join.{stage}.bias"]  # (D, D, 2)
            moments = x.reshape(-1, PLACES, WIDTH)
            pairs = zip(moments[::2], moments[1::2], strict=True)
            moments = np.stack([one @ kernel[:, :, 0].T + two @ kernel[:, :, 1].T + bias for one, two in pairs])
            x = moments.reshape(-1, WIDTH)
            few = plain_bottleneck(part(state, f"bottleneck.{stage}"), moments).reshape(-1, WIDTH)
            for block in inner:
                few = plain_cross(part(state, f"blocks.{block}"), few, x, 2)
            x = plain_cross(part(state, f"blocks.{last}"), x, few, 2)
        assert found[clip] == pytest.approx(x, abs=1e-6)


def test_every_parameter_is_trained_and_paths_are_dropped_at_growing_rates():
    model = PyramidTransformer(**SMALL, drop_path=0.5).train()
    assert [block.drop_path.drop_prob for block in model.blocks] == pytest.approx([0, 0.1, 0.2, 0.3, 0.4, 0.5])
    still = PyramidTransformer(**SMALL, drop_path=0.0).train()
    still(*clips_and_mask()).square().sum().backward()
    assert all(parameter.grad.any() for parameter in still.parameters())


def test_checkpointing_gives_the_same_gradients():
    compare_gradients_with_checkpointing(partial(PyramidTransformer, **SMALL))


def published_names(model) -> dict:
    """The tensors by the names of the authors' modules in modeling_finetune.py."""
    state, found = model.state_dict(), {}
    for key, value in state.items():
        if key.startswith("conversion."):
            continue
        name = key
        if key.startswith("embed."):
            name = key.replace("embed.", "patch_embed.proj.")
            value = value.view(-1, 3, 2, 16, 16) if key.endswith("weight") else value
        for ours, theirs in (
            ("join.", "temporal_downsamples."),
            ("bottleneck.", "spatial_downsamples."),
            (".context_norm.", ".cross_norm2."),
            (".cross_norm.", ".cross_norm1."),
            (".mlp.0.", ".mlp.fc1."),
            (".mlp.2.", ".mlp.fc2."),
            (".cross.", ".cross_attn."),
            (".attention.", ".attn."),
            (".output.", ".proj."),
            (".query.bias", ".q_bias"),
            (".value.bias", ".v_bias"),
            (".cross_attn.query.weight", ".cross_attn.q.weight"),
        ):
            name = name.replace(ours, theirs)
        if name.startswith("norm."):
            name = f"fc_{name}"
        if name.endswith((".key.weight", ".value.weight")) or name.endswith(".attn.query.weight"):
            continue  # they are in one matrix
        found[name] = value
    for number in range(len(model.blocks)):
        for ours, theirs, parts in (
            ("attention", "attn.qkv", "query key value"),
            ("cross", "cross_attn.kv", "key value"),
        ):
            names = [f"blocks.{number}.{ours}.{each}.weight" for each in parts.split()]
            if names[0] in state:
                found[f"blocks.{number}.{theirs}.weight"] = torch.cat([state[name] for name in names])
    assert sum(value.numel() for value in found.values()) == count_parameters(model)
    return found


def test_a_fine_tuned_file_and_a_pre_training_give_the_transformer(tmp_path, monkeypatch):
    model = randomised(PyramidTransformer(**SMALL)).float()
    names = published_names(model)
    assert {"blocks.2.cross_attn.q.weight", "blocks.2.cross_attn.kv.weight", "blocks.0.attn.qkv.weight"} <= names.keys()
    assert {"temporal_downsamples.1.weight", "spatial_downsamples.1.mlp.fc2.bias", "fc_norm.bias"} <= names.keys()
    torch.save(
        {"model": names | {"head.weight": torch.randn(7, WIDTH), "head.bias": torch.randn(7)}}, tmp_path / "f.pth"
    )
    found = PyramidTransformer(str(tmp_path / "f.pth"), **SMALL).eval()
    found.load_weights()
    torch.testing.assert_close(found(*clips_and_mask()), model(*clips_and_mask()))
    encoder = {f"encoder.{key}": value for key, value in names.items() if not key.startswith("fc_norm")}
    rest = {"encoder.norm.weight": torch.randn(WIDTH), "mask_token": torch.randn(1, 1, 6)}
    rest |= {"decoder.blocks.0.attn.qkv.weight": torch.randn(18, 6), "encoder_to_decoder.weight": torch.randn(6, WIDTH)}
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    (tmp_path / "hub" / "checkpoints").mkdir(parents=True)
    torch.save({"model": encoder | rest}, tmp_path / "hub" / "checkpoints" / "svfap_voxceleb2.pth")
    found = PyramidTransformer("svfap", **SMALL).eval()
    found.load_weights()
    torch.testing.assert_close(found.tokens(*clips_and_mask()), model.tokens(*clips_and_mask()))


def test_without_a_file_it_is_said_where_it_is_published(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    with pytest.raises(FileNotFoundError, match=r"SVFAP's transformer, .*published at https://unioulu-my\.sharepoint"):
        PyramidTransformer("svfap", **SMALL).load_weights()


def test_stages_without_encoders_and_moments_that_cannot_be_joined_are_refused():
    for depths in ((), (2, 0)):
        with pytest.raises(ValueError, match="expected the number of encoders in each stage, at least 1"):
            PyramidTransformer(**(SMALL | {"depths": depths}))
    with pytest.raises(ValueError, match="12 frames are 6 moments, which cannot be joined 2 times by 2; change"):
        PyramidTransformer(**(SMALL | {"frames": 12}))
