"""The store: the aligned face crops of a data set on disk, one file a clip, in a folder named after what made them.

A clip's file is a safetensors file (read lazily, never unpickled): the crops as JPEGs one after another, and beside
them which frame each came from, its box, landmarks and, where the data set knows it, its expression's intensity.
`fer bench store` compares this form with image files, uint8 arrays and re-encoded video.
"""

import csv
import hashlib
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file

from data_modules.files import whole_file, write_whole

FORMAT = "fer_lightning faces 1"
SUFFIX = ".safetensors"
# OpenCV's flags for decoding at a part of the size; with IMREAD_COLOR_RGB they mean RGB.
DIVIDED = {
    1: 0,
    2: cv2.IMREAD_REDUCED_GRAYSCALE_2,
    4: cv2.IMREAD_REDUCED_GRAYSCALE_4,
    8: cv2.IMREAD_REDUCED_GRAYSCALE_8,
}


@dataclass(frozen=True)
class FaceFrame:
    """The face of one frame: its aligned crop and where it was found."""

    index: int  # frame number in the source
    crop: NDArray[np.uint8]  # (S, S, 3) RGB
    box: NDArray[np.float32]  # (4,): left, top, right, bottom in pixels of the frame
    score: float  # the detector's probability
    landmarks: NDArray[np.float32] | None = None  # (68, 3) in pixels of the crop
    intensity: float | None = None


@dataclass(frozen=True)
class ClipSummary:
    """One row of the store's index: what can be known of a clip without opening its file."""

    clip_id: str
    num_frames: int  # of the source
    num_faces: int  # of the frames in which the face was found
    fps: float = 0.0
    reason: str = ""  # why there are no faces, where there are none

    @property
    def coverage(self) -> float:
        """The share of the source's frames with a face."""
        return self.num_faces / max(self.num_frames, 1)


def settings_key(settings: object) -> str:
    """A short name for a dataclass of settings: any changed value gives another key."""
    text = json.dumps(asdict(settings), sort_keys=True, default=str)  # type: ignore[call-overload]
    return hashlib.sha256(f"{FORMAT} {text}".encode()).hexdigest()[:10]


