"""What a job of a cluster does. The job imports this module alone, and the training is a process of its own."""

import subprocess
from dataclasses import dataclass
from importlib import import_module
from typing import Any


@dataclass(frozen=True)
class TrainingJob:
    """Trains a run. If the job is preempted or its time is over, submitit asks for `checkpoint` and requeues it.

    Args:
        command: of the training, which resumes where it was stopped.
    """

    command: tuple[str, ...]

    def __call__(self) -> int:
        """Runs the training and returns its exit status, 0 if the run was finished."""
        return subprocess.run(self.command, check=False).returncode

    def checkpoint(self) -> Any:
        """Returns what a requeued job does: the same, which goes on from the run's latest checkpoint."""
        return import_module("submitit.helpers").DelayedSubmission(self)
