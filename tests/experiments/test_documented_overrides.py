"""Every override that a read-me, a table's note or a comment documents is one that the command line takes."""

import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from data_modules.labels import SEVEN
from fer_lightning.cli.train import parse
from fer_lightning.ensemble.training import resolved
from fer_lightning.experiments.request import ExperimentRequest, fits
from fer_lightning.experiments.shapes import build_without_memory
from fer_lightning.experiments.system import data_names, experiments_folder, system_names
from fer_lightning.tables.table import read_table, table_names
from tests.experiments.test_experiments import on_any_data

ROOT = experiments_folder().parent
VALUE = r"(?:\[\[?[^\s`\"]*|[^\s`\"\-(),;][^\s`\",;)]*)"  # such as [[1,2],[3]], false, run:x, 1.0e-4
OVERRIDE = rf"--(?:name|model|data|trainer|ensemble|experiment)(?:\.[a-z_]+)* {VALUE}"
LINE = re.compile(rf"{OVERRIDE}(?: {OVERRIDE})*")
COMMAND = re.compile(r"make train EXP=(?P<exp>\w+)(?P<variables>(?: [A-Z]+=\w+)*)(?: ARGS=\"(?P<args>[^\"]*)\")?")
OPTIONS = {"DATA": "--data", "SIZE": "--size", "FOLD": "--fold", "SEED": "--seed"}


@dataclass(frozen=True)
class Documented:
    """A line of a file that documents arguments of an experiment."""

    place: str
    request: ExperimentRequest


def comment(line: str) -> str:
    """The comment in a line of YAML."""
    found = re.search(r"(?:^|\s)#(.*)", line)
    return found[1] if found else ""


def in_systems() -> Iterator[Documented]:
    for path in sorted((experiments_folder() / "systems").glob("*.yaml")):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            for found in LINE.findall(comment(line)):
                request = parse([on_any_data(path.stem), "--size", "paper", *shlex.split(found)])
                yield Documented(f"{path.name}:{number}", request)


def in_tables() -> Iterator[Documented]:
    for name in table_names():
        table = read_table(name)
        for row in (row for row in table.rows if row.system):
            for found in LINE.findall(f"{table.note} {row.note}"):
                experiment = f"{row.system}_{row.data or table.data}"
                yield Documented(name, parse([experiment, "--size", "paper", *shlex.split(found)]))


def in_data_sets() -> Iterator[Documented]:
    for name in data_names():
        for number, line in enumerate((experiments_folder() / "data" / f"{name}.yaml").read_text().splitlines(), 1):
            for found in LINE.findall(comment(line)):
                system = next(system for system in system_names() if fits(ExperimentRequest(f"{system}_{name}")))
                yield Documented(f"{name}.yaml:{number}", parse([f"{system}_{name}", *shlex.split(found)]))


def in_read_mes() -> Iterator[Documented]:
    pages = [ROOT / "docs" / "protocol.md", *sorted((ROOT / "docs").glob("guides/*.md"))]
    for path in (ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "experiments" / "README.md", *pages):
        for number, line in enumerate(path.read_text().splitlines(), 1):
            commands = list(COMMAND.finditer(line))
            for found in commands:
                variables = (part.split("=") for part in found["variables"].split())
                options = [word for name, value in variables for word in (OPTIONS[name], value)]
                arguments = [*options, *shlex.split(found["args"] or "")]
                if arguments:
                    yield Documented(f"{path.name}:{number}", parse([found["exp"], *arguments]))
            for found in LINE.findall("" if commands else line):
                yield Documented(f"{path.name}:{number}", parse(["ceflnet_dfew", *shlex.split(found)]))


FOUND = [*in_systems(), *in_tables(), *in_data_sets(), *in_read_mes()]


def settings(request: ExperimentRequest) -> dict:
    """The complete configuration, without the folder, which the name of a variant changes."""
    config = dict(resolved(request))
    config["trainer"] = {k: v for k, v in config.get("trainer", {}).items() if k != "default_root_dir"}
    return config


@pytest.mark.parametrize("documented", FOUND, ids=lambda each: each.place)
def test_what_is_documented_is_taken_and_changes_something(documented):
    request = documented.request
    config = settings(request)
    if request.arguments:
        plain = ExperimentRequest(request.experiment, size=request.size)
        assert config != settings(plain), f"{' '.join(request.arguments)} changes nothing"
    if any(argument.startswith("--model.") for argument in request.arguments):
        model = build_without_memory(config, SEVEN)
        assert sum(parameter.numel() for parameter in model.parameters()) > 0


def test_a_wrong_line_would_be_found():
    """The files' lines are read as they stand: comments alone, with all of their arguments."""
    line = (
        "x: 1 # small GPUs: --data.batch_size 12 --trainer.accumulate_grad_batches 4 (of 48); --model.x.y [[1],[2,3]]"
    )
    assert LINE.findall(comment(line)) == [
        "--data.batch_size 12 --trainer.accumulate_grad_batches 4",
        "--model.x.y [[1],[2,3]]",
    ]
    places = {each.place.partition(":")[0] for each in FOUND}
    assert {"bimodal_fusion.yaml", "context_pyramid.yaml", "ecnn_fsa.yaml", "cnn_lstm.yaml", "README.md"} <= places
    assert {"context_3", "context_4", "ravdess_audio.yaml"} <= places
    assert len(FOUND) >= 25
    stated = sum(text.count("--model.") for text in map(Path.read_text, (experiments_folder() / "systems").glob("*")))
    words = [word for each in in_systems() for word in each.request.arguments if word.startswith("--model.")]
    members = (experiments_folder() / "systems" / "context_ensemble.yaml").read_text().count('"--model.')
    assert len(words) == stated - members, "none is overlooked"
