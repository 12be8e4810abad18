"""`fer report`: write the reports of runs again."""

import argparse
from pathlib import Path

from fer_lightning.evaluation.calibration_file import calibration_line
from fer_lightning.evaluation.predictions import PredictionTable
from fer_lightning.report.page import write_report
from fer_lightning.report.summary import summary_line
from fer_lightning.runs.folder import RunFolder


def main(arguments: list[str]) -> None:
    """`fer report RUN...`: writes the reports again, from what the runs' folders hold."""
    parser = argparse.ArgumentParser("fer report", description="Writes the reports of runs again.")
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="such as runs/ceflnet_synthetic/1-0")
    for path in parser.parse_args(arguments[1:]).runs:
        run = RunFolder(path)
        print(f"report: {write_report(run)}")
        print(summary_line(PredictionTable.read(run.predictions("test"))))
        print(calibration_line(run))
