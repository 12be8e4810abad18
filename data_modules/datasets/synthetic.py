"""The synthetic data sets: rendered clips and stills, made on first use."""

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import ClassVar, Literal

from data_modules.datasets.dataset import FaceSettings, VideoDataset, data_root
from data_modules.labels import SEVEN
from data_modules.manifest import VideoRecord, read_manifest, write_manifest
from data_modules.synthetic.clip import ClipSettings, StillSettings
from data_modules.synthetic.writer import write_all, write_clip, write_still


def _annotated() -> FaceSettings:
    return FaceSettings(detector="annotation", size=128, jitter=0.02)


def _split(subject: str, fold: str, folds: int) -> str:
    """`test` for each `folds`-th subject, counted from the fold's number."""
    if not fold.isdecimal() or not 1 <= int(fold) <= folds:
        raise ValueError(f"fold {fold!r} does not exist: expected a number from 1 to {folds}")
    return "test" if int(subject[1:]) % folds == int(fold) - 1 else "train"


def _prepare(records: list[VideoRecord], folder: Path, render: Callable[[set[str]], None]) -> None:
    """Renders the clips whose files are not all there, then writes the manifest, which marks the set as complete."""
    missing = {r.clip_id for r in records if not ((folder / r.path).is_file() and (folder / r.truth).is_file())}
    if missing:
        (folder / "manifest.csv").unlink(missing_ok=True)
        render(missing)
    if not (folder / "manifest.csv").is_file():
        write_manifest(folder / "manifest.csv", records)


@dataclass
class Synthetic(VideoDataset):
    """Videos of rendered people who talk, move and show one of seven expressions.

    Args:
        root: the folder that holds a subfolder for each group of settings.
        fold: from 1 to `folds`.
        faces: how its face crops are made.
        difficulty: `lab`: frontal, from neutral to the apex; `wild`: pose, light, occlusion, short apexes at any time.
        subjects: people.
        clips_per_emotion: of each person.
        folds: a subject whose number modulo `folds` is the fold's number less one is tested, the rest trained on.
        seed: the same seed gives the same frames.
        workers: processes that render.
    """

    faces: FaceSettings = field(default_factory=_annotated)
    difficulty: Literal["lab", "wild"] = "lab"
    subjects: int = 84
    clips_per_emotion: int = 1
    folds: int = 4
    seed: int = 0
    workers: int = field(default_factory=lambda: os.cpu_count() or 1)

    name: ClassVar[str] = "synthetic"
    licence: ClassVar[str] = "Apache-2.0, like the suite that renders it"
    how_to_get: ClassVar[str] = "`fer data prepare` renders it; nothing is downloaded."

    @property
    def class_names(self) -> tuple[str, ...]:
        """The seven basic classes."""
        return SEVEN

    @property
    def folder(self) -> Path:
        """The subfolder of these settings."""
        return (
            self.root or data_root() / self.name
        ) / f"{self.difficulty}-{self.subjects}x{self.clips_per_emotion}-{self.seed}"

    def _settings(self) -> list[ClipSettings]:
        return [
            ClipSettings(self.difficulty, subject, emotion, take, self.seed)
            for subject in range(self.subjects)
            for emotion in SEVEN
            for take in range(self.clips_per_emotion)
        ]

    def _record(self, settings: ClipSettings) -> VideoRecord:
        subject = f"s{settings.subject:03d}"
        clip = f"clips/{settings.clip_id}"
        split = _split(subject, self.fold, self.folds)
        return VideoRecord(
            settings.clip_id,
            f"{clip}.mp4",
            settings.emotion,
            subject,
            split=split,
            fold=self.fold,
            truth=f"{clip}.safetensors",
        )

    def prepare(self) -> None:
        """Renders what is missing; a run that was stopped goes on where it was."""

        def render(missing: set[str]) -> None:
            wanted = [settings for settings in self._settings() if settings.clip_id in missing]
            write_all(write_clip, wanted, self.folder / "clips", self.workers, f"rendering {self.folder.name}")

        _prepare([self._record(settings) for settings in self._settings()], self.folder, render)

    def records(self) -> list[VideoRecord]:
        """All clips with their split under `fold`.

        Raises:
            DatasetNotFoundError: the set was not rendered, or not to its end.
        """
        manifest = self.folder / "manifest.csv"
        if not manifest.is_file():
            raise self.not_found("manifest.csv, which is written when everything is rendered,")
        read_manifest(manifest)
        return [self._record(settings) for settings in self._settings()]


@dataclass
class SyntheticStills(VideoDataset):
    """Still images of other rendered people, to pre-train backbones on, as the papers do on FER2013, AffectNet or RAF-DB.

    Args:
        root: the folder that holds a subfolder for each group of settings.
        fold: from 1 to `folds`.
        faces: how its face crops are made.
        images: how many, the classes in turn.
        subjects: people, in turn; none of them is in `Synthetic`.
        folds: as for `Synthetic`.
        seed: the same seed gives the same images.
        workers: processes that render.
    """

    faces: FaceSettings = field(default_factory=_annotated)
    images: int = 4000
    subjects: int = 200
    folds: int = 4
    seed: int = 0
    workers: int = field(default_factory=lambda: os.cpu_count() or 1)

    name: ClassVar[str] = "synthetic_stills"
    licence: ClassVar[str] = "Apache-2.0, like the suite that renders it"
    how_to_get: ClassVar[str] = "`fer data prepare` renders it; nothing is downloaded."

    @property
    def class_names(self) -> tuple[str, ...]:
        """The seven basic classes."""
        return SEVEN

    @property
    def folder(self) -> Path:
        """The subfolder of these settings."""
        return (self.root or data_root() / self.name) / f"stills-{self.images}x{self.subjects}-{self.seed}"

    def _settings(self) -> list[StillSettings]:
        return [
            StillSettings(number, number // len(SEVEN) % self.subjects, SEVEN[number % len(SEVEN)], self.seed)
            for number in range(self.images)
        ]

    def _record(self, settings: StillSettings) -> VideoRecord:
        subject = f"p{settings.subject:03d}"
        image = f"images/{settings.clip_id}"
        split = _split(subject, self.fold, self.folds)
        return VideoRecord(
            settings.clip_id,
            f"{image}.jpg",
            settings.emotion,
            subject,
            split=split,
            fold=self.fold,
            truth=f"{image}.safetensors",
        )

    def prepare(self) -> None:
        """Renders what is missing; a run that was stopped goes on where it was."""

        def render(missing: set[str]) -> None:
            wanted = [settings for settings in self._settings() if settings.clip_id in missing]
            write_all(write_still, wanted, self.folder / "images", self.workers, f"rendering {self.folder.name}")

        _prepare([self._record(settings) for settings in self._settings()], self.folder, render)

    def records(self) -> list[VideoRecord]:
        """All images with their split under `fold`.

        Raises:
            DatasetNotFoundError: the set was not rendered, or not to its end.
        """
        manifest = self.folder / "manifest.csv"
        if not manifest.is_file():
            raise self.not_found("manifest.csv, which is written when everything is rendered,")
        read_manifest(manifest)
        return [self._record(settings) for settings in self._settings()]
