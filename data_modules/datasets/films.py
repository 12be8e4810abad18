"""The films of SFEW and AFEW: SFEW's images are frames of AFEW's clips, with a split of their own.

A model that is trained on images of a film and reported on clips of it (or the other way round) has seen its people,
its light and perhaps the very scene. SFEW's files are named `<film>_<place>_<frame>.png` and AFEW's `<place>.avi`; the
place is the clip's beginning in the film. An image and a clip with the same place are thus most likely of one film,
and so are the images of that film. Copies of AFEW whose files are named `<film>_<place>.avi` are compared by film.
"""

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import PurePath

from data_modules.datasets.afew import AFEW
from data_modules.datasets.dataset import DatasetNotFoundError, VideoDataset
from data_modules.datasets.sfew import SFEW
from data_modules.manifest import VideoRecord

IMAGE = re.compile(r".+_(\d+)_\d+")  # Airheads_000519240_00000005
CLIP = re.compile(r"(?:(?P<film>.+)_)?(?P<place>\d+)")  # 000519240


@dataclass(frozen=True)
class SharedFilm:
    """A film with training images or clips in one data set and reported ones in the other.

    Args:
        text: the film, and an image and a clip of it.
        is_named: whether both data sets name it; otherwise it is concluded from places.
    """

    text: str
    is_named: bool


def compare_films(dataset: VideoDataset) -> tuple[str, list[SharedFilm] | None] | None:
    """Compares SFEW with the AFEW in the folder beside it, or the other way round.

    Returns:
        The other data set's name, and the films that are trained on in one and reported in the other; None in the place
        of the films if the other one is not there. None for all other data sets.

    Raises:
        ValueError: an annotation is invalid.
    """
    if not isinstance(dataset, (AFEW, SFEW)):
        return None
    kind: type[AFEW | SFEW] = SFEW if isinstance(dataset, AFEW) else AFEW
    try:
        other = kind(root=dataset.folder.parent / kind.name).records()
    except DatasetNotFoundError:
        return kind.name, None
    records = dataset.records()
    return kind.name, shared_films(other, records) if kind is SFEW else shared_films(records, other)


def shared_films(images: Iterable[VideoRecord], clips: Iterable[VideoRecord]) -> list[SharedFilm]:
    """Returns the films that are in the training split of one data set and in the test split of the other.

    Args:
        images: the records of SFEW.
        clips: the records of AFEW.
    """
    films: dict[str, dict[str, list[str]]] = defaultdict(lambda: defaultdict(list))  # film -> split -> images
    places: dict[str, set[str]] = defaultdict(set)  # place -> films with an image there
    for image in images:
        match = IMAGE.fullmatch(PurePath(image.path).stem)
        if match:
            films[image.group][image.split].append(image.clip_id)
            places[match[1]].add(image.group)
    shared: dict[str, SharedFilm] = {}
    for clip in clips:
        match = CLIP.fullmatch(PurePath(clip.path).stem)
        if match is None:
            continue
        for film in [match["film"]] if match["film"] else sorted(places[match["place"]]):
            others = _other_split(films[film], clip.split) if film in films else []
            if others and (film not in shared or (match["film"] and not shared[film].is_named)):
                text = f"{film}: {others[0]} of SFEW, {clip.clip_id} of AFEW"
                shared[film] = SharedFilm(text, bool(match["film"]))
    return [shared[film] for film in sorted(shared)]


def _other_split(images: dict[str, list[str]], split: str) -> Sequence[str]:
    """Returns the images of a film that are reported if a clip is trained on, and the other way round."""
    return images.get("train" if split == "test" else "test", [])
