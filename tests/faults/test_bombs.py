"""Small files that ask for much memory or time: the limit is named, and the memory is bounded."""

import subprocess
import sys
from pathlib import Path

import pytest

from data_modules.faces.extraction import BATCH_PIXELS
from data_modules.video.audio_track import read_audio
from data_modules.video.source import UnreadableVideoError
from tests.faults.bombs import BOMBS, write_huge_frames, write_sound_of, write_ten_hours
from tests.faults.commands import WholeFrames, index_of, predict, prepare_own
from tests.videos import numbered_frame, write_video

pytestmark = pytest.mark.slow

MEASURED = """
import resource, sys
from tests.faults.commands import prepare_own
from pathlib import Path

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024

prepare_own(Path(sys.argv[1]))  # what every preparation takes
before = peak()
ended = prepare_own(Path(sys.argv[2]))
print(ended.out, ended.err)
print(peak() - before)
sys.exit(ended.status)
"""


@pytest.fixture(scope="module")
def good(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp("good")
    (root / "anger").mkdir()
    for name in "ab":
        write_video(root / "anger" / f"{name}.mp4", [numbered_frame(number) for number in range(4)])
    return root


def prepare_measured(good: Path, root: Path) -> int:
    """Prepares a folder in a process of its own; returns by how many megabytes its memory grew."""
    ended = subprocess.run([sys.executable, "-c", MEASURED, good, root], capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    return int(ended.stdout.split()[-1])


def store_beside(good: Path, stores: Path) -> Path:
    """The other store than that of the good clips."""
    (store,) = (path for path in stores.iterdir() if path.is_dir() and good.name not in path.name)
    return store


@pytest.fixture(scope="module")
def bombs(good, tmp_path_factory) -> tuple[Path, int]:
    """The store of a folder of all bombs, and the memory that preparing it took."""
    root = tmp_path_factory.mktemp("bombs")
    (root / "anger").mkdir()
    for name, (write, _) in BOMBS.items():
        write(root / "anger" / name)
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FER_STORE", str(root / ".store"))
        grown = prepare_measured(good, root)
    return store_beside(good, root / ".store"), grown


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_with_its_limit(bombs, name):
    row = index_of(bombs[0])[f"anger/{Path(name).stem}"]
    assert row.reason.startswith("unreadable: UnreadableVideoError")
    assert BOMBS[name][1] in row.reason
    assert row.num_frames == 0


def test_refusing_bombs_takes_little_memory(bombs):
    assert bombs[1] < 400  # the decoder needs one of the pictures of 8400 x 8400 to see its size


@pytest.mark.slow
def test_ten_hours_are_read_without_their_gaps(tmp_path, run):
    video = write_ten_hours(tmp_path / "hours.mp4")
    ended = predict(video, run, tmp_path / "out", "--no-video", "--window", 120, "--hop", 120)
    assert ended.status == 0
    assert "hours.mp4: 10:00:00 h" in ended.out
    rows = (tmp_path / "out" / "hours" / "expressions.csv").read_text().splitlines()
    assert len(rows) == 1 + 300  # every two minutes


@pytest.mark.slow
def test_large_frames_reach_the_detector_a_few_at_a_time(tmp_path, run):
    side, detector = 4096, WholeFrames()
    video = write_huge_frames(tmp_path / "large.mov", side)
    assert predict(video, run, tmp_path / "out", "--no-video", "--every", 1, detector=detector).status == 0
    assert sum(detector.batches) == 4
    assert max(detector.batches) * side * side <= BATCH_PIXELS


@pytest.mark.slow
def test_the_largest_frames_that_are_read_take_bounded_memory(good, tmp_path, monkeypatch):
    monkeypatch.setenv("FER_STORE", str(tmp_path / "store"))
    (tmp_path / "own" / "anger").mkdir(parents=True)
    for name in ("a", "b"):
        write_huge_frames(tmp_path / "own" / "anger" / f"{name}.mov", 8000)
    assert prepare_measured(good, tmp_path / "own") < 1500
    assert {row.num_faces for row in index_of(store_beside(good, tmp_path / "store")).values()} == {4}


@pytest.mark.parametrize(
    ("rate", "channels"), [(1, 1), (10, 1), (536_886_912, 1), (2_147_483_647, 1), (48_000, 255), (0, 1), (8000, 0)]
)
def test_absurd_rates_of_sound_are_refused(tmp_path, rate, channels):
    path = write_sound_of(tmp_path / "absurd.wav", rate, channels)
    expected = f"{rate} Hz, expected 1000 to 768000 Hz" if rate in (1, 10, 536_886_912) else "audio"
    with pytest.raises(UnreadableVideoError, match=expected):
        read_audio(path)


def test_clips_are_prepared_beside_bombs(tmp_path, monkeypatch):
    monkeypatch.setenv("FER_STORE", str(tmp_path / "store"))
    (tmp_path / "own" / "anger").mkdir(parents=True)
    BOMBS["million.mp4"][0](tmp_path / "own" / "anger" / "million.mp4")
    write_video(tmp_path / "own" / "anger" / "good.mp4", [numbered_frame(number) for number in range(4)])
    assert prepare_own(tmp_path / "own").status == 0
    assert index_of(tmp_path / "store")["anger/good"].num_faces == 4
