"""Pretrained weights: where they come from, under which licence, and that they are what they claim to be."""

import re
from pathlib import Path

import timm
import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from fer_lightning.paths import runs_root
from fer_lightning.runs.version_0_1_0 import upgrade_checkpoint

RANDOM = "random"
RUN = "run:"


def checkpoint_of(run: Path) -> Path:
    """The checkpoint of a run's folder (or of the only run below it), or the file itself.

    Raises:
        FileNotFoundError: there is none; the message lists what is there.
    """
    if run.is_file():
        return run
    candidates = [run, *sorted(path for path in run.glob("*") if path.is_dir())] if run.is_dir() else []
    for folder in candidates:
        for name in ("best.ckpt", "last.ckpt"):
            if (folder / "checkpoints" / name).is_file():
                return folder / "checkpoints" / name
    found = sorted(path.name for path in run.parent.glob("*"))[:12] if run.parent.is_dir() else []
    raise FileNotFoundError(
        f"no checkpoint in {run}: expected a file, or a run's folder with checkpoints/best.ckpt or last.ckpt; "
        f"{run.parent} holds {', '.join(found) or 'nothing'}"
    )


def checkpoint_named(source: str) -> Path:
    """The checkpoint of `run:NAME`, or of the path of a run or file.

    Raises:
        FileNotFoundError: there is none; the message lists what is there.
    """
    return checkpoint_of(runs_root() / source.removeprefix(RUN) if source.startswith(RUN) else Path(source))


def read_checkpoint(path: Path) -> dict[str, object]:
    """What a checkpoint or weights file holds, read without unpickling code; one of version 0.1.0 in this one's words.

    Raises:
        ValueError: it is no checkpoint, or holds something else than tensors, lists, strings and numbers.
    """
    try:
        if path.suffix == ".safetensors":
            return dict(load_file(path))
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise ValueError(
            f"{path} is no checkpoint that can be read safely ({type(error).__name__}); expected a file with tensors "
            "and plain values, as this suite, torch.save(model.state_dict()) or safetensors write it"
        ) from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}; expected a checkpoint or a table of weights")
    return upgrade_checkpoint(content)


def tensors_in(content: dict[str, object], source: object) -> dict[str, Tensor]:
    """The tensors of what `read_checkpoint` read, of its `state_dict` where it has one.

    Raises:
        ValueError: that is no table.
    """
    state = content.get("state_dict", content)
    if not isinstance(state, dict):
        raise ValueError(f"{source} holds a state_dict that is a {type(state).__name__}; expected a table of tensors")
    return {str(key): value for key, value in state.items() if isinstance(value, Tensor)}


SQUEEZE = re.compile(r"^(layer\d\.\d+)\.conv([45])\.")
"""Squeeze and excitation of a block, as the SE-ResNet-50 of VGGFace2 names them when converted from Caffe."""


def _squeeze_name(found: re.Match[str]) -> str:
    """Timm's name: layer1.0.conv4.weight is layer1.0.se.fc1.weight."""
    return f"{found[1]}.se.fc{int(found[2]) - 3}."


ABOUT_PIXELS = re.compile(r"(^|\.)(conversion\.(mean|std|bgr)|(backbone|scene)\.(scale|shift))$")
"""Tensors that tell what pixels weights were trained with, here and in version 0.1.0; the backbone compares them."""

NETWORK = "backbone.network."  # where the tensors of an image network stand in a run's checkpoint


def trained_here(source: str) -> bool:
    """Whether weights are those of a run of this suite: `run:NAME`, or the path of one."""
    if source.startswith(RUN) or source in (RANDOM, "timm"):
        return source.startswith(RUN)
    return "fer_lightning" in read_checkpoint(checkpoint_named(source))


