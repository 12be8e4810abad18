"""Rendered clips as files: H.264 and AAC in MP4, JPEG for stills, the truth beside each; many at once, resumable."""

import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from multiprocessing import get_context
from pathlib import Path
from typing import TypeVar

import av
import cv2
import numpy as np
from numpy.typing import NDArray
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from data_modules.files import whole_file, write_whole
from data_modules.synthetic.clip import ClipSettings, RenderedClip, StillSettings, render_clip, render_still
from data_modules.synthetic.dynamics import FPS
from data_modules.synthetic.face_model import Array
from data_modules.synthetic.voice import RATE

Settings = TypeVar("Settings", ClipSettings, StillSettings)


def write_video(path: Path, frames: NDArray[np.uint8], sound: Array | None) -> None:
    """Writes (T, H, W, 3) RGB frames at 25 a second and 16 kHz sound as one MP4 file, whole or not at all."""
    with whole_file(path) as temporary, av.open(str(temporary), "w", format="mp4") as container:
        # one thread: the encoder's output then depends on the frames alone
        video = container.add_stream("libx264", rate=FPS, options={"preset": "ultrafast", "crf": "20", "threads": "1"})
        video.height, video.width = frames.shape[1:3]
        video.pix_fmt = "yuv420p"
        audio = None if sound is None else container.add_stream("aac", rate=RATE, layout="mono")
        for image in frames:
            container.mux(video.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(video.encode(None))
        if audio is not None and sound is not None:
            block = av.AudioFrame.from_ndarray(np.ascontiguousarray(sound[None]), format="fltp", layout="mono")
            block.sample_rate = RATE
            container.mux(audio.encode(block))
            container.mux(audio.encode(None))


def write_clip(settings: ClipSettings, folder: Path) -> str:
    """Renders a clip into `folder`: its truth first, then its video, which marks it as complete. Returns its id."""
    cv2.setNumThreads(1)  # clips are rendered side by side
    clip = render_clip(settings)
    clip.truth.save(folder / f"{settings.clip_id}.safetensors")
    write_video(folder / f"{settings.clip_id}.mp4", clip.frames, clip.sound)
    return settings.clip_id


def write_still(settings: StillSettings, folder: Path) -> str:
    """Renders a still image into `folder`: its truth first, then the JPEG, which marks it as complete."""
    cv2.setNumThreads(1)
    still: RenderedClip = render_still(settings)
    still.truth.save(folder / f"{settings.clip_id}.safetensors")
    jpeg = cv2.imencode(".jpg", still.frames[0, ..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])[1]
    write_whole(folder / f"{settings.clip_id}.jpg", jpeg.tobytes())
    return settings.clip_id


def _batch(write: Callable[[Settings, Path], str], batch: Sequence[Settings], folder: Path) -> int:
    for settings in batch:
        write(settings, folder)
    return len(batch)


def _steps(
    write: Callable[[Settings, Path], str], batches: Sequence[Sequence[Settings]], folder: Path, workers: int
) -> Iterator[int]:
    if workers <= 1:
        for batch in batches:
            yield _batch(write, batch, folder)
        return
    # spawn: the caller may hold threads (torch, decoders) that a forked process would inherit locked
    with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as pool:
        futures = [pool.submit(_batch, write, batch, folder) for batch in batches]
        try:
            for future in as_completed(futures):
                yield future.result()
        except BaseException:
            pool.shutdown(cancel_futures=True)
            raise


def write_all(
    write: Callable[[Settings, Path], str], wanted: Sequence[Settings], folder: Path, workers: int, what: str
) -> None:
    """Renders all settings into `folder`, in several processes, with a progress bar.

    Args:
        write: `write_clip` or `write_still`.
        wanted: what is missing.
        folder: where the files go.
        workers: processes; with one, everything happens in this process.
        what: the bar's title.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for left in folder.glob(".*"):  # of a run that was killed
        left.unlink()
    size = max(1, min(16, len(wanted) // (8 * max(workers, 1))))
    batches = [wanted[i : i + size] for i in range(0, len(wanted), size)]
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, disable=not sys.stderr.isatty()) as progress:
        task = progress.add_task(what, total=len(wanted))
        done, last = 0, time.monotonic()
        for count in _steps(write, batches, folder, min(workers, len(batches))):
            done += count
            progress.advance(task, count)
            if progress.disable and (time.monotonic() - last > 10 or done == len(wanted)):
                print(f"{what}: {done} of {len(wanted)}", flush=True)
                last = time.monotonic()
