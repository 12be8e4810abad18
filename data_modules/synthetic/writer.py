"""Write rendered clips (H.264 and AAC in MP4) and stills (JPEG) with their ground truth, in parallel and resumable."""

import time
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from data_modules.synthetic.clip import ClipSettings, StillSettings, render_clip, render_still
from data_modules.synthetic.dynamics import FPS
from data_modules.synthetic.face_model import Array
from data_modules.synthetic.voice import RATE
from data_modules.utils.files import atomic_file, atomic_write
from data_modules.utils.pool import Failure, run_in_processes
from data_modules.utils.progress import progress
from data_modules.video.pyav import av

STALE_AFTER = 600.0  # seconds after which a temporary file is no longer in use
TIME_LIMIT = 300.0  # seconds for one clip; usually it takes about one second


def write_video(path: Path, frames: NDArray[np.uint8], audio: Array | None) -> None:
    """Write an MP4 file of (T, H, W, 3) RGB frames, 25 per second, and (n,) samples of audio at 16 kHz, atomically."""
    with atomic_file(path) as temporary, av.open(str(temporary), "w", format="mp4") as container:
        # with one thread, the output of the encoder depends only on the frames
        video = container.add_stream("libx264", rate=FPS, options={"preset": "ultrafast", "crf": "20", "threads": "1"})
        video.height, video.width = frames.shape[1:3]
        video.pix_fmt = "yuv420p"
        track = None if audio is None else container.add_stream("aac", rate=RATE, layout="mono")
        for image in frames:
            container.mux(video.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        container.mux(video.encode(None))
        if audio is not None and track is not None:
            block = av.AudioFrame.from_ndarray(np.ascontiguousarray(audio[None]), format="fltp", layout="mono")
            block.sample_rate, block.time_base, block.pts = RATE, Fraction(1, RATE), 0  # else its delay is heard
            container.mux(track.encode(block))
            container.mux(track.encode(None))


def write_clip(folder: Path, settings: ClipSettings | StillSettings) -> str:
    """Render a clip or a still into `folder`, first its truth, then its frames.

    Returns:
        The id of the clip.
    """
    clip = render_clip(settings) if isinstance(settings, ClipSettings) else render_still(settings)
    clip.truth.save(folder / f"{settings.clip_id}.safetensors")
    if isinstance(settings, ClipSettings):
        write_video(folder / f"{settings.clip_id}.mp4", clip.frames, clip.audio)
    else:
        jpeg = cv2.imencode(".jpg", clip.frames[0, ..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 92])[1]
        atomic_write(folder / f"{settings.clip_id}.jpg", jpeg.tobytes())
    return settings.clip_id


def _writer(folder: Path) -> Callable[[ClipSettings | StillSettings], str]:
    cv2.setNumThreads(1)  # clips are rendered in parallel
    return partial(write_clip, folder)


def write_all(clips: Sequence[ClipSettings | StillSettings], folder: Path, workers: int, title: str) -> None:
    """Render clips into a folder, in several processes, with a progress bar.

    Args:
        clips: settings of the clips to render.
        folder: where the files are written.
        workers: number of processes; 1 renders in this process.
        title: title of the progress bar.

    Raises:
        RuntimeError: a clip could not be rendered or written; the message names it. Finished clips are kept.
    """
    folder.mkdir(parents=True, exist_ok=True)
    for temporary in folder.glob(".*"):  # of a run that was killed; a recent one may belong to another process
        if time.time() - temporary.stat().st_mtime > STALE_AFTER:
            temporary.unlink()
    results = run_in_processes(partial(_writer, folder), clips, workers if workers > 1 else 0, TIME_LIMIT)
    with progress(title, len(clips)) as advance:
        for done, (settings, result) in enumerate(results, start=1):
            if isinstance(result, Failure):
                raise RuntimeError(
                    f"{settings.clip_id} could not be rendered: {result.reason}; run the same command again to continue"
                )
            advance(done)
