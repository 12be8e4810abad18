"""All faces of a long video in order of time, and its sound."""

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from data_modules.audio.settings import AUDIO_RATE
from data_modules.faces.head_pose import head_pose_in_frame
from data_modules.store.stored_clip import StoredClip
from fer_lightning.predict.timeline import Rows

KEPT = 256  # decoded crops that are kept for the next window


class VideoFaces:
    """All M faces of a video in order of time, and its sound; their file is read where it is needed.

    Args:
        clip: the video's file in a store.
    """

    def __init__(self, clip: StoredClip) -> None:
        self.clip, self.frame_index = clip, clip.frame_index  # (M,)
        boxes = clip.optional("box")
        self.box = np.zeros((0, 4), np.float32) if boxes is None else boxes  # (M, 4)
        self._crop = lru_cache(maxsize=KEPT)(self._decode)  # windows overlap
        self.optional = lru_cache(maxsize=None)(clip.optional)

    def __len__(self) -> int:
        return len(self.frame_index)

    def _decode(self, position: int, size: int | None, what: str) -> NDArray[np.uint8]:
        return np.asarray(self.clip.crops([position], size, what)[0], dtype=np.uint8)

    def crops(self, positions: NDArray[np.int64], size: int | None = None, what: str = "face") -> NDArray[np.uint8]:
        """(K, S, S, 3) RGB crops at positions in [0, M); the arguments are those of `StoredClip.crops`."""
        return np.stack([self._crop(position, size, what) for position in positions.tolist()])

    def between(self, frames: NDArray[np.int64]) -> NDArray[np.int64]:
        """(K, 2) frames [first, stop) -> (K, 2) the positions [first, stop) of their faces."""
        return np.asarray(np.searchsorted(self.frame_index, frames), dtype=np.int64)

    def audio(self, start: float, stop: float) -> NDArray[np.float32]:
        """(n,) samples at `AUDIO_RATE` between two times in seconds; those that there are, which may be none."""
        end = self.clip.summary.audio
        start, stop = max(start, 0.0), min(stop, end)
        there = round(start * AUDIO_RATE) < round(stop * AUDIO_RATE)
        samples = self.clip.audio(start, stop) if there else None
        return np.zeros(0, np.float32) if samples is None else samples


def face_shares(faces: VideoFaces, rows: Rows) -> NDArray[np.float64]:
    """(K,) the share of each row's own frames that have a face."""
    with_face = np.diff(faces.between(rows.own), axis=1)[:, 0]
    return np.asarray(with_face / np.diff(rows.own, axis=1)[:, 0], dtype=np.float64)


def has_audio(faces: VideoFaces, rows: Rows) -> NDArray[np.bool_]:
    """(K,) whether there is sound in each row's window; silence is none."""
    return np.array([faces.audio(start, stop).any() for start, stop in rows.window.tolist()], dtype=np.bool_)


def head_poses(faces: VideoFaces, rows: Rows) -> NDArray[np.float64]:
    """(K, 3) mean yaw, pitch and roll over the frames of each row's window, degrees; NaN where none is known.

    The mean is that of directions: of 179 and -179 degrees it is 180, not 0.
    """
    directions = np.exp(1j * np.radians(head_pose_in_frame(faces.clip).astype(np.float64)))  # (M, 3)
    known = np.isfinite(directions)
    first, stop = faces.between(rows.seen).T
    sums, counts = (
        np.concatenate([np.zeros((1, 3), values.dtype), values.cumsum(axis=0)])
        for values in (np.where(known, directions, 0), known.astype(np.int64))
    )
    mean = np.degrees(np.angle(sums[stop] - sums[first]))
    return np.where(counts[stop] > counts[first], mean, np.nan)
