"""DFER-CLIP: CLIP's image tower over each frame, a temporal transformer over the frames, and texts as classes.

Zhao and Patras (2023), "Prompting Visual-Language Models for Dynamic Facial Expression Recognition", BMVC 2023,
https://arxiv.org/abs/2308.13382. Sizes are those of the authors' code, whose files are cited here:
https://github.com/zengqunzhao/DFER-CLIP (MIT).

With low-rank updates of the tower (`CLIPTower.rank`) and a linear layer it is the visual half of CLAIP-Emo: Chen et
al. (2026), "CLAIP-Emo: Parameter-Efficient Adaptation of Language-supervised Models for In-the-Wild Audiovisual Emotion
Recognition", https://arxiv.org/abs/2509.14527. With a frozen tower and neither encoders nor texts it is a linear probe.
"""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import torch
from timm.models.vision_transformer import checkpoint_filter_fn
from torch import Tensor, nn

from data_modules.labels import ANGER, CONTEMPT, DISGUST, FEAR, HAPPINESS, NEUTRAL, SADNESS, SURPRISE
from data_modules.loading.batch import ClipBatch
from fer_lightning.architectures.former_dfer import ENCODER_NAMES
from fer_lightning.evaluation.outputs import ClassifierOutput, FrozenFeatures
from fer_lightning.layers.backbones import FrameBackbone, Pretrained
from fer_lightning.layers.clip_text import NAMES as TEXT_NAMES
from fer_lightning.layers.clip_text import TextHead, TextPrompts
from fer_lightning.layers.clip_tower import CLIPTower
from fer_lightning.layers.masking import masked_mean
from fer_lightning.layers.published_model import PublishedForm, PublishedModel
from fer_lightning.layers.transformer import TemporalTransformer
from fer_lightning.training.classifier import VideoClassifier
from fer_lightning.weights import RANDOM, renamed, tensors_in

MAFW = ("anxiety", "helplessness", "disappointment")  # that no other data set has
PUBLISHED = PublishedForm(
    names=(),  # PublishedDFERCLIP
    classes=(HAPPINESS, SADNESS, NEUTRAL, ANGER, SURPRISE, DISGUST, FEAR, CONTEMPT, *MAFW),  # models/Text.py
    last_layer="head.prompts",
    pixels="unit",  # dataloader/video_dataloader.py: red, green and blue from 0 to 1
    where=(
        "the authors publish a file for each fold of DFEW and MAFW, and one for FERV39k; the read-me of "
        "https://github.com/zengqunzhao/DFER-CLIP links them"
    ),
)


class PublishedDFERCLIP(PublishedModel):
    """A file of the authors, whose prompts hold the tokens of their texts: of seven classes, or of MAFW's eleven."""

    model: "DFERCLIP"

    def load_content(self, content: dict[str, object]) -> None:
        """Load the content of a file. For other classes than its own, the texts are those of `descriptions`.

        Raises:
            ValueError: The file holds another model, or the model states other pixels or has no texts.
        """
        model, tensors = self.model, tensors_in(content, self.weights)
        tensors = {key.removeprefix("module."): value for key, value in tensors.items()}  # of torch's DataParallel
        embedding = tensors.get("clip_model_.token_embedding.weight")
        if embedding is None or not (isinstance(model.head, TextHead) and isinstance(model.backbone, CLIPTower)):
            found = "no clip_model_.token_embedding.weight in it" if embedding is None else "another model"
            raise ValueError(f"{self.weights}: expected DFER-CLIP's file, for a CLIPTower with `text`; found {found}")
        self.form = replace(PUBLISHED, classes=PUBLISHED.classes[: len(tensors["prompt_learner.token_prefix"])])
        super().load_content({"state_dict": self._renamed(tensors, embedding)})
        if set(self.form.classes) != set(self.class_names):
            model.head.describe(embedding)

    def _renamed(self, tensors: dict[str, Tensor], embedding: Tensor) -> dict[str, Tensor]:
        """Return the tensors by our names; those of `clip_model_` stand in the file twice."""
        image = {f"visual{key[13:]}": value for key, value in tensors.items() if key.startswith("image_encoder.")}
        image = checkpoint_filter_fn(image, self.model.backbone.network)
        image.pop("head.bias", None)
        state = {f"backbone.network.{key}": value for key, value in image.items()}
        for key, value in tensors.items():
            part, _, name = key.partition(".")
            if part == "temporal_net":
                state[f"temporal{renamed(f'.{name}', ENCODER_NAMES)}"] = value
            elif part == "text_encoder":
                state[f"head.tower.{renamed(name, TEXT_NAMES)}"] = value
        suffix, contexts = tensors["prompt_learner.token_suffix"], tensors["prompt_learner.ctx"]
        end = (suffix == embedding[-1]).all(dim=2).int().argmax(dim=1)  # the first token that is the end
        return state | {
            "head.prompts.contexts": contexts if contexts.ndim == 3 else contexts[None],
            "head.prompts.tokens": torch.cat([tensors["prompt_learner.token_prefix"], suffix], dim=1),
            "head.prompts.end": 1 + contexts.shape[-2] + end,
        }


