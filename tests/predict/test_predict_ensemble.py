"""`fer predict` with ensembles: the members' answers, put together as in tables; what is refused, and what is said."""

import json
import shutil
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from data_modules.audio.settings import AUDIO_RATE
from data_modules.faces.settings import FaceSettings
from data_modules.store.clip_file import ClipSummary, FaceFrame
from data_modules.store.clip_store import ClipStore
from fer_lightning.cli.main import main
from fer_lightning.ensemble import JointLateFusion, result, trained
from fer_lightning.ensemble.trained import load_run
from fer_lightning.evaluation.answers import Answers
from fer_lightning.evaluation.calibration import Calibration
from fer_lightning.evaluation.calibration_file import write_calibration
from fer_lightning.evaluation.outputs import ClassifierOutput
from fer_lightning.evaluation.predictions import PredictionTable
from fer_lightning.predict.ensemble_classifier import make_classifier
from fer_lightning.predict.faces import VideoFaces
from fer_lightning.predict.settings import NEITHER
from fer_lightning.predict.shared_faces import shared_face_settings
from fer_lightning.predict.timeline import plan_rows
from fer_lightning.runs.ensemble_record import Record
from fer_lightning.runs.folder import RunFolder
from fer_lightning.training.classifier import VideoClassifier
from fer_lightning.training.loading import load_trained
from tests.ensemble.test_ensemble import made_run, made_table
from tests.predict.test_predict import SquareFinder, fer_predict, table
from tests.predict.test_predict_sound import FPS, pictures, silence, tone
from tests.videos import write_video

CLASSES = ("anger", "fear")
CPU = torch.device("cpu")


class Bright(VideoClassifier):
    """Anger in bright crops, fear in dark ones, as much as its sharpness says."""

    inputs = frozenset({"face"})

    def __init__(self, class_names: Sequence[str], sharpness: float = 1.0) -> None:
        super().__init__(class_names)
        self.sharpness = sharpness

    def forward(self, batch):
        brightness = (batch.face / 255 - 0.45).mean((1, 2, 3, 4)) / 0.23
        return ClassifierOutput(self.sharpness * torch.stack([brightness, -brightness], 1), brightness[:, None])


class Low(VideoClassifier):
    """Anger where low sounds are louder, else fear."""

    inputs = frozenset({"spectrogram"})

    def forward(self, batch):
        grey = (batch.spectrogram[:, 0] / 255 - 0.45) / 0.23
        low, high = grey[:, 32:].mean((1, 2)), grey[:, :32].mean((1, 2))
        return ClassifierOutput(2 * torch.stack([low, high], 1), low[:, None])


class Pointed(VideoClassifier):
    """Looks at landmarks and persons."""

    inputs = frozenset({"landmarks", "person"})

    def forward(self, batch):
        raise NotImplementedError


def write_run(root: Path, name: str, kind=Bright, names=CLASSES, seed=0, size=32, faces=None, **arguments) -> str:
    """A run with the checkpoint of a tiny model, and tables that are made up."""
    strength = 0.5 + seed
    tables = {split: made_table(split, strength, seed, names=names) for split in ("test", "inner")}
    run = Path(made_run(root, name, seed=seed, test=tables["test"], inner=tables["inner"]))
    faces = {"detector": "annotation", "size": 48, "every": 1, "audio": False} | (faces or {})
    sampler = {"class_path": "data_modules.sampling.SegmentSampler", "init_args": {"frames": 2}}
    data = {"dataset": {"init_args": {"faces": faces}}, "sampler": sampler, "size": size, "augmentation": None}
    data["audio"] = {"reduce_noise": False, "speech": False, "size": 64}
    model = {"class_path": f"{__name__}.{kind.__name__}", "init_args": arguments}
    own = {"class_names": list(names), "configuration": {"model": model, "data": data}}
    state = kind(names, **arguments).state_dict()
    path = run / "checkpoints" / "last.ckpt"
    path.parent.mkdir(parents=True)
    torch.save({"state_dict": state, "epoch": 0, "global_step": 0, "fer_lightning": own}, path)
    return str(run)


@pytest.fixture(autouse=True)
def fast(monkeypatch):
    """A detector that knows where the faces are, and no reports."""
    monkeypatch.setattr("data_modules.faces.models.make_detector", lambda name, device: SquareFinder())
    monkeypatch.setattr(result, "write_report", lambda run: run.report)


