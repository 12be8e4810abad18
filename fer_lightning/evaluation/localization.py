"""Measures how often attention selects the frames where an expression peaks."""

from dataclasses import dataclass

import numpy as np

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
    intensity = np.where(outputs.frame_index >= 0, outputs.intensity, np.nan)
    peaks = np.where(np.isfinite(intensity), intensity, -np.inf).reshape(clips, groups, -1).max(axis=2)  # (N, A)
    peak = peaks.max(axis=1, initial=-np.inf)
    unknown = ~np.isfinite(peak) | ~np.isfinite(outputs.attention).all(axis=1)
    flat = ~unknown & (peak <= threshold)
    used = ~unknown & ~flat
    correct = peaks[used] >= peak[used, None] - tolerance  # (n, A)
    hit = correct[np.arange(len(correct)), outputs.attention[used].argmax(axis=1)]
    chance = correct.sum(axis=1) / np.isfinite(peaks[used]).sum(axis=1)
    hit_rate, expected = (float(x.mean()) if len(x) else float("nan") for x in (hit, chance))
    return PeakLocalization(hit_rate, expected, int(used.sum()), int(flat.sum()), int(unknown.sum()))
