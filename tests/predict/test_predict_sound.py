"""`fer predict` with models that hear: which audio reaches which row, and what is said where there is none."""

import json
import re
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest
import torch

from data_modules.audio.settings import AUDIO_RATE, AudioSettings
from data_modules.audio.spectrogram import spectrogram
from data_modules.audio.speech import AudioLibraryNotFoundError
from data_modules.store.clip_file import ClipSummary
from data_modules.store.clip_store import ClipStore
from data_modules.store.stored_clip import StoredClip
from data_modules.video.audio_track import read_audio
from fer_lightning.cli import main as cli
from fer_lightning.evaluation.outputs import ClassifierOutput
from fer_lightning.predict.expressions import VideoFacts
from fer_lightning.predict.faces import VideoFaces
from fer_lightning.predict.settings import NEITHER, NO_AUDIO, ModelFacts, PredictionSettings
from fer_lightning.predict.timeline import Timeline, plan_rows
from fer_lightning.predict.timeline_figure import timeline_figure
from fer_lightning.predict.video_files import find_videos
from fer_lightning.predict.video_result import VideoResult
from fer_lightning.predict.waveform import envelope
from fer_lightning.predict.windows import WindowClassifier
from fer_lightning.training.classifier import VideoClassifier
from fer_lightning.training.loading import load_trained
from tests.predict.made import recognition
from tests.predict.test_predict import SKIN, SquareFinder, fer_predict, table
from tests.videos import write_audio, write_video

RAW = AudioSettings(reduce_noise=False, speech=False, size=64)
FPS = 10


class Ear(VideoClassifier):
    """Of two classes the first where low sounds are louder, else the second; a spectrogram has low ones below."""

    inputs = frozenset({"spectrogram"})

    def forward(self, batch):
        grey = (batch.spectrogram[:, 0] / 255 - 0.45) / 0.23
        low, high = grey[:, 32:].mean((1, 2)), grey[:, :32].mean((1, 2))
        return ClassifierOutput(100 * torch.stack([low, high], 1), grey.mean((1, 2))[:, None])


class EyeAndEar(VideoClassifier):
    """What of face and audio it is told to be there: `both`, `face` or `audio`."""

    inputs = frozenset({"face", "spectrogram"})

    def forward(self, batch):
        face, audio = batch.present.unbind(1)
        assert torch.equal(face, batch.mask.any(1))
        assert (batch.face[~face] == 0).all()  # black
        logits = 100.0 * torch.stack([audio & ~face, face & audio, face & ~audio], 1)
        return ClassifierOutput(logits, logits)


class Describer(VideoClassifier):
    """The logarithms of two descriptors, made positive."""

    inputs = frozenset({"descriptor"})

    def forward(self, batch):
        logits = (1 + batch.descriptor[:, :2].abs()).log()
        return ClassifierOutput(logits, logits)


CLASSES = {Ear: ("anger", "fear"), EyeAndEar: ("audio", "both", "face"), Describer: ("anger", "fear")}


def write_checkpoint(run: Path, kind: type[VideoClassifier], audio: dict[str, object] | None) -> Path:
    model = kind(CLASSES[kind])
    faces = {"detector": "annotation", "size": 48, "every": 1, "audio": False}
    sampler = {"class_path": "data_modules.sampling.SegmentSampler", "init_args": {"frames": 2}}
    configuration = {
        "model": {"class_path": f"{__name__}.{kind.__name__}", "init_args": {}},
        "data": {
            "dataset": {"init_args": {"faces": faces}},
            "sampler": sampler,
            "size": 32,
            "audio": audio,
            "augmentation": None,
        },
    }
    path = run / "checkpoints" / "last.ckpt"
    path.parent.mkdir(parents=True)
    own = {"class_names": list(CLASSES[kind]), "configuration": configuration}
    torch.save({"state_dict": model.state_dict(), "epoch": 0, "global_step": 0, "fer_lightning": own}, path)
    return run


SETTINGS = {"reduce_noise": False, "speech": False, "size": 64}


@pytest.fixture(scope="module")
def ear(tmp_path_factory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("ear") / "1-0", Ear, SETTINGS)


@pytest.fixture(scope="module")
def both(tmp_path_factory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("both") / "1-0", EyeAndEar, SETTINGS)


@pytest.fixture(autouse=True)
def squares(monkeypatch):
    monkeypatch.setattr("data_modules.faces.models.make_detector", lambda name, device: SquareFinder())


