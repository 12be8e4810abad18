"""A row for each frame: how windows are fused, by hand, and what the command writes of a file of variable rate."""

import csv
from dataclasses import replace

import av
import numpy as np
import pytest

from data_modules.labels import SEVEN
from fer_lightning.predict.expressions import FaceTrack, Person, VideoFacts
from fer_lightning.predict.frames import frame_timeline, fused
from fer_lightning.predict.overview import data_dictionary
from fer_lightning.predict.tables import column_names
from fer_lightning.predict.timeline import Timeline
from tests.predict.made import recognition
from tests.predict.test_predict import fake_detector, fer_predict, write_checkpoint, write_video  # noqa: F401

NONE = [np.nan, np.nan]


def rows(*anger: float | None, hop: float = 1.0, **values) -> Timeline:
    start = np.arange(len(anger)) * hop
    shares = np.array([NONE if share is None else [share, 1 - share] for share in anger])
    faces = np.isfinite(shares[:, 0]).astype(float)
    return Timeline(("anger", "fear"), start, start + hop, faces, np.zeros(len(anger), bool), shares, **values)


def test_windows_are_weighted_by_how_near_their_middle_is():
    """Rows of a second with windows of 2 s around 0.5, 1.5, 2.5 and 3.5: weights 1 - distance."""
    timeline = rows(0.8, 0.4, 0.2, 1.0)
    times = np.array([0.0, 0.5, 0.75, 1.0, 2.0, 3.25, 3.9])
    expected = [
        0.8,  # before the first middle: only the first window contains it
        0.8,  # 1 x 0.8 + 0 x 0.4
        0.75 * 0.8 + 0.25 * 0.4,
        0.5 * 0.8 + 0.5 * 0.4,
        0.5 * 0.4 + 0.5 * 0.2,
        0.25 * 0.2 + 0.75 * 1.0,
        1.0,
    ]
    found = fused(timeline, times, 2.0)
    assert found[:, 0] == pytest.approx(expected)
    assert found.sum(axis=1) == pytest.approx(1)


def test_longer_windows_reach_further():
    """Windows of 4 s around 0.5, 1.5, 2.5: at 1.0, distances 0.5, 0.5 and 1.5 of 2."""
    found = fused(rows(0.8, 0.4, 0.2), np.array([1.0]), 4.0)
    assert found[0, 0] == pytest.approx((0.75 * 0.8 + 0.75 * 0.4 + 0.25 * 0.2) / 1.75)


def test_windows_without_an_expression_are_left_out():
    found = fused(rows(0.8, None, 0.2, None, None), np.array([0.75, 1.5, 2.25, 4.5]), 2.0)
    assert found[:3, 0] == pytest.approx([0.8, NONE[0], 0.2], nan_ok=True)  # at 1.5 the others weigh 0
    assert np.isnan(found[3]).all()


def test_windows_that_do_not_overlap_speak_for_their_own_frames():
    """At the edge of two rows all weights are 0: that of the row that begins there counts."""
    found = fused(rows(0.8, 0.4), np.array([0.0, 0.3, 1.0, 1.9]), 1.0)
    assert found[:, 0] == pytest.approx([0.8, 0.8, 0.4, 0.4])


def made():
    """Three seconds at varying times; the face is in frames 0 to 3 and 5; somebody else in frame 6."""
    times = np.array([0.0, 0.4, 0.9, 1.0, 1.7, 2.6, 2.8])
    seen = np.array([0, 1, 2, 3, 5])
    pose = np.arange(15, dtype=np.float32).reshape(5, 3)
    track = FaceTrack(times[seen], np.tile(np.float32([20, 30, 80, 90]), (5, 1)) + seen[:, None], seen, pose)
    video = VideoFacts("a.mp4", 160, 120, 2.5, 7, 3.0, 0, 5, 0.0, "")
    found = recognition(rows(0.8, 0.4, None, threshold=0.7), video, track=track)
    second = FaceTrack(times[[6]], np.ones((1, 4), np.float32), np.array([6]))
    other = Person(rows(None, None, None, person=2), second)
    return replace(found, people=(*found.people, other), times=times, cuts=np.array([4]))


