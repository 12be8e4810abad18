"""The papers' tables as data: what each row trains, what was published, and which claims the rows make."""

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import ClassVar, Literal, TypeVar

from pydantic import ConfigDict, TypeAdapter, ValidationError
from pydantic_core import ErrorDetails

from fer_lightning.experiments.system import (
    Size,
    data_names,
    experiments_folder,
    similar_names,
    system_names,
    yaml_names,
)
from fer_lightning.runs.folder import read_yaml
from fer_lightning.tables.columns import COLUMNS
from fer_lightning.tables.leaderboard import LEADERBOARD, leaderboard, leaderboard_names

Kind = Literal["results", "cost", "configuration", "counts"]


@dataclass(frozen=True)
class Described:
    """What a file describes: it may have the keys that are fields, and no others."""

    __pydantic_config__: ClassVar[ConfigDict] = ConfigDict(extra="forbid")


Schema = TypeVar("Schema", bound=Described)


@dataclass(frozen=True)
class Required(Described):
    """A run whose weights a row starts from, as a variant with arguments of its own.

    Args:
        experiment: its name, `<system>_<data>`.
        name: name of the variant; the row's arguments name it as `run:<experiment>.<name>`. Empty for the experiment as
            it is, which a variant with other settings of the data set starts from.
        arguments: of the variant, as on the command line of `fer train`.
    """

    experiment: str
    name: str
    arguments: tuple[str, ...] = ()


@dataclass(frozen=True)
class Point(Described):
    """Where a row stands in the paper's figure.

    Args:
        axis: what the horizontal axis is, such as `number of clips`; each axis is a figure of its own.
        at: the row's place on it.
        line: name of the line that the row's value is a point of.
    """

    axis: str
    at: float
    line: str


@dataclass(frozen=True)
class Row(Described):
    """A row of a table.

    Args:
        name: the name of its results, such as `sal_lrl`; unique in the table.
        label: the row's name as the paper prints it.
        system: name of the system that is run; None for a row that is another paper's constant, or a setting.
        data: name of another data set than the table's.
        tested_on: name of the data set whose reported split its models are tested on; by default, the one that they are
            trained on. Classes are matched by name. If it is of other people, models of one fold are tested, on fold 1.
        variant: name of the variant whose runs the row shares with rows of other tables; by default the row's `name`
            if it has arguments, and the system's plain runs if it has none.
        arguments: what the row changes, as on the command line of `fer train`.
        small: arguments in the place of `arguments` at small size, where these do not fit it.
        requires: variants whose weights the row starts from.
        setting: dotted key of a setting, in a table of kind `configuration`; in one of kind `counts`, a split and an
            emotion or `total`, such as `train.anger`.
        published: column -> value as printed: metrics in per cent, parameters and multiply-adds as counts.
        deviation: column -> the printed ± value.
        decoded: the published accuracy as `k/N` clips, where it decodes.
        point: where the row stands in the paper's figure; None if it has no such place.
        note: what a reader should know about the row, such as what differs from the paper.
        missing: why the row cannot be run, or with `small`, why it cannot at paper size; empty if it can.

    Raises:
        ValueError: the row contradicts itself.
    """

    name: str
    label: str = ""
    system: str | None = None
    data: str | None = None
    tested_on: str | None = None
    variant: str | None = None
    arguments: tuple[str, ...] = ()
    small: tuple[str, ...] | None = None
    requires: tuple[Required, ...] = ()
    setting: str = ""
    published: dict[str, float | str] = field(default_factory=dict)
    deviation: dict[str, float] = field(default_factory=dict)
    decoded: str = ""
    point: Point | None = None
    note: str = ""
    missing: str = ""

    def __post_init__(self) -> None:
        """Checks the row."""
        if self.arguments and not self.system:
            raise ValueError(f"row {self.name} has arguments but no system that takes them")
        if self.system and self.system not in system_names():
            raise ValueError(
                f"row {self.name}: no system {self.system!r}; {similar_names(self.system, system_names())}"
            )
        if self.tested_on and not self.system:
            raise ValueError(f"row {self.name} is tested on {self.tested_on} but has no system")
        if self.tested_on and self.tested_on not in data_names():
            raise ValueError(
                f"row {self.name}: no data set {self.tested_on!r}; {similar_names(self.tested_on, data_names())}"
            )
        for column in (*self.published, *self.deviation):
            if column not in COLUMNS:
                raise ValueError(f"row {self.name}: no column {column!r}; {similar_names(column, list(COLUMNS))}")
        if self.decoded:
            self._check_decoded()

    def _check_decoded(self) -> None:
        hits, _, clips = self.decoded.partition("/")
        if not (hits.isdecimal() and clips.isdecimal() and "war" in self.published):
            raise ValueError(
                f"row {self.name}: expected `decoded: k/N` beside a published `war`, found {self.decoded!r}"
            )
        share = 100 * int(hits) / int(clips)
        if abs(share - float(self.published["war"])) > 0.0051:
            raise ValueError(f"row {self.name}: {self.decoded} is {share:.2f} %, published is {self.published['war']}")

    def runs_at(self, size: Size) -> bool:
        """Whether the row can be run at a size."""
        return self.system is not None and (not self.missing or (size == "small" and self.small is not None))

    def arguments_at(self, size: Size) -> tuple[str, ...]:
        """Returns what the row changes at a size."""
        return self.small if size == "small" and self.small is not None else self.arguments

    @property
    def display_name(self) -> str:
        """What the row is called in texts."""
        return self.label or self.name

    @property
    def is_constant(self) -> bool:
        """Whether the row only quotes a value."""
        return self.system is None and not self.setting


