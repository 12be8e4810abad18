"""The store: the aligned face crops of a data set on disk, one file a clip, in a folder named after what made them.

A clip's file is a safetensors file (read lazily, never unpickled): the crops as JPEGs one after another, and beside
them which frame each came from, its box, how it was cut, landmarks, the crop of the person, the clip's sound and, where
the data set knows it, the expression's intensity. `fer bench store` compares this form with image files, uint8 arrays
and re-encoded video.
"""

import csv
import glob
import hashlib
import io
import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass, fields, replace
from enum import IntEnum
from functools import cached_property
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open

from data_modules.audio.settings import AUDIO_RATE
from data_modules.store.tensor_file import METADATA, TensorFile, read_header, tensor_file
from data_modules.utils.files import atomic_write, is_temporary

FORMAT = "fer_lightning faces 2"
SUFFIX = ".safetensors"
NOTE = "settings.json"  # in the store's folder: what made it
DERIVED = ("sound/*", "features/*/*")  # folders with a file a clip, beside the crops
SILENT = "its sound track is silent"
LANDMARKS = (68, 3)
# OpenCV's flags for decoding at a part of the size; with IMREAD_COLOR_RGB they mean RGB.
DIVIDED = {
    1: 0,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
}


class Origin(IntEnum):
    """How a face came to be in the store."""

    FOUND = 0  # a detector or the annotation gave its place in this frame
    BETWEEN = 1  # its place was interpolated between two frames in which it was found; the picture is the frame's own
    MADE = 2  # the picture too was interpolated, between two frames


@dataclass(frozen=True)
class FaceFrame:
    """The face of one frame: its aligned crop and where it was found."""

    index: int  # frame number in the source; of a made picture, of the frame next to it
    crop: NDArray[np.uint8]  # (S, S, 3) RGB
    box: NDArray[np.float32]  # (4,): left, top, right, bottom in pixels of the frame
    score: float  # the detector's probability
    landmarks: NDArray[np.float32] | None = None  # (68, 3) in pixels of the crop; NaN where none were found
    intensity: float | None = None
    person: NDArray[np.uint8] | None = None  # (P, P, 3) RGB, the person or the whole frame
    origin: Origin = Origin.FOUND
    matrix: NDArray[np.float32] | None = None  # (2, 3) how it was cut: frame pixels -> crop pixels


@dataclass(frozen=True)
class ClipSummary:
    """One row of the store's index: what can be known of a clip without opening its file."""

    clip_id: str
    num_frames: int  # of the source
    num_faces: int  # of the crops in the store
    fps: float = 0.0
    reason: str = ""  # why there are no faces, where there are none
    num_made: int = 0  # of the crops, those that are interpolated pictures
    audio: float = 0.0  # seconds; 0 where the clip has no sound track, or a silent one, or it was not asked for
    broken: int = 0  # packets or images that do not decode
    num_landmarks: int = 0  # of the crops, those with landmarks
    width: int = 0  # of the source's frames, pixels
    height: int = 0
    audio_reason: str = ""  # what is wrong with the sound track, where there is one
    source: str = ""  # sizes and times of the files it was made of (`clip_files`); empty from earlier versions
    content: str = ""  # their checksum, where they could be read

    @property
    def coverage(self) -> float:
        """The share of the source's frames with a face."""
        return (self.num_faces - self.num_made) / max(self.num_frames, 1)


KINDS: dict[str, type] = {field.name: field.type for field in fields(ClipSummary)}  # type: ignore[misc]


def clip_path(folder: Path, clip_id: str) -> Path:
    """The file of a clip in a folder.

    Raises:
        ValueError: the clip's id would leave it.
    """
    if not clip_id or Path(clip_id).is_absolute() or ".." in Path(clip_id).parts:
        raise ValueError(f"clip id {clip_id!r} points outside the store; expected a relative name without `..`")
    return folder / f"{clip_id}{SUFFIX}"


def settings_key(settings: object) -> str:
    """A short name for a dataclass of settings: any changed value gives another key."""
    return _key(asdict(settings))  # type: ignore[call-overload]


def _key(content: Mapping[str, object]) -> str:
    text = json.dumps(content, sort_keys=True, default=str)
    return hashlib.sha256(f"{FORMAT} {text}".encode()).hexdigest()[:10]


