"""Emotional activation maps: the frames of a clip, and what the model attends to below them (CEFLNet, figure 6)."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from data_modules.store import StoredClip
from fer_lightning.figures.style import BLUE, FAINT, GREEN, GREY, INK, ORANGE, RED, plain, styled
from fer_lightning.predictions import ClipOutputs, PredictionTable

CLASSES, WRONG = 8, 3  # examples: one of each of the commonest classes, and wrong ones
SLOTS = 14  # frames that stand beside each other
SIDE, LEFT, RIGHT = 0.74, 0.62, 0.15  # inches


@dataclass(frozen=True, eq=False)
class ActivationExample:
    """What an activation map shows of one clip with T sampled frames and attention over A groups of them."""

    clip_id: str
    emotion: str
    predicted: str
    probability: float  # of the predicted class
    crops: NDArray[np.uint8]  # (T, S, S, 3) RGB
    present: NDArray[np.bool_]  # (T,) false where a frame has no crop
    attention: NDArray[np.float32]  # (A,)
    intensity: NDArray[np.float32] | None = None  # (T,)


def choose_examples(table: PredictionTable, outputs: ClipOutputs) -> list[str]:
    """Clip ids to show: always the same for the same table, and not the most flattering ones.

    Of each of the commonest classes the right clip of middling confidence (a wrong one where none is right), then the
    wrong clips with the highest confidence, each of another class.
    """
    shown = set(outputs.clip_id)
    usable = np.array([name in shown for name in table.clip_id.tolist()], dtype=bool) & ~table.missing
    confidence = np.where(usable, np.nan_to_num(table.probabilities).max(axis=1, initial=0.0), 0.0)
    order = [row for row in np.lexsort((table.clip_id, -confidence)).tolist() if usable[row]]
    support = np.bincount(table.label[usable], minlength=len(table.class_names))
    chosen: list[int] = []
    for label in np.argsort(-support, kind="stable")[:CLASSES].tolist():
        of_class = [row for row in order if table.label[row] == label]
        candidates = [row for row in of_class if table.correct[row]] or of_class
        chosen += candidates[len(candidates) // 2 : len(candidates) // 2 + 1]
    classes: set[int] = set()
    for row in order:
        label = int(table.label[row])
        if len(classes) < WRONG and not table.correct[row] and label not in classes and row not in chosen:
            classes.add(label)
            chosen.append(row)
    return [str(table.clip_id[row]) for row in chosen]


def load_example(clip_id: str, table: PredictionTable, outputs: ClipOutputs, clip: StoredClip) -> ActivationExample:
    """One clip with the crops of its sampled frames.

    Raises:
        ValueError: the outputs hold no attention, or the store is not the one that they were made from.
    """
    if outputs.attention is None:
        raise ValueError("the model has no attention over frames")
    row, shown = table.clip_id.tolist().index(clip_id), outputs.clip_id.index(clip_id)
    wanted, stored = outputs.frame_index[shown], clip.frame_index
    position = np.searchsorted(stored, wanted).clip(0, max(len(stored) - 1, 0))
    present = stored[position] == wanted if len(stored) else np.zeros(len(wanted), bool)
    if not present.any():
        raise ValueError(f"clip {clip_id!r}: the store has none of the frames that the model saw")
    found = clip.crops(position[present])
    crops = np.zeros((len(wanted), *found.shape[1:]), np.uint8)
    crops[present] = found
    return ActivationExample(
        clip_id,
        str(table.emotion[row]),
        str(table.predicted[row]),
        float(np.nan_to_num(table.probabilities[row]).max()),
        crops,
        present,
        outputs.attention[shown],
        None if outputs.intensity is None else outputs.intensity[shown],
    )


def _slots(frames: int, attention: NDArray[np.float32]) -> Iterator[tuple[float, float, int]]:
    """Where frames are drawn: left and right end in units of frames, and which frame, for each place in the row.

    Groups of frames share the places evenly; where there are more groups than places, the most attended frame of each
    place is shown.
    """
    groups = len(attention)
    per_group = frames // groups
    count = groups * min(per_group, max(1, SLOTS // groups)) if groups <= SLOTS + 2 else SLOTS
    for slot in range(count):
        start, stop = slot * frames / count, (slot + 1) * frames / count
        inside = np.arange(round(start), max(round(stop), round(start) + 1))
        weights = attention[inside // per_group]
        best = int(inside[weights.argmax()]) if len(set(weights.tolist())) > 1 else int(inside[len(inside) // 2])
        yield start, stop, best


@styled
def activation_figure(example: ActivationExample) -> Figure:
    """Frames above, attention below, the most attended group in orange; the true intensity below where it is known."""
    frames, groups = len(example.crops), len(example.attention)
    slots = list(_slots(frames, example.attention))
    known = example.intensity is not None and bool(np.isfinite(example.intensity).any())
    wide, low = SIDE * len(slots), 0.55
    heights = [SIDE, low, low] if known else [SIDE, low]
    size = (max(wide + LEFT + RIGHT, 6.2), sum(heights) + 0.13 * len(heights) + 0.55)
    figure = Figure(figsize=size)
    _title(figure, example, LEFT / size[0], (LEFT + 2.0) / size[0], 1 - 0.06 / size[1])
    top, panels = size[1] - 0.28, []
    for height in heights:
        top -= height
        area = (LEFT / size[0], top / size[1], wide / size[0], height / size[1])
        panels.append(figure.add_axes(area, xlim=(0, frames)))
        top -= 0.13
    best = int(np.nan_to_num(example.attention, nan=-np.inf).argmax())
    span = (best * frames / groups, (best + 1) * frames / groups)
    _strip(panels[0], example, slots, span)
    _bars(panels[1], example.attention, best, frames)
    if known and example.intensity is not None:
        _intensity(panels[2], example.intensity, span)
    panels[-1].set_xlabel("sampled frame", labelpad=2)
    for axes in panels[:-1]:
        axes.set_xticks([])
    for axes in panels[1:]:
        axes.yaxis.set_label_coords(-0.42 / wide, 0.5)
    return figure


def _title(figure: Figure, example: ActivationExample, left: float, middle: float, top: float) -> None:
    """The true name, the predicted one with its probability, and the clip."""
    right = example.emotion == example.predicted
    figure.text(left, top, f"true: {plain(example.emotion, 16)}", va="top", weight="bold")
    said = f"predicted: {plain(example.predicted, 16)} (p = {example.probability:.2f}), {'right' if right else 'wrong'}"
    figure.text(middle, top, said, va="top", color=INK if right else RED)
    figure.text(0.985, top, plain(example.clip_id, 22), va="top", ha="right", color=GREY, fontsize=8)


def _strip(
    axes: Axes, example: ActivationExample, slots: list[tuple[float, float, int]], span: tuple[float, float]
) -> None:
    """The frames, with an orange frame around the most attended group."""
    axes.set_ylim(0, 1)
    for start, stop, frame in slots:
        if example.present[frame]:
            axes.imshow(example.crops[frame], extent=(start, stop, 0, 1), aspect="auto", interpolation="antialiased")
        else:
            axes.add_patch(Rectangle((start, 0), stop - start, 1, color=FAINT))
            axes.text((start + stop) / 2, 0.5, "no crop", ha="center", va="center", color=GREY, fontsize=7)
    for start, _, _ in slots[1:]:
        axes.axvline(start, color="white", linewidth=1)
    inside = [(start, stop) for start, stop, _ in slots if start < span[1] and stop > span[0]]
    left, right = inside[0][0], inside[-1][1]
    axes.add_patch(
        Rectangle((left, 0), right - left, 1, fill=False, edgecolor=ORANGE, linewidth=3, clip_on=False, zorder=5)
    )
    axes.set_xlim(0, len(example.crops))
    axes.set_yticks([])
    axes.spines[:].set_visible(False)


def _bars(axes: Axes, attention: NDArray[np.float32], best: int, frames: int) -> None:
    """The attention weights; the largest in orange with its value."""
    groups = len(attention)
    colours = [ORANGE if group == best else BLUE for group in range(groups)]
    width = frames / groups
    axes.bar((np.arange(groups) + 0.5) * width, attention, width=0.9 * width, color=colours)
    highest = max(float(np.nan_to_num(attention).max()), 1e-9)
    axes.set_ylim(min(0.0, float(np.nan_to_num(attention).min())), 1.05 * highest)
    axes.set_yticks([0, highest], ["0", f"{highest:.2g}"])
    axes.set_ylabel("attention", fontsize=7.5)


def _intensity(axes: Axes, intensity: NDArray[np.float32], span: tuple[float, float]) -> None:
    """The true intensity of the expression in each sampled frame, the most attended group shaded."""
    axes.axvspan(*span, color=ORANGE, alpha=0.2, linewidth=0)
    axes.plot(np.arange(len(intensity)) + 0.5, intensity, color=GREEN, marker=".", markersize=4, linewidth=1.4)
    axes.set_ylim(-0.06, 1.08)
    axes.set_yticks([0, 1])
    axes.set_ylabel("intensity", fontsize=7.5)
