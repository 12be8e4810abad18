"""What `fer push` sends, against a small Hub on this machine, and the way back with `fer pull`."""

import hashlib
import shutil
from pathlib import Path

import pytest
import torch
import yaml

import fer_lightning
from fer_lightning.cli.main import main
from fer_lightning.training.loading import load_trained
from fer_lightning.zoo.lookup import find_model
from tests.hub import TOKEN, hub_here
from tests.models import random_batch


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A Hub without repositories, and somebody who is logged in."""
    with hub_here(monkeypatch, tmp_path / "cache") as hub:
        monkeypatch.setenv("HF_TOKEN", TOKEN)
        yield hub


def sent(hub):
    """Methods and paths of what was sent, without the check of the card's head."""
    return [path for method, path in hub.asked if method == "POST" and path != "/api/validate-yaml"]


def test_the_model_and_its_card_are_sent_and_come_back(exported, hub, tmp_path, capsys):
    file = exported[1]
    run = shutil.copytree(exported[0], tmp_path / "run")
    (run / "notes.txt").write_text("not to be sent")
    assert main(["push", str(run), "me/tiny-faces"]) == 0
    said = capsys.readouterr().out
    assert f"sent: {hub.address}/me/tiny-faces/commit/" in said
    assert sent(hub) == [
        "/api/repos/create",
        "/api/models/me/tiny-faces/preupload/main",
        "/api/models/me/tiny-faces/commit/main",
    ]
    files = hub.files["me/tiny-faces"]
    assert set(files) == {"README.md", "model.safetensors"}
    assert files["model.safetensors"] == file.read_bytes()
    assert hub.private == {"me/tiny-faces": True}

    _, head, card = files["README.md"].decode().split("---\n", 2)
    assert yaml.safe_load(head) == {
        "library_name": "fer_lightning",
        "pipeline_tag": "video-classification",
        "license": "other",
        "tags": ["facial-expression-recognition", "ImageClassifier"],
    }
    exported_card = file.with_suffix(".md").read_text().splitlines()
    assert card.splitlines()[3:] == exported_card[3:], "title and use name the repository, all else is the same"
    assert card.startswith("# tiny-faces\n\n`ImageClassifier` with")
    assert "`fer pull hf:me/tiny-faces`, then `fer predict FILE --checkpoint hf:me/tiny-faces`." in card
    assert "Trained on fer2013, real faces; licence of the data: of the Kaggle competition" in card
    assert hashlib.sha256(file.read_bytes()).hexdigest() in card

    assert main(["pull", "me/tiny-faces"]) == 0
    batch = random_batch(2, frames=1, size=64)
    with torch.no_grad():
        found, expected = fer_lightning.load("hf:me/tiny-faces")(batch), load_trained(file).model(batch)
    torch.testing.assert_close(found.logits, expected.logits)
    assert find_model("hf:me/tiny-faces").is_relative_to(Path(capsys.readouterr().out.split()[1]).parent)


def test_options_are_passed_on(exported, hub):
    run, file = exported
    assert main(["push", str(run), "me/open", "--public", "--full"]) == 0
    assert hub.private == {"me/open": False}
    assert len(hub.files["me/open"]["model.safetensors"]) > 1.5 * file.stat().st_size


def test_nothing_is_sent_where_it_cannot_be(exported, hub, monkeypatch, tmp_path, capsys):
    run, _ = exported
    shutil.copytree(run, tmp_path / "unfinished", ignore=shutil.ignore_patterns("run.json"))
    refused = {
        (str(tmp_path / "unfinished"), "me/faces"): "the run is not evaluated yet",
        ("nowhere", "me/faces"): "no run or checkpoint nowhere",
        (str(run), "faces"): "faces: expected OWNER/NAME",
    }
    for arguments, message in refused.items():
        assert main(["push", *arguments]) == 2
        assert message in capsys.readouterr().err
    monkeypatch.delenv("HF_TOKEN")
    assert main(["push", str(run), "me/faces"]) == 2
    assert "no token of the Hugging Face Hub is known, so nothing can be sent to me/faces" in capsys.readouterr().err
    assert hub.asked == []
    assert hub.files == {}


def test_a_token_that_may_not_write_and_a_missing_connection_are_said(exported, hub, monkeypatch, capsys):
    run, _ = exported
    monkeypatch.setenv("HF_TOKEN", "hf_another")
    assert main(["push", str(run), "me/faces"]) == 2
    assert "the Hugging Face Hub answers 401 for me/faces: log in with a token" in capsys.readouterr().err
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert main(["push", str(run), "me/faces"]) == 2
    assert "the Hugging Face Hub cannot be reached for me/faces" in capsys.readouterr().err
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "http://127.0.0.1:9")  # nobody listens there
    assert main(["push", str(run), "me/faces"]) == 2
    assert "the Hugging Face Hub cannot be reached for me/faces (ConnectError)" in capsys.readouterr().err
    assert hub.files == {}