def test_a_frame_says_what_is_seen_in_it(tmp_path):
    found = made()
    timeline = frame_timeline(found, found.people[0])
    names = [timeline.name(label) for label in timeline.label.tolist()]
    # at 0.9 and 1.0: 0.64 and 0.6, below the threshold; at 1.7 no face; at 2.6 a face, but no window
    assert names == ["anger", "anger", "unsure", "unsure", "no face", "too few faces around", "another person"]
    assert timeline.end.tolist() == [0.4, 0.9, 1.0, 1.7, 2.6, 2.8, 3.0]
    found.save_csv(tmp_path / "frames.csv", rows="frames")
    table = list(csv.DictReader((tmp_path / "frames.csv").open()))
    assert list(table[0]) == [
        *("video", "person", "frame", "time", "expression", "confidence", "p_anger", "p_fear"),
        *("left", "top", "right", "bottom", "cut", "yaw", "pitch", "roll", "reason", "world"),
    ]
    assert [row["person"] for row in table] == ["1"] * 7 + ["2"] * 7
    assert [row["cut"] for row in table] == [*"0000100"] * 2
    assert [row["time"] for row in table[:3]] == ["0.000", "0.400", "0.900"]
    assert [table[5][name] for name in ("left", "bottom", "yaw", "roll")] == ["25.0", "95.0", "12.0", "14.0"]
    assert {table[4][name] for name in ("left", "yaw", "p_anger", "confidence")} == {""}
    assert table[5]["reason"] == "too few faces around"
    assert [row["expression"] for row in table[7:]][-2:] == ["another person", "too few faces around"]
    with pytest.raises(ValueError, match="rows of seconds: expected windows or frames"):
        found.save_csv(tmp_path / "a.csv", rows="seconds")


def test_frames_are_a_data_frame():
    pytest.importorskip("pandas")
    frame = made().to_pandas(rows="frames")
    assert tuple(frame.columns) == column_names(("anger", "fear"), "frames")
    assert frame["left"].count() == 6
    assert [str(frame.dtypes[name]) for name in ("frame", "cut")] == ["int64", "bool"]
    assert frame["cut"].tolist() == [False, False, False, False, True, False, False] * 2


def test_the_command_writes_the_frames_of_a_file_of_variable_rate(tmp_path, fake_detector):  # noqa: F811
    times = [0, 0.04, 0.1, 0.5, 0.53, 0.9, 1.4, 1.5, 1.9, 2.0]
    video = write_video(tmp_path / "a.mp4", [True] * 6 + [False] * 4, times)
    with av.open(str(video)) as file:
        stream = file.streams.video[0]
        known = sorted(float(frame.pts * stream.time_base) for frame in file.decode(stream))
    run = write_checkpoint(tmp_path / "run")
    asked = (video, "--checkpoint", run, "--out", tmp_path / "out", "--every", 1, "--no-video", "--rows")
    assert fer_predict(*asked, "frames") == 0
    path = tmp_path / "out" / "a" / "frames.csv"
    table = list(csv.DictReader(path.open()))
    assert [float(row["time"]) for row in table] == pytest.approx(known, abs=1e-3)
    assert known == pytest.approx(times, abs=1e-3)
    assert [row["expression"] in SEVEN for row in table] == [True] * 6 + [False] * 4
    assert [row["left"] for row in table] == ["20.0"] * 6 + [""] * 4
    assert "frames.csv" in (path.parent / "index.html").read_text()
    assert fer_predict(*asked, "windows") == 0
    assert not path.exists()  # it would not agree with the new tables
    dictionary = data_dictionary()
    assert "falling linearly to 0 at its ends" in dictionary
    assert all(name in dictionary for name in table[0] if not name.startswith("p_"))
