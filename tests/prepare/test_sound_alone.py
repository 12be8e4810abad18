"""Data sets of sound alone: prepared, examined, trained on and reported without looking for a face anywhere."""

import csv
import os
from pathlib import Path

import numpy as np
import pytest

from data_modules.datasets.cremad import CREMADAudio
from data_modules.datasets.doctor import examine
from data_modules.datasets.ravdess import RAVDESSAudio
from data_modules.faces.settings import FaceSettings
from data_modules.loading.datamodule import VideoDataModule
from data_modules.prepare.faces import prepare_faces, store_for
from data_modules.sampling import MiddleFrameSampler
from data_modules.store.clip_file import SILENT
from fer_lightning.cli.main import main
from tests.fakes import MISPLACED_VOICE, put_video, write_cremad, write_ravdess_audio
from tests.videos import write_audio

REAL = Path(os.environ.get("FER_TEST_REAL", "/nowhere"))
HEARD = FaceSettings(detector="none")
SILENT_ONE, EMPTY, BROKEN, PICTURES = (f"03-01-0{code}-01-02-01-01" for code in (1, 2, 3, 4))


@pytest.fixture(autouse=True)
def no_faces_are_looked_for(monkeypatch):
    for name in ("data_modules.faces.models.make_detector", "data_modules.prepare.clip_preparer.open_clip"):
        monkeypatch.setattr(name, lambda *arguments: pytest.fail("a picture was looked at"))


@pytest.fixture
def ravdess(tmp_path):
    """A copy in which four files of the first actor have something wrong with them."""
    root = tmp_path / "data" / "ravdess_audio"
    write_ravdess_audio(root, actors=24)
    folder = root / "Actor_01"
    write_audio(folder / f"{SILENT_ONE}.wav", np.zeros(4096, np.float32))
    (folder / f"{EMPTY}.wav").write_bytes(b"")
    (folder / f"{BROKEN}.wav").write_bytes(b"RIFF" + bytes(range(256)))
    put_video(folder / "video.mp4")
    (folder / "video.mp4").rename(folder / f"{PICTURES}.wav")
    return root


def test_it_is_prepared_and_what_is_wrong_is_said(ravdess, capsys):
    assert main(["data", "prepare", "ravdess_audio", "--workers", "0"]) == 0
    output, store = capsys.readouterr().out, store_for(RAVDESSAudio(ravdess, faces=HEARD))
    index = store.read_index()
    assert len(index) == 24 * 8
    good = [summary for name, summary in index.items() if name not in (SILENT_ONE, EMPTY, BROKEN, PICTURES)]
    assert {(s.num_frames, s.num_faces, s.width, s.reason, s.audio_reason) for s in good} == {(0, 0, 0, "", "")}
    assert {round(summary.audio, 2) for summary in good} == {0.51}  # 8192 samples, whether as WAV or as FLAC
    samples = store.open("03-01-05-01-02-01-02").audio()  # FLAC, a tone of 1000 Hz
    assert np.abs(np.fft.rfft(samples)).argmax() * 16000 / len(samples) == pytest.approx(1000, abs=2)
    reasons = {name: index[name].reason or index[name].audio_reason for name in (SILENT_ONE, EMPTY, BROKEN, PICTURES)}
    assert reasons[SILENT_ONE] == SILENT
    for name, expected in ((EMPTY, "an empty file (0 bytes)"), (BROKEN, "260 bytes"), (PICTURES, "no audio track")):
        assert f"{name}.wav" in reasons[name]
        assert expected in reasons[name]
    reasons[MISPLACED_VOICE] = "left out, as the file is in the folder of another person"
    assert f"ravdess_audio: {reasons[MISPLACED_VOICE]}: {MISPLACED_VOICE}" in output
    with (store.folder / "quarantine.csv").open(newline="") as file:
        assert {row["clip_id"]: row["reason"] for row in csv.DictReader(file)} == reasons
    assert "ravdess_audio: 188 of 192 clips have audio, 1 have a silent audio track; 0.5 s on average" in output
    assert "face" not in output
    assert not list(store.folder.glob("contact_sheet*"))


def test_the_doctor_hears_all_of_it(ravdess, tmp_path):
    findings = {finding.kind: finding for finding in examine(RAVDESSAudio(ravdess), 0).findings}
    assert set(findings["unreadable"].clips) == {EMPTY, BROKEN, PICTURES}
    assert findings["silent"].clips == (SILENT_ONE,)
    assert "short" not in findings
    assert findings["misplaced"].severity == "note"
    assert findings["misplaced"].clips == (MISPLACED_VOICE,)
    write_cremad(tmp_path / "cremad_audio")
    assert {finding.kind for finding in examine(CREMADAudio(tmp_path / "cremad_audio"), 0).findings} <= {
        "counts",
        "identical files",  # the fake's voices are the same
    }


def test_a_training_reads_the_sound_and_reports_no_faces(ravdess, tmp_path):
    tiny = {
        "model.init_args.backbone.init_args.channels": "[4,4,4,4]",
        "data.audio.size": "32",
        "data.audio.reduce_noise": "false",
        "data.audio.speech": "false",
        "data.num_workers": "0",
        "trainer.max_epochs": "1",
        "trainer.limit_train_batches": "2",
        "trainer.logger": "false",
    }
    options = [part for key, value in tiny.items() for part in (f"--{key}", value)]
    assert not main(["train", "spectrogram_ravdess_audio", "--size", "small", *options])
    run = tmp_path / "runs" / "spectrogram_ravdess_audio.small" / "1-0"
    with (run / "predictions" / "test.csv").open(newline="") as file:
        rows = {row["clip_id"]: row for row in csv.DictReader(file)}
    assert len(rows) == 4 * 8
    assert {row["subject"] for row in rows.values()} == {f"Actor_{number:02d}" for number in range(1, 5)}
    missing = {name: row["reason"] for name, row in rows.items() if row["predicted"] == "none"}
    assert missing.keys() == {SILENT_ONE, EMPTY, BROKEN, PICTURES}
    assert missing[SILENT_ONE] == SILENT
    assert "an empty file (0 bytes)" in missing[EMPTY]
    page = (run / "report" / "index.html").read_text()
    assert "In no clip was a face looked for, or none was found." in page
    assert not (run / "report" / "coverage.png").exists()


def test_a_model_of_faces_is_refused_before_anything_is_prepared(ravdess):
    data = VideoDataModule(RAVDESSAudio(ravdess, faces=HEARD), MiddleFrameSampler())
    with pytest.raises(ValueError, match="the model needs face, but ravdess_audio is prepared without pictures"):
        data.prepare_data()


@pytest.mark.skipif(not REAL.is_dir(), reason="FER_TEST_REAL names no folder")
def test_real_voices():
    root = REAL / "ravdess"
    for fold in range(1, 7):
        records = RAVDESSAudio(root, str(fold), protocol="consecutive").records()
        tested = {record.subject for record in records if record.split == "test"}
        assert len(records) == 1440
        assert sorted(int(name[-2:]) % 2 for name in tested) == [0, 0, 1, 1]  # odd numbers are men
    dataset = RAVDESSAudio(root, faces=HEARD)
    summaries = prepare_faces(dataset, 0, limit=3).read_index().values()
    assert all(2.5 < summary.audio < 6 and not summary.audio_reason for summary in summaries)
