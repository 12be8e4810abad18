"""Bytes reach every network as its weights expect them, and what these expect travels with them."""

import pytest
import timm
import torch

from data_modules.labels import SEVEN
from fer_lightning import FrameBackbone, ImageClassifier
from fer_lightning.layers.backbones import FullyConnectedBackbone
from fer_lightning.layers.pixels import CONVENTIONS, PixelConvention, PixelConversion
from fer_lightning.layers.vgg import VGG16, EnhancedVGG
from fer_lightning.weights import load_fitting_weights
from tests.models import SMALL, random_batch, random_images, small_backbone

IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
PUBLISHED = {  # mean and deviation of values from 0 to 255 or to 1, in the order of the channels
    "imagenet": ("rgb", 1, *IMAGENET),
    "inception": ("rgb", 1, (0.5, 0.5, 0.5), (0.5, 0.5, 0.5)),
    "unit": ("rgb", 1, (0, 0, 0), (1, 1, 1)),
    "grey": ("grey", 1, (0.5, 0.5, 0.5), (0.25, 0.25, 0.25)),
    "clip": ("rgb", 1, (0.48145466, 0.4578275, 0.40821073), (0.26862954, 0.26130258, 0.27577711)),
    "vggface": ("rgb", 255, (129.1863, 104.7624, 93.5940), (1, 1, 1)),
    "vggface2": ("bgr", 255, (91.4953, 103.8827, 131.0912), (1, 1, 1)),
    "kinetics": ("rgb", 1, (0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989)),
    "sports1m": ("rgb", 255, (104, 117, 128), (1, 1, 1)),
    "activitynet": ("rgb", 255, (114.7748, 107.7354, 99.475), (1, 1, 1)),
}
CLIP = {"mean": (0.48145466, 0.4578275, 0.40821073), "std": (0.26862954, 0.26130258, 0.27577711)}


def plainly(images, order, white, mean, std):
    """The convention's formula in double precision, one channel after another."""
    channels = images.double().unbind(-3)
    channels = channels[::-1] if order == "bgr" else channels
    if order == "grey":  # ITU-R BT.601
        red, green, blue = channels
        channels = [0.299 * red + 0.587 * green + 0.114 * blue] * 3
    values = [(c * white / 255 - m) / s for c, m, s in zip(channels, mean, std, strict=True)]
    return torch.stack(values, dim=-3)


def first_input(backbone, images):
    seen = []
    convolution = next(module for module in backbone.network.modules() if isinstance(module, torch.nn.Conv2d))
    handle = convolution.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0]))
    backbone(images)
    handle.remove()
    return seen[0]


def test_every_convention_is_compared():
    assert PUBLISHED.keys() == CONVENTIONS.keys()


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_network_sees_what_the_plain_formula_says(name):
    images = random_images(2, 3, 3, 12, 10)
    backbone = FrameBackbone("resnet26", channels=SMALL, pixels=name).eval()
    seen = first_input(backbone, images)
    torch.testing.assert_close(seen.double(), plainly(images.flatten(0, 1), *PUBLISHED[name]), rtol=1e-5, atol=1e-4)
    assert seen.is_contiguous(memory_format=torch.channels_last)
    assert torch.equal(images, random_images(2, 3, 3, 12, 10)), "the batch stays as it is"


def test_features_are_those_of_the_network_on_the_formulas_pixels():
    torch.manual_seed(0)
    images, backbone = random_images(4, 3, 32, 32), small_backbone().eval()
    expected = backbone.network(plainly(images, *PUBLISHED["imagenet"]).float())
    torch.testing.assert_close(backbone(images), expected, rtol=1e-5, atol=1e-6)


def test_pixels_have_the_type_that_the_network_computes_in():
    images, backbone = random_images(1, 3, 16, 16), small_backbone().eval()
    with torch.autocast("cpu", torch.bfloat16):
        mixed = first_input(backbone, images)
    assert mixed.dtype == torch.bfloat16
    assert torch.equal(mixed, first_input(backbone, images).bfloat16()), "computed in float32"
    assert first_input(backbone.double(), images).dtype == torch.float64


def test_floats_are_refused():
    with pytest.raises(TypeError, match=r"found images of torch\.float32; expected torch\.uint8"):
        small_backbone()(torch.rand(1, 3, 16, 16))


# What the weights say


def run_of(backbone, path):
    content = {
        "state_dict": ImageClassifier(SEVEN, backbone).state_dict(),
        "fer_lightning": {"class_names": list(SEVEN)},
    }
    torch.save(content, path)
    return str(path)


def test_timms_weights_bring_timms_convention(monkeypatch):
    """Read from the `pretrained_cfg` of that network, not assumed: not all of them are ImageNet's."""
    other = timm.get_pretrained_cfg("resnet10t")
    other.mean, other.std = CLIP["mean"], CLIP["std"]
    monkeypatch.setattr(timm, "get_pretrained_cfg", lambda name: other if name == "resnet10t" else None)
    state = small_backbone().network.state_dict()
    monkeypatch.setattr("fer_lightning.layers.backbones.published_weights", lambda name: state)
    backbone, images = small_backbone(weights="timm").eval(), random_images(1, 3, 8, 8)
    backbone.load_weights()
    expected = plainly(images, "rgb", 1, CLIP["mean"], CLIP["std"])
    torch.testing.assert_close(first_input(backbone, images).double(), expected, rtol=1e-5, atol=1e-5)
    with pytest.raises(ValueError, match="timm was trained with other pixels than 'imagenet'"):
        small_backbone(weights="timm", pixels="imagenet").load_weights()


