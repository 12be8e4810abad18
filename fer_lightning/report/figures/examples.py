"""Chooses the clips that reports show as examples, and draws their sampled frames."""

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

MAX_CLASSES, MAX_WRONG = 8, 3  # examples: one of each of the most frequent classes, and wrong predictions

Example = TypeVar("Example")

Slot = tuple[float, float, int]
"""Where a frame is drawn: its left and right end, and its index among the T sampled frames."""


@dataclass(frozen=True, eq=False)
class ClipExample:
    """The data of a clip with T sampled frames that every example figure shows."""

    clip_id: str
    emotion: str  # the true class
    predicted: str
    probability: float  # of the predicted class
    crops: NDArray[np.uint8]  # (T, S, S, 3) RGB
    present: NDArray[np.bool_]  # (T,) false where a frame has no crop


def choose_examples(
    table: PredictionTable, outputs: ClipOutputs, classes: int = MAX_CLASSES, wrong: int = MAX_WRONG
) -> list[str]:
    """Returns the ids of the clips to show; the choice depends on the table alone and avoids the most flattering clips.

    For each of the most frequent classes, it is the correctly classified clip of median confidence (a wrong one if none
    is correct). The wrong predictions of the highest confidence follow, each of another true class.
    """
    available = set(outputs.clip_id)
    usable = np.array([name in available for name in table.clip_id.tolist()], dtype=bool) & ~table.missing
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
    """Loads one clip with the crops of its sampled frames.

    Raises:
        ValueError: the store holds none of the sampled frames.
    """
    row = table.clip_id.tolist().index(clip_id)
    sampled, stored = outputs.frame_index[outputs.clip_id.index(clip_id)], clip.frame_index
    position = np.searchsorted(stored, sampled).clip(0, max(len(stored) - 1, 0))
    present = stored[position] == sampled if len(stored) else np.zeros(len(sampled), bool)
    if not present.any():
        raise ValueError(f"clip {clip_id!r}: the store has none of the frames that the model saw; prepare it again")
    stored_crops = clip.crops(position[present])
    crops = np.zeros((len(sampled), *stored_crops.shape[1:]), np.uint8)
    crops[present] = stored_crops
    probability = float(np.nan_to_num(table.probabilities[row]).max())
    return ClipExample(clip_id, str(table.emotion[row]), str(table.predicted[row]), probability, crops, present)


def load_examples(
    info: RunInfo, chosen: Sequence[str], load: Callable[[str, StoredClip], Example]
) -> tuple[list[Example], tuple[str, ...]]:
    """Loads example clips, and returns them with the reasons why some cannot be shown."""
    store = ClipStore(Path(info.store))
    if not store.folder.is_dir():
        return [], (f"{store.folder} is missing: frames cannot be shown without the face store.",)
    examples: list[Example] = []
    problems: list[str] = []
    for clip_id in chosen:
        try:
            examples.append(load(clip_id, store.open(clip_id)))
        except (OSError, ValueError, KeyError, SafetensorError) as error:
            problems.append(f"Clip {clip_id} is not shown: {error}")
    return examples, tuple(problems)


def draw_title(figure: Figure, example: ClipExample, left: float, middle: float, top: float) -> None:
    """Writes the true class, the predicted class with its probability, and the clip's id."""
    correct = example.emotion == example.predicted
    figure.text(left, top, f"true: {plain(example.emotion, 16)}", va="top", weight="bold")
    prediction = f"predicted: {plain(example.predicted, 16)} (p = {example.probability:.2f})"
    verdict = "correct" if correct else "wrong"
    figure.text(middle, top, f"{prediction}, {verdict}", va="top", color=INK if correct else RED)
    figure.text(0.985, top, plain(example.clip_id, 22), va="top", ha="right", color=GREY, fontsize=8)


def draw_frames(axes: Axes, example: ClipExample, slots: Iterable[Slot], width: float) -> None:
    """Draws the frames of a clip side by side; `width` is the right end of the last slot."""
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
