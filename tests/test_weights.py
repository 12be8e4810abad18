"""Pretrained weights: every tensor arrives or the error says why, and nothing in a file is ever run."""

import pickle
import re

import numpy as np
import pytest
import timm
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

from data_modules.labels import SEVEN
from fer_lightning import CEFLNet, ImageClassifier
from fer_lightning.architectures.context.frames import FaceModel
from fer_lightning.layers.backbones import FrameBackbone, FullyConnectedBackbone
from fer_lightning.layers.vgg import VGG16
from fer_lightning.layers.video_backbones import ClipBackbone
from fer_lightning.weights import checkpoint_of, load_fitting_weights, read_checkpoint
from tests.models import SMALL, random_images, small_backbone


def filled(seed=0):
    """A backbone with values that no initialisation makes."""
    backbone = small_backbone()
    generator = torch.Generator().manual_seed(seed)
    for value in backbone.network.state_dict().values():
        value.copy_(torch.rand(value.shape, generator=generator) * 9 if value.is_floating_point() else value + 5)
    return backbone


def assert_loaded(source, expected):
    backbone = small_backbone(weights=source, pixels="imagenet")
    backbone.load_weights()
    own = backbone.network.state_dict()
    assert own.keys() == expected.keys()
    assert all(torch.equal(own[name], value) for name, value in expected.items())


def run_of(tmp_path, state, name="stills/1-0", checkpoint="best.ckpt"):
    path = tmp_path / "runs" / name / "checkpoints" / checkpoint
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"state_dict": {f"backbone.network.{key}": v for key, v in state.items()} | {"head.1.weight": 1}}, path)
    return path


@pytest.mark.parametrize("source", ["run:stills", "run:stills/1-0"])
def test_the_backbone_of_a_run(tmp_path, source):
    state = filled().network.state_dict()
    run_of(tmp_path, filled(seed=1).network.state_dict(), checkpoint="last.ckpt")
    run_of(tmp_path, state)  # the best epoch goes before the last one
    assert_loaded(source, state)


def test_files_of_weights(tmp_path):
    state = filled().network.state_dict()
    torch.save(state, tmp_path / "bare.pt")
    torch.save({"state_dict": state, "epoch": 3}, tmp_path / "nested.pth")
    torch.save({f"module.{key}": value for key, value in state.items()}, tmp_path / "parallel.pt")
    torch.save(state | {"fc.weight": torch.zeros(3, 3)}, tmp_path / "with_head.pt")
    save_file({key: value.contiguous() for key, value in state.items()}, tmp_path / "w.safetensors")
    for name in ("bare.pt", "nested.pth", "parallel.pt", "with_head.pt", "w.safetensors"):
        assert_loaded(str(tmp_path / name), state)


def fully_connected(**options):
    return FullyConnectedBackbone("resnet10t", channels=SMALL, pool=1, hidden=8, **options)


@pytest.mark.parametrize(
    "make",
    [
        small_backbone,
        fully_connected,
        lambda **options: VGG16(width=1 / 16, hidden=8, **options),
        lambda **options: ClipBackbone("c3d", width=1 / 16, **options),
        lambda **options: FaceModel(small_backbone(**options), SEVEN, tuned=False),
    ],
    ids=["frames", "fully_connected", "vgg", "clips", "face_model"],
)
def test_each_part_reads_its_file_once(make, tmp_path, monkeypatch):
    path, reads, load = tmp_path / "best.ckpt", [], torch.load
    model = make()
    trained = model.backbone if isinstance(model, FaceModel) else model
    state = {f"backbone.{name}": value for name, value in trained.state_dict().items()}
    head = {"head.1.weight": torch.ones(7, 16), "head.1.bias": torch.ones(7)}
    torch.save({"state_dict": state | head, "fer_lightning": {"class_names": list(SEVEN)}}, path)
    monkeypatch.setattr(torch, "load", lambda *given, **options: reads.append(given) or load(*given, **options))
    loaded = make(weights=str(path))
    loaded.load_weights()
    assert reads == [(path,)]


