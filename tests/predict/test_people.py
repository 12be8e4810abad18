"""Everybody in the picture: from files through the command and the call to tables, annotations, pages and videos."""

import csv
import json
import re
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from data_modules.faces.detection import Detection
from data_modules.labels import SEVEN
from data_modules.video.reader import open_video
from fer_lightning import Recogniser, RecognitionOptions
from fer_lightning.predict.expressions import FaceTrack, Person, VideoFacts
from fer_lightning.predict.overview import write_overview
from fer_lightning.predict.page import write_page
from fer_lightning.predict.row_classifier import RowPredictions
from fer_lightning.predict.timeline import Timeline
from fer_lightning.report.figures.style import person_colour
from tests.people import KnownFaces, Shot, Walk, film
from tests.predict.made import recognition
from tests.predict.test_page import browse, content, in_chromium
from tests.predict.test_predict import fer_predict, table, write_checkpoint
from tests.predict.test_predict import write_video as write_square
from tests.predict.test_predict_sound import SETTINGS, Ear, EyeAndEar, tone
from tests.predict.test_predict_sound import write_checkpoint as write_hearing
from tests.videos import write_video

LEFT, RIGHT = (10, 16), (250, 16)
SHOTS = (
    Shot(50, 2, [Walk(1, LEFT), Walk(3, RIGHT)]),
    Shot(25, 4, [Walk(3, (130, 16))]),
    Shot(25, 2, [Walk(1, LEFT)]),
)  # at 25 frames a second: both for 2 s, the second for 1 s, the first for 1 s
ANOTHER = "another person"


@pytest.fixture(scope="module")
def known():
    return film(SHOTS)


@pytest.fixture(scope="module")
def video(tmp_path_factory, known) -> Path:
    return write_video(tmp_path_factory.mktemp("film") / "two.mp4", list(known.frames))


@pytest.fixture(scope="module")
def run(tmp_path_factory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("trained") / "1-0")


@pytest.fixture
def detector(monkeypatch, known):
    monkeypatch.setattr("data_modules.faces.models.make_detector", lambda name, device: KnownFaces(known))


def reads_skin(faces, rows, advance) -> RowPredictions:
    """Instead of a network: `anger` for the person on whose face blue is above 110, else `happiness`; 0.9 each."""
    probabilities = np.full((len(rows.start), 7), np.nan)
    for row, (first, stop) in enumerate(faces.position_ranges(rows.own_frames)):
        if stop - first >= 6:
            crop = faces.crops(np.arange(first, stop))[:, 20:28, 12:36]
            probabilities[row] = 0.1 / 6
            probabilities[row, 0 if crop[..., 2].mean() > BLUE else 3] = 0.9
    return RowPredictions(probabilities)


BLUE = 110


def test_each_persons_expressions_are_in_their_rows(known, video, run, detector, tmp_path):
    """Each of two people has an expression where they are seen, and only there."""
    assert fer_predict(video, "--checkpoint", run, "--out", tmp_path, "--people", "all") == 0
    rows = table(tmp_path / "two")
    assert [(row["person"], row["start"]) for row in rows] == [(p, f"{s / 2:.3f}") for p in "12" for s in range(8)]
    shares = {p: [float(row["face_share"]) for row in rows if row["person"] == p] for p in "12"}
    seen = {p: [share > 0.5 for share in shares[p]] for p in "12"}
    both, second, first = [True] * 4, [False, False, True, True], [True, True, False, False]
    assert sorted(seen.values()) == sorted([both + first, both + second])
    for row in rows:
        assert (row["expression"] == ANOTHER) == (float(row["face_share"]) < 0.5)
        assert (row["reason"] == ANOTHER) == (row["confidence"] == "") == (row["expression"] == ANOTHER)
    boxes = json.loads((tmp_path / "two" / "expressions.json").read_text())["people"]
    assert [entry["person"] for entry in boxes] == [1, 2]


def test_recordings_of_browsers_have_as_many_people(known, run, detector, tmp_path):
    """They declare no rate, which FFmpeg takes for 1000 pictures a second: 75 of them would be an instant."""
    times = [40 * number for number in range(len(known.frames))]
    options = {"deadline": "realtime", "cpu-used": "8", "b": "2M"}
    video = write_video(tmp_path / "a.webm", list(known.frames), 1000, times, codec="libvpx", options=options)
    found = Recogniser(run, RecognitionOptions(device="cpu", people="all")).video(video)
    assert [len(person.track.time) for person in found.people] == [75, 75]
    assert found.video.fps == pytest.approx(25)
    assert len(Recogniser(run, RecognitionOptions(device="cpu")).video(video).others) == 75


