"""Folds for data sets without: exclusive in people, balanced, and the same everywhere."""

import hashlib
import random
from collections import Counter
from dataclasses import replace

import pytest

from data_modules.datasets.bu4dfe import BU4DFE
from data_modules.datasets.caer import CAER
from data_modules.datasets.ckplus import CKPlus
from data_modules.datasets.dfew import DFEW
from data_modules.datasets.fold_files import FoldRow, count_folds, fold_rows, read_folds, write_folds
from data_modules.datasets.folds import assign_folds, split_by_fold
from data_modules.datasets.mafw import MAFW
from data_modules.datasets.ravdess import RAVDESS
from data_modules.datasets.synthetic import Synthetic
from data_modules.manifest import VideoRecord
from fer_lightning.cli.main import main
from tests.fakes import SIX, write_cremad, write_dfew, write_rafdb


def people(numbers: list[int]) -> list[VideoRecord]:
    """A clip for each emotion and person; the n-th person has `numbers[n]` clips of each."""
    return [
        VideoRecord(f"p{person}-{emotion}-{clip}", "x", emotion, f"p{person}")
        for person, number in enumerate(numbers)
        for emotion in SIX
        for clip in range(number)
    ]


def test_folds_are_balanced_and_stratified():
    """People and sequences as many as CK+ has, dealt out at random."""
    rng = random.Random(0)
    (count,) = CKPlus().counts
    records = [
        VideoRecord(f"{person}-{emotion}", "x", emotion, f"S{person}")
        for emotion, number in count.emotions
        for person in rng.sample(range(118), number)
    ]
    folds = assign_folds(records, 10, "x")
    for emotion, _ in count.emotions:
        numbers = Counter(fold for fold, record in zip(folds, records, strict=True) if record.emotion == emotion)
        assert max(numbers.values()) - min(numbers.values()) <= 2
        assert set(numbers) == set(range(1, 11))
    sizes = Counter(folds).values()
    assert max(sizes) - min(sizes) <= 6


def test_people_alike_are_spread_evenly():
    folds = assign_folds(people([1] * 24), 6, "x")
    assert set(Counter(folds).values()) == {24}  # four people in each


def test_folds_depend_on_clips_and_name_alone():
    records = people([1] * 30)
    first = dict(zip(records, assign_folds(records, 10, "x"), strict=True))
    assert dict(zip(records[::-1], assign_folds(records[::-1], 10, "x"), strict=True)) == first
    assert dict(zip(records, assign_folds(records, 10, "y"), strict=True)) != first
    # A published figure needs the same folds forever.
    digest = hashlib.sha256(str(assign_folds(people([1, 2] * 10), 5, "pinned")).encode()).hexdigest()
    assert digest == "cae6b4b9f26343bb2cadf6e380b2c618a8983186b26eac0d4ba0690834801400"


def test_films_count_where_they_are_known():
    records = [replace(each, subject="", group=f"film{place % 5}") for place, each in enumerate(people([1] * 30))]
    split = split_by_fold(records, "2", 5, "x")
    assert not {r.group for r in split if r.split == "train"} & {r.group for r in split if r.split == "test"}


def test_too_few_people_are_named():
    with pytest.raises(ValueError, match=r"x: 18 clips of 3 subjects or films, .* cannot make 4 folds"):
        assign_folds(people([1] * 3), 4, "x")


def test_every_data_set_says_how_many_folds_it_has():
    made = (CKPlus(), CKPlus(protocol="neutral"), BU4DFE(), DFEW(), MAFW(), RAVDESS(), Synthetic(), CAER())
    assert [dataset.folds for dataset in made] == [10, 5, 10, 5, 5, 6, 4, 1]
    assert made[3].fold_names == ("1", "2", "3", "4", "5")


def test_many_clips_of_nobody_known_are_divided_at_once():
    records = [VideoRecord(f"{number:05d}", "x", SIX[number % 6]) for number in range(12_000)]
    folds = assign_folds(records, 5, "x")
    counts = Counter((fold, record.emotion) for fold, record in zip(folds, records, strict=True))
    assert set(counts.values()) == {400}
    assert dict(zip(records[::-1], assign_folds(records[::-1], 5, "x"), strict=True)) == dict(
        zip(records, folds, strict=True)
    )


# Files of folds


@pytest.fixture
def file(tmp_path):
    """Our folds of twelve people as a file, and the clips."""
    records = people([1] * 12)
    write_folds(tmp_path / "folds.csv", fold_rows(split_by_fold(records, str(n), 3, "x") for n in (1, 2, 3)))
    return tmp_path / "folds.csv", records