@pytest.mark.parametrize("pixels", ["vggface", "grey"])
@pytest.mark.parametrize("make", [small_backbone, lambda **options: VGG16(width=1 / 16, hidden=8, **options)])
def test_a_run_brings_its_convention_and_passes_it_on(make, pixels, tmp_path):
    images, first = random_images(2, 3, 32, 32), make(pixels=pixels).eval()
    second = make(weights=run_of(first, tmp_path / "first.ckpt")).eval()
    second.load_weights()
    third = make(weights=run_of(second, tmp_path / "second.ckpt")).eval()
    third.load_weights()
    rebuilt = make(weights="run:gone").eval()  # as from a checkpoint, wherever its own weights came from
    rebuilt.load_state_dict(third.state_dict())
    assert torch.equal(first_input(rebuilt, images), first_input(first, images))
    assert repr(rebuilt.conversion) == repr(first.conversion)
    begun = ImageClassifier(SEVEN, make())
    load_fitting_weights(begun, str(tmp_path / "second.ckpt"))
    assert torch.equal(first_input(begun.backbone, images), first_input(first, images))


def test_a_checkpoint_with_other_pixels_is_refused(tmp_path):
    state = small_backbone(pixels="unit").state_dict()
    for stated in ("imagenet", "inception"):
        with pytest.raises(ValueError, match=f"trained with other pixels than '{stated}'; found 'unit'"):
            small_backbone(pixels=stated).load_state_dict(state)


def test_vggface2_must_be_stated_as_it_changes_the_network(tmp_path):
    path = run_of(FrameBackbone("resnet26", channels=SMALL, pixels="vggface2"), tmp_path / "best.ckpt")
    with pytest.raises(ValueError, match="found 'vggface2': state these as `pixels`"):
        FrameBackbone("resnet26", channels=SMALL, weights=path).load_weights()


def test_the_pixels_of_a_file_must_be_stated(tmp_path):
    path = tmp_path / "w.pth"
    torch.save(small_backbone().network.state_dict(), path)
    with pytest.raises(ValueError, match=r"w\.pth: a file of weights does not tell which pixels .*one of imagenet, "):
        small_backbone(weights=str(path)).load_weights()
    small_backbone(weights=str(path), pixels="unit").load_weights()


def test_conventions_are_the_same_whatever_their_range():
    white = PixelConvention((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    mean, std = ([255 * value for value in values] for values in IMAGENET)
    assert white.matches(PixelConvention(tuple(mean), tuple(std), range=255))
    assert not white.matches(PixelConvention(*IMAGENET, order="bgr"))
    assert not white.matches(PixelConvention(**CLIP))


# Checkpoints of version 0.1.0


def as_first_version(model, names, stated):
    """Its state dict: `scale` and `shift` made a backbone's pixels of ImageNet's, where it kept them."""
    state = {key: value for key, value in model.state_dict().items() if ".conversion." not in key}
    mean, std = (255 * torch.tensor(values).view(3, 1, 1) for values in IMAGENET)
    theirs = {"vggface": (129.1863, 104.7624, 93.5940), "vggface2": (131.0912, 103.8827, 91.4953)}.get(stated)
    scale, shift = (std, mean - torch.tensor(theirs).view(3, 1, 1)) if theirs else (mean * 0 + 1, mean * 0)
    return state | {
        name: value for prefix in names for name, value in ((f"{prefix}.scale", scale), (f"{prefix}.shift", shift))
    }


@pytest.mark.parametrize(
    ("make", "stated", "kept"),
    [
        (small_backbone, None, False),
        (
            lambda **options: FullyConnectedBackbone("resnet10t", channels=SMALL, pool=1, hidden=8, **options),
            None,
            False,
        ),
        (lambda **options: FrameBackbone("resnet26", channels=SMALL, **options), "vggface2", True),
        (lambda **options: VGG16(width=1 / 16, hidden=8, **options), "imagenet", True),
        (lambda **options: EnhancedVGG(width=1 / 16, added=8, output=8, branch_output=8, **options), "vggface", True),
    ],
)
def test_checkpoints_of_version_0_1_0_load_and_say_the_same(make, stated, kept, tmp_path):
    torch.manual_seed(0)
    model, batch = ImageClassifier(SEVEN, make(pixels=stated)).eval(), random_batch(2, 2)
    images = plainly(batch.face.flatten(0, 1), *PUBLISHED[stated or "imagenet"]).float()
    features = model.backbone.forward_head(model.backbone.forward_images(images))
    expected = model.head(features.unflatten(0, (2, 2)).mean(dim=1))
    state = as_first_version(model, ["backbone"] if kept else [], stated)
    path = str(tmp_path / "best.ckpt")
    torch.save({"state_dict": state, "fer_lightning": {"class_names": list(SEVEN)}}, path)
    loaded, begun = (ImageClassifier(SEVEN, make(pixels=stated)).eval() for _ in range(2))
    loaded.load_state_dict(state)
    assert load_fitting_weights(begun, path) == []
    for one in (loaded, begun):
        torch.testing.assert_close(one(batch).logits, expected, rtol=1e-4, atol=1e-5)
    make(pixels=stated, weights=path).load_weights()
    other = "imagenet" if stated == "vggface" else "unit"
    with pytest.raises(ValueError, match=f"trained with other pixels than '{other}'; found '{stated or 'imagenet'}'"):
        make(pixels=other, weights=path).load_weights()


def test_a_conversion_without_a_record_keeps_its_own():
    conversion = PixelConversion("kinetics")
    conversion.load_state_dict({})
    assert conversion.convention.name == "kinetics"
