"""Data sets by name, with overrides."""

import yaml
from jsonargparse import ArgumentParser

from data_modules.datasets.dataset import VideoDataset
from fer_lightning.experiments.request import data_file


def build_dataset(name: str, overrides: list[str] | None = None) -> VideoDataset:
    """The data set of `experiments/_data/<name>.yaml`; overrides such as `--dataset.root PATH`."""
    parser = ArgumentParser(prog=f"fer data prepare {name}")
    parser.add_subclass_arguments(VideoDataset, "dataset")
    parser.set_defaults({"dataset": yaml.safe_load(data_file(name).read_text())})
    made: VideoDataset = parser.instantiate_classes(parser.parse_args(overrides or [])).dataset
    return made