def pictures(faces: list[bool]) -> list[np.ndarray]:
    """Grey frames, with a skin-coloured square where there is a face."""
    frames = [np.full((120, 160, 3), 90, np.uint8) for _ in faces]
    for frame, face in zip(frames, faces, strict=True):
        if face:
            frame[30:90, 20:80] = SKIN
    return frames


def tone(seconds: float, hertz: float) -> np.ndarray:
    return (0.4 * np.sin(2 * np.pi * hertz * np.arange(round(seconds * AUDIO_RATE)) / AUDIO_RATE)).astype(np.float32)


def silence(seconds: float) -> np.ndarray:
    return np.zeros(round(seconds * AUDIO_RATE), np.float32)


# The right audio in the right row


def test_a_row_hears_the_sound_of_its_own_time(tmp_path, ear, capsys):
    audio = np.concatenate([tone(3.05, 500), tone(2.95, 6000)])
    video = write_video(tmp_path / "tones.mp4", pictures([False] * 60), FPS, audio=audio)
    assert fer_predict(video, "--checkpoint", ear, "--out", tmp_path, "--window", 1, "--no-video") == 0
    rows = table(tmp_path / "tones")
    labels = [row["expression"] for row in rows]
    assert labels[:5] == ["anger"] * 5  # windows of [-0.25, 0.75) to [1.75, 2.75)
    assert labels[7:] == ["fear"] * 5  # from [3.25, 4.25) on
    assert min(float(row["confidence"]) for row in rows[:5] + rows[7:]) > 0.99
    assert {row["audio"] for row in rows} == {"1"}
    output = capsys.readouterr().out
    assert "no face in any of 60 frames. anger 5" in output
    assert "has no audio" not in output


def test_windows_are_heard_as_clips_of_their_sound_alone(tmp_path, ear, monkeypatch):
    """The reference opens no store: it cuts the file's audio by time."""
    random = np.random.default_rng(0)
    audio = np.concatenate([silence(0.5), random.normal(0, 0.1, 4 * AUDIO_RATE).astype(np.float32)])
    video = write_video(tmp_path / "noise.mp4", pictures([True] * 40), FPS, audio=audio)
    whole = read_audio(video)
    faces = stored(tmp_path / "store", whole, 40)
    trained = load_trained(ear)
    assert trained.audio == RAW
    rows = plan_rows(np.arange(40) / FPS, 4.0, window=1.0, hop=0.5)
    batches, predict_clips = [], trained.model.predict_clips
    monkeypatch.setattr(trained.model, "predict_clips", lambda batch: batches.append(batch) or predict_clips(batch))
    found = [row for row, _ in WindowClassifier(trained, torch.device("cpu")).predict_rows(faces, rows)]
    assert found == list(range(8))
    pictures_heard = torch.cat([batch.spectrogram for batch in batches])
    assert not torch.cat([batch.present for batch in batches])[:, 0].any()  # there is no face that it looks at
    middles = np.arange(8) / 2 + 0.25
    spans = np.clip(np.stack([middles - 0.5, middles + 0.5], axis=1), 0, 4)
    for row, (start, stop) in enumerate(spans.tolist()):
        expected = spectrogram(whole[round(start * AUDIO_RATE) : round(stop * AUDIO_RATE)], RAW)
        assert np.abs(pictures_heard[row, 0].float().numpy() - expected).mean() < 0.5, (
            row
        )  # the store keeps 16 bits a sample
        assert expected.std() > 5


def stored(folder: Path, audio: np.ndarray | None, frames: int) -> VideoFaces:
    with ClipStore(folder).writing("a") as writer:
        if audio is not None:
            writer.add_audio(np.clip(np.round(audio * 32767), -32768, 32767).astype(np.int16))
        writer.finish(ClipSummary("a", frames, 0), np.arange(frames) / FPS)
    return VideoFaces(ClipStore(folder).open("a"))


def test_the_model_is_told_which_of_face_and_sound_a_row_has(tmp_path, both):
    """A face in the first half, audio from 2.2 to 5.8 of 8 seconds."""
    audio = np.concatenate([silence(2.2), tone(3.6, 800), silence(2.2)])
    video = write_video(tmp_path / "some.mp4", pictures([True] * 40 + [False] * 40), FPS, audio=audio)
    arguments = ("--checkpoint", both, "--out", tmp_path, "--hop", 1, "--window", 1)
    assert fer_predict(video, *arguments) == 0
    rows = table(tmp_path / "some")
    assert [row["expression"] for row in rows] == ["face"] * 2 + ["both"] * 2 + ["audio"] * 2 + [NEITHER] * 2
    assert [row["audio"] for row in rows] == [*"00111100"]
    content = json.loads((tmp_path / "some" / "expressions.json").read_text())
    assert [row["audio"] for row in content["rows"]] == [False] * 2 + [True] * 4 + [False] * 2
    assert content["settings"]["inputs"] == ["face", "spectrogram"]
    assert content["video"]["audio"] == pytest.approx(8, abs=0.2)
    assert content["summary"][-1] == {"expression": NEITHER, "share": 0.25}
    assert (tmp_path / "some" / "annotated.mp4").stat().st_size > 1000


