"""Loads a trained model from a checkpoint, with the settings of its input: sampler, crop size, faces, audio."""

import os
import re
import textwrap
from argparse import ArgumentError
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, cast

from jsonargparse import ArgumentParser

from data_modules.audio.settings import AudioSettings
from data_modules.datasets.dataset import VideoDataset
from data_modules.faces.settings import FaceSettings
from data_modules.loading.transforms import ClipAugmentation
from data_modules.sampling import FrameSampler
from fer_lightning.evaluation.calibration import Calibration
from fer_lightning.evaluation.calibration_file import parse_calibration
from fer_lightning.runs.ensemble_record import Record, ensemble_at
from fer_lightning.runs.lookup import find_run
from fer_lightning.runs.own_classes import OWN, own_class
from fer_lightning.runs.training_facts import TrainingFacts
from fer_lightning.training.classifier import VideoClassifier
from fer_lightning.weights import ENTRY, checkpoint_of, read_checkpoint

TRUSTED = "FER_TRUSTED_MODULES"
DOTTED = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)+")
MANY_FRAMES = 1000
MAX_DETAIL = 600  # characters of a quoted error: that of other weights would list all of their names


@dataclass(frozen=True)
class TrainedModel:
    """A model in evaluation mode and the settings of its input."""

    model: VideoClassifier
    sampler: FrameSampler
    size: int  # side of the face crops, pixels
    faces: FaceSettings
    audio: AudioSettings
    augmentation: ClipAugmentation | None  # decides the crop that is evaluated
    checkpoint: Path
    epoch: int  # counted from 0
    dataset: type[VideoDataset] | None = None  # that it was trained on; None if unknown, or of another package
    calibration: Calibration | None = None  # of a file of `fer export`; that of a run is beside its checkpoint
    facts: TrainingFacts | None = None  # likewise

    @property
    def models(self) -> "tuple[TrainedModel, ...]":
        """The model itself, alone; an ensemble has several (`TrainedEnsemble.models`)."""
        return (self,)

    @property
    def sees_single_frame(self) -> bool:
        """Whether the model sees one frame of a clip, however many it has."""
        return len(self.sampler(MANY_FRAMES, None)) == 1

    @property
    def class_names(self) -> tuple[str, ...]:
        """The class names that the model was trained with."""
        return self.model.class_names


def load(run: str | Path) -> VideoClassifier:
    """Returns the trained model of a run in evaluation mode; nothing is unpickled or downloaded.

    `load_trained` also gives the settings of its input, and `Recogniser` applies a model or an ensemble to videos.

    Args:
        run: a run's folder, its name below `runs/`, a checkpoint, or a file of `fer export`.

    Raises:
        FileNotFoundError: there is no such run, or it has no checkpoint.
        ValueError: the run is an ensemble, or its checkpoint cannot be used.
    """
    return load_trained(find_run(run)).model


def load_trained(run: Path) -> TrainedModel:
    """Builds the model of a run's folder or checkpoint, without unpickling or downloading anything.

    Raises:
        FileNotFoundError: there is no checkpoint.
        ValueError: the run is an ensemble; or the file is not a checkpoint of this suite, or its configuration and
            weights do not fit.
    """
    ensemble = ensemble_at(run)
    if ensemble is not None:
        record = Record.read(ensemble)
        members = ", ".join(part.run for part in record.members) if record else ""
        raise ValueError(
            f"{ensemble.path} is an ensemble, which has no checkpoint and which only `fer predict` and `Recogniser` "
            f"take; expected the run of one model, such as its members: {members}"
        )
    path = checkpoint_of(run)
    content = read_checkpoint(path)
    own = content.get(ENTRY)
    if not isinstance(own, dict) or not own.get("configuration"):
        raise ValueError(
            f"{path} was not written by `fer train`: it holds {', '.join(sorted(map(str, content)))[:200]}, but no "
            "`fer_lightning` entry with class names and configuration. To start from its weights, give it as "
            "`weights` of a backbone"
        )
    try:
        return _rebuilt(own, cast(dict[str, Any], content["state_dict"]), path, int(str(content["epoch"])))
    except (ArgumentError, KeyError, TypeError, ValueError, RuntimeError) as error:
        raise ValueError(
            f"{path}: its configuration and weights do not make a model of this version of the suite: "
            f"{type(error).__name__}: {textwrap.shorten(str(error), MAX_DETAIL)}"
        ) from error


def _rebuilt(own: dict[str, Any], weights: dict[str, Any], path: Path, epoch: int) -> TrainedModel:
    """Builds the model of a checkpoint's `fer_lightning` entry; only models and samplers can be instantiated."""
    configuration, data = own["configuration"], own["configuration"]["data"]
    calibration = parse_calibration(own["calibration"], path) if own.get("calibration") else None
    settings = {
        "sampler": data["sampler"],
        "faces": data["dataset"]["init_args"]["faces"],
        "audio": data.get("audio") or {},  # the defaults
        "augmentation": data["augmentation"],
    }
    _refuse_foreign_modules([without_training(configuration["model"], ()), *settings.values()], path)
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(VideoClassifier, "model")
    parser.add_argument("--sampler", type=FrameSampler)
    parser.add_argument("--faces", type=FaceSettings)
    parser.add_argument("--audio", type=AudioSettings)
    parser.add_argument("--augmentation", type=ClipAugmentation | None)
    parser.link_arguments("sampler.num_clips", "model.init_args.num_clips", apply_on="instantiate")
    parsed = parser.parse_object({"model": without_training(configuration["model"], own["class_names"]), **settings})
    built = parser.instantiate_classes(parsed)
    model = cast(VideoClassifier, built.model)
    model.load_state_dict(weights)
    dataset = own_class(data["dataset"].get("class_path", ""))
    augmentation = built.augmentation and built.augmentation.without_noise()  # which was for the run's own clips
    return TrainedModel(
        model.eval(),
        built.sampler,
        int(data["size"]),
        built.faces,
        built.audio,
        augmentation,
        path,
        epoch,
        dataset if dataset is not None and issubclass(dataset, VideoDataset) else None,
        calibration,
        TrainingFacts(**own["facts"]) if own.get("facts") else None,
    )


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
