"""Texts as classes: CLIP's text tower, and prompts with learned contexts that are compared with a clip's feature.

Radford et al. (2021), "Learning Transferable Visual Models From Natural Language Supervision", ICML 2021,
https://arxiv.org/abs/2103.00020; Zhou et al. (2022), "Learning to Prompt for Vision-Language Models", IJCV,
https://arxiv.org/abs/2109.01134
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import timm
import torch
import torch.nn.functional as F
from huggingface_hub import hf_hub_download
from torch import Tensor, nn

from fer_lightning.layers.backbones import Pretrained
from fer_lightning.layers.precision import full_precision
from fer_lightning.weights import RANDOM, Renames, load_backbone_weights, read_checkpoint, renamed, tensors_in

FILE = "open_clip_model.safetensors"
NAMES: Renames = (
    (r"^transformer\.resblocks\.", "layers."),
    (r"^positional_embedding$", "position"),
    (r"^ln_final\.", "norm."),
    (r"^text_projection$", "projection"),
    (r"\.ln_", ".norm"),
    (r"\.attn\.", ".self_attn."),
    (r"\.mlp\.c_fc\.", ".linear1."),
    (r"\.mlp\.c_proj\.", ".linear2."),
)


def quick_gelu(x: Tensor) -> Tensor:
    """Compute OpenAI's approximation of GELU."""
    return x * torch.sigmoid(1.702 * x)


class TextTower(nn.Module):
    """Causal encoders over the tokens of texts; the output at a text's end, projected, is its feature.

    Args:
        width: Length W of a token.
        depth: Number of encoders.
        heads: Heads of their attention.
        length: Tokens L of a text.
        features: Length D of a feature.
    """

    def __init__(self, width: int, depth: int, heads: int, length: int, features: int) -> None:
        super().__init__()
        self.position = nn.Parameter(torch.randn(length, width) * 0.01)
        self.layers = nn.ModuleList(
            nn.TransformerEncoderLayer(width, heads, 4 * width, 0.0, quick_gelu, batch_first=True, norm_first=True)
            for _ in range(depth)
        )
        self.norm = nn.LayerNorm(width)
        self.projection = nn.Parameter(torch.randn(width, features) * width**-0.5)

    def forward(self, tokens: Tensor, end: Tensor) -> Tensor:
        """Compute the features of texts (C, L, W) that end at the tokens `end` (C,): -> (C, D)."""
        x = tokens + self.position
        causal = nn.Transformer.generate_square_subsequent_mask(x.shape[1], x.device, x.dtype)
        for layer in self.layers:
            x = layer(x, causal, is_causal=True)
        return self.norm(x[torch.arange(len(x), device=x.device), end]) @ self.projection  # type: ignore[no-any-return]

    def load(self, tensors: Mapping[str, Tensor], source: str) -> None:
        """Load tensors by OpenAI's names, of which those of other parts of CLIP are left out.

        Raises:
            ValueError: They do not fit.
        """
        own = ("transformer.", "positional_embedding", "ln_final.", "text_projection")
        state: dict[str, object] = {renamed(key, NAMES): value for key, value in tensors.items() if key.startswith(own)}
        load_backbone_weights(self, state, source, "the text tower")


class ClassPrompts(nn.Module):
    """The tokens of a text for each class: its start, n learned contexts, a description and its end.

    Args:
        classes: Number of classes C.
        contexts: Number of contexts n.
        class_specific: Whether each class has its own contexts.
        length: Tokens L of a text.
        width: Length W of a token.
    """

    tokens: Tensor
    end: Tensor

    def __init__(self, classes: int, contexts: int, class_specific: bool, length: int, width: int) -> None:
        super().__init__()
        self.contexts = nn.Parameter(torch.randn(classes if class_specific else 1, contexts, width) * 0.02)
        self.register_buffer("tokens", torch.randn(classes, length - contexts, width) * 0.02)
        self.register_buffer("end", torch.full((classes,), length - 1))

    def forward(self) -> Tensor:
        """Return the tokens of the classes' texts, (C, L, W)."""
        contexts = self.contexts.expand(len(self.tokens), -1, -1)
        return torch.cat([self.tokens[:, :1], contexts, self.tokens[:, 1:]], dim=1)


@dataclass(frozen=True)
class TextPrompts:
    """The texts that a clip's feature is compared with, and the frozen tower that reads them.

    Args:
        weights: `random`, with which each class has a random text; `hub`, for the texts of the image tower's CLIP from
            the Hugging Face Hub; or the path of a file with CLIP's tensors by OpenAI's names.
        descriptions: Descriptions of classes. A class without one is described by its name.
        contexts: Number of learned contexts before a description.
        class_specific: Whether each class has its own contexts.
        width: Length of a token.
        depth: Number of encoders.
        heads: Heads of their attention.
        length: Tokens of a text.
    """

    weights: str = RANDOM
    descriptions: dict[str, str] = field(default_factory=dict)
    contexts: int = 8
    class_specific: bool = True
    width: int = 512
    depth: int = 12
    heads: int = 8
    length: int = 77


