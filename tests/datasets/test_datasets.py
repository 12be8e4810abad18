"""The layouts, labels and folds of the video data sets, each with what goes wrong with it elsewhere."""

import re
import shutil
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path

import pytest
import pytorch_lightning as L
import torch

from data_modules.datasets.afew import AFEW
from data_modules.datasets.bu4dfe import BU4DFE
from data_modules.datasets.caer import CAER
from data_modules.datasets.ckplus import CKPlus
from data_modules.datasets.cremad import CREMAD, CREMADAudio
from data_modules.datasets.dataset import DatasetNotFoundError, VideoDataset
from data_modules.datasets.ferv39k import FERV39k
from data_modules.datasets.fold_files import fold_rows, write_folds
from data_modules.datasets.mafw import MAFW
from data_modules.datasets.mmi import MMI
from data_modules.datasets.ravdess import RAVDESS, RAVDESSAudio
from data_modules.datasets.splits import mark_inner_split
from data_modules.faces.settings import FaceSettings
from data_modules.labels import SEVEN
from data_modules.loading.datamodule import VideoDataModule
from data_modules.manifest import VideoRecord, check_records
from data_modules.sampling import SubvideoSampler
from data_modules.video.reader import open_clip, open_video
from fer_lightning.architectures.image_classifier import ImageClassifier
from fer_lightning.layers.backbones import FrameBackbone
from tests import fakes
from tests.fakes import Wanted, put_text, write_named_frames
from tests.videos import read_number

CROP = FaceSettings(detector="crop", size=24, margin=0.0)


@dataclass(frozen=True)
class Case:
    """A data set, its fake, and what is looked for first where there is none."""

    dataset: type[VideoDataset]
    write: Callable[[Path], list[Wanted]]
    looked_for: str
    folds: int = 1
    total: int = 0
    subjects: bool = True  # whether its folds are ours, and exclusive in subjects


CASES = [
    Case(CKPlus, fakes.write_ckplus, "cohn-kanade-images", 10, 327),
    Case(BU4DFE, fakes.write_bu4dfe, "F001/Angry/000.jpg", 10, 606),
    Case(MMI, fakes.write_mmi, "Sessions/<n>/session.xml", 10, 205),
    Case(AFEW, fakes.write_afew, "Train_AFEW/<anger", total=773 + 383, subjects=False),
    Case(CREMAD, fakes.write_cremad, "VideoFlash/1001_DFA_ANG_XX.flv", 5, 7442),
    Case(RAVDESS, fakes.write_ravdess, "Actor_01/01-01-03-01-02-01-01.mp4", 6, 1440),
    Case(MAFW, fakes.write_mafw, "Train & Test Set/single/no_caption/set_1/train.txt", 5, 9172, subjects=False),
    Case(FERV39k, fakes.write_ferv39k, "4_setups/All_scenes/train_All.csv", total=31088 + 7847, subjects=False),
    Case(CAER, fakes.write_caer, "train/<anger", total=13175, subjects=False),
]
SOUND = [
    Case(RAVDESSAudio, fakes.write_ravdess_audio, "Actor_01/03-01-03-01-02-01-01.wav", 6, 1440),
    Case(CREMADAudio, fakes.write_cremad, "AudioWAV/1001_DFA_ANG_XX.wav", 5, 7442),
]
ALL = [*CASES, *SOUND]
OF_SUBJECTS = [case for case in ALL if case.subjects]


def named(case: Case) -> str:
    return case.dataset.name


def of(record: VideoRecord, split: bool = True) -> Wanted:
    return Wanted(record.clip_id, record.emotion, record.subject, record.split if split else "")


@pytest.fixture(scope="module")
def fake(tmp_path_factory) -> Callable[[Case], tuple[Path, list[Wanted]]]:
    """A data set's fake, written once for the tests that only read it."""
    made: dict[str, tuple[Path, list[Wanted]]] = {}

    def of_case(case: Case) -> tuple[Path, list[Wanted]]:
        if case.dataset.name not in made:
            root = tmp_path_factory.mktemp(case.dataset.name)
            made[case.dataset.name] = root, case.write(root)
        return made[case.dataset.name]

    return of_case


