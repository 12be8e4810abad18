"""`fer compare`: two runs, or all folds of two experiments, on the same clips, with a paired interval."""

import argparse
from pathlib import Path

from fer_lightning.evaluation.comparison import difference_lines, paired_difference
from fer_lightning.evaluation.predictions import PredictionTable
from fer_lightning.report.summary import summary_line
from fer_lightning.runs.folder import RunFolder


def main(arguments: list[str]) -> None:
    """Prints the metrics of both runs and, of each, the first run's minus the second run's, on the reported split.

    Of an experiment's folder, all evaluated folds are pooled.

    Raises:
        FileNotFoundError: a run is not evaluated yet.
        ValueError: the runs differ in clips or classes, or a folder holds a clip under several seeds.
    """
    parser = argparse.ArgumentParser("fer compare", description=main.__doc__)
    parser.add_argument("first", type=Path, metavar="RUN", help="such as runs/ceflnet_synthetic/1-0, or all its folds")
    parser.add_argument("second", type=Path, metavar="RUN")
    known = parser.parse_args(arguments[1:])
    first, second = (reported_table(path) for path in (known.first, known.second))
    for path, table in ((known.first, first), (known.second, second)):
        print(f"{path}: {summary_line(table)}")
        runs = evaluated_runs(path)
        for run in runs:
            if run.finished and run.read_info().selection == "best_on_test":
                print(f"{run.path}: best_on_test: the epoch was chosen on these very clips")
        for folder in sorted(set(path.glob("*-*")) - {run.path for run in runs}):
            print(f"{folder} is left out: it is not evaluated yet")
    print(*difference_lines(paired_difference(first, second), str(known.first), str(known.second)), sep="\n")


def evaluated_runs(path: Path) -> list[RunFolder]:
    """The run that a folder is, or those of an experiment's folder that are evaluated.

    Raises:
        FileNotFoundError: there is none.
    """
    runs = [run for run in map(RunFolder, (path, *sorted(path.glob("*-*")))) if run.predictions("test").exists()]
    if not runs:
        raise FileNotFoundError(
            f"{RunFolder(path).predictions('test')} is missing: {path} is no run, or not evaluated yet (`fer train` "
            "goes on with it)"
        )
    return runs


def reported_table(path: Path) -> PredictionTable:
    """The prediction tables of the reported split of a run, or of all evaluated runs of an experiment."""
    return PredictionTable.concat([PredictionTable.read(run.predictions("test")) for run in evaluated_runs(path)])
