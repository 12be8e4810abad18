"""What a run stores for each clip besides its prediction: features, attention, frame relations, streams."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from data_modules.utils.files import atomic_file
from data_modules.utils.paths import safe_relative
from fer_lightning.evaluation.predictions import TOLERANCE, PredictionTable

FORMAT = "fer_lightning outputs 1"
FILE_TYPES = {"frame_index": np.int64, "relation": np.float16, "frame_source": np.int32}  # the others are float32
FILE_KEYS = {"frame_source": "standing"}  # fields that have another name in files
AXES = {"feature": 2, "frame_index": 2, "attention": 2, "intensity": 2, "relation": 3, "frame_source": 2, "streams": 3}
PADDING = {"frame_index": -1, "attention": 0.0, "intensity": np.nan, "relation": 0.0}
"""The values that fill up a clip with fewer frames than the longest one."""


def stacked(name: str, clips: Sequence[NDArray[np.generic]]) -> NDArray[np.generic]:
    """Stacks the values of one field over N clips.

    Each batch is padded to its own longest clip, so clips of different batches may differ in their number of frames.
    They are padded to the longest of all; in `frame_source`, a padded position refers to itself.

    Raises:
        ValueError: shapes differ in a field that does not depend on the number of frames.
    """
    shapes = {clip.shape for clip in clips}
    if len(shapes) == 1 or (name not in PADDING and name != "frame_source"):
        return np.stack(clips)
    longest = tuple(max(sizes) for sizes in zip(*shapes, strict=True))
    filling = np.arange(longest[-1]) if name == "frame_source" else PADDING[name]
    padded = np.full((len(clips), *longest), filling, dtype=clips[0].dtype)
    for row, clip in zip(padded, clips, strict=True):
        row[tuple(slice(size) for size in clip.shape)] = clip
    return padded


@dataclass(frozen=True, eq=False)
class ClipOutputs:
    """A model's outputs for N clips with T sampled frames each, one row per clip; see `ClassifierOutput`.

    Raises:
        ValueError: shapes do not match, a clip or a stream occurs twice, T is not a multiple of A, `frame_source`
            refers to frames outside 0 to T - 1, or a row of stream probabilities is not a distribution.
    """

    clip_id: tuple[str, ...]
    feature: NDArray[np.float32]  # (N, D)
    frame_index: NDArray[np.int64]  # (N, T) frame numbers in the source; -1 where there is no frame
    attention: NDArray[np.float32] | None = None  # (N, A) over A groups of T / A consecutive sampled frames
    intensity: NDArray[np.float32] | None = None  # (N, T) true intensity of the expression; NaN where unknown
    relation: NDArray[np.floating] | None = None  # (N, T, T) of the sampled frames; half precision in files
    frame_source: NDArray[np.integer] | None = None  # (N, T) which sampled frame is used at each position
    streams: NDArray[np.float32] | None = None  # (N, S, C) probabilities of each stream alone; NaN where it is absent
    stream_names: tuple[str, ...] = ()  # of the S streams

    def __post_init__(self) -> None:
        rows = len(self.clip_id)
        if len(set(self.clip_id)) != rows or not all(map(safe_relative, self.clip_id)):
            raise ValueError("clip ids must be unique relative paths")
        for name, axes in AXES.items():
            values = getattr(self, name)
            if values is not None and (values.ndim != axes or len(values) != rows):
                words = {2: "two", 3: "three"}[axes]
                raise ValueError(f"{name} has the shape {values.shape}, expected ({rows}, ...) with {words} dimensions")
        frames = self.frame_index.shape[1]
        groups = frames if self.attention is None else self.attention.shape[1]
        if groups > frames or (frames and (not groups or frames % groups)):
            raise ValueError(
                f"attention over {groups} groups; {frames} sampled frames cannot be divided into {groups} equal groups"
            )
        if self.intensity is not None and self.intensity.shape[1] != frames:
            raise ValueError(f"intensity of {self.intensity.shape[1]} frames, expected {frames}")
        self._check_relation(frames)
        self._check_streams()

    def _check_relation(self, frames: int) -> None:
        if self.relation is not None and self.relation.shape[1:] != (frames, frames):
            raise ValueError(f"relation of {self.relation.shape[1:]} frames, expected ({frames}, {frames})")
        if self.frame_source is None:
            return
        if self.frame_source.shape[1] != frames:
            raise ValueError(f"frame_source has {self.frame_source.shape[1]} positions, expected {frames}")
        if self.frame_source.dtype.kind not in "iu" or ((self.frame_source < 0) | (self.frame_source >= frames)).any():
            raise ValueError(f"frame_source must hold whole numbers from 0 to {frames - 1}, one per sampled frame")

    def _check_streams(self) -> None:
        names = self.stream_names
        shape = (0, 0) if self.streams is None else self.streams.shape[1:]
        if len(set(names)) != len(names) or len(names) != shape[0]:
            raise ValueError(f"{shape[0]} streams with the names {names}; expected a different name for each")
        if self.streams is None:
            return
        absent = np.isnan(self.streams).all(axis=2)
        present = self.streams[~absent].astype(np.float64)  # (..., C)
        if not ((present >= 0).all() and (np.abs(present.sum(axis=1) - 1) <= TOLERANCE).all()):
            raise ValueError("streams hold values that are neither a distribution (sum 1) nor all missing")

    def __len__(self) -> int:
        return len(self.clip_id)

    def stream_table(self, name: str, table: PredictionTable) -> PredictionTable:
        """Returns the table of the same clips with the predictions of one stream alone.

        A clip in which the stream is absent has no prediction.

        Raises:
            ValueError: the stream does not exist, or its number of classes differs from the table's.
        """
        if self.streams is None or name not in self.stream_names:
            raise ValueError(f"no stream {name!r}; found {', '.join(self.stream_names) or 'none'}")
        stream = self.streams[:, self.stream_names.index(name)]
        if stream.shape[1] != len(table.class_names):
            raise ValueError(f"streams of {stream.shape[1]} classes; the table has {len(table.class_names)}")
        rows = {clip_id: row for row, clip_id in enumerate(self.clip_id)}
        probabilities = np.full_like(table.probabilities, np.nan)
        for position, clip_id in enumerate(table.clip_id.tolist()):
            if clip_id in rows:
                probabilities[position] = stream[rows[clip_id]]
        missing = np.isnan(probabilities).all(axis=1)
        reason = np.where(missing, np.where(table.missing, table.reason, f"no {name}"), "")
        return replace(table, probabilities=probabilities, reason=reason)

    def write(self, path: Path) -> None:
        """Writes one safetensors file atomically."""
        tensors = {
            FILE_KEYS.get(name, name): np.ascontiguousarray(getattr(self, name), FILE_TYPES.get(name, np.float32))
            for name in AXES
            if getattr(self, name) is not None
        }
        metadata = {"format": FORMAT, "clip_id": json.dumps(self.clip_id), "streams": json.dumps(self.stream_names)}
        with atomic_file(path) as temporary:
            save_file(tensors, temporary, metadata)

    @classmethod
    def read(cls, path: Path) -> "ClipOutputs":
        """Reads a file that `write` wrote.

        Raises:
            FileNotFoundError: the file does not exist.
            ValueError: the file is damaged or has another format.
        """
        if not path.exists():
            raise FileNotFoundError(f"{path} is missing: no features or attention were kept; evaluate the run again")
        fields = {key: name for name, key in FILE_KEYS.items()}
        try:
            with safe_open(path, framework="numpy") as file:
                metadata = file.metadata() or {}
                if metadata.get("format") != FORMAT:
                    raise ValueError(f"format {metadata.get('format')!r}, not {FORMAT!r}")
                tensors = {fields.get(key, key): file.get_tensor(key) for key in file.keys()}  # noqa: SIM118
            clip_id, streams = (
                tuple(map(str, json.loads(text))) for text in (metadata["clip_id"], metadata.get("streams", "[]"))
            )
            return cls(clip_id, **tensors, stream_names=streams)
        except (SafetensorError, ValueError, KeyError, TypeError) as error:
            raise ValueError(f"{path}: not the outputs of a run: {error}") from error
