"""Frames and times are those of PyAV, whichever reader is chosen."""

import subprocess
import sys
from fractions import Fraction

import av
import cv2
import numpy as np
import pytest

from data_modules.video.reader import open_video
from data_modules.video.torchcodec_frames import ReaderNotFoundError, require_torchcodec, torchcodec_frames
from fer_lightning.cli.main import main
from tests.faults.corpus import write_pixels
from tests.videos import cut, numbered_frame, read_number, rotate, write_video


def _without() -> str:
    try:
        require_torchcodec()
    except ReaderNotFoundError as error:
        return str(error)
    return ""


needs_torchcodec = pytest.mark.skipif(bool(_without()), reason="torchcodec or the libraries of FFmpeg are missing")
FRAMES = [numbered_frame(i) for i in range(40)]
IRREGULAR = np.cumsum([0, *([40, 20, 300, 41] * 10)])[:40].tolist()  # milliseconds

VIDEOS = {
    "constant": lambda path: write_video(path, FRAMES),
    "variable": lambda path: write_video(path, FRAMES, milliseconds=IRREGULAR),
    "b_frames": lambda path: write_video(path, FRAMES, options={"bf": "3", "g": "40"}),
    "variable_b_frames": lambda path: write_video(path, FRAMES, milliseconds=IRREGULAR, options={"bf": "3"}),
    "hevc": lambda path: write_video(path, FRAMES, codec="libx265"),
    "rotated": lambda path: rotate(write_video(path, FRAMES), 1),
    "oblong": lambda path: write_video(path, FRAMES, pixel=Fraction(64, 45)),
    "oblong_rotated": lambda path: rotate(write_video(path, FRAMES, pixel=Fraction(8, 9)), 3),
    "cut": lambda path: cut(_index_first(write_video(path, FRAMES)), 0.7),
    "hole": lambda path: _with_hole(write_video(path, FRAMES, options={"bf": "2"})),
    "matroska": lambda path: write_video(path.with_suffix(".mkv"), FRAMES),
    "cut_matroska": lambda path: cut(write_video(path.with_suffix(".mkv"), FRAMES), 0.6),
}
BY_TORCHCODEC = ("constant", "variable", "b_frames", "variable_b_frames", "hevc")  # to the last frame


def _index_first(path):
    """Moves the index to the front, so that a file that is cut off can be opened."""
    moved = path.with_name("moved.mp4")
    with av.open(str(path)) as old, av.open(str(moved), "w", options={"movflags": "faststart"}) as new:
        stream = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(video=0):
            if packet.dts is not None:
                packet.stream = stream
                new.mux(packet)
    return moved.replace(path)


