from collections import Counter

import pytest

from data_modules.datasets.fold_files import check_exclusive
from data_modules.datasets.folds import assign_folds
from data_modules.datasets.splits import inseparable, join_inner, mark_inner_split
from data_modules.labels import SEVEN
from data_modules.manifest import VideoRecord, check_records, manifest_columns, read_manifest, write_manifest


def people(subjects=30, fold="1", test=5):
    return [
        VideoRecord(f"s{s}-{e}", f"{s}/{e}.mp4", e, f"s{s}", split="test" if s < test else "train", fold=fold)
        for s in range(subjects)
        for e in SEVEN
    ]


def test_the_inner_split_shares_no_subject_and_holds_its_share():
    marked = mark_inner_split(people(), "set", share=0.2)
    subjects = {split: {r.subject for r in marked if r.split == split} for split in ("train", "inner", "test")}
    assert not subjects["train"] & subjects["inner"]
    assert len(subjects["inner"]) == 5
    assert subjects["test"] == {f"s{s}" for s in range(5)}
    assert Counter(r.emotion for r in marked if r.split == "inner") == Counter(dict.fromkeys(SEVEN, 5))


@pytest.mark.parametrize("name", ["a", "b", "c", "d"])
def test_a_film_that_is_larger_than_all_others_is_trained_on(name):
    """The splitter's first part would be that film."""
    sizes = {"large": 120} | {f"small{number}": 10 for number in range(18)}
    records = [
        VideoRecord(f"{film}-{i}", "x.mp4", SEVEN[i % 7], group=film)
        for film, size in sizes.items()
        for i in range(size)
    ]
    inner = [record for record in mark_inner_split(records, name) if record.split == "inner"]
    assert 30 <= len(inner) <= 65, "about 43, in whole films"
    assert "large" not in {record.group for record in inner}


def test_it_depends_on_data_set_and_fold_alone():
    inner = lambda records, name="set": {r.clip_id for r in mark_inner_split(records, name) if r.split == "inner"}  # noqa: E731
    assert inner(people()) == inner(people()[::-1])
    assert inner(people()) != inner(people(), "other")
    assert inner(people()) != inner(people(fold="2"))


def test_clips_of_unknown_people_are_stratified():
    records = [VideoRecord(f"{i}", f"{i}.mp4", SEVEN[i % 7 if i % 10 else 0]) for i in range(700)]
    inner = Counter(r.emotion for r in mark_inner_split(records, "set", 0.1) if r.split == "inner")
    every = Counter(r.emotion for r in records)
    assert all(abs(inner[e] - every[e] / 10) <= 2 for e in SEVEN)


def test_a_split_of_ones_own_is_kept_and_may_join_the_training():
    records = people()
    own = [
        VideoRecord(r.clip_id, r.path, r.emotion, r.subject, split="inner" if r.subject == "s9" else r.split)
        for r in records
    ]
    assert mark_inner_split(own, "set") == own
    assert join_inner(own) == records
    assert join_inner(records) == records


def test_records_of_a_film_or_a_subject_are_inseparable():
    def names(*of):
        return inseparable([VideoRecord(f"c{i}", "x", "fear", person, film) for i, (person, film) in enumerate(of)])

    assert names(("s1", "film"), ("s1", ""), ("s2", ""), ("", "other"), ("", "")) == [
        "film",
        "film",
        "s2",
        "other",
        "c4",
    ]
    assert names(("film", ""), ("", "film")) == ["film", "film"], "names are those of before where one is known"
    linked = names(("a", "1"), ("b", "2"), ("c", "3"), ("b", "1"), ("d", "3"), ("e", "4"), ("e", "2"))
    assert len({linked[i] for i in (0, 1, 3, 5, 6)}) == 1, "a and b by film 1, e by films 2 and 4"
    assert linked[2] == linked[4] != linked[0]
    assert names(*[(f"s{i}", f"f{i}") for i in range(5)]) == [f"f{i}" for i in range(5)]


def sessions(people=20):
    """Clips of people who come four times; each visit is a group, as data sets of one's own may have it."""
    return [
        VideoRecord(f"{p}-{v}-{e}", "x", e, f"p{p}", f"p{p} v{v}")
        for p in range(people)
        for v in range(4)
        for e in SEVEN[:3]
    ]


