"""Writes a trained model to an ONNX file that `fer predict --checkpoint` reads, and compares the two."""

import json
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import fields, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from data_modules.loading.batch import AUDIO_INPUTS, MODALITIES, WITHOUT_FRAMES, ClipBatch
from data_modules.utils.files import atomic_file
from data_modules.utils.messages import first_line
from fer_lightning.export.model_file import entry_of
from fer_lightning.training.loading import TrainedModel, load_trained
from fer_lightning.training.onnx_classifier import OUTPUTS, OnnxClassifier
from fer_lightning.training.random_batch import random_batch
from fer_lightning.weights import ENTRY

TOLERANCE = 1e-4  # of logits, absolute and relative
CLIPS = (1, 8)  # of the batches that are compared
FURTHER_FRAMES = 3


class _Graph(nn.Module):
    """A model as a function of tensors: the fields of a batch that it may read."""

    def __init__(self, model: nn.Module, batch: ClipBatch) -> None:
        super().__init__()
        self.model, self.batch = model, batch
        left_out = ("label", "frame_index")
        self.given = {
            field.name: value
            for field in fields(batch)
            if isinstance(value := getattr(batch, field.name), Tensor) and field.name not in left_out
        }

    def forward(self, *tensors: Tensor) -> tuple[Tensor, Tensor]:
        """Returns logits and features."""
        given: dict[str, Any] = dict(zip(self.given, tensors, strict=True))
        output = self.model(replace(self.batch, **given))
        return output.logits, output.feature


def write_onnx_file(run: Path, path: Path) -> bool:
    """Writes the model of a run, the settings of its input and its class names to one ONNX file.

    The file is compared with the model on noise, in batches of 1 and 8 clips, before it takes its name.

    Args:
        run: a run's folder, or a checkpoint.
        path: the file, `.onnx`.

    Returns:
        Whether it also takes other numbers of frames than the model's sampler gives.

    Raises:
        FileNotFoundError: there is no checkpoint.
        ValueError: a package is missing, the checkpoint cannot be used, a part of the model has no equal in ONNX, or
            the file answers otherwise than the model.
    """
    if find_spec("onnxscript") is None:
        raise ValueError("writing ONNX files needs the package onnxscript: pip install 'fer_lightning[onnx]'")
    trained = load_trained(run)
    frames = trained.sampler.num_clips * trained.sampler.frames
    try:
        program = _program(_Graph(trained.model.eval(), example(trained, 2, frames)).eval())
    except Exception as error:  # the exporter has no common class of errors
        raise ValueError(
            f"{type(trained.model).__name__} cannot be written as ONNX: {first_line(_first_cause(error))}; write "
            ".safetensors instead, which every model can be"
        ) from error
    program.model.metadata_props[ENTRY] = json.dumps(entry_of(run) | {"inputs": sorted(trained.model.inputs)})
    with atomic_file(path) as temporary:
        program.save(temporary, external_data=False)
        written = OnnxClassifier(trained.class_names, str(temporary), sorted(trained.model.inputs))
        for clips in CLIPS:
            found = difference(written, trained.model, example(trained, clips, frames))
            if not found <= 1:
                raise ValueError(
                    f"{type(trained.model).__name__} as ONNX differs from the model by {found:.1f} times what is "
                    f"allowed ({TOLERANCE}) in a batch of {clips}; write .safetensors instead"
                )
        return _takes(written, trained, frames + FURTHER_FRAMES)


def _program(graph: _Graph) -> Any:
    """Returns the ONNX program of a graph whose batches, and frames where the model allows it, have any number."""
    shapes = tuple(
        {axis: torch.export.Dim.DYNAMIC if axis == 0 else torch.export.Dim.AUTO for axis in range(_free_axes(name))}
        for name in graph.given
    )
    with warnings.catch_warnings(), torch.no_grad(), _without_fast_attention():
        warnings.simplefilter("ignore")  # the exporter's own, about names of axes
        return torch.onnx.export(
            graph,
            tuple(graph.given.values()),
            dynamo=True,
            verbose=False,
            input_names=list(graph.given),
            output_names=OUTPUTS,
            dynamic_shapes=(shapes,),
        )


@contextmanager
def _without_fast_attention() -> Iterator[None]:
    """Keeps PyTorch's transformers from their fused kernels, which have no equal in ONNX."""
    enabled = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(enabled)


def _first_cause(error: Exception) -> Exception:
    """Returns the error that all others follow from: the exporter's last one says only at which step it stopped."""
    return _first_cause(error.__cause__) if isinstance(error.__cause__, Exception) else error


def _free_axes(name: str) -> int:
    """Returns how many of a field's first axes have any length: clips, and frames or windows of audio."""
    return 1 if name in WITHOUT_FRAMES and name != "log_mel" else 2


def example(trained: TrainedModel, clips: int, frames: int) -> ClipBatch:
    """Returns a batch of noise as the model takes it.

    Raises:
        ValueError: the model reads something of which no noise is made.
    """
    inputs = trained.model.inputs
    batch = random_batch(inputs, clips, frames, trained.size, audio=trained.audio)
    if not inputs & AUDIO_INPUTS:
        return batch
    return replace(batch, present=torch.ones(clips, len(MODALITIES), dtype=torch.bool))


def difference(written: OnnxClassifier, model: nn.Module, batch: ClipBatch) -> float:
    """Returns the largest difference of the logits, as a multiple of what is allowed; not a number counts as infinite.

    It is a fraction of `TOLERANCE` where logits are small, and of their size where they are large.
    """
    with torch.inference_mode():
        found, expected = written(batch).logits, model(batch).logits
    excess = ((found - expected).abs() / (TOLERANCE * (1 + expected.abs()))).max()
    return float(excess.nan_to_num(nan=float("inf")))


def _takes(written: OnnxClassifier, trained: TrainedModel, frames: int) -> bool:
    """Whether the file answers as the model does for another number of frames."""
    try:
        return difference(written, trained.model, example(trained, 2, frames)) <= 1
    except Exception:  # of onnxruntime or of the model, to which such a batch is none
        return False
