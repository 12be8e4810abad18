"""The people in a data set that does not name them, found by their faces."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from data_modules.datasets.dataset import VideoDataset
from data_modules.datasets.fold_files import FoldRow
from data_modules.datasets.folds import exclusive_folds
from data_modules.faces.detection import Detection
from data_modules.faces.errors import DetectorNotFoundError
from data_modules.faces.insightface import InsightFaceEmbedder
from data_modules.prepare.contact_sheet import pair_sheet
from data_modules.prepare.faces import store_for
from data_modules.prepare.grouping import Quality, measure, same_person, unit
from data_modules.prepare.identities import (
    Discriminant,
    Embed,
    FaceFeatures,
    Leaks,
    by_person,
    face_colours,
    face_features,
    find_leaks,
    learn,
    several_clips,
)
from data_modules.utils.files import atomic_write
from data_modules.utils.text import counted
from fer_lightning.evaluation.bootstrap import LEVEL, Interval, Resamples, resampled
from fer_lightning.layers.backbones import FrameBackbone

COLOURS, INSIGHTFACE = "colours", "insightface"
PAIRS = 16  # of clips that are shown


@dataclass(frozen=True, eq=False)
class Identities:
    """The clips of a data set with a face, grouped by person.

    Args:
        embedder: the name of what embeds faces.
        known: the name of the data set on whose known people it was measured.
        quality: there.
        faces: the clips.
        vectors: (N, E) unit vectors.
        threshold: mean similarity from which on groups of clips are one person.
        group: (N,) of each clip.
    """

    embedder: str
    known: str
    quality: Quality
    faces: FaceFeatures
    vectors: NDArray[np.float64]
    threshold: float
    group: NDArray[np.int64]

    def describe(self) -> str:
        """Says how well the embedding tells known people apart."""
        quality = self.quality
        return (
            f"{self.embedder}, on {quality.people} known people of {self.known}: equal error rate "
            f"{quality.equal_error_rate:.1%}; at similarity {quality.threshold:.2f}, {quality.recall:.1%} of the pairs "
            f"of one person are found, and {quality.precision:.1%} of the pairs found are of one person; among more "
            "people, fewer are"
        )


def find_identities(
    dataset: VideoDataset, known: VideoDataset, embedder: str | None = None, threshold: float | None = None
) -> Identities:
    """Groups the clips of a data set by person.

    insightface's embeddings are compared as they are. Of other features, a discriminant is learned on the known people,
    after it was measured by learning on one half of them and measuring on the other.

    Args:
        dataset: whose faces are prepared.
        known: a data set whose faces are prepared and whose subjects are named.
        embedder: `insightface`; `colours` of the crops; or a network of timm and its weights, such as `resnet18=timm`
            or `resnet10t=run:stills_synthetic_stills`. By default insightface if its weights are there, else colours.
        threshold: mean similarity from which on groups of clips are one person; by default the best on known people.

    Raises:
        DatasetNotFoundError: a data set is not there.
        ValueError: faces are not prepared, or the known people are too few.
        DetectorNotFoundError: weights are missing.
    """
    name, embed = make_embedder(embedder)
    people = face_features(store_for(known), known.records(), embed, known.name)
    faces = face_features(store_for(dataset), dataset.records(), embed, dataset.name)
    if name == INSIGHTFACE:
        people = several_clips(people, known.name)
        quality, vectors = measure(unit(people.values), people.people), unit(faces.values)
    else:
        discriminant: Discriminant
        discriminant, quality = learn(people, known.name)
        vectors = discriminant(faces.values)
    chosen = quality.threshold if threshold is None else threshold
    return Identities(name, known.name, quality, faces, vectors, chosen, same_person(vectors, chosen))


def make_embedder(name: str | None) -> tuple[str, Embed]:
    """Returns what embeds crops of faces, with its name; see `find_identities`.

    Raises:
        ValueError: there is none of that name.
        DetectorNotFoundError: its weights are missing.
    """
    if name is None:
        try:
            return INSIGHTFACE, _Recognition()
        except DetectorNotFoundError:
            return COLOURS, face_colours
    if name == INSIGHTFACE:
        return name, _Recognition()
    if name == COLOURS:
        return name, face_colours
    network, stated, weights = name.partition("=")
    if not stated:
        raise ValueError(
            f"embedder {name!r}: expected {INSIGHTFACE}, {COLOURS}, or a network and its weights such as resnet18=timm "
            "or resnet10t=run:stills_synthetic_stills"
        )
    backbone = FrameBackbone(network, weights)
    backbone.load_weights()
    return name, _Network(backbone.eval())


def identity_folds(dataset: VideoDataset, found: Identities, folds: int) -> list[FoldRow]:
    """Returns folds no two of which share a person, found or named.

    Raises:
        ValueError: there are too few people or clips for so many folds.
    """
    records = dataset.records()
    return exclusive_folds(records, by_person(records, found.faces, found.group), folds, dataset.name)


def film_folds(dataset: VideoDataset, folds: int) -> list[FoldRow]:
    """Returns folds no two of which share a film.

    Raises:
        ValueError: the data set does not say from which film each clip is, or there are too few films.
    """
    records = dataset.records()
    unknown = [record.clip_id for record in records if not record.group]
    if unknown:
        raise ValueError(
            f"{dataset.name} does not say from which film {counted(len(unknown), 'clip')} of {len(records)} is, such "
            f"as {unknown[0]!r}; expected a data set that names films, or --exclusive identity"
        )
    return exclusive_folds(records, {record.clip_id: record.group for record in records}, folds, dataset.name)


def share_of_leaks(leaks: Leaks) -> tuple[float, Interval]:
    """Returns the share of test clips whose person stands in training, with a bootstrap interval over people."""
    people, person = np.unique(leaks.person, return_inverse=True)
    counts = np.zeros((len(people), 2))
    np.add.at(counts, person, np.stack([leaks.leaked, np.ones(len(person))], axis=1))
    drawn, share = resampled(counts, 2000, 0), float(leaks.leaked.mean())
    resamples = Resamples.of((drawn[:, 0] / drawn[:, 1])[:, None], np.array([share]), len(people))
    return share, resamples.interval(share, LEVEL, 0, 1)


def report_leaks(dataset: VideoDataset, found: Identities, picture: Path) -> str:
    """Writes a picture of the most similar faces of test and training, and says how many test clips leak.

    Raises:
        ValueError: no clip with a face is in training, or none is tested.
    """
    leaks = find_leaks(found.faces, found.vectors, found.group)
    share, interval = share_of_leaks(leaks)
    atomic_write(picture, pair_sheet(store_for(dataset), leaks.pairs[:PAIRS]))
    ends = f" ({LEVEL:.0%} {interval:.1%} over people)" if interval.is_known else ""
    return (
        f"identities: {int(leaks.leaked.sum())} of {len(leaks.clips)} test clips with a face, {share:.1%}{ends}, show "
        f"a person who stands in training. {found.describe()}. That is what these faces seem to be; look at the "
        f"closest pairs in {picture}, and make folds without them by `fer data folds --exclusive identity`"
    )


class _Recognition:
    """insightface's recognition of a crop whose face fills its middle."""

    def __init__(self) -> None:
        self._embed = InsightFaceEmbedder()

    def __call__(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        side = crops.shape[1]
        face = Detection(np.array([0.15, 0.1, 0.85, 0.9], np.float32) * side, 1.0)
        return np.stack([self._embed(crop, face) for crop in crops])


class _Network:
    """The features of a backbone."""

    def __init__(self, backbone: FrameBackbone) -> None:
        self._backbone = backbone

    def __call__(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        with torch.inference_mode():
            features: torch.Tensor = self._backbone(torch.from_numpy(np.moveaxis(crops, -1, 1).copy()))
        return features.float().numpy()
