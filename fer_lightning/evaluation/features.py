"""Measures how well the features of clips separate the classes."""

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import silhouette_score


def silhouette(feature: NDArray[np.float32], emotion: NDArray[np.str_]) -> float:
    """Returns the mean silhouette, -1 to 1, of clip features (N, D) grouped by their true emotion (N,).

    The result is NaN with fewer than two classes or as many classes as clips, where the silhouette is undefined.
    Source: Rousseeuw, "Silhouettes: a graphical aid to the interpretation and validation of cluster analysis", 1987.
    """
    classes = len(np.unique(emotion))
    return float(silhouette_score(feature, emotion)) if 2 <= classes < len(emotion) else float("nan")
