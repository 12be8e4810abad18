"""The picture of a timeline: faces above, the sound, the expression of each moment, and all probabilities below."""

import warnings
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from fer_lightning.predict.faces import VideoFaces
from fer_lightning.predict.settings import NO_AUDIO, NO_FACE
from fer_lightning.predict.timeline import Timeline, VideoExpressions
from fer_lightning.predict.waveform import envelope
from fer_lightning.report.figures.style import GREY, INK, PALETTE, plain, png, share_axis, styled

BLUE, ORANGE, GREEN, RED, PURPLE, SKY, _, OLIVE = PALETTE
COLOURS = (
    ("anger", RED),
    ("contempt", OLIVE),
    ("disgust", GREEN),
    ("fear", PURPLE),
    ("happiness", ORANGE),
    ("neutral", "#A6A6A6"),
    ("sadness", BLUE),
    ("surprise", SKY),
)
FURTHER = ("#6A3D9A", "#7F5539", "#2F4B4B", "#B04A7A")  # of class names that not every data set has

PALE = "#F2F2F2"  # where there is no face
CELLS = 14  # faces beside each other
WIDTH, LEFT, RIGHT, GAP = 11.0, 0.62, 1.25, 0.08  # inches
SIDE = (WIDTH - LEFT - RIGHT) / CELLS
WAVE = 0.42  # inches
QUIETEST = 0.01  # the loudest sample fills the strip, but for a sound that is next to silence
NAMED = 0.075  # share of the video's length from which a name fits into the band


def colours(class_names: tuple[str, ...]) -> list[str]:
    """A colour for each class; an expression has the same one in every picture, whatever the class list."""
    known = dict(COLOURS)
    others = [name for name in class_names if name not in known]
    return [known.get(name) or FURTHER[others.index(name) % len(FURTHER)] for name in class_names]


def readable_on(colour: str) -> str:
    """Black or white, whichever can be read on the colour."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "#FFFFFF" if 0.299 * red + 0.587 * green + 0.114 * blue < 140 else "#111111"


def clock(seconds: float) -> str:
    """1:05 or 1:01:05; tenths where there are some."""
    minutes, rest = divmod(round(seconds, 1), 60)
    hours, minutes = divmod(int(minutes), 60)
    shown = f"{rest:04.1f}".removesuffix(".0")
    return f"{hours}:{minutes:02d}:{shown}" if hours else f"{minutes}:{shown}"


def length(seconds: float) -> str:
    """`6.4 s`, or `1:05 min` from a minute on."""
    return f"{seconds:.1f} s" if seconds < 60 else f"{clock(round(seconds))} {'h' if seconds >= 3600 else 'min'}"


def timeline_png(expressions: VideoExpressions, faces: VideoFaces, timestamps: NDArray[np.float64]) -> bytes:
    """The picture as a PNG file."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # a file name in letters that the font lacks
        return png(timeline_figure(expressions, faces, timestamps), dpi=180)


@styled
def timeline_figure(expressions: VideoExpressions, faces: VideoFaces, timestamps: NDArray[np.float64]) -> Figure:
    """Faces, the sound, the band of expressions, and the probabilities over time; grey where there is none.

    The sound has its place where the video has any, and where the model would hear it.

    Args:
        expressions: of the video.
        faces: its crops and its sound.
        timestamps: (T,) of its frames in seconds.
    """
    timeline, duration = expressions.timeline, expressions.video.duration
    audio = (WAVE,) if expressions.video.audio or expressions.settings.by.hears else ()
    heights = (SIDE, *audio, 0.24, 1.75)
    size = (WIDTH, 0.62 + sum(heights) + GAP * (len(heights) - 1) + 0.5)
    figure = Figure(figsize=size)
    top, panels = size[1] - 0.62, []
    for height in heights:
        top -= height
        area = (LEFT / WIDTH, top / size[1], (WIDTH - LEFT - RIGHT) / WIDTH, height / size[1])
        panels.append(figure.add_axes(area, xlim=(0, duration)))
        top -= GAP
    _title(figure, expressions, size)
    _faces(panels[0], faces, timestamps, duration)
    if audio:
        _audio(panels[1], envelope(faces, duration), duration)
    _band(panels[-2], timeline)
    _areas(panels[-1], timeline, expressions.all_missing)
    for axes in panels[:-1]:
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
    panels[-1].xaxis.set_major_locator(MaxNLocator(10, steps=[1, 1.5, 2, 3, 5, 6, 10]))
    panels[-1].xaxis.set_major_formatter(FuncFormatter(lambda value, _: clock(value)))
    panels[-1].set_xlabel("time (minutes:seconds)", labelpad=2)
    return figure


def _title(figure: Figure, expressions: VideoExpressions, size: tuple[float, float]) -> None:
    video, settings = expressions.video, expressions.settings
    left, top = LEFT / size[0], 1 - 0.1 / size[1]
    figure.text(left, top, plain(Path(video.path).name, 70), va="top", weight="bold", fontsize=11)
    said = (
        f"{length(video.duration)}, {video.frames} frames, a face in {100 * video.face_share:.3g} % of them   ·   "
        f"{plain(settings.by.model, 30)}, windows of {settings.window:g} s every {settings.hop:g} s"
    )
    figure.text(left, top - 0.24 / size[1], said, va="top", color=GREY, fontsize=8.5)


