"""Sound is where the picture is: a flash of light and a tone that were recorded together are read at the same time."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from data_modules.video.audio_track import AudioTrack, read_audio
from data_modules.video.container import joins, start_of_pictures
from data_modules.video.reader import open_video
from data_modules.video.source import UnreadableVideoError
from fer_lightning.predict.annotated_video import audio_frames
from fer_lightning.predict.timeline import plan_rows, video_duration
from tests.faults.sounds import write_changing
from tests.videos import write_audio

RATE, FPS = 48_000, 25
CLOCK = 90_000  # ticks per second of MPEG streams
WITH_TIMES = [(".mkv", "libx264", "pcm_s16le"), (".mp4", "libx264", "aac"), (".webm", "libvpx", "libopus")]


def write_flash(
    path: Path,
    video: str = "libx264",
    audio: str = "aac",
    seconds: float = 6.0,
    flash: float = 4.0,
    lost: Callable[[float], bool] = lambda time: False,
    late: float = 0.0,
    every: int = 12,
    held_back: str = "0",
) -> Path:
    """A film in which light and tone begin at `flash`; blocks of sound that begin at a `lost` time are not encoded.

    All sound is `late` by so many seconds, every so many pictures there is one that needs no other, and the decoder
    holds so many back.
    """
    rng, packets = np.random.default_rng(0), list[av.Packet]()
    with av.open(str(path), "w") as file:
        pictures = file.add_stream(video, rate=FPS, options={"g": str(every), "sc_threshold": "0", "bf": held_back})
        pictures.width, pictures.height, pictures.pix_fmt = 64, 48, "yuv420p"
        sound = file.add_stream(audio, rate=RATE, layout="mono")
        for number in range(round(seconds * FPS)):
            picture = rng.integers(0, 60, (48, 64, 3), np.uint8) + np.uint8(150 * (number >= flash * FPS))
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, FPS)
            packets += pictures.encode(frame)
        packets += pictures.encode(None)
        time = np.arange(round(seconds * RATE)) / RATE
        samples = (np.where(time >= flash, 0.8, 0.01) * np.sin(2 * np.pi * 440 * time)).astype(np.float32)
        size = 960 if audio == "libopus" else 1024
        for start in range(0, len(samples) - size, size):
            if lost(start / RATE):
                continue
            block = samples[None, start : start + size]
            if audio == "pcm_s16le":
                block = np.round(block * 32767).astype(np.int16)
            frame = av.AudioFrame.from_ndarray(block, "s16" if audio == "pcm_s16le" else "fltp", "mono")
            frame.sample_rate, frame.pts, frame.time_base = RATE, start + round(late * RATE), Fraction(1, RATE)
            packets += sound.encode(frame)
        packets += sound.encode(None)
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            file.mux(packet)
    return path


def flash_of(path: Path) -> float:
    """The time of the first bright picture."""
    source = open_video(path)
    number = next(index for index, picture in source.frames() if picture.mean() > 100)
    return float(source.timestamps[number])


def tone_of(path: Path) -> float:
    """The time of the first loud sample."""
    audio = read_audio(path)
    assert audio is not None
    return float(np.flatnonzero(np.abs(audio) > 0.4)[0]) / 16000


@pytest.mark.parametrize(("suffix", "video", "audio"), WITH_TIMES)
def test_missing_sound_moves_nothing(tmp_path, suffix, video, audio):
    path = write_flash(tmp_path / f"gap{suffix}", video, audio, lost=lambda time: 1 <= time < 3)
    assert flash_of(path) == 4
    assert tone_of(path) == pytest.approx(4, abs=0.005)
    samples = read_audio(path)
    assert len(samples) / 16000 == pytest.approx(6, abs=0.05)
    assert not samples[round(1.1 * 16000) : round(2.9 * 16000)].any()


@pytest.mark.parametrize(("suffix", "video", "audio"), [*WITH_TIMES, (".ts", "libx264", "aac")])
@pytest.mark.parametrize("late", [2.0, 65.0])
def test_sound_that_begins_later_is_heard_later(tmp_path, suffix, video, audio, late):
    path = write_flash(tmp_path / f"late{suffix}", video, audio, late=late)
    assert tone_of(path) == pytest.approx(4 + late, abs=0.005)


def test_short_pauses_do_not_add_up(tmp_path):
    """Every second, a packet is lost, which is less than times may be off."""
    path = write_flash(tmp_path / "short.mkv", audio="pcm_s16le", seconds=20, flash=18, lost=lambda t: t % 1 < 0.021)
    assert tone_of(path) == pytest.approx(18, abs=0.05)


@pytest.mark.parametrize("off", [lambda number: number * 7 % 41, lambda number: 9000 * (number % 50 == 20)])
def test_times_that_are_off_by_a_little_or_once_change_no_sample(tmp_path, off):
    """Times are up to 40 ms late, or now and then one is 9 s late: the samples follow each other."""
    path = write_flash(tmp_path / "exact.mkv", audio="pcm_s16le")
    with av.open(str(path)) as source, av.open(str(tmp_path / "off.mkv"), "w") as file:
        streams, number = [file.add_stream_from_template(stream) for stream in source.streams], 0
        for packet in source.demux():
            if packet.dts is not None:
                packet.stream = streams[packet.stream.index]
                if packet.stream.type == "audio":
                    packet.pts += off(number) if number else 0
                    number += 1
                file.mux(packet)
    np.testing.assert_array_equal(read_audio(tmp_path / "off.mkv"), read_audio(path))


def test_silence_is_limited_as_sound_is(tmp_path):
    path = write_flash(tmp_path / "late.mkv", audio="pcm_s16le", late=3600)
    with pytest.raises(UnreadableVideoError, match=r"more than 600 s of audio, with 3600 s for which it holds nothing"):
        read_audio(path, max_seconds=600)
    longest = max(len(block) for block in AudioTrack(path, 16000, 7200))
    assert longest <= 16000, "silence is yielded in parts"


def test_sound_that_ends_before_the_pictures_is_named(tmp_path):
    path = write_flash(tmp_path / "before.mkv", audio="pcm_s16le", seconds=2, flash=1)
    with av.open(str(path)) as source, av.open(str(tmp_path / "apart.mkv"), "w") as file:
        streams = [file.add_stream_from_template(stream) for stream in source.streams]
        for packet in sorted(source.demux(), key=lambda packet: packet.stream.type):
            if packet.dts is not None:
                if packet.stream.type == "video":
                    packet.pts, packet.dts = packet.pts + 10_000, packet.dts + 10_000
                packet.stream = streams[packet.stream.index]
                file.mux(packet)
    with pytest.raises(UnreadableVideoError, match="all of its audio ends before the first picture"):
        read_audio(tmp_path / "apart.mkv")


def test_a_recording_that_was_cut_anywhere_is_in_time(tmp_path):
    """The cut is at about 0.7 s, where sound begins; the first picture that can be decoded is at 2 s of the whole."""
    whole = write_flash(tmp_path / "whole.ts", every=50)
    data, packet = whole.read_bytes(), 188
    tables, begin = data[: 3 * packet], round(0.12 * len(data) / packet) * packet
    path = tmp_path / "cut.ts"
    path.write_bytes(tables + data[begin:])
    with av.open(str(path)) as file:
        assert file.streams.video[0].start_time / CLOCK < 1.4 + 1.9  # FFmpeg's streams begin at 1.4 s
    assert open_video(path).num_frames == 100
    assert flash_of(path) == pytest.approx(2)
    assert tone_of(path) == pytest.approx(2, abs=0.01)
    heard = (block.time for block in audio_frames(path, 20) if np.abs(block.to_ndarray()).max() > 0.4)
    assert next(heard) == pytest.approx(2, abs=0.03)
    with av.open(str(path)) as file:
        begin_of_file = file.start_time / av.time_base
    with av.open(str(whole)) as file:
        at_two_seconds = next(frame.time for number, frame in enumerate(file.decode(video=0)) if number == 50)
    assert start_of_pictures(path) == pytest.approx(at_two_seconds - begin_of_file, abs=0.001)


def onsets(times: np.ndarray, loud: np.ndarray) -> list[float]:
    """The times at which something begins that was not there for half a second."""
    found = times[loud]
    return found[np.append(True, np.diff(found) > 0.5)].tolist()


@pytest.mark.parametrize("held_back", ["0", "2"])
def test_joined_recordings_follow_each_other(tmp_path, held_back):
    """Their clocks begin anew. Sound ends half a second before the pictures, which it must not make earlier."""
    part = write_flash(tmp_path / "part.ts", lost=lambda time: time > 5.5, held_back=held_back)
    joined = tmp_path / "joined.ts"
    joined.write_bytes(3 * part.read_bytes())
    source, expected = open_video(joined), [4, 10, 16]
    bright = np.array([picture.mean() > 100 for _, picture in source.frames()])
    assert len(bright) == 450
    np.testing.assert_allclose(source.timestamps, np.arange(450) / FPS, atol=0.001)
    assert source.picture_note == "3 recordings joined, read one after another"
    assert source.fps == FPS
    assert onsets(source.timestamps, bright) == pytest.approx(expected, abs=0.001)
    rows = plan_rows(source.timestamps, video_duration(source.timestamps, source.fps), 1.0, 0.5)
    assert np.diff(rows.own_frames).ravel().tolist() == pytest.approx([12.5] * 36, abs=0.5)
    audio = read_audio(joined)
    assert onsets(np.arange(len(audio)) / 16000, np.abs(audio) > 0.4) == pytest.approx(expected, abs=0.01)
    blocks = [(block.time, np.abs(block.to_ndarray()).max() > 0.4) for block in audio_frames(joined, 20)]
    assert onsets(*map(np.array, zip(*blocks, strict=True))) == pytest.approx(expected, abs=0.03)
    assert open_video(part).picture_note == ""


def test_times_that_fall_back_once_or_a_little_join_nothing():
    times = np.arange(100) / 25
    disorder, mistake = times.copy(), times.copy()
    disorder[[50, 51]] = disorder[[51, 50]]
    mistake[[20, 60]] = (5000, 0)
    assert joins(disorder) == joins(mistake) == joins(times) == joins(times[:0]) == []
    assert joins(np.concatenate([times + 7, times])) == [(100, pytest.approx(11))]


@pytest.mark.parametrize("held_back", ["0", "2"])
def test_pictures_that_the_decoder_holds_back_move_nothing(tmp_path, held_back):
    path = write_flash(tmp_path / "a.avi", "mpeg4", "pcm_s16le", held_back=held_back)
    assert flash_of(path) == 4
    assert tone_of(path) == pytest.approx(4, abs=0.005)


def test_times_that_are_counted_and_not_stored_add_nothing(tmp_path):
    """FFmpeg counts by the rate of the first packet, which is half of that of the rest."""
    assert len(read_audio(write_changing(tmp_path / "changing.aac"))) / 16000 == pytest.approx(2, abs=0.25)


@pytest.mark.parametrize("suffix", [".wav", ".flac", ".mp3", ".m4a"])
def test_files_of_sound_alone_begin_at_their_first_sample(tmp_path, suffix):
    sound = np.sin(np.arange(16000) * 0.2).astype(np.float32) * np.float32(0.8)
    sound[:4000] = 0
    audio = read_audio(write_audio(tmp_path / f"alone{suffix}", sound))
    assert np.flatnonzero(np.abs(audio) > 0.4)[0] == pytest.approx(4000, abs=40)
