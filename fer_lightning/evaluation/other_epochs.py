"""What other epochs than the chosen one give on the reported split: the last, and the papers' best on test.

While a run is trained, its folder holds the probabilities of each epoch, without classes and clips. They are read once,
when the epoch has been chosen and evaluated; what they tell is kept as prediction tables, curves and predicted classes.
"""

import csv
from dataclasses import dataclass, replace
from pathlib import Path
from shutil import rmtree

import numpy as np

from data_modules.utils.csv_tables import csv_bytes
from data_modules.utils.files import atomic_file, atomic_write
from fer_lightning.evaluation.comparison import PairedDifference, paired_difference
from fer_lightning.evaluation.metrics import HEADLINE, WAR, scores
from fer_lightning.evaluation.predictions import PredictionTable
from fer_lightning.runs.folder import RunFolder

LAST_EPOCH, BEST_EPOCH, CHOSEN_EPOCH = "test_last", "test_best", "test_chosen"
"""Names of the prediction tables of the last epoch, of the best one on the reported split, and of the chosen one.

The epochs are watched without the shifts of `ClipAugmentation.eval_shift`, and so is the chosen one for a comparison
with the others; what is reported of it has them.
"""


@dataclass(frozen=True)
class Epoch:
    """The predictions of an epoch for the reported split.

    Args:
        number: of the epoch, counted from 0.
        table: its predictions.
    """

    number: int
    table: PredictionTable


@dataclass(frozen=True)
class OtherEpochs:
    """What other epochs of a training give than the chosen one.

    Args:
        chosen: the epoch that is reported, evaluated as the others are.
        last: the last epoch.
        best: the epoch with the highest accuracy on the reported split, the first if there are several.
        count: number of epochs that were evaluated.
    """

    chosen: Epoch
    last: Epoch
    best: Epoch
    count: int

    @property
    def inflation(self) -> PairedDifference:
        """By how much the best epoch on the reported split exceeds the reported one.

        The interval is that of two given epochs on other people: the best epoch is not chosen again in each draw.
        """
        return paired_difference(self.best.table, self.chosen.table)

    def line(self) -> str:
        """Returns the accuracies of the three epochs and the inflation as a line."""
        parts = [
            f"{name} (epoch {epoch.number + 1}) {WAR.write(scores(epoch.table)[WAR])}"
            for name, epoch in (("chosen", self.chosen), ("last", self.last), ("best on test", self.best))
        ]
        return f"accuracy: {', '.join(parts)}; inflation {self.inflation[WAR].written(WAR)}"


def watched_file(run: RunFolder, epoch: int) -> Path:
    """Returns the path of an epoch's array."""
    return run.watched_epochs / f"{epoch:05d}.npy"


def watched_files(run: RunFolder) -> list[Path]:
    """Lists the arrays of a run that is being trained, in the order of the epochs."""
    return sorted(run.watched_epochs.glob("[0-9]*.npy"))


def conclude_watching(run: RunFolder, last: int) -> None:
    """Keeps what the watched epochs tell and deletes their arrays; keeps nothing unless all epochs were watched.

    Args:
        run: the run.
        last: its last epoch, counted from 0.

    Raises:
        FileNotFoundError: the run has no prediction table of the reported split: its epoch is not chosen yet.
        ValueError: an array does not fit that table.
    """
    files = watched_files(run)
    if not files:
        return
    chosen = PredictionTable.read(run.predictions("test"))
    if [int(path.stem) for path in files] != list(range(last + 1)):
        print(f"{len(files)} of {last + 1} epochs were watched: what the others give is not known, and nothing is kept")
        rmtree(run.watched_epochs)
        return
    epochs = [Epoch(int(path.stem), _epoch_table(path, chosen)) for path in files]
    results = [scores(epoch.table) for epoch in epochs]
    best = int(np.argmax([result[WAR] for result in results]))
    epochs[-1].table.write(run.predictions(LAST_EPOCH))
    epochs[best].table.write(run.predictions(BEST_EPOCH))
    epochs[run.read_info().epoch].table.write(run.predictions(CHOSEN_EPOCH))
    header = ("epoch", *(f"watched/{metric.name}" for metric in HEADLINE))
    rows = [
        (epoch.number, *(repr(float(result[metric])) for metric in HEADLINE))
        for epoch, result in zip(epochs, results, strict=True)
    ]
    with atomic_file(run.watched_choices) as temporary:
        np.save(temporary, np.stack([epoch.table.choice for epoch in epochs]).astype(np.int16))
    atomic_write(run.watched_curves, csv_bytes(header, rows))
    rmtree(run.watched_epochs)


def _epoch_table(path: Path, chosen: PredictionTable) -> PredictionTable:
    """Returns the prediction table of an epoch: that of the chosen epoch with other probabilities."""
    try:
        return replace(chosen, probabilities=np.load(path, allow_pickle=False))
    except (ValueError, EOFError, OSError) as error:
        raise ValueError(
            f"{path} does not fit the prediction table of the reported split ({error}); delete {path.parent} and "
            "repeat the command, which then reports the chosen epoch alone"
        ) from error


def _accuracies(path: Path) -> dict[int, float]:
    """Reads the accuracy of each watched epoch."""
    try:
        with path.open(newline="", encoding="utf-8") as file:
            return {int(row["epoch"]): float(row[f"watched/{WAR.name}"]) for row in csv.DictReader(file)}
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{path} is damaged ({type(error).__name__}: {error}); delete it") from error


def read_other_epochs(run: RunFolder) -> OtherEpochs | None:
    """Reads what `conclude_watching` has kept; None if the reported split was not watched, or there is one epoch only.

    Raises:
        ValueError: a file is damaged.
    """
    if not run.watched_curves.exists():
        return None
    accuracy = _accuracies(run.watched_curves)
    if len(accuracy) < 2:
        return None
    as_watched = CHOSEN_EPOCH if run.predictions(CHOSEN_EPOCH).exists() else "test"  # of earlier versions
    tables = (PredictionTable.read(run.predictions(name)) for name in (as_watched, LAST_EPOCH, BEST_EPOCH))
    numbers = (run.read_info().epoch, max(accuracy), max(accuracy, key=lambda epoch: (accuracy[epoch], -epoch)))
    chosen, last, best = (Epoch(number, table) for number, table in zip(numbers, tables, strict=True))
    return OtherEpochs(chosen, last, best, len(accuracy))


def other_epochs_line(run: RunFolder) -> str:
    """Returns `OtherEpochs.line` of a run; empty if the other epochs are not known."""
    others = read_other_epochs(run)
    return others.line() if others else ""
