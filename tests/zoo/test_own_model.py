"""The suite's own model of real faces: the file, its card, and what it says of real faces."""

import csv
import hashlib
import os
import re
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from safetensors import safe_open

from data_modules.labels import SEVEN
from data_modules.loading.batch import ClipBatch
from fer_lightning import Recogniser
from fer_lightning.cli.main import main
from fer_lightning.training.loading import load_trained
from fer_lightning.zoo import entries
from fer_lightning.zoo.entries import own_model, zoo
from fer_lightning.zoo.model_file import stated_in

CLIPS, REAL = os.environ.get("FER_TEST_CLIPS", ""), os.environ.get("FER_TEST_REAL", "")
FILE = Path(entries.__file__).with_name("faces.safetensors")
CARD = FILE.with_suffix(".md")


def test_the_file_is_small_and_is_the_one_that_its_card_is_about():
    assert own_model() == FILE
    assert FILE.stat().st_size <= 6_000_000
    card = CARD.read_text()
    entry = zoo()["faces"]
    assert entry.card_location == str(CARD)
    assert hashlib.sha256(FILE.read_bytes()).hexdigest() == entry.sha256 == stated_in(card)
    assert f"licence of the data: {entry.licence}" in card
    assert "`fer predict FILE --checkpoint faces`." in card
    assert "- Began without trained weights." in card
    results = re.findall(r"(WAR|UAR) (0\.\d+ \[.*?\])", entry.results)
    assert [name for name, _ in results] == ["WAR", "UAR"]
    for name, value in results:
        assert re.search(rf"\| {name} \([a-z ]+\) \| {re.escape(value.replace(' ', ' | ', 1))} \|", card)
    with safe_open(FILE, "pt") as file:
        sizes = [file.get_slice(name).get_shape() for name in file.keys()]  # noqa: SIM118
    assert sum(int(np.prod(size)) for size in sizes) < 3_000_000
    for part in ("real faces", "licence of the data", "95 % interval", "WAR (accuracy)", "Each class", "cannot do"):
        assert part in card


def test_another_file_in_its_place_is_refused(monkeypatch, tmp_path):
    monkeypatch.setattr(entries, "ZOO", shutil.copy(entries.ZOO, tmp_path / "zoo.yaml"))
    with pytest.raises(FileNotFoundError, match="missing from this installation"):
        own_model()
    (tmp_path / "faces.safetensors").write_bytes(FILE.read_bytes()[:-1] + b"x")
    with pytest.raises(ValueError, match=f"expected {zoo()['faces'].sha256}"):
        own_model()


def faces_batch(frames: np.ndarray) -> ClipBatch:
    """Clips of one frame each: (N, H, W, 3) RGB."""
    count = len(frames)
    return ClipBatch(
        tuple(map(str, range(count))),
        torch.full((count,), -1),
        torch.ones(count, 1, dtype=torch.bool),
        torch.zeros(count, 1, dtype=torch.int64),
        torch.from_numpy(frames).permute(0, 3, 1, 2)[:, None],
    )


def test_colour_says_nothing_to_it():
    """FER2013 is grey: a picture in colour and the same one in grey are one to the model."""
    model = load_trained(FILE).model.eval()
    colour = np.random.default_rng(0).integers(0, 256, (4, 64, 64, 3), dtype=np.uint8)
    grey = np.repeat(np.stack([cv2.cvtColor(image, cv2.COLOR_RGB2GRAY) for image in colour])[..., None], 3, axis=3)
    with torch.no_grad():
        of_colour, of_grey = (model(faces_batch(each)).logits for each in (colour, grey))
    torch.testing.assert_close(of_colour, of_grey, atol=0.05, rtol=0)


@pytest.mark.skipif(not CLIPS, reason="needs the real clips of FER_TEST_CLIPS")
def test_a_video_needs_no_checkpoint(tmp_path, capsys):
    """In this clip a man is neutral, then smiles."""
    video = Path(CLIPS, "single_face.mp4")
    assert main(["predict", str(video), "--out", str(tmp_path), "--no-video"]) == 0
    with (tmp_path / "single_face" / "expressions.csv").open(newline="") as file:
        rows = [row["expression"] for row in csv.DictReader(file)]
    assert rows[0] == "neutral"
    assert rows[-1] == "happiness"
    assert sorted(rows, reverse=True) == rows, "it changes once"
    said = capsys.readouterr().out
    assert "trained on fer2013 (real faces)" in said
    assert "rendered" not in said
    assert Recogniser().class_names == SEVEN


@pytest.mark.skipif(not REAL, reason="needs FER2013 in FER_TEST_REAL")
def test_it_recognises_the_private_test_images_as_its_card_says():
    """On the images themselves, without the suite's loading: three of the standard errors of 1000 images allowed."""
    data = np.load(Path(REAL, "fer2013", "fer2013.npz"))
    private = np.flatnonzero(data["usage"] == 2)[:1000]
    frames = np.repeat(data["pixels"][private].reshape(-1, 48, 48, 1), 3, axis=3)
    frames = np.stack([cv2.resize(frame, (64, 64), interpolation=cv2.INTER_LINEAR) for frame in frames])
    names = ("anger", "disgust", "fear", "happiness", "sadness", "surprise", "neutral")  # FER2013's order
    model = load_trained(FILE).model.eval()
    with torch.no_grad():
        logits = sum(model(faces_batch(each)).logits.softmax(1) for each in (frames, frames[:, :, ::-1].copy()))
    hits = [names[label] == SEVEN[best] for label, best in zip(data["emotion"][private], logits.argmax(1), strict=True)]
    assert np.mean(hits) == pytest.approx(0.702, abs=0.045)