@pytest.mark.parametrize("case", ALL, ids=named)
def test_records_are_those_of_the_layout(case, fake):
    root, wanted = fake(case)
    dataset = case.dataset(root)
    records = dataset.records()
    found = [of(record, split=not case.subjects) for record in records]
    assert sorted(found, key=str) == sorted(wanted, key=str)
    assert {record.fold for record in records} == {"1"}
    check_records(records, dataset.name)
    assert {record.emotion for record in records} == set(dataset.class_names)
    assert dataset.class_names == tuple(sorted(dataset.class_names))


@pytest.mark.parametrize("case", ALL, ids=named)
def test_what_is_missing_is_said_with_where_and_how_to_get_it(case, tmp_path):
    for root, found in ((tmp_path, "which holds nothing"), (tmp_path / "nowhere", "which does not exist")):
        with pytest.raises(DatasetNotFoundError) as error:
            case.dataset(root).records()
        text = str(error.value)
        for part in (case.looked_for, str(root), found, case.dataset.how_to_get, "FER_DATA", "DATA=synthetic"):
            assert part in text


@pytest.mark.parametrize("case", OF_SUBJECTS, ids=named)
def test_folds_are_exclusive_in_subjects_and_test_everybody_once(case, fake):
    root, _ = fake(case)
    tested: Counter[str] = Counter()
    for fold in range(1, case.folds + 1):
        records = case.dataset(root, fold=str(fold)).records()
        people = {split: {r.subject for r in records if r.split == split} for split in ("train", "test")}
        assert people["test"]
        assert not people["train"] & people["test"]
        assert {record.fold for record in records} == {str(fold)}
        tested.update(record.clip_id for record in records if record.split == "test")
        assert len(records) == len({record.clip_id for record in records})
    assert set(tested) == {record.clip_id for record in records}
    assert set(tested.values()) == {1}


@pytest.mark.parametrize("case", ALL, ids=named)
def test_what_an_inner_split_is_exclusive_in_is_what_the_records_name(case, fake):
    dataset = case.dataset(fake(case)[0])
    unit = dataset.exclusive_in
    named = {"subjects": lambda r: r.subject and not r.group, "films": lambda r: r.group, "clips": lambda r: True}[unit]
    assert all(named(record) for record in dataset.records())
    if unit == "clips":
        assert not any(record.group or record.subject for record in dataset.records())


def test_ckplus_is_reported_without_neutral_where_neutral_is_made_of_first_frames():
    assert CKPlus(protocol="neutral").classes_from_stills == ("neutral",)
    assert CKPlus().classes_from_stills == ()


@pytest.mark.parametrize("case", ALL, ids=named)
def test_folds_that_do_not_exist_are_refused(case, fake):
    for fold in ("0", "-1", "one", "²", "", str(case.folds + 1)):
        with pytest.raises(ValueError, match="does not exist"):
            case.dataset(fake(case)[0], fold=fold).records()
    assert {record.fold for record in case.dataset(fake(case)[0], fold=str(case.folds)).records()} == {str(case.folds)}


@pytest.mark.parametrize("case", ALL, ids=named)
def test_counts_are_of_the_classes_and_add_up(case):
    for count in case.dataset().counts:
        if count.emotions:
            assert [emotion for emotion, _ in count.emotions] == list(case.dataset().class_names)
            assert sum(number for _, number in count.emotions) == count.clips
    if case.total:
        assert sum(count.clips for count in case.dataset().counts) == case.total


@pytest.mark.parametrize("case", CASES, ids=named)
def test_a_step_of_training_and_an_evaluation(case, fake, tmp_path, monkeypatch):
    monkeypatch.setenv("FER_STORE", str(tmp_path / "store"))
    dataset = case.dataset(fake(case)[0], faces=CROP)
    data = VideoDataModule(dataset, SubvideoSampler(1, 2), 4, 24, num_workers=0, selection="last")
    data.prepare_data()
    data.setup()
    unseen = {clip.record.clip_id for clip in data.clips if not clip.usable}
    assert unseen == {record.clip_id for record in dataset.records() if not (dataset.folder / record.path).exists()}
    optimizer = partial(torch.optim.Adam, lr=1e-3)
    model = ImageClassifier(
        data.class_names, FrameBackbone("resnet10t", channels=(8, 8, 16, 16), weights="random"), optimizer=optimizer
    )
    quiet = {
        "logger": False,
        "enable_checkpointing": False,
        "enable_progress_bar": False,
        "enable_model_summary": False,
    }
    trainer = L.Trainer(**quiet, accelerator="cpu", max_epochs=1, limit_train_batches=1, use_distributed_sampler=False)
    trainer.fit(model, data)
    assert trainer.global_step == 1
    found = {name: value for values in trainer.test(model, data, verbose=False) for name, value in values.items()}
    assert 0 <= found["test/war"] <= 1
    seen = [clip_id for part in data.test_dataloader()[1] for clip_id in part.clip_id]
    assert set(seen) == {clip.record.clip_id for clip in data.split("test") if clip.usable}


