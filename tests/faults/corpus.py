"""Videos with something wrong, and odd ones that are right: real files, as users have them."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from PIL import Image

from tests.videos import cut, numbered_frame, rotate, write_audio, write_video

FRAMES = 40
POINTER = "version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 3\n"
IN_FRONT = {"movflags": "faststart"}  # the index of an MP4, so that a cut file opens


def numbered(count: int, width: int = 96, height: int = 64) -> list[np.ndarray]:
    return [numbered_frame(number % 64, width, height) for number in range(count)]


def tone(seconds: float, rate: int = 16000) -> np.ndarray:
    return (0.5 * np.sin(2 * np.pi * 440 * np.arange(round(seconds * rate)) / rate)).astype(np.float32)


def write_index_in_front(path: Path, count: int = FRAMES) -> Path:
    """An MP4 whose index stands before the pictures."""
    with av.open(str(path), "w", options=IN_FRONT) as file:
        _encode(file, numbered(count), "libx264", "yuv420p", {"g": "12", "bf": "0"})
    return path


def write_pixels(path: Path, frames: list[np.ndarray], codec: str, pixels: str, **options: str) -> Path:
    """A video in another form of pixels, such as ten bits or with transparency."""
    with av.open(str(path), "w") as file:
        _encode(file, frames, codec, pixels, options)
    return path


def _encode(
    file: av.container.OutputContainer, frames: list[np.ndarray], codec: str, pixels: str, options: dict[str, str]
) -> None:
    stream = file.add_stream(codec, rate=25, options=options)
    stream.height, stream.width = frames[0].shape[:2]
    stream.pix_fmt = pixels
    for picture in frames:
        kind = "rgba" if picture.shape[2] == 4 else "rgb24"
        file.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format=kind)))
    file.mux(stream.encode())


def flip_bits(path: Path, seed: int, count: int = 30) -> Path:
    """Flips bits anywhere in a file, as failing disks and memory do."""
    random, data = np.random.default_rng(seed), bytearray(path.read_bytes())
    for place in random.integers(0, len(data), count):
        data[place] ^= 1 << int(random.integers(8))
    path.write_bytes(data)
    return path


def patch(path: Path, old: bytes, new: bytes) -> Path:
    data = path.read_bytes()
    assert old in data
    path.write_bytes(data.replace(old, new))
    return path


def _titled(path: Path) -> Path:
    with av.open(str(path), "w") as file:
        file.metadata["title"] = "cafe"
        _encode(file, numbered(8), "libx264", "yuv420p", {})
    return path


def write_gif(path: Path, count: int = FRAMES) -> Path:
    first, *others = [Image.fromarray(frame) for frame in numbered(count)]
    first.save(path, save_all=True, append_images=others, duration=40)
    return path


def _transparent(count: int) -> list[np.ndarray]:
    alpha = np.full((64, 96, 1), 128, np.uint8)
    return [np.concatenate([frame, alpha], axis=2) for frame in numbered(count)]


def _image(path: Path, kind: str) -> Path:
    Image.fromarray(numbered_frame(5)).save(path, format=kind)
    return path


def _without_frames(path: Path) -> Path:
    """A container with a video track that holds nothing."""
    with av.open(str(path), "w", options={"movflags": "empty_moov"}) as file:
        stream = file.add_stream("mpeg4", rate=25)
        stream.height, stream.width, stream.pix_fmt = 64, 96, "yuv420p"
        file.start_encoding()
    return path


def _pointer(path: Path) -> Path:
    path.write_text(POINTER)
    return path


def _text(path: Path) -> Path:
    path.write_text("<html>404 not found</html>")
    return path


def _empty(path: Path) -> Path:
    path.touch()
    return path


Writer = Callable[[Path], Path]

REFUSED: dict[str, tuple[Writer, str]] = {
    "empty.mp4": (_empty, "the file is empty"),
    "text.mp4": (_text, "text of 26 bytes beginning '<html>404"),
    "pointer.mp4": (_pointer, "a Git LFS pointer, whose content was not downloaded"),
    "half.mp4": (lambda path: cut(write_video(path, numbered(FRAMES)), 0.5), "without its index (moov)"),
    "nothing.mp4": (_without_frames, "no frame of the video track"),
    "picture.mp4": (lambda path: _image(path, "PNG"), "bytes beginning 89 50 4e 47"),
    "photo.mp4": (lambda path: _image(path, "JPEG"), "bytes beginning ff d8 ff"),
    "codec.mp4": (lambda path: patch(write_video(path, numbered(8)), b"avc1", b"zzzz"), "FFmpeg does not support"),
    "sound.mp4": (lambda path: write_audio(path, tone(1)), "1 audio track and no video"),
}
"""Name -> how the file is made, and what is said of it."""

READ: dict[str, tuple[Writer, int, tuple[int, int]]] = {
    "one.mp4": (lambda path: write_video(path, numbered(1)), 1, (96, 64)),
    "varying.mp4": (
        lambda path: write_video(path, numbered(6), milliseconds=[0, 40, 80, 500, 540, 1200]),
        6,
        (96, 64),
    ),
    "rotated.mp4": (lambda path: rotate(write_video(path, numbered(8)), 1), 8, (64, 96)),
    "oblong.mp4": (lambda path: write_video(path, numbered(8), pixel=Fraction(64, 45)), 8, (137, 64)),
    "ten-bit.mp4": (lambda path: write_pixels(path, numbered(8), "libx264", "yuv420p10le"), 8, (96, 64)),
    "alpha.mov": (lambda path: write_pixels(path, _transparent(8), "png", "rgba"), 8, (96, 64)),
    "moving.gif": (lambda path: write_gif(path, 8), 8, (96, 64)),
    "title.mp4": (lambda path: patch(_titled(path), b"cafe", b"caf\xe9"), 8, (96, 64)),
    "tiny.mp4": (lambda path: write_video(path, [np.full((2, 2, 3), 90, np.uint8)] * 4), 4, (2, 2)),
    "odd.mov": (lambda path: write_pixels(path, numbered(4, 97, 65), "png", "rgb24"), 4, (97, 65)),
    "wide.mp4": (lambda path: write_video(path, [np.full((16, 4096, 3), 90, np.uint8)] * 4), 4, (4096, 16)),
    "tall.mp4": (lambda path: write_video(path, [np.full((4096, 16, 3), 90, np.uint8)] * 4), 4, (16, 4096)),
}
"""Name -> how the file is made, its frames, and their width and height: odd, and read all the same."""

AS_THEY_ARE: dict[str, tuple[Writer, str]] = {
    "interlaced.mp4": (
        lambda path: write_pixels(path, numbered(8), "libx264", "yuv420p", flags="+ildct+ilme"),
        "interlaced pictures, not deinterlaced",
    ),
    "fields.mpg": (
        lambda path: write_pixels(path, numbered(8), "mpeg2video", "yuv420p", flags="+ildct+ilme"),
        "interlaced pictures, not deinterlaced",
    ),
    "pq.mp4": (
        lambda path: write_pixels(path, numbered(8), "libx264", "yuv420p10le", color_trc="smpte2084"),
        "pictures of high dynamic range (PQ), not tone-mapped",
    ),
    "absurd.mp4": (
        lambda path: write_video(path, numbered(8), pixel=Fraction(10)),
        "pixels of 10:1, taken for square",
    ),
    "hlg.mkv": (
        lambda path: write_pixels(path, numbered(8), "libx264", "yuv420p10le", color_trc="arib-std-b67"),
        "pictures of high dynamic range (HLG), not tone-mapped",
    ),
}
"""Name -> how a file of eight frames is made, and what is said of its pictures, which are used as they are."""

CUT: dict[str, Writer] = {
    "front.mp4": lambda path: cut(write_index_in_front(path), 0.6),
    "matroska.mkv": lambda path: cut(write_video(path, numbered(FRAMES)), 0.6),
    "old.avi": lambda path: cut(write_pixels(path, numbered(FRAMES), "mjpeg", "yuvj420p"), 0.6),
    "heard.mkv": lambda path: cut(write_video(path, numbered(FRAMES), audio=tone(1.6)), 0.6),
}
"""Name -> a file of FRAMES frames that lost its end, and that opens."""
