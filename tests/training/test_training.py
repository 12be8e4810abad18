"""Training through the command line, in this process: what a run leaves, and that a broken one goes on."""

import csv
import json
import math
import multiprocessing
import os
import shutil
import signal
from pathlib import Path

import numpy as np
import pytest
import pytorch_lightning as L
import torch
import yaml
from sklearn.metrics import log_loss

from data_modules.utils.files import atomic_file
from fer_lightning import CEFLNet, VideoClassifier
from fer_lightning.cli.main import main
from fer_lightning.evaluation.clip_outputs import ClipOutputs
from fer_lightning.evaluation.metrics import WAR
from fer_lightning.evaluation.other_epochs import conclude_watching, other_epochs_line, read_other_epochs
from fer_lightning.evaluation.predictions import PredictionTable
from fer_lightning.experiments import fit
from fer_lightning.experiments.inflation import read_training
from fer_lightning.experiments.lightning_cli import FerCLI
from fer_lightning.experiments.request import ExperimentRequest
from fer_lightning.runs.folder import RunFolder
from fer_lightning.training.calibration import UnknownTemperatureError, calibration_of
from fer_lightning.training.checkpoints import AtomicCheckpointIO, RunCheckpoint
from fer_lightning.training.loading import load_trained
from tests.fakes import write_dfew
from tests.small_runs import TINY, at_step, experiment, read_rows, table_epochs

CURVES = ("train/loss", "train/war", "train/uar", "inner/loss", "inner/war", "inner/uar")


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    """DFEW in small with its faces, and a finished run of two epochs; nobody writes into either."""
    folder = tmp_path_factory.mktemp("shared")
    write_dfew(folder / "data", train=28, test=9)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FER_DATA", str(folder / "data"))
        patch.setenv("FER_RUNS", str(folder / "runs"))
        assert main(experiment("--trainer.max_epochs", "2")) == 0
    return folder


@pytest.fixture
def data(shared, monkeypatch):
    """The shared data; runs go into the test's own folder."""
    monkeypatch.setenv("FER_DATA", str(shared / "data"))


@pytest.fixture
def no_report(monkeypatch):
    """Leaves the report's figures out: they take longer than these trainings."""

    def written(run):
        with atomic_file(run.report) as temporary:
            temporary.write_text("report")
        return run.report

    monkeypatch.setattr(fit, "write_report", written)


@pytest.fixture
def steps(monkeypatch):
    """(epoch, batch) of every training step that is made."""
    made = []
    step = VideoClassifier.training_step

    def training_step(self, batch, batch_idx):
        made.append((self.current_epoch, batch_idx))
        return step(self, batch, batch_idx)

    monkeypatch.setattr(VideoClassifier, "training_step", training_step)
    return made


def finished(shared) -> Path:
    return shared / "runs" / "ceflnet_dfew" / "1-0"


def own_run(name="ceflnet_dfew") -> RunFolder:
    return RunFolder(Path(os.environ["FER_RUNS"], name, "1-0"))


def checkpoint(path):
    return torch.load(path, weights_only=True, map_location="cpu")


def fitted(*arguments):
    """A fit alone, without evaluation and report."""
    cli = FerCLI(ExperimentRequest("ceflnet_dfew", arguments=(*TINY, *arguments)).command_line(), run=False)
    cli.trainer.fit(cli.model, cli.datamodule)
    return cli


def test_a_run_is_complete(shared):
    run = RunFolder(finished(shared))
    for name in ("config.yaml", "metrics.csv", "run.json", "wandb_id.txt", "report/index.html"):
        assert (run.path / name).stat().st_size > 0, name
    assert {path.name for path in run.checkpoints.iterdir()} == {"best.ckpt", "last.ckpt"}
    info = run.read_info()
    assert (info.experiment, info.model, info.dataset, info.selection) == ("ceflnet_dfew", "CEFLNet", "dfew", "inner")
    assert info.epoch == checkpoint(run.checkpoints / "best.ckpt")["epoch"]
    for column in CURVES:
        assert table_epochs(read_rows(run.path), column).keys() == {0, 1}
    rates = table_epochs(read_rows(run.path), "lr")
    assert rates == pytest.approx({0: 1e-4, 1: 1e-4 * (1 + math.cos(math.pi / 9)) / 2}), "of the epoch, not the next"
    inner = table_epochs(read_rows(run.path), "inner/war")
    assert info.epoch == max(inner, key=inner.get)
    assert not list(run.path.rglob(".*"))  # no temporary file is left