# CK+


@pytest.fixture
def ckplus(tmp_path):
    fakes.write_ckplus(tmp_path)
    return tmp_path


def label_of(root: Path, subject: str = "S005", sequence: str = "001") -> Path:
    return next((root / "Emotion" / subject / sequence).iterdir())


def test_ckplus_codes_are_those_of_its_read_me(ckplus):
    names = ("anger", "contempt", "disgust", "fear", "happiness", "sadness", "surprise")
    for code, name in enumerate(names, start=1):
        label_of(ckplus).write_text(f"   {code}.0000000e+00\n")
        assert {r.clip_id: r.emotion for r in CKPlus(ckplus).records()}["S005_001"] == name


def test_ckplus_labels_that_are_none_are_named_with_their_file(ckplus):
    path = label_of(ckplus)
    for text in ("", "8.0000000e+00", "3.5000000e+00", "1.0000000e+01", "-1.0", "happy", "nan"):
        path.write_text(text)
        with pytest.raises(ValueError, match=rf"{path.name}, line 1: found '{re.escape(text)}'.*number from 0 to 7"):
            CKPlus(ckplus).records()


def test_ckplus_with_two_labels_for_a_sequence(ckplus):
    shutil.copy(label_of(ckplus), label_of(ckplus).with_name("S005_001_00000012_emotion.txt"))
    with pytest.raises(ValueError, match=r"S005_001_00000012_emotion.txt; expected one label"):
        CKPlus(ckplus).records()


def test_ckplus_with_neutral_adds_first_frames(ckplus):
    dataset = CKPlus(ckplus, protocol="neutral")
    assert dataset.class_names == SEVEN
    label_of(ckplus).write_text("1.0\n")
    sequences = [r for r in CKPlus(ckplus).records() if r.emotion != "contempt"]
    records = dataset.records()
    assert {r.clip_id for r in records} == {r.clip_id + end for r in sequences for end in ("", "_neutral")}
    first = next(r for r in records if r.clip_id == "S005_001_neutral")
    assert (first.emotion, first.subject) == ("neutral", "S005")
    source = open_video(ckplus / first.path)
    assert source.num_frames == 1
    assert next(source.frames())[1].mean() == pytest.approx(10)  # the darkest is the first
    tested = [CKPlus(ckplus, str(fold), protocol="neutral").records() for fold in range(1, 6)]
    assert sorted(r.clip_id for part in tested for r in part if r.split == "test") == sorted(r.clip_id for r in records)
    (count,) = dataset.counts
    assert [emotion for emotion, _ in count.emotions] == list(SEVEN)
    assert count.clips == 2 * (327 - 18)
    with pytest.raises(ValueError, match="from 1 to 5"):
        CKPlus(ckplus, "6", protocol="neutral").records()


@pytest.mark.parametrize("protocol", ["contempt", "neutral"])
def test_ckplus_sequences_without_frames_stay(ckplus, protocol):
    before = CKPlus(ckplus, protocol=protocol).records()
    shutil.rmtree(ckplus / "cohn-kanade-images" / "S005" / "001")
    assert CKPlus(ckplus, protocol=protocol).records() == before


# BU-4DFE


def test_bu4dfe_frames_are_in_natural_order(tmp_path):
    fakes.write_bu4dfe(tmp_path)
    write_named_frames(tmp_path / "F001" / "Angry", [f"{n}.jpg" for n in range(1, 12)])
    for name in ("000.jpg", "001.jpg", "002.jpg"):
        (tmp_path / "F001" / "Angry" / name).unlink()
    record = next(r for r in BU4DFE(tmp_path).records() if r.clip_id == "F001/Angry")
    brightness = [frame.mean() for _, frame in open_video(tmp_path / record.path).frames()]
    assert brightness == sorted(brightness)
    assert len(brightness) == 11


