"""The video again with what was found in it: the face's box, its expression, all probabilities, and the sound."""

from collections.abc import Iterator
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import av
import cv2
import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from data_modules.source import Frame
from data_modules.video import CONTAINERS
from fer_lightning.figures.style import plain
from fer_lightning.timeline import NO_FACE, Timeline
from fer_lightning.timeline_figure import colours, readable_on

MAX_SIDE = 1280  # pixels
CLOCK = 90_000  # ticks a second, as in every MPEG stream
RATE = 48_000  # samples of sound a second
DARK, PALE, DIM = (18, 18, 20), (245, 245, 245), (165, 165, 168)
OPACITY = 0.74


@lru_cache(maxsize=16)
def _font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"  # they come with matplotlib
    return ImageFont.truetype(Path(mpl.get_data_path(), "fonts", "ttf", name), size)


class Sticker:
    """A small picture with transparency, made ready once to be laid over many frames.

    Args:
        picture: RGBA.
    """

    def __init__(self, picture: Image.Image) -> None:
        pixels = np.asarray(picture, dtype=np.uint16)  # (h, w, 4)
        alpha = pixels[..., 3:]
        self.height, self.width = pixels.shape[:2]
        self._colour, self._rest = pixels[..., :3] * alpha + 127, 255 - alpha

    def lay(self, frame: Frame, left: int, top: int) -> None:
        """Lays it over a frame as far as it lies in it."""
        x, y = max(left, 0), max(top, 0)
        region = frame[y : max(top + self.height, 0), x : max(left + self.width, 0)]
        if region.size:
            rows = slice(y - top, y - top + region.shape[0])
            columns = slice(x - left, x - left + region.shape[1])
            region[:] = (region * self._rest[rows, columns] + self._colour[rows, columns]) // 255


class Overlay:
    """Draws a timeline into frames.

    Args:
        timeline: of the video.
        width: of the frames.
        height: of the frames.
        right: the panel stands at the right.
    """

    def __init__(self, timeline: Timeline, width: int, height: int, right: bool) -> None:
        self._timeline, self._size, self._right = timeline, (width, height), right
        self._names = [plain(name, 16).replace(r"\$", "$") for name in timeline.class_names]
        self._colours = colours(timeline.class_names)
        self._text = max(10, round(min(width, height * 1.6) / 48))
        self._panel = lru_cache(maxsize=2)(self._draw_panel)
        self._tag = lru_cache(maxsize=2)(self._draw_tag)

    def draw(self, frame: Frame, seconds: float, box: NDArray[np.float32] | None) -> None:
        """Draws into the (H, W, 3) frame what is known of that moment; the box is in pixels of the frame."""
        row = self._timeline.row_at(seconds)
        label = int(self._timeline.label_at(row))
        panel, margin = self._panel(row), self._text
        width, height = self._size
        if panel.width <= 0.5 * width and panel.height <= 0.8 * height:
            panel.lay(frame, width - panel.width - margin if self._right else margin, height - panel.height - margin)
        if box is None:
            return
        left, top, right, bottom = (round(float(value)) for value in np.clip(box, -width, 2 * width + height))
        colour = ImageColor(self._colours[label]) if label >= 0 else DIM
        cv2.rectangle(frame, (left, top), (right, bottom), colour, max(1, self._text // 6), cv2.LINE_AA)
        if label >= 0:
            tag = self._tag(row)
            above = top - tag.height if top >= tag.height else min(bottom, height - tag.height)
            tag.lay(frame, min(max(left, 0), max(width - tag.width, 0)), above)

    def _draw_tag(self, row: int) -> Sticker:
        """`happiness 87 %` in the expression's colour."""
        label = self._timeline.label_at(row)
        said = f"{self._names[label]}  {100 * self._timeline.probabilities[row, label]:.0f} %"
        font, space = _font(round(1.2 * self._text), bold=True), self._text // 2
        width = round(font.getlength(said)) + 2 * space
        height = round(1.9 * self._text)
        picture = Image.new("RGBA", (width, height), self._colours[label])
        ink = readable_on(self._colours[label])
        ImageDraw.Draw(picture).text((space, height / 2), said, fill=ink, font=font, anchor="lm")
        return Sticker(picture)

    def _draw_panel(self, row: int) -> Sticker:
        """A bar for each class; without bars where there is no face."""
        timeline, text = self._timeline, self._text
        label, font = timeline.label_at(row), _font(text)
        line, pad, bar = round(1.55 * text), text, 7 * text
        names = round(max(font.getlength(name) for name in self._names))
        width = pad + names + text // 2 + bar + round(font.getlength(" 100 %")) + pad
        height = pad * 2 + line * (len(self._names) + (label < 0))
        picture = _rounded(width, height, text // 2)
        pen = ImageDraw.Draw(picture)
        left, top = pad + names + text // 2, pad
        if label < 0:
            pen.text((pad, top + line / 2), NO_FACE, fill=PALE, font=_font(text, bold=True), anchor="lm")
            top += line
        for place, (name, colour) in enumerate(zip(self._names, self._colours, strict=True)):
            middle, chosen = top + line * (place + 0.5), place == label
            ink = PALE if chosen else DIM
            pen.text((pad + names, middle), name, fill=ink, font=_font(text, chosen), anchor="rm")
            area = (left, middle - 0.36 * text, left + bar, middle + 0.36 * text)
            pen.rectangle(area, fill=(255, 255, 255, 34))
            if label >= 0:
                share = float(timeline.probabilities[row, place])
                pen.rectangle((*area[:2], left + max(1.0, share * bar), area[3]), fill=colour)
                pen.text((width - pad, middle), f"{100 * share:.0f} %", fill=ink, font=font, anchor="rm")
        return Sticker(picture)
