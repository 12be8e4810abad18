"""The expressions of a video as tables: CSV, JSON, and a data frame of pandas."""

import json
import math
from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, Literal, get_args

from data_modules.faces.face_table import CORNERS
from data_modules.faces.head_pose import ANGLES
from data_modules.utils.csv_tables import csv_bytes
from fer_lightning.evaluation.predictions import PREFIX
from fer_lightning.predict.expressions import VideoExpressions
from fer_lightning.predict.frames import frame_boxes, frame_timeline
from fer_lightning.predict.timeline import Timeline, Window
from fer_lightning.predict.video_files import FORMAT

if TYPE_CHECKING:
    import pandas as pd

Rows = Literal["windows", "frames"]
"""What a table has a row for: each window, or each frame, see `frames`."""
BEFORE = ("video", "person", "time", "start", "end", "expression", "confidence")
AFTER = ("face_share", "audio", "cut", *ANGLES, "reason", "world")
BEFORE_OF_FRAMES = ("video", "person", "frame", "time", "expression", "confidence")
AFTER_OF_FRAMES = (*CORNERS, "cut", *ANGLES, "reason", "world")
DIGITS = {"time": 3, "start": 3, "end": 3} | dict.fromkeys(ANGLES, 2) | dict.fromkeys(CORNERS, 1)
TEXTS = ("video", "expression", "reason", "world")
WHOLE = {"person": "Int64", "frame": "int64", "audio": "bool", "cut": "bool"}
OTHER_DIGITS = 5  # of shares


def column_names(class_names: tuple[str, ...], rows: Rows = "windows") -> tuple[str, ...]:
    """Returns the columns of the table; `data_dictionary.md` explains them."""
    before, after = (BEFORE, AFTER) if rows == "windows" else (BEFORE_OF_FRAMES, AFTER_OF_FRAMES)
    return (*before, *(PREFIX + name for name in class_names), *after)


def table_rows(expressions: VideoExpressions, rows: Rows = "windows") -> Iterator[dict[str, Any]]:
    """Yields a row for each person and window, or frame, by the names of its columns; None where there is no value.

    Raises:
        ValueError: rows are asked for of something else.
    """
    if rows not in get_args(Rows):
        raise ValueError(f"rows of {rows}: expected {' or '.join(get_args(Rows))}")
    return _window_rows(expressions) if rows == "windows" else _frame_rows(expressions)


def _frame_rows(expressions: VideoExpressions) -> Iterator[dict[str, Any]]:
    cuts = set(expressions.cuts.tolist())
    for person in expressions.people:
        boxes = frame_boxes(person, len(expressions.times)).tolist()
        timeline = frame_timeline(expressions, person)
        for number, (window, box) in enumerate(zip(timeline.windows, boxes, strict=True)):
            yield {
                "video": expressions.video.name,
                "person": window.person,
                "frame": number,
                "time": window.start,
                "expression": window.expression,
                "confidence": window.confidence,
                **_probabilities(expressions, window),
                **{name: None if math.isnan(edge) else edge for name, edge in zip(CORNERS, box, strict=True)},
                "cut": int(number in cuts),
                **dict(zip(ANGLES, window.head_pose, strict=True)),
                "reason": window.reason,
                "world": expressions.label.world,
            }


def _probabilities(expressions: VideoExpressions, window: Window) -> dict[str, float | None]:
    shares = window.probabilities or dict.fromkeys(expressions.timeline.class_names)
    return {PREFIX + name: share for name, share in shares.items()}


def _window_rows(expressions: VideoExpressions) -> Iterator[dict[str, Any]]:
    video = expressions.video
    for window in expressions:
        yield {
            "video": video.name,
            "person": None if video.is_sound_alone else window.person,
            "time": window.time,
            "start": window.start,
            "end": window.end,
            "expression": window.expression,
            "confidence": window.confidence,
            **_probabilities(expressions, window),
            "face_share": window.face_share,
            "audio": int(window.audio),
            "cut": int(window.cut),
            **dict(zip(ANGLES, window.head_pose, strict=True)),
            "reason": window.reason,
            "world": expressions.label.world,
        }


def csv_table(expressions: VideoExpressions, rows: Rows = "windows") -> bytes:
    """Returns the table as a CSV file; cells without a value are empty."""
    names = column_names(expressions.timeline.class_names, rows)
    return csv_bytes(names, ([_written(name, row[name]) for name in names] for row in table_rows(expressions, rows)))


def data_frame(expressions: VideoExpressions, rows: Rows = "windows") -> "pd.DataFrame":
    """Returns the table as a data frame; cells without a value are missing.

    Raises:
        ImportError: pandas is not installed.
    """
    try:
        import pandas as pd
    except ImportError as error:
        raise ImportError("tables for pandas need it: install it with `pip install pandas`") from error
    names = column_names(expressions.timeline.class_names, rows)
    frame = pd.DataFrame(list(table_rows(expressions, rows)), columns=list(names))
    return frame.astype({name: WHOLE.get(name, "float64") for name in names if name not in TEXTS})


def json_content(expressions: VideoExpressions) -> bytes:
    """Returns the rows of the table with the video, the settings, the label and a summary; missing values are null.

    If there are several people, each has a summary, too, and each row has the number of its person.
    """
    timeline, video, people = expressions.timeline, expressions.video, expressions.people
    rows = [
        ({"person": window.person} if len(people) > 1 else {})
        | {
            "time": _rounded("time", window.time),
            "start": _rounded("start", window.start),
            "end": _rounded("end", window.end),
            "expression": window.expression,
            "confidence": _rounded("confidence", window.confidence),
            "probabilities": window.probabilities and [_rounded(PREFIX, p) for p in window.probabilities.values()],
            "face_share": _rounded("face_share", window.face_share),
            "audio": window.audio,
            "cut": window.cut,
            **dict(zip(ANGLES, window.head_pose, strict=True)),
            "reason": window.reason or None,
        }
        for window in expressions
    ]
    content = {
        "format": FORMAT,
        "video": asdict(video) | {"face_share": _rounded("face_share", video.face_share)},
        "model_label": expressions.label.to_dict(),
        "settings": expressions.settings.to_dict(),
        "class_names": list(timeline.class_names),
        "summary": _summary(timeline),
        "left_out": [{"member": name, "rows": count} for name, count in expressions.left_out],
        "rows": rows,
    }
    if len(people) > 1:
        content["people"] = [
            {
                "person": person.number,
                "face_share": _rounded("face_share", len(person.track.time) / max(video.frames, 1)),
                "summary": _summary(person.timeline),
            }
            for person in people
        ]
    return json.dumps(content, indent=1, allow_nan=False).encode()


def _summary(timeline: Timeline) -> list[dict[str, Any]]:
    """Returns the share of time of each expression."""
    return [{"expression": name, "share": round(share, 4)} for name, share in timeline.shares()]


def _rounded(name: str, value: float | None) -> float | None:
    return None if value is None else round(value, DIGITS.get(name, OTHER_DIGITS))


def _written(name: str, value: object) -> object:
    """Returns a cell: numbers with a fixed number of digits, text and whole numbers as they are."""
    if isinstance(value, float):
        return value if name in ANGLES else f"{value:.{DIGITS.get(name, OTHER_DIGITS)}f}"
    return "" if value is None else value
