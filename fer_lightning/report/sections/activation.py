"""The section with emotional activation maps: a clip's frames and the attention to them (CEFLNet, figure 6)."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray

from data_modules.store.stored_clip import StoredClip
from data_modules.utils.text import counted
from fer_lightning.evaluation.clip_outputs import ClipOutputs
from fer_lightning.evaluation.localization import peak_localization
from fer_lightning.evaluation.predictions import PredictionTable
from fer_lightning.report.elements import EvaluatedRun, Picture, Section
from fer_lightning.report.figures.examples import (
    ClipExample,
    Slot,
    choose_examples,
    draw_frames,
    draw_title,
    load_clip,
    load_examples,
)
from fer_lightning.report.figures.style import BLUE, GREEN, ORANGE, styled

SLOTS = 14  # frames side by side
SIDE, LEFT, RIGHT = 0.74, 0.62, 0.15  # inches


@dataclass(frozen=True, eq=False)
class ActivationExample(ClipExample):
    """The data of an activation map of one clip with T sampled frames and attention over A groups of them."""

    attention: NDArray[np.float32]  # (A,)
    intensity: NDArray[np.float32] | None = None  # (T,) the true intensity of the expression; NaN where unknown


def load_example(clip_id: str, table: PredictionTable, outputs: ClipOutputs, clip: StoredClip) -> ActivationExample:
    """Loads one clip with the crops of its sampled frames and the attention to them.

    Raises:
        ValueError: the outputs hold no attention, or the store holds none of the sampled frames.
    """
    if outputs.attention is None:
        raise ValueError("the model has no attention over frames")
    row = outputs.clip_id.index(clip_id)
    return ActivationExample(
        **vars(load_clip(clip_id, table, outputs, clip)),
        attention=outputs.attention[row],
        intensity=None if outputs.intensity is None else outputs.intensity[row],
    )


def _slots(frames: int, attention: NDArray[np.float32]) -> Iterator[Slot]:
    """Yields the slots in which frames are drawn, with their ends in units of frames.

    Groups of frames share the slots evenly. If there are more groups than slots, each slot shows its most attended
    frame.
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
    """Draws frames, attention and, where it is known, the true intensity; the most attended group is orange."""
    frames, groups = len(example.crops), len(example.attention)
    slots = list(_slots(frames, example.attention))
    known = example.intensity is not None and bool(np.isfinite(example.intensity).any())
    wide, low = SIDE * len(slots), 0.55
    heights = [SIDE, low, low] if known else [SIDE, low]
    size = (max(wide + LEFT + RIGHT, 6.2), sum(heights) + 0.13 * len(heights) + 0.55)
    figure = Figure(figsize=size)
    draw_title(figure, example, LEFT / size[0], (LEFT + 2.0) / size[0], 1 - 0.06 / size[1])
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


def _strip(axes: Axes, example: ActivationExample, slots: list[Slot], span: tuple[float, float]) -> None:
    """Draws the frames, with an orange border around the most attended group."""
    draw_frames(axes, example, slots, len(example.crops))
    inside = [(start, stop) for start, stop, _ in slots if start < span[1] and stop > span[0]]
    left, right = inside[0][0], inside[-1][1]
    axes.add_patch(
        Rectangle((left, 0), right - left, 1, fill=False, edgecolor=ORANGE, linewidth=3, clip_on=False, zorder=5)
    )


def _bars(axes: Axes, attention: NDArray[np.float32], best: int, frames: int) -> None:
    """Draws the attention weights; the largest is orange, with its value on the axis."""
    groups = len(attention)
    colours = [ORANGE if group == best else BLUE for group in range(groups)]
    width = frames / groups
    axes.bar((np.arange(groups) + 0.5) * width, attention, width=0.9 * width, color=colours)
    highest = max(float(np.nan_to_num(attention).max()), 1e-9)
    axes.set_ylim(min(0.0, float(np.nan_to_num(attention).min())), 1.05 * highest)
    axes.set_yticks([0, highest], ["0", f"{highest:.2g}"])
    axes.set_ylabel("attention", fontsize=7.5)


def _intensity(axes: Axes, intensity: NDArray[np.float32], span: tuple[float, float]) -> None:
    """Draws the true intensity of the expression in each sampled frame; the most attended group is shaded."""
    axes.axvspan(*span, color=ORANGE, alpha=0.2, linewidth=0)
    axes.plot(np.arange(len(intensity)) + 0.5, intensity, color=GREEN, marker=".", markersize=4, linewidth=1.4)
    axes.set_ylim(-0.06, 1.08)
    axes.set_yticks([0, 1])
    axes.set_ylabel("intensity", fontsize=7.5)


def section(run: EvaluatedRun) -> Section:
    """Shows emotional activation maps of example clips."""
    name, title, table, outputs = "activation", "Emotional activation maps", run.table, run.outputs
    if outputs is None or outputs.attention is None or not outputs.frame_index.size:
        reason = run.no_outputs if outputs is None else f"{run.info.model} gives no attention over frames."
        return Section(name, title, missing=(reason,))
    texts = [
        "Sampled frames and the model's attention to them; the most attended group of frames is orange. For each "
        "class, the correctly classified clip of median confidence is shown; the most confident errors follow."
    ]
    texts += _localization(outputs)
    chosen = choose_examples(table, outputs)
    examples, problems = load_examples(
        run.info, chosen, lambda clip_id, clip: load_example(clip_id, table, outputs, clip)
    )
    pictures: list[Picture] = []
    for example in examples:
        alt = f"Clip {example.clip_id}: frames and attention; true {example.emotion}, predicted {example.predicted}"
        number = f"activation-{len(pictures) + 1:02d}"
        pictures.append(run.gallery.add(number, activation_figure(example), alt, is_photo=True))
    if not pictures and not problems:
        problems = ("No clip has both a prediction and attention to show.",)
    return Section(name, title, tuple(texts), problems, tuple(pictures))


def _localization(outputs: ClipOutputs) -> list[str]:
    """Says how often attention finds the expression, if its intensity is known."""
    if outputs.intensity is None:
        return []
    result = peak_localization(outputs)
    if not result.clips:
        return ["Peak localization is not measured: no clip has a marked expression of known intensity."]
    left_out = f"{counted(result.flat, 'clip')} without a marked expression"
    left_out += f" and {result.unknown} of unknown intensity" if result.unknown else ""
    return [
        f"The most attended group holds the peak of the expression in {100 * result.hit_rate:.1f} % of "
        f"{counted(result.clips, 'clip')}; a random group would in {100 * result.chance:.1f} %. Left out: {left_out}."
    ]
