"""Reads videos as face extraction does, with each reader: opened, every fourth frame for the detector, then all.

Times are of the processor, the least of several passes in turn, so that other processes do not count.
"""

import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import get_args

import av
import cv2
import numpy as np

from data_modules.faces.settings import FaceSettings
from data_modules.video.reader import describe_reader, open_video
from data_modules.video.source import Reader
from data_modules.video.torchcodec_frames import ReaderNotFoundError

SIZES = ((640, 360), (1280, 720), (1920, 1080))
FRAMES, REPEATS = 100, 7


def read_as_for_faces(path: Path, reader: Reader) -> None:
    """Reads a video twice, as `FaceExtractor` does."""
    source = open_video(path, reader=reader)
    for every in (FaceSettings.every, 1):
        for _ in source.frames(every=every):
            pass


def read_few(path: Path, reader: Reader) -> None:
    """Reads five frames spread over a video."""
    source = open_video(path, reader=reader)
    for _ in source.frames(range(0, source.num_frames, source.num_frames // 5)[:5]):
        pass


def processor_seconds(readers: Sequence[Reader], path: Path, repeats: int) -> Iterator[tuple[str, list[float]]]:
    """Yields each way of reading with the seconds that each reader needs."""
    for title, read in (("twice, as for faces", read_as_for_faces), ("five frames", read_few)):
        least = [float("inf")] * len(readers)
        for _ in range(repeats):
            for number, work in enumerate(partial(read, path, reader) for reader in readers):
                begin = time.process_time()
                work()
                least[number] = min(least[number], time.process_time() - begin)
        yield title, least


def write_moving(path: Path, width: int, height: int, frames: int) -> Path:
    """Encodes soft noise that moves by a pixel a frame, as H.264 with a key frame every second."""
    noise = np.random.default_rng(0).integers(0, 255, (height + frames, width + frames, 3), dtype=np.uint8)
    soft = np.clip((cv2.GaussianBlur(noise, (0, 0), 3).astype(np.float32) - 128) * 4 + 128, 0, 255).astype(np.uint8)
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=25, options={"crf": "23", "preset": "veryfast", "g": "25"})
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        for i in range(frames):
            picture = np.ascontiguousarray(soft[i : i + height, i : i + width])
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        file.mux(stream.encode())
    return path


def run(quick: bool = False) -> None:
    """Prints the time of each reader that is installed, and its ratio to PyAV's; says why another one is not."""
    readers = list[Reader]()
    for reader in get_args(Reader):
        try:
            print(f"  {describe_reader(reader)}")
            readers.append(reader)
        except ReaderNotFoundError as error:
            print(f"  not measured: {error}")
    with tempfile.TemporaryDirectory() as folder:
        sizes, frames = (SIZES[:1], 20) if quick else (SIZES, FRAMES)
        paths = [write_moving(Path(folder, f"{w}x{h}.mp4"), w, h, frames) for w, h in sizes]
        real = sorted(Path(os.environ.get("FER_TEST_CLIPS", "/nowhere")).glob("*.mp4"))
        for path in [*paths, *([] if quick else real)]:
            for title, seconds in processor_seconds(readers, path, 1 if quick else REPEATS):
                times = ", ".join(
                    f"{reader} {1000 * each:.0f} ms ({each / seconds[0]:.2f})"
                    for reader, each in zip(readers, seconds, strict=True)
                )
                print(f"  {path.stem}, {title}: {times}")
