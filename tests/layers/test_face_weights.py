"""Files of ResNet-18s that others trained on faces, in the forms in which they are passed on.

The forms are those of the files that CEFLNet's authors and Frame Attention Networks begin with (FER+), and of the
MS-Celeb-1M file that many facial-expression networks share. torchvision's network is the reference.
"""

import pytest
import torch
import torchvision
from torch import nn

from fer_lightning import FrameBackbone
from tests.models import random_images


@pytest.fixture(scope="module")
def network():
    """torchvision's ResNet-18 with weights and statistics that no initialisation makes."""
    torch.manual_seed(0)
    made = torchvision.models.resnet18(num_classes=30).eval()
    for module in made.modules():
        if isinstance(module, nn.BatchNorm2d):
            nn.init.uniform_(module.weight, 0.5, 1.5)
            nn.init.normal_(module.running_mean, std=0.1)
            nn.init.uniform_(module.running_var, 0.5, 1.5)
    return made


def ferplus(network):
    """Saved by a training on several GPUs, with a second head."""
    state = network.state_dict() | {"feature.weight": torch.zeros(256, 512), "feature.bias": torch.zeros(256)}
    return {
        "epoch": 60,
        "arch": "resnet18",
        "best_prec1": torch.tensor(84.5),
        "state_dict": {f"module.{key}": value for key, value in state.items()},
        "optimizer": {"state": {}, "param_groups": [{"lr": 1e-3, "params": [0, 1]}]},
    }


def msceleb(network):
    """torchvision's names, with a head of another width."""
    return {"state_dict": network.state_dict() | {"fc.weight": torch.zeros(100, 512), "fc.bias": torch.zeros(100)}}


def before_counters(network):
    """Bare weights from before torch 0.4.1, without a head."""
    left_out = ("num_batches_tracked", "fc.weight", "fc.bias")
    return {key: value for key, value in network.state_dict().items() if not key.endswith(left_out)}


def features(network, pixels):
    headless = nn.Sequential(*list(network.children())[:-1], nn.Flatten())
    with torch.no_grad():
        return headless(pixels)


FORMS = {
    ferplus: "fc.bias, fc.weight, feature.bias, feature.weight",
    msceleb: "fc.bias, fc.weight",
    before_counters: "",
}
PIXELS = {  # of red, green and blue from 0 to 1
    "unit": lambda x: x,
    "imagenet": torchvision.transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)),
}


@pytest.mark.parametrize("pixels", PIXELS)
@pytest.mark.parametrize("form", FORMS)
def test_a_file_gives_the_features_of_its_network_on_its_pixels(network, form, pixels, tmp_path, caplog):
    path = tmp_path / "face.pth.tar"
    torch.save(form(network), path)
    backbone = FrameBackbone("resnet18", str(path), pixels=pixels, channels_last=False).eval()
    backbone.load_weights()
    images = random_images(2, 3, 64, 64)
    expected = features(network, PIXELS[pixels](images / 255))
    with torch.no_grad():
        assert torch.allclose(backbone(images), expected, rtol=1e-4, atol=1e-4)
    said = [record.getMessage() for record in caplog.records]
    heads = [f"{path}: loaded into resnet18 without {FORMS[form]}, which it has no layers for"]
    assert said == (heads if FORMS[form] else [])


@pytest.mark.parametrize("form", FORMS)
def test_a_file_is_refused_while_its_pixels_are_not_stated(network, form, tmp_path):
    torch.save(form(network), tmp_path / "face.pth.tar")
    with pytest.raises(ValueError, match=r"face\.pth\.tar: .* does not tell which pixels .* state `pixels:` .*unit"):
        FrameBackbone("resnet18", str(tmp_path / "face.pth.tar")).load_weights()


def test_a_deeper_network_is_refused(network, tmp_path):
    """A ResNet-34 has all tensors of a ResNet-18, in the same shapes, and more in the same layers."""
    third = {key.replace("layer1.1", "layer1.2"): v for key, v in network.state_dict().items() if "layer1.1" in key}
    torch.save({"state_dict": network.state_dict() | third}, tmp_path / "deeper.pth")
    backbone = FrameBackbone("resnet18", str(tmp_path / "deeper.pth"), pixels="unit")
    with pytest.raises(ValueError, match=r"do not fit resnet18: .* 12 tensors more, such as layer1\.2\.bn1\.bias"):
        backbone.load_weights()
