"""`fer compare`: compares runs, or all folds of experiments, on the same clips with paired intervals and tests."""

from pathlib import Path
from typing import TYPE_CHECKING

from fer_lightning.cli.parsing import CommandParser
from fer_lightning.evaluation.predictions import PredictionTable
from fer_lightning.report.summary import summary_line
from fer_lightning.runs.folder import RunFolder
from fer_lightning.runs.lookup import find_run

if TYPE_CHECKING:
    from fer_lightning.tables.comparison import ComparedMetric

SUFFIXES = (".csv", ".json", ".tex")


def make_parser() -> CommandParser:
    """Returns the parser of the command."""
    parser = CommandParser(
        "fer compare",
        description="Print the metrics of two or more runs on the reported split, and for each metric the first run's "
        "value minus that of each other run, with an interval. For an experiment's folder, all evaluated folds are "
        "pooled; trainings with several seeds are compared seed by seed, over those that both have. With several "
        "comparisons, p-values are adjusted for their number (Holm).",
    )
    parser.add_argument(
        "first",
        type=Path,
        metavar="RUN",
        help="such as runs/ceflnet_synthetic/1-0, or runs/ceflnet_synthetic for all folds",
    )
    parser.add_argument("others", type=Path, metavar="RUN", nargs="+", help="what the first one is compared with")
    parser.add_argument("--out", type=Path, metavar="FILE", help="also write the differences: .csv, .json or .tex")
    return parser


def main(arguments: list[str]) -> None:
    """Prints the metrics of runs on the reported split, and for each metric the first run's minus each other's.

    Raises:
        FileNotFoundError: a run is not evaluated yet.
        ValueError: the runs differ in clips or classes or have no seed in common, or the file has another suffix.
    """
    options = make_parser().parse(arguments[1:])
    if options.out is not None and options.out.suffix not in SUFFIXES:
        raise ValueError(f"--out {options.out}: expected the name of a file that ends in {', '.join(SUFFIXES)}")
    paths = {name: find_run(name) for name in (options.first, *options.others)}

    # what follows takes seconds to import, so names are checked before
    from fer_lightning.tables.comparison import write_compared

    tables = {name: reported_table(path) for name, path in paths.items()}
    for name, table in tables.items():
        describe(paths[name], table)
    first = str(options.first)
    others = {str(name): tables[name] for name in options.others}
    several = any(len(set(table.seed.tolist())) > 1 for table in tables.values())
    rows = (over_seeds if several else one_by_one)(first, tables[options.first], others)
    if options.out is not None:
        write_compared(rows, options.out)
        print(f"written: {options.out}")


def one_by_one(first: str, table: PredictionTable, others: dict[str, PredictionTable]) -> "list[ComparedMetric]":
    """Prints how the first table differs from each other one, and returns the differences in all metrics."""
    from fer_lightning.evaluation.comparison import difference_lines, paired_difference
    from fer_lightning.tables.comparison import compared

    differences = {name: paired_difference(table, other) for name, other in others.items()}
    for name, difference in differences.items():
        print(*difference_lines(difference, first, name), sep="\n")
    print_adjusted("McNemar p", first, {name: difference.p_value for name, difference in differences.items()})
    return [row for name, difference in differences.items() for row in compared(first, name, difference)]


def over_seeds(first: str, table: PredictionTable, others: dict[str, PredictionTable]) -> "list[ComparedMetric]":
    """Prints and returns the same for tables of several trainings, which are paired by their seeds."""
    from fer_lightning.evaluation.comparison import difference_over_seeds
    from fer_lightning.evaluation.metrics import METRICS, WAR
    from fer_lightning.tables.comparison import compared_over_seeds

    rows = []
    for name, other in others.items():
        found = {metric: difference_over_seeds(table, other, metric) for metric in METRICS if metric.has_interval}
        seeds = ", ".join(map(str, found[WAR].seeds))
        print(f"{first} minus {name}, seeds {seeds} (95 % bootstrap over {found[WAR].unit}s and seeds):")
        for metric, each in found.items():
            spec = f"+{metric.spec}"
            interval = f" {each.interval:{spec}}, p = {each.p_value:.2g}" if each.interval.is_known else ""
            by_seed = ", ".join(f"{value:{spec}}" for value in each.by_seed)
            print(f"  {metric.short} {each.value:{spec}}{interval}; each seed: {by_seed}")
        rows += [compared_over_seeds(first, name, metric, each) for metric, each in found.items()]
    print_adjusted("p for WAR", first, {row.second: row.p_value for row in rows if row.metric == WAR.name})
    return rows


def print_adjusted(title: str, first: str, p_values: dict[str, float]) -> None:
    """Prints p-values adjusted for their number, if there are several."""
    from fer_lightning.evaluation.significance import holm

    if len(p_values) > 1:
        print(f"{title}, adjusted for {len(p_values)} comparisons (Holm):")
        for name, value in zip(p_values, holm(list(p_values.values())), strict=True):
            print(f"  {first} and {name}: {value:.2g}")


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
        is_evaluated = RunFolder(folder).predictions("test").exists()
        reason = "other folds of its seed are missing" if is_evaluated else "it is not evaluated yet"
        print(f"{folder} is left out because {reason}")


def evaluated_runs(path: Path) -> list[RunFolder]:
    """Returns the run in a folder, or in an experiment's folder the evaluated runs of seeds with the same folds.

    Raises:
        FileNotFoundError: no run there is evaluated.
    """
    runs = [run for run in map(RunFolder, (path, *sorted(path.glob("*-*")))) if run.predictions("test").exists()]
    if not runs:
        raise FileNotFoundError(
            f"{RunFolder(path).predictions('test')} is missing: {path} is not a run, or is not evaluated yet; `fer "
            "train` resumes it"
        )
    if len(runs) == 1:
        return runs
    from fer_lightning.tables.plan import same_folds  # takes time to import, and help needs none of it

    names = {run: run.path.name.rpartition("-") for run in runs}
    return list(same_folds({run: (fold, seed) for run, (fold, _, seed) in names.items()}))


def reported_table(path: Path) -> PredictionTable:
    """Reads the predictions for the reported split of a run, or of all evaluated runs of an experiment."""
    return PredictionTable.concat([PredictionTable.read(run.predictions("test")) for run in evaluated_runs(path)])
