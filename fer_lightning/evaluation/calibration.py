"""Calibration: one temperature, fitted on the inner split, that makes confidences agree with accuracy.

Guo et al., "On Calibration of Modern Neural Networks", 2017, https://arxiv.org/abs/1706.04599.
"""

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import brentq
from scipy.special import softmax

from data_modules.utils.text import counted
from fer_lightning.evaluation.answers import Answers
from fer_lightning.evaluation.confidence import FLOOR, ConfidenceScores, confidence_scores
from fer_lightning.evaluation.predictions import PredictionTable
from fer_lightning.runs.folder import RunFolder, RunInfo

MIN_CLIPS = 30  # of the inner split; with fewer, a temperature is mostly noise
LIMIT = 50.0  # temperatures from 1 / LIMIT to LIMIT are searched


def scaled(probabilities: NDArray[np.float64], temperature: float) -> NDArray[np.float64]:
    """Returns the softmax of the logarithms of (..., C) probabilities divided by a temperature; NaN stays NaN.

    For the softmax of logits, that is the softmax of the logits divided by the temperature. No prediction changes.
    """
    return np.asarray(softmax(_logarithms(probabilities) / temperature, axis=-1))


def fit_temperature(probabilities: NDArray[np.float64], label: NDArray[np.int64]) -> float:
    """Returns the temperature that minimises the negative log likelihood, which has a single minimum.

    Args:
        probabilities: (N, C) of clips on which the model was not trained.
        label: (N,) true classes as indices.

    Raises:
        ValueError: there is no minimum at a finite temperature, as when all predictions are correct.
    """
    logits, rows = _logarithms(probabilities), np.arange(len(label))

    def slope(inverse: float) -> float:
        """The derivative of the loss, which is convex in the inverse temperature, and so increases with it."""
        return float(((softmax(inverse * logits, axis=1) * logits).sum(axis=1) - logits[rows, label]).mean())

    if not slope(1 / LIMIT) < 0 < slope(LIMIT):
        wrong = int((probabilities.argmax(axis=1) != label).sum())
        raise ValueError(
            f"no temperature between {1 / LIMIT:g} and {LIMIT:g} has the highest likelihood: {wrong} of "
            f"{counted(len(label), 'prediction')} are wrong"
        )
    return 1 / float(brentq(slope, 1 / LIMIT, LIMIT, xtol=1e-10))


def _logarithms(probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(np.log(np.clip(probabilities, FLOOR, None)))


@dataclass(frozen=True, eq=False)
class Calibration:
    """The temperature of a trained model or ensemble, with the answers of the inner split on which it was fitted.

    Without a temperature, probabilities stay as they are, and `problem` says why.
    """

    class_names: tuple[str, ...]
    epoch: int  # of the model, counted from 0; -1 for ensembles
    temperature: float | None
    problem: str
    inner: Answers  # calibrated; none without a temperature

    def apply(self, probabilities: NDArray[np.float64]) -> NDArray[np.float64]:
        """Returns calibrated (..., C) probabilities."""
        return probabilities if self.temperature is None else scaled(probabilities, self.temperature)

    def calibrated(self, table: PredictionTable) -> PredictionTable:
        """Returns a table with calibrated probabilities; the table in the run's folder is never changed."""
        return replace(table, probabilities=self.apply(table.probabilities))

    def describe(self) -> str:
        """Says in words what the temperature is, or why there is none."""
        if self.temperature is None:
            return f"not calibrated: {self.problem}"
        return f"temperature {self.temperature:.3f}, fitted on {counted(len(self.inner), 'clip')} of the inner split"


def calibrate(run: RunFolder, info: RunInfo) -> Calibration:
    """Fits the temperature of an evaluated run on its inner split; the result says so if that is not possible."""
    try:
        table = _inner_split(run, info)
        temperature = fit_temperature(table.probabilities, table.label)
    except (FileNotFoundError, ValueError) as error:
        none = Answers(np.zeros(0), np.zeros(0, np.bool_))
        return Calibration(info.class_names, info.epoch, None, str(error), none)
    answers = Answers.of(replace(table, probabilities=scaled(table.probabilities, temperature)))
    return Calibration(info.class_names, info.epoch, temperature, "", answers)


def _inner_split(run: RunFolder, info: RunInfo) -> PredictionTable:
    """Returns the predicted clips of the inner split on which a temperature may be fitted.

    Raises:
        FileNotFoundError: there is no inner table.
        ValueError: there are too few clips, or the clips are not those of an inner split; the message says why.
    """
    if info.selection == "last":
        raise ValueError("with `selection: last` there is no inner split: the model was trained on all training clips")
    if info.selection == "best_on_test":
        raise ValueError("with `selection: best_on_test` the inner split is the reported split itself")
    path = run.predictions("inner")
    if not path.exists():
        raise FileNotFoundError("there is no prediction table of an inner split")
    table = PredictionTable.read(path)
    if table.class_names != info.class_names:
        raise ValueError(f"{path} has the classes {', '.join(table.class_names)}, not those of the run")
    others = sorted(set(table.split.tolist()) - {"inner"})
    if others:
        raise ValueError(f"{path} holds clips of the split {others[0]!r}, expected clips of the inner split only")
    answered = table.select(~table.missing)
    if len(answered) < MIN_CLIPS:
        raise ValueError(
            f"the inner split has {counted(len(answered), 'clip')} with a prediction, expected {MIN_CLIPS} or more"
        )
    return answered


@dataclass(frozen=True, eq=False)
class CalibrationEffect:
    """The measures of a split before and after calibration; there is no `after` without a temperature."""

    before: ConfidenceScores
    after: ConfidenceScores | None

    @classmethod
    def on(cls, calibration: Calibration, table: PredictionTable) -> "CalibrationEffect | None":
        """Measures a table before and after; returns None if no clip has a prediction."""
        before = confidence_scores(table)
        if before is None:
            return None
        return cls(
            before, None if calibration.temperature is None else confidence_scores(calibration.calibrated(table))
        )

    @property
    def values(self) -> dict[str, float]:
        """The measures by name, such as `ece` and, after calibration, `ece_calibrated`."""
        values = dict(self.before.values)
        if self.after is not None:
            values |= {f"{name}_calibrated": value for name, value in self.after.values.items()}
        return values


def effects_of(calibration: Calibration, run: RunFolder) -> dict[str, CalibrationEffect]:
    """Measures the splits of an evaluated run, `inner` only where a temperature was fitted on it, and `test`.

    Splits in which no clip has a prediction are left out.

    Raises:
        FileNotFoundError: the run is not evaluated.
        ValueError: a prediction table is damaged.
    """
    splits = ("test",) if calibration.temperature is None else ("inner", "test")
    effects = {
        split: CalibrationEffect.on(calibration, PredictionTable.read(run.predictions(split))) for split in splits
    }
    return {split: effect for split, effect in effects.items() if effect is not None}
