"""`fer faces` is called again: what has changed is made again, and what a user can mend is one message."""

import csv
import errno
import json
import os
from pathlib import Path

import cv2
import pytest

from fer_lightning.cli.main import main
from tests.videos import numbered_frame, read_number, write_video

pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture
def videos(tmp_path) -> Path:
    folder = tmp_path / "videos"
    folder.mkdir()
    write_video(folder / "a.mp4", [numbered_frame(i) for i in range(6)])
    write_video(folder / "b.mp4", [numbered_frame(i) for i in range(3)])
    return folder


def fer_faces(videos: Path, out: Path) -> int:
    return main(["faces", str(videos), "--out", str(out), "--detector", "crop", "--size", "64", "--workers", "0"])


def exported(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.glob("*.jpg"))


def test_the_faces_of_a_replaced_video_are_made_again(videos, tmp_path, capsys):
    out = tmp_path / "out"
    assert fer_faces(videos, out) == 0
    assert exported(out / "a") == [f"00000{i}.jpg" for i in range(6)]
    (out / "a" / "note.jpg").touch()  # somebody else's
    before = (out / "b" / "000000.jpg").stat().st_mtime_ns
    write_video(videos / "a.mp4", [numbered_frame(i) for i in (9, 8)])
    capsys.readouterr()
    assert fer_faces(videos, out) == 0
    said = capsys.readouterr().out
    assert "changed since they were prepared and are prepared again: a\n" in said
    assert "a face in 2 of 2 frames" in said
    assert exported(out / "a") == ["000000.jpg", "000001.jpg", "note.jpg"]
    with (out / "a" / "faces.csv").open() as file:
        assert [row["frame"] for row in csv.DictReader(file)] == ["0", "1"]
    assert read_number(cv2.imread(str(out / "a" / "000000.jpg"))) == 9
    assert (out / "b" / "000000.jpg").stat().st_mtime_ns == before


def test_a_video_with_a_new_date_is_the_same(videos, tmp_path, capsys):
    assert fer_faces(videos, tmp_path / "out") == 0
    (stored,) = (tmp_path / "out").glob("store-*/a.safetensors")
    before = stored.stat().st_mtime_ns
    os.utime(videos / "a.mp4", (1, 1))
    capsys.readouterr()
    assert fer_faces(videos, tmp_path / "out") == 0
    assert stored.stat().st_mtime_ns == before
    assert "made again" not in capsys.readouterr().out


def test_a_file_that_was_cut_is_made_again(videos, tmp_path, capsys):
    assert fer_faces(videos, tmp_path / "out") == 0
    (stored,) = (tmp_path / "out").glob("store-*/a.safetensors")
    whole = stored.read_bytes()
    stored.write_bytes(whole[:-100])
    assert fer_faces(videos, tmp_path / "out") == 0
    assert f"damaged files in {stored.parent}, which are created again: a\n" in capsys.readouterr().out
    assert len(stored.read_bytes()) == len(whole)


def test_damage_that_shows_in_a_picture_is_one_message(videos, tmp_path, capsys):
    assert fer_faces(videos, tmp_path / "out") == 0
    (stored,) = (tmp_path / "out").glob("store-*/a.safetensors")
    content = stored.read_bytes()
    assert content.count(b"\xff\xd8\xff") == 6
    stored.write_bytes(content.replace(b"\xff\xd8\xff", b"\0\0\0"))
    (tmp_path / "out" / "a" / "000000.jpg").unlink()
    capsys.readouterr()
    assert fer_faces(videos, tmp_path / "out") == 2
    said = capsys.readouterr().err
    assert said.startswith(f"fer faces: clip 'a': {stored} is damaged")
    assert "delete this file" in said
    assert "Traceback" not in said
    stored.unlink()
    assert fer_faces(videos, tmp_path / "out") == 0


def test_a_full_disk_is_one_message(videos, tmp_path, monkeypatch, capsys):
    def full(path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr("data_modules.utils.files._flush_to_disk", full)
    assert fer_faces(videos, tmp_path / "out") == 2
    said = capsys.readouterr().err
    assert said.startswith(f"fer faces: cannot write to {tmp_path / 'out'}")
    assert "no space left on device" in said
    assert "Free space" in said
    assert len(said.splitlines()) == 1


def test_how_faces_are_tracked_is_an_option(videos, tmp_path, capsys):
    arguments = ["faces", str(videos), "--detector", "crop", "--size", "64", "--workers", "0"]
    tracking = ["--tracking.vote.size", "3", "--tracking.k", "5", "--tracking.embedding.threshold", "0.9"]
    assert main([*arguments, "--out", str(tmp_path / "out"), *tracking]) == 0
    (note,) = (tmp_path / "out").glob("store-*/settings.json")
    stated = json.loads(note.read_text())["tracking"]
    assert (stated["vote"]["size"], stated["k"], stated["embedding"]["threshold"]) == (3.0, 5, 0.9)
    assert (stated["vote"]["frequency"], stated["embedder"]) == (1.0, "none")
    assert main([*arguments, "--out", str(tmp_path / "out")]) == 2, "faces that were tracked otherwise do not mix"
    assert "holds faces with other settings" in capsys.readouterr().err