class DFERCLIP(VideoClassifier):
    """DFER-CLIP, and other uses of a frozen or adapted image tower with temporal encoders.

    Example:
        >>> from fer_lightning import CLIPTower, DFERCLIP, random_batch
        >>> model = DFERCLIP(("anger", "joy"), CLIPTower(size=32, patch=16, width=64, depth=2, features=64)).eval()
        >>> model(random_batch(frames=16, size=32)).logits.shape
        torch.Size([2, 2])

    Args:
        class_names: Emotion names in alphabetical order.
        backbone: Backbone of the frames. None is CLIP's ViT-B/32 from random weights.
        text: Texts that the clip's feature is compared with. None is a linear layer.
        frames: Frames of a clip, as set in the sampler.
        depth: Encoders of the temporal transformer. With 0 the features of the frames are averaged.
        heads: Heads of its attention.
        hidden: Units of an encoder's hidden layer.
        frozen_backbone: Freeze the backbone; its features can then be cached.
        backbone_lr: Learning rate of the backbone. None is that of the optimiser.
        prompt_lr: Learning rate of the texts' contexts. None is that of the optimiser.
        weights: `random`, or the path of a file that the authors published, which takes the place of all other weights.
        training: Optimiser, schedule and loss, see `VideoClassifier`.
    """

    behind_frozen = frozenset({"backbone_lr", "prompt_lr"})

    def __init__(
        self,
        class_names: Sequence[str],
        backbone: FrameBackbone | None = None,
        text: TextPrompts | None = None,
        frames: int = 16,
        depth: int = 1,
        heads: int = 8,
        hidden: int = 1024,
        frozen_backbone: bool = False,
        backbone_lr: float | None = None,
        prompt_lr: float | None = None,
        weights: str = RANDOM,
        **training: Any,
    ) -> None:
        super().__init__(class_names, **training)
        self.published_file, self.backbone_lr, self.prompt_lr = weights, backbone_lr, prompt_lr
        self.backbone = backbone or CLIPTower()
        if frozen_backbone:
            self.freeze(self.backbone)
        size = self.backbone.num_features
        self.temporal = TemporalTransformer(size, frames, depth, heads, hidden) if depth else None
        self.head = (
            TextHead(self.class_names, size, text, self.backbone.name) if text else nn.Linear(size, len(class_names))
        )

    def pretrained(self) -> list[Pretrained]:
        """List the backbone and the texts, or the whole model if it starts from the authors' file."""
        if self.published_file == RANDOM:
            return super().pretrained()
        conversion = self.backbone.conversion
        return [PublishedDFERCLIP(self, conversion, self.class_names, PUBLISHED, self.published_file)]

    def parameter_groups(self) -> list[dict[str, Any]]:
        """List what is trained: all parts with the optimiser's learning rate first."""
        rates = {"backbone.": self.backbone_lr, "head.prompts.": self.prompt_lr}
        groups: dict[float | None, list[nn.Parameter]] = {None: []}
        for name, parameter in self.named_parameters():
            if parameter.requires_grad:
                rate = next((rate for prefix, rate in rates.items() if name.startswith(prefix)), None)
                groups.setdefault(rate, []).append(parameter)
        return [{"params": group} | ({} if rate is None else {"lr": rate}) for rate, group in groups.items() if group]

    def forward_frozen(self, batch: ClipBatch) -> FrozenFeatures:
        """Run the backbone: frames (B, T, D)."""
        assert batch.face is not None
        return FrozenFeatures(frames=self.backbone(batch.face))

    def forward(self, batch: ClipBatch) -> ClassifierOutput:
        """Classify faces (B, T, 3, H, W). The feature is the class token's output."""
        frames = self.frozen_features(batch).frames  # (B, T, D)
        assert frames is not None
        feature = self.temporal(frames, batch.mask) if self.temporal else masked_mean(frames, batch.mask)
        return ClassifierOutput(self.head(feature), feature)
