"""Small valid files of every container, and seeded mutations of them."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
from PIL import Image

from tests.videos import numbered_frame, write_audio, write_video

FRAMES = 12
EXTREME = (0, 1, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF, 0xFFFF, 0x10000000)
"""Numbers that readers of sizes, counts and rates forget."""


def _tone() -> np.ndarray:
    return (0.5 * np.sin(np.arange(8192) / 16000 * 2 * np.pi * 440)).astype(np.float32)


def _video(codec: str, suffix: str, audio: bool = True) -> Callable[[Path], Path]:
    def write(folder: Path) -> Path:
        frames = [numbered_frame(number, 48, 32) for number in range(FRAMES)]
        options = {"crf": "30"} if codec == "libx264" else {}
        return write_video(
            folder / f"valid{suffix}", frames, audio=_tone() if audio else None, codec=codec, options=options
        )

    return write


def _gif(folder: Path) -> Path:
    first, *others = [Image.fromarray(numbered_frame(number, 48, 32)) for number in range(FRAMES)]
    first.save(folder / "valid.gif", save_all=True, append_images=others, duration=40)
    return folder / "valid.gif"


def _sound(suffix: str) -> Callable[[Path], Path]:
    return lambda folder: write_audio(folder / f"valid{suffix}", _tone())


VALID = {
    "mp4": _video("libx264", ".mp4"),
    "mov": _video("mpeg4", ".mov"),
    "mkv": _video("libx264", ".mkv"),
    "avi": _video("mpeg4", ".avi", audio=False),
    "gif": _gif,
    "wav": _sound(".wav"),
    "flac": _sound(".flac"),
    "mp3": _sound(".mp3"),
}
"""Suffix -> writes a valid file of FRAMES frames, or of half a second of sound, into a folder."""


def mutate(content: bytes, seed: int) -> bytes:
    """Changes one to four places, mostly in the headers, which stand at both ends of a file."""
    random = np.random.default_rng(seed)
    data = bytearray(content)
    for _ in range(random.integers(1, 5)):
        start, stop = ((0, 800), (0, len(data)), (max(0, len(data) - 2500), len(data)))[random.integers(3)]
        place = int(random.integers(start, max(min(stop, len(data)), start + 1)))
        match random.integers(6):
            case 0:
                data[place : place + 1] = bytes([data[min(place, len(data) - 1)] ^ 1 << int(random.integers(8))])
            case 1 | 2:
                size = int(random.choice([1, 2, 4, 8]))
                number = EXTREME[random.integers(len(EXTREME))] & ((1 << 8 * size) - 1)
                data[place : place + size] = number.to_bytes(size, "big" if random.integers(2) else "little")
            case 3:
                del data[place : place + int(random.integers(1, 64))]
            case 4:
                data[place:place] = data[place : place + int(random.integers(1, 256))]
            case 5:
                data[place : place + 16] = random.bytes(16)
    return bytes(data)