def _with_hole(path):
    """Overwrites pictures in the middle of a file whose index is whole."""
    data = bytearray(path.read_bytes())
    begin, end = data.index(b"mdat"), data.index(b"moov")
    assert begin < end
    middle = (begin + end) // 2
    data[middle : middle + (end - begin) // 5] = bytes((end - begin) // 5)
    path.write_bytes(bytes(data))
    return path


@needs_torchcodec
@pytest.mark.parametrize("kind", VIDEOS)
def test_torchcodec_gives_the_frames_and_times_of_pyav(tmp_path, kind, monkeypatch):
    path, by_torchcodec = VIDEOS[kind](tmp_path / "a.mp4"), []

    def counted(*arguments):
        for item in torchcodec_frames(*arguments):
            by_torchcodec.append(item[0])
            yield item

    monkeypatch.setattr("data_modules.video.video_file.torchcodec_frames", counted)
    expected = open_video(path)
    pictures = dict(expected.frames())
    for every in (1, 4):
        source = open_video(path, reader="torchcodec")
        found = dict(source.frames(every=every))
        assert list(found) == list(pictures)[::every]
        assert all(np.array_equal(found[i], pictures[i]) for i in found)
        assert (source.broken, source.missing) == (expected.broken, expected.missing)
        assert source.timestamps == pytest.approx(expected.timestamps, abs=1e-6)
    if kind in BY_TORCHCODEC:
        assert by_torchcodec == [*range(40), *range(0, 40, 4)]
        assert [read_number(found[i]) for i in found] == list(found)
    some = [number for number in (1, 11, 12, 13, 27, 39) if number in pictures]
    for indices in (some, some[-1:], some[1:3]):
        read = dict(source.frames(indices))
        assert list(read) == indices
        assert all(np.array_equal(read[i], pictures[i]) for i in read)
    with pytest.raises(IndexError, match="was requested"):
        list(source.frames([40]))


@needs_torchcodec
def test_a_smaller_picture_and_more_bits_are_read_as_pyav_does(tmp_path):
    deep = write_pixels(tmp_path / "deep.mp4", FRAMES, "libx264", "yuv420p10le")
    plain = write_video(tmp_path / "plain.mp4", FRAMES)
    for path, max_side in ((deep, None), (plain, 48), (plain, 4000)):
        by_pyav, by_torchcodec = (
            dict(open_video(path, max_side, reader=reader).frames()) for reader in ("pyav", "torchcodec")
        )
        assert len(by_pyav) == 40
        assert all(np.array_equal(by_torchcodec[i], by_pyav[i]) for i in by_pyav)


@pytest.mark.parametrize(
    ("codec", "pixels"), [("libx264", "yuv420p"), ("libx264", "yuv420p10le"), ("libx265", "yuv420p12le")]
)
def test_a_few_frames_are_those_of_all_whatever_their_bits(tmp_path, codec, pixels):
    noise = np.random.default_rng(0).integers(0, 40, FRAMES[0].shape, dtype=np.uint8)
    frames = [np.minimum(frame, 200) + noise for frame in FRAMES]
    path = write_pixels(tmp_path / "a.mp4", frames, codec, pixels)
    everything, few = (dict(open_video(path).frames(indices)) for indices in (None, [5, 20]))
    assert list(few) == [5, 20]
    assert all(np.array_equal(few[i], everything[i]) for i in few)


@needs_torchcodec
def test_a_frame_at_another_time_than_expected_ends_the_reading(tmp_path):
    path, times = write_video(tmp_path / "a.mp4", FRAMES), np.arange(40) / 25
    assert len(list(torchcodec_frames(path, 0, range(40), times))) == 40
    times[20:] += 0.04  # as if a packet were lost
    assert [index for index, _ in torchcodec_frames(path, 0, range(40), times)] == list(range(20))
    assert not list(torchcodec_frames(path, 0, [0], times[:39])), "it counts otherwise"


WITHOUT_LIBRARIES = """
import sys
from types import ModuleType

{setup}
from data_modules.video.reader import open_video

try:
    open_video(sys.argv[1], reader="torchcodec")
except ValueError as error:
    print(error)
"""
NO_PACKAGE = "sys.modules['torchcodec'] = None"
NO_FFMPEG = """
import importlib.metadata
module = ModuleType("torchcodec")
module.ffmpeg_major_version = None  # as torchcodec 0.17 says that it found none
sys.modules["torchcodec"] = module
importlib.metadata.version = lambda name: "0.17.0"
"""


@pytest.mark.parametrize(
    ("setup", "words"),
    [
        (NO_PACKAGE, "found no torchcodec that can be loaded"),
        (NO_FFMPEG, "found torchcodec 0.17.0 without FFmpeg; expected the shared libraries of FFmpeg 4 to 9"),
    ],
)
def test_what_is_missing_is_named_with_what_to_install(tmp_path, setup, words):
    path = write_video(tmp_path / "a.mp4", FRAMES[:2])
    code = WITHOUT_LIBRARIES.format(setup=setup)
    said = subprocess.run([sys.executable, "-c", code, str(path)], capture_output=True, text=True, check=True).stdout
    assert said.startswith(f"--reader torchcodec: {words}")
    assert "apt install ffmpeg" in said


FACES = ("--detector", "crop", "--size", "64", "--workers", "0")


@needs_torchcodec
def test_fer_faces_says_what_reads_its_videos_and_makes_the_same_faces(tmp_path, capsys):
    path = write_video(tmp_path / "a.mp4", FRAMES[:6])
    for reader, name in (("pyav", "PyAV"), ("torchcodec", "torchcodec")):
        assert main(["faces", str(path), "--out", str(tmp_path / reader), "--reader", reader, *FACES]) == 0
        assert f"video files: {name} " in capsys.readouterr().out
    for picture in sorted((tmp_path / "pyav" / "a").glob("*.jpg")):
        assert np.array_equal(cv2.imread(str(picture)), cv2.imread(str(tmp_path / "torchcodec" / "a" / picture.name)))


@pytest.mark.parametrize("command", ["faces", "predict", "prepare"])
def test_every_command_that_reads_videos_refuses_a_reader_that_is_missing(tmp_path, command, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchcodec", None)
    monkeypatch.setenv("FER_STORE", str(tmp_path / "store"))
    for clip in (f"{emotion}/{number}.mp4" for emotion in ("anger", "fear") for number in range(5)):
        path = tmp_path / "clips" / clip
        path.parent.mkdir(parents=True, exist_ok=True)
        write_video(path, FRAMES[:6])
    words = {
        "faces": ["faces", str(path), "--out", str(tmp_path / "out"), *FACES],
        "predict": ["predict", str(path), "--out", str(tmp_path / "out"), "--workers", "0"],
        "prepare": ["data", "prepare", "own", "--dataset.root", str(tmp_path / "clips"), "--workers", "0"],
    }[command]
    assert main([*words, "--reader", "torchcodec"]) == 2
    assert "--reader torchcodec: found no torchcodec that can be loaded" in capsys.readouterr().err
