"""A table of a paper beside our results, as text: what was published, what came out, how sure that is."""

import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field

from fer_lightning.evaluation.bootstrap import Interval
from fer_lightning.evaluation.confidence import MEASURES
from fer_lightning.evaluation.metrics import METRICS, WAR
from fer_lightning.tables.computed import Computed
from fer_lightning.tables.plan import is_rendered
from fer_lightning.tables.results import RowResult
from fer_lightning.tables.table import PaperTable, Row
from fer_lightning.tables.verdicts import Verdict

DASH = "–"
BY_NAME = {metric.name: metric for metric in METRICS}
CONFIDENCE = {measure.name: measure for measure in MEASURES}


@dataclass(frozen=True)
class Grid:
    """A table of text.

    Args:
        title: one line.
        header: the names of the columns.
        rows: the cells, as many in each row as there are columns.
        notes: sentences about the table, its rows and its claims.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...] = field(default=())


def grid(
    table: PaperTable,
    results: dict[str, RowResult],
    verdicts: Sequence[Verdict] = (),
    data: str | None = None,
    computed: Computed | None = None,
) -> Grid:
    """Returns a table with published values and our results.

    Args:
        table: the paper's table.
        results: name of a row -> its results, of the rows that have any.
        verdicts: on the table's claims.
        data: name of the data set if it is not the table's own.
        computed: values of rows that need no training.
    """
    rendered, published = is_rendered(data or table.data), table.is_published
    header = ["", *(f"published {title(column)}" for column in table.columns if published)]
    header += ["ours " * published + title(column) for column in table.columns]
    if table.kind == "results":
        watched = any(result.watched(max) for result in results.values())
        header += [
            "95 %",
            "answered only",
            "N",
            "seeds",
            *(["last epoch", "best on test", "inflation"] if watched else []),
        ]
        compared = published and not rendered
        header += ["difference"] if compared else []
        rows = [_cells(table, row, results.get(row.name), compared, watched) for row in table.rows]
    else:
        values = computed or {}
        rows = [
            (
                row.display_name,
                *(published_value(row, column) for column in table.columns if published),
                *(_plain(values.get(row.name, {}).get(column)) for column in table.columns),
            )
            for row in table.rows
        ]
    notes = [*_notes(table, results, rendered), *(f"{each.text} {each.sentence(table.labels)}" for each in verdicts)]
    source = f"{table.paper}, {table.place}: " if published else ""
    return Grid(f"{source}{table.title}", tuple(header), tuple(rows), tuple(notes))


def title(column: str) -> str:
    """Returns a column's heading."""
    if column in BY_NAME:
        return BY_NAME[column].short
    return CONFIDENCE[column].short if column in CONFIDENCE else column.removeprefix("recall.").replace("_", " ")


def _cells(table: PaperTable, row: Row, result: RowResult | None, compared: bool, watched: bool) -> tuple[str, ...]:
    """Returns the cells of a row.

    Args:
        table: its table.
        row: the row.
        result: its results.
        compared: whether there is a column with the difference to the published value.
        watched: whether there are columns with other epochs than the chosen one.
    """
    first = table.columns[0]
    ours = [our_value(result, column) for column in table.columns]
    interval = answered = difference = DASH
    if result is not None and first in BY_NAME:
        metric = BY_NAME[first]
        interval = result.interval(metric.name).written(metric)
        answered = _mean(result.by_seed(first, answered=True), first) if result.answered < result.clips else ""
        difference = _difference(row, result, first)
    n = str(result.clips) if result else DASH
    seeds = str(len(result.seeds)) if result else DASH
    return (
        row.display_name,
        *(published_value(row, column) for column in table.columns if table.is_published),
        *ours,
        interval,
        answered,
        n,
        seeds,
        *((_other_epochs(result)) if watched else ()),
        *([difference] if compared else []),
    )


def _other_epochs(result: RowResult | None) -> tuple[str, str, str]:
    """Writes the accuracy of the last epoch, that of the best one on the reported split, and what the latter adds."""
    if result is None:
        return DASH, DASH, DASH
    inflation = DASH
    if result.inflation:
        value, *ends = result.inflation
        inflation = " ".join([WAR.write(value), *([Interval(*ends).written(WAR)] if ends else [])])
    last, best = (_mean(result.watched(pick), WAR.name) for pick in (lambda curve: curve[-1], max))
    return last, best, inflation


def published_value(row: Row, column: str) -> str:
    """Writes a published value as the paper prints it, with what it decodes to; a dash if there is none."""
    value = row.published.get(column)
    if value is None:
        return DASH
    if isinstance(value, str):
        return value
    spec = ",.0f" if column in ("parameters", "multiply_adds") else "g" if column == "value" else ".2f"
    text = f"{value:{spec}}"
    text += f" ± {row.deviation[column]:g}" if column in row.deviation else ""
    return f"{text} ({row.decoded})" if column == "war" and row.decoded else text


def our_value(result: RowResult | None, column: str) -> str:
    """Writes the mean of our values over the seeds, with their deviation; a dash if there are none."""
    if result is None:
        return DASH
    run = result.runs[0]
    if column == "parameters":
        return f"{run.parameters:,}"
    if column == "multiply_adds":
        return DASH if run.multiply_adds is None else f"{run.multiply_adds:,}"
    if column == "ms_per_clip":
        return DASH if run.ms_per_clip is None else f"{run.ms_per_clip:.2f}"
    text, interval = _mean(result.by_seed(column), column), result.interval(column)
    return f"{text} {interval:.3f}" if column in CONFIDENCE and interval.is_known else text


