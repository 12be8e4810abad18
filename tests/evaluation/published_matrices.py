"""The confusion matrices that Do et al. (2021) print, per cent of each row, and the figures printed beside them.

"Context-Aware Emotion Recognition in the Wild Using Spatio-Temporal and Temporal-Pyramid Models", Sensors 21(7), 2344:
figures 11 to 13 and tables 3 to 5, https://doi.org/10.3390/s21072344.
Classes are angry, disgust, fear, happy, neutral, sad and surprise.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

AFEW = (64, 40, 46, 63, 63, 61, 46)
"""Clips of each class in AFEW's validation set, 383 in all."""

# fmt: off
FIGURE_11 = """
75.0  0.0  0.0  0.0 12.5  4.7  7.8   84.4  1.6  0.0  0.0 10.9  3.1  0.0   78.1  3.1  0.0  0.0 17.2  0.0  1.6
25.0  2.5  0.0 10.0 30.0 32.5  0.0   32.5 10.0  0.0 10.0 35.0 10.0  2.5   22.5  5.0  0.0  2.5 47.5 22.5  0.0
34.8  0.0  2.2  4.3 13.0 28.3 17.4   37.0  0.0 21.7  2.2 15.2 21.7  2.2   34.8  2.2 10.9  0.0 17.4 23.9 10.9
 3.2  0.0  0.0 85.7  4.8  6.3  0.0   15.9  1.6  0.0 77.8  3.2  1.6  0.0    0.0  1.6  0.0 77.8 14.3  6.3  0.0
 7.9  3.2  4.8 12.7 58.7 12.7  0.0    9.5  3.2  4.8  6.3 73.0  3.2  0.0    6.3  6.3  3.2  3.2 76.2  4.8  0.0
 8.2  0.0  1.6  1.6 19.7 68.9  0.0   16.4  0.0  4.9  3.3 26.2 49.2  0.0    9.8  3.3  0.0  0.0 23.0 62.3  1.6
 8.7  0.0 10.9  8.7 32.6  6.5 32.6   17.4  2.2 26.1  6.5 28.3  4.3 15.2   10.9  2.2  4.3  0.0 45.7  4.3 32.6
"""
FIGURE_12 = """
78.1  3.1  4.7  0.0 14.1  0.0  0.0   60.9  4.7 12.5  0.0  6.3  4.7 10.9   75.0  1.6  7.8  0.0  7.8  3.1  4.7
22.5 20.0  2.5  5.0 32.5 15.0  2.5   15.0 30.0  5.0  7.5 15.0 17.5 10.0   22.5 17.5  5.0 10.0 22.5 20.0  2.5
23.9  2.2 32.6  4.3 10.9 21.7  4.3   21.7  0.0 43.5  2.2  6.5 15.2 10.9   28.3  0.0 37.0  2.2  8.7 17.4  6.5
 3.2  0.0  0.0 82.5 11.1  1.6  1.6    6.3  3.2  0.0 81.0  4.8  1.6  3.2    4.8  0.0  0.0 85.7  7.9  1.6  0.0
12.7  6.3  4.8  6.3 65.1  4.8  0.0    6.3 12.7  3.2  6.3 61.9  6.3  3.2    9.5  6.3  0.0  7.9 69.8  3.2  3.2
 4.9  4.9  4.9  1.6 23.0 60.7  0.0    0.0 16.4  3.3  3.3 14.8 59.0  3.3    3.3 11.5  4.9  1.6 18.0 60.7  0.0
17.4  4.3 13.0  6.5 34.8  0.0 23.9    6.5  6.5 19.6  2.2 17.4  4.3 43.5   17.4  2.2 17.4  2.2 34.8  6.5 19.6
"""
FIGURE_13 = """
82.8  3.1  4.7  0.0  9.4  0.0  0.0   75.0  4.7  6.3  0.0  7.8  1.6  4.7   79.7  0.0  6.3  0.0  9.4  1.6  3.1
17.5 17.5  2.5 12.5 35.0 15.0  0.0   17.5 27.5  2.5 12.5 22.5 12.5  5.0   17.5 25.0  0.0 12.5 20.0 17.5  7.5
21.7  4.3 34.8  2.2 15.2 17.4  4.3   17.4  2.2 26.1  2.2 13.0 26.1 13.0   21.7  2.2 39.1  0.0  8.7 17.4 10.9
 4.8  1.6  0.0 84.1  9.5  0.0  0.0    3.2  3.2  0.0 84.1  6.3  1.6  1.6    4.8  0.0  0.0 85.7  6.3  1.6  1.6
11.1  0.0  1.6  4.8 79.4  3.2  0.0    6.3 11.1  1.6  4.8 71.4  3.2  1.6    7.9  9.5  3.2  4.8 69.8  3.2  1.6
 3.3  4.9  4.9  1.6 31.1 54.1  0.0    1.6 18.0  3.3  1.6 14.8 59.0  1.6    1.6 13.1  4.9  0.0 19.7 57.4  3.3
15.2  4.3 13.0  6.5 41.3  0.0 19.6   10.9  6.5 13.0  0.0 23.9  4.3 41.3   17.4  2.2 13.0  6.5 23.9  0.0 37.0
"""
# fmt: on


@dataclass(frozen=True)
class Published:
    """What the paper prints of one model, per cent."""

    model: int
    rows: NDArray[np.float64]  # (7, 7)
    accuracy: float
    f1: float
    mean: float
    std: float

    @property
    def counts(self) -> NDArray[np.int64]:
        """(7, 8) the clips that the printed shares are of; no clip is without a prediction."""
        counts = np.rint(self.rows / 100 * np.array(AFEW)[:, None]).astype(np.int64)
        return np.pad(counts, ((0, 0), (0, 1)))


def _published(figure: str, *models: tuple[int, float, float, float, float]) -> list[Published]:
    values = np.array([line.split() for line in figure.strip().splitlines()], dtype=np.float64)
    return [
        Published(model, rows, *printed)
        for rows, (model, *printed) in zip(np.split(values, 3, axis=1), models, strict=True)
    ]


MATRICES = [
    *_published(
        FIGURE_11,
        (1, 51.70, 46.17, 46.51, 34.38),
        (2, 52.22, 48.26, 47.33, 31.73),
        (3, 54.05, 50.78, 48.98, 32.28),
    ),
    *_published(
        FIGURE_12,
        (6, 55.87, 54.06, 51.85, 25.98),
        (9, 56.66, 56.50, 54.25, 16.63),
        (8, 56.40, 53.99, 52.18, 27.47),
    ),
    *_published(
        FIGURE_13,
        (10, 57.70, 55.00, 53.18, 29.62),
        (11, 58.49, 57.40, 54.92, 23.50),
        (12, 59.79, 58.48, 56.24, 23.26),
    ),
]
