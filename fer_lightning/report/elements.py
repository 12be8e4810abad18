"""The elements of a report's sections, and the evaluated run from which they are made."""

import base64
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from matplotlib.figure import Figure

from data_modules.utils.files import atomic_write
from fer_lightning.evaluation.calibration import Calibration, CalibrationEffect
from fer_lightning.evaluation.clip_outputs import ClipOutputs
from fer_lightning.evaluation.metrics import Scores
from fer_lightning.evaluation.predictions import PredictionTable
from fer_lightning.report.figures.style import png
from fer_lightning.runs.folder import RunFolder, RunInfo

CSS_DPI = 96  # CSS pixels per inch
MAX_ROWS_OF_A_PAGE = 30  # longer tables may be split when the page is printed


@dataclass(frozen=True)
class Picture:
    """A figure embedded in the page."""

    uri: str
    width: int  # on the page, in CSS pixels
    alt: str
    caption: str = ""
    is_photo: bool = False  # whether it has frames of a clip, whose colours must not be inverted


@dataclass(frozen=True)
class Table:
    """A table whose rows begin with their heading."""

    caption: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    numbers: bool = True  # aligns all cells but the headings to the right
    collapsed: bool = False  # shown only when the reader opens it

    @property
    def fits_a_page(self) -> bool:
        """Whether the table is short enough to be kept on one printed page."""
        return len(self.rows) <= MAX_ROWS_OF_A_PAGE


@dataclass(frozen=True)
class Section:
    """A section of the page: its heading, texts, notes on missing data, figures, tables and code."""

    name: str
    title: str
    texts: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()
    pictures: tuple[Picture, ...] = ()
    tables: tuple[Table, ...] = ()
    code: str = ""
    code_title: str = ""


class Gallery:
    """The folder with a report's figures; each is written as a PNG file and embedded in the page."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.names: set[str] = set()

    def add(self, name: str, figure: Figure, alt: str, caption: str = "", is_photo: bool = False) -> Picture:
        """Writes the figure as `name.png` and returns it for the page, see `Picture`."""
        content = png(figure)
        atomic_write(self.folder / f"{name}.png", content)
        self.names.add(f"{name}.png")
        uri = "data:image/png;base64," + base64.b64encode(content).decode()
        return Picture(uri, round(figure.get_figwidth() * CSS_DPI), alt, caption, is_photo)

    def delete_others(self) -> None:
        """Deletes the figures of an earlier report that are not part of this one."""
        for path in self.folder.glob("*.png"):
            if path.name not in self.names:
                path.unlink()


@dataclass(frozen=True)
class EvaluatedRun:
    """The results of a run on the reported split, from which the sections of its report are made."""

    folder: RunFolder
    info: RunInfo
    table: PredictionTable
    scores: Scores
    outputs: ClipOutputs | None
    no_outputs: str  # why `outputs` is None; empty otherwise
    gallery: Gallery
    calibration: Calibration
    effects: Mapping[str, CalibrationEffect]  # of the calibration on the splits `inner` and `test`
