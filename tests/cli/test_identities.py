"""People who stand in training and test without their names are found, and folds are made without them."""

import csv
import re
from collections import Counter
from dataclasses import dataclass, field, replace
from typing import ClassVar

import cv2
import numpy as np
import pytest

from data_modules.datasets.dataset import VideoDataset
from data_modules.datasets.fold_files import read_folds
from data_modules.faces.settings import FaceSettings
from data_modules.labels import SEVEN
from data_modules.manifest import VideoRecord
from data_modules.prepare.faces import store_for
from data_modules.prepare.grouping import measure, same_person, unit
from data_modules.prepare.identities import by_person, face_colours, face_features, find_leaks, learn
from data_modules.store.clip_file import ClipSummary, FaceFrame
from fer_lightning.cli import data as command
from fer_lightning.cli.main import main
from fer_lightning.experiments.identities import make_embedder


@dataclass
class Faces(VideoDataset):
    """Faces of nine patches of colour: a person's own colours, in changing light, on any background.

    Of the hidden set, nobody is named, and every third person stands in training and test.
    """

    faces: FaceSettings = field(default_factory=lambda: FaceSettings(detector="crop", size=64))
    people: int = 40
    hidden: bool = False

    licence: ClassVar[str] = "none"
    how_to_get: ClassVar[str] = "it is made when asked for"

    @property
    def name(self) -> str:
        return "hidden" if self.hidden else "known"

    @property
    def class_names(self) -> tuple[str, ...]:
        return SEVEN

    def person(self, clip: str) -> int:
        return int(clip.partition("-")[0][1:]) if not self.hidden else (int(clip[1:4]) * 11) % self.people

    def records(self) -> list[VideoRecord]:
        records = []
        for number in range(self.people):
            for take, emotion in enumerate(SEVEN):
                # 11 is prime to the number of people: ids do not say who is shown.
                clip = f"c{number:03d}{take}" if self.hidden else f"p{number}-{emotion}"
                shown = self.person(clip)
                tested = shown % 3 == 1 or (shown % 3 == 0 and take < 3)
                name = "" if self.hidden else f"p{number}"
                records.append(VideoRecord(clip, clip, emotion, name, split="test" if tested else "train", fold="1"))
        return records

    def prepare(self) -> None:
        store, summaries = store_for(self), []
        for place, record in enumerate(self.records()):
            own = np.random.default_rng((self.hidden, self.person(record.clip_id))).integers(60, 200, (3, 3, 3))
            rng = np.random.default_rng((2, self.hidden, place))
            face = np.full((5, 5, 3), rng.integers(0, 256, 3))
            face[1:4, 1:4] = own * rng.uniform(0.85, 1.15) + rng.normal(0, 4, own.shape)
            crop = cv2.resize(face.clip(0, 255).astype(np.uint8), (64, 64), interpolation=cv2.INTER_NEAREST)
            with store.writing(record.clip_id) as writer:
                writer.add(FaceFrame(0, crop, np.array([0, 0, 64, 64], np.float32), 1.0))
                summaries.append(writer.finish(ClipSummary(record.clip_id, 1, 1, 25.0)))
        store.write_index(summaries)


@pytest.fixture
def made(tmp_path, monkeypatch):
    monkeypatch.setenv("FER_STORE", str(tmp_path / "store"))
    monkeypatch.chdir(tmp_path)
    sets = {"hidden": Faces(tmp_path, hidden=True), "known": Faces(tmp_path)}
    for dataset in sets.values():
        dataset.prepare()
    monkeypatch.setattr(command, "build_dataset", lambda name, others=None: sets[name])
    monkeypatch.setattr(command, "diagnose", lambda *_: 0)  # there are no files of which the copy consists
    return sets


def test_planted_leaks_are_found(made):
    """Of the test clips, 52 % show people who stand in training; precision and recall are at least 0.95."""
    known, hidden = (
        face_features(store_for(each), each.records(), face_colours, "x") for each in reversed(made.values())
    )
    discriminant, quality = learn(known, "known")
    assert quality.people == 20
    assert quality.equal_error_rate < 0.05
    vectors = discriminant(hidden.values)
    leaks = find_leaks(hidden, vectors, same_person(vectors, quality.threshold))
    truth = np.array([made["hidden"].person(clip) % 3 == 0 for clip in leaks.clips.tolist()])
    assert truth.mean() == pytest.approx(3 * 14 / (3 * 14 + 7 * 13))
    assert (leaks.leaked & truth).sum() >= 0.95 * truth.sum()
    assert (leaks.leaked & truth).sum() >= 0.95 * leaks.leaked.sum()
    person = made["hidden"].person
    assert all(person(first) == person(second) for first, second, _ in leaks.pairs[:20])


