"""VideoClassifier: what all systems share. Loss, metrics, optimiser and steps stand here, once."""

from collections.abc import Callable, Sequence
from typing import Any, Self

import pytorch_lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau
from torchmetrics import MeanMetric
from torchmetrics.classification import MulticlassConfusionMatrix

from data_modules.loading.batch import ClipBatch
from data_modules.loading.datamodule import EVALUATED, VideoDataModule
from fer_lightning.evaluation.metrics import METRICS, WAR
from fer_lightning.evaluation.outputs import ClassifierOutput, ClipPredictions, FrozenFeatures, StreamScores
from fer_lightning.layers.backbones import Pretrained
from fer_lightning.weights import RANDOM, load_fitting_weights

OptimizerFactory = Callable[[Any], Optimizer]
SchedulerFactory = Callable[[Optimizer], LRScheduler | ReduceLROnPlateau]


class SplitMetrics(torch.nn.Module):
    """Loss and confusion matrix over exactly the clips of a split, on any number of processes.

    The matrix has one more column and row than there are classes: clips no model can see are predicted `none`.
    """

    def __init__(self, num_classes: int) -> None:
        super().__init__()
        self.loss = MeanMetric(nan_strategy=float("nan"))  # a loss that diverged is shown, not left out
        self.confusion = MulticlassConfusionMatrix(num_classes + 1)
        self.none = num_classes

    def update(self, loss: Tensor, probabilities: Tensor, label: Tensor) -> None:
        """Adds a batch's clips."""
        self.loss.update(loss, weight=len(label))
        self.confusion.update(probabilities.argmax(dim=-1), label)

    def add_without_input(self, labels: Sequence[int]) -> None:
        """Adds clips without prediction, errors in every accuracy."""
        if labels:
            truth = torch.tensor(labels, device=self.confusion.device)
            self.confusion.update(torch.full_like(truth, self.none), truth)

    def summary(self) -> dict[str, Tensor]:
        """The loss and every metric by its name, the same on every process; begins anew."""
        confusion = self.confusion.compute()[: self.none].cpu().numpy()  # (C, C + 1), rows are the true classes
        values = {"loss": self.loss.compute()}
        values |= {metric.name: values["loss"].new_tensor(metric.of(confusion)) for metric in METRICS}
        self.loss.reset()
        self.confusion.reset()
        return values


