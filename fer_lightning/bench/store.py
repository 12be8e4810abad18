"""Compares formats in which face crops could be stored: time of a random read, and bytes per clip.

Reads are those of training: 5 of 75 frames (one clip of CEFLNet) and 35 of 75 (all seven clips). The files are in the
cache of the operating system, so opening and decoding are measured, not the disk. Crops are the middle square of
`single_face.mp4` in the folder FER_TEST_CLIPS if it exists; otherwise they are drawn: a smooth background and a few
moving shapes with fine grain, which compress like a face.
"""

import os
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import cycle, islice
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray
from safetensors import safe_open
from safetensors.numpy import save_file

from data_modules.store.clip_file import ClipSummary, FaceFrame
from data_modules.store.clip_store import ClipStore
from data_modules.video.reader import open_video

Crops = NDArray[np.uint8]
"""(T, S, S, 3) RGB."""
NUM_FRAMES = 75
READS = (5, 35)
QUALITY = 95


@dataclass(frozen=True)
class FormatResult:
    """Measurements of one format."""

    name: str
    size: int  # side of the crops in pixels
    bytes_per_clip: float
    ms_per_read: tuple[float, ...]  # for each of `READS`
    files_per_clip: int
    write_ms: float  # per clip
    error: float  # mean absolute difference to the original, 0 to 255


@dataclass(frozen=True)
class Format:
    """A format in which a clip can be stored."""

    name: str
    write: Callable[[Path, Crops], None]  # into an empty folder
    read: Callable[[Path, NDArray[np.int64]], Crops]


def write_images(folder: Path, crops: Crops) -> None:
    """Writes each crop into a JPEG file of its own, named by its place."""
    for i, crop in enumerate(crops):
        cv2.imwrite(str(folder / f"{i:04}.jpg"), crop[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])


def _read_images(folder: Path, indices: NDArray[np.int64]) -> Crops:
    return np.asarray([cv2.imread(str(folder / f"{i:04}.jpg"), cv2.IMREAD_COLOR_RGB) for i in indices], dtype=np.uint8)


def _write_store(folder: Path, crops: Crops) -> None:
    write_clip(ClipStore(folder), "clip", crops)


def write_clip(store: ClipStore, name: str, crops: Crops) -> ClipSummary:
    """Writes the crops of a clip into a store and returns what the store says of it."""
    box = np.zeros(4, np.float32)
    faces = (FaceFrame(i, crop, box, 1.0) for i, crop in enumerate(crops))
    return store.write(ClipSummary(name, len(crops), 0), faces, quality=QUALITY)


def _read_store(folder: Path, indices: NDArray[np.int64]) -> Crops:
    return ClipStore(folder).open("clip").crops(indices)


def _write_npy(folder: Path, crops: Crops) -> None:
    np.save(folder / "clip.npy", crops)


def _read_npy(folder: Path, indices: NDArray[np.int64]) -> Crops:
    return np.asarray(np.load(folder / "clip.npy", mmap_mode="r")[indices], dtype=np.uint8)


def _write_tensor(folder: Path, crops: Crops) -> None:
    save_file({"crops": crops}, folder / "clip.safetensors")


def _read_tensor(folder: Path, indices: NDArray[np.int64]) -> Crops:
    with safe_open(folder / "clip.safetensors", framework="numpy") as file:
        rows = file.get_slice("crops")
        return np.concatenate([rows[int(i) : int(i) + 1] for i in indices])


def _write_mp4(keyframes: int) -> Callable[[Path, Crops], None]:
    def write(folder: Path, crops: Crops) -> None:
        with av.open(str(folder / "clip.mp4"), "w") as file:
            stream = file.add_stream("libx264", rate=25, options={"crf": "18", "g": str(keyframes), "bf": "0"})
            stream.height, stream.width = crops.shape[1:3]
            stream.pix_fmt = "yuv420p"
            for crop in crops:
                file.mux(stream.encode(av.VideoFrame.from_ndarray(np.ascontiguousarray(crop), format="rgb24")))
            file.mux(stream.encode())

    return write


def _read_mp4(folder: Path, indices: NDArray[np.int64]) -> Crops:
    """Reads the frames at some indices; the library seeks for few frames and decodes all for many."""
    import torch  # noqa: F401 - importing decord before torch crashes the process
    import decord  # isort: skip

    reader = decord.VideoReader(str(folder / "clip.mp4"), num_threads=1)
    return np.asarray(reader.get_batch(indices.tolist()).asnumpy(), dtype=np.uint8)


FORMATS = (
    Format("JPEG files in a folder", write_images, _read_images),
    Format("JPEGs in one file (the store)", _write_store, _read_store),
    Format("uint8 .npy, mapped", _write_npy, _read_npy),
    Format("uint8 safetensors", _write_tensor, _read_tensor),
    Format("H.264, key frame every 8", _write_mp4(8), _read_mp4),
    Format("H.264, key frame every 75", _write_mp4(75), _read_mp4),
)


