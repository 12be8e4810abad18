"""The page of a video: one HTML file that plays it, draws faces' boxes and shows their expressions over time."""

import math
import os
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import numpy as np

from data_modules.utils.files import atomic_write
from data_modules.video.container import start_of_pictures
from data_modules.video.reader import is_video_file
from fer_lightning.predict.expressions import FaceTrack, Person, VideoExpressions, VideoFacts
from fer_lightning.predict.settings import ANOTHER_PERSON, UNSURE
from fer_lightning.predict.timeline_figure import format_duration, text_colour_on
from fer_lightning.report.figures.style import class_colours, person_colour
from fer_lightning.report.html import render, script_json

TEMPLATES = Path(__file__).parent / "templates"
TEMPLATE = TEMPLATES / "video.html"
MAX_BOXES = 40_000  # on a page, about one megabyte; of longer videos, every second or third frame's
MILLISECONDS = 3  # digits
Kind = Literal["video", "audio", "none"]


def write_page(
    expressions: VideoExpressions, path: Path, files: tuple[str, ...] = (), fallback: str = "", overview: str = ""
) -> None:
    """Writes the page of a video, which refers to the video where it is; nothing is loaded from a network.

    Args:
        expressions: of the video.
        path: of the page.
        files: names of further results beside the page, which it links.
        fallback: name of an annotated video beside the page, shown if the browser cannot play the video itself.
        overview: address of the page over all videos, relative to this one.

    Raises:
        NotWritableError: the folder cannot be written to.
    """
    video, settings, label = expressions.video, expressions.settings, expressions.label
    kind, people = _kind(expressions), expressions.people
    shares = {person.number: person.timeline.shares() for person in people}
    page = render(
        TEMPLATE,
        title=video.name,
        lead=f"{format_duration(video.duration)}, {video.face_text}" + f", {len(people)} people" * (len(people) > 1),
        label=label,
        kind=kind,
        ratio=f"{max(video.width, 1)} / {max(video.height, 1)}",
        source=address(Path(video.path), path.parent) if kind != "none" else "",
        duration=f"{video.duration:.2f}",
        people=list(shares),
        shares=[
            (name, [f"{100 * share:.1f} %" if (share := dict(each).get(name)) else "" for each in shares.values()])
            for name in dict.fromkeys(name for each in shares.values() for name, _ in each)
        ],
        method=f"{settings.model_facts.model}, an expression every {settings.hop:g} s from the {settings.window:g} s "
        f"around it. {settings.confidence.describe()}",
        files=files,
        overview=overview,
        content=script_json(_content(expressions, kind, fallback)),
    )
    atomic_write(path, page.encode())


def address(target: Path, folder: Path) -> str:
    """Returns the address of a file relative to the folder of a page, or an absolute one on another disk."""
    try:
        relative = os.path.relpath(target.absolute(), folder.absolute())
    except ValueError:  # another drive of Windows
        return target.absolute().as_uri()
    return quote(relative.replace(os.sep, "/"), errors="surrogateescape")


def _kind(expressions: VideoExpressions) -> Kind:
    path = Path(expressions.video.path)
    if not is_video_file(path):
        return "none"
    return "audio" if expressions.video.is_sound_alone else "video"


def _content(expressions: VideoExpressions, kind: Kind, fallback: str) -> dict[str, Any]:
    """Returns what the page draws, as plain values."""
    timeline, video = expressions.timeline, expressions.video
    return {
        **palette(timeline.class_names),
        "missing": expressions.all_missing,
        "duration": round(video.duration, MILLISECONDS),
        "hop": expressions.settings.hop,
        "start": timeline.start.round(MILLISECONDS).tolist(),
        "end": timeline.end.round(MILLISECONDS).tolist(),
        "cut": [] if timeline.cut is None else np.flatnonzero(timeline.cut).tolist(),
        **_of_person(expressions.people[0], video),
        "others": [_of_person(person, video) for person in expressions.people[1:]],
        "size": [max(video.width, 1), max(video.height, 1)],
        "sound": _sound(expressions),
        "offset": round(start_of_pictures(Path(video.path)), MILLISECONDS) if kind == "video" else 0.0,
        "fallback": fallback,
    }


def palette(class_names: tuple[str, ...]) -> dict[str, Any]:
    """Returns the names and colours of classes, and the names of what is no class, as pages draw them."""
    colours = class_colours(class_names)
    return {
        "names": class_names,
        "colours": colours,
        "inks": [text_colour_on(colour) for colour in colours],
        "unsure": UNSURE,
        "another": ANOTHER_PERSON,
    }


def _of_person(person: Person, video: VideoFacts) -> dict[str, Any]:
    """Returns the labels and probabilities of a person's rows, and where their face is."""
    return {
        "person": person.number,
        "colour": person_colour(person.number),
        "label": person.timeline.label.tolist(),
        "shares": [
            None if math.isnan(row[0]) else [round(share, 3) for share in row]
            for row in person.timeline.probabilities.tolist()
        ],
        "track": _track(person.track, video),
    }


def _track(track: FaceTrack, video: VideoFacts) -> dict[str, Any]:
    """Returns the boxes with their times, and for how long each is shown if no other follows."""
    interval = 1 / (video.fps or 25)
    step = max(1, math.ceil(len(track.time) / MAX_BOXES))
    return {
        "time": track.time[::step].round(MILLISECONDS).tolist(),
        "box": track.box[::step].round().astype(int).ravel().tolist(),
        "gap": round(1.5 * step * interval, MILLISECONDS),
        "tolerance": round(interval / 4, MILLISECONDS),
    }


def _sound(expressions: VideoExpressions) -> list[list[int] | None] | None:
    """Returns the lowest and highest sample of each moment in per cent of the loudest; None for a video without."""
    if not np.isfinite(expressions.sound).any():
        return None
    loudest = max(float(np.nanmax(np.abs(expressions.sound))), 0.01)  # near silence is not scaled up
    return [
        None if math.isnan(low) else [round(100 * low / loudest), round(100 * high / loudest)]
        for low, high in expressions.sound.tolist()
    ]
