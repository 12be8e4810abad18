"""Names from outside that become a part of a path."""

import re

UNSAFE = re.compile(r"[/\\]|[A-Za-z]:|$")
"""What an absolute path begins with, on any system; and nothing at all."""


def safe_relative(name: str) -> bool:
    """Whether a name that somebody else gave, taken as a path below a folder, stays below it on any system.

    An absolute path does not, nor one with `..` or a drive; an empty name and one with a zero byte are no paths. Both
    slashes separate. Links are not followed: whether a file that is there lies outside, its resolved path tells.
    """
    if UNSAFE.match(name) or "\0" in name:
        return False
    return ".." not in name or ".." not in re.split(r"[/\\]", name)
