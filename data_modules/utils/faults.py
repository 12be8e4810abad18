"""Distinguishes errors in the content of a file from errors of the machine, which may pass."""

import errno
import sys
from collections.abc import Iterator

from safetensors import SafetensorError

CONTENT = (
    ValueError,
    LookupError,
    ArithmeticError,
    EOFError,
    NotImplementedError,
    OSError,
    SafetensorError,
)
"""Errors that readers raise about the content of a file."""
PLACE = frozenset(
    {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ}
)
"""Errors of the system about a path, which remain until the path changes."""


def is_passing(error: BaseException) -> bool:
    """Returns whether an error may pass: one of memory, disk, network, permissions or GPU, not of a file's content.

    Unknown errors count as passing, as trying again does no harm.
    """
    if any(isinstance(cause, MemoryError) or _is_system_error(cause) for cause in _chain(error)):
        return True
    return not (isinstance(error, CONTENT) or _is_of_ffmpeg(error))


def _is_system_error(error: BaseException) -> bool:
    """Returns whether an error comes from the operating system.

    FFmpeg reports truncated files as input/output errors, and Pillow's errors have no number; neither counts. Failing
    disks are still detected, as preparing a clip begins with reading all its bytes.
    """
    if not isinstance(error, OSError) or _is_of_ffmpeg(error):
        return False
    return error.errno is not None and error.errno not in PLACE


def _is_of_ffmpeg(error: BaseException) -> bool:
    """Returns whether PyAV raised an error; a process that has not imported it has no such errors."""
    errors = sys.modules.get("av.error")
    return errors is not None and isinstance(error, errors.FFmpegError)


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__
