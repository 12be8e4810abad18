"""What models hear of clips, made once: spectrograms and descriptors in files beside the crops.

They are always the same for a clip, and reducing its noise costs more than decoding its crops, so they are made when
data are prepared and read in training. A folder is named after everything that its files depend on.
"""

import csv
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save

from data_modules.audio.opensmile import SIZES, Descriptors
from data_modules.audio.settings import AudioSettings
from data_modules.audio.spectrogram import spectrogram
from data_modules.audio.speech import Samples, speech_of
from data_modules.store.clip_store import ClipStore, clip_path, settings_key
from data_modules.store.face_sequence import FaceSequence
from data_modules.store.stored_clip import reading
from data_modules.store.tensor_file import read_header
from data_modules.utils.csv_tables import write_csv
from data_modules.utils.files import atomic_write

FIELDS = ("descriptor", "spectrogram")
"""The fields of `ClipBatch` that are made of sound."""
FAILED = "failed.csv"
METHOD = "fer_lightning sound 1"  # another number when speech or pictures come to be made differently here
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Recipe:
    """All that a field depends on besides the clip."""

    field: str
    audio: AudioSettings  # with defaults where the field does not depend on it
    libraries: tuple[str, ...]  # names and versions, our own the first

    @classmethod
    def of(cls, field: str, audio: AudioSettings) -> "Recipe":
        """Of one of `FIELDS`."""
        wanted = {"noisereduce": audio.reduce_noise, "webrtcvad-wheels": audio.speech, "opensmile": field == FIELDS[0]}
        libraries = (METHOD, *(f"{package} {_version(package)}" for package, wants in wanted.items() if wants))
        default = AudioSettings()
        if field == "descriptor":
            picture = {name: getattr(default, name) for name in ("size", "window", "hop", "decibels")}
            return cls(field, replace(audio, **picture), libraries)
        return cls(field, replace(audio, functionals=default.functionals), libraries)

    @property
    def name(self) -> str:
        """Of its folder."""
        return f"{self.audio.functionals if self.field == 'descriptor' else self.field}-{settings_key(self)}"


def _version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "none"


class FieldFiles:
    """One field of all clips: a file each, and a table of those for which it could not be made.

    Args:
        recipe: how it is made.
        folder: in which its folder lies; None keeps nothing.
    """

    def __init__(self, recipe: Recipe, folder: Path | None) -> None:
        self.recipe, self.folder = recipe, folder and folder / recipe.name

    def path(self, clip_id: str) -> Path | None:
        """Where a clip's field is or would be.

        Raises:
            ValueError: the clip's id would leave the folder.
        """
        return self.folder and clip_path(self.folder, clip_id)

    def has(self, clip_id: str) -> bool:
        """Whether it is there, whole."""
        path = self.path(clip_id)
        return path is not None and path.exists() and read_header(path) is not None

    def read(self, clip_id: str) -> NDArray[Any] | None:
        """A clip's field, or None where it was not made.

        Raises:
            DamagedClipError: its file is damaged.
        """
        path = self.path(clip_id)
        if path is None or not path.exists():
            return None
        with reading(path), safe_open(path, framework="numpy") as file:
            return np.asarray(file.get_tensor(self.recipe.field))

    def write(self, clip_id: str, values: NDArray[Any]) -> None:
        """Writes a clip's field, whole or not at all; nothing without a folder."""
        path = self.path(clip_id)
        if path is not None:
            atomic_write(path, save({self.recipe.field: np.ascontiguousarray(values)}))

    @property
    def failed(self) -> Path | None:
        """The table of clips whose field could not be made."""
        return self.folder and self.folder / FAILED

    def failures(self) -> dict[str, str]:
        """Clip id -> why its field could not be made."""
        if self.failed is None or not self.failed.exists():
            return {}
        with self.failed.open(newline="", encoding="utf-8") as file:
            return {row["clip_id"]: row["reason"] for row in csv.DictReader(file)}

    def write_failures(self, failures: Mapping[str, str]) -> None:
        """Writes the table anew."""
        if self.failed is not None:
            write_csv(self.failed, ("clip_id", "reason"), sorted(failures.items()), protect=False)

    @cached_property
    def make(self) -> Callable[[Samples], NDArray[Any]]:
        """Makes the field of a clip's speech; its library is loaded once.

        Raises:
            SoundLibraryNotFoundError: a package is missing.
        """
        audio = self.recipe.audio
        return Descriptors(audio.functionals) if self.recipe.field == "descriptor" else _Spectrogram(audio)

    @property
    def nothing(self) -> NDArray[Any]:
        """What stands for a clip without sound: zeros."""
        audio = self.recipe.audio
        if self.recipe.field == "descriptor":
            return np.zeros(SIZES[audio.functionals], np.float32)
        return np.zeros((audio.size, audio.size), np.uint8)


@dataclass(frozen=True)
class _Spectrogram:
    audio: AudioSettings

    def __call__(self, speech: Samples) -> NDArray[np.uint8]:
        return spectrogram(speech, self.audio)


class AudioCache:
    """What models hear of clips: read from the files, or made where these lack it.

    Args:
        audio: how it is made; None for the defaults.
        folder: where it is kept; None keeps nothing.
    """

    def __init__(self, audio: AudioSettings | None = None, folder: Path | None = None) -> None:
        self.audio = audio or AudioSettings()
        self.files = {field: FieldFiles(Recipe.of(field, self.audio), folder) for field in FIELDS}

    @classmethod
    def of(cls, store: ClipStore, audio: AudioSettings | None) -> "AudioCache":
        """The files beside a store's crops."""
        return cls(audio, store.folder / "audio")

    def failures(self, fields: Iterable[str]) -> dict[str, str]:
        """Clip id -> why one of the fields could not be made."""
        return {clip: f"no {field}: {why}" for field in fields for clip, why in self.files[field].failures().items()}

    def read(self, stored: FaceSequence, field: str) -> NDArray[Any] | None:
        """A clip's field, (size, size) uint8 or (E,) float32, or None where it has no sound or making it failed."""
        clip_id, files = stored.summary.clip_id, self.files[field]
        values = files.read(clip_id)
        if values is not None or stored.summary.audio == 0 or clip_id in files.failures():
            return values
        made, reason = self.make(stored, [field])
        if reason:
            log.warning("clip %r has no %s: %s", clip_id, field, reason)
        return made.get(field)

    def make(self, stored: FaceSequence, fields: Iterable[str]) -> tuple[dict[str, NDArray[Any]], str]:
        """The fields of a clip's speech, and why there are not all of them.

        Raises:
            SoundLibraryNotFoundError: a package is missing.
        """
        samples = stored.audio(0.0, self.audio.max_seconds)
        if samples is None or not samples.any():
            return {}, "no sound"
        speech, made, reason = speech_of(samples, self.audio), dict[str, NDArray[Any]](), ""
        for field in fields:
            try:
                made[field] = self.files[field].make(speech)
            except ValueError as error:
                reason = str(error)
        return made, reason