def test_a_file_of_our_folds_gives_our_folds(file):
    path, records = file
    assert count_folds(path) == 3
    assert read_folds(path, records[::-1], 3) == assign_folds(records[::-1], 3, "x")
    head, *rows = path.read_text().splitlines()
    assert head == "clip_id,emotion,subject,fold"
    assert rows == sorted(rows)
    first = path.read_bytes()
    write_folds(path, fold_rows(split_by_fold(records[::-1], str(n), 3, "x") for n in (3, 1, 2)))
    assert path.read_bytes() == first


def test_a_file_may_have_no_more_than_clips_and_folds(file):
    path, records = file
    path.write_text("\ufefffold,clip_id\n" + "".join(f"{1 + int(r.subject[1:]) % 4},{r.clip_id}\n" for r in records))
    wanted = [1 + int(record.subject[1:]) % 4 for record in records]
    assert read_folds(path, records, 4) == wanted
    spelt = {"happiness": "Happy", "sadness": "Sad"}
    rows = [f"{fold},{r.clip_id},{spelt.get(r.emotion, r.emotion)}" for r, fold in zip(records, wanted, strict=True)]
    path.write_text("\n".join(["fold,clip_id,emotion", *rows]))
    assert read_folds(path, records, 4) == wanted


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("clip_id", "clip", r"found the columns \['clip'.*expected clip_id, emotion"),
        ("p0-anger-0,anger,p0", "p0-anger-9,anger,p0", r"line 2: clip 'p0-anger-9' is not among the 72 clips here"),
        ("p0-anger-0,anger,p0", "p0-fear-0,fear,p0", "line 4: clip 'p0-fear-0' is listed twice"),
        ("p0-anger-0,anger", "p0-anger-0,fear", "clip 'p0-anger-0' is labelled 'fear', here 'anger'"),
        ("p0-anger-0,anger,p0,", "p0-anger-0,anger,p0,x", "line 2: found clip 'p0-anger-0' and fold 'x"),
        ("p0-anger-0,anger,p0,", "p0-anger-0,anger,p0,0,", "and fold '0'; expected a number from 1 on"),
        ("p0-anger-0,anger,p0,", "p0-anger-0,anger,p0,1", "folds 1, 2, 3, 1[123]; expected 1 to 3"),
    ],
)
def test_files_that_do_not_fit_are_refused(file, old, new, message):
    path, records = file
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))
    with pytest.raises(ValueError, match=message):
        read_folds(path, records, 3)


def test_a_file_that_lacks_a_clip_or_shares_a_person_is_refused(file):
    path, records = file
    rows = path.read_text().splitlines()
    path.write_text("\n".join(rows[:-2]))
    with pytest.raises(ValueError, match="2 clips have no fold, such as"):
        read_folds(path, records, 3)
    other = rows[1][:-1] + ("1" if rows[1][-1] != "1" else "2")
    path.write_text("\n".join([rows[0], other, *rows[2:]]))
    with pytest.raises(ValueError, match=r"subject 'p0' is in the folds . and .; expected folds that share nobody"):
        read_folds(path, records, 3)


def test_the_command_writes_folds_and_says_where(tmp_path, monkeypatch, capsys):
    write_cremad(tmp_path / "data" / "cremad")
    monkeypatch.chdir(tmp_path)
    out = tmp_path / "x" / "mine.csv"
    assert main(["data", "folds", "cremad", "--out", str(out)]) == 0
    said = capsys.readouterr().out
    assert f"cremad: 5 folds of 60 clips in {out}" in said.replace("\n", "")
    assert count_folds(out) == 5
    assert main(["data", "folds", "cremad", "--dataset.folds", "3"]) == 0
    assert count_folds(tmp_path / "folds_cremad.csv") == 3
    write_rafdb(tmp_path / "data")
    assert main(["data", "folds", "rafdb"]) == 2
    assert "single split into training and test" in capsys.readouterr().err


def test_official_folds_are_written_too(tmp_path):
    folder = write_dfew(tmp_path / "data", train=7, test=7) / "EmoLabel_DataSplit"
    for fold in range(2, 6):  # the other way round
        for split, other in (("train", "test"), ("test", "train")):
            text = (folder / f"{other}(single-labeled)" / "set_1.csv").read_text()
            (folder / f"{split}(single-labeled)" / f"set_{fold}.csv").write_text(text)
    rows = fold_rows(DFEW(fold=str(fold)).records() for fold in range(1, 6))
    assert rows[:5] == [FoldRow("00001", rows[0].emotion, "", str(fold)) for fold in (2, 3, 4, 5)] + [
        FoldRow("00002", rows[4].emotion, "", "2")
    ]
    assert rows[-1] == FoldRow("00014", rows[-1].emotion, "", "1")
