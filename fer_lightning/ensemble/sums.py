"""Average and weighted sum of models' probabilities, and the checks that all ensembles share."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Predictions = Mapping[str, ArrayLike]
"""A model's name -> its (M, C) probabilities; a row of NaN is a clip without a prediction."""

DECIMALS = 12
"""Sums are rounded to this number of decimals, so that ties do not depend on the order of summation."""


def average(p: Predictions) -> NDArray[np.float64]:
    """Returns the mean of the models' probabilities, (M, C) (Do et al., 2021, equation 30).

    Models without a prediction for a clip are left out of its mean; if no model has one, the row is NaN.

    Raises:
        ValueError: there are no models, shapes differ, or a row is only partly NaN.
    """
    names, values = stacked(p)
    return combined(values, np.full(len(names), 1 / len(names)))


def weighted_sum(p: Predictions, weights: Mapping[str, float]) -> NDArray[np.float64]:
    """Returns the weighted sum of probabilities, (M, C) (Li et al., 2019, equation 4).

    A row adds up to the sum of the weights. Where a model has no prediction, the weights of the others are scaled up to
    the same sum; if no model with a weight above zero has a prediction, the row is NaN.

    Raises:
        ValueError: as for `average`, or the weights are for other models, negative, not finite, or all zero.
    """
    names, values = stacked(p)
    return combined(values, weights_of(names, weights))


def weights_of(names: Sequence[str], weights: Mapping[str, float]) -> NDArray[np.float64]:
    """Returns the weights (K,) in the order of the names.

    Raises:
        ValueError: the weights are for other models, negative, not finite, or all zero.
    """
    if set(weights) != set(names):
        raise ValueError(f"weights for {', '.join(sorted(weights))}; expected one for each of {', '.join(names)}")
    values = np.array([weights[name] for name in names], dtype=np.float64)
    if not np.isfinite(values).all() or values.min() < 0 or values.sum() <= 0:
        raise ValueError(f"weights {values.tolist()}: expected numbers from 0 up, one of them above 0")
    return values


def combined(values: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Sums the probabilities (K, M, C) of K models with their weights (K,) to (M, C); see `weighted_sum`."""
    mass = weights @ has_prediction(values).astype(np.float64)  # (M,) total weight of the models with a prediction
    total = np.einsum("k,kmc->mc", weights, np.nan_to_num(values, nan=0.0))
    scale = np.divide(weights.sum(), mass, out=np.full_like(mass, np.nan), where=mass > 0)
    return np.asarray(np.round(total * scale[:, None], DECIMALS), dtype=np.float64)


def stacked(p: Predictions) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """Returns the models' names in alphabetical order, and their probabilities (K, M, C).

    Raises:
        ValueError: there are no models, shapes differ, or a row is only partly NaN.
    """
    if not p:
        raise ValueError("an ensemble of no models: expected at least one")
    names = tuple(sorted(p))
    arrays = [np.asarray(p[name], dtype=np.float64) for name in names]
    for name, array in zip(names, arrays, strict=True):
        if array.ndim != 2 or array.shape != arrays[0].shape:
            raise ValueError(
                f"model {name!r} has probabilities of shape {array.shape}, {names[0]!r} of {arrays[0].shape}; "
                "expected (clips, classes), the same for all"
            )
        broken = ~np.isfinite(array).all(axis=1) & ~np.isnan(array).all(axis=1)
        if broken.any():
            raise ValueError(
                f"model {name!r}, row {int(broken.argmax())}: {array[broken.argmax()].tolist()}; expected finite "
                "numbers, or NaN in all classes where there is no prediction"
            )
    return names, np.stack(arrays)


def has_prediction(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Returns whether there is a prediction (..., M), from probabilities (..., M, C)."""
    return np.asarray(~np.isnan(values).any(axis=-1))


def checked_labels(labels: ArrayLike, clips: int, classes: int) -> NDArray[np.int64]:
    """Returns the true classes (M,) after checking them.

    Raises:
        ValueError: there are no clips, or the labels are not M class indices.
    """
    values = np.asarray(labels)
    if values.shape != (clips,) or not clips or values.dtype.kind not in "iu":
        raise ValueError(
            f"labels of shape {values.shape} and type {values.dtype}; expected whole numbers, one for each of at least "
            f"one clip, of shape ({clips},)"
        )
    if values.min() < 0 or values.max() >= classes:
        raise ValueError(f"labels from {values.min()} to {values.max()}; expected indices from 0 to {classes - 1}")
    return values.astype(np.int64)


def count_correct(scores: NDArray[np.float64], labels: NDArray[np.int64]) -> int:
    """Counts the clips whose highest score (M, C) is that of their label (M,); the first of equal scores counts."""
    return int(((scores.argmax(axis=1) == labels) & has_prediction(scores)).sum())
