import csv
import hashlib
import io
import json
import os
import re
import subprocess
import sys
from fractions import Fraction
from importlib.util import find_spec
from pathlib import Path

import av
import cv2
import numpy as np
import pytest
import torch

import fer_lightning
from data_modules.faces.detection import Detection
from data_modules.labels import SEVEN
from data_modules.loading.batch import ClipBatch
from data_modules.loading.transforms import resized
from data_modules.store.clip_file import ClipSummary, FaceFrame
from data_modules.store.clip_store import ClipStore
from data_modules.utils.text import printable_line
from data_modules.video.reader import open_video
from fer_lightning import CEFLNet, FrameBackbone, Recogniser
from fer_lightning.cli import main as cli
from fer_lightning.cli import predict
from fer_lightning.predict.annotated_video import write_annotated
from fer_lightning.predict.faces import VideoFaces, face_shares
from fer_lightning.predict.settings import NO_FACE
from fer_lightning.predict.tables import csv_table
from fer_lightning.predict.timeline import Timeline, TimelineRows, plan_rows, video_duration
from fer_lightning.predict.timeline_figure import format_duration
from fer_lightning.predict.video_files import find_videos, output_folder, source_video
from fer_lightning.predict.windows import WindowClassifier
from fer_lightning.report.figures.style import class_colours
from fer_lightning.training.loading import load_trained
from tests.predict.made import LABEL, recognition

CHANNELS = [8, 16, 32, 64]
SKIN = (200, 140, 120)


def write_checkpoint(run: Path, detector: str = "annotation") -> Path:
    torch.manual_seed(0)
    model = CEFLNet(SEVEN, FrameBackbone("resnet10t", channels=CHANNELS), num_clips=3)
    backbone = {"name": "resnet10t", "channels": CHANNELS, "weights": "run:not_there"}
    arguments = {"backbone": {"class_path": "fer_lightning.FrameBackbone", "init_args": backbone}}
    faces = {"detector": detector, "size": 48, "margin": 0.25, "jitter": 0.03, "every": 1}
    sampler = {"class_path": "data_modules.sampling.SubvideoSampler", "init_args": {"clips": 3, "frames": 4}}
    configuration = {
        "model": {"class_path": "fer_lightning.CEFLNet", "init_args": arguments},
        "data": {"dataset": {"init_args": {"faces": faces}}, "sampler": sampler, "size": 32, "augmentation": None},
    }
    path = run / "checkpoints" / "last.ckpt"
    path.parent.mkdir(parents=True)
    own = {"class_names": list(SEVEN), "configuration": configuration}
    torch.save({"state_dict": model.state_dict(), "epoch": 0, "global_step": 0, "fer_lightning": own}, path)
    return run


def write_video(path: Path, faces: list[bool], times: list[float] | None = None, size=(160, 120), audio=False) -> Path:
    """A grey video at 10 frames a second, or at the given times; a skin-coloured square where there is a face."""
    path.parent.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=10, options={"crf": "15"})
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p"
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        voice = file.add_stream("aac", rate=16000, layout="mono") if audio else None
        for index, face in enumerate(faces):
            picture = np.full((size[1], size[0], 3), 90, np.uint8)
            if face:
                picture[30:90, 20:80] = SKIN
                picture[30:90, 20:80] ^= rng.integers(0, 16, (60, 60, 3), dtype=np.uint8)
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts = round(1000 * (times[index] if times else index / 10))
            frame.time_base = Fraction(1, 1000)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
        if voice is not None:
            tone = np.sin(np.arange(1600 * len(faces)) * 0.2).astype(np.float32)[None] * 0.5
            block = av.AudioFrame.from_ndarray(tone, format="fltp", layout="mono")
            block.sample_rate = 16000
            file.mux(voice.encode(block))
            file.mux(voice.encode(None))
    return path


class SquareFinder:
    """Finds the square of `write_video`."""

    name, device = "fake", "cpu"

    def detect(self, frames):
        found = []
        for frame in frames:
            seen = np.abs(frame[60, 50].astype(int) - SKIN).max() < 40
            found.append([Detection(np.array([20, 30, 80, 90], np.float32), 0.99)] if seen else [])
        return found


@pytest.fixture
def fake_detector(monkeypatch):
    monkeypatch.setattr("data_modules.faces.models.make_detector", lambda name, device: SquareFinder())


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("trained") / "1-0")


