"""How often attention finds the frames where an expression peaks."""

from dataclasses import dataclass

import numpy as np

from fer_lightning.evaluation.clip_outputs import ClipOutputs


@dataclass(frozen=True)
class PeakLocalization:
    """How often the most attended group of frames holds the clip's peak."""

    hit_rate: float  # NaN without such clips
    chance: float  # of a group drawn at random
    clips: int
    flat: int  # clips left out: their expression never rises, such as neutral ones
    unknown: int  # clips left out: their intensity or attention is not known


def peak_localization(outputs: ClipOutputs, tolerance: float = 0.05, threshold: float = 0.1) -> PeakLocalization:
    """How often attention finds the expression, the measure of CEFLNet's table 7.

    A group of frames is right when its largest intensity is within `tolerance` of the clip's largest [our choice: the
    paper has people judge]. Clips whose intensity never rises above `threshold` have no expression to find.

    Raises:
        ValueError: the outputs hold no attention or no intensity.
    """
    if outputs.attention is None or outputs.intensity is None:
        missing = "attention" if outputs.attention is None else "intensity"
        raise ValueError(f"the outputs hold no {missing}; where it peaks and where the model looks must both be known")
    clips, groups = outputs.attention.shape
    seen = np.where(outputs.frame_index >= 0, outputs.intensity, np.nan)
    known = np.isfinite(seen)
    peaks = np.where(known, seen, -np.inf).reshape(clips, groups, -1).max(axis=2)  # (N, A)
    peak = peaks.max(axis=1, initial=-np.inf)
    unknown = ~np.isfinite(peak) | ~np.isfinite(outputs.attention).all(axis=1)
    flat = ~unknown & (peak <= threshold)
    used = ~unknown & ~flat
    right = peaks[used] >= peak[used, None] - tolerance
    chosen = outputs.attention[used].argmax(axis=1)
    hit = right[np.arange(len(right)), chosen]
    chance = right.sum(axis=1) / np.isfinite(peaks[used]).sum(axis=1)
    hit_rate, expected = (float(x.mean()) if len(x) else float("nan") for x in (hit, chance))
    return PeakLocalization(hit_rate, expected, int(used.sum()), int(flat.sum()), int(unknown.sum()))
