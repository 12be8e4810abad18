"""The calibration that belongs to a trained model, found in its file or beside it."""

from collections.abc import Sequence
from pathlib import Path

from fer_lightning.evaluation.calibration import Calibration
from fer_lightning.evaluation.calibration_file import NAME, read_calibration
from fer_lightning.training.loading import TrainedModel


class UnknownTemperatureError(ValueError):
    """Raised when there is no temperature for a model; the message says why."""


def calibration_of(trained: TrainedModel) -> Calibration:
    """Returns the calibration of a model: that in its file, or else that of its checkpoint's folder or run.

    Raises:
        UnknownTemperatureError: there is none, it is that of another model, or none could be fitted.
        ValueError: the file is damaged.
    """
    if trained.calibration is not None:
        return _usable(trained.calibration)
    beside = trained.checkpoint.parent
    folders = [beside, beside.parent] if beside.name == "checkpoints" else [beside]
    return calibration_in(folders, trained.class_names, trained.epoch)


def calibration_in(folders: Sequence[Path], class_names: tuple[str, ...], epoch: int) -> Calibration:
    """Reads the calibration of a model or an ensemble from the first of some folders that has one.

    Args:
        folders: where it may be.
        class_names: of the model.
        epoch: of the model, counted from 0; -1 for ensembles.

    Raises:
        UnknownTemperatureError: there is none, it is that of another model, or none could be fitted.
        ValueError: the file is damaged.
    """
    path = next((folder / NAME for folder in folders if (folder / NAME).is_file()), None)
    if path is None:
        looked = " and ".join(map(str, folders))
        raise UnknownTemperatureError(f"there is no {NAME} in {looked}; `fer report RUN` writes that of a finished run")
    calibration = read_calibration(path)
    if calibration.class_names != class_names:
        raise UnknownTemperatureError(
            f"{path} is of a model with the classes {', '.join(calibration.class_names)}, this one has "
            f"{', '.join(class_names)}"
        )
    if calibration.epoch != epoch:
        raise UnknownTemperatureError(
            f"{path} is of the model after epoch {calibration.epoch + 1}, the checkpoint of epoch {epoch + 1}"
        )
    return _usable(calibration)


def _usable(calibration: Calibration) -> Calibration:
    if calibration.temperature is None:
        raise UnknownTemperatureError(calibration.problem)
    return calibration
