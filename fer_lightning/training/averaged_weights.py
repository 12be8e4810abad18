"""The average of a training's weights, which is what is evaluated and kept.

Polyak and Juditsky (1992), "Acceleration of Stochastic Approximation by Averaging",
https://doi.org/10.1137/0330046; here with weights that decay.
"""

from typing import Any

import pytorch_lightning as L
from pytorch_lightning.callbacks import EMAWeightAveraging
from pytorch_lightning.trainer.states import TrainerFn


class AveragedWeights(EMAWeightAveraging):
    """Lightning's moving average of the weights, which a checkpoint's evaluation sees, too.

    After each step, the average moves towards the weights by 1 - `decay`, and with it the statistics of batch
    normalisation. Epochs are evaluated with the average, and checkpoints hold it as their weights. Lightning loads a
    checkpoint's last weights in its place where the trainer that trained them tests them.

    Args:
        decay: of the average in a step: 0.999 averages over about 1000 steps.

    Raises:
        ValueError: the decay is not from 0 to below 1.
    """

    def __init__(self, decay: float = 0.999) -> None:
        if not 0 <= decay < 1:
            raise ValueError(f"decay = {decay}: expected a number from 0 to below 1, such as 0.999")
        super().__init__(decay=decay)

    def on_load_checkpoint(self, trainer: L.Trainer, pl_module: L.LightningModule, checkpoint: dict[str, Any]) -> None:
        """Goes on from both weights where training does; elsewhere the average is loaded already."""
        if trainer.state.fn is TrainerFn.FITTING:
            super().on_load_checkpoint(trainer, pl_module, checkpoint)
