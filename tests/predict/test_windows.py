"""Windows of a video are face sequences as the store's clips are, and so is what a test makes in memory."""

from pathlib import Path

import numpy as np
import pytest
import torch

from data_modules.loading.clip_dataset import Clip, ClipDataset
from data_modules.manifest import VideoRecord
from data_modules.sampling import SegmentSampler
from data_modules.store.clip_file import ClipSummary, FaceFrame
from data_modules.store.clip_store import ClipStore
from data_modules.store.face_sequence import FaceSequence
from data_modules.store.stored_clip import StoredClip
from fer_lightning.predict.faces import VideoFaces
from fer_lightning.predict.windows import FaceWindow

RATE = 16000


def stored_clip(folder: Path, faces: int = 6, audio: bool = True) -> StoredClip:
    rng, store = np.random.default_rng(0), ClipStore(folder)
    with store.writing("clip") as writer:
        for number in range(faces):
            crop = np.full((16, 16, 3), 40 * number, np.uint8)
            points = rng.uniform(0, 16, (68, 3)).astype(np.float32)
            writer.add(FaceFrame(2 * number, crop, np.full(4, number, np.float32), 1.0, points), quality=100)
        if audio:
            writer.add_audio((1 + np.arange(RATE) % 100).astype(np.int16))
        writer.finish(ClipSummary("clip", 2 * faces, faces, 10.0), np.arange(2 * faces) / 10)
    return store.open("clip")


def window(clip: StoredClip, first: int, stop: int, start: float, end: float) -> FaceWindow:
    return FaceWindow("3", VideoFaces(clip), (first, stop), (start, end))


def test_a_window_of_everything_is_the_clip_itself(tmp_path):
    clip = stored_clip(tmp_path)
    whole: FaceSequence = window(clip, 0, 6, 0.0, 1.0)
    assert len(whole) == len(clip) == 6
    assert whole.crop_size == clip.crop_size == 16
    np.testing.assert_array_equal(whole.frame_index, [0, 2, 4, 6, 8, 10])
    np.testing.assert_array_equal(whole.crops([5, 0, 0], 8), clip.crops([5, 0, 0], 8))
    for name in ("box", "landmarks", "score"):
        np.testing.assert_array_equal(whole.optional(name), clip.optional(name))
    np.testing.assert_array_equal(whole.audio(0.25, 0.5), clip.audio(0.25, 0.5))
    assert whole.summary.num_faces == 6
    assert whole.summary.audio == 1.0


def test_a_window_counts_from_its_own_beginning(tmp_path):
    clip = stored_clip(tmp_path)
    part = window(clip, 2, 5, 0.5, 0.75)
    assert (len(part), part.summary.clip_id, part.summary.num_faces, part.summary.audio) == (3, "3", 3, 0.25)
    np.testing.assert_array_equal(part.frame_index, [4, 6, 8])
    assert part.crops([0, 2]).mean(axis=(1, 2, 3)) == pytest.approx([80, 160], abs=1)
    np.testing.assert_array_equal(part.optional("box")[:, 0], [2, 3, 4])
    np.testing.assert_array_equal(part.audio(0.125, 0.25), clip.audio(0.625, 0.75))


@pytest.mark.parametrize("audio", [True, False])
def test_a_window_has_what_its_video_has_in_its_time(tmp_path, audio):
    clip = stored_clip(tmp_path, audio=audio)
    inside, after = window(clip, 0, 2, 0.0, 0.5), window(clip, 2, 2, 1.5, 2.0)
    assert [inside.has(name) for name in ("landmarks", "person", "audio")] == [True, False, audio]
    assert (after.has("audio"), after.audio(), after.summary.audio, len(after)) == (False, None, 0.0, 0)
    assert inside.optional("intensity") is None


class InMemory:
    """Three grey faces without a file, each brighter than the one before."""

    summary, crop_size, frame_index = ClipSummary("made", 9, 3), 8, np.array([1, 4, 7])

    def __len__(self) -> int:
        return 3

    def has(self, name: str) -> bool:
        return False

    def optional(self, name: str) -> None:
        return None

    def audio(self, start: float = 0.0, stop: float | None = None) -> None:
        return None

    def crops(self, positions, size=None, what="face"):
        return np.stack([np.full((8, 8, 3), 50 * position, np.uint8) for position in positions])

    def open(self, clip_id: str) -> "InMemory":
        return self


def test_samples_are_taken_from_any_face_sequence():
    made = InMemory()
    clip = Clip(VideoRecord("made", "", ""), made.summary, 5)
    sample = ClipDataset([clip], made, SegmentSampler(frames=3), size=8)[0]
    assert sample.face.shape == (1, 3, 3, 8, 8)
    assert torch.equal(sample.face[0, :, 0, 0, 0], torch.tensor([0, 50, 100], dtype=torch.uint8))
    assert sample.frame_index.tolist() == [[1, 4, 7]]