def fer_predict(*arguments: object, workers: int = 0) -> int:
    return predict.main(["predict", *map(str, arguments), "--device", "cpu", "--workers", str(workers)])


def table(folder: Path) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO((folder / "expressions.csv").read_text())))


# Rows


def test_rows_tile_the_video_and_windows_are_clipped_to_it():
    times = np.arange(20) / 10  # two seconds
    rows = plan_rows(times, 2.0, window=1.0, hop=0.5)
    assert rows.start.tolist() == [0, 0.5, 1, 1.5]
    assert rows.end.tolist() == [0.5, 1, 1.5, 2]
    assert rows.own_frames.tolist() == [[0, 5], [5, 10], [10, 15], [15, 20]]
    # [-0.25, 0.75), [0.25, 1.25), [0.75, 1.75), [1.25, 2.25)
    assert rows.window_frames.tolist() == [[0, 8], [3, 13], [8, 18], [13, 20]]
    assert rows.window.tolist() == [[0, 0.75], [0.25, 1.25], [0.75, 1.75], [1.25, 2]]


@pytest.mark.parametrize(("duration", "ends"), [(0.04, [0.04]), (0.74, [0.74]), (0.75, [0.5, 0.75]), (1.2, [0.5, 1.2])])
def test_the_last_row_is_neither_tiny_nor_twice_as_long(duration, ends):
    rows = plan_rows(np.arange(0, duration - 1e-9, 0.04), duration, window=2.0, hop=0.5)
    assert rows.end.tolist() == ends


@pytest.mark.parametrize("fps", [23.976, 25, 29.97, 30, 60])
@pytest.mark.parametrize(("window", "hop"), [(2.0, 0.5), (0.1, 0.1), (1.0, 0.3)])
def test_every_frame_belongs_to_exactly_one_row(fps, window, hop):
    times = np.arange(217) / fps
    rows = plan_rows(times, video_duration(times, fps), window, hop)
    counted = np.concatenate([np.arange(first, stop) for first, stop in rows.own_frames])
    assert counted.tolist() == list(range(217))
    assert (rows.window_frames[:, 0] <= rows.own_frames[:, 0]).all()
    assert (rows.window_frames[:, 1] >= rows.own_frames[:, 1]).all()


def test_a_picture_that_stays_speaks_for_its_time_on_show():
    times = np.array([0.0, 0.1, 0.2, 3.0, 3.1])
    assert video_duration(times, 10.0) == pytest.approx(3.2)
    rows = plan_rows(times, 3.2, window=1.0, hop=0.5)
    assert rows.own_frames.tolist() == [[0, 3], [2, 3], [2, 3], [2, 3], [2, 3], [3, 5]]
    assert rows.window_frames[2].tolist() == [2, 3]


def test_absurd_times_are_refused():
    with pytest.raises(ValueError, match="more than 500000 rows"):
        plan_rows(np.array([0.0, 1e9]), 1e9, 2.0, 0.5)


# Faces and windows


def stored_faces(folder: Path, frames: list[int]) -> VideoFaces:
    """Faces whose crops are as bright as their frame's number."""
    box = np.zeros(4, np.float32)
    points = np.zeros((68, 3), np.float32)
    faces = (FaceFrame(i, np.full((16, 16, 3), i % 250, np.uint8), box + i, 0.9, points + i) for i in frames)
    ClipStore(folder).write(ClipSummary("a", 100, 0), faces)
    return VideoFaces(ClipStore(folder).open("a"))


def test_faces_are_found_by_frame_and_position(tmp_path):
    frames = [0, 1, 2, 5, 6, 7, 8, 20]
    faces = stored_faces(tmp_path, frames)
    assert faces.frame_index.tolist() == frames
    assert faces.box[:, 0].tolist() == frames
    shades = faces.crops(np.array([7, 0, 3, 4, 0]))[:, 8, 8, 0]
    assert np.abs(shades.astype(int) - [20, 0, 5, 6, 0]).max() <= 1
    assert faces.position_ranges(np.array([[0, 3], [3, 5], [5, 21]])).tolist() == [[0, 3], [3, 3], [3, 8]]


def frame_rows(own: np.ndarray, seen: np.ndarray) -> TimelineRows:
    """Rows of a second each, for what asks for frames alone."""
    start = np.arange(len(own), dtype=float)
    return TimelineRows(start, start + 1, own, seen, np.stack([start, start + 1], axis=1))


