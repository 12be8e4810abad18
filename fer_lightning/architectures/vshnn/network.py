"""VSHNN: visual scene-aware hybrid neural network.

DenseNet-FC makes an appearance feature of every frame (section 3.2), a 3D CNN the scene feature of the clip (section
3.3). Frame substitution replaces the frames that are least like the others (section 3.4), and a recurrent network that
knows the scene classifies what is left (section 3.5). Facial landmarks are a second modality (section 4).

Lee et al. (2020), "Visual Scene-Aware Hybrid and Multi-Modal Feature Aggregation for Facial Expression Recognition",
Sensors 20, 5184, https://doi.org/10.3390/s20185184
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor, nn
from torchmetrics import MeanMetric

from data_modules.loading.batch import ClipBatch
from data_modules.loading.datamodule import EVALUATED, VideoDataModule
from fer_lightning.architectures.vshnn.fusion import Fused, LandmarkFusion
from fer_lightning.evaluation.outputs import ClassifierOutput, FrozenFeatures
from fer_lightning.layers.backbones import FrameBackbone, FullyConnectedBackbone
from fer_lightning.layers.correlation import inter_frame_correlation, substitution_index
from fer_lightning.layers.frames import frames_at
from fer_lightning.layers.recurrent import Cell, Connection, SceneAwareRNN
from fer_lightning.layers.video_backbones import ClipBackbone
from fer_lightning.training.classifier import VideoClassifier


class SceneFeature(nn.Sequential):
    """The FC layer that is trained in the place of a 3D CNN's head (section 3.3): (B, E) -> v (B, S).

    [our choice] One layer with ReLU.
    """

    def __init__(self, size: int, hidden: int) -> None:
        super().__init__(nn.Linear(size, hidden), nn.ReLU())


class AuxiliaryClassifier(nn.Sequential):
    """Classifies the scene feature (section 3.3, figure 3): FC, BatchNorm, ReLU, dropout, FC. (B, S) -> (B, C)."""

    def __init__(self, size: int, hidden: int, num_classes: int, dropout: float) -> None:
        super().__init__(
            nn.Linear(size, hidden),
            nn.BatchNorm1d(hidden),
            nn.ReLU(),
            nn.Dropout(dropout),
            nn.Linear(hidden, num_classes),
        )


class SceneAwareClassifier(nn.Module):
    """SARNN (section 3.5), dropout, and the two FC layers behind it (section 5.2.3).

    [our choice] ReLU between the two.
    """

    def __init__(self, rnn: SceneAwareRNN, features: int, num_classes: int, dropout: float) -> None:
        super().__init__()
        self.rnn = rnn
        hidden = rnn.rnn.hidden_size
        self.embed = nn.Sequential(nn.Dropout(dropout), nn.Linear(hidden, features), nn.ReLU())
        self.score = nn.Linear(features, num_classes)

    def forward(self, frames: Tensor, scene: Tensor, mask: Tensor) -> tuple[Tensor, Tensor]:
        """(B, T, D), (B, S), (B, T) -> logits (B, C) and the feature that they are made of (B, F)."""
        feature = self.embed(self.rnn(frames, scene, mask))
        return self.score(feature), feature


@dataclass(frozen=True)
class VSHNNOutput(ClassifierOutput):
    """What the parts say; `relation` is R of section 3.4. There is no attention: R says which frames are alike."""

    auxiliary: Tensor | None = None  # (B, C) of the auxiliary classifier
    fused: Fused | None = None  # what the fusion made of both modalities, where there is one


class VSHNN(VideoClassifier):
    """VSHNN, and with a `fusion` its multi-modal variants (section 4.2).

    The appearance network and the convolutions of the 3D CNN are frozen; their features can be cached. Trained are the
    scene's FC layer, SARNN, both classifiers, and what belongs to the landmarks.

    Example:
        >>> from fer_lightning import VSHNN, ClipBackbone, FrameBackbone, WeightedSum, random_batch
        >>> model = VSHNN(
        ...     ("anger", "joy"), FrameBackbone("resnet10t"), ClipBackbone("c3d", width=0.1), fusion=WeightedSum(0.6)
        ... ).eval()
        >>> model(random_batch(model.inputs)).logits.shape
        torch.Size([2, 2])

    Args:
        class_names: emotion names in alphabetical order.
        backbone: of the frames, frozen; DenseNet-FC at random where None. `fer train densenet_fc_fer2013` trains one.
        scene: the 3D CNN without its head; C3D at random where None.
        cell: of SARNN, `gru` or `lstm`.
        connection: of scene and frames, type A, B or C (section 3.5).
        substitution: K frames that are substituted, 0 for none; 3 of 16 in the paper (section 3.4).
        hidden: units of the scene's FC layer, of the auxiliary classifier and of SARNN (sections 5.2.2 and 5.2.3).
        features: units of the FC layer behind SARNN (section 5.2.3).
        dropout: of SARNN's last hidden state and of the auxiliary classifier.
        auxiliary: λ, weight of the auxiliary classifier's loss (equation 15 and section 5.2.2).
        fusion: with the landmarks: `IntermediateConcatenation`, `WeightedSum` or `LowRankMultiModalFusion`; None for
            the faces alone.
        training: optimiser, schedule and loss, see `VideoClassifier`.

    Raises:
        ValueError: a 3D CNN that is not frozen, or a fusion that belongs to another model.
    """

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
        **training: Any,
    ) -> None:
        super().__init__(class_names, **training)
        self.substitution, self.auxiliary = substitution, auxiliary
        classes = len(class_names)
        self.backbone = backbone or FullyConnectedBackbone()
        self.scene = scene or ClipBackbone("c3d")
        if not self.scene.frozen:
            raise ValueError("VSHNN's 3D CNN has frozen convolutions (section 3.3); expected `frozen: true`")
        self.freeze(self.backbone, self.scene)
        self.scene_feature = SceneFeature(self.scene.num_features, hidden)
        self.auxiliary_classifier = AuxiliaryClassifier(hidden, hidden, classes, dropout)
        self.fusion = fusion
        scene_size = hidden
        if fusion is not None:
            if next(fusion.parameters(), None) is not None:
                raise ValueError(f"this {type(fusion).__name__} has the layers of another VSHNN; make one for each")
            scene_size = fusion.build(classes, hidden)
            self.inputs = frozenset({"face", "landmarks"})
            self.without_landmarks = nn.ModuleDict({f"{split}_split": MeanMetric() for split in ("train", *EVALUATED)})
        rnn = SceneAwareRNN(self.backbone.num_features, scene_size, hidden, cell, connection)
        self.sarnn = SceneAwareClassifier(rnn, features, classes, dropout)

    def forward_frozen(self, batch: ClipBatch) -> FrozenFeatures:
        """The appearance features (B, T, D), and the features of the 3D convolutions (B, E)."""
        assert batch.face is not None
        return FrozenFeatures(self.backbone(batch.face), self.scene(batch.face, batch.mask))

    def substituted(self, frames: Tensor, mask: Tensor | None = None) -> Tensor:
        """Which frame stands where after the substitution: (B, T, D), (B, T) -> (B, T), see `substitution_index`."""
        return substitution_index(frames, self.substitution, mask)

    def on_fit_start(self) -> None:
        """Begins as every training does.

        Raises:
            ValueError: the fusion searches a value on an inner split, but there is none.
        """
        data = getattr(self.trainer, "datamodule", None)
        everything = isinstance(data, VideoDataModule) and data.selection == "last"
        if self.fusion is not None and self.fusion.searches and (everything or not self.trainer.limit_val_batches):
            raise ValueError(
                f"{type(self.fusion).__name__} searches its alpha on the inner split, but "
                f"{'with `selection: last` there is none' if everything else '`limit_val_batches: 0` leaves it out'}; "
                "state one, such as --model.init_args.fusion.init_args.alpha 0.5, or use --data.selection inner"
            )
        super().on_fit_start()

    def fit_statistics(self, data: VideoDataModule) -> None:
        """Fits the scaler of the landmarks' descriptor."""
        if self.fusion is not None:
            self.fusion.fit(data.fitting_dataloader(frozenset({"landmarks"})))

    def forward(self, batch: ClipBatch) -> VSHNNOutput:
        """Faces (B, T, 3, H, W), and landmarks (B, T, 68, 3) where they are fused -> logits of all there is."""
        made = self.frozen_features(batch)
        assert made.frames is not None
        scene = self.scene_feature(made.clip)  # v, (B, S)
        auxiliary = self.auxiliary_classifier(scene)
        frame_source = self.substituted(made.frames, batch.mask)
        frames = frames_at(made.frames, frame_source)

        def classify(scene_input: Tensor) -> tuple[Tensor, Tensor]:
            return self.sarnn(frames, scene_input, batch.mask)  # type: ignore[no-any-return]

        fused = None if self.fusion is None else self.fusion(scene, classify, batch)
        logits, feature = classify(scene) if fused is None else (fused.logits, fused.feature)
        return VSHNNOutput(
            logits,
            feature,
            auxiliary=auxiliary,
            fused=fused,
            relation=inter_frame_correlation(made.frames, batch.mask),
            frame_source=frame_source if self.substitution else None,
            streams=() if fused is None else fused.streams,
        )

    def loss(self, output: ClassifierOutput, batch: ClipBatch) -> Tensor:
        """L + λ L_aux (equation 15), L being the sum of what is trained beside the auxiliary classifier."""
        assert isinstance(output, VSHNNOutput)
        assert output.auxiliary is not None
        supervised = (output.logits,) if output.fused is None else output.fused.supervised
        main = torch.stack([self._cross_entropy(output, logits, batch) for logits in supervised]).sum()
        return main + self.auxiliary * self._cross_entropy(output, output.auxiliary, batch)

    def _cross_entropy(self, output: VSHNNOutput, logits: Tensor, batch: ClipBatch) -> Tensor:
        return super().loss(replace(output, logits=logits), batch)

    def observe(self, output: ClassifierOutput, batch: ClipBatch, split: str) -> None:
        """Counts the clips without landmarks, and shows the fusion those of the inner split where it searches."""
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
            video, _ = self.clip_predictions(replace(output, logits=output.fused.video), batch)
            landmarks, _ = self.clip_predictions(replace(output, logits=output.fused.landmarks), batch)
            label = dict(zip(batch.clip_id, batch.label, strict=True))
            labels = torch.stack([label[clip] for clip in video.clip_id])
            self.fusion.search(video.probabilities, landmarks.probabilities, labels)

    def on_validation_epoch_end(self) -> None:
        """Lets the fusion choose on the inner split, whose accuracies become those with what is chosen."""
        chosen = None if self.fusion is None else self.fusion.choose()
        if chosen is not None:
            self.metrics_of("inner").confusion.confmat.copy_(chosen.confusion)
            self.log(f"inner/{chosen.name}", chosen.value)
        super().on_validation_epoch_end()
