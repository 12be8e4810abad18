"""The temperature and the threshold of confidence that belong to a trained model or ensemble."""

from fer_lightning.ensemble.trained import Trained, TrainedEnsemble
from fer_lightning.evaluation.calibration import Calibration
from fer_lightning.evaluation.selective import RiskNotMetError, choose_threshold
from fer_lightning.predict.settings import Confidence
from fer_lightning.training.calibration import UnknownTemperatureError, calibration_in, calibration_of

ENSEMBLE_EPOCH = -1


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
    """Reads the calibration that belongs to a model or an ensemble; see `calibration_of`."""
    if isinstance(trained, TrainedEnsemble):
        return calibration_in([trained.run.path], trained.class_names, ENSEMBLE_EPOCH)
    return calibration_of(trained)
