"""What a recogniser returns: the expressions of one video, and the ways to write and draw them."""

from pathlib import Path
from typing import TYPE_CHECKING

from data_modules.utils.files import atomic_write
from fer_lightning.predict.annotations import elan, webvtt
from fer_lightning.predict.expressions import VideoExpressions
from fer_lightning.predict.page import write_page
from fer_lightning.predict.tables import Rows, csv_table, data_frame, json_content

if TYPE_CHECKING:
    import pandas as pd


class Recognition(VideoExpressions):
    """The expressions of one video over time. Iterating over it gives its windows; nothing is written unless asked."""

    def to_pandas(self, rows: Rows = "windows") -> "pd.DataFrame":
        """Returns the table of all windows, with the columns of `expressions.csv`, or that of all frames.

        Args:
            rows: `windows`, or `frames` for the columns of `frames.csv`.

        Raises:
            ImportError: pandas is not installed.
            ValueError: rows are asked for of something else.
        """
        return data_frame(self, rows)

    def save_html(self, path: str | Path) -> None:
        """Writes a page that plays the video where it is, draws the face's box and shows expressions over time.

        Raises:
            NotWritableError: the folder cannot be written to.
        """
        write_page(self, Path(path))

    def save_elan(self, path: str | Path) -> None:
        """Writes the stretches of one expression as a document of ELAN (.eaf), which refers to the video.

        Raises:
            NotWritableError: the folder cannot be written to.
        """
        atomic_write(Path(path), elan(self, Path(path).parent))

    def save_webvtt(self, path: str | Path) -> None:
        """Writes the stretches of one expression as subtitles (WebVTT).

        Raises:
            NotWritableError: the folder cannot be written to.
        """
        atomic_write(Path(path), webvtt(self))

    def save_csv(self, path: str | Path, rows: Rows = "windows") -> None:
        """Writes the table of all windows, or of all frames, as a CSV file.

        Args:
            path: of the file.
            rows: `windows` or `frames`.

        Raises:
            NotWritableError: the folder cannot be written to.
            ValueError: rows are asked for of something else.
        """
        atomic_write(Path(path), csv_table(self, rows))

    def save_json(self, path: str | Path) -> None:
        """Writes the windows with the video, the settings and what the model is as JSON.

        Raises:
            NotWritableError: the folder cannot be written to.
        """
        atomic_write(Path(path), json_content(self))
