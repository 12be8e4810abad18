"""Data sets of still images: layouts, label codes, traps, and a training on each."""

import csv
import os
import shutil
from collections import Counter
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest
import pytorch_lightning as L
import torch

from data_modules.datasets.affectnet import COLUMNS, AffectNet
from data_modules.datasets.dataset import DatasetNotFoundError
from data_modules.datasets.fer2013 import CODES, FER2013
from data_modules.datasets.ferplus import majority, read_votes
from data_modules.datasets.rafdb import RAFDB
from data_modules.datasets.sfew import SFEW
from data_modules.faces.settings import FaceSettings
from data_modules.labels import SEVEN
from data_modules.loading.datamodule import VideoDataModule
from data_modules.prepare.faces import prepare_faces, store_for
from data_modules.sampling import MiddleFrameSampler
from fer_lightning import FrameBackbone, ImageClassifier
from tests.fakes import (
    affectnet_row,
    fer2013_row,
    write_affectnet,
    write_affectnet_list,
    write_fer2013,
    write_ferplus,
    write_rafdb,
    write_sfew,
)

REAL = os.environ.get("FER_TEST_REAL", "")
WRITERS = {FER2013: write_fer2013, RAFDB: write_rafdb, AffectNet: write_affectnet, SFEW: write_sfew}
ALL = pytest.mark.parametrize("kind", WRITERS, ids=lambda kind: kind.name)


def write_table(folder, rows):
    with (folder / "fer2013.csv").open("w", newline="") as file:
        csv.writer(file).writerows([("emotion", "pixels", "Usage"), *rows])


@pytest.fixture
def data(tmp_path):
    return tmp_path / "data"


@ALL
def test_every_record_is_an_image_that_is_there(kind, data):
    WRITERS[kind](data)
    dataset = kind()
    dataset.prepare()
    records = dataset.records()
    assert all((dataset.folder / record.path).is_file() for record in records)
    assert len({record.clip_id for record in records}) == len(records)
    for split in ("train", "test"):
        assert {record.emotion for record in records if record.split == split} == set(SEVEN) == set(kind().class_names)


def test_images_are_on_disk_before_the_manifest_and_the_index_say_so(data, monkeypatch):
    write_fer2013(data)
    folder, flushed, flush = FER2013().folder, [], os.sync

    def count_files():
        flush()
        flushed.append((len(list(folder.rglob("*.png"))), len(list(folder.glob("*.csv")))))

    monkeypatch.setattr(os, "sync", count_files)
    store = prepare_faces(FER2013(), workers=0)
    assert flushed == [(35, 0), (35, 2)]
    assert len(store.read_index()) == 35


@ALL
def test_there_is_one_fold(kind, data):
    WRITERS[kind](data)
    kind().prepare()
    with pytest.raises(ValueError, match="fold '2' does not exist"):
        kind(fold="2").records()


@ALL
def test_what_is_missing_is_said_with_where_and_how_to_get_it(kind, data):
    for dataset in (kind(), kind(root=data / "elsewhere")):
        with pytest.raises(DatasetNotFoundError) as error:
            dataset.records()
        for part in ("looked for", str(dataset.folder), "does not exist", kind.how_to_get, "FER_DATA"):
            assert part in str(error.value)


@ALL
def test_a_step_of_training_and_an_evaluation(kind, data):
    WRITERS[kind](data)
    size = 48 if kind is FER2013 else 32
    dataset = kind(faces=FaceSettings(detector="crop", size=size, margin=0.0))
    module = VideoDataModule(dataset, MiddleFrameSampler(), batch_size=4, size=32, num_workers=0)
    module.prepare_data = lambda: prepare_here(dataset)
    optimizer = lambda parameters: torch.optim.AdamW(parameters, lr=1e-3)  # noqa: E731
    backbone = FrameBackbone("resnet10t", channels=(8, 8, 16, 16))
    model = ImageClassifier(dataset.class_names, backbone, optimizer=optimizer)
    options = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False, "accelerator": "cpu"}
    trainer = L.Trainer(max_steps=1, limit_val_batches=1, enable_model_summary=False, **options)
    trainer.fit(model, module)
    assert trainer.global_step == 1
    reported = trainer.test(model, module, verbose=False)[1]
    assert 0 <= reported["test/war"] <= 1
    batch = next(iter(module.test_dataloader()[1]))
    assert batch.face.shape[1:] == (1, 3, 32, 32)  # a clip of one frame


