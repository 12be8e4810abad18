"""Runs work in processes that may hang or crash: one without a heartbeat for too long is stopped and reported.

`concurrent.futures` cannot stop a process that hangs inside a decoder, and fails as a whole when one process dies.
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
from data_modules.utils.time_limit import PAUSE

Item = TypeVar("Item")
Result = TypeVar("Result")

Work = Callable[[Item], Result | Generator[float, None, Result]]
"""A function that processes an item, or a generator that yields its progress (0 to 1) and returns the result."""

START_LIMIT = 300.0  # seconds; importing torch from a slow network disk takes long


@dataclass(frozen=True)
class Failure:
    """Why an item has no result."""

    reason: str
    passing: bool = False  # whether another attempt may succeed, see `faults.is_passing`


@dataclass(frozen=True)
class _Ready:
    """Message of a process that is ready, with the description of its worker function."""

    description: str


@dataclass(frozen=True)
class _Heartbeat:
    """Message of a process that is alive, with the progress of its item."""

    done: float


@dataclass
class _Worker(Generic[Item]):
    """A process, its pipe, and its current item."""

    process: multiprocessing.process.BaseProcess
    pipe: Connection
    deadline: float
    item: Item | None = None

    def end(self) -> None:
        """Kills the process, as a decoder that hangs does not react to other signals."""
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
    """Processes items in parallel and yields each with its result, in the order in which they finish.

    Args:
        make: called once in each process (must be picklable); returns the function that is called with each item.
        items: the items to process.
        workers: number of processes, each with one thread; 0 works in this process, without a time limit.
        time_limit: seconds without a heartbeat after which a process is killed and replaced. A heartbeat comes when an
            item is finished and whenever its generator yields.
        watch: called with each item and the progress that its generator yields.
        ready: called with the attribute `description` of the function from `make` when a process is ready.
        tries: number of attempts for an item whose failure may pass (see `Failure`). Further attempts follow after all
            other items, in half as many processes, as processes are most often killed for lack of memory.

    Raises:
        Exception: any error that `make` raises.
        NotWritableError: the work cannot write its results.
        RuntimeError: a process ended before it was ready.
    """
    while items:
        retries = list[Item]()
        for item, result in _one_round(make, items, workers, time_limit, watch, ready):
            if tries > 1 and isinstance(result, Failure) and result.passing:
                retries.append(item)
            else:
                yield item, result
        items, workers, tries = retries, -(-workers // 2), tries - 1


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
    watched = time.monotonic()
    try:
        while waiting or live:
            while waiting and len(live) < workers and len(live) < len(waiting) + sum(w.item is not None for w in live):
                live.append(_start(make))
            timeout = max(0.0, min(worker.deadline for worker in live) - time.monotonic())
            with_message = wait([worker.pipe for worker in live], timeout)
            unwatched, watched = time.monotonic() - watched, time.monotonic()
            if unwatched > timeout + PAUSE:  # this process was stopped itself, and so were its workers, as by Ctrl-Z
                for worker in live:
                    worker.deadline += unwatched
            for worker in list(live):
                current = worker.item
                if worker.pipe in with_message:
                    result = _receive(worker)
                elif time.monotonic() > worker.deadline:
                    result = Failure(f"no sign of life for {time_limit:.0f} s; its process was stopped", passing=True)
                else:
                    continue
                if isinstance(result, Exception):
                    raise result
                if isinstance(result, _Heartbeat) and current is not None:
                    worker.deadline = time.monotonic() + time_limit
                    watch(current, result.done)
                    continue
                if isinstance(result, _Ready):
                    ready(result.description)
                if current is not None:
                    yield current, result  # type: ignore[misc]
                dead = not worker.process.is_alive() or worker.pipe not in with_message
                if dead and current is None:
                    raise RuntimeError("a worker process ended before it was ready; see its messages above")
                if dead or not waiting:
                    live.remove(worker)
                    worker.end()
                    continue
                worker.item, worker.deadline = waiting.pop(), time.monotonic() + time_limit
                with suppress(BrokenPipeError):  # it has just died, which the next iteration notices
                    worker.pipe.send(worker.item)
    finally:
        for worker in live:
            worker.end()


def _start(make: Callable[[], Work[Item, Result]]) -> _Worker[Item]:
    context = multiprocessing.get_context(
        "spawn"
    )  # forked processes inherit locks held by threads of decoders and torch
    parent_pipe, child_pipe = context.Pipe()
    process = context.Process(target=_serve, args=(child_pipe, make), daemon=True)
    process.start()
    child_pipe.close()
    return _Worker(process, parent_pipe, time.monotonic() + START_LIMIT)


def _receive(worker: _Worker[Item]) -> object:
    """Returns the worker's message, or a failure if its process has died."""
    try:
        return worker.pipe.recv()
    except (EOFError, ConnectionResetError):
        worker.process.join()
        return Failure(f"the process that read it crashed (exit code {worker.process.exitcode})", passing=True)


def _serve(pipe: Connection, make: Callable[[], Work[Item, Result]]) -> None:
    """Runs in a worker process: creates the function and applies it to items until the pipe closes."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the parent handles Ctrl-C and ends this process
    for library in ("OMP", "MKL", "OPENBLAS"):
        os.environ[f"{library}_NUM_THREADS"] = "1"
    try:
        work = make()
    except Exception as error:
        pipe.send(error)
        return
    logging.disable(logging.WARNING)  # messages would break the parent's progress bar; results contain the errors
    for library, name in (("torch", "set_num_threads"), ("cv2", "setNumThreads")):
        if library in sys.modules:  # may have been imported before the variables above were set
            getattr(sys.modules[library], name)(1)
    pipe.send(_Ready(getattr(work, "description", "")))
    while True:
        try:
            item = pipe.recv()
        except EOFError:  # the parent has ended
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
    except NotWritableError:  # the results of other items could not be written either
        raise
    except Exception as error:
        return Failure(f"{error.__class__.__name__}: {error}", is_passing(error))


def run_to_end(work: Generator[float, None, Result], heartbeat: Callable[[float], None] = lambda done: None) -> Result:
    """Runs a generator to its end and returns its result; `heartbeat` is called with each value that it yields."""
    while True:
        try:
            heartbeat(next(work))
        except StopIteration as end:
            result: Result = end.value
            return result
