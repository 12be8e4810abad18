"""`fer predict`: the expressions of videos and files of sound over time."""

from argparse import RawDescriptionHelpFormatter
from collections.abc import Sequence
from pathlib import Path

from data_modules.audio.speech import AudioLibraryNotFoundError
from data_modules.faces.errors import DetectorNotFoundError
from data_modules.utils.pool import Failure
from data_modules.utils.text import printable_line
from fer_lightning.cli.parsing import CommandParser, add_reader_option
from fer_lightning.cli.recognition import add_recognition_options, chosen_model, chosen_recognition
from fer_lightning.predict.data_dictionary import columns_for_help
from fer_lightning.predict.request import PredictionRequest
from fer_lightning.predict.video_files import find_videos

EPILOG = f"""files in the folder of each video:
  index.html        the video with the face's box, and expressions over time; it works without a network
  expressions.csv   a row for each moment; also as .json, with all settings and what the model is
  expressions.eaf   a document of ELAN, and subtitles, expressions.vtt
  frames.csv        with --rows frames: a row for each frame
  timeline.png      faces, audio and expressions over time; and annotated.mp4, with everything drawn in
and beside these folders, over all of them: all-videos.html, all-videos.csv, and columns.md, which explains the tables

columns of expressions.csv, a line for each row:
{columns_for_help()}

Probabilities are calibrated if the run's calibration.json, in its folder or beside the checkpoint, has a temperature.
With --abstain 0.1, rows are unsure whose confidence is below a threshold above which at most 10 % of the clips of the
inner split are wrong, which holds with 95 % confidence for clips of that kind; other videos may be harder."""


def main(arguments: list[str]) -> int:
    """Runs `fer predict VIDEO... [--checkpoint RUN]`; returns 0, or 1 if a video could not be read or annotated.

    Raises:
        FileNotFoundError: there is no such run, none of the videos exists, or a folder has no videos.
        ValueError: an option is invalid, the checkpoint cannot be used, or a package is not installed.
    """
    request, missing = parse(arguments[1:])
    total, unreadable, incomplete = len(request.videos) + len(missing), len(missing), 0

    def show(number: int, text: str) -> None:
        print(f"[{number} of {total}] " * (total > 1) + text, flush=True)

    for number, name in enumerate(missing, start=1):
        show(number, f"{printable_line(name)}: not predicted. There is no such file or folder")

    # what follows takes seconds to import, so names are checked before
    from fer_lightning.predict.run import predict

    try:
        for number, (path, result) in enumerate(predict(request), start=len(missing) + 1):
            if isinstance(result, Failure):
                unreadable += 1
                show(number, f"{printable_line(path)}: not predicted. {printable_line(result.reason)}")
            else:
                incomplete += bool(result.no_video)
                show(number, f"{printable_line(path.name)}: {result.paragraph()}")
    except (DetectorNotFoundError, AudioLibraryNotFoundError) as error:
        raise ValueError(str(error)) from error
    if unreadable and total > 1:
        print(f"{unreadable} of {total} videos could not be read; the reasons are given above")
    return 1 if unreadable or incomplete else 0


def make_parser() -> CommandParser:
    """Returns the parser of the command."""
    default = PredictionRequest
    parser = CommandParser(
        "fer predict",
        description="Recognises expressions over time in videos, and in files of sound with a model of audio.",
        epilog=EPILOG,
        formatter_class=RawDescriptionHelpFormatter,
    )
    add = parser.add_argument
    add("videos", nargs="+", metavar="VIDEO", help="a file (of sound: wav, flac, mp3, m4a, ...), or a folder of them")
    add_recognition_options(parser)
    add("--out", type=Path, default=default.out, help="folder for the results (predictions/)")
    add("--workers", type=int, default=default.workers, help="videos read at the same time, each by a process (1)")
    add(
        "--rows",
        choices=("windows", "frames"),
        default="windows",
        help="frames: also write frames.csv, with a row for each frame: its box, head pose and probabilities (windows)",
    )
    add_reader_option(parser)
    add("--no-video", action="store_true", help="do not write annotated.mp4; an earlier one is deleted")
    return parser


def parse(arguments: Sequence[str]) -> tuple[PredictionRequest, list[str]]:
    """Parses the command line; returns the request, and the named videos that do not exist.

    Raises:
        FileNotFoundError: there is no such run, none of the videos exists, or a folder has no videos.
        ValueError: an option has an invalid value.
    """
    options = make_parser().parse(arguments)
    videos, missing = find_videos(options.videos)
    request = PredictionRequest(
        tuple(videos),
        chosen_model(options),
        options.out,
        chosen_recognition(options),
        not options.no_video,
        options.workers,
        options.rows == "frames",
        options.reader,
    )
    return request, missing
