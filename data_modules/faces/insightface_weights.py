"""The weights of insightface's networks: where they are looked for, and what the published files are."""

import logging
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from data_modules.faces.errors import WeightsError
from data_modules.utils.checksum import cached_sha256

log = logging.getLogger(__name__)

RELEASE = "https://github.com/deepinsight/insightface/releases/download/v0.7/"
LICENCE = "Licence: the weights are for non-commercial research only; insightface's code is under the MIT licence."

Task = Literal["detection", "recognition", "landmarks"]


@dataclass(frozen=True)
class Weights:
    """A published file of weights.

    insightface publishes no checksums. These are the ones on which public projects that ship or pin the files agree.
    A file with another checksum is therefore used, but with a warning.
    """

    name: str
    sha256: str | None = None


@dataclass(frozen=True)
class Pack:
    """A pack of models as insightface releases it."""

    name: str
    detection: Weights
    recognition: Weights
    landmarks: Weights


_SCRFD_10G = "5838f7fe053675b1c7a08b633df49e7af5495cee0493c7dcf6697200b85b5b91"
_LANDMARKS = Weights("1k3d68.onnx", "df5c06b8a0c12e422b2ed8947b8869faa4105387f199c477af038aa01f9a45cc")
PACKS = (
    Pack(
        "buffalo_l",
        Weights("det_10g.onnx", _SCRFD_10G),
        Weights("w600k_r50.onnx", "4c06341c33c2ca1f86781dab0e829f88ad5b64be9fba56e56bc9ebdefc619e43"),
        _LANDMARKS,
    ),
    Pack(
        "buffalo_s",
        Weights("det_500m.onnx", "5e4447f50245bbd7966bd6c0fa52938c61474a04ec7def48753668a9d8b4ea3a"),
        Weights("w600k_mbf.onnx", "9cc6e4a75f0e2bf0b1aed94578f144d15175f357bdc05e815e5c4a02b319eb4f"),
        _LANDMARKS,
    ),
    Pack(
        "antelopev2",
        Weights("scrfd_10g_bnkps.onnx", _SCRFD_10G),
        Weights("glintr100.onnx", "4ab1d6435d639628a6f3e5008dd4f929edf4c4124b1a7169e1048f9fef534cdf"),
        _LANDMARKS,
    ),
)


PERSONS = Weights("scrfd_person_2.5g.onnx")


def models_folder() -> Path:
    """Returns the folder of all packs: FER_WEIGHTS/insightface, or insightface's own default."""
    root = os.environ.get("FER_WEIGHTS")
    return Path(root).expanduser() / "insightface" if root else Path("~/.insightface/models").expanduser()


def find_weights(pack: str | Path, task: Task) -> Path:
    """Returns the path of a pack's file for a task.

    Args:
        pack: name of a pack, path of an ONNX file, or path of a folder with a pack's files.
        task: the task of the network.

    Raises:
        WeightsError: the file does not exist; the message says how to get it.
    """
    location = Path(pack).expanduser()
    if location.suffix == ".onnx":
        if not location.is_file():
            raise WeightsError(f"{location} does not exist; expected an ONNX file with weights for {task}")
        return location
    named = [candidate for candidate in PACKS if candidate.name == pack]
    candidates = named or PACKS
    folder = models_folder() / named[0].name if named else location
    for candidate in candidates:
        weights: Weights = getattr(candidate, task)
        for path in (folder / weights.name, folder / candidate.name / weights.name):  # antelopev2.zip has a folder
            if path.is_file():
                _verify_checksum(path, weights)
                return path
    files = " or ".join(dict.fromkeys(getattr(candidate, task).name for candidate in candidates))
    url = f"{RELEASE}{candidates[0].name}.zip"
    raise WeightsError(
        f"insightface's {task} needs its weights {files}, but they are not in {folder.absolute()}.\n"
        f"Download {url} and unpack it there; the packs are {', '.join(known.name for known in PACKS)}. {LICENCE}"
        + (
            "\nAlternatively, use the detector `mtcnn`, whose wheel contains weights under the MIT licence."
            * (task == "detection")
        )
    )


def _verify_checksum(path: Path, weights: Weights) -> None:
    checksum = cached_sha256(path)
    if weights.sha256 and checksum != weights.sha256:
        log.warning(
            "%s has the sha256 %s, while that of the published file is %s: the file is damaged or another one. "
            "Unpack the release again unless this is intended",
            path,
            checksum,
            weights.sha256,
        )
