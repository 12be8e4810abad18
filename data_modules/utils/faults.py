"""Whether a failure lies in the content of a file, or in the machine and may be over when it is tried again."""

import errno
from collections.abc import Iterator

from av.error import FFmpegError
from safetensors import SafetensorError

CONTENT = (
    ValueError,
    LookupError,
    ArithmeticError,
    EOFError,
    NotImplementedError,
    OSError,
    FFmpegError,
    SafetensorError,
)
"""What readers raise about the bytes that they were given."""
PLACE = frozenset(
    {errno.ENOENT, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL, errno.EILSEQ}
)
"""Errors of the system that lie in what a path says, and stay until it says something else."""


def is_passing(error: BaseException) -> bool:
    """Whether a failure may pass: memory, disk, network, permissions or a GPU failed, not the content of a file.

    What is not known to lie in the content counts as passing: to try it again loses nothing.
    """
    if any(isinstance(cause, MemoryError) or _of_the_system(cause) for cause in _chain(error)):
        return True
    return not isinstance(error, CONTENT)


def _of_the_system(error: BaseException) -> bool:
    """Whether the system refused something; FFmpeg calls a file cut short an input/output error, Pillow sets no number.

    Disks that fail are found nevertheless: preparing a clip begins with reading all of its bytes.
    """
    if not isinstance(error, OSError) or isinstance(error, FFmpegError):
        return False
    return error.errno is not None and error.errno not in PLACE


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__