def test_both_tables_have_a_row_for_every_clip_of_their_split(shared):
    run = RunFolder(finished(shared))
    tables = {split: PredictionTable.read(run.predictions(split)) for split in ("inner", "test")}
    assert tables["test"].clip_id.tolist() == [f"{number:05d}" for number in range(29, 38)]
    assert set(tables["inner"].clip_id.tolist()) <= {f"{number:05d}" for number in range(1, 29)}
    for split, table in tables.items():
        assert set(table.split.tolist()) == {split}
        outputs = ClipOutputs.read(run.outputs(split))
        assert list(outputs.clip_id) == table.clip_id[~table.missing].tolist()
    row = read_rows(run.path)[-1]
    assert float(row["test/war"]) == pytest.approx(tables["test"].correct.mean())
    assert float(row["chosen/war"]) == pytest.approx(tables["inner"].correct.mean())


def test_why_a_small_run_is_not_calibrated(shared):
    """Its inner split has too few clips; how well calibrated it is without a temperature is reported all the same."""
    run, row = RunFolder(finished(shared)), read_rows(finished(shared))[-1]
    table, inner = (PredictionTable.read(run.predictions(split)) for split in ("test", "inner"))
    content = json.loads((run.path / "calibration.json").read_text())
    assert content["temperature"] is None
    assert f"the inner split has {len(inner)} clips with a prediction, expected 30" in content["problem"]
    assert content["problem"] in Path(run.report).read_text()
    p, label = table.probabilities[~table.missing], table.label[~table.missing]
    loss = log_loss(label, p / p.sum(axis=1, keepdims=True), labels=range(len(table.class_names)))
    assert float(row["test/nll"]) == content["measures"]["test"]["nll"] == pytest.approx(loss)
    assert "test/nll_calibrated" not in row


def test_a_checkpoint_alone_knows_its_calibration(shared, tmp_path):
    """Taken out of its run, it says the same as there."""
    run = RunFolder(finished(shared))
    content = json.loads((run.path / "calibration.json").read_text())
    alone = shutil.copy(run.checkpoints / "best.ckpt", tmp_path / "model.ckpt")
    calibration = load_trained(Path(alone)).calibration
    assert (calibration.problem, calibration.temperature) == (content["problem"], None)
    assert calibration.inner.confidence.tolist() == content["inner"]["confidence"]
    with pytest.raises(UnknownTemperatureError, match="the inner split has"):
        calibration_of(load_trained(Path(alone)))


def test_a_clip_that_cannot_be_read_is_a_row_with_its_reason(data, no_report):
    """Everything is trained on, and the training data is the inner table; the broken clip is in it."""
    assert main(experiment("--data.selection", "last", "--trainer.max_epochs", "1")) == 0
    run = own_run()
    table = PredictionTable.read(run.predictions("inner"))
    assert len(table) == 28
    assert table.clip_id[table.missing].tolist() == ["00028"]
    assert "none of which can be read" in table.reason[table.missing][0]
    assert table.predicted[table.missing].tolist() == ["none"]
    row = read_rows(run.path)[-1]
    assert float(row["chosen/war"]) == pytest.approx(table.correct.mean())
    assert not table.correct[table.missing].any()
    assert {path.name for path in run.checkpoints.iterdir()} == {"last.ckpt"}  # nothing is chosen
    assert run.read_info().selection == "last"
    assert not any(column.startswith("inner/") for column in read_rows(run.path)[0])


