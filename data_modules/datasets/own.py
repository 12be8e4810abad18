"""Read a user's own clips: listed in a table, or in folders named after emotions."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from data_modules.datasets.dataset import Unit, VideoDataset
from data_modules.datasets.fold_files import check_exclusive, count_folds, read_folds
from data_modules.datasets.folds import assign_folds, fold_number
from data_modules.datasets.layouts import visible
from data_modules.faces.face_table import FOLDERS as FACE_TABLES
from data_modules.labels import class_list, emotion_name
from data_modules.manifest import VideoRecord, manifest_columns, read_manifest
from data_modules.utils.text import counted
from data_modules.video.archives import clip_stem, is_archive
from data_modules.video.container import VIDEO_SUFFIXES
from data_modules.video.images import is_frame

MANIFEST = "manifest.csv"
SPLITS = {"train": "train", "val": "inner", "valid": "inner", "validation": "inner", "test": "test"}


@dataclass(frozen=True)
class _Clips:
    """The clips of the root, before the fold is applied."""

    records: list[VideoRecord]
    divided: bool = False  # whether the splits are given
    assigned: tuple[int, ...] = ()  # the fold in which each clip is tested, if given


@dataclass
class Own(VideoDataset):
    """Clips of any kind: videos, folders or archives of frames, stills.

    If the root holds `manifest.csv`, it lists the clips, with the columns `clip_id`, `path` (relative to the root) and
    `emotion`, and optionally `subject`, `group` (such as a film), `quarter_turns` (clockwise, to turn the clip
    upright), and either `split` (`train`, `inner` or `test`) or `fold` (from 1: the one in which the clip is tested).
    Without it, the clips are `<emotion>/<clip>`, or `train/<emotion>/<clip>`, optionally `val/...`, and `test/...`.

    Without splits and folds, folds are created that are exclusive in films or subjects, where these are given: clips
    without a subject count as clips of different people.

    Args:
        root: the folder with the clips.
        fold: from 1 to `folds`; 1 if splits are given.
        faces: how the faces are extracted.
        classes: the class list; by default the emotions that occur. If given, other emotions in the data are an error.
        made_folds: the number of folds to create if neither splits nor folds are given.
        folds_file: a file of folds for clips without splits or folds, see `fold_files.read_folds`.
    """

    classes: list[str] | None = None
    made_folds: int = 5
    folds_file: Path | None = None

    provides: ClassVar[frozenset[str]] = frozenset({"motion", "audio"})
    name: ClassVar[str] = "own"
    licence: ClassVar[str] = "yours"
    how_to_get: ClassVar[str] = (
        f"put your clips into folders named after emotions, or list them in {MANIFEST}: clip_id,path,emotion,subject."
    )

    @property
    def store_name(self) -> str:
        """The store's name; it depends on the whole path, as folders of the same name may hold different clips."""
        path = str(self.folder.resolve())
        return f"{super().store_name}-{hashlib.sha256(os.fsencode(path)).hexdigest()[:6]}"

    @property
    def class_names(self) -> tuple[str, ...]:
        """The given classes, otherwise those that occur."""
        if self.classes is not None:
            return class_list(map(emotion_name, self.classes))
        return class_list(record.emotion for record in self._clips.records)

    @property
    def folds(self) -> int:
        """One if splits are given, else the number of folds in the table or file, else `made_folds`."""
        if self._clips.divided:
            return 1
        if self._clips.assigned:
            return max(self._clips.assigned)
        return self.made_folds if self.folds_file is None else count_folds(self.folds_file)

    @property
    def exclusive_in(self) -> Unit:
        """Films or subjects if the table names one for each clip and leaves the inner split to the suite."""
        records = self._clips.records
        if any(record.split == "inner" or not (record.group or record.subject) for record in records):
            return "clips"
        return "films" if any(record.group for record in records) else "subjects"

    def records(self) -> list[VideoRecord]:
        """Returns all clips with their split for `fold`.

        Raises:
            DatasetNotFoundError: there is neither a table nor a folder of an emotion.
            ValueError: the fold does not exist, or the table or a folder is invalid.
        """
        clips, tested = self._clips, fold_number(self.fold, self.folds)
        classes = self.class_names
        unexpected = [record for record in clips.records if record.emotion not in classes]
        if unexpected:
            raise ValueError(
                f"{self.name}: clip {unexpected[0].clip_id!r} shows {unexpected[0].emotion!r}; "
                f"{counted(len(unexpected), 'clip')} in all show none of the classes {', '.join(classes)}; "
                "remove them, or add their emotions to `classes`"
            )
        if clips.divided:
            return clips.records
        return [
            replace(record, fold=self.fold, split="test" if number == tested else "train")
            for record, number in zip(clips.records, self._test_folds(clips), strict=True)
        ]

    def _test_folds(self, clips: _Clips) -> Sequence[int]:
        """Returns the fold in which each clip is tested."""
        if clips.assigned:
            return clips.assigned
        if self.folds_file is not None:
            return read_folds(self.folds_file, clips.records, self.folds)
        return assign_folds(clips.records, self.folds, self.name)

    @cached_property
    def _clips(self) -> _Clips:
        """The clips, read once, since classes and folds also depend on them."""
        table = self.folder / MANIFEST
        clips = _read_table(table) if table.is_file() else self._read_folders()
        if not clips.records:
            raise self.not_found(f"{MANIFEST} or <emotion>/<clip>")
        if self.folds_file is not None and (clips.divided or clips.assigned):
            raise ValueError(
                f"{self.name}: the splits or folds are already given; expected no folds_file, or no splits"
            )
        return clips

    def _read_folders(self) -> _Clips:
        folders = [path for path in visible(self.folder) if path.is_dir()] if self.folder.is_dir() else []
        parts = [path for path in folders if path.name not in FACE_TABLES]
        divided = [path for path in parts if path.name.lower() in SPLITS]
        if not divided:
            return _Clips([record for part in parts for record in self._read_class(part, "train")])
        others = [path.name for path in parts if path not in divided]
        splits = Counter(SPLITS[path.name.lower()] for path in divided)
        if others or splits["train"] != 1 or splits["test"] != 1 or splits["inner"] > 1:
            raise ValueError(
                f"{self.folder}: found the folders {', '.join(path.name for path in parts)}; expected train, test and "
                "optionally val, each with folders of emotions, and no others; or only folders of emotions"
            )
        records = [
            record
            for part in divided
            for folder in visible(part)
            if folder.is_dir()
            for record in self._read_class(folder, SPLITS[part.name.lower()])
        ]
        return _Clips(records, divided=True)

    def _read_class(self, folder: Path, split: str) -> Iterator[VideoRecord]:
        emotion = emotion_name(folder.name)
        for path in visible(folder):
            if _is_clip(path) and not _is_aligned_by_openface(path):
                location = path.relative_to(self.folder)
                clip_id = location if path.is_dir() else location.with_name(clip_stem(path))
                yield VideoRecord(clip_id.as_posix(), location.as_posix(), emotion, split=split)


