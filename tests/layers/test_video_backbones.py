"""3D CNNs: the published networks, frozen ones that stay frozen, and weights that fit or say why not."""

import hashlib
import math
import time
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from torch import nn
from torchvision.models.video import R3D_18_Weights, r3d_18

from fer_lightning.layers import C3D, ClipBackbone, ResNet3D
from fer_lightning.layers.backbones import Pretrained
from fer_lightning.layers.video_weights import PUBLISHED
from tests.models import random_images

SMALL = {
    "c3d": {"name": "c3d", "width": 0.125},
    "resnet3d": {"name": "resnet3d", "depth": 10, "width": 0.125},
    "resnext3d": {"name": "resnext3d", "depth": 26, "cardinality": 4, "width": 0.125},
}
every_network = pytest.mark.parametrize("name", SMALL)


def clips(count=2, frames=16, size=56, seed=0):
    return random_images(count, frames, 3, size, size, seed=seed)


def small(name, **options):
    return ClipBackbone(**SMALL[name], **options)


def count(module):
    return sum(parameter.numel() for parameter in module.parameters())


def on_meta(make):
    """A large network without its memory."""
    with torch.device("meta"):
        return make()


def test_c3d_is_the_network_of_2015():
    assert count(on_meta(lambda: C3D(487))) == 79_991_015
    network = on_meta(lambda: C3D(487))
    convolutions = [m for m in network.modules() if isinstance(m, nn.Conv3d)]
    assert [m.out_channels for m in convolutions] == [64, 128, 256, 256, 512, 512, 512, 512]
    shapes, x = [], torch.empty(2, 3, 16, 112, 112, device="meta")
    for name, layer in network.features.named_children():
        x = layer(x)
        if name.startswith("pool"):
            shapes.append(tuple(x.shape[2:]))
    assert shapes == [(16, 56, 56), (8, 28, 28), (4, 14, 14), (2, 7, 7), (1, 4, 4)]  # table of the paper, figure 3
    assert network(torch.empty(2, 16, 3, 112, 112, device="meta")).shape == (2, 487)


def test_c3d_written_plainly():
    """At the network's own size the grid changes nothing, and the last pooling is that of a map padded to 8 x 8."""
    network = C3D(5, width=0.0625).eval()
    x = torch.randn(1, 16, 3, 112, 112)
    state = network.state_dict()
    y = x.transpose(1, 2)
    for stage, names in enumerate((("1a",), ("2a",), ("3a", "3b"), ("4a", "4b"), ("5a", "5b")), start=1):
        for name in names:
            weight, bias = state[f"features.conv{name}.weight"], state[f"features.conv{name}.bias"]
            y = F.conv3d(y, weight, bias, padding=1).clamp_min(0)
        if stage == 5:
            y = F.pad(y, (0, 1, 0, 1))
        y = F.max_pool3d(y, (1, 2, 2) if stage == 1 else 2)
    for name in ("6", "7", "8"):
        y = y.flatten(1) @ state[f"fc{name}.weight"].T + state[f"fc{name}.bias"]
        y = y if name == "8" else y.clamp_min(0)
    assert torch.allclose(network(x), y, atol=1e-5)


def test_resnet3d_of_depth_18_is_torchvisions():
    theirs, ours = r3d_18().eval(), ResNet3D(18).eval()
    state = {key: value for key, value in theirs.state_dict().items() if not key.startswith("fc.")}
    assert {key: value.shape for key, value in ours.state_dict().items()} == {k: v.shape for k, v in state.items()}
    ours.load_state_dict(state)
    theirs.fc = nn.Identity()
    x = torch.randn(1, 3, 8, 32, 32)
    assert torch.allclose(ours(x), theirs(x), atol=1e-5)


def plain_parameters(blocks, inner, expansion, groups):
    """Convolutions and BatchNorms of a bottleneck network, added up."""
    total, before = 3 * 64 * 7**3 + 2 * 64, 64
    for stage, layers in enumerate(blocks):
        middle, after = inner * 2**stage, inner * 2**stage * expansion
        for layer in range(layers):
            total += before * middle + middle * middle // groups * 27 + middle * after + 2 * (2 * middle + after)
            total += before * after + 2 * after if layer == 0 else 0
            before = after
    return total


