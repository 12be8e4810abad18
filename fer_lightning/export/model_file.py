"""Writes a trained model to one file that `fer predict --checkpoint` reads, of safetensors or of PyTorch."""

import json
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save
from torch import Tensor

from data_modules.utils.files import atomic_file, atomic_write
from fer_lightning.evaluation.calibration_file import NAME as CALIBRATION
from fer_lightning.evaluation.calibration_file import read_calibration
from fer_lightning.report.model_label import facts_of_run
from fer_lightning.runs.folder import RunFolder, run_folder
from fer_lightning.training.loading import load_trained
from fer_lightning.training.rebuilding import without_training
from fer_lightning.weights import ENTRY, checkpoint_of, read_checkpoint, tensors_in

TORCH = ".pt"
DATA_SETTINGS = ("sampler", "size", "augmentation", "audio")  # with the faces, all that prediction needs to know
SMALL = 1000  # numbers in a tensor whose precision costs no space
ROUNDING = 1e-3  # of a tensor's norm [our choice]: twice what rounding to 16 bits changes in numbers of its range


def write_model_file(run: Path, path: Path, half: bool = True) -> None:
    """Writes the model of a run, the settings of its input and its class names to one file.

    Args:
        run: a run's folder, or a checkpoint.
        path: the file, `.safetensors`, or `.pt` for one that `torch.load(path, weights_only=True)` reads.
        half: whether large parameters are stored with 16 bits. Prediction computes with 32 bits, or with what the
            device is fastest with, all the same. The file is loaded as the checkpoint is, so that nothing but this
            rounding tells the two apart; parameters outside the range of 16 bits keep 32.

    Raises:
        FileNotFoundError: there is no checkpoint.
        ValueError: the checkpoint cannot be used.
    """
    model = load_trained(run).model  # refuses what cannot be used
    halved = {name for name, _ in model.named_parameters(remove_duplicate=False)} if half else set()
    checkpoint = checkpoint_of(run)
    content = read_checkpoint(checkpoint)
    tensors = {name: _stored(tensor, name in halved) for name, tensor in tensors_in(content, checkpoint).items()}
    entry = entry_of(run, content)
    if path.suffix == TORCH:
        with atomic_file(path) as temporary:
            torch.save({"state_dict": tensors, ENTRY: entry, "epoch": entry["epoch"]}, temporary)
    else:
        atomic_write(path, save(tensors, {ENTRY: json.dumps(entry)}))


def entry_of(run: Path, content: dict[str, object] | None = None) -> dict[str, Any]:
    """Returns what a file says of its model: class names, settings of model and input, facts, calibration.

    Args:
        run: a run's folder, or a checkpoint.
        content: of its checkpoint, if it was read before.

    Raises:
        FileNotFoundError: there is no checkpoint.
        ValueError: a file of the run is damaged.
    """
    checkpoint = checkpoint_of(run)
    content = read_checkpoint(checkpoint) if content is None else content
    own: Any = content[ENTRY]
    folder = run_folder(checkpoint)
    calibration = folder / CALIBRATION
    calibrated = calibration.is_file() and read_calibration(calibration).epoch == content["epoch"]
    return {
        "class_names": own["class_names"],
        "configuration": _input_settings(own["configuration"]),
        "epoch": content["epoch"],
        "facts": asdict(facts_of_run(RunFolder(folder), int(str(content["epoch"])))),
        "calibration": calibration.read_text() if calibrated else "",
    }


def _stored(tensor: Tensor, half: bool) -> Tensor:
    """Returns a contiguous tensor, with 16 bits if it is to be halved, is large, and these hold its numbers."""
    if half and tensor.dtype == torch.float32 and tensor.numel() > SMALL:
        rounded = tensor.half()
        if (rounded.float() - tensor).norm() <= ROUNDING * tensor.norm():  # not for numbers above 65504, or tiny ones
            tensor = rounded
    return tensor.contiguous()


def _input_settings(configuration: dict[str, Any]) -> dict[str, Any]:
    """Returns a run's settings of the model and its input, without those of the training and without paths."""
    data = configuration["data"]
    dataset = {
        "class_path": data["dataset"]["class_path"],
        "init_args": {"faces": data["dataset"]["init_args"]["faces"]},
    }
    kept = {name: data[name] for name in DATA_SETTINGS if name in data}
    return {"model": without_training(configuration["model"], ()), "data": {"dataset": dataset, **kept}}
