"""A table of a paper beside our results, as text: what was published, what came out, how sure that is."""

import re
import statistics
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace

from fer_lightning.evaluation.metrics import WAR
from fer_lightning.experiments.datasets import build_dataset
from fer_lightning.experiments.request import data_class, same_people, split_name
from fer_lightning.tables.cells import DASH, mean, our_value, plain, published_value
from fer_lightning.tables.columns import ANSWERED, BY_NAME, FROM_VOTES, INTERVAL, OTHER_EPOCHS, SHARES, title
from fer_lightning.tables.computed import Computed
from fer_lightning.tables.plan import TESTED_FOLD, is_rendered
from fer_lightning.tables.results import RowResult
from fer_lightning.tables.table import PaperTable, Row
from fer_lightning.tables.verdicts import Verdict

SELECTIONS = {
    "inner": "the epoch is chosen on the inner split, which is no part of the reported one",
    "last": "the last epoch is taken",
    "best_on_test": "the epoch is chosen on the reported split itself",
}
"""How the epoch of a run is chosen -> as a note says it."""
NAMED = 5
"""Rows that a note names; more than these it counts."""


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

    def only(self, header: Sequence[str]) -> "Grid":
        """Returns the table with its labels and some of its columns, in their order here.

        Raises:
            ValueError: there is no column of that name.
        """
        places = [0, *(self.header.index(name) for name in header)]
        rows = tuple(tuple(row[place] for place in places) for row in self.rows)
        return replace(self, header=tuple(self.header[place] for place in places), rows=rows)


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
    rendered = is_rendered(data or table.data)
    published = [column for column in table.columns if table.publishes(column)]
    beside = _beside(table, results) if table.kind == "results" else {}
    compared = table.is_published and table.kind == "results" and not (rendered or table.ranked)
    header = ["", *(f"published {title(column)}" for column in published)]
    header += ["ours " * (column in published) + title(column) for column in table.columns]
    header += [*beside.values(), *(["difference"] if compared else [])]
    values = computed or {}
    rows = [
        (
            row.display_name,
            *(published_value(row, column) for column in published),
            *(_ours(results.get(row.name), column, values.get(row.name, {})) for column in (*table.columns, *beside)),
            *([_difference(row, results.get(row.name), table.columns[0])] if compared else []),
        )
        for row in (ranked(table, results) if table.ranked else table.rows)
    ]
    notes = [
        *_notes(table, results, rendered),
        *_speeds(table, values),
        *untested(table, results, verdicts),
        *(f"{each.text} {each.sentence(table.labels)}" for each in verdicts),  # last, as the page has a list of them
    ]
    source = f"{table.paper}, {table.place}: " if table.is_published and not table.ranked else ""
    elsewhere = f", on {data}" if data and data != table.data else ""
    return Grid(f"{source}{table.title}{elsewhere}", tuple(header), tuple(rows), tuple(notes))


def _beside(table: PaperTable, results: dict[str, RowResult]) -> dict[str, str]:
    """Returns the columns, with headings, that tables of results have beside their own."""
    first = table.columns[0]
    known = [f"{INTERVAL}{first}", f"{ANSWERED}{first}"] if first in BY_NAME else []
    watched = any(result.watched(max) for result in results.values())
    voted = [name for name in FROM_VOTES if any(result.by_seed(name) for result in results.values())]
    names = [*known, "clips", "seeds", *(OTHER_EPOCHS if watched else ()), *voted]
    headings = dict(zip(known, ("95 %", "answered only"), strict=False))
    return {name: headings.get(name, title(name)) for name in names if name not in table.columns}


def ranked(table: PaperTable, results: dict[str, RowResult]) -> list[Row]:
    """Returns the rows of a table with the best in its first column first and those without results last.

    A row that only quotes a value stays behind the one that it follows in the table.
    """
    places, place = {}, float("inf")
    for row in table.rows:
        if not row.is_constant:
            found = results[row.name].by_seed(table.columns[0]) if row.name in results else []
            place = -statistics.mean(found) if found else float("inf")
        places[row.name] = place
    return sorted(table.rows, key=lambda row: places[row.name])


