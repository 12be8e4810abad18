"""CK+ (Lucey et al., CVPR workshops 2010): posed expressions from neutral to the apex, filmed in a laboratory."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar, Literal

from data_modules.datasets.dataset import SplitCount, Unit, VideoDataset
from data_modules.datasets.fold_files import count_folds
from data_modules.datasets.folds import split_by_fold
from data_modules.datasets.layouts import visible
from data_modules.labels import ANGER, CONTEMPT, DISGUST, FEAR, HAPPINESS, NEUTRAL, SADNESS, SEVEN, SURPRISE, class_list
from data_modules.manifest import VideoRecord
from data_modules.video.images import IMAGE_SUFFIXES, natural_order

CODES = {0: NEUTRAL, 1: ANGER, 2: CONTEMPT, 3: DISGUST, 4: FEAR, 5: HAPPINESS, 6: SADNESS, 7: SURPRISE}
IMAGES = Path("cohn-kanade-images")
LABELS = Path("Emotion")
LABELLED = (
    (ANGER, 45),
    (CONTEMPT, 18),
    (DISGUST, 59),
    (FEAR, 25),
    (HAPPINESS, 69),
    (SADNESS, 28),
    (SURPRISE, 83),
)
FOLDS = {"contempt": 10, "neutral": 5}


@dataclass
class CKPlus(VideoDataset):
    """Folders of frames. The 266 of the 593 sequences that have no emotion label are left out.

    There are no official folds; those of `data_modules.datasets.folds` are exclusive in subjects.

    Args:
        root: the folder that holds `cohn-kanade-images` and `Emotion`.
        fold: from 1 to 10 (`contempt`) or 5 (`neutral`), or to the number of folds in `folds_file`.
        faces: how the faces are extracted.
        protocol: `contempt`: all labelled sequences, seven classes, ten folds. `neutral`: the sequences without
            contempt, and the first frame of each as a neutral clip of one frame; seven classes, five folds.
        folds_file: a CSV table of folds to use instead, with the columns clip_id and fold.
    """

    protocol: Literal["contempt", "neutral"] = "contempt"
    folds_file: Path | None = None

    name: ClassVar[str] = "ckplus"
    licence: ClassVar[str] = "for research, under an agreement to be signed"
    exclusive_in: ClassVar[Unit] = "subjects"
    how_to_get: ClassVar[str] = "ask the Affect Analysis Group of the University of Pittsburgh with its agreement."

    @property
    def class_names(self) -> tuple[str, ...]:
        """Six emotions, and contempt or neutral."""
        return SEVEN if self.protocol == "neutral" else class_list({*SEVEN, CONTEMPT} - {NEUTRAL})

    @property
    def classes_from_stills(self) -> tuple[str, ...]:
        """Neutral in the protocol `neutral`: half of its clips, and the easiest."""
        return (NEUTRAL,) if self.protocol == "neutral" else ()

    @property
    def folds(self) -> int:
        """The number of folds of the protocol (ten or five), or of `folds_file` if it is given."""
        return FOLDS[self.protocol] if self.folds_file is None else count_folds(self.folds_file)

    @property
    def counts(self) -> tuple[SplitCount, ...]:
        """The numbers of clips of the protocol; in `neutral`, each sequence also gives a neutral clip."""
        sequences = [(emotion, number) for emotion, number in LABELLED if emotion in self.class_names]
        if self.protocol == "neutral":
            sequences.append((NEUTRAL, sum(number for _, number in sequences)))
        return (SplitCount.from_pairs("", *sorted(sequences)),)

    def records(self) -> list[VideoRecord]:
        """Returns the labelled sequences and, in the protocol `neutral`, their first frames."""
        for path in (IMAGES, LABELS):
            if not (self.folder / path).is_dir():
                raise self.not_found(str(path))
        records = list(self._sequences())
        if not records:
            raise self.not_found(f"{LABELS}/S005/001/S005_001_*_emotion.txt")
        name = f"{self.name}/{self.protocol}"
        return split_by_fold(records, self.fold, self.folds, name, self.folds_file)

    def _sequences(self) -> Iterator[VideoRecord]:
        for subject in visible(self.folder / LABELS):
            for sequence in visible(subject) if subject.is_dir() else ():
                emotion = _label(sequence) if sequence.is_dir() else None
                if emotion not in self.class_names or emotion == NEUTRAL:
                    continue
                path = IMAGES / subject.name / sequence.name
                clip_id = f"{subject.name}_{sequence.name}"
                yield VideoRecord(clip_id, str(path), emotion, subject.name)
                if self.protocol == "neutral":
                    first = path / self._first_frame(path, clip_id)
                    yield VideoRecord(f"{clip_id}_neutral", str(first), NEUTRAL, subject.name)

    def _first_frame(self, path: Path, clip_id: str) -> str:
        """Returns the name of the first frame's file; if the frames are missing, the name that is expected."""
        folder = self.folder / path
        frames = [p for p in visible(folder) if p.suffix.lower() in IMAGE_SUFFIXES] if folder.is_dir() else []
        return natural_order(frames)[0].name if frames else f"{clip_id}_00000001.png"


def _label(folder: Path) -> str | None:
    """Returns the emotion in a folder such as `Emotion/S005/001`, or None if it has no label.

    Raises:
        ValueError: the file does not hold a number from 0 to 7, or there are several files.
    """
    files = [path for path in visible(folder) if path.name.endswith("_emotion.txt")]
    if not files:
        return None
    if len(files) > 1:
        raise ValueError(f"{folder}: found {', '.join(path.name for path in files)}; expected one label")
    text = files[0].read_text(encoding="ascii", errors="replace").strip()
    if not re.fullmatch(r"[0-7](\.0*)?(e\+0+)?", text):  # such as 3.0000000e+00
        raise ValueError(f"{files[0]}, line 1: found {text[:40]!r}; expected one number from 0 to 7: 3.0000000e+00")
    return CODES[int(text[0])]
