"""`fer live`: a page on this machine with the expressions that its camera sees."""

from collections.abc import Sequence
from pathlib import Path

from data_modules.audio.speech import AudioLibraryNotFoundError
from data_modules.faces.errors import DetectorNotFoundError
from data_modules.utils.signals import Terminated
from fer_lightning.cli.parsing import CommandParser
from fer_lightning.cli.recognition import add_recognition_options, chosen_model, chosen_recognition
from fer_lightning.live.request import PORT, LiveRequest, check_packages, open_port


def main(arguments: Sequence[str]) -> int:
    """Serves the page until Ctrl-C; the recording that is being made then is completed.

    Raises:
        FileNotFoundError: there is no such run, or no such file.
        KeyboardInterrupt: another signal ended it.
        ValueError: an option has an invalid value, a package is missing, the port is in use, or the model cannot be
            used.
    """
    options = make_parser().parse(arguments[1:])
    request = LiveRequest(
        chosen_model(options), chosen_recognition(options), options.camera or 0, options.input, options.out
    )
    check_packages()
    with open_port(options.port) as listener:
        # what follows takes seconds to import, so names are checked before
        from fer_lightning.live.server import serve

        try:
            serve(request, listener)
        except (DetectorNotFoundError, AudioLibraryNotFoundError) as error:
            raise ValueError(str(error)) from error
        except KeyboardInterrupt as stop:
            if isinstance(stop, Terminated):
                raise
    return 0


def make_parser() -> CommandParser:
    """Returns the parser of the command."""
    parser = CommandParser(
        "fer live",
        description="Shows the expressions that a camera sees, on a page in a browser on this machine. Pictures never "
        "leave the machine. A recording gets the files that `fer predict` writes, by the same options.",
    )
    source = parser.add_mutually_exclusive_group()
    source.add_argument("--camera", type=int, metavar="N", help="the browser's camera, counted from 0 (0)")
    source.add_argument("--input", metavar="FILE|URL", help="a video, or a stream such as rtsp://..., and no camera")
    add_recognition_options(parser)
    parser.add_argument("--out", type=Path, default=LiveRequest.out, help="folder for recordings (recordings/)")
    parser.add_argument("--port", type=int, default=PORT, help=f"of 127.0.0.1; 0 for any that is free ({PORT})")
    return parser
