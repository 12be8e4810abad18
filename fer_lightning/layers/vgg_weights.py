"""Pretrained weights of VGG-16: ImageNet's from timm, VGG-Face's and others from files."""

import re

from torch import nn

from fer_lightning.weights import tensors_in

CONVOLUTIONS = (2, 2, 3, 3, 3)  # in each block
FULLY_CONNECTED = {"pre_logits.fc1": "fc6", "pre_logits.fc2": "fc7", "classifier.0": "fc6", "classifier.3": "fc7"}


def _names() -> dict[str, str]:
    """Map the layer names of torchvision and timm to those of VGG's authors, such as features.0 to conv1_1."""
    names, index = dict(FULLY_CONNECTED), 0
    for block, count in enumerate(CONVOLUTIONS, start=1):
        for number in range(1, count + 1):
            names[f"features.{index}"] = f"conv{block}_{number}"
            index += 2  # skip the ReLU
        index += 1  # skip the pooling
    return names


NAMES = _names()


def _author_name(key: str) -> str:
    """Return the authors' name of a tensor, such as conv1_1.weight. Some ports write conv_1_1 and fc_6."""
    layer, _, kind = key.removeprefix("module.").rpartition(".")
    layer = re.sub(r"^(conv|fc)_(\d)", r"\1\2", layer)
    return f"{NAMES.get(layer, layer)}.{kind}"


def load_vgg_weights(network: nn.Module, content: dict[str, object], source: str) -> None:
    """Load the layers of VGG-16: conv1_1 to conv5_3, and fc6 and fc7 if both network and weights have them.

    Args:
        network: Network with layers of these names at any depth. Its other layers are not changed.
        content: Content of a file, or timm's tensors of VGG-16.
        source: Where the weights come from, for messages.

    Raises:
        ValueError: The weights lack a convolution, or a tensor has another shape.
    """
    tensors = {_author_name(key): value for key, value in tensors_in(content, source).items()}
    state = network.state_dict()
    loaded = {}
    for key, value in state.items():
        name = ".".join(key.rsplit(".", 2)[-2:])  # network.0.conv1_1.weight -> conv1_1.weight
        tensor = tensors.get(name)
        if not re.match(r"conv\d_\d\.|fc[67]\.", name) or (name.startswith("fc") and tensor is None):
            continue
        if tensor is None or tensor.numel() != value.numel() or len(tensor) != len(value):
            shape = "none" if tensor is None else tuple(tensor.shape)
            raise ValueError(
                f"the weights of {source!r} do not fit VGG-16: {name} has the shape {shape}, expected "
                f"{tuple(value.shape)}; expected a file of VGG-16 with the names of torchvision, timm or VGG-Face"
            )
        loaded[key] = tensor.view(value.shape)  # some files have fc6 as (4096, 512, 7, 7)
    network.load_state_dict(state | loaded)
