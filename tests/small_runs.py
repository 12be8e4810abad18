"""What tests of the training share: faces made in memory, and overrides that make a training tiny."""

import csv
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest

from data_modules.datasets.dataset import VideoDataset
from data_modules.faces.settings import FaceSettings
from data_modules.labels import SEVEN
from data_modules.loading.datamodule import VideoDataModule
from data_modules.manifest import VideoRecord
from data_modules.prepare.faces import store_for
from data_modules.sampling import SubvideoSampler
from data_modules.store.clip_file import ClipSummary, FaceFrame
from data_modules.utils.files import atomic_write
from fer_lightning import VideoClassifier
from fer_lightning.cli.main import main
from fer_lightning.experiments import fit
from tests.fakes import write_dfew

SCHEDULE = '{"class_path": "fer_lightning.WarmupCosine", "init_args": {"epochs": 9, "warmup": 0}}'
TINY = (
    *("--model.init_args.backbone.weights", "random"),
    *("--model.init_args.backbone.name", "resnet10t"),
    *("--model.init_args.backbone.channels", "[8,8,16,16]"),
    *("--model.init_args.scheduler", SCHEDULE),
    *("--data.dataset.init_args.faces.size", "32"),
    *("--data.dataset.init_args.faces.landmarks", "none"),
    *("--data.size", "32"),
    *("--data.sampler.init_args.clips", "2"),
    *("--data.sampler.init_args.frames", "2"),
    *("--data.num_workers", "0"),
    *("--trainer.precision", "32-true"),
    *("--trainer.accelerator", "cpu"),
    *("--trainer.devices", "1"),
)


@dataclass
class MadeFaces(VideoDataset):
    """Noise in the store, without a video: clips of 4 to 9 faces in every third frame, those of `faceless` of none.

    There is noise to be heard too, and a person around each face, where the settings of the faces ask for them.
    """

    faces: FaceSettings = field(default_factory=lambda: FaceSettings(detector="crop", size=48))
    subjects: int = 10
    tested: int = 3
    faceless: tuple[str, ...] = ("s0-anger", "s9-fear")

    name: ClassVar[str] = "made"
    licence: ClassVar[str] = "none"
    how_to_get: ClassVar[str] = "it is made when asked for"

    @property
    def class_names(self) -> tuple[str, ...]:
        return SEVEN

    def records(self) -> list[VideoRecord]:
        return [
            VideoRecord(f"s{s}-{emotion}", f"s{s}/{emotion}", emotion, f"s{s}", split=split, fold=self.fold)
            for s in range(self.subjects)
            for emotion in SEVEN
            for split in ["test" if s < self.tested else "train"]
        ]

    def prepare(self) -> None:
        store = store_for(self)
        if store.read_index():
            return
        summaries = []
        for place, record in enumerate(self.records()):
            rng = np.random.default_rng(place)
            count = 0 if record.clip_id in self.faceless else 4 + place % 6
            summary = ClipSummary(record.clip_id, 30, count, 25.0, "" if count else "nothing was made")
            with store.writing(record.clip_id) as writer:
                for number in range(count):
                    writer.add(self._face(3 * number, rng))
                if self.faces.audio:
                    writer.add_audio(rng.integers(-8000, 8000, 8000).astype(np.int16))
                summaries.append(writer.finish(summary))
        store.write_index(summaries)

    def _face(self, index: int, rng: np.random.Generator) -> FaceFrame:
        side = self.faces.size
        crop = rng.integers(0, 256, (side // 8, side // 8, 3), dtype=np.uint8).repeat(8, 0).repeat(8, 1)
        landmarks = rng.uniform(0, side, (68, 3)).astype(np.float32)
        person = None if self.faces.person == "none" else crop[::-1]
        box = np.array([0, 0, side, side], np.float32)
        return FaceFrame(index, crop, box, 1.0, landmarks, float(rng.random()), person)


def made_data(
    dataset: VideoDataset | None = None, inputs: frozenset[str] = frozenset({"face"}), **options
) -> VideoDataModule:
    """A data module of made faces for a model with these inputs, ready."""
    defaults = {"sampler": SubvideoSampler(2, 2), "batch_size": 4, "size": 32, "num_workers": 0}
    data = VideoDataModule(dataset or MadeFaces(), **(defaults | options))
    data.inputs = inputs
    data.prepare_data()
    data.setup()
    return data


def experiment(*arguments: str, name: str = "ceflnet_dfew") -> list[str]:
    """The command line of a tiny training."""
    return ["train", name, *TINY, *arguments]


def train_on_dfew(folder: Path, epochs: int) -> Path:
    """Writes DFEW in small to `data/` in a folder and trains on it into `runs/`, without the report's figures."""
    write_dfew(folder / "data", train=14, test=7)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FER_DATA", str(folder / "data"))
        patch.setenv("FER_RUNS", str(folder / "runs"))
        patch.setattr(fit, "write_report", lambda run: atomic_write(run.report, b"report"))
        assert main(experiment("--trainer.max_epochs", str(epochs))) == 0
    return folder


def table_epochs(rows: list[dict[str, str]], column: str) -> dict[int, float]:
    """The values of a column of `metrics.csv` by epoch; refuses an epoch that stands twice."""
    found = [(int(row["epoch"]), float(row[column])) for row in rows if row.get(column)]
    assert len(found) == len(dict(found)), f"{column} stands twice for an epoch: {found}"
    return dict(found)


def read_rows(run: Path) -> list[dict[str, str]]:
    """The rows of a run's `metrics.csv`."""
    with (run / "metrics.csv").open(newline="") as file:
        return list(csv.DictReader(file))


def at_step(monkeypatch: pytest.MonkeyPatch, epoch: int, batch: int, act: Callable[[], object]) -> None:
    """Has something happen in a step of a training."""
    step = VideoClassifier.training_step

    def training_step(self, clips, batch_idx):
        if (self.current_epoch, batch_idx) == (epoch, batch):
            act()
        return step(self, clips, batch_idx)

    monkeypatch.setattr(VideoClassifier, "training_step", training_step)
