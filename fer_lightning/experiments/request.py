"""Experiments as files: finding them, and laying data set and size over them."""

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from fer_lightning.paths import runs_root
from fer_lightning.runs.folder import RunFolder, read_yaml
from fer_lightning.weights import RUN

Size = Literal["small", "paper"]


@dataclass
class ExperimentInfo:
    """What an experiment says of itself, under `experiment:` in its file.

    Args:
        summary: one line for `make help`.
        size: that it runs at unless SIZE says otherwise; `small` lays a file of `_small/` over this one.
        small: which file, where it is not that of the model's name.
        person: whether the model looks at the person around the face, who is then found on whatever data set.
        monitor: value of the inner split whose highest is the chosen epoch's.
    """

    summary: str = ""
    size: Size = "paper"
    small: str = ""
    person: bool = False
    monitor: str = "inner/war"


def experiments_folder() -> Path:
    """`experiments/` in the working folder, else in the repository of this code.

    Raises:
        FileNotFoundError: there is neither.
    """
    candidates = [Path("experiments"), Path(__file__).parents[2] / "experiments"]
    for folder in candidates:
        if (folder / "_base.yaml").is_file():
            return folder
    raise FileNotFoundError(
        f"no experiments: looked for _base.yaml in {' and '.join(str(path.absolute()) for path in candidates)}; "
        "run from a checkout of the repository"
    )


def experiment_names() -> list[str]:
    """All experiments, in alphabetical order."""
    return sorted(path.stem for path in experiments_folder().glob("*.yaml") if not path.stem.startswith("_"))


def ensemble_names() -> list[str]:
    """The experiments that are made of others."""
    return [name for name in experiment_names() if Request(name).is_ensemble]


def model_names() -> list[str]:
    """The experiments that train a model."""
    return [name for name in experiment_names() if not Request(name).is_ensemble]


def data_names() -> list[str]:
    """All data sets that experiments can be run on."""
    return sorted(path.stem for path in (experiments_folder() / "_data").glob("*.yaml"))


def _existing(path: Path, what: str, name: str, known: list[str]) -> Path:
    if path.is_file():
        return path
    near = difflib.get_close_matches(name, known, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(near)}?" if near else f"there are: {', '.join(known)}"
    raise FileNotFoundError(f"no {what} {name!r} in {path.parent}; {hint}")


def data_file(name: str) -> Path:
    """The file that states a data set.

    Raises:
        FileNotFoundError: there is none; the message names the near ones.
    """
    return _existing(experiments_folder() / "_data" / f"{name}.yaml", "data set", name, data_names())


@dataclass(frozen=True)
class Request:
    """An experiment as it was asked for, with `DATA`, `SIZE`, fold, seed and further arguments."""

    experiment: str
    data: str | None = None
    size: Size | None = None
    fold: str = "1"
    seed: int = 0
    name: str = ""
    arguments: tuple[str, ...] = ()

    @property
    def file(self) -> Path:
        """The experiment's file.

        Raises:
            FileNotFoundError: there is none; the message names the near ones.
        """
        path = experiments_folder() / f"{self.experiment}.yaml"
        return _existing(path, "experiment", self.experiment, experiment_names())

    def content(self) -> dict[str, Any]:
        """The experiment's file, as plain values.

        Raises:
            ValueError: it is no experiment.
        """
        content = read_yaml(self.file)
        if not isinstance(content, dict) or ("model" in content) == ("ensemble" in content):
            raise ValueError(
                f"{self.file}: expected an experiment with `model:` and `data:`, or one with `ensemble:` and neither"
            )
        return content

    @property
    def is_ensemble(self) -> bool:
        """Whether it is made of other experiments."""
        return "ensemble" in self.content()

    def layers(self) -> list[Path]:
        """The files whose values make the experiment; later ones go before earlier ones.

        Raises:
            ValueError: it is an ensemble, of which Lightning knows nothing.
        """
        if self.is_ensemble:
            raise ValueError(f"{self.experiment} is an ensemble of experiments: `fer train` and `fer cv` take it")
        content, folder = self.content(), experiments_folder()
        layers = [folder / "_base.yaml", self.file]
        if (self.size or self.default_size) == "small":
            stated = (content.get("experiment") or {}).get("small")
            name = stated or str(content["model"]["class_path"]).rsplit(".", 1)[-1]
            small = [path.stem for path in (folder / "_small").glob("*.yaml")]
            layers.append(_existing(folder / "_small" / f"{name}.yaml", "small size of", name, small))
        return layers

    @property
    def default_size(self) -> Size:
        """The size that the experiment's file asks for."""
        size: Size = (self.content().get("experiment") or {}).get("size", "paper")
        return size

    @property
    def run(self) -> RunFolder:
        """The run's folder: `runs/<experiment>[.<data>][.<size>][.<name>]/<fold>-<seed>`."""
        name = self.experiment
        if self.data is not None:
            name += f".{self.data}"
        if self.size is not None and self.size != self.default_size:
            name += f".{self.size}"
        if self.name:
            name += f".{self.name}"
        return RunFolder(runs_root() / name / f"{self.fold}-{self.seed}")

    def arguments_of_train(self) -> list[str]:
        """The arguments of `fer train` that ask for this run."""
        options = (("--data", self.data), ("--size", self.size), ("--name", self.name or None))
        given = [part for option, value in options if value is not None for part in (option, value)]
        return [self.experiment, *given, "--fold", self.fold, "--seed", str(self.seed), *self.arguments]

    def command_line(self) -> list[str]:
        """The arguments for Lightning's command line."""
        arguments = [argument for layer in self.layers() for argument in ("--config", str(layer))]
        if self.data is not None:
            arguments += ["--data.dataset", str(data_file(self.data))]
        arguments += self._persons()
        arguments += ["--data.dataset.fold", self.fold, "--seed_everything", str(self.seed)]
        return [*arguments, "--trainer.default_root_dir", str(self.run.path), *self.arguments]

    def _persons(self) -> list[str]:
        """What asks for persons where the model needs them and the data set does not: true ones, if there are."""
        content = self.content()
        if not (content.get("experiment") or {}).get("person"):
            return []
        file = experiments_folder() / content["data"]["dataset"] if self.data is None else data_file(self.data)
        faces = read_yaml(file)["init_args"]["faces"]
        if faces["person"] != "none":
            return []
        how = "annotation" if faces["detector"] == "annotation" else "insightface"
        return ["--data.dataset.faces.person", how]


def needed_runs(config: object) -> Iterator[str]:
    """Names of the runs that a resolved configuration takes weights from: every value `run:NAME`."""
    if isinstance(config, dict):
        for value in config.values():
            yield from needed_runs(value)
    elif isinstance(config, list):
        for value in config:
            yield from needed_runs(value)
    elif isinstance(config, str) and config.startswith(RUN):
        yield config.removeprefix(RUN)