class TextHead(nn.Module, Pretrained):
    """Scores of classes by the similarity of a clip's feature to those of texts; only the contexts are trained.

    Args:
        class_names: The classes.
        features: Length D of the clip's feature.
        texts: The texts and their tower.
        image_tower: Name of the image tower in timm, whose CLIP `hub` is.
    """

    def __init__(self, class_names: Sequence[str], features: int, texts: TextPrompts, image_tower: str) -> None:
        super().__init__()
        self.class_names, self.texts, self.image_tower = tuple(class_names), texts, image_tower
        self.weights = texts.weights
        self.prompts = ClassPrompts(len(class_names), texts.contexts, texts.class_specific, texts.length, texts.width)
        self.tower = TextTower(texts.width, texts.depth, texts.heads, texts.length, features).requires_grad_(False)

    def forward(self, feature: Tensor) -> Tensor:
        """Compute cosine similarities times 100, as the authors of CLIP scale them: (B, D) -> (B, C) in float32."""
        texts = self.tower(self.prompts(), self.prompts.end)
        with full_precision(feature.device):  # bfloat16's steps are as large as the differences between classes
            return 100 * F.normalize(feature.float(), dim=1) @ F.normalize(texts.float(), dim=1).T

    @property
    def source(self) -> str:
        """See `Pretrained`."""
        return self.weights

    def load_weights(self) -> None:
        """Load the tower and the tokens of the descriptions; with `random`, do nothing.

        Raises:
            FileNotFoundError: There is no such file, or it cannot be downloaded.
            ValueError: It does not fit, or the package that makes tokens is not installed.
        """
        if self.weights == RANDOM:
            return
        tensors = tensors_in(read_checkpoint(self.file()), self.weights)
        self.tower.load(tensors, self.weights)
        self.describe(tensors["token_embedding.weight"])

    def file(self) -> Path:
        """Return the path of CLIP's file, which is downloaded for `hub`.

        Raises:
            FileNotFoundError: There is no such file, or it cannot be downloaded.
        """
        config = timm.get_pretrained_cfg(self.image_tower)
        origin = config.hf_hub_id if config and config.hf_hub_id else "timm/vit_base_patch32_clip_224.openai"
        where = (
            f"it is published as {FILE} at https://huggingface.co/{origin}. Give its path as `text.weights`, or set "
            "--model.init_args.text to null for a linear layer"
        )
        if self.weights == "hub":
            try:
                return Path(hf_hub_download(origin, FILE))
            except Exception as error:
                raise FileNotFoundError(
                    f"CLIP's text tower could not be downloaded: {type(error).__name__}; {where}"
                ) from error
        if not Path(self.weights).is_file():
            raise FileNotFoundError(f"no file {self.weights} with CLIP's text tower; {where}")
        return Path(self.weights)

    def describe(self, embedding: Tensor) -> None:
        """Fill the prompts with the tokens of the descriptions, whose vectors (V, W) are given.

        Raises:
            ValueError: A description is too long, or the package that makes tokens is not installed.
        """
        encode, vocabulary = tokeniser(), len(embedding)
        tokens, contexts = self.prompts.tokens, self.texts.contexts
        for place, name in enumerate(self.class_names):
            ids = [vocabulary - 2, *encode(self.texts.descriptions.get(name, name)), vocabulary - 1]
            if len(ids) > tokens.shape[1]:
                raise ValueError(
                    f"the description of {name} has {len(ids) - 2} tokens; expected at most {tokens.shape[1] - 2}, "
                    "beside the contexts, the start and the end: shorten it"
                )
            padded = ids + [0] * (tokens.shape[1] - len(ids))
            tokens[place] = embedding[padded].to(tokens)
            self.prompts.end[place] = contexts + len(ids) - 1


def tokeniser() -> Callable[[str], list[int]]:
    """Return what makes CLIP's tokens of a text.

    Raises:
        ValueError: OpenCLIP, which brings CLIP's vocabulary, is not installed.
    """
    try:
        from open_clip.tokenizer import SimpleTokenizer
    except ImportError as error:
        raise ValueError("texts as classes need another package: pip install 'fer_lightning[clip]'") from error
    encode: Callable[[str], list[int]] = SimpleTokenizer().encode
    return encode
