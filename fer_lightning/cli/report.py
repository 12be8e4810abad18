"""`fer report`: write the reports of runs again."""

from fer_lightning.cli.parsing import CommandParser
from fer_lightning.evaluation.predictions import PredictionTable
from fer_lightning.report.summary import result_lines
from fer_lightning.runs.folder import RunFolder
from fer_lightning.runs.lookup import find_run


def make_parser() -> CommandParser:
    """Returns the parser of the command."""
    parser = CommandParser("fer report", description="Writes the reports of runs again.")
    parser.add_argument("runs", nargs="+", metavar="RUN", help="such as runs/ceflnet_synthetic/1-0")
    return parser


def main(arguments: list[str]) -> None:
    """`fer report RUN...`: writes the reports again, from what the runs' folders hold.

    Raises:
        FileNotFoundError: there is no such run, or it is not evaluated yet.
        ValueError: a file of the run is damaged.
    """
    runs = [RunFolder(find_run(name)) for name in make_parser().parse(arguments[1:]).runs]

    # what follows takes seconds to import, so names are checked before
    from fer_lightning.evaluation.calibration_file import calibration_line
    from fer_lightning.report.page import write_report

    for run in runs:
        print(f"report: {write_report(run)}")
        print("\n".join(result_lines(PredictionTable.read(run.predictions("test")))))
        print(calibration_line(run))
