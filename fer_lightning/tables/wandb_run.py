"""The run of Weights & Biases for a table, in the group of its rows' runs."""

import statistics
from collections.abc import Iterator, Sequence
from dataclasses import replace

from fer_lightning.evaluation.metrics import METRICS
from fer_lightning.experiments.labels import labels_of
from fer_lightning.paths import runs_root
from fer_lightning.runs.labels import RunLabels
from fer_lightning.tables.files import StoredTable
from fer_lightning.tables.plan import PlannedRow
from fer_lightning.training.wandb_summary import summary_logger
from fer_lightning.training.wandb_tables import ShownTable

FOLDER = "tables"
"""The folder of the W&B runs of tables, in that of all runs."""


def send_table(stored: StoredTable, rows: Sequence[PlannedRow]) -> None:
    """Makes a W&B run of a written table if the runs of its rows have one.

    Its summary has each row's metrics, such as `sal/war`, as means over seeds, with both ends of their intervals.

    Args:
        stored: the table with its results.
        rows: its rows, with the runs whose models it sums up.
    """
    finished = {(planned.row.name, request): request.run for planned in rows for request in planned.finished}
    if not finished:
        return
    runs = {f"{row}, fold {request.fold}, seed {request.seed}": run for (row, request), run in finished.items()}
    name = stored.folder.name
    kept = (RunLabels.read(request.run) or labels_of(request) for _, request in finished)
    labels = replace(RunLabels.shared(kept), job_type="table")
    group = labels.group or next(request.group for _, request in finished) or name
    logger = summary_logger(runs_root() / FOLDER / name, replace(labels, group=group), runs)
    if logger is None:
        return
    table = stored.table
    logger.log_hyperparams({"table": name, "title": table.title, "paper": table.paper, "place": table.place})
    logger.log_results(dict(_values(stored)), [_shown(stored), _claims(stored)])
    logger.close()


def _values(stored: StoredTable) -> Iterator[tuple[str, float]]:
    """Yields the values of the summary: of each row its seeds, its clips, and its metrics with their intervals."""
    for row, result in stored.results.items():
        yield f"{row}/seeds", len(result.seeds)
        yield f"{row}/clips", result.clips
        for metric in METRICS:
            values = result.by_seed(metric.name)
            if values:
                yield f"{row}/{metric.name}", statistics.mean(values)
            if metric.name in result.intervals:
                low, high = result.intervals[metric.name]
                yield f"{row}/{metric.name}_low", low
                yield f"{row}/{metric.name}_high", high


def _shown(stored: StoredTable) -> ShownTable:
    """Returns the table as it is written elsewhere."""
    content = stored.grid()
    return ShownTable("report/table", ("row", *content.header[1:]), [list(row) for row in content.rows])


def _claims(stored: StoredTable) -> ShownTable:
    """Returns what the claims come to."""
    columns = ("row", "over", "column", "claim", "outcome", "difference", "low", "high")
    rows = [
        [each.row, each.over, each.column, each.text, each.outcome, each.difference, each.low, each.high]
        for each in stored.verdicts
    ]
    return ShownTable("report/claims", columns, rows)
