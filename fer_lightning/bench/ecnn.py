"""Time per frame of ECNN-FSA against CNN-LSTM (table 8 of its paper), and the share of the attention."""

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
from fer_lightning.training.cost import count_parameters, hardware_name, median_seconds, multiply_adds
from fer_lightning.training.random_batch import random_batch

FRAMES = 5  # n, section 2.1
EXPLANATION = """The paper measured on a GPU. There, the time of a small batch is probably that of reading and, in
training, updating the weights, of which CNN-LSTM has three times as many, and of the successive steps of its
LSTMs. On a CPU, the time is that of multiply-adds, of which the added convolutions of ECNN need more."""
PAPER = (("ECNN-FSA", 21.25, 5.57), ("CNN-LSTM", 40.34, 8.26))  # ms in training and testing, table 8


@dataclass(frozen=True)
class FrameTime:
    """The cost of a model per frame."""

    name: str
    parameters: int
    multiply_adds: float
    training: float  # seconds, forward, backward and SGD
    testing: float  # seconds


def count_multiply_adds(make: Callable[[], VideoClassifier], size: int) -> int:
    """Counts the multiply-adds of a clip on the meta device: fused LSTMs of a CPU or GPU would not be counted."""
    batch = random_batch(clips=1, frames=FRAMES, size=size).to(torch.device("meta"))
    with torch.device("meta"):
        return multiply_adds(make(), batch)


def measure(name: str, make: Callable[[], VideoClassifier], batch: ClipBatch, size: int, repeats: int) -> FrameTime:
    """Measures training and testing in float32.

    Args:
        name: of the model.
        make: builds the model.
        batch: of clips.
        size: side of their frames in pixels.
        repeats: how often to measure.
    """
    frames, device = batch.mask.numel(), batch.mask.device
    model = make().to(device)
    optimizer = torch.optim.SGD(model.parameters(), lr=1e-5, momentum=0.9)

    def step() -> None:
        model.loss(model(batch), batch).backward()  # type: ignore[no-untyped-call]
        optimizer.step()
        optimizer.zero_grad()

    model.train()
    training = median_seconds(step, device, repeats)
    model.eval()
    with torch.inference_mode():
        testing = median_seconds(lambda: model(batch), device, repeats)
    return FrameTime(
        name,
        count_parameters(model),
        count_multiply_adds(make, size) / FRAMES,
        training / frames,
        testing / frames,
    )


def attention_share(model: ECNNFSA, batch: ClipBatch, repeats: int) -> float:
    """Returns the time of the attention divided by that of the backbone, in a forward pass."""
    assert batch.face is not None
    assert model.attention is not None
    face, attention, device = batch.face, model.attention.eval(), batch.mask.device
    model.eval()
    with torch.inference_mode():
        features = model.backbone(face)
        backbone = median_seconds(lambda: model.backbone(face), device, repeats)
        return median_seconds(lambda: attention(features, batch.mask), device, 10 * repeats) / backbone


def run(quick: bool = False) -> None:
    """Prints the cost of both models, their ratios beside those of the paper, and the share of the attention."""
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    clips, size, width, repeats = (1, 32, 1 / 16, 1) if quick else (8 if device.type == "cuda" else 2, 224, 1.0, 3)
    batch = random_batch(clips=clips, frames=FRAMES, size=size).to(device)

    def cnn_lstm() -> CNNLSTM:
        return CNNLSTM(SEVEN, VGG16(width=width, hidden=64), hidden=(32, 32)) if quick else CNNLSTM(SEVEN)

    def ecnn_fsa() -> ECNNFSA:
        channels = 64 if quick else 1024
        return ECNNFSA(SEVEN, EnhancedVGG(width=width, output=channels, branch_output=channels, added=channels))

    lstm = measure("CNN-LSTM", cnn_lstm, batch, size, repeats)
    ecnn = measure("ECNN-FSA", ecnn_fsa, batch, size, repeats)
    table = Table(title=f"one frame of {size}², clips of {FRAMES}, batch {clips}, float32, {hardware_name(device)}")
    for column in ("", "parameters", "multiply-adds", "training", "testing", "paper: training", "testing"):
        table.add_column(column, justify="right" if column else "left")
    for cost, (_, training, testing) in zip((ecnn, lstm), PAPER, strict=True):
        table.add_row(
            cost.name, f"{cost.parameters / 1e6:.1f} M", f"{cost.multiply_adds / 1e9:.3f} G",
            f"{1000 * cost.training:.2f} ms", f"{1000 * cost.testing:.2f} ms", f"{training} ms", f"{testing} ms",
        )  # fmt: skip
    table.add_row(
        "CNN-LSTM / ECNN-FSA", f"{lstm.parameters / ecnn.parameters:.2f}",
        f"{lstm.multiply_adds / ecnn.multiply_adds:.2f}", f"{lstm.training / ecnn.training:.2f}",
        f"{lstm.testing / ecnn.testing:.2f}", f"{PAPER[1][1] / PAPER[0][1]:.2f}", f"{PAPER[1][2] / PAPER[0][2]:.2f}",
    )  # fmt: skip
    Console(width=120).print(table)
    share = attention_share(ecnn_fsa().to(device), batch, repeats)
    print(f"the attention takes {100 * share:.2f} % of the backbone's time{' (at toy size)' if quick else ''}")
    print(EXPLANATION)
