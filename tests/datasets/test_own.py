"""A user's own clips: in folders or listed in a table, with splits or folds or neither."""

import pytest

from data_modules.datasets.dataset import DatasetNotFoundError
from data_modules.datasets.doctor import examine
from data_modules.datasets.own import Own
from data_modules.faces.settings import FaceSettings
from data_modules.manifest import VideoRecord, check_records
from data_modules.prepare.faces import prepare_faces
from fer_lightning.cli.main import main
from tests.fakes import archive_members, put_text, put_video, write_archive, write_named_frames


@pytest.fixture
def root(tmp_path):
    return tmp_path / "mine"


def table(root, text):
    put_text(root / "manifest.csv", text)
    return Own(root)


def people(header="clip_id,path,emotion,subject", row="{s}-{e},{s}/{e}.mp4,{e},{s}", count=6):
    rows = [row.format(s=f"p{s}", e=e, f=1 + s % 3) for s in range(count) for e in ("happy", "sad")]
    return "\n".join([header, *rows])


def test_folders_of_emotions_hold_clips_of_any_kind(root):
    put_video(root / "Happy" / "a.b.mp4")
    write_named_frames(root / "Happy" / "c.d", ["1.jpg", "2.jpg"])
    write_named_frames(root / "sad", ["e.png"])
    write_archive(root / "sad" / "f.tar", archive_members())
    for name in ("sad/e.csv", "sad/.hidden.mp4", "sad/notes.txt", "readme.md", ".cache/x.mp4"):
        put_text(root / name, "x")
    dataset = Own(root, made_folds=2)
    assert dataset.class_names == ("happiness", "sadness")
    assert {(r.clip_id, r.path, r.emotion) for r in dataset.records()} == {
        ("Happy/a.b", "Happy/a.b.mp4", "happiness"),
        ("Happy/c.d", "Happy/c.d", "happiness"),
        ("sad/e", "sad/e.png", "sadness"),
        ("sad/f", "sad/f.tar", "sadness"),
    }
    tested = [{r.clip_id for r in Own(root, fold, made_folds=2).records() if r.split == "test"} for fold in "12"]
    assert [len(part) for part in tested] == [2, 2]
    assert not tested[0] & tested[1]


def test_what_openface_leaves_is_no_clip(root):
    """Its tables may be in a folder of the root, too, and its aligned faces beside the table."""
    for emotion in ("happy", "sad"):
        put_video(root / emotion / "0.mp4")
        put_text(root / emotion / "0.csv", "frame")
        write_named_frames(root / emotion / "0_aligned", ["frame_det_00_000001.bmp"])
        write_named_frames(root / emotion / "1_aligned", ["1.jpg"])  # somebody's name of a clip
        put_text(root / "faces" / emotion / "1_aligned.csv", "frame")
        put_text(root / "OpenFace" / emotion / "0.csv", "frame")
    dataset = Own(root, made_folds=2)
    assert dataset.class_names == ("happiness", "sadness")
    assert sorted(record.clip_id for record in dataset.records()) == [
        "happy/0",
        "happy/1_aligned",
        "sad/0",
        "sad/1_aligned",
    ]


def test_clips_of_one_name_are_refused(root):
    for suffix in (".mp4", ".avi"):
        put_video(root / "fear" / f"a{suffix}")
        put_video(root / "anger" / f"a{suffix}")
    with pytest.raises(ValueError, match="clip id 'anger/a' occurs twice"):
        check_records(Own(root, made_folds=2).records(), "own")


@pytest.mark.parametrize("validation", ["val", "Validation", "valid", ""])
def test_folders_of_splits(root, validation):
    names = [name for name in ("train", validation, "test") if name]
    for name in names:
        for emotion in ("Anger", "Joy"):
            put_video(root / name / emotion / "1.mp4")
    dataset = Own(root)
    splits = {"train": "train", validation: "inner", "test": "test"}
    wanted = {(f"{name}/{emotion}/1", splits[name]) for name in names for emotion in ("Anger", "Joy")}
    assert {(r.clip_id, r.split) for r in dataset.records()} == wanted
    assert (dataset.folds, dataset.class_names) == (1, ("anger", "happiness"))
    with pytest.raises(ValueError, match="the only one"):
        Own(root, "2").records()
    with pytest.raises(ValueError, match="the splits or folds are already given; expected no folds_file"):
        Own(root, folds_file=root / "x.csv").records()


@pytest.mark.parametrize("names", [("train",), ("train", "val"), ("train", "test", "fear"), ("train", "test", "Train")])
def test_folders_that_are_no_division_are_named(root, names):
    for name in names:
        put_video(root / name / "fear" / "1.mp4")
    with pytest.raises(ValueError, match=f"found the folders {', '.join(sorted(names))}; expected train, test"):
        Own(root).records()


def test_folds_that_are_made_share_nobody(root):
    dataset = table(root, people())
    seen = []
    for fold in dataset.fold_names:
        records = Own(root, fold).records()
        persons = {split: {r.subject for r in records if r.split == split} for split in ("train", "test")}
        assert not persons["train"] & persons["test"]
        seen += persons["test"]
    assert sorted(seen) == [f"p{s}" for s in range(6)]
    assert dataset.records()[0].path == "p0/happy.mp4"
    assert dataset.class_names == ("happiness", "sadness")


