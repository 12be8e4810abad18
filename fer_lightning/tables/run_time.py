"""A model of how long a training takes on several devices: steps, gradients over the links, loading, evaluation, files.

A step's gradients are summed over n devices in a ring (Patarasuk and Yuan, 2009): each device sends and receives
2 (n - 1) / n of their bytes, through the slowest link of the ring. `DistributedDataParallel` sends those of the last
layers while it computes those before, so that only what outlasts a share of the backward pass is waited for. Clips
are loaded beside the step: it takes as long as the slower of both.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

BYTES = 4  # of a gradient, and of a weight in a checkpoint: both are fp32, whatever the step computes in
TRAINING = 3  # multiply-adds of a step by those of its forward pass: the backward pass has twice as many
BACKWARD = 2 / 3  # share of a step's computing
OPTIMISER = 2  # numbers that AdamW keeps in a checkpoint for each weight that is trained

Bound = Literal["computing", "exchange", "loading"]


@dataclass(frozen=True)
class Machine:
    """Equal machines, each with the same number of devices; every figure is measured or assumed by whoever gives it.

    Args:
        speed: multiply-adds a second that a device does in a training step.
        frames: a second that the loading processes of a device hand over.
        link: bytes a second from one device of a machine to the next, one way.
        network: bytes a second from one machine to the next, one way.
        disk: bytes a second to the disk of the checkpoints.
        devices: of a machine.
        overhead: seconds of a step on a device whatever the batch.
        overlap: share of the backward pass during which gradients are sent, 0 to 1.
    """

    speed: float
    frames: float
    link: float
    network: float
    disk: float
    devices: int = 8
    overhead: float = 0.0
    overlap: float = 0.0

    def __post_init__(self) -> None:
        if min(self.speed, self.frames, self.link, self.network, self.disk, self.devices) <= 0 or self.overhead < 0:
            raise ValueError(f"found {self}; expected rates and devices above 0, and an overhead of 0 or more")
        if not 0 <= self.overlap <= 1:
            raise ValueError(f"found an overlap of {self.overlap}; expected a share of the backward pass, 0 to 1")


@dataclass(frozen=True)
class Training:
    """What is trained.

    Args:
        multiply_adds: of a forward pass for one clip.
        parameters: all of them, which a checkpoint holds.
        trained: those with gradients.
        frames: of a clip.
        batch: clips of a step of all devices together.
        clips: of an epoch.
        evaluated: clips that are evaluated after each epoch.
        epochs: their number.
    """

    multiply_adds: float
    parameters: int
    trained: int
    frames: int
    batch: int
    clips: int = 0
    evaluated: int = 0
    epochs: int = 1


@dataclass(frozen=True)
class Step:
    """The parts of a training step, in seconds."""

    computing: float
    exchange: float  # of the gradients, as far as it is waited for
    loading: float

    @property
    def seconds(self) -> float:
        """How long the step takes."""
        return max(self.computing + self.exchange, self.loading)

    @property
    def bound(self) -> Bound:
        """What takes most of it."""
        if self.loading > self.computing + self.exchange:
            return "loading"
        return "exchange" if self.exchange > self.computing else "computing"


@dataclass(frozen=True)
class Run:
    """The parts of a training, in seconds."""

    steps: float
    evaluation: float
    checkpoints: float

    @property
    def seconds(self) -> float:
        """How long the training takes."""
        return self.steps + self.evaluation + self.checkpoints


def exchange_seconds(training: Training, machine: Machine, processes: int, nodes: int = 1) -> float:
    """Returns how long the sum of all gradients takes, without what is computed meanwhile."""
    slowest = machine.link if nodes == 1 else min(machine.link, machine.network)
    return BYTES * training.trained * 2 * (processes - 1) / processes / slowest


def step_of(training: Training, machine: Machine, processes: int, nodes: int = 1) -> Step:
    """Returns the parts of a step.

    Args:
        training: what is trained.
        machine: each of the machines.
        processes: on all machines together; those beyond its devices share them in turn.
        nodes: number of machines.

    Raises:
        ValueError: the processes are not the same number on each machine.
    """
    if processes % nodes or processes < 1:
        raise ValueError(f"found {processes} processes on {nodes} machines; expected the same number on each")
    clips = training.batch / processes
    turns = max(1.0, processes / nodes / machine.devices)
    computing = turns * (machine.overhead + clips * TRAINING * training.multiply_adds / machine.speed)
    hidden = machine.overlap * BACKWARD * computing
    exchange = max(0.0, exchange_seconds(training, machine, processes, nodes) - hidden)
    return Step(computing, exchange, turns * clips * training.frames / machine.frames)


def run_of(training: Training, machine: Machine, processes: int, nodes: int = 1) -> Run:
    """Returns the parts of a training: an evaluation of forward passes and one checkpoint follow each epoch."""
    step = step_of(training, machine, processes, nodes)
    forward = max(training.multiply_adds / machine.speed, training.frames / machine.frames)
    turns = max(1.0, processes / nodes / machine.devices)
    content = BYTES * (training.parameters + OPTIMISER * training.trained)
    return Run(
        training.epochs * -(-training.clips // training.batch) * step.seconds,
        training.epochs * training.evaluated / processes * turns * forward,
        training.epochs * content / machine.disk,
    )


def efficiency(training: Training, machine: Machine, processes: int, nodes: int = 1) -> float:
    """Returns the clips a second of a number of processes, by those of one and their number."""
    alone = step_of(training, machine, 1)
    return alone.seconds / step_of(training, machine, processes, nodes).seconds / processes


def fitted(steps: Sequence[tuple[int, float]]) -> tuple[float, float]:
    """Fits a line to the steps of one process: returns the seconds whatever the batch, and those of each clip.

    Args:
        steps: clips and seconds, of two batches or more.

    Raises:
        ValueError: there are fewer batches, or larger ones take less time.
    """
    if len({clips for clips, _ in steps}) < 2:
        raise ValueError(f"found the batches {[clips for clips, _ in steps]}; expected two or more different ones")
    mean = sum(clips for clips, _ in steps) / len(steps)
    level = sum(seconds for _, seconds in steps) / len(steps)
    spread = sum((clips - mean) ** 2 for clips, _ in steps)
    slope = sum((clips - mean) * (seconds - level) for clips, seconds in steps) / spread
    if slope <= 0:
        raise ValueError(f"found {list(steps)}; expected larger batches to take longer: measure them again")
    return max(0.0, level - slope * mean), slope
