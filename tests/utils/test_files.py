import os
import stat
from pathlib import Path

import pytest

from data_modules.utils.files import atomic_file, atomic_write, file_state, remove_orphans


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


@pytest.mark.parametrize(("umask", "expected"), [(0o022, 0o644), (0o002, 0o664), (0o077, 0o600)])
def test_a_new_file_has_the_permissions_of_any_other(tmp_path, umask, expected):
    before = os.umask(umask)
    try:
        atomic_write(tmp_path / "a.txt", b"a")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a.txt").stat().st_mode) == expected


def test_the_content_is_on_the_disk_before_the_name_is(tmp_path, monkeypatch):
    done, fsync, replace = [], os.fsync, Path.replace

    def noted_fsync(handle):
        folder = stat.S_ISDIR(os.fstat(handle).st_mode)
        done.append("folder" if folder else os.pread(handle, 9, 0))
        fsync(handle)

    def noted_replace(path, target):
        done.append("renamed")
        return replace(path, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(Path, "replace", noted_replace)
    atomic_write(tmp_path / "a.txt", b"content")
    assert done == [b"content", "renamed", "folder"]


def test_one_of_many_files_is_whole_but_does_not_wait_for_the_disk(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "fsync", lambda handle: pytest.fail("waited for the disk"))
    atomic_write(tmp_path / "a.txt", b"content", flush=False)
    assert names(tmp_path) == {"a.txt"}
    assert (tmp_path / "a.txt").read_bytes() == b"content"


def test_after_an_error_the_earlier_file_is_there(tmp_path):
    atomic_write(tmp_path / "a.txt", b"earlier")

    def interrupted():
        with atomic_file(tmp_path / "a.txt") as temporary:
            temporary.write_bytes(b"half")
            assert temporary.suffix == ".txt", "some writers choose the form by it"
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        interrupted()
    assert names(tmp_path) == {"a.txt"}
    assert (tmp_path / "a.txt").read_bytes() == b"earlier"


def test_a_name_as_long_as_the_system_allows(tmp_path):
    path = tmp_path / f"{'a' * 251}.txt"
    atomic_write(path, b"a")
    assert path.read_bytes() == b"a"


def left_by_a_killed_process(folder: Path) -> Path:
    with atomic_file(folder / "a.txt") as temporary:
        temporary.write_bytes(b"half")
        (folder / "aside").hardlink_to(temporary)  # no process that is killed deletes it
    (folder / "aside").rename(temporary)
    (folder / "a.txt").unlink()
    return temporary


def test_files_of_killed_processes_are_removed_a_day_later(tmp_path):
    left = []
    for folder in (tmp_path, tmp_path / "below"):
        for age in (0, 2 * 86400):
            folder.mkdir(exist_ok=True)
            temporary = left_by_a_killed_process(folder)
            os.utime(temporary, (temporary.stat().st_mtime - age,) * 2)
            left.append(temporary)
    hidden = tmp_path / ".a-hidden.txt"
    hidden.touch()
    os.utime(hidden, (1, 1))
    remove_orphans(tmp_path)
    assert [path.exists() for path in left] == [True, False, True, False]
    assert hidden.exists()


def test_the_state_of_a_file_differs_once_it_is_written_or_replaced(tmp_path):
    path = tmp_path / "a.txt"
    assert file_state(path) is None
    path.write_bytes(b"a")
    first, time = file_state(path), path.stat().st_mtime_ns
    path.read_bytes()
    assert file_state(path) == first
    atomic_write(path, b"b")
    os.utime(path, ns=(time, time))  # same size and time of modification
    assert file_state(path) not in (None, first)
