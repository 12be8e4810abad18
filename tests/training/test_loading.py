"""A trained model out of its checkpoint alone."""

import pickle
import sys

import pytest
import torch

from data_modules.audio.settings import AudioSettings
from data_modules.faces.settings import FaceSettings
from data_modules.labels import SEVEN
from data_modules.sampling import SubvideoSampler
from fer_lightning import CEFLNet, ImageClassifier
from fer_lightning.experiments.lightning_cli import FerCLI
from fer_lightning.experiments.request import ExperimentRequest
from fer_lightning.training.classifier import VideoClassifier
from fer_lightning.training.loading import load_trained
from tests.models import random_batch, small_backbone
from tests.small_runs import TINY


@pytest.fixture
def written(tmp_path, monkeypatch):
    """A run's checkpoint as `fer train` writes it, without the training; and the model in it."""
    arguments = (*TINY, "--model.init_args.eian", "false", "--model.init_args.heads", "2")
    cli = FerCLI(ExperimentRequest("ceflnet_dfew", arguments=arguments).command_line(), run=False)
    cli.model.configuration = cli.plain_config()
    cli.trainer.strategy.connect(cli.model)
    for name, value in cli.model.state_dict().items():
        if "conversion" not in name:  # what pixels the weights take is no weight
            value.add_(0.125 if value.is_floating_point() else 1)
    path = tmp_path / "runs" / "ceflnet_dfew" / "1-0" / "checkpoints" / "best.ckpt"
    cli.trainer.save_checkpoint(path, weights_only=True)
    return path, cli.model.eval()


def test_the_model_comes_back_with_what_it_needs_to_see(written, monkeypatch):
    path, model = written
    monkeypatch.setattr(torch.hub, "load_state_dict_from_url", None)  # nothing is fetched
    trained = load_trained(path.parent.parent)
    assert trained.checkpoint == path
    assert isinstance(trained.model, CEFLNet)
    assert not trained.model.training
    assert trained.model.eian is None
    assert trained.model.sal.heads == 2
    assert trained.class_names == SEVEN
    assert trained.sampler == SubvideoSampler(2, 2)
    assert trained.size == 32
    assert trained.faces == FaceSettings("crop", 32, 0.0, every=1)
    assert trained.audio == AudioSettings()
    batch = random_batch(3, frames=4)
    with torch.no_grad():
        assert torch.equal(trained.model(batch).logits, model(batch).logits)
    assert trained.model.optimizer is None


def test_lightnings_own_way_of_loading_gives_the_same_model(written):
    path, model = written
    loaded = CEFLNet.load_from_checkpoint(path)
    assert not loaded.training
    batch = random_batch(3, frames=4)
    with torch.no_grad():
        assert torch.equal(loaded(batch).logits, model(batch).logits)
    assert isinstance(VideoClassifier.load_from_checkpoint(str(path), strict=True, weights_only=True), CEFLNet)
    with pytest.raises(ValueError, match=r"ImageClassifier"):
        ImageClassifier.load_from_checkpoint(path)
    with pytest.raises(TypeError, match=r"found heads, strict, weights_only; expected the path alone"):
        CEFLNet.load_from_checkpoint(path, strict=False, weights_only=False, heads=4)
    with pytest.raises(FileNotFoundError):
        CEFLNet.load_from_checkpoint(path.with_name("missing.ckpt"))


@pytest.mark.parametrize(
    ("stated", "audio"),
    [
        ({"size": 64, "speech": False}, AudioSettings(size=64, speech=False)),
        (None, AudioSettings()),
        ("", AudioSettings()),
    ],
)
def test_the_settings_of_sound_are_those_of_the_training(written, stated, audio):
    path, _ = written
    content = torch.load(path, weights_only=True)
    data = content["fer_lightning"]["configuration"]["data"]
    data["audio"] = stated
    if stated == "":  # of a checkpoint from before there was audio
        del data["audio"]
    torch.save(content, path)
    assert load_trained(path).audio == audio


def test_pretrained_weights_that_are_gone_are_not_asked_for(written):
    path, _ = written
    content = torch.load(path, weights_only=True)
    content["fer_lightning"]["configuration"]["model"]["init_args"]["backbone"]["init_args"]["weights"] = "run:gone"
    torch.save(content, path)
    load_trained(path)


def test_data_of_other_classes_is_refused(written):
    content = torch.load(written[0], weights_only=True)
    ImageClassifier(SEVEN, small_backbone()).on_load_checkpoint(content)
    others = ImageClassifier(("anger", "contempt", *SEVEN[2:]), small_backbone())  # as many, so that all shapes fit
    with pytest.raises(
        ValueError, match=r"trained on the classes anger, disgust, .*but the data has anger, contempt, "
    ):
        others.on_load_checkpoint(content)


