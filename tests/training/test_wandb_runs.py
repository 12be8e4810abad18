"""What a training says to Weights & Biases, read back from the files of an offline run."""

import json
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import wandb
import yaml

from data_modules.utils.files import atomic_write
from fer_lightning.cli.main import main
from fer_lightning.cli.train import parse
from fer_lightning.evaluation.bootstrap import bootstrap
from fer_lightning.evaluation.calibration import calibrate, effects_of
from fer_lightning.evaluation.calibration_file import write_calibration
from fer_lightning.evaluation.metrics import METRICS, scores
from fer_lightning.evaluation.predictions import PredictionTable
from fer_lightning.experiments import fit
from fer_lightning.experiments.labels import labels_of
from fer_lightning.experiments.request import ExperimentRequest
from fer_lightning.report.sections import activation
from fer_lightning.runs.folder import RunFolder
from fer_lightning.runs.labels import RunLabels
from fer_lightning.training.wandb_logger import SHOW_FACES, RunWandbLogger, without_faces
from fer_lightning.training.wandb_summary import summary_logger
from fer_lightning.training.wandb_tables import clip_table, confusion_table, score_values, spread_values
from tests.fakes import write_dfew
from tests.small_runs import experiment, read_rows, table_epochs
from tests.wandb_files import written_runs


@pytest.fixture
def offline(tmp_path, monkeypatch, offline_wandb):
    """DFEW in small, no figures, and W&B without a network."""
    write_dfew(tmp_path / "data", train=14, test=7)
    monkeypatch.setattr(fit, "write_report", lambda run: atomic_write(run.report, b"report"))


def trained(*arguments: str) -> RunFolder:
    command = experiment("--trainer.max_epochs", "2", *arguments)
    assert main(command) == 0
    return parse(command[1:]).run


def test_a_training_says_what_it_belongs_to(offline, monkeypatch):
    monkeypatch.setenv("WANDB_PROJECT", "affect")
    run = trained("--group", "table 5", "--job-type", "ablation")
    (told,) = written_runs(run.path)
    assert told.ended
    assert told.name == "ceflnet_dfew/1-0"
    assert told.id == (run.path / "wandb_id.txt").read_text()
    assert (told.group, told.job_type, told.project) == ("table 5", "ablation", "affect")
    tags = {"system: ceflnet", "data: dfew", "size: paper", "fold: 1", "seed: 0", "selection: inner"}
    assert set(told.tags) == tags
    assert told.config["data"]["selection"] == "inner"
    assert told.config["labels"] == asdict(RunLabels.read(run)) | {"row": "ceflnet_dfew"}
    assert told.steps["*"] == "epoch"
    loss = {row["epoch"]: row["train/loss"] for row in told.history if "train/loss" in row}
    assert loss == pytest.approx(table_epochs(read_rows(run.path), "train/loss"))


def test_a_training_says_what_came_of_it(offline, monkeypatch):
    def report(run):
        calibration = calibrate(run, run.read_info())
        write_calibration(calibration, effects_of(calibration, run), run)
        atomic_write(run.report, b"report")

    monkeypatch.setattr(fit, "write_report", report)
    run = trained()
    (told,) = written_runs(run.path)
    info = run.read_info()
    cost = {"parameters": info.parameters, "multiply_adds": info.multiply_adds}
    assert {name: told.summary[f"cost/{name}"] for name in cost} == cost
    assert told.summary["cost/ms_per_clip"] == pytest.approx(1000 * info.seconds_per_clip)
    for split, name in (("test", "test"), ("inner", "chosen")):
        table = PredictionTable.read(run.predictions(split))
        result, intervals = scores(table), bootstrap(table)
        assert told.summary[f"{name}/clips"] == len(table)
        for metric in METRICS:
            value, interval = f"{name}/{metric.name}", intervals[metric]
            assert told.summary[value] == pytest.approx(result[metric])
            assert (f"{value}_low" in told.summary) == metric.has_interval
            if metric.has_interval:
                ends = (told.summary[f"{value}_low"], told.summary[f"{value}_high"])
                assert ends == pytest.approx((interval.low, interval.high))
    measures = json.loads((run.path / "calibration.json").read_text())["measures"]["test"]
    assert {name: told.summary[f"test/{name}"] for name in measures} == pytest.approx(measures)
    table = PredictionTable.read(run.predictions("test"))
    rows = told.table("report/predictions")
    assert [row["clip_id"] for row in rows] == table.clip_id.tolist()
    assert [(row["emotion"], row["predicted"]) for row in rows] == list(
        zip(table.emotion, table.predicted, strict=True)
    )
    assert sum(sum(v for v in row.values() if isinstance(v, int)) for row in told.table("report/confusion")) == len(
        table
    )
    assert [row["class"] for row in told.table("report/classes")] == list(table.class_names)


