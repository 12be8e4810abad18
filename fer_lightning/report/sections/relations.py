"""The section on relations between a clip's frames: their matrix, and substituted frames (VSHNN, figure 4)."""

from dataclasses import dataclass

import numpy as np
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure
from matplotlib.patches import Patch, Rectangle
from matplotlib.ticker import FixedLocator, MaxNLocator
from numpy.typing import NDArray

from data_modules.store.stored_clip import StoredClip
from data_modules.utils.text import counted
from fer_lightning.evaluation.clip_outputs import ClipOutputs
from fer_lightning.evaluation.localization import apex_substitution
from fer_lightning.evaluation.predictions import PredictionTable
from fer_lightning.report.elements import EvaluatedRun, Picture, Section
from fer_lightning.report.figures.examples import (
    ClipExample,
    choose_examples,
    draw_frames,
    draw_title,
    load_clip,
    load_examples,
)
from fer_lightning.report.figures.style import BLUE, FAINT, GREEN, GREY, INK, ORANGE, styled

MAX_EXAMPLES = 4
SLOTS = 16  # frames side by side, as many as the clips of the paper have
SIDE, NUMBERS, MATRIX = 0.62, 0.24, 2.55  # inches: a frame, the line of numbers below it, the matrix
LEFT, RIGHT, TITLE, GAP, BOTTOM = 0.62, 0.15, 0.3, 0.2, 0.45  # inches


@dataclass(frozen=True, eq=False)
class RelationExample(ClipExample):
    """The relations between the T sampled frames of one clip."""

    relation: NDArray[np.float32]  # (T, T) NaN in rows and columns of positions without a frame
    frame_source: NDArray[np.int64] | None = None  # (T,) which frame is used at each position

    @property
    def means(self) -> NDArray[np.float32]:
        """(T,) the mean similarity of each frame to the others, or the mean attention to it: the column means.

        Column means are used because rows of attention weights all have the same mean; a correlation matrix is
        symmetric.
        """
        finite = np.isfinite(self.relation)
        sums = np.where(finite, self.relation, 0).sum(axis=0)
        return np.asarray(sums / np.maximum(finite.sum(axis=0), 1), np.float32)

    @property
    def replaced(self) -> NDArray[np.bool_]:
        """(T,) whether a frame is replaced by another one."""
        positions = np.arange(len(self.relation))
        return np.zeros(len(positions), bool) if self.frame_source is None else self.frame_source != positions


def load_relation(clip_id: str, table: PredictionTable, outputs: ClipOutputs, clip: StoredClip) -> RelationExample:
    """Loads one clip with the crops of its sampled frames and the relations between them.

    Raises:
        ValueError: the outputs hold no relation, or the store holds none of the sampled frames.
    """
    if outputs.relation is None:
        raise ValueError("the model does not say how frames relate")
    row = outputs.clip_id.index(clip_id)
    real = outputs.frame_index[row] >= 0
    return RelationExample(
        **vars(load_clip(clip_id, table, outputs, clip)),
        relation=np.where(real[:, None] & real, outputs.relation[row].astype(np.float32), np.nan),
        frame_source=None if outputs.frame_source is None else outputs.frame_source[row].astype(np.int64),
    )


@styled
def relation_figure(example: RelationExample) -> Figure:
    """Draws the sampled frames, the frames after substitution, the matrix and its means; replaced frames are orange."""
    positions = visible_positions(example)
    sources = [np.arange(len(example.crops))]
    if example.frame_source is not None:
        sources.append(example.frame_source)
    width = LEFT + SIDE * max(len(positions), 10) + RIGHT
    height = TITLE + len(sources) * (SIDE + NUMBERS) + GAP + MATRIX + BOTTOM
    figure = Figure(figsize=(width, height))
    draw_title(figure, example, LEFT / width, (LEFT + 2.0) / width, 1 - 0.06 / height)

    def panel(left: float, top: float, wide: float, high: float) -> Axes:
        """Adds axes whose position and size are given in inches from the left and from the top."""
        return figure.add_axes((left / width, 1 - (top + high) / height, wide / width, high / height))

    top = TITLE
    for frame_source in sources:
        _strip(panel(LEFT, top, SIDE * len(positions), SIDE), example, positions, frame_source)
        top += SIDE + NUMBERS
    top += GAP
    _matrix(panel(LEFT, top, MATRIX, MATRIX), panel(LEFT + MATRIX + 0.1, top, 0.12, MATRIX), example)
    start = LEFT + MATRIX + 1.15
    _means(panel(start, top, width - RIGHT - start, MATRIX), example)
    return figure


