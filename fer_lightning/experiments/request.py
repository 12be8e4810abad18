"""Requests to run an experiment, a system on a data set, and the configuration that they resolve to."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cached_property
from importlib import import_module
from pathlib import Path
from typing import Any, Literal

import yaml

from data_modules.datasets.dataset import VideoDataset
from fer_lightning.experiments.system import (
    Layer,
    Need,
    Size,
    data_file,
    data_names,
    default_size,
    experiment_pairs,
    is_ensemble,
    is_system,
    own_system_file,
    read_settings,
    similar_names,
    system_layers,
    system_names,
)
from fer_lightning.paths import RUN, runs_root
from fer_lightning.runs.folder import RunFolder

SAME_DATA = "{data}"
"""In the name of a run that another one starts from: the other one's data set."""

TrainingKind = Literal["train", "ablation"]


def split_name(experiment: str) -> tuple[str, str]:
    """Splits the name of an experiment, `<system>_<data>`, into those of its system and its data set.

    Raises:
        FileNotFoundError: there is no such system or no such data set; the message suggests similar names.
    """
    systems, data = system_names(), data_names()
    parts = experiment.split("_")
    splits = [("_".join(parts[:cut]), "_".join(parts[cut:])) for cut in range(1, len(parts))]
    for system, dataset in splits:
        if dataset in data and is_system(system):
            return system, dataset
    for system, dataset in reversed(splits):
        if is_system(system):
            data_file(dataset)
    if is_system(experiment):
        raise FileNotFoundError(f"{experiment} is a system; name a data set too, such as {experiment}_synthetic")
    hint = similar_names(experiment, experiment_pairs()) if len(splits) else f"systems: {', '.join(systems)}"
    raise FileNotFoundError(f"no experiment {experiment!r}, which is named <system>_<data>; {hint}")


def experiment_of_file(name: str, data: str | None) -> str:
    """Returns the name of the experiment that a file of the working folder describes, such as `my.yaml`.

    Args:
        name: of the file, which is like those in `experiments/systems/`.
        data: name of the data set.

    Raises:
        FileNotFoundError: there is no such file; the message says where it was looked for.
        ValueError: the file is elsewhere, its name does not do as that of a system, or no data set is named.
    """
    file = Path(name)
    if not file.is_file():
        there = ", ".join(sorted(path.name for path in Path().glob("*.yaml"))) or "no such file"
        raise FileNotFoundError(
            f"no experiment file {name}: looked for {file.absolute()}; the working folder holds {there}. Expected a "
            "file like those in experiments/systems/, which may begin with `extends: ceflnet`, or <system>_<data>"
        )
    if file.resolve() != own_system_file(file.stem).resolve():
        raise ValueError(
            f"{name}: expected a file NAME.yaml in the working folder, {Path.cwd()}, where runs find it by its name"
        )
    if not re.fullmatch(r"[A-Za-z0-9_-]+", file.stem) or file.stem in system_names():
        raise ValueError(
            f"{name} would be the system {file.stem!r}; expected a name of letters, digits, _ and - that none of the "
            "suite's systems has: rename the file"
        )
    if data is None:
        raise ValueError(f"{name} is a system; name a data set too, such as --data synthetic")
    return f"{file.stem}_{data}"


