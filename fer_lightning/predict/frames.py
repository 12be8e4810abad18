"""A row for each frame of a video: the windows that contain the frame are fused into one value for it."""

import math

import numpy as np
from numpy.typing import NDArray

from fer_lightning.predict.expressions import Person, VideoExpressions
from fer_lightning.predict.timeline import TOLERANCE, Timeline


def fused(timeline: Timeline, times: NDArray[np.float64], window: float) -> NDArray[np.float64]:
    """Returns the probabilities of frames, (T, C), fused as `data_dictionary.FUSION` says; NaN where there are none.

    Args:
        timeline: K rows, each judged on the window around its middle.
        times: (T,) of the frames in seconds.
        window: length of the windows in seconds.
    """
    middle, given, count = timeline.time, timeline.has_prediction, len(timeline.start)
    values = np.where(given[:, None], timeline.probabilities, 0.0)
    own = np.clip(np.searchsorted(timeline.start, times + TOLERANCE, side="right") - 1, 0, count - 1)  # (T,)
    reach = math.ceil(window / 2 / float(np.diff(middle).min())) if count > 1 else 0  # rows
    total, weights = np.zeros((len(times), values.shape[1])), np.zeros(len(times))
    for step in range(-reach, reach + 1):
        row = np.clip(own + step, 0, count - 1)
        weight = np.maximum(0.0, 1 - np.abs(times - middle[row]) / (window / 2))
        weight *= given[row] & (row == own + step)
        total += weight[:, None] * values[row]
        weights += weight
    weighed = weights > TOLERANCE
    return np.where(weighed[:, None], total / np.where(weighed, weights, 1.0)[:, None], timeline.probabilities[own])


def frame_timeline(expressions: VideoExpressions, person: Person) -> Timeline:
    """Returns a timeline with a row for each of the T frames of a video, from its time to that of the next.

    A frame without the person's face has no expression, unless the model hears and nobody else has rows. One with the
    face has none if no window around it has enough faces.

    Args:
        expressions: of the video.
        person: one of its people.
    """
    video, facts = expressions.video, expressions.settings.model_facts
    times = np.maximum.accumulate(expressions.times)  # times in damaged files may decrease
    seen = _seen(person, times)
    others = [
        _frames(expressions.others, times),
        *(_seen(each, times) for each in expressions.people if each is not person),
    ]
    probabilities = fused(person.timeline, times, expressions.settings.window)
    if not facts.uses_audio or len(expressions.people) > 1:
        probabilities[~seen] = np.nan
    rows, pose = person.timeline, person.track.head_pose
    poses = np.full((len(times), 3), np.nan)
    if pose is not None:
        poses[person.track.frame] = pose
    own = np.array([rows.row_at(seconds) for seconds in times.tolist()], np.int64)
    return Timeline(
        rows.class_names,
        times,
        np.append(times[1:], max(video.duration, *times[-1:])),
        seen.astype(np.float64),
        rows.audio[own],
        probabilities,
        rows.missing_label,
        poses,
        rows.threshold,
        rows.person,
        np.any(others, axis=0),
        seen & ~np.isfinite(probabilities).all(axis=1),
    )


def frame_boxes(person: Person, frames: int) -> NDArray[np.float32]:
    """Returns, (T, 4), left, top, right and bottom of a person's face in each frame; NaN where it is not seen."""
    boxes = np.full((frames, 4), np.nan, np.float32)
    boxes[person.track.frame] = person.track.box
    return boxes


def _seen(person: Person, times: NDArray[np.float64]) -> NDArray[np.bool_]:
    return _frames(person.track.frame, times)


def _frames(numbers: NDArray[np.int64], times: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Returns whether each of the T frames is among these."""
    return np.isin(np.arange(len(times)), numbers)
