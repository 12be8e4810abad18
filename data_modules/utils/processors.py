"""The processors that this process may use."""

import os


def usable_processors() -> int:
    """Returns the number of processors that this process may use.

    Slurm, containers and `taskset` may leave it fewer than the machine has. Where the system does not say (macOS,
    Windows), all of the machine's count.
    """
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def default_workers() -> int:
    """Returns the number of processes that load batches unless it is stated: two, or one on a single processor.

    [our choice] More would be faster on some machines, and each takes memory.
    """
    return min(2, usable_processors())
