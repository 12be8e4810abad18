"""Facial action units (Ekman and Friesen, 1978) and the units that make up each emotion."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data_modules import labels

NAMES = (
    "AU1",  # inner brow raiser
    "AU2",  # outer brow raiser
    "AU4",  # brow lowerer
    "AU5",  # upper lid raiser
    "AU6",  # cheek raiser
    "AU7",  # lid tightener
    "AU9",  # nose wrinkler
    "AU10",  # upper lip raiser
    "AU12",  # lip corner puller
    "AU14",  # dimpler
    "AU15",  # lip corner depressor
    "AU17",  # chin raiser
    "AU20",  # lip stretcher
    "AU23",  # lip tightener
    "AU24",  # lip pressor
    "AU25",  # lips part
    "AU26",  # jaw drop
    "AU43",  # eyes closed
)
"""The action units of the face model, in the order of all arrays of units."""


def unit(name: str) -> int:
    """Return the index of a unit in `NAMES`."""
    return NAMES.index(name)


@dataclass(frozen=True)
class Prototype:
    """The action units of an emotion at its apex: a core that is always active, and variants of which one is shown."""

    core: tuple[tuple[str, float], ...]
    variants: tuple[tuple[tuple[str, float], ...], ...] = ((),)


PROTOTYPES = {
    labels.ANGER: Prototype(
        (("AU4", 1.0), ("AU5", 0.55), ("AU7", 0.7)),
        ((("AU23", 1.0), ("AU24", 0.5)), (("AU24", 1.0), ("AU17", 0.35)), (("AU23", 0.7), ("AU24", 0.7))),
    ),
    labels.DISGUST: Prototype(
        (("AU9", 1.0), ("AU10", 0.95), ("AU4", 0.25), ("AU7", 0.45)),
        ((("AU17", 0.8),), (("AU17", 0.5), ("AU15", 0.35)), (("AU25", 0.5), ("AU17", 0.3))),
    ),
    labels.FEAR: Prototype(
        (("AU1", 1.0), ("AU2", 0.45), ("AU4", 0.55), ("AU5", 1.0), ("AU20", 1.0)),
        ((("AU25", 0.9),), (("AU25", 0.8), ("AU26", 0.3))),
    ),
    labels.HAPPINESS: Prototype(
        (("AU6", 0.9), ("AU12", 1.0)),
        ((("AU25", 0.8),), (("AU25", 1.0), ("AU26", 0.25)), (("AU25", 0.5), ("AU7", 0.2))),
    ),
    labels.NEUTRAL: Prototype(()),
    labels.SADNESS: Prototype(
        (("AU1", 1.0), ("AU4", 0.35), ("AU15", 1.0), ("AU17", 0.7)),
        ((), (("AU7", 0.3),), (("AU43", 0.3),)),
    ),
    labels.SURPRISE: Prototype(
        (("AU1", 1.0), ("AU2", 1.0), ("AU5", 0.9), ("AU26", 1.0), ("AU25", 0.6)),
    ),
}
"""The action units of each emotion, after the EMFACS prototypes with which CK+ was labelled (Lucey et al., 2010)."""


def sample_apex(emotion: str, rng: np.random.Generator, jitter: float = 0.15) -> NDArray[np.float32]:
    """Sample how a person shows an emotion at full intensity.

    Args:
        emotion: a name of `labels.SEVEN`.
        rng: draws the variant and the strength of each unit.
        jitter: relative standard deviation of the strengths.

    Returns:
        (A,) strengths of the units, within [0, 1].
    """
    prototype = PROTOTYPES[emotion]
    variant = prototype.variants[int(rng.integers(len(prototype.variants)))]
    units = np.zeros(len(NAMES), np.float32)
    for name, weight in prototype.core + variant:
        units[unit(name)] = max(units[unit(name)], np.clip(weight * (1 + jitter * rng.standard_normal()), 0.0, 1.0))
    return units