def test_too_few_faces_are_none_beside_sound(tmp_path, both):
    """Four of ten frames of each second have a face: not enough to speak of it, so the audio speaks alone."""
    faces = [index % 10 < 4 for index in range(30)]
    video = write_video(tmp_path / "few.mp4", pictures(faces), FPS, audio=tone(3, 800))
    arguments = ("--checkpoint", both, "--out", tmp_path, "--hop", 1, "--window", 1, "--no-video")
    assert fer_predict(video, *arguments, "--every", 1) == 0
    rows = table(tmp_path / "few")
    expected = ["both" if float(row["face_share"]) >= 0.5 else "audio" for row in rows]
    assert [row["expression"] for row in rows] == expected


@pytest.mark.skipif(find_spec("opensmile") is None, reason="opensmile is not installed")
def test_descriptors_of_windows(tmp_path):
    from data_modules.audio.opensmile import Descriptors

    run = write_checkpoint(tmp_path / "run", Describer, SETTINGS)
    audio = np.random.default_rng(0).normal(0, 0.1, 2 * AUDIO_RATE).astype(np.float32)
    faces = stored(tmp_path / "store", audio, 20)
    rows = plan_rows(np.arange(20) / FPS, 2.0, window=1.0, hop=0.5)
    found = dict(WindowClassifier(load_trained(run), torch.device("cpu")).predict_rows(faces, rows))
    assert sorted(found) == [0, 1, 2, 3]
    values = np.log1p(np.abs(Descriptors("is09")(faces.audio(0.25, 1.25))[:2]))
    assert found[1] == pytest.approx(np.exp(values) / np.exp(values).sum(), abs=5e-3)


# Nothing to hear


@pytest.mark.parametrize("track", [None, silence(2)], ids=["no track", "silence"])
def test_a_video_without_sound_is_said_to_have_none(tmp_path, ear, both, track, capsys):
    video = write_video(tmp_path / "mute.mp4", pictures([True] * 20), FPS, audio=track)
    assert fer_predict(video, "--checkpoint", ear, "--out", tmp_path / "ear") == 0
    output = capsys.readouterr().out
    assert "a face in 100 % of 20 frames. It has no audio" in output
    assert output.count("no audio") == 1
    assert ("its audio track is silent" in output) == (track is not None)
    rows = table(tmp_path / "ear" / "mute")
    assert {(row["expression"], row["confidence"], row["audio"], row["face_share"]) for row in rows} == {
        (NO_AUDIO, "", "0", "1.00000")
    }
    assert (tmp_path / "ear" / "mute" / "annotated.mp4").stat().st_size > 500

    assert fer_predict(video, "--checkpoint", both, "--out", tmp_path / "both", "--no-video") == 0
    output = capsys.readouterr().out
    assert "no audio" in output
    assert "expressions are of its faces alone. face 100 % of the time" in output
    assert {row["expression"] for row in table(tmp_path / "both" / "mute")} == {"face"}


EYES, EARS = ("face",), ("spectrogram",)
BROKEN = "3 of 9 packets\n of its audio do not decode"