class DamagedClipError(ValueError):
    """A clip's file in the store is damaged; the message names both, and says what to do."""


@contextmanager
def reading(path: Path) -> Iterator[None]:
    """What is done in this block reads a clip's file.

    Raises:
        DamagedClipError: it is damaged.
    """
    try:
        yield
    except (SafetensorError, cv2.error, ValueError, TypeError, KeyError, IndexError) as error:
        raise DamagedClipError(
            f"clip {path.stem!r}: {path} is damaged ({' '.join(str(error).split())}); delete this file: "
            "`fer data prepare`, and the beginning of every training, make again what is missing"
        ) from error


class StoredClip:
    """The faces of one clip, read lazily: only the asked-for crops are decoded.

    Raises:
        DamagedClipError: the file is damaged; so do all that read from it.
        ValueError: it is none of this store.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        with reading(path):
            self._file = safe_open(path, framework="numpy")
            metadata = self._file.metadata() or {}
        if metadata.get("format") != FORMAT:
            raise ValueError(f"{path}: not a file of this store (format {metadata.get('format')!r}, not {FORMAT!r})")
        with reading(path):
            self.summary = ClipSummary(**json.loads(metadata["summary"]))
        self._names = frozenset(self._file.keys())

    def __len__(self) -> int:
        return self.summary.num_faces

    @cached_property
    def frame_index(self) -> NDArray[np.int64]:
        """(M,) frame numbers in the source, ascending."""
        if "frame_index" not in self._names:
            return np.zeros(0, np.int64)
        with reading(self.path):
            return np.asarray(self._file.get_tensor("frame_index"), dtype=np.int64)

    @cached_property
    def crop_size(self) -> int:
        """Side of the crops in pixels."""
        return int(self.crops([0]).shape[1])

    def optional(self, name: str) -> NDArray[np.float32] | None:
        """(M, ...) `box`, `score`, `landmarks`, `intensity`, `origin` or `matrix`, or None where the clip has none."""
        if name not in self._names:
            return None
        with reading(self.path):
            return np.asarray(self._file.get_tensor(name), dtype=np.float32)

    def has(self, name: str) -> bool:
        """Whether the clip has `landmarks`, `person`, `audio`, ..."""
        return name in self._names

    @cached_property
    def times(self) -> NDArray[np.float64]:
        """(T,) seconds of all frames of the source, the first at 0."""
        with reading(self.path):
            return np.asarray(self._file.get_tensor("time"), dtype=np.float64)

    def audio(self, start: float = 0.0, stop: float | None = None) -> NDArray[np.float32] | None:
        """(n,) samples in [-1, 1] at `AUDIO_RATE` from `start` to `stop` seconds, or None where there is no sound."""
        if "audio" not in self._names:
            return None
        track = self._file.get_slice("audio")
        (length,) = track.get_shape()
        last = length if stop is None else min(round(stop * AUDIO_RATE), length)
        samples = track[min(round(start * AUDIO_RATE), last) : last]
        return np.asarray(samples, dtype=np.float32) / np.float32(32768)

    def crops(
        self, positions: Sequence[int] | NDArray[np.int64], size: int | None = None, what: str = "face"
    ) -> NDArray[np.uint8]:
        """(K, S, S, 3) RGB crops of the `face` or the `person` at positions in [0, M); each is decoded once.

        With `size` they come as small as JPEG decodes cheaply, a half, a quarter or an eighth of the stored side (at
        half the side in half the time), but never smaller than `size`.

        Raises:
            DamagedClipError: a crop is damaged.
            ValueError: there are none of this kind.
        """
        positions = np.asarray(positions, dtype=np.int64)
        if not len(positions):
            return np.zeros((0, 0, 0, 3), np.uint8)
        if what not in self._names:
            raise ValueError(
                f"clip {self.summary.clip_id!r} has no crops of the {what}; prepare the data set with "
                f"`faces.{what}` set to what finds it"
            )
        unique, inverse = np.unique(positions, return_inverse=True)
        divisor = 1 if size is None else next(d for d in (8, 4, 2, 1) if self.crop_size // d >= size or d == 1)
        flags = cv2.IMREAD_COLOR_RGB | DIVIDED[divisor]
        with reading(self.path):
            ends, data = self._file.get_tensor(f"{what}_end"), self._file.get_slice(what)
            starts = np.concatenate(([0], ends[:-1]))
            images = [cv2.imdecode(data[int(starts[i]) : int(ends[i])], flags) for i in unique]
            if any(image is None for image in images):
                raise ValueError(f"a crop of the {what} does not decode")
            return np.asarray(images, dtype=np.uint8)[inverse]


class ClipStore:
    """A folder of clips' faces that one group of settings made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def of(cls, root: Path, dataset: str, settings: object, made_by: Mapping[str, str] | None = None) -> "ClipStore":
        """The store of a data set's faces under these settings by these networks, and its folder with a note of both.

        Args:
            root: the folder of all stores.
            dataset: its name.
            settings: a dataclass.
            made_by: what finds faces, landmarks, ... -> its weights (see `makers.makers`); part of the folder's name
                where there are any.

        Raises:
            NotWritableError: `root` takes no more files.
        """
        note: dict[str, object] = asdict(settings)  # type: ignore[call-overload]
        name = f"{dataset}-{settings_key(settings)}"
        if made_by:
            note, name = note | {"made_by": dict(made_by)}, f"{name}-{_key(dict(made_by))}"
        store = cls(root / name)
        path = store.folder / NOTE
        if not path.exists():
            atomic_write(path, json.dumps(note, indent=2, default=str).encode())
        return store

    @classmethod
    def found(cls, root: Path, dataset: str, settings: object) -> list["ClipStore"]:
        """The stores of a data set's faces under these settings that are there, by whichever networks."""
        name = glob.escape(f"{dataset}-{settings_key(settings)}")
        return [cls(path) for path in sorted([*root.glob(name), *root.glob(f"{name}-*")]) if path.is_dir()]

    def path(self, clip_id: str) -> Path:
        """Where the clip's file is or would be.

        Raises:
            ValueError: the clip's id would leave the store's folder.
        """
        return clip_path(self.folder, clip_id)

    def clip_ids(self) -> set[str]:
        """The clips whose files are there, whole; their folder is listed, no file is opened."""
        return {
            path.relative_to(self.folder).as_posix().removesuffix(SUFFIX)
            for path in self.folder.rglob(f"*{SUFFIX}")
            if not is_temporary(path)
        }

    def is_whole(self, clip_id: str) -> bool:
        """Whether the clip's file has the size that it should have, and says that it is the clip's; see `read_header`.

        Costs a tenth of a millisecond on a local disk.
        """
        header = read_header(self.path(clip_id))
        try:
            metadata = (header or {})[METADATA]
            return bool(metadata["format"] == FORMAT and json.loads(metadata["summary"])["clip_id"] == clip_id)
        except (ValueError, TypeError, KeyError):
            return False

    def discard(self, clip_ids: Iterable[str]) -> None:
        """Deletes what the store holds of clips that are made anew, and what was computed from that."""
        folders = [self.folder, *(folder for place in DERIVED for folder in self.folder.glob(place))]
        for clip_id in clip_ids:
            for folder in folders:
                clip_path(folder, clip_id).unlink(missing_ok=True)

    @contextmanager
    def writing(self, clip_id: str) -> Iterator["ClipWriter"]:
        """Yields what takes a clip's faces and sound while they arrive; its file is written whole or not at all.

        Raises:
            ValueError: the clip's id would leave the store's folder.
        """
        with tensor_file(self.path(clip_id)) as tensors:
            yield ClipWriter(tensors)

    def write(self, summary: ClipSummary, faces: Iterable[FaceFrame], quality: int = 95) -> ClipSummary:
        """Writes a clip of these faces alone; `writing` takes more."""
        with self.writing(summary.clip_id) as writer:
            for face in faces:
                writer.add(face, quality)
            return writer.finish(summary)

    def open(self, clip_id: str) -> StoredClip:
        """The clip's faces.

        Raises:
            DamagedClipError: the file is damaged.
            FileNotFoundError: the clip was not prepared.
            ValueError: the file is not one of this store.
        """
        path = self.path(clip_id)
        if not path.exists():
            raise FileNotFoundError(f"{path}: clip {clip_id!r} is not in the store; run `fer data prepare` again")
        return StoredClip(path)

    def write_index(self, summaries: Iterable[ClipSummary], part: str = "") -> None:
        """Writes the table that lets a data set open without opening its clips.

        Args:
            summaries: its rows.
            part: the name of a part of the data set (`2-of-8`), which has an index of its own until the whole one is
                written, so that several machines can work at a time.
        """
        text = io.StringIO()
        table = csv.DictWriter(text, [field.name for field in fields(ClipSummary)], lineterminator="\n")
        table.writeheader()
        table.writerows(asdict(summary) for summary in summaries)
        atomic_write(self.index_path(part), text.getvalue().encode())

    def index_path(self, part: str = "") -> Path:
        """Where the index, or that of a part, is or would be."""
        return self.folder / (f"index-{part}.csv" if part else "index.csv")

    def read_index(self) -> dict[str, ClipSummary]:
        """Clip id -> summary of the clips in the index and in its parts; empty where there is none yet."""
        summaries: dict[str, ClipSummary] = {}
        for path in self._indices():
            with path.open(newline="", encoding="utf-8") as file:
                rows = csv.reader(file)
                header = next(rows, [])
                kinds = [KINDS[name] for name in header]
                for row in rows:
                    values = (kind(value) for kind, value in zip(kinds, row, strict=True))
                    summary = ClipSummary(**dict(zip(header, values, strict=True)))
                    summaries[summary.clip_id] = summary
        return summaries

    def _indices(self) -> list[Path]:
        """The index and its parts, the latest last."""
        return sorted(self.folder.glob("index*.csv"), key=lambda path: path.stat().st_mtime_ns)


