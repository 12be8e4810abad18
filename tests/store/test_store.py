import os
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import save_file

from data_modules.faces.settings import FaceSettings
from data_modules.faces.tracker_settings import TrackerSettings, VoteWeights
from data_modules.store.clip_file import ClipSummary, FaceFrame
from data_modules.store.clip_store import ClipStore, settings_key
from data_modules.store.stored_clip import DamagedClipError
from data_modules.utils.files import atomic_file
from fer_lightning.bench.store import FORMATS, clips_to_store, compare_formats


def smooth_crop(number: int, size: int = 64) -> np.ndarray:
    y, x = np.mgrid[:size, :size] * (255 / size)
    return np.stack([x, y, np.full_like(x, number % 256)], axis=-1).astype(np.uint8)


def face(index: int, **more: object) -> FaceFrame:
    return FaceFrame(index, smooth_crop(3 * index), np.array([index, 1, 2, 3], np.float32), 0.9, **more)  # type: ignore


@pytest.fixture
def store(tmp_path):
    return ClipStore(tmp_path / "store")


def test_what_was_written_is_read(store):
    landmarks = np.random.default_rng(0).normal(size=(68, 3)).astype(np.float32)
    matrix = np.array([[2, 0, 1], [0, 2, 3]], np.float32)
    faces = [face(i, landmarks=landmarks + i, intensity=i / 10, matrix=matrix + i) for i in (0, 2, 5)]
    summary = store.write(ClipSummary("a", 7, 0, 25.0), faces)
    assert summary == ClipSummary("a", 7, 3, 25.0, num_landmarks=3)
    assert summary.coverage == pytest.approx(3 / 7)
    clip = store.open("a")
    assert clip.summary == summary
    assert len(clip) == 3
    assert clip.frame_index.tolist() == [0, 2, 5]
    assert clip.optional("landmarks") == pytest.approx(np.stack([landmarks, landmarks + 2, landmarks + 5]))
    assert clip.optional("intensity") == pytest.approx([0, 0.2, 0.5])
    np.testing.assert_array_equal(clip.optional("matrix"), [matrix, matrix + 2, matrix + 5])
    assert clip.optional("box")[:, 0].tolist() == [0, 2, 5]  # type: ignore[index]
    assert clip.optional("person") is None
    crops = clip.crops([2, 0, 2])
    assert crops.shape == (3, 64, 64, 3)
    for crop, i in zip(crops, (5, 0, 5), strict=True):
        assert np.abs(crop.astype(int) - smooth_crop(3 * i)).mean() < 2


def test_smaller_crops_cost_less_and_look_the_same(store):
    store.write(ClipSummary("a", 1, 0), [face(1)])
    clip = store.open("a")
    for size, expected in ((64, 64), (33, 64), (32, 32), (20, 32), (16, 16), (5, 8)):
        crop = clip.crops([0], size)[0]
        step = 64 // expected
        averaged = smooth_crop(3).reshape(expected, step, expected, step, 3).mean((1, 3))
        assert crop.shape == (expected, expected, 3)
        assert np.abs(crop - averaged).mean() < 3


def test_a_clip_without_faces(store):
    summary = store.write(ClipSummary("none", 95, 0, 24.0, "no face found in 95 frames"), [])
    clip = store.open("none")
    assert len(clip) == 0
    assert clip.summary == summary
    assert clip.frame_index.shape == (0,)
    assert clip.crops([]).shape[0] == 0


def test_the_index(store):
    rows = [ClipSummary("a", 7, 3, 25.0), ClipSummary("b/c", 0, 0, 0.0, 'unreadable: found "text", really')]
    assert store.read_index() == {}
    store.write_index(rows)
    assert store.read_index() == {row.clip_id: row for row in rows}


def test_the_index_comes_back_as_it_was(store):
    summaries = [ClipSummary(f"part/{i:05}", 75, i % 76, 25.0, "" if i % 76 else "no face") for i in range(200)]
    store.write_index(summaries)
    assert list(store.read_index().values()) == summaries


def test_clips_in_folders_are_listed_half_written_ones_not(store):
    for clip_id in ("a", "x/y/b", "x/dotted.name", ".hidden", "x/.hidden-abc"):
        store.write(ClipSummary(clip_id, 1, 0), [face(0)])
    with store.writing("c") as writer:
        writer.add(face(0))
        with atomic_file(store.path("d")):
            assert store.clip_ids() == {"a", "x/y/b", "x/dotted.name", ".hidden", "x/.hidden-abc"}
        writer.finish(ClipSummary("c", 1, 0))


