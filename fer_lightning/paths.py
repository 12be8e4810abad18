"""The folder of runs on this machine, and how a configuration names a run in it."""

import os
from pathlib import Path

RUN = "run:"
"""How the name of a run in a configuration begins, such as `run:densenet_fc_fer2013`."""
JOBS = "jobs"
"""The folder, in that of runs, of the messages of runs that are trained at once."""


def runs_root() -> Path:
    """Returns the folder of all runs: the variable FER_RUNS, or `runs` in the working folder."""
    return Path(os.environ.get("FER_RUNS", "runs"))
