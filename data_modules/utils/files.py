"""Writes files atomically."""

import errno
import os
import secrets
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

HOPELESS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM})
"""Errors after which no other file can be written either."""
TEMPORARY = ".being-written-"
"""Prefix of the names of files that are being written."""
ORPHANED = 24 * 3600.0  # seconds without a change after which such a file is considered abandoned


class NotWritableError(OSError):
    """A folder cannot be written to: its disk is full or read-only, or permission is denied."""


@contextmanager
def writing_to(folder: Path) -> Iterator[None]:
    """Turns errors of writing to a folder in this block into `NotWritableError`.

    Raises:
        NotWritableError: the folder cannot be written to; the message says why and what to do.
    """
    try:
        yield
    except NotWritableError:
        raise
    except OSError as error:
        if error.errno not in HOPELESS:
            raise
        raise NotWritableError(
            f"cannot write to {folder}: {os.strerror(error.errno).lower()}; expected a writable folder "
            "with free space. Free space, change the permissions or choose another folder; then run the same command "
            "again, which continues where it stopped."
        ) from error


@contextmanager
def atomic_file(path: Path, flush: bool = True) -> Iterator[Path]:
    """Yields a temporary path in the same folder; on success it is renamed to `path`, on an error it is deleted.

    The content is flushed to disk before the file is renamed, so even after a power failure there is either the whole
    new file or the old one. The permissions are those of any new file (umask).

    Args:
        path: the file.
        flush: False for one of many small files, for which waiting for the disk takes most of the time. After a power
            failure it may be empty or damaged, so its reader must notice that. Call `flush_disks` before anything is
            written that says that such files are complete.

    Raises:
        NotWritableError: the folder cannot be written to.
    """
    temporary = path.with_name(f"{TEMPORARY}{secrets.token_hex(8)}{path.suffix}")
    with writing_to(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        temporary.touch(0o666, exist_ok=False)
    try:
        yield temporary
        with writing_to(path.parent):
            if flush:
                _flush_to_disk(temporary)
            temporary.replace(path)
            with suppress(OSError):  # some systems and network disks cannot flush folders
                if flush:
                    _flush_to_disk(path.parent)
    finally:
        with suppress(OSError):  # on a read-only disk; must not hide the original error
            temporary.unlink()


def flush_disks() -> None:
    """Waits until everything that was written without flushing is on disk."""
    os.sync()


def _flush_to_disk(path: Path) -> None:
    """Waits until everything written is on disk."""
    handle = os.open(path, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)


def is_temporary(path: Path) -> bool:
    """Returns whether a file is being written, or was left by a killed process."""
    return path.name.startswith(TEMPORARY)


def remove_orphans(folder: Path) -> None:
    """Deletes the temporary files that killed processes left in a folder and its subfolders.

    Only files unchanged for a day are deleted, as processes on other machines may be writing.
    """
    for path in folder.rglob(f"{TEMPORARY}*"):
        with suppress(FileNotFoundError):  # renamed or deleted in the meantime
            if time.time() - path.stat().st_mtime > ORPHANED:
                path.unlink()


def atomic_write(path: Path, content: bytes, flush: bool = True) -> None:
    """Writes `content` to `path` atomically; `flush` as in `atomic_file`.

    Raises:
        NotWritableError: the folder cannot be written to.
    """
    with atomic_file(path, flush) as temporary, writing_to(path.parent):
        temporary.write_bytes(content)


def file_state(path: Path) -> tuple[int, ...] | None:
    """Returns inode, size and times of a file, which differ once it is written or replaced; None if it does not exist.

    The times are those of the last modification and of the last change of the inode, in nanoseconds.
    """
    try:
        status = path.stat()
    except FileNotFoundError:
        return None
    return status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns


def check_writable(folder: Path) -> None:
    """Checks that a folder can be written to.

    Raises:
        NotWritableError: the folder cannot be written to.
    """
    with writing_to(folder):
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder):
            pass
