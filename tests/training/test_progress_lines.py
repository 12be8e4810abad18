"""The line that a training prints for each epoch where no progress bar can be drawn."""

import re

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
    logged = run.callback_metrics
    for name in names:
        assert f"{name} {float(logged[name]):.3f}" in lines[-1]


def test_a_second_training_does_not_print_an_epoch_of_the_first(capsys):
    lines, model = ProgressLines(), FixedLogits()
    for _ in range(2):
        trainer(use_distributed_sampler=False, callbacks=[lines]).fit(model, made_data())
    printed = [line.split("  ")[0] for line in capsys.readouterr().out.splitlines() if line.startswith("epoch ")]
    assert printed == ["epoch 1/1", "epoch 1/1"]