def test_a_row_needs_a_face_in_half_of_its_own_frames(tmp_path, run):
    faces = stored_faces(tmp_path, [*range(10), 10, 11, 12, 13, 15, 16, 17, 18, 19])  # rows: all, 4 and 5 of 10
    own = np.array([[0, 10], [6, 14], [10, 20], [14, 24], [20, 30]])
    rows = frame_rows(own, np.stack([own[:, 0] - 6, own[:, 1] + 6], axis=1))
    assert face_shares(faces, rows).tolist() == [1, 1, 0.9, 0.5, 0]
    answered = [row for row, _ in WindowClassifier(load_trained(run), torch.device("cpu")).predict_rows(faces, rows)]
    assert answered == [0, 1, 2, 3]


def test_windows_are_classified_as_clips_of_their_faces_alone(tmp_path, run, monkeypatch):
    """The reference opens no store: it takes the sampler's frames of the window and calls the model."""
    trained = load_trained(run)
    faces = stored_faces(tmp_path, list(range(5, 65)))
    rows = frame_rows(np.array([[10, 20], [40, 60]]), np.array([[5, 40], [30, 65]]))
    batches, predict_clips = [], trained.model.predict_clips
    monkeypatch.setattr(trained.model, "predict_clips", lambda batch: batches.append(batch) or predict_clips(batch))
    found = dict(WindowClassifier(trained, torch.device("cpu")).predict_rows(faces, rows))
    seen = torch.cat([batch.face for batch in batches]), torch.cat([batch.frame_index for batch in batches])
    for row, (first, stop) in enumerate(rows.window_frames.tolist()):
        frames = trained.sampler(stop - first, None).numpy() + first
        crops = torch.from_numpy(np.stack([resized(crop, 32) for crop in faces.crops(frames - 5)])).permute(0, 3, 1, 2)
        mask = torch.ones(1, len(frames), dtype=torch.bool)
        batch = ClipBatch(("x",), torch.tensor([-1]), mask, torch.from_numpy(frames)[None], crops[None])
        assert seen[1][row].tolist() == frames.tolist()
        assert torch.equal(seen[0][row], batch.face[0])
        with torch.inference_mode():
            expected = trained.model(batch).logits.softmax(-1)[0].numpy()
        assert found[row] == pytest.approx(expected, abs=5e-3)  # bf16 where the processor has it
        assert found[row].sum() == pytest.approx(1, abs=1e-4)


# Tables


def hand_made() -> Timeline:
    probabilities = np.array([[0.7, 0.3], [0.2, 0.8], [np.nan, np.nan], [0.6, 0.4]])
    faces = np.array([1, 0.5, 0.2, 1.0])
    audio = np.zeros(4, bool)
    return Timeline(("anger", "fear"), np.array([0, 1, 2, 3.0]), np.array([1, 2, 3, 5.0]), faces, audio, probabilities)


def test_timeline_names_and_shares_of_time():
    timeline = hand_made()
    assert [timeline.name(label) for label in timeline.label.tolist()] == ["anger", "fear", NO_FACE, "anger"]
    assert timeline.confidence[[0, 1, 3]].tolist() == [0.7, 0.8, 0.6]
    assert np.isnan(timeline.confidence[2])
    assert timeline.shares() == [("anger", pytest.approx(0.6)), ("fear", pytest.approx(0.2)), (NO_FACE, 0.2)]
    assert [timeline.row_at(t) for t in (0, 0.99, 1, 4.99, 7)] == [0, 0, 1, 3, 3]


def test_colours_do_not_depend_on_the_class_list():
    assert class_colours(SEVEN)[SEVEN.index("fear")] == class_colours(("boredom", "fear"))[1]
    assert len(set(class_colours((*SEVEN, "contempt", "boredom", "awe")))) == 10


@pytest.mark.parametrize(
    ("seconds", "text"), [(6.43, "6.4 s"), (65, "1:05 min"), (59.97, "60.0 s"), (3725, "1:02:05 h")]
)
def test_durations(seconds, text):
    assert format_duration(seconds) == text


# The command