@pytest.mark.parametrize(
    ("depth", "cardinality", "blocks", "millions"),
    [(101, 32, (3, 4, 23, 3), 47.5), (50, 1, (3, 4, 6, 3), 46.2), (101, 1, (3, 4, 23, 3), 85.2)],
)
def test_bottleneck_networks_are_hara_et_als(depth, cardinality, blocks, millions):
    network = on_meta(lambda: ResNet3D(depth, cardinality))
    expected = plain_parameters(blocks, *((64, 4, 1) if cardinality == 1 else (128, 2, cardinality)))
    assert count(network) == expected
    assert expected / 1e6 == pytest.approx(millions, abs=0.1)
    assert network.num_features == 2048
    assert network(torch.empty(1, 3, 16, 112, 112, device="meta")).shape == (1, 2048)


def test_depths_and_names_that_do_not_exist_are_refused():
    for wrong, message in (
        ({"name": "i3d"}, "one of c3d, resnet3d, resnext3d; found 'i3d'"),
        ({"name": "c3d", "depth": 18}, "one depth"),
        ({"name": "resnet3d", "depth": 19}, "no 3D network of depth 19 and cardinality 1"),
        ({"name": "resnext3d", "depth": 18}, "depth 18 and cardinality 32"),
        ({"name": "resnet3d", "weights": "sports1m"}, "sports1m are for c3d"),
        ({"name": "c3d", "width": 0.1, "normalisation": "mnist"}, "one of imagenet, .*; found 'mnist'"),
    ):
        with pytest.raises(ValueError, match=message):
            ClipBackbone(**wrong)


@every_network
@pytest.mark.parametrize("shape", [(16, 112), (16, 56), (8, 32), (1, 24), (40, 48)])
def test_other_lengths_and_sizes(name, shape):
    backbone = small(name)
    features = backbone(clips(2, *shape))
    assert features.shape == (2, backbone.num_features)
    assert features.isfinite().all()
    assert (features[0] != features[1]).any()


@pytest.mark.parametrize(("name", "features"), [("c3d", 8192), ("resnet3d", 512), ("resnext3d", 2048)])
def test_features_of_the_full_networks(name, features):
    assert on_meta(lambda: ClipBackbone(name)).num_features == features


def test_larger_frames_are_averaged_down_and_smaller_ones_stay():
    backbone, seen = small("resnet3d", size=16, normalisation="unit"), []
    backbone.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    x = clips(2, 4, 48)
    backbone(x)
    mean = (x / 255).view(2, 4, 3, 16, 3, 16, 3).mean(dim=(4, 6))
    assert torch.allclose(seen[0], mean.transpose(1, 2), atol=1e-6)
    backbone(x[..., :12, :12])
    assert torch.allclose(seen[1], x[..., :12, :12].transpose(1, 2) / 255)


@every_network
def test_time_and_order_matter(name):
    backbone, x = small(name).eval(), clips(1)
    assert not torch.allclose(backbone(x), backbone(x.flip(1)), atol=1e-3)


@every_network
def test_frozen_is_frozen(name):
    torch.manual_seed(0)
    backbone = small(name)
    model = nn.ModuleDict({"backbone": backbone, "head": nn.Linear(backbone.num_features, 3)}).train()
    assert model.training
    assert not any(module.training for module in backbone.network.modules())
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, weight_decay=0.1)
    for step in range(2):
        features = backbone(clips(seed=step))
        assert not features.requires_grad
        model["head"](features).square().sum().backward()
        optimizer.step()
    assert all(torch.equal(before[key], value) for key, value in backbone.state_dict().items())
    assert all(p.grad is None and not p.requires_grad for p in backbone.parameters())
    assert torch.equal(backbone(clips()), model.eval()["backbone"](clips()))


@every_network
def test_not_frozen_trains_every_parameter_and_counts(name):
    backbone = small(name, frozen=False).train()
    before = {key: value.clone() for key, value in backbone.state_dict().items()}
    backbone(clips(4)).square().sum().backward()
    assert all(p.grad.isfinite().all() and p.grad.any() for p in backbone.parameters())
    counted = {key for key, value in backbone.state_dict().items() if not torch.equal(before[key], value)}
    assert counted == {key for key in before if "running" in key or "num_batches" in key}


def test_from_scratch_the_signal_arrives():
    """Without BatchNorm, torch's own initialisation would leave a thousandth of it."""
    torch.manual_seed(0)
    assert 0.2 < small("c3d")(clips()).std() < 10
    assert 0.01 < C3D(7, width=0.125).eval()(torch.randn(2, 16, 3, 56, 56)).std() < 10


