"""The doctor: each defect planted and found, and a sound copy left in peace."""

import json
import shutil
from dataclasses import dataclass, field
from typing import ClassVar

import cv2
import numpy as np
import pytest

from data_modules.datasets.afew import AFEW
from data_modules.datasets.affectnet import AffectNet
from data_modules.datasets.dataset import SplitCount, VideoDataset
from data_modules.datasets.dfew import DFEW
from data_modules.datasets.doctor import examine
from data_modules.datasets.fer2013 import FER2013
from data_modules.datasets.rafdb import RAFDB
from data_modules.datasets.sfew import SFEW
from data_modules.labels import SEVEN
from data_modules.manifest import VideoRecord
from fer_lightning.cli.main import main
from tests.fakes import write_afew, write_affectnet, write_dfew, write_fer2013, write_frames, write_rafdb, write_sfew

CLIP = "Clip/clip_224x224"
LISTS = "EmoLabel_DataSplit"


@pytest.fixture
def dfew(tmp_path):
    """A sound copy: the fake's broken clip is mended."""
    root = write_dfew(tmp_path / "data", train=14, test=7)
    shutil.rmtree(root / CLIP / "00014")
    write_frames(root / CLIP / "00014", "happiness", 5, 99, 32)
    return root


def found(dataset, workers=0):
    return {finding.kind: finding for finding in examine(dataset, workers).findings}


def wrong(dataset):
    return {kind: finding.clips for kind, finding in found(dataset).items() if finding.severity == "wrong"}


def test_a_sound_copy_is_healthy_and_counted_by_split_and_class(dfew):
    diagnosis = examine(DFEW(), 0)
    assert diagnosis.healthy
    assert diagnosis.root == str(dfew)
    assert diagnosis.found == (
        SplitCount.from_pairs("train", *((emotion, 2) for emotion in SEVEN)),
        SplitCount.from_pairs("test", *((emotion, 1) for emotion in SEVEN)),
    )


@pytest.mark.parametrize(
    ("kind", "write"),
    [(FER2013, write_fer2013), (RAFDB, write_rafdb), (AffectNet, write_affectnet), (SFEW, write_sfew)],
)
def test_sound_copies_of_still_images_are_healthy(kind, write, tmp_path):
    write(tmp_path / "data")
    dataset = kind()
    dataset.prepare()
    assert wrong(dataset) == {}
    assert "short" not in found(dataset)  # a still has one frame, and no audio to miss
    assert "silent" not in found(dataset)


def test_processes_find_what_this_one_finds(dfew):
    shutil.rmtree(dfew / CLIP / "00003")
    assert examine(DFEW(), 2) == examine(DFEW(), 0)


def test_a_missing_clip(dfew):
    shutil.rmtree(dfew / CLIP / "00003")
    assert wrong(DFEW()) == {"missing": ("00003",)}


def test_an_unreadable_clip_and_why(dfew):
    for path in (dfew / CLIP / "00005").iterdir():
        path.write_text("no image")
    (dfew / CLIP / "00006").rename(dfew / "x")
    (dfew / CLIP / "00006").mkdir()
    assert wrong(DFEW()) == {"unreadable": ("00005", "00006")}
    assert "none of which can be read" in found(DFEW())["unreadable"].text


def test_a_clip_of_one_frame_is_noted(dfew):
    for path in list((dfew / CLIP / "00007").iterdir())[1:]:
        path.unlink()
    assert found(DFEW())["short"].clips == ("00007",)
    assert examine(DFEW(), 0).healthy


def test_a_clip_that_is_trained_and_reported_on(dfew):
    shutil.rmtree(dfew / CLIP / "00018")
    shutil.copytree(dfew / CLIP / "00004", dfew / CLIP / "00018")
    assert wrong(DFEW()) == {"identical files": ("train: 00004 = test: 00018",)}


