import csv
import errno
import hashlib
import io
import os
import shutil
import signal
from dataclasses import dataclass, field, replace
from fractions import Fraction
from importlib.metadata import PackageNotFoundError
from importlib.util import find_spec
from pathlib import Path
from typing import ClassVar

import numpy as np
import pytest
from PIL import Image

from data_modules.datasets.dataset import VideoDataset
from data_modules.datasets.doctor import examine
from data_modules.datasets.own import Own
from data_modules.datasets.synthetic import Synthetic
from data_modules.faces.errors import DetectorNotFoundError
from data_modules.faces.ground_truth import FrameTruth
from data_modules.faces.settings import FaceSettings
from data_modules.manifest import VideoRecord
from data_modules.prepare.clip_preparer import ClipPreparer
from data_modules.prepare.coverage import quarantine, show_coverage
from data_modules.prepare.faces import prepare_faces, store_for
from data_modules.prepare.shard import Shard
from data_modules.store.audio_cache import AudioCache
from data_modules.store.clip_file import SILENT, ClipSummary
from data_modules.store.clip_store import ClipStore
from data_modules.store.tensor_file import TensorFile
from data_modules.utils.files import NotWritableError
from fer_lightning.cli import faces as video_faces
from fer_lightning.cli.data import prepare_data
from fer_lightning.cli.errors import remedy
from tests.video.test_video import circle_of, write_circle
from tests.videos import cut, numbered_frame, read_number, truth_of, write_audio, write_video

ANNOTATION = FaceSettings("annotation", size=48, landmarks="annotation")
CROP = FaceSettings("crop", size=64)


@dataclass
class Clips(VideoDataset):
    """Clips that a test wrote."""

    clips: list[VideoRecord] = field(default_factory=list)
    name: ClassVar[str] = "clips"
    licence: ClassVar[str] = ""
    how_to_get: ClassVar[str] = ""

    @property
    def class_names(self) -> tuple[str, ...]:
        return ("happiness", "sadness")

    def records(self) -> list[VideoRecord]:
        return self.clips


@pytest.fixture(autouse=True)
def own_store(tmp_path, monkeypatch):
    monkeypatch.setenv("FER_STORE", str(tmp_path / "store"))


def clip(root: Path, name: str, frames: int = 12, hidden: tuple[int, ...] = ()) -> VideoRecord:
    root.mkdir(exist_ok=True)
    write_video(root / f"{name}.mp4", [numbered_frame(i) for i in range(frames)])
    truth_of(frames, hidden=hidden).save(root / f"{name}.safetensors")
    return VideoRecord(name, f"{name}.mp4", "happiness", truth=f"{name}.safetensors")


@pytest.fixture
def dataset(tmp_path):
    root = tmp_path / "clips"
    return Clips(root, faces=ANNOTATION, clips=[clip(root, "a"), clip(root, "b", 8, (2, 3)), clip(root, "c", 5)])


@pytest.mark.parametrize("turns", [0, 1])
def test_a_table_of_stored_pixels_frames_the_face_of_a_squeezed_video(tmp_path, turns):
    root = tmp_path / "clips"
    root.mkdir()
    write_circle(root / "a.mp4", 90, 60, Fraction(2))  # radius 24 in 180 x 60 square pixels, 4 above the middle
    box = ((45 - 12, 26 - 24), (45 + 12, 26 + 24))  # in the 90 x 60 stored ones
    if turns:  # clockwise: a row from below becomes a column from the left
        box = ((60 - 50, 33), (60 - 2, 57))
    lines = [
        "frame,left,top,right,bottom",
        *(f"{i},{','.join(f'{x}' for corner in box for x in corner)}" for i in range(12)),
    ]
    (root / "a.csv").write_text("\n".join(lines))
    record = VideoRecord("a", "a.mp4", "happiness", quarter_turns=turns)
    settings = FaceSettings("table", size=96, margin=0.0, align="box", landmarks="none")
    store = prepare_faces(Clips(root, faces=settings, clips=[record]), 0)
    (crop,) = store.open("a").crops([5])
    assert circle_of(crop) == pytest.approx((96, 96), abs=5)


