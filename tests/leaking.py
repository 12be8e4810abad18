"""Rendered people of whom training shows the tested ones, or does not: the leak of folds that ignore who is shown.

`results/inflation.md` says what a leak was measured to add.
"""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace

from data_modules.datasets import Synthetic, SyntheticStills
from data_modules.labels import SEVEN
from data_modules.manifest import VideoRecord


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
