import errno
import os
import time
from collections.abc import Callable, Generator
from functools import partial
from pathlib import Path
from types import SimpleNamespace

import pytest

from data_modules.faces.errors import DetectorNotFoundError
from data_modules.utils import pool
from data_modules.utils.files import NotWritableError
from data_modules.utils.pool import Failure, run_in_processes
from data_modules.video.source import UnreadableVideoError

# What the worker processes run must be importable from there.


def double(item: int) -> int:
    if item == 3:
        os._exit(7)  # as a decoder does that crashes
    if item == 5:
        time.sleep(60)
    if item == 6:
        raise UnreadableVideoError("six")
    return 2 * item


def make_double() -> Callable[[int], int]:
    return double


def make_nothing() -> Callable[[int], int]:
    raise DetectorNotFoundError("install it")


def test_a_process_that_hangs_or_crashes_is_replaced():
    start = time.monotonic()
    results = dict(run_in_processes(make_double, list(range(10)), workers=2, time_limit=1.0))
    assert time.monotonic() - start < 40
    assert sorted(results) == list(range(10))
    assert {i: r for i, r in results.items() if not isinstance(r, Failure)} == {i: 2 * i for i in (0, 1, 2, 4, 7, 8, 9)}
    assert results[3] == Failure("the process that read it crashed (exit code 7)", passing=True)
    assert results[5] == Failure("no sign of life for 1 s; its process was stopped", passing=True)
    assert results[6] == Failure("UnreadableVideoError: six")


def test_time_in_which_everything_is_stopped_is_no_sign_of_death(monkeypatch):
    """As by Ctrl-Z: the clock goes on, and neither the worker nor the one who waits for it does."""
    wait, stops = pool.wait, [1000.0, 1000.0, 1000.0]
    clock = SimpleNamespace(skipped=0.0)
    clock.monotonic = lambda: time.monotonic() + clock.skipped

    def stopped(pipes, timeout):
        found = wait(pipes, timeout)
        clock.skipped += stops.pop() if stops else 0
        return [] if stops else found

    monkeypatch.setattr(pool, "time", clock)
    monkeypatch.setattr(pool, "wait", stopped)
    assert list(run_in_processes(make_double, [1], workers=1, time_limit=30)) == [(1, 2)]
    assert not stops


@pytest.mark.parametrize("workers", [0, 1])
def test_what_cannot_start_raises(workers):
    with pytest.raises(DetectorNotFoundError, match="install it"):
        list(run_in_processes(make_nothing, [1, 2], workers, time_limit=5))
    assert list(run_in_processes(make_double, [], workers, time_limit=5)) == []


def slow(item: int) -> Generator[float, None, int]:
    for step in range(item):
        yield step / item
        time.sleep(0.4)
    return item


def make_slow() -> Callable[[int], Generator[float, None, int]]:
    return slow


@pytest.mark.parametrize("workers", [0, 1])
def test_work_that_gives_signs_of_life_may_last_longer(workers):
    signs: list[tuple[int, float]] = []
    results = run_in_processes(make_slow, [4, 0], workers, 1.0, lambda item, share: signs.append((item, share)))
    assert dict(results) == {4: 4, 0: 0}
    assert signs == [(4, 0), (4, 0.25), (4, 0.5), (4, 0.75)]


class Named:
    description = "a net on cpu"

    def __call__(self, item: int) -> int:
        return item


def make_named() -> Named:
    return Named()


@pytest.mark.parametrize("workers", [0, 2])
def test_what_the_work_is_done_with_is_told(workers):
    said: list[str] = []
    assert dict(run_in_processes(make_named, [1, 2, 3], workers, 60, ready=said.append)) == {1: 1, 2: 2, 3: 3}
    assert set(said) == {"a net on cpu"}


def fails(item: str) -> str:
    if item == "disk":
        raise OSError(errno.EIO, os.strerror(errno.EIO))
    if item == "memory behind a reader's error":
        raise UnreadableVideoError(item) from MemoryError()
    if item == "GPU":
        raise RuntimeError("CUDA error: unspecified launch failure")
    if item == "content":
        raise UnreadableVideoError(item) from OSError("truncated")
    if item == "annotation":
        raise ValueError(item)
    if item == "place":
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT))
    return item


def make_fails() -> Callable[[str], str]:
    return fails


@pytest.mark.parametrize("workers", [0, 1])
def test_failures_of_the_machine_may_pass_those_of_a_file_not(workers):
    passing = {"disk": True, "memory behind a reader's error": True, "GPU": True}
    lasting = {"content": False, "annotation": False, "place": False}
    found = dict(run_in_processes(make_fails, [*passing, *lasting, "good"], workers, 60))
    assert found.pop("good") == "good"
    assert {item: result.passing for item, result in found.items() if isinstance(result, Failure)} == passing | lasting


def note(tries: Path, item: int) -> int:
    """Crashes at the first try of 1 and at every one of 2."""
    with (tries / str(item)).open("a") as file:
        file.write(".")
    if item == 2 or (item == 1 and (tries / "1").read_text() == "."):
        os._exit(9)
    return item


def make_note(tries: Path) -> Callable[[int], int]:
    return partial(note, tries)


def test_what_may_pass_is_tried_again_after_the_others(tmp_path):
    results = list(run_in_processes(partial(make_note, tmp_path), [1, 2, 3], 1, 60, tries=2))
    assert results == [(3, 3), (1, 1), (2, Failure("the process that read it crashed (exit code 9)", passing=True))]
    assert {path.name: len(path.read_text()) for path in tmp_path.iterdir()} == {"1": 2, "2": 2, "3": 1}


def full(item: int) -> int:
    if item == 2:
        raise NotWritableError("the disk is full")
    return item


def make_full() -> Callable[[int], int]:
    return full


@pytest.mark.parametrize("workers", [0, 1])
def test_a_full_disk_ends_all_work(workers):
    results = run_in_processes(make_full, [1, 2, 3], workers, 60, tries=2)
    assert next(iter(results)) == (1, 1)
    with pytest.raises(NotWritableError, match="the disk is full"):
        next(iter(results))
