"""What a finished row leaves: scores of each run in a small file, and their prediction tables beside it."""

import gzip
import json
import math
import os
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from data_modules.utils.files import atomic_write
from data_modules.utils.text import counted
from fer_lightning.evaluation.bootstrap import Interval
from fer_lightning.evaluation.metrics import METRICS, Scores
from fer_lightning.evaluation.predictions import PredictionTable
from fer_lightning.experiments.system import experiments_folder, installed_experiments
from fer_lightning.tables.columns import CALIBRATED, CONFIDENCE
from fer_lightning.tables.plan import PlannedRow, TableRequest
from fer_lightning.tables.verdicts import FILE as CLAIMS

WATCHED = "watched/war"
"""The accuracy on the reported split after each epoch, if it was watched; it chose nothing."""
MAX_PREDICTIONS = 1 << 18
"""Bytes of a row's compressed prediction tables above which they are not kept beside its results."""


@dataclass(frozen=True)
class RunResult:
    """The result of one run.

    Args:
        fold: its fold.
        seed: its seed.
        clips: number of clips of the reported split.
        answered: number of these with a prediction.
        metrics: name -> value over all clips, where a clip without a prediction is an error; for readers of the file,
            as those of a row are of the summed confusion matrices of its folds.
        answered_metrics: name -> value over the clips with a prediction; likewise.
        outputs: what is computed from features, attention and probabilities, such as `silhouette` and `brier`.
        parameters: of the model, frozen ones included.
        multiply_adds: of the forward passes for all views of one clip; None if not counted.
        ms_per_clip: of these forward passes; None if not measured.
        selection: how the epoch was chosen.
        seconds: of training and evaluation; 0 if they are not known.
        device: on which it was trained.
        commit: of the code.
        class_names: of the data set.
        confusion: (C, C + 1) clips by true and predicted class, the last column for clips without a prediction.
        curves: name of a logged value -> its value after each epoch.
        classes_from_stills: classes without which the accuracy is given, too; see `VideoDataset.classes_from_stills`.
    """

    fold: str
    seed: int
    clips: int
    answered: int
    metrics: dict[str, float]
    answered_metrics: dict[str, float]
    outputs: dict[str, float]
    parameters: int
    multiply_adds: int | None
    ms_per_clip: float | None
    selection: str
    seconds: float
    device: str
    commit: str
    class_names: tuple[str, ...]
    confusion: tuple[tuple[int, ...], ...]
    curves: dict[str, tuple[float, ...]]
    classes_from_stills: tuple[str, ...] = ()

    @property
    def without_stills(self) -> Scores:
        """The scores over the clips of the other classes than `classes_from_stills`."""
        return Scores(np.array(self.confusion)).without_classes(self.class_names, self.classes_from_stills)


