"""The fastest precision of this machine, and filters for Lightning's messages."""

import logging
import warnings
from pathlib import Path
from typing import Literal

import torch


def fastest_precision() -> Literal["bf16-mixed", "16-mixed", "32-true"]:
    """Returns mixed precision if the GPU, or without one the CPU, has units for it, and full precision otherwise."""
    if torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed"
    # torch runs bf16 on any CPU, but without these instructions slower than fp32.
    info = Path("/proc/cpuinfo")
    features = info.read_text() if info.exists() else ""
    return "bf16-mixed" if any(name in features for name in ("avx512_bf16", "amx_bf16", " bf16")) else "32-true"


def quiet_lightning() -> None:
    """Silences Lightning's advertisements and its warnings about settings that this suite chooses on purpose."""
    warnings.filterwarnings("ignore", "LightningCLI's args parameter")  # `fer` translates its own arguments
    warnings.filterwarnings("ignore", ".*isinstance.treespec, LeafSpec.*")
    warnings.filterwarnings("ignore", "The number of training batches .* is smaller than the logging interval")
    warnings.filterwarnings("ignore", "Checkpoint directory .* exists and is not empty")
    warnings.filterwarnings("ignore", ".*does not have many workers which may be a bottleneck")
    warnings.filterwarnings("ignore", "It is recommended to use `self.log")  # metrics count all processes already
    warnings.filterwarnings("ignore", r"Found \d+ module\(s\) in eval mode")  # frozen modules
    warnings.filterwarnings(
        "ignore", "Total length of `list` across ranks is zero"
    )  # there is no inner split if no epoch is chosen
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