def test_the_call_gives_each_person_with_a_track(known, video, run, detector, monkeypatch):
    recogniser = Recogniser(run, RecognitionOptions(device="cpu", people="all", window=0.5))
    blues = {who: float(known.frames[12][_middle(known.faces[12][who])][..., 2].mean()) for who in (1, 3)}
    assert abs(blues[1] - blues[3]) > 10
    monkeypatch.setattr("tests.predict.test_people.BLUE", sum(blues.values()) / 2)
    monkeypatch.setattr(recogniser._classifier, "predict", reads_skin)
    found = recogniser.video(video)
    bluish = max(blues, key=blues.__getitem__)
    assert len(found.people) == 2
    assert [window for person in found.people for window in person.expressions] == list(found)
    assert [window.person for window in found] == [1] * 8 + [2] * 8
    assert len(found) == 16
    for person in found.people:
        who = min((1, 3), key=lambda each: abs(person.track.box[0] - known.faces[0][each].box).max())
        assert np.abs(person.track.box[0] - known.faces[0][who].box).max() < 4
        expected = "anger" if who == bluish else "happiness"
        expressions = [window.expression for window in person.expressions]
        present = [any(who in faces for faces in known.faces[i : i + 13]) for i in np.arange(8) * 25 // 2]
        assert expressions == [expected if there else ANOTHER for there in present]
        for time, box in zip(person.track.time, person.track.box, strict=True):
            assert np.abs(box - known.faces[round(time * 25)][who].box).max() < 4
    assert found.video.frames_with_face >= 90
    assert [window.person for window in recogniser.windows(video)] == [1] * 8 + [2] * 8
    assert set(found.to_pandas().person) == {1, 2}
    assert not list(recogniser._store.clip_ids())  # no faces are left


def test_the_main_face_alone_says_when_only_another_person_is_seen(run, tmp_path, monkeypatch):
    """Somebody is seen for 2.8 s; after 2 s somebody else comes for 1.2 s, and the last second is empty."""
    known = film([Shot(80, 2, [Walk(1, LEFT, stop=70), Walk(3, RIGHT, first=50)]), Shot(25, 4, [])])
    monkeypatch.setattr("data_modules.faces.models.make_detector", lambda name, device: KnownFaces(known))
    path = write_video(tmp_path / "guest.mp4", list(known.frames))
    asked = (path, "--checkpoint", run, "--out", tmp_path / "out", "--every", 1, "--rows", "frames", "--no-video")
    assert fer_predict(*asked) == 0
    rows = table(tmp_path / "out" / "guest")
    assert {row["person"] for row in rows} == {"1"}
    assert [row["expression"] in SEVEN for row in rows] == [True] * 6 + [False] * 2
    assert [row["reason"] for row in rows] == [""] * 6 + ["no face"] * 2
    frames = list(csv.DictReader((tmp_path / "out" / "guest" / "frames.csv").open()))
    named = [row["expression"] if row["expression"] in (ANOTHER, "no face") else "seen" for row in frames]
    assert named == ["seen"] * 70 + [ANOTHER] * 10 + ["no face"] * 25
    assert {frames[75][name] for name in ("confidence", "left", "p_anger")} == {""}
    assert frames[75]["reason"] == ANOTHER


def test_somebody_else_after_a_cut_is_another_person_and_rows_across_cuts_say_so(run, tmp_path, monkeypatch):
    """The first for 2 s, then another at the same place for 2 s, then the first for 2 s; windows last for 1 s."""
    known = film([Shot(50, 1, [Walk(1, LEFT)]), Shot(50, 3, [Walk(3, LEFT)]), Shot(50, 4, [Walk(1, LEFT)])])
    monkeypatch.setattr("data_modules.faces.models.make_detector", lambda name, device: KnownFaces(known))
    path = write_video(tmp_path / "cut.mp4", list(known.frames))
    cuts = [False] * 3 + [True] * 2 + [False] * 2 + [True] * 2 + [False] * 3
    for people, number in (("main", 1), ("all", 2)):
        out = tmp_path / people
        asked = ("--checkpoint", run, "--out", out, "--window", 1, "--people", people, "--no-video", "--rows", "frames")
        assert fer_predict(path, *asked) == 0
        frames = list(csv.DictReader((out / "cut" / "frames.csv").open()))
        assert [int(row["frame"]) for row in frames if row["cut"] == "1"] == known.cuts * number
        seen = [int(row["frame"]) for row in frames if row["left"]]
        assert sorted(seen) == [*range(150)] if people == "all" else seen == [*range(50), *range(100, 150)]
        rows = table(out / "cut")
        own = [row["reason"] == "" for row in rows]
        first = [True] * 4 + [False] * 4 + [True] * 4
        assert own == (first if people == "main" else first + [not each for each in first])
        assert {row["reason"] for row in rows} == {"", ANOTHER}
        assert [row["cut"] == "1" for row in rows] == cuts * number
    saved = json.loads((tmp_path / "main" / "cut" / "expressions.json").read_text())
    assert [row["cut"] for row in saved["rows"]] == cuts
    assert content(tmp_path / "main" / "cut" / "index.html")["cut"] == [3, 4, 7, 8]


def test_rows_of_the_main_face_say_so_too(run, tmp_path, monkeypatch):
    known = film([Shot(100, 2, [Walk(1, LEFT, stop=60), Walk(3, RIGHT, first=50)])])
    monkeypatch.setattr("data_modules.faces.models.make_detector", lambda name, device: KnownFaces(known))
    recogniser = Recogniser(run, RecognitionOptions(device="cpu"))
    found = recogniser.frames(known.frames, fps=25.0)
    expressions = [window.expression for window in found]
    assert all(expression in SEVEN for expression in expressions[:4])
    assert expressions[5:] == [ANOTHER] * 3
    assert len(found.people) == 1


def test_a_voice_is_nobodys_expression_while_they_are_away(tmp_path, monkeypatch):
    """Both for 2 s, the second for 1 s, the first for 1 s, nobody for 1 s; a tone is heard all the time."""
    known = film((*SHOTS, Shot(25, 7, [])))
    monkeypatch.setattr("data_modules.faces.models.make_detector", lambda name, device: KnownFaces(known))
    path = write_video(tmp_path / "talk.mp4", list(known.frames), audio=tone(5, 800))
    both, ear = (write_hearing(tmp_path / kind.__name__, kind, SETTINGS) for kind in (EyeAndEar, Ear))
    asked = ("--window", 0.5, "--every", 1, "--no-video", "--people", "all", "--rows", "frames")
    assert fer_predict(path, "--checkpoint", both, "--out", tmp_path / "both", *asked) == 0
    rows = table(tmp_path / "both" / "talk")
    assert {row["audio"] for row in rows} == {"1"}
    found = {p: [row["expression"] for row in rows if row["person"] == p] for p in "12"}
    first = ["both"] * 4 + [ANOTHER] * 2 + ["both"] * 2 + ["no face"] * 2
    second = ["both"] * 6 + [ANOTHER] * 2 + ["no face"] * 2
    assert sorted(found.values()) == sorted([first, second])
    assert [row["reason"] for row in rows] == [row["expression"].replace("both", "") for row in rows]
    frames = list(csv.DictReader((tmp_path / "both" / "talk" / "frames.csv").open()))
    assert {(row["expression"] == "both", row["left"] != "") for row in frames} == {(True, True), (False, False)}
    assert {row["reason"] for row in frames} == {"", ANOTHER, "no face"}

    assert fer_predict(path, "--checkpoint", ear, "--out", tmp_path / "ear", *asked) == 0
    heard = table(tmp_path / "ear" / "talk")
    assert [(row["person"], row["reason"]) for row in heard] == [("1", "")] * 10


def _middle(face: Detection):
    x, y = face.box.reshape(2, 2).mean(0).astype(int)
    return slice(y - 6, y + 6), slice(x - 6, x + 6)


def test_one_person_gives_the_same_either_way(run, tmp_path, monkeypatch):
    from tests.predict.test_predict import SquareFinder

    monkeypatch.setattr("data_modules.faces.models.make_detector", lambda name, device: SquareFinder())
    path = write_square(tmp_path / "one.mp4", [True] * 30, audio=True)
    for people in ("main", "all"):
        assert fer_predict(path, "--checkpoint", run, "--out", tmp_path / people, "--people", people) == 0
    names = ["expressions.csv", "expressions.json", "expressions.vtt", "expressions.eaf", "timeline.png", "index.html"]
    for name in names:
        main, everybody = ((tmp_path / people / "one" / name).read_bytes() for people in ("main", "all"))
        assert main == everybody, name
    frames = [[f for _, f in open_video(tmp_path / p / "one" / "annotated.mp4").frames()] for p in ("main", "all")]
    assert np.array_equal(*frames)


def test_an_unknown_choice_is_refused(video, run):
    with pytest.raises(ValueError, match="--people everyone: expected main or all"):
        RecognitionOptions(people="everyone")
    with pytest.raises(ValueError, match="--people: invalid choice: 'everyone'"):
        fer_predict(video, "--checkpoint", run, "--people", "everyone")


# --- what is written of several people, made by hand ----------------------------------------------------------------

NAMES = ("anger", "fear")
NONE = [np.nan, np.nan]


def timeline(person: int, *shares: list[float], others: list[bool] | None = None) -> Timeline:
    start, probabilities = np.arange(len(shares)) / 2, np.array(shares)
    faces = np.isfinite(probabilities[:, 0]).astype(float)
    return Timeline(
        NAMES, start, start + 0.5, faces, np.zeros(len(shares), bool), probabilities,
        person=person, others=np.array(others),
    )  # fmt: skip


def made(path: Path = Path("nowhere.mp4")):
    """Two seconds: the first is angry, then away; the second comes when she goes; nobody is there at the end."""
    first = timeline(1, [0.9, 0.1], [0.7, 0.3], NONE, NONE, others=[False, False, True, False])
    second = timeline(2, NONE, [0.4, 0.6], [0.2, 0.8], NONE, others=[True, True, False, False])
    box = np.array([100, 30, 140, 90], np.float32)
    track = FaceTrack(np.arange(5, 15) / 10, np.tile(box, (10, 1)))
    video = VideoFacts(str(path), 160, 120, 10.0, 20, 2.0, 0, 15, 0.0, "")
    main = FaceTrack(np.arange(10) / 10, np.tile(np.array([20, 30, 60, 90], np.float32), (10, 1)))
    made = recognition(first, video, track=main)
    return replace(made, people=(*made.people, Person(second, track)))


def test_a_row_says_whether_somebody_else_is_seen():
    windows = made().people[0].expressions
    assert [window.expression for window in windows] == ["anger", "anger", ANOTHER, "no face"]
    assert [window.reason for window in windows] == ["", "", ANOTHER, "no face"]
    assert windows[2].confidence is windows[2].probabilities is None


def test_subtitles_name_the_person_in_the_order_of_time(tmp_path):
    made().save_webvtt(tmp_path / "a.vtt")
    assert (tmp_path / "a.vtt").read_text().rstrip("\n").split("\n\n")[2:] == [
        "00:00:00.000 --> 00:00:01.000\nperson 1: anger 80 %",
        "00:00:00.500 --> 00:00:01.500\nperson 2: fear 70 %",
    ]


def test_elan_has_tiers_for_each_person(tmp_path):
    made().save_elan(tmp_path / "a.eaf")
    root = ElementTree.parse(tmp_path / "a.eaf").getroot()
    slots = {slot.get("TIME_SLOT_ID"): int(slot.get("TIME_VALUE")) for slot in root.iter("TIME_SLOT")}
    assert list(slots.values()) == sorted(set(slots.values())) == [0, 500, 1000, 1500, 2000]
    found = {
        (tier.get("TIER_ID"), tier.get("PARTICIPANT")): [
            (slots[each.get("TIME_SLOT_REF1")], slots[each.get("TIME_SLOT_REF2")], each[0].text)
            for each in tier.iter("ALIGNABLE_ANNOTATION")
        ]
        for tier in root.iter("TIER")
    }
    assert found == {
        ("expression 1", "person 1"): [(0, 1000, "anger"), (1000, 1500, ANOTHER), (1500, 2000, "no face")],
        ("confidence 1", "person 1"): [(0, 1000, "0.800")],
        ("expression 2", "person 2"): [(0, 500, ANOTHER), (500, 1500, "fear"), (1500, 2000, "no face")],
        ("confidence 2", "person 2"): [(500, 1500, "0.700")],
    }
    identifiers = [each.get("ANNOTATION_ID") for each in root.iter("ALIGNABLE_ANNOTATION")]
    assert len(set(identifiers)) == len(identifiers) == 8


def test_all_videos_lists_each_person(tmp_path):
    (tmp_path / "a").mkdir()
    found = made(tmp_path / "a.mp4")
    found.save_csv(tmp_path / "a" / "expressions.csv")
    found.save_json(tmp_path / "a" / "expressions.json")
    page = write_overview(tmp_path).read_text()
    rows = list(csv.DictReader((tmp_path / "all-videos.csv").open()))
    assert [row["person"] for row in rows] == ["1"] * 4 + ["2"] * 4
    assert "Expressions in 1 video<" in page
    assert re.findall(r'href="(a/[^"]*)">([^<]*)<', page) == [
        ("a/index.html#person=1", "a.mp4, person 1"),
        ("a/index.html#person=2", "a.mp4, person 2"),
    ]
    summaries = json.loads((tmp_path / "a" / "expressions.json").read_text())["people"]
    assert [entry["face_share"] for entry in summaries] == [0.5, 0.5]
    assert summaries[1]["summary"][0] == {"expression": "fear", "share": 0.5}


@in_chromium
def test_people_are_switched_on_the_page_and_all_have_a_box(tmp_path):
    path = write_square(tmp_path / "a.mp4", [True] * 20)
    write_page(made(path), tmp_path / "index.html")
    assert [each["person"] for each in content(tmp_path / "index.html")["others"]] == [2]
    seen = browse(
        tmp_path / "index.html",
        """
        const buttons = [...document.querySelectorAll("#people button")];
        const pressed = () => buttons.map(each => each.getAttribute("aria-pressed"));
        const rowsOf = () => [...table.tBodies[0].rows].map(line => line.cells[2].textContent);
        seen.names = buttons.map(each => each.textContent);
        point("pointerdown", 0.4); seen.first = [...state().slice(1), ...pressed()];
        table.closest("details").open = true; listStretches(); seen.stretches = rowsOf();
        buttons[1].click(); seen.second = [...state().slice(1), ...pressed()]; seen.others = rowsOf();
        point("pointermove", 0.4); seen.tip = tip.textContent.split("\\n")[0];
        key("1"); seen.key = pressed();
        key("End"); seen.end = state()[2];
        point("pointerdown", 0.4);
        drawBox();
        const pen = boxes.getContext("2d"), x = boxes.width / 160, y = boxes.height / 120;
        const at = (px, py) => [...pen.getImageData(Math.round(px * x), Math.round(py * y), 1, 1).data];
        seen.edges = [at(20, 70), at(100, 70), at(80, 70)];
        """,
    )
    assert seen["names"] == ["Person 1", "Person 2"]
    assert seen["first"] == [0.8, "1: anger 70 %", "true", "false"]
    assert seen["stretches"] == ["anger", ANOTHER, "no face"]
    assert seen["second"] == [0.8, "2: fear 60 %", "false", "true"]
    assert seen["others"] == [ANOTHER, "fear", "no face"]
    assert seen["tip"] == "0:00.8  fear 60 %"
    assert seen["key"] == ["true", "false"]
    assert seen["end"] == "1: no face"
    colours = [[*bytes.fromhex(person_colour(number)[1:]), 255] for number in (1, 2)]
    assert seen["edges"] == [*colours, [0, 0, 0, 0]]


def test_the_annotated_video_has_a_box_for_each_person(known, video, run, detector, tmp_path):
    assert fer_predict(video, "--checkpoint", run, "--out", tmp_path, "--people", "all") == 0
    (_, frame), *_ = open_video(tmp_path / "two" / "annotated.mp4").frames([12])
    for number, track in enumerate(_tracks(tmp_path / "two" / "index.html"), start=1):
        left, top, _, bottom = np.reshape(track["box"], (-1, 4))[12]
        colour = frame[(top + bottom) // 2, left].astype(int)
        assert np.abs(colour - list(bytes.fromhex(person_colour(number)[1:]))).max() < 90
    page = (tmp_path / "two" / "index.html").read_text()
    assert 'id="people"' in page


def _tracks(page: Path) -> list[dict]:
    found = content(page)
    return [found["track"], *(each["track"] for each in found["others"])]