@pytest.fixture
def members(tmp_path) -> list[str]:
    """Two that look, at crops of two sizes, and one that hears."""
    return [
        write_run(tmp_path, "soft", seed=1),
        write_run(tmp_path, "sharp", seed=2, size=16, sharpness=4.0),
        write_run(tmp_path, "low", Low, seed=3, faces={"margin": 0.9}),
    ]


def fuse(*arguments: object, out: Path) -> str:
    assert main(["ensemble", *map(str, arguments), "--out", str(out)]) == 0
    return str(out)


@pytest.fixture
def video(tmp_path) -> VideoFaces:
    """Eight seconds: faces that darken in the first five, audio from 2.2 to 7 that is low and then high."""
    audio = np.concatenate([silence(2.2), tone(2.8, 500), tone(2.0, 6000), silence(1)])
    with ClipStore(tmp_path / "store").writing("a") as writer:
        for index in range(50):
            crop = np.full((48, 48, 3), 250 - 5 * index, np.uint8)
            writer.add(FaceFrame(index, crop, np.zeros(4, np.float32), 0.9))
        writer.add_audio(np.round(audio * 32767).astype(np.int16))
        writer.finish(ClipSummary("a", 80, 0), np.arange(80) / FPS)
    return VideoFaces(ClipStore(tmp_path / "store").open("a"))


def any_video(folder: Path) -> str:
    """A file that is there, for errors about the checkpoint."""
    (folder / "a.mp4").touch()
    return str(folder / "a.mp4")


ROWS = plan_rows(np.arange(80) / FPS, 8.0, window=1.0, hop=0.5)


def alone(run: str, faces: VideoFaces) -> np.ndarray:
    return make_classifier(load_trained(Path(run)), CPU).predict(faces, ROWS, lambda done: None).probabilities


def together(run: str, faces: VideoFaces) -> np.ndarray:
    return make_classifier(load_run(Path(run)), CPU).predict(faces, ROWS, lambda done: None).probabilities


def plain_sum(predictions: list[np.ndarray], weights: list[float]) -> np.ndarray:
    """Row by row; whoever says nothing is left out, and the weights of the others scaled up."""
    found = np.full_like(predictions[0], np.nan)
    for row in range(len(found)):
        valid = [(p[row], w) for p, w in zip(predictions, weights, strict=True) if w and not np.isnan(p[row]).any()]
        if valid:
            found[row] = sum(w * p for p, w in valid) / sum(w for _, w in valid)
    return found


# What an ensemble says


@pytest.mark.parametrize(
    ("arguments", "weights"),
    [
        ((), [1, 1, 1]),
        (("--weights", 0.5, 0.2, 0.3), [5, 2, 3]),
        (("--weights", 0, 2, 2), [0, 1, 1]),
        (("--method", "weighted"), None),
        (("--method", "best", "--max-models", 2), None),
    ],
)
def test_each_row_is_the_weighted_sum_of_its_members(tmp_path, members, video, arguments, weights):
    run = fuse(*members, *arguments, out=tmp_path / "both" / "1-0")
    weights = weights or [part.weight for part in Record.read(RunFolder(Path(run))).members]
    predictions = [alone(member, video) for member in members]
    assert min(float(np.ptp(p[~np.isnan(p)])) for p in predictions) > 0.1
    valid = [np.flatnonzero(~np.isnan(p[:, 0])).tolist() for p in predictions]
    assert valid == [list(range(10)), list(range(10)), list(range(3, 15))]
    found = together(run, video)
    np.testing.assert_allclose(found, plain_sum(predictions, weights), atol=1e-12)
    assert np.isnan(found[-1]).all()