@dataclass(frozen=True)
class ExperimentRequest:
    """A request to run an experiment.

    Args:
        experiment: the names of a system and a data set, `<system>_<data>`.
        data: name of a data set that takes the place of the one in `experiment`.
        size: `small` or `paper`; None for the experiment's own.
        fold: fold of the data set's protocol.
        seed: seed of everything random.
        name: name of a variant, which gets a folder of its own.
        arguments: further options for Lightning's parser.
        group: the run's group in Weights & Biases, such as a table's name; empty for the experiment's name.
        job_type: the run's kind in Weights & Biases.

    Raises:
        FileNotFoundError: there is no data set `data`; the message suggests similar names.
    """

    experiment: str
    data: str | None = None
    size: Size | None = None
    fold: str = "1"
    seed: int = 0
    name: str = ""
    arguments: tuple[str, ...] = ()
    group: str = ""
    job_type: TrainingKind = "train"

    def __post_init__(self) -> None:
        """Gives an experiment on another data set that experiment's name, so that it has one name only."""
        if self.data is not None:
            data_file(self.data)
            object.__setattr__(self, "experiment", f"{split_name(self.experiment)[0]}_{self.data}")
            object.__setattr__(self, "data", None)

    @classmethod
    def from_run_name(cls, name: str) -> "ExperimentRequest":
        """Returns the request for a run that a configuration names.

        Args:
            name: `<experiment>[.<size>][.<variant>][/<fold>-<seed>]`.

        Raises:
            FileNotFoundError: there is no such system or no such data set.
        """
        experiment, _, folder = name.partition("/")
        experiment, *parts = experiment.split(".")
        fold, _, seed = folder.partition("-")
        size: Size | None = parts.pop(0) if parts and parts[0] in ("small", "paper") else None  # type: ignore[assignment]
        request = cls(experiment, size=size, fold=fold or "1", seed=int(seed) if seed.isdecimal() else 0)
        return replace(request, name=".".join(parts))

    @cached_property
    def names(self) -> tuple[str, str]:
        """The names of system and data set.

        Raises:
            FileNotFoundError: one of them does not exist.
        """
        return split_name(self.experiment)

    @property
    def system(self) -> str:
        """Name of the system."""
        return self.names[0]

    @property
    def dataset(self) -> str:
        """Name of the data set."""
        return self.names[1]

    def layers(self) -> list[Layer]:
        """Returns the settings of the experiment at its size, without the data set's own.

        Raises:
            ValueError: a file is not a system.
        """
        return system_layers(self.system, self.dataset, self.size)

    @property
    def is_ensemble(self) -> bool:
        """Whether the experiment combines others."""
        return is_ensemble(self.system)

    @cached_property
    def default_size(self) -> Size:
        """The size at which the experiment is run if none is asked for."""
        return default_size(system_layers(self.system, self.dataset, "paper"))

    @property
    def needs(self) -> tuple[Need, ...]:
        """What the experiment's system needs of a data set."""
        return tuple(_last(self.layers(), "needs", ()))

    @property
    def run(self) -> RunFolder:
        """The run's folder: `runs/<experiment>[.<size>][.<name>]/<fold>-<seed>`."""
        name = self.experiment
        if self.size is not None and self.size != self.default_size:
            name += f".{self.size}"
        if self.name:
            name += f".{self.name}"
        return RunFolder(runs_root() / name / f"{self.fold}-{self.seed}")

    def train_arguments(self) -> list[str]:
        """Returns the arguments with which `fer train` makes this request."""
        options = (
            ("--size", self.size),
            ("--name", self.name or None),
            ("--group", self.group or None),
            ("--job-type", self.job_type if self.job_type != "train" else None),
        )
        given = [part for option, value in options if value is not None for part in (option, value)]
        return [self.experiment, *given, "--fold", self.fold, "--seed", str(self.seed), *self.arguments]

    def command_line(self) -> list[str]:
        """Returns the arguments for Lightning's command line.

        Raises:
            ValueError: the experiment is an ensemble, which Lightning cannot run, or the data set lacks what the
                system needs.
        """
        if self.is_ensemble:
            raise ValueError(f"{self.experiment} is an ensemble of experiments: `fer train` and `fer cv` take it")
        self.refuse_unfit_data()
        layers = [yaml.safe_dump(self._with_runs(layer.content), sort_keys=False) for layer in self.layers()]
        arguments = [argument for layer in layers for argument in ("--config", layer)]
        arguments += ["--data.dataset", str(data_file(self.dataset)), *self._faces()]
        arguments += ["--data.dataset.fold", self.fold, "--seed_everything", str(self.seed)]
        own = [str(self._with_runs(argument)) for argument in self.arguments]
        return [*arguments, "--trainer.default_root_dir", str(self.run.path), *own]

    def _with_runs(self, settings: Any) -> Any:
        """Returns settings in which the runs that this one starts from are named in full.

        `run:SYSTEM_{data}` is the system's run on this data set and at this size. All runs that are named without fold
        and seed have this run's seed, so that the deviation over seeds includes what it starts from, and if they are on
        data of the same people, its fold: other folds train on people whom this one is evaluated on. Runs of fold 1 and
        seed 0 keep the plain name.
        """
        if isinstance(settings, dict):
            return {key: self._with_runs(value) for key, value in settings.items()}
        if isinstance(settings, list):
            return [self._with_runs(value) for value in settings]
        if not (isinstance(settings, str) and settings.startswith(RUN) and "/" not in settings):
            return settings
        name = settings.removeprefix(RUN)
        if SAME_DATA in name:
            same = self.from_run_name(name.replace(SAME_DATA, self.dataset))
            name = replace(same, size=self.size).run.path.parent.name
        try:
            _, data = split_name(name.partition(".")[0])
        except FileNotFoundError:
            return settings
        fold = self.fold if same_people(data, self.dataset) else "1"
        return RUN + (name if (fold, self.seed) == ("1", 0) else f"{name}/{fold}-{self.seed}")

    def refuse_another_run(self, config: Any) -> None:
        """Refuses settings with which the run would not be the one that its folder and its `run.json` name.

        Args:
            config: the resolved configuration, plain or as it was parsed.

        Raises:
            ValueError: the fold, the seed or the folder is another one; the message says how it is asked for.
        """
        fold = config["data"]["dataset"]["init_args"]["fold"]
        for what, own, stated, advice in (
            ("fold", self.fold, fold, "use --fold (`fer cv`: --folds)"),
            ("seed", self.seed, config["seed_everything"], "use --seed (`fer cv`: --seeds)"),
            ("folder", self.run.path, config["trainer"]["default_root_dir"], "FER_RUNS names the folder of all runs"),
        ):
            if str(stated) != str(own):
                raise ValueError(f"the settings state the {what} {stated}, and the run has the {what} {own}; {advice}")

    def refuse_unfit_data(self) -> None:
        """Refuses a data set that lacks what the system needs.

        Raises:
            ValueError: it has no audio, is sound alone, or has single images instead of videos.
        """
        data, hears_only = data_class(self.dataset), set(self.needs) == {"audio"}
        lacking = [need for need in self.needs if need in ("motion", "audio") and need not in data.provides]
        texts = {"motion": "videos, and it has single images", "audio": "audio, and it has none"}
        reason = texts[lacking[0]] if lacking else ""
        if not (data.has_pictures or hears_only):
            reason = "faces, and it is sound alone"
        if reason:
            raise ValueError(f"{self.system} cannot run on {self.dataset}: it needs {reason}")

    def _faces(self) -> list[str]:
        """Returns what the system needs of the faces and the data set is not configured to do.

        Landmarks and persons are located if the system reads them, and short clips are lengthened for it.
        """
        faces = read_settings(data_file(self.dataset))["init_args"]["faces"]
        annotated = faces["detector"] == "annotation"
        sources = {"person": "insightface", "landmarks": "mesh"}
        needed: dict[str, str] = {
            need: "annotation" if annotated else source
            for need, source in sources.items()
            if need in self.needs and faces.get(need, "none") == "none"
        }
        lengthen = _last(self.layers(), "lengthen", 0)
        if lengthen and not faces.get("lengthen"):
            needed["lengthen"] = str(lengthen)
        return [part for name, value in needed.items() for part in (f"--data.dataset.faces.{name}", value)]


