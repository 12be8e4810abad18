"""What makes the result of some splits misleading is said in a sentence; shared people and films: `tests/faults/`."""

from data_modules.labels import SEVEN
from data_modules.loading.clip_dataset import Clip
from data_modules.loading.split_faults import split_faults
from data_modules.manifest import VideoRecord
from data_modules.prepare.pending import FAILED
from data_modules.store.clip_file import ClipSummary


def clips(reason: str) -> list[Clip]:
    """Two clips of each class and split, of which one of training and one of test have no faces for a reason."""
    found = []
    for split in ("train", "test"):
        for label, emotion in enumerate(SEVEN):
            for number in range(3):
                name = f"{split}-{emotion}-{number}"
                why = reason if (label, number) == (0, 0) else ""
                record = VideoRecord(name, f"{name}.mp4", emotion, split=split)
                found.append(
                    Clip(record, ClipSummary(name, 9, 0 if why else 9, reason=why, content=name), label, not why)
                )
    return found


def test_clips_that_this_machine_could_not_prepare_are_named():
    (fault,) = split_faults(clips(f"{FAILED}the process was killed"), SEVEN, "dfew")
    assert fault == (
        "dfew: 2 clips could not be prepared, for want of memory, disk or time (train-anger-0, test-anger-0): "
        "not trained on, and errors where they are reported. `fer data prepare dfew` tries again"
    )


def test_clips_without_a_face_are_no_fault():
    assert split_faults(clips("no face found in 9 frames"), SEVEN, "dfew") == ()
