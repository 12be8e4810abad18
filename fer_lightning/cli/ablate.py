"""`fer ablate`: trains an experiment with other settings, and writes how much each of them changes the accuracy."""

import argparse
from dataclasses import replace
from pathlib import Path

from fer_lightning.cli.jobs import add_job_arguments, train_from_options
from fer_lightning.cli.parsing import CommandParser
from fer_lightning.cli.reproduce import add_table_arguments, make, print_plan, table_request
from fer_lightning.experiments.request import split_name
from fer_lightning.experiments.system import similar_names
from fer_lightning.tables.ablation import (
    Ablation,
    ablation_file,
    ablation_names,
    from_command_line,
    read_ablation,
    with_table,
    write_ablation,
)
from fer_lightning.tables.plan import plan
from fer_lightning.tables.results import results_folder


def make_parser() -> CommandParser:
    """Returns the parser of the command."""
    parser = CommandParser(
        "fer ablate",
        description="Train an experiment with other settings: every combination of a grid is a row of a table, and the "
        "difference of each to the base comes with an interval over people and seeds. What is finished is skipped, "
        "what was stopped is resumed. Results are in results/ablations/, with a sweep.yaml for W&B's agents.",
    )
    parser.add_argument(
        "ablation", help="an experiment, with --grid; a YAML file; or the name of an ablation begun here"
    )
    parser.add_argument(
        "--grid",
        nargs="+",
        default=[],
        metavar="SETTING=VALUES",
        help="settings with values, such as model.sal=[true,false] data.sampler.clips=[1,7]; the base has the "
        "experiment's own values, or the first ones where these are not listed",
    )
    parser.add_argument("--name", default="", help="name of the ablation (default: the experiment with its settings)")
    add_table_arguments(parser)
    parser.add_argument("--rows", nargs="+", default=[], help="names of rows to train (default: all)")
    parser.add_argument("--dry-run", action="store_true", help="check every row, print what would be trained, and stop")
    add_job_arguments(parser)
    return parser


def main(arguments: list[str]) -> int:
    """Trains, collects and writes an ablation; returns 1 if a run did not finish.

    Raises:
        FileNotFoundError: there is no such file, ablation, experiment or data set.
        ValueError: the ablation or a setting is not valid.
    """
    options = make_parser().parse(arguments[1:])
    ablation, train = asked_ablation(options), train_from_options(options)

    # what follows takes seconds to import, so names are checked before
    from fer_lightning.tables.reproduce import check
    from fer_lightning.tables.sweep import write_sweep

    asked = with_table(ablation, table_request(ablation.name, options, tuple(options.rows)))
    rows = plan(asked)
    if options.dry_run:
        check([planned for planned in rows if planned.requests])
        print_plan(ablation.name, rows)
        return 0
    check([replace(planned, requests=planned.requests[:1]) for planned in rows])  # before anything is written
    print(f"written: {write_ablation(ablation)}")
    if ablation.grid:
        first = next(planned for planned in rows if planned.requests)
        print(f"written: {write_sweep(ablation, asked, results_folder(asked, first))}")
    return make(asked, train)


def asked_ablation(options: argparse.Namespace) -> Ablation:
    """Returns the ablation that a command line describes or names.

    Raises:
        FileNotFoundError: there is no such file, ablation or experiment.
        ValueError: the description is not valid.
    """
    name: str = options.ablation
    if name.endswith((".yaml", ".yml")):
        if options.grid:
            raise ValueError(f"{name} has its own grid; leave out --grid, or name an experiment")
        return read_ablation(Path(name), options.name)
    if options.grid:
        split_name(name)
        return from_command_line(name, options.grid, options.name)
    if name in ablation_names():
        return read_ablation(ablation_file(name), options.name)
    split_name(name)
    begun = f"; {similar_names(name, ablation_names())}" if ablation_names() else ""
    raise ValueError(f"{name} needs --grid, such as --grid model.sal=[true,false]; or name an ablation{begun}")
