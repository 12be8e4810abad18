"""VSHNN: visual scene-aware hybrid neural network.

DenseNet-FC computes an appearance feature of each frame (section 3.2), and a 3D CNN the scene feature of the clip
(section 3.3). Frame substitution replaces the frames that are least similar to the others (section 3.4). A scene-aware
recurrent network (SARNN) classifies the frames (section 3.5). Facial landmarks are a second modality (section 4).

Lee et al. (2020), "Visual Scene-Aware Hybrid and Multi-Modal Feature Aggregation for Facial Expression Recognition",
Sensors 20, 5184, https://doi.org/10.3390/s20185184
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, cast

import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric

from data_modules.loading.batch import ClipBatch
from data_modules.loading.datamodule import EVALUATED, Selection, VideoDataModule
from fer_lightning.architectures.vshnn.fusion import FusionOutput, LandmarkFusion
from fer_lightning.evaluation.outputs import ClassifierOutput, FrozenFeatures
from fer_lightning.evaluation.views import ClipViews
from fer_lightning.layers.backbones import FrameBackbone, FullyConnectedBackbone, Pretrained
from fer_lightning.layers.correlation import inter_frame_correlation, substitution_index
from fer_lightning.layers.frames import gather_frames
from fer_lightning.layers.pretrained_parts import PretrainedParts
from fer_lightning.layers.recurrent import Cell, Connection, SceneAwareRNN
from fer_lightning.layers.video_backbones import ClipBackbone
from fer_lightning.training.classifier import VideoClassifier
from fer_lightning.weights import RANDOM


class SceneFeature(nn.Sequential):
    """The FC layer that replaces the head of the 3D CNN and is trained (section 3.3): (B, E) -> v (B, S).

    [our choice] It is one layer with ReLU.
    """

    def __init__(self, size: int, hidden: int) -> None:
        super().__init__(nn.Linear(size, hidden), nn.ReLU())


class AuxiliaryClassifier(nn.Sequential):
    """Classifier of the scene feature (section 3.3, figure 3): (B, S) -> (B, C)."""

    def __init__(self, size: int, hidden: int, num_classes: int, dropout: float) -> None:
        super().__init__(
            nn.Linear(size, hidden),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, num_classes),
        )


class SceneAwareClassifier(nn.Module):
    """SARNN (section 3.5), dropout, and two FC layers (section 5.2.3).

    [our choice] There is a ReLU between the FC layers.
    """

    def __init__(self, rnn: SceneAwareRNN, features: int, num_classes: int, dropout: float) -> None:
        super().__init__()
        self.rnn = rnn
        hidden = rnn.rnn.hidden_size
        self.embed = nn.Sequential(nn.Dropout(dropout), nn.Linear(hidden, features), nn.ReLU())
        self.score = nn.Linear(features, num_classes)

    def forward(self, frames: Tensor, scene: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """Classify clips.

        Args:
            frames: Appearance features, (B, T, D).
            scene: Scene features v, (B, S).
            mask: (B, T) bool, true for real frames.

        Returns:
            Logits (B, C), and the feature (B, F) that the last layer classifies.
        """
        feature = self.embed(self.rnn(frames, scene, mask))
        return self.score(feature), feature


@dataclass(frozen=True)
class VSHNNOutput(ClassifierOutput):
    """Output of VSHNN. `relation` is R of section 3.4, the similarity of the frames; there is no attention."""

    auxiliary: Tensor | None = None  # (B, C) logits of the auxiliary classifier
    fused: FusionOutput | None = None  # output of the fusion, if there is one


class VSHNN(VideoClassifier):
    """VSHNN, or with a `fusion` its multi-modal variants (section 4.2).

    The appearance network and the convolutions of the 3D CNN are frozen, and their features can be cached. The FC layer
    of the scene, SARNN, both classifiers and the layers of the fusion are trained.

    Example:
        >>> from fer_lightning import VSHNN, ClipBackbone, FrameBackbone, WeightedSum, random_batch
        >>> model = VSHNN(
        ...     ("anger", "joy"), FrameBackbone("resnet10t"), ClipBackbone("c3d", width=0.1), fusion=WeightedSum(0.6)
        ... ).eval()
        >>> model(random_batch(model.inputs)).logits.shape
        torch.Size([2, 2])

    Args:
        class_names: Emotion names in alphabetical order.
        backbone: Frozen backbone of the frames. None is a random DenseNet-FC. `fer train densenet_fc_fer2013` trains
            one.
        scene: Frozen 3D CNN without its head (sections 3.3 and 5.2.2; table A1 has it the other way round: all but the
            FC layers are tuned). None is a random C3D.
        cell: Cell of SARNN, `gru` or `lstm`.
        connection: Connection of scene and frames, type A, B or C (section 3.5).
        substitution: Number K of frames to substitute, 3 of 16 in the paper (section 3.4); 0 for none.
        hidden: Units of the scene's FC layer, the auxiliary classifier and SARNN (sections 5.2.2 and 5.2.3). Table A1
            calls this SARNN's input size, but the appearance features that enter it have 4096 values (section 3.2).
        features: Units of the FC layer behind SARNN (section 5.2.3).
        dropout: Dropout rate of SARNN's last hidden state and in the auxiliary classifier.
        auxiliary: Weight λ of the auxiliary classifier's loss (equation 15 and section 5.2.2).
        fusion: Fusion with the landmarks: `IntermediateConcatenation`, `WeightedSum` or `LowRankMultiModalFusion`.
            None uses the faces alone.
        video_weights: `random`, or a run of `VSHNN` (`run:NAME`) from whose FC layer of the scene, auxiliary classifier
            and SARNN the training starts. With `weights` of the fusion, both streams are trained separately first.
        training: Optimiser, schedule and loss, see `VideoClassifier`.

    Raises:
        ValueError: The 3D CNN is not frozen, or the fusion belongs to another model.
    """

    behind_frozen = frozenset({"substitution", "auxiliary", "video_weights"})

    def __init__(
        self,
        class_names: Sequence[str],
        backbone: FrameBackbone | None = None,
        scene: ClipBackbone | None = None,
        cell: Cell = "gru",
        connection: Connection = "B",
        substitution: int = 3,
        hidden: int = 2048,
        features: int = 1024,
        dropout: float = 0.5,
        auxiliary: float = 0.5,
        fusion: LandmarkFusion | None = None,
        video_weights: str = RANDOM,
        **training: Any,
    ) -> None:
        super().__init__(class_names, **training)
        self.substitution, self.auxiliary, self.video_weights = substitution, auxiliary, video_weights
        num_classes = len(class_names)
        self.backbone = backbone or FullyConnectedBackbone()
        self.scene = scene or ClipBackbone("c3d")
        if not self.scene.frozen:
            raise ValueError("VSHNN's 3D CNN has frozen convolutions (section 3.3); expected `frozen: true`")
        self.freeze(self.backbone, self.scene)
        self.scene_feature = SceneFeature(self.scene.num_features, hidden)
        self.auxiliary_classifier = AuxiliaryClassifier(hidden, hidden, num_classes, dropout)
        self.fusion = fusion
        scene_size = hidden
        if fusion is not None:
            if next(fusion.parameters(), None) is not None:
                raise ValueError(f"this {type(fusion).__name__} has the layers of another VSHNN; make one for each")
            scene_size = fusion.build(num_classes, hidden)
            self.inputs = frozenset({"face", "landmarks"})
            self.without_landmarks = nn.ModuleDict({f"{split}_split": MeanMetric() for split in ("train", *EVALUATED)})
        rnn = SceneAwareRNN(self.backbone.num_features, scene_size, hidden, cell, connection)
        self.sarnn = SceneAwareClassifier(rnn, features, num_classes, dropout)

    def pretrained(self) -> list[Pretrained]:
        """List the backbones, the video stream behind them, and the layers of the fusion."""
        names = ("scene_feature", "auxiliary_classifier", "sarnn")
        video = {name: cast(nn.Module, getattr(self, name)) for name in names}
        fusion = [] if self.fusion is None else self.fusion.pretrained(self.class_names)
        return [*super().pretrained(), PretrainedParts(video, self.video_weights, self.class_names), *fusion]

    def forward_frozen(self, batch: ClipBatch) -> FrozenFeatures:
        """Compute the appearance features (B, T, D) and the features of the 3D convolutions (B, E)."""
        assert batch.face is not None
        return FrozenFeatures(self.backbone(batch.face), self.scene(batch.face, batch.mask))

    def substitution_index(self, frames: Tensor, mask: Tensor | None = None) -> Tensor:
        """Return which frame is at each position after the substitution: (B, T, D), (B, T) -> (B, T)."""
        return substitution_index(frames, self.substitution, mask)

    def setup(self, stage: str) -> None:
        """Check the data module, and that the inner split is evaluated if the fusion searches on it.

        Raises:
            ValueError: The fusion searches a value on the inner split, but there is none.
        """
        super().setup(stage)
        if stage == "fit" and not self.trainer.limit_val_batches:
            self._refuse_search("`limit_val_batches: 0` leaves it out")

    def refuse_selection(self, selection: Selection) -> None:
        """Refuse to train on all clips if the fusion searches a value on the inner split.

        Raises:
            ValueError: The fusion searches, and there is no inner split.
        """
        if selection == "last":
            self._refuse_search("with `selection: last` there is none")

    def _refuse_search(self, reason: str) -> None:
        if self.fusion is not None and self.fusion.searches:
            raise ValueError(
                f"{type(self.fusion).__name__} searches its alpha on the inner split, but {reason}; "
                "state one, such as --model.init_args.fusion.init_args.alpha 0.5, or use --data.selection inner"
            )

    def fit_statistics(self, data: VideoDataModule) -> None:
        """Fit the scaler of the landmarks' descriptor."""
        if self.fusion is not None:
            self.fusion.fit(data.fitting_dataloader(frozenset({"landmarks"})))

    def forward(self, batch: ClipBatch) -> VSHNNOutput:
        """Classify faces (B, T, 3, H, W), with a fusion also landmarks (B, T, 68, 3)."""
        frozen = self.frozen_features(batch)
        assert frozen.frames is not None
        scene = self.scene_feature(frozen.clip)  # v, (B, S)
        auxiliary = self.auxiliary_classifier(scene)
        frame_source = self.substitution_index(frozen.frames, batch.mask)
        frames = gather_frames(frozen.frames, frame_source)

        def classify(scene_input: Tensor) -> tuple[Tensor, Tensor]:
            return self.sarnn(frames, scene_input, batch.mask)  # type: ignore[no-any-return]

        fused = None if self.fusion is None else self.fusion(scene, classify, batch)
        logits, feature = classify(scene) if fused is None else (fused.logits, fused.feature)
        return VSHNNOutput(
            logits,
            feature,
            auxiliary=auxiliary,
            fused=fused,
            relation=inter_frame_correlation(frozen.frames, batch.mask),
            frame_source=frame_source if self.substitution else None,
            streams=() if fused is None else fused.streams,
        )

    def loss(self, output: ClassifierOutput, batch: ClipBatch) -> Tensor:
        """Return L + λ L_aux (equation 15), where L is the sum of the losses of all other trained outputs."""
        assert isinstance(output, VSHNNOutput)
        assert output.auxiliary is not None
        supervised = (output.logits,) if output.fused is None else output.fused.supervised
        main = torch.stack([self.sample_losses(logits, batch).mean() for logits in supervised]).sum()
        return main + self.auxiliary * self.sample_losses(output.auxiliary, batch).mean()

    def observe(self, output: ClassifierOutput, batch: ClipBatch, split: str) -> None:
        """Log the fraction of clips without landmarks, and add the inner split's clips to the fusion's search."""
        assert isinstance(output, VSHNNOutput)
        if self.fusion is None or output.fused is None:
            return
        missing = self.without_landmarks[f"{split}_split"]
        assert isinstance(missing, MeanMetric)
        missing.update((~output.fused.present).float())
        name = "chosen" if split == "inner" and self.trainer.testing else split
        self.log(f"{name}/without_landmarks", missing, on_step=False, on_epoch=True, add_dataloader_idx=False)
        if self.fusion.searches and split == "inner" and not self.trainer.testing:
            assert output.fused.video is not None
            assert output.fused.landmarks is not None
            views = ClipViews(batch.clip_id, output.logits.device)
            video, landmarks = (views.probabilities(x) for x in (output.fused.video, output.fused.landmarks))
            self.fusion.search(video, landmarks, batch.label[views.first])

    def on_validation_batch_start(self, batch: ClipBatch, batch_idx: int, dataloader_idx: int = 0) -> None:
        """Let the fusion choose its value before the reported split is watched with it."""
        data = self.data_module
        if batch_idx == 0 and data is not None and data.validated[dataloader_idx] == "test":
            self._choose()

    def on_validation_epoch_end(self) -> None:
        """Let the fusion choose its value, unless it has."""
        data = self.data_module
        if data is None or "test" not in data.validated:
            self._choose()
        super().on_validation_epoch_end()

    def _choose(self) -> None:
        """Let the fusion choose its value, and compute the inner split's metrics with that value."""
        chosen = None if self.fusion is None else self.fusion.choose()
        if chosen is not None:
            self.metrics_of("inner").confusion.confmat.copy_(chosen.confusion)
            self.log(f"inner/{chosen.name}", chosen.value, batch_size=1, add_dataloader_idx=False)
