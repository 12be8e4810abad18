"""`fer compare`: two runs on the same clips, with a paired interval."""

import argparse
from pathlib import Path

from fer_lightning.metrics import paired_difference
from fer_lightning.predictions import PredictionTable
from fer_lightning.report import summary_line
from fer_lightning.runs import RunFolder


def main(arguments: list[str]) -> None:
    """Prints both runs' measures and their difference on the reported split.

    Raises:
        FileNotFoundError: a run is not evaluated yet.
        ValueError: the runs differ in clips or classes.
    """
    parser = argparse.ArgumentParser("fer compare", description=main.__doc__)
    parser.add_argument("first", type=Path, metavar="RUN", help="such as runs/ceflnet_synthetic/1-0")
    parser.add_argument("second", type=Path, metavar="RUN")
    known = parser.parse_args(arguments[1:])
    first, second = (reported_table(path) for path in (known.first, known.second))
    for path, table in ((known.first, first), (known.second, second)):
        print(f"{path}: {summary_line(table)}")
        run = RunFolder(path)
        if run.finished and run.read_info().selection == "best_on_test":
            print(f"{path}: best_on_test: the epoch was chosen on these very clips")
    difference = paired_difference(first, second)
    low, high = difference.interval.low, difference.interval.high
    print(
        f"WAR {difference.difference:+.3f} [{low:+.3f}, {high:+.3f}] (95 %, paired bootstrap over subjects), "
        f"N = {difference.clips}; right alone: {difference.only_first} and {difference.only_second} clips, "
        f"McNemar p = {difference.p_value:.2g}"
    )


def reported_table(run: Path) -> PredictionTable:
    """The prediction table of a run's reported split."""
    path = RunFolder(run).predictions("test")
    if not path.exists():
        raise FileNotFoundError(
            f"{path} is missing: {run} is no run, or not evaluated yet (`fer train` goes on with it)"
        )
    return PredictionTable.read(path)
