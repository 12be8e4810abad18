"""ECNN-FSA's time for a frame against CNN-LSTM's in the same run (table 8), and what the attention costs."""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch
from rich.console import Console
from rich.table import Table

from data_modules.labels import SEVEN
from data_modules.loading.batch import ClipBatch
from fer_lightning.architectures.ecnn_fsa import CNNLSTM, ECNNFSA
from fer_lightning.layers.vgg import VGG16, EnhancedVGG
from fer_lightning.training.classifier import VideoClassifier
from fer_lightning.training.cost import count_parameters, multiply_adds

FRAMES = 5  # n, section 2.1
WHY = """The paper timed a GPU. There a small batch probably waits for weights to be read and, in training, updated, of
which CNN-LSTM has three times as many, and for its LSTMs' steps one after another. On a processor multiply-adds
decide, of which ECNN's added convolutions have more."""
PAPER = (("ECNN-FSA", 21.25, 5.57), ("CNN-LSTM", 40.34, 8.26))  # ms of training and of testing, table 8


@dataclass(frozen=True)
class FrameTime:
    """What one frame costs a model."""

    name: str
    parameters: int
    multiply_adds: float
    training: float  # seconds, forward, backward and SGD
    testing: float  # seconds


def random_clips(clips: int, size: int, device: torch.device) -> ClipBatch:
    """Clips of noise: the time is the same whatever a model sees."""
    return ClipBatch(
        clip_id=tuple(map(str, range(clips))),
        label=torch.arange(clips) % len(SEVEN),
        mask=torch.ones(clips, FRAMES, dtype=torch.bool),
        frame_index=torch.arange(FRAMES).expand(clips, FRAMES),
        face=torch.randint(256, (clips, FRAMES, 3, size, size), dtype=torch.uint8),
    ).to(device)


def seconds(work: Callable[[], object], device: torch.device, repeats: int) -> float:
    """The median time of a call after one to warm up."""
    times = []
    for _ in range(repeats + 1):
        start = time.perf_counter()
        work()
        if device.type == "cuda":
            torch.cuda.synchronize()
        times.append(time.perf_counter() - start)
    return statistics.median(times[1:])


def counted(make: Callable[[], VideoClassifier], size: int) -> int:
    """Multiply-adds of a clip, without computing it: the processor's and the GPU's own LSTMs would not be counted."""
    with torch.device("meta"):
        return multiply_adds(make(), random_clips(1, size, torch.device("meta")))


def measure(name: str, make: Callable[[], VideoClassifier], batch: ClipBatch, repeats: int) -> FrameTime:
    """Times both ways, in float32."""
    assert batch.face is not None
    frames, device = batch.mask.numel(), batch.mask.device
    model = make().to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-5, momentum=0.9)

    def step() -> None:
        model.loss(model(batch), batch).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()

    model.train()
    training = seconds(step, device, repeats)
    model.eval()
    with torch.inference_mode():
        testing = seconds(lambda: model(batch), device, repeats)
    return FrameTime(
        name,
        count_parameters(model),
        counted(make, batch.face.shape[-1]) / FRAMES,
        training / frames,
        testing / frames,
    )


def attention_share(model: ECNNFSA, batch: ClipBatch, repeats: int) -> float:
    """Time of the attention by that of the backbone, in a forward pass."""
    assert batch.face is not None
    assert model.attention is not None
    face, attention, device = batch.face, model.attention.eval(), batch.mask.device
    model.eval()
    with torch.inference_mode():
        features = model.backbone(face)
        backbone = seconds(lambda: model.backbone(face), device, repeats)
        return seconds(lambda: attention(features, batch.mask), device, 10 * repeats) / backbone


def run(quick: bool = False) -> None:
    """Prints both models' figures, their ratios beside the paper's, and the attention's share."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    clips, size, width, repeats = (1, 32, 1 / 16, 1) if quick else (8 if device.type == "cuda" else 2, 224, 1.0, 3)
    batch = random_clips(clips, size, device)

    def cnn_lstm() -> CNNLSTM:
        return CNNLSTM(SEVEN, VGG16(width=width, hidden=64), hidden=(32, 32)) if quick else CNNLSTM(SEVEN)

    def ecnn_fsa() -> ECNNFSA:
        channels = 64 if quick else 1024
        return ECNNFSA(SEVEN, EnhancedVGG(width=width, output=channels, branch_output=channels, added=channels))

    theirs, ours = measure("CNN-LSTM", cnn_lstm, batch, repeats), measure("ECNN-FSA", ecnn_fsa, batch, repeats)
    where = torch.cuda.get_device_name() if device.type == "cuda" else f"CPU, {torch.get_num_threads()} threads"
    table = Table(title=f"one frame of {size}², clips of {FRAMES}, batch {clips}, float32, {where}")
    for column in ("", "parameters", "multiply-adds", "training", "testing", "paper: training", "testing"):
        table.add_column(column, justify="right" if column else "left")
    for time_, (_, training, testing) in zip((ours, theirs), PAPER, strict=True):
        table.add_row(
            time_.name, f"{time_.parameters / 1e6:.1f} M", f"{time_.multiply_adds / 1e9:.3f} G",
            f"{1000 * time_.training:.2f} ms", f"{1000 * time_.testing:.2f} ms", f"{training} ms", f"{testing} ms",
        )  # fmt: skip
    table.add_row(
        "CNN-LSTM / ECNN-FSA", f"{theirs.parameters / ours.parameters:.2f}",
        f"{theirs.multiply_adds / ours.multiply_adds:.2f}", f"{theirs.training / ours.training:.2f}",
        f"{theirs.testing / ours.testing:.2f}", f"{PAPER[1][1] / PAPER[0][1]:.2f}", f"{PAPER[1][2] / PAPER[0][2]:.2f}",
    )  # fmt: skip
    Console(width=120).print(table)
    share = attention_share(ecnn_fsa().to(device), batch, repeats)
    print(f"the attention takes {100 * share:.2f} % of the backbone's time{' (at toy size)' if quick else ''}")
    print(WHY)