@pytest.mark.parametrize(
    ("inputs", "faces", "audio", "reason", "has_expression", "expected"),
    [
        (EYES, 0, 0.0, "", False, "no face in any of 4 frames, so no expression. Files"),
        (EYES, 4, 0.0, BROKEN, True, "a face in 100 % of 4 frames. anger"),
        (EARS, 0, 0.0, "", False, "no face in any of 4 frames. It has no audio: no expression. Files"),
        (EARS, 2, 1.0, "", True, "a face in 50 % of 4 frames. anger"),
        (
            EARS,
            0,
            1.0,
            BROKEN,
            True,
            r"4 frames. Its audio is not complete (3 of 9 packets\n of its audio do not decode). a",
        ),
        (
            EYES + EARS,
            4,
            0.0,
            "",
            True,
            "% of 4 frames. It has no audio: expressions are of its faces alone. anger 100",
        ),
        (EYES + EARS, 0, 1.0, "", True, "no face in any of 4 frames: expressions are of its audio alone. anger 100"),
        (EYES + EARS, 0, 0.0, "", False, "no face in any of 4 frames. It has no audio: no expression. Files"),
        (
            EYES + EARS,
            1,
            0.0,
            "",
            False,
            f"No row has a face in half of its frames, so all rows are labelled `{NEITHER}`.",
        ),
    ],
)
def test_what_is_said_of_a_video(tmp_path, inputs, faces, audio, reason, has_expression, expected):
    video = VideoFacts("a.mp4", 8, 8, 4.0, 4, 1.0, 0, faces, audio, reason)
    missing = PredictionSettings(ModelFacts("run", "Ear", inputs, "sampler"), "mtcnn", 4, 1.0, 1.0).missing_label
    probabilities = np.array([[1.0, 0.0] if has_expression else [np.nan] * 2])
    shares, heard = np.array([faces / 4]), np.array([audio > 0])
    rows = np.array([0.0]), np.array([1.0])
    timeline = Timeline(("anger", "fear"), *rows, shares, heard, probabilities, missing)
    expressions = recognition(timeline, video, inputs=inputs)
    assert expected in VideoResult(expressions, tmp_path, ("expressions.csv",), 1.0, 1.0).paragraph()


@pytest.mark.parametrize(
    ("frames", "with_face", "text"),
    [
        (1, 1, "a face in its only frame"),
        (1, 0, "no face in its only frame"),
        (1120, 470, "a face in 42 % of 1120 frames"),
        (12, 0, "no face in any of 12 frames"),
    ],
)
def test_faces_in_words(frames, with_face, text):
    assert VideoFacts("a.mp4", 8, 8, 4.0, frames, 1.0, 0, with_face, 0.0, "").face_text == text


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".mp3", ".m4a"])
def test_a_file_of_sound_is_heard_and_no_face_is_drawn(tmp_path, ear, both, suffix, capsys, monkeypatch):
    monkeypatch.setattr("data_modules.faces.models.make_detector", lambda *arguments: pytest.fail("looked for faces"))
    panels = []
    monkeypatch.setattr(
        "fer_lightning.predict.timeline_figure.timeline_figure",
        lambda *arguments: panels.append(len((figure := timeline_figure(*arguments)).axes)) or figure,
    )
    audio = write_audio(tmp_path / f"only{suffix}", np.concatenate([tone(2, 500), tone(2, 6000)]))
    assert fer_predict(audio, "--checkpoint", ear, "--out", tmp_path, "--window", 1) == 0
    rows = table(tmp_path / "only")
    labels = [row["expression"] for row in rows]
    assert labels[:3] == ["anger"] * 3  # windows of [-0.25, 0.75) to [0.75, 1.75)
    assert labels[5:] == ["fear"] * 3  # from [2.25, 3.25) on
    assert float(rows[-1]["end"]) == pytest.approx(4, abs=0.1)
    assert {(row["face_share"], row["audio"], row["yaw"]) for row in rows} == {("", "1", "")}
    content = json.loads((tmp_path / "only" / "expressions.json").read_text())
    assert {row["face_share"] for row in content["rows"]} == {None}
    assert (content["video"]["frames"], content["video"]["width"]) == (0, 0)
    assert panels == [3]  # audio, expressions, probabilities
    assert not (tmp_path / "only" / "annotated.mp4").exists()
    said = capsys.readouterr().out
    assert re.search(r"only\.\w+: 4\.[01] s, sound alone\. \w+ \d+ %, \w+ \d+ % of the time\. ", said)
    assert fer_predict(audio, "--checkpoint", both, "--out", tmp_path / "both") == 0
    assert {row["expression"] for row in table(tmp_path / "both" / "only")} == {"audio"}


def test_files_of_sound_of_no_use_are_refused_by_name(tmp_path, ear, monkeypatch, capsys):
    folder = tmp_path / "files"
    folder.mkdir()
    write_audio(folder / "silent.wav", silence(2))
    (folder / "empty.wav").write_bytes(b"")
    (folder / "broken.flac").write_bytes(b"fLaC" + bytes(99))
    assert fer_predict(folder, "--checkpoint", ear, "--out", tmp_path / "out") == 1
    output = capsys.readouterr().out
    for text in (
        "its audio track is silent; expected a file",
        "found an empty file (0 bytes)",
        "broken.flac: its audio",
    ):
        assert text in output
    assert "3 of 3 videos could not be read" in output
    voice = write_audio(tmp_path / "voice.wav", tone(1, 500))
    monkeypatch.setattr(ModelFacts, "uses_audio", False)
    assert fer_predict(voice, "--checkpoint", ear, "--out", tmp_path / "out") == 1
    assert "found sound alone; expected a video, as the model reads" in capsys.readouterr().out


