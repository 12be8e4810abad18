"""VideoClassifier, the base class of all systems: steps, loss, metrics and optimiser."""

from collections.abc import Callable, Sequence
from copy import deepcopy
from pathlib import Path
from typing import Any, Self

import pytorch_lightning as L
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.optim import Optimizer
from torch.optim.lr_scheduler import LRScheduler, ReduceLROnPlateau

from data_modules.loading.batch import ClipBatch
from data_modules.loading.datamodule import EVALUATED, Selection, VideoDataModule
from fer_lightning.evaluation.metrics import WAR
from fer_lightning.evaluation.outputs import ClassifierOutput, ClipPredictions, FrozenFeatures
from fer_lightning.evaluation.views import ClipViews
from fer_lightning.layers.backbones import Pretrained
from fer_lightning.training.losses import intensity_aware_losses
from fer_lightning.training.mixup import MIXED, mix
from fer_lightning.training.rebuilding import rebuild
from fer_lightning.training.split_metrics import SplitMetrics
from fer_lightning.weights import ENTRY, RANDOM, checkpoint_of, classes_in, load_fitting_weights, read_checkpoint

OptimizerFactory = Callable[[Any], Optimizer]
SchedulerFactory = Callable[[Optimizer], LRScheduler | ReduceLROnPlateau]


