"""A table that is made is a run of Weights & Biases too, read back from the files of an offline run."""

import json

import pytest
import yaml

from data_modules.utils.files import atomic_write
from fer_lightning.cli.main import main
from fer_lightning.experiments import jobs
from tests.tables.test_reproduce import STRENGTH, finish
from tests.tables.test_table import MADE
from tests.wandb_files import written_runs

LOGGER = {"class_path": "fer_lightning.training.wandb_logger.RunWandbLogger", "init_args": {"project": "ours"}}


@pytest.fixture
def table(tmp_path, monkeypatch):
    """A table whose rows are finished when they are trained, with W&B among their loggers or without it."""
    (tmp_path / "mine.yaml").write_text(MADE)
    loggers = [LOGGER]

    def train(requests):
        for request in requests:
            finish(request, STRENGTH.get(request.name, 1.0))
            atomic_write(request.run.config, yaml.safe_dump({"trainer": {"logger": loggers}}).encode())
            atomic_write(request.run.wandb_id, f"{request.name or 'whole'}{request.seed}".encode())
        return []

    monkeypatch.setattr(jobs, "train_all", train)
    return str(tmp_path / "mine.yaml"), loggers


def test_a_table_sums_up_the_runs_of_its_rows(table, offline_wandb, tmp_path):
    assert main(["reproduce", table[0], "--seeds", "0", "1"]) == 0
    (told,) = written_runs(tmp_path / "runs" / "tables" / "mine.small")
    assert told.ended
    assert (told.group, told.job_type, told.project) == ("mine", "table", "ours")
    assert {"data: synthetic_wild", "size: small", "system: ceflnet"} <= set(told.tags)
    assert told.config["place"] == "table 1"
    assert told.config["uses"] == {
        f"{row}, fold 1, seed {seed}": f"model-{row}{seed}" for row in ("plain", "whole") for seed in (0, 1)
    }
    folder = tmp_path / "results" / "mine.small"
    for row in ("plain", "whole"):
        kept = json.loads((folder / f"{row}.json").read_text())
        values = [run["metrics"]["war"] for run in kept["runs"]]
        assert told.summary[f"{row}/war"] == pytest.approx(sum(values) / 2)
        ends = [told.summary[f"{row}/war_{end}"] for end in ("low", "high")]
        assert ends == pytest.approx(kept["intervals"]["war"])
        assert told.summary[f"{row}/seeds"] == 2
    assert [row["row"] for row in told.table("report/table")] == ["Other [3]", "plain", "whole"]
    assert told.table("report/table")[1]["published WAR"] == "84.17 (101/120)"
    (claim,) = told.table("report/claims")
    (verdict,) = json.loads((folder / "claims.json").read_text())
    assert (claim["row"], claim["over"], claim["outcome"]) == ("whole", "plain", "confirmed")
    assert claim["difference"] == pytest.approx(verdict["difference"])


def test_a_table_of_runs_without_wandb_is_no_run_of_it(table, offline_wandb, tmp_path):
    table[1].clear()
    assert main(["reproduce", table[0]]) == 0
    assert (tmp_path / "results" / "mine.small" / "table.md").is_file()
    assert not (tmp_path / "runs" / "tables").exists()
