"""The splits with and without a leak differ in nothing but the people of training."""

from collections import Counter

import pytest

from data_modules.labels import SEVEN
from data_modules.manifest import VideoRecord, write_manifest
from tests.leaking import SharedPeople, SharedStills


@pytest.mark.parametrize(("kind", "takes"), [(SharedPeople, 1), (SharedStills, 2)])
def test_a_planted_leak_changes_the_people_of_training_alone(tmp_path, kind, takes):
    sets = [kind(tmp_path, leaking=leaking) for leaking in (False, True)]
    clips = [
        VideoRecord(f"{person}-{emotion}-{take}", "", emotion, f"p{person:03d}")
        for person in range(8)
        for emotion in SEVEN
        for take in range(takes)
    ]
    sets[0].folder.mkdir(parents=True)
    write_manifest(sets[0].folder / "manifest.csv", clips)
    without, leaking = (each.records() for each in sets)
    tested, trained, people = [], [], []
    for records in (without, leaking):
        tested.append({r.clip_id for r in records if r.split == "test"})
        trained.append(Counter(r.emotion for r in records if r.split == "train"))
        people.append([{r.subject for r in records if r.split == split} for split in ("test", "train")])
    assert tested[0] == tested[1]
    assert len(tested[0]) == len(clips) // 4
    assert trained[0] == trained[1] == Counter(dict.fromkeys(SEVEN, 4 * takes))
    assert not people[0][0] & people[0][1]
    assert people[1][0] <= people[1][1]
    assert not tested[1] & {r.clip_id for r in leaking if r.split == "train"}
