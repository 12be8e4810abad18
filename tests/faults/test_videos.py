"""Damaged and odd videos, all in one folder, through `fer data prepare`, `fer faces` and `fer predict`."""

import json
from pathlib import Path

import numpy as np
import pytest

from data_modules.video.reader import open_video
from tests.faults.commands import Ended, index_of, make_faces, predict, prepare_own, quarantined
from tests.faults.corpus import (
    AS_THEY_ARE,
    CUT,
    FRAMES,
    READ,
    REFUSED,
    flip_bits,
    numbered,
    write_index_in_front,
    write_pixels,
)

GOOD = "one.mp4"


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("own") / "happiness"
    folder.mkdir()
    for name, (write, *_) in (REFUSED | READ | AS_THEY_ARE).items():
        write(folder / name)
    for name, write in CUT.items():
        write(folder / name)
    return folder


@pytest.fixture(scope="module")
def prepared(videos) -> Ended:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FER_STORE", str(videos.parent / ".store"))
        return prepare_own(videos.parent)


@pytest.fixture(scope="module")
def faces(videos, tmp_path_factory) -> tuple[Ended, Path]:
    out = tmp_path_factory.mktemp("faces")
    return make_faces(videos, out), out


@pytest.fixture(scope="module")
def predicted(videos, run, tmp_path_factory) -> tuple[Ended, Path]:
    out = tmp_path_factory.mktemp("predicted")
    return predict(videos, run, out, "--no-video"), out


def prepared_name(name: str) -> str:
    return f"happiness/{Path(name).stem}"


def line_of(name: str, out: str) -> str:
    return next(line for line in out.splitlines() if name in line)


@pytest.mark.parametrize("name", REFUSED)
def test_what_holds_no_pictures_is_named_with_its_reason(videos, prepared, faces, predicted, name):
    words = REFUSED[name][1]
    assert (prepared.status, faces[0].status, predicted[0].status) == (0, 1, 1)
    row = index_of(videos.parent / ".store")[prepared_name(name)]
    assert row.reason.startswith("unreadable: UnreadableVideoError")
    assert words in row.reason
    assert words in quarantined(videos.parent / ".store")[prepared_name(name)]
    assert words in line_of(f"{name}: ", faces[0].out)
    assert words in line_of(f"{name}: not predicted", predicted[0].out)
    assert not (faces[1] / Path(name).stem).exists()
    assert not (predicted[1] / Path(name).stem).exists()


@pytest.mark.parametrize("name", READ)
def test_what_is_odd_is_read(videos, prepared, faces, predicted, name):
    _, count, size = READ[name]
    row = index_of(videos.parent / ".store")[prepared_name(name)]
    assert (row.num_frames, row.num_faces, row.broken, row.missing, row.reason) == (count, count, 0, 0, "")
    assert not row.picture_note
    assert (row.width, row.height) == size
    assert prepared_name(name) not in quarantined(videos.parent / ".store")
    assert len(list((faces[1] / Path(name).stem).glob("*.jpg"))) == count
    assert "Not all of it" not in line_of(f"{name}: ", predicted[0].out)
    video = json.loads((predicted[1] / Path(name).stem / "expressions.json").read_text())["video"]
    assert (video["frames"], video["width"], video["height"]) == (count, *size)


@pytest.mark.parametrize("name", AS_THEY_ARE)
def test_what_would_need_a_filter_is_read_as_it_is_and_called_so(videos, prepared, faces, predicted, name):
    said = AS_THEY_ARE[name][1]
    row = index_of(videos.parent / ".store")[prepared_name(name)]
    assert (row.num_frames, row.num_faces, row.reason, row.picture_note) == (8, 8, "", said)
    assert quarantined(videos.parent / ".store")[prepared_name(name)] == said
    assert said in line_of(f"{prepared_name(name)}: ", prepared.out)
    assert said in line_of(f"{name}: ", faces[0].out)
    assert f"Read as it is: {said}. " in line_of(f"{name}: ", predicted[0].out)
    content = json.loads((predicted[1] / Path(name).stem / "expressions.json").read_text())
    assert content["video"]["picture_note"] == said


def test_the_curve_of_high_dynamic_range_changes_no_colour(tmp_path):
    """No tone mapping: a file that says PQ has the colours of one that says nothing."""
    pictures = [
        next(iter(open_video(write_pixels(tmp_path / name, numbered(1), "libx264", "yuv420p10le", **curve)).frames()))
        for name, curve in (("plain.mp4", {}), ("pq.mp4", {"color_trc": "smpte2084"}))
    ]
    np.testing.assert_array_equal(pictures[0][1], pictures[1][1])


@pytest.mark.parametrize("name", CUT)
def test_what_lost_its_end_is_read_up_to_there_and_called_so(videos, prepared, faces, predicted, name):
    row = index_of(videos.parent / ".store")[prepared_name(name)]
    assert 0 < row.num_faces == row.num_frames < FRAMES
    assert row.num_frames / 25 + row.missing == pytest.approx(FRAMES / 25, abs=0.1)
    said = f"the file was cut off: its last {row.missing:.1f} s are missing"
    assert said in quarantined(videos.parent / ".store")[prepared_name(name)]
    assert said in line_of(f"{prepared_name(name)}: ", prepared.out)
    assert said in line_of(f"{name}: ", faces[0].out)
    assert said in line_of(f"{name}: ", predicted[0].out)
    content = json.loads((predicted[1] / Path(name).stem / "expressions.json").read_text())
    assert content["video"]["missing"] == row.missing


@pytest.mark.parametrize(
    "seeds", [pytest.param(range(5), id="few"), pytest.param(range(20), id="all", marks=pytest.mark.slow)]
)
def test_flipped_bits_end_in_frames_or_a_reason(tmp_path, run, monkeypatch, seeds):
    monkeypatch.setenv("FER_STORE", str(tmp_path / "store"))
    folder = tmp_path / "own" / "happiness"
    folder.mkdir(parents=True)
    for seed in seeds:
        flip_bits(write_index_in_front(folder / f"{seed}.mp4"), seed)
    assert prepare_own(tmp_path / "own").status == 0
    index, listed = index_of(tmp_path / "store"), quarantined(tmp_path / "store")
    assert len(index) == len(seeds)
    for clip_id, row in index.items():
        assert row.reason.startswith("unreadable: UnreadableVideoError") or row.num_faces == row.num_frames > 0
        if row.reason or row.num_frames < FRAMES:
            assert listed[clip_id], "what is not whole has a reason"
    made = make_faces(folder, tmp_path / "faces")
    assert made.status == int(any(row.reason for row in index.values()))
    for clip_id, row in index.items():
        crops = list((tmp_path / "faces" / Path(clip_id).name).glob("*.jpg"))
        assert len(crops) == (0 if row.reason else row.num_frames)
    found = predict(folder, run, tmp_path / "out", "--no-video")
    assert found.out.count("not predicted") == sum(bool(row.reason) for row in index.values())