def test_bu4dfe_names_a_sequence_that_is_missing(tmp_path):
    fakes.write_bu4dfe(tmp_path)
    (tmp_path / "F002" / "Happy").rename(tmp_path / "F002" / "Hapy")
    with pytest.raises(DatasetNotFoundError, match=r"folders of happiness in F002 .*Hapy"):
        BU4DFE(tmp_path).records()


# MMI


@pytest.fixture
def mmi(tmp_path):
    fakes.write_mmi(tmp_path)
    return tmp_path


def test_mmi_codes_are_those_of_the_data_set(mmi):
    for code, name in enumerate(("anger", "disgust", "fear", "happiness", "sadness", "surprise"), start=1):
        fakes.write_mmi_session(mmi, 1, "S001-101", str(code))
        assert {r.clip_id: r.emotion for r in MMI(mmi).records()}["S001-101"] == name


def test_mmi_emotions_that_are_none_are_named_with_their_file(mmi):
    for value in ("", "0", "happy", "-1", "1.5", "100"):
        fakes.write_mmi_session(mmi, 1, "S001-101", value)
        with pytest.raises(
            ValueError, match=rf"S001-101.xml: found Metatag .*'{re.escape(value)}'.*one number, from 1 to 6"
        ):
            MMI(mmi).records()


def test_mmi_without_a_view_is_named(mmi):
    fakes.write_mmi_session(mmi, 1, "S001-101", "1", view="")
    with pytest.raises(ValueError, match=r"session.xml: found .*S001-101.avi with view 0, 1, 2"):
        MMI(mmi).records()
    (mmi / "Sessions" / "1" / "session.xml").unlink()
    with pytest.raises(ValueError, match=r"session.xml: the file does not exist"):
        MMI(mmi).records()


def test_mmi_annotations_that_declare_entities_are_refused(mmi):
    entities = "".join(f'<!ENTITY e{n} "{f"&e{n - 1};" * 10}">' for n in range(1, 10))
    for encoding in ("utf-8", "utf-16"):
        text = f'<?xml version="1.0" encoding="{encoding}"?><!DOCTYPE a [<!ENTITY e0 "ha">{entities}]><a>&e9;</a>'
        (mmi / "Sessions" / "1" / "S001-101.xml").write_bytes(text.encode(encoding))
        with pytest.raises(ValueError, match=r"S001-101.xml: found a DOCTYPE 'a'"):
            MMI(mmi).records()


def test_mmi_annotations_that_are_none_are_named(mmi):
    for content, found in ((b"<a><b></a>", "mismatched tag: line 1"), (b" " * 2**21, "2097152 bytes"), (b"", "no ele")):
        (mmi / "Sessions" / "1" / "S001-101.xml").write_bytes(content)
        with pytest.raises(ValueError, match=rf"S001-101.xml: found .*{found}"):
            MMI(mmi).records()


def test_mmi_knows_its_elements_in_any_writing(mmi):
    text = '<a xmlns="urn:x"><Subject ID="8"/><METATAG name="Emotion" value="3"/></a>'
    put_text(mmi / "Sessions" / "904" / "904.xml", text)
    assert of(next(r for r in MMI(mmi).records() if r.clip_id == "904"), split=False) == Wanted("904", "fear", "8")


def test_mmi_videos_on_their_side_are_turned_upright(mmi):
    records = MMI(mmi).records()
    turned = [record for record in records if record.quarter_turns]
    assert {record.emotion for record in turned} == {"fear"}
    assert {record.quarter_turns for record in turned} == {1}
    for record in (turned[0], next(record for record in records if record.emotion == "anger")):
        source = open_clip(mmi, record)
        assert (source.width, source.height) == ((48, 64) if record.quarter_turns else (48, 32))
        assert [read_number(frame) for _, frame in source.frames()] == [0, 1, 2]
    assert not any(record.quarter_turns for record in MMI(mmi, turn=False).records())


def test_mmi_turns_by_the_session_or_what_lies_beside_it(mmi):
    def turns(sid: str) -> int:
        return next(record.quarter_turns for record in MMI(mmi).records() if record.clip_id == sid)

    fakes.write_mmi_session(mmi, 901, "S001-901", "3", view="2", sideways=True)
    assert turns("S001-901") == 0  # with a mirror
    for sideways in (True, False):
        fakes.write_mmi_session(mmi, 901, "S001-901", "3", sideways=sideways)
        (mmi / "Sessions" / "901" / "S001-901-oao_aucs.xml").unlink(missing_ok=True)
        assert turns("S001-901") == int(sideways)
    fakes.write_mmi_session(mmi, 901, "S001-901", "3", sideways=True)
    put_text(mmi / "Sessions" / "901" / "S001-901-oao_aucs.xml", "<a></a>")
    assert turns("S001-901") == 0


