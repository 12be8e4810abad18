"""Draws a contact sheet of some clips' faces to check a prepared data set at a glance."""

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from data_modules.store.clip_file import ClipSummary, Origin
from data_modules.store.clip_store import ClipStore
from data_modules.store.stored_clip import StoredClip

SIDE, GAP, TEXT = 96, 2, 18  # pixels
CLIPS, FRAMES = 16, 10  # rows and columns
PAIR = 6  # faces of each clip of a pair
COLOURS = {Origin.DETECTED: None, Origin.TRACKED: (255, 170, 0), Origin.INTERPOLATED: (0, 150, 255)}


def contact_sheet(store: ClipStore, summaries: Sequence[ClipSummary]) -> bytes:
    """Draws a JPEG with one row per clip, for clips selected evenly over their coverage.

    An orange border marks a face whose position was interpolated, a blue one an image interpolated by optical flow;
    points are landmarks. Persons, if any, are below the faces.
    """
    rows = [_row(store.open(summary.clip_id), summary) for summary in select_clips(summaries, CLIPS)]
    width = FRAMES * (SIDE + GAP)
    if not rows:
        rows = [_title("no clip has a face", width)]
    return _jpeg(rows)


def pair_sheet(store: ClipStore, pairs: Sequence[tuple[str, str, float]]) -> bytes:
    """Draws a JPEG of pairs of clips to compare by eye: above some faces of one, below those of the other.

    Args:
        store: the prepared faces.
        pairs: ids of two clips, and how similar their faces are.
    """
    rows = []
    for first, second, similarity in pairs:
        rows.append(_title(f"{first}   {second}   similarity {similarity:.3f}", PAIR * (SIDE + GAP)))
        for clip in (store.open(first), store.open(second)):
            positions = np.linspace(0, len(clip) - 1, PAIR).round().astype(np.int64)
            cells = [
                cv2.resize(crop, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for crop in clip.crops(positions, SIDE)
            ]
            rows.append(_strip(cells, PAIR * (SIDE + GAP)))
    return _jpeg(rows)


def _jpeg(rows: Sequence[NDArray[np.uint8]]) -> bytes:
    encoded = cv2.imencode(".jpg", np.concatenate(rows)[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 90])[1]
    return bytes(encoded.tobytes())


def select_clips(summaries: Sequence[ClipSummary], count: int) -> list[ClipSummary]:
    """Selects clips with faces, evenly in ascending order of coverage."""
    with_faces = sorted((s for s in summaries if s.num_faces), key=lambda summary: (summary.coverage, summary.clip_id))
    indices = np.linspace(0, len(with_faces) - 1, min(count, len(with_faces))).round().astype(int)
    return [with_faces[index] for index in indices]


def _row(clip: StoredClip, summary: ClipSummary) -> NDArray[np.uint8]:
    """Draws some faces of a clip in temporal order, (TEXT + SIDE + GAP, W, 3) or with persons below."""
    positions = np.unique(np.linspace(0, len(clip) - 1, FRAMES).round().astype(np.int64))
    origins, points = clip.optional("origin"), clip.optional("landmarks")
    cells = []
    for position, crop in zip(positions, clip.crops(positions, SIDE), strict=True):
        cell = cv2.resize(crop, (SIDE, SIDE), interpolation=cv2.INTER_AREA)
        if points is not None and np.isfinite(points[position]).all():
            for x, y in (points[position, :, :2] + 0.5) * SIDE / clip.crop_size:
                cv2.circle(cell, (int(x), int(y)), 1, (0, 255, 120), -1)
        colour = COLOURS[Origin(int(origins[position]))] if origins is not None else None
        if colour:
            cv2.rectangle(cell, (0, 0), (SIDE - 1, SIDE - 1), colour, 3)
        cells.append(cell)
    width = FRAMES * (SIDE + GAP)
    title = f"{summary.clip_id}   {summary.num_faces} faces in {summary.num_frames} frames"
    parts = [_title(title, width), _strip(cells, width)]
    if clip.has("person"):
        persons = clip.crops(positions, SIDE, "person")
        parts.append(_strip([cv2.resize(p, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for p in persons], width))
    return np.concatenate(parts)


def _strip(cells: Sequence[NDArray[np.uint8]], width: int) -> NDArray[np.uint8]:
    strip = np.full((SIDE + GAP, width, 3), 255, np.uint8)
    for i, cell in enumerate(cells):
        left = i * (SIDE + GAP)
        strip[:SIDE, left : left + SIDE] = cell
    return strip


def _title(text: str, width: int) -> NDArray[np.uint8]:
    """Draws a line of text, (TEXT, W, 3); clip ids may contain any characters."""
    image = Image.new("RGB", (width, TEXT), "white")
    ImageDraw.Draw(image).text((2, 2), text[:160], fill="black", font=ImageFont.load_default(12))
    return np.asarray(image, dtype=np.uint8)
