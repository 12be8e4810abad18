"""What `fer` does in a job of Slurm that is about to end: it stops, and has the job queued again."""

import os
import subprocess

from data_modules.utils.signals import REQUEUE


def signals() -> tuple[int, ...]:
    """Returns the signals by which Slurm announces the end of a job; none outside a job."""
    return (REQUEUE,) if "SLURM_JOB_ID" in os.environ else ()


def is_first_process() -> bool:
    """Returns whether this is the first of several processes, which Slurm, torchrun or Lightning has started."""
    return all(os.environ.get(name, "0") == "0" for name in ("SLURM_PROCID", "RANK", "LOCAL_RANK"))


def requeue() -> str:
    """Has Slurm queue this job again and returns what came of it."""
    job = os.environ["SLURM_JOB_ID"]
    if "SLURM_ARRAY_JOB_ID" in os.environ:
        job = f"{os.environ['SLURM_ARRAY_JOB_ID']}_{os.environ['SLURM_ARRAY_TASK_ID']}"
    try:
        subprocess.run(["scontrol", "requeue", job], check=True, capture_output=True, text=True)
    except (OSError, subprocess.CalledProcessError) as error:
        reason = str(getattr(error, "stderr", "") or error).strip()
        return f"the job {job} could not be queued again ({reason}); submit it again"
    return f"the job {job} is queued again"
