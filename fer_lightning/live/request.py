"""The arguments of `fer live`, checked before anything heavy is imported."""

import errno
import re
import socket
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from data_modules.utils.text import printable_line
from fer_lightning.predict.request import RecognitionOptions

HOST = "127.0.0.1"
PORT = 8551
PACKAGES = ("starlette", "uvicorn", "websockets")
STREAM = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)


@dataclass(frozen=True)
class LiveRequest:
    """The arguments of one call of `fer live`; without a checkpoint, the suite's own model recognises.

    Args:
        checkpoint: run, checkpoint or file of the model.
        options: how expressions are recognised; `every`, `people`, `window` and `hop` are those of recordings, too.
        camera: number of the browser's camera, counted from 0.
        source: a video file or the address of a stream, which is read in the place of a camera.
        out: folder of recordings.

    Raises:
        FileNotFoundError: there is no such file.
        ValueError: a value is invalid; the message names the option.
    """

    checkpoint: Path | None
    options: RecognitionOptions
    camera: int = 0
    source: str | None = None
    out: Path = Path("recordings")

    def __post_init__(self) -> None:
        if self.camera < 0:
            raise ValueError(f"--camera {self.camera}: expected the number of a camera, counted from 0")
        if self.source is not None and not STREAM.match(self.source) and not Path(self.source).is_file():
            raise FileNotFoundError(
                f"--input {printable_line(self.source)}: there is no such file; expected a video, or the address of a "
                "stream such as rtsp://192.168.0.7/stream"
            )
        if self.out.exists() and not self.out.is_dir():
            raise ValueError(f"--out {self.out} is a file; expected a folder, or a name that is not in use")


def check_packages() -> None:
    """Checks that the packages of the extra `live` are installed, without importing them.

    Raises:
        ValueError: one is missing.
    """
    missing = [name for name in PACKAGES if find_spec(name) is None]
    if missing:
        raise ValueError(f"{', '.join(missing)} not installed, which the page needs: pip install 'fer_lightning[live]'")


def open_port(port: int) -> socket.socket:
    """Returns a socket that listens on a port of this machine, which other machines cannot reach; 0 is a free port.

    Raises:
        ValueError: the port is in use, or not allowed.
    """
    listener = socket.socket()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((HOST, port))
        listener.listen()  # who comes before the server has begun is answered when it has
    except (OSError, OverflowError) as error:
        listener.close()
        reason = "is in use" if getattr(error, "errno", None) == errno.EADDRINUSE else f"cannot be used ({error})"
        raise ValueError(
            f"--port {port} {reason}; is another `fer live` running? Choose another one, or --port 0 for any"
        ) from error
    return listener
