"""Pretrained weights: finding, reading and loading them, with a check that they fit."""

import json
import logging
import re
from pathlib import Path

import timm
import torch
from safetensors import safe_open
from torch import Tensor, nn

from data_modules.faces.onnx_session import check_onnx_file, package
from fer_lightning.paths import RUN, runs_root
from fer_lightning.runs.version_0_1_0 import upgrade_checkpoint
from fer_lightning.zoo.model_file import ENTRY as ENTRY

RANDOM = "random"
SAFETENSORS, ONNX = ".safetensors", ".onnx"
log = logging.getLogger(__name__)


def checkpoint_of(run: Path) -> Path:
    """Finds the checkpoint of a run.

    Args:
        run: the run's folder, the folder above, which stands for the first run in it, or a checkpoint.

    Raises:
        FileNotFoundError: there is no checkpoint; the message lists the runs beside it.
    """
    if run.is_file():
        return run
    candidates = [run, *sorted(path for path in run.glob("*") if path.is_dir())] if run.is_dir() else []
    for folder in candidates:
        for name in ("best.ckpt", "last.ckpt"):
            if (folder / "checkpoints" / name).is_file():
                return folder / "checkpoints" / name
    siblings = sorted(path.name for path in run.parent.glob("*"))[:12] if run.parent.is_dir() else []
    raise FileNotFoundError(
        f"no checkpoint in {run}: expected a file, or a run's folder with checkpoints/best.ckpt or last.ckpt; "
        f"{run.parent} holds {', '.join(siblings) or 'nothing'}"
    )


def checkpoint_named(source: str) -> Path:
    """Finds the checkpoint of `run:NAME`, or of the path of a run or checkpoint.

    Raises:
        FileNotFoundError: there is no checkpoint; the message lists the runs beside it.
    """
    return checkpoint_of(runs_root() / source.removeprefix(RUN) if source.startswith(RUN) else Path(source))


def read_checkpoint(path: Path, mapped: bool = False) -> dict[str, object]:
    """Reads a checkpoint or any file of weights without running pickled code; names of version 0.1.0 become today's.

    Args:
        path: of the file.
        mapped: whether tensors stay in the file until they are used, for whoever needs the rest of its content alone.

    Raises:
        ValueError: the file is not a checkpoint, or holds more than tensors, lists, strings and numbers.
    """
    try:
        if path.suffix == SAFETENSORS:
            return _read_safetensors(path)
        if path.suffix == ONNX:
            return _read_onnx(path)
        content = torch.load(path, map_location="cpu", weights_only=True, mmap=mapped)
    except Exception as error:
        raise ValueError(
            f"{path} cannot be read safely as a checkpoint ({type(error).__name__}); expected a file of tensors and "
            "plain values, written by this suite, torch.save(model.state_dict()) or safetensors"
        ) from error
    if not isinstance(content, dict):
        raise ValueError(f"{path} holds a {type(content).__name__}; expected a checkpoint or a table of weights")
    return upgrade_checkpoint(content)


def _read_safetensors(path: Path) -> dict[str, object]:
    """Reads a file of tensors, or one of `fer export` as the checkpoint that it was made from."""
    with safe_open(path, "pt") as file:
        tensors: dict[str, object] = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        entry = (file.metadata() or {}).get(ENTRY)
    if not entry:
        return tensors
    own = json.loads(entry)
    return {"state_dict": tensors, ENTRY: own, "epoch": own["epoch"]}


def _read_onnx(path: Path) -> dict[str, object]:
    """Reads an ONNX file of `fer export` as a checkpoint without weights, whose model runs that file."""
    check_onnx_file(path)
    content = package("onnx").load_model(str(path), load_external_data=False)
    entry = {each.key: each.value for each in content.metadata_props}.get(ENTRY)
    if not entry:
        raise ValueError(f"{path} is not of this suite")
    own = json.loads(entry)
    arguments = {"file": str(path.absolute()), "inputs": own["inputs"]}
    model = {"class_path": "fer_lightning.training.onnx_classifier.OnnxClassifier", "init_args": arguments}
    own["configuration"]["model"] = model
    return {"state_dict": {}, ENTRY: own, "epoch": own["epoch"]}