class VideoClassifier(L.LightningModule):
    """Classifies clips; a paper's system adds its `forward`.

    Args:
        class_names: emotion names in alphabetical order.
        optimizer: makes the optimiser from the parameters; only training needs it.
        scheduler: makes the learning rate's schedule from the optimiser, stepped every epoch. A plateau watches
            `monitor`.
        monitor: what a plateau watches: a value of the inner split.
        label_smoothing: of the cross-entropy.
        class_weights: weigh clips by how rare their class is in the training data, so that all classes weigh the same.
        start_from: `random`, or the run (`run:NAME`) or checkpoint whose weights a training begins with: all that fit,
            which for other classes is all but the last layer.
    """

    weights: Tensor
    inputs: frozenset[str] = frozenset({"face"})
    """Fields of `ClipBatch` that the model reads; the data module loads exactly these."""

    def __init__(
        self,
        class_names: Sequence[str],
        optimizer: OptimizerFactory | None = None,
        scheduler: SchedulerFactory | None = None,
        monitor: str = "inner/loss",
        label_smoothing: float = 0.0,
        class_weights: bool = False,
        start_from: str = RANDOM,
    ) -> None:
        super().__init__()
        if list(class_names) != sorted(set(class_names)):
            raise ValueError(f"class names must be unique and in alphabetical order; found {list(class_names)}")
        self.class_names = tuple(class_names)
        self.optimizer, self.scheduler, self.monitor = optimizer, scheduler, monitor
        self.label_smoothing, self.class_weights, self.start_from = label_smoothing, class_weights, start_from
        self.register_buffer("weights", torch.ones(len(class_names)), persistent=False)  # 1 on average over clips
        self.configuration: dict[str, Any] = {}  # resolved, plain values; for the checkpoints
        self._begun = False  # whether the training has its weights and statistics
        self._frozen: list[torch.nn.Module] = []  # a list, so that their tensors have one name in the checkpoints
        self.split_metrics = torch.nn.ModuleDict(
            {f"{split}_split": SplitMetrics(len(class_names)) for split in ("train", *EVALUATED)}
        )

    def setup(self, stage: str) -> None:
        """Checks that the data module loads what the model reads.

        Raises:
            ValueError: it lacks a field.
        """
        self._begun = False
        data = getattr(self.trainer, "datamodule", None)
        if isinstance(data, VideoDataModule) and not self.inputs <= data.inputs:
            raise ValueError(
                f"{type(self).__name__} reads {', '.join(sorted(self.inputs))}, but the data module loads "
                f"{', '.join(sorted(data.inputs))}; set the data module's `inputs` to the model's before it is set up"
            )

    def on_fit_start(self) -> None:
        """Begins the training, unless a callback has had it begin: Lightning calls this hook after theirs."""
        self.begin_training()

    def begin_training(self) -> None:
        """Loads pretrained weights and fits statistics, once for each call of `trainer.fit`.

        No model downloads anything by being made. One that goes on has its weights from its checkpoint. Class weights
        are those of the training clips.
        """
        if self._begun:
            return
        self._begun = True
        data = getattr(self.trainer, "datamodule", None)
        if self.class_weights and isinstance(data, VideoDataModule):
            labels = torch.tensor([clip.label for clip in data.split("train") if clip.usable])
            self.weights.copy_(balancing_weights(labels, len(self.class_names)))
        if self.trainer.ckpt_path:
            return
        if self.start_from != RANDOM:
            left_out = load_fitting_weights(self, self.start_from)
            self.print(f"begins with the weights of {self.start_from}, but for {', '.join(left_out) or 'none'}")
        else:
            for module in self.modules():
                if isinstance(module, Pretrained):
                    module.load_weights()
        if isinstance(data, VideoDataModule):
            self.fit_statistics(data)

    def forward(self, batch: ClipBatch) -> ClassifierOutput:
        """Logits, the clip's feature, and what there is to look at."""
        raise NotImplementedError

    def freeze(self, *modules: torch.nn.Module) -> Self:
        """Keeps modules as they are: no gradient reaches them, and they stay in evaluation mode throughout a training.

        A paper's class calls it in its constructor with what `forward_frozen` runs. Of a network whose last block is
        fine-tuned, these are the blocks before it. Without modules it is Lightning's own, which freezes the whole model
        for inference.
        """
        if not modules:
            return super().freeze()
        for module in modules:
            module.requires_grad_(False).eval()
        self._frozen.extend(modules)
        return self

    def frozen_parts(self) -> list[torch.nn.Module]:
        """The modules that were frozen, in that order; cached features depend on these alone."""
        return list(self._frozen)

    def train(self, mode: bool = True) -> Self:
        """Sets the mode of what learns; dropout and BatchNorm of the frozen parts stay in evaluation mode."""
        super().train(mode)
        for part in self._frozen:
            part.eval()
        return self

    def forward_frozen(self, batch: ClipBatch) -> FrozenFeatures:
        """Runs the frozen parts on a batch. A class that freezes parts defines it and calls `frozen_features`."""
        raise NotImplementedError(f"{type(self).__name__} freezes modules, but does not say what they compute")

    def frozen_features(self, batch: ClipBatch) -> FrozenFeatures:
        """What the frozen parts make of a batch: read from the cache if the batch brings it, else computed.

        It has gradients only if nothing is frozen: the same class may also train all of its network.
        """
        if batch.features is not None or batch.clip_features is not None:
            return FrozenFeatures(batch.features, batch.clip_features)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self._frozen):
            return self.forward_frozen(batch)

    def fit_statistics(self, data: VideoDataModule) -> None:
        """Fits what is not learnt by gradients - scalers, support vector machines - when a training begins.

        Called on every process with all of the training clips in `data.fitting_dataloader()`; what is fitted must lie
        in buffers, so that it travels in the checkpoint.
        """

    def loss(self, output: ClassifierOutput, batch: ClipBatch) -> Tensor:
        """Mean cross-entropy over the samples; systems with further losses add theirs.

        Class weights multiply it and do not divide it again, as torch's own do: only so is the mean over processes the
        mean over their clips.
        """
        losses = F.cross_entropy(
            output.logits.float(), batch.label, reduction="none", label_smoothing=self.label_smoothing
        )
        return (losses * self.weights[batch.label]).mean()

    def predict_clips(self, batch: ClipBatch) -> tuple[ClipPredictions, Tensor]:
        """The clips of a batch, their draws averaged, and the loss of the batch."""
        return self.clip_predictions(self(batch), batch)

    def clip_predictions(self, output: ClassifierOutput, batch: ClipBatch) -> tuple[ClipPredictions, Tensor]:
        """As `predict_clips`, of what the model has made of the batch."""
        first, clip_of = _clips_of(batch.clip_id)
        probabilities = output.logits.float().softmax(dim=-1)
        mean = _mean_by_clip(clip_of.to(probabilities.device), len(first))
        predictions = ClipPredictions(
            clip_id=tuple(batch.clip_id[place] for place in first),
            probabilities=mean(probabilities),
            feature=mean(output.feature.float()),
            frame_index=batch.frame_index[first],
            attention=None if output.attention is None else output.attention[first].float(),
            intensity=None if batch.intensity is None else batch.intensity[first],
            relation=None if output.relation is None else output.relation[first].float(),
            frame_source=None if output.frame_source is None else output.frame_source[first],
            streams=_stream_means(output.streams, mean) if output.streams else None,
            stream_names=tuple(stream.name for stream in output.streams),
        )
        known = bool((batch.label >= 0).all())
        return predictions, self.loss(output, batch) if known else output.logits.new_zeros(())

    def training_step(self, batch: ClipBatch, batch_idx: int) -> Tensor:
        """One step; the progress bar shows its loss, the logs get the epoch's."""
        output = self(batch)
        loss = self.loss(output, batch)
        self.log("loss", loss.detach(), prog_bar=True, on_step=True, on_epoch=False, logger=False)
        self.metrics_of("train").update(loss.detach(), output.logits.detach(), batch.label)
        self.observe(output, batch, "train")
        return loss

    def validation_step(self, batch: ClipBatch, batch_idx: int) -> ClipPredictions:  # type: ignore[override]
        """Counts the clips of the inner split."""
        return self._evaluate(batch, "inner")

    def test_step(  # type: ignore[override]
        self, batch: ClipBatch, batch_idx: int, dataloader_idx: int = 0
    ) -> ClipPredictions:
        """Counts the clips of the inner and of the reported split; callbacks write the tables."""
        return self._evaluate(batch, EVALUATED[dataloader_idx])

    def predict_step(self, batch: ClipBatch, batch_idx: int) -> ClipPredictions:
        """Clips without a known class."""
        return self.predict_clips(batch)[0]

    def _evaluate(self, batch: ClipBatch, split: str) -> ClipPredictions:
        output = self(batch)
        predictions, loss = self.clip_predictions(output, batch)
        self.observe(output, batch, split)
        first, _ = _clips_of(batch.clip_id)
        self.metrics_of(split).update(loss, predictions.probabilities, batch.label[first])
        return predictions

    def observe(self, output: ClassifierOutput, batch: ClipBatch, split: str) -> None:
        """What a system counts beside the metrics; called for every batch of `train`, `inner` and `test`."""

    def metrics_of(self, split: str) -> SplitMetrics:
        """Loss and confusion matrix of `train`, `inner` or `test`."""
        metrics = self.split_metrics[f"{split}_split"]
        assert isinstance(metrics, SplitMetrics)
        return metrics

    def on_train_epoch_start(self) -> None:
        """Logs the epoch's learning rate; at its end the schedule is at the next one's."""
        self.log("lr", self.trainer.optimizers[0].param_groups[0]["lr"])

    def on_train_epoch_end(self) -> None:
        """Logs the epoch's training loss and accuracies, then lets a plateau see them.

        Lightning does so after the checkpoint was written, which would then lack the step.
        """
        self._log_split("train")
        for config in self.trainer.lr_scheduler_configs:
            if isinstance(config.scheduler, ReduceLROnPlateau):
                config.scheduler.step(self._monitored())

    def _monitored(self) -> float:
        values = self.trainer.callback_metrics
        if self.monitor not in values:
            raise ValueError(
                f"the learning rate's plateau watches {self.monitor}, which is not logged; there are "
                f"{', '.join(sorted(values))}; set --model.init_args.monitor to one of them"
            )
        return float(values[self.monitor])

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """Steps all schedules but plateaus, which `on_train_epoch_end` has stepped."""
        if not isinstance(scheduler, ReduceLROnPlateau):
            super().lr_scheduler_step(scheduler, metric)

    def on_validation_epoch_end(self) -> None:
        """Logs the inner split's; where it is the reported one, says so beside every such value."""
        self._log_split("inner")
        data = getattr(self.trainer, "datamodule", None)
        if isinstance(data, VideoDataModule) and data.selection == "best_on_test":
            self.log("inner/best_on_test", 1.0)

    def on_test_epoch_end(self) -> None:
        """Logs those of both evaluated splits, the inner one's at the chosen epoch as `chosen/`."""
        self._log_split("inner", "chosen")  # a name of its own: the inner split's curve is that of the training
        self._log_split("test")

    def _log_split(self, split: str, name: str = "") -> None:
        metrics = self.metrics_of(split)
        data = getattr(self.trainer, "datamodule", None)
        if split != "train" and isinstance(data, VideoDataModule) and self.trainer.is_global_zero:
            metrics.add_without_input([clip.label for clip in data.without_input(split)])
        for value_name, value in metrics.summary().items():
            self.log(f"{name or split}/{value_name}", value, prog_bar=value_name == WAR.name, add_dataloader_idx=False)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds what it takes to use the checkpoint without the run's other files: plain values only."""
        checkpoint["fer_lightning"] = {"class_names": list(self.class_names), "configuration": self.configuration}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuses the checkpoint of a model with other classes: the meaning of the outputs is their order.

        Raises:
            ValueError: naming both class lists.
        """
        theirs = tuple(checkpoint.get("fer_lightning", {}).get("class_names", self.class_names))
        if theirs != self.class_names:
            raise ValueError(
                f"the checkpoint was trained on the classes {', '.join(theirs)}, but the data has "
                f"{', '.join(self.class_names)}; use data with the same classes"
            )

    def configure_optimizers(self) -> Any:
        """The optimiser over what is to be trained, and its schedule.

        Raises:
            ValueError: the experiment names no optimiser.
        """
        if self.optimizer is None:
            raise ValueError(
                f"{type(self).__name__} was made without an optimiser, so it cannot be trained; name one, such as "
                "`optimizer: {class_path: torch.optim.Adam, init_args: {lr: 1.0e-4}}` under model.init_args"
            )
        optimizer = self.optimizer([p for p in self.parameters() if p.requires_grad])
        if self.scheduler is None:
            return optimizer
        scheduler = self.scheduler(optimizer)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "monitor": self.monitor}}


def balancing_weights(labels: Tensor, num_classes: int) -> Tensor:
    """(C,) weights with which all classes that occur weigh the same, 1 on average over the clips."""
    counts = torch.bincount(labels, minlength=num_classes)
    present = counts > 0
    return torch.where(present, len(labels) / (present.sum() * counts.clamp_min(1)), torch.zeros(num_classes))


def _clips_of(clip_ids: Sequence[str]) -> tuple[list[int], Tensor]:
    """Places of each clip's first sample, and (B,) which clip each sample belongs to."""
    starts = [place for place, clip in enumerate(clip_ids) if place == 0 or clip_ids[place - 1] != clip]
    lengths = [end - start for start, end in zip(starts, [*starts[1:], len(clip_ids)], strict=True)]
    return starts, torch.arange(len(starts)).repeat_interleave(torch.tensor(lengths))


def _mean_by_clip(clip_of: Tensor, clips: int) -> Callable[[Tensor], Tensor]:
    """A function (B, D) -> (M, D) that averages the samples of each clip."""
    counts = torch.bincount(clip_of, minlength=clips)[:, None]
    return lambda x: x.new_zeros(clips, x.shape[1]).index_add_(0, clip_of, x) / counts


def _stream_means(streams: Sequence[StreamScores], mean: Callable[[Tensor], Tensor]) -> Tensor:
    """(M, S, C) probabilities of S streams, averaged over the draws in which there is something to see."""
    means = []
    for stream in streams:
        probabilities = stream.logits.float().softmax(dim=-1)
        there = ~probabilities.isnan().any(dim=1, keepdim=True)  # (B, 1)
        means.append(mean(torch.where(there, probabilities, 0)) / mean(there.float()))  # 0 / 0: in none of them
    return torch.stack(means, dim=1)