# AFEW


def test_afew_takes_videos_or_its_authors_aligned_faces(tmp_path):
    fakes.write_afew(tmp_path)
    videos, crops = AFEW(tmp_path).records(), AFEW(tmp_path, faces=CROP).records()
    assert [of(record) for record in videos] == [of(record) for record in crops]
    place = [record.clip_id for record in videos].index("val/600046281")
    assert videos[place].path == "Val_AFEW/Surprise/600046281.avi"
    assert crops[place].path == "AlignedFaces_LBPTOP_Points_Val/Faces/600046281"  # not there, and still a record
    for end, part in (("", "Train_AFEW"), ("_Val", "Val_AFEW")):
        (tmp_path / f"AlignedFaces_LBPTOP_Points{end}").rename(tmp_path / part / f"AlignedFaces_LBPTOP_Points{end}")
    moved = AFEW(tmp_path, faces=CROP).records()
    assert moved[place].path == "Val_AFEW/AlignedFaces_LBPTOP_Points_Val/Faces/600046281"
    assert (tmp_path / moved[0].path).is_dir()
    assert AFEW(tmp_path).records() == videos
    shutil.rmtree(tmp_path / "Train_AFEW" / "AlignedFaces_LBPTOP_Points")
    with pytest.raises(DatasetNotFoundError, match=r"AlignedFaces_LBPTOP_Points/Faces/<id>, which `detector: crop`"):
        AFEW(tmp_path, faces=CROP).records()


def test_afew_with_a_clip_in_two_classes_is_refused(tmp_path):
    fakes.write_afew(tmp_path)
    shutil.copy(tmp_path / "Val_AFEW" / "Anger" / "000046280.avi", tmp_path / "Val_AFEW" / "Fear")
    with pytest.raises(ValueError, match="'val/000046280' occurs twice"):
        check_records(AFEW(tmp_path).records(), "afew")


# CREMA-D and RAVDESS


@pytest.mark.parametrize(
    ("kind", "write", "place", "names", "message"),
    [
        (
            CREMAD,
            fakes.write_cremad,
            "VideoFlash/{}.flv",
            ("1001_DFA_SUR_XX", "1001_DFA_ANG", "notes", "1001_DFA_ang_XX"),
            "expected a name such as 1001_DFA_ANG_XX",
        ),
        (
            RAVDESS,
            fakes.write_ravdess,
            "Actor_01/{}.mp4",
            ("01-01-09-01-01-01-01", "01-01-03-01-01-01", "notes"),
            "expected a name such as 01-01-03-01-02-01-01",
        ),
        (
            RAVDESSAudio,
            fakes.write_ravdess_audio,
            "Actor_01/{}.flac",
            ("03-01-09-01-01-01-01", "03-01-03-01-01-01", "notes"),
            "expected a name such as 03-01-03-01-02-01-01",
        ),
        (
            CREMADAudio,
            fakes.write_cremad,
            "AudioWAV/{}.wav",
            ("1001_DFA_SUR_XX", "1001_DFA_ANG", "notes"),
            "expected a name such as 1001_DFA_ANG_XX",
        ),
    ],
)
def test_files_that_are_none_of_the_data_set_are_named(tmp_path, kind, write, place, names, message):
    write(tmp_path)
    for name in names:
        path = tmp_path / place.format(name)
        path.touch()
        with pytest.raises(ValueError, match=rf"{path.name}: {message}"):
            kind(tmp_path).records()
        path.unlink()


def test_recordings_in_the_folder_of_another_actor_are_left_out_and_named(tmp_path):
    """Whether the actor's own folder has them, too, or not; songs and pictures, which are not used, are not named."""
    fakes.write_ravdess_audio(tmp_path)
    moved = tmp_path / "Actor_06" / "03-01-03-01-02-01-01.wav"
    (tmp_path / "Actor_01" / moved.name).rename(moved)
    for name in ("03-02-03-01-02-01-01.wav", "01-01-03-01-02-01-01.mp4"):
        (tmp_path / "Actor_01" / name).rename(moved.with_name(name))
    dataset = RAVDESSAudio(tmp_path)
    records = dataset.records()
    check_records(records, "ravdess_audio")
    assert len(records) == 6 * 8 - 1
    assert all(record.clip_id.endswith(record.subject.removeprefix("Actor_")) for record in records)
    assert dataset.misplaced() == [fakes.MISPLACED_VOICE, "Actor_06/03-01-03-01-02-01-01.wav"]
    assert RAVDESS(tmp_path).misplaced() == ["Actor_06/01-01-03-01-02-01-01.mp4"]


