"""Files of systems: what a system is, what it changes at small size, and what differs on a data set."""

import difflib
from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass
from fnmatch import fnmatch
from functools import lru_cache
from importlib import metadata
from pathlib import Path
from typing import Any, Literal

from data_modules.utils.files import file_state
from fer_lightning.runs.folder import read_yaml

Size = Literal["small", "paper"]
Need = Literal["motion", "audio", "landmarks", "person"]
BASE = "base.yaml"
OWN_KEYS = ("extends", "on", "small")
"""Keys of a system's file that are not settings."""


@dataclass
class ExperimentInfo:
    """The section `experiment:` of a system's file.

    Args:
        summary: one line for `make help` and `fer experiments`.
        size: the size to run at by default; `small` adds the section `small:` of the system's file.
        needs: what the system needs of a data set besides pictures of faces: more than one frame (`motion`), `audio`,
            `landmarks`, or the `person` around the face. Landmarks and persons are located if the data set is not
            configured to. A system that needs `audio` and nothing else looks at no faces.
        lengthen: the number of frames to which shorter clips are interpolated, if the data set is not configured to
            lengthen them; 0 for none. It is a setting of the faces, `data.dataset.faces.lengthen`.
        monitor: value of the inner split that chooses the epoch, such as `inner/war` or `inner/loss`. Losses and
            metrics for which lower is better are minimised, all others maximised.
        faces: name of the file in `experiments/faces/` with the faces of the paper. They are made only where they are
            asked for; runs on other faces say so.
        temporal: whether the report says what the order of the frames is worth: a trained model of several frames
            predicts the reported split again with the frames shuffled, reversed, and all the middle or the apex frame.
            That costs three forward passes over the reported split, four where the apex is known.
        compile: whether `torch.compile` compiles the model. It needs a C++ compiler and takes a minute or more to
            begin; then a step of CEFLNet at the paper's size takes 19 ms on an H200 instead of 26.
    """

    summary: str = ""
    size: Size = "paper"
    needs: tuple[Need, ...] = ()
    lengthen: int = 0
    monitor: str = "inner/war"
    faces: str = ""
    temporal: bool = True
    compile: bool = False


@dataclass(frozen=True)
class Layer:
    """Settings that override those of the layers before.

    Args:
        origin: the file and the section that state them, for messages.
        content: the settings, as in a file of Lightning's command line.
    """

    origin: str
    content: dict[str, Any]


def experiments_folder() -> Path:
    """Returns `experiments/` in the working folder, or else in the repository of this code, or else in its wheel.

    Raises:
        FileNotFoundError: none of them exists.
    """
    candidates = [Path("experiments"), Path(__file__).parents[2] / "experiments"]
    for folder in (*candidates, installed_experiments()):
        if folder is not None and (folder / BASE).is_file():
            return folder
    raise FileNotFoundError(
        f"no experiments: looked for {BASE} in {' and '.join(str(path.absolute()) for path in candidates)}, and in the "
        "installed package; run from a checkout of the repository, or install its wheel"
    )


@lru_cache
def installed_experiments() -> Path | None:
    """Returns where a wheel has put `experiments/`; None if this code was not installed from one."""
    try:
        files = metadata.files("fer_lightning") or []
    except metadata.PackageNotFoundError:
        return None
    bases = (file for file in files if file.parts[-2:] == ("experiments", BASE))
    return next((Path(str(file.locate())).resolve().parent for file in bases), None)


def system_names() -> list[str]:
    """Lists the systems, in alphabetical order."""
    return yaml_names(experiments_folder() / "systems")


def data_names() -> list[str]:
    """Lists the data sets, in alphabetical order."""
    return yaml_names(experiments_folder() / "data")


def yaml_names(folder: Path) -> list[str]:
    """Lists the YAML files of a folder by their names without `.yaml`, in alphabetical order."""
    return list(_yaml_names(folder, file_state(folder)))


@lru_cache(maxsize=16)
def _yaml_names(folder: Path, state: tuple[int, ...] | None) -> tuple[str, ...]:
    """Lists a folder in a state, which is another one once files are added to it or removed."""
    return tuple(sorted(path.stem for path in folder.glob("*.yaml")))


def experiment_pairs() -> list[str]:
    """Lists the names of every system on every data set, whether or not the data set has what the system needs."""
    return [f"{system}_{data}" for system in system_names() for data in data_names()]


def is_system(name: str) -> bool:
    """Whether there is a system of that name, in the suite or in the working folder."""
    return name in system_names() or own_system_file(name).is_file()


def own_system_file(name: str) -> Path:
    """Returns where the file of a system of one's own is looked for: in the working folder."""
    return Path(f"{name}.yaml")


def system_file(name: str) -> Path:
    """Returns the file of a system: of the suite, or else of the working folder.

    Raises:
        FileNotFoundError: no system has that name; the message suggests similar ones.
    """
    if name not in system_names() and own_system_file(name).is_file():
        return own_system_file(name)
    return _require_file(experiments_folder() / "systems" / f"{name}.yaml", "system", system_names())


def data_file(name: str) -> Path:
    """Returns the file that configures a data set.

    Raises:
        FileNotFoundError: no data set has that name; the message suggests similar ones.
    """
    return _require_file(experiments_folder() / "data" / f"{name}.yaml", "data set", data_names())


