"""Transformers over tubelets beside plain writings of their papers' blocks, and files in VideoMAE's format.

The files are small ones of the published form: tensors by the names that the authors' modules give them.
"""

import argparse
import math
from functools import partial

import numpy as np
import pytest
import torch

from fer_lightning import VideoTransformer
from fer_lightning.layers.backbones import Pretrained
from fer_lightning.layers.masking import repeat_nearest
from fer_lightning.layers.mira import frame_bias
from fer_lightning.layers.pixels import IMAGENET
from fer_lightning.layers.video_transformer import (
    Attention,
    JointBlock,
    LocalGlobalBlock,
    sine_cosine_positions,
)
from fer_lightning.training.cost import count_parameters
from tests.models import random_images
from tests.plain_transformer import numbers

FRAMES, SIDE, WIDTH = 4, 32, 12
JOINT = {"frames": FRAMES, "size": SIDE, "width": WIDTH, "depth": 2, "heads": 2}
REGIONAL = JOINT | {"attention": "local_global", "region": (2, 1, 2)}


def randomised(module):
    """With parameters of which none is as it begins."""
    torch.manual_seed(0)
    for parameter in module.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    return module.double().eval()


# Blocks


def plain_norm(state, name, x):
    centred = x - x.mean(axis=-1, keepdims=True)
    scaled = centred / np.sqrt((centred**2).mean(axis=-1, keepdims=True) + 1e-6)
    return scaled * state[f"{name}.weight"] + state[f"{name}.bias"]


def plain_attention(state, name, tokens, context, heads, bias=0.0):
    """softmax(q k / sqrt(d) + bias) v of each head, for one clip."""
    query = tokens @ state[f"{name}.query.weight"].T + state[f"{name}.query.bias"]
    key = context @ state[f"{name}.key.weight"].T
    value = context @ state[f"{name}.value.weight"].T + state[f"{name}.value.bias"]
    found, size = [], query.shape[1] // heads
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)
        weights = np.exp(query[:, part] @ key[:, part].T / math.sqrt(size) + bias)
        found.append(weights / weights.sum(axis=1, keepdims=True) @ value[:, part])
    return np.concatenate(found, axis=1) @ state[f"{name}.output.weight"].T + state[f"{name}.output.bias"]


def plain_mlp(state, x):
    hidden = x @ state["mlp.0.weight"].T + state["mlp.0.bias"]
    gelu = 0.5 * hidden * (1 + np.vectorize(math.erf)(hidden / math.sqrt(2)))
    return gelu @ state["mlp.2.weight"].T + state["mlp.2.bias"]


def test_a_joint_block_relates_all_tokens():
    block, tokens = randomised(JointBlock(WIDTH, 3, 0.5)), torch.randn(2, 7, WIDTH, dtype=torch.float64)
    found, state = block(tokens).detach().numpy(), numbers(block)
    for clip in range(2):
        x = tokens[clip].numpy()
        normed = plain_norm(state, "norm1", x)
        x = x + plain_attention(state, "attention", normed, normed, 3)
        x = x + plain_mlp(state, plain_norm(state, "norm2", x))
        assert found[clip] == pytest.approx(x, abs=1e-10)


def test_a_local_global_block_is_its_three_attentions():
    """LGI-Former: within regions, between their own tokens, and from these to the tokens of all regions."""
    block, tokens = randomised(LocalGlobalBlock(WIDTH, 3, 0.5)), torch.randn(2, 4, 6, WIDTH, dtype=torch.float64)
    found, state = block(tokens).detach().numpy(), numbers(block)
    for clip in range(2):
        x = tokens[clip].numpy().copy()
        for region in range(4):
            normed = plain_norm(state, "within_norm", x[region])
            x[region] = x[region] + plain_attention(state, "within", normed, normed, 3)
        own = x[:, 0]
        normed = plain_norm(state, "between_norm", own)
        own = own + plain_attention(state, "between", normed, normed, 3)
        context = plain_norm(state, "context_norm", own)
        for region in range(4):
            local = x[region, 1:]
            x[region, 1:] = local + plain_attention(
                state, "exchange", plain_norm(state, "exchange_norm", local), context, 3
            )
        x[:, 0] = own
        x = x + plain_mlp(state, plain_norm(state, "norm2", x))
        assert found[clip] == pytest.approx(x, abs=1e-10)


