"""Ends a process that is told to stop as Ctrl-C does: files are whole or removed, and started processes end too."""

import os
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import NoReturn

REQUEUE = signal.SIGUSR1
"""Sent by Slurm some time before a job's end if it was submitted with `--signal=USR1@120`."""
OF_GROUPS = frozenset({signal.SIGINT, signal.SIGHUP, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2})
"""Signals that terminals and schedulers send to all processes of a command at once."""


class Terminated(KeyboardInterrupt):
    """A signal told this process to end.

    Args:
        number: the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(signal.Signals(number).name)
        self.number = number


def raise_terminated(number: int, frame: FrameType | None) -> NoReturn:
    """Handles a signal once: what the process does to end is not interrupted by a second one.

    Raises:
        Terminated: always.
    """
    signal.signal(number, signal.SIG_IGN)
    raise Terminated(number)


@contextmanager
def terminated_by(*numbers: int) -> Iterator[None]:
    """Raises `Terminated` in this block when one of the signals arrives, unless the process handles or ignores it."""
    if threading.current_thread() is not threading.main_thread():  # others cannot have handlers
        yield
        return
    handled = [number for number in numbers if signal.getsignal(number) is signal.SIG_DFL]
    for number in handled:
        signal.signal(number, raise_terminated)
    try:
        yield
    finally:
        for number in handled:
            signal.signal(number, signal.SIG_DFL)


def leave_signals_to_parent() -> None:
    """Makes this process deaf to the signals of groups, except to a SIGTERM of its parent, which ends it at once.

    A parent that is told to end stops its workers itself. If they died first, it would take that for an error of its
    own.
    """
    signal.pthread_sigmask(signal.SIG_BLOCK, OF_GROUPS)
    threading.Thread(target=_end_with_parent, args=(os.getppid(),), daemon=True).start()


def _end_with_parent(parent: int) -> None:
    while signal.sigwaitinfo({signal.SIGTERM}).si_pid != parent:
        pass
    os._exit(0)
