"""`fer noise RUN...`: trained landmark systems when the points are found less exactly (VSHNN, figure 10)."""

import argparse
import zlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass, fields, replace
from itertools import groupby
from pathlib import Path
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
from data_modules.utils.csv_tables import write_csv
from data_modules.utils.files import atomic_write
from data_modules.utils.progress import progress
from fer_lightning.evaluation.bootstrap import Intervals, bootstrap
from fer_lightning.evaluation.collect import prediction_table
from fer_lightning.evaluation.metrics import HEADLINE, METRICS, WAR, Scores, scores
from fer_lightning.evaluation.outputs import ClipPredictions
from fer_lightning.evaluation.predictions import PredictionTable
from fer_lightning.report.figures.style import FAINT, MARKERS, PALETTE, plain, png, share_axis, styled
from fer_lightning.runs.folder import RunFolder
from fer_lightning.training.classifier import VideoClassifier
from fer_lightning.training.loading import load_trained
from fer_lightning.training.precision import quiet_lightning

SIGMAS = (0.0, 0.5, 1.0, 1.5, 2.0, 2.5, 3.0)


@dataclass(frozen=True)
class Noise:
    """Gaussian noise on all three coordinates of the points."""

    sigma: float  # pixels of a crop of side 224
    seed: int


@dataclass(frozen=True)
class NoisyScore:
    """Recognition under one strength of noise, over all folds and draws; a point of the curve."""

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
        """Column -> value of its row in the table: each metric, and the ends of its interval where it has one."""
        columns = [column.name for column in fields(self) if column.name not in ("scores", "intervals")]
        values: dict[str, object] = {name: getattr(self, name) for name in columns}
        for metric in METRICS:
            values[metric.name] = self.scores[metric]
            if metric.has_interval:
                interval = self.intervals[metric]
                values |= {f"{metric.name}_low": interval.low, f"{metric.name}_high": interval.high}
        return values


def main(arguments: list[str]) -> None:
    """Writes the curve as a table and as a figure."""
    parser = argparse.ArgumentParser("fer noise", description=__doc__)
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="such as runs/lmed_cf_synthetic/1-0")
    parser.add_argument("--sigmas", nargs="+", type=float, default=SIGMAS, help="pixels of a crop of 224 (0 to 3)")
    parser.add_argument("--draws", type=int, default=5, help="how often noise is drawn (5)")
    parser.add_argument("--workers", type=int, default=2, help="processes that load (2)")
    parser.add_argument("--out", type=Path, help="folder of the table and the figure (beside the first run)")
    known = parser.parse_args(arguments[1:])
    if known.draws < 1 or min(known.sigmas) < 0:
        raise ValueError(f"--draws {known.draws} --sigmas {known.sigmas}: expected draws from 1 and sigmas from 0 on")
    found = measure([RunFolder(path) for path in known.runs], sorted(set(known.sigmas)), known.draws, known.workers)
    out = known.out or known.runs[0].absolute().parent / "noise"
    rows = [score.row for score in found]
    write_csv(out / "noise.csv", list(rows[0]), (row.values() for row in rows))
    atomic_write(out / "noise.png", png(noise_figure(found)))
    for score in found:
        values = "  ".join(
            f"{metric.short} {score.scores.written(metric)} {score.intervals[metric].written(metric)}"
            for metric in HEADLINE
        )
        run = f"{score.experiment} ({score.seed})  sigma {score.sigma:g}"
        print(f"{run}  {values}  N = {score.clips}, {score.draws} draws")
    print(f"table and figure: {out}")


def measure(runs: Sequence[RunFolder], sigmas: Sequence[float], draws: int, workers: int = 2) -> list[NoisyScore]:
    """The scores of every strength of noise; folds of one experiment are pooled.

    Raises:
        FileNotFoundError: a run is not finished.
        ValueError: a run's model does not look at landmarks.
    """
    infos = [run.read_info() for run in runs]
    noises = [Noise(sigma, seed) for sigma in sigmas for seed in range(draws if sigma else 1)]
    tables = [noisy_tables(run, noises, workers) for run in runs]
    order = sorted(range(len(runs)), key=lambda place: (infos[place].experiment, infos[place].seed))
    found = []
    for (experiment, seed), places in groupby(order, key=lambda i: (infos[i].experiment, infos[i].seed)):
        pooled = [tables[place] for place in places]
        for sigma in sigmas:
            drawn = [table for of in pooled for noise, table in of if noise.sigma == sigma]
            found.append(_score(PredictionTable.concat(drawn), experiment, seed, len(pooled), sigma))
    return found


