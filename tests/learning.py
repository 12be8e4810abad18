"""A task that a small model learns in seconds, by the real trainer."""

import pytorch_lightning as L
from torch.utils.data import DataLoader

from fer_lightning import VideoClassifier
from tests.models import random_batch


def learned_parts(model: VideoClassifier, frames: int) -> set[str]:
    """Trains a model to tell bright clips from dark ones, which it then does; returns the parameters that moved."""
    batch = random_batch(16, frames)
    batch.label.remainder_(2)
    batch.face.floor_divide_(2)
    batch.face[batch.label == 1] += 128
    before = {name: parameter.clone() for name, parameter in model.named_parameters()}
    quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
    trainer = L.Trainer(max_epochs=30, accelerator="cpu", enable_model_summary=False, **quiet)
    trainer.fit(model, DataLoader([batch], batch_size=None))
    assert (model.eval()(batch).logits.argmax(dim=1) == batch.label).all()
    moved = {name for name, parameter in model.named_parameters() if not parameter.equal(before[name])}
    assert moved == {name for name, parameter in model.named_parameters() if parameter.requires_grad}
    return moved
