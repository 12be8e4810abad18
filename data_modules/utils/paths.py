"""Checks untrusted names that become part of a path."""

import re

UNSAFE = re.compile(r"[/\\]|[A-Za-z]:|$")
"""The beginning of absolute paths on any system; also matches an empty name."""


def safe_relative(name: str) -> bool:
    """Returns whether an untrusted name, taken as a path relative to a folder, stays inside it on any system.

    Absolute paths, paths with `..` or a drive, empty names and names with a zero byte are not safe. Slashes and
    backslashes both separate. Links are not followed; check the resolved path of an existing file for those.
    """
    if UNSAFE.match(name) or "\0" in name:
        return False
    return ".." not in name or ".." not in re.split(r"[/\\]", name)
