"""Arguments of commands that can train several runs at once: on this machine, or as jobs of a cluster."""

import argparse
from functools import partial
from typing import TYPE_CHECKING

from fer_lightning.paths import JOBS, runs_root

if TYPE_CHECKING:
    from fer_lightning.ensemble.order import Train


def add_job_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments that have several runs trained at once."""
    parser.add_argument(
        "--at-once",
        type=int,
        metavar="N",
        help="train N runs at the same time, which share the GPUs and processors of this machine: small models leave "
        "most of a GPU idle (default: one, or one for each GPU)",
    )
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


def train_from_options(options: argparse.Namespace) -> "Train | None":
    """Returns what trains all runs together for the arguments of `add_job_arguments`; None for one after another.

    Raises:
        ValueError: an option does not exist or does not fit, or there are options but no `--jobs`.
    """
    if options.at_once is not None and (options.at_once < 1 or options.jobs):
        raise ValueError(
            f"--at-once {options.at_once}: expected 1 or more, without --jobs: a scheduler decides how many jobs run"
        )
    if options.jobs:
        # what follows takes seconds to import, so names are checked before
        from fer_lightning.experiments.cluster import Cluster, read_options

        return Cluster(options.jobs, runs_root().absolute() / JOBS, read_options(options.job_options)).train_all
    if options.job_options:
        raise ValueError("--job-options are those of jobs: add --jobs slurm")
    if options.at_once:
        from fer_lightning.experiments.jobs import train_all

        return partial(train_all, at_once=options.at_once)
    return None
