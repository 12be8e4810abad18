"""Exports for other programs: against what their formats say, and read with libraries of their own where at hand."""

import csv
import re
import shutil
import subprocess
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest

from fer_lightning.predict.data_dictionary import COLUMNS
from fer_lightning.predict.expressions import VideoFacts
from fer_lightning.predict.overview import data_dictionary, write_overview
from fer_lightning.predict.tables import column_names
from fer_lightning.predict.timeline import Timeline
from tests.predict.made import LABEL, recognition
from tests.predict.test_predict import write_video

HOSTILE = "a --> <b>&\n"  # a class of a checkpoint of strangers


ROWS = ([0.9, 0.1], [0.7, 0.3], [np.nan] * 2, [0.4, 0.6])


def made(path: Path = Path("nowhere.mp4"), names=("anger", "fear"), rows=ROWS, threshold=0.0):
    """Rows: anger 0.9, anger 0.7, none, fear 0.6, each of half a second, or others."""
    start, probabilities = np.arange(len(rows)) / 2, np.array(rows)
    faces = np.isfinite(probabilities[:, 0]).astype(float)
    timeline = Timeline(names, start, start + 0.5, faces, np.zeros(len(rows), bool), probabilities, threshold=threshold)
    return recognition(timeline, VideoFacts(str(path), 160, 120, 10.0, 20, 2.0, 0, 15, 0.0, ""))


def test_a_subtitle_for_each_stretch(tmp_path):
    """By hand; the mean of 0.9 and 0.7 is 80 %."""
    made().save_webvtt(tmp_path / "a.vtt")
    head, note, *cues = (tmp_path / "a.vtt").read_text().rstrip("\n").split("\n\n")
    assert head == "WEBVTT"
    assert note.startswith("NOTE Eye, trained on synthetic (rendered faces)")
    assert cues == [
        "00:00:00.000 --> 00:00:01.000\nanger 80 %",
        "00:00:01.000 --> 00:00:01.500\nno face",
        "00:00:01.500 --> 00:00:02.000\nfear 60 %",
    ]


def test_texts_of_strangers_stay_within_their_subtitle(tmp_path):
    made(names=(HOSTILE, "fear")).save_webvtt(tmp_path / "a.vtt")
    text = (tmp_path / "a.vtt").read_text()
    assert r"a --&gt; &lt;b&gt;&amp;\n 80 %" in text
    assert text.count("-->") == 3


def test_times_count_from_the_beginning_of_the_file(tmp_path):
    """Sound from 0 s on, pictures from 0.5 s on: players count from the sound."""
    late = write_video(tmp_path / "late.mkv", [True] * 4, [0.5, 0.6, 0.7, 0.8], audio=True)
    made(late).save_webvtt(tmp_path / "a.vtt")
    assert "00:00:00.500 --> 00:00:01.500\nanger" in (tmp_path / "a.vtt").read_text()
    made(late).save_elan(tmp_path / "a.eaf")
    slots = ElementTree.parse(tmp_path / "a.eaf").iter("TIME_SLOT")
    assert [int(slot.get("TIME_VALUE")) for slot in slots] == [500, 1500, 2000, 2500]


def test_the_document_of_elan_is_as_its_schema_says(tmp_path):
    """EAFv3.0.xsd: the order of elements, what is required, identifiers that are unique, and references to them."""
    video = write_video(tmp_path / "films" / "ä & b.mp4", [True] * 2)
    (tmp_path / "out").mkdir()
    made(video, names=(HOSTILE, "fear")).save_elan(tmp_path / "out" / "a.eaf")
    root = ElementTree.parse(tmp_path / "out" / "a.eaf").getroot()
    assert (root.tag, root.get("FORMAT"), root.get("VERSION")) == ("ANNOTATION_DOCUMENT", "3.0", "3.0")
    assert re.fullmatch(r"2026-01-02T\d\d:\d\d:\d\d\+00:00", root.get("DATE"))
    assert [child.tag for child in root] == ["HEADER", "TIME_ORDER", "TIER", "TIER", "LINGUISTIC_TYPE"]
    assert [child.tag for child in root[0]] == ["MEDIA_DESCRIPTOR", "PROPERTY", "PROPERTY"]
    assert root[0][0].get("MEDIA_URL") == video.as_uri()
    assert root[0][0].get("RELATIVE_MEDIA_URL") == "./../films/%C3%A4%20%26%20b.mp4"
    assert LABEL.not_validated in root[0][1].text
    slots = {slot.get("TIME_SLOT_ID"): int(slot.get("TIME_VALUE")) for slot in root[1]}
    assert len(slots) == len(root[1]) == 4
    kinds = {kind.get("LINGUISTIC_TYPE_ID") for kind in root.iter("LINGUISTIC_TYPE")}
    found, identifiers = {}, []
    for tier in root.iter("TIER"):
        assert tier.get("LINGUISTIC_TYPE_REF") in kinds
        aligned = [annotation[0] for annotation in tier]
        identifiers += [each.get("ANNOTATION_ID") for each in aligned]
        found[tier.get("TIER_ID")] = [
            (slots[each.get("TIME_SLOT_REF1")], slots[each.get("TIME_SLOT_REF2")], each[0].text) for each in aligned
        ]
    assert len(set(identifiers)) == len(identifiers) == 5
    assert found["expression"] == [(0, 1000, r"a --> <b>&\n"), (1000, 1500, "no face"), (1500, 2000, "fear")]
    assert found["confidence"] == [(0, 1000, "0.800"), (1500, 2000, "0.600")]


