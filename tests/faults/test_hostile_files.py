"""Files made by somebody who means harm: names, YAML, checkpoints, weights and manifests."""

import csv
import io
import json
import shutil
import struct
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
import torch

from fer_lightning.experiments.request import ExperimentRequest
from tests.faults.commands import Ended, fer, make_faces, predict, prepare_own
from tests.faults.corpus import numbered
from tests.small_runs import experiment
from tests.videos import write_video

NAMES = {
    "html": "<img src=x onerror=alert(1)>.mp4",
    "script": "<script>alert(1)<script>.mp4",
    "formula": "=1+1.mp4",
    "call": "@SUM(1).mp4",
    "newline": "new\nline.mp4",
    "return": "re\rturn.mp4",
    "title": "esc\x1b]0;owned\x07\x1b[31m.mp4",
    "direction": "rtl\u202egpj.mp4",
    "separator": "line\u2028break.mp4",
    "markup": "[bold red]x.mp4",
    "template": "{{7*7}}.mp4",
    "cdata": "]]>&amp;.mp4",
    "quotes": "quote\"'`.mp4",
    "broken": "bad\x1b[2J.mp4",
}
"""What a name tries -> the name of a clip; the last is no video, so that it is named in messages."""


@pytest.fixture(scope="module")
def named(tmp_path_factory, run) -> tuple[Path, dict[str, Ended]]:
    """What the commands print about clips of these names, and where they write."""
    folder = tmp_path_factory.mktemp("hostile")
    clips = folder / "own" / "anger"
    clips.mkdir(parents=True)
    good = write_video(folder / "good.mp4", numbered(3))
    for name in NAMES.values():
        shutil.copy(good, clips / name)
    (clips / NAMES["broken"]).write_text("no video \x1b[31m")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FER_STORE", str(folder / "store"))
        doctor = ("data", "doctor", "own", "--root", folder / "own", "--workers", 0, "--dataset.made_folds", 2)
        ended = {
            "prepare": prepare_own(folder / "own"),
            "faces": make_faces(clips, folder / "faces"),
            "predict": predict(clips, run, folder / "predicted", "--no-video"),
            "doctor": fer(*doctor),
        }
    return folder, ended


@pytest.mark.parametrize("command", ["prepare", "faces", "predict", "doctor"])
def test_no_name_reaches_the_terminal_as_it_is(named, command):
    ended = named[1][command]
    assert ended.status == {"prepare": 0, "faces": 1, "predict": 1, "doctor": 1}[command]
    for text in (ended.out, ended.err):
        assert not [each for each in text if not (each.isprintable() or each == "\n")]
        assert "new\nline" not in text
    assert r"bad\x1b[2J" in ended.out


def test_no_cell_of_a_table_is_a_formula_or_controls_a_terminal(named):
    folder, _ = named
    tables = [path for part in ("store", "predicted") for path in (folder / part).rglob("*.csv")]
    assert len(tables) > len(NAMES)
    for path in tables:
        if path.name == "index.csv":  # read by the suite alone
            continue
        for row in csv.reader(io.StringIO(path.read_text())):
            for value in row:
                assert not value.startswith(("=", "@")), (path, value)
                assert value.isprintable(), (path, value)


def test_pages_and_annotations_show_names_as_text(named):
    folder, _ = named
    pages = list((folder / "predicted").rglob("*.html"))
    assert len(pages) == len(NAMES)  # of each that was predicted, and of all
    for path in pages:
        text = path.read_text()
        assert "<img src=x" not in text
        assert "<script>alert" not in text
        assert "Content-Security-Policy" in text
        assert not [each for each in text if not (each.isprintable() or each in "\n\t\u00a0")], path
    for path in (folder / "predicted").rglob("*.eaf"):
        ET.fromstring(path.read_bytes())
    paths = [json.loads(path.read_text())["video"]["path"] for path in (folder / "predicted").rglob("expressions.json")]
    assert {Path(path).name for path in paths} == set(NAMES.values()) - {NAMES["broken"]}, "programs get exact names"


def tag(target: Path) -> str:
    return f'!!python/object/apply:os.system ["touch {target}"]\n'


