"""Overrides: settings in which a run differs from its experiment, their full names, and what a variant is called."""

import json
import re
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import yaml

from fer_lightning.experiments.system import similar_names
from fer_lightning.runs.folder import SAFE_LOADER

CLIPS = "it is the number of clips that the sampler takes; vary data.sampler.clips"
DERIVED = {
    "model.num_clips": CLIPS,
    "data.num_clips": CLIPS,
    "model.class_names": "these are the classes of the data set",
    "seed_everything": "--seeds names the seeds",
    "data.seed": "--seeds names the seeds",
    "data.dataset.fold": "--folds names the folds",
}
"""Settings that a run takes from elsewhere -> from where."""
EXPONENT = re.compile(r"[-+]?(\d+\.?\d*|\.\d+)[eE][-+]?\d+")
"""A number such as 1e-4, which YAML 1.1 reads as text."""
CLASS, ARGUMENTS = "class_path", "init_args"


@dataclass(frozen=True)
class Override:
    """A setting with a value.

    Args:
        key: the setting's full name, such as `model.init_args.sal`.
        value: its value: a number, text, true or false, null, or a list of these.
    """

    key: str
    value: Any

    @property
    def text(self) -> str:
        """The value as on a command line."""
        return self.value if isinstance(self.value, str) else json.dumps(self.value)

    @property
    def arguments(self) -> tuple[str, str]:
        """The override as two arguments of `fer train`."""
        return f"--{self.key}", self.text

    @property
    def name(self) -> str:
        """The override as a part of a variant's name, such as `sal_false`."""
        return f"{short_name(self.key)}_{re.sub(r'[^A-Za-z0-9.+-]+', '_', self.text).strip('_')}"


def variant_name(overrides: Iterable[Override]) -> str:
    """Returns the name of the variant that some overrides make, whatever their order; empty if there are none."""
    return "-".join(override.name for override in sorted(overrides, key=lambda each: each.key))


def short_name(key: str) -> str:
    """Returns a setting's name without its room and without `init_args`: `backbone_name`."""
    _, *parts = [part for part in key.split(".") if part != ARGUMENTS]
    return "_".join(parts) or key


def parse_value(text: str) -> Any:
    """Returns the value that some text stands for, read as YAML.

    Raises:
        ValueError: the text is not valid YAML.
    """
    try:
        return _with_numbers(yaml.load(text, Loader=SAFE_LOADER))
    except yaml.YAMLError as error:
        raise ValueError(f"{text!r} cannot be read as a value or a list of values such as [true, false]") from error


def _with_numbers(value: Any) -> Any:
    """Returns a value in which text such as 1e-4 is a number."""
    if isinstance(value, list):
        return [_with_numbers(each) for each in value]
    return float(value) if isinstance(value, str) and EXPONENT.fullmatch(value) else value


def parse_arguments(config: dict[str, Any], arguments: Sequence[str]) -> list[Override]:
    """Returns the overrides that some arguments of `fer train` state.

    Args:
        config: the experiment's resolved configuration.
        arguments: pairs such as `--model.sal`, `false`.

    Raises:
        ValueError: they are not pairs, or the experiment has no such setting.
    """
    keys, values = arguments[::2], arguments[1::2]
    if len(keys) != len(values) or not all(key.startswith("--") for key in keys):
        raise ValueError(f"expected settings with values such as --model.sal false, found {' '.join(arguments)}")
    pairs = zip(keys, values, strict=True)
    return [Override(full_key(config, key.removeprefix("--")), parse_value(value)) for key, value in pairs]


def full_key(config: dict[str, Any], key: str) -> str:
    """Returns a setting's full name, as the parser's files and W&B's configurations have it.

    Args:
        config: the experiment's resolved configuration.
        key: the setting, with or without `init_args`, such as `model.sal` or `data.sampler.clips`.

    Raises:
        ValueError: the experiment has no such setting, or takes its value from elsewhere; the message says what to use.
    """
    parts = [part for part in key.split(".") if part != ARGUMENTS]
    if ".".join(parts) in DERIVED:
        raise ValueError(f"{key} cannot be set: {DERIVED['.'.join(parts)]}")
    place: Any = config
    found: list[str] = []
    for number, part in enumerate(parts):
        if place is None:  # such as a schedule that is not set; the parser knows what it may have
            return key if ARGUMENTS in key else ".".join([*found, *parts[number:]])
        if part != CLASS and isinstance(place, dict) and CLASS in place:
            place = place.get(ARGUMENTS) or {}
            found.append(ARGUMENTS)
        if not isinstance(place, dict) or part not in place:
            raise ValueError(
                f"no setting {key!r}; {similar_names('.'.join(parts), _candidates(config, place, parts[:number]))}"
            )
        found.append(part)
        place = place[part]
    return ".".join(found)


def _candidates(config: dict[str, Any], place: Any, parents: Sequence[str]) -> list[str]:
    """Returns the settings beside one that does not exist, or all where its first part is unknown."""
    return [".".join([*parents, key]) for key in place] if parents and isinstance(place, dict) else list(_keys(config))


def _keys(config: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Yields the short names of all settings of a configuration."""
    for key, value in config.items():
        name = prefix if key == ARGUMENTS else f"{prefix}.{key}".strip(".")
        if isinstance(value, dict) and value:
            yield from _keys(value, name)
        else:
            yield name


def is_own(config: dict[str, Any], override: Override) -> bool:
    """Whether an override states the value that the experiment has anyway.

    Args:
        config: the experiment's resolved configuration.
        override: with the setting's full name.
    """
    place: Any = config
    for part in override.key.split("."):
        if not isinstance(place, dict) or part not in place:
            return False
        place = place[part]
    return isinstance(place, bool) == isinstance(override.value, bool) and bool(place == override.value)