@every_network
def test_bf16_autocast_and_channels_last_stay_near_float32(name):
    torch.manual_seed(0)
    backbone, other = small(name), small(name, channels_last=True)
    other.load_state_dict(backbone.state_dict())
    exact = backbone(clips())
    with torch.autocast("cpu", torch.bfloat16):
        mixed = backbone(clips())
    assert (mixed.float() - exact).abs().mean() < 0.05 * exact.abs().mean()
    assert torch.allclose(other(clips()), exact, atol=1e-4)


@pytest.mark.parametrize("name", ["sports1m", "kinetics", "activitynet"])
def test_pixels_reach_a_network_as_its_weights_expect_them(name):
    pixels = torch.randint(256, (1, 4, 3, 16, 16), dtype=torch.uint8)
    backbone, seen = small("resnet3d", normalisation=name), []
    backbone.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].transpose(1, 2)))
    backbone(pixels)
    if name == "kinetics":
        preset = R3D_18_Weights.KINETICS400_V1.transforms()
        expected = (pixels / 255 - torch.tensor(preset.mean).view(3, 1, 1)) / torch.tensor(preset.std).view(3, 1, 1)
    else:
        mean = (104, 117, 128) if name == "sports1m" else (114.7748, 107.7354, 99.4750)
        expected = pixels.float() - torch.tensor(mean).view(3, 1, 1)
    assert torch.allclose(seen[0], expected, atol=1e-3)


def test_padded_frames_have_the_mean_colour_of_imagenet():
    backbone, seen, x = small("resnet3d", normalisation="sports1m"), [], clips(2, 3, 8)
    backbone.network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].transpose(1, 2)))
    mask = torch.tensor([[True, True, False], [True, False, False]])
    backbone(x, mask)
    backbone(x)
    colour = 255 * torch.tensor((0.485, 0.456, 0.406)) - torch.tensor((104, 117, 128))
    torch.testing.assert_close(seen[0][~mask], colour.view(3, 1, 1).expand(3, 3, 8, 8))
    assert torch.equal(seen[0][mask], seen[1][mask])


def test_the_pixels_of_weights_are_adopted_and_others_refused(tmp_path):
    """Of a run as its checkpoint says; a file does not say, so that somebody must."""
    path = tmp_path / "best.ckpt"
    theirs = small("c3d", normalisation="sports1m")
    tensors = {f"scene.{key}": value for key, value in theirs.state_dict().items()}
    torch.save({"state_dict": tensors, "fer_lightning": {}}, path)
    ours = small("c3d", weights=str(path))
    assert ours.conversion.convention.name == "imagenet"
    ours.load_weights()
    assert torch.equal(ours(clips()), theirs(clips()))
    assert "sports1m" in repr(ours)  # cached features depend on them
    again = small("c3d", weights=str(path))
    again.load_state_dict(ours.state_dict())
    assert torch.equal(again(clips()), theirs(clips()))
    with pytest.raises(ValueError, match="trained with other pixels than 'kinetics'; found 'sports1m'"):
        small("c3d", weights=str(path), normalisation="kinetics").load_weights()
    file = tmp_path / "file.pth"
    torch.save(theirs.network.state_dict(), file)
    with pytest.raises(ValueError, match="does not tell which pixels"):
        small("c3d", weights=str(file)).load_weights()


# --- weights


def filled(name, seed=0):
    """A backbone with values that no initialisation makes."""
    backbone = small(name)
    generator = torch.Generator().manual_seed(seed)
    for value in backbone.network.state_dict().values():
        value.copy_(torch.rand(value.shape, generator=generator) * 9 if value.is_floating_point() else value + 5)
    return backbone


def assert_loads(name, source, expected, **options):
    backbone = small(name, weights=str(source), **options)
    backbone.load_weights()
    own = backbone.network.state_dict()
    assert all(torch.equal(own[key], value) for key, value in expected.items())


