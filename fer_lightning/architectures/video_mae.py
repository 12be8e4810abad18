"""VideoMAE, MAE-DFER and SVFAP: a transformer over tubelets that was a masked autoencoder, and a linear layer.

Tong et al. (2022), "VideoMAE: Masked Autoencoders are Data-Efficient Learners for Self-Supervised Video Pre-Training",
NeurIPS 2022, https://arxiv.org/abs/2203.12602

Sun et al. (2023), "MAE-DFER: Efficient Masked Autoencoder for Self-supervised Dynamic Facial Expression Recognition",
ACM Multimedia 2023, https://arxiv.org/abs/2307.02227; files named here are those of its code,
https://github.com/sunlicai/MAE-DFER (MIT).

Sun et al. (2024), "SVFAP: Self-supervised Video Facial Affect Perceiver", IEEE Transactions on Affective Computing,
https://arxiv.org/abs/2401.00416, which has another transformer, `PyramidTransformer`, and is fine-tuned alike.

This suite trains and evaluates; it does not pre-train.
"""

from collections.abc import Sequence
from typing import Any

from torch import nn

from data_modules.loading.batch import ClipBatch
from fer_lightning.evaluation.outputs import ClassifierOutput, FrozenFeatures
from fer_lightning.layers.backbones import Pretrained
from fer_lightning.layers.video_transformer import VideoTransformer
from fer_lightning.layers.video_transformer_weights import file_of, state_of
from fer_lightning.training.classifier import VideoClassifier

HEAD_SCALE = 1e-3  # of the last layer's first weights (run_class_finetuning.py, init_scale)


class LastLayer(Pretrained):
    """The last layer of a file that its authors fine-tuned, with its rows in the order of a model's classes.

    Args:
        layer: The last layer of the model.
        class_names: Classes of the model.
        rows: Classes in the order of the file's rows.
        weights: See `VideoTransformer`.

    Raises:
        ValueError: The rows are of other classes than the model's.
    """

    def __init__(self, layer: nn.Linear, class_names: Sequence[str], rows: Sequence[str], weights: str) -> None:
        if sorted(rows) != list(class_names):
            raise ValueError(
                f"last_layer has the classes {', '.join(rows)}; expected those of the data, {', '.join(class_names)}, "
                "in the order of the file's rows, or null to begin with a new last layer"
            )
        self.layer, self.class_names, self.rows, self.weights = layer, tuple(class_names), list(rows), weights

    def load_weights(self) -> None:
        """Read the file and load the layer.

        Raises:
            FileNotFoundError: The file does not exist.
            ValueError: It has no last layer, or one of another shape.
        """
        state = state_of(file_of(self.weights), self.weights)
        tensors = {name: state.get(f"head.{name}") for name in ("weight", "bias")}
        shapes = [None if tensor is None else tuple(tensor.shape) for tensor in tensors.values()]
        if shapes != [(len(self.rows), self.layer.in_features), (len(self.rows),)]:
            raise ValueError(
                f"{self.weights} has a last layer of {shapes}; expected {len(self.rows)} rows of "
                f"{self.layer.in_features}: set last_layer to the classes of the file, or to null"
            )
        order = [self.rows.index(name) for name in self.class_names]
        self.layer.load_state_dict({name: tensor[order] for name, tensor in tensors.items() if tensor is not None})


class VideoMAE(VideoClassifier):
    """A transformer over the tubelets of a clip, and a linear layer on its feature.

    Example:
        >>> from fer_lightning import VideoMAE, VideoTransformer, random_batch
        >>> model = VideoMAE(("anger", "joy"), VideoTransformer(size=32, width=24, depth=2, heads=2)).eval()
        >>> model(random_batch(frames=16, size=32)).logits.shape
        torch.Size([2, 2])

    Args:
        class_names: Emotion names in alphabetical order.
        backbone: The transformer. None is a random ViT-B for 16 frames of 160².
        frozen: Train the last layer alone.
        layer_decay: Factor of the learning rate from each encoder to the one before it (BEiT's; 0.75 in
            run_class_finetuning.py). Biases, norms and the regions' tokens have no weight decay then. None trains all
            parameters alike.
        last_layer: Classes in the order of the last layer's rows in the backbone's file, if that layer is to be used.
            The authors number DFEW's and FERV39k's classes as happiness, sadness, neutral, anger, surprise, disgust and
            fear, and MAFW's as anger, disgust, fear, happiness, neutral, sadness, surprise, contempt, anxiety,
            helplessness and disappointment (preprocess/). None begins with a new layer.
        training: Optimiser, schedule and loss, see `VideoClassifier`.
    """

    behind_frozen = frozenset({"layer_decay"})

    def __init__(
        self,
        class_names: Sequence[str],
        backbone: VideoTransformer | None = None,
        frozen: bool = False,
        layer_decay: float | None = 0.75,
        last_layer: Sequence[str] | None = None,
        **training: Any,
    ) -> None:
        super().__init__(class_names, **training)
        self.layer_decay = layer_decay
        self.backbone = backbone or VideoTransformer()
        if frozen:
            self.freeze(self.backbone)
        self.head = nn.Linear(self.backbone.num_features, len(class_names))
        nn.init.trunc_normal_(self.head.weight, std=0.02 * HEAD_SCALE)
        nn.init.zeros_(self.head.bias)
        self.file_layer = last_layer and LastLayer(self.head, self.class_names, last_layer, self.backbone.weights)

    def pretrained(self) -> list[Pretrained]:
        """List the transformer, and the last layer if that of the file is used."""
        return [*super().pretrained(), *([self.file_layer] if self.file_layer else [])]

    def parameter_groups(self) -> list[Any]:
        """Return a group for each layer, the last one first, whose rates fall by `layer_decay` (optim_factory.py)."""
        if self.layer_decay is None:
            return super().parameter_groups()
        last = len(self.backbone.blocks) + 1
        groups: dict[tuple[int, bool], dict[str, Any]] = {}
        for name, parameter in self.named_parameters():
            if not parameter.requires_grad:
                continue
            place = name.split(".")
            layer = 0 if place[1] == "embed" else int(place[2]) + 1 if place[1] == "blocks" else last
            plain = parameter.ndim == 1 or place[1] == "region_tokens"
            group = groups.setdefault((-layer, plain), {"params": [], "lr_scale": self.layer_decay ** (last - layer)})
            group["params"].append(parameter)
            group |= {"weight_decay": 0.0} if plain else {}
        return [groups[key] for key in sorted(groups)]

    def forward_frozen(self, batch: ClipBatch) -> FrozenFeatures:
        """Compute the transformer's features."""
        assert batch.face is not None
        return FrozenFeatures(clip=self.backbone(batch.face, batch.mask))

    def forward(self, batch: ClipBatch) -> ClassifierOutput:
        """Classify faces (B, T, 3, H, W). The feature is the transformer's."""
        feature = self.frozen_features(batch).clip
        assert feature is not None
        return ClassifierOutput(self.head(feature), feature)