def test_a_face_in_the_first_half(tmp_path, run, fake_detector, capsys):
    video = write_video(tmp_path / "half <b>&$x$.mp4", [True] * 20 + [False] * 20, audio=True)
    assert fer_predict(video, "--checkpoint", run, "--out", tmp_path / "out", "--every", 1) == 0
    folder = tmp_path / "out" / "half _b_&$x$"
    assert sorted(p.name for p in folder.iterdir()) == [
        "annotated.mp4", "expressions.csv", "expressions.eaf", "expressions.json", "expressions.vtt", "index.html",
        "timeline.png",
    ]  # fmt: skip
    together = {"all-videos.csv", "all-videos.html", "columns.md"}
    assert {p.name for p in (tmp_path / "out").iterdir()} == {folder.name, *together}  # no temporary folder is left

    rows = table(folder)
    assert [row["expression"] == NO_FACE for row in rows] == [False] * 4 + [True] * 4
    assert [float(row["time"]) for row in rows] == [0.25 + 0.5 * i for i in range(8)]
    for row in rows[:4]:
        shares = {name: float(row[f"p_{name}"]) for name in SEVEN}
        assert sum(shares.values()) == pytest.approx(1, abs=1e-4)
        assert row["expression"] == max(shares, key=shares.get)
        assert float(row["confidence"]) == max(shares.values())
        assert float(row["face_share"]) == 1
    assert all(row["confidence"] == "" and row["p_anger"] == "" and float(row["face_share"]) == 0 for row in rows[4:])

    content = json.loads((folder / "expressions.json").read_text())
    assert content["video"]["frames"] == 40
    assert content["video"]["frames_with_face"] == 20
    assert content["video"]["path"] == str(video.resolve())
    assert content["class_names"] == list(SEVEN)
    assert [row["expression"] for row in content["rows"]] == [row["expression"] for row in rows]
    assert content["rows"][7]["probabilities"] is None
    assert content["summary"][-1] == {"expression": NO_FACE, "share": 0.5}
    assert sum(entry["share"] for entry in content["summary"]) == pytest.approx(1)

    output = capsys.readouterr().out
    assert "a face in 50 % of 40 frames" in output
    assert "no face 50 % of the time (`no face` labels rows with a face in fewer than half of their frames)" in output
    assert "x real time" in output


@pytest.mark.parametrize("rendered", [True, False])
def test_a_model_of_rendered_faces_says_so(tmp_path, run, fake_detector, capsys, rendered):
    path = write_checkpoint(tmp_path / "run") / "checkpoints" / "last.ckpt"
    content = torch.load(path, weights_only=True)
    dataset = "data_modules.datasets.Synthetic" if rendered else "data_modules.datasets.DFEW"
    content["fer_lightning"]["configuration"]["data"]["dataset"]["class_path"] = dataset
    torch.save(content, path)
    video = write_video(tmp_path / "a.mp4", [True] * 10)
    assert fer_predict(video, "--checkpoint", path, "--out", tmp_path / "out", "--no-video") == 0
    assert ("has seen rendered faces only" in capsys.readouterr().out) == rendered
    label = json.loads((tmp_path / "out" / "a" / "expressions.json").read_text())["model_label"]
    name = "synthetic" if rendered else "dfew"
    assert (label["dataset"], label["world"]) == (name, f"{'rendered' if rendered else 'real'} faces")
    assert label["sha256"] == [hashlib.sha256(path.read_bytes()).hexdigest()]
    assert label["version"] == fer_lightning.__version__
    assert {row["world"] for row in table(tmp_path / "out" / "a")} == {label["world"]}


def test_a_file_that_does_not_say_what_it_was_trained_on_is_not_trusted(run):
    label = Recogniser(run).label
    assert (label.dataset, label.world) == ("unknown", "unknown")
    assert "does not say what it was trained on: it is not validated for anything" in label.summary
    assert "its result is not known" in label.summary