def test_of_a_folder_with_videos_the_sound_is_left(tmp_path):
    write_audio(tmp_path / "a.wav", tone(1, 500))
    assert find_videos([str(tmp_path)]) == ([tmp_path / "a.wav"], [])
    video = write_video(tmp_path / "b.mp4", pictures([False] * 3), FPS)
    assert find_videos([str(tmp_path)]) == ([video], [])


def test_a_missing_package_is_named_before_any_video_is_read(tmp_path, ear, monkeypatch, capsys):
    def missing(audio):
        raise AudioLibraryNotFoundError("audio needs the package noisereduce")

    monkeypatch.setattr("fer_lightning.predict.windows.check_libraries", missing)
    monkeypatch.setattr("fer_lightning.predict.run.run_in_processes", None)
    video = write_video(tmp_path / "a.mp4", pictures([True] * 3), FPS)
    assert cli.main(["predict", str(video), "--checkpoint", str(ear), "--out", str(tmp_path / "out")]) == 2
    assert "audio needs the package noisereduce" in capsys.readouterr().err


# Pictures of it


def test_an_envelope_is_that_of_the_samples_part_by_part(tmp_path, monkeypatch):
    audio = np.concatenate([tone(3, 50) * np.linspace(0, 1, 3 * AUDIO_RATE, dtype=np.float32), silence(1)])
    faces = stored(tmp_path, audio, 50)  # one second longer than its audio
    longest, read = [], StoredClip.audio

    def watched(self, start=0.0, stop=None):
        longest.append(stop - start)
        return read(self, start, stop)

    monkeypatch.setattr(StoredClip, "audio", watched)
    extremes = envelope(faces, 5.0, columns=100)
    assert max(longest) == pytest.approx(0.05)
    parts = audio.reshape(80, -1)
    assert extremes[:80] == pytest.approx(np.stack([parts.min(1), parts.max(1)], 1), abs=1e-4)
    assert np.isnan(extremes[80:]).all()
    assert len(envelope(faces, 0.01)) == 20  # not more columns than there are samples to show
    assert np.isnan(envelope(stored(tmp_path / "mute", None, 50), 5.0)).all()


def test_rows_with_a_sound(tmp_path):
    faces = stored(tmp_path, np.concatenate([silence(1), tone(1, 300), silence(1)]), 50)
    rows = plan_rows(np.arange(50) / FPS, 5.0, window=1.0, hop=1.0)
    assert faces.has_audio(rows).tolist() == [False, True, False, False, False]


def test_models_that_share_rows_read_the_audio_once(tmp_path, monkeypatch):
    faces, reads, read = stored(tmp_path, tone(3, 300), 50), [], StoredClip.audio
    rows, others = (plan_rows(np.arange(50) / FPS, 5.0, window=hop, hop=hop) for hop in (1.0, 2.5))
    monkeypatch.setattr(StoredClip, "audio", lambda *arguments: reads.append(arguments) or read(*arguments))
    expected = [True, True, True, False, False]
    assert [faces.has_audio(rows).tolist() for _ in range(3)] == [expected] * 3
    assert len(reads) == sum(expected)
    assert faces.has_audio(others).tolist() == [True, True]  # other rows, other answer


def test_the_picture_has_a_strip_for_sound(tmp_path, ear, monkeypatch):
    figures = []
    monkeypatch.setattr(
        "fer_lightning.predict.timeline_figure.timeline_figure",
        lambda *arguments: figures.append(timeline_figure(*arguments)) or figures[-1],
    )
    loud = write_video(tmp_path / "loud.mp4", pictures([True] * 20), FPS, audio=tone(1, 500))
    mute = write_video(tmp_path / "mute.mp4", pictures([True] * 20), FPS)
    assert fer_predict(loud, mute, "--checkpoint", ear, "--out", tmp_path, "--no-video") == 0
    texts = [[text.get_text() for axes in figure.axes for text in axes.texts] for figure in figures]
    assert [len(figure.axes) for figure in figures] == [4, 4]
    assert "audio" in texts[0]
    wave = figures[0].axes[1].collections[0].get_paths()[0].vertices
    assert wave[:, 0].max() == pytest.approx(1, abs=0.1)  # the tone is over after a second
    assert wave[:, 1].max() == pytest.approx(0.4, abs=0.05)
    assert texts[1].count(NO_AUDIO) == 3  # in the strip, the band and the probabilities
