"""`fer data`: what there is, and making it ready."""

import argparse
import os

import yaml
from jsonargparse import ArgumentParser

from data_modules.datasets.dataset import DatasetNotFoundError, VideoDataset
from data_modules.faces import prepare_faces
from fer_lightning.experiments import data_file, data_names


def main(arguments: list[str]) -> None:
    """`fer data list` and `fer data prepare NAME`."""
    parser = argparse.ArgumentParser("fer data", description="What data sets there are, and making them ready.")
    commands = parser.add_subparsers(dest="command", required=True)
    commands.add_parser("list", help="all data sets: classes, licence, and whether they are here")
    prepare = commands.add_parser("prepare", help="render or check a data set, and crop its faces; resumable")
    prepare.add_argument("name", help=", ".join(data_names()))
    prepare.add_argument("--workers", type=int, default=os.cpu_count() or 1, help="processes (all cores)")
    known, others = parser.parse_known_args(arguments[1:])
    if known.command == "list":
        for name in data_names():
            print(describe(name, dataset_of(name)))
    else:
        prepare_faces(dataset_of(known.name, others), known.workers)


def dataset_of(name: str, overrides: list[str] | None = None) -> VideoDataset:
    """The data set of `experiments/_data/<name>.yaml`; overrides such as `--dataset.root PATH`."""
    parser = ArgumentParser(prog=f"fer data prepare {name}")
    parser.add_subclass_arguments(VideoDataset, "dataset")
    parser.set_defaults({"dataset": yaml.safe_load(data_file(name).read_text())})
    made: VideoDataset = parser.instantiate_classes(parser.parse_args(overrides or [])).dataset
    return made


def describe(name: str, dataset: VideoDataset) -> str:
    """One line of the list."""
    try:
        found = f"{len(dataset.records())} clips in {dataset.folder}"
    except DatasetNotFoundError:
        found = f"not in {dataset.folder}; {dataset.how_to_get}"
    return f"  {name:<18} {len(dataset.class_names)} classes, {dataset.licence}; {found}"