def _score(table: PredictionTable, experiment: str, seed: int, folds: int, sigma: float) -> NoisyScore:
    draws = len(set(table.seed.tolist()))
    clips = len(table) // draws
    return NoisyScore(experiment, seed, folds, sigma, draws, clips, scores(table), bootstrap(table))


def noisy_tables(run: RunFolder, noises: Sequence[Noise], workers: int) -> list[tuple[Noise, PredictionTable]]:
    """A table of the reported split for each noise; the column `seed` is the noise's.

    Every clip is loaded once.

    Raises:
        FileNotFoundError: there is no checkpoint or no data.
        ValueError: the model does not look at landmarks.
    """
    trained = load_trained(run.path)
    if "landmarks" not in trained.model.inputs:
        looks = ", ".join(sorted(trained.model.inputs))
        raise ValueError(f"{run.path}: {type(trained.model).__name__} looks at {looks}, not at landmarks")
    data = data_of(run, workers)
    data.inputs = trained.model.inputs
    quiet_lightning()
    trainer = L.Trainer(
        logger=False,
        enable_checkpointing=False,
        enable_progress_bar=False,
        enable_model_summary=False,
        precision=cast(Any, run.read_info().precision),  # without noise, its table is the run's own
        devices=1,
    )
    data.prepare_data()
    total = sum(record.split == "test" for record in data.dataset.records())
    with progress(f"{run.path}, each clip {len(noises)} times", total) as advance:
        made = trainer.predict(UnderNoise(trained.model, noises, data.size, advance), datamodule=data) or []
        advance(total)  # some may have nothing to see
    batches = cast(list[list[ClipPredictions]], made)
    clips = data.split("test")
    return [
        (noise, prediction_table(clips, [parts[place] for parts in batches], trained.class_names, noise.seed))
        for place, noise in enumerate(noises)
    ]


def data_of(run: RunFolder, workers: int) -> VideoDataModule:
    """The data that a run was trained on, as its configuration states it."""
    settings = run.read_config()["data"]
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(VideoDataModule, "data")
    made: VideoDataModule = parser.instantiate_classes(parser.parse_object({"data": settings})).data
    made.num_workers = workers
    return made


class UnderNoise(L.LightningModule):
    """A trained model that sees every batch under several noises.

    Args:
        model: in evaluation mode.
        noises: to predict under.
        size: of the crops that the points are in, pixels.
        advance: is told how many clips are done.
    """

    def __init__(
        self, model: VideoClassifier, noises: Sequence[Noise], size: int, advance: Callable[[float], None]
    ) -> None:
        super().__init__()
        self.model, self.noises, self.size, self.advance = model, noises, size, advance
        self.done = 0

    def predict_step(self, batch: ClipBatch, batch_idx: int) -> list[ClipPredictions]:
        """Predictions under each noise."""
        found = [self.model.predict_clips(add_noise(batch, noise, self.size))[0].to("cpu") for noise in self.noises]
        self.done += len(found[0].clip_id)
        self.advance(self.done)
        return found


def add_noise(batch: ClipBatch, noise: Noise, size: int = NOISE_CROP) -> ClipBatch:
    """The batch with noise on its landmarks.

    What is drawn depends on the noise's seed, the clip and its sampled frames alone: every system sees the same, and a
    stronger noise is the same one scaled. A frame that is sampled twice was found once, so it has one noise.
    """
    if batch.landmarks is None or not noise.sigma:
        return batch
    drawn = [_draw(noise.seed, clip, frames) for clip, frames in zip(batch.clip_id, batch.frame_index, strict=True)]
    scale = noise.sigma * size / NOISE_CROP
    return replace(batch, landmarks=batch.landmarks + scale * torch.stack(drawn).to(batch.landmarks))


def _draw(seed: int, clip_id: str, frames: Tensor) -> Tensor:
    """(T, 68, 3) of a normal distribution, the same for equal frames."""
    unique, place = np.unique(frames.cpu().numpy(), return_inverse=True)
    generator = np.random.default_rng([seed, zlib.crc32(clip_id.encode())])
    return torch.from_numpy(generator.standard_normal((len(unique), 68, 3))[place])


@styled
def noise_figure(found: Sequence[NoisyScore]) -> Figure:
    """Recognition rate against noise, a curve for each experiment, with its interval."""
    groups = groupby(found, key=lambda score: (score.experiment, score.seed))
    curves = [(names, list(points)) for names, points in groups]
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
    axes.set_title(f"mean of {max(score.draws for score in found)} draws; bands: 95 %, bootstrap")
    axes.grid(axis="x", color=FAINT)
    figure.legend(loc="outside lower center")  # in the axes it would hide curves
    return figure
