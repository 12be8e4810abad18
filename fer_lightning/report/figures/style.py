"""The style that all figures share, with the colours of Okabe and Ito, which are safe for colour-blind readers."""

import io
from collections.abc import Callable, Sequence
from functools import wraps
from typing import ParamSpec

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

P = ParamSpec("P")

BLUE, ORANGE, GREEN, RED = "#0072B2", "#E69F00", "#009E73", "#D55E00"
INK, GREY, FAINT = "#222222", "#767676", "#DDDDDD"
PURPLE, SKY, OLIVE = "#CC79A7", "#56B4E9", "#B8A800"
PALETTE = (BLUE, ORANGE, GREEN, RED, PURPLE, SKY, INK, OLIVE)
CLASS_COLOURS = {
    "anger": RED,
    "contempt": OLIVE,
    "disgust": GREEN,
    "fear": PURPLE,
    "happiness": ORANGE,
    "neutral": "#A6A6A6",
    "sadness": BLUE,
    "surprise": SKY,
}
EXTRA_COLOURS = ("#6A3D9A", "#7F5539", "#2F4B4B", "#B04A7A")  # of class names that are not listed above
PERSON_COLOURS = ("#FFFFFF", "#FFE119", "#00E5FF", "#FF5FD2", "#8CFF3F", "#C9A7FF")  # bright, as they lie on pictures
MARKERS = ("o", "s", "^", "D", "v", "P", "X", "*", "<", ">")
DPI = 150

STYLE = {
    "font.size": 9,
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],  # comes with matplotlib, so figures look the same on every machine
    "axes.edgecolor": GREY,
    "axes.linewidth": 0.8,
    "axes.labelcolor": INK,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": False,
    "grid.color": FAINT,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 8,
    "ytick.labelsize": 8,
    "legend.frameon": False,
    "legend.fontsize": 8,
    "figure.facecolor": "white",
    "savefig.facecolor": "white",
}


def styled(draw: Callable[P, Figure]) -> Callable[P, Figure]:
    """Decorates a function so that it draws in this module's style, without changing matplotlib's global settings."""

    @wraps(draw)
    def draw_in_style(*args: P.args, **kwargs: P.kwargs) -> Figure:
        with mpl.rc_context(STYLE):  # type: ignore[arg-type]
            return draw(*args, **kwargs)

    return draw_in_style


def class_colours(class_names: Sequence[str]) -> list[str]:
    """Returns a colour for each class; an expression has the same colour in every figure, whatever the class list."""
    others = [name for name in class_names if name not in CLASS_COLOURS]
    return [CLASS_COLOURS.get(name) or EXTRA_COLOURS[others.index(name) % len(EXTRA_COLOURS)] for name in class_names]


def person_colour(number: int) -> str:
    """Returns the colour of the person of that number, counted from 1; after the last colour comes the first again."""
    return PERSON_COLOURS[(number - 1) % len(PERSON_COLOURS)]


def plain(text: str, limit: int = 48) -> str:
    """Prepares text from a file for matplotlib: one line, shortened to `limit` letters, never read as a formula."""
    line = " ".join("".join(letter if letter.isprintable() else " " for letter in text).split())
    if len(line) > limit:
        line = f"{line[: limit // 2]}…{line[-(limit // 2 - 1) :]}"
    return line.replace("$", r"\$")


def share_axis(axes: Axes, label: str) -> None:
    """Sets up a vertical axis from 0 to 1 with faint grid lines."""
    axes.set_ylim(0, 1.02)
    axes.set_yticks([0, 0.25, 0.5, 0.75, 1])
    axes.set_ylabel(label)
    axes.grid(axis="y")
    axes.set_axisbelow(True)


def png(figure: Figure, dpi: int = DPI) -> bytes:
    """Returns the figure as the content of a PNG file."""
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=dpi)
    return buffer.getvalue()