@pytest.mark.parametrize("workers", [0, 2])
def test_a_data_set_is_prepared(dataset, workers, capsys):
    store = prepare_faces(dataset, workers)
    index = store.read_index()
    assert {name: (row.num_frames, row.num_faces) for name, row in index.items()} == {
        "a": (12, 12),
        "b": (8, 6),
        "c": (5, 5),
    }
    opened = store.open("b")
    assert opened.frame_index.tolist() == [0, 1, 4, 5, 6, 7]
    assert opened.summary == index["b"]
    assert opened.crops([0, 5]).shape == (2, 48, 48, 3)
    assert opened.optional("landmarks").shape == (6, 68, 3)  # type: ignore[union-attr]
    assert opened.optional("intensity") == pytest.approx(np.array([0, 1, 4, 5, 6, 7]) / 7)
    assert "3 of 3 clips have faces, in 91.7 % of their frames" in capsys.readouterr().out


def test_what_is_there_stays(dataset, monkeypatch):
    store = prepare_faces(dataset, 0)
    times = {name: store.path(name).stat().st_mtime_ns for name in "abc"}
    monkeypatch.setattr(
        "data_modules.prepare.clip_preparer.open_clip", lambda *_: pytest.fail("opened a clip that is prepared")
    )
    monkeypatch.setattr("data_modules.prepare.pending.StoredClip", lambda path: pytest.fail("read more than the index"))
    again = prepare_faces(dataset, 0)
    assert again.folder == store.folder
    assert times == {name: store.path(name).stat().st_mtime_ns for name in "abc"}


def test_a_killed_run_goes_on(dataset):
    store = prepare_faces(dataset, 0)
    expected = store.read_index()
    (store.folder / "index.csv").unlink()  # written last
    store.path("b").unlink()
    before = store.path("a").stat().st_mtime_ns
    prepare_faces(dataset, 0)
    assert store.read_index() == expected
    assert store.path("a").stat().st_mtime_ns == before
    assert store.path("b").exists()


def test_a_deleted_file_is_made_again_though_the_index_knows_it(dataset):
    store = prepare_faces(dataset, 0)
    store.path("b").unlink()
    prepare_faces(dataset, 0)
    assert len(store.open("b")) == 6


def test_a_limit_and_then_the_rest(dataset):
    assert set(prepare_faces(dataset, 0, limit=2).read_index()) == {"a", "b"}
    assert set(prepare_faces(dataset, 0).read_index()) == {"a", "b", "c"}
    assert set(prepare_faces(dataset, 0, limit=1).read_index()) == {"a", "b", "c"}


def test_clips_without_faces_and_broken_ones_keep_their_reason(dataset, capsys):
    root = dataset.folder
    nobody = clip(root, "nobody", 6, hidden=tuple(range(6)))
    bad = [VideoRecord(name, f"{name}.mp4", "sadness", truth=nobody.truth) for name in ("text", "cut", "gone", "audio")]
    (root / "text.mp4").write_text("not a video")
    cut(write_video(root / "cut.mp4", [numbered_frame(0)] * 9), 0.4)
    write_audio(root / "audio.mp4", np.zeros(8000, np.float32))
    short = VideoRecord("short", "a.mp4", "sadness", truth=nobody.truth)
    untold = VideoRecord("untold", "a.mp4", "sadness")
    dataset.clips += [nobody, *bad, short, untold]
    store = prepare_faces(dataset, 0)
    reasons = {name: row.reason for name, row in store.read_index().items()}
    assert len(reasons) == 10
    assert reasons["a"] == ""
    assert reasons["nobody"] == "no face found in 6 frames"
    for name, words in (
        ("text", "text of 11 bytes"),
        ("cut", "moov"),
        ("gone", "no such file"),
        ("audio", "expected a video track"),
        ("short", "12 frames, but ground truth of 6"),
        ("untold", "no ground truth"),
    ):
        assert reasons[name].startswith("unreadable: ")
        assert words in reasons[name]
    out = capsys.readouterr().out
    assert "3 of 10 clips have faces" in out
    assert "nobody: no face found in 6 frames" in out


def test_a_broken_clip_is_tried_again_when_its_file_changed(dataset):
    bad = dataset.folder / "bad.mp4"
    bad.write_text("not yet")
    os.utime(bad, (1, 1))
    dataset.clips.append(VideoRecord("bad", "bad.mp4", "sadness", truth="c.safetensors"))
    store = prepare_faces(dataset, 0)
    assert "unreadable" in store.read_index()["bad"].reason
    written = store.index_path().stat().st_mtime
    prepare_faces(dataset, 0)
    assert store.index_path().stat().st_mtime == written, "the same broken file is not read again"
    write_video(bad, [numbered_frame(i) for i in range(5)])
    os.utime(bad, (written + 10, written + 10))
    prepare_faces(dataset, 0)
    assert store.read_index()["bad"].num_faces == 5


