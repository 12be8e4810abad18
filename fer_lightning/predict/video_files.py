"""Names that come from outside: which videos lie below a folder, where their results go, how names are printed."""

import json
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from data_modules.video.images import natural_order
from fer_lightning.predict.timeline import FORMAT

SUFFIXES = (
    *(".mp4", ".m4v", ".mov", ".3gp", ".mkv", ".webm", ".ogv", ".avi", ".flv", ".wmv", ".asf"),
    *(".mpg", ".mpeg", ".ts", ".mts", ".m2ts", ".mxf", ".dv", ".gif"),
)
TABLE, CONTENT, PICTURE, VIDEO = "expressions.csv", "expressions.json", "timeline.png", "annotated.mp4"
LONGEST_NAME = 80  # characters of an output folder


def videos_of(paths: Sequence[Path]) -> list[Path]:
    """The videos that are named, and those below folders that are, in natural order; each of them once.

    What an earlier run wrote is not predicted again.

    Raises:
        FileNotFoundError: a folder without any video.
    """
    found: list[Path] = []
    for path in paths:
        if not path.is_dir():
            found.append(path)
            continue
        below = list(_videos_below(path))
        own = [video for video in below if video.name == VIDEO and owner_of(video.parent) is not None]
        if own:
            print(f"{shown(path)}: {len(own)} annotated video(s) of an earlier run are left out")
        if len(below) == len(own):
            raise FileNotFoundError(
                f"{shown(path)}: a folder without any video; expected files ending in {' '.join(SUFFIXES)}, in "
                "it or in folders below"
            )
        found += [video for video in below if video not in own]
    unique: dict[Path, Path] = {}
    for video in found:
        unique.setdefault(video.resolve(), video)
    return list(unique.values())


def _videos_below(folder: Path) -> Iterator[Path]:
    for path in natural_order(list(folder.iterdir())):
        if path.name[0] == ".":
            continue
        if path.is_dir() and not path.is_symlink():
            yield from _videos_below(path)
        elif path.suffix.lower() in SUFFIXES:
            yield path


def owner_of(folder: Path) -> str | None:
    """The video whose expressions lie in that folder, or None if no expressions do."""
    try:
        content = json.loads((folder / CONTENT).read_bytes())
    except (OSError, ValueError):
        return None
    if not isinstance(content, dict) or content.get("format") != FORMAT or not isinstance(content.get("video"), dict):
        return None
    return str(content["video"].get("path"))


def folder_for(video: Path, out: Path, taken: set[Path], owner: Callable[[Path], str | None] = owner_of) -> Path:
    """Where a video's results go: a folder named after it, with a number where another video has that name.

    Args:
        video: whose results.
        out: the folder of all results.
        taken: folders of videos before; this one's is added.
        owner: says which video a folder belongs to.
    """
    name = re.sub(r'[<>:"/\\|?*\x00-\x1f\x7f\ud800-\udfff]', "_", video.stem)[:LONGEST_NAME].strip(". ") or "video"
    folder, number = out / name, 1
    while folder in taken or (folder.exists() and owner(folder) not in (None, str(video.resolve()))):
        number += 1
        folder = out / f"{name}-{number}"
    taken.add(folder)
    return folder


def shown(text: object) -> str:
    """A name or message that may hold anything, as it can be printed on one line."""
    line = str(text).encode("utf-8", "backslashreplace").decode()
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in line)
