"""What is wrong with the splits of clips, so that a result on them misleads: said by every training and report."""

from collections import Counter
from collections.abc import Sequence

from data_modules.datasets.splits import shared_with_reported
from data_modules.loading.clip_dataset import Clip
from data_modules.prepare.pending import FAILED
from data_modules.utils.text import counted

SHOWN = 3  # names in a sentence


def split_faults(clips: Sequence[Clip], class_names: Sequence[str], dataset: str) -> tuple[str, ...]:
    """Returns a sentence for each fault; none where all is well. No video is read.

    They are persons, films or files that are reported on and also trained or chosen on, clips that this machine could
    not prepare for now, and classes of which there is no training clip, or a single one. Of equal files only those of
    the same name are known here.

    Args:
        clips: all clips of a fold, with their final splits.
        class_names: the class list.
        dataset: name of the data set.
    """
    records = [clip.record for clip in clips]
    contents = [clip.faces.content for clip in clips]
    shared = {
        "person": shared_with_reported(records, [record.subject for record in records]),
        "film": shared_with_reported(records, [record.group for record in records]),
        "file": shared_with_reported(records, contents),
    }
    clip_of = {content: clip.record.clip_id for content, clip in zip(contents, clips, strict=True)}
    shared["file"] = [clip_of[content] for content in shared["file"]]
    trained = Counter(clip.label for clip in clips if clip.usable and clip.record.split == "train")
    number = {name: trained[label] for label, name in enumerate(class_names)}
    faults = [
        f"the reported split shares {counted(len(names), kind)} with clips that are trained or chosen on "
        f"({some(names)}): accuracy is too high. `fer data doctor {dataset}` lists all"
        for kind, names in shared.items()
        if names
    ]
    if failed := [clip.record.clip_id for clip in clips if clip.faces.reason.startswith(FAILED)]:
        faults.append(
            f"{counted(len(failed), 'clip')} could not be prepared, for want of memory, disk or time ({some(failed)}): "
            f"not trained on, and errors where they are reported. `fer data prepare {dataset}` tries again"
        )
    for count, words in ((0, "no training clip shows"), (1, "a single training clip shows")):
        if names := [name for name, clips_of_class in number.items() if clips_of_class == count]:
            faults.append(f"{words} {' or '.join(names)}: the model cannot learn to recognise it")
    return tuple(f"{dataset}: {fault}" for fault in faults)


def refuse_empty_splits(clips: Sequence[Clip], dataset: str) -> None:
    """Refuses clips of which none is trained or none is reported on.

    Raises:
        ValueError: one of the two splits is empty.
    """
    found = Counter(clip.record.split for clip in clips)
    for split, what in (("train", "trained"), ("test", "reported")):
        if not found[split]:
            raise ValueError(
                f"{dataset}: no clip is {what} on; found {dict(found)}, expected clips of the splits train and test. "
                f"Check the fold and the copy with `fer data doctor {dataset}`"
            )


def some(names: Sequence[str]) -> str:
    """Returns the first of some names, and how many more there are."""
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return ", ".join(names[:SHOWN]) + more