def test_a_checkpoint_of_another_project_is_refused(tmp_path):
    torch.save({"state_dict": {"weight": torch.zeros(2)}, "epoch": 3}, tmp_path / "other.ckpt")
    with pytest.raises(ValueError, match="not written by `fer train`: it holds epoch, state_dict"):
        load_trained(tmp_path / "other.ckpt")


class Malicious:
    def __init__(self, target):
        self.target = str(target)

    def __reduce__(self):
        return open, (self.target, "w")


def test_code_in_a_checkpoint_is_not_run(written, tmp_path):
    path, _ = written
    content = torch.load(path, weights_only=True)
    content["fer_lightning"]["configuration"]["model"]["init_args"]["dropout"] = Malicious(tmp_path / "was_run")
    torch.save(content, path)
    with pytest.raises(ValueError, match="read safely"):
        load_trained(path)
    (tmp_path / "plain.ckpt").write_bytes(pickle.dumps(Malicious(tmp_path / "was_run")))
    with pytest.raises(ValueError, match="read safely"):
        load_trained(tmp_path / "plain.ckpt")
    assert not (tmp_path / "was_run").exists()


@pytest.mark.parametrize(
    "class_path", ["subprocess.Popen", "os.system", "fer_lightning.FrameBackbone", "nothing.There"]
)
def test_a_configuration_can_only_name_models(written, class_path, tmp_path):
    path, _ = written
    content = torch.load(path, weights_only=True)
    content["fer_lightning"]["configuration"]["model"] = {
        "class_path": class_path,
        "init_args": {"args": ["touch", str(tmp_path / "was_run")], "command": f"touch {tmp_path / 'was_run'}"},
    }
    torch.save(content, path)
    with pytest.raises(ValueError, match="configuration"):
        load_trained(path)
    assert not (tmp_path / "was_run").exists()


def test_weights_that_do_not_fit_their_configuration_are_named(written):
    path, _ = written
    content = torch.load(path, weights_only=True)
    content["fer_lightning"]["configuration"]["model"]["init_args"]["sal"] = False
    content["state_dict"] = {f"other.{name}": value for name, value in content["state_dict"].items()}
    torch.save(content, path)
    with pytest.raises(ValueError, match=r"configuration.*Missing key\(s\)") as caught:
        load_trained(path)
    assert len(str(caught.value)) < 1000, "not the names of all tensors"


@pytest.mark.parametrize("place", ["class_path", "backbone", "shorthand", "sampler"])
def test_a_checkpoint_has_no_modules_imported_but_the_suites(written, monkeypatch, place):
    """The module leaves a file where it is imported."""
    path, _ = written
    folder = path.parent / "modules"
    folder.mkdir()
    (folder / "payload.py").write_text(
        "from pathlib import Path\nfrom fer_lightning import CEFLNet\n"
        "Path(__file__).with_name('ran').touch()\nclass Mine(CEFLNet):\n    pass\n"
    )
    monkeypatch.syspath_prepend(folder)
    content = torch.load(path, weights_only=True)
    configuration = content["fer_lightning"]["configuration"]
    if place == "class_path":
        configuration["model"]["class_path"] = "payload.Mine"
    elif place == "backbone":
        configuration["model"]["init_args"]["backbone"]["class_path"] = "payload.Mine"
    elif place == "shorthand":
        configuration["model"]["init_args"]["backbone"] = "payload.Mine"
    else:
        configuration["data"]["sampler"]["class_path"] = "payload.Mine"
    torch.save(content, path)
    with pytest.raises(ValueError, match=r"asks for payload\.Mine.*FER_TRUSTED_MODULES=payload"):
        load_trained(path)
    assert not (folder / "ran").exists()
    monkeypatch.setenv("FER_TRUSTED_MODULES", "other, payload")
    if place == "class_path":
        assert type(load_trained(path).model).__name__ == "Mine"
    else:  # imported, but no class of the kind that is expected
        with pytest.raises(ValueError, match="do not make a model"):
            load_trained(path)
    assert (folder / "ran").exists()
    sys.modules.pop("payload", None)


@pytest.mark.parametrize("content", ["", "a text"])
def test_files_that_are_no_checkpoints_are_refused(tmp_path, content):
    (tmp_path / "x.ckpt").write_text(content)
    with pytest.raises(ValueError, match="cannot be read safely as a checkpoint"):
        load_trained(tmp_path / "x.ckpt")