def test_making_a_backbone_loads_nothing(tmp_path):
    FrameBackbone("resnet10t", weights="/nowhere/at/all.pt", channels=SMALL)


def test_a_backbone_of_another_size_names_the_tensor(tmp_path):
    other = FrameBackbone("resnet10t", channels=(8, 8, 16, 24))
    torch.save(other.network.state_dict(), tmp_path / "other.pt")
    backbone = small_backbone(weights=str(tmp_path / "other.pt"), pixels="imagenet")
    before = {key: value.clone() for key, value in backbone.network.state_dict().items()}
    with pytest.raises(ValueError, match=r"do not fit resnet10t: \d+ of \d+ tensors .*layer4.*expected.*found"):
        backbone.load_weights()
    assert all(torch.equal(value, before[key]) for key, value in backbone.network.state_dict().items())


def test_a_missing_tensor_is_an_error(tmp_path):
    state = filled().network.state_dict()
    name = next(iter(state))
    del state[name]
    torch.save(state, tmp_path / "part.pt")
    with pytest.raises(ValueError, match=f"1 of .* tensors are missing.*{name}.*none found"):
        small_backbone(weights=str(tmp_path / "part.pt"), pixels="imagenet").load_weights()


def test_unreachable_weights_say_where_they_come_from(monkeypatch):
    backbone = FrameBackbone("resnet18", weights="timm")
    create = timm.create_model

    def offline(name, pretrained=False, **options):
        if pretrained:
            raise OSError("no route to host")
        return create(name, **options)

    monkeypatch.setattr(timm, "create_model", offline)
    with pytest.raises(
        FileNotFoundError, match=r"weights of resnet18 .*OSError.*timm/resnet18.*licence apache.*random"
    ):
        backbone.load_weights()


def test_published_weights_arrive(monkeypatch):
    """As timm hands them out: in a network made with `pretrained`."""
    source, backbone = filled(), small_backbone(weights="timm")
    monkeypatch.setattr(timm, "create_model", lambda name, pretrained, num_classes: source.network if pretrained else 1)
    backbone.load_weights()
    assert all(
        torch.equal(value, source.network.state_dict()[key]) for key, value in backbone.network.state_dict().items()
    )


def test_what_is_not_there_is_said_with_what_is(tmp_path):
    run_of(tmp_path, {})
    with pytest.raises(FileNotFoundError, match=r"no checkpoint in .*still_s.*holds stills"):
        small_backbone(weights="run:still_s").load_weights()


def test_a_checkpoint_is_found_in_its_run_and_by_its_path(tmp_path):
    path = run_of(tmp_path, {}, checkpoint="last.ckpt")
    assert (
        checkpoint_of(path) == checkpoint_of(path.parent.parent) == checkpoint_of(tmp_path / "runs" / "stills") == path
    )


class Malicious:
    def __init__(self, target):
        self.target = str(target)

    def __reduce__(self):
        return open, (self.target, "w")


@pytest.mark.parametrize("form", ["pickle", "torch", "inside"])
def test_code_in_a_file_is_not_run(tmp_path, form):
    path, target = tmp_path / "weights.pt", tmp_path / "was_run"
    if form == "pickle":
        path.write_bytes(pickle.dumps(Malicious(target)))
    else:
        torch.save({"state_dict": Malicious(target)} if form == "inside" else Malicious(target), path)
    with pytest.raises(ValueError, match="cannot be read safely as a checkpoint"):
        read_checkpoint(path)
    assert not target.exists()
    _ = torch.load(path, weights_only=False) if form != "pickle" else pickle.loads(path.read_bytes())
    assert target.exists()  # it would have run


