"""Provide the synthetic data sets: clips and stills that are rendered on first use."""

from abc import abstractmethod
from collections import Counter
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import ClassVar, Literal

from data_modules.datasets.dataset import SplitCount, Unit, VideoDataset, data_root
from data_modules.datasets.folds import fold_number
from data_modules.faces.settings import FaceSettings
from data_modules.labels import SEVEN
from data_modules.manifest import VideoRecord, read_manifest, write_manifest
from data_modules.synthetic.clip import RENDERER, ClipSettings, StillSettings
from data_modules.synthetic.writer import write_all
from data_modules.utils.processors import usable_processors

MANIFEST = "manifest.csv"


def _annotated() -> FaceSettings:
    return FaceSettings(detector="annotation", size=128, jitter=0.02)


@dataclass
class RenderedDataset(VideoDataset):
    """The base of both synthetic sets, which are rendered, can be resumed and are split by subject.

    The manifest is written last, so that it marks a set as complete.
    """

    faces: FaceSettings = field(default_factory=_annotated)
    folds: int = 4
    seed: int = 0
    workers: int = field(default_factory=usable_processors)

    licence: ClassVar[str] = "Apache-2.0, like the suite that renders it"
    exclusive_in: ClassVar[Unit] = "subjects"
    how_to_get: ClassVar[str] = "`fer data prepare` renders it; nothing is downloaded."
    is_rendered: ClassVar[bool] = True
    limits: ClassVar[tuple[str, ...]] = ("It has seen rendered faces only: it is not made for real people.",)
    files: ClassVar[str]  # the folder of the files, and their suffix
    suffix: ClassVar[str]

    @property
    def class_names(self) -> tuple[str, ...]:
        """The seven classes."""
        return SEVEN

    @property
    @abstractmethod
    def variant(self) -> str:
        """The subfolder's name: sets of different settings never mix."""

    @property
    def folder(self) -> Path:
        """The subfolder of these settings."""
        return (self.root or data_root() / self.name) / self.variant

    @property
    def counts(self) -> tuple[SplitCount, ...]:
        """The numbers of clips that are rendered."""
        emotions = Counter(settings.emotion for settings, _ in self.wanted())
        return (SplitCount.from_pairs("", *sorted(emotions.items())),)

    @abstractmethod
    def wanted(self) -> list[tuple[ClipSettings | StillSettings, str]]:
        """Returns the settings of all clips, each with its subject's name."""

    def prepare(self) -> None:
        """Renders the missing clips, so an interrupted run can be resumed."""
        records, missing = [], []
        for settings, subject in self.wanted():
            path = f"{self.files}/{settings.clip_id}"
            record = VideoRecord(
                settings.clip_id, path + self.suffix, settings.emotion, subject, truth=f"{path}.safetensors"
            )
            records.append(record)
            if not all((self.folder / part).is_file() for part in (record.path, record.truth)):
                missing.append(settings)
        manifest = self.folder / MANIFEST
        if missing:
            manifest.unlink(missing_ok=True)
            write_all(missing, self.folder / self.files, self.workers, f"rendering {self.variant}")
        if not manifest.is_file():
            write_manifest(manifest, records)

    def records(self) -> list[VideoRecord]:
        """Returns all clips with their split for `fold`.

        Raises:
            DatasetNotFoundError: the set was not rendered completely.
            ValueError: the fold does not exist, or the manifest is damaged.
        """
        tested = fold_number(self.fold, self.folds) - 1
        manifest = self.folder / MANIFEST
        if not manifest.is_file():
            raise self.not_found(f"{MANIFEST}, which is written when everything is rendered,")
        return [
            replace(record, fold=self.fold, split="test" if int(record.subject[1:]) % self.folds == tested else "train")
            for record in read_manifest(manifest)
        ]


