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
from data_modules.loading.transforms import resized
from data_modules.prepare.contact_sheet import pair_sheet
from data_modules.prepare.faces import store_for
from data_modules.prepare.grouping import WANTED, Choice, Groups, Quality, choose, measure, unit
from data_modules.prepare.identities import (
    Discriminant,
    Embed,
    FaceFeatures,
    Leaks,
    by_person,
    crops_of,
    face_colours,
    face_features,
    find_leaks,
    learn,
    several_clips,
    shown_clips,
)
from data_modules.utils.files import atomic_write
from data_modules.utils.progress import progress
from data_modules.utils.text import counted
from fer_lightning.evaluation.bootstrap import LEVEL, Interval, Resamples, resampled
from fer_lightning.layers.backbones import FrameBackbone
from fer_lightning.paths import RUN
from fer_lightning.training.loading import load_trained
from fer_lightning.training.person_network import PersonNetwork, train_person_network
from fer_lightning.weights import SAFETENSORS
from fer_lightning.zoo.lookup import find_model

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
        choice: the threshold.
        group: (N,) of each clip.
    """

    embedder: str
    known: str
    quality: Quality
    faces: FaceFeatures
    vectors: NDArray[np.float64]
    choice: Choice
    group: NDArray[np.int64]

    def describe(self) -> str:
        """Says how well the embedding tells known people apart, and what that says about the clips at hand."""
        quality, choice = self.quality, self.choice
        said = (
            f"{self.embedder}, on {quality.people} known people of {self.known}: equal error rate "
            f"{quality.equal_error_rate:.1%}; at similarity {choice.threshold:.2f}, {choice.recall:.1%} of the pairs "
            f"of one person are found, and {choice.precision:.1%} of the pairs found are of one person; among the "
            f"{len(self.vectors)} clips here, {choice.expected:.0%} or more should be"
        )
        if choice.expected >= WANTED:
            return said
        return f"{said}, which is less than {WANTED:.0%}: another embedder, or more known people, may reach that"


@dataclass(frozen=True)
class Embedder:
    """What embeds crops of faces.

    Args:
        name: its name.
        embed: maps the crops of a clip to features.
        trained: whether the features were trained to tell people apart, and are compared as they are.
        trained_on: the store's name of the prepared data set that they were trained on, if it was one.
    """

    name: str
    embed: Embed
    trained: bool = False
    trained_on: str = ""


def find_identities(
    dataset: VideoDataset, known: VideoDataset, embedder: str | None = None, threshold: float | None = None
) -> Identities:
    """Groups the clips of a data set by person.

    Features that were trained to tell people apart are compared as they are. Of others, a discriminant is learned on
    the known people, after it was measured by learning on one half of them and measuring on the other.

    Args:
        dataset: whose faces are prepared.
        known: a data set whose faces are prepared and whose subjects are named.
        embedder: `insightface`; a file of `fer data embedder`; `colours` of the crops; the backbone of a run, such as
            `run:stills_synthetic_stills`; or a network of timm and its weights, such as `resnet18=timm`. By default
            insightface if its weights are there, else colours.
        threshold: mean similarity from which on groups of clips are one person; by default it is chosen by the known
            people and the number of clips, see `choose`.

    Raises:
        DatasetNotFoundError: a data set is not there.
        ValueError: faces are not prepared, the known people are too few, or the embedder was trained on them.
        DetectorNotFoundError: weights are missing.
        FileNotFoundError: the embedder's file does not exist.
    """
    used = make_embedder(embedder)
    if used.trained_on and used.trained_on == known.store_name:
        raise ValueError(
            f"{used.name} was trained on the people of {known.name} ({known.store_name}), so these do not show how "
            "well it tells others apart; expected other people, such as --known synthetic"
        )
    people = face_features(store_for(known), known.records(), used.embed, known.name)
    faces = face_features(store_for(dataset), dataset.records(), used.embed, dataset.name)
    if used.trained:
        people = several_clips(people, known.name)
        quality, vectors = measure(unit(people.values), people.people), unit(faces.values)
    else:
        discriminant: Discriminant
        discriminant, quality = learn(people, known.name)
        vectors = discriminant(faces.values)
    groups = Groups(vectors)
    choice = choose(quality, groups, len(vectors), threshold)
    return Identities(used.name, known.name, quality, faces, vectors, choice, groups.at(choice.threshold))


def make_embedder(name: str | None) -> Embedder:
    """Returns what embeds crops of faces; see `find_identities`.

    Raises:
        ValueError: there is none of that name, or its file is something else.
        FileNotFoundError: its file does not exist.
        DetectorNotFoundError: its weights are missing.
    """
    if name is None:
        try:
            return make_embedder(INSIGHTFACE)
        except DetectorNotFoundError:
            return make_embedder(COLOURS)
    if name == INSIGHTFACE:
        return Embedder(name, _Recognition(), trained=True)
    if name == COLOURS:
        return Embedder(name, face_colours)
    if name.startswith(RUN):
        return Embedder(name, backbone_of(name))
    network, stated, weights = name.partition("=")
    if stated:
        backbone = FrameBackbone(network, weights)
        backbone.load_weights()
        return Embedder(name, _Network(backbone.eval()))
    if name.endswith(SAFETENSORS):
        trained = PersonNetwork.load(Path(name))
        return Embedder(name, trained.embed, True, trained.trained_on)
    raise ValueError(
        f"embedder {name!r}: expected {INSIGHTFACE}, {COLOURS}, or a network: a file of `fer data embedder` such as "
        f"people.safetensors, that of a run such as {RUN}stills_synthetic_stills, or a name of timm's and weights such "
        "as resnet18=timm"
    )


def backbone_of(run: str) -> "_Network":
    """Returns the backbone of a run's trained model, which sees crops of the side that it was trained with.

    Args:
        run: such as `run:stills_synthetic_stills`.

    Raises:
        FileNotFoundError: there is no such run, or it has no checkpoint.
        ValueError: its model has no backbone of single frames.
    """
    trained = load_trained(find_model(run.removeprefix(RUN)))
    backbone = next((part for part in trained.model.modules() if isinstance(part, FrameBackbone)), None)
    if backbone is None:
        raise ValueError(
            f"embedder {run}: {type(trained.model).__name__} has no backbone of single frames; expected a run such as "
            f"{RUN}stills_synthetic_stills"
        )
    return _Network(backbone, trained.size)


def train_embedder(dataset: VideoDataset, path: Path, epochs: int, seed: int) -> str:
    """Trains a network to tell the named people of a data set apart by their prepared faces, and writes it to a file.

    Returns:
        What was trained, as a sentence.

    Raises:
        DatasetNotFoundError: the data set is not there.
        ValueError: faces are not prepared, or too few are of named people.
    """
    store, crops, people = store_for(dataset), list[NDArray[np.uint8]](), list[str]()
    torch.manual_seed(seed)
    network = PersonNetwork(dataset.store_name)
    named = [record for record in shown_clips(store, dataset.records(), dataset.name) if record.subject]
    with progress(f"{dataset.name}: reading faces", len(named), transient=True) as advance:
        for number, record in enumerate(named, start=1):
            crops += [resized(crop, network.size) for crop in crops_of(store, record.clip_id)]
            people += [record.subject] * (len(crops) - len(people))
            advance(number)
    loss = train_person_network(network, np.array(crops), people, epochs, seed)
    network.save(path)
    return (
        f"{path.absolute()}: trained on {len(crops)} faces of {len(set(people))} people of {dataset.name}, loss "
        f"{loss:.3f} in the last of {epochs} epochs. `fer data doctor NAME --identities --embedder {path}` first says "
        "how well it tells known people apart that it has not seen"
    )


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
    """The features of a backbone, of crops of a size or as they are."""

    def __init__(self, backbone: FrameBackbone, size: int | None = None) -> None:
        self._backbone, self._size = backbone, size

    def __call__(self, crops: NDArray[np.uint8]) -> NDArray[np.float32]:
        if self._size is not None:
            crops = np.stack([resized(crop, self._size) for crop in crops])
        with torch.inference_mode():
            features: torch.Tensor = self._backbone(torch.from_numpy(np.moveaxis(crops, -1, 1).copy()))
        return features.float().numpy()
