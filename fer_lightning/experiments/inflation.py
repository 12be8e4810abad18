"""By how much choosing the epoch on the reported split inflates accuracy, by the length of training and the clips.

Every training keeps what it predicts for the reported split after each epoch. From one training of E epochs follows
what its first T epochs would have come to, and, from some of the people in the split, what a smaller split would have
shown: nothing is trained again. Where the learning rate follows a schedule, T epochs of a longer training are not a
training of T epochs.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import t as student

from data_modules.utils.text import counted
from fer_lightning.evaluation.bootstrap import LEVEL, UNKNOWN, Interval, clusters_of
from fer_lightning.evaluation.predictions import PredictionTable
from fer_lightning.report.sections.curves import read_curves
from fer_lightning.runs.folder import RunFolder
from fer_lightning.training.checkpoints import monitor_mode

SUBSETS = 1000  # sets of people that are drawn of the reported split


@dataclass(frozen=True, eq=False)
class WatchedTraining:
    """What a training predicts for the reported split after each of E epochs.

    Args:
        experiment: its name.
        correct: (E, P) number of correctly classified clips of each person (film, or clip, where these are not named).
        clips: (P,) number of clips of each.
        reported: (E,) the epoch that would be reported if the training had ended with this one.
    """

    experiment: str
    correct: NDArray[np.int64]
    clips: NDArray[np.int64]
    reported: NDArray[np.int64]


@dataclass(frozen=True)
class Inflation:
    """The mean inflation over trainings of an experiment.

    Args:
        experiment: its name.
        trainings: their number.
        epochs: of each training.
        people: of the reported split.
        clips: of these people, on average.
        value: accuracy of the best epoch on the reported split minus that of the reported epoch.
        interval: of the mean, by the t distribution over trainings; `UNKNOWN` of a single one.
    """

    experiment: str
    trainings: int
    epochs: int
    people: int
    clips: float
    value: float
    interval: Interval


def read_training(run: RunFolder) -> WatchedTraining:
    """Reads a finished training.

    Raises:
        FileNotFoundError: the reported split was not watched, or by a version that did not keep the predictions.
        ValueError: a file is damaged, or the run's epoch was chosen on the reported split.
    """
    info, table = run.read_info(), PredictionTable.read(run.predictions("test"))
    if info.selection == "best_on_test":
        raise ValueError(f"{run.path}: best_on_test has no other epoch that it could be compared with")
    if not run.watched_choices.exists():
        raise FileNotFoundError(
            f"{run.watched_choices} is missing: {run.path} was trained without --data.watch_test, or by an earlier "
            "version; train it again under another --name"
        )
    choices = _read_choices(run, len(table))
    person, people = clusters_of(table)
    correct = np.zeros((len(choices), people), np.int64)
    for epoch, choice in enumerate(choices):
        np.add.at(correct[epoch], person, choice == table.label)
    return WatchedTraining(
        info.experiment, correct, np.bincount(person, minlength=people), _reported(run, info.selection, len(choices))
    )


def _read_choices(run: RunFolder, clips: int) -> NDArray[np.int16]:
    """Reads the predicted classes (E, N) of a run."""
    try:
        choices: NDArray[np.int16] = np.load(run.watched_choices, allow_pickle=False)
        if choices.ndim != 2 or choices.shape[1] != clips or not len(choices):
            raise ValueError(f"its shape is {choices.shape}, expected that of epochs and {clips} clips")
    except (ValueError, EOFError, OSError) as error:
        raise ValueError(f"{run.watched_choices} is damaged: {error}; train the run again") from error
    return choices


def _reported(run: RunFolder, selection: str, epochs: int) -> NDArray[np.int64]:
    """Returns the epoch (E,) that a training of 1, 2, ... E epochs would report: the last, or the best inside."""
    if selection == "last":
        return np.arange(epochs)
    monitor = str(run.read_config()["experiment"]["monitor"])
    values = next((curve.value for curve in read_curves(run.curves) if curve.name == monitor), np.array([]))
    if len(values) != epochs:
        raise ValueError(f"{run.curves}: {monitor} of {len(values)} epochs, expected {epochs}")
    values = values if monitor_mode(monitor) == "max" else -values
    best = np.maximum.accumulate(values)
    return np.maximum.accumulate(np.where(values > np.append(-np.inf, best[:-1]), np.arange(epochs), 0))


def inflation_of(
    training: WatchedTraining, epochs: Sequence[int], people: int, subsets: int = SUBSETS, seed: int = 0
) -> NDArray[np.float64]:
    """Returns the inflation after each number of epochs, the mean over sets of people drawn without replacement.

    Raises:
        ValueError: the training has fewer epochs, or the split fewer people.
    """
    total, number = len(training.correct), len(training.clips)
    if not 1 <= min(epochs) <= max(epochs) <= total or not 1 <= people <= number:
        raise ValueError(
            f"{training.experiment}: {counted(total, 'epoch')} and {number} people in the reported split; expected "
            f"numbers up to these, found epochs {list(epochs)} and people {people}"
        )
    rng = np.random.default_rng(seed)
    drawn = rng.random((1 if people == number else subsets, number)).argsort(axis=1) < people  # (S, P)
    accuracy = drawn @ training.correct.T / (drawn @ training.clips)[:, None]  # (S, E)
    best = np.maximum.accumulate(accuracy, axis=1)
    ends = np.array(epochs) - 1
    return np.asarray((best[:, ends] - accuracy[:, training.reported[ends]]).mean(axis=0))


def measure_inflation(
    trainings: Iterable[WatchedTraining], epochs: Sequence[int], people: Sequence[int]
) -> list[Inflation]:
    """Returns the mean inflation of each experiment by epochs and people.

    Raises:
        ValueError: a training has fewer epochs than asked for, or its reported split fewer people.
    """
    by_experiment: dict[str, list[WatchedTraining]] = {}
    for training in trainings:
        by_experiment.setdefault(training.experiment, []).append(training)
    found = []
    for experiment, own in by_experiment.items():
        for count in people:
            values = np.stack([inflation_of(each, epochs, count) for each in own])  # (R, T)
            clips = count * float(np.mean([each.clips.mean() for each in own]))
            for end, column in zip(epochs, values.T, strict=True):
                found.append(
                    Inflation(experiment, len(own), end, count, clips, float(column.mean()), mean_interval(column))
                )
    return found


def mean_interval(values: NDArray[np.float64]) -> Interval:
    """Returns Student's interval of the mean of independent values."""
    if len(values) < 2:
        return UNKNOWN
    margin = float(student.ppf((1 + LEVEL) / 2, len(values) - 1) * values.std(ddof=1) / np.sqrt(len(values)))
    return Interval(float(values.mean()) - margin, float(values.mean()) + margin)