def load_backbone_weights(network: nn.Module, name: str, source: str, prefix: str = NETWORK) -> None:
    """Fills an image network with weights, every one of them.

    Counts of batches, which files of before torch 0.4.1 lack and no network here makes use of, may be missing.

    Args:
        network: built by timm without a head.
        name: of the network in timm.
        source: `timm`, `run:NAME`, or a path.
        prefix: of the names of its tensors in a run's checkpoint.

    Raises:
        FileNotFoundError: no such run or file, or no connection to fetch timm's weights.
        ValueError: the weights do not fit the network.
    """
    if source == "timm":
        state = _published_weights(name)
    else:
        path = checkpoint_named(source)
        state = _backbone_state(read_checkpoint(path), prefix)
    own = {key: value for key, value in network.state_dict().items() if not ABOUT_PIXELS.search(key)}
    state = {key if key in own else SQUEEZE.sub(_squeeze_name, key): value for key, value in state.items()}
    fitting = {key: value for key, value in state.items() if key in own and own[key].shape == value.shape}
    missing = sorted(key for key in set(own) - set(fitting) if not key.endswith(".num_batches_tracked"))
    if missing:
        raise ValueError(
            f"the weights of {source!r} do not fit {name}: {len(missing)} of {len(own)} tensors are missing or have "
            f"another shape, such as {missing[0]} ({tuple(own[missing[0]].shape)} expected, "
            f"{tuple(state[missing[0]].shape) if missing[0] in state else 'none'} found); "
            "state the same backbone in both experiments"
        )
    network.load_state_dict(network.state_dict() | fitting)


def load_fitting_weights(model: nn.Module, source: str) -> list[str]:
    """Fills a model with the weights of another of its kind, perhaps trained on other classes.

    Args:
        model: of the same class and backbone.
        source: `run:NAME`, or the path of a run or checkpoint.

    Returns:
        The names of the tensors that do not fit and stay as they are: a last layer for other classes.

    Raises:
        FileNotFoundError: no such run or file.
        ValueError: tensors are missing or have no place, more than the last layer's weight and bias have another
            shape, or a backbone has other pixels than are stated.
    """
    path = checkpoint_named(source)
    state = read_checkpoint(path).get("state_dict")
    if not isinstance(state, dict):
        raise ValueError(f"{path} holds no state_dict; expected a checkpoint of this suite")
    own = {key: value for key, value in model.state_dict().items() if not ABOUT_PIXELS.search(key)}
    pixels = {key: value for key, value in state.items() if ABOUT_PIXELS.search(key)}
    state = {key: value for key, value in state.items() if key not in pixels}
    missing = sorted(own.keys() - state.keys())
    surplus = sorted(state.keys() - own.keys())
    other_shape = sorted(key for key in own.keys() & state.keys() if own[key].shape != state[key].shape)
    if missing or surplus or len(other_shape) > 2:
        examples = ", ".join([*missing, *surplus, *other_shape][:3])
        raise ValueError(
            f"{path} is no run of the same model: {len(missing)} tensors are missing in it, {len(surplus)} have no "
            f"place here and {len(other_shape)} have another shape, such as {examples}; state the same model and "
            "backbone as that run's config.yaml"
        )
    model.load_state_dict(own | {key: state[key] for key in own if key not in other_shape} | pixels)
    return other_shape


def _published_weights(name: str) -> dict[str, Tensor]:
    try:
        published: nn.Module = timm.create_model(name, pretrained=True, num_classes=0)
    except Exception as error:
        config = timm.get_pretrained_cfg(name)
        where = f"{config.hf_hub_id or config.url} (licence {config.license or 'not stated'})" if config else "nowhere"
        raise FileNotFoundError(
            f"the weights of {name} could not be fetched: {type(error).__name__}. They come from {where}; without a "
            "connection, fetch them elsewhere and give the file's path as weights, or use `weights: random`"
        ) from error
    return published.state_dict()


def _backbone_state(content: dict[str, object], prefix: str) -> dict[str, Tensor]:
    """The tensors of a backbone: of a run's checkpoint, of a `state_dict` in a file, or of a bare table of weights."""
    tensors = tensors_in(content, "the checkpoint")
    own = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
    return own or {key.removeprefix("module."): value for key, value in tensors.items()}
