"""Ablations: an experiment, settings that are varied one by one or together, and the table that they make."""

import itertools
import re
from collections.abc import Iterator, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from pathlib import Path
from typing import Any

import yaml

from data_modules.utils.files import atomic_write
from fer_lightning.evaluation.metrics import WAR
from fer_lightning.experiments.overrides import CLASS, Override, full_key, is_own, parse_value, short_name, variant_name
from fer_lightning.experiments.request import ExperimentRequest
from fer_lightning.experiments.system import similar_names, yaml_names
from fer_lightning.runs.folder import read_yaml
from fer_lightning.tables.columns import COLUMNS
from fer_lightning.tables.plan import TableRequest
from fer_lightning.tables.results import ablations_folder
from fer_lightning.tables.table import Claim, Described, PaperTable, Row, known_tables, parse

BASE = "base"
"""Name of the row that changes nothing."""
NAME = re.compile(r"[A-Za-z0-9_-]+")


@dataclass(frozen=True)
class Ablation(Described):
    """An ablation as a file describes it.

    Args:
        experiment: the experiment that its rows change, `<system>_<data>`.
        name: of the ablation, of letters, digits, `_` and `-`; by default that of its file.
        title: what it shows, one line.
        grid: setting -> its values; each combination is a row. A setting is named as in a configuration, and
            `init_args` may be left out: `model.sal`, `data.sampler.clips`.
        rows: further rows, as in a paper's table but without published values; the experiment's own system if a row
            names none.
        columns: as in a paper's table.
        note: what a reader should know.

    Raises:
        ValueError: the ablation contradicts itself.
    """

    experiment: str
    name: str = ""
    title: str = ""
    grid: dict[str, list[Any]] = field(default_factory=dict)
    rows: tuple[Row, ...] = ()
    columns: tuple[str, ...] = ("war", "uar")
    note: str = ""

    def __post_init__(self) -> None:
        """Checks the ablation."""
        if not NAME.fullmatch(self.name):
            raise ValueError(f"expected a name of letters, digits, _ and -, found {self.name!r}")
        if self.name in known_tables():
            raise ValueError(f"{self.name} is the name of a paper's table or of a leaderboard; choose another one")
        if not (self.grid or self.rows):
            raise ValueError("an ablation has rows or a grid of settings, such as `grid: {model.sal: [true, false]}`")
        empty = [key for key, values in self.grid.items() if not values]
        if empty:
            raise ValueError(f"no values for {', '.join(empty)}: expected some, such as [true, false]")
        unknown = [column for column in self.columns if column not in COLUMNS]
        if unknown:
            raise ValueError(f"no column {unknown[0]!r}; {similar_names(unknown[0], list(COLUMNS))}")
        if WAR.name not in self.columns:
            raise ValueError(f"rows are compared in {WAR.short}: `columns` need {WAR.name}")
        for row in self.rows:
            if row.published or row.deviation or row.setting or row.data or row.tested_on:
                raise ValueError(f"row {row.name}: a row of an ablation has no published value, setting or data set")


@dataclass(frozen=True)
class Axis:
    """A setting that an ablation varies.

    Args:
        key: its full name.
        values: its values.
        base: the value of the base: the experiment's own if it is among them, or else the first.
    """

    key: str
    values: tuple[Any, ...]
    base: Any


def from_command_line(experiment: str, settings: Sequence[str], name: str = "") -> Ablation:
    """Returns the ablation that arguments such as `model.sal=[true,false]` describe.

    Args:
        experiment: the experiment.
        settings: a setting with a value or a list of values each.
        name: of the ablation; by default the experiment with its settings.

    Raises:
        ValueError: an argument has another form, or two are of one setting.
    """
    grid: dict[str, list[Any]] = {}
    for each in settings:
        key, equals, text = each.partition("=")
        if not (key and equals and text):
            raise ValueError(f"expected a setting with values such as model.sal=[true,false], found {each!r}")
        if key in grid:
            raise ValueError(f"{key} is stated twice; list its values together: {key}=[first,second]")
        value = parse_value(text)
        grid[key] = value if isinstance(value, list) else [value]
    made = re.sub("[^A-Za-z0-9_-]", "_", "-".join([experiment, *(short_name(key) for key in grid)]))
    return Ablation(experiment, name or made, grid=grid)


def read_ablation(path: Path, name: str = "") -> Ablation:
    """Reads an ablation from a file.

    Args:
        path: of the file.
        name: of the ablation, in the place of the file's own.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: the file is not an ablation; the message names what is wrong.
    """
    if not path.is_file():
        raise FileNotFoundError(f"no file {path}, which should describe an ablation")
    content = read_yaml(path)
    if not isinstance(content, dict) or not content.get("experiment"):
        raise ValueError(f"{path}: an ablation names the experiment that it changes: `experiment: ceflnet_cremad`")
    system = ExperimentRequest(str(content["experiment"])).system
    rows = content.get("rows") or []
    if isinstance(rows, list):
        rows = [{"system": system} | row if isinstance(row, dict) else row for row in rows]
    named = {"name": name or content.get("name") or path.stem}
    return parse(Ablation, content | named | {"rows": rows}, str(path))


def ablation_file(name: str) -> Path:
    """Returns the path of the file of an ablation that was begun here."""
    return ablations_folder() / f"{name}.yaml"