def test_joint_late_fusion_is_kept_with_the_ensemble(tmp_path, members, video, capsys):
    out = tmp_path / "joint" / "1-0"
    run = fuse(*members, "--groups", "low,2/soft", out=out)
    names = [Path(member).parent.name for member in members]
    tables = [PredictionTable.read(RunFolder(Path(member)).predictions("inner")) for member in members]
    searched = {name: each.probabilities for name, each in zip(names, tables, strict=True)}
    fusion = JointLateFusion([["low", "sharp"], ["soft"]], 2).fit(searched, tables[0].label)
    predictions = {name: alone(member, video) for name, member in zip(names, members, strict=True)}
    expected = fusion.predict(predictions)
    np.testing.assert_array_equal(together(run, video), expected)
    assert np.nanmax(np.abs(expected - plain_sum(list(predictions.values()), [1, 1, 1]))) > 0.01

    kept, content = out / "ensemble.safetensors", (out / "ensemble.safetensors").read_bytes()
    kept.write_bytes(b"no tensors")
    with pytest.raises(ValueError, match=r"ensemble\.safetensors cannot be read safely as a checkpoint"):
        load_run(out)
    JointLateFusion([["a"], ["b"]], 7).write(kept)
    with pytest.raises(ValueError, match="does not fit 2 groups of models with 2 classes"):
        load_run(out)
    kept.unlink()
    assert main(["predict", any_video(tmp_path), "--checkpoint", run, "--out", str(tmp_path / "out")]) == 2
    output = capsys.readouterr().err
    assert f"{kept} is missing" in output
    assert f"delete {out} and make the ensemble again" in output
    kept.write_bytes(content)
    np.testing.assert_array_equal(together(run, video), expected)
    assert load_file(kept)["joint.weight"].dtype == torch.float64
    fuse(*members, out=out)
    assert not kept.exists(), "an average has no network"


def test_members_may_be_ensembles(tmp_path, members, video):
    inner = fuse(*members[1:], "--weights", 0.25, 0.75, out=tmp_path / "runs" / "inner" / "1-0")
    outer = fuse(members[0], inner, "--weights", 0.4, 0.6, out=tmp_path / "runs" / "outer" / "1-0")
    soft, sharp, low = (alone(member, video) for member in members)
    expected = plain_sum([soft, plain_sum([sharp, low], [0.25, 0.75])], [0.4, 0.6])
    np.testing.assert_allclose(together(outer, video), expected, atol=1e-12)
    found = load_run(Path(outer))
    assert [model.model.__class__ for model in found.models] == [Bright, Bright, Low]
    assert make_classifier(found, CPU).facts.shares == "soft 0.4, inner 0.6 (sharp 0.25, low 0.75)"


def test_of_several_people_members_that_hear_speak_where_the_face_is(tmp_path, members, video):
    """The face is in rows 0 to 9; audio, which those after them have too, is in rows 3 to 14."""
    run = fuse(*members, out=tmp_path / "all" / "1-0")
    several = VideoFaces(video.clip, several=True)
    assert np.flatnonzero(np.isfinite(alone(members[2], several)[:, 0])).tolist() == list(range(3, 10))
    found, expected = together(run, several), together(run, video)
    np.testing.assert_array_equal(found[:10], expected[:10])
    assert np.isnan(found[10:]).all()
    assert np.isfinite(expected[10:15]).all()


def test_progress_grows_to_all_rows(tmp_path, members, video):
    run, reached = fuse(*members, out=tmp_path / "both" / "1-0"), []
    make_classifier(load_run(Path(run)), CPU).predict(video, ROWS, reached.append)
    assert reached == sorted(reached)
    assert len(reached) == 10 + 10 + 12
    assert 0 < reached[0] < reached[-1] <= len(ROWS.start)


# The command


