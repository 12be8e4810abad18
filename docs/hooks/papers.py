"""A page for each paper: its tables as published, with our results beside them."""

from collections.abc import Iterator

from fer_lightning.tables.files import StoredTable, read_stored
from fer_lightning.tables.grid import Grid, as_markdown, grid
from fer_lightning.tables.plan import TableRequest
from fer_lightning.tables.readme import command, stored_of
from fer_lightning.tables.results import table_folders
from fer_lightning.tables.table import read_table, table_names

FOLDER = "papers"


def paper_pages() -> dict[str, tuple[str, str]]:
    """Returns for each paper the path of its page in `docs/`, its title, and its text."""
    groups: dict[str, list[str]] = {}
    for name in table_names():
        groups.setdefault(name.rpartition("_")[0], []).append(name)
    return {f"{FOLDER}/{paper}.md": (heading(names[0]), page(names)) for paper, names in groups.items()}


def heading(name: str) -> str:
    """Returns the title of the page of a table's paper."""
    table, system = read_table(name), name.rpartition("_")[0]
    return f"{table.paper} ({system})" if table.is_published else f"{table.title} ({system})"


def page(names: list[str]) -> str:
    """Returns the text of a paper's page."""
    table = read_table(names[0])
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


def shown(stored: StoredTable) -> Grid:
    """Returns a table as text. Clips are not counted: that depends on the data sets of the machine that builds this."""
    if stored.table.kind == "counts":
        return grid(stored.table, stored.results, stored.verdicts)
    return stored.grid()


def without_title(content: Grid) -> str:
    """Returns a table as Markdown without the line above it, which the page has as a heading."""
    return as_markdown(content).removeprefix(f"**{content.title}**").strip()