def visible_positions(example: RelationExample) -> NDArray[np.int64]:
    """Returns which of the T positions are drawn: all, or those of replaced frames and evenly spaced others."""
    frames = len(example.crops)
    candidates = [
        *np.flatnonzero(example.replaced)[: SLOTS // 2],
        *np.linspace(0, frames - 1, SLOTS).round(),
        *range(frames),
    ]
    chosen = list(dict.fromkeys(map(int, candidates)))[:SLOTS]
    return np.array(sorted(chosen), dtype=np.int64)


def _strip(axes: Axes, example: RelationExample, positions: NDArray[np.int64], frame_source: NDArray[np.int64]) -> None:
    """Draws the frames that are used at the positions, with their numbers; replaced frames have an orange border."""
    slots = [(float(slot), slot + 1.0, int(frame_source[position])) for slot, position in enumerate(positions)]
    draw_frames(axes, example, slots, len(positions))
    substituted = frame_source[positions] != positions
    for slot in np.flatnonzero(substituted).tolist():
        border = Rectangle((slot + 0.03, 0.02), 0.94, 0.96, fill=False, edgecolor=ORANGE, linewidth=3, zorder=5)
        axes.add_patch(border)
    axes.set_xticks(np.arange(len(positions)) + 0.5, [str(frame + 1) for _, _, frame in slots])
    axes.tick_params(axis="x", length=0, pad=2, labelsize=7.5)
    for label, other in zip(axes.get_xticklabels(), substituted, strict=True):
        label.set_fontweight("bold" if other else "normal")
    axes.set_ylabel("sampled" if frame_source is not example.frame_source else "substituted", fontsize=7.5)


def _matrix(axes: Axes, beside: Axes, example: RelationExample) -> None:
    """Draws the matrix as a heat map, from blue to red around 0 if there are negative values, else in blue."""
    frames = len(example.relation)
    values = example.relation[np.isfinite(example.relation)]
    low, high = (float(values.min()), float(values.max())) if len(values) else (0.0, 0.0)
    signed = low < 0
    high = max(high, -low, 1e-9)
    axes.set_facecolor(to_rgba(FAINT))  # where there is no frame
    image = axes.imshow(
        np.ma.masked_invalid(example.relation),
        cmap="RdBu_r" if signed else "Blues",
        vmin=-high if signed else min(low, 0.99 * high),  # not equal to `vmax`, even if all values are the same
        vmax=high,
        extent=(0.5, frames + 0.5, frames + 0.5, 0.5),
        interpolation="nearest",
        aspect="auto",
    )
    for axis in (axes.xaxis, axes.yaxis):
        _number(axis, frames)
    axes.tick_params(length=2, labelsize=7)
    axes.set_xlabel("sampled frame", labelpad=2)
    axes.set_ylabel("sampled frame", labelpad=2)
    bar = beside.figure.colorbar(image, cax=beside)
    bar.outline.set_visible(False)
    beside.tick_params(length=2, labelsize=7)


def _means(axes: Axes, example: RelationExample) -> None:
    """Draws the mean of each frame; replaced frames are orange, their replacements green."""
    frames = len(example.relation)
    colours = np.full(frames, BLUE, dtype=object)
    replaced = example.replaced
    if example.frame_source is not None:
        colours[example.frame_source[replaced]] = GREEN
    colours[replaced] = ORANGE
    axes.bar(np.arange(1, frames + 1), example.means, width=0.8, color=colours.tolist())
    axes.axhline(0, color=GREY, linewidth=0.8)
    axes.set_xlim(0.4, frames + 0.6)
    _number(axes.xaxis, frames)
    axes.grid(axis="y")
    axes.set_axisbelow(True)
    axes.tick_params(axis="x", length=0)
    axes.set_xlabel("sampled frame", labelpad=2)
    symmetric = np.allclose(example.relation, example.relation.T, atol=0.005, equal_nan=True)  # in half precision
    axes.set_title("row mean" if symmetric else "column mean", fontsize=8, color=INK)
    if replaced.any():
        labels = ((ORANGE, "replaced"), (GREEN, "replacement"))
        axes.legend(
            handles=[Patch(color=colour, label=name) for colour, name in labels],
            loc="lower right", bbox_to_anchor=(1, 1), ncols=2, borderaxespad=0.2, handlelength=1, columnspacing=1,
        )  # fmt: skip


def _number(axis: Axis, frames: int) -> None:
    """Numbers the frames from 1; if there are too many to be legible, only some of them."""
    axis.set_major_locator(FixedLocator(range(1, frames + 1)) if frames <= SLOTS else MaxNLocator(10, integer=True))


def section(run: EvaluatedRun) -> Section | None:
    """Shows the relations between the sampled frames of example clips; None for models that do not compute them."""
    table, outputs = run.table, run.outputs
    if outputs is None or outputs.relation is None or not outputs.frame_index.size:
        return None
    texts = [
        "The sampled frames and the relations between them: each cell of the matrix is the similarity of two frames, "
        "or the attention of the row's frame to the column's frame. The bars are the means of the matrix."
    ]
    if outputs.frame_source is not None:
        changed = (outputs.frame_source != np.arange(outputs.frame_source.shape[1])).sum(axis=1)
        texts.append(
            "The second row of frames shows the model's input after the substitution: replaced frames have an orange "
            f"border, and the number below is that of the frame used instead. On average, {changed.mean():.1f} of "
            f"{outputs.frame_source.shape[1]} frames are replaced."
        )
        texts += _apex(outputs)
    chosen = choose_examples(table, outputs, MAX_EXAMPLES - 1, 1)
    examples, problems = load_examples(
        run.info, chosen, lambda clip_id, clip: load_relation(clip_id, table, outputs, clip)
    )
    pictures: list[Picture] = []
    for example in examples:
        replaced = ", ".join(str(position + 1) for position in np.flatnonzero(example.replaced)) or "none"
        alt = f"Clip {example.clip_id}: relations between its frames; replaced frames: {replaced}"
        number = f"relations-{len(pictures) + 1:02d}"
        pictures.append(run.gallery.add(number, relation_figure(example), alt, is_photo=True))
    return Section("relations", "Relations between frames", tuple(texts), problems, tuple(pictures))


def _apex(outputs: ClipOutputs) -> list[str]:
    """Says how many of the replaced frames hold the apex, if the intensity of the expression is known."""
    if outputs.intensity is None:
        return []
    result = apex_substitution(outputs)
    if not result.clips:
        return [
            "Where the apex is among the replaced frames is not measured: no clip has a marked expression of known "
            "intensity."
        ]
    if np.isnan(result.replaced):
        return ["No frame is replaced in the clips with a marked expression."]
    return [
        f"The apex of the expression is in {100 * result.replaced:.1f} % of the replaced frames and in "
        f"{100 * result.replacements:.1f} % of those used instead: substitution changes its share from "
        f"{100 * result.before:.1f} to {100 * result.after:.1f} % of the frames of {counted(result.clips, 'clip')}. "
        f"A frame holds it if its intensity is within 0.05 of the largest of the sampled ones. Left out: "
        f"{counted(result.left_out, 'clip')} without a marked expression of known intensity."
    ]