def test_only_rendered_faces_are_sent():
    figures = [Path("figures", f"{name}.png") for name in ("activation-01", "confusion", "relations-02")]
    assert without_faces([*figures, Path("index.html")], "dfew") == [figures[1]]
    assert without_faces([*figures, Path("index.html")], "synthetic") == [*figures, Path("index.html")]


def test_the_figures_that_show_faces_are_known_by_their_names():
    sections = Path(activation.__file__).parent.glob("*.py")
    names = {path.stem for path in sections if "load_examples(" in path.read_text()}
    assert {f"{name}-" for name in names} == {name for name in SHOW_FACES if name.endswith("-")}


def test_an_evaluation_on_other_data_is_a_run_in_the_same_group(offline):
    run = trained("--group", "table 5")
    (part,) = written_runs(run.path)
    assert main(["test", "--checkpoint", str(run.path), "--data", "dfew", "--workers", "0"]) == 0
    (told,) = written_runs(run.path / "on" / "dfew-1")
    assert told.ended
    assert (told.group, told.job_type, told.name) == ("table 5", "evaluate", "ceflnet_dfew/1-0/on/dfew-1")
    assert {"system: ceflnet", "data: dfew", "fold: 1"} <= set(told.tags)
    assert told.config["uses"] == {"ceflnet_dfew/1-0": f"model-{part.id}"}
    table = PredictionTable.read(run.path / "on" / "dfew-1.csv")
    assert told.summary["test/war"] == pytest.approx(table.correct.mean())
    assert len(told.table("report/predictions")) == len(table)


def test_the_chosen_checkpoint_is_an_artifact(offline):
    run = trained()
    (told,) = written_runs(run.path)
    model = told.artifacts[f"model-{told.id}"]
    assert (model["type"], model["files"], set(model["aliases"])) == ("model", ["best.ckpt"], {"latest", "best"})
    info = run.read_info()
    known = {"experiment": "ceflnet_dfew", "model": "CEFLNet", "epoch": info.epoch, "selection": "inner"}
    assert known.items() <= model["metadata"].items()
    assert set(told.artifacts[f"report-{told.id}"]["files"]) == {"config.yaml", "inner.csv", "test.csv"}


def test_a_run_whose_last_epoch_is_taken_is_sent_too(offline, capsys):
    run = trained("--data.selection", "last")
    (told,) = written_runs(run.path)
    assert "W&B" not in capsys.readouterr().err
    assert told.artifacts[f"model-{told.id}"]["files"] == ["last.ckpt"]
    assert "selection: last" in told.tags


def test_a_run_says_whose_weights_it_uses(offline):
    used = trained("--name", "first")
    own = trained("--name", "second", "--model.init_args.backbone.weights", "run:ceflnet_dfew.first")
    (told,) = written_runs(own.path)
    assert told.config["uses"] == {"run:ceflnet_dfew.first": f"model-{(used.path / 'wandb_id.txt').read_text()}"}
    assert "variant: second" in told.tags


class OnlineRun:
    """Stands for a W&B run with a connection, which tests do not have."""

    def __init__(self, *known: str) -> None:
        self.known, self.used, self.recorded = known, [], {}
        self.config = SimpleNamespace(update=lambda values, **_: self.recorded.update(values))

    def use_artifact(self, name: str, type: str) -> None:
        if name not in self.known:
            raise wandb.errors.CommError(f"no artifact {name}")
        self.used.append((name, type))


def test_lineage_is_drawn_where_wandb_has_the_models(tmp_path, monkeypatch, capsys):
    runs = {name: RunFolder(tmp_path / name) for name in ("sent", "unsent", "never")}
    for name in ("sent", "unsent"):
        atomic_write(runs[name].wandb_id, name.encode())
    online = OnlineRun("model-sent:latest")
    monkeypatch.setattr(RunWandbLogger, "experiment", property(lambda self: online))
    logger = RunWandbLogger(str(tmp_path / "own"), mode="online")
    logger.use_models(runs)
    assert online.recorded == {"uses": {"sent": "model-sent", "unsent": "model-unsent", "never": None}}
    assert online.used == [("model-sent:latest", "model")]
    first, second = capsys.readouterr().err.splitlines()
    assert "no line from unsent" in first
    assert "no line from never" in second
    assert not logger.lost


def test_a_summary_goes_on_where_wandb_fails(tmp_path, monkeypatch, capsys):
    def refuses(**_):
        raise wandb.errors.CommError("no network")

    monkeypatch.setattr(wandb, "init", refuses)
    config = {"trainer": {"logger": [{"class_path": "fer_lightning.RunWandbLogger", "init_args": {"mode": "offline"}}]}}
    run, folder = RunFolder(tmp_path / "1-0"), tmp_path / "cv"
    atomic_write(run.config, yaml.safe_dump(config).encode())
    logger = summary_logger(folder, RunLabels(job_type="cv"), {"fold 1": run})
    logger.log_results({"cv/war_mean": 0.5}, [])
    logger.close()
    (said,) = capsys.readouterr().err.splitlines()
    assert "CommError: no network" in said
    assert f"results are in {folder}" in said


