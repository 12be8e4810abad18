"""How loud a video's sound is over time, for pictures of it."""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from data_modules.audio.settings import AUDIO_RATE
from fer_lightning.predict.faces import VideoFaces

COLUMNS = 1600  # about a pixel each
FEWEST = 8  # samples in a column


def envelope(faces: VideoFaces, duration: float, columns: int = COLUMNS) -> NDArray[np.float32]:
    """(N, 2) the lowest and highest sample of each of N <= `columns` equal parts of a video; NaN where sound is none.

    One part is in memory at a time.

    Args:
        faces: of the video.
        duration: of the video in seconds.
        columns: at most so many parts.
    """
    count = max(1, min(columns, int(duration * AUDIO_RATE / FEWEST)))
    edges = np.linspace(0, duration, count + 1).tolist()
    extremes = np.full((count, 2), np.nan, dtype=np.float32)
    for column, (start, stop) in enumerate(pairwise(edges)):
        samples = faces.audio(start, stop)
        if len(samples):
            extremes[column] = samples.min(), samples.max()
    return extremes
