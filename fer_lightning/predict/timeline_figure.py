"""The figure of a timeline: faces, the audio, the expression of each moment, and all probabilities."""

import warnings
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FuncFormatter, MaxNLocator
from numpy.typing import NDArray

from fer_lightning.predict.expressions import VideoExpressions
from fer_lightning.predict.faces import VideoFaces
from fer_lightning.predict.settings import NO_AUDIO, NO_FACE, UNSURE
from fer_lightning.predict.timeline import BELOW_THRESHOLD, Timeline, stretches_of
from fer_lightning.report.figures.style import GREY, INK, class_colours, plain, png, share_axis, styled

BLANK = "#F2F2F2"  # where there is nothing to show
FACE_CELLS = 14  # faces side by side
WIDTH, LEFT, RIGHT, GAP = 11.0, 0.62, 1.25, 0.08  # inches
CELL_SIDE = (WIDTH - LEFT - RIGHT) / FACE_CELLS
AUDIO_HEIGHT = 0.42  # inches
MIN_AMPLITUDE = 0.01  # of the strip: near silence is not scaled up to fill it
MIN_LABEL_SHARE = 0.075  # share of the video's length from which a label fits


def text_colour_on(colour: str) -> str:
    """Returns black or white, whichever is legible on the colour."""
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return "#FFFFFF" if 0.299 * red + 0.587 * green + 0.114 * blue < 140 else "#111111"


def format_clock(seconds: float) -> str:
    """Formats a time as 1:05 or 1:01:05, with tenths of seconds unless they are zero."""
    minutes, rest = divmod(round(seconds, 1), 60)
    hours, minutes = divmod(int(minutes), 60)
    text = f"{rest:04.1f}".removesuffix(".0")
    return f"{hours}:{minutes:02d}:{text}" if hours else f"{minutes}:{text}"


def format_duration(seconds: float) -> str:
    """Formats a duration as `6.4 s`, or `1:05 min` from a minute on."""
    return f"{seconds:.1f} s" if seconds < 60 else f"{format_clock(round(seconds))} {'h' if seconds >= 3600 else 'min'}"


