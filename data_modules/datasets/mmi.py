"""MMI (Valstar and Pantic, LREC workshops 2010): posed expressions from onset to offset, filmed in a laboratory."""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar

from defusedxml import DTDForbidden
from defusedxml.ElementTree import ParseError, fromstring

from data_modules.datasets.dataset import SplitCount, Unit, VideoDataset
from data_modules.datasets.folds import split_by_fold
from data_modules.datasets.layouts import visible
from data_modules.labels import ANGER, DISGUST, FEAR, HAPPINESS, NEUTRAL, SADNESS, SEVEN, SURPRISE
from data_modules.manifest import VideoRecord
from data_modules.video.images import natural_order

CODES = {1: ANGER, 2: DISGUST, 3: FEAR, 4: HAPPINESS, 5: SADNESS, 6: SURPRISE}
FRONT, PROFILE = "0", "1"
VIEWS = (FRONT, PROFILE, "2")  # from the front, from the side, both in one picture by a mirror
PHASES = "-oao_aucs.xml"  # the ending of an annotation of the onset, apex and offset of action units
SESSIONS = "Sessions"
MAX_BYTES = 1 << 20  # of an annotation; those of the data set have a few thousand


@dataclass
class MMI(VideoDataset):
    """Videos `Sessions/<n>/<sid>.avi` that show one of six emotions in a frontal view.

    The `view` of the session's `track` is front (0), side (1) or both by means of a mirror (2). Videos from the side
    are left out, as are sessions without an emotion or with a code above 6.
    The subject is the part of `<sid>` before the hyphen (`S002-106`), else the `id` of an element `Subject` in the
    annotations; without either, each session counts as a separate subject.
    There are no official folds; those of `data_modules.datasets.folds` are exclusive in subjects.
    Videos of view 0 without an onset-apex-offset annotation of action units (`<sid>-oao_aucs.xml`, named in
    `session.xml` or present as a file) lie on their side, with the same frame size as the others. They are turned
    clockwise by 90 degrees. A public loader of this data set uses the same rule, and another one turns videos in the
    same direction if it finds no face. The authors do not document this, so check the clips that the doctor names.

    Args:
        root: the folder that holds `Sessions`.
        fold: from 1 to `folds`.
        faces: how the faces are extracted.
        folds: the number of folds; papers use ten.
        folds_file: a CSV table of folds to use instead, with the columns clip_id and fold.
        turn: whether videos that lie on their side are turned; disable it for a copy that is already corrected.
    """

    folds: int = 10
    folds_file: Path | None = None
    turn: bool = True

    name: ClassVar[str] = "mmi"
    licence: ClassVar[str] = "for research, under an agreement to be signed"
    exclusive_in: ClassVar[Unit] = "subjects"
    how_to_get: ClassVar[str] = "ask for an account with the agreement on https://mmifacedb.eu"
    counts: ClassVar[tuple[SplitCount, ...]] = (SplitCount("", 205),)

    @property
    def class_names(self) -> tuple[str, ...]:
        """Six emotions, without neutral."""
        return tuple(name for name in SEVEN if name != NEUTRAL)

    def records(self) -> list[VideoRecord]:
        """Returns the labelled videos in frontal view."""
        sessions = self.folder / SESSIONS
        if not sessions.is_dir():
            raise self.not_found(f"{SESSIONS}/<n>/session.xml")
        folders = natural_order(path for path in visible(sessions) if path.is_dir())
        records = [record for folder in folders for record in self._session(folder)]
        if not records:
            raise self.not_found(f'{SESSIONS}/<n>/<sid>.xml with Metatag Name="Emotion"')
        return split_by_fold(records, self.fold, self.folds, self.name, self.folds_file)

    def _session(self, folder: Path) -> Iterator[VideoRecord]:
        for path in visible(folder):
            if path.suffix.lower() != ".xml" or path.name == "session.xml" or path.stem.endswith("aucs"):
                continue  # action units, such as `PHASES`
            annotation = _elements(path)
            emotion = _emotion(path, annotation)
            if emotion is None:
                continue
            session = _elements(folder / "session.xml")
            video = path.with_suffix(".avi")
            view = _view(folder / "session.xml", session, video.name)
            if view != PROFILE:
                subject = _subject(path.stem, (*annotation, *session)) or f"session{folder.name}"
                quarter_turns = int(self.turn and view == FRONT and not _has_phases(path, session))
                yield VideoRecord(
                    path.stem, str(video.relative_to(self.folder)), emotion, subject, quarter_turns=quarter_turns
                )