@pytest.mark.parametrize("clip_id", ["../a", "/etc/a", "a/../../b", ""])
def test_no_clip_leaves_the_store(store, clip_id):
    with pytest.raises(ValueError, match="outside the store"):
        store.write(ClipSummary(clip_id, 1, 0), [face(0)])


def test_an_interrupted_write_leaves_nothing(store):
    def interrupted():
        yield face(0)
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        store.write(ClipSummary("a", 2, 0), interrupted())
    assert not list(store.folder.rglob("*.safetensors"))
    with pytest.raises(FileNotFoundError, match="fer data prepare"):
        store.open("a")


def test_foreign_and_damaged_files_are_refused(store):
    store.folder.mkdir()
    save_file({"x": np.zeros(3)}, store.path("foreign"))
    with pytest.raises(ValueError, match="not a file of this store"):
        store.open("foreign")
    store.write(ClipSummary("a", 1, 0), [face(0)])
    data = store.path("a").read_bytes()
    store.path("a").write_bytes(data.replace(b"\xff\xd8\xff", b"\x00\x00\x00"))
    with pytest.raises(ValueError, match=r"clip 'a': .*a\.safetensors is damaged.*delete.*fer data prepare"):
        store.open("a").crops([0])


@pytest.mark.parametrize("place", range(0, 2400, 48))
def test_a_changed_byte_is_read_over_or_told(store, place):
    """Whatever byte it is: no other error, which would name neither."""
    store.write(ClipSummary("a", 2, 0), [face(0), face(1)])
    data = bytearray(store.path("a").read_bytes())
    data[place % len(data)] ^= 0xFF
    store.path("a").write_bytes(data)
    try:
        clip = store.open("a")
        assert len(clip.frame_index) + len(clip.optional("box")) + len(clip.crops([0, 1])) > 0
    except ValueError as error:
        assert str(store.path("a")) in str(error)  # noqa: PT017 - an error is one of two good ends


def test_a_file_cut_short_is_told_with_clip_and_file(store):
    store.write(ClipSummary("x/a", 2, 0), [face(0), face(1)])
    path = store.path("x/a")
    path.write_bytes(path.read_bytes()[:-50])
    with pytest.raises(DamagedClipError, match=rf"clip 'a': {path} is damaged.*fer data prepare"):
        store.open("x/a")


@dataclass(frozen=True)
class Other:
    detector: str = "mtcnn"


def test_any_changed_setting_is_another_store(tmp_path):
    base = FaceSettings()
    changed = [
        replace(base, detector="crop"),
        replace(base, size=128),
        replace(base, margin=0.3),
        replace(base, jitter=0.01),
        replace(base, every=2),
        replace(base, tracking=TrackerSettings(k=3)),
        replace(base, tracking=TrackerSettings(vote=VoteWeights(size=2.0))),
    ]
    keys = {settings_key(settings) for settings in [base, *changed, Other()]}
    assert len(keys) == 9
    assert settings_key(FaceSettings()) == settings_key(base)
    store = ClipStore.for_settings(tmp_path, "name", base)
    assert store.folder.name == f"name-{settings_key(base)}"
    assert '"size": 256' in (store.folder / "settings.json").read_text()


def test_stores_keep_their_names_when_a_part_gets_settings():
    """This name was given before tracking had settings."""
    assert settings_key(FaceSettings("crop", size=48, margin=-0.15, every=1, audio=False)) == "567a3c903a"


def test_formats_are_compared_on_equal_terms(tmp_path, monkeypatch):
    monkeypatch.delenv("FER_TEST_CLIPS", raising=False)
    rows = {row.name: row for row in compare_formats(tmp_path, clips=1, size=64, reads=2)}
    assert set(rows) == {each.name for each in FORMATS}
    raw, jpeg = rows["uint8 .npy, mapped"], rows["JPEGs in one file (the store)"]
    assert raw.bytes_per_clip == pytest.approx(75 * 64 * 64 * 3, rel=0.01)
    assert raw.error == 0
    assert raw.bytes_per_clip > 2 * jpeg.bytes_per_clip
    assert rows["JPEG files in a folder"].files_per_clip == 75
    assert all(row.error < 6 and len(row.ms_per_read) == 2 for row in rows.values())


@pytest.mark.skipif("FER_TEST_CLIPS" not in os.environ, reason="FER_TEST_CLIPS names no folder")
def test_the_bench_takes_real_pictures_where_there_are_some():
    clip = next(clips_to_store(48))
    assert clip.shape == (75, 48, 48, 3)
    assert Path(os.environ["FER_TEST_CLIPS"]).is_dir()
    assert np.abs(np.diff(clip.astype(int), axis=0)).mean() > 0.1