def prepare_here(dataset):
    """In this process: starting others costs more than the work."""
    prepare_faces(dataset, workers=0)


# FER2013


def test_fer2013_codes_and_usages_are_those_of_the_competition(data):
    """0 anger, 1 disgust, 2 fear, 3 happiness, 4 sadness, 5 surprise, 6 neutral."""
    folder = write_fer2013(data)
    usages = ["Training"] * 5 + ["PublicTest", "PrivateTest"]
    write_table(folder, [fer2013_row(code, usages[code], code) for code in range(7)])
    dataset = FER2013()
    dataset.prepare()
    records = dataset.records()
    named = ["anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral"]
    assert [record.emotion for record in records] == named
    assert [record.split for record in records] == ["train"] * 5 + ["inner", "test"]
    pixels = np.array(fer2013_row(4, "", 4)[1].split(), int).reshape(48, 48)  # row by row
    np.testing.assert_array_equal(cv2.imread(str(dataset.folder / records[4].path), cv2.IMREAD_GRAYSCALE), pixels)


def test_fer2013_is_unpacked_into_the_store_alone(data, tmp_path, monkeypatch):
    folder = write_fer2013(data)
    monkeypatch.setenv("FER_STORE", str(tmp_path / "store"))
    FER2013().prepare()
    assert [path.name for path in folder.iterdir()] == ["fer2013.csv"]
    assert FER2013().folder.parent == tmp_path / "store" / "fer2013-images"
    assert store_for(FER2013()).folder.name.startswith("fer2013-")


def test_fer2013_is_unpacked_again_where_it_was_not_finished(data):
    write_fer2013(data)
    dataset = FER2013()
    dataset.prepare()
    records, manifest = dataset.records(), dataset.folder / "manifest.csv"
    damaged, lost = (dataset.folder / records[place].path for place in (0, 20))
    whole = damaged.read_bytes()
    manifest.unlink()
    lost.unlink()
    damaged.write_bytes(b"")  # as a power failure may leave it
    with pytest.raises(DatasetNotFoundError, match="fer data prepare fer2013"):
        dataset.records()
    dataset.prepare()
    assert lost.is_file()
    assert damaged.read_bytes() == whole
    assert dataset.records() == records


def test_fer2013_is_unpacked_again_where_a_label_in_the_middle_was_corrected(data):
    """The table keeps its size, its beginning and its end."""
    table = write_fer2013(data, train=300) / "fer2013.csv"
    FER2013().prepare()
    before = [record.emotion for record in FER2013().records()]
    lines = table.read_text().splitlines(keepends=True)
    assert sum(map(len, lines[:150])) > 1 << 20
    assert sum(map(len, lines[151:])) > 1 << 20
    lines[150] = str((int(lines[150][0]) + 1) % 7) + lines[150][1:]
    table.write_text("".join(lines))
    FER2013().prepare()
    after = [record.emotion for record in FER2013().records()]
    assert [number for number, pair in enumerate(zip(before, after, strict=True), start=1) if len(set(pair)) > 1] == [
        150
    ]


def test_fer2013_images_of_two_tables_do_not_mix(data):
    folder = write_fer2013(data)
    first = FER2013().folder
    write_table(folder, [fer2013_row(6 - number % 7, "Training", number) for number in range(35)])
    assert FER2013().folder != first


def votes(**columns):
    """The ten numbers of a row of FER+'s table."""
    return [columns.get(name, 0) for name in ("neu", "hap", "sur", "sad", "ang", "dis", "fea", "con", "unk", "nf")]


