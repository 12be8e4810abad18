"""What depends on the device: steps of all systems, mixed precision, resuming, determinism, MTCNN, DDP."""

from functools import partial

import numpy as np
import pytest
import torch
from pytorch_lightning import Callback, Trainer, seed_everything
from pytorch_lightning.callbacks import ModelCheckpoint

from data_modules.faces.errors import DetectorNotFoundError
from data_modules.faces.factory import make_detector
from data_modules.labels import SEVEN
from data_modules.loading.transforms import ClipAugmentation
from data_modules.synthetic.clip import ClipSettings, render_clip
from fer_lightning.architectures.ceflnet import CEFLNet
from fer_lightning.bench.system_step import FIRST, build, make_optimizer, trained_systems
from fer_lightning.layers.backbones import FrameBackbone
from fer_lightning.training.callbacks import EpochSeed
from tests.small_runs import made_data

pytestmark = pytest.mark.gpu
SYSTEMS = [name if name in FIRST else pytest.param(name, marks=pytest.mark.slow) for name in trained_systems()]
CPU = torch.device("cpu")


@pytest.mark.parametrize("system", SYSTEMS)
def test_a_system_computes_what_it_does_on_the_processor_and_learns(system, device):
    seed_everything(0, verbose=False)
    model, batch = build(system, "small", CPU, clips=2)
    if model.optimizer is None:
        pytest.skip("nothing in it is trained by gradients, and what it is fitted to is not here")
    with torch.no_grad():
        expected = model.eval()(batch).logits
        model, batch = model.to(device), batch.to(device)
        torch.testing.assert_close(model(batch).logits.cpu(), expected, rtol=1e-3, atol=1e-3)
    model.train()
    optimizer = make_optimizer(model, system)
    trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    before = {name: weight.detach().clone() for name, weight in trained.items()}
    loss = model.loss(model(batch), batch)
    loss.backward()
    optimizer.step()
    assert torch.isfinite(loss)
    moved = [name for name, weight in trained.items() if not torch.equal(weight, before[name])]
    assert len(moved) > len(trained) / 2
    assert all(torch.isfinite(weight).all() for weight in trained.values())


def model() -> CEFLNet:
    seed_everything(1, verbose=False)
    backbone = FrameBackbone("resnet10t", channels=[8, 8, 16, 16])
    return CEFLNet(SEVEN, backbone, num_clips=2, optimizer=partial(torch.optim.Adam, lr=1e-3))


def trainer(device: torch.device, tmp_path, epochs: int, *callbacks: Callback, **options) -> Trainer:
    settings = {"precision": "32-true", "devices": 1, "deterministic": "warn", "logger": False}
    settings |= {"use_distributed_sampler": False}  # the data module shards
    settings |= {"enable_progress_bar": False, "enable_model_summary": False, "default_root_dir": tmp_path}
    accelerator = "gpu" if device.type == "cuda" else "cpu"
    settings |= {"callbacks": [EpochSeed(1), *callbacks], "max_epochs": epochs}
    return Trainer(accelerator=accelerator, **(settings | options))


class Losses(Callback):
    """Keeps the loss of every step, and what else a test looks at while there is a training."""

    def __init__(self) -> None:
        self.values: list[float] = []
        self.autocast = self.backend = None

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.values.append(outputs["loss"].item())

    def on_train_start(self, trainer, pl_module):
        if torch.distributed.is_initialized():
            self.backend = torch.distributed.get_backend()

    def on_before_backward(self, trainer, pl_module, loss):
        self.device = loss.device.type


def train(device, tmp_path, epochs=2, resumed=None, callbacks=(), **options) -> tuple[CEFLNet, Losses]:
    losses, network = Losses(), model()
    trainer(device, tmp_path, epochs, losses, *callbacks, **options).fit(network, made_data(), ckpt_path=resumed)
    assert losses.device == device.type
    assert np.isfinite(losses.values).all()
    return network.cpu(), losses


def close(ours: CEFLNet, theirs: CEFLNet, tolerance: float):
    for (name, found), (_, expected) in zip(ours.named_parameters(), theirs.named_parameters(), strict=True):
        torch.testing.assert_close(found, expected, rtol=tolerance, atol=tolerance, msg=name)


def test_two_trainings_with_one_seed_are_the_same(device, tmp_path):
    (first, losses), (second, again) = train(device, tmp_path, 1), train(device, tmp_path, 1)
    assert losses.values == pytest.approx(again.values, abs=1e-5)
    close(first, second, 1e-4)


@pytest.mark.slow
def test_a_resumed_training_ends_where_an_unbroken_one_does(device, tmp_path):
    unbroken, losses = train(device, tmp_path)
    kept = ModelCheckpoint(tmp_path, "kept", save_top_k=-1)
    train(device, tmp_path, 1, callbacks=[kept])
    resumed, rest = train(device, tmp_path, resumed=tmp_path / "kept.ckpt")
    assert len(rest.values) == len(losses.values) // 2
    assert rest.values == pytest.approx(losses.values[len(rest.values) :], abs=1e-3)
    close(resumed, unbroken, 1e-3)


@pytest.mark.parametrize("precision", ["bf16-mixed", "16-mixed"])
def test_mixed_precision_keeps_weights_in_fp32_and_learns_nearly_the_same(device, tmp_path, precision):
    if device.type == "cpu" and precision == "16-mixed":
        pytest.skip("Lightning has no fp16 on the processor")
    network, losses = train(device, tmp_path, 1, precision=precision)
    _, expected = train(device, tmp_path, 1)
    assert {weight.dtype for weight in network.parameters()} == {torch.float32}
    assert losses.values != expected.values
    assert np.mean(losses.values) == pytest.approx(np.mean(expected.values), rel=0.1)


def test_one_process_of_ddp_trains_as_none_does(device, tmp_path):
    backend = "nccl" if device.type == "cuda" else "gloo"
    network, losses = train(device, tmp_path, 1, strategy="ddp")
    assert losses.backend == backend
    torch.distributed.destroy_process_group()
    alone, expected = train(device, tmp_path, 1)
    assert losses.values == pytest.approx(expected.values, abs=1e-4)
    close(network, alone, 1e-3)


@pytest.mark.parametrize("size", [64, 36])
def test_the_device_augments_crops_as_the_workers_do(device, size):
    """Stored at 48 pixels; within 2 of 255, as OpenCV interpolates with integers."""
    augmentation = ClipAugmentation(rotation=25, scale=0.2, translation=0.1, brightness=0.3, contrast=0.3)
    ours, theirs = (
        next(iter(made_data(size=size, augmentation=augmentation, transform_on=place).train_dataloader())).to(device)
        for place in ("device", "workers")
    )
    assert ours.face.device.type == device.type
    difference = (ours.face.int() - theirs.face.int()).abs()
    assert difference.max() <= 2
    assert difference.float().mean() < 0.2


def test_mtcnn_finds_on_the_device_what_it_finds_on_the_processor(device):
    frames = list(render_clip(ClipSettings("lab", 1, "happiness")).frames[:4])
    try:
        found, expected = (make_detector("mtcnn", str(each)).detect(frames) for each in (device, CPU))
    except DetectorNotFoundError as error:
        pytest.skip(str(error))
    assert all(len(faces) == 1 for faces in expected)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours[0].box, theirs[0].box, atol=1.0)
        np.testing.assert_allclose(ours[0].points, theirs[0].points, atol=1.0)