class Killed(ClipPreparer):
    """Is killed over the clip `b`, as by lack of memory, until there is a file `enough`; notes its tries."""

    def __call__(self, record):
        tries = self._folder / "tries"
        if record.clip_id == "b":
            with tries.open("a") as file:
                file.write("b")
            if not (self._folder / "enough").exists():
                os.kill(os.getpid(), signal.SIGKILL)
        return super().__call__(record)


def test_a_killed_worker_costs_two_tries_in_this_run_alone(dataset, monkeypatch, capsys):
    monkeypatch.setattr("data_modules.prepare.faces.ClipPreparer", Killed)
    assert prepare_data(dataset, 2, None, Shard(), None) == 1
    index = store_for(dataset).read_index()
    assert index["b"].reason == "failed for now: the process that read it crashed (exit code -9)"
    assert {name: index[name].num_faces for name in "abc"} == {"a": 12, "b": 0, "c": 5}
    assert (dataset.folder / "tries").read_text() == "bb"
    said = capsys.readouterr()
    assert "b: failed for now" in said.err
    assert "1 of 3 clips failed" in said.err
    (dataset.folder / "enough").touch()
    assert prepare_data(dataset, 2, None, Shard(), None) == 0
    assert store_for(dataset).read_index()["b"].num_faces == 6
    assert (dataset.folder / "tries").read_text() == "bbb"
    assert capsys.readouterr().err == ""


def test_a_disk_that_does_not_answer_is_no_unreadable_clip(dataset, monkeypatch):
    opened, broken = Path.open, [dataset.folder / "b.mp4"]

    def unanswered(path, *arguments, **named):
        if path in broken:
            raise OSError(errno.EIO, os.strerror(errno.EIO), str(path))
        return opened(path, *arguments, **named)

    monkeypatch.setattr(Path, "open", unanswered)
    assert prepare_data(dataset, 0, None, Shard(), None) == 1
    assert store_for(dataset).read_index()["b"].reason.startswith("failed for now: OSError")
    broken.clear()
    assert prepare_data(dataset, 0, None, Shard(), None) == 0
    assert store_for(dataset).read_index()["b"].num_faces == 6


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EACCES])
def test_a_full_store_stops_everything_and_blames_no_clip(dataset, monkeypatch, number):
    write, written = TensorFile.write_to, []

    def refuse(tensors, file):
        if written:
            raise OSError(number, os.strerror(number))
        written.append(write(tensors, file))

    monkeypatch.setattr(TensorFile, "write_to", refuse)
    with pytest.raises(
        NotWritableError, match=rf"cannot write to .*{os.strerror(number).lower()}.*continues where it stopped"
    ) as raised:
        prepare_data(dataset, 0, None, Shard(), None)
    assert "FER_STORE" in str(remedy(raised.value))
    assert store_for(dataset).clip_ids() == {"a"}
    assert store_for(dataset).read_index() == {}
    monkeypatch.setattr(TensorFile, "write_to", write)
    assert prepare_data(dataset, 0, None, Shard(), None) == 0
    assert {row.num_faces for row in store_for(dataset).read_index().values()} == {12, 6, 5}


def test_a_forbidden_store_is_told_before_any_clip_is_read(dataset, monkeypatch):
    store = store_for(dataset)

    def forbidden(*_, **__):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(store.folder))

    monkeypatch.setattr("tempfile.TemporaryFile", forbidden)
    monkeypatch.setattr("data_modules.prepare.clip_preparer.open_clip", lambda *_: pytest.fail("read a clip"))
    with pytest.raises(NotWritableError, match=f"cannot write to {store.folder}: permission denied"):
        prepare_faces(dataset, 0)


