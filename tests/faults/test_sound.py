"""Missing, unusual and damaged sound, all in one folder, through `fer data prepare` and `fer predict`."""

import json
from pathlib import Path

import av
import numpy as np
import pytest

from data_modules.video.audio_track import read_audio
from tests.faults.commands import Ended, index_of, predict, prepare_own, prepared_store, quarantined
from tests.faults.sounds import PICTURES, SOUNDS, write_changing
from tests.predict.test_predict_sound import SETTINGS, EyeAndEar, write_checkpoint

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def videos(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("own") / "fear"
    folder.mkdir()
    for name, (write, *_) in SOUNDS.items():
        write(folder / name)
    return folder


@pytest.fixture(scope="module")
def prepared(videos) -> Path:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FER_STORE", str(videos.parent / ".store"))
        assert prepare_own(videos.parent).status == 0
    return videos.parent / ".store"


@pytest.fixture(scope="module")
def predicted(videos, tmp_path_factory) -> tuple[Ended, Path]:
    """What a model that hears and sees gives, with annotated videos."""
    run = write_checkpoint(tmp_path_factory.mktemp("both") / "1-0", EyeAndEar, SETTINGS)
    out = tmp_path_factory.mktemp("predicted")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FER_TRUSTED_MODULES", "tests")
        return predict(videos, run, out), out


@pytest.mark.parametrize("name", SOUNDS)
def test_the_pictures_stay_whatever_the_sound_is(prepared, predicted, name):
    _, seconds, reason = SOUNDS[name]
    clip_id = f"fear/{Path(name).stem}"
    row = index_of(prepared)[clip_id]
    assert (row.num_frames, row.num_faces, row.broken, row.missing) == (PICTURES, PICTURES, 0, 0)
    assert row.audio == pytest.approx(seconds, abs=0.13)  # AAC works in packets of 1024
    assert (reason in row.audio_reason) if reason else not row.audio_reason
    assert (clip_id in quarantined(prepared)) == row.has_damaged_audio
    samples = prepared_store(prepared).open(clip_id).audio()
    if seconds:
        assert np.isfinite(samples).all()
        tone = np.abs(np.fft.rfft(samples)).argmax() * 16000 / len(samples)
        assert tone == pytest.approx(440, abs=4), "at another rate it would be another tone"
    ended, out = predicted
    assert ended.status == 0, ended.out
    content = json.loads((out / Path(name).stem / "expressions.json").read_text())
    assert content["video"]["audio"] == pytest.approx(row.audio, abs=0.01)
    with av.open(str(out / Path(name).stem / "annotated.mp4")) as file:
        assert sum(1 for _ in file.decode(video=0)) == PICTURES


def test_a_track_that_changes_its_rate_and_layout_keeps_its_tones(tmp_path):
    audio = read_audio(write_changing(tmp_path / "changing.aac"))
    assert len(audio) / 16000 == pytest.approx(2, abs=0.25)  # each part with what its encoder adds
    for part, hertz in ((audio[2000:14000], 440), (audio[-14000:-2000], 880)):
        assert np.abs(np.fft.rfft(part)).argmax() * 16000 / 12000 == pytest.approx(hertz, abs=3)
