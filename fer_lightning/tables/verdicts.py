"""What the claims of a table come to: paired differences over seeds, and one sentence each."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Literal

from data_modules.utils.files import atomic_write
from data_modules.utils.text import counted
from fer_lightning.evaluation.bootstrap import Interval
from fer_lightning.evaluation.comparison import Difference, difference_over_seeds
from fer_lightning.evaluation.metrics import METRICS, Metric
from fer_lightning.evaluation.predictions import PredictionTable
from fer_lightning.evaluation.significance import ALPHA, holm
from fer_lightning.tables.table import Claim, PaperTable

Outcome = Literal["confirmed", "refuted", "undecided"]
FILE = "claims.json"
COMPARED: dict[Outcome, str] = {"confirmed": "Better", "refuted": "Worse", "undecided": "Undecided"}
"""An outcome -> how it is called where a row of an ablation is compared with its base."""


@dataclass(frozen=True)
class Verdict:
    """What the results say about a claim.

    Args:
        row: name of the row that should be better.
        over: name of the row that it should be better than.
        text: the claim; empty where a row of an ablation is compared with its base.
        column: the metric.
        difference: the first row's value minus the second's, mean over the seeds.
        low: lower end of its 95 % interval over people and seeds.
        high: upper end.
        seeds: number of seeds with which both rows were trained.
        unit: what is resampled beside seeds: `subject`, `film` or `clip`.
        clusters: the number of these.
        clips: number of clips.
        p_value: of the hypothesis that the rows do not differ; None in results of versions that did not test it.
        tests: number of comparisons in the table.
        adjusted: the p-value, adjusted for their number (Holm).
    """

    row: str
    over: str
    text: str
    column: str
    difference: float
    low: float
    high: float
    seeds: int
    unit: str
    clusters: int
    clips: int
    p_value: float | None = None
    tests: int = 1
    adjusted: float | None = None

    @property
    def metric(self) -> Metric:
        """The metric in which the rows are compared."""
        return next(metric for metric in METRICS if metric.name == self.column)

    @property
    def outcome(self) -> Outcome:
        """What the interval says: all of it is on the claim's side, none of it is, or it holds 0.

        Nothing is decided by a difference that may be one of several by chance: its adjusted p-value exceeds 0.05.
        """
        if self.adjusted is not None and not self.adjusted <= ALPHA:
            return "undecided"
        sign = 1 if self.metric.higher_is_better else -1
        low, high = sorted((sign * self.low, sign * self.high))
        return "confirmed" if low > 0 else "refuted" if high < 0 else "undecided"

    def difference_text(self) -> str:
        """Writes the difference with its interval."""
        return Difference(self.difference, Interval(self.low, self.high)).written(self.metric)

    def sentence(self, labels: Mapping[str, str]) -> str:
        """Says in one sentence what the results say about the claim.

        Args:
            labels: name of a row -> what it is called in the sentence.
        """
        head = self.outcome.capitalize() if self.text else COMPARED[self.outcome]
        several = f", adjusted for {self.tests} comparisons" if self.tests > 1 else ""
        tested = "" if self.adjusted is None else f"; p = {self.adjusted:.2g}{several}"
        return (
            f"{head}: {labels[self.row]} minus {labels[self.over]} is {self.difference_text()} "
            f"{self.metric.short} (95 % over {counted(self.clusters, self.unit)} and {counted(self.seeds, 'seed')}, "
            f"N = {self.clips}{tested})."
        )


def judge(
    table: PaperTable, predictions: Callable[[str], PredictionTable | None], before: Sequence[Verdict] = ()
) -> list[Verdict]:
    """Judges the claims of a table whose rows are both there, with p-values adjusted for their number (Holm).

    Rows that cannot be compared, as a fold of one failed or they have no seed in common, are named and have no verdict.

    Args:
        table: the table.
        predictions: returns the predictions of all runs of a row by its name; None if there are none.
        before: verdicts that stay where there are no predictions.
    """
    verdicts = []
    known = {(each.row, each.over, each.column): each for each in before}
    for claim in table.claims:
        first, second = predictions(claim.row), predictions(claim.over)
        metric = next((metric for metric in METRICS if metric.name == claim.column), None)
        if first is not None and second is not None and metric is not None:
            try:
                verdicts.append(_verdict(claim, metric, first, second))
            except ValueError as error:
                print(f"{claim.row} and {claim.over} cannot be compared: {error}")
        elif earlier := known.get((claim.row, claim.over, claim.column)):
            verdicts.append(replace(earlier, text=claim.text))
    adjusted = holm([math.nan if verdict.p_value is None else verdict.p_value for verdict in verdicts])
    return [
        replace(verdict, tests=len(verdicts), adjusted=None if math.isnan(value) else value)
        for verdict, value in zip(verdicts, adjusted, strict=True)
    ]


def _verdict(claim: Claim, metric: Metric, first: PredictionTable, second: PredictionTable) -> Verdict:
    result = difference_over_seeds(first, second, metric)
    return Verdict(
        row=claim.row,
        over=claim.over,
        text=claim.text,
        column=claim.column,
        difference=result.value,
        low=result.interval.low,
        high=result.interval.high,
        seeds=len(result.seeds),
        unit=result.unit,
        clusters=result.clusters,
        clips=int((first.seed == result.seeds[0]).sum()),
        p_value=None if math.isnan(result.p_value) else result.p_value,
    )


def write_verdicts(folder: Path, verdicts: list[Verdict]) -> None:
    """Writes the verdicts of a table beside its results; no file if there are none."""
    content = [asdict(verdict) for verdict in verdicts]
    if not content:
        (folder / FILE).unlink(missing_ok=True)
        return
    atomic_write(folder / FILE, (json.dumps(content, indent=1) + "\n").encode())


def read_verdicts(folder: Path) -> list[Verdict]:
    """Reads the verdicts of a table; none if there is no file.

    Raises:
        ValueError: the file is damaged.
    """
    path = folder / FILE
    if not path.exists():
        return []
    try:
        values: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))
        return [Verdict(**value) for value in values]
    except (TypeError, ValueError, AttributeError) as error:
        raise ValueError(f"{path} is damaged ({error}); delete it and repeat `fer reproduce`") from error