def test_a_copy_with_most_recordings_in_the_folders_of_others_is_refused(tmp_path):
    fakes.write_ravdess(tmp_path)
    for number in (1, 2, 3, 4):
        (tmp_path / f"Actor_{number:02d}").rename(tmp_path / f"Actor_{number + 10:02d}")
    with pytest.raises(ValueError, match=r"32 of 48 recordings are in the folder of another actor, such as Actor_11/"):
        RAVDESS(tmp_path).records()


def test_ravdess_actors_are_four_in_each_fold(tmp_path):
    fakes.write_ravdess(tmp_path, actors=24)
    for fold in range(1, 7):
        tested = {record.subject for record in RAVDESS(tmp_path, str(fold)).records() if record.split == "test"}
        assert len(tested) == 4


def actors_tested(dataset: RAVDESS) -> set[str]:
    return {record.subject for record in dataset.records() if record.split == "test"}


def test_consecutive_folds_are_four_actors_in_a_row(tmp_path):
    """By hand, and the same if actors are missing: folds are by the actors' numbers, not by their order here."""
    fakes.write_ravdess_audio(tmp_path, actors=24)
    for folder in ("Actor_02", "Actor_24"):
        shutil.rmtree(tmp_path / folder)
    expected = [{1, 3, 4}, {5, 6, 7, 8}, {9, 10, 11, 12}, {13, 14, 15, 16}, {17, 18, 19, 20}, {21, 22, 23}]
    for fold, numbers in enumerate(expected, start=1):
        actors = {f"Actor_{number:02d}" for number in numbers}
        assert actors_tested(RAVDESSAudio(tmp_path, str(fold), protocol="consecutive")) == actors
    halves = RAVDESSAudio(tmp_path, "2", folds=2, protocol="consecutive")
    assert actors_tested(halves) == {f"Actor_{number:02d}" for number in range(13, 24)}
    with pytest.raises(ValueError, match="5 folds of 24 people in a row are not equal; expected one of 2, 3, 4, 6"):
        RAVDESSAudio(tmp_path, folds=5, protocol="consecutive").records()
    with pytest.raises(ValueError, match="fold '7' does not exist: expected a number from 1 to 6"):
        RAVDESSAudio(tmp_path, "7", protocol="consecutive").records()
    (tmp_path / "Actor_03").rename(tmp_path / "Actor_25")
    for path in (tmp_path / "Actor_25").iterdir():
        path.rename(path.with_name(path.name.replace("-03.wav", "-25.wav")))
    with pytest.raises(ValueError, match=r"found subject 'Actor_25' of .*; expected a number from 1 to 24"):
        RAVDESSAudio(tmp_path, protocol="consecutive").records()


@pytest.mark.parametrize(("pictures", "sound"), [(RAVDESS, RAVDESSAudio), (CREMAD, CREMADAudio)])
def test_sound_alone_is_tested_on_the_people_of_the_videos(pictures, sound, tmp_path):
    (fakes.write_ravdess_audio if pictures is RAVDESS else fakes.write_cremad)(tmp_path)
    for fold in ("1", "4"):
        assert actors_tested(sound(tmp_path, fold)) == actors_tested(pictures(tmp_path, fold))


@pytest.mark.parametrize(("pictures", "sound"), [(RAVDESS, RAVDESSAudio), (CREMAD, CREMADAudio)])
def test_sound_alone_chooses_on_the_people_of_the_videos(pictures, sound, tmp_path):
    """So that no member of an ensemble of both chooses on people that another one was trained on."""
    (fakes.write_ravdess_audio if pictures is RAVDESS else fakes.write_cremad)(tmp_path / "both")
    for fold in ("1", "3", "4"):
        chosen_on = []
        for kind, faces in ((pictures, CROP), (sound, FaceSettings(detector="none"))):
            data = VideoDataModule(kind(tmp_path / "both", fold, faces), SubvideoSampler(1, 2), num_workers=0)
            data.inputs = frozenset({"face"} if kind is pictures else {"log_mel"})
            data.prepare_data()
            data.setup()
            chosen_on.append({clip.record.subject for clip in data.split("inner")})
        assert chosen_on[0] == chosen_on[1] != set()


