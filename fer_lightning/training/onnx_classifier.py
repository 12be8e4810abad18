"""A trained model that runs in onnxruntime, from an ONNX file of `fer export`."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch

from data_modules.faces.onnx_session import onnx_session
from data_modules.loading.batch import ClipBatch
from fer_lightning.evaluation.outputs import ClassifierOutput
from fer_lightning.training.classifier import VideoClassifier

OUTPUTS = ("logits", "feature")
"""The outputs of such a file, in this order; its inputs are fields of `ClipBatch` by their names."""


class OnnxClassifier(VideoClassifier):
    """Predicts with an ONNX file; it cannot be trained.

    Args:
        class_names: emotion names in alphabetical order.
        file: the ONNX file.
        inputs: the fields of `ClipBatch` that the model reads.
    """

    def __init__(self, class_names: Sequence[str], file: str, inputs: Sequence[str]) -> None:
        super().__init__(class_names)
        self.file, self.inputs = Path(file), frozenset(inputs)
        self._sessions: dict[torch.device, Any] = {}

    def forward(self, batch: ClipBatch) -> ClassifierOutput:
        """Computes logits (B, C) and features (B, D), on the device of the batch where onnxruntime supports it."""
        device = batch.mask.device
        if device not in self._sessions:
            self._sessions[device] = onnx_session(self.file, str(device) if device.type == "cuda" else "cpu")
        session = self._sessions[device]
        given = {each.name: getattr(batch, each.name).cpu().numpy() for each in session.get_inputs()}
        logits, feature = (torch.from_numpy(values).to(device) for values in session.run(OUTPUTS, given))
        return ClassifierOutput(logits, feature)
