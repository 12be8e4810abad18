"""Every classifier as an ONNX file answers as it does itself: batches of 1 and 8 clips, clips that lack something, and
other numbers of frames where it takes them."""

import importlib.util

import pytest
import torch

from data_modules.labels import SEVEN
from fer_lightning.export import onnx_file
from fer_lightning.training.onnx_classifier import OnnxClassifier
from tests.architectures.test_contract import CASES, batch_for, clips, model_of, of_frames, strange_clips

pytestmark = pytest.mark.skipif(not importlib.util.find_spec("onnxscript"), reason="needs the extra onnx")

QUICK = ("CNNLSTM", "OpenSmileSVM")
"""A network and what is not one; all others are tested at night."""


@pytest.mark.parametrize(
    "name", [pytest.param(each, marks=[] if each in QUICK else pytest.mark.slow) for each in CASES]
)
def test_it_answers_alike_in_onnxruntime(name, tmp_path):
    model, file = model_of(name), tmp_path / "model.onnx"
    onnx_file._program(onnx_file._Graph(model, batch_for(model, clips(2))).eval()).save(file, external_data=False)
    written = OnnxClassifier(SEVEN, str(file), sorted(model.inputs))
    batches = [clips(1, seed=1), clips(8, seed=2), strange_clips()]
    if CASES[name].any_length:
        batches += [of_frames(clips(3, seed=3), slice(0, frames)) for frames in (1, 4)]
    for batch in batches:
        given = batch_for(model, batch)
        with torch.no_grad():
            expected, found = model(given), written(given)
        for values, theirs in ((found.logits, expected.logits), (found.feature, expected.feature)):
            torch.testing.assert_close(values, theirs, atol=1e-4 * (1 + float(theirs.abs().max())), rtol=0)
