"""Measures how often attention or frame substitution selects the frames where an expression peaks."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from fer_lightning.evaluation.clip_outputs import ClipOutputs


@dataclass(frozen=True)
class PeakLocalization:
    """How often the most attended group of frames contains the peak of the clip's expression."""

    hit_rate: float  # NaN if `clips` is 0
    chance: float  # hit rate of a group drawn at random
    clips: int  # clips that are counted
    flat: int  # clips left out because their expression never rises, such as neutral ones
    unknown: int  # clips left out because their intensity or attention is unknown


def peak_localization(outputs: ClipOutputs, tolerance: float = 0.05, threshold: float = 0.1) -> PeakLocalization:
    """Measures how often attention finds the expression, as in table 7 of CEFLNet.

    A group of frames is correct if its largest intensity is within `tolerance` of the clip's largest [our choice];
    in the paper, people judge. Clips whose intensity never exceeds `threshold` have no expression to find.

    Args:
        outputs: of N clips, with attention and intensity.
        tolerance: difference in intensity that still counts as the peak; intensities lie between 0 and 1.
        threshold: the intensity that a clip must exceed.

    Raises:
        ValueError: the outputs hold no attention or no intensity.
    """
    if outputs.attention is None or outputs.intensity is None:
        missing = "attention" if outputs.attention is None else "intensity"
        raise ValueError(f"the outputs hold no {missing}; peak localization needs both attention and true intensity")
    clips, groups = outputs.attention.shape
    peaks = _known_intensity(outputs, outputs.intensity).reshape(clips, groups, -1).max(axis=2)  # (N, A)
    peak = peaks.max(axis=1, initial=-np.inf)
    unknown = ~np.isfinite(peak) | ~np.isfinite(outputs.attention).all(axis=1)
    flat = ~unknown & (peak <= threshold)
    used = ~unknown & ~flat
    correct = peaks[used] >= peak[used, None] - tolerance  # (n, A)
    hit = correct[np.arange(len(correct)), outputs.attention[used].argmax(axis=1)]
    chance = correct.sum(axis=1) / np.isfinite(peaks[used]).sum(axis=1)
    hit_rate, expected = (float(x.mean()) if len(x) else float("nan") for x in (hit, chance))
    return PeakLocalization(hit_rate, expected, int(used.sum()), int(flat.sum()), int(unknown.sum()))


@dataclass(frozen=True)
class ApexSubstitution:
    """How frame substitution changes the share of frames that hold the apex, over the frames of all clips."""

    replaced: float  # share of the replaced frames that hold it; NaN if no frame is replaced
    replacements: float  # share of the frames that take their places; NaN if no frame is replaced
    before: float  # share of the sampled frames; NaN if `clips` is 0
    after: float  # share of the frames that the model sees; NaN if `clips` is 0
    clips: int  # clips that are counted
    left_out: int  # clips whose intensity is unknown or whose expression never rises


def apex_substitution(outputs: ClipOutputs, tolerance: float = 0.05, threshold: float = 0.1) -> ApexSubstitution:
    """Measures whether substitution replaces frames without the apex by frames with it (VSHNN, section 3.4).

    A frame holds the apex if its intensity is within `tolerance` of the largest among the clip's sampled frames
    [our choice]. Clips whose intensity never exceeds `threshold` have no apex.

    Args:
        outputs: of N clips, with substituted frames and intensity.
        tolerance: difference in intensity that still counts as the apex; intensities lie between 0 and 1.
        threshold: the intensity that a clip must exceed.

    Raises:
        ValueError: the outputs hold no substituted frames or no intensity.
    """
    if outputs.frame_source is None or outputs.intensity is None:
        missing = "substituted frames" if outputs.frame_source is None else "intensity"
        raise ValueError(f"the outputs hold no {missing}; the apex in replaced frames needs both")
    intensity = _known_intensity(outputs, outputs.intensity)
    peak = intensity.max(axis=1, initial=-np.inf)
    used = np.isfinite(peak) & (peak > threshold)
    source, real = outputs.frame_source[used], outputs.frame_index[used] >= 0
    apex = intensity[used] >= peak[used, None] - tolerance  # (n, T)
    seen = np.take_along_axis(apex, source, axis=1)
    replaced = real & (source != np.arange(source.shape[1]))
    shares = (_share(apex, replaced), _share(seen, replaced), _share(apex, real), _share(seen, real))
    return ApexSubstitution(*shares, int(used.sum()), int((~used).sum()))


def _share(holds: NDArray[np.bool_], among: NDArray[np.bool_]) -> float:
    """Returns the share of some frames that hold something; NaN if there are none."""
    return float(holds[among].mean()) if among.any() else float("nan")


def _known_intensity(outputs: ClipOutputs, intensity: NDArray[np.float32]) -> NDArray[np.float32]:
    """Returns the intensity of each frame, (N, T); minus infinity where it is unknown or there is no frame."""
    known = (outputs.frame_index >= 0) & np.isfinite(intensity)
    return np.where(known, intensity, np.float32(-np.inf))