@every_network
def test_files_of_weights(name, tmp_path):
    state = filled(name).network.state_dict()
    torch.save(state, tmp_path / "bare.pt")
    torch.save({"state_dict": {f"scene.backbone.network.{k}": v for k, v in state.items()}}, tmp_path / "run.ckpt")
    torch.save({f"module.{key}": value for key, value in state.items()}, tmp_path / "parallel.pt")
    torch.save(state | {"fc.weight": torch.zeros(3, 3)}, tmp_path / "with_head.pt")
    save_file({key: value.contiguous() for key, value in state.items()}, tmp_path / "w.safetensors")
    for file in ("bare.pt", "run.ckpt", "parallel.pt", "with_head.pt", "w.safetensors"):
        assert_loads(name, tmp_path / file, state, normalisation="imagenet")


def test_a_run_of_this_suite(tmp_path, monkeypatch):
    state = filled("c3d").network.state_dict()
    path = tmp_path / "runs" / "motion" / "1-0" / "checkpoints" / "best.ckpt"
    path.parent.mkdir(parents=True)
    tensors = {f"backbone.network.{key}": value for key, value in state.items()}
    torch.save({"state_dict": tensors, "fer_lightning": {}}, path)
    assert_loads("c3d", "run:motion", state)


def test_the_baselines_convolutions_fit_the_backbone(tmp_path):
    baseline = C3D(7, width=0.125)
    torch.save({"state_dict": baseline.state_dict()}, tmp_path / "c3d.pt")
    assert_loads("c3d", tmp_path / "c3d.pt", baseline.features.state_dict(), normalisation="imagenet")


@pytest.mark.parametrize("style", ["mmaction2", "port"])
def test_c3d_as_others_name_it(style, tmp_path):
    state = filled("c3d").network.state_dict()

    def theirs(key):
        layer, kind = key.split(".")
        if style == "mmaction2":
            return f"backbone.{layer}.conv.{kind}"
        return f"{layer.removesuffix('a') if layer in ('conv1a', 'conv2a') else layer}.{kind}"

    torch.save({theirs(k): v for k, v in state.items()} | {"fc6.weight": torch.zeros(2, 2)}, tmp_path / "w.pth")
    assert_loads("c3d", tmp_path / "w.pth", state, normalisation="sports1m")


def test_resnext_as_hara_et_al_name_it(tmp_path):
    """Their tensors are conv1, bn1, layer1.0.conv1, layer1.0.bn1, downsample.0; old files have no batch counters."""
    state = filled("resnext3d").network.state_dict()
    state = {key: value for key, value in state.items() if "num_batches" not in key}

    def theirs(key):
        parts = key.split(".")
        if parts[0] == "stem":
            return f"module.{('conv1', 'bn1')[int(parts[1])]}.{parts[2]}"
        if parts[2].startswith("conv"):
            return f"module.{parts[0]}.{parts[1]}.{('conv', 'bn')[int(parts[3])]}{parts[2][-1]}.{parts[4]}"
        return f"module.{key}"

    renamed = {theirs(key): value for key, value in state.items()}
    assert {"module.conv1.weight", "module.bn1.running_var", "module.layer1.0.bn3.bias"} < renamed.keys()
    torch.save({"arch": "resnext-101", "state_dict": renamed}, tmp_path / "w.pth")
    assert_loads("resnext3d", tmp_path / "w.pth", state, normalisation="activitynet")


def test_making_a_backbone_loads_nothing(tmp_path):
    assert isinstance(small("c3d"), Pretrained)  # a training finds it by that
    small("c3d", weights=str(tmp_path / "nowhere.pt"))
    with pytest.raises(FileNotFoundError, match=r"no checkpoint in .*nowhere\.pt"):
        small("c3d", weights=str(tmp_path / "nowhere.pt")).load_weights()


@every_network
def test_weights_that_do_not_fit(name, tmp_path):
    state = filled(name).network.state_dict()
    first, last = next(iter(state)), [key for key in state if key.endswith(".weight")][-1]
    torch.save({"module." + k: v for k, v in state.items() if k != last}, tmp_path / "missing.pt")
    torch.save(state | {last: torch.zeros(2, 3)}, tmp_path / "shape.pt")
    torch.save({"head.weight": torch.zeros(2)}, tmp_path / "other.pt")
    torch.save({p + k: v for p in ("one.", "two.") for k, v in state.items()}, tmp_path / "two.pt")
    (tmp_path / "text.pt").write_text("no weights")
    for file, message in (
        ("missing.pt", rf"1 of {len(state)} tensors .* such as {last} .*, none found"),
        ("shape.pt", rf"1 of {len(state)} tensors .* such as {last} .*, \(2, 3\) found"),
        ("other.pt", rf"such as {first} .*none found"),
        ("two.pt", r"2 networks that fit, at one\., two\.; expected one"),
        ("text.pt", "cannot be read safely as a checkpoint"),
    ):
        backbone = small(name, weights=str(tmp_path / file))
        before = [value.clone() for value in backbone.state_dict().values()]
        with pytest.raises(ValueError, match=message):
            backbone.load_weights()
        assert all(torch.equal(*pair) for pair in zip(before, backbone.state_dict().values(), strict=True))


