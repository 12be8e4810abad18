"""Compares forms in which face crops could be stored: time of a random read, and bytes a clip.

What is read is what training reads: 5 of 75 frames (one short clip of CEFLNet's) and 35 of 75 (all seven), from files
that the operating system has in memory, so that decoding and opening are measured, not the disk. Crops come from a
real clip where the variable FER_TEST_CLIPS names a folder of some (`single_face.mp4`, its middle square); otherwise
they are drawn: a smooth background and a few moving shapes with fine grain, which compress like a face.
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
    """What one form costs."""

    name: str
    size: int  # pixels, the crops' side
    bytes_per_clip: float
    ms_per_read: tuple[float, ...]  # for each of `READS`
    files_per_clip: int
    write_ms: float  # per clip
    error: float  # mean absolute difference to the original, 0 to 255


@dataclass(frozen=True)
class Form:
    """One way to store a clip."""

    name: str
    write: Callable[[Path, Crops], None]  # into an empty folder
    read: Callable[[Path, NDArray[np.int64]], Crops]


def _write_images(folder: Path, crops: Crops) -> None:
    for i, crop in enumerate(crops):
        cv2.imwrite(str(folder / f"{i:04}.jpg"), crop[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, QUALITY])


def _read_images(folder: Path, indices: NDArray[np.int64]) -> Crops:
    return np.asarray([cv2.imread(str(folder / f"{i:04}.jpg"), cv2.IMREAD_COLOR_RGB) for i in indices], dtype=np.uint8)


def _write_store(folder: Path, crops: Crops) -> None:
    box = np.zeros(4, np.float32)
    faces = (FaceFrame(i, crop, box, 1.0) for i, crop in enumerate(crops))
    ClipStore(folder).write(ClipSummary("clip", len(crops), 0), faces, quality=QUALITY)


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
    """With few frames it seeks from one to the next, with many it reads through: whatever is faster."""
    import torch  # noqa: F401 - decord imported before torch brings the process down
    import decord  # isort: skip

    reader = decord.VideoReader(str(folder / "clip.mp4"), num_threads=1)
    return np.asarray(reader.get_batch(indices.tolist()).asnumpy(), dtype=np.uint8)


FORMS = (
    Form("JPEG files in a folder", _write_images, _read_images),
    Form("JPEGs in one file (the store)", _write_store, _read_store),
    Form("uint8 .npy, mapped", _write_npy, _read_npy),
    Form("uint8 safetensors", _write_tensor, _read_tensor),
    Form("H.264, key frame every 8", _write_mp4(8), _read_mp4),
    Form("H.264, key frame every 75", _write_mp4(75), _read_mp4),
)


def compare_formats(folder: Path, clips: int = 8, size: int = 128, reads: int = 40) -> list[FormatResult]:
    """Writes `clips` clips of 75 crops in each form below `folder`, and reads `reads` random choices of frames.

    Every form reads the same frames; the median time is told, so that another process's burst does not count.
    """
    made = list(islice(clips_to_store(size), clips))
    return [_measure(form, folder, made, size, reads) for form in FORMS]


def _measure(form: Form, folder: Path, made: list[Crops], size: int, reads: int) -> FormatResult:
    places = [folder / f"{size}" / form.name.replace(" ", "_").replace(".", "") / f"{i}" for i in range(len(made))]
    start = time.perf_counter()
    for place, crops in zip(places, made, strict=True):
        place.mkdir(parents=True)
        form.write(place, crops)
    written = (time.perf_counter() - start) / len(made) * 1000
    everything = np.arange(NUM_FRAMES)
    error = np.mean(
        [np.abs(form.read(p, everything).astype(int) - c).mean() for p, c in zip(places, made, strict=True)]
    )
    times: list[float] = []
    for count in READS:
        rng, taken = np.random.default_rng(0), []
        for place in islice(cycle(places), reads):
            indices = np.sort(rng.choice(NUM_FRAMES, count, replace=False))
            start = time.perf_counter()
            form.read(place, indices)
            taken.append(time.perf_counter() - start)
        times.append(float(np.median(taken)) * 1000)
    files = [path for path in places[0].rglob("*") if path.is_file()]
    total = sum(path.stat().st_size for place in places for path in place.rglob("*") if path.is_file())
    return FormatResult(form.name, size, total / len(made), tuple(times), len(files), written, float(error))


def clips_to_store(size: int) -> Iterator[Crops]:
    """(75, size, size, 3) clips without end: of a real recording where there is one, otherwise drawn."""
    path = Path(os.environ.get("FER_TEST_CLIPS", "")) / "single_face.mp4"
    frames = [frame for _, frame in open_video(path).frames()] if path.is_file() else []
    for number in range(10_000):
        yield _real_clip(frames, size, number) if frames else _drawn_clip(size, number)


def _real_clip(frames: list[NDArray[np.uint8]], size: int, number: int) -> Crops:
    """The middle square of the recording, forwards and backwards, each clip from another frame on."""
    height, width = frames[0].shape[:2]
    left = (width - height) // 2
    there_and_back = cycle(frames + frames[::-1])
    taken = islice(there_and_back, number * 7 % len(frames), number * 7 % len(frames) + NUM_FRAMES)
    squares = [cv2.resize(f[:, left : left + height], (size, size), interpolation=cv2.INTER_AREA) for f in taken]
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
    """Measures all forms and prints the table."""
    sizes, clips = ((128,), 2) if quick else ((128, 224), 8)
    heads = "".join(f"{f'{count} of {NUM_FRAMES}':>12}" for count in READS)
    print(f"{'form':<32}{'pixels':>7}{'kB/clip':>10}{heads}{'write':>10}{'error':>7}   (times in ms)")
    with tempfile.TemporaryDirectory() as folder:
        for size in sizes:
            for row in compare_formats(Path(folder), clips, size):
                times = "".join(f"{ms:>12.2f}" for ms in row.ms_per_read)
                size_kb = row.bytes_per_clip / 1000
                print(f"{row.name:<32}{size:>7}{size_kb:>10.0f}{times}{row.write_ms:>10.0f}{row.error:>7.2f}")