@dataclass(frozen=True)
class _Element:
    """An XML element; its names are in lower case, since their spelling differs between files."""

    tag: str
    attributes: tuple[tuple[str, str], ...]

    def get(self, name: str) -> str | None:
        """Returns the value of an attribute, or None if it is missing."""
        return next((value for key, value in self.attributes if key == name), None)


def _elements(path: Path) -> tuple[_Element, ...]:
    """Returns all elements of an annotation.

    Raises:
        ValueError: the file is missing, too large or not XML, or it declares a document type.
    """
    expected = "expected an annotation of the data set; copy it again"
    if not path.is_file():
        raise ValueError(f"{path}: the file does not exist; {expected}")
    if path.stat().st_size > MAX_BYTES:
        raise ValueError(f"{path}: found {path.stat().st_size} bytes, more than {MAX_BYTES}; {expected}")
    try:
        root = fromstring(path.read_bytes(), forbid_dtd=True)
    except DTDForbidden as error:
        raise ValueError(f"{path}: found a DOCTYPE {error.name!r}; {expected}") from error
    except (ParseError, ValueError, LookupError) as error:
        raise ValueError(f"{path}: found {error}; {expected}") from error
    return tuple(
        _Element(
            element.tag.rpartition("}")[2].lower(),
            tuple((key.lower(), value.strip()) for key, value in element.attrib.items()),
        )
        for element in root.iter()
    )


def _emotion(path: Path, annotation: tuple[_Element, ...]) -> str | None:
    """Returns the emotion of `Metatag Name="Emotion" Value="4"`; None if it is missing or its code is above 6."""
    values = [e.get("value") or "" for e in annotation if e.tag == "metatag" and e.get("name") == "Emotion"]
    if not values:
        return None
    if len(set(values)) > 1 or not re.fullmatch("[1-9][0-9]?", values[0]):
        raise ValueError(f'{path}: found Metatag Name="Emotion" Value={values}; expected one number, from 1 to 6')
    return CODES.get(int(values[0]))


def _view(path: Path, session: tuple[_Element, ...], video: str) -> str:
    """Returns the `view` of the video's track."""
    tracks = [e for e in session if e.tag == "track" and e.get("view") is not None]
    named = [e for e in tracks if (e.get("filename") or "").replace("\\", "/").rpartition("/")[2] == video]
    views = {e.get("view") for e in named or tracks}
    view = views.pop() if len(views) == 1 else None
    if view not in VIEWS:
        raise ValueError(f"{path}: found tracks {tracks}; expected one of {video} with view {', '.join(VIEWS)}")
    return view


def _has_phases(path: Path, session: tuple[_Element, ...]) -> bool:
    """Returns whether the session names the action unit annotation of `<sid>.xml`, or it lies in the same folder."""
    named = any(e.tag == "annotation" and (e.get("filename") or "").endswith(PHASES) for e in session)
    return named or path.with_name(path.stem + PHASES).is_file()


def _subject(sid: str, elements: tuple[_Element, ...]) -> str:
    """Returns the subject's name, empty if it is unknown."""
    if match := re.match(r"(S\d+)-", sid):
        return match[1]
    return next((value for e in elements if e.tag == "subject" and (value := e.get("id"))), "")
