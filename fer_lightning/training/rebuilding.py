"""Builds a model and the settings of its input from a checkpoint; nothing is unpickled or downloaded."""

import os
import re
import textwrap
from argparse import ArgumentError
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Generic, TypeVar, cast

import torch
from jsonargparse import ArgumentParser
from torch import nn

from data_modules.audio.settings import AudioSettings
from data_modules.faces.settings import FaceSettings
from data_modules.loading.transforms import ClipAugmentation
from data_modules.sampling import FrameSampler
from fer_lightning.runs.own_classes import OWN
from fer_lightning.weights import ENTRY

TRUSTED = "FER_TRUSTED_MODULES"
DOTTED = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+")
MAX_SIDE = 4096  # pixels of a crop or spectrogram
MAX_DETAIL = 600  # characters of a quoted error: that of other weights would list all of their names
Model = TypeVar("Model", bound=nn.Module)


@dataclass(frozen=True)
class Rebuilt(Generic[Model]):
    """A trained model and the settings of its input."""

    model: Model
    sampler: FrameSampler
    faces: FaceSettings
    audio: AudioSettings
    augmentation: ClipAugmentation | None


def rebuild(base: type[Model], content: dict[str, object], path: Path, weights: bool = True) -> Rebuilt[Model]:
    """Builds what a checkpoint describes; only models and samplers of this suite can be instantiated.

    Args:
        base: the class of the model, or one that it is derived from.
        content: the content of the checkpoint.
        path: its path, for error messages.
        weights: whether the model has its weights, or empty tensors in their place, which take no time.

    Raises:
        ValueError: the checkpoint is not one of this suite, holds a model of another class, or its configuration and
            weights do not fit.
    """
    own = content.get(ENTRY)
    if not isinstance(own, dict) or not own.get("configuration"):
        raise ValueError(
            f"{path} was not written by `fer train`: it holds {', '.join(sorted(map(str, content)))[:200]}, but no "
            "`fer_lightning` entry with class names and configuration. To start from its weights, give it as "
            "`weights` of a backbone"
        )
    with errors_named(path):
        return _rebuilt(base, own, cast(dict[str, Any], content["state_dict"]) if weights else None, path)


@contextmanager
def errors_named(path: Path) -> Iterator[None]:
    """Turns the errors of what is read from a checkpoint into a `ValueError` that names its path."""
    try:
        yield
    except (ArgumentError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"{path}: its configuration and weights do not make a model of this version of the suite: "
            f"{type(error).__name__}: {textwrap.shorten(str(error), MAX_DETAIL)}"
        ) from error


def _rebuilt(base: type[Model], own: dict[str, Any], weights: dict[str, Any] | None, path: Path) -> Rebuilt[Model]:
    model, data = without_training(own["configuration"]["model"], own["class_names"]), own["configuration"]["data"]
    settings = {
        "sampler": data["sampler"],
        "faces": data["dataset"]["init_args"]["faces"],
        "audio": data.get("audio") or {},  # the defaults
        "augmentation": data["augmentation"],
    }
    _refuse_foreign_modules([model, *settings.values()], path)
    _refuse_huge_pictures(data["size"], settings["faces"], settings["audio"])
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(base, "model")
    parser.add_argument("--sampler", type=FrameSampler)
    parser.add_argument("--faces", type=FaceSettings)
    parser.add_argument("--audio", type=AudioSettings)
    parser.add_argument("--augmentation", type=ClipAugmentation | None)
    parser.link_arguments("sampler.num_clips", "model.init_args.num_clips", apply_on="instantiate")
    parsed = parser.parse_object({"model": model, **settings})
    with torch.device("meta") if weights is None else nullcontext():
        built = parser.instantiate_classes(parsed)
    if weights is not None:
        built.model.load_state_dict(weights)
    return Rebuilt(built.model, built.sampler, built.faces, built.audio, built.augmentation)


def _refuse_huge_pictures(size: object, *settings: dict[str, Any]) -> None:
    """Refuses pictures that would fill the memory.

    Raises:
        ValueError: crops or spectrograms have more than `MAX_SIDE` pixels a side.
    """
    for side in (size, *(part.get("size", 1) for part in settings)):
        if not 0 < int(str(side)) <= MAX_SIDE:
            raise ValueError(f"found pictures of {side} pixels a side, expected 1 to {MAX_SIDE}")


def _refuse_foreign_modules(values: object, path: Path) -> None:
    """Refuses settings that would import modules of other packages, since importing a module runs its code.

    The environment variable FER_TRUSTED_MODULES allows further packages: their names, separated by commas.

    Raises:
        ValueError: a class belongs to another package; the message names it.
    """
    trusted = {*OWN, *os.environ.get(TRUSTED, "").replace(" ", "").split(",")}
    for name in _dotted(values):
        package = name.split(".")[0]
        if package not in trusted and find_spec(package) is not None:
            raise ValueError(
                f"{path} asks for {name}; expected classes of {' and '.join(OWN)} only, since importing others runs "
                f"their code. If you trust that package, set {TRUSTED}={package}"
            )


def _dotted(values: object) -> Iterator[str]:
    """Yields all strings that jsonargparse might import."""
    if isinstance(values, dict):
        yield from _dotted(list(values.values()))
    elif isinstance(values, list):
        for value in values:
            yield from _dotted(value)
    elif isinstance(values, str) and DOTTED.fullmatch(values):
        yield values


def without_training(model: dict[str, Any], class_names: Sequence[str]) -> dict[str, Any]:
    """Returns a model's configuration with its class names and without optimiser and schedule."""
    left_out = ("optimizer", "scheduler")
    arguments = {name: value for name, value in model["init_args"].items() if name not in left_out}
    return model | {"init_args": arguments | {"class_names": list(class_names)}}