def test_all_other_data_sets_have_splits_of_their_own():
    other = {case.dataset.name: case.dataset().split_name for case in CASES}
    assert other == {name: name for name in other}


CREMAD_ROWS = (
    (100001, "1001_DFA_ANG_XX", (0, 0, 0, 1, 10, 0)),
    (107442, "1005_ITH_SAD_X", (0, 1, 0, 0, 2, 6)),
    (200001, "1001_DFA_ANG_XX", (6, 3, 0, 0, 0, 1)),
    (300001, "1001_DFA_ANG_XX", (9, 1, 0, 0, 0, 0)),
    (300002, "1001_ITH_ANG_X", (2, 3, 3, 1, 2, 0)),
)


BOTH_SENSES = {
    "1001_DFA_ANG_XX": "anger=9 disgust=1",
    "1001_ITH_ANG_X": "anger=2 disgust=3 fear=3 happiness=1 neutral=2",
}
HEARD = {"1001_DFA_ANG_XX": "happiness=1 neutral=10", "1005_ITH_SAD_X": "disgust=1 neutral=2 sadness=6"}


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [
        (CREMAD(), BOTH_SENSES),
        (CREMAD(ratings="face"), {"1001_DFA_ANG_XX": "anger=6 disgust=3 sadness=1"}),
        (CREMADAudio(), HEARD),
        (CREMADAudio(ratings="audio_visual"), BOTH_SENSES),
    ],
)
def test_votes_of_cremad_are_of_those_who_saw_or_heard_the_same(dataset, expected, tmp_path):
    fakes.write_cremad(tmp_path)
    dataset = replace(dataset, root=tmp_path)
    assert {record.votes for record in dataset.records()} == {""}
    fakes.write_cremad_votes(tmp_path, *CREMAD_ROWS)
    assert {record.clip_id: record.votes for record in dataset.records() if record.votes} == expected


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([*CREMAD_ROWS, (300003, "1001_DFA_ANG_XX", (1, 0, 0, 0, 0, 0))], r"line 7: found .*300003"),
        ([(300001, "1001_DFA_ANG_XX", (-1, 2, 0, 0, 0, 0))], r"line 2: found .*expected .*whole numbers"),
        ([(300001, "1001_DFA_ANG_XX", (0.5, 2, 0, 0, 0, 0))], r"line 2: found"),
    ],
)
def test_a_table_of_cremads_votes_with_other_content_is_named(rows, message, tmp_path):
    fakes.write_cremad(tmp_path)
    fakes.write_cremad_votes(tmp_path, *rows)
    with pytest.raises(ValueError, match=rf"tabulatedVotes\.csv, {message}"):
        CREMAD(tmp_path).records()


def test_a_table_of_votes_without_their_columns_is_named(tmp_path):
    """`summaryTable.csv` beside it has the majorities, and no votes."""
    fakes.write_cremad(tmp_path)
    header = ("", "FileName", "VoiceVote", "VoiceLevel", "FaceVote", "FaceLevel", "MultiModalVote", "MultiModalLevel")
    fakes.write_cremad_votes(tmp_path, *CREMAD_ROWS[3:], header=header)
    with pytest.raises(ValueError, match=r"tabulatedVotes\.csv, line 2: found .*VoiceVote.*; expected a number"):
        CREMAD(tmp_path).records()


# Lists without a header


LISTED = {
    MAFW: "Train & Test Set/single/no_caption/set_1/train.txt",
    FERV39k: "4_setups/All_scenes/train_All.csv",
}
of_lists = pytest.mark.parametrize("case", [case for case in CASES if case.dataset in LISTED], ids=named)


@of_lists
def test_the_first_and_last_row_of_a_list_are_clips(case, tmp_path):
    case.write(tmp_path)
    rows = (tmp_path / LISTED[case.dataset]).read_text().split("\n")
    train = [record.clip_id for record in case.dataset(tmp_path).records() if record.split == "train"]
    for row, clip_id in ((rows[0], train[0]), ([row for row in rows if row][-1], train[-1])):
        assert row.split()[0].removesuffix(".mp4") == clip_id