def plain_bias(key, times):
    """MiRA for one clip's keys (heads, N, d): the logarithm of each moment's factor."""
    energy = (key**2).mean(axis=(0, 2)).reshape(times, -1)
    share = energy.sum(axis=1) / energy.sum()
    telling = []
    for moment in range(times):
        p = energy[moment] / energy[moment].sum()
        telling.append(0.5 * share[moment] + 0.5 / (1e-6 - (p * np.log(p)).sum()))
    telling = np.array(telling)
    weights = np.exp(0.17 * (telling - telling.mean()) / telling.std())
    marginal = 0.9 * weights / weights.sum() + 0.1 / times
    return np.log(np.clip(times * marginal, 0.7, 1.4))


def test_mira_weighs_the_keys_of_telling_moments():
    attention = randomised(Attention(WIDTH, 3, times=4))
    tokens = torch.randn(2, 12, WIDTH, dtype=torch.float64)
    tokens[:, 3:6] *= 3  # a moment with more energy
    found, state = attention(tokens).detach().numpy(), numbers(attention)
    for clip in range(2):
        key = (tokens[clip].numpy() @ state["key.weight"].T).reshape(12, 3, 4).transpose(1, 0, 2)
        bias = plain_bias(key, 4).repeat(3)
        assert bias.max() > 0 > bias.min()
        named = {f"a.{name}": value for name, value in state.items()}
        x = tokens[clip].numpy()
        assert found[clip] == pytest.approx(plain_attention(named, "a", x, x, 3, bias), abs=1e-6)
        assert abs(found[clip] - plain_attention(named, "a", x, x, 3)).max() > 1e-3


def test_factors_stay_within_mira_s_bounds_and_carry_no_gradient():
    key = torch.ones(1, 2, 8, 3)
    key[:, :, :2] = 1e4  # all energy in the first of four moments
    key.requires_grad_()
    bias = frame_bias(key, 4, temperature=100.0)
    assert bias.shape == (1, 1, 1, 8)
    assert bias.flatten().exp().tolist() == pytest.approx([1.4] * 2 + [0.7] * 6)
    assert not bias.requires_grad
    assert frame_bias(torch.ones(1, 2, 8, 3), 4).abs().max() < 1e-6