def test_clips_of_the_same_size_are_not_the_same(tmp_path):
    folder = write_rafdb(tmp_path / "data")
    images = folder / "Image" / "aligned"
    for name, shade in (("train_00001", 10), ("test_00001", 20), ("train_00002", 30)):  # one size: uncompressed
        content = cv2.imencode(".bmp", np.full((9, 9, 3), shade, np.uint8))[1].tobytes()
        (images / f"{name}_aligned.jpg").write_bytes(content)
    assert wrong(RAFDB()) == {}
    shutil.copy(images / "train_00001_aligned.jpg", images / "test_00001_aligned.jpg")
    assert wrong(RAFDB()) == {"identical files": ("test: test_00001 = train: train_00001",)}
    shutil.copy(images / "train_00002_aligned.jpg", images / "train_00003_aligned.jpg")  # within a split: no leak
    assert len(wrong(RAFDB())["identical files"]) == 1


def test_copies_that_every_copy_of_the_data_set_has_are_a_note(tmp_path, monkeypatch):
    images = write_rafdb(tmp_path / "data") / "Image" / "aligned"
    shutil.copy(images / "train_00001_aligned.jpg", images / "test_00001_aligned.jpg")
    monkeypatch.setattr(RAFDB, "shared_images", 1)
    finding = found(RAFDB())["identical files"]
    assert (finding.severity, finding.clips) == ("note", ("test: test_00001 = train: train_00001",))
    assert "as in every copy of this data set" in finding.text
    shutil.copy(images / "train_00002_aligned.jpg", images / "test_00002_aligned.jpg")
    assert found(RAFDB())["identical files"].severity == "wrong"
    monkeypatch.setattr(RAFDB, "shared_images", 3)  # a part of the classes has fewer
    assert found(RAFDB())["identical files"].severity == "note"
    assert FER2013.shared_images == 557  # groups with copies in several splits


def test_an_image_of_a_single_colour_is_noted(tmp_path):
    images = write_rafdb(tmp_path / "data") / "Image" / "aligned"
    cv2.imwrite(str(images / "train_00003_aligned.jpg"), np.full((32, 32, 3), 40, np.uint8))
    assert found(RAFDB())["blank"].clips == ("train_00003",)
    assert examine(RAFDB(), 0).healthy


def test_an_id_that_stands_twice(dfew):
    path = dfew / LISTS / "train(single-labeled)" / "set_1.csv"
    path.write_text(path.read_text() + "00001,2\n")
    assert wrong(DFEW()) == {"duplicate ids": ("00001",)}


def test_a_path_that_leaves_the_root_is_not_opened(dfew, tmp_path):
    path = dfew / LISTS / "train(single-labeled)" / "set_1.csv"
    path.write_text(path.read_text() + "../../../secret,2\n")
    write_frames(tmp_path / "data" / "secret", "fear", 1, 0, 32)
    assert wrong(DFEW()) == {"outside": ("../../../secret",)}


def test_films_on_both_sides(tmp_path):
    folder = write_sfew(tmp_path / "data")
    old = next((folder / "Val_Aligned_Faces" / "Sad").iterdir())
    old.rename(old.with_name("Train Film_2_000000007_00000001.png"))
    assert wrong(SFEW()) == {"shared films": ("Train Film_2",)}


def test_what_is_left_out_or_differs_from_the_counts_is_noted(tmp_path):
    write_affectnet(tmp_path / "data")
    notes = found(AffectNet())
    assert notes["left out"].text.startswith("20 clips are of none of the classes: 5 contempt, 5 no face")
    assert {finding.text for finding in examine(AffectNet(), 0).findings if finding.kind == "counts"} == {
        "train: 28 clips here, 283901 in a complete copy",
        "test: 7 clips here, 3500 in a complete copy",
    }
    assert "counts" not in found(AffectNet(contempt=True))  # of eight classes no numbers are known


def test_a_set_that_states_no_numbers_has_none_to_differ_from(tmp_path):
    write_sfew(tmp_path / "data")
    assert not {"counts", "left out"} & found(SFEW()).keys()
    assert (SFEW().counts, SFEW().left_out()) == ((), {})


@dataclass
class Listed(VideoDataset):
    """Records as a test wishes them, on files of the fake DFEW."""

    listed: tuple[VideoRecord, ...] = field(default_factory=tuple)

    exclusive_in: ClassVar[str] = "subjects"
    name: ClassVar[str] = "dfew"
    licence: ClassVar[str] = "none"
    how_to_get: ClassVar[str] = "it is made"
    counts: ClassVar[tuple[SplitCount, ...]] = (
        SplitCount.from_pairs("", ("anger", 1), ("fear", 2)),
        SplitCount("test", 1),
    )

    @property
    def class_names(self):
        return SEVEN

    def records(self):
        return list(self.listed)


