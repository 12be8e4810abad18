"""Experiment files: which there are, and the configuration that a request for one of them resolves to."""

import difflib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from fer_lightning.paths import RUN, runs_root
from fer_lightning.runs.folder import RunFolder, read_yaml

Size = Literal["small", "paper"]


@dataclass
class ExperimentInfo:
    """The section `experiment:` of an experiment's file.

    Args:
        summary: one line for `make help` and `fer experiments`.
        size: the size to run at by default; `small` puts a file of `_small/` on top of the experiment's own.
        small: name of that file; by default that of the model's class.
        person: whether the model reads the person around the face, whom the data set must then locate.
        monitor: value of the inner split that chooses the epoch, such as `inner/war` or `inner/loss`. Losses and
            metrics for which lower is better are minimised, all others maximised.
    """

    summary: str = ""
    size: Size = "paper"
    small: str = ""
    person: bool = False
    monitor: str = "inner/war"


def experiments_folder() -> Path:
    """Returns `experiments/` in the working folder, or else the one in the repository of this code.

    Raises:
        FileNotFoundError: neither of them exists.
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
    """Lists all experiments in alphabetical order."""
    return sorted(path.stem for path in experiments_folder().glob("*.yaml") if not path.stem.startswith("_"))


def ensemble_names() -> list[str]:
    """Lists the experiments that combine others."""
    return [name for name in experiment_names() if ExperimentRequest(name).is_ensemble]


def model_names() -> list[str]:
    """Lists the experiments that train a model."""
    return [name for name in experiment_names() if not ExperimentRequest(name).is_ensemble]


def data_names() -> list[str]:
    """Lists the data sets that experiments can be run on."""
    return sorted(path.stem for path in (experiments_folder() / "_data").glob("*.yaml"))


def data_file(name: str) -> Path:
    """Returns the file that configures a data set.

    Raises:
        FileNotFoundError: no data set has that name; the message suggests similar ones.
    """
    return _require_file(experiments_folder() / "_data" / f"{name}.yaml", "data set", data_names())


def _require_file(path: Path, kind: str, names: list[str]) -> Path:
    """Returns `path` if it is a file; otherwise raises an error that suggests similar names."""
    if path.is_file():
        return path
    similar = difflib.get_close_matches(path.stem, names, n=3, cutoff=0.4)
    hint = f"did you mean {' or '.join(similar)}?" if similar else f"there are: {', '.join(names)}"
    raise FileNotFoundError(f"no {kind} {path.stem!r} in {path.parent}; {hint}")


@dataclass(frozen=True)
class ExperimentRequest:
    """A request to run an experiment.

    Args:
        experiment: name of its file, without `.yaml`.
        data: name of another data set; None for the experiment's own.
        size: `small` or `paper`; None for the experiment's own.
        fold: fold of the data set's protocol.
        seed: seed of everything random.
        name: name of a variant, which gets a folder of its own.
        arguments: further options for Lightning's parser.
    """

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
            FileNotFoundError: no experiment has that name; the message suggests similar ones.
        """
        return _require_file(experiments_folder() / f"{self.experiment}.yaml", "experiment", experiment_names())

    def content(self) -> dict[str, Any]:
        """Reads the experiment's file.

        Raises:
            ValueError: the file is not an experiment.
        """
        content = read_yaml(self.file)
        if not isinstance(content, dict) or ("model" in content) == ("ensemble" in content):
            raise ValueError(
                f"{self.file}: expected an experiment with `model:` and `data:`, or one with `ensemble:` and neither"
            )
        return content

    @property
    def is_ensemble(self) -> bool:
        """Whether the experiment combines others."""
        return "ensemble" in self.content()

    def config_files(self) -> list[Path]:
        """Lists the configuration files of the experiment; later files override earlier ones.

        Raises:
            ValueError: the experiment is an ensemble, which Lightning cannot run.
        """
        if self.is_ensemble:
            raise ValueError(f"{self.experiment} is an ensemble of experiments: `fer train` and `fer cv` take it")
        content, folder = self.content(), experiments_folder()
        files = [folder / "_base.yaml", self.file]
        if (self.size or self.default_size) == "small":
            stated = (content.get("experiment") or {}).get("small")
            name = stated or str(content["model"]["class_path"]).rsplit(".", 1)[-1]
            names = [path.stem for path in (folder / "_small").glob("*.yaml")]
            files.append(_require_file(folder / "_small" / f"{name}.yaml", "small size of", names))
        return files

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

    def train_arguments(self) -> list[str]:
        """Returns the arguments with which `fer train` makes this request."""
        options = (("--data", self.data), ("--size", self.size), ("--name", self.name or None))
        given = [part for option, value in options if value is not None for part in (option, value)]
        return [self.experiment, *given, "--fold", self.fold, "--seed", str(self.seed), *self.arguments]

    def command_line(self) -> list[str]:
        """Returns the arguments for Lightning's command line."""
        arguments = [argument for file in self.config_files() for argument in ("--config", str(file))]
        if self.data is not None:
            arguments += ["--data.dataset", str(data_file(self.data))]
        arguments += self._person_arguments()
        arguments += ["--data.dataset.fold", self.fold, "--seed_everything", str(self.seed)]
        return [*arguments, "--trainer.default_root_dir", str(self.run.path), *self.arguments]

    def _person_arguments(self) -> list[str]:
        """Has persons located if the model reads them and the data set is not configured to: from annotation if any."""
        content = self.content()
        if not (content.get("experiment") or {}).get("person"):
            return []
        file = experiments_folder() / content["data"]["dataset"] if self.data is None else data_file(self.data)
        faces = read_yaml(file)["init_args"]["faces"]
        if faces["person"] != "none":
            return []
        source = "annotation" if faces["detector"] == "annotation" else "insightface"
        return ["--data.dataset.faces.person", source]


def required_runs(config: object) -> Iterator[str]:
    """Yields the names of the runs whose weights a resolved configuration uses: every value `run:NAME`."""
    if isinstance(config, dict):
        for value in config.values():
            yield from required_runs(value)
    elif isinstance(config, list):
        for value in config:
            yield from required_runs(value)
    elif isinstance(config, str) and config.startswith(RUN):
        yield config.removeprefix(RUN)
