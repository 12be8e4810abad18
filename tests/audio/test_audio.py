"""Speech, spectrograms and descriptors, their files, and batches with clips that lack some of them."""

import os
import sys
from csv import DictReader
from dataclasses import fields, replace
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace

import av
import numpy as np
import pytest
import pytorch_lightning as L
import scipy.signal
import torch

from data_modules.audio.fields import FIELDS
from data_modules.audio.opensmile import Descriptors
from data_modules.audio.settings import AUDIO_RATE, AudioSettings
from data_modules.audio.spectrogram import magnitudes, spectrogram
from data_modules.audio.speech import AudioLibraryNotFoundError, detect_voice, extract_speech, remove_noise
from data_modules.faces.settings import FaceSettings
from data_modules.loading.batch import AUDIO_INPUTS, INPUTS, MODALITIES, ClipBatch
from data_modules.loading.datamodule import VideoDataModule
from data_modules.manifest import VideoRecord
from data_modules.prepare.audio import prepare_audio
from data_modules.prepare.faces import prepare_faces
from data_modules.sampling import AllFramesSampler, RandomSampler, SegmentSampler
from data_modules.store.audio_cache import FAILED, AudioCache, FieldFiles
from data_modules.store.clip_file import SILENT
from data_modules.synthetic.dynamics import speech as sample_speech
from data_modules.synthetic.voice import Voice, speak
from data_modules.video.audio_track import read_audio
from tests.prepare.test_prepare import Clips
from tests.videos import numbered_frame, truth_of, write_video

PLAIN = AudioSettings(reduce_noise=False, speech=False, size=32)


