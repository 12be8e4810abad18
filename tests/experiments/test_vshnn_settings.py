"""What the experiments of VSHNN's paper state (Lee et al., 2020), and the overrides that their files document."""

import shlex

import pytest
import torch
import yaml

from fer_lightning.ensemble.training import resolved
from fer_lightning.experiments import request
from fer_lightning.experiments.lightning_cli import FerCLI
from fer_lightning.experiments.request import ExperimentRequest, required_runs
from fer_lightning.experiments.shapes import ShapeCheck
from fer_lightning.experiments.system import system_file
from fer_lightning.tables.plan import TableRequest, plan
from fer_lightning.tables.table import read_table

VIDEO = ("vshnn", "vshnn_ic", "vshnn_ws", "vshnn_lrmf", "vshnn_lrmaf", "cnn_gru", "c3d")
LANDMARKS = ("lmed", "lmed_cf", "lmed_svm", "lmed_cf_svm", "dtgn")
WINDOWS = {
    "class_path": "data_modules.sampling.ContiguousSampler",
    "init_args": {"frames": 16, "eval_views": 5, "stride": 1},
}
SPREAD = {
    "class_path": "data_modules.sampling.SegmentSampler",
    "init_args": {"frames": 16, "eval_views": 1, "successive": 1},
}


def config(system, data="afew", *arguments, size=None):
    return resolved(ExperimentRequest(f"{system}_{data}", size=size, arguments=arguments))


def command_line_of(*arguments):
    request = ExperimentRequest("vshnn_ws_afew", size="small", arguments=arguments)
    with torch.device("meta"):
        return FerCLI(request.command_line(), run=False)


def test_a_search_without_an_inner_split_is_refused_before_anything_is_prepared_or_trained():
    """Such as DenseNet-FC, from which it starts, and the features of all clips."""
    with pytest.raises(ValueError, match=r"searches its alpha on the inner split, but with `selection: last`"):
        command_line_of("--data.selection", "last")
    for stated in (("--data.selection", "inner"), ("--data.selection", "best_on_test")):
        assert command_line_of(*stated).model.fusion.searches
    fixed = command_line_of("--data.selection", "last", "--model.init_args.fusion.init_args.alpha", "0.6")
    assert not fixed.model.fusion.searches


def documented(system, option):
    """The arguments on the line of a system's file that names an option."""
    (line,) = (line for line in system_file(system).read_text().splitlines() if f"--{option}" in line)
    return shlex.split(line[line.index("--") :].rstrip(".`"))


@pytest.mark.parametrize("size", ["paper", "small"])
@pytest.mark.parametrize("system", [*VIDEO, *LANDMARKS])
def test_a_clip_is_16_successive_frames(system, size):
    """Section 3.4: it lasts less than a second; section 5.2.4: N is 16 for the landmarks too, as in VSHNN."""
    assert config(system, size=size)["data"]["sampler"] == WINDOWS


@pytest.mark.parametrize("system", ["vshnn", "cnn_gru", "c3d", "lmed", "lmed_svm"])
def test_frames_spread_over_the_clip_are_an_override(system):
    assert config(system, "afew", *documented(system, "data.sampler"))["data"]["sampler"] == SPREAD


@pytest.mark.parametrize("system", ["vshnn_ws", "vshnn_lrmf", "vshnn_lrmaf"])
def test_a_fusion_starts_from_streams_that_are_trained_alone(system):
    """Their shapes are compared before anything is trained, and they have the fold and the seed of the fusion."""
    arguments = documented("vshnn_ws" if system == "vshnn_ws" else "vshnn_lrmf", "model.video_weights")
    found = config(system, "afew", *arguments)
    assert {"vshnn_afew", "lmed_cf_afew"} < set(required_runs(found))
    ShapeCheck().check("mine", found)
    other = config(system, "afew", *arguments, "--model.fusion.width", "128")
    with pytest.raises(ValueError, match=r"run:lmed_cf_afew, .*hidden.0.0.weight .*\(128, 222\) expected"):
        ShapeCheck().check("mine", other)
    other = config(system, "afew", *arguments, "--model.features", "512")
    with pytest.raises(ValueError, match=r"run:vshnn_afew, which do not fit.*\(512, 2048\) expected"):
        ShapeCheck().check("mine", other)


def test_a_run_of_the_same_data_is_of_the_same_fold():
    """Another fold's training clips are this fold's test clips; a run on other data has one fold, and this seed."""
    arguments = ("--model.fusion.weights", "run:lmed_cf_ckplus")
    for fold, seed, expected in [
        ("1", 0, {"lmed_cf_ckplus", "densenet_fc_fer2013"}),
        ("3", 0, {"lmed_cf_ckplus/3-0", "densenet_fc_fer2013"}),
        ("3", 2, {"lmed_cf_ckplus/3-2", "densenet_fc_fer2013/1-2"}),
    ]:
        asked = ExperimentRequest("vshnn_ws_ckplus", fold=fold, seed=seed, arguments=arguments)
        assert set(required_runs(resolved(asked))) == expected


def test_a_run_of_the_same_people_is_of_the_same_fold():
    """The actors of a data set's videos are those of its sound alone; each rendered data set has people of its own."""
    for video in ("ravdess", "cremad"):
        for data, started in ((video, f"{video}_audio"), (f"{video}_audio", video)):
            arguments = ("--model.start_from", f"run:log_mel_cnn_{started}")
            asked = ExperimentRequest(f"log_mel_cnn_{data}", fold="3", name="started", arguments=arguments)
            assert list(required_runs(resolved(asked))) == [f"log_mel_cnn_{started}/3-0"]
    arguments = ("--model.start_from", "run:log_mel_cnn_synthetic_wild")
    asked = ExperimentRequest("log_mel_cnn_synthetic", fold="3", name="started", arguments=arguments)
    assert list(required_runs(resolved(asked))) == ["log_mel_cnn_synthetic_wild"]
    arguments = ("--model.start_from", "run:log_mel_cnn_cremad_audio")
    asked = ExperimentRequest("log_mel_cnn_ravdess", fold="3", name="started", arguments=arguments)
    assert list(required_runs(resolved(asked))) == ["log_mel_cnn_cremad_audio"]


