"""An ablation as text: what came out, how sure that is, and how much each row differs from the base."""

from collections.abc import Sequence

from fer_lightning.evaluation.metrics import WAR
from fer_lightning.tables.cells import DASH, our_value
from fer_lightning.tables.columns import BY_NAME, title
from fer_lightning.tables.grid import Grid, brackets, untested
from fer_lightning.tables.results import RowResult
from fer_lightning.tables.table import PaperTable, Row
from fer_lightning.tables.verdicts import Verdict


def ablation_grid(table: PaperTable, results: dict[str, RowResult], verdicts: Sequence[Verdict] = ()) -> Grid:
    """Returns a table with results, and with every row's difference to the base in WAR.

    Args:
        table: the ablation.
        results: name of a row -> its results, of the rows that have any.
        verdicts: what the comparisons of rows with the base have come to.
    """
    header = ["", *(title(column) for column in table.columns), f"95 % of {title(table.columns[0])}"]
    header += [f"difference to the base, {WAR.short}", "answered", "N", "seeds"]
    differences = {verdict.row: verdict.difference_text() for verdict in verdicts} | {table.base: "base"}
    rows = [_cells(table, row, results.get(row.name), differences.get(row.name, DASH)) for row in table.rows]
    sentences = [*untested(table, results, verdicts), *(verdict.sentence(table.labels) for verdict in verdicts)]
    return Grid(table.title, tuple(header), tuple(rows), (*_notes(table, results, verdicts), *sentences))


def _cells(table: PaperTable, row: Row, result: RowResult | None, difference: str) -> tuple[str, ...]:
    """Returns the cells of a row."""
    first = BY_NAME.get(table.columns[0])
    values = [our_value(result, column) for column in table.columns]
    interval = result.interval(first.name).written(first) if result and first else DASH
    counts = [f"{result.answered} of {result.clips}", str(result.clips), str(len(result.seeds))] if result else []
    return (row.display_name, *values, interval, difference, *(counts or [DASH] * 3))


def _notes(table: PaperTable, results: dict[str, RowResult], verdicts: Sequence[Verdict]) -> list[str]:
    """Returns the sentences about an ablation and its rows."""
    notes = [table.note] if table.note else []
    if results:
        notes.append(f"Values: {brackets(table, results)}; those of differences likewise.")
    if len(verdicts) > 1:
        notes.append(
            f"Each of the {len(verdicts)} intervals of differences stands for one comparison: the more there are, the "
            "more of them leave 0 out by chance. The p-values are adjusted for that (Holm), and decide."
        )
    return notes + [f"{row.display_name}: {row.note}" for row in table.rows if row.note]