class StoredClip:
    """The faces of one clip, read lazily: only the asked-for crops are decoded."""

    def __init__(self, path: Path) -> None:
        self._file = safe_open(path, framework="numpy")
        metadata = self._file.metadata() or {}
        if metadata.get("format") != FORMAT:
            raise ValueError(f"{path}: not a file of this store (format {metadata.get('format')!r}, not {FORMAT!r})")
        self.summary = ClipSummary(**json.loads(metadata["summary"]))
        self._names = frozenset(self._file.keys())

    def __len__(self) -> int:
        return self.summary.num_faces

    @cached_property
    def frame_index(self) -> NDArray[np.int64]:
        """(M,) frame numbers in the source, ascending."""
        return np.asarray(self._file.get_tensor("frame_index"), dtype=np.int64)

    @cached_property
    def crop_size(self) -> int:
        """Side of the crops in pixels."""
        return int(self.crops([0]).shape[1])

    def optional(self, name: str) -> NDArray[np.float32] | None:
        """(M, ...) `box`, `score`, `landmarks` or `intensity`, or None where the clip has none."""
        return np.asarray(self._file.get_tensor(name), dtype=np.float32) if name in self._names else None

    def crops(self, positions: Sequence[int] | NDArray[np.int64], size: int | None = None) -> NDArray[np.uint8]:
        """(K, S, S, 3) RGB crops at positions in [0, M); a position that stands several times is decoded once.

        With `size` they come as small as JPEG decodes cheaply, a half, a quarter or an eighth of the stored side (at
        half the side in half the time), but never smaller than `size`.

        Raises:
            ValueError: a crop is damaged.
        """
        positions = np.asarray(positions, dtype=np.int64)
        unique, inverse = np.unique(positions, return_inverse=True)
        ends, data = self._file.get_tensor("jpeg_end"), self._file.get_slice("jpeg")
        starts = np.concatenate(([0], ends[:-1]))
        divisor = 1 if size is None else next(d for d in (8, 4, 2, 1) if self.crop_size // d >= size or d == 1)
        flags = cv2.IMREAD_COLOR_RGB | DIVIDED[divisor]
        images = [cv2.imdecode(data[int(starts[i]) : int(ends[i])], flags) for i in unique]
        if any(image is None for image in images):
            raise ValueError(
                f"clip {self.summary.clip_id!r}: a stored crop is damaged; delete its file and prepare again"
            )
        return np.asarray(images, dtype=np.uint8)[inverse]


class ClipStore:
    """A folder of clips' faces that one group of settings made."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    @classmethod
    def of(cls, root: Path, dataset: str, settings: object) -> "ClipStore":
        """The store of a data set's faces under these settings, and its folder with a note of them."""
        store = cls(root / f"{dataset}-{settings_key(settings)}")
        note = store.folder / "settings.json"
        if not note.exists():
            write_whole(note, json.dumps(asdict(settings), indent=2, default=str).encode())  # type: ignore[call-overload]
        return store

    def path(self, clip_id: str) -> Path:
        """Where the clip's file is or would be.

        Raises:
            ValueError: the clip's id would leave the store's folder.
        """
        if not clip_id or Path(clip_id).is_absolute() or ".." in Path(clip_id).parts:
            raise ValueError(f"clip id {clip_id!r} points outside the store; expected a relative name without `..`")
        return self.folder / f"{clip_id}{SUFFIX}"

    def clip_ids(self) -> set[str]:
        """The clips whose files are there, whole; their folder is listed, no file is opened."""
        return {
            path.relative_to(self.folder).as_posix().removesuffix(SUFFIX)
            for path in self.folder.rglob(f"*{SUFFIX}")
            if path.name[0] != "."  # the name of a file that is being written
        }

    def write(self, summary: ClipSummary, faces: Iterable[FaceFrame], quality: int = 95) -> ClipSummary:
        """Writes a clip's faces, whole or not at all; `num_faces` is counted here. Holds only JPEGs in memory."""
        jpegs: list[NDArray[np.uint8]] = []
        rows: dict[str, list[Any]] = {name: [] for name in ("frame_index", "box", "score", "landmarks", "intensity")}
        for face in faces:
            jpegs.append(cv2.imencode(".jpg", face.crop[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, quality])[1])
            for name, value in (("frame_index", face.index), ("box", face.box), ("score", face.score)):
                rows[name].append(value)
            for name, optional in (("landmarks", face.landmarks), ("intensity", face.intensity)):
                if optional is not None:
                    rows[name].append(optional)
        summary = ClipSummary(**(asdict(summary) | {"num_faces": len(jpegs)}))
        arrays: dict[str, NDArray[Any]] = {
            name: np.asarray(values, dtype=np.int64 if name == "frame_index" else np.float32)
            for name, values in rows.items()
            if len(values) == len(jpegs)
        }
        arrays["jpeg"] = np.concatenate(jpegs) if jpegs else np.zeros(0, np.uint8)
        arrays["jpeg_end"] = np.cumsum([len(jpeg) for jpeg in jpegs], dtype=np.int64)
        with whole_file(self.path(summary.clip_id)) as temporary:
            save_file(arrays, temporary, {"format": FORMAT, "summary": json.dumps(asdict(summary))})
        return summary

    def open(self, clip_id: str) -> StoredClip:
        """The clip's faces.

        Raises:
            FileNotFoundError: the clip was not prepared.
            ValueError: the file is not one of this store.
        """
        path = self.path(clip_id)
        if not path.exists():
            raise FileNotFoundError(f"{path}: clip {clip_id!r} is not in the store; run `fer data prepare` again")
        return StoredClip(path)

    def write_index(self, summaries: Iterable[ClipSummary]) -> None:
        """Writes the table that lets a data set open without opening its clips."""
        text = io.StringIO()
        table = csv.DictWriter(text, list(ClipSummary.__dataclass_fields__), lineterminator="\n")
        table.writeheader()
        table.writerows(asdict(summary) for summary in summaries)
        write_whole(self.folder / "index.csv", text.getvalue().encode())

    def index_time(self) -> float:
        """When the index was written, in seconds since 1970; 0 where there is none yet."""
        path = self.folder / "index.csv"
        return path.stat().st_mtime if path.exists() else 0.0

    def read_index(self) -> dict[str, ClipSummary]:
        """Clip id -> summary of the clips in the index; empty where there is none yet."""
        path = self.folder / "index.csv"
        if not path.exists():
            return {}
        with path.open(newline="", encoding="utf-8") as file:
            return {
                row["clip_id"]: ClipSummary(
                    row["clip_id"], int(row["num_frames"]), int(row["num_faces"]), float(row["fps"]), row["reason"]
                )
                for row in csv.DictReader(file)
            }