@pytest.mark.parametrize("logger", [False, None, True, [{"class_path": "fer_lightning.CurvesLogger"}]])
def test_runs_without_wandb_have_no_summary_in_it(tmp_path, logger):
    run = RunFolder(tmp_path / "1-0")
    assert summary_logger(tmp_path / "cv", RunLabels(), {"fold 1": run}) is None
    atomic_write(run.config, yaml.safe_dump({"trainer": {"logger": logger}}).encode())
    assert summary_logger(tmp_path / "cv", RunLabels(), {"fold 1": run}) is None


def test_a_clip_without_a_prediction_has_no_probabilities():
    table = table_of([[0.75, 0.25], [np.nan, np.nan]], reason=("", "no face"))
    first, second = clip_table(table).rows
    assert first[-2:] == [0.75, 0.25]
    assert second[-3:] == ["no face", None, None]
    assert confusion_table(table.class_names, scores(table)).rows == [["joy", 1, 0, 1], ["anger", 0, 0, 0]]


def test_what_is_undefined_is_left_out_of_the_summary():
    table = table_of([[1.0, 0.0]])
    values = score_values(scores(table), bootstrap(table), "test")
    assert values["test/war"] == 1
    assert not {"test/war_low", "test/war_high", "test/std_accuracy"} & values.keys()


def test_the_deviation_of_a_single_run_is_left_out():
    right, wrong = (scores(table_of([row])) for row in ([1.0, 0.0], [0.0, 1.0]))
    assert spread_values([right], "cv")["cv/war_mean"] == 1
    assert "cv/war_std" not in spread_values([right], "cv")
    assert spread_values([right, wrong], "cv")["cv/war_std"] == pytest.approx(np.std([1, 0], ddof=1))


def table_of(probabilities: list[list[float]], reason: tuple[str, ...] = ("",)) -> PredictionTable:
    """Clips of one subject that all show joy."""
    clips = [f"c{n}" for n in range(len(probabilities))]
    same = {"subject": "s", "group": "", "split": "test", "fold": "1", "seed": 0, "emotion": "joy", "coverage": 1.0}
    columns = {name: [value] * len(clips) for name, value in same.items()}
    return PredictionTable(("joy", "anger"), clips, probabilities=probabilities, reason=reason, **columns)


def test_a_resumed_run_keeps_its_labels(offline, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(fit, "write_results", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        assert main(experiment("--trainer.max_epochs", "2", "--group", "table 5", "--job-type", "ablation")) == 130
    wandb.finish()
    run = trained()
    first, second = written_runs(run.path)
    assert first.id == second.id
    assert (first.group, first.job_type, first.tags) == (second.group, second.job_type, second.tags)
    assert second.group == "table 5"


def test_curves_are_grouped_by_what_differs_in_fold_and_seed_only():
    assert RunLabels("table 5", system="ceflnet", data="dfew", variant="no_sal", fold="1").row == "ceflnet_dfew.no_sal"
    assert RunLabels(system="ceflnet").row == "ceflnet"
    assert RunLabels("table 5").row == ""


def test_labels_are_of_the_request():
    request = ExperimentRequest("ceflnet_dfew", "synthetic_wild", "small", "3", 7, "no_sal")
    assert labels_of(request) == RunLabels(
        "ceflnet_synthetic_wild", "train", "ceflnet", "synthetic_wild", "small", "3", 7, "no_sal"
    )
    assert labels_of(ExperimentRequest("c3d_synthetic_pretraining")).data == "synthetic_pretraining"


def test_labels_are_kept_in_the_runs_folder(tmp_path):
    run, labels = RunFolder(tmp_path), RunLabels("table 5", "ablation", seed=3)
    assert RunLabels.read(run) is None
    labels.write(run)
    assert RunLabels.read(run) == labels
    (tmp_path / "labels.json").write_text('{"job_type": "dance"}')
    with pytest.raises(ValueError, match=r"labels\.json is damaged .*'dance'"):
        RunLabels.read(run)


def test_labels_that_runs_do_not_share_are_left_out():
    runs = [RunLabels("table 5", data="dfew", fold=fold, seed=seed) for seed, fold in enumerate("12")]
    assert RunLabels.shared(runs) == RunLabels("table 5", data="dfew")
    assert RunLabels.shared([]) == RunLabels()


def test_tags_have_the_length_that_wandb_takes():
    (tag,) = RunLabels(variant="x" * 80).tags
    assert len(tag) == 64
