"""`fer compare`: compares runs, or all folds of experiments, on the same clips with paired intervals and tests."""

from pathlib import Path

from fer_lightning.cli.parsing import CommandParser
from fer_lightning.evaluation.predictions import PredictionTable
from fer_lightning.report.summary import summary_line
from fer_lightning.runs.folder import RunFolder
from fer_lightning.runs.lookup import find_run


def make_parser() -> CommandParser:
    """Returns the parser of the command."""
    parser = CommandParser(
        "fer compare",
        description="Print the metrics of two or more runs on the reported split, and for each metric the first run's "
        "value minus that of each other run, with an interval. For an experiment's folder, all evaluated folds are "
        "pooled. With several comparisons, p-values are adjusted for their number (Holm).",
    )
    parser.add_argument(
        "first",
        type=Path,
        metavar="RUN",
        help="such as runs/ceflnet_synthetic/1-0, or runs/ceflnet_synthetic for all folds",
    )
    parser.add_argument("others", type=Path, metavar="RUN", nargs="+", help="what the first one is compared with")
    return parser


def main(arguments: list[str]) -> None:
    """Prints the metrics of runs on the reported split, and for each metric the first run's minus each other's.

    Raises:
        FileNotFoundError: a run is not evaluated yet.
        ValueError: the runs differ in clips or classes, or a folder holds a clip under several seeds.
    """
    options = make_parser().parse(arguments[1:])
    paths = {name: find_run(name) for name in (options.first, *options.others)}

    # what follows takes seconds to import, so names are checked before
    from fer_lightning.evaluation.comparison import difference_lines, paired_difference
    from fer_lightning.evaluation.significance import holm

    tables = {name: reported_table(path) for name, path in paths.items()}
    for name, table in tables.items():
        describe(paths[name], table)
    differences = {name: paired_difference(tables[options.first], tables[name]) for name in options.others}
    for name, difference in differences.items():
        print(*difference_lines(difference, str(options.first), str(name)), sep="\n")
    if len(differences) > 1:
        print(f"McNemar p, adjusted for {len(differences)} comparisons (Holm):")
        adjusted = holm([difference.p_value for difference in differences.values()])
        for name, value in zip(differences, adjusted, strict=True):
            print(f"  {options.first} and {name}: {value:.2g}")


def describe(path: Path, table: PredictionTable) -> None:
    """Prints the metrics of a run or of an experiment's runs, and what is to be known about them."""
    from fer_lightning.evaluation.other_epochs import other_epochs_line

    print(f"{path}: {summary_line(table)}")
    runs = evaluated_runs(path)
    for run in runs:
        if run.finished and run.read_info().selection == "best_on_test":
            print(f"{run.path}: best_on_test: the epoch was chosen on these very clips")
        if line := other_epochs_line(run):
            print(f"{run.path}: {line}")
    for folder in sorted(set(path.glob("*-*")) - {run.path for run in runs}):
        print(f"{folder} is left out because it is not evaluated yet")


def evaluated_runs(path: Path) -> list[RunFolder]:
    """Returns the run in a folder, or the evaluated runs in an experiment's folder.

    Raises:
        FileNotFoundError: no run there is evaluated.
    """
    runs = [run for run in map(RunFolder, (path, *sorted(path.glob("*-*")))) if run.predictions("test").exists()]
    if not runs:
        raise FileNotFoundError(
            f"{RunFolder(path).predictions('test')} is missing: {path} is not a run, or is not evaluated yet; `fer "
            "train` resumes it"
        )
    return runs


def reported_table(path: Path) -> PredictionTable:
    """Reads the predictions for the reported split of a run, or of all evaluated runs of an experiment."""
    return PredictionTable.concat([PredictionTable.read(run.predictions("test")) for run in evaluated_runs(path)])