@of_lists
def test_a_clip_without_a_file_stays_a_record(case, tmp_path):
    case.write(tmp_path)
    records = case.dataset(tmp_path).records()
    missing = [record for record in records if not (tmp_path / record.path).exists()]
    assert "test" in {record.split for record in missing}
    assert len(records) == (44 if case.dataset is MAFW else 28)


@of_lists
def test_a_clip_that_stands_twice_is_refused(case, tmp_path):
    case.write(tmp_path)
    path = tmp_path / LISTED[case.dataset]
    first = path.read_text().splitlines()[0]
    path.write_text(path.read_text().rstrip() + "\n\n" + first)
    with pytest.raises(ValueError, match="occurs twice"):
        check_records(case.dataset(tmp_path).records(), case.dataset.name)


@of_lists
def test_rows_that_are_none_are_named_with_file_and_line(case, tmp_path):
    case.write(tmp_path)
    path = tmp_path / LISTED[case.dataset]
    first = path.read_text().splitlines()[:2]
    for row in ("path Label", "Action/Happy/0267", "anger", "x.mp4 4", "x.mp4,anger", "x.mp4 calm"):
        path.write_text("\n".join([*first, row]))
        with pytest.raises(ValueError, match=rf"{path.name}, line 3: found '{row}'; expected a clip's name"):
            case.dataset(tmp_path).records()


@of_lists
def test_a_header_is_no_clip(case, tmp_path):
    case.write(tmp_path)
    path = tmp_path / LISTED[case.dataset]
    path.write_text("path Label\n" + path.read_text())
    with pytest.raises(ValueError, match="line 1: found 'path Label'"):
        case.dataset(tmp_path).records()


@of_lists
def test_a_list_cannot_name_what_is_outside(case, tmp_path):
    case.write(tmp_path)
    (tmp_path / LISTED[case.dataset]).write_text("../../x.mp4 anger")
    with pytest.raises(ValueError, match="outside"):
        check_records(case.dataset(tmp_path).records(), "x")


def test_mafw_reads_the_fold_that_is_asked_for(tmp_path):
    fakes.write_mafw(tmp_path)
    folder = tmp_path / "Train & Test Set" / "single" / "no_caption"
    (folder / "set_3" / "test.txt").write_text("\ufeff00020.mp4 Helplessness\n", encoding="utf-8")
    (folder / "set_3" / "train.txt").write_text("00021.mp4 anxiety")
    found = [(r.clip_id, r.path, r.emotion, r.split, r.fold) for r in MAFW(tmp_path, "3").records()]
    assert found == [
        ("00021", "clips/00021.mp4", "anxiety", "train", "3"),
        ("00020", "clips/00020.mp4", "helplessness", "test", "3"),
    ]


@pytest.mark.parametrize("case", OF_SUBJECTS, ids=named)
def test_folds_of_a_file_take_the_place_of_ours(case, fake, tmp_path):
    root, _ = fake(case)
    dataset = case.dataset(root)
    rows = fold_rows([replace(dataset, fold=fold).records() for fold in dataset.fold_names])
    write_folds(tmp_path / "ours.csv", rows)
    for fold in dataset.fold_names:
        again = replace(dataset, fold=fold, folds_file=tmp_path / "ours.csv").records()
        assert again == replace(dataset, fold=fold).records()
    theirs = [replace(row, fold=str(1 + int(row.fold) % 2)) for row in rows]
    write_folds(tmp_path / "theirs.csv", theirs)
    settings = {} if case.dataset is CKPlus else {"folds": 2}
    given = case.dataset(root, "2", folds_file=tmp_path / "theirs.csv", **settings)
    assert given.folds == 2
    tested = {record.clip_id for record in given.records() if record.split == "test"}
    assert tested == {row.clip_id for row in theirs if row.fold == "2"}
    if case.dataset is not CKPlus:
        with pytest.raises(ValueError, match=rf"folds 1, 2; expected 1 to {case.folds}.*--dataset.folds"):
            replace(given, folds=case.folds).records()


def test_caer_validation_is_the_inner_split(tmp_path):
    fakes.write_caer(tmp_path)
    records = CAER(tmp_path).records()
    assert mark_inner_split(records, "caer") == records  # nothing is taken from the training data
    assert {r.clip_id.split("/")[0] for r in records if r.split == "inner"} == {"validation"}
