"""`fer faces`: the faces of videos, aligned as for training, with boxes, landmarks and a contact sheet."""

from argparse import ArgumentError, HelpFormatter
from pathlib import Path

from jsonargparse import ArgumentParser

from data_modules.faces.errors import DetectorNotFoundError
from data_modules.faces.settings import FaceSettings
from data_modules.utils.processors import usable_processors
from data_modules.utils.text import printable_line
from data_modules.video.audio_track import is_audio_file
from fer_lightning.cli.parsing import CommandParser, add_reader_option
from fer_lightning.experiments.misspelt import option_names, suggested
from fer_lightning.predict.video_files import find_videos


def make_parser() -> CommandParser:
    """Returns a parser of the names of the command's options, for the completion of the shell."""
    parser = CommandParser("fer faces")
    parser.add_argument("videos", nargs="+")
    for name in option_names(settings_parser()):
        if name != "--help":
            parser.add_argument(name)
    return parser


def settings_parser() -> ArgumentParser:
    """Returns the parser of the command; the settings of faces are the arguments of their class."""
    parser = ArgumentParser(
        prog="fer faces",
        usage="fer faces [OPTION ...] VIDEO [VIDEO ...]",  # the settings of tracking have defaults, too
        description="Extract the faces of videos, aligned as for training, with boxes, landmarks and a contact sheet.",
        formatter_class=HelpFormatter,
        exit_on_error=False,
        allow_abbrev=False,
    )
    parser.add_argument("videos", nargs="+", type=str, metavar="VIDEO", help="a file, or a folder with videos")
    parser.add_argument("--out", type=str, default="faces", help="folder for the results")
    parser.add_argument("--workers", type=int, default=usable_processors(), help="processes; all cores by default")
    add_reader_option(parser)
    parser.add_class_arguments(FaceSettings, skip={"jitter", "lengthen"})
    return parser


def main(arguments: list[str]) -> int:
    """Runs `fer faces VIDEO...`; returns 0, or 1 if a video could not be read.

    Raises:
        FileNotFoundError: none of the videos exists, or a folder has no videos.
        ValueError: an option is invalid, or the detector is not installed.
    """
    parser = settings_parser()
    try:
        options = parser.parse_args(arguments[1:])
    except ArgumentError as error:
        raise ValueError(suggested(error, parser)) from error
    parts = parser.instantiate_classes(options)  # the nested settings as objects
    settings = FaceSettings(**{name: parts[name] for name in FaceSettings.__dataclass_fields__ if name in parts})
    out = Path(options.out)
    videos, missing = find_videos(options.videos)
    if sound := [printable_line(path) for path in videos if is_audio_file(path)]:
        raise ValueError(f"found sound alone in {', '.join(sound[:5])}; expected videos, which may have faces")
    if out.exists() and not out.is_dir():
        raise ValueError(f"--out {out} is a file; expected a folder, or a name that is not in use")
    for name in missing:
        print(f"{printable_line(name)}: there is no such file or folder")

    # what follows takes seconds to import, so names are checked before
    from fer_lightning.predict.face_export import make_faces

    try:
        return max(bool(missing), make_faces(videos, out, settings, options.workers, options.reader))
    except DetectorNotFoundError as error:
        raise ValueError(str(error)) from error
