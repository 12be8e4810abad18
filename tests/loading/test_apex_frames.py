"""Apexes that somebody has marked beside a data set: what frames show, and how often attention finds them."""

import csv

import numpy as np
import pytest

from data_modules.datasets.apex_frames import COLUMNS, FILE
from data_modules.faces.settings import FaceSettings
from fer_lightning.cli.main import main
from fer_lightning.evaluation.clip_outputs import ClipOutputs
from fer_lightning.evaluation.predictions import PredictionTable
from fer_lightning.experiments.request import ExperimentRequest
from fer_lightning.tables.outputs import output_values
from tests.fakes import write_dfew
from tests.small_runs import MadeFaces, experiment, made_data


def write_table(folder, rows, columns=COLUMNS):
    folder.mkdir(exist_ok=True)
    with (folder / FILE).open("w", newline="") as file:
        csv.writer(file).writerows([columns, *rows])


def intensities(data):
    """Clip id -> number of a frame -> its intensity, of all clips of the reported split that can be used."""
    samples = data.clip_dataset("test")
    batch = samples.load(range(len(samples)))
    rows = zip(batch.clip_id, batch.frame_index.tolist(), batch.intensity.tolist(), strict=True)
    return {clip: dict(zip(frames, values, strict=True)) for clip, frames, values in rows}


def test_marked_frames_have_an_intensity_of_one_and_others_of_none(tmp_path):
    """Frames 0, 3, 6, ... have a face; an apex has both of its ends, and a clip may have two."""
    write_table(tmp_path / "made", [("s0-disgust", 3, 7), ("s1-fear", 0, 0), ("s1-fear", 9, 12)])
    found = intensities(made_data(MadeFaces(tmp_path / "made")))
    for clip, apex in (("s0-disgust", {3, 6}), ("s1-fear", {0, 9, 12})):
        assert found[clip] == {frame: float(frame in apex) for frame in found[clip]}
        assert set(found[clip].values()) == {0.0, 1.0}
    assert len(found) == 20
    assert all(np.isnan(value) for value in found["s2-anger"].values()), "nobody has looked at it"


def test_a_clip_without_a_face_leaves_the_others_their_intensity(tmp_path):
    write_table(tmp_path / "made", [("s0-disgust", 3, 7)])
    faces = FaceSettings(detector="crop", size=48, audio=True)
    data = made_data(MadeFaces(tmp_path / "made", faces=faces), inputs=frozenset({"face", "spectrogram"}))
    found = intensities(data)
    assert np.isnan(list(found["s0-anger"].values())).all()
    assert 1.0 in found["s0-disgust"].values()


def test_a_run_says_how_often_attention_finds_the_marked_apex(tmp_path):
    """Table 7 of CEFLNet on real clips: two sub-videos of two frames, of which one shows an apex, or both do."""
    write_table(write_dfew(tmp_path / "data", train=14, test=14), [(f"{n:05d}", 0, 1) for n in range(15, 29)])
    assert main(experiment("--data.selection", "last", "--trainer.max_epochs", "1")) == 0
    run = ExperimentRequest("ceflnet_dfew").run
    outputs = ClipOutputs.read(run.outputs("test"))
    marked = ((outputs.frame_index >= 0) & (outputs.frame_index <= 1)).reshape(14, 2, 2).any(axis=2)
    hits = [marked[clip, outputs.attention[clip].argmax()] for clip in range(14) if marked[clip].any()]
    assert len(hits) > 0
    values = output_values(run, PredictionTable.read(run.predictions("test")))
    assert values["hit_rate"] == pytest.approx(np.mean(hits))


@pytest.mark.parametrize(
    ("rows", "columns", "message"),
    [
        ([("a", 3)], ("clip_id", "first"), "no column last"),
        ([("a", 3, 2)], COLUMNS, "line 2: expected the numbers of an apex's first and last frame"),
        ([("a", 1, 2), ("a", "", 2)], COLUMNS, "line 3: expected the numbers"),
    ],
)
def test_a_damaged_table_is_named(tmp_path, rows, columns, message):
    write_table(tmp_path / "made", rows, columns)
    with pytest.raises(ValueError, match=f"{FILE}.*{message}"):
        made_data(MadeFaces(tmp_path / "made"))
