"""How well the features of clips separate the classes."""

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import silhouette_score


def silhouette(feature: NDArray[np.float32], emotion: NDArray[np.str_]) -> float:
    """The mean silhouette, -1 to 1, of clip features (N, D) grouped by their true emotion; NaN where undefined.

    It is undefined with fewer than two classes, or with as many classes as clips.
    """
    classes = len(np.unique(emotion))
    return float(silhouette_score(feature, emotion)) if 2 <= classes < len(emotion) else float("nan")
