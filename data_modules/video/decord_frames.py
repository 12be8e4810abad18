"""Reads a few frames of a video with decord, which is imported when it is first needed."""

from collections.abc import Iterator, Sequence
from pathlib import Path

from data_modules.video.source import Frame


def sparse_frames(path: Path, indices: Sequence[int], num_frames: int) -> Iterator[tuple[int, Frame]]:
    """Yields a few frames of an intact file, read by decord, which skips those between; stops early if decord fails."""
    try:
        import torch  # noqa: F401 - decord crashes if it is imported before torch
        import decord  # isort: skip

        decord.logging.set_level(decord.logging.QUIET)
        reader = decord.VideoReader(str(path.absolute()), num_threads=1)
    except (ImportError, OSError, RuntimeError):  # no wheel for this machine, or a file that decord cannot read
        return
    if len(reader) != num_frames:
        return
    for index in indices:
        try:
            frame = reader[index].asnumpy()
        except (RuntimeError, IndexError):
            return
        yield index, frame