@dataclass
class Synthetic(RenderedDataset):
    """Videos of rendered people who talk, move and show one of seven expressions.

    Args:
        root: the folder that holds a subfolder for each group of settings.
        fold: from 1 to `folds`.
        faces: how its face crops are made.
        folds: a subject whose number modulo `folds` is the fold's number less one is tested, the rest trained on.
        seed: the same seed gives the same frames.
        workers: processes that render; with one, everything happens in the calling process.
        difficulty: `lab`: frontal, from neutral to the apex; `wild`: pose, light, occlusion, short apexes at any time;
            `occluded`: like `wild`, with other people whose faces are covered by sunglasses and a mask, while
            scenes and shoulders show more of the emotion.
        subjects: the number of people.
        clips_per_emotion: the number of clips of each person and emotion.
        strength: factor of the expressions' action units, above 0 and at most 1.

    Raises:
        ValueError: the strength is outside its range.
    """

    difficulty: Literal["lab", "wild", "occluded"] = "lab"
    subjects: int = 84
    clips_per_emotion: int = 1
    strength: float = 1.0

    provides: ClassVar[frozenset[str]] = frozenset({"motion", "audio"})
    name: ClassVar[str] = "synthetic"
    files: ClassVar[str] = "clips"
    suffix: ClassVar[str] = ".mp4"

    def __post_init__(self) -> None:
        if not 0 < self.strength <= 1:
            raise ValueError(f"the strength of expressions is {self.strength:g}; expected one above 0 and at most 1")

    @property
    def variant(self) -> str:
        """The subfolder's name, such as `lab-84x1-0-v3`, or `lab0.3-84x1-0-v3` with a strength of 0.3."""
        kind = self.difficulty if self.strength == 1 else f"{self.difficulty}{self.strength:g}"
        return f"{kind}-{self.subjects}x{self.clips_per_emotion}-{self.seed}-v{RENDERER}"

    def wanted(self) -> list[tuple[ClipSettings | StillSettings, str]]:
        """`clips_per_emotion` clips of each person and class."""
        return [
            (
                ClipSettings(self.difficulty, subject, emotion, take, self.seed, strength=self.strength),
                f"s{subject:03d}",
            )
            for subject in range(self.subjects)
            for emotion in SEVEN
            for take in range(self.clips_per_emotion)
        ]


@dataclass
class SyntheticStills(RenderedDataset):
    """Still images of other rendered people, to pre-train backbones on, as the papers do on FER2013 or AffectNet.

    Args:
        root: the folder that holds a subfolder for each group of settings.
        fold: from 1 to `folds`.
        faces: how its face crops are made.
        folds: as for `Synthetic`.
        seed: the same seed gives the same images.
        workers: processes that render; with one, everything happens in the calling process.
        images: the number of images; the classes take turns.
        subjects: the number of people; none of them is in `Synthetic`.
        occluded: whether images are staged like the `occluded` videos, with the emotion shown mostly around the face.
    """

    images: int = 4000
    subjects: int = 200
    occluded: bool = False

    provides: ClassVar[frozenset[str]] = frozenset()
    name: ClassVar[str] = "synthetic_stills"
    files: ClassVar[str] = "images"
    suffix: ClassVar[str] = ".jpg"

    @property
    def variant(self) -> str:
        """The subfolder's name, such as `stills-4000x200-0-v3`."""
        kind = "occluded-stills" if self.occluded else "stills"
        return f"{kind}-{self.images}x{self.subjects}-{self.seed}-v{RENDERER}"

    def wanted(self) -> list[tuple[ClipSettings | StillSettings, str]]:
        """`images` stills: each person shows all classes before the next one's turn."""
        subjects = [number // len(SEVEN) % self.subjects for number in range(self.images)]
        return [
            (
                StillSettings(number, subject, SEVEN[number % len(SEVEN)], self.seed, occluded=self.occluded),
                f"p{subject:03d}",
            )
            for number, subject in enumerate(subjects)
        ]