def _ours(result: RowResult | None, column: str, computed: dict[str, object]) -> str:
    """Writes our value of a row, from its runs or, where they say nothing, computed without a training."""
    text = our_value(result, column)
    return plain(computed[column]) if text == DASH and column in computed else text


def _difference(row: Row, result: RowResult | None, column: str) -> str:
    """Writes our value minus the published one, of shares in percentage points; a dash if there is none."""
    published, ours = row.published.get(column), result.by_seed(column) if result else []
    if not isinstance(published, (int, float)) or not ours:
        return DASH
    scale = 100 if column in SHARES or column.startswith("recall.") else 1
    return f"{scale * statistics.mean(ours) - published:+.2f}"


def _speeds(table: PaperTable, computed: Computed) -> list[str]:
    """Says on what the speeds of systems were measured, and why some were not."""
    if "clips_per_second" not in table.columns:
        return []
    devices = {str(values["device"]) for values in computed.values() if "device" in values}
    notes = [
        f"Clips per second: forward passes for all views of a clip on {device}, without reading the clips "
        "(`fer bench models`)."
        for device in sorted(devices)
    ]
    reasons: dict[str, list[str]] = {}
    for row in table.rows:
        if "unmeasured" in computed.get(row.name, {}):
            reasons.setdefault(str(computed[row.name]["unmeasured"]), []).append(row.display_name)
    named = {why: ", ".join(names) if len(names) <= NAMED else f"{len(names)} rows" for why, names in reasons.items()}
    return [*notes, *(f"No clips per second of {names}: {why}." for why, names in named.items())]


def waiting(table: PaperTable) -> str:
    """Says what a table without results waits for, of data that this suite does not render: somebody who has them."""
    kind = data_class(table.data)
    if kind.is_rendered:
        return ""
    return (
        f"It waits for whoever has the data ({kind.licence}): `fer reproduce` trains its rows where they are. How to "
        f"get them: {kind.how_to_get.rstrip('.')}."
    )


def _notes(table: PaperTable, results: dict[str, RowResult], rendered: bool) -> list[str]:
    """Returns the sentences about a table and its rows."""
    what = "Published values: per cent," if table.is_published and not table.ranked else "Protocol:"
    notes = [f"{what} {table.protocol}." if table.kind == "results" and table.protocol else "", table.note]
    if table.ranked and not results:
        notes.append(f"No results yet. {waiting(table)}".strip())
    if rendered and results:
        other = "cannot be compared with the published ones" if table.is_published else "say nothing about real ones"
        notes.append(f"Our values are of rendered faces and {other}.")
    if results:
        notes.append(f"Ours: {brackets(table, results)}. {_selections(table, results)}")
        notes.append(_folds(table, results))
    if not rendered:
        notes += [_other_clips(row, results[row.name]) for row in table.rows if row.name in results]
    notes += [_without_stills(row, results[row.name]) for row in table.rows if row.name in results]
    notes += [f"{row.display_name}: {row.note}" for row in table.rows if row.note]
    for reason in dict.fromkeys(row.missing for row in table.rows if row.missing):
        labels = [row.display_name for row in table.rows if row.missing == reason and row.name not in results]
        notes.append(f"{'; '.join(labels)}: cannot be run, {reason}." if labels else "")
    return [note.strip() for note in notes if note.strip()]


def brackets(table: PaperTable, results: dict[str, RowResult]) -> str:
    """Says what the spreads and the brackets of a table are over, of each row if rows differ in that."""
    groups = _grouped(table, {name: result.drawn for name, result in results.items()})
    return f"mean ± standard deviation over seeds; brackets are 95 % bootstrap intervals over {', '.join(groups)}"