@pytest.mark.parametrize(("count", "size"), [(800, 768), (1568, 768), (5, 7)])
def test_positions_are_sines_and_cosines_of_a_token_s_number(count, size):
    found = sine_cosine_positions(count, size)
    assert found.shape == (count, size)
    for position in (0, 1, count // 2, count - 1):
        for place in range(0, size, 3):
            angle = position / 10000 ** (2 * (place // 2) / size)
            expected = math.cos(angle) if place % 2 else math.sin(angle)
            assert found[position, place] == pytest.approx(expected, abs=1e-6)


# The whole transformer


def test_a_token_is_the_convolution_of_its_tubelet_in_the_order_of_time_rows_and_columns():
    model = VideoTransformer(**JOINT).eval()
    seen = []
    model.blocks[0].register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    clips = random_images(2, FRAMES, 3, SIDE, SIDE)
    model(clips, torch.ones(2, FRAMES, dtype=torch.bool))
    mean, std = IMAGENET.byte_statistics()
    video = ((clips - mean) / std).transpose(1, 2)  # (B, 3, T, H, W)
    kernel = model.embed.weight.view(WIDTH, 3, 2, 16, 16)
    tokens = torch.nn.functional.conv3d(video, kernel, model.embed.bias, stride=(2, 16, 16)).flatten(2).transpose(1, 2)
    torch.testing.assert_close(seen[0], tokens + sine_cosine_positions(8, WIDTH), atol=1e-4, rtol=1e-4)


def test_regions_hold_neighbouring_tokens_behind_their_own():
    model = VideoTransformer(**(REGIONAL | {"frames": 8, "region": (2, 1, 2)}))  # 4 x 2 x 2 tokens, 2 x 2 x 1 regions
    number = torch.arange(16.0).view(1, 16, 1).expand(1, 16, WIDTH)
    own = torch.arange(-4.0, 0)[:, None].expand(4, WIDTH)
    found = model._with_region_tokens(number, own)[0, :, :, 0].int().tolist()
    assert found == [[-4, 0, 1, 4, 5], [-3, 2, 3, 6, 7], [-2, 8, 9, 12, 13], [-1, 10, 11, 14, 15]]


@pytest.mark.parametrize("options", [JOINT, REGIONAL])
def test_the_feature_is_the_norm_of_the_mean_of_all_tokens_or_of_the_regions(options):
    model = VideoTransformer(**options).eval()
    seen = []
    model.blocks[-1].register_forward_hook(lambda *inputs: seen.append(inputs[2]))
    found = model(random_images(2, FRAMES, 3, SIDE, SIDE), torch.ones(2, FRAMES, dtype=torch.bool))
    tokens = seen[0] if options is JOINT else seen[0][:, :, 0]
    torch.testing.assert_close(found, model.norm(tokens.mean(dim=1)))


def test_what_nothing_reads_is_not_trained():
    """Of the last encoder, whose regions alone are read; in training by their code it has no gradient either."""
    model = VideoTransformer(**REGIONAL).train()
    model(random_images(2, FRAMES, 3, SIDE, SIDE), torch.ones(2, FRAMES, dtype=torch.bool)).square().sum().backward()
    unread = {name for name, parameter in model.named_parameters() if not parameter.requires_grad}
    assert {name.split(".")[2] for name in unread} == {"exchange", "exchange_norm", "context_norm"}
    assert all(name.startswith("blocks.1.") for name in unread)
    assert all(parameter.grad.any() for parameter in model.parameters() if parameter.requires_grad)
    assert all(parameter.requires_grad for parameter in VideoTransformer(**JOINT).parameters())


def test_frames_without_a_face_repeat_the_nearest_with_one():
    frames = torch.arange(6)[None].expand(3, 6)
    mask = torch.tensor([[0, 1, 0, 0, 1, 0], [1, 0, 1, 1, 1, 1], [0, 0, 0, 0, 0, 1]], dtype=torch.bool)
    found = repeat_nearest(frames, mask)
    assert found.tolist() == [[1, 1, 1, 4, 4, 4], [0, 0, 2, 3, 4, 5], [5] * 6]
    model = VideoTransformer(**JOINT).eval()
    clips = random_images(3, FRAMES, 3, SIDE, SIDE)
    mask = torch.tensor([[True, False, True, True], [False, False, False, True], [False] * 4])
    whole = torch.ones_like(mask)
    filled = clips.clone()
    filled[0, 1], filled[1, :3] = clips[0, 0], clips[1, 3]
    found, expected = model(clips, mask), model(filled, whole)
    torch.testing.assert_close(found[:2], expected[:2])
    mean = torch.zeros(1, 8, 3 * 2 * 256)  # the mean colour
    tokens = model.embed(mean) + model.positions
    for block in model.blocks:
        tokens = block(tokens)
    torch.testing.assert_close(found[2:], model.norm(tokens.mean(dim=1)))


def compare_gradients_with_checkpointing(make):
    """Of a transformer that `make` returns, of which paths are dropped; its last encoder runs a second time."""
    gradients = []
    for checkpointing in (False, True):
        torch.manual_seed(0)
        model = make(drop_path=0.5, checkpointing=checkpointing).train()
        clips = random_images(2, model.frames, 3, SIDE, SIDE)
        torch.manual_seed(1)
        runs = []
        model.blocks[-1].mlp.register_forward_hook(lambda *_, runs=runs: runs.append(1))
        model(clips, torch.ones(2, model.frames, dtype=torch.bool)).square().sum().backward()
        assert len(runs) == 1 + checkpointing
        gradients.append([parameter.grad for parameter in model.parameters()])
    for one, other in zip(*gradients, strict=True):
        torch.testing.assert_close(one, other)


@pytest.mark.parametrize("options", [JOINT, REGIONAL])
def test_checkpointing_gives_the_same_gradients(options):
    compare_gradients_with_checkpointing(partial(VideoTransformer, **options))


def test_paths_are_dropped_at_rates_that_grow_to_the_stated_one_and_only_in_training():
    model = VideoTransformer(**(JOINT | {"depth": 3}), drop_path=0.4)
    assert [block.drop_path.drop_prob for block in model.blocks] == pytest.approx([0, 0.2, 0.4])
    clips, mask = random_images(2, FRAMES, 3, SIDE, SIDE), torch.ones(2, FRAMES, dtype=torch.bool)
    model.eval()
    assert torch.equal(model(clips, mask), model(clips, mask))
    model.train()
    assert any(not torch.equal(model(clips, mask), model(clips, mask)) for _ in range(20))


def test_sizes_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="5 frames of 32² cannot be cut into tubelets of 2 frames of 16²; change"):
        VideoTransformer(**(JOINT | {"frames": 5}))
    with pytest.raises(ValueError, match=r"in regions of \[2, 2, 3\] tubelets; change"):
        VideoTransformer(**(REGIONAL | {"region": (2, 2, 3)}))
    with pytest.raises(ValueError, match=r"mira = 2: .* set `attention: joint`"):
        VideoTransformer(**REGIONAL, mira=2)
    with pytest.raises(ValueError, match="5 heads do not divide tokens of length 12"):
        VideoTransformer(**(JOINT | {"heads": 5}))
    with pytest.raises(ValueError, match="tokens for 4 frames of 32 x 32; found 6 of 48 x 48: set the backbone's"):
        VideoTransformer(**JOINT)(random_images(1, 6, 3, 48, 48), torch.ones(1, 6, dtype=torch.bool))


# Files


def published_names(model) -> dict:
    """The tensors of a transformer by the names of the authors' modules in modeling_finetune.py."""
    own = {key: value.clone() for key, value in model.state_dict().items() if ".conversion." not in f".{key}"}
    state = {
        "patch_embed.proj.weight": own["embed.weight"].view(-1, 3, 2, 16, 16),
        "patch_embed.proj.bias": own["embed.bias"],
        "fc_norm.weight": own["norm.weight"],
        "fc_norm.bias": own["norm.bias"],
    }
    regional = model.region_tokens is not None
    if regional:
        state["lg_region_tokens"] = own["region_tokens"]
    attentions = {"within": "first_attn", "between": "second_attn", "exchange": "third_attn"} if regional else {}
    norms = {"within_norm": "first_attn_norm0", "between_norm": "second_attn_norm0"} if regional else {"norm1": "norm1"}
    norms |= {"exchange_norm": "third_attn_norm0", "context_norm": "third_attn_norm1"} if regional else {}
    for number in range(len(model.blocks)):
        block = f"blocks.{number}."
        for ours, theirs in (norms | {"norm2": "norm2"}).items():
            for end in ("weight", "bias"):
                state[f"{block}{theirs}.{end}"] = own[f"{block}{ours}.{end}"]
        for ours, theirs in (attentions or {"attention": "attn"}).items():
            matrices = [own[f"{block}{ours}.{part}.weight"] for part in ("query", "key", "value")]
            if regional:
                state[f"{block}{theirs}.q.weight"] = matrices.pop(0)
            state[f"{block}{theirs}.{'kv' if regional else 'qkv'}.weight"] = torch.cat(matrices)
            state[f"{block}{theirs}.q_bias"] = own[f"{block}{ours}.query.bias"]
            state[f"{block}{theirs}.v_bias"] = own[f"{block}{ours}.value.bias"]
            for end in ("weight", "bias"):
                state[f"{block}{theirs}.proj.{end}"] = own[f"{block}{ours}.output.{end}"]
        for ours, theirs in ((0, "fc1"), (2, "fc2")):
            for end in ("weight", "bias"):
                state[f"{block}mlp.{theirs}.{end}"] = own[f"{block}mlp.{ours}.{end}"]
    assert sum(value.numel() for value in state.values()) == count_parameters(model)
    return state


def fine_tuned(model, classes=7) -> dict:
    """A file of a fine-tuning, with the script's arguments, the optimiser and the scaler."""
    head = {"head.weight": torch.randn(classes, WIDTH), "head.bias": torch.randn(classes)}
    arguments = argparse.Namespace(model="vit_base_patch16_160", input_size=160, opt_betas=[0.9, 0.999], resume="")
    return {"model": published_names(model) | head, "epoch": "best", "scaler": {"scale": 65536.0}, "args": arguments}


def pre_training(model) -> dict:
    """A file of a pre-training: the encoder with a norm of its own, the decoder and the mask's token."""
    encoder = {f"encoder.{key}": value for key, value in published_names(model).items() if "fc_norm" not in key}
    rest = {
        "mask_token": torch.randn(1, 1, 6),
        "encoder.norm.weight": torch.randn(WIDTH),
        "encoder.norm.bias": torch.randn(WIDTH),
        "encoder_to_decoder.weight": torch.randn(6, WIDTH),
        "decoder.blocks.0.attn.qkv.weight": torch.randn(18, 6),
        "decoder.blocks.0.attn.q_bias": torch.randn(6),
        "decoder.blocks.0.mlp.fc1.weight": torch.randn(24, 6),
        "decoder.norm.weight": torch.randn(6),
        "decoder.head.weight": torch.randn(1536, 6),
    }
    return {"model": encoder | rest, "epoch": 49, "args": argparse.Namespace(mask_ratio=0.9)}


@pytest.fixture(params=[JOINT, REGIONAL], ids=["joint", "local_global"])
def source(request):
    return randomised(VideoTransformer(**request.param)).float(), request.param


def clips_and_mask():
    return random_images(2, FRAMES, 3, SIDE, SIDE), torch.ones(2, FRAMES, dtype=torch.bool)


@pytest.mark.parametrize("key", ["model", "module", None])
def test_a_fine_tuned_file_gives_the_transformer(source, key, tmp_path):
    """Under the key of the script or of DeepSpeed, or without one."""
    model, options = source
    content = fine_tuned(model)
    torch.save({key: content["model"]} if key == "module" else content if key else content["model"], tmp_path / "f.pth")
    found = VideoTransformer(str(tmp_path / "f.pth"), **options).eval()
    assert isinstance(found, Pretrained)
    found.load_weights()
    torch.testing.assert_close(found(*clips_and_mask()), model(*clips_and_mask()))


def test_a_pre_training_gives_all_but_the_last_norm(source, tmp_path):
    model, options = source
    torch.save(pre_training(model), tmp_path / "checkpoint-49.pth")
    found = VideoTransformer(str(tmp_path / "checkpoint-49.pth"), **options).eval()
    found.load_weights()
    assert (found.norm.weight == 1).all()
    torch.testing.assert_close(found.tokens(*clips_and_mask()), model.tokens(*clips_and_mask()))


def test_files_of_mira_hold_averages_that_only_training_reads(tmp_path):
    model = randomised(VideoTransformer(**JOINT, mira=1)).float()
    content = fine_tuned(model)
    content["model"]["blocks.1.attn.c_buf"] = torch.full((1, 2), 0.5)
    torch.save(content, tmp_path / "f.pth")
    found = VideoTransformer(str(tmp_path / "f.pth"), **JOINT, mira=1).eval()
    found.load_weights()
    torch.testing.assert_close(found(*clips_and_mask()), model(*clips_and_mask()))


def test_files_of_other_sizes_are_refused(tmp_path):
    torch.save(fine_tuned(VideoTransformer(**JOINT)), tmp_path / "f.pth")
    path = str(tmp_path / "f.pth")
    for other, message in (
        ({"width": 24}, "tensors are missing or have another shape"),
        ({"depth": 3}, "tensors are missing or have another shape, such as blocks.2"),
        ({"depth": 1}, r"tensors more, such as blocks\.1"),
        ({"attention": "local_global", "region": (2, 1, 2)}, "tensors are missing"),
    ):
        with pytest.raises(ValueError, match=message):
            VideoTransformer(path, **(JOINT | other)).load_weights()


@pytest.mark.parametrize(
    ("name", "network"), [("kinetics", "VideoMAE's ViT-B"), ("voxceleb2", "MAE-DFER's LGI-Former")]
)
def test_without_a_file_it_is_said_which_one_is_missing_and_where_it_is_published(name, network, tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    model = VideoTransformer(name, **JOINT)
    with pytest.raises(
        FileNotFoundError, match=rf"{network}, .*published at https://drive\.google\.com.*under that name"
    ):
        model.load_weights()
    with pytest.raises(
        FileNotFoundError, match=r"no file weights/x\.pth; expected .*kinetics, svfap, voxceleb2; the authors"
    ):
        VideoTransformer("weights/x.pth", **JOINT).load_weights()


def test_a_published_file_is_read_from_torch_s_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    folder = tmp_path / "hub" / "checkpoints"
    folder.mkdir(parents=True)
    model = randomised(VideoTransformer(**REGIONAL)).float()
    torch.save(pre_training(model), folder / "mae_dfer_voxceleb2.pth")
    found = VideoTransformer("voxceleb2", **REGIONAL).eval()
    found.load_weights()
    torch.testing.assert_close(found.tokens(*clips_and_mask()), model.tokens(*clips_and_mask()))