def record(number, emotion="fear", **others):
    return VideoRecord(f"{number:05d}", f"{CLIP}/{number:05d}", emotion, **others)


def test_subjects_on_both_sides(dfew):
    records = (
        record(1, subject="a", split="test"),
        record(2, subject="a", split="inner"),
        record(3, subject="b"),
        record(4, subject="b"),
        record(5),
        record(6, split="test"),  # nobody knows whom the last two show
    )
    assert wrong(Listed(listed=records)) == {"shared subjects": ("a",)}


def test_a_label_outside_the_class_list(dfew):
    dataset = Listed(listed=(record(1), record(2, "{calm}"), record(3, split="test")))
    assert wrong(dataset) == {"labels": ("00002",)}
    assert "'{calm}'" in found(dataset)["labels"].text


def test_ground_truth_that_is_missing_is_a_missing_file(dfew):
    assert wrong(Listed(listed=(record(1, truth="x.safetensors"), record(3, split="test")))) == {"missing": ("00001",)}


def test_a_split_without_clips(dfew):
    assert wrong(Listed(listed=(record(1),))) == {"empty": ("test",)}


def test_counts_of_all_splits_and_of_classes_are_compared(dfew):
    good = (record(1, "anger"), record(2), record(3, split="test"))
    assert found(Listed(listed=good)) == {}
    text = found(Listed(listed=(record(1), *good[1:])))["counts"].text
    assert text == "all splits: 3 clips here, 3 in a complete copy; anger 0 instead of 1; fear 3 instead of 2"


def write_video(path, audio):
    """Three frames, with or without an audio track."""
    import av

    with av.open(str(path), "w") as container:
        video = container.add_stream("mpeg4", rate=25)
        video.width = video.height = 32
        video.pix_fmt = "yuv420p"
        audio = container.add_stream("aac", rate=16000, layout="mono") if audio else None
        for shade in (10, 100, 200):
            frame = av.VideoFrame.from_ndarray(np.full((32, 32, 3), shade, np.uint8), format="rgb24")
            container.mux(video.encode(frame))
        container.mux(video.encode())
        if audio:
            wave = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
            wave.sample_rate = 16000
            container.mux([*audio.encode(wave), *audio.encode()])


def test_videos_without_sound_are_noted(dfew):
    for name, audio in (("loud", True), ("quiet", False)):
        write_video(dfew / f"{name}.mp4", audio)
    records = (VideoRecord("loud", "loud.mp4", "fear"), VideoRecord("quiet", "quiet.mp4", "fear", split="test"))
    notes = found(Listed(listed=records))
    assert notes["silent"].clips == ("quiet",)
    assert {"silent"} == set(notes) - {"counts"}


def test_clips_that_are_turned_are_noted(dfew):
    records = (record(1, quarter_turns=1), record(2), record(3, split="test"))
    assert found(Listed(listed=records))["turned"].clips == ("00001 by 90°",)
    assert examine(Listed(listed=records), 0).healthy


def test_archives_are_opened_and_have_no_sound_to_miss(dfew):
    for number in (1, 3):
        shutil.make_archive(str(dfew / f"{number}"), "zip", dfew / CLIP / f"{number:05d}")
    (dfew / "4.zip").write_text("no archive")
    records = tuple(VideoRecord(f"{n}", f"{n}.zip", "fear", split="test" if n == 3 else "train") for n in (1, 3, 4))
    assert wrong(Listed(listed=records)) == {"unreadable": ("4",)}
    assert "silent" not in found(Listed(listed=records))


def test_the_command_shows_a_table_and_says_so_with_its_status(dfew, capsys):
    assert main(["data", "doctor", "dfew", "--workers", "0"]) == 0
    text = capsys.readouterr().out
    assert "happiness" in text
    assert "found nothing that makes results wrong" in text
    shutil.rmtree(dfew / CLIP / "00003")
    assert main(["data", "doctor", "dfew", "--workers", "0"]) == 1
    text = capsys.readouterr().out
    assert "✗ missing: 1 clips" in text
    assert "00003" in text