def data_class(name: str) -> type[VideoDataset]:
    """Returns the class of a data set.

    Raises:
        FileNotFoundError: no data set has that name.
    """
    module, _, class_name = str(read_settings(data_file(name))["class_path"]).rpartition(".")
    found: type[VideoDataset] = getattr(import_module(module), class_name)
    return found


def same_people(data: str, other: str) -> bool:
    """Whether two data sets are of the same people in the same folds, such as RAVDESS's videos and its sound alone.

    Each rendered data set has people of its own, whatever its class.

    Raises:
        FileNotFoundError: no data set has such a name.
    """
    if data == other:
        return True
    kind, other_kind = data_class(data), data_class(other)
    return kind.split_name == other_kind.split_name and not kind.is_rendered


def _last(layers: list[Layer], key: str, default: Any) -> Any:
    """Returns a value of the section `experiment:` as the last layer that has it states it."""
    values = [(layer.content.get("experiment") or {}) for layer in layers]
    return next((value[key] for value in reversed(values) if key in value), default)


def experiment_names() -> list[str]:
    """Lists all experiments: every system on every data set that has what the system needs."""
    requests = (ExperimentRequest(f"{system}_{data}") for system in system_names() for data in data_names())
    return [request.experiment for request in requests if fits(request)]


def fits(request: ExperimentRequest) -> bool:
    """Whether a data set has what a system needs."""
    try:
        request.refuse_unfit_data()
    except ValueError:
        return False
    return True


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
