"""Pretrained weights of 3D CNNs: where they come from, that they are what they claim to be, and their names as ours."""

import hashlib
import re
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from fer_lightning.layers.pixels import PixelConvention, PixelConversion, Pixels, convention_in, convention_named
from fer_lightning.layers.resnet3d import ResNet3D
from fer_lightning.weights import RUN, checkpoint_named, read_checkpoint, tensors_in


@dataclass(frozen=True)
class PublishedWeights:
    """A file that somebody publishes."""

    network: str  # of `ClipBackbone`
    url: str
    sha256: str  # its first digits, published in the file's name
    pixels: Pixels  # that they were trained with
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


Names = tuple[tuple[str, str], ...]
C3D_NAMES: Names = (
    (r"\b(conv\d[ab]?)\.conv\.", r"\1."),  # MMAction2's convolutions stand in modules of their own
    (r"\bconv([12])\.", r"conv\1a."),  # the common ports
)
RESNET_NAMES: Names = (  # Hara et al.; torchvision's are ours
    (r"\b(layer\d\.\d+)\.conv(\d)\.weight$", r"\1.conv\2.0.weight"),
    (r"\b(layer\d\.\d+)\.bn(\d)\.", r"\1.conv\2.1."),
    (r"(?<!\d\.)\bconv1\.weight$", "stem.0.weight"),
    (r"(?<!\d\.)\bbn1\.", "stem.1."),
)


def load_clip_weights(network: nn.Module, conversion: PixelConversion, source: str, sha256: str | None = None) -> None:
    """Fills the convolutions of a 3D CNN, every one of them, and adopts the pixels that they were trained with.

    Beside this suite's own files it knows the names of tensors that torchvision, MMAction2, Hara et al. and the common
    ports of C3D use, and finds the network inside a larger model; further layers in the file are not needed.

    Args:
        network: the convolutional part.
        conversion: of the pixels that it sees.
        source: a name in `PUBLISHED`, `run:NAME`, or the path of a run or file.
        sha256: of the file, or its first digits.

    Raises:
        FileNotFoundError: no such run or file, or no connection to fetch published weights.
        ValueError: the file is another one than `sha256` says, is no safe file of tensors, or does not fit; other
            pixels are stated than those of the weights, or none for a file, which does not tell.
    """
    if source in PUBLISHED:
        path, sha256 = _fetched(PUBLISHED[source]), PUBLISHED[source].sha256
    else:
        path = checkpoint_named(source)
    if sha256 is not None:
        _verify(path, sha256)
    names = RESNET_NAMES if isinstance(network, ResNet3D) else C3D_NAMES
    content = read_checkpoint(path)
    tensors = {_our_name(key, names): value for key, value in tensors_in(content, path).items()}
    place = _place(network, tensors, path)
    theirs: PixelConvention | None
    if source in PUBLISHED:
        theirs = convention_named(PUBLISHED[source].pixels)
    else:
        theirs = convention_in(tensors, f"{place.removesuffix('network.')}conversion.")
    if theirs is None:  # runs of version 0.1.0 do not tell either
        of_a_run = source.startswith(RUN) or "fer_lightning" in content
        theirs = conversion.convention if of_a_run else conversion.stated_for(source)
    conversion.adopt(theirs, source)
    network.load_state_dict({key: tensors.get(place + key, value) for key, value in network.state_dict().items()})


def _fetched(published: PublishedWeights) -> Path:
    """The file in torch.hub's cache, downloaded where it is not there."""
    path = Path(torch.hub.get_dir()) / "checkpoints" / Path(published.url).name
    if path.is_file():
        return path
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        torch.hub.download_url_to_file(published.url, str(path), hash_prefix=published.sha256)
    except Exception as error:
        raise FileNotFoundError(
            f"{published.url} could not be fetched: {type(error).__name__}: {error}. These are weights for "
            f"{published.network} ({published.licence}); without a connection, fetch them elsewhere and put the file "
            f"at {path} or give its path as weights, or use `weights: random`"
        ) from error
    return path


def _verify(path: Path, sha256: str) -> None:
    with path.open("rb") as file:
        found = hashlib.file_digest(file, "sha256").hexdigest()
    if not sha256 or not found.startswith(sha256.lower()):
        raise ValueError(
            f"{path} has the SHA-256 {found}; expected one that begins with {sha256 or '(nothing)'}. The file is "
            "damaged or another one: delete it and fetch it again"
        )


def _our_name(key: str, names: Names) -> str:
    """The name that this suite gives a tensor of another one's network."""
    for pattern, replacement in names:
        key = re.sub(pattern, replacement, key)
    return key


def _place(network: nn.Module, tensors: dict[str, Tensor], path: Path) -> str:
    """The prefix of the names of a network's tensors, wherever in a larger model they stand."""
    own = network.state_dict()
    first = next(iter(own))
    places = sorted({key.removesuffix(first) for key in tensors if f".{key}".endswith(f".{first}")}) or [""]
    misfits = {place: [key for key in own if not _fits(tensors.get(place + key), own[key], key)] for place in places}
    found = [place for place in places if not misfits[place]]
    if len(found) == 1:
        return found[0]
    if found:
        raise ValueError(f"{path} holds {len(found)} networks that fit, at {', '.join(found)}; expected one")
    place = min(places, key=lambda place: len(misfits[place]))
    example = misfits[place][0]
    there = tensors.get(place + example)
    raise ValueError(
        f"the weights of {path} do not fit: {len(misfits[place])} of {len(own)} tensors are missing or have another "
        f"shape, such as {example} ({tuple(own[example].shape)} expected, "
        f"{'none' if there is None else tuple(there.shape)} found); state the network, depth, cardinality and width "
        "that the file was made with"
    )


def _fits(found: Tensor | None, expected: Tensor, key: str) -> bool:
    if found is None:
        return key.endswith("num_batches_tracked")  # files from before torch 0.4.1 lack these counters
    return found.shape == expected.shape