def test_ferplus_takes_what_half_of_the_annotators_chose(data):
    folder = write_fer2013(data, train=8, inner=1, test=1)
    rows = [
        (votes(ang=5, neu=3, sad=2), "anger"),  # half of the votes, and more than any other
        (votes(hap=10), "happiness"),
        (votes(ang=5, sad=5), None),  # a tie
        (votes(neu=4, sad=4, unk=2), None),  # nobody has five
        (votes(con=6, neu=4), None),  # contempt is none of the seven classes
        (votes(nf=10), None),
        (votes(unk=6, fea=4), None),
        (votes(fea=6, sur=4), "fear"),
        (votes(sur=7, fea=2), "surprise"),  # one row of the real table has nine votes
        (votes(dis=5, ang=4, con=1), "disgust"),
    ]
    usages = ["Training"] * 8 + ["PublicTest", "PrivateTest"]
    write_ferplus(folder, [(usage, row) for usage, (row, _) in zip(usages, rows, strict=True)])
    dataset = FER2013(protocol="ferplus")
    dataset.prepare()
    expected = {f"{number:05d}": emotion for number, (_, emotion) in enumerate(rows, start=1) if emotion}
    assert {record.clip_id: record.emotion for record in dataset.records()} == expected
    assert [record.split for record in dataset.records()] == ["train"] * 3 + ["inner", "test"]
    assert dataset.left_out() == {"no majority": 2, "contempt": 1, "NF": 1, "unknown": 1}
    labels = [record.emotion for record in FER2013().records()]
    assert labels == [CODES[number % 7] for number in range(10)], "the competition's labels stay"
    assert FER2013().records()[0].votes == "anger=5 neutral=3 sadness=2"
    assert dataset.folder == FER2013().folder, "the images are unpacked once"


def test_ferplus_without_its_table_or_with_that_of_other_images(data):
    folder = write_fer2013(data)
    FER2013().prepare()
    with pytest.raises(DatasetNotFoundError, match=r"looked for fer2013new\.csv"):
        FER2013(protocol="ferplus").records()
    assert {record.votes for record in FER2013().records()} == {""}
    write_ferplus(folder, [("Training", votes(hap=10))] * 35)  # the last 14 are not of the training split
    with pytest.raises(ValueError, match=r"35 rows, which do not belong to the 35 rows of fer2013\.csv"):
        FER2013().records()
    with pytest.raises(ValueError, match="protocol to be one of fer2013, ferplus; found 'majority'"):
        FER2013(protocol="majority")


@pytest.mark.parametrize("row", [votes(hap=-1), votes(hap=2)[:9], ["many", *votes()[1:]]])
def test_a_wrong_row_of_ferplus_is_named(row, data):
    folder = write_fer2013(data, train=2, inner=0, test=0)
    FER2013().prepare()
    path = write_ferplus(folder, [("Training", votes(hap=10)), ("Training", row)])
    with pytest.raises(ValueError, match=f"{path}, line 3: found .*; expected Usage,Image name,neutral"):
        FER2013().records()


def test_training_images_that_are_copies_can_be_left_out(data):
    folder = write_fer2013(data)
    usages = ["Training"] * 5 + ["PublicTest", "PrivateTest", "PrivateTest"]
    seeds = [0, 1, 1, 2, 3, 2, 3, 3]  # 3 repeats 2; 4 is PublicTest's 6; 5 is PrivateTest's 7
    write_table(folder, [fer2013_row(0, usage, seed) for usage, seed in zip(usages, seeds, strict=True)])
    everything, clean = FER2013(), FER2013(copies=False)
    everything.prepare()
    assert [record.clip_id for record in everything.records()] == [f"{number:05d}" for number in range(1, 9)]
    assert [record.clip_id for record in clean.records()] == ["00001", "00002", "00006", "00007", "00008"]
    assert (clean.counts, FER2013(protocol="ferplus").counts) == ((), ())


def test_inner_images_that_are_copies_of_tested_ones_can_be_left_out(data):
    """With `selection: last` they would be trained on."""
    folder = write_fer2013(data)
    usages = ["Training", "PublicTest", "PublicTest", "PublicTest", "PrivateTest", "PrivateTest"]
    seeds = [0, 1, 1, 2, 2, 2]  # 3 repeats 2, both inner; 4 is PrivateTest's 5, which 6 repeats
    write_table(folder, [fer2013_row(0, usage, seed) for usage, seed in zip(usages, seeds, strict=True)])
    FER2013().prepare()
    assert [record.clip_id for record in FER2013(copies=False).records()] == [
        "00001",
        "00002",
        "00003",
        "00005",
        "00006",
    ]


GOOD = fer2013_row(1, "Training", 0)


