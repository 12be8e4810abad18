"""The precision that a machine is fast in, and Lightning without its advertisements."""

import logging
import warnings
from pathlib import Path
from typing import Literal

import torch


def fastest_precision() -> Literal["bf16-mixed", "16-mixed", "32-true"]:
    """Mixed precision where the processor has units for it, found out rather than assumed."""
    if torch.cuda.is_available():
        return "bf16-mixed" if torch.cuda.is_bf16_supported() else "16-mixed"
    # torch runs bf16 on any CPU, but without these instructions slower than fp32.
    told = Path("/proc/cpuinfo")
    features = told.read_text() if told.exists() else ""
    return "bf16-mixed" if any(name in features for name in ("avx512_bf16", "amx_bf16", " bf16")) else "32-true"


def quiet_lightning() -> None:
    """Keeps Lightning's advertisements and the warnings of what is meant so from hiding what matters."""
    warnings.filterwarnings("ignore", "LightningCLI's args parameter")  # they are those of `fer`, translated
    warnings.filterwarnings("ignore", ".*isinstance.treespec, LeafSpec.*")
    warnings.filterwarnings("ignore", "The number of training batches .* is smaller than the logging interval")
    warnings.filterwarnings("ignore", "Checkpoint directory .* exists and is not empty")
    warnings.filterwarnings("ignore", ".*does not have many workers which may be a bottleneck")
    warnings.filterwarnings("ignore", r"Found \d+ module\(s\) in eval mode")  # frozen ones
    warnings.filterwarnings("ignore", "Total length of `list` across ranks is zero")  # nothing is chosen: no such split
    logging.getLogger("pytorch_lightning").setLevel(logging.WARNING)
    logging.getLogger("lightning_fabric").setLevel(logging.WARNING)
