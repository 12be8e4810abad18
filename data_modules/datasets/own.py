"""A user's own videos: listed in a table, or in folders named after emotions."""

import hashlib
import os
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import ClassVar

from data_modules.datasets.dataset import VideoDataset
from data_modules.datasets.fold_files import check_exclusive, count_folds, read_folds
from data_modules.datasets.folds import assign_folds, fold_number
from data_modules.datasets.layouts import VIDEO_SUFFIXES, visible
from data_modules.labels import class_list, emotion_name
from data_modules.manifest import VideoRecord, manifest_columns, read_manifest
from data_modules.video.archives import clip_stem, is_archive
from data_modules.video.images import is_frame

MANIFEST = "manifest.csv"
SPLITS = {"train": "train", "val": "inner", "valid": "inner", "validation": "inner", "test": "test"}


@dataclass(frozen=True)
class _Clips:
    """The clips of the root, before the fold is applied."""

    records: list[VideoRecord]
    divided: bool = False  # whether the splits are told
    assigned: tuple[int, ...] = ()  # the fold that each clip is tested in, where that is told


@dataclass
class Own(VideoDataset):
    """Clips of any kind: videos, folders or archives of frames, stills.

    Where the root holds `manifest.csv`, that is the list: the columns `clip_id`, `path` (relative to the root) and
    `emotion`, and optionally `subject`, `group` (a film, say), `quarter_turns` (how many, clockwise, bring the clip
    upright), and either `split` (`train`, `inner` or `test`) or `fold` (from 1 on: the one that the clip is tested in).
    Without it, the clips are `<emotion>/<clip>`, or `train/<emotion>/<clip>`, optionally `val/...`, and `test/...`.

    Where neither splits nor folds are told, folds are made, exclusive in films or subjects as far as these are told:
    clips of people whom the table does not name count as clips of different people.

    Args:
        root: the folder with the clips.
        fold: from 1 to `folds`; 1 where splits are told.
        faces: how its face crops are made.
        classes: the class list; by default the emotions that occur. Others in the data are an error then.
        made_folds: how many folds to make where neither splits nor folds are told.
        folds_file: folds for clips without, see `fold_files.read_folds`.
    """

    classes: list[str] | None = None
    made_folds: int = 5
    folds_file: Path | None = None

    name: ClassVar[str] = "own"
    licence: ClassVar[str] = "yours"
    how_to_get: ClassVar[str] = (
        f"put your clips into folders named after emotions, or list them in {MANIFEST}: clip_id,path,emotion,subject."
    )

    @property
    def store_name(self) -> str:
        """Two folders of one name may hold different clips, so this store is named after the whole path."""
        path = str(self.folder.resolve())
        return f"{super().store_name}-{hashlib.sha256(os.fsencode(path)).hexdigest()[:6]}"

    @property
    def class_names(self) -> tuple[str, ...]:
        """The classes that are given, otherwise those that occur."""
        if self.classes is not None:
            return class_list(map(emotion_name, self.classes))
        return class_list(record.emotion for record in self._found.records)

    @property
    def folds(self) -> int:
        """One where splits are told; otherwise as many as the table or the file says, or as are to be made."""
        if self._found.divided:
            return 1
        if self._found.assigned:
            return max(self._found.assigned)
        return self.made_folds if self.folds_file is None else count_folds(self.folds_file)

    def records(self) -> list[VideoRecord]:
        """All clips.

        Raises:
            DatasetNotFoundError: there is neither a table nor a folder of an emotion.
            ValueError: there is no such fold, or the table or a folder does not fit.
        """
        found, tested = self._found, fold_number(self.fold, self.folds)
        classes = self.class_names
        strange = [record for record in found.records if record.emotion not in classes]
        if strange:
            raise ValueError(
                f"{self.name}: clip {strange[0].clip_id!r} shows {strange[0].emotion!r}, as {len(strange)} clips show "
                f"others than the classes {', '.join(classes)}; take them out, or add them to `classes`"
            )
        if found.divided:
            return found.records
        return [
            replace(record, fold=self.fold, split="test" if number == tested else "train")
            for record, number in zip(found.records, self._assigned(found), strict=True)
        ]

    def _assigned(self, found: _Clips) -> Sequence[int]:
        """The fold in which each clip is tested."""
        if found.assigned:
            return found.assigned
        if self.folds_file is not None:
            return read_folds(self.folds_file, found.records, self.folds)
        return assign_folds(found.records, self.folds, self.name)

    @cached_property
    def _found(self) -> _Clips:
        """The clips; read once, as classes and folds depend on them, too."""
        table = self.folder / MANIFEST
        found = _listed(table) if table.is_file() else self._in_folders()
        if not found.records:
            raise self.not_found(f"{MANIFEST} or <emotion>/<clip>")
        if self.folds_file is not None and (found.divided or found.assigned):
            raise ValueError(f"{self.name}: the splits are told already; expected no folds_file, or no splits")
        return found

    def _in_folders(self) -> _Clips:
        parts = [path for path in visible(self.folder) if path.is_dir()] if self.folder.is_dir() else []
        divided = [path for path in parts if path.name.lower() in SPLITS]
        if not divided:
            return _Clips([record for part in parts for record in self._of_emotion(part, "train")])
        others = [path.name for path in parts if path not in divided]
        splits = Counter(SPLITS[path.name.lower()] for path in divided)
        if others or splits["train"] != 1 or splits["test"] != 1 or splits["inner"] > 1:
            raise ValueError(
                f"{self.folder}: found the folders {', '.join(path.name for path in parts)}; expected train, test and, "
                "if you like, val, each with folders of emotions, and no others - or folders of emotions alone"
            )
        records = [
            record
            for part in divided
            for folder in visible(part)
            if folder.is_dir()
            for record in self._of_emotion(folder, SPLITS[part.name.lower()])
        ]
        return _Clips(records, divided=True)

    def _of_emotion(self, folder: Path, split: str) -> Iterator[VideoRecord]:
        emotion = emotion_name(folder.name)
        for path in visible(folder):
            if _is_clip(path):
                place = path.relative_to(self.folder)
                clip_id = place if path.is_dir() else place.with_name(clip_stem(path))
                yield VideoRecord(clip_id.as_posix(), place.as_posix(), emotion, split=split)