def test_the_annotated_video_keeps_times_size_and_sound(tmp_path, run, fake_detector):
    times = [0.0, 0.1, 0.2, 0.5, 0.9, 1.0, 1.1, 1.6, 2.0, 2.1]
    video = write_video(tmp_path / "odd.mkv", [True] * 10, times, size=(162, 122), audio=True)
    assert fer_predict(video, "--checkpoint", run, "--out", tmp_path / "out") == 0
    with av.open(str(tmp_path / "out" / "odd" / "annotated.mp4")) as file:
        stream = file.streams.video[0]
        assert (stream.codec_context.name, stream.width, stream.height) == ("h264", 162, 122)
        frames = list(file.decode(stream))
        assert [frame.time for frame in frames] == pytest.approx(times, abs=0.002)
        assert "does not say what it was trained on" in file.metadata["comment"]
        edge, colour = frames[0].to_ndarray(format="rgb24")[60, 18:23].astype(int), frames[0]
        assert np.ptp(edge.reshape(-1, 3), axis=0).max() > 30, f"no box in {colour}"
    with av.open(str(tmp_path / "out" / "odd" / "annotated.mp4")) as file:
        audio = np.concatenate([frame.to_ndarray()[0] for frame in file.decode(audio=0)])
    assert 0.9 < len(audio) / 48000 < 1.2  # as long as the tone
    assert np.abs(audio[4800:43200]).max() > 0.3


def test_sound_from_before_the_first_picture_is_cut(tmp_path):
    """Pictures from 0.5 s on, a tone from 0 to 1 s: the annotated video begins with the pictures."""
    video = write_video(tmp_path / "late.mkv", [True] * 10, [0.5 + index / 10 for index in range(10)], audio=True)
    source, faces = open_video(video), stored_faces(tmp_path / "store", [0])
    assert source.timestamps[0] == 0
    assert len(list(write_annotated(source, [(hand_made(), faces)], 1.0, tmp_path / "a.mp4", LABEL))) == 10
    with av.open(str(tmp_path / "a.mp4")) as file:
        assert sum(frame.samples for frame in file.decode(audio=0)) / 48000 == pytest.approx(0.5, abs=0.1)


def test_a_video_without_a_face_is_reported_as_such(tmp_path, run, fake_detector, capsys):
    video = write_video(tmp_path / "empty.mp4", [False] * 12)
    assert fer_predict(video, "--checkpoint", run, "--out", tmp_path / "out") == 0
    assert "no face in any of 12 frames, so no expression" in capsys.readouterr().out
    folder = tmp_path / "out" / "empty"
    assert {row["expression"] for row in table(folder)} == {NO_FACE}
    assert (folder / "timeline.png").stat().st_size > 1000
    assert (folder / "annotated.mp4").stat().st_size > 500
    assert json.loads((folder / "expressions.json").read_text())["summary"] == [{"expression": NO_FACE, "share": 1.0}]


def test_unreadable_videos_are_named_and_the_others_go_on(tmp_path, run, fake_detector, capsys):
    good = write_video(tmp_path / "good.mp4", [True] * 12)
    cut, text = tmp_path / "cut.mp4", tmp_path / "text\n[red].mp4"
    cut.write_bytes(good.read_bytes()[:1500])
    text.write_text("<script>alert(1)</script>")
    arguments = (cut, text, tmp_path / "none.mp4", good, "--checkpoint", run, "--out", tmp_path / "out", "--no-video")
    assert fer_predict(*arguments) == 1
    output = capsys.readouterr().out
    assert "cut.mp4: not predicted" in output
    assert r"text\n[red].mp4: not predicted" in output
    assert "no such file" in output
    assert "3 of 4 videos could not be read" in output
    assert [p.name for p in (tmp_path / "out").iterdir() if p.is_dir()] == ["good"]
    assert not (tmp_path / "out" / "good" / "annotated.mp4").exists()


def test_folders_duplicates_and_its_own_results_are_told_apart(tmp_path, run, fake_detector, capsys):
    videos = tmp_path / "videos"
    for name in ("x10.mp4", "x2.mp4", "deep/x2.mp4", "x2.mkv", ".hidden.mp4"):
        write_video(videos / name, [True] * 3)
    (videos / "notes.txt").write_text("no video")
    (videos / "more").mkdir()
    (videos / "more" / "annotated.mp4").write_bytes(
        (videos / "x2.mp4").read_bytes()  # somebody's own: no results beside it
    )
    names = ["deep/x2.mp4", "more/annotated.mp4", "x2.mkv", "x2.mp4", "x10.mp4"]
    assert [p.relative_to(videos).as_posix() for p in find_videos([str(videos), str(videos / "x2.mp4")])[0]] == names
    out = videos / "predictions"
    assert fer_predict(videos, "--checkpoint", run, "--out", out) == 0
    folders = {p.name: source_video(p) for p in out.iterdir() if p.is_dir()}
    assert sorted(folders) == ["annotated", "x10", "x2", "x2-2", "x2-3"]
    assert set(folders.values()) == {str((videos / name).resolve()) for name in names}

    capsys.readouterr()
    assert fer_predict(videos, "--checkpoint", run, "--out", out, "--no-video") == 0
    assert "5 annotated videos of an earlier run are left out" in capsys.readouterr().out
    assert {
        p.name: source_video(p) for p in out.iterdir() if p.is_dir()
    } == folders  # the same folders for the same videos
    assert not list(out.rglob("annotated.mp4"))  # they would show what is no longer in the tables


