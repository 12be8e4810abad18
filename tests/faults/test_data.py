"""Data whose splits make a result wrong or misleading: refused, or named in the training and in every report."""

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar

import pytest

from data_modules.manifest import VideoRecord
from data_modules.prepare.faces import prepare_faces
from fer_lightning.cli.main import main
from fer_lightning.experiments.lightning_cli import FerCLI
from fer_lightning.experiments.request import ExperimentRequest
from fer_lightning.runs.folder import RunFolder
from tests.fakes import put_video
from tests.small_runs import TINY, MadeFaces
from tests.training.test_resuming import COMMAND, no_report  # noqa: F401 - a fixture


@dataclass
class Faulty(MadeFaces):
    """Made clips of four people, of whom one is tested, with a fault."""

    fault: str = ""
    name: ClassVar[str] = "faulty"

    def records(self) -> list[VideoRecord]:
        records = super().records()
        first, rest = records[0], records[1:]
        tested = [record for record in rest if record.split == "test"]
        faults = {
            "person": lambda: [first, *(replace(r, subject="s0") if r.clip_id == "s3-fear" else r for r in rest)],
            "film": lambda: [replace(r, group=r.emotion if r.subject in ("s0", "s3") else "") for r in records],
            "path": lambda: [first, *(replace(r, path=first.path) if r.clip_id == "s3-fear" else r for r in rest)],
            "label": lambda: [first, replace(rest[0], emotion="bliss"), *rest[1:]],
            "class": lambda: [r for r in records if r.emotion != "fear" or r.split == "test"],
            "single": lambda: [r for r in records if r.emotion != "fear" or r.subject in ("s0", "s3")],
            "untrained": lambda: tested,
            "unreported": lambda: [r for r in records if r.split == "train"],
        }
        return faults[self.fault]()


def command(fault: str) -> list[str]:
    """A training of one epoch on all clips that are not reported."""
    arguments = json.dumps(
        {
            "class_path": "tests.faults.test_data.Faulty",
            "init_args": {
                "subjects": 4,
                "tested": 1,
                "fault": fault,
                "faces": {"detector": "crop", "size": 48, "margin": 0, "jitter": 0, "every": 1, "landmarks": "none"}
                | {"person": "frame", "audio": True},
            },
        }
    )
    place = COMMAND.index("--data.dataset") + 1
    last = ("--data.selection", "last", "--trainer.max_epochs", "1")
    return [*COMMAND[:place], arguments, *COMMAND[place + 1 :], *last]


def own_run(name: str = "lmed_synthetic") -> RunFolder:
    return RunFolder(Path(os.environ["FER_RUNS"], name, "1-0"))


@pytest.mark.parametrize(
    ("fault", "named"),
    [
        ("person", "faulty: the reported split shares 1 person with clips that are trained or chosen on (s0)"),
        ("film", "shares 7 films with clips that are trained or chosen on (anger, disgust, fear and 4 more)"),
        ("class", "faulty: no training clip shows fear: the model cannot learn to recognise it"),
        ("single", "faulty: a single training clip shows fear"),
    ],
)
def test_splits_that_mislead_are_named_in_the_training_and_kept(no_report, capsys, fault, named):  # noqa: F811
    assert main(command(fault)) == 0
    assert capsys.readouterr().out.count(named) == 1
    (kept,) = own_run().read_info().split_faults
    assert named in kept


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("path", "faulty: 's0/anger' is in the splits test and train; expected each file in one"),
        ("label", "clip 's0-disgust' has emotion 'bliss'; expected one of anger, disgust"),
        ("untrained", "faulty: no clip is trained on; found {'test': 6}, expected clips of the splits train and test"),
        ("unreported", "faulty: no clip is reported on; found {'train': 21}"),
    ],
)
def test_splits_that_make_results_wrong_are_refused(no_report, capsys, fault, said):  # noqa: F811
    assert main(command(fault)) == 2
    found = capsys.readouterr().err
    assert said in found
    assert "Traceback" not in found
    assert not list(own_run().checkpoints.glob("*"))
    assert not own_run().finished


def test_a_validation_split_that_is_the_reported_one_is_told_by_its_files(tmp_path, capsys):
    """As copies in the user's own folders; the report says it too."""
    root = tmp_path / "mine"
    for emotion in ("fear", "anger"):
        for split, numbers in {"train": (0, 1, 2), "val": (7, 8), "test": (7, 8)}.items():
            for number in numbers:
                put_video(root / split / emotion / f"{emotion}-{number}.mp4")
    arguments = ("--data.dataset.init_args.root", str(root), "--data.dataset.init_args.faces.detector", "crop")
    arguments = (*TINY, *arguments, "--trainer.max_epochs", "1", "--data.batch_size", "2")
    cli = FerCLI(ExperimentRequest("ceflnet_own", arguments=arguments).command_line(), run=False)
    prepare_faces(cli.datamodule.dataset, 0)
    assert main(["train", "ceflnet_own", *arguments]) == 0
    named = "own: the reported split shares 4 files with clips that are trained or chosen on"
    assert capsys.readouterr().out.count(named) == 1
    run = own_run("ceflnet_own")
    assert main(["report", str(run.path)]) == 0
    assert named in run.report.read_text()