class VideoClassifier(L.LightningModule):
    """Classifies clips; a paper's system defines its `forward`.

    Args:
        class_names: emotion names in alphabetical order.
        optimizer: creates the optimiser from the parameters; only training needs it.
        scheduler: creates the schedule of the learning rate from the optimiser. It is stepped every epoch.
        monitor: the logged value that a `ReduceLROnPlateau` follows, usually one of the inner split.
        label_smoothing: of the cross-entropy.
        intensity_aware: weight of the intensity-aware loss beside the cross-entropy, 0.1 in its authors' code; see
            `intensity_aware_losses`.
        vote_share: share of the annotators' votes in the target of the cross-entropy. The rest is the label: 0 trains
            on labels alone, 1 on the distributions of the votes alone. Only for data sets with votes.
        mixup: alpha of the distribution of shares at which training images are mixed, see `training.mixup`; 0 mixes
            nothing.
        class_weights: whether clips of rare classes weigh more, so that all classes have the same total weight.
        start_from: `random`, or a run (`run:NAME`) or checkpoint whose weights a training starts from. The last layer
            is left out if it has other classes.

    Raises:
        ValueError: the class names are not unique or not in alphabetical order, `vote_share` is not from 0 to 1,
            `intensity_aware` or `mixup` is negative, or inputs would be mixed that are no images.
    """

    weights: Tensor
    inputs: frozenset[str] = frozenset({"face"})
    """Fields of `ClipBatch` that the model reads. The data module loads these and no others."""
    behind_frozen: frozenset[str] = frozenset()
    """Attributes of a subclass that `forward_frozen` does not read: models that differ in these share cached features.
    Those of this class, of the head's modules and of all that has no frozen parts need not be named."""

    def __init__(
        self,
        class_names: Sequence[str],
        optimizer: OptimizerFactory | None = None,
        scheduler: SchedulerFactory | None = None,
        monitor: str = "inner/loss",
        label_smoothing: float = 0.0,
        intensity_aware: float = 0.0,
        vote_share: float = 0.0,
        mixup: float = 0.0,
        class_weights: bool = False,
        start_from: str = RANDOM,
    ) -> None:
        super().__init__()
        if list(class_names) != sorted(set(class_names)):
            raise ValueError(f"class names must be unique and in alphabetical order; found {list(class_names)}")
        self.class_names = tuple(class_names)
        self.optimizer, self.scheduler, self.monitor = optimizer, scheduler, monitor
        if not 0 <= vote_share <= 1:
            raise ValueError(f"vote_share = {vote_share}: expected a share from 0, labels alone, to 1, votes alone")
        if intensity_aware < 0:
            raise ValueError(f"intensity_aware = {intensity_aware}: expected the weight of a loss, 0 or more")
        if mixup < 0:
            raise ValueError(f"mixup = {mixup}: expected alpha of a Beta distribution, or 0 to mix nothing")
        self.mixup = mixup
        self.label_smoothing, self.vote_share, self.intensity_aware = label_smoothing, vote_share, intensity_aware
        self.class_weights, self.start_from = class_weights, start_from
        self.register_buffer("weights", torch.ones(len(class_names)), persistent=False)  # mean over clips is 1
        self.configuration: dict[str, Any] = {}  # the resolved configuration, saved in checkpoints
        self._begun = False  # whether weights were loaded and statistics fitted
        self._frozen: list[torch.nn.Module] = []  # a plain list: registering them again would save their tensors twice
        self.split_metrics = torch.nn.ModuleDict(
            {f"{split}_split": SplitMetrics(len(class_names)) for split in ("train", *EVALUATED)}
        )

    @property
    def data_module(self) -> VideoDataModule | None:
        """The trainer's data module; None if its data come from somewhere else."""
        data = getattr(self.trainer, "datamodule", None)
        return data if isinstance(data, VideoDataModule) else None

    def __deepcopy__(self, memo: dict[int, Any]) -> Self:
        """Copies the weights and all else but what makes optimisers and schedules, which hold the command line."""
        memo |= {id(make): make for make in (self.optimizer, self.scheduler)}
        copied = memo[id(self)] = type(self).__new__(type(self))
        copied.__dict__.update(deepcopy(self.__getstate__(), memo))
        return copied

    def setup(self, stage: str) -> None:
        """Checks that the data module loads what the model reads, and how it selects the epoch.

        Raises:
            ValueError: the data module does not load a field, or has a selection that the model refuses.
        """
        self._begun = False
        data = self.data_module
        if data is not None and not self.inputs <= data.inputs:
            raise ValueError(
                f"{type(self).__name__} reads {', '.join(sorted(self.inputs))}, but the data module loads "
                f"{', '.join(sorted(data.inputs))}; set the data module's `inputs` to the model's before it is set up"
            )
        if self.mixup and not self.inputs <= MIXED:
            raise ValueError(
                f"mixup = {self.mixup}: {type(self).__name__} reads {', '.join(sorted(self.inputs))}; expected images "
                f"alone ({', '.join(sorted(MIXED))}), since nothing else can be mixed. Set --model.init_args.mixup to 0"
            )
        if stage == "fit" and data is not None:
            self.refuse_selection(data.selection)

    def refuse_selection(self, selection: Selection) -> None:
        """Refuses a selection of the checkpoint with which the model cannot be trained; most models take any.

        Raises:
            ValueError: the model searches something on the inner split, and there is none.
        """

    def on_fit_start(self) -> None:
        """Begins the training unless a callback already has; Lightning calls the hooks of callbacks first."""
        self.begin_training()

    def begin_training(self) -> None:
        """Computes class weights, loads pretrained weights and fits statistics, once for each call of `trainer.fit`.

        Constructing a model downloads nothing. A resumed model takes its weights and statistics from its checkpoint.
        """
        if self._begun:
            return
        self._begun = True
        data = self.data_module
        if self.class_weights and data is not None:
            labels = torch.tensor([clip.label for clip in data.split("train") if clip.usable])
            self.weights.copy_(balancing_weights(labels, len(self.class_names)))
        if self.trainer.ckpt_path:
            return
        if self.start_from != RANDOM:
            left_out = load_fitting_weights(self, self.start_from)
            self.print(f"starts from the weights of {self.start_from}; left out: {', '.join(left_out) or 'none'}")
        else:
            for part in self.pretrained():
                part.load_weights()
        if data is not None:
            self.fit_statistics(data)

    def pretrained(self) -> list[Pretrained]:
        """Lists what a training starts from pretrained weights, in the order of loading."""
        return [module for module in self.modules() if isinstance(module, Pretrained)]

    def forward(self, batch: ClipBatch) -> ClassifierOutput:
        """Computes logits (B, C), a feature (B, D) of each sample, and what reports show; see `ClassifierOutput`."""
        raise NotImplementedError

    def freeze(self, *modules: torch.nn.Module) -> Self:
        """Excludes modules from training: they get no gradients and stay in evaluation mode.

        A system calls this in its constructor with the modules that `forward_frozen` runs. If only the last block of a
        network is fine-tuned, these are the blocks before it. Without arguments this is Lightning's own method, which
        freezes the whole model for inference.
        """
        if not modules:
            return super().freeze()
        for module in modules:
            module.requires_grad_(False).eval()
        self._frozen.extend(modules)
        return self

    def frozen_parts(self) -> list[torch.nn.Module]:
        """Lists the frozen modules in the order of freezing; cached features depend on these alone."""
        return list(self._frozen)

    def train(self, mode: bool = True) -> Self:
        """Sets the mode of the trained modules; frozen ones keep dropout and BatchNorm in evaluation mode."""
        super().train(mode)
        for part in self._frozen:
            part.eval()
        return self

    def forward_frozen(self, batch: ClipBatch) -> FrozenFeatures:
        """Runs the frozen modules on a batch. A class that freezes modules defines it and calls `frozen_features`."""
        raise NotImplementedError(f"{type(self).__name__} freezes modules, but does not define forward_frozen")

    def frozen_features(self, batch: ClipBatch) -> FrozenFeatures:
        """Returns the features of the frozen modules: those that the batch carries from the cache, or computed ones.

        They have gradients only if nothing is frozen, since the same class may also train its whole network.
        """
        if batch.features is not None or batch.clip_features is not None:
            return FrozenFeatures(batch.features, batch.clip_features)
        with torch.set_grad_enabled(torch.is_grad_enabled() and not self._frozen):
            return self.forward_frozen(batch)

    def fit_statistics(self, data: VideoDataModule) -> None:
        """Fits what is not trained by gradients, such as scalers and support vector machines, before the first epoch.

        Called on every process; `data.fitting_dataloader()` yields all training clips. The results must be buffers, so
        that checkpoints contain them.
        """

    def loss(self, output: ClassifierOutput, batch: ClipBatch) -> Tensor:
        """Returns the mean cross-entropy over the samples, a scalar; systems with further losses add them.

        Unlike torch's weighted cross-entropy, the sum is divided by the number of samples and not by the sum of their
        class weights. Otherwise the mean over processes would not be the mean over their clips.
        """
        return self.sample_losses(output.logits, batch).mean()

    def sample_losses(self, logits: Tensor, batch: ClipBatch) -> Tensor:
        """Returns the loss of each sample times the weight of its class: (B, C) -> (B,).

        It is the cross-entropy and, where asked for, a share of the intensity-aware loss.

        Raises:
            ValueError: votes are part of the target, and the data set has none.
        """
        target: Tensor = F.one_hot(batch.label, logits.shape[1]).float()
        if self.vote_share:
            if batch.votes is None:
                raise ValueError(
                    f"vote_share = {self.vote_share}: the data set has no votes of annotators; set "
                    "--model.init_args.vote_share to 0, or use a data set with votes, such as FER2013 with FER+'s table"
                )
            target = torch.lerp(target, batch.votes, self.vote_share)
        losses = F.cross_entropy(logits.float(), target, reduction="none", label_smoothing=self.label_smoothing)
        if self.intensity_aware:
            losses = losses + self.intensity_aware * intensity_aware_losses(logits, batch.label)
        return losses * self.weights[batch.label]

    def predict_clips(self, batch: ClipBatch) -> tuple[ClipPredictions, Tensor]:
        """Returns the predictions for a batch's clips, averaged over the views of each clip, and the batch's loss."""
        return self.clip_predictions(self(batch), batch)

    def clip_predictions(self, output: ClassifierOutput, batch: ClipBatch) -> tuple[ClipPredictions, Tensor]:
        """Returns the same as `predict_clips` from an output that the model has already computed for the batch."""
        views = ClipViews(batch.clip_id, output.logits.device)
        first = views.first
        predictions = ClipPredictions(
            clip_id=tuple(batch.clip_id[index] for index in first),
            probabilities=views.probabilities(output.logits),
            feature=views.mean(output.feature.float()),
            frame_index=batch.frame_index[first],
            attention=None if output.attention is None else output.attention[first].float(),
            intensity=None if batch.intensity is None else batch.intensity[first],
            relation=None if output.relation is None else output.relation[first].float(),
            frame_source=None if output.frame_source is None else output.frame_source[first],
            streams=views.stream_probabilities(output.streams) if output.streams else None,
            stream_names=tuple(stream.name for stream in output.streams),
        )
        has_labels = bool((batch.label >= 0).all())
        return predictions, self.loss(output, batch) if has_labels else output.logits.new_zeros(())

    def training_step(self, batch: ClipBatch, batch_idx: int) -> Tensor:
        """Computes the loss of a batch. The progress bar shows it; the logs hold the mean of the epoch."""
        if self.mixup:
            mixed = mix(batch, self.mixup)
            batch, output = mixed.first, self(mixed.first)
            loss = mixed.share * self.loss(output, batch) + (1 - mixed.share) * self.loss(output, mixed.second)
        else:
            output = self(batch)
            loss = self.loss(output, batch)
        self.log("loss", loss.detach(), prog_bar=True, on_step=True, on_epoch=False, logger=False)
        self.metrics_of("train").update(loss.detach(), output.logits.detach(), batch.label)
        self.observe(output, batch, "train")
        return loss

    def validation_step(  # type: ignore[override]
        self, batch: ClipBatch, batch_idx: int, dataloader_idx: int = 0
    ) -> ClipPredictions:
        """Evaluates a batch of the inner split. Of the reported one, if it is watched, nothing is measured or logged.

        What is logged can choose an epoch or lower a learning rate; `WatchedEpochs` keeps the predictions for the end.
        """
        data = self.data_module
        if data is not None and data.validated[dataloader_idx] == "test":
            return self.predict_clips(batch)[0]
        return self._evaluate(batch, "inner")

    def test_step(  # type: ignore[override]
        self, batch: ClipBatch, batch_idx: int, dataloader_idx: int = 0
    ) -> ClipPredictions:
        """Evaluates a batch of the inner or the reported split; callbacks write the tables."""
        return self._evaluate(batch, EVALUATED[dataloader_idx])

    def predict_step(self, batch: ClipBatch, batch_idx: int) -> ClipPredictions:
        """Predicts a batch of clips whose classes may be unknown."""
        return self.predict_clips(batch)[0]

    def _evaluate(self, batch: ClipBatch, split: str) -> ClipPredictions:
        output = self(batch)
        predictions, loss = self.clip_predictions(output, batch)
        self.observe(output, batch, split)
        views = ClipViews(batch.clip_id, batch.label.device)
        self.metrics_of(split).update(loss, predictions.probabilities, batch.label[views.first])
        return predictions

    def observe(self, output: ClassifierOutput, batch: ClipBatch, split: str) -> None:
        """Hook for what a system counts beside the metrics; called for every batch of `train`, `inner` and `test`."""

    def metrics_of(self, split: str) -> SplitMetrics:
        """Returns the loss and confusion matrix of `train`, `inner` or `test`."""
        metrics = self.split_metrics[f"{split}_split"]
        assert isinstance(metrics, SplitMetrics)
        return metrics

    def on_train_epoch_start(self) -> None:
        """Logs the epoch's learning rate; at the end of the epoch the schedule has already moved on."""
        self.log("lr", self.trainer.optimizers[0].param_groups[0]["lr"])

    def on_train_epoch_end(self) -> None:
        """Logs the epoch's training loss and metrics, then steps a `ReduceLROnPlateau`.

        Lightning would step it after the checkpoint was written, which would then lack the step.
        """
        self._log_split("train")
        for config in self.trainer.lr_scheduler_configs:
            if isinstance(config.scheduler, ReduceLROnPlateau):
                config.scheduler.step(self._monitored())

    def _monitored(self) -> float:
        values = self.trainer.callback_metrics
        if self.monitor not in values:
            raise ValueError(
                f"ReduceLROnPlateau follows {self.monitor}, which is not logged; set --model.init_args.monitor to "
                f"one of {', '.join(sorted(values))}"
            )
        return float(values[self.monitor])

    def lr_scheduler_step(self, scheduler: Any, metric: Any) -> None:
        """Steps all schedules except `ReduceLROnPlateau`, which `on_train_epoch_end` has stepped."""
        if not isinstance(scheduler, ReduceLROnPlateau):
            super().lr_scheduler_step(scheduler, metric)

    def on_validation_epoch_end(self) -> None:
        """Logs the inner split's loss and metrics, and a mark if the inner split is the reported one."""
        data = self.data_module
        if data is None or "inner" in data.validated:
            self._log_split("inner")
        if data is not None and data.selection == "best_on_test":
            self.log("inner/best_on_test", 1.0)

    def on_test_epoch_end(self) -> None:
        """Logs loss and metrics of the inner split at the chosen epoch, as `chosen/`, and of the reported split."""
        self._log_split("inner", "chosen")  # `inner/` is the curve over the epochs
        self._log_split("test")

    def _log_split(self, split: str, name: str = "") -> None:
        metrics = self.metrics_of(split)
        data = self.data_module
        if split != "train" and data is not None and self.trainer.is_global_zero:
            metrics.add_without_input([clip.label for clip in data.without_input(split)])
        for value_name, value in metrics.summary().items():
            self.log(f"{name or split}/{value_name}", value, prog_bar=value_name == WAR.name, add_dataloader_idx=False)

    @classmethod
    def load_from_checkpoint(
        cls,
        checkpoint_path: Any,
        map_location: Any = None,
        hparams_file: Any = None,
        strict: bool | None = None,
        weights_only: bool | None = None,
        **kwargs: Any,
    ) -> Self:
        """Returns the trained model of a checkpoint in evaluation mode; nothing is unpickled or downloaded.

        `fer_lightning.load` does the same and knows the class by itself.

        Args:
            checkpoint_path: a checkpoint of `fer train`, the folder of its run, or a file of `fer export`.
            map_location: the device of the model; by default the CPU.
            hparams_file: refused, since a checkpoint holds the configuration of its model.
            strict: whether all weights must fit, which is always so; False is refused.
            weights_only: whether nothing is unpickled, which is always so; False is refused.
            **kwargs: refused.

        Raises:
            FileNotFoundError: there is no such file.
            ValueError: the checkpoint cannot be used, or its model is of another class.
            TypeError: there is an argument that checkpoints of this suite have no use for.
        """
        unused = [name for name, value in {"hparams_file": hparams_file, **kwargs}.items() if value is not None]
        unused += [name for name, value in (("strict", strict), ("weights_only", weights_only)) if value is False]
        if unused:
            raise TypeError(
                f"{cls.__name__}.load_from_checkpoint: found {', '.join(unused)}; expected the path alone, since a "
                "checkpoint holds the configuration of its model"
            )
        path = checkpoint_of(Path(checkpoint_path))
        model = rebuild(cls, read_checkpoint(path), path).model.eval()
        return model if map_location is None else model.to(map_location)

    def on_save_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Adds class names and configuration as plain values, so that the checkpoint can be used on its own."""
        checkpoint[ENTRY] = {"class_names": list(self.class_names), "configuration": self.configuration}

    def on_load_checkpoint(self, checkpoint: dict[str, Any]) -> None:
        """Refuses the checkpoint of a model with other classes, whose outputs would be in another order.

        Raises:
            ValueError: the class names differ; the message lists both.
        """
        trained_on = classes_in(checkpoint) or self.class_names
        if trained_on != self.class_names:
            raise ValueError(
                f"the checkpoint was trained on the classes {', '.join(trained_on)}, but the data has "
                f"{', '.join(self.class_names)}; use data with the same classes"
            )

    def parameter_groups(self) -> list[Any]:
        """Returns what the optimiser trains: all parameters that are not frozen, or groups of them, as torch has them.

        A group may have a learning rate of its own (`lr`), or one that multiplies the optimiser's (`lr_scale`). The
        logs show that of the first group.
        """
        return [parameter for parameter in self.parameters() if parameter.requires_grad]

    def configure_optimizers(self) -> Any:
        """Creates the optimiser of all parameters that are trained, and its schedule.

        Raises:
            ValueError: the model has no optimiser.
        """
        if self.optimizer is None:
            raise ValueError(
                f"{type(self).__name__} has no optimiser, so it cannot be trained; add one, such as "
                "`optimizer: {class_path: torch.optim.Adam, init_args: {lr: 1.0e-4}}` under model.init_args"
            )
        optimizer = self.optimizer(self.parameter_groups())
        for group in optimizer.param_groups:
            group["lr"] *= group.pop("lr_scale", 1.0)
        if self.scheduler is None:
            return optimizer
        scheduler = self.scheduler(optimizer)
        return {"optimizer": optimizer, "lr_scheduler": {"scheduler": scheduler, "monitor": self.monitor}}


def balancing_weights(labels: Tensor, num_classes: int) -> Tensor:
    """Returns (C,) weights that give all classes that occur the same total weight; their mean over the clips is 1."""
    counts = torch.bincount(labels, minlength=num_classes)
    present = counts > 0
    return torch.where(present, len(labels) / (present.sum() * counts.clamp_min(1)), torch.zeros(num_classes))