def test_folds_that_the_table_tells(root):
    text = people("clip_id,path,emotion,subject,fold", "{s}-{e},{s}/{e}.mp4,{e},{s},{f}")
    dataset = table(root, text)
    assert dataset.fold_names == ("1", "2", "3")
    assert {r.subject for r in Own(root, "2").records() if r.split == "test"} == {"p1", "p4"}
    with pytest.raises(ValueError, match="from 1 to 3"):
        Own(root, "4").records()
    for old, new, message in (
        ("p0,1", "p0,2", r"subject 'p0' is in the folds 2 and 1"),
        ("p0,1", "p0,x", "clip 'p0-happy' has fold 'x'"),
        ("p0,1", "p0,", "clip 'p0-happy' has fold ''"),
        (",3", ",4", "found the folds 1, 2, 4; expected numbers from 1 on"),
    ):
        with pytest.raises(ValueError, match=message):
            table(root, text.replace(old, new) if old == ",3" else text.replace(old, new, 1)).records()


def test_splits_that_the_table_tells(root):
    text = "clip_id,path,emotion,split,quarter_turns\na,a.mp4,Angry,train,1\nb,b.mp4,sad,inner,\nc,c.mp4,sad,test,0"
    dataset = table(root, text)
    assert dataset.records() == [
        VideoRecord("a", "a.mp4", "anger", quarter_turns=1),
        VideoRecord("b", "b.mp4", "sadness", split="inner"),
        VideoRecord("c", "c.mp4", "sadness", split="test"),
    ]
    with pytest.raises(ValueError, match=r"'a' has split 'val'; expected one of \('train', 'inner', 'test'\)"):
        table(root, text.replace("train", "val")).records()
    both = "clip_id,path,emotion,split,fold\na,a.mp4,sad,train,1\nb,b.mp4,sad,test,2"
    with pytest.raises(ValueError, match="found both splits and several folds"):
        table(root, both).records()
    assert len(table(root, both.replace("test,2", "test,1")).records()) == 2


def test_folds_of_a_file(root, tmp_path):
    table(root, people(count=2))
    put_text(tmp_path / "f.csv", "clip_id,fold\np0-happy,1\np0-sad,1\np1-happy,2\np1-sad,2\n")
    dataset = Own(root, "2", folds_file=tmp_path / "f.csv")
    assert dataset.folds == 2
    assert {r.clip_id for r in dataset.records() if r.split == "test"} == {"p1-happy", "p1-sad"}


def test_classes_that_are_given(root):
    table(root, people())
    assert Own(root, classes=["Sad", "happy", "fear"]).class_names == ("fear", "happiness", "sadness")
    assert Own(root, classes=["Sad", "happy", "fear"]).records()[0].emotion == "happiness"
    with pytest.raises(ValueError, match="clip 'p0-sad' shows 'sadness'; 6 clips in all show none of the classes fear"):
        Own(root, classes=["happiness", "fear"]).records()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("clip_id,path\na,b", "no column emotion"),
        ("clip_id,path,emotion\na,b,", "clip 'a' has no emotion"),
        ("clip_id,path,emotion\na,/b,fear", "points outside"),
        ("clip_id,path,emotion\na,b,fear\nc,d,fear", "cannot make 5 folds"),
    ],
)
def test_tables_that_do_not_fit_are_refused(root, text, message):
    with pytest.raises(ValueError, match=message):
        table(root, text).records()


@pytest.mark.parametrize("text", [None, "clip_id,path,emotion\n"])
def test_nothing_is_said_to_be_nothing(root, text):
    if text is not None:
        put_text(root / "manifest.csv", text)
    for ask in (lambda: Own(root).records(), lambda: Own(root).class_names):
        with pytest.raises(DatasetNotFoundError, match=r"manifest.csv or <emotion>/<clip>.*\n.*folders named after"):
            ask()


def test_own_clips_are_listed_examined_and_prepared(tmp_path, capsys):
    folder = tmp_path / "data" / "own"
    for person in range(5):
        put_video(folder / "fear" / f"{person}.mp4")
        write_archive(folder / "anger" / f"{person}.zip", archive_members())
    assert main(["data", "list"]) == 0
    said = " ".join(capsys.readouterr().out.replace("│", " ").split())
    assert "own 2: anger, fear yours 10 clips in" in said
    faces = FaceSettings(detector="crop", size=24, margin=0.0, audio=False)
    dataset = Own(faces=faces)
    assert {finding.kind for finding in examine(dataset, 0).findings} == {"identical files", "silent", "inner split"}
    index = prepare_faces(dataset, workers=0).read_index()
    assert {summary.num_faces for summary in index.values()} == {3, 4}


@pytest.mark.parametrize(
    ("rows", "unit"),
    [
        ("clip_id,path,emotion,subject\na,b,fear,ann\nc,d,anger,bob", "subjects"),
        ("clip_id,path,emotion,group\na,b,fear,film\nc,d,anger,other", "films"),
        ("clip_id,path,emotion,subject\na,b,fear,ann\nc,d,anger,", "clips"),
        ("clip_id,path,emotion,subject,split\na,b,fear,ann,train\nc,d,anger,ann,inner\ne,f,fear,bob,test", "clips"),
    ],
)
def test_what_an_inner_split_is_exclusive_in_depends_on_what_the_table_names(root, rows, unit):
    assert table(root, rows).exclusive_in == unit
