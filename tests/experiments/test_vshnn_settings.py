"""What the experiments of VSHNN's paper state (Lee et al., 2020), and the overrides that their files document."""

import shlex

import pytest
import torch

from fer_lightning.ensemble.training import resolved
from fer_lightning.experiments import request
from fer_lightning.experiments.lightning_cli import FerCLI
from fer_lightning.experiments.request import ExperimentRequest
from fer_lightning.experiments.system import system_file
from fer_lightning.tables.table import read_table

VIDEO = ("vshnn", "vshnn_ic", "vshnn_ws", "vshnn_lrmf", "vshnn_lrmaf", "cnn_gru", "c3d")
LANDMARKS = ("lmed", "lmed_cf", "lmed_svm", "lmed_cf_svm", "dtgn")
WINDOWS = {"class_path": "data_modules.sampling.ContiguousSampler", "init_args": {"frames": 16, "eval_views": 5}}
SPREAD = {"class_path": "data_modules.sampling.SegmentSampler", "init_args": {"frames": 16, "eval_views": 1}}


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
    own = request.read_yaml(request.data_file("afew"))
    own["init_args"]["faces"]["lengthen"] = 105
    monkeypatch.setattr(request, "read_yaml", lambda path: own)
    assert "--data.dataset.faces.lengthen" not in ExperimentRequest("vshnn_afew").command_line()
    assert config("cnn_lstm")["data"]["dataset"]["init_args"]["faces"]["lengthen"] == 0