class ClipWriter:
    """A clip's file while it is being written."""

    def __init__(self, tensors: TensorFile) -> None:
        self._tensors, self._made, self._landmarks = tensors, 0, 0
        self._loud = False  # whether there is any sound in the sound

    def add(self, face: FaceFrame, quality: int = 95) -> None:
        """Appends the next face; `quality` is that of its JPEGs."""
        tensors = self._tensors
        self._made += face.origin is Origin.MADE
        self._landmarks += face.landmarks is not None and bool(np.isfinite(face.landmarks).all())
        tensors["frame_index"].extend(np.array([face.index], dtype=np.int64))
        tensors["origin"].extend(np.array([face.origin], dtype=np.uint8))
        numbers = {
            "box": face.box,
            "score": face.score,
            "landmarks": face.landmarks,
            "intensity": face.intensity,
            "matrix": face.matrix,
        }
        for name, value in numbers.items():
            if value is not None:
                tensors[name].extend(np.asarray(value, dtype=np.float32)[None])
        for name, picture in (("face", face.crop), ("person", face.person)):
            if picture is not None:
                jpeg = cv2.imencode(".jpg", picture[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1]
                tensors[name].extend(np.asarray(jpeg, dtype=np.uint8))
                tensors[f"{name}_end"].extend(np.array([tensors[name].count], dtype=np.int64))

    def add_audio(self, samples: NDArray[np.int16]) -> None:
        """Appends (n,) samples at `AUDIO_RATE`."""
        self._tensors["audio"].extend(samples)
        self._loud = self._loud or bool(samples.any())

    def discard_audio(self) -> None:
        """Takes all sound back: it turned out to be damaged."""
        self._tensors.discard("audio")
        self._loud = False

    def finish(self, summary: ClipSummary, times: NDArray[np.float64] | None = None) -> ClipSummary:
        """States what the clip is.

        Args:
            summary: of which the numbers of faces and the seconds of sound are counted here; a sound of zeros is none.
            times: (T,) seconds of all frames of the source.

        Returns:
            The summary with what was counted.

        Raises:
            ValueError: some of the faces had landmarks, an intensity, a matrix or a person, and others had not.
        """
        faces = self._tensors["frame_index"].count
        for name in ("box", "score", "landmarks", "intensity", "matrix", "person_end"):
            if self._tensors[name].count not in (0, faces):
                raise ValueError(
                    f"clip {summary.clip_id!r}: {self._tensors[name].count} of {faces} faces have {name}; expected all "
                    "or none"
                )
        if times is not None:
            self._tensors["time"].extend(times)
        audio = self._tensors["audio"].count / AUDIO_RATE
        if audio and not self._loud:
            self.discard_audio()
            summary, audio = replace(summary, audio_reason=summary.audio_reason or SILENT), 0.0
        summary = replace(summary, num_faces=faces, num_made=self._made, num_landmarks=self._landmarks, audio=audio)
        self._tensors.metadata = {"format": FORMAT, "summary": json.dumps(asdict(summary))}
        return summary