def tone(seconds: float, frequency: float = 1000, rate: int = AUDIO_RATE, loudness: float = 0.5) -> np.ndarray:
    return (loudness * np.sin(2 * np.pi * frequency * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def voice(seconds: float, seed: int = 0, pitch: float = 150) -> tuple[np.ndarray, np.ndarray]:
    """A rendered voice, and where it speaks."""
    rng = np.random.default_rng(seed)
    words = sample_speech(seconds, 4.0, rng)
    audio = speak(words, seconds, Voice(pitch), rng)
    return audio, words.loudness(np.arange(len(audio), dtype=np.float32) / AUDIO_RATE) > 0.05


def pink(count: int, seed: int = 0) -> np.ndarray:
    return scipy.signal.lfilter([1], [1, -0.95], np.random.default_rng(seed).standard_normal(count))


def signal_to_noise(signal: np.ndarray, clean: np.ndarray) -> float:
    """Decibels, independent of the loudness of the signal."""
    share = np.corrcoef(signal, clean)[0, 1] ** 2
    return float(10 * np.log10(share / (1 - share)))


# Speech


@pytest.mark.parametrize("decibels", [0, 10])
def test_noise_is_reduced(decibels):
    clean, spoken = voice(3)
    for noise in (pink(len(clean)), np.random.default_rng(1).standard_normal(len(clean))):
        noise = noise / noise.std() * clean[spoken].std() * 10 ** (-decibels / 20)
        noisy = (clean + noise).astype(np.float32)
        reduced = remove_noise(noisy)
        assert reduced.shape == noisy.shape
        assert reduced.dtype == np.float32
        assert signal_to_noise(reduced, clean) > signal_to_noise(noisy, clean) + 1


def test_pauses_are_cut_and_voices_stay():
    kept_speech, kept_pauses = [], []
    for seed in range(4):
        audio, spoken = voice(4, seed, pitch=110 + 30 * seed)
        pause = np.zeros(AUDIO_RATE, np.float32)  # and a second of silence at either end
        voiced = detect_voice(np.concatenate([pause, audio, pause]))
        kept_speech.append(voiced[AUDIO_RATE:-AUDIO_RATE][spoken].mean())
        kept_pauses.append(voiced[: AUDIO_RATE // 2].mean())
    assert np.mean(kept_speech) > 0.9
    assert np.mean(kept_pauses) < 0.1


def test_audio_without_a_voice_is_kept_whole():
    quiet = (1e-4 * np.random.default_rng(0).standard_normal(8000)).astype(np.float32)
    assert detect_voice(quiet).all()
    assert len(extract_speech(quiet, AudioSettings(reduce_noise=False))) == 8000


@pytest.mark.parametrize("count", [0, 1, 100, 479, 481, 700])
def test_short_sounds_and_silence_go_through(count):
    for samples in (np.zeros(count, np.float32), tone(1)[:count]):
        speech = extract_speech(samples, AudioSettings())
        assert len(speech) <= count
        assert np.isfinite(speech).all()
        assert spectrogram(speech, AudioSettings()).shape == (224, 224)


def test_a_missing_package_is_named_with_its_extra(monkeypatch):
    for package in ("noisereduce", "webrtcvad", "opensmile"):
        monkeypatch.setitem(sys.modules, package, None)
    samples = tone(0.5)
    assert extract_speech(samples, PLAIN) is samples
    for setting, package in (("reduce_noise", "noisereduce"), ("speech", "webrtcvad")):
        message = rf"{package}.*fer_lightning\[audio\].*data\.audio\.{setting}: false"
        with pytest.raises(AudioLibraryNotFoundError, match=message):
            extract_speech(samples, replace(PLAIN, **{setting: True}))
    with pytest.raises(AudioLibraryNotFoundError, match=r"opensmile.*fer_lightning\[opensmile\]"):
        Descriptors("is09")


@pytest.mark.parametrize("wrong", [{"size": 0}, {"window": 0.01, "hop": 0.02}, {"decibels": 0}, {"max_seconds": 0}])
def test_impossible_settings_are_refused(wrong):
    with pytest.raises(ValueError, match="expected"):
        AudioSettings(**wrong)


# Spectrogram


@pytest.mark.parametrize(("window", "hop", "count"), [(400, 160, 16000), (401, 100, 5000), (256, 256, 1000)])
def test_magnitudes_are_those_of_scipy(window, hop, count):
    samples = np.random.default_rng(0).standard_normal(count).astype(np.float32)
    _, _, expected = scipy.signal.spectrogram(
        samples, AUDIO_RATE, "hann", window, window - hop, detrend=False, scaling="spectrum", mode="magnitude"
    )
    expected *= scipy.signal.get_window("hann", window).sum()
    computed = magnitudes(samples, window, hop)
    assert computed.shape == expected.shape
    np.testing.assert_allclose(computed, expected, rtol=1e-3, atol=1e-3)


def test_the_picture_is_what_scipy_gives_on_a_fixed_scale():
    samples, _ = voice(2.0)
    _, _, magnitude = scipy.signal.spectrogram(
        samples, AUDIO_RATE, "hann", 400, 240, detrend=False, scaling="spectrum", mode="magnitude"
    )
    decibels = 20 * np.log10(np.maximum(magnitude / magnitude.max(), 1e-4))
    size = 201  # as many rows as frequencies, so that only time is resized
    picture = spectrogram(samples, AudioSettings(size=size))
    grey = np.flipud(255 * (1 + decibels / 80))
    columns = (np.arange(size) + 0.5) * grey.shape[1] / size - 0.5
    expected = np.stack([np.interp(columns, np.arange(grey.shape[1]), row) for row in grey])
    assert np.abs(picture - expected).mean() < 1
    assert np.abs(picture - expected).max() < 3


def test_low_frequencies_are_below_and_time_goes_right():
    audio = np.concatenate([tone(0.5, 1000), tone(0.5, 5000)])
    picture = spectrogram(audio, AudioSettings()).astype(float)
    rows = 224 - picture.argmax(axis=0) - 0.5  # from below
    assert rows[20:100] * 8000 / 224 == pytest.approx(1000, abs=60)
    assert rows[124:204] * 8000 / 224 == pytest.approx(5000, abs=60)


def test_greys_are_decibels_below_the_loudest():
    audio = tone(1, 1000) + tone(1, 4000, loudness=0.005)  # 40 dB less
    picture = spectrogram(audio, AudioSettings(size=201))
    assert picture[201 - 26].mean() == pytest.approx(255, abs=3)
    assert picture[201 - 101].mean() == pytest.approx(255 * (1 - 40 / 80), abs=3)
    np.testing.assert_array_equal(picture, spectrogram(audio / np.float32(8), AudioSettings(size=201)))


def test_silence_is_black_and_a_short_click_is_not():
    assert not spectrogram(np.zeros(16000, np.float32), AudioSettings()).any()
    assert not spectrogram(np.zeros(0, np.float32), AudioSettings()).any()
    click = spectrogram(tone(0.01), AudioSettings())
    assert click.shape == (224, 224)
    assert click.max() > 200


def write_track(path: Path, audio: np.ndarray, rate: int, layout: str) -> Path:
    """The audio in each channel, uncompressed."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream("pcm_s16le", rate=rate, layout=layout)
        channels = stream.layout.nb_channels
        data = np.repeat((audio * 32767).astype(np.int16), channels)[None]
        frame = av.AudioFrame.from_ndarray(data, format="s16", layout=layout)
        frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
        file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


@pytest.mark.parametrize(
    ("rate", "layout"), [(8000, "mono"), (16000, "mono"), (44100, "stereo"), (48000, "5.1"), (96000, "stereo")]
)
def test_any_rate_and_number_of_channels_sounds_alike(tmp_path, rate, layout):
    chord = tone(1, 700, rate) + tone(1, 2500, rate, loudness=0.1)
    audio = read_audio(write_track(tmp_path / "s.mkv", chord, rate, layout))
    assert audio is not None
    assert len(audio) == pytest.approx(AUDIO_RATE, abs=50)
    image = spectrogram(audio[800:15200], PLAIN).astype(float)
    expected = spectrogram((tone(1, 700) + tone(1, 2500, loudness=0.1))[800:15200], PLAIN)
    loud = expected > 128  # a resampler adds much softer artefacts
    assert np.abs(image - expected)[loud].max() < 8


# Descriptors


def sawtooth(pitch: float) -> np.ndarray:
    return (0.4 * scipy.signal.sawtooth(2 * np.pi * pitch * np.arange(2 * AUDIO_RATE) / AUDIO_RATE)).astype(np.float32)


@pytest.mark.parametrize(
    ("functionals", "size", "name", "factor"),
    [("is09", 384, "pcm_zcr_sma_amean", 2 / AUDIO_RATE), ("is10", 1582, "F0final_sma_percentile99.0", 1)],
)
def test_opensmile_gives_as_many_values_as_the_paper(functionals, size, name, factor):
    """Zero crossings and pitch of a sawtooth are known; its other values are those of the library called directly."""
    opensmile = pytest.importorskip("opensmile")
    describe = Descriptors(functionals)
    own = opensmile.Smile(opensmile.FeatureSet[functionals.upper()], opensmile.FeatureLevel.Functionals)
    for pitch in (150, 300):
        values = describe(sawtooth(pitch))
        assert values.shape == (size,)
        assert values.dtype == np.float32
        frame = own.process_signal(sawtooth(pitch), AUDIO_RATE)
        np.testing.assert_allclose(values, frame.to_numpy()[0], rtol=1e-5)
        assert values[list(frame.columns).index(name)] == pytest.approx(pitch * factor, rel=0.05)


def test_too_little_speech_for_descriptors_is_an_error():
    pytest.importorskip("opensmile")
    with pytest.raises(ValueError, match=r"0\.050 s of speech"):
        Descriptors("is09")(tone(0.05))


# Files


@pytest.fixture(autouse=True)
def own_store(tmp_path, monkeypatch):
    monkeypatch.setenv("FER_STORE", str(tmp_path / "store"))


def clip(root: Path, name: str, audio: np.ndarray | None, split: str = "train", faces: bool = True) -> VideoRecord:
    """A video of 12 frames; the face is visible in all of them or in none."""
    root.mkdir(exist_ok=True)
    write_video(root / f"{name}.mp4", [numbered_frame(i) for i in range(12)], audio=audio)
    truth_of(12, hidden=() if faces else range(12)).save(root / f"{name}.safetensors")
    emotion = "happiness" if len(name) % 2 else "sadness"
    return VideoRecord(name, f"{name}.mp4", emotion, split=split, truth=f"{name}.safetensors")


@pytest.fixture
def clips(tmp_path):
    """Clips with a face and audio, only a face, only audio, a silent track, neither, and too little audio."""
    root, spoken = tmp_path / "clips", voice(0.6)[0]
    records = [
        clip(root, "both", spoken),
        clip(root, "longer", voice(2.0)[0]),
        clip(root, "face", None),
        clip(root, "audio", spoken, faces=False),
        clip(root, "silent", np.zeros(8000, np.float32)),
        clip(root, "nothing", None, faces=False),
        clip(root, "click", tone(0.07)),
        clip(root, "test1", spoken, "test"),
        clip(root, "test22", None, "test"),
    ]
    return Clips(root, faces=FaceSettings("annotation", size=48), clips=records)


def for_model(clips: Clips, *inputs: str, **options) -> VideoDataModule:
    """A data module for a model of these inputs, prepared."""
    defaults = {"sampler": SegmentSampler(4), "batch_size": 3, "size": 32, "num_workers": 0, "selection": "last"}
    data = VideoDataModule(clips, **({"audio": PLAIN} | defaults | options))
    data.inputs = frozenset(inputs)
    data.prepare_data()
    data.setup()
    return data


def rows(data: VideoDataModule, loader) -> dict[str, SimpleNamespace]:
    """Clip id -> its row of every field, as the model receives it."""
    result = {}
    for batch in loader:
        for row, name in enumerate(batch.clip_id):
            values = {key: value[row] for key, value in vars(batch).items() if isinstance(value, torch.Tensor)}
            result[name] = SimpleNamespace(**values)
    return result


def test_incomplete_clips_are_batched_with_complete_ones(clips):
    data = for_model(clips, "face", "spectrogram")
    loaded = rows(data, data.fitting_dataloader())
    assert set(loaded) == {"both", "longer", "face", "audio", "silent", "click"}
    assert MODALITIES == ("face", "audio")
    present = {name: tuple(row.present.tolist()) for name, row in loaded.items()}
    assert present == {
        "both": (True, True),
        "longer": (True, True),
        "face": (True, False),
        "audio": (False, True),
        "silent": (True, False),
        "click": (True, True),
    }
    store = prepare_faces(clips, 0)
    for name, row in loaded.items():
        has_face, has_audio = present[name]
        assert row.face.shape == (4, 3, 32, 32)
        assert row.mask.tolist() == [has_face] * 4
        assert (row.frame_index >= 0).tolist() == [has_face] * 4
        assert row.spectrogram.shape == (3, 32, 32)
        assert row.spectrogram.dtype == torch.uint8
        assert row.face.dtype == torch.uint8
        grey = spectrogram(store.open(name).audio(), PLAIN) if has_audio else np.zeros((32, 32))
        np.testing.assert_array_equal(row.spectrogram, np.broadcast_to(grey, (3, 32, 32)))
    alone = rows(data, data.loader(data.clip_dataset("train"), batches=[[i] for i in range(6)]))
    assert all(torch.equal(alone[name].spectrogram, row.spectrogram) for name, row in loaded.items())
    assert all(torch.equal(alone[name].face, row.face) for name, row in loaded.items())
    assert [c.record.clip_id for c in data.without_input("train")] == ["nothing"]
    assert data.without_input("train")[0].reason == "no face found in 12 frames; no audio track"


def test_a_model_of_audio_alone_gets_no_clip_without_sound(clips):
    data = for_model(clips, "spectrogram")
    loaded = rows(data, data.fitting_dataloader())
    assert set(loaded) == {"both", "longer", "audio", "click"}
    assert all(row.present[1] and not hasattr(row, "face") for row in loaded.values())
    reasons = {c.record.clip_id: c.reason for c in data.without_input("train")}
    assert reasons == {"face": "no audio track", "silent": SILENT, "nothing": "no audio track"}


def test_a_model_without_audio_gets_no_sound_and_needs_no_files(clips):
    data = for_model(clips, "face")
    batch = next(iter(data.train_dataloader()))
    assert batch.spectrogram is None
    assert batch.descriptor is None
    assert batch.present is None
    assert not (data.store.folder / "audio").exists()


def test_a_model_of_audio_needs_a_set_prepared_with_sound(clips):
    clips.faces = replace(clips.faces, audio=False)
    with pytest.raises(ValueError, match=r"needs spectrogram.*faces\.audio: true"):
        for_model(clips, "face", "spectrogram")


@pytest.mark.parametrize(
    ("sampler", "frames"),
    [(AllFramesSampler(), (12, 1)), (RandomSampler(3, eval_views=2), (3, 3)), (SegmentSampler(5), (5, 5))],
)
def test_views_share_their_audio_and_mask_missing_frames(clips, sampler, frames):
    data = for_model(clips, "face", "spectrogram", sampler=sampler)
    samples = {sample.clip_id[0]: sample for sample in data.clip_dataset("train")}
    assert {name: samples[name].mask.shape for name in ("both", "audio")} == {
        "both": (sampler.eval_views, frames[0]),
        "audio": (sampler.eval_views, frames[1]),
    }
    assert samples["both"].spectrogram.shape == (sampler.eval_views, 3, 32, 32)
    batch = next(iter(data.loader(data.clip_dataset("train"), batches=[[0, 2, 3]])))  # both, face, audio
    views = sampler.eval_views
    assert batch.mask.shape == batch.face.shape[:2] == (3 * views, frames[0])
    assert batch.present.tolist() == [[True, True]] * views + [[True, False]] * views + [[False, True]] * views
    assert not batch.mask[2 * views :].any()
    assert batch.intensity.isnan()[2 * views :, : frames[1]].all()  # unknown without a face


def test_descriptors_are_made_once_and_failures_are_counted(clips, capsys, monkeypatch):
    pytest.importorskip("opensmile")
    data = for_model(clips, "face", "descriptor")
    out = capsys.readouterr().out
    assert "click: no descriptor: 0.0" in out
    assert "clips: descriptor of 4 of 9 clips; 4 have no audio" in out
    loaded = rows(data, data.fitting_dataloader())
    assert loaded["both"].descriptor.shape == (384,)
    expected = Descriptors("is09")(data.store.open("both").audio())
    np.testing.assert_allclose(loaded["both"].descriptor, expected, rtol=1e-6)
    for name in ("click", "face", "silent"):
        assert not loaded[name].descriptor.any()
        assert loaded[name].present.tolist() == [True, False]
    monkeypatch.setattr("data_modules.prepare.audio.AudioPreparer", lambda *_: pytest.fail("computed them again"))
    for_model(clips, "face", "descriptor")
    audio_only = for_model(clips, "descriptor")
    reasons = {c.record.clip_id: c.reason for c in audio_only.without_input("train")}
    assert reasons["click"].startswith("no descriptor: 0.0")
    assert "click" not in rows(audio_only, audio_only.fitting_dataloader())


def test_what_is_missing_is_made_and_what_is_there_stays(clips):
    store = prepare_faces(clips, 0)
    audio_cache = AudioCache.from_store(store, PLAIN)
    fields = frozenset({"spectrogram"})
    prepare_audio(store, audio_cache, fields, 0, "clips")
    path = {name: audio_cache.files["spectrogram"].path(name) for name in ("both", "longer")}
    before = path["both"].stat().st_mtime_ns
    path["longer"].unlink()
    prepare_audio(store, audio_cache, fields, 2, "clips")  # as after a killed run, in processes
    assert path["longer"].exists()
    assert path["both"].stat().st_mtime_ns == before


def test_a_clip_that_failed_is_tried_again_when_it_changed(clips):
    store = prepare_faces(clips, 0)
    audio_cache = AudioCache.from_store(store, PLAIN)
    files = audio_cache.files["spectrogram"]
    prepare_audio(store, audio_cache, frozenset({"spectrogram"}), 0, "clips")
    files.path("both").unlink()
    files.write_failures({"both": "the disk was full"})
    prepare_audio(store, audio_cache, frozenset({"spectrogram"}), 0, "clips")
    assert not files.has("both")
    assert audio_cache.read(store.open("both"), "spectrogram") is None
    later = files.failed.stat().st_mtime + 10
    os.utime(store.path("both"), (later, later))
    prepare_audio(store, audio_cache, frozenset({"spectrogram"}), 0, "clips")
    assert files.has("both")
    assert files.failures() == {}


def test_a_table_of_failures_is_read_once_and_again_when_it_changed(tmp_path, monkeypatch):
    files, other = (AudioCache(PLAIN, tmp_path).files["spectrogram"] for _ in range(2))
    assert files.failures() == {}
    reads = []
    monkeypatch.setattr(
        "data_modules.store.audio_cache.csv",
        SimpleNamespace(DictReader=lambda file: reads.append(1) or DictReader(file)),
    )
    for number, failures in enumerate(({"a": "too short"}, {"b": "too short"}, {}), start=1):
        other.write_failures(failures)
        assert [files.failures() for _ in range(3)] == [failures] * 3
        assert len(reads) == number
    files.failed.unlink()
    assert files.failures() == {}


def test_a_crash_in_a_process_is_reported(clips, monkeypatch, capsys):
    store = prepare_faces(clips, 0)
    audio_cache = AudioCache.from_store(store, PLAIN)

    def broken(speech):
        raise OSError("no space left on device")

    monkeypatch.setattr(FieldFiles, "make", property(lambda self: broken))
    prepare_audio(store, audio_cache, frozenset({"spectrogram"}), 0, "clips")
    assert "both: no spectrogram: OSError: no space left on device" in capsys.readouterr().out
    assert (audio_cache.files["spectrogram"].folder / FAILED).read_text().count("no space") == 5


def folder_name(field: str, audio: AudioSettings) -> str:
    return AudioCache(audio, Path("audio")).files[field].folder.name


def test_a_folder_is_named_after_all_that_made_its_files(monkeypatch):
    changes = {"reduce_noise": True, "speech": True, "max_seconds": 5.0}
    pictures = {"size": 64, "window": 0.05, "hop": 0.005, "decibels": 60.0}
    sets, bands = {"functionals": "is10"}, {"bands": 40}
    frames = {"window": 0.05, "hop": 0.005} | bands
    assert set(changes | pictures | sets | bands) == {setting.name for setting in fields(AudioSettings)}
    for field, relevant, irrelevant in (
        ("spectrogram", changes | pictures, sets | bands),
        ("descriptor", changes | sets, pictures | bands),
        ("log_mel", changes | frames, sets | {"size": 64, "decibels": 60.0}),
    ):
        plain = folder_name(field, PLAIN)
        names = {folder_name(field, replace(PLAIN, **{key: value})) for key, value in relevant.items()}
        assert len(names | {plain}) == len(relevant) + 1
        assert {folder_name(field, replace(PLAIN, **{key: value})) for key, value in irrelevant.items()} == {plain}
    plain = folder_name("descriptor", PLAIN)
    monkeypatch.setattr("data_modules.store.audio_cache.version", lambda package: "9")
    assert folder_name("descriptor", PLAIN) != plain


@pytest.mark.parametrize(
    ("settings", "names"),
    [
        ({}, {"descriptor": "is09-7929f50075", "spectrogram": "spectrogram-02371c8f3b"}),
        (
            {"reduce_noise": False, "speech": False, "size": 32},
            {"descriptor": "is09-5c0e84e8d1", "spectrogram": "spectrogram-4bd21a790b"},
        ),
        (
            {"functionals": "is10", "speech": False, "max_seconds": 5.0}
            | {"size": 64, "window": 0.05, "hop": 0.005, "decibels": 60.0},
            {"descriptor": "is10-8449aa97f0", "spectrogram": "spectrogram-7748c7380a"},
        ),
        ({"reduce_noise": False}, {"descriptor": "is09-5b0533f32f", "spectrogram": "spectrogram-88fd7084fc"}),
    ],
)
def test_folders_of_earlier_versions_are_found(settings, names, monkeypatch):
    monkeypatch.setattr("data_modules.store.audio_cache.version", lambda package: "1")
    assert {field: folder_name(field, AudioSettings(**settings)) for field in names} == names


def test_each_audio_input_is_described_by_one_object():
    assert set(FIELDS) == AUDIO_INPUTS
    for name, field in FIELDS.items():
        modality, values = INPUTS[name], field.placeholder(PLAIN)
        assert field.name == name
        assert values.shape == modality.placeholder(AudioCache(PLAIN)).shape[-values.ndim :]


def test_without_files_a_field_is_made_when_it_is_read(clips, caplog):
    pytest.importorskip("opensmile")
    store = prepare_faces(clips, 0)
    audio_cache = AudioCache(PLAIN)
    image = audio_cache.read(store.open("both"), "spectrogram")
    np.testing.assert_array_equal(image, spectrogram(store.open("both").audio(), PLAIN))
    assert audio_cache.read(store.open("face"), "spectrogram") is None
    assert audio_cache.read(store.open("click"), "descriptor") is None
    assert "clip 'click' has no descriptor" in caplog.text


def test_only_the_first_seconds_are_used(clips):
    store = prepare_faces(clips, 0)
    image = AudioCache(replace(PLAIN, max_seconds=0.5)).read(store.open("longer"), "spectrogram")
    np.testing.assert_array_equal(image, spectrogram(store.open("longer").audio(0, 0.5), PLAIN))


class AudioModel(L.LightningModule):
    """The smallest model of faces and audio."""

    inputs = frozenset({"face", "spectrogram", "descriptor"})

    def __init__(self) -> None:
        super().__init__()
        self.head = torch.nn.Linear(3 + 384, 2)
        self.seen: list[ClipBatch] = []

    def training_step(self, batch: ClipBatch, index: int) -> torch.Tensor:
        self.seen.append(batch)
        inputs = torch.cat([batch.spectrogram.float().mean((2, 3)), batch.descriptor / 1000], dim=1)
        return torch.nn.functional.cross_entropy(self.head(inputs), batch.label)

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.01)


def test_a_trainer_prepares_the_audio_inputs_of_its_model(clips):
    pytest.importorskip("opensmile")
    data = VideoDataModule(
        clips, SegmentSampler(2), batch_size=3, size=32, num_workers=0, selection="last", audio=PLAIN
    )
    model = AudioModel()
    data.inputs = model.inputs
    trainer = L.Trainer(
        accelerator="cpu", max_epochs=1, logger=False, enable_checkpointing=False, enable_progress_bar=False,
        enable_model_summary=False,
    )  # fmt: skip
    trainer.fit(model, data)
    assert {name: files.has("both") for name, files in data.audio_cache.files.items()} == {
        "spectrogram": True,
        "descriptor": True,
        "log_mel": False,
    }
    seen = {name: batch.present[row].tolist() for batch in model.seen for row, name in enumerate(batch.clip_id)}
    assert {name: audio for name, (_, audio) in seen.items()}.items() <= {
        "both": True, "longer": True, "audio": True, "face": False, "silent": False, "click": False,
    }.items()  # fmt: skip
    assert len(model.seen) == 2


# Damage


def audio_packets(path: Path) -> list[tuple[int, int]]:
    """Offset and size of each audio packet in the file."""
    with av.open(str(path)) as file:
        return [(packet.pos, packet.size) for packet in file.demux(file.streams.audio[0]) if packet.size]


def test_damaged_audio_costs_no_picture_and_is_named(tmp_path, capsys):
    root = tmp_path / "clips"
    records = [clip(root, name, voice(1.0)[0]) for name in ("fine", "noise", "partly")]
    for name, first, last in (("noise", 0, None), ("partly", 5, 8)):
        data = bytearray((root / f"{name}.mp4").read_bytes())
        for offset, size in audio_packets(root / f"{name}.mp4")[first:last]:
            data[offset : offset + size] = b"\xff" * size
        (root / f"{name}.mp4").write_bytes(data)
    whole = read_audio(root / "fine.mp4")
    store = prepare_faces(Clips(root, faces=FaceSettings("crop", size=48), clips=records), 0)
    out, index = capsys.readouterr().out, store.read_index()
    assert [index[name].num_faces for name in ("fine", "noise", "partly")] == [12, 12, 12]
    assert [index[name].reason for name in ("fine", "noise", "partly")] == ["", "", ""]
    assert index["noise"].audio == 0
    assert "none of the" in index["noise"].audio_reason
    assert store.open("noise").audio() is None
    assert index["partly"].audio_reason.startswith("3 of ")
    partly = store.open("partly").audio()  # silence stands for what is lost: what follows is where it was
    assert len(partly) == pytest.approx(len(whole), abs=1024)
    assert np.corrcoef(partly[10240 : len(whole) - 1024], whole[10240 : len(partly) - 1024][: len(partly)])[0, 1] > 0.9
    assert "2 of 3 clips have audio, 2 have a damaged audio track" in out
    assert "noise: audio unreadable: " in out
    assert store.open("fine").summary.audio_reason == ""
    listed = (store.folder / "quarantine.csv").read_text()
    assert "noise,audio unreadable" in listed.replace('"', "")
    assert "partly,3 of" in listed
    assert "fine" not in listed


def test_sound_longer_or_shorter_than_the_picture_is_kept(clips):
    index = prepare_faces(clips, 0).read_index()
    assert index["longer"].audio == pytest.approx(2.0, abs=0.1)  # 12 frames last 0.48 s
    assert index["click"].audio == pytest.approx(0.07, abs=0.07)
    assert index["silent"].audio == 0
    assert index["silent"].audio_reason == SILENT
    assert (index["face"].audio, index["face"].audio_reason) == (0, "")


def test_a_damaged_audio_file_is_named_and_prepared_again(clips):
    store = prepare_faces(clips, 0)
    audio_cache, fields = AudioCache.from_store(store, PLAIN), frozenset({"spectrogram"})
    prepare_audio(store, audio_cache, fields, 0, "clips")
    path = audio_cache.files["spectrogram"].path("both")
    whole = path.read_bytes()
    path.write_bytes(whole[:-9])
    with pytest.raises(ValueError, match=rf"clip 'both': {path} is damaged.*fer data prepare"):
        audio_cache.read(store.open("both"), "spectrogram")
    prepare_audio(store, audio_cache, fields, 0, "clips")
    assert path.read_bytes() == whole


def with_pcm(root: Path, name: str, samples: np.ndarray) -> VideoRecord:
    """A clip of 12 frames with these samples as uncompressed 32-bit floats, which may have any value."""
    root.mkdir(exist_ok=True)
    with av.open(str(root / f"{name}.mkv"), "w") as file:
        stream = file.add_stream("libx264", rate=25)
        stream.height, stream.width, stream.pix_fmt = 64, 96, "yuv420p"
        track = file.add_stream("pcm_f32le", rate=AUDIO_RATE, layout="mono")
        for number in range(12):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(numbered_frame(number), format="rgb24")))
        file.mux(stream.encode())
        frame = av.AudioFrame.from_ndarray(samples[None].astype(np.float32), format="flt", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = AUDIO_RATE, 0, Fraction(1, AUDIO_RATE)
        file.mux([*track.encode(frame), *track.encode()])
    return VideoRecord(name, f"{name}.mkv", "sadness")


def test_samples_not_finite_are_silenced_and_loud_ones_clipped(tmp_path):
    plain = tone(0.4)
    spoilt, loud = plain.copy(), plain * 4
    spoilt[[100, 200, 300]] = np.nan, np.inf, -np.inf
    loud[[100, 200]] = 1e30, -1e30
    not_finite = np.full(6400, np.nan, np.float32)
    given = {"plain": plain, "spoilt": spoilt, "loud": loud, "nothing": not_finite}
    records = [with_pcm(tmp_path / "clips", name, samples) for name, samples in given.items()]
    store = prepare_faces(Clips(tmp_path / "clips", faces=FaceSettings("crop", size=48), clips=records), 0)
    index = store.read_index()
    assert [index[name].num_faces for name in given] == [12, 12, 12, 12]
    stored = {name: store.open(name).audio() for name in given}
    np.testing.assert_allclose(stored["plain"], plain, atol=1e-4)
    expected = np.where(np.isfinite(spoilt), spoilt, 0)
    np.testing.assert_allclose(stored["spoilt"], expected, atol=1e-4)
    np.testing.assert_allclose(stored["loud"], np.clip(loud, -1, 1), atol=1e-4)
    assert stored["nothing"] is None
    assert index["spoilt"].audio_reason == "3 samples of its audio are not finite and were replaced by silence"
    assert index["nothing"].audio_reason.startswith("6400 samples")
    assert (index["plain"].audio_reason, index["loud"].audio_reason) == ("", "")
    read = read_audio(tmp_path / "clips" / "spoilt.mkv")
    assert np.isfinite(read).all()
    assert np.abs(read).max() <= 1


@pytest.mark.parametrize("error", [ValueError("no such layout"), av.error.InvalidDataError(1, "odd"), OverflowError()])
def test_no_error_of_an_audio_decoder_costs_pictures(tmp_path, monkeypatch, error):
    record = clip(tmp_path / "clips", "loud", voice(1.0)[0])

    def refused(*_, **__):
        raise error

    monkeypatch.setattr("data_modules.video.audio_track.av.AudioResampler", refused)
    store = prepare_faces(Clips(tmp_path / "clips", faces=FaceSettings("crop", size=48), clips=[record]), 0)
    row = store.read_index()["loud"]
    assert (row.num_faces, row.reason, row.audio) == (12, "", 0)
    assert row.audio_reason.startswith("audio unreadable: ")
