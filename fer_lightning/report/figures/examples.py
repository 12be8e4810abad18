"""Clips to show as examples: which ones, and how their sampled frames are drawn."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from numpy.typing import NDArray
from safetensors import SafetensorError

from data_modules.store.clip_store import ClipStore
from data_modules.store.stored_clip import StoredClip
from fer_lightning.evaluation.clip_outputs import ClipOutputs
from fer_lightning.evaluation.predictions import PredictionTable
from fer_lightning.report.figures.style import FAINT, GREY, INK, RED, plain
from fer_lightning.runs.folder import RunInfo

CLASSES, WRONG = 8, 3  # examples: one of each of the commonest classes, and wrong ones

Example = TypeVar("Example")

Slot = tuple[float, float, int]
"""Where a frame is drawn: its left and right end, and which of the T sampled frames it is."""


@dataclass(frozen=True, eq=False)
class ClipExample:
    """What every picture shows of a clip with T sampled frames."""

    clip_id: str
    emotion: str
    predicted: str
    probability: float  # of the predicted class
    crops: NDArray[np.uint8]  # (T, S, S, 3) RGB
    present: NDArray[np.bool_]  # (T,) false where a frame has no crop


def choose_examples(
    table: PredictionTable, outputs: ClipOutputs, classes: int = CLASSES, wrong: int = WRONG
) -> list[str]:
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
    for label in np.argsort(-support, kind="stable")[:classes].tolist():
        of_class = [row for row in order if table.label[row] == label]
        candidates = [row for row in of_class if table.correct[row]] or of_class
        chosen += candidates[len(candidates) // 2 : len(candidates) // 2 + 1]
    labels: set[int] = set()
    for row in order:
        label = int(table.label[row])
        if len(labels) < wrong and not table.correct[row] and label not in labels and row not in chosen:
            labels.add(label)
            chosen.append(row)
    return [str(table.clip_id[row]) for row in chosen]


def load_clip(clip_id: str, table: PredictionTable, outputs: ClipOutputs, clip: StoredClip) -> ClipExample:
    """One clip with the crops of its sampled frames.

    Raises:
        ValueError: the store is not the one that the outputs were made from.
    """
    row = table.clip_id.tolist().index(clip_id)
    wanted, stored = outputs.frame_index[outputs.clip_id.index(clip_id)], clip.frame_index
    position = np.searchsorted(stored, wanted).clip(0, max(len(stored) - 1, 0))
    present = stored[position] == wanted if len(stored) else np.zeros(len(wanted), bool)
    if not present.any():
        raise ValueError(f"clip {clip_id!r}: the store has none of the frames that the model saw")
    found = clip.crops(position[present])
    crops = np.zeros((len(wanted), *found.shape[1:]), np.uint8)
    crops[present] = found
    probability = float(np.nan_to_num(table.probabilities[row]).max())
    return ClipExample(clip_id, str(table.emotion[row]), str(table.predicted[row]), probability, crops, present)


def load_examples(
    info: RunInfo, chosen: Sequence[str], load: Callable[[str, StoredClip], Example]
) -> tuple[list[Example], tuple[str, ...]]:
    """Example clips with their frames, and why there are not all of them."""
    store = ClipStore(Path(info.store))
    if not store.folder.is_dir():
        return [], (f"{store.folder} is missing: without the face store no frames.",)
    examples: list[Example] = []
    problems: list[str] = []
    for clip_id in chosen:
        try:
            examples.append(load(clip_id, store.open(clip_id)))
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            problems.append(f"Clip {clip_id} is not shown: {error}")
    return examples, tuple(problems)


def draw_title(figure: Figure, example: ClipExample, left: float, middle: float, top: float) -> None:
    """The true name, the predicted one with its probability, and the clip."""
    right = example.emotion == example.predicted
    figure.text(left, top, f"true: {plain(example.emotion, 16)}", va="top", weight="bold")
    said = f"predicted: {plain(example.predicted, 16)} (p = {example.probability:.2f}), {'right' if right else 'wrong'}"
    figure.text(middle, top, said, va="top", color=INK if right else RED)
    figure.text(0.985, top, plain(example.clip_id, 22), va="top", ha="right", color=GREY, fontsize=8)


def draw_frames(axes: Axes, example: ClipExample, slots: Iterable[Slot], width: float) -> None:
    """The frames of a clip beside each other; `width` is the right end of all."""
    axes.set_ylim(0, 1)
    for number, (start, stop, frame) in enumerate(slots):
        if example.present[frame]:
            axes.imshow(example.crops[frame], extent=(start, stop, 0, 1), aspect="auto", interpolation="antialiased")
        else:
            axes.add_patch(Rectangle((start, 0), stop - start, 1, color=FAINT))
            axes.text((start + stop) / 2, 0.5, "no crop", ha="center", va="center", color=GREY, fontsize=7)
        if number:
            axes.axvline(start, color="white", linewidth=1)
    axes.set_xlim(0, width)
    axes.set_yticks([])
    axes.spines[:].set_visible(False)
