"""`fer predict`: any video in, expressions over time out."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from data_modules.audio.speech import AudioLibraryNotFoundError
from data_modules.faces.errors import DetectorNotFoundError
from data_modules.faces.settings import FaceSettings
from data_modules.utils.pool import Failure
from fer_lightning.predict.run import PredictionRequest, predict
from fer_lightning.predict.video_files import shown, videos_of


def main(arguments: list[str]) -> int:
    """`fer predict VIDEO... --checkpoint RUN`: 0, or 1 if a video could not be read.

    Raises:
        FileNotFoundError: no checkpoint, or a folder without any video.
        ValueError: an option makes no sense, the checkpoint cannot be used, or the detector is not installed.
    """
    request = parse(arguments[1:])
    videos = videos_of(request.videos)
    if request.out.exists() and not request.out.is_dir():
        raise ValueError(f"--out {request.out} is a file; expected a folder, or a name that is free")
    unreadable = 0
    try:
        for done, (path, result) in enumerate(predict(request, videos), start=1):
            unreadable += isinstance(result, Failure)
            said = f"not predicted. {shown(result.reason)}" if isinstance(result, Failure) else result.paragraph()
            count = f"[{done} of {len(videos)}] " if len(videos) > 1 else ""
            print(f"{count}{shown(path if isinstance(result, Failure) else path.name)}: {said}", flush=True)
    except (DetectorNotFoundError, AudioLibraryNotFoundError) as error:
        raise ValueError(str(error)) from error
    if unreadable and len(videos) > 1:
        print(f"{unreadable} of {len(videos)} videos could not be read; the reasons stand above")
    return 1 if unreadable else 0


def parse(arguments: Sequence[str]) -> PredictionRequest:
    """The options of the command line.

    Raises:
        ValueError: a value makes no sense.
    """
    parser = argparse.ArgumentParser("fer predict", description="Expressions over time of any videos.")
    parser.add_argument("videos", nargs="+", type=Path, metavar="VIDEO", help="file, or folder with videos")
    parser.add_argument(
        "--checkpoint",
        type=Path,
        required=True,
        metavar="RUN",
        help="folder of a run, an ensemble's too, or checkpoint",
    )
    parser.add_argument("--out", type=Path, default=Path("predictions"), help="folder for the results (predictions/)")
    parser.add_argument("--detector", choices=("mtcnn", "insightface"), default="mtcnn", help="finds the faces (mtcnn)")
    parser.add_argument("--window", type=float, default=2.0, help="seconds of video for one expression (2)")
    parser.add_argument("--hop", type=float, default=0.5, help="seconds from one row to the next (0.5)")
    parser.add_argument("--every", type=int, default=FaceSettings.every, help="look for faces in each n-th frame (4)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 or mps")
    parser.add_argument("--workers", type=int, default=1, help="videos read at a time, a process for each (1)")
    parser.add_argument("--no-video", action="store_true", help="no annotated.mp4; one from before is deleted")
    parser.add_argument(
        "--head-pose", action="store_true", help="find yaw, pitch and roll also where the model needs no landmarks"
    )
    options = parser.parse_args(arguments)
    if not 0 < options.hop <= options.window < float("inf"):
        raise ValueError(
            f"--hop {options.hop:g} --window {options.window:g}: expected 0 < hop <= window, in seconds; with a longer "
            "hop, parts of the video would be in no window"
        )
    if options.workers < 0:
        raise ValueError(f"--workers {options.workers}: expected 1 or more, or 0 to read videos in this process")
    if options.every < 1:
        raise ValueError(f"--every {options.every}: expected 1 (each frame) or more")
    return PredictionRequest(
        tuple(options.videos),
        options.checkpoint,
        options.out,
        options.detector,
        options.window,
        options.hop,
        options.every,
        options.device,
        not options.no_video,
        options.workers,
        options.head_pose,
    )
