"""Ensembles of models: average, weighted sum, joint late fusion, best selection.

The algorithms are functions on arrays: `p` maps a model's name to its (M, C) probabilities for the same M clips, with
rows of NaN where it has no prediction. The methods apply them to the prediction tables of runs, for `fer ensemble` and
for experiments that combine other experiments.
"""

from fer_lightning.ensemble.joint import JointLateFusion
from fer_lightning.ensemble.methods import Average, BestSelection, FixedWeights, JointFusion, SearchedWeights
from fer_lightning.ensemble.search import search_weights
from fer_lightning.ensemble.selection import best_selection
from fer_lightning.ensemble.sums import average, weighted_sum

__all__ = [
    "Average",
    "BestSelection",
    "FixedWeights",
    "JointFusion",
    "JointLateFusion",
    "SearchedWeights",
    "average",
    "best_selection",
    "search_weights",
    "weighted_sum",
]
