"""Makes what extracts faces in a process of its own, which imports no models: that would take seconds."""

from pathlib import Path

import torch

from data_modules.faces.settings import FaceSettings
from data_modules.prepare.clip_preparer import ClipPreparer
from data_modules.utils.processors import usable_processors
from data_modules.video.source import DEFAULT_READER, Reader

MAX_THREADS = 4  # frames that the detector processes at once on a CPU


def make_preparer(
    settings: FaceSettings,
    store: Path,
    device: torch.device,
    processes: int = 1,
    everybody: bool = False,
    reader: Reader = DEFAULT_READER,
) -> ClipPreparer:
    """Returns what extracts the faces of files that are named by absolute paths.

    Args:
        settings: how faces are extracted.
        store: folder of the faces.
        device: where networks run.
        processes: that extract faces at the same time.
        everybody: whether the faces of each person are extracted, or only the main one's.
        reader: of video files, see `VideoFile`.

    Raises:
        DetectorNotFoundError: the detector is not installed.
        ReaderNotFoundError: the reader is not installed.
    """
    threads = max(1, min(usable_processors(), MAX_THREADS) // max(processes, 1))
    where = "cuda" if device.type == "cuda" else "cpu"
    return ClipPreparer(Path.cwd(), settings, store, where, threads, everybody, shots=True, reader=reader)
