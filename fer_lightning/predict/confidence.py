"""The temperature and the threshold of confidence that belong to a trained model, found beside its checkpoint."""

from pathlib import Path

from fer_lightning.ensemble.trained import Trained, TrainedEnsemble
from fer_lightning.evaluation.calibration import Calibration
from fer_lightning.evaluation.calibration_file import NAME, read_calibration
from fer_lightning.evaluation.selective import RiskNotMetError, choose_threshold
from fer_lightning.predict.settings import Confidence

ENSEMBLE_EPOCH = -1


class UnknownTemperatureError(ValueError):
    """Raised when there is no temperature for a model; the message says why."""


def confidence_of(trained: Trained, calibrated: bool, risk: float | None) -> Confidence:
    """Returns how probabilities of a model or ensemble become confidences, and from which one on rows are answered.

    A model without a known temperature keeps its probabilities, and the result says why. The members of an ensemble
    are not calibrated one by one: the temperature of an ensemble is that of what its members say together.

    Args:
        trained: the model or ensemble.
        calibrated: whether its temperature is used.
        risk: the largest error among answered rows, between 0 and 1; None to answer all.

    Raises:
        ValueError: a risk is given, but no temperature is known or no threshold meets the risk; or the file with the
            temperature is damaged.
    """
    if not calibrated:
        return Confidence(about="not calibrated, as asked for")
    try:
        calibration = _calibration(trained)
    except UnknownTemperatureError as error:
        if risk is not None:
            raise ValueError(
                f"--abstain {risk:g} needs an inner split, on which a threshold is chosen: {error}"
            ) from error
        return Confidence(about=f"not calibrated: {error}")
    abstention = None
    if risk is not None:
        try:
            abstention = choose_threshold(calibration.inner, risk)
        except RiskNotMetError as error:
            raise ValueError(
                f"--abstain {risk:g}: {error}. Choose a higher risk, or train with a larger inner split "
                "(--data.inner_share)"
            ) from error
    return Confidence(calibration.temperature, calibration.describe(), abstention)


def _calibration(trained: Trained) -> Calibration:
    """Reads the calibration that belongs to a model.

    Raises:
        UnknownTemperatureError: there is none, it is that of another model, or none could be fitted.
        ValueError: the file is damaged.
    """
    if isinstance(trained, TrainedEnsemble):
        folders, epoch = [trained.run.path], ENSEMBLE_EPOCH
    elif trained.calibration is not None:
        return _usable(trained.calibration)
    else:
        folders, epoch = _folders(trained.checkpoint), trained.epoch
    path = next((folder / NAME for folder in folders if (folder / NAME).is_file()), None)
    if path is None:
        looked = " and ".join(map(str, folders))
        raise UnknownTemperatureError(f"there is no {NAME} in {looked}; `fer report RUN` writes that of a finished run")
    calibration = read_calibration(path)
    if calibration.class_names != trained.class_names:
        raise UnknownTemperatureError(
            f"{path} is of a model with the classes {', '.join(calibration.class_names)}, this one has "
            f"{', '.join(trained.class_names)}"
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


def _folders(checkpoint: Path) -> list[Path]:
    """Returns where the calibration of a checkpoint may be: in its folder, or in that of its run."""
    beside = checkpoint.parent
    return [beside, beside.parent] if beside.name == "checkpoints" else [beside]
