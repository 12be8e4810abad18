"""Small and odd videos for the tests: real containers, real codecs, a frame's number readable in its picture."""

import os
from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from data_modules.faces.ground_truth import FrameTruth

CLIPS = Path(os.environ.get("FER_TEST_CLIPS", "/nowhere"))
real_clips = pytest.mark.skipif(not CLIPS.is_dir(), reason="FER_TEST_CLIPS names no folder")

BITS = 6  # a frame's number as bright and dark fields in its top row: 0 to 63


def numbered_frame(number: int, width: int = 96, height: int = 64) -> NDArray[np.uint8]:
    """(H, W, 3): a picture with its number in the top row, and another colour in each other corner."""
    frame = np.full((height, width, 3), 90, np.uint8)
    half_y, half_x = height // 2, width // 2
    frame[half_y:, :half_x] = (200, 30, 30)  # bottom left: red
    frame[half_y:, half_x:] = (30, 30, 200)  # bottom right: blue
    step = width // BITS
    for bit in range(BITS):
        frame[: height // 4, bit * step : (bit + 1) * step] = 230 if number >> bit & 1 else 25
    return frame


def read_number(frame: NDArray[np.uint8]) -> int:
    """The number that `numbered_frame` wrote."""
    height, width = frame.shape[:2]
    step = width // BITS
    fields = [frame[: height // 4, bit * step : (bit + 1) * step].mean() > 128 for bit in range(BITS)]
    return sum(1 << bit for bit, bright in enumerate(fields) if bright)


def write_video(
    path: Path,
    frames: Sequence[NDArray[np.uint8]],
    fps: int = 25,
    milliseconds: Sequence[int] | None = None,
    audio: NDArray[np.float32] | None = None,
    codec: str = "libx264",
    options: dict[str, str] | None = None,
    pixel: Fraction | None = None,
) -> Path:
    """Encodes the frames; `milliseconds` are their times where the rate varies, `audio` is mono at 16 kHz.

    `pixel` is the width of a pixel by its height, as players show it.
    """
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=fps, options={"crf": "12", "g": "12", "bf": "0"} | (options or {}))
        stream.height, stream.width = frames[0].shape[:2]
        stream.pix_fmt = "yuv420p"
        if pixel is not None:
            stream.codec_context.sample_aspect_ratio = pixel
        if milliseconds is not None:
            stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        voice = file.add_stream("aac", rate=16000, layout="mono") if audio is not None else None
        for number, picture in enumerate(frames):
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            if milliseconds is not None:
                frame.pts, frame.time_base = milliseconds[number], Fraction(1, 1000)
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
        if voice is not None and audio is not None:
            _write_audio(file, voice, audio)
    return path


def write_audio(path: Path, audio: NDArray[np.float32]) -> Path:
    """A file with an audio track and no picture, in the codec that its name stands for."""
    codec, kind = {
        ".wav": ("pcm_s16le", "s16"),
        ".flac": ("flac", "s16"),
        ".mp3": ("libmp3lame", "fltp"),
        ".m4a": ("aac", "fltp"),
        ".mp4": ("aac", "fltp"),
    }[path.suffix]
    with av.open(str(path), "w") as file:
        stream = file.add_stream(codec, rate=16000, layout="mono")
        stream.format = kind
        if codec == "libmp3lame":
            stream.bit_rate = 64_000  # below, high sounds are left out
        samples = audio if kind == "fltp" else np.round(audio * 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(samples[None]), format=kind, layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 16000, 0, Fraction(1, 16000)
        file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path


def _write_audio(file: av.container.OutputContainer, stream: av.AudioStream, audio: NDArray[np.float32]) -> None:
    for start in range(0, len(audio) - 1023, 1024):
        frame = av.AudioFrame.from_ndarray(audio[None, start : start + 1024], format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = 16000, start, Fraction(1, 16000)
        file.mux(stream.encode(frame))
    file.mux(stream.encode())


def rotate(path: Path, quarter_turns: int) -> Path:
    """Has players turn the picture clockwise by so many quarters, by the header's matrix as phones do."""
    data = bytearray(path.read_bytes())
    at = data.index(b"tkhd") + 4 + 40  # version 0: the matrix follows after 40 bytes
    one, turns = 0x10000, quarter_turns % 4
    a, b, c, d = ((one, 0, 0, one), (0, one, -one, 0), (-one, 0, 0, -one), (0, -one, one, 0))[turns]
    for i, value in enumerate((a, b, 0, c, d, 0, 0, 0, 0x40000000)):
        data[at + 4 * i : at + 4 * i + 4] = value.to_bytes(4, "big", signed=True)
    path.write_bytes(bytes(data))
    return path


def cut(path: Path, share: float) -> Path:
    """Keeps the first part of a file, as a broken download does."""
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    return path


def truth_of(count: int, width: int = 96, height: int = 64, hidden: Sequence[int] = ()) -> FrameTruth:
    """A face of 30 pixels that moves one pixel a frame to the right, with made-up landmarks inside of its box."""
    left = np.arange(count, dtype=np.float32) % (width - 32)
    box = np.stack([left, np.full(count, 16.0), left + 30, np.full(count, 46.0)], axis=1).astype(np.float32)
    unit = np.random.default_rng(0).uniform(0.1, 0.9, (68, 3)).astype(np.float32)
    for at, (x, y) in ((36, (0.3, 0.4)), (42, (0.7, 0.4)), (30, (0.5, 0.6)), (48, (0.35, 0.8)), (54, (0.65, 0.8))):
        unit[at : at + (6 if at in (36, 42) else 1), :2] = (x, y)
    landmarks = unit[None] * 30
    landmarks = landmarks + np.concatenate([box[:, :2], np.zeros((count, 1), np.float32)], axis=1)[:, None]
    return FrameTruth(
        intensity=np.linspace(0, 1, count).astype(np.float32),
        visible=~np.isin(np.arange(count), hidden),
        box=box,
        landmarks=landmarks.astype(np.float32),
        person_box=np.tile(np.array([0, 0, width, height], np.float32), (count, 1)),
        action_units=np.zeros((count, 3), np.float32),
    )
