"""Time of each fusion of faces and landmarks, against a forward pass of VSHNN at the size of its paper."""

import time
from collections.abc import Callable

import torch

from data_modules.labels import SEVEN
from fer_lightning.architectures.vshnn.fusion import LowRankMultiModalFusion, ScoreFusion, WeightedSum
from fer_lightning.architectures.vshnn.network import VSHNN
from fer_lightning.layers.backbones import FrameBackbone
from fer_lightning.layers.video_backbones import ClipBackbone
from fer_lightning.training.random_batch import random_batch

PAPER = {"VSHNN": 1.8, "LRMAF": 282.0}  # ms at batch 32, section 5.3.6
REPEATS = 20


def run(quick: bool = False) -> None:
    """Prints the milliseconds of each fusion for a batch, and their share of VSHNN's forward pass."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    batch_size, size = (4, 32) if quick else (32, 224)
    backbone, scene = (FrameBackbone("resnet10t"), ClipBackbone("c3d", width=0.125)) if quick else (None, None)
    model = VSHNN(SEVEN, backbone, scene).to(device).eval()
    batch = random_batch(clips=batch_size, size=size).to(device)
    forward = milliseconds(lambda: model(batch), device, repeats=1)
    print(f"VSHNN's forward pass, {batch_size} clips of 16 frames of {size}² on {device.type}: {forward:.0f} ms")
    fusions: dict[str, ScoreFusion] = {
        "WS": WeightedSum(),
        "LRMF": LowRankMultiModalFusion(attention=False),
        "LRMAF": LowRankMultiModalFusion(),
    }
    scores = torch.randn(2, batch_size, 7, device=device)
    for name, fusion in fusions.items():
        fusion.build(len(SEVEN), scene_size=1)
        fuse = fusion.to(device).eval().fuse
        elapsed = milliseconds(lambda fuse=fuse: fuse(*scores), device, REPEATS)  # type: ignore[misc]
        print(f"  {name} alone: {elapsed:.3f} ms, {100 * elapsed / forward:.4f} % of it")
    share = 100 * PAPER["LRMAF"] / PAPER["VSHNN"]
    print(f"  the paper's LRMAF: {PAPER['LRMAF']:.0f} ms where its VSHNN takes {PAPER['VSHNN']} ms, {share:.0f} %")


def milliseconds(work: Callable[[], object], device: torch.device, repeats: int) -> float:
    """Returns the mean time of a call, after one call to warm up; the GPU is only synchronised at the end."""
    with torch.inference_mode():
        for repeat in range(repeats + 1):
            if device.type == "cuda":
                torch.cuda.synchronize()
            if repeat == 1:
                start = time.perf_counter()
            work()
        if device.type == "cuda":
            torch.cuda.synchronize()
    return 1000 * (time.perf_counter() - start) / repeats
