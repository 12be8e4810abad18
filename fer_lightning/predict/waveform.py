"""The outline of a video's audio over time, for figures."""

from itertools import pairwise

import numpy as np
from numpy.typing import NDArray

from data_modules.audio.settings import AUDIO_RATE
from fer_lightning.predict.faces import VideoFaces

COLUMNS = 1600  # about one per pixel
MIN_SAMPLES = 8  # in a column


def envelope(faces: VideoFaces, duration: float, columns: int = COLUMNS) -> NDArray[np.float32]:
    """Returns, (N, 2), the lowest and highest sample in each of N <= `columns` equal parts of a video.

    Parts without audio are NaN. Only one part is in memory at a time.

    Args:
        faces: of the video.
        duration: of the video in seconds.
        columns: the largest number of parts.
    """
    count = max(1, min(columns, int(duration * AUDIO_RATE / MIN_SAMPLES)))
    edges = np.linspace(0, duration, count + 1).tolist()
    extremes = np.full((count, 2), np.nan, dtype=np.float32)
    for column, (start, stop) in enumerate(pairwise(edges)):
        samples = faces.audio(start, stop)
        if len(samples):
            extremes[column] = samples.min(), samples.max()
    return extremes
