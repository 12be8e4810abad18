"""Workers that hang or die, and too little shared memory, end the program with one message."""

import os
import signal
from types import SimpleNamespace

import pytest
import torch
from torch.utils.data import _utils

from data_modules.loading import clip_loader
from data_modules.loading.clip_loader import WorkerError
from data_modules.loading.datamodule import VideoDataModule
from data_modules.sampling import RandomSampler, SubvideoSampler
from fer_lightning import VideoClassifier
from fer_lightning.cli.main import main
from tests.small_runs import MadeFaces, made_data
from tests.training.test_resuming import COMMAND

CROPS = 4 * 3 * 32 * 32  # bytes of the uint8 crops of a clip: two times two frames
OTHERS = 4 * (1 + 8 + 4) + 8  # bytes of the mask, number and intensity of each frame, and of the label
NEEDED = 2 * 2 * 4 * (CROPS + OTHERS)  # two batches of four clips from each of two workers


@pytest.fixture
def impatient(monkeypatch):
    """Shorten the time, in seconds, that torch waits twice for each worker to end."""
    monkeypatch.setattr(_utils, "MP_STATUS_CHECK_INTERVAL", 0.2)


def test_a_training_whose_worker_is_stopped_ends_with_one_message(monkeypatch, impatient, capsys):
    step, stopped = VideoClassifier.training_step, []

    def training_step(self, batch, batch_idx):
        if self.current_epoch == 1 and not stopped:
            stopped.extend(self.trainer.train_dataloader._iterator._workers)
            os.kill(stopped[0].pid, signal.SIGSTOP)
        return step(self, batch, batch_idx)

    monkeypatch.setattr(VideoClassifier, "training_step", training_step)
    command = [*COMMAND, "--data.num_workers", "2", "--data.worker_timeout", "5", "--data.batch_size", "2"]
    assert main(command) == 2
    assert stopped
    message = capsys.readouterr().err.strip()
    assert len(message.splitlines()) == 1
    assert "the worker processes (2) that load the train split sent no batch for 5 s" in message
    for part in ("--data.num_workers 0", "raise --data.worker_timeout"):
        assert part in message
    for worker in stopped:
        worker.join(5)
        assert not worker.is_alive()


def test_a_killed_worker_is_an_error_that_says_what_to_do(monkeypatch):
    """The system kills processes like this when memory runs out."""
    loader = made_data(num_workers=1).train_dataloader()
    monkeypatch.setattr(loader.dataset.store, "open", lambda clip: os.kill(os.getpid(), signal.SIGKILL))
    with pytest.raises(WorkerError, match=r"load the train split failed: DataLoader worker \(pid.*num_workers 0"):
        next(iter(loader))


def test_other_errors_of_a_worker_stay_what_they_are(monkeypatch):
    data = made_data(num_workers=1)
    loader = data.train_dataloader()
    monkeypatch.setattr(loader.dataset.store, "open", lambda clip: torch.zeros(2) @ torch.zeros(3))
    with pytest.raises(RuntimeError, match="inconsistent tensor size"):
        next(iter(loader))


def test_only_workers_have_a_timeout():
    assert made_data(num_workers=0).train_dataloader().timeout == 0
    assert made_data(num_workers=1).train_dataloader().timeout == 300
    with pytest.raises(ValueError, match=r"worker_timeout = 0: expected a number of seconds above 0"):
        VideoDataModule(MadeFaces(), SubvideoSampler(), worker_timeout=0)


@pytest.mark.parametrize("split", ["train_dataloader", "val_dataloader", "fitting_dataloader"])
def test_too_little_shared_memory_is_refused_before_training(monkeypatch, split):
    data = made_data(num_workers=2)
    monkeypatch.setattr(clip_loader, "free_shared_memory", lambda: NEEDED)
    getattr(data, split)()
    monkeypatch.setattr(clip_loader, "free_shared_memory", lambda: NEEDED - 1)
    with pytest.raises(WorkerError, match=r"2 worker processes need about 0\.2 MiB .* 0\.2 MiB free; .*num_workers 0"):
        getattr(data, split)()
    data.num_workers = 0
    getattr(data, split)()
    data.num_workers = 2
    monkeypatch.setattr(clip_loader, "free_shared_memory", lambda: None)  # as on macOS
    getattr(data, split)()


def test_all_processes_of_a_machine_share_its_memory(monkeypatch):
    data = made_data(num_workers=1, batch_size=16)  # four for each process
    devices = {"world_size": 4, "num_devices": 2, "global_rank": 0, "accumulate_grad_batches": 1}
    data.trainer = SimpleNamespace(lightning_module=SimpleNamespace(inputs=frozenset({"face"})), **devices)
    monkeypatch.setattr(clip_loader, "free_shared_memory", lambda: NEEDED - 1)
    with pytest.raises(WorkerError, match="2 worker processes"):
        data.fitting_dataloader()
    monkeypatch.setattr(clip_loader, "free_shared_memory", lambda: NEEDED)
    data.fitting_dataloader()


def test_all_views_of_an_evaluation_count(monkeypatch):
    data = made_data(num_workers=2, sampler=RandomSampler(frames=4, eval_views=3))
    monkeypatch.setattr(clip_loader, "free_shared_memory", lambda: NEEDED)
    data.train_dataloader()
    with pytest.raises(WorkerError):
        data.val_dataloader()


def test_a_training_without_shared_memory_ends_with_a_message(monkeypatch, capsys):
    monkeypatch.setattr(clip_loader, "free_shared_memory", lambda: 100)
    assert main([*COMMAND, "--data.num_workers", "2"]) == 2
    message = capsys.readouterr().err
    assert "/dev/shm has 0.0 MiB free" in message
    assert "Traceback" not in message


def test_a_worker_moves_its_batch_into_shared_memory_itself():
    """Without space it then raises an error; torch's thread would not, and training would wait forever."""

    def collate(loaded):
        assert loaded.face.is_shared(), "the pictures are written there"
        batch = clip_loader.share_batch(loaded)
        assert all(tensor.is_shared() for tensor in (batch.face, batch.mask, batch.label))
        return batch

    data = made_data(num_workers=1)
    loader = data.loader(data.clip_dataset("train"), batches=[[0, 1]])
    loader.collate_fn = collate
    assert len(next(iter(loader))) == 2
    assert not next(iter(made_data(num_workers=0).train_dataloader())).face.is_shared()