@pytest.mark.parametrize("name", ["empty.ckpt", "text.ckpt", "cut.ckpt", "empty.safetensors", "text.safetensors"])
def test_files_that_are_none_are_named(tmp_path, name):
    path = tmp_path / name
    if name == "cut.ckpt":
        torch.save({"state_dict": {"a": torch.zeros(999)}}, path)
        path.write_bytes(path.read_bytes()[:2000])
    else:
        path.write_text("a text" if name.startswith("text") else "")
    with pytest.raises(ValueError, match=f"{name} cannot be read safely as a checkpoint"):
        read_checkpoint(path)


def test_a_file_of_something_else_is_named(tmp_path):
    torch.save([torch.zeros(2)], tmp_path / "list.pt")
    with pytest.raises(ValueError, match="holds a list"):
        read_checkpoint(tmp_path / "list.pt")


def test_a_training_on_other_classes_begins_with_all_that_fits(tmp_path):
    first = ImageClassifier(SEVEN, small_backbone())
    torch.save({"state_dict": first.state_dict()}, tmp_path / "first.ckpt")
    second = ImageClassifier(SEVEN[:5], small_backbone())
    head = second.head[1].weight.clone()
    assert load_fitting_weights(second, str(tmp_path / "first.ckpt")) == ["head.1.bias", "head.1.weight"]
    assert torch.equal(second.head[1].weight, head)
    for name, value in second.backbone.state_dict().items():
        assert torch.equal(value, first.backbone.state_dict()[name])
    same = ImageClassifier(SEVEN, small_backbone())
    assert load_fitting_weights(same, str(tmp_path / "first.ckpt")) == []
    assert torch.equal(same.head[1].weight, first.head[1].weight)


# VGGFace2


def vggface2(name, seed=0, **options):
    """A network of that kind with all of its values drawn, so that each of them counts."""
    generator = torch.Generator().manual_seed(seed)
    backbone = FrameBackbone(name, channels=SMALL, pixels="vggface2", **options).eval()
    for key, value in backbone.network.state_dict().items():
        if value.dim() > 1:
            value.normal_(0, (2 / value[0].numel()) ** 0.5, generator=generator)
        elif value.is_floating_point():
            value.uniform_(*((0.5, 1.5) if key.endswith(("weight", "var")) else (-0.2, 0.2)), generator=generator)
    return backbone


def as_converted_from_caffe(backbone):
    """The file's content: names as torchvision's, squeeze and excitation as conv4 and conv5, no counts of batches."""
    state = {key: value.clone() for key, value in backbone.network.state_dict().items() if "num_batches" not in key}
    named = {re.sub(r"se\.fc(\d)", lambda found: f"conv{int(found[1]) + 3}", key): v for key, v in state.items()}
    return named | {"fc.weight": torch.zeros(5, backbone.num_features), "fc.bias": torch.zeros(5)}


def plain_resnet(state, image):
    """Caffe's ResNet in plain steps: (H, W, 3) bytes of red, green, blue -> features (D,)."""

    def convolved(x, name, stride=1, padding=0, norm=None):
        x = F.conv2d(x, state[f"{name}.weight"], state.get(f"{name}.bias"), stride, padding)
        if norm is None:
            return x
        mean, var, weight, bias = (
            state[f"{norm}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
        )
        return F.batch_norm(x, mean, var, weight, bias)

    pixels = image[:, :, ::-1].astype(np.float64) - (91.4953, 103.8827, 131.0912)  # blue, green, red
    x = torch.from_numpy(pixels.transpose(2, 0, 1)[None]).float()
    x = convolved(x, "conv1", 2, 3, "bn1").relu()
    x = F.max_pool2d(x, 3, 2, 0, ceil_mode=True)
    for place in sorted({key.rsplit(".", 2)[0] for key in state if re.match(r"layer\d\.\d\.conv1", key)}):
        stride = 2 if re.match(r"layer[234]\.0", place) else 1
        y = convolved(x, f"{place}.conv1", stride, 0, f"{place}.bn1").relu()
        y = convolved(y, f"{place}.conv2", 1, 1, f"{place}.bn2").relu()
        y = convolved(y, f"{place}.conv3", 1, 0, f"{place}.bn3")
        if f"{place}.conv4.weight" in state:
            gate = convolved(y.mean(dim=(2, 3), keepdim=True), f"{place}.conv4").relu()
            y = y * convolved(gate, f"{place}.conv5").sigmoid()
        if f"{place}.downsample.0.weight" in state:
            x = convolved(x, f"{place}.downsample.0", stride, 0, f"{place}.downsample.1")
        x = (x + y).relu()
    return x.mean(dim=(2, 3))[0]


@pytest.mark.parametrize("name", ["resnet26", "resnet50", "seresnet50"])
def test_a_file_of_vggface2_gives_the_authors_features(name, tmp_path):
    theirs, path = vggface2(name, seed=1), tmp_path / "vggface2.pth"
    content = as_converted_from_caffe(theirs)
    assert any("conv4" in key for key in content) == name.startswith("se")
    torch.save(content, path)
    ours = vggface2(name, seed=2, weights=str(path))
    ours.load_weights()
    image = np.random.default_rng(0).integers(0, 256, (70, 61, 3), np.uint8)
    with torch.no_grad():
        found = ours(torch.from_numpy(image.transpose(2, 0, 1).copy())[None, None])[0, 0]
        expected = plain_resnet(content, image)
    assert expected.std() > 1e-2
    torch.testing.assert_close(found, expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max()))