@dataclass(frozen=True)
class Claim(Described):
    """A claim that the order of two rows makes.

    Args:
        row: name of the row that is better.
        over: name of the row that it is better than.
        text: the paper's claim, one sentence.
        column: the column in which it is better.
    """

    row: str
    over: str
    text: str
    column: str = "war"


@dataclass(frozen=True)
class PaperTable(Described):
    """A table of a paper, or the numbers of a figure.

    Args:
        title: what the table shows, one line.
        paper: authors and year.
        place: `table 6` or `figure 5`.
        link: the paper's address.
        data: name of the data set of its rows.
        protocol: how the paper evaluates, in words.
        columns: its columns, see `columns.COLUMNS`.
        rows: its rows, in the paper's order.
        claims: what the order of rows claims.
        kind: `results` of training; `cost` of models, which needs no training; `configuration`, values of settings;
            `counts` of the clips in data sets.
        note: what a reader should know about the table.
        base: in an ablation, the name of the row that every other one is compared with; empty in a paper's table.
        ranked: whether the rows are shown in the order of their results in the first column, as in a leaderboard.

    Raises:
        ValueError: the table contradicts itself.
    """

    title: str
    paper: str
    place: str
    link: str
    data: str
    protocol: str
    columns: tuple[str, ...]
    rows: tuple[Row, ...]
    claims: tuple[Claim, ...] = ()
    kind: Kind = "results"
    note: str = ""
    base: str = ""
    ranked: bool = False

    def __post_init__(self) -> None:
        """Checks that rows and columns exist and that names are unique."""
        names = [row.name for row in self.rows]
        twice = {name for name in names if names.count(name) > 1}
        if twice or not names:
            raise ValueError(f"rows listed twice: {', '.join(sorted(twice))}" if twice else "a table has rows")
        for row in self.rows:
            other = {*row.published, *row.deviation} - set(self.columns)
            if other:
                raise ValueError(f"row {row.name} has {', '.join(sorted(other))}, which is no column of the table")
        for claim in self.claims:
            for name in (claim.row, claim.over):
                if name not in names:
                    raise ValueError(f"a claim is about row {name!r}; {similar_names(name, names)}")
            if claim.column not in self.columns:
                raise ValueError(
                    f"a claim is about column {claim.column!r}; {similar_names(claim.column, list(self.columns))}"
                )

    @property
    def is_published(self) -> bool:
        """Whether any row has a published value; a table of this suite's own has none."""
        return any(row.published for row in self.rows)

    def publishes(self, column: str) -> bool:
        """Whether any row has a published value in a column."""
        return any(column in row.published for row in self.rows)

    @property
    def labels(self) -> dict[str, str]:
        """Name of a row -> what it is called."""
        return {row.name: row.display_name for row in self.rows}

    def row(self, name: str) -> Row:
        """Returns a row by its name.

        Raises:
            ValueError: the table has no such row; the message suggests similar ones.
        """
        for row in self.rows:
            if row.name == name:
                return row
        raise ValueError(f"no row {name!r}; {similar_names(name, [row.name for row in self.rows])}")