def test_the_doctor_states_its_quality_and_shows_pairs(made, capsys):
    assert main(["data", "doctor", "hidden", "--identities", "--known", "known", "--embedder", "colours"]) == 0
    said = capsys.readouterr().out
    found, tested = map(int, re.search(r"identities: (\d+) of (\d+) test clips", said).groups())
    assert tested == 3 * 14 + 7 * 13
    assert found == pytest.approx(3 * 14, abs=4)
    assert re.search(r"colours, on 20 known people of known: equal error rate \d", said)
    low, high = map(float, re.search(r"95% \[([\d.]+)%, ([\d.]+)%\] over people", said).groups())
    assert low < 100 * found / tested < high
    picture = cv2.imread(str(store_for(made["hidden"]).folder / "closest_pairs.jpg"))
    assert picture.shape[0] > 1000


def test_folds_share_nobody_and_name_nobody(made, tmp_path, capsys):
    options = ["--exclusive", "identity", "--known", "known", "--embedder", "colours", "--folds", "4"]
    assert main(["data", "folds", "hidden", *options, "--out", str(tmp_path / "a.csv")]) == 0
    assert "no two share a person, found by colours" in capsys.readouterr().out
    assert main(["data", "folds", "hidden", *options, "--out", str(tmp_path / "b.csv")]) == 0
    assert (tmp_path / "a.csv").read_bytes() == (tmp_path / "b.csv").read_bytes()
    with (tmp_path / "a.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert list(rows[0]) == ["clip_id", "emotion", "subject", "fold"]
    assert not any(row["subject"] for row in rows)
    dataset = made["hidden"]
    assigned = read_folds(tmp_path / "a.csv", dataset.records(), 4)
    folds_of = {}
    for record, fold in zip(dataset.records(), assigned, strict=True):
        folds_of.setdefault(dataset.person(record.clip_id), Counter())[fold] += 1
    assert sum(len(folds) > 1 for folds in folds_of.values()) <= 2, "of forty people"
    emotions = Counter((row["fold"], row["emotion"]) for row in rows)
    assert max(emotions.values()) - min(emotions.values()) <= 3, "stratified"


def test_films_are_taken_from_the_records_or_refused(made, tmp_path, monkeypatch, capsys):
    assert main(["data", "folds", "hidden", "--exclusive", "film"]) == 2
    assert "does not say from which film 280 clips of 280" in capsys.readouterr().err
    filmed = [replace(record, group=f"film {record.clip_id[:3]}") for record in made["hidden"].records()]
    monkeypatch.setattr(Faces, "records", lambda self: filmed)
    assert (
        main(["data", "folds", "hidden", "--exclusive", "film", "--out", str(tmp_path / "f.csv"), "--folds", "2"]) == 0
    )
    with (tmp_path / "f.csv").open(newline="") as file:
        folds = {}
        for row in csv.DictReader(file):
            folds.setdefault(row["clip_id"][:3], set()).add(row["fold"])
    assert all(len(each) == 1 for each in folds.values())
    assert "film " not in (tmp_path / "f.csv").read_text()


def test_clips_are_of_one_person_by_face_or_by_name():
    records = [VideoRecord(clip, clip, "fear", name) for clip, name in (("a", "x"), ("b", ""), ("c", "x"), ("d", ""))]
    faces = type("Faces", (), {"records": (records[0], records[1], records[3])})
    assert by_person(records, faces, np.array([5, 5, 7])) == {"a": "a", "b": "a", "c": "a", "d": "d"}


def test_the_equal_error_rate_by_hand():
    """Two people of two clips: of two pairs of one person and four of two, one of each kind lies on the wrong side."""
    angles = np.deg2rad([0, 10, 100, 30])
    vectors = unit(np.stack([np.cos(angles), np.sin(angles)], axis=1))
    quality = measure(vectors, np.array(["a", "a", "b", "b"]))
    assert quality.equal_error_rate == pytest.approx((0.5 + 0.5) / 2)
    assert quality.people == 2


def test_the_weights_of_a_network_are_read():
    with pytest.raises(FileNotFoundError, match="missing"):
        make_embedder("resnet10t=run:missing")


def test_what_cannot_be_done_is_said(made, capsys):
    assert main(["data", "doctor", "hidden", "--identities", "--known", "hidden"]) == 2
    assert "0 named people with two clips or more; expected 20" in capsys.readouterr().err
    assert main(["data", "doctor", "hidden", "--identities", "--known", "known", "--embedder", "nothing"]) == 2
    assert "embedder 'nothing': expected insightface, colours, or a network" in capsys.readouterr().err