def test_pympi_reads_the_document(tmp_path):
    elan = pytest.importorskip("pympi.Elan")
    made().save_elan(tmp_path / "a.eaf")
    document = elan.Eaf(str(tmp_path / "a.eaf"))
    assert document.get_annotation_data_for_tier("expression") == [
        (0, 1000, "anger"), (1000, 1500, "no face"), (1500, 2000, "fear"),
    ]  # fmt: skip


def test_the_dictionary_explains_every_column():
    expected = ["folder", *(name for name in column_names(("CLASS",)))]
    assert [name for name, _, _ in COLUMNS] == expected
    assert all(f"| {name} | {unit} | {meaning} |" in data_dictionary() for name, unit, meaning in COLUMNS)


def recipe(folder: Path, language: str) -> str:
    """Writes the tables of two videos, and returns the recipe from the dictionary beside them.

    The last row of each, anger 0.55, is below the threshold.
    """
    for name in ("a", "b"):
        (folder / name).mkdir()
        found = made(folder / f"{name}.mp4", ("anger", "very-sad"), (*ROWS, [0.55, 0.45]), threshold=0.6)
        found.save_csv(folder / name / "expressions.csv")
        found.save_json(folder / name / "expressions.json")
    write_overview(folder)
    return re.search(rf"```{language}\n(.*?)```", (folder / "columns.md").read_text(), re.DOTALL)[1]


SHARES = {(folder, name): share for folder in "ab" for name, share in (("anger", 2 / 3), ("very-sad", 1 / 3))}
"""By hand: the first for 1 s and the second for 0.5 s of 1.5 s with an expression, in both videos; `unsure` is none."""


def test_the_recipe_for_pandas_runs(tmp_path, monkeypatch):
    pytest.importorskip("pandas")
    names: dict[str, object] = {}
    code = recipe(tmp_path, "python")
    monkeypatch.chdir(tmp_path)
    exec(code, names)
    assert names["shares"].stack().to_dict() == pytest.approx(SHARES)


@pytest.mark.parametrize(
    ("language", "line"), [("r", "known <- rows[is.na(rows$reason), ]"), ("spss", 'SELECT IF reason = " ".')]
)
def test_recipes_keep_rows_without_a_reason(tmp_path, language, line):
    """Only rows with an expression have none; see the columns."""
    assert line in recipe(tmp_path, language).splitlines()


def ran(folder: Path, command: list[str]) -> dict[tuple[str, str], float]:
    """Runs a script that writes `shares.csv`: folder, expression and share, with a header."""
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout + done.stderr
    with (folder / "shares.csv").open(newline="") as file:
        return {(row[0].strip(), row[1].strip()): float(row[2]) for row in list(csv.reader(file))[1:]}


@pytest.mark.skipif(not shutil.which("Rscript"), reason="needs R")
def test_the_recipe_for_r_runs(tmp_path):
    code = recipe(tmp_path, "r")
    (tmp_path / "shares.R").write_text(f'{code}write.csv(as.data.frame(shares), "shares.csv", row.names = FALSE)\n')
    assert ran(tmp_path, ["Rscript", "--vanilla", "shares.R"]) == pytest.approx(SHARES)


@pytest.mark.skipif(not shutil.which("pspp"), reason="needs PSPP, which runs the syntax of SPSS")
def test_the_recipe_for_spss_runs(tmp_path):
    save = 'SAVE TRANSLATE /OUTFILE="shares.csv" /TYPE=CSV /FIELDNAMES /KEEP=folder expression share.'
    (tmp_path / "shares.sps").write_text(f"{recipe(tmp_path, 'spss')}FORMATS share (F10.6).\n{save}\n")
    assert ran(tmp_path, ["pspp", "shares.sps"]) == pytest.approx(SHARES, abs=1e-5)


def test_videos_of_models_with_other_classes_are_in_one_table(tmp_path):
    for name, classes in (("a", ("anger", "fear")), ("b", ("fear", "joy"))):
        (tmp_path / name).mkdir()
        found = made(tmp_path / "same.mp4", classes)
        found.save_csv(tmp_path / name / "expressions.csv")
        found.save_json(tmp_path / name / "expressions.json")
    write_overview(tmp_path)
    header, *rows = (tmp_path / "all-videos.csv").read_text().splitlines()
    assert header == (
        "folder,video,person,time,start,end,expression,confidence,p_anger,p_fear,p_joy,face_share,audio,cut,yaw,"
        "pitch,roll,reason,world"
    )
    assert rows[0] == "a,same.mp4,1,0.250,0.000,0.500,anger,0.90000,0.90000,0.10000,,1.00000,0,0,,,,,rendered faces"
    assert rows[4] == "b,same.mp4,1,0.250,0.000,0.500,fear,0.90000,,0.90000,0.10000,1.00000,0,0,,,,,rendered faces"
