"""The average of a training's weights, which is what is evaluated and kept.

Polyak and Juditsky (1992), "Acceleration of Stochastic Approximation by Averaging",
https://doi.org/10.1137/0330046; here with weights that decay.
"""

from collections.abc import Iterator
from typing import Any

import pytorch_lightning as L
import torch
from pytorch_lightning.callbacks import EMAWeightAveraging
from pytorch_lightning.trainer.states import TrainerFn
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.swa_utils import AveragedModel, get_ema_avg_fn


class AveragedWeights(EMAWeightAveraging):
    """Lightning's moving average of the weights, which a checkpoint's evaluation sees, too.

    After each step, the average moves towards the weights by 1 - `decay`, and with it the statistics of batch
    normalisation. All other buffers, such as counts, class weights, and what is fitted or searched, stay the model's
    own: they are neither averaged nor exchanged. Epochs are evaluated with the average, and checkpoints hold it as
    their weights. Lightning loads a checkpoint's last weights in its place where the trainer that trained them tests
    them.

    Args:
        decay: of the average in a step: 0.999 averages over about 1000 steps.

    Raises:
        ValueError: the decay is not from 0 to below 1.
    """

    def __init__(self, decay: float = 0.999) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"decay = {decay}: expected a number from 0 to below 1, such as 0.999")
        super().__init__(decay=decay)
        self.decay = decay

    def setup(self, trainer: L.Trainer, pl_module: L.LightningModule, stage: str) -> None:
        """Begins an average before a training, in the place of Lightning's, which averages all buffers."""
        if stage == "fit":
            moving = get_ema_avg_fn(self.decay)  # type: ignore[no-untyped-call]
            self._average_model = _Average(pl_module, pl_module.device, moving)

    def on_save_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Saves the average as the weights, with the model's own buffers, which an epoch's end may have set."""
        super().on_save_checkpoint(trainer, pl_module, checkpoint)
        if "current_model_state" in checkpoint:
            own = {name for name, _ in pl_module.named_buffers(remove_duplicate=False)} - _statistics(pl_module)
            current = checkpoint["current_model_state"]
            checkpoint["state_dict"] |= {name: value for name, value in current.items() if name in own}

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Goes on from both weights where training does; elsewhere the average is loaded already."""
        if trainer.state.fn is TrainerFn.FITTING:
            super().on_load_checkpoint(trainer, pl_module, checkpoint)

    def _swap_models(self, pl_module: L.LightningModule) -> None:
        """Exchanges what is averaged; Lightning exchanges all buffers, even those that no checkpoint restores."""
        assert self._average_model is not None
        for average, current in zip(_averaged(self._average_model.module), _averaged(pl_module), strict=True):
            kept = average.clone()
            average.copy_(current)
            current.copy_(kept)

    def _copy_average_to_current(self, pl_module: L.LightningModule) -> None:
        """Gives the model the average."""
        assert self._average_model is not None
        for average, current in zip(_averaged(self._average_model.module), _averaged(pl_module), strict=True):
            current.copy_(average)


class _Average(AveragedModel):
    """An average of `_averaged` alone; the first update copies the weights."""

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Moves the average towards a model's weights."""
        assert self.avg_fn is not None
        for average, current in zip(_averaged(self.module), _averaged(model), strict=True):
            value = current.to(average.device)
            average.copy_(self.avg_fn(average, value, self.n_averaged) if self.n_averaged else value)
        self.n_averaged += 1


def _averaged(model: nn.Module) -> Iterator[Tensor]:
    """Yields parameters and the statistics of batch normalisation, without gradients."""
    statistics = _statistics(model)
    yield from (parameter.detach() for parameter in model.parameters())
    yield from (value for name, value in model.named_buffers() if name in statistics)


def _statistics(model: nn.Module) -> set[str]:
    """Returns the names of means and variances of batch normalisation."""
    return {
        name
        for prefix, module in model.named_modules(remove_duplicate=False)
        if isinstance(module, _BatchNorm)
        for name, value in module.named_buffers(prefix, recurse=False)
        if value.is_floating_point()
    }