def compare_formats(folder: Path, clips: int = 8, size: int = 128, reads: int = 40) -> list[FormatResult]:
    """Writes clips of 75 crops in each format below a folder, and reads random frames from them.

    Every format reads the same frames. Times are medians, so that bursts of other processes do not count.

    Args:
        folder: for the files.
        clips: how many clips to write.
        size: side of the crops in pixels.
        reads: how often to read each number of frames in `READS`.
    """
    contents = list(islice(clips_to_store(size), clips))
    return [_measure(each, folder, contents, size, reads) for each in FORMATS]


def _measure(format_: Format, folder: Path, clips: list[Crops], size: int, reads: int) -> FormatResult:
    base = folder / f"{size}" / format_.name.replace(" ", "_").replace(".", "")
    folders = [base / f"{i}" for i in range(len(clips))]
    start = time.perf_counter()
    for path, crops in zip(folders, clips, strict=True):
        path.mkdir(parents=True)
        format_.write(path, crops)
    write_ms = (time.perf_counter() - start) / len(clips) * 1000
    all_frames = np.arange(NUM_FRAMES)
    error = np.mean(
        [np.abs(format_.read(p, all_frames).astype(int) - c).mean() for p, c in zip(folders, clips, strict=True)]
    )
    times: list[float] = []
    for count in READS:
        rng, elapsed = np.random.default_rng(0), []
        for path in islice(cycle(folders), reads):
            indices = np.sort(rng.choice(NUM_FRAMES, count, replace=False))
            start = time.perf_counter()
            format_.read(path, indices)
            elapsed.append(time.perf_counter() - start)
        times.append(float(np.median(elapsed)) * 1000)
    files = [path for path in base.rglob("*") if path.is_file()]
    total = sum(path.stat().st_size for path in files)
    files_per_clip = len(files) // len(clips)
    return FormatResult(format_.name, size, total / len(clips), tuple(times), files_per_clip, write_ms, float(error))


def clips_to_store(size: int) -> Iterator[Crops]:
    """Yields many different clips, (75, size, size, 3), of a real recording if there is one, otherwise drawn."""
    path = Path(os.environ.get("FER_TEST_CLIPS", "")) / "single_face.mp4"
    frames = [frame for _, frame in open_video(path).frames()] if path.is_file() else []
    for number in range(10_000):
        yield _real_clip(frames, size, number) if frames else _drawn_clip(size, number)


def _real_clip(frames: list[NDArray[np.uint8]], size: int, number: int) -> Crops:
    """Cuts the middle square of the recording, played back and forth; each clip starts at another frame."""
    height, width = frames[0].shape[:2]
    left = (width - height) // 2
    back_and_forth = cycle(frames + frames[::-1])
    selected = islice(back_and_forth, number * 7 % len(frames), number * 7 % len(frames) + NUM_FRAMES)
    squares = [cv2.resize(f[:, left : left + height], (size, size), interpolation=cv2.INTER_AREA) for f in selected]
    return np.stack(squares).astype(np.uint8)


def _drawn_clip(size: int, number: int) -> Crops:
    rng = np.random.default_rng(number)
    soft = cv2.resize(rng.uniform(40, 200, (6, 6, 3)).astype(np.float32), (size, size), interpolation=cv2.INTER_CUBIC)
    crops = np.empty((NUM_FRAMES, size, size, 3), np.uint8)
    for i in range(NUM_FRAMES):
        picture = np.ascontiguousarray(soft)
        centre = (int(size * (0.5 + 0.03 * np.sin(i / 9))), int(size * (0.5 + 0.02 * np.cos(i / 7))))
        cv2.ellipse(picture, centre, (size // 3, int(size / 2.3)), 0, 0, 360, (205, 160, 135), -1, cv2.LINE_AA)
        for side in (-1, 1):
            eye = (centre[0] + side * size // 8, centre[1] - size // 10)
            cv2.ellipse(picture, eye, (size // 18, size // 36), 0, 0, 360, (50, 40, 40), -1, cv2.LINE_AA)
        mouth = (centre[0], centre[1] + size // 5)
        opening = max(1, int(size / 30 * (1 + np.sin(i / 4))))
        cv2.ellipse(picture, mouth, (size // 9, opening), 0, 0, 360, (150, 60, 70), -1, cv2.LINE_AA)
        picture = cv2.GaussianBlur(picture, (0, 0), size / 150) + rng.normal(0, 3, picture.shape)
        crops[i] = np.clip(picture, 0, 255)
    return crops


def run(quick: bool = False) -> None:
    """Measures all formats and prints a table."""
    sizes, clips = ((128,), 2) if quick else ((128, 224), 8)
    heads = "".join(f"{f'{count} of {NUM_FRAMES}':>12}" for count in READS)
    print(f"{'format':<32}{'pixels':>7}{'kB/clip':>10}{heads}{'write':>10}{'error':>7}   (times in ms)")
    with tempfile.TemporaryDirectory() as folder:
        for size in sizes:
            for row in compare_formats(Path(folder), clips, size):
                times = "".join(f"{ms:>12.2f}" for ms in row.ms_per_read)
                size_kb = row.bytes_per_clip / 1000
                print(f"{row.name:<32}{size:>7}{size_kb:>10.0f}{times}{row.write_ms:>10.0f}{row.error:>7.2f}")