def _faces(axes: Axes, faces: VideoFaces, timestamps: NDArray[np.float64], duration: float) -> None:
    """The face nearest to the middle of each cell."""
    axes.set_ylim(0, 1)
    times = timestamps[faces.frame_index]
    step = duration / CELLS
    for cell in range(CELLS):
        start, stop = cell * step, (cell + 1) * step
        inside = np.flatnonzero((times >= start) & (times < stop))
        shown = np.abs(times - (start + stop) / 2)
        if not len(inside) and len(timestamps) < CELLS and len(times):  # fewer frames than cells
            inside = np.array([int(shown.argmin())])
        if len(inside):
            best = inside[shown[inside].argmin()]
            axes.imshow(faces.crops(best[None])[0], extent=(start, stop, 0, 1), aspect="auto")
        else:
            axes.add_patch(Rectangle((start, 0), step, 1, color=PALE, linewidth=0))
            axes.text((start + stop) / 2, 0.5, NO_FACE, ha="center", va="center", color=GREY, fontsize=7.5)
    for cell in range(1, CELLS):
        axes.axvline(cell * step, color="white", linewidth=1.5)
    axes.set_xlim(0, duration)


def _audio(axes: Axes, extremes: NDArray[np.float32], duration: float) -> None:
    """The lowest and highest sample (N, 2) of each moment; grey where the sound is over, or there is none."""
    loudest = float(np.nanmax(np.abs(extremes), initial=QUIETEST))
    axes.set_ylim(-1.04 * loudest, 1.04 * loudest)
    edges = np.linspace(0, duration, len(extremes) + 1)
    missing = np.isnan(extremes[:, 0])
    for first, stop in _runs(missing):
        start, end = float(edges[first]), float(edges[stop])
        if missing[first]:
            axes.axvspan(start, end, color=PALE, linewidth=0)
            if end - start >= NAMED * duration:
                axes.text((start + end) / 2, 0, NO_AUDIO, ha="center", va="center", color=GREY, fontsize=7.5)
        else:
            low, high = extremes[first:stop].T
            moments = (edges[first:stop] + edges[first + 1 : stop + 1]) / 2
            axes.fill_between(moments, low, high, facecolor=GREY, edgecolor=GREY, linewidth=0.4)
    axes.text(-0.008, 0.5, "audio", transform=axes.transAxes, ha="right", va="center", color=INK, fontsize=8.5)


def _runs(values: NDArray[np.int64] | NDArray[np.bool_]) -> list[tuple[int, int]]:
    """[first, stop) of each stretch of equal values."""
    edges = np.flatnonzero(np.diff(values)) + 1
    return list(zip([0, *edges.tolist()], [*edges.tolist(), len(values)], strict=True))


def _band(axes: Axes, timeline: Timeline) -> None:
    """The expression of each moment, named where there is room."""
    axes.set_ylim(0, 1)
    shades, duration = colours(timeline.class_names), float(timeline.end[-1])
    for first, stop in _runs(timeline.label):
        label = int(timeline.label[first])
        start, end = float(timeline.start[first]), float(timeline.end[stop - 1])
        colour = shades[label] if label >= 0 else PALE
        axes.add_patch(Rectangle((start, 0), end - start, 1, facecolor=colour, edgecolor="white", linewidth=0.8))
        if end - start >= NAMED * duration:
            ink = readable_on(colour) if label >= 0 else GREY
            name = plain(timeline.name(label), 14)
            axes.text((start + end) / 2, 0.46, name, ha="center", va="center", color=ink, fontsize=8)


def _areas(axes: Axes, timeline: Timeline, missing: str) -> None:
    """The probabilities on top of each other, with their names at the right."""
    share_axis(axes, "probability")
    axes.set_ylim(0, 1)
    shades = colours(timeline.class_names)
    for first, stop in _runs(timeline.answered):
        start, end = float(timeline.start[first]), float(timeline.end[stop - 1])
        if not timeline.answered[first]:
            axes.add_patch(Rectangle((start, 0), end - start, 1, facecolor=PALE, linewidth=0))
            if end - start >= NAMED * float(timeline.end[-1]):
                axes.text((start + end) / 2, 0.5, missing, ha="center", va="center", color=GREY, fontsize=9)
            continue
        rows = timeline.probabilities[first:stop].T  # (C, n)
        times = np.concatenate([[start], timeline.time[first:stop], [end]])
        stacked = np.concatenate([rows[:, :1], rows, rows[:, -1:]], axis=1)
        axes.stackplot(times, stacked, colors=shades, edgecolor="white", linewidth=0.5)
    axes.grid(visible=False)
    _names(axes, timeline, shades)


def _names(axes: Axes, timeline: Timeline, shades: list[str]) -> None:
    """All classes at the right, from the top down as their areas lie."""
    count = len(timeline.class_names)
    step = min(0.125, 1 / count)
    top = 0.5 + step * count / 2
    for place, (name, shade) in enumerate(zip(timeline.class_names[::-1], shades[::-1], strict=True)):
        height = top - step * (place + 0.5)
        axes.add_patch(
            Rectangle((1.015, height - 0.028), 0.014, 0.056, color=shade, transform=axes.transAxes, clip_on=False)
        )
        axes.text(1.036, height, plain(name, 16), transform=axes.transAxes, va="center", color=INK, fontsize=8.5)
