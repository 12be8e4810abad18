import os
import time
from collections.abc import Callable, Generator

import pytest

from data_modules.faces.errors import DetectorNotFoundError
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


def test_a_process_that_hangs_or_crashes_is_replaced_and_its_item_named():
    start = time.monotonic()
    results = dict(run_in_processes(make_double, list(range(10)), workers=2, time_limit=1.0))
    assert time.monotonic() - start < 40
    assert sorted(results) == list(range(10))
    assert {i: r for i, r in results.items() if not isinstance(r, Failure)} == {i: 2 * i for i in (0, 1, 2, 4, 7, 8, 9)}
    assert results[3] == Failure("the process that read it crashed (exit code 7)")
    assert results[5] == Failure("no sign of life for 1 s; its process was stopped")
    assert results[6] == Failure("UnreadableVideoError: six")


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
def test_work_that_gives_signs_of_life_may_last_longer_than_the_limit(workers):
    signs: list[tuple[int, float]] = []
    results = run_in_processes(make_slow, [4, 0], workers, 1.0, lambda item, share: signs.append((item, share)))
    assert dict(results) == {4: 4, 0: 0}
    assert signs == [(4, 0), (4, 0.25), (4, 0.5), (4, 0.75)]


class Named:
    about = "a net on cpu"

    def __call__(self, item: int) -> int:
        return item


def make_named() -> Named:
    return Named()


@pytest.mark.parametrize("workers", [0, 2])
def test_what_the_work_is_done_with_is_told(workers):
    said: list[str] = []
    assert dict(run_in_processes(make_named, [1, 2, 3], workers, 60, ready=said.append)) == {1: 1, 2: 2, 3: 3}
    assert set(said) == {"a net on cpu"}
