"""Whether a file is a model of this suite, and the one that is meant: its entry, its checksum, and the card's word."""

import re
from pathlib import Path

from safetensors import safe_open

from data_modules.utils.checksum import cached_sha256

ENTRY = "fer_lightning"
"""The entry of a checkpoint of this suite that has class names and configuration; in safetensors files, as JSON."""
STATED = "its SHA-256 is `{}`"
"""How a card states the checksum of its model's file."""
PATTERN = re.compile(STATED.format("([0-9a-f]{64})"))


def is_own_file(path: Path) -> bool:
    """Whether a file is one of `fer export`."""
    try:
        with safe_open(path, "np") as file:
            return bool((file.metadata() or {}).get(ENTRY))
    except Exception:  # the library has several errors for files of another format
        return False


def stated_in(card: str) -> str:
    """Returns the checksum that the text of a card states, in hexadecimal; empty if it states none."""
    found = PATTERN.search(card)
    return found[1] if found else ""


def refuse_other_content(path: Path, expected: str, advice: str) -> None:
    """Refuses a file whose checksum is another one.

    Args:
        path: the file.
        expected: its SHA-256 in hexadecimal.
        advice: what to do about it, for the message.

    Raises:
        FileNotFoundError: the file does not exist.
        ValueError: it has another content.
    """
    found = cached_sha256(path)
    if found != expected:
        raise ValueError(
            f"{path} has the SHA-256 {found}; expected {expected}: it is damaged or was replaced. {advice}"
        )
