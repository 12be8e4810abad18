"""`fer test`: Lightning's command, or a trained model on another data set's reported split, by class names."""

import argparse
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pytorch_lightning as L

from data_modules.labels import class_list
from data_modules.loading.clip_dataset import Clip
from data_modules.loading.datamodule import VideoDataModule
from fer_lightning.cli import fit
from fer_lightning.evaluation.collect import prediction_table
from fer_lightning.evaluation.outputs import ClipPredictions
from fer_lightning.evaluation.predictions import PredictionTable
from fer_lightning.experiments.datasets import build_dataset
from fer_lightning.experiments.request import data_names
from fer_lightning.report.summary import summary_line
from fer_lightning.training.loading import TrainedModel, load_trained
from fer_lightning.training.precision import fastest_precision, quiet_lightning


@dataclass(frozen=True)
class ClassMapping:
    """How the class names of data become those of a model."""

    renamed: dict[str, str]  # data's name -> model's name, as the user says
    model: tuple[str, ...]
    data: tuple[str, ...]

    def name(self, emotion: str) -> str | None:
        """The model's name for an emotion of the data; None where the model does not know it."""
        name = self.renamed.get(emotion, emotion)
        return name if name in self.model else None

    @property
    def common(self) -> tuple[str, ...]:
        """The classes that both know, under the model's names."""
        return class_list(name for name in map(self.name, self.data) if name is not None)

    def clip(self, clip: Clip) -> Clip | None:
        """A clip of the data under the model's name; None where the model does not know its class."""
        name = self.name(clip.record.emotion)
        return None if name is None else replace(clip, record=replace(clip.record, emotion=name))

    def predictions(self, part: ClipPredictions) -> ClipPredictions:
        """(M, C) probabilities over the model's classes -> over the common ones.

        What the model gives to classes that the data does not have is shared among the others in proportion.
        """
        known = part.probabilities[:, [self.model.index(name) for name in self.common]].clamp_min(1e-12)
        return replace(part, probabilities=known / known.sum(dim=1, keepdim=True))


def main(arguments: list[str]) -> None:
    """Writes the prediction table and prints the metrics; without `--checkpoint`, Lightning's own command runs."""
    if not any(argument.split("=")[0] == "--checkpoint" for argument in arguments):
        return fit.main(arguments)
    parser = argparse.ArgumentParser(
        "fer test", description="A trained model on another data set's reported split, matched by class names."
    )
    parser.add_argument("--checkpoint", type=Path, required=True, metavar="RUN", help="folder of a run, or checkpoint")
    parser.add_argument("--data", required=True, help=f"one of {', '.join(data_names())}")
    parser.add_argument("--fold", default="1", help="of the data set's protocol (1)")
    parser.add_argument("--classes", nargs="*", default=[], metavar="DATA=MODEL", help="such as calm=neutral")
    parser.add_argument("--workers", type=int, default=2, help="processes that load (2)")
    parser.add_argument("--out", type=Path, help="the table (RUN/on/NAME-FOLD.csv)")
    known = parser.parse_args(arguments[1:])
    trained = load_trained(known.checkpoint)
    data = VideoDataModule(
        build_dataset(known.data, ["--dataset.fold", known.fold]),
        trained.sampler,
        size=trained.size,
        augmentation=trained.augmentation,
        selection="last",
        num_workers=known.workers,
        audio=trained.audio,
    )
    data.inputs = trained.model.inputs
    mapping = ClassMapping(parse_renaming(known.classes), trained.class_names, data.class_names)
    table = evaluate(trained, data, mapping)
    out = known.out or run_of(trained.checkpoint) / "on" / f"{known.data}-{known.fold}.csv"
    table.write(out)
    print(f"classes: {', '.join(mapping.common)}")
    left_out = len(data.split("test")) - len(table)
    if left_out:
        unknown = [name for name in data.class_names if mapping.name(name) is None]
        print(f"left out: {left_out} clips of {', '.join(unknown)}, which the model does not know")
    print(summary_line(table))
    print(f"prediction table: {out}")
    return None


def evaluate(trained: TrainedModel, data: VideoDataModule, mapping: ClassMapping) -> PredictionTable:
    """The model's predictions for every clip of the reported split whose class it knows, over the common classes.

    Raises:
        ValueError: model and data have less than two classes in common.
    """
    if len(mapping.common) < 2:
        raise ValueError(
            f"the model knows {', '.join(mapping.model)}, the data {', '.join(mapping.data)}: less than two in common; "
            "say which are the same with --classes DATA=MODEL"
        )
    quiet_lightning()
    trainer = L.Trainer(logger=False, enable_checkpointing=False, precision=fastest_precision(), devices=1)
    made = trainer.predict(trained.model, datamodule=data) or []
    parts = [mapping.predictions(part) for part in made if isinstance(part, ClipPredictions)]
    clips = [clip for clip in map(mapping.clip, data.split("test")) if clip is not None]
    return prediction_table(clips, parts, mapping.common, data.seed)


def parse_renaming(pairs: Sequence[str]) -> dict[str, str]:
    """`calm=neutral` -> {"calm": "neutral"}.

    Raises:
        ValueError: a pair is no pair.
    """
    for pair in pairs:
        if pair.count("=") != 1:
            raise ValueError(f"--classes {pair}: expected DATA=MODEL, such as calm=neutral")
    return dict(pair.split("=") for pair in pairs)


def run_of(checkpoint: Path) -> Path:
    """The run's folder of a checkpoint in `checkpoints/`, else the checkpoint's own."""
    return checkpoint.parent.parent if checkpoint.parent.name == "checkpoints" else checkpoint.parent
