"""Rendered people of whom training shows the tested ones, or does not: the leak of folds that ignore who is shown.

`results/inflation.md` says what a leak was measured to add.
"""

from collections import Counter
from collections.abc import Iterable
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from multiprocessing import get_context
from pathlib import Path

import cv2
import numpy as np

from data_modules.datasets import Synthetic, SyntheticStills
from data_modules.labels import SEVEN
from data_modules.manifest import VideoRecord, write_manifest
from data_modules.synthetic.clip import ClipSettings, RenderedClip, plan_clip, render_plan


def divided(halves: Iterable[tuple[VideoRecord, bool]], leaking: bool) -> list[VideoRecord]:
    """The records of both splits: of every second person, the first half is tested.

    Args:
        halves: records, with whether each is in the first half of its person's.
        leaking: whether training has the other halves of the tested people, and the first halves of the others;
            otherwise it has all records of the others, and none of the tested people.
    """
    found = []
    for record, first in halves:
        of_tested = int(record.subject[1:]) % 2 == 0
        trained = first != of_tested if leaking else not of_tested
        if (of_tested and first) or trained:
            found.append(replace(record, split="train" if trained else "test"))
    return found


@dataclass
class SharedPeople(Synthetic):
    """Videos, one of each person and expression: training shows the tested people with other expressions, if at all."""

    leaking: bool = False

    def records(self) -> list[VideoRecord]:
        """Returns the clips of both splits."""
        places = ((r, (int(r.subject[1:]) // 2 + SEVEN.index(r.emotion)) % 2 == 0) for r in super().records())
        return divided(places, self.leaking)


@dataclass
class SharedStills(SyntheticStills):
    """Stills, several of each person and expression: training shows the tested people with all expressions, if at all.

    Args:
        people: the number of people.
    """

    people: int = 40
    leaking: bool = False

    def records(self) -> list[VideoRecord]:
        """Returns the images of both splits."""
        takes, halves = Counter[tuple[str, str]](), []
        for record in super().records():
            person, take = int(record.subject[1:]), takes[record.subject, record.emotion]
            takes[record.subject, record.emotion] += 1
            if person < self.people:
                halves.append((record, (take + person // 2) % 2 == 0))
        return divided(halves, self.leaking)


SEEN = 5  # frames of a clip by which `fer data doctor --identities` knows somebody


def short_clip(settings: ClipSettings) -> RenderedClip:
    """A few evenly spaced frames of a rendered video: the others would take most of the time, and are not looked at."""
    plan = plan_clip(settings)
    seen = np.linspace(0, len(plan.intensity) - 1, SEEN).round().astype(int)
    done, pose = plan.performance, plan.performance.pose
    pose = replace(pose, **{name: getattr(pose, name)[seen] for name in ("yaw", "pitch", "roll", "centre", "scale")})
    performance = replace(done, units=done.units[seen], gaze=done.gaze[seen], pose=pose)
    return render_plan(replace(plan, performance=performance, intensity=plan.intensity[seen], audio=None))


def write_short_clip(folder: Path, settings: ClipSettings, clip_id: str) -> None:
    """Writes a short clip as a folder of frames, with its truth beside it."""
    clip = short_clip(settings)
    (folder / clip_id).mkdir(parents=True)
    for index, frame in enumerate(clip.frames):
        cv2.imwrite(str(folder / clip_id / f"{index}.jpg"), frame[..., ::-1])
    clip.truth.save(folder / f"{clip_id}.safetensors")


def write_people(folder: Path, people: int, seed: int, *, named: bool) -> dict[str, bool]:
    """Writes a data set of one's own (`Own`): rendered people, each with a short clip of every expression.

    Args:
        folder: of the data set.
        people: their number. A third is tested with three expressions and trained on with the others, a third is
            tested alone, and a third is trained on alone.
        seed: other seeds give other people.
        named: whether the data set says who is shown; if not, neither do the names of its files.

    Returns:
        Of each tested clip, whether its person is trained on, too.
    """
    shown = [(person, take) for person in range(people) for take in range(len(SEVEN))]
    names = [f"c{number:05d}" for number in np.random.default_rng(seed).permutation(len(shown)).tolist()]
    settings = [ClipSettings("lab", person, SEVEN[take], seed=seed) for person, take in shown]
    with ProcessPoolExecutor(2, get_context("spawn")) as pool:
        list(pool.map(partial(write_short_clip, folder), settings, names, chunksize=50))
    records, leaks = [], {}
    for (person, take), name, each in zip(shown, names, settings, strict=True):
        tested = person % 3 == 1 or (person % 3 == 0 and take < 3)
        if tested:
            leaks[name] = person % 3 == 0
        subject, split = f"p{person}" if named else "", "test" if tested else "train"
        records.append(VideoRecord(name, name, each.emotion, subject, split=split, truth=f"{name}.safetensors"))
    write_manifest(folder / "manifest.csv", records)
    return leaks
