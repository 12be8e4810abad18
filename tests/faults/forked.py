"""Commands of `fer` in forked processes: what a test has replaced is replaced there, and nothing is imported again."""

import multiprocessing
import os
import signal
import sys
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path

from fer_lightning.cli.main import main

LIMIT = 120.0  # seconds after which a command is considered to hang


class Forked:
    """A running command, the leader of its own process group; its messages go to a file.

    Args:
        arguments: of the command.
        messages: the file.
        prepare: called in the process before the command, such as to set limits.
    """

    def __init__(self, arguments: Sequence[str], messages: Path, prepare: Callable[[], object] = lambda: None) -> None:
        self.messages, self.prepare = messages, prepare
        self.process = multiprocessing.get_context("fork").Process(target=self._run, args=(list(arguments),))
        self.process.start()

    def _run(self, arguments: list[str]) -> None:
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)
        with self.messages.open("w", buffering=1) as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
            sys.stdout = sys.stderr = file
            self.prepare()
            sys.exit(main(arguments))

    def kill_after(self, seconds: float) -> None:
        """Kills the command and all its processes, unless it has ended by then."""
        self.process.join(seconds)
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)

    def end(self) -> tuple[int, str]:
        """Waits for the command and returns its status and messages; fails if it hangs or leaves processes."""
        self.process.join(LIMIT)
        hangs = self.process.is_alive()
        left = [] if hangs else self._left()
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        said = self.messages.read_text()
        assert not hangs, said
        assert not left, f"{left} are left: {said}"
        return self.process.exitcode, said

    def _left(self) -> list[str]:
        """The processes of the group that have not ended within ten seconds, zombies included."""
        deadline = time.monotonic() + 10
        while (left := members(self.process.pid)) and time.monotonic() < deadline:
            time.sleep(0.1)
        return left


def members(group: int) -> list[str]:
    """The command lines of a group's processes; for a zombie its name."""
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            status = (folder / "stat").read_text().rpartition(")")[2].split()
            if int(status[2]) == group:
                line = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
                found.append(f"{folder.name} {status[0]} {line}")
    return found


def run(arguments: Sequence[str], folder: Path, prepare: Callable[[], object] = lambda: None) -> tuple[int, str]:
    """Runs a command to its end and returns its status and messages."""
    return Forked(arguments, folder / "messages.txt", prepare).end()