def test_a_rows_variants_of_the_same_people_are_trained_on_every_fold(tmp_path):
    row = {
        "name": "started",
        "system": "log_mel_cnn",
        "arguments": ["--model.start_from", "run:log_mel_cnn_ravdess_audio.a"],
        "requires": [{"experiment": "log_mel_cnn_ravdess_audio", "name": "a"}],
    }
    stated = dict.fromkeys(("title", "paper", "place", "link", "protocol"), "x")
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({**stated, "data": "ravdess", "columns": ["war"], "rows": [row]}))
    (planned,) = plan(TableRequest(str(path), folds=("1", "3")))
    runs = ["/".join(each.run.path.parts[-2:]) for each in planned.required]
    assert runs == ["log_mel_cnn_ravdess_audio.a/1-0", "log_mel_cnn_ravdess_audio.a/3-0"]


def test_a_rows_variants_of_the_same_data_are_trained_on_every_fold(tmp_path):
    """Each before the fusion of its fold; one on other data is trained once for each seed."""
    needed = [("lmed_cf_ckplus", "a"), ("densenet_fc_fer2013", "b")]
    row = {
        "name": "fused",
        "system": "vshnn_ws",
        "arguments": [
            *("--model.fusion.weights", "run:lmed_cf_ckplus.a"),
            *("--model.backbone.weights", "run:densenet_fc_fer2013.b"),
        ],
        "requires": [{"experiment": experiment, "name": name} for experiment, name in needed],
    }
    stated = dict.fromkeys(("title", "paper", "place", "link", "protocol"), "x")
    path = tmp_path / "mine.yaml"
    path.write_text(yaml.safe_dump({**stated, "data": "ckplus", "columns": ["war"], "rows": [row]}))
    (planned,) = plan(TableRequest(str(path), folds=("1", "3"), seeds=(0, 2)))
    runs = {"/".join(each.run.path.parts[-2:]) for each in planned.required}
    assert runs == {
        *(f"lmed_cf_ckplus.a/{fold}-{seed}" for fold in (1, 3) for seed in (0, 2)),
        *(f"densenet_fc_fer2013.b/1-{seed}" for seed in (0, 2)),
    }
    for each in planned.requests:
        assert set(required_runs(resolved(each))) <= {*runs, "lmed_cf_ckplus.a", "densenet_fc_fer2013.b"}


@pytest.mark.parametrize("system", ["cnn_lstm", "c3d_lstm", "ceflnet_c3d"])
def test_networks_of_other_papers_keep_their_own_frames(system):
    assert config(system)["data"]["sampler"]["class_path"] != WINDOWS["class_path"]


@pytest.mark.parametrize(
    ("system", "scaling"),
    [("lmed", "raw"), ("lmed_svm", "raw"), ("lmed_cf", "scaled"), ("lmed_cf_svm", "scaled"), ("dtgn", "scaled")],
)
def test_lmed_cf_is_scaled_and_lmed_is_not(system, scaling):
    """As section 4.1 states it; table 9 compares them."""
    assert config(system)["model"]["init_args"]["descriptor_scaling"] == scaling
    rows = {row.name: row for row in read_table("vshnn_9").rows}
    assert not rows[system].arguments
    assert {rows[name].arguments[1] for name in ("lmed_scaled", "lmed_svm_scaled")} == {"scaled"}


def test_figure_10_has_seven_strengths_of_noise_alike_in_training_and_evaluation():
    table, found = read_table("vshnn_figure10"), []
    for row in table.rows:
        augmentation = config(row.system, table.data, *row.arguments)["data"]["augmentation"]
        assert augmentation["noisy_evaluation"] == (augmentation["landmark_noise"] > 0)
        found.append(augmentation["landmark_noise"])
    assert found == [0, 0.5, 1, 1.5, 2, 2.5, 3]


@pytest.mark.parametrize("system", [*VIDEO, *LANDMARKS])
def test_clips_of_fewer_than_16_frames_are_interpolated(system):
    """Section 3.1. Faces are the data set's otherwise, so that only the store of lengthened clips is another one."""
    stated = {"lengthen": 16, "size": 256, "detector": "mtcnn", "align": "points", "landmarks": "mesh"}
    for data in ("afew", "ckplus", "mmi"):
        faces = config(system, data)["data"]["dataset"]["init_args"]["faces"]
        assert {name: faces[name] for name in stated} == stated


@pytest.mark.parametrize("system", ["vshnn", "lmed_svm"])
def test_interpolation_can_be_turned_off(system):
    (off,) = (line for line in system_file(system).read_text().splitlines() if "lengthen:" in line)
    faces = config(system, "afew", *shlex.split(off[off.index("--") :]))["data"]["dataset"]["init_args"]["faces"]
    assert faces["lengthen"] == 0


def test_a_data_set_that_lengthens_its_clips_keeps_its_own_number(monkeypatch):
    own = request.read_settings(request.data_file("afew"))
    own["init_args"]["faces"]["lengthen"] = 105
    monkeypatch.setattr(request, "read_settings", lambda path: own)
    assert "--data.dataset.faces.lengthen" not in ExperimentRequest("vshnn_afew").command_line()
    assert config("cnn_lstm")["data"]["dataset"]["init_args"]["faces"]["lengthen"] == 0