def test_a_video_through_the_command(tmp_path, members, monkeypatch, capsys):
    """Faces in the first half, audio from 2.2 s on: each is looked for once, each model loaded once."""
    audio = np.concatenate([silence(2.2), tone(3.6, 800), silence(2.2)])
    first = write_video(tmp_path / "some.mp4", pictures([True] * 40 + [False] * 40), FPS, audio=audio)
    mute = write_video(tmp_path / "mute.mp4", pictures([True] * 20), FPS)
    run = fuse(*members, "--weights", 0.5, 0.25, 0.25, out=tmp_path / "both" / "1-0")
    arguments = ("--hop", 1, "--window", 1, "--no-video", "--every", 1)
    for member in members:
        out = tmp_path / Path(member).parent.name
        assert fer_predict(first, mute, "--checkpoint", member, "--out", out, *arguments) == 0
    looked, read = [], []
    detect = SquareFinder.detect
    monkeypatch.setattr(SquareFinder, "detect", lambda self, frames: looked.extend(frames) or detect(self, frames))
    monkeypatch.setattr(trained, "load_trained", lambda *given: read.append(given) or load_trained(*given))
    capsys.readouterr()
    assert fer_predict(first, mute, "--checkpoint", tmp_path / "both", "--out", tmp_path / "all", *arguments) == 0
    output = capsys.readouterr().out
    assert len(looked) == 80 + 20
    assert sorted(weights for _, weights in read) == [False] * 3 + [True] * 3, "first the settings, then the weights"

    rows = table(tmp_path / "all" / "some")
    parts = [table(tmp_path / name / "some") for name in ("soft", "sharp", "low")]
    shares = np.array([[[float(row[f"p_{c}"] or "nan") for c in CLASSES] for row in part] for part in [rows, *parts]])
    np.testing.assert_allclose(shares[0], plain_sum(list(shares[1:]), [2, 1, 1]), atol=2e-5)
    assert [row["expression"] for row in rows][-2:] == [NEITHER] * 2
    assert np.isfinite(shares[0, :6]).all()

    content = json.loads((tmp_path / "all" / "some" / "expressions.json").read_text())
    settings = content["settings"]
    assert (settings["checkpoint"], settings["model"]) == (run, "weighted sum, weights as given")
    assert settings["inputs"] == ["face", "spectrogram"]
    recorded = [(part["name"], part["weight"], part["facts"]["model"]) for part in settings["members"]]
    assert recorded == [("soft", 0.5, "Bright"), ("sharp", 0.25, "Bright"), ("low", 0.25, "Low")]
    assert settings["members"][2]["facts"]["checkpoint"] == f"{members[2]}/checkpoints/last.ckpt"
    silent = [{"member": "soft", "rows": 2}, {"member": "sharp", "rows": 2}, {"member": "low", "rows": 2}]
    assert content["left_out"] == silent

    assert f"Ensemble {run}, weighted sum, weights as given: soft 0.5, sharp 0.25, low 0.25." in output
    some, mute_output = output.split("[2 of 2]")
    assert "sharp has no say in 2 of 6 rows. low has no say in 2 of 6 rows." in some
    assert "It has no audio: expressions are of its faces alone. " in mute_output
    assert "low has no say in 2 of 2 rows." in mute_output
    assert "no audio" not in some


def test_an_ensemble_has_a_temperature_of_its_own(tmp_path, members):
    """That of its members, who are fused without theirs, does not count."""
    mute = write_video(tmp_path / "mute.mp4", pictures([True] * 20), FPS)
    run = RunFolder(Path(fuse(*members, out=tmp_path / "both" / "1-0")))
    answers = Answers(np.full(40, 0.9), np.ones(40, np.bool_))
    write_calibration(Calibration(CLASSES, 0, 9.0, "", answers), {}, RunFolder(Path(members[0])))
    shares = []
    for name, temperature in (("plain", None), ("calibrated", 0.5)):
        if temperature:
            write_calibration(Calibration(CLASSES, -1, temperature, "", answers), {}, run)
        arguments = ("--checkpoint", run.path, "--out", tmp_path / name, "--no-video")
        assert fer_predict(mute, *arguments) == 0
        shares.append([[float(row[f"p_{c}"]) for c in CLASSES] for row in table(tmp_path / name / "mute")])
    squares = np.square(shares[0])  # the temperature 1 / 2
    np.testing.assert_allclose(shares[1], squares / squares.sum(axis=1, keepdims=True), atol=5e-5)


# What is refused


def test_members_that_are_gone_or_moved(tmp_path, members, video, capsys, monkeypatch):
    run = fuse(*members, "--weights", 1, 1, 0, out=tmp_path / "runs" / "both" / "1-0")
    expected = together(run, video)
    shutil.rmtree(members[2])
    np.testing.assert_array_equal(together(run, video), expected)  # what has no weight is not asked for
    (tmp_path / "runs").rename(tmp_path / "elsewhere")
    moved = tmp_path / "elsewhere" / "both" / "1-0"
    np.testing.assert_array_equal(together(str(moved), video), expected)
    shutil.rmtree(tmp_path / "elsewhere" / "sharp" / "1-0" / "checkpoints")
    assert main(["predict", any_video(tmp_path), "--checkpoint", str(moved), "--out", str(tmp_path / "out")]) == 2
    assert f"{moved}, member sharp: no checkpoint in" in capsys.readouterr().err
    shutil.rmtree(tmp_path / "elsewhere" / "sharp")
    assert main(["predict", any_video(tmp_path), "--checkpoint", str(moved), "--out", str(tmp_path / "out")]) == 2
    output = capsys.readouterr().err
    assert f"whose member sharp is missing: looked for its run in {members[1]} and in" in output
    assert "restore the folder or train the member again" in output
    assert "Traceback" not in output
    assert not (tmp_path / "out").exists()