@pytest.mark.parametrize(
    "row",
    [
        ("7", *GOOD[1:]),
        ("-1", *GOOD[1:]),
        ("anger", *GOOD[1:]),
        (GOOD[0], GOOD[1].rsplit(" ", 1)[0], GOOD[2]),
        (GOOD[0], GOOD[1] + " 3", GOOD[2]),
        (GOOD[0], GOOD[1].rsplit(" ", 1)[0] + " 256", GOOD[2]),
        (GOOD[0], GOOD[1].rsplit(" ", 1)[0] + " x", GOOD[2]),
        (*GOOD[:2], "Test"),
        (*GOOD[:2], "../Training"),
        GOOD[:2],
        (GOOD[0], "0 " * 100_000, GOOD[2]),
    ],
    ids=["code", "negative", "name", "short", "long", "range", "letter", "usage", "path", "column", "huge"],
)
def test_a_broken_row_of_fer2013_is_named_with_file_and_line(row, data):
    folder = write_fer2013(data)
    write_table(folder, [GOOD, row])
    with pytest.raises(ValueError, match=r"fer2013.csv, line 3: found .*expected emotion \(0 to 6\)"):
        FER2013().prepare()
    assert not list(FER2013().folder.glob("manifest.csv"))


def test_another_header_of_fer2013_is_named(data):
    folder = write_fer2013(data)
    (folder / "fer2013.csv").write_text("emotion, Usage, pixels\n")
    with pytest.raises(ValueError, match=r"fer2013.csv, line 1: .*emotion, pixels, Usage"):
        FER2013().prepare()


# RAF-DB


def test_rafdb_codes_are_those_of_its_read_me(data):
    """1 surprise, 2 fear, 3 disgust, 4 happiness, 5 sadness, 6 anger, 7 neutral."""
    folder = write_rafdb(data)
    listed = folder / "EmoLabel" / "list_patition_label.txt"
    listed.write_text("".join(f"train_{code:05d}.jpg {code}\n" for code in range(1, 8)) + "test_00002.jpg 1")
    records = RAFDB().records()
    named = ["surprise", "fear", "disgust", "happiness", "sadness", "anger", "neutral", "surprise"]
    assert [record.emotion for record in records] == named  # also the last line, which no newline ends
    assert [record.split for record in records] == ["train"] * 7 + ["test"]
    assert records[0].path == "Image/aligned/train_00001_aligned.jpg"


@pytest.mark.parametrize(
    "row", ["train_00002.jpg 0", "train_00002.jpg 8", "train_00002.jpg", "valid_00002.jpg 1", "../train_00002.jpg 1"]
)
def test_a_row_of_rafdb_that_does_not_fit_is_named(row, data):
    listed = write_rafdb(data) / "EmoLabel" / "list_patition_label.txt"
    listed.write_text(f"train_00001.jpg 1\n{row}\n")
    with pytest.raises(ValueError, match=r"list_patition_label.txt, line 2: found .*label from 1 to 7"):
        RAFDB().records()


def test_rafdb_may_lie_in_its_archives_folder(data):
    folder = write_rafdb(data)
    plain = RAFDB().records()
    for part in ("EmoLabel", "Image"):
        shutil.move(folder / part, folder / "basic" / part)
    assert RAFDB().records() == [replace(record, path=f"basic/{record.path}") for record in plain]
    shutil.rmtree(folder / "basic" / "Image")
    with pytest.raises(DatasetNotFoundError, match="basic/Image/aligned"):
        RAFDB().records()


# AffectNet


def test_affectnet_codes_are_those_of_its_read_me(data):
    folder = write_affectnet(data)
    write_affectnet_list(folder, "train", [affectnet_row(f"1/{code}.jpg", code) for code in range(11)])
    named = ["neutral", "happiness", "sadness", "surprise", "fear", "disgust", "anger", "contempt"]
    train = [record for record in AffectNet(contempt=True).records() if record.split == "train"]
    assert [record.emotion for record in train] == named
    assert train[0].path == "Manually_Annotated_Images/1/0.jpg"
    seven = [record.emotion for record in AffectNet().records() if record.split == "train"]
    assert seven == named[:-1]


def test_affectnet_counts_what_it_leaves_out(data):
    write_affectnet(data, train=44, test=11)
    assert AffectNet().left_out() == Counter({"contempt": 5, "none": 5, "uncertain": 5, "no face": 5})
    assert AffectNet(contempt=True).left_out() == Counter({"none": 5, "uncertain": 5, "no face": 5})
    assert len(AffectNet().records()) == 55 - 20
    assert AffectNet(contempt=True).class_names == ("anger", "contempt", *SEVEN[1:])


def test_affectnet_lists_without_header_keep_their_first_image(data):
    folder = write_affectnet(data)
    with_header = AffectNet().records()
    shutil.rmtree(folder)
    write_affectnet(data, header=False)
    assert AffectNet().records() == with_header
    assert AffectNet().records()[0].clip_id == "0/train0000.jpg"


