"""BatchNorm on several devices: the clips that its statistics are over."""

from pytorch_lightning.plugins.layer_sync import TorchSyncBatchNorm
from timm.layers import convert_sync_batchnorm
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm


class SynchronizedBatchNorm(TorchSyncBatchNorm):
    """Makes the BatchNorm layers that are trained compute their statistics over the clips of all GPUs.

    Lightning's own plugin loses the activation of timm's combined layers, such as those of DenseNet, and replaces
    frozen layers too. Without a distributed training the layers work as ordinary ones, so they stay in the model.
    """

    def apply(self, model: nn.Module) -> nn.Module:
        """Replaces the trained BatchNorm layers of a model in place, and returns the model."""
        for name, layer in trained_layers(model):
            parent, _, own = name.rpartition(".")
            setattr(model.get_submodule(parent), own, convert_sync_batchnorm(layer))
        return model

    def revert(self, model: nn.Module) -> nn.Module:
        """Returns the model with its layers as they are."""
        return model


def trained_layers(model: nn.Module) -> list[tuple[str, nn.Module]]:
    """Lists the BatchNorm layers that are trained, and so normalise by the statistics of their batch, by name."""
    layers = [(name, module) for name, module in model.named_modules() if isinstance(module, _BatchNorm)]
    return [(name, layer) for name, layer in layers if any(each.requires_grad for each in layer.parameters())]


def statistics_note(model: nn.Module, batch_size: int, processes: int, accumulated: int, synchronized: bool) -> str:
    """Returns a sentence if the statistics of BatchNorm are over fewer clips than a step has; else an empty text.

    Args:
        model: the model that is trained.
        batch_size: clips in an optimisation step.
        processes: number of processes.
        accumulated: batches whose gradients are added up before each step.
        synchronized: whether the processes share their statistics.
    """
    parts = accumulated if synchronized else accumulated * processes
    layers = len(trained_layers(model))
    if parts == 1 or not layers:
        return ""
    advice = "" if synchronized else " Torch can share them between GPUs (--trainer.sync_batchnorm true), not on a CPU."
    return (
        f"BatchNorm: {layers} trained layers have statistics over {batch_size // parts} of the {batch_size} clips of a "
        f"step ({processes} processes, {accumulated} accumulated batches), so that the result depends on these numbers."
        f"{advice}"
    )
