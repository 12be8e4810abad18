"""What a training needs runs where the packages are missing that read videos, find faces and log to W&B."""

import os
import subprocess
import sys
from pathlib import Path

LACKING = ("av", "decord", "insightface", "wandb", "ai_edge_litert", "facenet_pytorch", "pandas", "openpyxl")
IMPORTED = (
    "data_modules.loading.datamodule",
    "data_modules.datasets.synthetic",
    "data_modules.datasets.fer2013",
    "fer_lightning.architectures.ceflnet",
    "fer_lightning.cli.bench",
    "fer_lightning.experiments.lightning_cli",
    "fer_lightning.predict.recogniser",
    "fer_lightning.training.wandb_logger",
)
PROGRAM = f"""
import importlib, sys
for name in {IMPORTED}:
    importlib.import_module(name)
from data_modules.utils.faults import is_passing
assert is_passing(RuntimeError()) and not is_passing(ValueError())
from data_modules.video.reader import open_video
try:
    next(iter(open_video(sys.argv[1]).frames()))
except ModuleNotFoundError as error:
    print("lacks", error)
"""


def test_what_a_training_imports_needs_no_decoder_no_detector_and_no_wandb(tmp_path):
    (tmp_path / "program.py").write_text(PROGRAM)
    (tmp_path / "clip.mp4").write_bytes(b"no video")
    command = [sys.executable, "-m", "tests.missing_packages", ",".join(LACKING), "program", tmp_path / "clip.mp4"]
    run = subprocess.run(
        command, capture_output=True, text=True, env=os.environ | {"PYTHONPATH": f"{Path.cwd()}:{tmp_path}"}
    )
    assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("lacks No module named 'av'"), run.stdout
