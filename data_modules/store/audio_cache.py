"""Cache of the fields that are made from audio (`audio.fields.FIELDS`), in files beside the crops.

They never change for a clip, and reducing noise takes longer than decoding crops. They are therefore computed when a
data set is prepared, and read in training. The name of a folder contains a key of everything that its files depend on.
"""

import csv
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save

from data_modules.audio.fields import FIELDS, AudioField
from data_modules.audio.settings import AudioSettings
from data_modules.audio.speech import Samples, extract_speech
from data_modules.store.clip_store import AUDIO, ClipStore, clip_path, settings_key
from data_modules.store.face_sequence import FaceSequence
from data_modules.store.stored_clip import reading
from data_modules.store.tensor_file import read_header
from data_modules.utils.csv_tables import write_csv
from data_modules.utils.files import atomic_write, file_state

FAILED = "failed.csv"
METHOD = "fer_lightning sound 1"  # part of each key; to be increased when this package computes fields differently
LATER = ("bands",)  # settings that other fields' keys do not contain, as there were fields before them
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recipe:
    """Everything that a field depends on besides the clip: the name of its folder has a key of these values."""

    field: str
    audio: Mapping[str, object]  # settings that do not affect the field have their default values
    libraries: tuple[str, ...]  # names and versions, this package first

    @classmethod
    def from_settings(cls, field: AudioField, audio: AudioSettings) -> "Recipe":
        """Return the recipe of a field."""
        libraries = (METHOD, *(f"{package} {_version(package)}" for package in field.packages_for(audio)))
        settings = asdict(field.relevant(audio))
        kept = {name: value for name, value in settings.items() if name in field.settings or name not in LATER}
        return cls(field.name, kept, libraries)


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


class FieldFiles:
    """One field of all clips: a file for each clip, and a table of the clips for which it could not be made.

    Args:
        field: the field.
        audio: how audio is processed; settings that do not affect the field are ignored.
        folder: parent of the folder of the field; None to keep no files.
    """

    def __init__(self, field: AudioField, audio: AudioSettings, folder: Path | None) -> None:
        self.field, self.audio = field, field.relevant(audio)
        self.folder = folder and folder / f"{field.label(audio)}-{settings_key(Recipe.from_settings(field, audio))}"
        self._failures: tuple[tuple[int, ...] | None, Mapping[str, str]] = (None, {})  # state of the table, its rows

    def path(self, clip_id: str) -> Path | None:
        """Return the path of the file of a clip, whether it exists or not; None without a folder.

        Raises:
            ValueError: the clip id leads outside the folder.
        """
        return self.folder and clip_path(self.folder, clip_id)

    def has(self, clip_id: str) -> bool:
        """Tell whether the file of a clip exists and is complete."""
        path = self.path(clip_id)
        return path is not None and path.exists() and read_header(path) is not None

    def read(self, clip_id: str) -> NDArray[Any] | None:
        """Read the field of a clip; None if there is no file.

        Raises:
            DamagedClipError: the file is damaged.
        """
        path = self.path(clip_id)
        if path is None or not path.exists():
            return None
        with reading(path), safe_open(path, framework="numpy") as file:
            return np.asarray(file.get_tensor(self.field.name))

    def write(self, clip_id: str, values: NDArray[Any]) -> None:
        """Write the field of a clip; the file is replaced atomically. Without a folder, nothing is written."""
        path = self.path(clip_id)
        if path is not None:
            atomic_write(path, save({self.field.name: np.ascontiguousarray(values)}))

    @property
    def failed(self) -> Path | None:
        """Path of the table of clips for which the field could not be made; None without a folder."""
        return self.folder and self.folder / FAILED

    def failures(self) -> Mapping[str, str]:
        """Return why the field could not be made, by clip id; the table is only read if it has changed."""
        state = None if self.failed is None else file_state(self.failed)
        if self.failed is None or state is None:
            return {}
        if state != self._failures[0]:
            with self.failed.open(newline="", encoding="utf-8") as file:
                self._failures = state, {row["clip_id"]: row["reason"] for row in csv.DictReader(file)}
        return self._failures[1]

    def write_failures(self, failures: Mapping[str, str]) -> None:
        """Replace the table of failures."""
        if self.failed is not None:
            write_csv(self.failed, ("clip_id", "reason"), sorted(failures.items()), protect=False)

    @cached_property
    def make(self) -> Callable[[Samples], NDArray[Any]]:
        """The function that makes the field from the speech of a clip; its library is loaded only once.

        Raises:
            AudioLibraryNotFoundError: a package is not installed.
        """
        return self.field.maker(self.audio)

    @property
    def placeholder(self) -> NDArray[Any]:
        """The value for a clip without audio: zeros."""
        return self.field.placeholder(self.audio)


class AudioCache:
    """The fields that are made from audio: read from files, or computed if there is no file.

    Args:
        audio: how the fields are made; None for the defaults.
        folder: where the files are kept; None to keep none.
    """

    def __init__(self, audio: AudioSettings | None = None, folder: Path | None = None) -> None:
        self.audio = audio or AudioSettings()
        self.files = {name: FieldFiles(field, self.audio, folder) for name, field in FIELDS.items()}

    @classmethod
    def from_store(cls, store: ClipStore, audio: AudioSettings | None) -> "AudioCache":
        """Return the cache beside the crops of a store."""
        return cls(audio, store.folder / AUDIO)

    def failures(self, fields: Iterable[str]) -> dict[str, str]:
        """Return why one of the fields could not be made, by clip id."""
        return {
            clip_id: f"no {field}: {reason}"
            for field in fields
            for clip_id, reason in self.files[field].failures().items()
        }

    def read(self, clip: FaceSequence, field: str) -> NDArray[Any] | None:
        """Return a field of a clip, (size, size) uint8 or (E,) float32; None without audio or if making it failed.

        Raises:
            DamagedClipError: the file of the clip is damaged.
            AudioLibraryNotFoundError: there is no file, and a package is not installed.
        """
        clip_id, files = clip.summary.clip_id, self.files[field]
        values = files.read(clip_id)
        if values is not None or clip.summary.audio == 0 or clip_id in files.failures():
            return values
        fields, reason = self.make(clip, [field])
        if reason:
            log.warning("clip %r has no %s: %s", clip_id, field, reason)
        return fields.get(field)

    def make(self, clip: FaceSequence, fields: Iterable[str]) -> tuple[dict[str, NDArray[Any]], str]:
        """Make fields of a clip from its audio, without reading or writing files.

        Returns:
            The fields by name, and why some are missing; empty if none is.

        Raises:
            AudioLibraryNotFoundError: a package is not installed.
        """
        samples = clip.audio(0.0, self.audio.max_seconds)
        if samples is None or not samples.any():
            return {}, "no audio"
        speech, reason = extract_speech(samples, self.audio), ""
        values: dict[str, NDArray[Any]] = {}
        for field in fields:
            try:
                values[field] = self.files[field].make(speech)
            except ValueError as error:
                reason = str(error)
        return values, reason
