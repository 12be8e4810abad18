"""`fer inflation`: measures what choosing the epoch on the reported split adds to accuracy, over trained runs."""

from pathlib import Path
from typing import TYPE_CHECKING

from data_modules.utils.csv_tables import write_csv
from fer_lightning.cli.parsing import CommandParser
from fer_lightning.runs.folder import RunFolder
from fer_lightning.runs.lookup import find_run

if TYPE_CHECKING:
    from fer_lightning.experiments.inflation import Inflation

HEADER = ("experiment", "trainings", "epochs", "people", "clips", "inflation", "low", "high")


def make_parser() -> CommandParser:
    """Returns the parser of the command."""
    parser = CommandParser(
        "fer inflation",
        description="Print by how much the best epoch on the reported split exceeds the reported one in accuracy: the "
        "mean over the runs of each experiment, after fewer epochs too, and on fewer people of the split. Nothing is "
        "trained again.",
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="finished runs, such as runs/lmed_synthetic/*")
    parser.add_argument("--epochs", nargs="+", type=int, metavar="T", help="numbers of epochs (default: all)")
    parser.add_argument("--people", nargs="+", type=int, metavar="P", help="numbers of people (default: all)")
    parser.add_argument("--out", type=Path, help="a CSV file for the table")
    return parser


def main(arguments: list[str]) -> None:
    """Prints the inflation of each experiment, and writes it if asked to.

    Raises:
        FileNotFoundError: a run does not exist, is not finished, or did not watch the reported split.
        ValueError: a run has fewer epochs or people than asked for, or chose its epoch on the reported split.
    """
    options = make_parser().parse(arguments[1:])
    runs = [RunFolder(find_run(name)) for name in options.runs]

    # what follows takes seconds to import, so names are checked before
    from fer_lightning.evaluation.metrics import WAR
    from fer_lightning.experiments.inflation import measure_inflation, read_training

    trainings = [read_training(run) for run in runs]
    epochs = options.epochs or [min(len(each.correct) for each in trainings)]
    people = options.people or [min(len(each.clips) for each in trainings)]
    rows = measure_inflation(trainings, epochs, people)
    for row in rows:
        interval = f" {row.interval:+{WAR.spec}}" if row.interval.is_known else ""
        print(
            f"{row.experiment}: {row.epochs} epochs, {row.people} people ({row.clips:.0f} clips): inflation "
            f"{row.value:+{WAR.spec}}{interval}, {row.trainings} trainings"
        )
    if options.out:
        write_csv(options.out, HEADER, map(csv_row, rows))
        print(f"table: {options.out}")


def csv_row(row: "Inflation") -> tuple[object, ...]:
    """Returns a row of the table; the ends of an interval that is not known are empty."""
    ends = (row.interval.low, row.interval.high) if row.interval.is_known else ()
    values = [f"{value:.4f}" for value in (row.value, *ends)]
    return (
        row.experiment,
        row.trainings,
        row.epochs,
        row.people,
        f"{row.clips:.0f}",
        *values,
        *("",) * (2 - len(ends)),
    )
