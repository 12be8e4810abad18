"""Processes that torchrun or Slurm has started, on one machine or several: what they are told, and what is refused."""

from collections.abc import Mapping

from lightning_fabric.plugins.environments.cluster_environment import ClusterEnvironment
from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.plugins.environments.slurm import SLURMEnvironment
from lightning_fabric.plugins.environments.torchelastic import TorchElasticEnvironment
from pytorch_lightning import Trainer

LAUNCHERS: dict[str, type[ClusterEnvironment]] = {"torchrun": TorchElasticEnvironment, "Slurm": SLURMEnvironment}
"""In Lightning's order: torchrun may be used within Slurm."""
TOLD = frozenset(
    (
        *("RANK", "LOCAL_RANK", "GROUP_RANK", "ROLE_RANK", "NODE_RANK", "ROLE_NAME", "MASTER_ADDR", "MASTER_PORT"),
        *("WORLD_SIZE", "LOCAL_WORLD_SIZE", "GROUP_WORLD_SIZE", "ROLE_WORLD_SIZE"),
    )
)
"""Variables that tell a process its place among those of its training."""
PREFIXES = ("SLURM_", "TORCHELASTIC_")


def started_processes() -> tuple[str, int] | None:
    """Returns the name of the launcher of this process and the number of processes that it has started, or None."""
    for name, environment in LAUNCHERS.items():
        if environment.detect():
            return name, environment().world_size()
    return None


def refuse_other_processes(trainer: Trainer) -> None:
    """Refuses to train with other processes than those that a launcher has started.

    Each of them would train on its own in the same folder, or wait for others that do not exist.

    Raises:
        ValueError: the trainer's devices and machines are not as many as these processes.
    """
    if isinstance(getattr(trainer.strategy, "cluster_environment", None), LightningEnvironment):
        return  # it was asked for within Slurm, and starts the other processes itself
    started = started_processes()
    if started and started[1] != trainer.num_devices * trainer.num_nodes:
        raise ValueError(
            f"{started[0]} has started {started[1]} processes, but this training has {trainer.num_devices} devices on "
            f"each of {trainer.num_nodes} machines: set --trainer.devices to the processes of a machine and "
            "--trainer.num_nodes to the number of machines, or start as many processes as that"
        )


def without_launcher(environment: Mapping[str, str]) -> dict[str, str]:
    """Returns variables of the environment for a process that is no part of this training."""
    return {name: value for name, value in environment.items() if name not in TOLD and not name.startswith(PREFIXES)}
