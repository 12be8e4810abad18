"""Evaluates trained landmark systems under noise on the landmarks, as in figure 10 of VSHNN."""

import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from itertools import groupby
from typing import Any, cast

import numpy as np
import pytorch_lightning as L
import torch
from jsonargparse import ArgumentParser
from matplotlib.figure import Figure
from torch import Tensor

from data_modules.loading.batch import ClipBatch
from data_modules.loading.datamodule import VideoDataModule
from data_modules.loading.transforms import NOISE_CROP
from data_modules.utils.progress import progress
from fer_lightning.evaluation.bootstrap import Intervals, bootstrap
from fer_lightning.evaluation.collect import prediction_table
from fer_lightning.evaluation.metrics import METRICS, WAR, Scores, scores
from fer_lightning.evaluation.outputs import ClipPredictions
from fer_lightning.evaluation.predictions import PredictionTable
from fer_lightning.report.figures.style import FAINT, MARKERS, PALETTE, plain, share_axis, styled
from fer_lightning.runs.folder import RunFolder
from fer_lightning.training.classifier import VideoClassifier
from fer_lightning.training.loading import load_trained
from fer_lightning.training.precision import quiet_lightning


@dataclass(frozen=True)
class Noise:
    """Gaussian noise on all three coordinates of the landmarks."""

    sigma: float  # standard deviation, pixels of a crop of side 224
    seed: int


@dataclass(frozen=True)
class NoisyScore:
    """The scores under one strength of noise, over all folds and draws: a point of the curve."""

    experiment: str
    seed: int  # of the training
    folds: int
    sigma: float  # pixels of a crop of side 224
    draws: int  # seeds of the noise
    clips: int
    scores: Scores  # over the clips of all draws
    intervals: Intervals

    @property
    def row(self) -> dict[str, object]:
        """The row of the table, column -> value, with each metric and the ends of its interval if it has one."""
        columns = [column.name for column in fields(self) if column.name not in ("scores", "intervals")]
        values: dict[str, object] = {name: getattr(self, name) for name in columns}
        for metric in METRICS:
            values[metric.name] = self.scores[metric]
            if metric.has_interval:
                interval = self.intervals[metric]
                values |= {f"{metric.name}_low": interval.low, f"{metric.name}_high": interval.high}
        return values


def measure(runs: Sequence[RunFolder], sigmas: Sequence[float], draws: int, workers: int) -> list[NoisyScore]:
    """Measures the scores at every strength of noise; the folds of an experiment are pooled.

    Raises:
        FileNotFoundError: a run is not finished.
        ValueError: a run's model does not read landmarks.
    """
    infos = [run.read_info() for run in runs]
    noises = [Noise(sigma, seed) for sigma in sigmas for seed in range(draws if sigma else 1)]
    tables = [noisy_tables(run, noises, workers) for run in runs]
    order = sorted(range(len(runs)), key=lambda i: (infos[i].experiment, infos[i].seed))
    points = []
    for (experiment, seed), members in groupby(order, key=lambda i: (infos[i].experiment, infos[i].seed)):
        folds = [tables[i] for i in members]
        for sigma in sigmas:
            drawn = [table for fold in folds for noise, table in fold if noise.sigma == sigma]
            points.append(_score(PredictionTable.concat(drawn), experiment, seed, len(folds), sigma))
    return points


def _score(table: PredictionTable, experiment: str, seed: int, folds: int, sigma: float) -> NoisyScore:
    draws = len(set(table.seed.tolist()))
    clips = len(table) // draws
    return NoisyScore(experiment, seed, folds, sigma, draws, clips, scores(table), bootstrap(table))


def noisy_tables(run: RunFolder, noises: Sequence[Noise], workers: int) -> list[tuple[Noise, PredictionTable]]:
    """Predicts the reported split under each noise; the column `seed` of a table is the seed of its noise.

    Every clip is loaded once for all noises.

    Raises:
        FileNotFoundError: there is no checkpoint or no data.
        ValueError: the model does not read landmarks.
    """
    trained = load_trained(run.path)
    if "landmarks" not in trained.model.inputs:
        inputs = ", ".join(sorted(trained.model.inputs))
        raise ValueError(f"{run.path}: expected a model of landmarks; {type(trained.model).__name__} reads {inputs}")
    data = build_data(run, workers)
    data.inputs = trained.model.inputs
    quiet_lightning()
    trainer = L.Trainer(
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        precision=cast(Any, run.read_info().precision),  # so that the table without noise is the run's own
        devices=1,
    )
    data.prepare_data()
    total = sum(record.split == "test" for record in data.dataset.records())
    with progress(f"{run.path}, each clip {len(noises)} times", total) as advance:
        outputs = trainer.predict(UnderNoise(trained.model, noises, data.size, advance), datamodule=data) or []
        advance(total)  # clips without input are not predicted
    batches = cast(list[list[ClipPredictions]], outputs)
    clips = data.split("test")
    return [
        (noise, prediction_table(clips, [parts[i] for parts in batches], trained.class_names, noise.seed))
        for i, noise in enumerate(noises)
    ]


