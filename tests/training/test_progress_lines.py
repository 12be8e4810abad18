"""The line that a training prints for each epoch where no progress bar can be drawn."""

import re

import pytest

from data_modules.loading.clip_dataset import ClipDataset
from fer_lightning.training.callbacks import DataWait, ProgressLines
from tests.small_runs import made_data
from tests.training.test_classifier import FixedLogits, trainer


def test_each_epoch_is_a_line_with_the_declared_metrics(capsys):
    run = trainer(use_distributed_sampler=False, epochs=2, callbacks=[DataWait(), ProgressLines()])
    run.fit(FixedLogits(), made_data())
    lines = [line for line in capsys.readouterr().out.splitlines() if line.startswith("epoch ")]
    assert [line.split("  ")[0] for line in lines] == ["epoch 1/2", "epoch 2/2"]
    names = ("train/loss", "train/war", "train/uar", "inner/loss", "inner/war", "inner/uar", "train/data_wait")
    for line in lines:
        assert re.findall(r"(\S+/\S+) \d+\.\d{3}", line) == list(names)
    assert lines[0].endswith(", about 1 min left")
    assert "left" not in lines[1]
    logged = run.callback_metrics
    for name in names:
        assert f"{name} {float(logged[name]):.3f}" in lines[-1]


def test_a_second_training_does_not_print_an_epoch_of_the_first(capsys):
    lines, model = ProgressLines(), FixedLogits()
    for _ in range(2):
        trainer(use_distributed_sampler=False, callbacks=[lines]).fit(model, made_data())
    printed = [line.split("  ")[0] for line in capsys.readouterr().out.splitlines() if line.startswith("epoch ")]
    assert printed == ["epoch 1/1", "epoch 1/1"]


class Clock:
    """Each step takes ten minutes."""

    def __init__(self) -> None:
        self.now = 0.0

    def perf_counter(self) -> float:
        return self.now


class Slow(FixedLogits):
    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock

    def training_step(self, batch, batch_idx):
        self.clock.now += 600
        return super().training_step(batch, batch_idx)


def test_the_share_of_waiting_is_the_loaders_and_that_of_the_first_batch_is_not_counted(monkeypatch):
    """By hand: a batch takes half an hour to load and ten minutes to train on, and nothing else takes time."""
    clock, wait, load = Clock(), DataWait(), ClipDataset.load

    def slowly(data, items):
        clock.now += 1800
        return load(data, items)

    for module in ("fer_lightning.training.callbacks", "data_modules.loading.clip_loader"):
        monkeypatch.setattr(f"{module}.time", clock)
    monkeypatch.setattr(ClipDataset, "__getitems__", slowly)
    run = trainer(use_distributed_sampler=False, epochs=2, callbacks=[wait])
    run.fit(Slow(clock), made_data())
    steps = run.num_training_batches
    assert steps >= 2
    assert (wait.waited, wait.elapsed) == (1800 * (steps - 1), 2400 * (steps - 1))
    assert run.callback_metrics["train/data_wait"] == pytest.approx(0.75)


def test_long_epochs_have_lines_within_them_with_the_time_left(monkeypatch, capsys):
    """By hand: of three epochs of n steps, each step takes ten minutes, and every second one is told."""
    clock, lines = Clock(), ProgressLines(every=1000)
    monkeypatch.setattr("fer_lightning.training.callbacks.time", clock)
    run = trainer(use_distributed_sampler=False, epochs=3, callbacks=[lines])
    run.fit(Slow(clock), made_data())
    steps = run.num_training_batches
    said = capsys.readouterr().out.splitlines()
    within = [line for line in said if line.startswith("epoch 1/3, step")]
    assert steps >= 2
    assert [line.split(", ")[1] for line in within] == [f"step {step} of {steps}" for step in range(2, steps + 1, 2)]
    for step, line in zip(range(2, steps + 1, 2), within, strict=True):
        minutes = 10 * (3 * steps - step)
        assert line.endswith(f"about {minutes / 60:.1f} h left" if minutes >= 90 else f"about {minutes} min left")
