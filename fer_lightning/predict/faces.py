"""The faces of a long video in the order of time, with its audio, and what is measured on them for each row."""

from functools import lru_cache
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from data_modules.audio.settings import AUDIO_RATE
from data_modules.faces.head_pose import head_pose_in_frame
from data_modules.store.clip_store import ClipStore
from data_modules.store.face_sequence import FaceSequence
from fer_lightning.predict.timeline import TimelineRows

CACHED_CROPS = 256  # decoded crops, as successive windows overlap


class TimedFaces(FaceSequence, Protocol):
    """The faces of a clip whose frames have known times, such as a `StoredClip`."""

    @property
    def times(self) -> NDArray[np.float64]:
        """The (T,) times of all frames of the clip in seconds."""
        ...

    @property
    def other_frames(self) -> NDArray[np.int64]:
        """The (K,) numbers of the frames in which somebody else is seen, ascending."""
        ...

    @property
    def cuts(self) -> NDArray[np.int64]:
        """The (S,) numbers of the frames with which a shot begins, ascending."""
        ...


class VideoFaces:
    """All M faces of one person of a video in the order of time, and its audio, both read from the file on demand.

    Args:
        clip: of one person of the video, such as a file of the store.
        sound: the one that has the audio, if it is another one.
        several: whether it is one of several people with rows: what is heard while they are away is not their voice.
    """

    def __init__(self, clip: TimedFaces, sound: TimedFaces | None = None, several: bool = False) -> None:
        self.clip, self.frame_index = clip, clip.frame_index  # (M,)
        self._sound, self.several = sound or clip, several
        boxes = clip.optional("box")
        self.box = np.zeros((0, 4), np.float32) if boxes is None else boxes  # (M, 4)
        self._crop = lru_cache(maxsize=CACHED_CROPS)(self._decode)
        self.optional = lru_cache(maxsize=None)(clip.optional)
        self._row_audio = lru_cache(maxsize=1)(self._find_row_audio)

    def __len__(self) -> int:
        return len(self.frame_index)

    def _decode(self, position: int, size: int | None, what: str) -> NDArray[np.uint8]:
        return np.asarray(self.clip.crops([position], size, what)[0], dtype=np.uint8)

    def crops(
        self,
        positions: NDArray[np.int64],
        size: int | None = None,
        what: str = "face",
        out: NDArray[np.uint8] | None = None,
    ) -> NDArray[np.uint8]:
        """Returns the (K, S, S, 3) RGB crops at K positions in [0, M); see `StoredClip.crops` for the arguments."""
        return np.stack([self._crop(position, size, what) for position in positions.tolist()], out=out)

    def position_ranges(self, frames: NDArray[np.int64]) -> NDArray[np.int64]:
        """Converts (K, 2) ranges of frames [first, stop) to the (K, 2) ranges of positions of their faces."""
        return np.asarray(np.searchsorted(self.frame_index, frames), dtype=np.int64)

    def box_at(self, index: int) -> NDArray[np.float32] | None:
        """Returns the (4,) box of the face in a frame; None without a face."""
        position = int(np.searchsorted(self.frame_index, index))
        seen = position < len(self) and self.frame_index[position] == index
        return np.asarray(self.box[position], np.float32) if seen else None

    def audio(self, start: float, stop: float) -> NDArray[np.float32]:
        """Returns the (n,) samples at `AUDIO_RATE` between two times in seconds; none outside of the audio track."""
        start, stop = max(start, 0.0), min(stop, self._sound.summary.audio)
        is_empty = round(start * AUDIO_RATE) >= round(stop * AUDIO_RATE)
        samples = None if is_empty else self._sound.audio(start, stop)
        return np.zeros(0, np.float32) if samples is None else samples

    def has_audio(self, rows: TimelineRows) -> NDArray[np.bool_]:
        """Returns, (K,), whether there is audio in each row's window; silence does not count as audio.

        The audio is read in the first call for these rows; each model of an ensemble asks the same.
        """
        return self._row_audio(rows).copy()

    def _find_row_audio(self, rows: TimelineRows) -> NDArray[np.bool_]:
        return np.array([self.audio(start, stop).any() for start, stop in rows.window.tolist()], dtype=np.bool_)


def faces_of_everybody(store: ClipStore, name: str) -> list[VideoFaces]:
    """Opens the faces of each person of a video; there is one person at least."""
    first, *others = map(store.open, store.everybody(name))
    return [VideoFaces(each, first, bool(others)) for each in (first, *others)]


def face_shares(faces: VideoFaces, rows: TimelineRows) -> NDArray[np.float64]:
    """Returns, (K,), the share of each row's own frames that have a face; NaN for sound alone, which has no frames."""
    if faces.clip.summary.is_sound_alone:
        return np.full(len(rows.start), np.nan)
    with_face = np.diff(faces.position_ranges(rows.own_frames), axis=1)[:, 0]
    return np.asarray(with_face / np.diff(rows.own_frames, axis=1)[:, 0], dtype=np.float64)


def other_shares(faces: VideoFaces, rows: TimelineRows) -> NDArray[np.float64]:
    """Returns, (K,), the share of each row's own frames in which somebody else is seen, who has no rows."""
    seen = np.diff(np.searchsorted(faces.clip.other_frames, rows.own_frames), axis=1)[:, 0]
    return np.asarray(seen / np.maximum(np.diff(rows.own_frames, axis=1)[:, 0], 1), dtype=np.float64)


def across_cuts(faces: VideoFaces, rows: TimelineRows) -> NDArray[np.bool_]:
    """Returns, (K,), whether the window of each row has frames of two shots."""
    first, stop = rows.window_frames.T
    cuts = faces.clip.cuts
    return np.asarray(np.searchsorted(cuts, stop) > np.searchsorted(cuts, first, side="right"), dtype=np.bool_)


def head_poses(faces: VideoFaces, rows: TimelineRows) -> NDArray[np.float64]:
    """Returns, (K, 3), the mean yaw, pitch and roll in each row's window in degrees; NaN where no pose is known.

    The mean is circular: the mean of 179 and -179 degrees is 180, not 0.
    """
    directions = np.exp(1j * np.radians(head_pose_in_frame(faces.clip).astype(np.float64)))  # (M, 3)
    valid = np.isfinite(directions)
    first, stop = faces.position_ranges(rows.window_frames).T
    sums, counts = (
        np.concatenate([np.zeros((1, 3), values.dtype), values.cumsum(axis=0)])
        for values in (np.where(valid, directions, 0), valid.astype(np.int64))
    )
    mean = np.degrees(np.angle(sums[stop] - sums[first]))
    return np.where(counts[stop] > counts[first], mean, np.nan)
