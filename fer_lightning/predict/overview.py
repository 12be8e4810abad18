"""All results in a folder together: one table, and one page that sorts and filters."""

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data_modules.labels import SEVEN
from data_modules.utils.cells import cell
from data_modules.utils.files import atomic_file, atomic_write
from data_modules.utils.text import counted, printable_line
from fer_lightning.evaluation.predictions import PREFIX
from fer_lightning.predict.data_dictionary import COLUMNS, FOLDER, FRAME_COLUMNS, FRAMES, INTRODUCTION
from fer_lightning.predict.page import TEMPLATES, address
from fer_lightning.predict.recipes import recipes
from fer_lightning.predict.tables import AFTER, BEFORE
from fer_lightning.predict.video_files import ALL_ROWS, CONTENT, DICTIONARY, FORMAT, OVERVIEW, PAGE, TABLE, source_video
from fer_lightning.report.figures.style import class_colours
from fer_lightning.report.html import render
from fer_lightning.tables.grid import markdown_table

TEMPLATE = TEMPLATES / "overview.html"
LABEL = ("model", "trained_on", "world", "result", "not_validated")


@dataclass(frozen=True)
class VideoSummary:
    """What is shown of one video, or of one of several people in it."""

    folder: str
    name: str
    person: int | None  # None if there is one
    duration: float  # seconds
    face_share: float
    frames: int  # 0 for sound alone
    shares: dict[str, float]  # of the time, by expression, the largest first, none last
    class_names: tuple[str, ...]
    label: dict[str, str]

    @property
    def most(self) -> str:
        """The expression that is seen for the longest time."""
        return next(iter(self.shares))


def write_overview(out: Path) -> Path:
    """Writes the table and the page over all videos whose results are in a folder, and the data dictionary.

    Results of earlier calls are included. Returns the path of the page.

    Raises:
        NotWritableError: the folder cannot be written to.
    """
    folders = sorted(path for path in out.iterdir() if path.is_dir() and source_video(path) is not None)
    summaries, left_out = list[VideoSummary](), []
    for folder in folders:
        content = json.loads((folder / CONTENT).read_bytes())
        if content["format"] == FORMAT and (folder / TABLE).is_file():
            summaries += _summaries(folder.name, content)
        else:
            left_out.append(folder.name)
    class_names = tuple(sorted({name for each in summaries for name in each.class_names}))
    videos = list(dict.fromkeys(each.folder for each in summaries))
    _write_table(out, videos, class_names)
    atomic_write(out / DICTIONARY, data_dictionary(class_names).encode())
    labels = {json.dumps(each.label): each.label for each in summaries}
    page = render(
        TEMPLATE,
        count=counted(len(videos), "video"),
        labels=list(labels.values()),
        header=("video", "seconds", "face in % of frames", "most", *class_names, "none", "world"),
        numbers=(1, 2, *range(4, 5 + len(class_names))),
        rows=[_row(each, class_names, out) for each in summaries],
        table=ALL_ROWS,
        dictionary=DICTIONARY,
        left_out=left_out,
    )
    atomic_write(out / OVERVIEW, page.encode())
    return out / OVERVIEW


def data_dictionary(class_names: Sequence[str] = SEVEN) -> str:
    """Returns what the columns of the tables mean, with recipes for a table with these classes, as Markdown."""
    table = "\n".join(markdown_table(("column", "unit", "meaning"), list(COLUMNS)))
    frames = "\n".join(markdown_table(("column", "unit", "meaning"), list(FRAME_COLUMNS)))
    return f"{INTRODUCTION}{table}\n{recipes(class_names)}{FRAMES}{frames}\n"


def _summaries(folder: str, content: dict[str, Any]) -> list[VideoSummary]:
    """Returns what is shown of each person of a video, or of the only one."""
    video, label = content["video"], content["model_label"]
    only = {"person": None, "face_share": video["face_share"], "summary": content["summary"]}
    return [
        VideoSummary(
            folder,
            printable_line(Path(video["path"]).name),
            person["person"],
            float(video["duration"]),
            float(person["face_share"]),
            int(video["frames"]),
            {str(entry["expression"]): float(entry["share"]) for entry in person["summary"]},
            tuple(map(str, content["class_names"])),
            {name: str(label[name]) for name in LABEL},
        )
        for person in content.get("people", [only])
    ]


def _row(video: VideoSummary, class_names: tuple[str, ...], out: Path) -> dict[str, object]:
    none = sum(share for name, share in video.shares.items() if name not in video.class_names)
    shares = [f"{100 * video.shares.get(name, 0):.1f}" if name in video.class_names else "" for name in class_names]
    colours = dict(zip(class_names, class_colours(class_names), strict=True))
    faces = f"{100 * video.face_share:.1f}" if video.frames else ""
    return {
        "name": video.name if video.person is None else f"{video.name}, person {video.person}",
        "address": address(out / video.folder / PAGE, out) + (f"#person={video.person}" if video.person else ""),
        "cells": (f"{video.duration:.1f}", faces, video.most, *shares, f"{100 * none:.1f}", video.label["world"]),
        "strip": [
            {"width": f"{100 * share:.2f}", "colour": colours[name]}
            for name, share in video.shares.items()
            if name in colours
        ],
    }


def _write_table(out: Path, folders: list[str], class_names: tuple[str, ...]) -> None:
    """Writes the rows of all videos; cells of classes that a video's model does not have are empty."""
    names = (FOLDER, *BEFORE, *(PREFIX + name for name in class_names), *AFTER)
    with atomic_file(out / ALL_ROWS) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        table = csv.DictWriter(file, names, restval="", lineterminator="\n")
        table.writeheader()
        for folder in folders:
            table.writerows({FOLDER: cell(folder)} | row for row in _rows_of(out / folder / TABLE))


def _rows_of(path: Path) -> Iterator[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        yield from csv.DictReader(file)