def test_a_files_checksum(tmp_path):
    state, path = filled("c3d").network.state_dict(), tmp_path / "w.pt"
    torch.save(state, path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    assert_loads("c3d", path, state, sha256=digest, normalisation="sports1m")
    assert_loads("c3d", path, state, sha256=digest[:8].upper(), normalisation="sports1m")
    for wrong in ("0" * 64, ""):
        with pytest.raises(ValueError, match=f"has the SHA-256 {digest}; expected"):
            small("c3d", weights=str(path), sha256=wrong).load_weights()


def cached(weights, tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    return tmp_path / "hub" / "checkpoints" / Path(PUBLISHED[weights].url).name


def test_published_weights_are_those_that_torchvision_names():
    assert PUBLISHED["kinetics"].url == R3D_18_Weights.KINETICS400_V1.url
    for published in PUBLISHED.values():
        assert Path(published.url).stem.endswith(f"-{published.sha256}")


@pytest.mark.parametrize(
    ("name", "weights", "licence"), [("c3d", "sports1m", "Apache-2.0"), ("resnet3d", "kinetics", "BSD-3-Clause")]
)
def test_without_a_connection_the_error_says_what_to_do(name, weights, licence, tmp_path, monkeypatch):
    path = cached(weights, tmp_path, monkeypatch)

    def offline(*args, **kwargs):
        raise OSError("no network")

    monkeypatch.setattr(torch.hub, "download_url_to_file", offline)
    backbone = small(name, weights=weights)  # made without a connection
    with pytest.raises(FileNotFoundError, match=f"{path.name} could not be fetched: OSError.*{licence}.*{path}"):
        backbone.load_weights()


def test_a_fetched_file_is_used_again_and_checked_again(tmp_path, monkeypatch):
    path = cached("sports1m", tmp_path, monkeypatch)
    state, fetched = filled("c3d").network.state_dict(), []
    torch.save(state, tmp_path / "source.pth")
    content = (tmp_path / "source.pth").read_bytes()

    def download(url, target, hash_prefix):
        fetched.append((url, hash_prefix))
        Path(target).write_bytes(content)

    monkeypatch.setattr(torch.hub, "download_url_to_file", download)
    with pytest.raises(ValueError, match="expected one that begins with dcc47ddc"):
        small("c3d", weights="sports1m").load_weights()
    digest = hashlib.sha256(content).hexdigest()
    monkeypatch.setattr("fer_lightning.layers.video_weights._verify", lambda path, sha256: fetched.append(digest))
    assert_loads("c3d", "sports1m", state)
    assert fetched == [(PUBLISHED["sports1m"].url, "dcc47ddc"), digest]
    assert path.is_file()


@every_network
def test_a_training_step_of_a_small_network_is_quick(name):
    backbone, x = small(name, frozen=False, channels_last=True), clips(8)
    times = []
    for _ in range(3):
        start = time.process_time()
        backbone(x).sum().backward()
        times.append(time.process_time() - start)
    assert min(times) < 3  # seconds of one processor; about 0.5 on an idle one
    assert not math.isnan(min(times))


@pytest.mark.parametrize("size", [32, 64])
def test_gradients_are_right_in_mixed_precision(size):
    """On processors bf16 gradients of 3D convolutions over small maps are not; they are learnt in full precision."""
    torch.manual_seed(0)
    backbone = ClipBackbone("c3d", width=0.25, size=size, frozen=False)
    clips = random_images(4, 16, 3, size, size)
    gradients = []
    for enabled in (False, True):
        backbone.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=enabled):
            loss = backbone(clips).float().square().mean()
        loss.backward()
        gradients.append([parameter.grad.clone() for parameter in backbone.parameters()])
    for exact, mixed in zip(*gradients, strict=True):
        assert torch.allclose(mixed, exact, rtol=0.1, atol=0.05 * float(exact.abs().max()))
