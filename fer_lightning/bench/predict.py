"""Time of prediction against the length of a video: a rendered person at 640 x 360, MTCNN, the small model."""

import contextlib
import io
import tempfile
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from data_modules.labels import SEVEN
from data_modules.synthetic.clip import ClipSettings, render_clip
from data_modules.synthetic.writer import write_video
from data_modules.utils.pool import Failure
from fer_lightning.experiments.lightning_cli import FerCLI
from fer_lightning.experiments.request import ExperimentRequest
from fer_lightning.predict.request import PredictionRequest

WIDTH, HEIGHT, FPS = 640, 360, 25


def frames_of_a_person(seconds: int) -> NDArray[np.uint8]:
    """Returns frames (T, H, W, 3) of a rendered person of 256² pixels in the middle of grey, who is seen without a cut.

    A clip is played forth and back.
    """
    clip = render_clip(ClipSettings("lab", 0, SEVEN[0])).frames
    there_and_back = np.concatenate([clip, clip[::-1]])
    faces = there_and_back[np.arange(seconds * FPS) % len(there_and_back)]
    frames = np.full((len(faces), HEIGHT, WIDTH, 3), 96, np.uint8)
    top, left = (HEIGHT - faces.shape[1]) // 2, (WIDTH - faces.shape[2]) // 2
    frames[:, top : top + faces.shape[1], left : left + faces.shape[2]] = faces
    return frames


def write_long_video(path: Path, seconds: int) -> None:
    """Writes a video of `frames_of_a_person`."""
    write_video(path, frames_of_a_person(seconds), None)


def write_untrained(path: Path) -> None:
    """Writes a checkpoint of the default experiment's untrained model, which is as fast as a trained one."""
    cli = FerCLI([*ExperimentRequest("ceflnet_synthetic").command_line(), "--trainer.logger", "false"], run=False)
    content = {"state_dict": cli.model.state_dict(), "epoch": 0, "global_step": 0}
    cli.model.configuration = cli.plain_config()
    cli.model.on_save_checkpoint(content)
    torch.save(content, path)


def run(quick: bool = False) -> None:
    """Prints the speed relative to real time with and without the annotated video, start-up excluded."""
    from fer_lightning.predict.run import predict  # it needs a decoder, and `frames_of_a_person` does not

    seconds = 2 if quick else 30
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        video, checkpoint = folder / "long.mp4", folder / "untrained.ckpt"
        write_long_video(video, seconds)
        write_untrained(checkpoint)
        for annotated in (False, True):
            request = PredictionRequest((video,), checkpoint, folder / "out", video=annotated)
            with contextlib.redirect_stdout(io.StringIO()):
                ((_, result),) = predict(request)
            if isinstance(result, Failure):
                raise RuntimeError(result.reason)
            what = f"{'with' if annotated else 'without'} the annotated video"
            speed = f"{seconds} s of video in {result.total:.1f} s, {seconds / result.total:.2f} x real time"
            print(f"{WIDTH} x {HEIGHT} at {FPS} fps, {what}: {speed}")
