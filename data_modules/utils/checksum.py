"""The checksum by which files of weights are recognised."""

import hashlib
from pathlib import Path


def file_sha256(path: Path) -> str:
    """Returns the SHA-256 of a file in hexadecimal."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
