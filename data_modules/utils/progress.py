"""Shows the progress of long work: a bar with the remaining time on a terminal, occasional lines elsewhere."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

LINE_EVERY = 10.0  # seconds between lines without a terminal


@contextmanager
def progress(what: str, total: int, transient: bool = False) -> Iterator[Callable[[float], None]]:
    """Yields a function to call with the number of finished items, which may be fractional.

    Args:
        what: title of the bar.
        total: number of items; nothing is shown for 0.
        transient: whether to remove the bar at the end.
    """
    console = Console()
    if not total:
        yield lambda done: None
    elif console.is_terminal:
        columns = (TextColumn("{task.description}", markup=False), BarColumn(), MofNCompleteColumn())
        times = (TimeElapsedColumn(), TextColumn("left"), TimeRemainingColumn())
        with Progress(*columns, *times, console=console, transient=transient) as bar:
            task = bar.add_task(what, total=total)
            yield lambda done: bar.update(task, completed=done)
    else:
        yield _lines(what, total, transient)


def _lines(what: str, total: int, transient: bool) -> Callable[[float], None]:
    start = last = time.monotonic()

    def advance(done: float) -> None:
        nonlocal last
        now = time.monotonic()
        if now - last >= LINE_EVERY or (done == total and not transient):
            left = f"{(now - start) / done * (total - done):.0f}" if done else "?"
            print(f"{what}: {_short(done)} of {total}, {now - start:.0f} s, {left} s left", flush=True)
            last = now

    return advance


def _short(done: float) -> str:
    """Formats a number with one decimal, or none if it is an integer."""
    return f"{done:.1f}".removesuffix(".0")
