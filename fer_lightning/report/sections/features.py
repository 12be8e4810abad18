"""The section with a two-dimensional map of the clip features."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from data_modules.utils.text import counted
from fer_lightning.evaluation.features import silhouette
from fer_lightning.report.elements import EvaluatedRun, Section
from fer_lightning.report.figures.style import MARKERS, class_colours, plain, styled

PERPLEXITY = 30.0
MAX_POINTS = 2000  # clips on a map
MIN_POINTS = 5


def tsne(feature: NDArray[np.float32], seed: int = 0) -> NDArray[np.float32]:
    """Maps features (N, D) to points (N, 2) with t-SNE; the result depends only on the features and the seed.

    Source: van der Maaten and Hinton, "Visualizing data using t-SNE", JMLR 9, 2008.

    Raises:
        ValueError: there are too few clips, or the features are not finite or all the same.
    """
    if len(feature) < MIN_POINTS:
        raise ValueError(f"too few clips with features for a map: found {len(feature)}, expected {MIN_POINTS} or more")
    if not np.isfinite(feature).all() or not np.ptp(feature, axis=0).any():
        raise ValueError("a map needs features that are finite and not all the same")
    init = "pca" if min(feature.shape) >= 2 else "random"
    reducer = TSNE(perplexity=min(PERPLEXITY, (len(feature) - 1) / 3), init=init, random_state=seed)
    # With several threads, its many short parallel sections take ten times as long on a busy machine.
    with threadpool_limits(1):
        return np.asarray(reducer.fit_transform(feature), dtype=np.float32)


@styled
def embedding_figure(points: NDArray[np.float32], emotion: Sequence[str], class_names: Sequence[str]) -> Figure:
    """Draws points (N, 2) by true emotion (N,); each class has its own colour and marker."""
    figure = Figure(figsize=(6.2, 4.6), layout="constrained")
    axes = figure.add_subplot()
    names = np.asarray(emotion)
    size = 26.0 if len(points) < 500 else 10.0
    for number, (name, colour) in enumerate(zip(class_names, class_colours(class_names), strict=True)):
        rows = names == name
        if not rows.any():
            continue
        axes.scatter(
            points[rows, 0], points[rows, 1], s=size, color=colour, marker=MARKERS[number % len(MARKERS)], alpha=0.8,
            linewidths=0, label=f"{plain(name, 20)} ({int(rows.sum())})",
        )  # fmt: skip
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(True)
    axes.spines[:].set_color("#CCCCCC")
    figure.legend(loc="outside right center", markerscale=1.2)
    return figure


def section(run: EvaluatedRun) -> Section:
    """Shows t-SNE and silhouette of the clip features."""
    title, table, outputs = "Clip features", run.table, run.outputs
    if outputs is None:
        return Section("features", title, missing=(run.no_outputs,))
    emotions = dict(zip(table.clip_id.tolist(), table.emotion.tolist(), strict=True))
    emotion = np.array([emotions[clip_id] for clip_id in outputs.clip_id], dtype=np.str_)
    rows = np.flatnonzero(np.isfinite(outputs.feature).all(axis=1))
    sample = rows
    if len(rows) > MAX_POINTS:
        sample = np.sort(np.random.default_rng(0).choice(rows, MAX_POINTS, replace=False))
    try:
        points = tsne(outputs.feature[sample])
    except ValueError as error:
        return Section("features", title, missing=(f"No map: {error}.",))
    text = (
        f"Mean silhouette of the {outputs.feature.shape[1]}-dimensional features of {len(rows)} clips by true class: "
        f"{silhouette(outputs.feature[rows], emotion[rows]):.3f} (1: well separated classes, 0: overlapping classes)."
    )
    caption = f"t-SNE of the clip features, coloured by true class; {len(sample)} of {counted(len(table), 'clip')}"
    caption += ", drawn at random." if len(sample) < len(rows) else "."
    figure = embedding_figure(points, emotion[sample].tolist(), table.class_names)
    picture = run.gallery.add("features", figure, "Map of the clip features by true class", caption)
    return Section("features", title, (text,), pictures=(picture,))
