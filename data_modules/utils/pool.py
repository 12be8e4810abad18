"""Work in several processes that may hang or crash: one that gives no sign of life for too long is stopped and named.

`concurrent.futures` cannot stop a process that hangs inside a decoder, and gives up as a whole when one dies.
"""

import logging
import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from multiprocessing.connection import Connection, wait
from typing import Generic, TypeVar, overload

from data_modules.utils.faults import is_passing
from data_modules.utils.files import NotWritableError

Item = TypeVar("Item")
Result = TypeVar("Result")

Work = Callable[[Item], Result | Generator[float, None, Result]]
"""What is done with an item: at once, or in a generator that yields how far it is (0 to 1) and returns the result."""

START_LIMIT = 300.0  # seconds; importing torch from a slow network disk takes its time


@dataclass(frozen=True)
class Failure:
    """Why an item has no result."""

    reason: str
    passing: bool = False  # whether it may have one when it is tried again, see `faults.is_passing`


@dataclass(frozen=True)
class _Ready:
    """A process has made what it works with, which says this about itself."""

    description: str


@dataclass(frozen=True)
class _Heartbeat:
    """A process lives, and is so far with its item."""

    done: float


@dataclass
class _Worker(Generic[Item]):
    """A process, its pipe, and what it is at."""

    process: multiprocessing.process.BaseProcess
    pipe: Connection
    deadline: float
    item: Item | None = None

    def end(self) -> None:
        """Kills the process: a decoder that hangs hears no politer signal."""
        self.pipe.close()
        self.process.kill()
        self.process.join()