def _folds(table: PaperTable, results: dict[str, RowResult]) -> str:
    """Says which rows are of some folds of their protocol alone; nothing if all have all folds."""
    texts = {name: _folds_of(result) for name, result in results.items()}
    if set(texts.values()) == {"all folds"}:
        return ""
    text = "; ".join(_grouped(table, texts))
    return f"{text[:1].upper()}{text[1:]}."


def _folds_of(result: RowResult) -> str:
    """Says which folds of their protocol the clips of a row's results are."""
    trained = split_name(result.experiment)[1]
    data = result.tested_on or trained
    folds = result.folds if same_people(trained, data) else (TESTED_FOLD,)
    number = len(build_dataset(data).fold_names)
    return "all folds" if len(folds) >= number else f"fold {', '.join(folds)} of {number} alone"


def _grouped(table: PaperTable, texts: dict[str, str]) -> list[str]:
    """Returns the different texts about rows, each with the rows that it is about unless it is about all of them."""
    rows: dict[str, list[str]] = {}
    for row in table.rows:
        if row.name in texts:
            rows.setdefault(texts[row.name], []).append(row.display_name)
    return [text if len(rows) == 1 else f"{text} ({'; '.join(names)})" for text, names in rows.items()]


def untested(table: PaperTable, results: dict[str, RowResult], verdicts: Sequence[Verdict]) -> list[str]:
    """Says of each claim that has no verdict although both of its rows have values why it was not tested."""
    judged = {(each.row, each.over, each.column) for each in verdicts}
    quoted = {row.name: row.display_name for row in table.rows if row.is_constant}
    labels, sentences = table.labels, []
    for claim in table.claims if results else ():
        pair = (claim.row, claim.over)
        if (*pair, claim.column) in judged or not all(name in results or name in quoted for name in pair):
            continue
        constant = next((quoted[name] for name in pair if name in quoted), "")
        metric = BY_NAME.get(claim.column)
        reason = f"{title(claim.column)} has no interval over people"
        if constant:
            reason = f"{constant} is quoted"
        elif metric and metric.has_interval:
            first, second = (results[name] for name in pair)
            reason = _incomparable(first, second) or "`fer reproduce` tests it where the runs of both rows are"
        text = claim.text or f"{labels[claim.row]} against {labels[claim.over]}:"
        sentences.append(f"{text} Not tested: {reason}.")
    return sentences


def _incomparable(first: RowResult, second: RowResult) -> str:
    """Says why the results of two rows cannot be compared seed by seed on the same clips; nothing if they can."""
    if not set(first.seeds) & set(second.seeds):
        return f"the rows have no seed in common ({_listed(first.seeds)} and {_listed(second.seeds)})"
    if set(first.folds) != set(second.folds):
        return f"the rows are of other folds ({_listed(first.folds)} and {_listed(second.folds)})"
    return "" if first.clips == second.clips else f"the rows are of other clips ({first.clips} and {second.clips})"


def _listed(values: Iterable[object]) -> str:
    return ", ".join(map(str, values))


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
    return f"{row.display_name}: {text} is {mean(values, WAR.name)} (N = {clips})."


def _selections(table: PaperTable, results: dict[str, RowResult]) -> str:
    """Says how the epochs of most rows are chosen, and of the others, which are named."""
    rows: dict[str, list[str]] = {}
    for row in table.rows:
        for each in {run.selection for run in results[row.name].runs} if row.name in results else ():
            rows.setdefault(SELECTIONS.get(each, each), []).append(row.display_name)
    (most, _), *others = sorted(rows.items(), key=lambda item: -len(item[1]))
    text = "; ".join([most, *(f"of {', '.join(names)}, {selection}" for selection, names in others)])
    return f"{text[:1].upper()}{text[1:]}."


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
    escaped = "".join(LATEX.get(character, character) for character in text)
    return re.sub("`([^`]+)`", r"\\texttt{\1}", escaped)
