"""How far the clips of a search determine the weights that it finds: a bootstrap interval of each weight."""

import numpy as np

from fer_lightning.ensemble.methods import Method
from fer_lightning.ensemble.sums import Predictions
from fer_lightning.evaluation.bootstrap import LEVEL, Interval, clusters_of, percentile_interval
from fer_lightning.evaluation.predictions import PredictionTable

DRAWS = 200  # resamples on which weights are searched again


def weight_intervals(
    method: Method, p: Predictions, table: PredictionTable, draws: int = DRAWS, seed: int = 0
) -> dict[str, Interval]:
    """Returns the 95 % bootstrap interval of each searched weight, over subjects (or films, or clips).

    Weights that are searched on few clips depend on which clips these are; an interval from 0 to 1 says that the clips
    do not determine the weight. Subjects are drawn with replacement, and the weights are searched again on each draw.

    Args:
        method: that searches the weights.
        p: each member's name -> its (M, C) probabilities for the clips of the search.
        table: the M clips with their true classes.
        draws: number of resamples.
        seed: of the random generator.

    Returns:
        Each member's interval; empty if the method searches no weights or all clips are of one subject.
    """
    cluster, clusters = clusters_of(table)
    rows_of = [np.flatnonzero(cluster == number) for number in range(clusters)]
    values, labels = {name: np.asarray(array) for name, array in p.items()}, table.label
    generator = np.random.default_rng(seed)
    found = []
    for _ in range(draws if clusters > 1 else 0):
        rows = np.concatenate([rows_of[number] for number in generator.integers(clusters, size=clusters)])
        weights = method.weights_on({name: array[rows] for name, array in values.items()}, labels[rows])
        if weights is None:
            return {}
        found.append([weights[name] for name in p])
    columns = zip(p, np.array(found).T, strict=True) if found else ()
    return {name: percentile_interval(column, LEVEL, clusters) for name, column in columns}
