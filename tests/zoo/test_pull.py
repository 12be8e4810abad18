"""Models of the Hugging Face Hub: fetched, checked, found in the cache, and refused."""

import shutil
from pathlib import Path

import pytest
import yaml

import fer_lightning
from fer_lightning import Recogniser
from fer_lightning.cli.main import main
from fer_lightning.zoo import entries
from fer_lightning.zoo.lookup import find_model
from tests.hub import COMMIT, hub_here

FACES = Path(fer_lightning.__file__).parent / "zoo" / "faces.safetensors"
SHA256 = entries.zoo()["faces"].sha256


@pytest.fixture
def hub(monkeypatch, tmp_path):
    """A Hub with the suite's own model in a repository."""
    with hub_here(monkeypatch, tmp_path / "cache") as hub:
        hub.files["me/faces"] = {
            "model.safetensors": FACES.read_bytes(),
            "README.md": FACES.with_suffix(".md").read_bytes(),
        }
        yield hub


def test_a_model_is_fetched_once_and_used_from_the_cache(hub, monkeypatch, capsys):
    assert main(["pull", "me/faces"]) == 0
    said = capsys.readouterr().out
    assert "Use it: --checkpoint hf:me/faces" in said
    assert "states no checksum" not in said
    fetched = [path for method, path in hub.asked if method == "GET"]
    assert (
        fetched.count(f"/me/faces/resolve/{COMMIT}/model.safetensors")
        + fetched.count("/me/faces/resolve/main/model.safetensors")
        == 1
    )
    hub.asked.clear()
    assert find_model("hf:me/faces").read_bytes() == FACES.read_bytes()
    assert str(find_model("hf:me/faces")) in said
    assert Recogniser("hf:me/faces").label.sha256 == (SHA256,)
    assert type(fer_lightning.load(f"hf:me/faces@{COMMIT}")).__name__ == "ImageClassifier"
    assert hub.asked == []


def test_what_was_not_fetched_is_not_downloaded_by_the_way(hub, tmp_path, capsys):
    (tmp_path / "a.mp4").touch()
    assert main(["predict", str(tmp_path / "a.mp4"), "--checkpoint", "hf:me/faces"]) == 2
    assert "hf:me/faces is not on this machine; `fer pull hf:me/faces` fetches it" in capsys.readouterr().err
    assert hub.asked == []


def test_another_content_than_the_card_states_is_refused_and_deleted(hub, tmp_path, capsys):
    hub.files["me/faces"]["model.safetensors"] = FACES.read_bytes()[:-1] + b"x"
    assert main(["pull", "me/faces"]) == 2
    assert f"expected {SHA256}: it is damaged or was replaced. It was deleted" in capsys.readouterr().err
    with pytest.raises(FileNotFoundError, match="fer pull"):
        find_model("hf:me/faces")
    assert not any(path.stat().st_size > 1e6 for path in (tmp_path / "cache").rglob("*") if path.is_file())


def test_a_checksum_may_be_named_or_unknown(hub, capsys):
    hub.files["me/faces"]["README.md"] = b"# A card by hand"
    assert main(["pull", "me/faces"]) == 0
    assert "Its card states no checksum" in capsys.readouterr().out
    assert main(["pull", "me/faces", "--sha256", "0" * 64]) == 2
    assert f"expected {'0' * 64}" in capsys.readouterr().err
    assert main(["pull", "me/faces", "--sha256", SHA256]) == 0
    assert "states no checksum" not in capsys.readouterr().out


def test_what_is_no_model_of_this_suite_is_refused(hub, capsys):
    hub.files |= {"a/bert": {"README.md": b"# BERT"}, "a/llama": {"README.md": b"", "model.safetensors": b"x"}}
    for name in hub.files.keys() - {"me/faces"}:
        assert main(["pull", name]) == 2
        said = capsys.readouterr().err
        assert f"{name} is no model of this suite; expected model.safetensors, a file of `fer export`" in said
        with pytest.raises(FileNotFoundError, match="is not on this machine"):
            find_model(f"hf:{name}")


def test_what_the_hub_refuses_is_said(hub, monkeypatch, capsys):
    hub.files["me/terms"], hub.gated = hub.files["me/faces"], {"me/terms"}
    refused = {
        "me/nothing": "there is no model me/nothing on the Hugging Face Hub, or you may not see it",
        "me/terms": "me/terms is for those who accept its terms",
        "me/faces@nowhere": "me/faces has no revision nowhere",
        "me": "no model me; expected OWNER/NAME",
        "facs": "no model facs; did you mean faces?",
    }
    for name, message in refused.items():
        assert main(["pull", name]) == 2
        assert message in capsys.readouterr().err
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert main(["pull", "me/faces"]) == 2
    assert "the Hugging Face Hub cannot be reached for me/faces" in capsys.readouterr().err


def test_a_model_of_the_zoo_may_be_on_the_hub(hub, monkeypatch, tmp_path, capsys):
    values = yaml.safe_load(entries.ZOO.read_text())
    values["far"] = values["faces"] | {"file": "hf:me/faces", "results": "WAR 0.5"}
    values["other"] = values["far"] | {"sha256": "1" * 64}
    monkeypatch.setattr(entries, "ZOO", Path(shutil.copy(entries.ZOO, tmp_path / "zoo.yaml")))
    entries.ZOO.write_text(yaml.safe_dump(values))
    with pytest.raises(FileNotFoundError, match="`fer pull far` fetches it"):
        find_model("far")
    assert main(["pull", "other"]) == 2
    assert f"expected {'1' * 64}" in capsys.readouterr().err
    assert main(["pull", "far"]) == 0
    assert "Use it: --checkpoint far" in capsys.readouterr().out
    assert find_model("far").read_bytes() == FACES.read_bytes()


def test_the_list_says_what_each_model_is(capsys):
    assert main(["pull", "--list"]) == 0
    said = capsys.readouterr().out
    for part in ("faces (comes with the suite)", "WAR 0.702", "for research", str(FACES.with_suffix(".md")), SHA256):
        assert part in said
    assert main(["pull", "faces"]) == 0
    assert f"comes with the suite: {FACES}" in capsys.readouterr().out
    assert main(["pull"]) == 2
    assert "`fer pull --list`" in capsys.readouterr().err