@overload
def run_in_processes(
    make: Callable[[], Callable[[Item], Generator[float, None, Result]]],
    items: Sequence[Item],
    workers: int,
    time_limit: float,
    watch: Callable[[Item, float], None] = ...,
    ready: Callable[[str], None] = ...,
    tries: int = ...,
) -> Iterator[tuple[Item, Result | Failure]]: ...
@overload
def run_in_processes(
    make: Callable[[], Callable[[Item], Result]],
    items: Sequence[Item],
    workers: int,
    time_limit: float,
    *,
    tries: int = ...,
) -> Iterator[tuple[Item, Result | Failure]]: ...
def run_in_processes(
    make: Callable[[], Work[Item, Result]],
    items: Sequence[Item],
    workers: int,
    time_limit: float,
    watch: Callable[[Item, float], None] = lambda item, done: None,
    ready: Callable[[str], None] = lambda description: None,
    tries: int = 1,
) -> Iterator[tuple[Item, Result | Failure]]:
    """Yields each item with its result, in the order in which they are done.

    Args:
        make: called once in each process (picklable); returns the function that is called with each item.
        items: what there is to do.
        workers: number of processes, each with one thread; 0 does all in this process, without a time limit.
        time_limit: seconds without a sign of life, after which a process is killed and replaced. An item's work gives
            one when it is done, and whenever its generator yields.
        watch: is told what the generators yield.
        ready: is told, when a process is ready, what the attribute `description` of its work says.
        tries: how often an item is tried whose failure may pass (see `Failure`): again after all others, in half as
            many processes, as the likeliest reason for one that was killed is that there was no memory for so many.

    Raises:
        Exception: whatever `make` raises.
        NotWritableError: where the work writes to, nothing more can be written.
        RuntimeError: a process ended before it was ready.
    """
    while items:
        again = list[Item]()
        for item, result in _one_round(make, items, workers, time_limit, watch, ready):
            if tries > 1 and isinstance(result, Failure) and result.passing:
                again.append(item)
            else:
                yield item, result
        items, workers, tries = again, -(-workers // 2), tries - 1


def _one_round(
    make: Callable[[], Work[Item, Result]],
    items: Sequence[Item],
    workers: int,
    time_limit: float,
    watch: Callable[[Item, float], None],
    ready: Callable[[str], None],
) -> Iterator[tuple[Item, Result | Failure]]:
    if not workers:
        work = make()
        ready(getattr(work, "description", ""))
        for item in items:
            yield item, _attempt(work, item, partial(watch, item))
        return
    waiting, live = list(reversed(items)), list[_Worker[Item]]()
    try:
        while waiting or live:
            while waiting and len(live) < workers and len(live) < len(waiting) + sum(w.item is not None for w in live):
                live.append(_start(make))
            timeout = max(0.0, min(worker.deadline for worker in live) - time.monotonic())
            heard = wait([worker.pipe for worker in live], timeout)
            for worker in list(live):
                at = worker.item
                if worker.pipe in heard:
                    result = _receive(worker)
                elif time.monotonic() > worker.deadline:
                    result = Failure(f"no sign of life for {time_limit:.0f} s; its process was stopped", passing=True)
                else:
                    continue
                if isinstance(result, Exception):
                    raise result
                if isinstance(result, _Heartbeat) and at is not None:
                    worker.deadline = time.monotonic() + time_limit
                    watch(at, result.done)
                    continue
                if isinstance(result, _Ready):
                    ready(result.description)
                if at is not None:
                    yield at, result  # type: ignore[misc]
                dead = not worker.process.is_alive() or worker.pipe not in heard
                if dead and at is None:
                    raise RuntimeError("a worker process ended before it was ready; see its messages above")
                if dead or not waiting:
                    live.remove(worker)
                    worker.end()
                    continue
                worker.item, worker.deadline = waiting.pop(), time.monotonic() + time_limit
                with suppress(BrokenPipeError):  # it died just now, which the next round notices
                    worker.pipe.send(worker.item)
    finally:
        for worker in live:
            worker.end()


def _start(make: Callable[[], Work[Item, Result]]) -> _Worker[Item]:
    context = multiprocessing.get_context("spawn")  # a forked process inherits decoders' and torch's locked threads
    ours, theirs = context.Pipe()
    process = context.Process(target=_serve, args=(theirs, make), daemon=True)
    process.start()
    theirs.close()
    return _Worker(process, ours, time.monotonic() + START_LIMIT)


def _receive(worker: _Worker[Item]) -> object:
    """The worker's answer, or a failure if it died over its item."""
    try:
        return worker.pipe.recv()
    except (EOFError, ConnectionResetError):
        worker.process.join()
        return Failure(f"the process that read it crashed (exit code {worker.process.exitcode})", passing=True)


def _serve(pipe: Connection, make: Callable[[], Work[Item, Result]]) -> None:
    """The life of a worker process."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent hears Ctrl-C, and ends this process
    for library in ("OMP", "MKL", "OPENBLAS"):
        os.environ[f"{library}_NUM_THREADS"] = "1"
    try:
        work = make()
    except Exception as error:
        pipe.send(error)
        return
    logging.disable(logging.WARNING)  # it would break the parent's progress bar; results say what was wrong
    for library, name in (("torch", "set_num_threads"), ("cv2", "setNumThreads")):
        if library in sys.modules:  # it may have been imported before the variables above were set
            getattr(sys.modules[library], name)(1)
    pipe.send(_Ready(getattr(work, "description", "")))
    while True:
        try:
            item = pipe.recv()
        except EOFError:  # the parent is gone
            return
        try:
            pipe.send(_attempt(work, item, lambda done: pipe.send(_Heartbeat(done))))
        except NotWritableError as error:
            pipe.send(error)
            return


def _attempt(work: Work[Item, Result], item: Item, heartbeat: Callable[[float], None]) -> Result | Failure:
    try:
        result = work(item)
        return run_to_end(result, heartbeat) if isinstance(result, Generator) else result
    except NotWritableError:  # the next item's result could not be written either
        raise
    except Exception as error:
        return Failure(f"{error.__class__.__name__}: {error}", is_passing(error))


def run_to_end(work: Generator[float, None, Result], heartbeat: Callable[[float], None] = lambda done: None) -> Result:
    """What a generator of this kind returns; `heartbeat` is told what it yields."""
    while True:
        try:
            heartbeat(next(work))
        except StopIteration as end:
            made: Result = end.value
            return made
