"""MAFW (Liu et al., ACM Multimedia 2022): 10 045 clips of films and shows, 9 172 of them with a single label."""

from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from data_modules.datasets.dataset import SplitCount, VideoDataset
from data_modules.datasets.folds import fold_number
from data_modules.datasets.layouts import official_split
from data_modules.labels import CONTEMPT, SEVEN, class_list
from data_modules.manifest import VideoRecord

LISTS = Path("Train & Test Set", "single", "no_caption")
CLIPS = Path("clips")


@dataclass
class MAFW(VideoDataset):
    """Videos `clips/00025.mp4` with one of eleven labels; five folds, lists `set_1` to `set_5`.

    The films of the clips are not published, so it cannot be checked whether folds share one.
    """

    provides: ClassVar[frozenset[str]] = frozenset({"motion", "audio"})
    name: ClassVar[str] = "mafw"
    licence: ClassVar[str] = "for academic research, under an agreement to be signed"
    how_to_get: ClassVar[str] = "ask its authors with the agreement on https://mafw-database.github.io/MAFW"
    counts: ClassVar[tuple[SplitCount, ...]] = (SplitCount("", 9172),)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Eleven classes: seven emotions, contempt, anxiety, disappointment and helplessness."""
        return class_list({*SEVEN, CONTEMPT, "anxiety", "disappointment", "helplessness"})

    @property
    def folds(self) -> int:
        """The five official folds."""
        return 5

    def records(self) -> list[VideoRecord]:
        """Returns the single-label clips of the fold."""
        number = fold_number(self.fold, self.folds)
        lists = LISTS / f"set_{number}"
        return official_split(self, lists / "train.txt", lists / "test.txt", CLIPS)
