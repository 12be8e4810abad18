"""Files that are written whole or not at all."""

import errno
import os
import secrets
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

HOPELESS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM})
"""Errors after which the next file cannot be written either."""
TEMPORARY = ".being-written-"
"""How the names of files begin that are being written."""
ORPHANED = 24 * 3600.0  # seconds without a change after which nobody writes such a file any more


class NotWritableError(OSError):
    """A folder takes no more files: its disk is full or read-only, or writing to it is forbidden."""


@contextmanager
def writing_to(folder: Path) -> Iterator[None]:
    """What is done in this block writes to a folder.

    Raises:
        NotWritableError: the folder takes no more files; says why, and what to do.
    """
    try:
        yield
    except NotWritableError:
        raise
    except OSError as error:
        if error.errno not in HOPELESS:
            raise
        raise NotWritableError(
            f"cannot write to {folder}: {os.strerror(error.errno).lower()}; expected a folder that takes more files. "
            "Make room, allow writing, or give another folder; then the same command goes on where it was."
        ) from error


@contextmanager
def atomic_file(path: Path) -> Iterator[Path]:
    """Yields a temporary path in the same folder; on success it is renamed to `path`, on an error it is deleted.

    Its content is on the disk before the name is: after a power cut, too, there is either the whole file or the earlier
    one. Its permissions are those of any new file (the umask's).

    Raises:
        NotWritableError: the folder takes no more files.
    """
    temporary = path.with_name(f"{TEMPORARY}{secrets.token_hex(8)}{path.suffix}")
    with writing_to(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch(0o666, exist_ok=False)
    try:
        yield temporary
        with writing_to(path.parent):
            _to_disk(temporary)
            temporary.replace(path)
            with suppress(OSError):  # not every system and network disk does that for folders
                _to_disk(path.parent)
    finally:
        with suppress(OSError):  # the disk may have become read-only; the error that tells of it must get out
            temporary.unlink()


def _to_disk(path: Path) -> None:
    """Waits until what was written is on the disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def is_temporary(path: Path) -> bool:
    """Whether a file is one that is being written, or was when its process was killed."""
    return path.name.startswith(TEMPORARY)


def remove_orphans(folder: Path) -> None:
    """Deletes the files that killed processes left in a folder and those below it.

    A file belongs to nobody when it has not changed for a day: whoever writes one may run on another machine.
    """
    for path in folder.rglob(f"{TEMPORARY}*"):
        with suppress(FileNotFoundError):  # renamed or deleted just now
            if time.time() - path.stat().st_mtime > ORPHANED:
                path.unlink()


def atomic_write(path: Path, content: bytes) -> None:
    """Writes `content` to `path`, whole or not at all.

    Raises:
        NotWritableError: the folder takes no more files.
    """
    with atomic_file(path) as temporary, writing_to(path.parent):
        temporary.write_bytes(content)


def check_writable(folder: Path) -> None:
    """Tries whether a folder takes files.

    Raises:
        NotWritableError: it does not.
    """
    with writing_to(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