def test_a_tuned_face_model_sees_the_pixels_of_its_weights_too():
    backbone, frames = vggface2("resnet26"), random_images(1, 2, 3, 64, 64)
    model = FaceModel(backbone, SEVEN, tuned=True).eval()
    with torch.no_grad():
        _, found = model.forward_trainable(model.forward_frozen(frames.flatten(0, 1)).view(1, 2, -1))
        torch.testing.assert_close(found, backbone(frames))
    assert "vggface2" in repr(model.frozen_parts())  # cached features depend on them


def test_vggface2_is_of_resnets_with_bottlenecks():
    for name in ("resnet18", "densenet121"):
        with pytest.raises(ValueError, match=f"ResNets with bottlenecks.*found {name}"), torch.device("meta"):
            FrameBackbone(name, pixels="vggface2")
    with pytest.raises(ValueError, match=r"one of imagenet, .*, vggface2, .*; found 'bgr'"):
        FrameBackbone("resnet50", pixels="bgr")


def test_a_run_that_saw_other_pixels_is_refused(tmp_path):
    made = {pixels: FrameBackbone("resnet26", channels=SMALL, pixels=pixels) for pixels in ("imagenet", "vggface2")}
    for pixels, backbone in made.items():
        state, path = ImageClassifier(SEVEN, backbone).state_dict(), str(tmp_path / f"{pixels}.ckpt")
        torch.save({"state_dict": state, "fer_lightning": {"class_names": list(SEVEN)}}, path)
        for own in made:
            fresh = FrameBackbone("resnet26", channels=SMALL, pixels=own, weights=path)
            if own == pixels:
                fresh.load_weights()
                load_fitting_weights(ImageClassifier(SEVEN, fresh), path)
                continue
            with pytest.raises(ValueError, match=f"trained with other pixels than '{own}'"):
                fresh.load_weights()
            with pytest.raises(ValueError, match=f"trained with other pixels than '{own}'"):
                load_fitting_weights(ImageClassifier(SEVEN, fresh), path)


def test_another_model_is_no_beginning(tmp_path):
    torch.save({"state_dict": ImageClassifier(SEVEN, small_backbone()).state_dict()}, tmp_path / "first.ckpt")
    with pytest.raises(ValueError, match="not a checkpoint of the same model"):
        load_fitting_weights(CEFLNet(SEVEN, small_backbone()), str(tmp_path / "first.ckpt"))
    wider = ImageClassifier(SEVEN, FrameBackbone("resnet10t", channels=(16, 16, 16, 16)))
    with pytest.raises(ValueError, match="another shape"):
        load_fitting_weights(wider, str(tmp_path / "first.ckpt"))
