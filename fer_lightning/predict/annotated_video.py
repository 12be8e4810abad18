"""Writes a copy of a video with the boxes of faces, their expressions and all probabilities drawn in, and the audio."""

import math
from collections.abc import Iterator, Sequence
from fractions import Fraction
from functools import lru_cache
from pathlib import Path

import av
import cv2
import matplotlib as mpl
import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageColor, ImageDraw, ImageFont

from data_modules.video.audio_track import header_damage
from data_modules.video.container import FALL, beginnings, open_container
from data_modules.video.source import Frame, VideoSource
from fer_lightning.predict.faces import VideoFaces
from fer_lightning.predict.settings import UNSURE
from fer_lightning.predict.timeline import BELOW_THRESHOLD, Timeline
from fer_lightning.predict.timeline_figure import text_colour_on
from fer_lightning.report.figures.style import class_colours, person_colour, plain
from fer_lightning.report.model_label import ModelLabel

MAX_SIDE = 1280  # pixels
CLOCK = 90_000  # ticks per second, as in every MPEG stream
RATE = 48_000  # audio samples per second
DARK, GROOVE, PALE, DIM = (18, 18, 20), (52, 52, 56), (245, 245, 245), (170, 170, 174)
UNSURE_COLOUR = "#AAAAAE"  # of the tag of a row without enough confidence
OPACITY = 190  # of the panel's background, of 255


@lru_cache(maxsize=16)
def _font(size: int, bold: bool = False) -> ImageFont.FreeTypeFont:
    name = "DejaVuSans-Bold.ttf" if bold else "DejaVuSans.ttf"  # both come with matplotlib
    return ImageFont.truetype(Path(mpl.get_data_path(), "fonts", "ttf", name), size)


class OverlayImage:
    """A small image with transparency that is converted once and pasted onto many frames.

    Args:
        image: RGBA.
    """

    def __init__(self, image: Image.Image) -> None:
        pixels = np.asarray(image, dtype=np.uint16)  # (h, w, 4)
        alpha = pixels[..., 3:]
        self.height, self.width = pixels.shape[:2]
        self._colour, self._rest = pixels[..., :3] * alpha + 127, 255 - alpha

    def paste(self, frame: Frame, left: int, top: int) -> None:
        """Pastes the image onto a frame; what lies outside of the frame is cut off."""
        x, y = max(left, 0), max(top, 0)
        region = frame[y : max(top + self.height, 0), x : max(left + self.width, 0)]
        if region.size:
            rows = slice(y - top, y - top + region.shape[0])
            columns = slice(x - left, x - left + region.shape[1])
            region[:] = (region * self._rest[rows, columns] + self._colour[rows, columns]) // 255