def test_what_was_unreadable_to_an_earlier_version_is_retried(dataset):
    store = prepare_faces(dataset, 0)
    columns = "clip_id,num_frames,num_faces,fps,reason,num_made,audio,broken,num_landmarks,width,height,audio_reason"
    rows = ["a,12,12,25.0,,0,0.0,0,12,96,64,", "b,0,0,0.0,unreadable: [Errno 28],0,0.0,0,0,0,0,"]
    store.index_path().write_text("\n".join([columns, *rows, "c,5,5,25.0,,0,0.0,0,5,96,64,", ""]))
    store.path("b").unlink()
    before = store.path("a").stat().st_mtime_ns
    prepare_faces(dataset, 0)
    assert store.read_index()["b"].num_faces == 6
    assert store.path("a").stat().st_mtime_ns == before


def test_size_and_time_of_a_clips_files_stand_beside_its_row(dataset):
    row = prepare_faces(dataset, 0).read_index()["a"]
    found = [(dataset.folder / name).stat() for name in ("a.mp4", "a.safetensors")]
    assert row.source == " ".join(f"{one.st_size}@{one.st_mtime_ns}" for one in found)


def test_a_replaced_video_loses_what_was_made_of_the_old_one(dataset, capsys):
    store = prepare_faces(dataset, 0)
    audio = AudioCache.from_store(store, None).files["descriptor"].folder
    computed = [
        folder / f"{name}.safetensors" for folder in (audio, store.folder / "features" / "x" / "v") for name in "ac"
    ]
    for path in computed:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    before = {name: store.path(name).stat().st_mtime_ns for name in "bc"}
    clip(dataset.folder, "a", 7)
    capsys.readouterr()
    prepare_faces(dataset, 0)
    assert "changed since they were prepared and are prepared again: a\n" in capsys.readouterr().out
    assert store.read_index()["a"].num_faces == len(store.open("a")) == 7
    assert before == {name: store.path(name).stat().st_mtime_ns for name in "bc"}
    assert [path.exists() for path in computed] == [False, True, False, True]
    prepare_faces(dataset, 0)
    assert capsys.readouterr().out == ""


def test_changed_ground_truth_is_a_change_a_new_date_is_none(dataset, monkeypatch):
    store = prepare_faces(dataset, 0)
    os.utime(dataset.folder / "a.mp4", (1, 1))
    truth_of(8, hidden=(0,)).save(dataset.folder / "b.safetensors")
    dataset.clips[2] = replace(dataset.clips[2], quarter_turns=2)
    before = {name: store.path(name).stat().st_mtime_ns for name in "abc"}
    prepare_faces(dataset, 0)
    changed = [name for name in "abc" if store.path(name).stat().st_mtime_ns != before[name]]
    assert changed == ["b", "c"]
    assert store.read_index()["b"].num_faces == 7
    unread = "data_modules.prepare.source_files.ClipFiles.content"
    monkeypatch.setattr(unread, lambda _: pytest.fail("read a clip again"))
    prepare_faces(dataset, 0)


def write_image_clips(root: Path, names: str) -> Clips:
    for name in names:
        (root / name).mkdir(parents=True)
        for number in range(3):
            Image.fromarray(numbered_frame(number)).save(root / name / f"{number}.png")
    return Clips(root, faces=CROP, clips=[VideoRecord(name, name, "sadness") for name in names])


def prepare_by_command(data: Clips) -> None:
    assert prepare_data(data, 0, None, Shard(), None) == 0


def test_an_image_that_is_overwritten_in_its_folder_is_noticed_by_the_command(tmp_path, monkeypatch, capsys):
    data = write_image_clips(tmp_path / "clips", "ab")
    prepare_by_command(data)
    before = (tmp_path / "clips" / "a").stat()
    Image.fromarray(numbered_frame(40)).save(tmp_path / "clips" / "a" / "1.png")
    os.utime(tmp_path / "clips" / "a" / "1.png", (1, 1))  # as of a copy that keeps its time
    assert (tmp_path / "clips" / "a").stat().st_mtime_ns == before.st_mtime_ns
    capsys.readouterr()
    store = prepare_faces(data, 0)  # a training looks at no image
    assert [read_number(crop) for crop in store.open("a").crops(range(3))] == [0, 1, 2]
    prepare_by_command(data)
    assert "changed since they were prepared and are prepared again: a\n" in capsys.readouterr().out
    assert [read_number(crop) for crop in store.open("a").crops(range(3))] == [0, 40, 2]
    unread = "data_modules.prepare.source_files.ClipFiles.content"
    monkeypatch.setattr(unread, lambda _: pytest.fail("read a clip again"))
    prepare_by_command(data)
    prepare_faces(data, 0)


