"""Selective classification: answering only what one is confident of, and what error remains.

Geifman and El-Yaniv, "Selective Classification for Deep Neural Networks", 2017, https://arxiv.org/abs/1705.08500.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fer_lightning.evaluation.answers import Answers

LEVEL = 0.95  # of the bound on the error among the answered


@dataclass(frozen=True, eq=False)
class RiskCoverage:
    """The error among the answered clips for each threshold of confidence that occurs, from the highest on."""

    threshold: NDArray[np.float64]  # (K,) descending; a clip is answered if its confidence is at least as high
    answered: NDArray[np.int64]  # (K,) clips
    errors: NDArray[np.int64]  # (K,) of them wrong

    @property
    def coverage(self) -> NDArray[np.float64]:
        """(K,) the share of clips that are answered."""
        return np.asarray(self.answered / max(self.answered[-1:], default=1))

    @property
    def risk(self) -> NDArray[np.float64]:
        """(K,) the share of wrong answers among the answered."""
        return np.asarray(self.errors / self.answered)


def risk_coverage(answers: Answers) -> RiskCoverage:
    """Returns the curve of one or more answers; clips of equal confidence are answered together."""
    order = np.argsort(-answers.confidence, kind="stable")
    confidence, errors = answers.confidence[order], np.cumsum(~answers.correct[order], dtype=np.int64)
    last = np.flatnonzero(np.append(np.diff(confidence) != 0, True))
    return RiskCoverage(confidence[last], last + 1, errors[last])


def area_under_risk_coverage(answers: Answers, times: NDArray[np.float64]) -> NDArray[np.float64]:
    """Returns the areas (D,) under the risk-coverage curves (AURC) of D resamples of N answers.

    An area is the mean over all clips of the risk at the clip's own confidence.

    Args:
        answers: the N answers.
        times: (D, N) how often each of them is in each resample.

    Returns:
        The areas; NaN for a resample without any answer.
    """
    order = np.argsort(-answers.confidence, kind="stable")
    last = np.flatnonzero(np.append(np.diff(answers.confidence[order]) != 0, True))
    drawn = times[:, order]
    answered = drawn.cumsum(axis=1)[:, last]  # (D, K) for each of K thresholds
    errors = (drawn * ~answers.correct[order]).cumsum(axis=1)[:, last]
    with np.errstate(invalid="ignore"):
        shares = np.diff(answered, axis=1, prepend=0) / answered[:, -1:]
    return np.asarray((errors / np.maximum(answered, 1) * shares).sum(axis=1))


def error_bound(errors: int, answered: int, failure: float) -> float:
    """Returns the upper end of the one-sided Clopper-Pearson interval of a share, at the level 1 - `failure`.

    It is the `b` for which at most `errors` errors in `answered` independent trials have the probability `failure`.
    """
    from scipy.stats import beta  # takes a second to import, and help needs none of it

    return 1.0 if errors >= answered else float(beta.ppf(1 - failure, errors + 1, answered - errors))


class RiskNotMetError(ValueError):
    """Raised when no threshold keeps the error below the chosen risk; the message says how near the best comes."""


@dataclass(frozen=True)
class Abstention:
    """The confidence from which on clips are answered, and what that comes to on the clips on which it was chosen."""

    risk: float  # chosen: the largest error among the answered clips
    level: float  # with which the bound holds
    threshold: float  # of confidence
    clips: int
    answered: int
    errors: int
    bound: float  # on the error among the answered clips, at most `risk`

    def describe(self) -> str:
        """Says in words what the threshold does on the clips on which it was chosen."""
        return (
            f"confidences below {self.threshold:.3f} are unsure: {self.answered} of {self.clips} clips of the inner "
            f"split reach it, {100 * self.errors / self.answered:.1f} % of them wrong, at most "
            f"{100 * self.risk:g} % with {100 * self.level:g} % confidence on clips like these"
        )


def choose_threshold(answers: Answers, risk: float, level: float = LEVEL) -> Abstention:
    """Returns the lowest threshold that a binary search finds whose error is below a risk with confidence.

    This is selection with guaranteed risk, algorithm 1 of the paper: of the thresholds, ordered by confidence, at most
    log2(N + 1) are tested, and each bound may fail with that share of 1 - `level`. The search begins above the number
    of clips with which no bound can be met, as a small inner split would lead it there. The bounds assume independent
    clips, and hold for clips of the kind on which the threshold is chosen.

    Args:
        answers: of clips on which the model was not trained.
        risk: the largest error among the answered clips, between 0 and 1.
        level: probability with which the bound holds.

    Raises:
        RiskNotMetError: no tested threshold meets the risk, or there are too few clips for any to meet it.
        ValueError: the risk is not between 0 and 1.
    """
    if not 0 < risk < 1:
        raise ValueError(f"risk {risk:g}: expected a share of errors between 0 and 1, such as 0.1")
    clips = len(answers)
    failure = (1 - level) / max(1, math.ceil(math.log2(clips + 1)))
    needed = math.ceil(math.log(failure) / math.log1p(-risk))
    if clips < needed:
        raise RiskNotMetError(
            f"{clips} clips of the inner split are too few for an error of at most {100 * risk:g} %: even without an "
            f"error, that takes {needed} clips to be {100 * level:g} % sure"
        )
    curve = risk_coverage(answers)
    tested: list[Abstention] = []
    few, many = needed - 1, clips + 1  # answered: a number that may be raised, and one that is too many
    while many - few > 1:
        middle = (few + many) // 2
        place = int(np.searchsorted(curve.answered, middle))  # clips of equal confidence are answered together
        answered, errors = int(curve.answered[place]), int(curve.errors[place])
        bound = error_bound(errors, answered, failure)
        tested.append(Abstention(risk, level, float(curve.threshold[place]), clips, answered, errors, bound))
        few, many = (answered, many) if bound <= risk else (few, middle)
    met = [each for each in tested if each.bound <= risk]
    if not met:
        nearest = min(tested, key=lambda each: each.bound)
        raise RiskNotMetError(
            f"on the inner split, no threshold keeps the error at or below {100 * risk:g} % with {100 * level:g} % "
            f"confidence: of the {nearest.answered} clips of {clips} with a confidence of at least "
            f"{nearest.threshold:.3f}, {nearest.errors} are wrong, so it may be {100 * nearest.bound:.1f} %"
        )
    return max(met, key=lambda each: each.answered)
