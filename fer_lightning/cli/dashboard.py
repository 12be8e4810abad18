"""`fer dashboard`: makes a view in Weights & Biases for the runs of a table, an ablation or an experiment."""

import json
import os

from fer_lightning.cli.parsing import CommandParser
from fer_lightning.runs.labels import project_name
from fer_lightning.tables.dashboard import content, require_key, run_folders, save, workspace
from fer_lightning.tables.plan import TableRequest


def make_parser() -> CommandParser:
    """Returns the parser of the command."""
    parser = CommandParser(
        "fer dashboard",
        description="Make a view in Weights & Biases for the runs of a table, an ablation or an experiment: accuracy, "
        "curves over epochs, accuracy and cost, confusion, and the share of waiting for data. Runs that differ in fold "
        "and seed only are one curve. Each call makes a new view.",
    )
    parser.add_argument("name", help="of a table such as ceflnet_6, an ablation, or an experiment with its variants")
    parser.add_argument("--data", help="the data set in the place of the table's own, if it is run on another one")
    parser.add_argument("--size", choices=("small", "paper"), help="the size, if it is not the data set's own")
    parser.add_argument("--project", help="project of the runs (default: WANDB_PROJECT, or fer_lightning)")
    parser.add_argument(
        "--entity", default=os.environ.get("WANDB_ENTITY", ""), help="user or team (default: the key's)"
    )
    parser.add_argument("--dry-run", action="store_true", help="print the view as JSON, without W&B")
    return parser


def main(arguments: list[str]) -> None:
    """Makes the view and prints its address, or prints the view.

    Raises:
        FileNotFoundError: there is no such table, ablation, experiment or data set.
        ValueError: there is no API key, W&B does not take the view, or its package is not installed.
    """
    options = make_parser().parse(arguments[1:])
    folders = run_folders(TableRequest(options.name, options.data or None, options.size, folds=("1",)))
    made = workspace(options.name, folders, options.entity, project_name(options.project))
    if options.dry_run:
        print(json.dumps(content(made), indent=1))
        return
    require_key()
    print(f"dashboard: {save(made)}")