def test_folders_whose_images_an_earlier_version_did_not_look_at_stay(tmp_path, monkeypatch):
    data = write_image_clips(tmp_path / "clips", "ab")
    store = prepare_faces(data, 0)
    rows = store.read_index()
    for name in "ab":
        rows[name] = replace(rows[name], source=f"folder@{(tmp_path / 'clips' / name).stat().st_mtime_ns}")
    store.write_index(rows.values())
    made = {name: store.path(name).stat().st_mtime_ns for name in "ab"}
    prepare_by_command(data)
    assert made == {name: store.path(name).stat().st_mtime_ns for name in "ab"}
    unread = "data_modules.prepare.source_files.ClipFiles.content"
    monkeypatch.setattr(unread, lambda _: pytest.fail("read a clip again"))
    prepare_by_command(data)
    prepare_faces(data, 0)


def test_the_faces_of_a_video_that_is_gone_stay(dataset):
    store = prepare_faces(dataset, 0)
    (dataset.folder / "a.mp4").unlink()
    expected = store.read_index()
    prepare_faces(dataset, 0)
    assert store.read_index() == expected
    assert len(store.open("a")) == 12


def spoil(path: Path, how: str) -> None:
    data = bytearray(path.read_bytes())
    if how == "cut":
        del data[-100:]
    elif how == "grown":
        data += b"x"
    elif how == "empty":
        data.clear()
    elif how == "header":
        data[100] ^= 0x80
    else:  # another clip's file
        data = bytearray(path.with_name("a.safetensors").read_bytes())
    path.write_bytes(data)


@pytest.mark.parametrize("how", ["cut", "grown", "empty", "header", "another's"])
@pytest.mark.parametrize("index", ["kept", "lost"])
def test_a_damaged_file_of_the_store_is_found_and_made_again(dataset, how, index, capsys):
    store = prepare_faces(dataset, 0)
    expected, before = store.read_index(), store.path("a").stat().st_mtime_ns
    spoil(store.path("b"), how)
    if index == "lost":
        store.index_path().unlink()
    capsys.readouterr()
    prepare_faces(dataset, 0)
    assert f"damaged files in {store.folder}, which are created again: b\n" in capsys.readouterr().out
    assert store.read_index() == expected
    assert len(store.open("b").crops(range(6))) == 6
    assert store.path("a").stat().st_mtime_ns == before


def test_what_killed_runs_left_in_the_store_is_removed_by_and_by(dataset):
    left = [store_for(dataset).folder / name for name in (".being-written-0a.safetensors", ".being-written-0b.csv")]
    for path in left:
        path.touch()
    os.utime(left[0], (1, 1))
    prepare_faces(dataset, 0)
    assert [path.exists() for path in left] == [False, True]


@pytest.fixture
def misnamed(tmp_path):
    """A user's clips, one of which has a name in Latin-1, as old archives have them."""
    folder = tmp_path / "own" / "happiness"
    folder.mkdir(parents=True)
    for name in ("good", "better"):
        write_video(folder / f"{name}.mp4", [numbered_frame(i) for i in range(4)])
    shutil.copy(folder / "good.mp4", os.fsencode(folder) + b"/caf\xe9.mp4")
    return Own(tmp_path / "own", faces=CROP, made_folds=2)


def test_a_name_that_is_not_utf_8_costs_its_clip_alone(misnamed, capsys):
    assert prepare_data(misnamed, 0, None, Shard(), None) == 1
    store = store_for(misnamed)
    assert {row.num_faces for row in store.read_index().values()} == {4}
    assert set(store.read_index()) == {"happiness/good", "happiness/better"}
    assert "not UTF-8; rename the file or folder: happiness/caf\\xe9.mp4" in capsys.readouterr().out
    assert "not UTF-8" in quarantined(store)["happiness/caf\\xe9.mp4"]


def test_the_doctor_names_names_that_are_not_utf_8(misnamed):
    findings = {finding.kind: finding for finding in examine(misnamed, 0).findings}
    assert findings["names"].clips == ("happiness/caf\\xe9.mp4",)
    assert findings["names"].severity == "wrong"


