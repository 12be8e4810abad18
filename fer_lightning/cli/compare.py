"""`fer compare`: compares two runs, or all folds of two experiments, on the same clips with a paired interval."""

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
        description="Print the metrics of two runs on the reported split, and for each metric the first run's value "
        "minus the second's, with an interval. For an experiment's folder, all evaluated folds are pooled.",
    )
    parser.add_argument(
        "first",
        type=Path,
        metavar="RUN",
        help="such as runs/ceflnet_synthetic/1-0, or runs/ceflnet_synthetic for all folds",
    )
    parser.add_argument("second", type=Path, metavar="RUN")
    return parser


def main(arguments: list[str]) -> None:
    """Prints the metrics of two runs on the reported split, and for each metric the first run's minus the second's.

    Raises:
        FileNotFoundError: a run is not evaluated yet.
        ValueError: the runs differ in clips or classes, or a folder holds a clip under several seeds.
    """
    options = make_parser().parse(arguments[1:])
    paths = [find_run(name) for name in (options.first, options.second)]

    # what follows takes seconds to import, so names are checked before
    from fer_lightning.evaluation.comparison import difference_lines, paired_difference
    from fer_lightning.evaluation.other_epochs import other_epochs_line

    first, second = map(reported_table, paths)
    for path, table in zip(paths, (first, second), strict=True):
        print(f"{path}: {summary_line(table)}")
        runs = evaluated_runs(path)
        for run in runs:
            if run.finished and run.read_info().selection == "best_on_test":
                print(f"{run.path}: best_on_test: the epoch was chosen on these very clips")
            if line := other_epochs_line(run):
                print(f"{run.path}: {line}")
        for folder in sorted(set(path.glob("*-*")) - {run.path for run in runs}):
            print(f"{folder} is left out because it is not evaluated yet")
    print(*difference_lines(paired_difference(first, second), str(options.first), str(options.second)), sep="\n")


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
