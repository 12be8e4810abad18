"""Loads a trained model from a checkpoint, with the settings of its input: sampler, crop size, faces, audio."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from data_modules.audio.settings import AudioSettings
from data_modules.datasets.dataset import VideoDataset
from data_modules.faces.settings import FaceSettings
from data_modules.loading.transforms import ClipAugmentation
from data_modules.sampling import FrameSampler
from fer_lightning.evaluation.calibration import Calibration
from fer_lightning.evaluation.calibration_file import parse_calibration
from fer_lightning.runs.ensemble_record import Record, ensemble_at
from fer_lightning.runs.own_classes import own_class
from fer_lightning.runs.training_facts import TrainingFacts
from fer_lightning.training.classifier import VideoClassifier
from fer_lightning.training.rebuilding import errors_named, rebuild
from fer_lightning.weights import ENTRY, checkpoint_of, read_checkpoint
from fer_lightning.zoo.lookup import find_model

MANY_FRAMES = 1000


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
    calibration: Calibration | None = None  # in the file; older checkpoints have it beside them
    facts: TrainingFacts | None = None  # likewise
    configuration: Mapping[str, Any] = field(default_factory=dict)  # of the run, as far as the file has it

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
        run: a run's folder, its name below `runs/`, a checkpoint, a file of `fer export`, or a model's name that
            `fer pull --list` prints, see `find_model`.

    Raises:
        FileNotFoundError: there is no such run or model, or it has no checkpoint.
        ValueError: the run is an ensemble, or its checkpoint cannot be used.
    """
    return load_trained(find_model(run)).model


def load_trained(run: Path, weights: bool = True) -> TrainedModel:
    """Builds the model of a run's folder or checkpoint, without unpickling or downloading anything.

    Args:
        run: the folder or checkpoint.
        weights: False builds it without its weights, for its settings alone.

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
    content = read_checkpoint(path, mapped=not weights)
    built = rebuild(VideoClassifier, content, path, weights)
    own = cast(dict[str, Any], content[ENTRY])
    data = own["configuration"]["data"]
    dataset = own_class(data["dataset"].get("class_path", ""))
    augmentation = built.augmentation and built.augmentation.without_noise()  # which was for the run's own clips
    with errors_named(path):
        return TrainedModel(
            built.model.eval(),
            built.sampler,
            int(data["size"]),
            built.faces,
            built.audio,
            augmentation,
            path,
            int(str(content["epoch"])),
            dataset if dataset is not None and issubclass(dataset, VideoDataset) else None,
            parse_calibration(own["calibration"], path) if own.get("calibration") else None,
            TrainingFacts(**own["facts"]) if own.get("facts") else None,
            own["configuration"],
        )