def test_names_that_would_leave_the_folder_or_cannot_be_printed(tmp_path):
    taken: set[Path] = set()
    for name in ("...mp4", "a/..mp4", "..\\..\\x.mp4", "con\x1b[31m.mp4", "\udcff.mp4", "x" * 200 + ".mp4", ".mp4"):
        folder = output_folder(Path(name), tmp_path, taken)
        assert folder.parent == tmp_path
        assert folder.name.strip(". ")
        assert len(folder.name) < 100
    assert len(taken) == 7
    assert printable_line("a\n\x1b[31m\udcff") == r"a\n\x1b[31m\udcff"


def test_errors_that_a_user_can_mend(tmp_path, run, capsys):
    video = write_video(tmp_path / "v" / "a.mp4", [True] * 2)
    (tmp_path / "bare").mkdir()
    cases = [
        ((tmp_path / "bare", "--checkpoint", run), "folder without any video"),
        ((video, "--checkpoint", tmp_path / "v"), "no checkpoint in"),
        ((video, "--checkpoint", run, "--hop", "3"), "0 < hop <= window"),
        ((video, "--checkpoint", run, "--window", "nan"), "0 < hop <= window"),
        ((video, "--checkpoint", run, "--every", "0"), "--every 0"),
        ((video, "--checkpoint", run, "--workers", "-1"), "--workers -1"),
        ((video, "--checkpoint", run, "--device", "abacus"), "--device abacus"),
        ((video, "--checkpoint", run, "--out", video), "is a file; expected a folder"),
    ]
    for arguments, message in cases:
        assert cli.main(["predict", *map(str, arguments)]) == 2
        assert message in capsys.readouterr().err


def test_a_second_checkpoint_is_refused(tmp_path, run, capsys):
    video = write_video(tmp_path / "a.mp4", [True] * 2)
    assert cli.main(["predict", str(video), "--checkpoint", "first", "--checkpoint", str(run)]) == 2
    message = capsys.readouterr().err
    assert f"--checkpoint is given 2 times (first, {run})" in message
    assert "fer ensemble" in message


@pytest.mark.parametrize(
    ("name", "parts"),
    [
        ("https://example.org/a.mp4", ["https://example.org/a.mp4: web addresses cannot be read", "download"]),
        ("0", ["0: no such file, and cameras cannot be read", "record"]),
        ("none.mp4", ["no such file or folder: none.mp4"]),
    ],
)
@pytest.mark.parametrize("command", ["predict", "faces"])
def test_videos_that_do_not_exist_are_refused(tmp_path, run, command, name, parts, capsys):
    options = {"predict": ["--checkpoint", str(run)], "faces": []}[command]
    assert cli.main([command, name, *options, "--out", str(tmp_path / "out")]) == 2
    message = capsys.readouterr().err
    assert all(part in message for part in parts)
    assert not (tmp_path / "out").exists()