def ablation_names() -> list[str]:
    """Lists the ablations that were begun here."""
    return yaml_names(ablations_folder())


def write_ablation(ablation: Ablation) -> Path:
    """Writes an ablation, so that it can be repeated by its name, and returns the path of the file.

    Raises:
        ValueError: another ablation has that name.
    """
    path = ablation_file(ablation.name)
    if path.exists():
        refuse_other_ablation(read_ablation(path), ablation, path)
    atomic_write(path, yaml.safe_dump(_stated(ablation), sort_keys=False).encode())
    return path


def refuse_other_ablation(before: Ablation, now: Ablation, path: Path) -> None:
    """Refuses to take an ablation for another one of the same name; rows may be added and left out.

    Raises:
        ValueError: they have different experiments, or rows of one name that change different settings.
    """
    rows = {row.name: row for row in before.rows}
    other = [row.name for row in now.rows if row.name in rows and row != rows[row.name]]
    found = f"of {before.experiment}" if before.experiment != now.experiment else ""
    found = found or (f"with other settings in row {', '.join(other)}" if other else "")
    if found:
        raise ValueError(f"{path} is another ablation, {found}; choose another name with --name, or delete that file")


def _stated(described: Any) -> dict[str, Any]:
    """Returns the values of a dataclass that are not its defaults, as a file has them."""
    stated = {}
    for each in fields(described):
        value = getattr(described, each.name)
        default = each.default_factory() if each.default_factory is not MISSING else each.default
        if value != default:
            stated[each.name] = [_plain(item) for item in value] if isinstance(value, tuple) else value
    return stated


def _plain(value: Any) -> Any:
    return _stated(value) if hasattr(value, "__dataclass_fields__") else value


def with_table(ablation: Ablation, asked: TableRequest) -> TableRequest:
    """Returns the request for an ablation's table.

    Args:
        ablation: the ablation.
        asked: where and how it is run.

    Raises:
        FileNotFoundError: there is no such experiment or data set.
        ValueError: a setting does not exist, or two rows have the same name.
    """
    request = replace(asked, name=ablation.name, ablation=ablation_table(ablation, asked))
    request.read()
    return request


def base_request(ablation: Ablation, asked: TableRequest) -> ExperimentRequest:
    """Returns the request for the experiment that an ablation changes, on the data set and at the size asked for.

    Raises:
        FileNotFoundError: there is no such experiment or data set.
    """
    return ExperimentRequest(ablation.experiment, asked.data, asked.size)


def ablation_table(ablation: Ablation, asked: TableRequest) -> PaperTable:
    """Returns the table that an ablation makes: its base, the other combinations of the grid, and the further rows.

    Raises:
        FileNotFoundError: there is no such experiment or data set.
        ValueError: a setting does not exist, or two rows have the same name.
    """
    from fer_lightning.ensemble.training import resolved  # takes seconds; names are read without it

    request = base_request(ablation, asked)
    config = resolved(request)
    base, *others = _grid_rows(request.system, config, axes(ablation, config))
    rows = (base, *others, *ablation.rows)
    return PaperTable(
        title=ablation.title or f"Ablation {ablation.name} of {request.experiment}",
        paper="ablation",
        place=ablation.name,
        link="",
        data=request.dataset,
        protocol=f"{request.experiment}: every row is compared with: {base.label}",
        columns=ablation.columns,
        rows=rows,
        claims=tuple(Claim(row.name, base.name, "") for row in rows[1:]),
        note=ablation.note,
        base=base.name,
    )


def axes(ablation: Ablation, config: dict[str, Any]) -> list[Axis]:
    """Returns the settings that an ablation varies.

    Args:
        ablation: the ablation.
        config: its experiment's resolved configuration.

    Raises:
        ValueError: a setting does not exist, or is stated twice.
    """
    found: dict[str, Axis] = {}
    for name, values in ablation.grid.items():
        key = full_key(config, name)
        if key in found:
            raise ValueError(f"{name} is stated twice; list its values together")
        own = [value for value in values if is_own(config, Override(key, value))]
        found[key] = Axis(key, tuple(values), (own or values)[0])
    return list(found.values())


def _grid_rows(system: str, config: dict[str, Any], varied: Sequence[Axis]) -> Iterator[Row]:
    """Yields the rows of a grid, the base first."""
    base = [Override(axis.key, axis.base) for axis in varied]
    yield _row(system, config, base)
    first = True
    for values in itertools.product(*(axis.values for axis in varied)):
        combination = [Override(axis.key, value) for axis, value in zip(varied, values, strict=True)]
        if first and combination == base:
            first = False
            continue
        yield _row(system, config, combination)


def _row(system: str, config: dict[str, Any], overrides: Sequence[Override]) -> Row:
    """Returns the row that a combination of values makes."""
    changed = [override for override in overrides if not is_own(config, override)]
    changed.sort(key=lambda override: not override.key.endswith(CLASS))  # a class first, then its arguments
    arguments = tuple(itertools.chain.from_iterable(override.arguments for override in changed))
    label = ", ".join(f"{short_name(override.key)} {override.text}" for override in overrides)
    return Row(variant_name(changed) or BASE, label or system, system, arguments=arguments)