def test_the_command_gives_json_of_a_copy_elsewhere(dfew, tmp_path, capsys):
    elsewhere = dfew.rename(tmp_path / "copy")
    assert main(["data", "doctor", "dfew"]) == 2
    assert "dfew-dataset.github.io" in capsys.readouterr().err
    shutil.rmtree(elsewhere / CLIP / "00003")
    assert main(["data", "doctor", "dfew", "--root", str(elsewhere), "--json", "--workers", "0"]) == 1
    content = json.loads(capsys.readouterr().out)
    assert content["healthy"] is False
    assert content["root"] == str(elsewhere)
    (missing,) = (finding for finding in content["findings"] if finding["kind"] == "missing")
    assert missing["clips"] == ["00003"]


def test_the_list_names_every_data_set_with_what_is_here(dfew, capsys):
    write_rafdb(dfew.parent)
    (dfew.parent / "rafdb" / "EmoLabel" / "list_patition_label.txt").write_text("nolist")
    assert main(["data", "list"]) == 0
    text = " ".join(capsys.readouterr().out.replace("│", " ").split())
    for part in ("dfew", "affectnet", "21 clips in", "'nolist';", "contempt", "to be signed"):
        assert part in text


def test_the_list_is_there_as_json(dfew, capsys):
    assert main(["data", "list", "--json"]) == 0
    rows = {row["name"]: row for row in json.loads(capsys.readouterr().out)}
    assert (rows["dfew"]["clips"], rows["dfew"]["reason"], rows["dfew"]["folder"]) == (21, "", str(dfew))
    assert rows["affectnet"]["clips"] is None
    assert "to be signed" in rows["affectnet"]["reason"] + rows["affectnet"]["licence"]
    assert main(["data", "prepare", "dfew", "--json"]) == 2
    assert "did you mean --json" not in capsys.readouterr().err


# Films of SFEW and AFEW


@pytest.fixture
def films(tmp_path):
    """SFEW and AFEW side by side; no place in a film is in both."""
    write_afew(tmp_path / "data" / "afew")
    return write_sfew(tmp_path / "data"), tmp_path / "data" / "afew"


def test_data_sets_without_common_films_are_left_in_peace(films):
    for dataset in (SFEW(), AFEW()):
        assert not [finding for kind, finding in found(dataset).items() if kind.startswith("films")]


def test_a_film_of_an_image_and_of_a_clip_is_found_by_its_place(films):
    sfew, afew = films
    image = next((sfew / "Train_Aligned_Faces" / "Fear").iterdir())
    image.rename(image.with_name("Airheads_000519240_00000005.png"))
    clip = next((afew / "Val_AFEW" / "Fear").glob("*.avi"))
    clip.rename(clip.with_name("000519240.avi"))
    text = "Airheads: Train/Fear/Airheads_000519240_00000005 of SFEW, val/000519240 of AFEW"
    for dataset, other in ((SFEW(), "afew"), (AFEW(), "sfew")):
        finding = found(dataset)[f"films of {other}"]
        assert (finding.severity, finding.clips) == ("note", (text,))
    clip.with_name("000519240.avi").rename(afew / "Train_AFEW" / "Fear" / "000519240.avi")
    assert "films of afew" not in found(SFEW()), "in the same split nothing leaks"


def test_a_film_that_both_name_makes_results_wrong(films):
    sfew, afew = films
    image = next((sfew / "Val_Aligned_Faces" / "Fear").iterdir())
    image.rename(image.with_name("Hot_Fuzz_000000040_00000005.png"))
    clip = next((afew / "Train_AFEW" / "Fear").glob("*.avi"))
    clip.rename(clip.with_name("Hot_Fuzz_000519240.avi"))
    text = "Hot_Fuzz: Val/Fear/Hot_Fuzz_000000040_00000005 of SFEW, train/Hot_Fuzz_000519240 of AFEW"
    assert wrong(SFEW())["films of afew"] == (text,)


def test_films_that_cannot_be_compared_are_said(tmp_path):
    write_sfew(tmp_path / "data")
    assert "afew, which is not in" in found(SFEW())["films"].text
    assert examine(SFEW(), 0).healthy


def test_an_inner_split_that_is_exclusive_in_clips_only_is_said(films, dfew):
    assert "exclusive in clips only" in found(AFEW())["inner split"].text
    assert "inner split" in found(DFEW())
    assert "inner split" not in found(SFEW())
