"""Clip features in the plane."""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from sklearn.manifold import TSNE
from threadpoolctl import threadpool_limits  # type: ignore[import-untyped]

from fer_lightning.evaluation.features import silhouette
from fer_lightning.report.elements import EvaluatedRun, Section
from fer_lightning.report.figures.style import MARKERS, PALETTE, plain, styled

PERPLEXITY = 30.0
DRAWN = 2000  # clips on a map at most
FEWEST = 5  # points that are worth a map


def tsne(feature: NDArray[np.float32], seed: int = 0) -> NDArray[np.float32]:
    """t-SNE (van der Maaten and Hinton, 2008) of features (N, D): (N, 2), the same for the same seed.

    Raises:
        ValueError: too few clips, features that are not finite, or features that are all the same.
    """
    if len(feature) < FEWEST:
        raise ValueError(f"{len(feature)} clips with features are too few for a map; it takes {FEWEST}")
    if not np.isfinite(feature).all() or not np.ptp(feature, axis=0).any():
        raise ValueError("a map needs features that are finite and not all the same")
    start = "pca" if min(feature.shape) >= 2 else "random"
    reduced = TSNE(perplexity=min(PERPLEXITY, (len(feature) - 1) / 3), init=start, random_state=seed)
    # One thread: its many short parallel sections wait for each other, ten times as long on a machine that is busy.
    with threadpool_limits(1):
        return np.asarray(reduced.fit_transform(feature), dtype=np.float32)


@styled
def embedding_figure(points: NDArray[np.float32], emotion: Sequence[str], class_names: Sequence[str]) -> Figure:
    """Points (N, 2) by true emotion (N,): each class has a colour and a shape of its own."""
    figure = Figure(figsize=(6.2, 4.6), layout="constrained")
    axes = figure.add_subplot()
    names = np.asarray(emotion)
    size = 26.0 if len(points) < 500 else 10.0
    for number, name in enumerate(class_names):
        rows = names == name
        if not rows.any():
            continue
        colour, marker = PALETTE[number % len(PALETTE)], MARKERS[number % len(MARKERS)]
        axes.scatter(
            points[rows, 0], points[rows, 1], s=size, color=colour, marker=marker, alpha=0.8, linewidths=0,
            label=f"{plain(name, 20)} ({int(rows.sum())})",
        )  # fmt: skip
    axes.set_xticks([])
    axes.set_yticks([])
    axes.spines[:].set_visible(True)
    axes.spines[:].set_color("#CCCCCC")
    figure.legend(loc="outside right center", markerscale=1.2)
    return figure


def section(run: EvaluatedRun) -> Section:
    """t-SNE and silhouette of the clip features."""
    title, table, outputs = "Clip features", run.table, run.outputs
    if outputs is None:
        return Section("features", title, missing=(run.no_outputs,))
    names = dict(zip(table.clip_id.tolist(), table.emotion.tolist(), strict=True))
    emotion = np.array([names[clip_id] for clip_id in outputs.clip_id], dtype=np.str_)
    rows = np.flatnonzero(np.isfinite(outputs.feature).all(axis=1))
    drawn = rows
    if len(rows) > DRAWN:
        drawn = np.sort(np.random.default_rng(0).choice(rows, DRAWN, replace=False))
    try:
        points = tsne(outputs.feature[drawn])
    except ValueError as error:
        return Section("features", title, missing=(f"No map: {error}.",))
    text = (
        f"Mean silhouette of the {outputs.feature.shape[1]}-dimensional features of {len(rows)} clips by true class: "
        f"{silhouette(outputs.feature[rows], emotion[rows]):.3f} (1: classes apart, 0: mixed)."
    )
    caption = f"t-SNE of the clip features, coloured by true class; {len(drawn)} of {len(table)} clips"
    caption += ", drawn at random." if len(drawn) < len(rows) else "."
    figure = embedding_figure(points, emotion[drawn].tolist(), table.class_names)
    picture = run.gallery.add("features", figure, "Clip features in the plane by true class", caption)
    return Section("features", title, (text,), pictures=(picture,))
