"""Sums of what several models say of the same clips, and what all ensembles check first."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Predictions = Mapping[str, ArrayLike]
"""A model's name -> its (M, C) probabilities; a row of NaN is a clip of which it has no prediction."""

DECIMALS = 12
"""Sums are rounded to so many: classes that tie on paper tie here, whatever order the models are summed in."""


def average(p: Predictions) -> NDArray[np.float64]:
    """The mean of the models' probabilities, (M, C) (Do et al., 2021, equation 30).

    A clip's mean is that of the models that have a prediction of it; where none has, the row is NaN.

    Raises:
        ValueError: no model, shapes that differ, or rows that are NaN in parts.
    """
    names, values = stacked(p)
    return combined(values, np.full(len(names), 1 / len(names)))


def weighted_sum(p: Predictions, weights: Mapping[str, float]) -> NDArray[np.float64]:
    """The sum of weight times probability, (M, C) (bi-modality paper, equation 4); a row adds up to the sum of weights.

    Where a model has no prediction, the weights of the others are scaled up to the same sum; where no model of a weight
    above zero has one, the row is NaN.

    Raises:
        ValueError: as `average`; weights for other models, below zero, not finite, or all zero.
    """
    names, values = stacked(p)
    return combined(values, weights_of(names, weights))


def weights_of(names: Sequence[str], weights: Mapping[str, float]) -> NDArray[np.float64]:
    """(K,) the weights in the order of the names.

    Raises:
        ValueError: there are weights for other models, below zero, not finite, or all zero.
    """
    if set(weights) != set(names):
        raise ValueError(f"weights for {', '.join(sorted(weights))}; expected one for each of {', '.join(names)}")
    values = np.array([weights[name] for name in names], dtype=np.float64)
    if not np.isfinite(values).all() or values.min() < 0 or values.sum() <= 0:
        raise ValueError(f"weights {values.tolist()}: expected numbers from 0 up, one of them above 0")
    return values


def combined(values: NDArray[np.float64], weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """(K, M, C) probabilities of K models and their weights (K,) -> their sum (M, C); see `weighted_sum`."""
    there = answered(values).astype(np.float64)  # (K, M)
    mass = weights @ there  # (M,) what the models with a prediction weigh
    total = np.einsum("k,kmc->mc", weights, np.nan_to_num(values, nan=0.0))
    scale = np.divide(weights.sum(), mass, out=np.full_like(mass, np.nan), where=mass > 0)
    return np.asarray(np.round(total * scale[:, None], DECIMALS), dtype=np.float64)


def stacked(p: Predictions) -> tuple[tuple[str, ...], NDArray[np.float64]]:
    """The models' names in alphabetical order, and their probabilities (K, M, C).

    Raises:
        ValueError: no model, shapes that differ, or rows that are NaN in parts.
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


def answered(values: NDArray[np.float64]) -> NDArray[np.bool_]:
    """(..., M) whether there is a prediction, of probabilities (..., M, C)."""
    return np.asarray(~np.isnan(values).any(axis=-1))


def checked_labels(labels: ArrayLike, clips: int, classes: int) -> NDArray[np.int64]:
    """(M,) the true classes.

    Raises:
        ValueError: there is no clip, or these are not the positions of M clips' classes.
    """
    found = np.asarray(labels)
    if found.shape != (clips,) or not clips or found.dtype.kind not in "iu":
        raise ValueError(f"labels of shape {found.shape} and type {found.dtype}; expected {clips} whole numbers, not 0")
    if found.min() < 0 or found.max() >= classes:
        raise ValueError(f"labels from {found.min()} to {found.max()}; expected positions from 0 to {classes - 1}")
    return found.astype(np.int64)


def right_clips(scores: NDArray[np.float64], labels: NDArray[np.int64]) -> int:
    """How many of M clips have their highest score (M, C) at their label; the first of equal ones counts."""
    return int(((scores.argmax(axis=1) == labels) & answered(scores)).sum())
