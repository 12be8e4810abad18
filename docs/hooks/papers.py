"""A page for each paper: its tables as published, with our results beside them; and one of the leaderboards."""

from collections.abc import Iterator
from dataclasses import replace

from fer_lightning.tables.files import StoredTable, read_stored
from fer_lightning.tables.grid import Grid, as_markdown, grid, waiting
from fer_lightning.tables.leaderboard import LEADERBOARD
from fer_lightning.tables.plan import TableRequest
from fer_lightning.tables.readme import command, stored_of
from fer_lightning.tables.results import table_folders
from fer_lightning.tables.table import group_of, known_tables, read_table

FOLDER = "papers"
PUBLISHED = 2
"""Columns of a leaderboard that quoted rows have: the label, and the published WAR."""
SEEDS = (0, 1, 2)
"""The seeds that a leaderboard asks for."""


def paper_pages() -> dict[str, tuple[str, str]]:
    """Returns for each paper, and for the leaderboards, the path of the page in `docs/`, its title, and its text."""
    groups: dict[str, list[str]] = {}
    for name in known_tables():
        groups.setdefault(group_of(name), []).append(name)
    return {f"{FOLDER}/{paper}.md": (heading(names[0]), page(names)) for paper, names in groups.items()}


def heading(name: str) -> str:
    """Returns the title of the page of a table's paper."""
    table, system = read_table(name), group_of(name)
    if system == LEADERBOARD:
        return "Leaderboards"
    return f"{table.paper} ({system})" if table.is_published else f"{table.title} ({system})"


def page(names: list[str]) -> str:
    """Returns the text of a paper's page."""
    table = read_table(names[0])
    if table.ranked:
        head = (f"# {heading(names[0])}", f"All systems on each data set: {table.protocol}.", table.note)
        return "\n\n".join([*head, *(part for name in names for part in leaderboard_part(name, table.note))])
    lead = f"The paper: [{table.link}]({table.link}). " if table.is_published else "No paper has these tables. "
    legend = (
        "A dash stands where there is no value: the paper prints none, or this version keeps no run of that row. "
        "[How to read the numbers](../protocol.md)."
    )
    return "\n\n".join(
        [f"# {heading(names[0])}", lead + legend, *(part for name in names for part in table_part(name))]
    )


def table_part(name: str) -> Iterator[str]:
    """Yields the parts of a page about one table: on its own data, then our results on other data sets."""
    stored = read_stored(TableRequest(name))
    place = f"{stored.table.place[:1].upper()}{stored.table.place[1:]}: " if stored.table.is_published else ""
    yield f"## {place}{stored.table.title}"
    yield without_title(shown(stored))
    yield command(stored)
    for folder in table_folders():
        if folder.name.startswith(f"{name}."):
            elsewhere = stored_of(folder.name)
            yield f"### On {elsewhere.asked.data or 'its own data'}, {elsewhere.asked.size or 'at its usual'} size"
            yield without_title(elsewhere.with_results_only().grid())
            yield command(elsewhere)


def leaderboard_part(name: str, shared: str) -> Iterator[str]:
    """Yields the parts of the page about one leaderboard: the rows with results, what others have published, and the
    rows that wait for somebody; its note without what is shared by all of them.
    """
    table = read_table(name)
    yield f"## {table.title}"
    folders = [folder.name for folder in table_folders() if folder.name.split(".")[0] == name]
    filled = [stored for stored in map(stored_of, folders) if stored.results]
    for stored in filled:
        yield without_title(stored.with_results_only().grid())
    quoted = [row.display_name for row in table.rows if row.is_constant]
    if quoted:
        whole = grid(table, {})
        cells = tuple(row[:PUBLISHED] for row in whole.rows if row[0] in quoted)
        notes = (table.note.removeprefix(shared).strip(),)
        yield without_title(replace(whole, header=whole.header[:PUBLISHED], rows=cells, notes=notes))
    known = {row for stored in filled for row in stored.results}
    left = [f"`{row.name}`" for row in table.rows if row.system and row.name not in known]
    yield f"{waiting(table)} Rows without results: {', '.join(left)}.".strip() if left else ""
    yield command(filled[0] if filled else read_stored(TableRequest(name, seeds=SEEDS)))


def shown(stored: StoredTable) -> Grid:
    """Returns a table as text. Clips are not counted: that depends on the data sets of the machine that builds this."""
    if stored.table.kind == "counts":
        return grid(stored.table, stored.results, stored.verdicts)
    return stored.grid()


def without_title(content: Grid) -> str:
    """Returns a table as Markdown without the line above it, which the page has as a heading."""
    return as_markdown(content).removeprefix(f"**{content.title}**").strip()
