"""Small files that ask for a great deal of memory or time."""

import struct
import zlib
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av

from tests.fakes import archive_members, write_archive
from tests.faults.corpus import numbered, write_gif, write_pixels
from tests.videos import write_video

HUGE = 20_000  # pixels a side


def huge_png(side: int = HUGE) -> bytes:
    """A black picture of `side` pixels a side in some kilobytes."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    deflate, rows = zlib.compressobj(9), bytearray()
    for _ in range(side):
        rows += deflate.compress(bytes(1 + side // 8))
    rows += deflate.flush()
    header = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", bytes(rows)) + chunk(b"IEND", b"")


def write_huge_frames(path: Path, side: int = HUGE) -> Path:
    """A video of pictures that are much larger than its header says."""
    with av.open(str(path), "w") as file:
        stream = file.add_stream("png", rate=25)
        stream.height, stream.width, stream.pix_fmt = 64, 96, "rgb24"
        file.start_encoding()
        picture = huge_png(side)
        for number in range(4):
            packet = av.Packet(picture)
            packet.stream, packet.pts, packet.dts, packet.time_base = stream, number, number, Fraction(1, 25)
            file.mux(packet)
    return path


def write_huge_jpegs(path: Path) -> Path:
    """A video whose pictures and header say 65500 x 65500."""
    write_pixels(path, numbered(4), "mjpeg", "yuvj420p")
    data = bytearray(path.read_bytes())
    place = -1
    while (place := data.find(b"\xff\xc0\x00\x11\x08", place + 1)) >= 0:
        data[place + 5 : place + 9] = struct.pack(">HH", 65500, 65500)
    path.write_bytes(data)
    return path


def write_huge_gif(path: Path) -> Path:
    """A GIF on a canvas of 65535 x 65535."""
    write_gif(path, 4)
    data = bytearray(path.read_bytes())
    data[6:10] = struct.pack("<HH", 65535, 65535)
    path.write_bytes(data)
    return path


def write_million_frames(path: Path, count: int = 200_000_000) -> Path:
    """An MP4 whose header says that it has so many frames, of one byte each."""
    write_video(path, numbered(4))
    data = bytearray(path.read_bytes())
    sizes = data.index(b"stsz")
    data[sizes + 8 : sizes + 16] = struct.pack(">II", 1, count)
    times = data.index(b"stts")
    data[times + 12 : times + 20] = struct.pack(">II", count, 512)
    chunks = data.index(b"stsc")
    data[chunks + 16 : chunks + 20] = struct.pack(">I", count)
    path.write_bytes(data)
    return path


def write_ten_hours(path: Path) -> Path:
    """Ten frames over nine hours."""
    times = range(0, 36_000_000, 4_000_000)
    return write_video(path, numbered(len(times)), milliseconds=times)


def _archive(path: Path) -> Path:
    return write_archive(path, [*archive_members(), ("3.png", bytes(100_000_000))])


def _picture(path: Path) -> Path:
    path.write_bytes(huge_png())
    return path


def write_sound_of(path: Path, rate: int, channels: int = 1) -> Path:
    """50 kB of sound that say to be of this rate."""
    data, step = bytes(50_000), 2 * channels
    layout = struct.pack("<IHHIIHH", 16, 1, channels, rate, rate * step & 0xFFFFFFFF, step, 16)
    path.write_bytes(
        b"RIFF"
        + struct.pack("<I", 36 + len(data))
        + b"WAVEfmt "
        + layout
        + b"data"
        + struct.pack("<I", len(data))
        + data
    )
    return path


BOMBS: dict[str, tuple[Callable[[Path], Path], str]] = {
    "frames.mov": (write_huge_frames, "no frame of the video track (png) can be decoded"),
    "jpegs.mov": (write_huge_jpegs, "no frame of the video track (mjpeg) can be decoded"),
    "canvas.gif": (write_huge_gif, "no frame of the video track (gif) can be decoded"),
    "million.mp4": (write_million_frames, "found at least 200000000 frames; expected at most 1000000"),
    "wide.mov": (lambda path: write_huge_frames(path, 8400), "found images of 8400 x 8400 pixels"),
    "archive.zip": (_archive, "member '3.png' of 100000000 bytes"),
    "picture.png": (_picture, "400000000 pixels"),
}
"""Name -> how the file is made, and what is said of it."""