@dataclass(frozen=True)
class RowResult:
    """The results of all runs of a row.

    Args:
        table: name of the table.
        row: name of the row.
        experiment: the system on the data set.
        size: `small` or `paper`.
        arguments: what the row changes.
        settings: the resolved configuration, without what differs between its runs or cannot change a result.
        runs: its runs.
        intervals: metric -> both ends of its 95 % interval over people (or films, or clips) and seeds.
        unit: what the intervals are over: `subject`, `film` or `clip`.
        clusters: their number.
        inflation: by how much the accuracy of the best epochs on the reported split exceeds that of the reported
            epochs, then both ends of its 95 % interval over people and seeds, if it has one. None where it was not
            watched.
        drawn_seeds: number of seeds that the intervals are over; 1 if they are of the mean of these very trainings.
        tested_on: name of the data set that the models are tested on; empty if it is the one that they are trained on.
    """

    table: str
    row: str
    experiment: str
    size: str
    arguments: tuple[str, ...]
    settings: dict[str, Any]
    runs: tuple[RunResult, ...]
    intervals: dict[str, tuple[float, float]]
    unit: str
    clusters: int
    inflation: tuple[float, ...] | None = None
    drawn_seeds: int = 1
    tested_on: str = ""

    @property
    def drawn(self) -> str:
        """What the intervals are over, such as `24 subjects and 3 seeds`."""
        people = counted(self.clusters, self.unit)
        return f"{people} and {self.drawn_seeds} seeds" if self.drawn_seeds > 1 else people

    @property
    def seeds(self) -> tuple[int, ...]:
        """The seeds of the runs."""
        return tuple(dict.fromkeys(run.seed for run in self.runs))

    @property
    def folds(self) -> tuple[str, ...]:
        """The folds of the runs."""
        return tuple(dict.fromkeys(run.fold for run in self.runs))

    @property
    def clips(self) -> int:
        """The number of clips of all folds."""
        return sum(run.clips for run in self.runs if run.seed == self.runs[0].seed)

    @property
    def answered(self) -> int:
        """The number of clips of all folds with a prediction, of the first seed."""
        return sum(run.answered for run in self.runs if run.seed == self.runs[0].seed)

    def by_seed(self, name: str, answered: bool = False) -> list[float]:
        """Returns a value for each seed; nothing if it is not known for all of them.

        Metrics and class accuracies are those of all folds together: a class that is missing in some has its accuracy
        over the others, and intervals and claims are of the same numbers. Other outputs are means over the folds,
        weighted by clips.

        Args:
            name: of a metric, an output, or `recall.<class>`.
            answered: whether only clips with a prediction count.
        """
        found = [self._value(name, [run for run in self.runs if run.seed == seed], answered) for seed in self.seeds]
        known = [value for value in found if value is not None and not math.isnan(value)]
        return known if len(known) == len(found) else []

    def _value(self, name: str, runs: Sequence[RunResult], answered: bool) -> float | None:
        """Returns a value over the folds of one seed; None or NaN if it is not known."""
        pooled = Scores(np.sum([run.confusion for run in runs], axis=0))
        pooled = pooled.answered if answered else pooled
        metric = next((metric for metric in METRICS if metric.name == name), None)
        if metric:
            return pooled[metric]
        if name.startswith("recall."):
            names = runs[0].class_names
            emotion = name.removeprefix("recall.")
            return float(pooled.class_accuracy[names.index(emotion)]) if emotion in names else None
        outputs = [run.outputs.get(name) for run in runs]
        if None in outputs:
            return None
        is_confidence = name.removesuffix(CALIBRATED) in CONFIDENCE  # which clips without a prediction do not have
        weights = [run.answered if is_confidence else run.clips for run in runs]
        return float(np.average(np.array(outputs, dtype=np.float64), weights=weights))

    def watched(self, pick: Callable[[Sequence[float]], float]) -> list[float]:
        """Returns what another epoch than the chosen one gives, for each seed: the mean over the folds.

        Args:
            pick: chooses the accuracy of an epoch from those of all epochs; `max` gives the papers' best on test.

        Returns:
            Nothing if the reported split of a run was not watched.
        """
        values = []
        for seed in self.seeds:
            runs = [run for run in self.runs if run.seed == seed]
            curves = [run.curves.get(WATCHED) for run in runs]
            if any(not curve for curve in curves):
                return []
            picked = [pick(curve) for curve in curves if curve]
            values.append(float(np.average(picked, weights=[run.clips for run in runs])))
        return values

    def interval(self, name: str) -> Interval:
        """Returns a metric's interval; NaN where it has none."""
        return Interval(*self.intervals.get(name, (float("nan"), float("nan"))))


def results_root() -> Path:
    """Returns the folder of all results: the variable FER_RESULTS, or `results` beside `experiments`.

    Where experiments come from a wheel, results belong to the working folder.
    """
    stated, experiments = os.environ.get("FER_RESULTS"), experiments_folder()
    return Path(stated or ("results" if experiments == installed_experiments() else experiments.parent / "results"))


def results_folder(asked: TableRequest, planned: PlannedRow | None = None) -> Path:
    """Returns the folder of a table's results; those on another data set or at small size have one of their own.

    Args:
        asked: the request.
        planned: one of its rows, whose size is taken if the request names none.
    """
    name = Path(asked.name).stem
    size = asked.size or (planned.size if planned else None)
    parts = [name, *([asked.data] if asked.data else []), *(["small"] if size == "small" else [])]
    return (ablations_folder() if asked.ablation else results_root()) / ".".join(parts)


