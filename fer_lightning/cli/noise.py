"""`fer noise`: evaluates trained landmark systems under noise on the landmarks, as in figure 10 of VSHNN."""

from pathlib import Path

from data_modules.utils.csv_tables import write_csv
from data_modules.utils.files import atomic_write
from fer_lightning.cli.parsing import CommandParser, add_loading_workers
from fer_lightning.evaluation.metrics import HEADLINE
from fer_lightning.runs.folder import RunFolder
from fer_lightning.runs.lookup import find_run

SIGMAS = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0)


def make_parser() -> CommandParser:
    """Returns the parser of the command."""
    parser = CommandParser(
        "fer noise",
        description="Evaluate trained landmark systems under noise on the landmarks, as in figure 10 of VSHNN.",
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="such as runs/lmed_cf_synthetic/1-0")
    parser.add_argument(
        "--sigmas",
        nargs="+",
        type=float,
        default=SIGMAS,
        help="standard deviations in pixels of a crop of 224 (default: 0 to 3)",
    )
    parser.add_argument("--draws", type=int, default=5, help="number of draws of the noise (default: 5)")
    add_loading_workers(parser)
    parser.add_argument("--out", type=Path, help="folder of the table and the figure (default: beside the first run)")
    return parser


def main(arguments: list[str]) -> None:
    """Evaluates the runs under noise and writes the curve as a table and as a figure.

    Raises:
        FileNotFoundError: there is no such run, or it is not finished.
        ValueError: an option is invalid, or a run's model does not read landmarks.
    """
    options = make_parser().parse(arguments[1:])
    if options.draws < 1 or min(options.sigmas) < 0:
        raise ValueError(
            f"--draws {options.draws} --sigmas {options.sigmas}: expected at least 1 draw and no negative sigma"
        )
    runs = [RunFolder(find_run(name)) for name in options.runs]

    # what follows takes seconds to import, so names are checked before
    from fer_lightning.experiments.noise import measure, noise_figure
    from fer_lightning.report.figures.style import png

    curve = measure(runs, sorted(set(options.sigmas)), options.draws, options.workers)
    out = options.out or runs[0].path.absolute().parent / "noise"
    rows = [score.row for score in curve]
    write_csv(out / "noise.csv", list(rows[0]), (row.values() for row in rows))
    atomic_write(out / "noise.png", png(noise_figure(curve)))
    for score in curve:
        values = "  ".join(
            f"{metric.short} {score.scores.written(metric)} {score.intervals[metric].written(metric)}"
            for metric in HEADLINE
        )
        run = f"{score.experiment} ({score.seed})  sigma {score.sigma:g}"
        print(f"{run}  {values}  N = {score.clips}, {score.draws} draws")
    print(f"table and figure: {out}")
