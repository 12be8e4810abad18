"""What a report's sections are made of, and what they are made from."""

import base64
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from data_modules.utils.files import atomic_write
from fer_lightning.evaluation.clip_outputs import ClipOutputs
from fer_lightning.evaluation.metrics import Scores
from fer_lightning.evaluation.predictions import PredictionTable
from fer_lightning.report.figures.style import png
from fer_lightning.runs.folder import RunFolder, RunInfo

CSS_DPI = 96  # a page's pixels in an inch


@dataclass(frozen=True)
class Picture:
    """A figure inside of the page."""

    uri: str
    width: int  # on the page, pixels
    alt: str
    caption: str = ""
    wide: bool = False  # scrolls on a phone instead of shrinking until nothing can be read


@dataclass(frozen=True)
class Table:
    """A table; the first cell of a row names it."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: bool = True
    collapsed: bool = False


@dataclass(frozen=True)
class Section:
    """What stands under one heading."""

    name: str
    title: str
    texts: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    pictures: tuple[Picture, ...] = ()
    tables: tuple[Table, ...] = ()
    code: str = ""
    code_title: str = ""


class Gallery:
    """The folder of a report's PNG files; each is written there and embedded in the page."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.names: set[str] = set()

    def add(self, name: str, figure: Figure, alt: str, caption: str = "", wide: bool = False) -> Picture:
        """Writes the figure as `name.png` and returns it for the page."""
        content = png(figure)
        atomic_write(self.folder / f"{name}.png", content)
        self.names.add(f"{name}.png")
        uri = "data:image/png;base64," + base64.b64encode(content).decode()
        return Picture(uri, round(figure.get_figwidth() * CSS_DPI), alt, caption, wide)

    def tidy(self) -> None:
        """Deletes pictures of an earlier report that this one does not have."""
        for path in self.folder.glob("*.png"):
            if path.name not in self.names:
                path.unlink()


@dataclass(frozen=True)
class EvaluatedRun:
    """An evaluated run as its report's sections see it, on the reported split."""

    folder: RunFolder
    info: RunInfo
    table: PredictionTable
    scores: Scores
    outputs: ClipOutputs | None
    no_outputs: str  # why there are none; empty where there are
    gallery: Gallery  # of the report's pictures