def _plain(value: object) -> str:
    """Writes a setting or a count; a dash if there is none."""
    if value is None:
        return DASH
    return f"{value:,}" if isinstance(value, int) and abs(value) >= 10_000 else str(value)


def _mean(values: Sequence[float], column: str) -> str:
    if not values:
        return DASH
    text = _written(statistics.mean(values), column)
    return f"{text} ± {_written(statistics.stdev(values), column)}" if len(values) > 1 else text


def _written(value: float, column: str) -> str:
    return BY_NAME[column].write(value) if column in BY_NAME else f"{value:.3f}"


def _difference(row: Row, result: RowResult, column: str) -> str:
    """Writes our value minus the published one, in percentage points; a dash if there is none."""
    published, ours = row.published.get(column), result.by_seed(column)
    if not isinstance(published, (int, float)) or not ours:
        return DASH
    return f"{100 * statistics.mean(ours) - published:+.2f}"


def _notes(table: PaperTable, results: dict[str, RowResult], rendered: bool) -> list[str]:
    """Returns the sentences about a table and its rows."""
    what = "Published values: per cent," if table.is_published else "Protocol:"
    notes = [f"{what} {table.protocol}." if table.kind == "results" and table.protocol else "", table.note]
    if rendered and results:
        notes.append("Our values are of rendered faces and cannot be compared with the published ones.")
    if results:
        first = next(iter(results.values()))
        notes.append(
            f"Ours: mean ± standard deviation over seeds; brackets are 95 % bootstrap intervals over {first.drawn}. "
            f"{_selections(results)}"
        )
    if not rendered:
        notes += [_other_clips(row, results[row.name]) for row in table.rows if row.name in results]
    notes += [_without_stills(row, results[row.name]) for row in table.rows if row.name in results]
    notes += [f"{row.display_name}: {row.note}" for row in table.rows if row.note]
    for reason in dict.fromkeys(row.missing for row in table.rows if row.missing):
        labels = [row.display_name for row in table.rows if row.missing == reason and row.name not in results]
        notes.append(f"{'; '.join(labels)}: cannot be run, {reason}." if labels else "")
    return [note.strip() for note in notes if note.strip()]


def _other_clips(row: Row, result: RowResult) -> str:
    """Says that a published accuracy is of another number of clips than ours; nothing if it is of the same."""
    clips = row.decoded.partition("/")[2]
    if not clips or int(clips) == result.clips:
        return ""
    return f"{row.display_name}: the published accuracy is of {clips} clips, ours of {result.clips}."


def _without_stills(row: Row, result: RowResult) -> str:
    """Gives the accuracy without the classes that are made of still frames, pooled over folds, as mean over seeds."""
    classes = result.runs[0].classes_from_stills
    if not classes:
        return ""
    values, clips = [], 0
    for seed in result.seeds:
        parts = [run.without_stills for run in result.runs if run.seed == seed]
        clips = sum(part.clips for part in parts)
        values.append(sum(part[WAR] * part.clips for part in parts) / max(clips, 1))
    text = f"{WAR.short} without {' and '.join(classes)}, which is of still frames,"
    return f"{row.display_name}: {text} is {_mean(values, WAR.name)} (N = {clips})."


def _selections(results: dict[str, RowResult]) -> str:
    found = sorted({run.selection for result in results.values() for run in result.runs})
    texts = {
        "inner": "the epoch is chosen on an inner split of the training data",
        "last": "the last epoch is taken",
        "best_on_test": "the epoch is chosen on the reported split itself",
    }
    return "; ".join(texts.get(each, each) for each in found).capitalize() + "."


def as_markdown(grid: Grid) -> str:
    """Returns a table as Markdown."""
    lines = [f"**{grid.title}**", "", *markdown_table(grid.header, grid.rows)]
    return "\n".join([*lines, "", *(f"- {note}" for note in grid.notes)]).rstrip() + "\n"


def markdown_table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """Returns the lines of a table in Markdown; all columns but the first are aligned to the right."""
    return [_pipe(header), _pipe(["---"] + ["---:"] * (len(header) - 1)), *map(_pipe, rows)]


def _pipe(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


LATEX = {"\\": r"\textbackslash{}", "±": r"$\pm$", "–": "--", "−": "$-$"} | {
    character: f"\\{character}" for character in "&%$#_{}"
}


def as_latex(grid: Grid) -> str:
    """Returns a table as LaTeX, for the package booktabs."""
    lines = [
        r"\begin{table}",
        r"\centering",
        rf"\caption{{{_latex(grid.title)}}}",
        rf"\begin{{tabular}}{{l{'r' * (len(grid.header) - 1)}}}",
        r"\toprule",
        " & ".join(map(_latex, grid.header)) + r" \\",
        r"\midrule",
        *(" & ".join(map(_latex, row)) + r" \\" for row in grid.rows),
        r"\bottomrule",
        r"\end{tabular}",
        *(rf"\par\footnotesize {_latex(note)}" for note in grid.notes),
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _latex(text: str) -> str:
    return "".join(LATEX.get(character, character) for character in text)