def test_members_of_other_classes(tmp_path, members):
    run = fuse(*members[:2], out=tmp_path / "both" / "1-0")
    shutil.rmtree(members[1])
    write_run(tmp_path, "sharp", names=("anger", "joy"))
    with pytest.raises(ValueError, match="its member sharp has the classes anger, joy, soft anger, fear"):
        load_run(Path(run))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("{", "is damaged"),
        ({"parts": []}, "members with a say: none"),
        ({"weight": -1.0}, "numbers from 0 up"),
        ({"weight": "much"}, "is damaged"),
        ({"weight": None}, "expected one for each of"),
        ({"name": "low"}, "members with a say: low, low"),
        ({"run": "ITSELF"}, "makes the ensemble a part of itself"),
    ],
)
def test_damaged_ensembles_are_refused(tmp_path, members, change, message):
    out = tmp_path / "both" / "1-0"
    path = Path(fuse(members[0], members[2], out=out)) / "ensemble.json"
    if isinstance(change, str):
        path.write_text(change)
    else:
        content = json.loads(path.read_text())
        content["parts"][0] |= {key: str(out) if value == "ITSELF" else value for key, value in change.items()}
        path.write_text(json.dumps(content | ({"parts": []} if "parts" in change else {})))
    with pytest.raises(ValueError, match=message):
        load_run(out)


def test_commands_that_take_one_model_say_so(tmp_path, members, capsys):
    run = fuse(*members[:2], out=tmp_path / "both" / "1-0")
    for command in (["test", "--checkpoint", run, "--data", "synthetic"], ["noise", run]):
        assert main(command) == 2
        output = capsys.readouterr().err
        assert f"{run} is an ensemble, which has no checkpoint" in output
        assert members[1] in output


# The faces that members share


def models_of(*runs: str):
    return [load_trained(Path(run)) for run in runs]


def test_faces_are_cut_once_as_large_as_any_member_wants_them(members):
    soft, sharp, low = models_of(*members)
    larger = replace(sharp, faces=replace(sharp.faces, size=64))
    assert shared_face_settings([soft, larger, low], "insightface", 2) == FaceSettings("insightface", 64, every=2)
    assert shared_face_settings([low, soft], "mtcnn", 4) == FaceSettings("mtcnn", 48, every=4), (
        "a margin of 0.9 is not seen"
    )
    assert shared_face_settings([low], "mtcnn", 4) == FaceSettings("mtcnn", 48, margin=0.9, every=4)


def test_landmarks_and_persons_are_found_for_who_looks_at_them(tmp_path, members):
    truth = {"landmarks": "annotation", "person": "annotation"}
    (looks,) = models_of(write_run(tmp_path, "points", Pointed, faces=truth))
    (only_has,) = models_of(write_run(tmp_path, "has", faces=truth))
    found = shared_face_settings([*models_of(members[0]), looks], "mtcnn", 4)
    assert (found.landmarks, found.person) == ("mesh", "insightface")
    assert shared_face_settings([only_has], "mtcnn", 4) == FaceSettings("mtcnn", 48, every=4)
    other = replace(looks, faces=replace(looks.faces, landmarks="insightface"))
    with pytest.raises(ValueError, match=r"faces\.landmarks is mesh in .*points.* and insightface in"):
        shared_face_settings([looks, other], "mtcnn", 4)


@pytest.mark.parametrize(("name", "value"), [("margin", 0.4), ("align", "eyes"), ("max_gap", 3)])
def test_faces_that_cannot_be_shared_are_refused(tmp_path, members, name, value, capsys):
    other = write_run(tmp_path, "other", seed=4, faces={name: value})
    run = fuse(members[0], other, out=tmp_path / "both" / "1-0")
    assert main(["predict", any_video(tmp_path), "--checkpoint", run, "--out", str(tmp_path / "out")]) == 2
    output = capsys.readouterr().err
    assert (
        f"faces.{name} is {getattr(FaceSettings(), name)} in {members[0]}/checkpoints/last.ckpt and {value}" in output
    )
    assert "predict with each of them alone" in output


def test_settings_that_prediction_makes_its_own_may_differ(tmp_path, members):
    faces = {"detector": "mtcnn", "every": 8, "jitter": 0.05, "lengthen": 16, "audio": True}
    (other,) = models_of(write_run(tmp_path, "other", faces=faces))
    assert shared_face_settings([other, *models_of(members[0])], "mtcnn", 4) == FaceSettings("mtcnn", 48, every=4)


def test_sound_rate_of_the_made_video(video):
    assert video.clip.summary.audio == pytest.approx(8.0)
    assert len(video.audio(0, 8)) == 8 * AUDIO_RATE