@pytest.mark.parametrize("place", ["Manually_Annotated", "Manually_Annotated/Manually_Annotated_Images"])
def test_affectnet_images_are_found_where_archives_leave_them(place, data):
    folder = write_affectnet(data)
    images = folder / "Manually_Annotated_Images"
    images.rename(folder / "there")
    (folder / place).parent.mkdir(exist_ok=True)
    (folder / "there").rename(folder / place)
    assert all((folder / record.path).is_file() for record in AffectNet().records())


@pytest.mark.parametrize(
    "row",
    [
        affectnet_row("1/a.jpg", 11),
        affectnet_row("1/a.jpg", -1),
        affectnet_row("1/a.jpg", 1)[:-1],
        (*affectnet_row("1/a.jpg", 1), "0"),
        ("file", *COLUMNS[1:]),
        affectnet_row("../a.jpg", 1),
        affectnet_row("1/../../../a.jpg", 1),
        affectnet_row("/etc/a.jpg", 1),
        affectnet_row("..\\a.jpg", 1),
        affectnet_row("", 1),
        ("1/a.jpg",),
        affectnet_row("a" * 200_000, 1),
    ],
    ids=str.split("code negative short long header up hidden-up absolute backslash empty one huge"),
)
def test_a_row_of_affectnet_that_does_not_fit_is_named(row, data):
    folder = write_affectnet(data)
    write_affectnet_list(folder, "train", [affectnet_row("1/b.jpg", 1), row])
    with pytest.raises(ValueError, match=r"training.csv, line 3: found .*expected subDirectory_filePath,"):
        AffectNet().records()


# SFEW


def test_sfew_folders_in_any_spelling_are_the_same_class(data):
    folder = write_sfew(data)
    expected = [record.emotion for record in SFEW().records()]
    for old, new in (("Angry", "anger"), ("Happy", "Happiness"), ("Sad", "SADNESS"), ("Fear", "fear")):
        shutil.move(folder / "Train_Aligned_Faces" / old, folder / "Train_Aligned_Faces" / f"_{new}")
        shutil.move(folder / "Train_Aligned_Faces" / f"_{new}", folder / "Train_Aligned_Faces" / new)
    assert sorted(record.emotion for record in SFEW().records()) == sorted(expected)
    assert {record.split for record in SFEW().records()} == {"train", "test"}


def test_sfew_films_are_the_groups_of_the_inner_split(data):
    write_sfew(data)
    films = {record.group for record in SFEW().records() if record.split == "train"}
    assert films == {f"Train Film_{number}" for number in range(4)}


def test_sfew_folders_may_be_nested(data):
    folder = write_sfew(data)
    before = SFEW().records()
    (folder / "Train_Aligned_Faces" / ".cache").mkdir()
    (folder / "Train_Aligned_Faces" / "Angry" / "Thumbs.db").write_text("")
    (folder / "Train_Aligned_Faces" / "Angry" / "._Airheads_000519240_00000005.png").write_text("of a Mac")
    (folder / "Val").mkdir()
    shutil.move(folder / "Val_Aligned_Faces", folder / "Val" / "Val_Aligned_Faces_new")
    assert [record.clip_id for record in SFEW().records()] == [record.clip_id for record in before]
    assert all((folder / record.path).is_file() for record in SFEW().records())


def test_a_folder_of_no_class_in_sfew_is_named(data):
    folder = write_sfew(data)
    (folder / "Val_Aligned_Faces" / "Bored").mkdir()
    with pytest.raises(ValueError, match="Bored: found a folder of no class"):
        SFEW().records()


def test_a_split_of_sfew_that_is_missing_is_named(data):
    shutil.rmtree(write_sfew(data) / "Val_Aligned_Faces")
    with pytest.raises(DatasetNotFoundError, match=r"Val_Aligned_Faces/.*Train_Aligned_Faces"):
        SFEW().records()


@pytest.mark.skipif(not REAL, reason="FER_TEST_REAL names no folder")
def test_the_real_votes_of_ferplus():
    """The counts of a program of a few lines of numpy over the same votes, with five of ten as majority and no ties."""
    rows = list(read_votes(Path(REAL) / "fer2013" / "ferplus_fer2013new.csv"))
    assert len(rows) == 35_887
    chosen = Counter(majority(row) for _, row in rows)
    assert sum(chosen[name] for name in SEVEN) == 31_196
    assert chosen["contempt"] == 142