def test_a_watched_split_chooses_and_changes_nothing(shared, data, no_report):
    """Its curve is there beside the same training, bit for bit, and agrees with the evaluation of the chosen epoch."""
    assert main(experiment("--data.watch_test", "false", "--trainer.max_epochs", "2")) == 0
    run, plain = RunFolder(finished(shared)), own_run()
    weights, expected = (checkpoint(each.checkpoints / "last.ckpt")["state_dict"] for each in (run, plain))
    assert all(torch.equal(weights[key], expected[key]) for key in expected)
    watched = table_epochs(watched_rows(run), "watched/war")
    assert watched.keys() == {0, 1}
    table = PredictionTable.read(run.predictions("test"))
    assert watched[run.read_info().epoch] == pytest.approx(table.correct.mean())
    for column in ("inner/war", "inner/loss", "train/loss"):
        assert table_epochs(read_rows(run.path), column) == table_epochs(read_rows(plain.path), column)
    assert not plain.watched_curves.exists()
    assert other_epochs_line(plain) == ""


def watched_rows(run: RunFolder) -> list[dict[str, str]]:
    with run.watched_curves.open(newline="") as file:
        return list(csv.DictReader(file))


def test_one_training_tells_what_other_epochs_give(shared, capsys):
    run = RunFolder(finished(shared))
    others = read_other_epochs(run)
    watched = table_epochs(watched_rows(run), "watched/war")
    best = max(watched, key=watched.get)
    assert (others.last.number, others.best.number, others.count) == (1, best, 2)
    assert others.last.table.correct.mean() == pytest.approx(watched[1])
    assert others.best.table.correct.mean() == pytest.approx(watched[best])
    rise = others.best.table.correct.mean() - PredictionTable.read(run.predictions("test")).correct.mean()
    assert others.inflation[WAR].value == pytest.approx(rise)
    assert not run.watched_epochs.exists()
    line = f"best on test (epoch {best + 1}) {watched[best]:.3f}; inflation {rise:+.3f}"
    assert main(["compare", str(run.path), str(run.path)]) == 0
    assert capsys.readouterr().out.count(line) == 1, "a run is described once"
    page = run.report.read_text()
    assert "Choice of the epoch" in page
    assert "Inflation by choosing the epoch on the reported split" in page


