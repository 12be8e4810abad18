"""Data sets by the name of their file."""

from argparse import ArgumentError
from collections.abc import Mapping
from typing import Any

import yaml
from jsonargparse import ArgumentParser

from data_modules.datasets.dataset import VideoDataset
from fer_lightning.experiments.misspelt import suggested
from fer_lightning.experiments.system import data_file


def build_dataset(name: str, overrides: list[str] | None = None) -> VideoDataset:
    """Builds the data set that `experiments/data/<name>.yaml` configures.

    Args:
        name: the file's name, without `.yaml`.
        overrides: options that override the file, such as `["--dataset.root", "PATH"]`.

    Raises:
        FileNotFoundError: no data set has that name; the message suggests similar ones.
        ValueError: an option does not exist or does not fit; the message suggests similar ones.
    """
    parser = ArgumentParser(prog=f"fer data prepare {name}", exit_on_error=False, allow_abbrev=False)
    parser.add_subclass_arguments(VideoDataset, "dataset")
    parser.set_defaults({"dataset": yaml.safe_load(data_file(name).read_text())})
    try:
        options = parser.parse_args(overrides or [])
    except ArgumentError as error:
        raise ValueError(suggested(error, parser)) from error
    dataset: VideoDataset = parser.instantiate_classes(options).dataset
    return dataset


def dataset_of(settings: Mapping[str, Any]) -> VideoDataset | None:
    """Builds the data set that a run's configuration describes; nothing is read from it.

    Args:
        settings: `class_path`, of this suite, and `init_args`.

    Returns:
        The data set; None if its class has other arguments today.
    """
    parser = ArgumentParser(exit_on_error=False)
    parser.add_subclass_arguments(VideoDataset, "dataset")
    try:
        dataset: VideoDataset = parser.instantiate_classes(parser.parse_object({"dataset": dict(settings)})).dataset
    except (ArgumentError, TypeError, ValueError):
        return None
    return dataset