def build_data(run: RunFolder, workers: int) -> VideoDataModule:
    """Builds the data module that a run's configuration describes, without the noise of its own evaluation."""
    settings = run.read_config()["data"]
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(VideoDataModule, "data")
    data: VideoDataModule = parser.instantiate_classes(parser.parse_object({"data": settings})).data
    data.num_workers = workers
    if data.augmentation is not None:
        data.augmentation = data.augmentation.without_noise()
    return data


class UnderNoise(L.LightningModule):
    """Predicts every batch under several noises.

    Args:
        model: a trained model in evaluation mode.
        noises: the noises to predict under.
        size: side of the crops that the landmarks are in, pixels.
        advance: called with the number of clips that are done.
    """

    def __init__(
        self, model: VideoClassifier, noises: Sequence[Noise], size: int, advance: Callable[[float], None]
    ) -> None:
        super().__init__()
        self.model, self.noises, self.size, self.advance = model, noises, size, advance
        self.done = 0

    def predict_step(self, batch: ClipBatch, batch_idx: int) -> list[ClipPredictions]:
        """Predicts a batch under each noise."""
        predictions = [
            self.model.predict_clips(add_noise(batch, noise, self.size))[0].to("cpu") for noise in self.noises
        ]
        self.done += len(predictions[0].clip_id)
        self.advance(self.done)
        return predictions


def add_noise(batch: ClipBatch, noise: Noise, size: int = NOISE_CROP) -> ClipBatch:
    """Returns the batch with noise on its landmarks.

    The noise depends only on its seed, the clip and the sampled frames: every system sees the same noise, and a larger
    sigma scales it. A frame that is sampled twice has the same noise both times, since its landmarks were found once.
    """
    if batch.landmarks is None or not noise.sigma:
        return batch
    drawn = [_draw(noise.seed, clip, frames) for clip, frames in zip(batch.clip_id, batch.frame_index, strict=True)]
    scale = noise.sigma * size / NOISE_CROP
    return replace(batch, landmarks=batch.landmarks + scale * torch.stack(drawn).to(batch.landmarks))


def _draw(seed: int, clip_id: str, frames: Tensor) -> Tensor:
    """Draws (T, 68, 3) standard normal values, the same for equal frames."""
    unique, place = np.unique(frames.cpu().numpy(), return_inverse=True)
    generator = np.random.default_rng([seed, zlib.crc32(clip_id.encode())])
    return torch.from_numpy(generator.standard_normal((len(unique), 68, 3))[place])


@styled
def noise_figure(points: Sequence[NoisyScore]) -> Figure:
    """Draws the recognition rate against the noise, a curve with its interval for each experiment."""
    groups = groupby(points, key=lambda score: (score.experiment, score.seed))
    curves = [(names, list(group)) for names, group in groups]
    figure = Figure(figsize=(5.4, 3.4 + 0.2 * len(curves)), layout="constrained")
    axes = figure.add_subplot()
    for number, ((experiment, seed), curve) in enumerate(curves):
        colour, marker = PALETTE[number % len(PALETTE)], MARKERS[number % len(MARKERS)]
        sigma, war = [score.sigma for score in curve], [score.scores[WAR] for score in curve]
        label = f"{plain(experiment)}, seed {seed} (N = {curve[0].clips})"
        axes.plot(sigma, war, color=colour, marker=marker, markersize=4, linewidth=1.4, label=label)
        band = [score.intervals[WAR] for score in curve]
        low, high = [interval.low for interval in band], [interval.high for interval in band]
        axes.fill_between(sigma, low, high, color=colour, alpha=0.15, linewidth=0)
    share_axis(axes, "share of correct clips (WAR)")
    axes.set_xlabel(f"standard deviation of the noise, pixels of a crop of {NOISE_CROP}")
    axes.set_title(f"mean of {max(score.draws for score in points)} draws; bands: 95 %, bootstrap")
    axes.grid(axis="x", color=FAINT)
    figure.legend(loc="outside lower center")  # inside the axes it would hide curves
    return figure