def _is_clip(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES or is_archive(path) or is_frame(path) or path.is_dir()


def _is_aligned_by_openface(path: Path) -> bool:
    """Whether a folder holds the aligned faces of a clip beside it, which OpenFace leaves with its table."""
    clip = path.name.removesuffix("_aligned")
    return clip != path.name and path.is_dir() and path.with_name(f"{clip}.csv").is_file()


def _read_table(table: Path) -> _Clips:
    """Returns the clips of the table.

    Raises:
        ValueError: the table gives both splits and folds, a fold is invalid, or folds share people or films.
    """
    records = [replace(record, emotion=emotion_name(record.emotion)) for record in read_manifest(table)]
    columns, folds = manifest_columns(table), {record.fold for record in records}
    unlabelled = next((record for record in records if not record.emotion), None)
    if unlabelled is not None:
        raise ValueError(f"{table}: clip {unlabelled.clip_id!r} has no emotion; expected the name of one")
    if "split" in columns:
        if "fold" in columns and len(folds) > 1:
            raise ValueError(f"{table}: found both splits and several folds; expected one of the two columns")
        return _Clips([replace(record, fold="1") for record in records], divided=True)
    if "fold" not in columns:
        return _Clips(records)
    unexpected = next((r for r in records if not (r.fold.isascii() and r.fold.isdecimal() and int(r.fold))), None)
    if unexpected is not None:
        raise ValueError(
            f"{table}: clip {unexpected.clip_id!r} has fold {unexpected.fold!r}; expected a number from 1 on"
        )
    assigned = [int(record.fold) for record in records]
    if set(assigned) != set(range(1, len(folds) + 1)) or len(folds) < 2:
        numbers = ", ".join(sorted(folds, key=int)[:20])
        raise ValueError(f"{table}: found the folds {numbers}; expected numbers from 1 on, two or more, without a gap")
    return _Clips(records, assigned=tuple(check_exclusive(records, assigned, str(table))))
