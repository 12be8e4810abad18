"""Writes a run's model as a repository of the Hugging Face Hub: the model's file, and its card as the README."""

from pathlib import Path

import yaml

from data_modules.utils.files import atomic_write
from fer_lightning.experiments.request import data_class
from fer_lightning.export.card import model_card
from fer_lightning.export.model_file import write_model_file
from fer_lightning.runs.folder import RunFolder, RunInfo
from fer_lightning.zoo.hub import CARD, MODEL, HubModel


def write_repository(run: RunFolder, folder: Path, model: HubModel, half: bool = True) -> None:
    """Writes the two files of a model's repository.

    Args:
        run: the finished run.
        folder: takes the files.
        model: the repository, by whose name the card calls the model.
        half: whether large parameters are stored with 16 bits.

    Raises:
        FileNotFoundError: the run is not finished, or has no checkpoint.
        ValueError: the run is an ensemble, or its checkpoint cannot be used.
    """
    write_model_file(run.path, folder / MODEL, half)
    card = model_card(run, folder / MODEL, model.name)
    atomic_write(folder / CARD, f"---\n{_facts(run.read_info())}---\n{card}".encode())


def _facts(info: RunInfo) -> str:
    """Returns what the Hub reads of a card, as YAML: https://huggingface.co/docs/hub/model-cards#model-card-metadata."""
    seen = "video" if data_class(info.dataset).has_pictures else "audio"
    facts = {
        "library_name": "fer_lightning",
        "pipeline_tag": f"{seen}-classification",
        "license": "other",  # none that the Hub knows: the card says whose the data are
        "tags": ["facial-expression-recognition" if seen == "video" else "speech-emotion-recognition", info.model],
    }
    return yaml.safe_dump(facts, sort_keys=False)
