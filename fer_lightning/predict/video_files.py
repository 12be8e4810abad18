"""Finds the videos that a user names, and chooses the folders of their results."""

import json
import os
import re
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from data_modules.utils.text import counted, printable_line
from data_modules.video.audio_track import AUDIO_SUFFIXES
from data_modules.video.container import VIDEO_SUFFIXES
from data_modules.video.images import natural_order

URL = re.compile(r"[a-z][a-z0-9+.-]+://", re.IGNORECASE)
TABLE, CONTENT, PICTURE, VIDEO = "expressions.csv", "expressions.json", "timeline.png", "annotated.mp4"
PAGE, ELAN, SUBTITLES = "index.html", "expressions.eaf", "expressions.vtt"
FRAMES = "frames.csv"  # if asked for
OVERVIEW, ALL_ROWS, DICTIONARY = "all-videos.html", "all-videos.csv", "columns.md"  # beside the videos' folders
FORMAT = "fer_lightning expressions 2"  # of `CONTENT`, which states it; 1 had `faces` for `face_share`
UNWANTED = re.compile(r'[<>:"/\\|?*\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]')
"""What no folder's name should have: what systems refuse, and what controls a terminal or the direction of text."""
MAX_NAME_LENGTH = 80  # characters of an output folder


def find_videos(names: Sequence[str]) -> tuple[list[Path], list[str]]:
    """Finds the videos and files of sound that are named, as files or by their folders.

    Of a folder with videos, files of sound are not taken: they may be the videos' own. Annotated videos that an earlier
    run wrote are left out of folders.

    Returns:
        The videos in natural order, each of them once, and the names for which there is no file or folder.

    Raises:
        FileNotFoundError: none of the names exists, or a folder has no videos.
        ValueError: a name is a web address or the number of a camera.
    """
    unique: dict[Path, Path] = {}
    missing = []
    for name in names:
        path = Path(name)
        if not path.exists():
            _refuse_streams(name)
            missing.append(name)
            continue
        for video in _videos_of_folder(path) if path.is_dir() else [path]:
            unique.setdefault(true_path(video), video)
    if not unique:
        listed = ", ".join(map(printable_line, missing))
        raise FileNotFoundError(f"no such file or folder: {listed}; expected videos, or folders with videos")
    return list(unique.values()), missing


def _refuse_streams(name: str) -> None:
    if URL.match(name):
        raise ValueError(
            f"{printable_line(name)}: web addresses cannot be read; download the video, and name the file, or watch a "
            "stream with `fer live --input`"
        )
    if name.isdecimal():
        raise ValueError(
            f"{name}: no such file, and cameras cannot be read; record a video, and name the file, or watch a camera "
            "with `fer live`"
        )


def _videos_of_folder(folder: Path) -> list[Path]:
    """Returns the videos below a folder without annotated videos of an earlier run, or else its files of sound."""
    below = list(_files_below(folder, VIDEO_SUFFIXES)) or list(_files_below(folder, AUDIO_SUFFIXES))
    videos = [video for video in below if video.name != VIDEO or source_video(video.parent) is None]
    annotated = len(below) - len(videos)
    if annotated:
        verb = "is" if annotated == 1 else "are"
        name = printable_line(folder)
        print(f"{name}: {counted(annotated, 'annotated video')} of an earlier run {verb} left out")
    if not videos:
        raise FileNotFoundError(
            f"{printable_line(folder)}: a folder without any video; expected files ending in "
            f"{' '.join(VIDEO_SUFFIXES)}, or files of sound, {' '.join(AUDIO_SUFFIXES)}, in it or in folders below"
        )
    return videos


def _files_below(folder: Path, suffixes: tuple[str, ...]) -> Iterator[Path]:
    for path in natural_order(list(folder.iterdir())):
        if path.name[0] == ".":
            continue
        if path.is_dir() and not path.is_symlink():
            yield from _files_below(path, suffixes)
        elif path.suffix.lower() in suffixes:
            yield path


def true_path(path: Path) -> Path:
    """Returns the absolute path without links; where links lead in a circle, as far as they can be followed."""
    return Path(os.path.realpath(path))  # `Path.resolve` raises where links lead in a circle


def source_video(folder: Path) -> str | None:
    """Returns the path of the video whose expressions are in a folder, None if it holds no expressions."""
    try:
        content = json.loads((folder / CONTENT).read_bytes())
    except (OSError, ValueError):
        return None
    if not isinstance(content, dict) or not isinstance(content.get("video"), dict):
        return None
    if str(content.get("format"))[:-1] != FORMAT[:-1]:
        return None
    return str(content["video"].get("path"))


def output_folder(video: Path, out: Path, taken: set[Path], owner: Callable[[Path], str | None] = source_video) -> Path:
    """Returns the folder of a video's results: named after it, with a number if another video has that folder.

    Args:
        video: the video.
        out: the folder of all results.
        taken: folders of the videos before; the new one is added.
        owner: returns the path of the video that a folder belongs to, None if it belongs to none.
    """
    name = UNWANTED.sub("_", video.stem)[:MAX_NAME_LENGTH].strip(". ") or "video"
    folder, number = out / name, 1
    while folder in taken or (folder.exists() and owner(folder) not in (None, str(true_path(video)))):
        number += 1
        folder = out / f"{name}-{number}"
    taken.add(folder)
    return folder