def test_the_inflation_of_runs_is_measured_without_training(shared, tmp_path, capsys):
    """That of all epochs and clips is the one of the run; after one epoch there is no other one to choose."""
    run = RunFolder(finished(shared))
    trained = read_training(run)
    assert trained.reported.tolist() == [0, run.read_info().epoch]
    table = PredictionTable.read(run.predictions("test"))
    watched = table_epochs(watched_rows(run), "watched/war")
    assert (trained.correct.sum(axis=1) / len(table)).tolist() == pytest.approx([watched[0], watched[1]])
    out = tmp_path / "inflation.csv"
    assert main(["inflation", str(run.path), "--epochs", "1", "2", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert "ceflnet_dfew: 1 epochs, 9 people (9 clips): inflation +0.000, 1 trainings" in said
    rise = read_other_epochs(run).inflation[WAR].value
    assert f"ceflnet_dfew: 2 epochs, 9 people (9 clips): inflation {rise:+.3f}, 1 trainings" in said
    with out.open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [float(row["inflation"]) for row in rows] == pytest.approx([0, rise], abs=1e-4)
    assert [row["low"] for row in rows] == ["", ""], "a single training"


def test_runs_whose_inflation_cannot_be_measured_are_named(shared, data, no_report, capsys):
    assert main(experiment("--data.watch_test", "false", "--trainer.max_epochs", "1")) == 0
    assert main(["inflation", str(own_run().path)]) == 2
    assert "was trained without --data.watch_test, or by an earlier version" in capsys.readouterr().err
    shutil.copytree(finished(shared), own_run("copied").path)
    own_run("copied").watched_choices.write_bytes(b"broken")
    assert main(["inflation", str(own_run("copied").path)]) == 2
    assert "watched.npy is damaged" in capsys.readouterr().err


def test_the_report_says_what_the_order_of_the_frames_is_worth(shared, data, no_report):
    run = RunFolder(finished(shared))
    page = run.report.read_text()
    assert "Is it temporal?" in page
    assert "clip reversed" in page
    assert "all frames the apex" not in page, "nobody knows it in DFEW"
    chosen, reversed_ = (PredictionTable.read(run.predictions(name)) for name in ("test", "test_reversed"))
    assert reversed_.clip_id.tolist() == chosen.clip_id.tolist()
    assert main(experiment("--experiment.temporal", "false", "--trainer.max_epochs", "1")) == 0
    assert not own_run().order_predictions("reversed").exists()


def test_what_is_watched_is_not_seen_before_the_epoch_is_chosen(data, no_report, monkeypatch):
    """While a run is trained, no value of the reported split is logged, and its arrays are not read."""
    seen, log, load = [], L.LightningModule.log, np.load

    def logged(self, name, *arguments, **options):
        if self.trainer.state.fn == "fit":
            seen.append(name)
        return log(self, name, *arguments, **options)

    def loaded(path, *arguments, **options):
        if Path(str(path)).parent.name == "watched":
            assert own_run().predictions("test").exists()
            seen.append("read")
        return load(path, *arguments, **options)

    monkeypatch.setattr(L.LightningModule, "log", logged)
    monkeypatch.setattr(np, "load", loaded)
    assert main(experiment("--trainer.max_epochs", "2")) == 0
    assert "inner/war" in seen
    assert not any(name.startswith(("test", "watched")) for name in seen)
    assert seen.count("read") == 2


def test_the_watched_split_cannot_be_monitored(data, no_report, capsys):
    assert main(experiment("--experiment.monitor", "watched/war", "--trainer.max_epochs", "1")) != 0
    assert "watched/war" in capsys.readouterr().err
    with pytest.raises(FileNotFoundError, match="no prediction table"):
        conclude_watching(own_run(), last=0)


def test_the_reported_split_can_be_watched_where_no_epoch_is_chosen(data, no_report):
    assert main(experiment("--data.selection", "last", "--trainer.max_epochs", "1")) == 0
    watched = table_epochs(watched_rows(own_run()), "watched/war")
    assert watched.keys() == {0}
    assert float(read_rows(own_run().path)[-1]["test/war"]) == pytest.approx(watched[0])


def test_an_epoch_chosen_on_the_reported_split_is_called_so(data, no_report, capsys):
    assert main(experiment("--data.selection", "best_on_test", "--trainer.max_epochs", "1")) == 0
    assert "best_on_test: the epoch was chosen on the very split" in capsys.readouterr().out
    run = own_run().path
    assert table_epochs(read_rows(run), "inner/best_on_test") == {0: 1.0}
    assert main(["compare", str(run), str(run)]) == 0
    assert capsys.readouterr().out.count("best_on_test: the epoch was chosen on these very clips") == 1
    tables = [PredictionTable.read(own_run().predictions(split)) for split in ("inner", "test")]
    assert tables[0].clip_id.tolist() == tables[1].clip_id.tolist()
    assert set(tables[0].split.tolist()) == {"test"}


def test_a_training_can_begin_where_another_run_ended(shared, monkeypatch, no_report, capsys):
    monkeypatch.setenv("FER_DATA", str(shared / "data"))
    begun = {}
    monkeypatch.setattr(
        VideoClassifier,
        "on_train_start",
        lambda self: begun.update({name: value.clone() for name, value in self.state_dict().items()}),
    )
    assert main(experiment("--model.init_args.start_from", str(finished(shared)), "--trainer.max_epochs", "1")) == 0
    ended = checkpoint(finished(shared) / "checkpoints" / "best.ckpt")["state_dict"]
    assert begun.keys() == ended.keys()
    assert all(torch.equal(begun[name], ended[name]) for name in ended)


def test_a_checkpoint_is_plain_values_and_says_what_made_it(shared):
    content = checkpoint(finished(shared) / "checkpoints" / "best.ckpt")
    own = content["fer_lightning"]
    assert own["class_names"] == ["anger", "disgust", "fear", "happiness", "neutral", "sadness", "surprise"]
    sampler = {"clips": 2, "frames": 2, "eval_views": 1, "eval_frames": "middle"}
    assert own["configuration"]["data"]["sampler"]["init_args"] == sampler
    assert own["configuration"]["data"]["size"] == 32

    def plain(value):
        if isinstance(value, dict):
            return all(isinstance(key, str) and plain(inner) for key, inner in value.items())
        if isinstance(value, list):
            return all(plain(inner) for inner in value)
        return value is None or type(value) in (str, int, float, bool)

    assert plain(own)
    saved = yaml.safe_load((finished(shared) / "config.yaml").read_text())
    assert saved == own["configuration"]


def test_a_finished_run_is_not_trained_again(shared, monkeypatch, capsys, steps):
    monkeypatch.setenv("FER_DATA", str(shared / "data"))
    monkeypatch.setenv("FER_RUNS", str(shared / "runs"))
    before = {path: path.stat().st_mtime_ns for path in finished(shared).rglob("*") if path.is_file()}
    assert main(experiment("--trainer.max_epochs", "2")) == 0
    said = capsys.readouterr().out
    assert "is finished" in said
    assert "WAR" in said
    assert steps == []
    assert before == {path: path.stat().st_mtime_ns for path in finished(shared).rglob("*") if path.is_file()}


def test_other_settings_are_listed_and_refused_but_not_machines(shared, monkeypatch, capsys):
    monkeypatch.setenv("FER_DATA", str(shared / "data"))
    monkeypatch.setenv("FER_RUNS", str(shared / "runs"))
    other = ("--trainer.max_epochs", "2", "--model.init_args.sal", "false", "--data.batch_size", "4")
    assert main(experiment(*other)) == 2
    said = capsys.readouterr().err
    for part in ("model.init_args.sal: True there, False now", "data.batch_size: 8 there, 4 now", "--name"):
        assert part in said
    assert "max_epochs" not in said
    machine = ("--trainer.max_epochs", "2", "--trainer.accumulate_grad_batches", "2", "--data.num_workers", "3")
    assert main(experiment(*machine)) == 0


def test_a_name_gives_a_folder_of_its_own(data, no_report):
    assert main(experiment("--name", "no_sal", "--model.init_args.sal", "false", "--trainer.max_epochs", "1")) == 0
    run = own_run("ceflnet_dfew.no_sal")
    assert run.finished
    assert run.read_info().experiment == "ceflnet_dfew.no_sal"
    assert not load_trained(run.path).model.sal


@pytest.mark.parametrize("how", ["val", "value"])
def test_gradients_are_clipped(data, monkeypatch, how):
    norms, highest = [], []
    step = torch.optim.Adam.step

    def spied(self, closure=None):
        loss = closure()
        gradients = [p.grad for group in self.param_groups for p in group["params"] if p.grad is not None]
        norms.append(float(torch.stack([gradient.norm() for gradient in gradients]).norm()))
        highest.append(max(float(gradient.abs().max()) for gradient in gradients))
        return step(self, lambda: loss)

    monkeypatch.setattr(torch.optim.Adam, "step", spied)
    limits = {"val": ("0.01", "norm"), "value": ("0.0001", "value")}[how]
    fitted(
        *("--trainer.gradient_clip_val", limits[0], "--trainer.gradient_clip_algorithm", limits[1]),
        *("--trainer.max_epochs", "1", "--trainer.limit_train_batches", "2"),
    )
    clipped = norms if how == "val" else highest
    assert len(clipped) == 2
    assert clipped == pytest.approx([float(limits[0])] * 2, rel=1e-3)


@pytest.mark.parametrize(
    ("precision", "expected"),
    [
        ("32-true", torch.float32),
        ("bf16-mixed", torch.bfloat16),
        ("16-mixed", torch.bfloat16),  # Lightning has no fp16 on CPUs and says that it takes bf16
    ],
)
def test_precision_is_a_switch(data, monkeypatch, precision, expected):
    seen = []
    forward = CEFLNet.forward

    def spied(self, batch):
        output = forward(self, batch)
        seen.append(output.logits.dtype)
        return output

    monkeypatch.setattr(CEFLNet, "forward", spied)
    fitted("--trainer.precision", precision, "--trainer.max_epochs", "1", "--trainer.limit_train_batches", "1")
    assert set(seen) == {expected}


STOPPING = (
    "--trainer.callbacks+",
    '{"class_path": "pytorch_lightning.callbacks.EarlyStopping", '
    '"init_args": {"monitor": "inner/loss", "patience": 2, "min_delta": 100}}',
)
PLATEAU = (
    "--model.init_args.scheduler",
    '{"class_path": "torch.optim.lr_scheduler.ReduceLROnPlateau", '
    '"init_args": {"patience": 0, "factor": 0.5, "threshold": 100, "threshold_mode": "abs"}}',
)
WITHOUT_SCHEDULE = tuple(
    argument
    for place, argument in enumerate(TINY)
    if "scheduler" not in argument and "scheduler" not in TINY[place - 1]
)


def test_early_stopping_and_a_plateau_watch_the_inner_split(data, no_report, steps):
    arguments = ["train", "ceflnet_dfew", *WITHOUT_SCHEDULE, *STOPPING, *PLATEAU, "--trainer.max_epochs", "9"]
    assert main(arguments) == 0
    run = own_run()
    assert table_epochs(read_rows(run.path), "train/loss").keys() == {0, 1, 2}  # the first, and two without success
    last = checkpoint(run.checkpoints / "last.ckpt")
    assert last["lr_schedulers"][0]["last_epoch"] == 3
    # Halved after the second and after the third epoch.
    assert last["optimizer_states"][0]["param_groups"][0]["lr"] == pytest.approx(1e-4 / 4)

    # Killed before its report, it is evaluated, not trained for another epoch.
    run.report.unlink()
    steps.clear()
    assert main(arguments) == 0
    assert run.finished
    assert steps == []
    assert checkpoint(run.checkpoints / "last.ckpt")["epoch"] == 2
    assert len(table_epochs(read_rows(run.path), "test/war")) == 1


@pytest.mark.parametrize(("arguments", "name"), [(STOPPING, "EarlyStopping"), (PLATEAU, "ReduceLROnPlateau")])
def test_without_an_inner_split_nothing_can_watch_it(data, capsys, arguments, name):
    assert main(["train", "ceflnet_dfew", *WITHOUT_SCHEDULE, *arguments, "--data.selection", "last"]) == 2
    said = capsys.readouterr().err
    assert f"{name} monitors inner/loss" in said
    assert "selection: last" in said
    assert not own_run().config.exists()  # the mended command is not refused for other settings


LONGER = experiment("--trainer.max_epochs", "3")


@pytest.fixture(scope="module")
def unbroken(shared, tmp_path_factory):
    """The curves of a run of three epochs that nothing stopped."""
    runs = tmp_path_factory.mktemp("unbroken")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FER_DATA", str(shared / "data"))
        patch.setenv("FER_RUNS", str(runs))
        patch.setattr(fit, "write_results", lambda *_: None)
        assert main(LONGER) == 0
    return read_rows(runs / "ceflnet_dfew" / "1-0")


def kill_in(epoch: int, monkeypatch) -> None:
    """The training of `LONGER` in a process of its own, killed within an epoch."""
    with monkeypatch.context() as patch:
        at_step(patch, epoch, 1, lambda: os.kill(os.getpid(), signal.SIGKILL))
        process = multiprocessing.get_context("fork").Process(target=main, args=(LONGER,))
        process.start()
        process.join(120)
    assert process.exitcode == -signal.SIGKILL


@pytest.mark.parametrize("epoch", [0, 1, 2])
def test_a_killed_run_goes_on_as_if_nothing_had_been(data, no_report, monkeypatch, unbroken, steps, epoch):
    kill_in(epoch, monkeypatch)
    run = own_run()
    name = (run.path / "wandb_id.txt").read_text()
    if epoch == 2:  # and goes on in another place
        monkeypatch.setenv("FER_RUNS", str(run.path.parent.parent) + "-moved")
        shutil.move(run.path.parent.parent, os.environ["FER_RUNS"])
        run = own_run()
    if epoch > 0:  # a row that was logged after the checkpoint
        with run.curves.open("a") as file:
            columns = read_rows(run.path)[0].keys()
            file.write(",".join({"epoch": str(epoch), "step": "99"}.get(column, "7") for column in columns) + "\n")
    assert main(LONGER) == 0
    assert {made for made, _ in steps} == set(range(epoch, 3))
    assert (run.path / "wandb_id.txt").read_text() == name
    rows = read_rows(run.path)
    for column in CURVES:
        found, expected = table_epochs(rows, column), table_epochs(unbroken, column)
        assert found.keys() == {0, 1, 2}
        assert found == pytest.approx(expected, rel=1e-6), column
    assert [row["test/war"] for row in rows if row["test/war"]] == [r["test/war"] for r in unbroken if r["test/war"]]
    inner = table_epochs(rows, "inner/war")
    assert checkpoint(run.checkpoints / "best.ckpt")["epoch"] == max(inner, key=inner.get)
    assert run.finished


def test_a_resumed_run_does_not_need_its_pretrained_weights(data, no_report, monkeypatch, capsys):
    from fer_lightning.layers import backbones

    calls = []
    monkeypatch.setattr(backbones, "published_weights", lambda name: {})
    monkeypatch.setattr(backbones, "load_backbone_weights", lambda *_: calls.append(1))
    arguments = experiment("--trainer.max_epochs", "2", "--model.init_args.backbone.weights", "timm")

    def stop():
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        at_step(patch, 1, 0, stop)
        assert main(arguments) == 130
    assert "the same command resumes" in capsys.readouterr().err
    assert calls == [1]
    assert main(arguments) == 0
    assert calls == [1]


def test_a_checkpoint_is_written_whole_or_not_at_all(tmp_path, monkeypatch):
    path = tmp_path / "checkpoints" / "last.ckpt"
    io = AtomicCheckpointIO()
    io.save_checkpoint({"epoch": 1}, path)

    def broken(content, target):
        target.write(b"half")
        raise OSError("the disk is full")

    monkeypatch.setattr(torch, "save", broken)
    with pytest.raises(OSError, match="full"):
        io.save_checkpoint({"epoch": 2}, path)
    assert checkpoint(path) == {"epoch": 1}
    assert [entry.name for entry in path.parent.iterdir()] == ["last.ckpt"]


def test_the_best_score_survives_the_runs_move():
    state = {
        "best_model_score": torch.tensor(0.9),
        "best_model_path": "/there/checkpoints/best.ckpt",
        "kth_best_model_path": "/there/checkpoints/best.ckpt",
        "kth_value": torch.tensor(0.9),
        "best_k_models": {"/there/checkpoints/best.ckpt": torch.tensor(0.9)},
        "last_model_path": "",
        "dirpath": "/there/checkpoints",
    }
    best = RunCheckpoint("/here/checkpoints", "best", "inner/war", mode="max")
    best.load_state_dict(state)
    assert best.best_model_score == 0.9
    assert best.best_k_models == {"/here/checkpoints/best.ckpt": torch.tensor(0.9)}
    assert best.best_model_path == best.kth_best_model_path == "/here/checkpoints/best.ckpt"
    assert best.kth_value == 0.9


def test_a_configuration_can_ask_for_averaged_weights(shared, monkeypatch, no_report):
    monkeypatch.setenv("FER_DATA", str(shared / "data"))
    average = '[{"class_path": "fer_lightning.AveragedWeights", "init_args": {"decay": 0.9}}]'
    assert main(experiment("--trainer.callbacks", average, "--name", "averaged", "--trainer.max_epochs", "1")) == 0
    content = checkpoint(own_run("ceflnet_dfew.averaged").checkpoints / "best.ckpt")
    weights, last = content["state_dict"], content["current_model_state"]
    assert weights.keys() == last.keys()
    assert any(not torch.equal(weights[name], last[name]) for name in weights)
    assert read_rows(own_run("ceflnet_dfew.averaged").path)[-1]["test/war"]


@pytest.mark.slow
def test_a_model_can_be_compiled(shared, monkeypatch, no_report, steps):
    """By torch's compiler that runs the graphs as they are, which needs no other."""
    monkeypatch.setenv("FER_DATA", str(shared / "data"))
    compiled, graphs = torch.nn.Module.compile, []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    monkeypatch.setattr(torch.nn.Module, "compile", lambda self: compiled(self, backend=backend))
    assert main(experiment("--experiment.compile", "true", "--name", "compiled", "--trainer.max_epochs", "1")) == 0
    assert graphs
    assert steps
    run = own_run("ceflnet_dfew.compiled")
    found, plain = (table_epochs(read_rows(path), "train/loss")[0] for path in (run.path, finished(shared)))
    assert found == pytest.approx(plain, abs=1e-4)
    weights, others = (
        checkpoint(path / "checkpoints" / "best.ckpt")["state_dict"] for path in (run.path, finished(shared))
    )
    assert weights.keys() == others.keys()
