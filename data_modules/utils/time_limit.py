"""Limits the time of work in this process that the system may block for ever, such as reading from a lost disk."""

import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Generic, TypeVar

Item = TypeVar("Item")
GRACE = 10.0  # seconds for an iterator to end that is no longer wanted
PAUSE = 2.0  # seconds by which a wait may be longer than its time limit on a busy machine


@dataclass(frozen=True)
class _Message(Generic[Item]):
    """What the thread hands on: an item, its error, or neither at the end."""

    items: tuple[Item, ...] = ()
    error: BaseException | None = None


def call_with_time_limit(function: Callable[[], Item], seconds: float) -> Item:
    """Returns what a function returns, which is called in a thread of its own; see `with_time_limit`.

    Raises:
        TimeoutError: it took longer.
        BaseException: any error of the function.
    """
    (result,) = with_time_limit(lambda: iter((function(),)), seconds)
    return result


def with_time_limit(make: Callable[[], Iterator[Item]], seconds: float) -> Iterator[Item]:
    """Yields the items of an iterator that runs in a thread of its own.

    A blocked read cannot be ended, so its thread is left behind; it ends with the process.

    Args:
        make: creates the iterator; called in the thread.
        seconds: the longest time for one item.

    Raises:
        TimeoutError: an item took longer.
        BaseException: any error of the iterator.
    """
    messages, stopped = queue.SimpleQueue[_Message[Item]](), threading.Event()

    def work() -> None:
        try:
            for item in make():
                messages.put(_Message((item,)))
                if stopped.is_set():
                    return
            messages.put(_Message())
        except BaseException as error:  # raised again where the items are used
            messages.put(_Message(error=error))

    thread, grace = threading.Thread(target=work, daemon=True), GRACE
    thread.start()
    try:
        while True:
            asked = time.monotonic()
            try:
                message = messages.get(timeout=seconds)
            except queue.Empty:
                if time.monotonic() - asked > seconds + PAUSE:  # this process was stopped itself, as by Ctrl-Z
                    continue
                grace = 0.0
                raise TimeoutError(f"no sign of life for {seconds:.0f} s: does its disk answer?") from None
            if message.error is not None:
                raise message.error
            if not message.items:
                return
            yield message.items[0]
    finally:
        stopped.set()
        thread.join(grace)  # so that it closes its files before others delete them, as after Ctrl-C
