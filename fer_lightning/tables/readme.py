"""The parts of read-mes that are made from results, so that no number there is typed.

A read-me marks the place of a table by two comments, `<!-- results: FOLDER -->` and `<!-- end -->`, where FOLDER is the
name of a folder in `results/`; the list of all tables stands between `<!-- tables -->` and `<!-- end -->`, what was
measured on a GPU between `<!-- gpu -->` and `<!-- end -->`, and the leaderboards, as far as they are filled, between
`<!-- leaderboards -->` and `<!-- end -->`, or with few columns after `<!-- leaderboard overview -->`.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from data_modules.utils.files import atomic_write
from fer_lightning.evaluation.metrics import WAR
from fer_lightning.experiments.system import data_names, experiments_folder
from fer_lightning.tables.collect import is_of_today
from fer_lightning.tables.columns import INTERVAL, title
from fer_lightning.tables.files import StoredTable, read_stored
from fer_lightning.tables.gpu_table import gpu_table
from fer_lightning.tables.grid import as_markdown
from fer_lightning.tables.leaderboard import LEADERBOARD, leaderboard_names
from fer_lightning.tables.plan import TableRequest, is_rendered, plan
from fer_lightning.tables.results import RowResult, results_root, table_folders
from fer_lightning.tables.table import known_tables, read_table, table_names

MARKED = re.compile(
    r"(<!-- (?:results: (?P<folder>[\w.]+)|(?P<made>tables|gpu|leaderboards|leaderboard overview)) -->\n)"
    r".*?(?P<end><!-- end -->)",
    re.DOTALL,
)
SEEDS = 3
"""Seeds that a row of a leaderboard has before a read-me shows it."""
OVERVIEW = (WAR.name, f"{INTERVAL}{WAR.name}", "inflation", "shuffled_drop", "parameters", "clips_per_second")
"""The columns of a leaderboard's overview."""


def readmes() -> list[Path]:
    """Lists the read-mes and the page of the documentation that hold tables."""
    folder = experiments_folder()
    root = folder.parent
    places = (folder / "README.md", root / "README.md", root / "docs" / "guides" / "speed.md")
    return [path for path in places if path.is_file()]


def current_text(text: str) -> str:
    """Returns a read-me's text with every marked part made anew.

    Raises:
        FileNotFoundError: there are no results of that name.
        ValueError: a file is damaged.
    """
    return MARKED.sub(lambda match: match[1] + _part(match) + match["end"], text)


def write_readmes() -> list[Path]:
    """Makes the marked parts of the read-mes anew and returns those that changed."""
    changed = []
    for path in readmes():
        before = path.read_text(encoding="utf-8")
        after = current_text(before)
        if after != before:
            atomic_write(path, after.encode())
            changed.append(path)
    return changed


def outdated() -> Iterator[str]:
    """Yields a sentence for every read-me that is not made from today's results, and for every result that is not of
    today's configuration.
    """
    for path in readmes():
        text = path.read_text(encoding="utf-8")
        if current_text(text) != text:
            yield f"{path} is not made from the results that are there: fer tables --write"
    known = known_tables()
    for folder in table_folders():
        if folder.name.partition(".")[0] not in known:
            continue  # of a table in somebody's own file, which may be anywhere
        stored = stored_of(folder.name)
        seeds = tuple(dict.fromkeys(seed for each in stored.results.values() for seed in each.seeds))
        asked = TableRequest(stored.asked.name, stored.asked.data, stored.asked.size, seeds or (0,))
        for planned in plan(asked):
            result = stored.results.get(planned.row.name)
            if result and planned.requests and not is_of_today(result, planned):
                yield (
                    f"{folder / planned.row.name}.json is of another configuration than today's: repeat `fer reproduce "
                    f"{stored.asked.name}` with new runs, or delete it"
                )


def stored_of(folder: str) -> StoredTable:
    """Reads a table by the name of its results' folder, `<table>[.<data>][.small]`.

    Raises:
        FileNotFoundError: there is no such table.
        ValueError: a file is damaged.
    """
    name, *parts = folder.split(".")
    data = next((part for part in parts if part in data_names()), None)
    return read_stored(TableRequest(name, data, "small" if "small" in parts else None), results_root() / folder)


def _part(mark: re.Match[str]) -> str:
    """Returns what stands between two comments."""
    made: dict[str, Callable[[], str]] = {
        "gpu": gpu_table,
        "tables": list_of_tables,
        "leaderboards": leaderboards,
        "leaderboard overview": partial(leaderboards, OVERVIEW),
    }
    if mark["made"]:
        return made[mark["made"]]()
    folder = mark["folder"]
    if not (results_root() / folder).is_dir():
        raise FileNotFoundError(f"a read-me shows the results {folder}, but there are none in {results_root()}")
    stored = stored_of(folder)
    return f"{as_markdown(stored.with_results_only().grid())}\n{command(stored)}\n"


def leaderboards(columns: Sequence[str] = ()) -> str:
    """Returns the leaderboards as Markdown with their rows of enough seeds; nothing as long as there are none.

    Args:
        columns: of our values, those to show; all of them if none are named.
    """
    names, parts = leaderboard_names(), list[str]()
    for folder in table_folders():
        if folder.name.split(".")[0] in names:
            stored = stored_of(folder.name)
            filled = {name: result for name, result in stored.results.items() if len(result.seeds) >= SEEDS}
            if filled:
                shown = replace(stored, results=filled).with_results_only()
                content = shown.grid().only([title(column) for column in columns]) if columns else shown.grid()
                parts.append(f"\n{as_markdown(content)}\n{command(shown)}{_other_systems(stored, filled)}\n")
    return "".join(parts)


def _other_systems(stored: StoredTable, filled: dict[str, RowResult]) -> str:
    """Says how many systems of a leaderboard are not shown, as they have no or too few results."""
    systems = [row.name for row in stored.table.rows if row.system]
    others = len(systems) - len(filled)
    return f" trains the other {others} of {len(systems)} systems." if others else ""


def command(stored: StoredTable) -> str:
    """Returns the command that makes a table, as a line of Markdown."""
    asked, results = stored.asked, stored.results.values()
    seeds = sorted({seed for each in results for seed in each.seeds}) or asked.seeds
    data = f" DATA={asked.data}" if asked.data else ""
    size = " SIZE=small" if asked.size == "small" and not is_rendered(asked.data or stored.table.data) else ""
    return f'`make reproduce TABLE={asked.name}{data}{size} SEEDS="{" ".join(map(str, seeds))}"`'


def list_of_tables() -> str:
    """Returns a list of all tables as Markdown: what they are about, how many rows can be run, and results."""
    folders = {path.name for path in table_folders()}
    lines = ["| table | | data | rows to run | results |", "|---|---|---|---:|---|"]
    for name in table_names():
        table = read_table(name)
        rows = sum(bool(row.setting) if table.kind == "counts" else row.runs_at("paper") for row in table.rows)
        found = ", ".join(sorted(each for each in folders if each.split(".")[0] == name)) or "none yet"
        state = found if table.kind == "results" else "computed"
        lines.append(f"| `{name}` | {table.title} | {table.data} | {rows} of {len(table.rows)} | {state} |")
    filled = ", ".join(sorted(each for each in folders if each.split(".")[0] in leaderboard_names())) or "none yet"
    lines.append(f"| `{LEADERBOARD}_DATA` | All systems on a data set | any of `data/` | all | {filled} |")
    return "\n".join(lines) + "\n"