def test_faces_are_made_of_the_videos_whose_names_can_be_written(misnamed, tmp_path, capsys):
    arguments = ["faces", str(misnamed.folder / "happiness"), "--detector", "crop", "--workers", "0"]
    assert video_faces.main([*arguments, "--out", str(tmp_path / "out")]) == 1
    assert "caf\\xe9.mp4: left out" in capsys.readouterr().out
    assert {path.parent.name for path in (tmp_path / "out").rglob("faces.csv")} == {"good", "better"}


def test_faces_of_different_networks_never_mix(tmp_path, monkeypatch):
    from data_modules.faces import network_versions

    found = {"facenet-pytorch": "2.6.0"}

    def version(package):
        if package not in found:
            raise PackageNotFoundError(package)
        return found[package]

    monkeypatch.setattr(network_versions, "version", version)
    (tmp_path / "clips").mkdir()
    data = Clips(tmp_path / "clips", faces=FaceSettings("mtcnn", landmarks="mesh"))
    found.clear()
    nothing = store_for(data).folder
    found["facenet-pytorch"] = "2.6.0"
    first = store_for(data).folder
    assert first != nothing
    store_for(data).write_index([ClipSummary("a", 9, 5)])
    assert "facenet-pytorch 2.6.0" in (first / "settings.json").read_text()
    found.clear()
    assert store_for(data).folder == first, "a machine without the network takes the faces that are there"
    found["facenet-pytorch"] = "2.7.0"
    second = store_for(data).folder
    assert second != first
    monkeypatch.setattr(network_versions, "SHA256", "another")
    assert store_for(data).folder not in (first, second)
    store_for(data).write_index([ClipSummary("a", 9, 5)])
    found.clear()
    with pytest.raises(ValueError, match=rf"{first.name}.*different networks"):
        store_for(data)


def test_other_weights_of_insightface_make_another_store(tmp_path, monkeypatch):
    monkeypatch.setenv("FER_WEIGHTS", str(tmp_path))
    (tmp_path / "clips").mkdir()
    weights = tmp_path / "insightface" / "buffalo_l" / "det_10g.onnx"
    weights.parent.mkdir(parents=True)
    data, stores = Clips(tmp_path / "clips", faces=FaceSettings("insightface")), set()
    for content in (b"one", b"two", b"three", b"two"):
        weights.write_bytes(content)
        stores.add(store_for(data).folder)
        assert hashlib.sha256(content).hexdigest() in (store_for(data).folder / "settings.json").read_text()
    assert len(stores) == 3


def test_faces_of_unknown_networks_are_told_of(tmp_path, capsys):
    clip(tmp_path / "clips", "a")
    data = Clips(tmp_path / "clips", faces=FaceSettings("crop", size=32, landmarks="mesh"))
    data.clips = [VideoRecord("a", "a.mp4", "sadness")]
    earlier = ClipStore.for_settings(tmp_path / "store", data.store_name, data.faces).folder
    store = prepare_faces(data, 0)
    assert store.folder.name.startswith(f"{earlier.name}-")
    assert f"the faces in {earlier} are not used" in capsys.readouterr().out
    prepare_faces(data, 0)
    assert capsys.readouterr().out == ""


def test_a_folder_with_a_broken_image(tmp_path, capsys):
    folder = tmp_path / "clips" / "frames"
    folder.mkdir(parents=True)
    for i in range(12):
        Image.fromarray(numbered_frame(i)).save(folder / f"{i}.jpg", quality=95)
    (folder / "10.jpg").write_bytes(b"broken")
    data = Clips(tmp_path / "clips", faces=CROP, clips=[VideoRecord("f", "frames", "sadness")])
    store = prepare_faces(data, 0)
    assert (store.read_index()["f"].num_frames, store.read_index()["f"].num_faces) == (12, 11)
    assert [read_number(crop) for crop in store.open("f").crops(range(11))] == [*range(10), 11]
    assert "f: 1 packet or image that cannot be decoded" in capsys.readouterr().out
    assert quarantined(store) == {"f": "1 packet or image that cannot be decoded"}


def test_a_folder_with_images_of_several_sizes_is_named(tmp_path, capsys):
    folder = tmp_path / "clips" / "frames"
    folder.mkdir(parents=True)
    for i, size in enumerate([(96, 64), (96, 64), (64, 64)]):
        Image.fromarray(numbered_frame(i, *size)).save(folder / f"{i}.png")
    data = Clips(tmp_path / "clips", faces=CROP, clips=[VideoRecord("f", "frames", "sadness")])
    said = "images of several sizes (0.png 96 x 64, 2.png 64 x 64), scaled to that of the first"
    assert quarantined(prepare_faces(data, 0)) == {"f": said}
    assert f"f: {said}" in capsys.readouterr().out