def read_source(source: str) -> dict[str, object]:
    """Reads what `weights` names: `run:NAME`, or the path of a run, a checkpoint or a file of weights.

    Raises:
        FileNotFoundError: there is no such file; the message lists the runs beside it.
        ValueError: the file is not a checkpoint, or holds more than tensors, lists, strings and numbers.
    """
    return read_checkpoint(checkpoint_named(source))


def trained_here(content: dict[str, object]) -> bool:
    """Whether weights were trained with this suite, whose checkpoints hold class names and configuration."""
    return ENTRY in content


def classes_in(content: dict[str, object]) -> tuple[str, ...]:
    """Returns the class names of a model that was trained with this suite; none for other files."""
    own = content.get(ENTRY)
    return tuple(own.get("class_names") or ()) if isinstance(own, dict) else ()


def tensors_in(content: dict[str, object], source: object) -> dict[str, Tensor]:
    """Returns the tensors of a checkpoint's `state_dict`, or of the whole content if there is no `state_dict`.

    Args:
        content: the content of a checkpoint, from `read_checkpoint`.
        source: the checkpoint's name, for messages.

    Raises:
        ValueError: the `state_dict` is not a dictionary.
    """
    state = content.get("state_dict", content)
    if not isinstance(state, dict):
        raise ValueError(f"{source} holds a state_dict that is a {type(state).__name__}; expected a table of tensors")
    return {str(key): value for key, value in state.items() if isinstance(value, Tensor)}


Renames = tuple[tuple[str, str], ...]
"""Pairs of a regular expression and what takes its place, in the order in which they are applied."""


def renamed(key: str, renames: Renames) -> str:
    """Returns this suite's name of another project's tensor."""
    for pattern, replacement in renames:
        key = re.sub(pattern, replacement, key)
    return key


SQUEEZE = re.compile(r"^(layer\d\.\d+)\.conv([45])\.")
"""Names of squeeze-and-excitation layers in the SE-ResNet-50 of VGGFace2 as converted from Caffe."""


def _timm_squeeze_name(match: re.Match[str]) -> str:
    """Returns timm's name: layer1.0.conv4.weight becomes layer1.0.se.fc1.weight."""
    return f"{match[1]}.se.fc{int(match[2]) - 3}."


ABOUT_PIXELS = re.compile(r"(^|\.)(conversion\.(mean|std|bgr|grey)|(backbone|scene)\.(scale|shift))$")
"""Tensors that record the pixel convention of weights, here and in version 0.1.0; the backbone compares them."""

NETWORK = "backbone.network."  # prefix of an image network's tensors in a run's checkpoint


def load_backbone_weights(
    network: nn.Module, content: dict[str, object], source: str, name: str, prefix: str = NETWORK
) -> None:
    """Loads all weights of an image network.

    Only the counters `num_batches_tracked` may be missing: files from before torch 0.4.1 lack them, and no network
    here uses them. Files from other sources may have heads for their own classes or embeddings, of any width and number
    (`fc`, `feature`), in layers beside the network's. They are left out, and the log says so.

    Args:
        network: a network that timm built without a head.
        content: what `read_source` or `published_weights` has read.
        source: `timm`, `run:NAME`, or a path, for messages.
        name: the network's name, for messages.
        prefix: prefix of the network's tensors in a run's checkpoint.

    Raises:
        ValueError: the weights do not fit the network, or that network has further layers of which a part would be left
            out: any in a run, and in a file from another source those inside a layer that both have, such as the third
            block of a ResNet-34's `layer1`.
    """
    state = _backbone_state(content, prefix)
    own = {key: value for key, value in network.state_dict().items() if not ABOUT_PIXELS.search(key)}
    state = {key if key in own else SQUEEZE.sub(_timm_squeeze_name, key): value for key, value in state.items()}
    fitting = {key: value for key, value in state.items() if key in own and own[key].shape == value.shape}
    missing = sorted(key for key in set(own) - set(fitting) if not key.endswith(".num_batches_tracked"))
    if missing:
        raise ValueError(
            f"the weights of {source!r} do not fit {name}: {len(missing)} of {len(own)} tensors are missing or have "
            f"another shape, such as {_with_shapes(missing, own, state)}; use the same backbone in both experiments"
        )
    about_pixels = ("scale", "shift")  # of version 0.1.0's backbones
    further = sorted(key for key in set(state) - set(own) if not (key in about_pixels or ABOUT_PIXELS.search(key)))
    layers = {key.partition(".")[0] for key in own}
    refused = [key for key in further if trained_here(content) or key.partition(".")[0] in layers]
    if refused:
        raise ValueError(
            f"the weights of {source!r} do not fit {name}: that network has {len(refused)} tensors more, such as "
            f"{', '.join(refused[:3])}, which would be left out; use the same backbone in both experiments"
        )
    if further:
        log.warning("%s: loaded into %s without %s, which it has no layers for", source, name, ", ".join(further[:6]))
    network.load_state_dict(network.state_dict() | fitting)


