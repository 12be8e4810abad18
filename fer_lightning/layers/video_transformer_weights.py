"""Files of weights in VideoMAE's format: where they are published, and their tensors by this suite's names."""

import re
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from fer_lightning.layers.published_model import read_published
from fer_lightning.paths import RUN
from fer_lightning.weights import Renames, checkpoint_named, renamed, tensors_in


@dataclass(frozen=True)
class PublishedFile:
    """A published file, which its publisher's site gives to browsers alone.

    Args:
        what: The network and what it was trained on.
        address: Where it is published.
        name: Name under which it is looked for in torch.hub's cache.
        licence: Its licence.
    """

    what: str
    address: str
    name: str
    licence: str


PUBLISHED = {
    "kinetics": PublishedFile(
        what="VideoMAE's ViT-B, pre-trained on Kinetics-400 for 1600 epochs",
        address="https://drive.google.com/file/d/1tEhLyskjb755TJ65ptsrafUG2llSwQE1/view",
        name="videomae_vit_base_kinetics.pth",
        licence="CC BY-NC 4.0, https://github.com/MCG-NJU/VideoMAE",
    ),
    "svfap": PublishedFile(
        what="SVFAP's transformer, pre-trained on VoxCeleb2",
        address=(
            "https://unioulu-my.sharepoint.com/:u:/g/personal/lsun24_univ_yo_oulu_fi/"
            "EUhhmb_5-ltMt7P7pjm3D1IBkdREeGnOrAW4kGrfEZSFxA?e=Iqarze"
        ),
        name="svfap_voxceleb2.pth",
        licence="MIT, https://github.com/sunlicai/SVFAP",
    ),
    "voxceleb2": PublishedFile(
        what="MAE-DFER's LGI-Former, pre-trained on VoxCeleb2",
        address="https://drive.google.com/file/d/1nzvMITUHic9fKwjQ7XLcnaXYViWTawRv/view",
        name="mae_dfer_voxceleb2.pth",
        licence="MIT, https://github.com/sunlicai/MAE-DFER",
    ),
}
ALSO = (
    "the authors publish fine-tuned models of DFEW, FERV39k and MAFW in the read-mes of "
    "https://github.com/sunlicai/MAE-DFER and https://github.com/sunlicai/SVFAP, and VideoMAE's are in "
    "https://github.com/MCG-NJU/VideoMAE, MODEL_ZOO.md"
)

LEFT_OUT = re.compile(r"^(decoder\.|encoder_to_decoder\.|mask_token$|(encoder\.)?norm\.|.*\.c_buf$)")
"""Tensors of a pre-training alone: its decoder, the norm before it, and averages of MiRA that only training reads."""
NAMES: Renames = (
    (r"^(encoder|backbone)\.", ""),
    (r"^patch_embed\.proj\.", "embed."),
    (r"^lg_region_tokens$", "region_tokens"),
    (r"^fc_norm\.", "norm."),
    (r"^temporal_downsamples\.", "join."),
    (r"^spatial_downsamples\.", "bottleneck."),
    (r"\.attn\.", ".attention."),
    (r"\.cross_attn\.", ".cross."),
    (r"\.cross_norm1\.", ".cross_norm."),
    (r"\.cross_norm2\.", ".context_norm."),
    (r"\.first_attn_norm0\.", ".within_norm."),
    (r"\.second_attn_norm0\.", ".between_norm."),
    (r"\.third_attn_norm0\.", ".exchange_norm."),
    (r"\.third_attn_norm1\.", ".context_norm."),
    (r"\.first_attn\.", ".within."),
    (r"\.second_attn\.", ".between."),
    (r"\.third_attn\.", ".exchange."),
    (r"\.mlp\.fc1\.", ".mlp.0."),
    (r"\.mlp\.fc2\.", ".mlp.2."),
    (r"\.proj\.", ".output."),
    (r"\.q\.weight$", ".query.weight"),
    (r"\.q_bias$", ".query.bias"),
    (r"\.v_bias$", ".value.bias"),
)
FUSED = re.compile(r"(.+)\.(q?kv)\.weight")
"""Matrices that compute queries, keys and values, or keys and values, at once."""


def file_of(weights: str) -> dict[str, object]:
    """Read what `weights` names: a published file, `run:NAME`, or the path of a run, a checkpoint or a file.

    Raises:
        FileNotFoundError: There is no such file; the message says where it is published.
        ValueError: The file holds more than tensors and plain values.
    """
    if weights in PUBLISHED:
        published = PUBLISHED[weights]
        path = Path(torch.hub.get_dir()) / "checkpoints" / published.name
        if not path.is_file():
            raise FileNotFoundError(
                f"no file {path}: {published.what} ({published.licence}) are published at {published.address}, which "
                "gives them to browsers alone. Download the file and save it under that name, or give its path as "
                "`weights`"
            )
    elif weights.startswith(RUN) or Path(weights).exists():
        path = checkpoint_named(weights)
    else:
        raise FileNotFoundError(f"no file {weights}; expected a path, run:NAME or {', '.join(PUBLISHED)}; {ALSO}")
    return read_published(path)


def state_of(content: dict[str, object], source: str) -> dict[str, Tensor]:
    """Return the tensors of a file in VideoMAE's format by the names of `VideoTransformer`; `head.` is its last layer.

    Raises:
        ValueError: The file holds no table of tensors.
    """
    inner = next((each for key in ("model", "module") if isinstance(each := content.get(key), dict)), content)
    state: dict[str, Tensor] = {}
    for key, value in tensors_in(inner, source).items():
        if LEFT_OUT.match(key):
            continue
        name = renamed(key, NAMES)
        if match := FUSED.fullmatch(name):
            parts = ("query", "key", "value")[-len(match[2]) :]
            state |= {
                f"{match[1]}.{part}.weight": each for part, each in zip(parts, value.chunk(len(parts)), strict=True)
            }
        else:
            state[name] = value.flatten(1) if name == "embed.weight" else value
    return state
