"""Names that are long or of any script, a clock that was set back, and a home folder that is missing."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.faults.commands import Ended, index_of, make_faces, predict, prepare_own, prepared_store, quarantined
from tests.faults.corpus import numbered
from tests.videos import write_video

pytestmark = pytest.mark.slow

NAMES = {
    "scripts": "表情 ñandú Ωμέγα",
    "composed": "u\u0308 and ü",
    "spaces": " two  spaces ",
    "dots": "a.b.mp4.c",
    "long": "x" * 243,
    "longest": "y" * 250,  # with its suffix, 254 bytes
    "symbols": "😀" * 60,
}


@pytest.fixture(scope="module")
def named(tmp_path_factory, run) -> tuple[Path, dict[str, Ended]]:
    folder = tmp_path_factory.mktemp("names")
    clips = folder / "own" / "anger"
    clips.mkdir(parents=True)
    good = write_video(folder / "good.mp4", numbered(3))
    for name in NAMES.values():
        shutil.copy(good, clips / f"{name}.mp4")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FER_STORE", str(folder / "store"))
        ended = {
            "prepare": prepare_own(folder / "own"),
            "faces": make_faces(clips, folder / "faces"),
            "predict": predict(clips, run, folder / "predicted", "--no-video"),
        }
    return folder, ended


@pytest.mark.parametrize("name", NAMES)
def test_any_name_is_prepared_or_called_too_long(named, name):
    folder, ended = named
    assert ended["prepare"].status == 0
    row = index_of(folder / "store")[f"anger/{NAMES[name]}"]
    if name == "longest":
        assert "File name too long" in row.reason
        assert "File name too long" in quarantined(folder / "store")[f"anger/{NAMES[name]}"]
    else:
        assert row.num_faces == 3
        assert len(prepared_store(folder / "store").open(f"anger/{NAMES[name]}")) == 3


@pytest.mark.parametrize("command", ["faces", "predict"])
def test_any_name_is_read_and_has_a_folder_of_its_own(named, command):
    folder, ended = named
    assert ended[command].status == 0
    table = {"faces": "faces/*/faces.csv", "predict": "predicted/*/expressions.csv"}[command]
    assert len(list(folder.glob(table))) == len(NAMES)


@pytest.fixture
def own(tmp_path, monkeypatch) -> Path:
    monkeypatch.setenv("FER_STORE", str(tmp_path / "store"))
    (tmp_path / "own" / "anger").mkdir(parents=True)
    for name in ("a", "b"):
        write_video(tmp_path / "own" / "anger" / f"{name}.mp4", numbered(3))
    return tmp_path / "own"


def test_rows_from_before_the_clock_was_set_back_do_not_return(own, tmp_path):
    """The indices of parts are from the future; the whole one, written later, has an earlier time."""
    for shard in ("1/2", "2/2"):
        assert prepare_own(own, "--shard", shard).status == 0
    for path in (tmp_path / "store").rglob("index-*.csv"):
        os.utime(path, (4e9, 4e9))
    write_video(own / "anger" / "a.mp4", numbered(5))
    (index,) = {path.parent for path in (tmp_path / "store").rglob("index-*.csv")}
    for _ in range(2):
        ended = prepare_own(own)
        assert ended.status == 0
        assert index_of(index)["anger/a"].num_faces == 5
    assert "prepared again" not in ended.out, "nothing is left to do"


def test_files_from_the_future_are_prepared_once(own, tmp_path):
    os.utime(own / "anger" / "a.mp4", (4e9, 4e9))
    assert prepare_own(own).status == 0
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "store").rglob("*.safetensors")}
    assert prepare_own(own).status == 0
    assert len(before) == 2
    assert before == {path: path.stat().st_mtime_ns for path in (tmp_path / "store").rglob("*.safetensors")}


HOMELESS = """
import sys
from pathlib import Path
from tests.faults.commands import predict, prepare_own

own, run, out = map(Path, sys.argv[1:])
for ended in (prepare_own(own), predict(own / "anger", run, out, "--no-video")):
    print(ended.out, ended.err)
    if ended.status:
        sys.exit(ended.status)
"""


@pytest.mark.slow
@pytest.mark.parametrize("home", [None, "/dev/null/nowhere"])
def test_without_a_home_folder_everything_works(own, tmp_path, run, home):
    environment = {name: value for name, value in os.environ.items() if name != "HOME" and "XDG" not in name}
    environment |= {} if home is None else {"HOME": home}
    command = [sys.executable, "-c", HOMELESS, own, run, tmp_path / "out"]
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert len(list((tmp_path / "out").rglob("expressions.csv"))) == 2