def tables_folder() -> Path:
    """Returns the folder of the papers' tables."""
    return experiments_folder() / "tables"


def table_names() -> list[str]:
    """Lists the papers' tables in the order of papers and of numbers."""
    return sorted(yaml_names(tables_folder()), key=_order)


def known_tables() -> list[str]:
    """Lists all tables: the papers', then the leaderboards of the data sets."""
    return [*table_names(), *leaderboard_names()]


def group_of(name: str) -> str:
    """Returns what a table belongs to: its paper, or the leaderboards."""
    return LEADERBOARD if name in leaderboard_names() else name.rpartition("_")[0]


def _order(name: str) -> tuple[str, str, int]:
    paper, _, place = name.rpartition("_")
    number = "".join(character for character in place if character.isdecimal())
    return paper, place.removesuffix(number), int(number or 0)


def published_pairs() -> dict[str, list[str]]:
    """Returns the data sets on which the papers publish results of a system, by the system's name."""
    pairs: dict[str, set[str]] = {}
    for name in table_names():
        table = read_table(name)
        for row in table.rows:
            if row.system and row.published and table.kind == "results":
                pairs.setdefault(row.system, set()).add(row.data or table.data)
    return {system: sorted(data) for system, data in sorted(pairs.items())}


def read_table(name: str) -> PaperTable:
    """Reads a table by its name, or from a file.

    Args:
        name: such as `ceflnet_6` or `leaderboard_dfew`, or the path of a file of the same form.

    Raises:
        FileNotFoundError: there is no such table; the message suggests similar ones.
        ValueError: the file is not a table, or has the name of another one, whose results it would overwrite; the
            message names what is wrong.
    """
    if name in leaderboard_names():
        return parse_table(leaderboard(name), name)
    path = Path(name) if name.endswith((".yaml", ".yml")) else tables_folder() / f"{name}.yaml"
    if not path.is_file():
        raise FileNotFoundError(f"no table {name!r}; {similar_names(name, known_tables())}")
    known = path.stem.partition(".")[0]  # results are in folders `<table>[.<data>][.small]`
    if known in known_tables() and path.resolve() != (tables_folder() / f"{known}.yaml").resolve():
        raise ValueError(f"{path} has the name of the table {known}, whose results it would overwrite; rename the file")
    return parse_table(read_yaml(path), str(path))


def parse_table(content: object, origin: str) -> PaperTable:
    """Returns the table that some content describes.

    Args:
        content: what a file holds.
        origin: where it comes from, for messages.

    Raises:
        ValueError: the content is not a table; the message names what is wrong.
    """
    return parse(PaperTable, content, origin)


def parse(schema: type[Schema], content: object, origin: str) -> Schema:
    """Returns what some content describes.

    Args:
        schema: a dataclass, whose rows and claims have the form of a table's.
        content: what a file holds.
        origin: where it comes from, for messages.

    Raises:
        ValueError: the content has another form; the message names what is wrong.
    """
    try:
        return TypeAdapter(schema).validate_python(content)
    except ValidationError as error:
        raise ValueError(f"{origin}: {'; '.join(_fault(schema, each) for each in error.errors())}") from error


PARTS: dict[str, type[Described]] = {"rows": Row, "claims": Claim, "requires": Required, "point": Point}
"""What stands under a key of a file."""


def _fault(schema: type[Described], error: ErrorDetails) -> str:
    """Says where something is wrong in a file, with lists counted from 1, and what; suggests keys that do exist."""
    *places, key = error["loc"] or ("",)
    message = error["msg"]
    if error["type"] == "unexpected_keyword_argument":
        described = PARTS.get(next((each for each in reversed(places) if isinstance(each, str)), ""), schema)
        message = f"no key {key!r}, {similar_names(str(key), [each.name for each in fields(described)])}"
    else:
        places.append(key)
    where = " ".join(str(each + 1) if isinstance(each, int) else each for each in places)
    return f"{where}: {message}" if where else message