@pytest.mark.parametrize(
    "record",
    [
        VideoRecord("x", "../secret.mp4", "sadness"),
        VideoRecord("../x", "a.mp4", "sadness"),
        VideoRecord("x", "/etc/passwd", "sadness"),
        VideoRecord("x", "a.mp4", "sadness", truth="../../truth"),
    ],
)
def test_no_record_leaves_the_data_set(dataset, record):
    dataset.clips.append(record)
    with pytest.raises(ValueError, match="outside the data set"):
        prepare_faces(dataset, 0)


def test_annotation_without_ground_truth_is_a_mistake(dataset):
    dataset.clips = [VideoRecord("a", "a.mp4", "sadness")]
    with pytest.raises(ValueError, match="no ground truth"):
        prepare_faces(dataset, 0)


@pytest.mark.parametrize("workers", [0, 1])
def test_a_missing_detector_stops_everything(dataset, workers, monkeypatch, tmp_path):
    monkeypatch.setenv("FER_WEIGHTS", str(tmp_path))
    dataset.faces = FaceSettings("insightface")
    with pytest.raises(DetectorNotFoundError, match="non-commercial"):
        prepare_faces(dataset, workers)
    assert not (store_for(dataset).folder / "index.csv").exists()


def test_stores_are_apart_by_folder_and_settings_not_place(tmp_path):
    def name(root: Path, settings: FaceSettings) -> str:
        root.mkdir(parents=True, exist_ok=True)
        return store_for(Clips(root, faces=settings)).folder.name

    wild, lab = name(tmp_path / "clips-wild-0", ANNOTATION), name(tmp_path / "clips-lab-0", ANNOTATION)
    assert wild.startswith("clips-wild-0-")
    assert len({wild, lab, name(tmp_path / "clips-wild-0", CROP), name(tmp_path / "other", CROP)}) == 4
    assert name(tmp_path / "moved" / "clips-wild-0", ANNOTATION) == wild
    assert name(tmp_path / "other", CROP).startswith("clips-other-")


def quarantined(store) -> dict[str, str]:
    rows = csv.DictReader(io.StringIO((store.folder / "quarantine.csv").read_text()))
    return {row["clip_id"]: row["reason"] for row in rows}


def test_shards_share_the_work_and_their_indices_make_the_whole(dataset, capsys):
    whole = Shard.parse("1/1")
    assert whole == Shard()
    for number in (2, 1):
        store = prepare_faces(dataset, 0, shard=Shard(number, 2))
    assert sorted(path.name for path in store.folder.glob("index*")) == ["index-1-of-2.csv", "index-2-of-2.csv"]
    assert set(store.read_index()) == {"a", "b", "c"}
    assert "2 of 2 clips have faces" in capsys.readouterr().out
    times = {name: store.path(name).stat().st_mtime_ns for name in "abc"}
    prepare_faces(dataset, 0)
    assert "3 of 3 clips have faces" in capsys.readouterr().out
    assert times == {name: store.path(name).stat().st_mtime_ns for name in "abc"}
    assert set(store.read_index()) == {"a", "b", "c"}
    assert (store.folder / "index.csv").exists()
    prepare_faces(dataset, 0)
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize("text", ["0/2", "3/2", "2", "a/b", "1/0", "-1/2"])
def test_a_shard_that_is_none(text):
    with pytest.raises(ValueError, match="such as 1/4"):
        Shard.parse(text)


def test_every_clip_belongs_to_one_shard():
    records = [VideoRecord(str(i), f"{i}.mp4", "sadness") for i in range(11)]
    parts = [Shard(number, 4).select(records) for number in (1, 2, 3, 4)]
    assert sorted(int(record.clip_id) for part in parts for record in part) == list(range(11))
    assert max(map(len, parts)) - min(map(len, parts)) <= 1


