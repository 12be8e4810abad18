"""Videos of a second whose sound is missing, unusual or damaged."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from data_modules.store.clip_file import SILENT
from tests.faults.corpus import numbered, tone
from tests.videos import write_video

PICTURES = 25


def write_heard(
    path: Path, samples: np.ndarray, rate: int = 16000, layout: str = "mono", codec: str = "pcm_f32le"
) -> Path:
    """A video with samples (channels, n), which are not changed by their codec."""
    with av.open(str(path), "w") as file:
        pictures = file.add_stream("libx264", rate=25)
        pictures.width, pictures.height, pictures.pix_fmt = 96, 64, "yuv420p"
        sound = file.add_stream(codec, rate=rate, layout=layout)
        for picture in numbered(PICTURES):
            file.mux(pictures.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        file.mux(pictures.encode())
        for start in range(0, samples.shape[1], 1024):
            block = np.ascontiguousarray(samples[:, start : start + 1024])
            packed = block if codec == "aac" else np.ascontiguousarray(block.T.reshape(1, -1))
            frame = av.AudioFrame.from_ndarray(packed, format="fltp" if codec == "aac" else "flt", layout=layout)
            frame.sample_rate, frame.pts, frame.time_base = rate, start, Fraction(1, rate)
            file.mux(sound.encode(frame))
        file.mux(sound.encode())
    return path


def _with(change: Callable[[np.ndarray], None]) -> Callable[[Path], Path]:
    def write(path: Path) -> Path:
        samples = tone(1)[None].copy()
        change(samples)
        return write_heard(path, samples)

    return write


def _every_seventh(value: float) -> Callable[[np.ndarray], None]:
    def change(samples: np.ndarray) -> None:
        samples[:, ::7] = value

    return change


def _loud(samples: np.ndarray) -> None:
    samples *= 100


def _at(rate: int) -> Callable[[Path], Path]:
    return lambda path: write_heard(path, tone(1, rate)[None], rate)


def _damaged(path: Path) -> Path:
    """The packets of the sound are overwritten, those of the pictures are not."""
    write_heard(path, np.tile(tone(1), (1, 1)), codec="aac")
    data, packets = bytearray(path.read_bytes()), list[tuple[int, int]]()
    with av.open(str(path)) as file:
        for packet in file.demux(file.streams.audio[0]):
            if packet.pos is not None and packet.size:
                packets.append((packet.pos, packet.size))
    for place, size in packets:
        data[place : place + size] = b"\xff" * size
    path.write_bytes(data)
    return path


def _video(seconds: float) -> Callable[[Path], Path]:
    return lambda path: write_video(path, numbered(PICTURES), audio=tone(seconds) if seconds else None)


ONE_HERTZ = "a track of 1 Hz"

SOUNDS: dict[str, tuple[Callable[[Path], Path], float, str]] = {
    "none.mp4": (_video(0), 0.0, ""),
    "silent.mkv": (lambda path: write_heard(path, np.zeros((1, 16000), np.float32)), 0.0, SILENT),
    "longer.mp4": (_video(3), 3.0, ""),
    "shorter.mp4": (_video(0.5), 0.5, ""),
    "rate-8.mkv": (_at(8000), 1.0, ""),
    "rate-96.mkv": (_at(96000), 1.0, ""),
    "six.mkv": (lambda path: write_heard(path, np.tile(tone(1), (6, 1)), layout="5.1"), 1.0, ""),
    "nan.mkv": (_with(_every_seventh(np.nan)), 1.0, "2286 samples of its audio are not finite"),
    "infinite.mkv": (_with(_every_seventh(np.inf)), 1.0, "2286 samples of its audio are not finite"),
    "loud.mkv": (_with(_loud), 1.0, ""),
    "damaged.mp4": (_damaged, 0.0, "packets of its audio can be decoded"),
    "hertz.mkv": (lambda path: write_heard(path, np.zeros((1, 2000), np.float32), 1), 0.0, ONE_HERTZ),
}
"""Name -> how the file is made, the seconds of sound that are kept, and what is said of it."""


def write_changing(path: Path) -> Path:
    """A second of 440 Hz in mono at 16 kHz, then one of 880 Hz in stereo at 32 kHz, as broadcasts have them."""
    parts = b""
    for name, channels, rate, hertz in (("a.aac", 1, 16000, 440), ("b.aac", 2, 32000, 880)):
        with av.open(str(path.with_name(name)), "w", format="adts") as file:
            stream = file.add_stream("aac", rate=rate, layout="stereo" if channels == 2 else "mono")
            samples = (0.5 * np.sin(2 * np.pi * hertz * np.arange(rate) / rate)).astype(np.float32)
            frame = av.AudioFrame.from_ndarray(
                np.tile(samples, (channels, 1)), format="fltp", layout=stream.layout.name
            )
            frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
            file.mux(stream.encode(frame))
            file.mux(stream.encode())
        parts += path.with_name(name).read_bytes()
    path.write_bytes(parts)
    return path
