"""The time of a system's training step, beside that of its backbones' networks alone in the same run."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from copy import deepcopy
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.optim import Optimizer

from data_modules.loading.batch import ClipBatch
from fer_lightning.experiments.lightning_cli import FerCLI
from fer_lightning.experiments.request import ExperimentRequest, fits
from fer_lightning.experiments.system import Size, is_ensemble, system_names
from fer_lightning.layers.backbones import FrameBackbone
from fer_lightning.layers.video_backbones import ClipBackbone
from fer_lightning.training.classifier import VideoClassifier
from fer_lightning.training.cost import autocast, median_seconds
from fer_lightning.training.precision import fastest_precision
from fer_lightning.training.random_batch import batch_for

FIRST = ("ceflnet", "vshnn", "context_pyramid", "ecnn_fsa", "bimodal_resnet18", "av")
"""One system of each paper: what is measured first where time is short."""


class NothingTrainedError(ValueError):
    """A system has no training step, as nothing in it is trained by gradients."""


@dataclass(frozen=True)
class Variant:
    """A way to compute a step.

    Args:
        name: its name in tables.
        precision: of the step; None for the fastest of the machine, as in trainings.
        channels_last: the memory format of images; in trainings they are channels last.
        fused: one kernel for all parameters of the optimiser.
        compiled: whether `torch.compile` compiles the model.
    """

    name: str
    precision: str | None = None
    channels_last: bool = True
    fused: bool = False
    compiled: bool = False


DEFAULT = Variant("default")
VARIANTS = (
    DEFAULT,
    Variant("fp32", precision="32-true"),
    Variant("bf16", precision="bf16-mixed"),
    Variant("not channels last", channels_last=False),
    Variant("fused optimiser", fused=True),
    Variant("torch.compile", compiled=True),
)


@dataclass(frozen=True)
class SystemStep:
    """The measurements of a step: forward pass, loss, backward pass and optimiser."""

    system: str
    variant: str
    precision: str
    clips: int  # in the batch
    frames: int  # of a clip
    milliseconds: float
    mebibytes: float | None  # of the GPU's memory at its peak; None on a CPU
    backbone_milliseconds: float | None  # of a step of the networks alone; None without a backbone

    @property
    def clips_per_second(self) -> float:
        """Clips of a training in a second."""
        return 1000 * self.clips / self.milliseconds

    @property
    def share(self) -> float | None:
        """The step's time as a multiple of the networks' own."""
        return None if self.backbone_milliseconds is None else self.milliseconds / self.backbone_milliseconds


def trained_systems() -> list[str]:
    """Lists the systems that are single models, one of each paper first."""
    return [*FIRST, *(name for name in system_names() if name not in FIRST and not is_ensemble(name))]


def build(system: str, size: Size, device: torch.device, clips: int | None = None) -> tuple[VideoClassifier, ClipBatch]:
    """Builds a system with random weights and a batch of noise.

    Args:
        system: its name.
        size: `small` or `paper`.
        device: for both.
        clips: B; by default the experiment's batch.

    Raises:
        ValueError: the system is an ensemble.
    """
    requests = (ExperimentRequest(f"{system}_{data}", size=size) for data in ("synthetic", "synthetic_stills"))
    arguments = next(filter(fits, requests)).command_line()
    with device:  # hundreds of millions of random weights take seconds on a processor
        cli = FerCLI([*arguments, "--trainer.logger", "false", "--trainer.accelerator", "cpu"], run=False)
    model, data = cli.model, cli.datamodule
    batch = batch_for(model.inputs, data, clips or data.batch_size)
    return model.to(device).train(), batch.to(device)


def training_step(model: VideoClassifier, batch: ClipBatch, precision: str, optimizer: Optimizer) -> Callable[[], None]:
    """Returns a function that takes one step: forward pass, loss, backward pass, optimiser."""

    def step() -> None:
        with autocast(batch.mask.device, precision):
            loss = model.loss(model(batch), batch)
        loss.backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()

    return step


def measure(
    system: str,
    size: Size,
    device: torch.device,
    variant: Variant = DEFAULT,
    clips: int | None = None,
    repeats: int = 10,
) -> SystemStep:
    """Measures the step of a system, and that of its networks alone at the same batch, shapes and precision.

    Raises:
        NothingTrainedError: nothing in the system is trained by gradients.
        ValueError: it is an ensemble, or its optimiser has no fused form.
    """
    model, batch = build(system, size, device, clips)
    return measure_step(system, model, batch, variant, repeats)


def measure_step(
    system: str,
    model: VideoClassifier,
    batch: ClipBatch,
    variant: Variant = DEFAULT,
    repeats: int = 10,
    networks: bool = True,
) -> SystemStep:
    """Measures the step of a system that is built, and with `networks` that of its networks alone.

    Raises:
        NothingTrainedError: nothing in the system is trained by gradients.
        ValueError: its optimiser has no fused form.
    """
    device, precision = batch.mask.device, variant.precision or fastest_precision()
    optimizer = make_optimizer(model, system, variant.fused)
    if not variant.channels_last:
        _without_channels_last(model)
    alone = NetworksAlone([])
    if networks:
        with autocast(device, precision):
            alone = NetworksAlone.of(model, batch)
    if variant.compiled:
        model.compile()
    step = training_step(model, batch, precision, optimizer)
    step()  # compiles, and fills the optimiser's state
    reset_peak(device)
    seconds = median_seconds(step, device, repeats)
    memory = peak_mebibytes(device)
    backbone = 1000 * median_seconds(alone.step(model, precision), device, repeats) if alone.inputs else None
    count, frames = batch.mask.shape
    return SystemStep(system, variant.name, precision, count, frames, 1000 * seconds, memory, backbone)


def reset_peak(device: torch.device) -> None:
    """Begins to measure the peak of a GPU's memory."""
    if device.type == "cuda":
        torch.cuda.reset_peak_memory_stats()


