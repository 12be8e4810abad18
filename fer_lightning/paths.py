"""The folder of runs on this machine."""

import os
from pathlib import Path


def runs_root() -> Path:
    """Returns the folder of all runs: the variable FER_RUNS, or `runs` in the working folder."""
    return Path(os.environ.get("FER_RUNS", "runs"))