def _with_shapes(names: list[str], expected: dict[str, Tensor], found: dict[str, Tensor]) -> str:
    """Names up to three tensors with the shapes that are expected and found."""

    def shape(state: dict[str, Tensor], name: str) -> tuple[int, ...] | str:
        return tuple(state[name].shape) if name in state else "none"

    return ", ".join(f"{name} ({shape(expected, name)} expected, {shape(found, name)} found)" for name in names[:3])


def load_fitting_weights(model: nn.Module, source: str) -> list[str]:
    """Loads the weights of a model of the same class, which may have been trained on other classes.

    Args:
        model: a model of the same class and backbone.
        source: `run:NAME`, or the path of a run or checkpoint.

    Returns:
        The names of the tensors that were left out because their shapes differ: a last layer for other classes.

    Raises:
        FileNotFoundError: the run or file does not exist.
        ValueError: tensors are missing or unexpected, more than the last layer's weight and bias have another shape,
            or a backbone was trained with another pixel convention.
    """
    path = checkpoint_named(source)
    return load_fitting_content(model, read_checkpoint(path), path)


def load_fitting_content(model: nn.Module, content: dict[str, object], path: object) -> list[str]:
    """Does what `load_fitting_weights` does, with the content of a checkpoint; `path` names it in messages."""
    state = content.get("state_dict")
    if not isinstance(state, dict):
        raise ValueError(f"{path} has no state_dict; expected a checkpoint of this suite")
    own = {key: value for key, value in model.state_dict().items() if not ABOUT_PIXELS.search(key)}
    pixels = {key: value for key, value in state.items() if ABOUT_PIXELS.search(key)}
    state = {key: value for key, value in state.items() if key not in pixels}
    missing = sorted(own.keys() - state.keys())
    unexpected = sorted(state.keys() - own.keys())
    other_shape = sorted(key for key in own.keys() & state.keys() if own[key].shape != state[key].shape)
    if missing or unexpected or len(other_shape) > 2:
        examples = _with_shapes([*missing, *other_shape, *unexpected], own, state)
        raise ValueError(
            f"{path} is not a checkpoint of the same model: {len(missing)} tensors are missing in it, "
            f"{len(unexpected)} are unexpected and {len(other_shape)} have another shape, such as "
            f"{examples}; use the same model and backbone as that run's config.yaml"
        )
    model.load_state_dict(own | {key: state[key] for key in own if key not in other_shape} | pixels)
    return other_shape


def published_weights(name: str, head: bool = False) -> dict[str, object]:
    """Returns the tensors that timm publishes for a network, and downloads them if necessary.

    Args:
        name: the network's name in timm.
        head: with the network's head, such as the projection of CLIP's towers.

    Raises:
        FileNotFoundError: the weights cannot be downloaded; the message says where they come from.
    """
    try:
        options = {} if head else {"num_classes": 0}
        published: nn.Module = timm.create_model(name, pretrained=True, **options)
    except Exception as error:
        config = timm.get_pretrained_cfg(name)
        origin = f"{config.hf_hub_id or config.url} (licence {config.license or 'not stated'})" if config else "nowhere"
        raise FileNotFoundError(
            f"the weights of {name} could not be downloaded: {type(error).__name__}. They come from {origin}; without "
            "a connection, download them elsewhere and give the file's path as weights, or use `weights: random`"
        ) from error
    return dict(published.state_dict())


def _backbone_state(content: dict[str, object], prefix: str) -> dict[str, Tensor]:
    """Returns the tensors of a backbone from the checkpoint of a run, a `state_dict` in a file, or bare weights."""
    tensors = tensors_in(content, "the checkpoint")
    own = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
    return own or {key.removeprefix("module."): value for key, value in tensors.items()}