def test_a_person_of_several_films_is_in_one_split():
    folds = assign_folds(sessions(), 5, "mine")
    of_person = {(record.subject, fold) for record, fold in zip(sessions(), folds, strict=True)}
    assert len(of_person) == 20
    marked = mark_inner_split(sessions(), "mine")
    assert len({(record.subject, record.split) for record in marked}) == 20
    by_visit = [1 + int(record.group[-1]) for record in sessions()]
    with pytest.raises(ValueError, match="subject 'p0' is in the folds 1 and 2"):
        check_exclusive(sessions(), by_visit, "mine.csv")


def test_one_person_cannot_be_split():
    with pytest.raises(ValueError, match="one subject"):
        mark_inner_split(people(subjects=1, test=0), "set")


def test_a_manifest_comes_back_as_it_was(tmp_path):
    records = [
        *people(3),
        VideoRecord("x", "x.avi", "fear", "s", "film", "test", "2", "x.safetensors", quarter_turns=3),
        VideoRecord("y", "y.avi", "fear", votes="anger=3 fear=7"),
    ]
    write_manifest(tmp_path / "m.csv", records)
    assert read_manifest(tmp_path / "m.csv") == records


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (VideoRecord("s0-anger", "x.mp4", "fear"), "twice"),
        (VideoRecord("new", "../x.mp4", "fear"), "outside"),
        (VideoRecord("new", "/etc/passwd", "fear"), "outside"),
        (VideoRecord("new", "x.mp4", "fear", split="val"), "expected one of"),
        (VideoRecord("new", "x.mp4", "fear", truth="a/../../x"), "outside"),
        (VideoRecord("new", "x.mp4", "fear", quarter_turns=4), "quarter_turns 4; expected 0 to 3"),
        (VideoRecord("new", "x.mp4", "fear", quarter_turns=-1), "quarter_turns -1"),
        (VideoRecord("new", "x.mp4", "fear", votes="fear"), "clip 'new': found the votes 'fear'; expected emotions"),
        (VideoRecord("new", "x.mp4", "fear", votes="fear=1 fear=2"), "found the votes"),
        (VideoRecord("new", "x.mp4", "fear", votes="fear=0.5"), "found the votes"),
    ],
)
def test_records_that_would_make_results_wrong_are_refused(record, message):
    with pytest.raises(ValueError, match=message):
        check_records([*people(2), record], "set")


def test_a_manifest_of_version_0_1_0_is_read(tmp_path):
    (tmp_path / "m.csv").write_text("clip_id,path,emotion,turns\na,b,fear,3\nc,d,fear,\n")
    assert [record.quarter_turns for record in read_manifest(tmp_path / "m.csv")] == [3, 0]
    (tmp_path / "m.csv").write_text("clip_id,path,emotion,turns,quarter_turns\na,b,fear,3,1\n")
    with pytest.raises(ValueError, match="the columns quarter_turns and turns"):
        read_manifest(tmp_path / "m.csv")


def test_a_manifest_without_a_column_is_refused(tmp_path):
    (tmp_path / "m.csv").write_text("clip_id,path\na,b\n")
    with pytest.raises(ValueError, match="no column emotion"):
        read_manifest(tmp_path / "m.csv")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("a,b,fear,x", "line 3: found quarter_turns 'x'; expected a number of clockwise quarter turns"),
        ("a,b,fear,-1", "line 3: found quarter_turns '-1'"),
        ("a,b,fear,4", "expected 0 to 3"),
        ("a,b,fear", "line 3: the number of fields differs from that of the header"),
        ("a,b,fear,1,2", "line 3: the number of fields differs from that of the header"),
    ],
)
def test_rows_of_a_manifest_that_do_not_fit_are_named(tmp_path, row, message):
    (tmp_path / "m.csv").write_text(f"clip_id,path,emotion,quarter_turns\nx,y,fear,\n{row}\n")
    with pytest.raises(ValueError, match=message):
        read_manifest(tmp_path / "m.csv")


def test_what_a_manifest_may_leave_out(tmp_path):
    (tmp_path / "m.csv").write_text("\ufeffclip_id,path,emotion,remark\nx,..y..,fear,good\n", encoding="utf-8")
    assert read_manifest(tmp_path / "m.csv") == [VideoRecord("x", "..y..", "fear")]
    assert manifest_columns(tmp_path / "m.csv") == {"clip_id", "path", "emotion", "remark"}
