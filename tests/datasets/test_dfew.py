"""DFEW's layout and lists."""

import shutil

import pytest

from data_modules.datasets.dataset import DatasetNotFoundError
from data_modules.datasets.dfew import DFEW
from data_modules.labels import SEVEN
from tests.fakes import write_dfew, write_dfew_votes

LIST = "EmoLabel_DataSplit/train(single-labeled)/set_1.csv"


@pytest.fixture
def root(tmp_path):
    return write_dfew(tmp_path / "data", train=14, test=7)


def test_records_state_folder_emotion_split_and_fold(root):
    records = DFEW().records()
    assert [record.clip_id for record in records] == [f"{number:05d}" for number in range(1, 22)]
    assert [record.split for record in records] == ["train"] * 14 + ["test"] * 7
    assert {record.fold for record in records} == {"1"}
    first = records[0]
    assert (first.path, first.emotion) == ("Clip/clip_224x224/00001", "sadness")  # code 2
    assert all((root / record.path).is_dir() for record in records)
    assert DFEW().class_names == SEVEN


def test_codes_are_those_of_the_data_set(root):
    """1 happy, 2 sad, 3 neutral, 4 angry, 5 surprise, 6 disgust, 7 fear (its read-me)."""
    (root / LIST).write_text("video_name,label\n" + "".join(f"{n},{n}\n" for n in range(1, 8)))
    train = [record for record in DFEW().records() if record.split == "train"]
    named = ["happiness", "sadness", "neutral", "anger", "surprise", "disgust", "fear"]
    assert [record.emotion for record in train] == named
    assert train[0].clip_id == "00001"  # names without leading zeros are those of the folders


@pytest.mark.parametrize("row", ["00003,0", "00003,8", "00003,happy", "00003", ""])
def test_an_unknown_label_is_named_with_file_and_line(root, row):
    (root / LIST).write_text(f"video_name,label\n00001,1\n{row or ','}\n")
    with pytest.raises(ValueError, match=r"set_1.csv, line 3: found .*label from 1 to 7"):
        DFEW().records()


def test_a_list_with_other_columns_is_named(root):
    (root / LIST).write_text("name,label\n00001,1\n")
    with pytest.raises(ValueError, match="expected video_name,label"):
        DFEW().records()


def test_a_byte_order_mark_is_no_part_of_the_first_column(root):
    text = (root / LIST).read_text()
    (root / LIST).write_text("\ufeff" + text, encoding="utf-8")
    assert len(DFEW().records()) == 21


@pytest.mark.parametrize("missing", ["EmoLabel_DataSplit", "Clip", "."])
def test_what_is_missing_is_said_with_where_and_how_to_get_it(root, missing):
    shutil.rmtree(root / missing)
    with pytest.raises(DatasetNotFoundError) as error:
        DFEW().records()
    text = str(error.value)
    looked_for = "Clip/clip_224x224" if missing == "Clip" else LIST
    for part in (looked_for, str(root), "dfew-dataset.github.io", "FER_DATA", "DATA=synthetic SIZE=small"):
        assert part in text
    assert ("does not exist" if missing == "." else "which holds") in text


def test_another_folds_list_is_another_file(root):
    with pytest.raises(DatasetNotFoundError, match=r"set_3.csv"):
        DFEW(fold="3").records()


def test_a_clip_name_cannot_leave_the_data_set(root):
    from data_modules.manifest import check_records

    (root / LIST).write_text("video_name,label\n../../x,1\n")
    with pytest.raises(ValueError, match="outside"):
        check_records(DFEW().records(), "dfew")


def test_the_published_counts_are_of_single_label_clips():
    (all_clips,) = DFEW.counts
    assert all_clips.clips == 11_697
    assert tuple(name for name, _ in all_clips.emotions) == SEVEN


def test_votes_are_those_of_the_workbook(root):
    write_dfew_votes(root, (1, 0, 7, 1, 0, 0, 0, 2), (3, 0, 0, 3, 3, 0, 0, 4))
    records = {record.clip_id: record.votes for record in DFEW().records()}
    assert (records["00001"], records["00003"]) == ("fear=2 neutral=1 sadness=7", "anger=3 fear=4 neutral=3")
    assert records["00002"] == ""
    write_dfew_votes(root, (1, 0, 9, 1, 0, 0, 0, 0))  # read again when it has changed
    assert DFEW().records()[0].votes == "neutral=1 sadness=9"


def test_a_workbook_with_other_content_is_named(root):
    write_dfew_votes(root, (1, "many", 0, 0, 0, 0, 0, 0))
    with pytest.raises(ValueError, match=r"annotation.xlsx, row 2: found .*many.*; expected the columns order"):
        DFEW().records()
    write_dfew_votes(root, (1, 2), header=("order", "happy"))
    with pytest.raises(ValueError, match=r"annotation\.xlsx cannot be read"):
        DFEW().records()
    (root / "Annotation" / "annotation.xlsx").write_text("no workbook")
    with pytest.raises(ValueError, match=r"annotation\.xlsx cannot be read"):
        DFEW().records()


def test_other_folds_may_take_the_place_of_the_official_ones(root, tmp_path):
    official = DFEW(root).records()
    clips = sorted(record.clip_id for record in official)
    rows = [f"{clip},{1 + place % 5}" for place, clip in enumerate(clips)]
    (tmp_path / "folds.csv").write_text("\n".join(["clip_id,fold", *rows]))
    records = DFEW(root, "2", folds_file=tmp_path / "folds.csv").records()
    assert {record.clip_id for record in records if record.split == "test"} == set(clips[1::5])
    assert {(record.fold, record.path) for record in records} == {("2", record.path) for record in official}
    (tmp_path / "folds.csv").write_text("\n".join(["clip_id,fold", *rows[1:]]))
    with pytest.raises(ValueError, match="1 clips have no fold"):
        DFEW(root, folds_file=tmp_path / "folds.csv").records()
