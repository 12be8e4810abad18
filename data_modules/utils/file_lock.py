"""One process at a time: locks that processes of one machine, or of several with a common file system, respect."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from data_modules.utils.files import HOPELESS


@contextmanager
def file_lock(path: Path, busy: str, say: Callable[[str], object] = print, patience: float = 0.0) -> Iterator[None]:
    """Holds the lock of a file in this block, and waits until no other process holds it.

    The system releases the lock when the process dies. Where locks are not supported, or the file cannot be written,
    the block is entered without one.

    Args:
        path: the file, which is created, with its folder, and stays empty.
        busy: what is said before waiting for another process.
        say: prints a line.
        patience: seconds of waiting before it is said.
    """
    lock = FileLock(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=patience)
    except Timeout:
        say(busy)
        lock.acquire()
    except NotImplementedError:
        say(f"the file system of {path.parent} does not support locks: make sure that no other process works on it")
    except OSError as error:
        if error.errno not in HOPELESS:  # who writes there will say so; reading what is complete needs no lock
            raise
    try:
        yield
    finally:
        lock.release()