def timeline_png(expressions: VideoExpressions, faces: VideoFaces, timestamps: NDArray[np.float64]) -> bytes:
    """Returns the figure as the content of a PNG file."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph")  # a file name may have letters that the font lacks
        return png(timeline_figure(expressions, faces, timestamps), dpi=180)


@styled
def timeline_figure(expressions: VideoExpressions, faces: VideoFaces, timestamps: NDArray[np.float64]) -> Figure:
    """Draws faces, audio, expressions and probabilities over time; gaps are grey. Sound alone has no strip of faces.

    The strip of the audio is drawn if the video has audio or the model uses it.

    Args:
        expressions: of the video.
        faces: the crops and the audio of the video.
        timestamps: (T,) times of its frames in seconds.
    """
    timeline, duration = expressions.timeline, expressions.video.duration
    audio = (AUDIO_HEIGHT,) if expressions.video.audio or expressions.settings.model_facts.uses_audio else ()
    pictures = () if expressions.video.is_sound_alone else (CELL_SIDE,)
    heights = (*pictures, *audio, 0.24, 1.75)
    size = (WIDTH, 0.62 + sum(heights) + GAP * (len(heights) - 1) + 0.68)
    figure = Figure(figsize=size)
    top, panels = size[1] - 0.62, []
    for height in heights:
        top -= height
        area = (LEFT / WIDTH, top / size[1], (WIDTH - LEFT - RIGHT) / WIDTH, height / size[1])
        panels.append(figure.add_axes(area, xlim=(0, duration)))
        top -= GAP
    _title(figure, expressions, size)
    if pictures:
        _faces(panels[0], faces, timestamps, duration)
    if audio:
        _audio(panels[-3], expressions.sound, duration)
    _band(panels[-2], timeline)
    _areas(panels[-1], timeline, expressions.all_missing)
    for axes in panels[:-1]:
        axes.set_xticks([])
        axes.set_yticks([])
        axes.spines[:].set_visible(False)
    panels[-1].xaxis.set_major_locator(MaxNLocator(10, steps=[1, 1.5, 2, 3, 5, 6, 10]))
    panels[-1].xaxis.set_major_formatter(FuncFormatter(lambda value, _: format_clock(value)))
    panels[-1].set_xlabel("time (minutes:seconds)", labelpad=2)
    return figure


def _title(figure: Figure, expressions: VideoExpressions, size: tuple[float, float]) -> None:
    video, settings = expressions.video, expressions.settings
    left, top = LEFT / size[0], 1 - 0.1 / size[1]
    figure.text(left, top, plain(Path(video.path).name, 70), va="top", weight="bold", fontsize=11)
    duration, model = format_duration(video.duration), plain(settings.model_facts.model, 30)
    subtitle = f"{duration}, {video.face_text}   ·   {model}, windows of {settings.window:g} s every {settings.hop:g} s"
    if settings.confidence.abstention is not None:
        subtitle += f", {UNSURE} below {100 * settings.confidence.threshold:.1f} %"
    if len(expressions.people) > 1:
        subtitle += f"   ·   person 1 of {len(expressions.people)}"
    figure.text(left, top - 0.24 / size[1], subtitle, va="top", color=GREY, fontsize=8.5)
    label = plain(f"{expressions.label.trained_on}. {expressions.label.not_validated}", 160)
    figure.text(left, 0.06 / size[1], label, va="bottom", color=GREY, fontsize=8)


def _faces(axes: Axes, faces: VideoFaces, timestamps: NDArray[np.float64], duration: float) -> None:
    """Shows the face nearest to the middle of each cell."""
    axes.set_ylim(0, 1)
    times = timestamps[faces.frame_index]
    step = duration / FACE_CELLS
    for cell in range(FACE_CELLS):
        start, stop = cell * step, (cell + 1) * step
        inside = np.flatnonzero((times >= start) & (times < stop))
        distance = np.abs(times - (start + stop) / 2)
        if not len(inside) and len(timestamps) < FACE_CELLS and len(times):  # fewer frames than cells
            inside = np.array([int(distance.argmin())])
        if len(inside):
            best = inside[distance[inside].argmin()]
            axes.imshow(faces.crops(best[None])[0], extent=(start, stop, 0, 1), aspect="auto")
        else:
            axes.add_patch(Rectangle((start, 0), step, 1, color=BLANK, linewidth=0))
            axes.text((start + stop) / 2, 0.5, NO_FACE, ha="center", va="center", color=GREY, fontsize=7.5)
    for cell in range(1, FACE_CELLS):
        axes.axvline(cell * step, color="white", linewidth=1.5)
    axes.set_xlim(0, duration)


def _audio(axes: Axes, extremes: NDArray[np.float32], duration: float) -> None:
    """Draws the lowest and highest sample, (N, 2), of each moment; grey where there is no audio."""
    loudest = float(np.nanmax(np.abs(extremes), initial=MIN_AMPLITUDE))
    axes.set_ylim(-1.04 * loudest, 1.04 * loudest)
    edges = np.linspace(0, duration, len(extremes) + 1)
    missing = np.isnan(extremes[:, 0])
    for first, stop in stretches_of(missing):
        start, end = float(edges[first]), float(edges[stop])
        if missing[first]:
            axes.axvspan(start, end, color=BLANK, linewidth=0)
            if end - start >= MIN_LABEL_SHARE * duration:
                axes.text((start + end) / 2, 0, NO_AUDIO, ha="center", va="center", color=GREY, fontsize=7.5)
        else:
            low, high = extremes[first:stop].T
            moments = (edges[first:stop] + edges[first + 1 : stop + 1]) / 2
            axes.fill_between(moments, low, high, facecolor=GREY, edgecolor=GREY, linewidth=0.4)
    axes.text(-0.008, 0.5, "audio", transform=axes.transAxes, ha="right", va="center", color=INK, fontsize=8.5)


def _band(axes: Axes, timeline: Timeline) -> None:
    """Draws the expression of each moment, with its name if there is room."""
    axes.set_ylim(0, 1)
    shades, duration = class_colours(timeline.class_names), float(timeline.end[-1])
    labels = timeline.label
    for first, stop in stretches_of(labels):
        label = int(labels[first])
        start, end = float(timeline.start[first]), float(timeline.end[stop - 1])
        colour = shades[label] if label >= 0 else BLANK
        axes.add_patch(Rectangle((start, 0), end - start, 1, facecolor=colour, edgecolor="white", linewidth=0.8))
        if end - start >= MIN_LABEL_SHARE * duration:
            ink = text_colour_on(colour) if label >= 0 else GREY
            name = plain(timeline.name(label), 14)
            axes.text((start + end) / 2, 0.46, name, ha="center", va="center", color=ink, fontsize=8)


def _areas(axes: Axes, timeline: Timeline, missing: str) -> None:
    """Draws the stacked probabilities, pale in unsure rows, with the names of the classes at the right."""
    share_axis(axes, "probability")
    axes.set_ylim(0, 1)
    shades = class_colours(timeline.class_names)
    has_prediction, middles = timeline.has_prediction, timeline.time
    for first, stop in stretches_of(has_prediction):
        start, end = float(timeline.start[first]), float(timeline.end[stop - 1])
        if not has_prediction[first]:
            axes.add_patch(Rectangle((start, 0), end - start, 1, facecolor=BLANK, linewidth=0))
            if end - start >= MIN_LABEL_SHARE * float(timeline.end[-1]):
                axes.text((start + end) / 2, 0.5, missing, ha="center", va="center", color=GREY, fontsize=9)
            continue
        rows = timeline.probabilities[first:stop].T  # (C, n)
        times = np.concatenate([[start], middles[first:stop], [end]])
        stacked = np.concatenate([rows[:, :1], rows, rows[:, -1:]], axis=1)
        axes.stackplot(times, stacked, colors=shades, edgecolor="white", linewidth=0.5)
    unsure = timeline.label == BELOW_THRESHOLD
    for first, stop in stretches_of(unsure):
        if unsure[first]:
            axes.axvspan(float(timeline.start[first]), float(timeline.end[stop - 1]), color="white", alpha=0.6, lw=0)
    axes.grid(visible=False)
    _class_names(axes, timeline, shades)


def _class_names(axes: Axes, timeline: Timeline, shades: list[str]) -> None:
    """Lists all classes at the right in the order of their areas."""
    count = len(timeline.class_names)
    step = min(0.125, 1 / count)
    top = 0.5 + step * count / 2
    for index, (name, shade) in enumerate(zip(timeline.class_names[::-1], shades[::-1], strict=True)):
        height = top - step * (index + 0.5)
        axes.add_patch(
            Rectangle((1.015, height - 0.028), 0.014, 0.056, color=shade, transform=axes.transAxes, clip_on=False)
        )
        axes.text(1.036, height, plain(name, 16), transform=axes.transAxes, va="center", color=INK, fontsize=8.5)
