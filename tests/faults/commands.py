"""The commands on folders of faulty files, in this process: what they return, print and leave."""

import csv
import io
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from data_modules.faces.detection import Detection
from data_modules.store.clip_file import ClipSummary
from data_modules.store.clip_store import ClipStore
from fer_lightning.cli.main import main


@dataclass(frozen=True)
class Ended:
    """How a command ended."""

    status: int
    out: str
    err: str


def fer(*arguments: object) -> Ended:
    """Runs `fer ...`; an exception that would be a traceback is one here, too."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        status = main([str(argument) for argument in arguments])
    return Ended(status, out.getvalue(), err.getvalue())


def prepare_own(root: Path, *options: object) -> Ended:
    """`fer data prepare own`, whose whole frames are taken for faces."""
    faces = ("--dataset.faces.detector", "crop", "--dataset.faces.size", "64", "--dataset.faces.landmarks", "none")
    return fer("data", "prepare", "own", "--root", root, *faces, "--workers", 0, "--dataset.made_folds", 2, *options)


def prepared_store(root: Path) -> ClipStore:
    """The only store of a folder."""
    (index,) = root.rglob("index.csv")
    return ClipStore(index.parent)


def index_of(root: Path) -> dict[str, ClipSummary]:
    """The rows of the only index below a folder."""
    return prepared_store(root).read_index()


def quarantined(root: Path) -> dict[str, str]:
    """What the only list of problems below a folder says of each clip; reasons of one clip are joined."""
    (path,) = root.rglob("quarantine.csv")
    found = dict[str, str]()
    for row in csv.DictReader(io.StringIO(path.read_text())):
        found[row["clip_id"]] = "; ".join(filter(None, (found.get(row["clip_id"]), row["reason"])))
    return found


def make_faces(videos: Path, out: Path, *options: object) -> Ended:
    """`fer faces`, whose whole frames are taken for faces."""
    return fer("faces", videos, "--out", out, "--detector", "crop", "--size", 64, "--workers", 0, *options)


class WholeFrames:
    """A detector that takes whole frames for faces; keeps how many it is shown at once."""

    name, device = "fake", "cpu"

    def __init__(self) -> None:
        self.batches = list[int]()

    def detect(self, frames):
        self.batches.append(len(frames))
        return [[Detection(np.array([0, 0, *frame.shape[1::-1]], np.float32), 0.99)] for frame in frames]


def predict(videos: Path, run: Path, out: Path, *options: object, detector: WholeFrames | None = None) -> Ended:
    """`fer predict`, whose whole frames are taken for faces."""
    arguments = (videos, "--checkpoint", run, "--out", out, "--workers", 0, "--device", "cpu")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("data_modules.faces.models.make_detector", lambda name, device: detector or WholeFrames())
        return fer("predict", *arguments, *options)