@pytest.mark.parametrize("place", ["option", "system", "run"])
def test_tags_in_yaml_run_nothing(tmp_path, monkeypatch, place):
    target = tmp_path / "was_run"
    if place == "option":
        (tmp_path / "own.yaml").write_text(f"model: {tag(target)}")
        said = expect_one_message("fit", "--config", tmp_path / "own.yaml")
    elif place == "system":
        for name in ("base", "systems/mine", "data/made"):
            file = tmp_path / "experiments" / f"{name}.yaml"
            file.parent.mkdir(exist_ok=True, parents=True)
            file.write_text(f"model: {tag(target)}")
        monkeypatch.chdir(tmp_path)
        said = expect_one_message("train", "mine_made")
    else:
        begun = ExperimentRequest("ceflnet_dfew").run
        begun.checkpoints.mkdir(parents=True)
        (begun.checkpoints / "last.ckpt").touch()
        begun.config.write_text(f"data: {tag(target)}")
        said = expect_one_message(*experiment())
    assert "yaml" in said
    assert not target.exists()


def expect_one_message(*arguments: object) -> str:
    ended = fer(*arguments)
    assert ended.status == 2
    assert "Traceback" not in ended.err
    return ended.err


def changed_checkpoint(run: Path, folder: Path, *keys: str, value: object) -> Path:
    """A copy of a run's checkpoint in which one setting has another value."""
    content = torch.load(run / "checkpoints" / "last.ckpt", weights_only=True)
    place = content["fer_lightning"]["configuration"]
    for key in keys[:-1]:
        place = place[key]
    place[keys[-1]] = value
    torch.save(content, folder / "changed.ckpt")
    return folder / "changed.ckpt"


@pytest.mark.parametrize(
    ("keys", "value", "said"),
    [
        (("model", "class_path"), "subprocess.Popen", "asks for subprocess.Popen"),
        (("data", "sampler", "class_path"), "os.system", "asks for os.system"),
        (("data", "sampler", "init_args", "frames"), 10_000_000, "more than 10000 frames"),
        (("data", "size"), 1_000_000, "pictures of 1000000 pixels"),
        (("data", "dataset", "init_args", "faces", "size"), 1_000_000, "pictures of 1000000 pixels"),
    ],
)
def test_what_a_checkpoint_must_not_ask_for_is_named(tmp_path, run, keys, value, said):
    video = write_video(tmp_path / "a.mp4", numbered(3))
    checkpoint = changed_checkpoint(run, tmp_path, *keys, value=value)
    ended = predict(video, checkpoint, tmp_path / "out")
    assert ended.status == 2
    assert said in ended.err
    assert str(checkpoint) in ended.err
    assert not (tmp_path / "out").exists()


def header(size: int, content: object) -> bytes:
    return struct.pack("<Q", size) + json.dumps(content).encode() + bytes(64)


def entry(start: int, stop: int, *shape: int) -> dict[str, object]:
    return {"weight": {"dtype": "F32", "shape": shape, "data_offsets": [start, stop]}}


LYING = {
    "length": header(1 << 62, {}),
    "beyond": header(80, entry(0, 1 << 40, 1 << 38)),
    "backwards": header(80, entry(64, 0, 16)),
    "shape": header(80, entry(0, 64, 1 << 20, 1 << 20)),
    "no JSON": struct.pack("<Q", 8) + b"\xff" * 72,
    "not a table": header(2, []),
}


@pytest.mark.parametrize("lie", LYING)
def test_weights_with_a_lying_header_are_one_message(tmp_path, lie):
    (tmp_path / "lying.safetensors").write_bytes(LYING[lie])
    video = write_video(tmp_path / "a.mp4", numbered(3))
    ended = predict(video, tmp_path / "lying.safetensors", tmp_path / "out")
    assert ended.status == 2
    assert "lying.safetensors cannot be read safely" in ended.err


@pytest.mark.parametrize(
    "row",
    [
        "a,../secret.mp4,anger",
        "a,/etc/passwd,anger",
        "../a,a.mp4,anger",
        "a,C:\\secret.mp4,anger",
        "a,b\\..\\..\\c.mp4,anger",
    ],
)
def test_a_manifest_that_leaves_its_root_is_refused(tmp_path, row):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "manifest.csv").write_text(f"clip_id,path,emotion\n{row}\n")
    ended = prepare_own(tmp_path / "own")
    assert ended.status == 2
    assert "points outside the data set" in ended.err
    assert not list(tmp_path.rglob("*.safetensors"))
