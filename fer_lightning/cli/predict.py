"""`fer predict`: the expressions of videos over time."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from data_modules.audio.speech import AudioLibraryNotFoundError
from data_modules.faces.errors import DetectorNotFoundError
from data_modules.faces.settings import FaceSettings
from data_modules.utils.pool import Failure
from fer_lightning.predict.run import PredictionRequest, predict
from fer_lightning.predict.video_files import find_videos, printable_line


def main(arguments: list[str]) -> int:
    """Runs `fer predict VIDEO... --checkpoint RUN`; returns 0, or 1 if a video could not be read.

    Raises:
        FileNotFoundError: there is no checkpoint, or a folder has no videos.
        ValueError: an option is invalid, the checkpoint cannot be used, or a package is not installed.
    """
    request = parse(arguments[1:])
    videos = find_videos(request.videos)
    if request.out.exists() and not request.out.is_dir():
        raise ValueError(f"--out {request.out} is a file; expected a folder, or a name that is not in use")
    unreadable = 0
    try:
        for done, (path, result) in enumerate(predict(request, videos), start=1):
            unreadable += isinstance(result, Failure)
            if isinstance(result, Failure):
                text = f"{printable_line(path)}: not predicted. {printable_line(result.reason)}"
            else:
                text = f"{printable_line(path.name)}: {result.paragraph()}"
            print(f"[{done} of {len(videos)}] " * (len(videos) > 1) + text, flush=True)
    except (DetectorNotFoundError, AudioLibraryNotFoundError) as error:
        raise ValueError(str(error)) from error
    if unreadable and len(videos) > 1:
        print(f"{unreadable} of {len(videos)} videos could not be read; the reasons are given above")
    return 1 if unreadable else 0


def parse(arguments: Sequence[str]) -> PredictionRequest:
    """Parses the command line.

    Raises:
        ValueError: an option has an invalid value.
    """
    parser = argparse.ArgumentParser("fer predict", description="Recognises expressions over time in videos.")
    parser.add_argument("videos", nargs="+", type=Path, metavar="VIDEO", help="a file, or a folder with videos")
    parser.add_argument(
        "--checkpoint",
        type=Path,
        required=True,
        metavar="RUN",
        help="folder of a run or of an ensemble, or a checkpoint",
    )
    parser.add_argument("--out", type=Path, default=Path("predictions"), help="folder for the results (predictions/)")
    parser.add_argument("--detector", choices=("mtcnn", "insightface"), default="mtcnn", help="finds the faces (mtcnn)")
    parser.add_argument("--window", type=float, default=2.0, help="seconds of video for each expression (2)")
    parser.add_argument("--hop", type=float, default=0.5, help="seconds from one row to the next (0.5)")
    parser.add_argument("--every", type=int, default=FaceSettings.every, help="look for faces in every n-th frame (4)")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 or mps")
    parser.add_argument("--workers", type=int, default=1, help="videos read at the same time, each by a process (1)")
    parser.add_argument("--no-video", action="store_true", help="do not write annotated.mp4; an earlier one is deleted")
    parser.add_argument(
        "--head-pose", action="store_true", help="measure yaw, pitch and roll even if the model needs no landmarks"
    )
    options = parser.parse_args(arguments)
    if not 0 < options.hop <= options.window < float("inf"):
        raise ValueError(
            f"--hop {options.hop:g} --window {options.window:g}: expected 0 < hop <= window, in seconds; with a longer "
            "hop, parts of the video would not be in any window"
        )
    if options.workers < 0:
        raise ValueError(f"--workers {options.workers}: expected 1 or more, or 0 to read videos in this process")
    if options.every < 1:
        raise ValueError(f"--every {options.every}: expected 1 (every frame) or more")
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
