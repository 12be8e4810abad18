"""The files of a table's results: what is there, and the table as Markdown, CSV and LaTeX."""

from dataclasses import dataclass, replace
from pathlib import Path

from data_modules.utils.csv_tables import write_csv
from data_modules.utils.files import atomic_write
from fer_lightning.tables.ablation_grid import ablation_grid
from fer_lightning.tables.computed import computed_values
from fer_lightning.tables.grid import Grid, as_latex, as_markdown, grid
from fer_lightning.tables.plan import TableRequest
from fer_lightning.tables.results import RowResult, read_result, results_folder
from fer_lightning.tables.table import PaperTable
from fer_lightning.tables.verdicts import Verdict, read_verdicts


@dataclass(frozen=True)
class StoredTable:
    """A table with the results that finished rows have left.

    Args:
        table: the paper's table.
        folder: of the results.
        results: name of a row -> its results.
        verdicts: on the table's claims.
        asked: the table's name, and where it is run.
    """

    table: PaperTable
    folder: Path
    results: dict[str, RowResult]
    verdicts: tuple[Verdict, ...]
    asked: TableRequest

    def grid(self) -> Grid:
        """Returns the table as text; values of systems that need no training are computed."""
        if self.table.base:
            return ablation_grid(self.table, self.results, self.verdicts)
        return grid(self.table, self.results, self.verdicts, self.asked.data, computed_values(self.asked))

    def with_results_only(self) -> "StoredTable":
        """Returns the table without the rows that have no results, for read-mes."""
        rows = tuple(row for row in self.table.rows if row.name in self.results)
        if not rows:
            return self
        claims = tuple(each for each in self.table.claims if {each.row, each.over} <= self.results.keys())
        verdicts = tuple(each for each in self.verdicts if {each.row, each.over} <= self.results.keys())
        return replace(self, table=replace(self.table, rows=rows, claims=claims), verdicts=verdicts)

    @property
    def has_values(self) -> bool:
        """Whether there is anything beside the published values."""
        return bool(self.results) or self.table.kind != "results"


def read_stored(asked: TableRequest, folder: Path | None = None) -> StoredTable:
    """Reads a table and the results of its rows.

    Args:
        asked: the table, and where it is run.
        folder: of the results, if it is known.

    Raises:
        FileNotFoundError: there is no such table.
        ValueError: a file is damaged, or holds the results of another table's row.
    """
    table, folder = asked.read(), folder or results_folder(asked)
    results = {}
    for row in table.rows:
        result = read_result(folder, row.name)
        if result is not None:
            if (result.table, result.row) != (Path(asked.name).stem, row.name):
                raise ValueError(f"{folder / row.name}.json holds the results of {result.table}, {result.row}")
            results[row.name] = result
    names = table.labels.keys()  # the table may have had other rows when its claims were judged
    verdicts = tuple(each for each in read_verdicts(folder) if {each.row, each.over} <= names)
    return StoredTable(table, folder, results, verdicts, asked)


def write_text(stored: StoredTable) -> list[Path]:
    """Writes a table as `table.md`, `table.csv` and `table.tex` beside its results and returns their paths."""
    content = stored.grid()
    paths = [stored.folder / f"table.{ending}" for ending in ("md", "csv", "tex")]
    atomic_write(paths[0], as_markdown(content).encode())
    write_csv(paths[1], content.header, content.rows)
    atomic_write(paths[2], as_latex(content).encode())
    return paths
