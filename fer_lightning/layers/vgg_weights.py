"""Weights of VGG-16 from elsewhere: ImageNet's by name, VGG-Face's and others' by file."""

import re

import timm
from torch import nn

from fer_lightning.weights import checkpoint_named, load_backbone_weights, read_checkpoint, tensors_in

CONVOLUTIONS = (2, 2, 3, 3, 3)  # of the blocks
FULLY_CONNECTED = {"pre_logits.fc1": "fc6", "pre_logits.fc2": "fc7", "classifier.0": "fc6", "classifier.3": "fc7"}


def _names() -> dict[str, str]:
    """Torchvision's and timm's names of the layers -> the authors' own: features.0 -> conv1_1."""
    names, place = dict(FULLY_CONNECTED), 0
    for block, count in enumerate(CONVOLUTIONS, start=1):
        for number in range(1, count + 1):
            names[f"features.{place}"] = f"conv{block}_{number}"
            place += 2  # a ReLU stands behind each
        place += 1  # the pooling
    return names


NAMES = _names()


def _our_name(key: str) -> str:
    """The authors' name of a tensor, such as conv1_1.weight; conv_1_1 and fc_6 are ports of theirs."""
    layer, _, kind = key.removeprefix("module.").rpartition(".")
    layer = re.sub(r"^(conv|fc)_(\d)", r"\1\2", layer)
    return f"{NAMES.get(layer, layer)}.{kind}"


def load_vgg_weights(network: nn.Module, source: str) -> None:
    """Fills the layers that VGG-16 has - conv1_1 to conv5_3, and fc6 and fc7 where both have them.

    Args:
        network: whose layers have these names, wherever they stand; its other layers stay as they are.
        source: `timm` for ImageNet's weights, or a file's path.

    Raises:
        FileNotFoundError: no such file, or no connection to fetch timm's weights.
        ValueError: a convolution is missing in the file, or a tensor has another shape.
    """
    if source == "timm":
        published = timm.create_model("vgg16", num_classes=0)
        load_backbone_weights(published, "vgg16", source)
        tensors = published.state_dict()
    else:
        tensors = tensors_in(read_checkpoint(checkpoint_named(source)), source)
    found = {_our_name(key): value for key, value in tensors.items()}
    own = network.state_dict()
    filled = {}
    for key, value in own.items():
        name = ".".join(key.rsplit(".", 2)[-2:])  # network.0.conv1_1.weight -> conv1_1.weight
        if not re.match(r"conv\d_\d\.|fc[67]\.", name) or (name.startswith("fc") and name not in found):
            continue
        if name not in found or found[name].numel() != value.numel() or len(found[name]) != len(value):
            there = tuple(found[name].shape) if name in found else "none"
            raise ValueError(
                f"the weights of {source!r} do not fit VGG-16: {name} has the shape {there}, expected "
                f"{tuple(value.shape)}; expected a file of VGG-16 with the names of torchvision, timm or VGG-Face"
            )
        filled[key] = found[name].view(value.shape)  # fc6 stands as (4096, 512, 7, 7) in some files
    network.load_state_dict(own | filled)