def _require_file(path: Path, kind: str, names: list[str]) -> Path:
    """Returns `path` if it is a file; otherwise raises an error that suggests similar names."""
    if path.is_file():
        return path
    raise FileNotFoundError(f"no {kind} {path.stem!r} in {path.parent}; {similar_names(path.stem, names)}")


def similar_names(name: str, names: list[str]) -> str:
    """Says which of some names are similar to one that does not exist, or lists them all."""
    similar = difflib.get_close_matches(name, names, n=3, cutoff=0.4)
    return f"did you mean {' or '.join(similar)}?" if similar else f"there are: {', '.join(names)}"


def system_summary(system: str) -> str:
    """Returns the line that describes a system.

    Raises:
        FileNotFoundError: no system has that name.
    """
    own = list(_family(system))[-1][1]
    return str((own.get("experiment") or {}).get("summary", ""))


def is_ensemble(system: str) -> bool:
    """Whether a system combines others.

    Raises:
        FileNotFoundError: no system has that name.
        ValueError: a file is not a system.
    """
    return any("ensemble" in content for _, content in _family(system))


def system_layers(system: str, data: str, size: Size | None = None) -> list[Layer]:
    """Returns the settings of a system on a data set, in the order in which they override each other.

    These are: the base of all systems, the systems that this one extends, its own settings; then what all of these
    state for the data set (`on:`); then, at small size, what they state for it (`small:`), there too with `on:`.

    Args:
        system: name of the system.
        data: name of the data set.
        size: `small` or `paper`; None for the size that the layers name.

    Raises:
        FileNotFoundError: no system has that name.
        ValueError: a file is not a system, or has no small size.
    """
    family = list(_family(system))
    layers = [Layer(str(file), _settings(content)) for file, content in family]
    layers += [layer for file, content in family for layer in _on_data(str(file), content, data)]
    if (size or default_size(layers)) == "small":
        small = [(f"{file}, small", _section(str(file), content, "small")) for file, content in family]
        layers += [
            Layer(where, {key: each for key, each in content.items() if key != "on"}) for where, content in small
        ]
        layers += [layer for where, content in small for layer in _on_data(where, content, data)]
    return [layer for layer in layers if layer.content]


def _on_data(where: str, content: dict[str, Any], data: str) -> Iterator[Layer]:
    """Yields what some settings state for a data set; names in `on:` may be patterns such as `synthetic*`."""
    for name, settings in _section(where, content, "on").items():
        if fnmatch(data, name):
            yield Layer(f"{where}, on {name}", settings)


def default_size(layers: list[Layer]) -> Size:
    """Returns the size that the last of some layers names."""
    size: Size = "paper"
    for layer in layers:
        size = (layer.content.get("experiment") or {}).get("size", size)
    return size


def base_settings() -> dict[str, Any]:
    """Returns the settings that all systems share."""
    return _settings(read_settings(experiments_folder() / BASE))


def _settings(content: dict[str, Any]) -> dict[str, Any]:
    """Returns the settings in a file, without its sections for data sets and small size."""
    return {key: value for key, value in content.items() if key not in OWN_KEYS}


def _family(system: str) -> Iterator[tuple[Path, dict[str, Any]]]:
    """Yields the files that make up a system, and their contents: the base, what it extends, and its own."""
    files: list[tuple[Path, dict[str, Any]]] = []
    names: list[str] = []
    name: str | None = system
    while name:
        if name in names:
            raise ValueError(f"{' > '.join((*names, name))}: a system cannot extend itself")
        names.append(name)
        file = system_file(name)
        content = read_settings(file)
        name = content.get("extends")
        if not name and ("model" in content) == ("ensemble" in content):
            raise ValueError(f"{file}: expected a system with `model:`, or one with `ensemble:` and no model")
        files.append((file, content))
    base = experiments_folder() / BASE
    shared = read_settings(base)
    if "ensemble" in files[-1][1]:
        shared = {key: value for key, value in shared.items() if key != "trainer"}
    yield base, shared
    yield from reversed(files)


def read_settings(file: Path) -> dict[str, Any]:
    """Reads a file of settings, which is parsed again only when it has changed.

    Raises:
        ValueError: the file holds something else.
    """
    return deepcopy(_parsed(file, file_state(file)))


@lru_cache(maxsize=512)
def _parsed(file: Path, state: tuple[int, ...] | None) -> dict[str, Any]:
    """Returns the content of a file in a state."""
    content = read_yaml(file)
    if not isinstance(content, dict):
        raise ValueError(f"{file}: expected settings, found {str(content)[:80]!r}")
    return _with_names(content)


def _with_names(content: dict[Any, Any]) -> dict[str, Any]:
    """Returns settings with the name `on`, which YAML reads as true."""
    return {"on" if key is True else key: value for key, value in content.items()}


def _section(where: str, content: dict[str, Any], name: str) -> dict[str, Any]:
    """Returns a section of some settings, empty where there is none.

    Raises:
        ValueError: the section holds something other than settings.
    """
    section = content.get(name) or {}
    if isinstance(section, dict):
        section = _with_names(section)
    if not isinstance(section, dict) or (name == "on" and not all(isinstance(v, dict) for v in section.values())):
        raise ValueError(f"{where}: expected settings under `{name}:`, found {str(section)[:80]!r}")
    return section