def ablations_folder() -> Path:
    """Returns the folder of ablations, each a file `NAME.yaml` beside the folders of its results."""
    return results_root() / "ablations"


def table_folders() -> list[Path]:
    """Lists the folders with results of the papers' tables."""
    return sorted(path for path in results_root().glob("*") if path.is_dir() and path != ablations_folder())


def result_file(folder: Path, row: str) -> Path:
    """Returns the path of a row's results."""
    return folder / f"{row}.json"


def predictions_file(folder: Path, row: str) -> Path:
    """Returns the path of the predictions of all runs of a row, a compressed table."""
    return folder / f"{row}.predictions.csv.gz"


def write_result(folder: Path, result: RowResult, tables: Iterable[PredictionTable], rendered: bool) -> None:
    """Writes a row's results, and the predictions of its runs beside them if these are small.

    Args:
        folder: of the table's results.
        result: of the row.
        tables: the predictions of its runs.
        rendered: whether the faces are rendered. Predictions hold the labels of clips, which the licences of most
            other data sets keep from being passed on.
    """
    path = predictions_file(folder, result.row)
    content = gzip.compress(PredictionTable.concat(list(tables)).to_csv(), mtime=0)
    if rendered and len(content) <= MAX_PREDICTIONS:
        atomic_write(path, content)
    else:
        path.unlink(missing_ok=True)
    atomic_write(result_file(folder, result.row), _to_json(result).encode())


def _to_json(result: RowResult) -> str:
    """Writes a row's results as JSON with a line for each run, so that changes are easy to see."""
    content = asdict(result)
    runs = content.pop("runs")
    lines = ",\n".join(f"  {json.dumps(run)}" for run in runs)
    return f'{json.dumps(content, indent=1)[:-2]},\n "runs": [\n{lines}\n ]\n}}\n'


def read_result(folder: Path, row: str) -> RowResult | None:
    """Reads a row's results; None if there are none.

    Raises:
        ValueError: the file is damaged; the message names it.
    """
    path = result_file(folder, row)
    if not path.exists():
        return None
    try:
        values: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        values["runs"] = tuple(RunResult(**_with_tuples(run)) for run in values["runs"])
        values["arguments"] = tuple(values["arguments"])
        values["intervals"] = {name: (low, high) for name, (low, high) in values["intervals"].items()}
        values["inflation"] = _with_tuples(values.get("inflation"))
        result = RowResult(**values)
    except (KeyError, TypeError, ValueError, AttributeError) as error:
        raise ValueError(
            f"{path} is damaged ({type(error).__name__}: {error}); delete it and repeat `fer reproduce`, which writes "
            "it again from the finished runs"
        ) from error
    if not result.runs:
        raise ValueError(f"{path} is damaged: it holds no run; delete it and repeat `fer reproduce`")
    return result


def _with_tuples(value: Any) -> Any:
    """Returns values in which lists, as JSON has them, are tuples."""
    if isinstance(value, dict):
        return {key: _with_tuples(each) for key, each in value.items()}
    return tuple(_with_tuples(each) for each in value) if isinstance(value, list) else value


def kept_results() -> Iterator[RowResult]:
    """Yields the results of all rows of all tables and ablations.

    Raises:
        ValueError: a file is damaged; the message names it.
    """
    for folder in (*table_folders(), *(path for path in sorted(ablations_folder().glob("*")) if path.is_dir())):
        for path in sorted(folder.glob("*.json")):
            if path.name != CLAIMS and (result := read_result(folder, path.stem)):
                yield result


def read_predictions(folder: Path, row: str) -> PredictionTable | None:
    """Reads the predictions of a row's runs; None if they were not kept.

    Raises:
        ValueError: the file is damaged; the message names it.
    """
    path = predictions_file(folder, row)
    if not path.exists():
        return None
    try:
        text = gzip.decompress(path.read_bytes()).decode()
    except (OSError, EOFError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is damaged ({error}); delete it and repeat `fer reproduce`") from error
    return PredictionTable.from_csv(text.splitlines(keepends=True), str(path))
