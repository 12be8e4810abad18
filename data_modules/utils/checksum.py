"""The checksum by which files of weights are recognised."""

import hashlib
from functools import lru_cache
from pathlib import Path

from data_modules.utils.files import file_state


def file_sha256(path: Path) -> str:
    """Returns the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def cached_sha256(path: Path) -> str:
    """Returns the SHA-256 of a file in hexadecimal; the file is read again only if it was written or replaced.

    Reading a network of 140 MB takes time. `file_state` tells whether the file is still the one that was read.

    Raises:
        FileNotFoundError: the file does not exist.
    """
    state = file_state(path)
    return file_sha256(path) if state is None else _cached_sha256(path.absolute(), state)


@lru_cache
def _cached_sha256(path: Path, state: tuple[int, ...]) -> str:
    return file_sha256(path)