def _is_clip(path: Path) -> bool:
    return path.suffix.lower() in VIDEO_SUFFIXES or is_archive(path) or is_frame(path) or path.is_dir()


def _listed(table: Path) -> _Clips:
    """The clips of the table.

    Raises:
        ValueError: it tells both splits and folds, a fold is none, or folds share people.
    """
    records = [replace(record, emotion=emotion_name(record.emotion)) for record in read_manifest(table)]
    columns, folds = manifest_columns(table), {record.fold for record in records}
    nameless = next((record for record in records if not record.emotion), None)
    if nameless is not None:
        raise ValueError(f"{table}: clip {nameless.clip_id!r} has no emotion; expected the name of one")
    if "split" in columns:
        if "fold" in columns and len(folds) > 1:
            raise ValueError(f"{table}: found both splits and several folds; expected one of the two columns")
        return _Clips([replace(record, fold="1") for record in records], divided=True)
    if "fold" not in columns:
        return _Clips(records)
    strange = next((r for r in records if not (r.fold.isascii() and r.fold.isdecimal() and int(r.fold))), None)
    if strange is not None:
        raise ValueError(f"{table}: clip {strange.clip_id!r} has fold {strange.fold!r}; expected a number from 1 on")
    assigned = [int(record.fold) for record in records]
    if set(assigned) != set(range(1, len(folds) + 1)) or len(folds) < 2:
        numbers = ", ".join(sorted(folds, key=int)[:20])
        raise ValueError(f"{table}: found the folds {numbers}; expected numbers from 1 on, two or more, without a gap")
    return _Clips(records, assigned=tuple(check_exclusive(records, assigned, str(table))))
