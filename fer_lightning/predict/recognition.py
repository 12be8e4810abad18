"""What a recogniser returns: the expressions of one video, and the ways to write and draw them."""

from pathlib import Path
from typing import TYPE_CHECKING

from data_modules.utils.files import atomic_write
from fer_lightning.predict.annotations import elan, webvtt
from fer_lightning.predict.expressions import VideoExpressions
from fer_lightning.predict.page import write_page
from fer_lightning.predict.tables import csv_table, data_frame, json_content

if TYPE_CHECKING:
    import pandas as pd


class Recognition(VideoExpressions):
    """The expressions of one video over time. Iterating over it gives its windows; nothing is written unless asked."""

    def to_pandas(self) -> "pd.DataFrame":
        """Returns the table of all windows, with the columns of `expressions.csv`.

        Raises:
            ImportError: pandas is not installed.
        """
        return data_frame(self)

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

    def save_csv(self, path: str | Path) -> None:
        """Writes the table of all windows as a CSV file.

        Raises:
            NotWritableError: the folder cannot be written to.
        """
        atomic_write(Path(path), csv_table(self))

    def save_json(self, path: str | Path) -> None:
        """Writes the windows with the video, the settings and what the model is as JSON.

        Raises:
            NotWritableError: the folder cannot be written to.
        """
        atomic_write(Path(path), json_content(self))