def test_names_are_checked_before_torch_is_imported(tmp_path):
    program = (
        "import sys; from fer_lightning.cli.main import main\n"
        "print(main(sys.argv[1:]), main(['predict', __import__('os').devnull, '--checkpoint', 'ceflnet_synthetc']))\n"
        "print([name for name in ('torch', 'timm', 'matplotlib') if name in sys.modules])"
    )
    (tmp_path / "runs" / "ceflnet_synthetic").mkdir(parents=True)
    command = [sys.executable, "-c", program, "predict", "none.mp4", "--checkpoint", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "2 2\n[]\n"
    assert "no such file or folder: none.mp4" in done.stderr
    assert "no run or checkpoint ceflnet_synthetc" in done.stderr
    assert "did you mean ceflnet_synthetic?" in done.stderr


def test_a_run_is_found_by_its_name_and_its_weights_are_read_once(tmp_path, fake_detector, monkeypatch):
    load, left_in_the_file = torch.load, []
    monkeypatch.setattr(torch, "load", lambda *a, **how: left_in_the_file.append(how["mmap"]) or load(*a, **how))
    write_checkpoint(tmp_path / "runs" / "mine" / "1-0")  # FER_RUNS
    video = write_video(tmp_path / "a.mp4", [True] * 3)
    for name in ("mine", "mine/1-0"):
        assert fer_predict(video, "--checkpoint", name, "--out", tmp_path / name, "--no-video") == 0
        content = json.loads((tmp_path / name / "a" / "expressions.json").read_text())
        assert content["settings"]["checkpoint"] == str(tmp_path / "runs/mine/1-0/checkpoints/last.ckpt")
    assert left_in_the_file == [True, False] * 2, "settings first"


def test_help_says_what_the_columns_mean(tmp_path, run, fake_detector, capsys):
    """A column for each in the table, in the same order."""
    video = write_video(tmp_path / "a.mp4", [True] * 3)
    assert fer_predict(video, "--checkpoint", run, "--out", tmp_path, "--no-video") == 0
    columns = [name for name in table(tmp_path / "a")[0] if not name.startswith("p_")]
    capsys.readouterr()
    with pytest.raises(SystemExit):
        fer_predict("--help")
    output = capsys.readouterr().out
    names = re.findall(r"(?m)^  ((?:\w+, )*\w+) {2,}", output[output.index("columns of expressions.csv") :])
    assert [name for line in names for name in line.split(", ") if name != "p_CLASS"] == columns


@pytest.mark.parametrize("size", [(1, 1), (3, 2), (17, 400), (161, 121)])
def test_pictures_of_any_size_become_a_video_with_even_sides(tmp_path, size):
    frames = [np.full((size[1], size[0], 3), 20 * i, np.uint8) for i in range(3)]
    folder = tmp_path / "frames"
    folder.mkdir()
    for i, frame in enumerate(frames):
        cv2.imwrite(str(folder / f"{i}.png"), frame)
    faces = stored_faces(tmp_path / "store", [0, 1])
    made = list(write_annotated(open_video(folder), [(hand_made(), faces)], 1.0, tmp_path / "a.mp4", LABEL))
    assert made == [0, 1, 2]
    with av.open(str(tmp_path / "a.mp4")) as file:
        decoded = list(file.decode(video=0))
    assert len(decoded) == 3
    assert all(side > 0 and side % 2 == 0 for side in (decoded[0].width, decoded[0].height))
    assert (decoded[0].width - size[0], decoded[0].height - size[1]) in {(1, 1), (-1, 0), (-1, -1)}


@pytest.mark.skipif("FER_TEST_CLIPS" not in os.environ, reason="FER_TEST_CLIPS does not name a folder of real clips")
@pytest.mark.skipif(find_spec("facenet_pytorch") is None, reason="facenet-pytorch is not installed")
def test_real_clips(tmp_path, run, capsys):
    clips = Path(os.environ["FER_TEST_CLIPS"])
    out = tmp_path / "out"
    arguments = (clips, "--checkpoint", run, "--out", out, "--every", 6, "--no-video")
    assert fer_predict(*arguments, workers=2) == 0
    assert NO_FACE not in {row["expression"] for row in table(out / "single_face")}
    half = table(out / "face_noface")
    answered = [float(row["time"]) / float(half[-1]["end"]) for row in half if row["expression"] != NO_FACE]
    assert 0.3 < max(answered) < 0.4  # 45 % of the frames, which are shorter there: 40 % of the time
    assert all(row["expression"] != NO_FACE for row in half[: len(answered)])  # one stretch from the beginning on
    assert {row["expression"] for row in table(out / "no_face")} == {NO_FACE}
    assert "no face in any of 95 frames" in capsys.readouterr().out


def test_an_expression_that_would_be_computed_stays_text():
    """Class names come from checkpoints."""
    timeline = Timeline(
        ("=1+1", "fear"), *(np.array([value]) for value in (0.0, 0.5, 1.0, True)), np.array([[0.75, 0.25]])
    )
    (row,) = list(csv.DictReader(io.StringIO(csv_table(recognition(timeline)).decode())))
    assert row["expression"] == "'=1+1"
    assert row["confidence"] == "0.75000"
