"""Pretrained weights of 3D CNNs: their sources, their checksums, and the mapping of their tensor names to ours."""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from data_modules.utils.checksum import file_sha256
from fer_lightning.layers.pixels import PixelConvention, PixelConversion, Pixels, convention_from_state, get_convention
from fer_lightning.layers.resnet3d import ResNet3D
from fer_lightning.weights import Renames, checkpoint_named, read_checkpoint, renamed, tensors_in, trained_here


@dataclass(frozen=True)
class PublishedWeights:
    """A published weights file.

    Args:
        network: Network of `ClipBackbone`, in words.
        url: Address of the file.
        sha256: First digits of its SHA-256, which are part of the file's name.
        pixels: Pixel convention of the weights.
        licence: Publisher and licence.
    """

    network: str
    url: str
    sha256: str
    pixels: Pixels
    licence: str


PUBLISHED = {
    "sports1m": PublishedWeights(
        network="c3d",
        url="https://download.openmmlab.com/mmaction/recognition/c3d/c3d_sports1m_pretrain_20201016-dcc47ddc.pth",
        sha256="dcc47ddc",
        pixels="sports1m",
        licence="MMAction2, Apache-2.0; converted from the authors' model of 2015",
    ),
    "kinetics": PublishedWeights(
        network="resnet3d of depth 18",
        url="https://download.pytorch.org/models/r3d_18-b3b3357e.pth",
        sha256="b3b3357e",
        pixels="kinetics",
        licence="torchvision's R3D_18_Weights.KINETICS400_V1, BSD-3-Clause; Kinetics-400 itself is CC BY 4.0",
    ),
}


C3D_NAMES: Renames = (
    (r"\b(conv\d[ab]?)\.conv\.", r"\1."),  # MMAction2, which wraps each convolution in a module
    (r"\bconv([12])\.", r"conv\1a."),  # the common ports
)
RESNET_NAMES: Renames = (  # Hara et al.; also torchvision's names
    (r"\b(layer\d\.\d+)\.conv(\d)\.weight$", r"\1.conv\2.0.weight"),
    (r"\b(layer\d\.\d+)\.bn(\d)\.", r"\1.conv\2.1."),
    (r"(?<!\d\.)\bconv1\.weight$", "stem.0.weight"),
    (r"(?<!\d\.)\bbn1\.", "stem.1."),
)


def load_clip_weights(network: nn.Module, conversion: PixelConversion, source: str, sha256: str | None = None) -> None:
    """Load all convolutions of a 3D CNN and adopt the pixel convention of the weights.

    Besides files of this suite, it accepts the tensor names of torchvision, MMAction2, Hara et al. and the common ports
    of C3D. The network may be part of a larger model, and additional layers in the file are ignored.

    Args:
        network: The convolutional part of the network.
        conversion: The network's pixel conversion.
        source: A name in `PUBLISHED`, `run:NAME`, or the path of a run or file.
        sha256: SHA-256 of the file, or its first digits.

    Raises:
        FileNotFoundError: The run or file does not exist, or published weights cannot be downloaded.
        ValueError: The file has another SHA-256, contains more than tensors, or does not fit the network. Or the
            stated pixel convention differs from that of the weights, or none is stated for a file without one.
    """
    if source in PUBLISHED:
        path, sha256 = _fetch(PUBLISHED[source]), PUBLISHED[source].sha256
    else:
        path = checkpoint_named(source)
    if sha256 is not None:
        _verify(path, sha256)
    content = read_checkpoint(path)
    tensors, prefix = _find_network(network, content, path)
    convention: PixelConvention | None
    if source in PUBLISHED:
        convention = get_convention(PUBLISHED[source].pixels)
    else:
        convention = convention_from_state(tensors, f"{prefix.removesuffix('network.')}conversion.")
    if convention is None:  # runs of version 0.1.0 do not contain it either
        convention = conversion.convention if trained_here(content) else conversion.require_stated(source)
    conversion.adopt(convention, source)
    load_clip_content(network, content, path)


def load_clip_content(network: nn.Module, content: dict[str, object], source: object) -> None:
    """Load all convolutions of a 3D CNN from the content of a checkpoint; see `load_clip_weights`.

    Args:
        network: The convolutional part of the network.
        content: The content, from `read_checkpoint`.
        source: The checkpoint's name, for messages.

    Raises:
        ValueError: The content does not fit the network.
    """
    tensors, prefix = _find_network(network, content, source)
    network.load_state_dict({key: tensors.get(prefix + key, value) for key, value in network.state_dict().items()})


def _find_network(network: nn.Module, content: dict[str, object], source: object) -> tuple[dict[str, Tensor], str]:
    """Return the tensors of a checkpoint by this suite's names, and the prefix of the network among them."""
    names = RESNET_NAMES if isinstance(network, ResNet3D) else C3D_NAMES
    tensors = {renamed(key, names): value for key, value in tensors_in(content, source).items()}
    return tensors, _find_prefix(network, tensors, source)


def _fetch(published: PublishedWeights) -> Path:
    """Return the file in torch.hub's cache, and download it first if it is missing."""
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(published.url).name
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        torch.hub.download_url_to_file(published.url, str(path), hash_prefix=published.sha256)
    except Exception as error:
        raise FileNotFoundError(
            f"{published.url} could not be fetched: {type(error).__name__}: {error}. These are the weights for "
            f"{published.network} ({published.licence}). Without a connection, download the file on another machine "
            f"and copy it to {path}, give its path as `weights`, or use `weights: random`"
        ) from error
    return path


def _verify(path: Path, sha256: str) -> None:
    digest = file_sha256(path)
    if not sha256 or not digest.startswith(sha256.lower()):
        raise ValueError(
            f"{path} has the SHA-256 {digest}; expected one that begins with {sha256 or '(nothing)'}. The file is "
            "damaged or a different one: delete it and download it again"
        )


def _find_prefix(network: nn.Module, tensors: dict[str, Tensor], path: object) -> str:
    """Find the prefix of the network's tensor names in a file of a possibly larger model."""
    state = network.state_dict()
    first = next(iter(state))
    prefixes = sorted({key.removesuffix(first) for key in tensors if f".{key}".endswith(f".{first}")}) or [""]
    misfits = {
        prefix: [key for key in state if not _fits(tensors.get(prefix + key), state[key], key)] for prefix in prefixes
    }
    matches = [prefix for prefix in prefixes if not misfits[prefix]]
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise ValueError(f"{path} holds {len(matches)} networks that fit, at {', '.join(matches)}; expected one")
    best = min(prefixes, key=lambda prefix: len(misfits[prefix]))
    example = misfits[best][0]
    tensor = tensors.get(best + example)
    raise ValueError(
        f"the weights of {path} do not fit: {len(misfits[best])} of {len(state)} tensors are missing or have another "
        f"shape, such as {example} ({tuple(state[example].shape)} expected, "
        f"{'none' if tensor is None else tuple(tensor.shape)} found); state the network, depth, cardinality and width "
        "that the file was made with"
    )


def _fits(tensor: Tensor | None, expected: Tensor, key: str) -> bool:
    """Whether a tensor of a file can be loaded."""
    if tensor is None:
        return key.endswith("num_batches_tracked")  # files from before torch 0.4.1 lack these counters
    return tensor.shape == expected.shape
