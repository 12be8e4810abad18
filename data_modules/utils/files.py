"""Files that are written whole or not at all."""

import errno
import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HOPELESS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES, errno.EPERM})
"""Errors after which the next file cannot be written either."""


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
def whole_file(path: Path) -> Iterator[Path]:
    """Yields a temporary path in the same folder; on success it is renamed to `path`, on an error it is deleted.

    Raises:
        NotWritableError: the folder takes no more files.
    """
    with writing_to(path.parent):
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.stem}-", suffix=path.suffix)
    os.close(handle)
    temporary = Path(name)
    try:
        yield temporary
        with writing_to(path.parent):
            temporary.chmod(0o644)  # mkstemp's 0600 would hide a shared store from colleagues
            temporary.replace(path)
    finally:
        temporary.unlink(missing_ok=True)


def write_whole(path: Path, content: bytes) -> None:
    """Writes `content` to `path`, whole or not at all.

    Raises:
        NotWritableError: the folder takes no more files.
    """
    with whole_file(path) as temporary, writing_to(path.parent):
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
