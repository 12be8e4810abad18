"""Arguments of commands that can train their runs as jobs of a cluster."""

import argparse
from typing import TYPE_CHECKING

from fer_lightning.paths import runs_root

if TYPE_CHECKING:
    from fer_lightning.experiments.cluster import Cluster

LOGS = "jobs"
"""Folder of the jobs' messages, in the folder of runs."""


def add_job_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments that have runs trained as jobs."""
    parser.add_argument(
        "--jobs",
        choices=("slurm", "local"),
        help="train each run in a job, through submitit: of Slurm, or of this machine, one after another, to try it",
    )
    parser.add_argument(
        "--job-options",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="options of the jobs, such as timeout_min=600 gpus_per_node=1 slurm_partition=gpu (default: a day)",
    )


def cluster_from_options(options: argparse.Namespace) -> "Cluster | None":
    """Returns the cluster for the arguments of `add_job_arguments`; None if runs are processes of this machine.

    Raises:
        ValueError: an option does not exist or does not fit, or there are options but no `--jobs`.
    """
    if options.jobs:
        # what follows takes seconds to import, so names are checked before
        from fer_lightning.experiments.cluster import Cluster, read_options

        return Cluster(options.jobs, runs_root().absolute() / LOGS, read_options(options.job_options))
    if options.job_options:
        raise ValueError("--job-options are those of jobs: add --jobs slurm")
    return None