@pytest.mark.parametrize("silent", [SILENT, "its sound track is silent"], ids=["current", "earlier store"])
def test_silent_audio_is_not_damaged(silent, capsys):
    damaged = "audio unreadable: no such layout"
    summaries = [ClipSummary(name, 9, 9, audio_reason=reason) for name, reason in (("a", silent), ("b", damaged))]
    show_coverage([VideoRecord(name, f"{name}.mp4", "anger") for name in "ab"], summaries, "clips")
    out = capsys.readouterr().out
    assert "0 of 2 clips have audio, 1 have a silent audio track, 1 have a damaged audio track" in out
    assert quarantine(summaries).decode().splitlines() == ["clip_id,reason", f"b,{damaged}"]


def test_coverage_is_told_by_class_and_split(dataset, capsys):
    dataset.clips[1] = replace(dataset.clips[1], emotion="sadness", split="test")
    store = prepare_faces(dataset, 0)
    out = capsys.readouterr().out
    assert "1 of 1, 75.0 %" in out
    assert "2 of 2, 100.0 %" in out
    assert quarantined(store) == {}
    with Image.open(store.folder / "contact_sheet.jpg") as sheet:
        assert sheet.size[0] > 900
        assert np.asarray(sheet).std() > 20
    assert str(store.folder / "contact_sheet.jpg") in out


def test_the_sound_is_kept_with_the_faces(tmp_path):
    root = tmp_path / "clips"
    root.mkdir()
    tone = 0.5 * np.sin(np.arange(8000) / 16000 * 2 * np.pi * 440).astype(np.float32)
    write_video(root / "loud.mp4", [numbered_frame(i) for i in range(10)], audio=tone)
    write_video(root / "mute.mp4", [numbered_frame(i) for i in range(10)])
    records = [VideoRecord(name, f"{name}.mp4", "sadness") for name in ("loud", "mute")]
    store = prepare_faces(Clips(root, faces=CROP, clips=records), 0)
    index = store.read_index()
    assert index["loud"].audio == pytest.approx(0.5, abs=0.1)
    assert index["mute"].audio == 0
    assert store.open("mute").audio() is None
    audio = store.open("loud").audio()
    assert audio is not None
    spectrum = np.abs(np.fft.rfft(audio[1000:5000] * np.hanning(4000)))
    assert spectrum.argmax() * 4 == pytest.approx(440, abs=8)
    assert np.abs(audio).max() == pytest.approx(0.5, abs=0.1)
    part = store.open("loud").audio(0.1, 0.2)
    assert part is not None
    assert np.array_equal(part, audio[1600:3200])
    silent = replace(CROP, audio=False)
    assert prepare_faces(Clips(root, faces=silent, clips=records), 0).open("loud").audio() is None
    assert store.open("loud").times == pytest.approx(np.arange(10) / 25, abs=1e-3)


@pytest.mark.slow
@pytest.mark.skipif(find_spec("facenet_pytorch") is None, reason="facenet-pytorch is not installed")
def test_a_whole_rendered_set_goes_through_detection(tmp_path):
    """Wild clips: found where the face can be seen, and nowhere near where it cannot."""
    settings = FaceSettings("mtcnn", size=128, landmarks="mesh")
    dataset = Synthetic(tmp_path / "rendered", faces=settings, difficulty="wild", subjects=8, workers=2)
    store = prepare_faces(dataset, 2)
    shown = found = right = 0
    for record in dataset.records():
        truth = FrameTruth.load(dataset.folder / record.truth)
        clip = store.open(record.clip_id)
        assert clip.summary.num_frames == len(truth.visible)
        shown += int(truth.visible.sum())
        boxes = clip.optional("box")
        for place, index in enumerate(clip.frame_index.tolist()):
            assert boxes is not None
            centre = (boxes[place, :2] + boxes[place, 2:]) / 2
            inside = (truth.box[index, :2] < centre).all() and (centre < truth.box[index, 2:]).all()
            found += bool(truth.visible[index])
            right += bool(truth.visible[index] and inside)
        assert clip.summary.num_landmarks >= 0.8 * clip.summary.num_faces
    print(f"{found} of {shown} visible faces found, {right} of them the main one")
    assert found >= 0.95 * shown
    assert right >= 0.97 * found


def test_no_cell_of_the_list_of_what_is_wrong_is_a_formula():
    listed = quarantine([ClipSummary("=1+1", 4, 0, reason="@x"), ClipSummary("-dash", 4, 4, broken=2)])
    assert listed.decode().splitlines() == [
        "clip_id,reason",
        "'=1+1,'@x",
        "-dash,2 packets or images that cannot be decoded",
    ]
