"""Configurations of earlier versions under today's names: runs and checkpoints of 0.1.0 go on and are loaded."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

RENAMED_KEYS: Mapping[str, str] = {
    "data.sound": "data.audio",
    "data.variants": "data.train_views",
    "data.dataset.init_args.faces.sound": "data.dataset.init_args.faces.audio",
}
"""Settings by their place -> their place today."""

RENAMED_ARGUMENTS: Mapping[str, Mapping[str, str]] = {
    "AllFramesSampler": {"draws": "eval_views"},
    "AudioVisual": {"sound_backbone": "audio_backbone"},
    "CEFLNet": {"clips": "num_clips"},
    "MiddleFrameSampler": {"draws": "eval_views"},
    "RandomSampler": {"draws": "eval_views"},
    "SegmentSampler": {"draws": "eval_views"},
    "StaticFrameVote": {"never": "unsupported_classes"},
    "SubvideoSampler": {"draws": "eval_views"},
}
"""Class -> its arguments -> their names today."""

RENAMED_VALUES: Mapping[str, Mapping[str, object]] = {
    "modalities": {"sound": "audio"},
    "pixels": {"imagenet": None},  # was the default and is now left to the weights
}
"""Argument -> its values -> what they are today."""

OWN = ("data_modules.", "fer_lightning.")


def current_settings(configuration: Mapping[str, Any]) -> dict[str, Any]:
    """A resolved configuration of this or an earlier version, under today's names; it is not changed itself.

    Classes of this suite stand under the module in which they are defined, by whatever path they were named.
    """
    renamed: dict[str, Any] = _renamed(configuration, "")
    return renamed


def _renamed(values: Any, place: str) -> Any:
    if isinstance(values, list):
        return [_renamed(value, place) for value in values]
    if not isinstance(values, Mapping):
        return values
    class_path = values.get("class_path")
    arguments = RENAMED_ARGUMENTS.get(str(class_path).rsplit(".", 1)[-1], {})
    found = {}
    for key, value in values.items():
        inside = f"{place}.{key}" if place else key
        name = RENAMED_KEYS.get(inside, inside).rsplit(".", 1)[-1]
        if key == "class_path":
            found[name] = _defined_in(value)
        elif key == "init_args" and isinstance(value, Mapping):
            found[name] = _renamed({arguments.get(name, name): each for name, each in value.items()}, inside)
        else:
            found[name] = _renamed(_current_value(key, value), inside)
    return found


def _current_value(name: str, value: Any) -> Any:
    """The value of an argument as it is written today."""
    known = RENAMED_VALUES.get(name, {})
    if isinstance(value, list):
        return [known.get(each, each) if isinstance(each, str) else each for each in value]
    return known.get(value, value) if isinstance(value, str) else value


def _defined_in(class_path: Any) -> Any:
    """The path of a class of this suite by the module that defines it; another value as it is."""
    if not isinstance(class_path, str) or not class_path.startswith(OWN):
        return class_path
    module, _, name = class_path.rpartition(".")
    try:
        found = getattr(import_module(module), name)
    except (ImportError, AttributeError):
        return class_path  # whoever makes it will say so
    return f"{found.__module__}.{found.__qualname__}"
