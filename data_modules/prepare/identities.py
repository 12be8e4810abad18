"""Which clips show the same person, by their prepared faces: for data sets that do not name the people."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray
from sklearn.decomposition import PCA
from sklearn.discriminant_analysis import LinearDiscriminantAnalysis

from data_modules.datasets.splits import linked
from data_modules.manifest import VideoRecord
from data_modules.prepare.grouping import Quality, measure, unit
from data_modules.store.clip_store import ClipStore
from data_modules.utils.progress import progress

Embed = Callable[[NDArray[np.uint8]], NDArray[np.floating]]
"""Maps (K, S, S, 3) RGB crops of one clip's face to features (K, D)."""

FRAMES = 5  # of a clip whose features are averaged
SIDE = 32  # pixels of the faces whose colours are compared
COMPONENTS = 300  # principal components that a discriminant is computed of
SHRINKAGE = 0.1  # of the covariance within people towards a multiple of the identity
MOST_CLIPS = 20_000  # their similarities take 3.2 GB


def face_colours(crops: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Returns the L*a*b* colours of (K, S, S, 3) crops of 32 x 32 pixels as features (K, 3072)."""
    small = (cv2.resize(crop, (SIDE, SIDE), interpolation=cv2.INTER_AREA) for crop in crops)
    return np.array([cv2.cvtColor(crop, cv2.COLOR_RGB2LAB).ravel() for crop in small], np.float64)


@dataclass(frozen=True, eq=False)
class FaceFeatures:
    """The mean features of N clips with a face."""

    records: tuple[VideoRecord, ...]
    values: NDArray[np.float64]  # (N, D)

    @property
    def people(self) -> NDArray[np.str_]:
        """(N,) the subject of each clip; empty where it is unknown."""
        return np.array([record.subject for record in self.records])

    def select(self, kept: NDArray[np.bool_]) -> "FaceFeatures":
        """Returns some of the clips."""
        return FaceFeatures(tuple(self.records[row] for row in np.flatnonzero(kept)), self.values[kept])


def shown_clips(store: ClipStore, records: Sequence[VideoRecord], name: str) -> list[VideoRecord]:
    """Returns the clips with a prepared face, by their ids.

    Args:
        store: the prepared faces.
        records: the clips.
        name: of the data set, for messages.

    Raises:
        ValueError: no clip has one.
    """
    index = store.read_index()
    shown = sorted((r for r in records if r.clip_id in index and index[r.clip_id].num_faces), key=lambda r: r.clip_id)
    if not shown:
        raise ValueError(f"{name}: no faces in {store.folder}; prepare them first: `fer data prepare`")
    return shown


def crops_of(store: ClipStore, clip_id: str) -> NDArray[np.uint8]:
    """Returns crops (K, S, S, 3) of the face in evenly spaced frames of a clip."""
    clip = store.open(clip_id)
    return clip.crops(np.unique(np.linspace(0, len(clip) - 1, FRAMES).round().astype(np.int64)))


def face_features(store: ClipStore, records: Sequence[VideoRecord], embed: Embed, name: str) -> FaceFeatures:
    """Computes the features of all clips with a face, each the mean over evenly spaced frames.

    Args:
        store: the prepared faces.
        records: the clips.
        embed: computes the features.
        name: of the data set, for messages.

    Raises:
        ValueError: no clip has a prepared face, or there are too many clips to compare.
    """
    shown = shown_clips(store, records, name)
    if len(shown) > MOST_CLIPS:
        raise ValueError(f"{name}: {len(shown)} clips with a face; at most {MOST_CLIPS} can be compared in memory")
    values = []
    with progress(f"{name}: embedding faces", len(shown), transient=True) as advance:
        for number, record in enumerate(shown, start=1):
            values.append(np.asarray(embed(crops_of(store, record.clip_id)), np.float64).mean(axis=0))
            advance(number)
    return FaceFeatures(tuple(shown), np.stack(values))


class Discriminant:
    """Turns features into unit vectors whose similarity tells people apart: Fisherfaces.

    Principal components, then Fisher's linear discriminant (Belhumeur et al., "Eigenfaces vs. Fisherfaces", 1997,
    https://doi.org/10.1109/34.598228), which directions are learned from known people.

    Args:
        known: clips of known people, two or more of each.
    """

    def __init__(self, known: FaceFeatures) -> None:
        values, people = known.values, known.people
        self._components = PCA(min(COMPONENTS, *values.shape), random_state=0).fit(values)
        self._discriminant = LinearDiscriminantAnalysis(solver="eigen", shrinkage=SHRINKAGE)
        self._discriminant.fit(self._components.transform(values), people)

    def __call__(self, values: NDArray[np.float64]) -> NDArray[np.float64]:
        """Maps features (N, D) to unit vectors (N, E)."""
        return unit(self._discriminant.transform(self._components.transform(values)))


def learn(known: FaceFeatures, name: str) -> tuple[Discriminant, Quality]:
    """Learns a discriminant on known people, and measures on one half of them what is learned on the other.

    Raises:
        ValueError: there are fewer than twenty people with two clips or more.
    """
    known = several_clips(known, name)
    names = sorted(set(known.people.tolist()))
    half = np.isin(known.people, names[::2])
    tested = known.select(~half)
    quality = measure(Discriminant(known.select(half))(tested.values), tested.people)
    return Discriminant(known), quality


def several_clips(known: FaceFeatures, name: str) -> FaceFeatures:
    """Returns the clips of named people who have two or more.

    Raises:
        ValueError: there are fewer than twenty of them.
    """
    names, counts = np.unique(known.people[known.people != ""], return_counts=True)
    if (counts > 1).sum() < 20:
        raise ValueError(
            f"{name}: {int((counts > 1).sum())} named people with two clips or more; expected 20 to measure how well "
            "faces are told apart"
        )
    return known.select(np.isin(known.people, names[counts > 1]))


def by_person(records: Sequence[VideoRecord], embedded: FaceFeatures, group: NDArray[np.int64]) -> dict[str, str]:
    """Returns a name for the person in each clip: the first clip of all that show the same one.

    Clips are of one person if their faces are in one group or the data set names the same subject; a clip without a
    face or a name is a person of its own.

    Args:
        records: all clips.
        embedded: those with a face.
        group: (N,) of each of these, from `Groups`.
    """
    keys: dict[str, list[tuple[str, str | int]]] = {clip: [] for clip in sorted(record.clip_id for record in records)}
    for record, number in zip(embedded.records, group.tolist(), strict=True):
        keys[record.clip_id].append(("group", number))
    for record in records:
        if record.subject:
            keys[record.clip_id].append(("subject", record.subject))
    names: dict[int, str] = {}
    return {clip: names.setdefault(number, clip) for clip, number in zip(keys, linked([*keys.values()]), strict=True)}


@dataclass(frozen=True, eq=False)
class Leaks:
    """The test clips with a face, and which of them show a person who stands in training.

    Args:
        clips: (M,) ids of the test clips.
        person: (M,) the group of each.
        leaked: (M,) whether a clip of the group is in training.
        pairs: the most similar pairs of a test and a training clip, of each test clip its nearest one, with their
            cosine similarity.
    """

    clips: NDArray[np.str_]
    person: NDArray[np.int64]
    leaked: NDArray[np.bool_]
    pairs: tuple[tuple[str, str, float], ...]


def find_leaks(embedded: FaceFeatures, vectors: NDArray[np.float64], group: NDArray[np.int64]) -> Leaks:
    """Finds the test clips whose person stands in training, or in the inner split.

    Args:
        embedded: N clips with their splits.
        vectors: (N, E) unit vectors of their faces.
        group: (N,) of each, from `Groups`.

    Raises:
        ValueError: no clip with a face is in training, or none is tested.
    """
    clips = np.array([record.clip_id for record in embedded.records])
    tested = np.array([record.split == "test" for record in embedded.records])
    if tested.all() or not tested.any():
        raise ValueError(
            f"{int(tested.sum())} of {len(tested)} clips with a face are tested; expected some in training"
        )
    similarity = vectors[tested] @ vectors[~tested].T
    nearest = similarity.argmax(axis=1)
    values = similarity[np.arange(len(nearest)), nearest]
    rows = zip(clips[tested].tolist(), clips[~tested][nearest].tolist(), values.tolist(), strict=True)
    pairs = tuple(sorted(rows, key=lambda pair: (-pair[2], pair[0])))
    return Leaks(clips[tested], group[tested], np.isin(group[tested], group[~tested]), pairs)