class TimelineOverlay:
    """Draws the timeline of a person onto frames.

    Args:
        timeline: of the person.
        width: of the frames in pixels.
        height: of the frames in pixels.
        right: whether the panel is drawn at the right.
        note: drawn in the upper left corner, if there is room for it.
        several: whether there are other people, so that the person's number and colour are drawn, but no panel, which
            might hide one of them.
    """

    def __init__(
        self, timeline: Timeline, width: int, height: int, right: bool, note: str = "", several: bool = False
    ) -> None:
        self._person = timeline.person if several else None
        self._timeline, self._labels, self._has_prediction = timeline, timeline.label, timeline.has_prediction
        self._size, self._right = (width, height), right
        self._names = [plain(name, 16).replace(r"\$", "$") for name in timeline.class_names]
        self._colours = class_colours(timeline.class_names)
        self._text = max(10, round(min(width, height * 1.6) / 48))
        self._note = self._draw_note(plain(note, 80)) if note else None
        self._panel = lru_cache(maxsize=2)(self._draw_panel)
        self._tag = lru_cache(maxsize=2)(self._draw_tag)

    def draw(self, frame: Frame, seconds: float, box: NDArray[np.float32] | None) -> None:
        """Draws the row of a moment onto an (H, W, 3) frame; the box is in pixels of the frame, None without a face."""
        row = self._timeline.row_at(seconds)
        label, (width, height) = int(self._labels[row]), self._size
        panel, margin = self._panel(row), self._text
        if self._person is None and panel.width <= 0.5 * width and panel.height <= 0.8 * height:
            panel.paste(frame, width - panel.width - margin if self._right else margin, height - panel.height - margin)
        if self._note is not None and self._note.width <= width and 4 * self._note.height <= height:
            self._note.paste(frame, 0, 0)
        if box is None:
            return
        left, top, right, bottom = (round(float(value)) for value in np.clip(box, -width, 2 * width + height))
        colour = ImageColor.getrgb(self._colours[label]) if label >= 0 else DIM
        if self._person is not None:
            colour = ImageColor.getrgb(person_colour(self._person))
        cv2.rectangle(frame, (left, top), (right, bottom), colour, max(1, self._text // 6), cv2.LINE_AA)
        if self._has_prediction[row] or self._person is not None:
            tag = self._tag(row)
            above = top - tag.height if top >= tag.height else min(bottom, height - tag.height)
            tag.paste(frame, min(max(left, 0), max(width - tag.width, 0)), above)

    def _draw_note(self, note: str) -> OverlayImage:
        font = _font(round(0.8 * self._text))
        picture = Image.new("RGB", (round(font.getlength(note)) + self._text, round(1.5 * self._text)), DARK)
        place = (self._text / 2, picture.height / 2)
        ImageDraw.Draw(picture).text(place, note, fill=DIM, font=font, anchor="lm")
        return OverlayImage(_with_translucent_background(picture, 0))

    def _draw_tag(self, row: int) -> OverlayImage:
        """Draws a tag such as `happiness 87 %` in the expression's colour, or a grey `unsure 41 %`.

        If there are several people, the person's number comes first, in a field of the person's colour.
        """
        label = int(self._labels[row])
        fields = [] if self._person is None else [(str(self._person), person_colour(self._person))]
        if self._has_prediction[row]:
            name, colour = (self._names[label], self._colours[label]) if label >= 0 else (UNSURE, UNSURE_COLOUR)
            fields.append((f"{name}  {100 * self._timeline.confidence[row]:.0f} %", colour))
        font, space = _font(round(1.2 * self._text), bold=True), self._text // 2
        widths = [round(font.getlength(text)) + 2 * space for text, _ in fields]
        height = round(1.9 * self._text)
        picture, left = Image.new("RGBA", (sum(widths), height)), 0
        for (text, colour), width in zip(fields, widths, strict=True):
            pen = ImageDraw.Draw(picture)
            pen.rectangle((left, 0, left + width - 1, height), fill=colour)
            pen.text((left + space, height / 2), text, fill=text_colour_on(colour), font=font, anchor="lm")
            left += width
        return OverlayImage(picture)

    def _draw_panel(self, row: int) -> OverlayImage:
        """Draws a bar for each class, below the reason in an unsure row, or only the label of a row without input."""
        label, text = int(self._labels[row]), self._text
        font, strong = _font(text), _font(text, bold=True)
        line, pad, bar = round(1.55 * text), text, 7 * text
        if not self._has_prediction[row]:
            missing = self._timeline.name(label)
            picture = Image.new("RGB", (round(strong.getlength(missing)) + 2 * pad, line + pad), DARK)
            ImageDraw.Draw(picture).text((pad, picture.height / 2), missing, fill=PALE, font=strong, anchor="lm")
            return OverlayImage(_with_translucent_background(picture, text // 2))
        names = round(max(strong.getlength(name) for name in self._names))
        left = pad + names + text // 2
        width = left + bar + round(strong.getlength(" 100 %")) + pad
        heading = f"{UNSURE}: below {100 * self._timeline.threshold:.1f} %" if label == BELOW_THRESHOLD else ""
        width = max(width, round(strong.getlength(heading)) + 2 * pad)
        above = pad + line * bool(heading)
        picture = Image.new("RGB", (width, above + line * len(self._names) + pad), DARK)
        pen = ImageDraw.Draw(picture)
        pen.text((pad, pad + line / 2), heading, fill=PALE, font=strong, anchor="lm")
        for index, (name, colour) in enumerate(zip(self._names, self._colours, strict=True)):
            middle, ink = above + line * (index + 0.5), PALE if index == label else DIM
            share = float(self._timeline.probabilities[row, index])
            top, bottom = middle - 0.36 * text, middle + 0.36 * text
            pen.text((pad + names, middle), name, fill=ink, font=strong if index == label else font, anchor="rm")
            pen.rectangle((left, top, left + bar, bottom), fill=GROOVE)
            pen.rectangle((left, top, left + max(1.0, share * bar), bottom), fill=colour)
            pen.text((width - pad, middle), f"{100 * share:.0f} %", fill=ink, font=font, anchor="rm")
        return OverlayImage(_with_translucent_background(picture, text // 2))


def _with_translucent_background(picture: Image.Image, radius: int) -> Image.Image:
    """Rounds the corners and makes the background translucent, but not text and bars."""
    mask = Image.new("L", (4 * picture.width, 4 * picture.height), 0)
    ImageDraw.Draw(mask).rounded_rectangle((0, 0, mask.width - 1, mask.height - 1), 4 * radius, fill=OPACITY)
    pixels = np.asarray(picture, dtype=np.float32)
    drawn = np.clip(np.abs(pixels - np.array(DARK, np.float32)).max(axis=-1) / 120, 0, 1)
    background = np.asarray(mask.reduce(4), dtype=np.float32)
    alpha = Image.fromarray((background + (255 - background) * drawn).astype(np.uint8))
    picture.putalpha(alpha)
    return picture


def write_annotated(
    source: VideoSource, people: Sequence[tuple[Timeline, VideoFaces]], scale: float, path: Path, label: ModelLabel
) -> Iterator[int]:
    """Writes the annotated video as H.264 and AAC, each frame at its own time; yields the index of each frame.

    Args:
        source: the video, at most `MAX_SIDE` pixels wide and high.
        people: the expressions and faces of each; those of an only person are drawn with all probabilities.
        scale: size of the source's frames divided by that of the frames in which the faces were found.
        path: of the new file, which is written in place; pass a temporary one.
        label: of the model, which is named in a corner, and whole in the comment of the file.
    """
    times = source.timestamps
    width, height = max(2, source.width // 2 * 2), max(2, source.height // 2 * 2)
    timeline, main = people[0]
    middle = float(main.box[:, [0, 2]].mean()) * scale if len(main) else 0.0
    right, note, several = middle < width / 2, label.trained_on, len(people) > 1
    overlays = [
        (TimelineOverlay(each, width, height, right, note * (each is timeline), several), faces)
        for each, faces in people
    ]
    audio_blocks = audio_frames(source.path, float(timeline.end[-1])) if source.path.is_file() else iter(())
    block = next(audio_blocks, None)
    with av.open(str(path.absolute()), "w", options={"movflags": "faststart"}) as file:
        file.metadata["comment"] = f"{label.summary} {label.origin}"
        rate = Fraction(min(max(source.fps, 1), 240)).limit_denominator(1001)
        video = file.add_stream("libx264", rate=rate, options={"preset": "superfast", "crf": "21"})
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        video.time_base = video.codec_context.time_base = Fraction(1, CLOCK)
        audio = file.add_stream("aac", rate=RATE, layout="stereo") if block is not None else None
        last = -1
        for index, picture in source.frames():
            frame = np.ascontiguousarray(fit(picture, width, height))
            for overlay, faces in overlays:
                box = faces.box_at(index)
                overlay.draw(frame, float(times[index]), None if box is None else box * np.float32(scale))
            last = max(last + 1, round(float(times[index]) * CLOCK))  # timestamps must increase
            encoded = av.VideoFrame.from_ndarray(frame, format="rgb24")
            encoded.pts, encoded.time_base = last, Fraction(1, CLOCK)
            file.mux(video.encode(encoded))
            while audio is not None and block is not None and block.time <= times[index]:
                file.mux(audio.encode(block))
                block = next(audio_blocks, None)
            yield index
        file.mux(video.encode(None))
        while audio is not None and block is not None:
            file.mux(audio.encode(block))
            block = next(audio_blocks, None)
        if audio is not None:
            file.mux(audio.encode(None))


def fit(picture: Frame, width: int, height: int) -> Frame:
    """Crops a picture to a size, or repeats its last row or column, as H.264 needs an even width and height."""
    down, right = max(0, height - len(picture)), max(0, width - picture.shape[1])
    if down or right:
        picture = np.pad(picture, ((0, down), (0, right), (0, 0)), mode="edge")
    return picture[:height, :width]


def audio_frames(path: Path, until: float) -> Iterator[av.AudioFrame]:
    """Yields the first audio track as stereo blocks from the first picture on; gaps are filled with silence.

    The blocks end early if the rest of the track cannot be decoded.

    Args:
        path: of the video.
        until: time in seconds at which to stop.
    """
    try:
        with open_container(path) as file:
            if not file.streams.audio or header_damage(file.streams.audio[0]):
                return
            begins = beginnings(path)
            start, end, graph = next(begins, 0.0), -math.inf, None
            for frame in file.decode(file.streams.audio[0]):
                if frame.pts is None or frame.time is None:
                    return
                if frame.time - start < end - FALL:  # another recording was joined
                    start = next(begins, frame.time - end)
                if frame.time - start > until:
                    return
                end = frame.time - start + frame.samples / frame.sample_rate
                graph = graph or _audio_graph(frame)
                frame.pts -= round(start / frame.time_base)
                graph.push(frame)
                yield from _filtered_frames(graph)
            if graph is not None:
                graph.push(None)
                yield from _filtered_frames(graph)
    except (av.error.FFmpegError, OSError):
        return


def _audio_graph(frame: av.AudioFrame) -> av.filter.Graph:
    """Returns filters that convert audio for the encoder, cut what precedes the first picture and fill gaps."""
    graph = av.filter.Graph()
    graph.link_nodes(
        graph.add_abuffer(
            sample_rate=frame.sample_rate, format=frame.format, layout=frame.layout, time_base=frame.time_base
        ),
        graph.add("aresample", f"{RATE}:async=1:first_pts=0"),
        graph.add("aformat", "sample_fmts=fltp:channel_layouts=stereo"),
        graph.add("asetnsamples", "1024"),
        graph.add("abuffersink"),
    ).configure()
    return graph


def _filtered_frames(graph: av.filter.Graph) -> Iterator[av.AudioFrame]:
    while True:
        try:
            frame = graph.pull()
        except (av.error.BlockingIOError, av.error.EOFError):
            return
        yield _within_scale(frame)


def _within_scale(frame: av.AudioFrame) -> av.AudioFrame:
    """Returns a frame with silence for what is no number, which the encoder refuses, and within full scale."""
    samples = frame.to_ndarray()
    finite = np.isfinite(samples)
    if finite.all() and np.abs(samples).max(initial=0) <= 1:
        return frame
    clean = av.AudioFrame.from_ndarray(
        np.clip(np.where(finite, samples, 0), -1, 1).astype(np.float32), "fltp", "stereo"
    )
    clean.sample_rate, clean.pts, clean.time_base = frame.sample_rate, frame.pts, frame.time_base
    return clean
