"""Full, read-only and forbidden disks, and limits of the system: one message, and nothing half-written counts."""

import ctypes
import os
import resource
import subprocess
from contextlib import suppress
from pathlib import Path

import pytest
import torch

from data_modules.utils.files import is_temporary
from fer_lightning import VideoClassifier
from fer_lightning.cli.main import main
from tests.faults.forked import run
from tests.small_runs import at_step
from tests.training.test_resuming import (  # noqa: F401 - fixtures
    COMMAND,
    data,
    no_report,
    own_run,
    refuse_differences,
    unbroken,
)
from tests.videos import numbered_frame, write_video

pytestmark = pytest.mark.slow

NEW_MOUNTS = 0x00020000  # CLONE_NEWNS
MOUNTS = pytest.mark.skipif(os.geteuid() != 0, reason="only root can mount a small disk")
NOBODY = 65534


def mount(folder: Path, *options: str) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "-o", ",".join(options), "tmpfs", str(folder)], check=True)


@pytest.fixture
def disk(tmp_path, monkeypatch):
    """A disk of 16 MB for the runs."""
    folder = tmp_path / "disk"
    folder.mkdir()
    mount(folder, "size=16m")
    monkeypatch.setenv("FER_RUNS", str(folder / "runs"))
    yield folder
    subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(disk: Path) -> None:
    """Leaves no free byte on a disk."""
    with (disk / "filler").open("ab", buffering=0) as file:
        for size in (1 << 20, 1 << 12):
            try:
                while file.write(bytes(size)) == size:
                    pass
            except OSError:
                continue


def refuse_half_files(folder: Path) -> None:
    """Everything that has the name of a checkpoint can be read, and nothing temporary is left."""
    for path in folder.rglob("*.ckpt"):
        torch.load(path, weights_only=True)
    assert not [path for path in folder.rglob("*") if is_temporary(path)]


@MOUNTS
@pytest.mark.parametrize("place", ["training", pytest.param("evaluation", marks=pytest.mark.slow)])
def test_a_run_on_a_full_disk_goes_on_when_there_is_space(disk, tmp_path, monkeypatch, unbroken, place):  # noqa: F811
    """It fills up in the second epoch, before its checkpoint, or while the prediction tables are made."""
    with monkeypatch.context() as patch:
        if place == "training":
            at_step(patch, 1, 2, lambda: fill(disk))
        else:
            step = VideoClassifier.test_step
            patch.setattr(VideoClassifier, "test_step", lambda *a, **k: (fill(disk), step(*a, **k))[1])
        status, said = run(COMMAND, tmp_path)
    assert status == 2
    assert said.count("fer train: ") == 1
    assert "disk full" in said or "no space left on device" in said
    assert "FER_RUNS" in said
    assert str(own_run().path) in said.split("fer train: ")[1]
    assert "Traceback" not in said
    refuse_half_files(own_run().path)
    assert not own_run().finished
    (disk / "filler").unlink()
    assert main(COMMAND) == 0
    refuse_differences(unbroken)


def a_video(folder: Path) -> Path:
    folder.mkdir()
    return write_video(folder / "a.mp4", [numbered_frame(i) for i in range(3)])


def commands(folder: Path) -> dict[str, list[str]]:
    """What writes into a folder, by its name."""
    faces = ["--detector", "crop", "--size", "64", "--workers", "0"]
    return {"train": COMMAND, "faces": ["faces", str(folder / "videos"), "--out", str(folder / "disk" / "out"), *faces]}


@MOUNTS
@pytest.mark.parametrize("command", ["train", "faces"])
def test_a_read_only_disk_is_one_message(disk, tmp_path, command):
    a_video(tmp_path / "videos")
    mount(disk, "remount", "ro")
    status, said = run(commands(tmp_path)[command], tmp_path)
    assert status == 2
    assert f"fer {command}: cannot write to {disk}" in said
    assert "read-only file system" in said
    assert "Traceback" not in said


@MOUNTS
@pytest.mark.parametrize("command", ["train", "faces"])
def test_a_folder_without_permission_is_one_message(tmp_path, monkeypatch, command):
    """Nobody writes into a folder of root."""
    a_video(tmp_path / "videos")
    (tmp_path / "disk").mkdir(mode=0o755)
    monkeypatch.setenv("FER_RUNS", str(tmp_path / "disk" / "runs"))
    for folder in (Path(os.environ["FER_DATA"]).parent, tmp_path, *tmp_path.parents):
        if not folder.stat().st_mode & 0o001:  # nobody has to find the way
            folder.chmod(0o755)
    status, said = run(commands(tmp_path)[command], tmp_path, lambda: os.seteuid(NOBODY))
    assert status == 2
    assert f"fer {command}: cannot write to {tmp_path / 'disk'}" in said
    assert "permission denied" in said
    assert "Traceback" not in said
    assert not list((tmp_path / "disk").iterdir())


def test_a_limit_of_the_size_of_files_is_one_message(tmp_path):
    """The first checkpoint is larger than allowed."""
    limit = 50_000
    status, said = run(COMMAND, tmp_path, lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
    assert status == 2, said
    assert said.count("fer train: ") == 1
    assert "File too large" in said
    assert "ulimit -f" in said
    assert "Traceback" not in said
    refuse_half_files(own_run().path)


def use_up_handles() -> None:
    """Opens as many files as the process may have."""
    limit = 1 + max(int(handle.name) for handle in Path("/proc/self/fd").iterdir())
    resource.setrlimit(resource.RLIMIT_NOFILE, (limit, limit))
    with suppress(OSError):
        while True:
            os.open("/dev/null", os.O_RDONLY)


def test_file_handles_that_are_used_up_are_one_message(tmp_path, monkeypatch):
    """Before the processes that load what is evaluated begin."""
    at_step(monkeypatch, 0, 1, use_up_handles)
    status, said = run([*COMMAND, "--data.num_workers", "2"], tmp_path)
    assert status == 2, said
    assert said.count("fer train: ") == 1
    assert "Too many open files" in said
    assert "ulimit -n" in said
    assert "Traceback" not in said


@MOUNTS
def test_a_small_shared_memory_is_one_message(tmp_path):
    """A `/dev/shm` of 4 KB, as containers have one of 64 MB."""
    if tmp_path.is_relative_to("/dev/shm"):
        pytest.skip("the test's own files are in /dev/shm")

    def shrink() -> None:
        assert ctypes.CDLL(None).unshare(NEW_MOUNTS) == 0
        subprocess.run(["mount", "--make-rprivate", "/"], check=True)
        mount(Path("/dev/shm"), "size=4k")

    status, said = run([*COMMAND, "--data.num_workers", "2"], tmp_path, shrink)
    assert status == 2, said
    assert said.count("fer train: ") == 1
    assert "need about" in said
    assert "/dev/shm has 0.0 MiB free" in said