def peak_mebibytes(device: torch.device) -> float | None:
    """Returns the peak of a GPU's memory since `reset_peak`; None on a CPU, where a process has one peak alone."""
    return torch.cuda.max_memory_allocated() / 2**20 if device.type == "cuda" else None


def make_optimizer(model: VideoClassifier, name: str, fused: bool = False) -> Optimizer:
    """Returns the optimiser of a system's configuration.

    Raises:
        NothingTrainedError: it has none.
        ValueError: it has no fused form.
    """
    if model.optimizer is None:
        raise NothingTrainedError(f"{name} has no training step: nothing in it is trained by gradients")
    optimizer = model.optimizer(model.parameter_groups())
    for group in optimizer.param_groups if fused else ():
        if "fused" not in group:
            raise ValueError(f"{type(optimizer).__name__} of {name} has no fused form; Adam and SGD have one")
        group["fused"] = True
    return optimizer


@dataclass(frozen=True)
class NetworksAlone:
    """The networks of a model's backbones, and the images that each is given in a step.

    A `FrameBackbone` holds timm's network as timm builds it, so its time here is that of timm's alone.
    """

    inputs: list[tuple[nn.Module, Tensor]]

    @classmethod
    def of(cls, model: VideoClassifier, batch: ClipBatch) -> "NetworksAlone":
        """Runs a model's forward pass and records what its networks see."""
        inputs: list[tuple[nn.Module, Tensor]] = []
        with _recording(model, inputs), torch.no_grad():
            model(batch)
        return cls(inputs)

    def step(self, model: VideoClassifier, precision: str) -> Callable[[], None]:
        """Returns a function that takes one step of copies of the networks; frozen ones have a forward pass alone."""
        copies = {network: deepcopy(network) for network, _ in self.inputs}
        trained = [weight for copy in copies.values() for weight in copy.parameters() if weight.requires_grad]
        optimizer = model.optimizer(trained) if model.optimizer and trained else None

        def step() -> None:
            for network, images in self.inputs:
                copy = copies[network]
                is_trained = any(weight.requires_grad for weight in copy.parameters())
                with autocast(images.device, precision), torch.set_grad_enabled(is_trained):
                    output = copy(images)
                if is_trained:
                    output.float().square().mean().backward()
            if optimizer:
                optimizer.step()
                optimizer.zero_grad()

        return step


@contextmanager
def _recording(model: nn.Module, inputs: list[tuple[nn.Module, Tensor]]) -> Iterator[None]:
    """Adds each network and its images to a list. Some backbones run parts of their network, not the whole: what they
    see is then known from the conversion of their pixels.
    """
    handles = []
    for part in model.modules():
        if isinstance(part, FrameBackbone):
            handles.append(
                part.conversion.register_forward_hook(
                    lambda _, __, pixels, network=part.network: inputs.append((network, pixels.detach().clone()))
                )
            )
        elif isinstance(part, ClipBackbone):
            handles.append(
                part.network.register_forward_pre_hook(
                    lambda network, args: inputs.append((network, args[0].detach().clone()))
                )
            )
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def _without_channels_last(model: nn.Module) -> None:
    for part in model.modules():
        if isinstance(part, FrameBackbone | ClipBackbone):
            part.memory_format = torch.contiguous_format
            part.network.to(memory_format=torch.contiguous_format)
