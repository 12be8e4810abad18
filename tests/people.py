"""Rendered films with several people who come, go, cross and are cut between, and measures of who is taken for whom."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

from data_modules.faces.detection import Detection, five_points
from data_modules.faces.tracking import overlaps
from data_modules.synthetic.clip import ClipSettings, face_boxes, plan_clip
from data_modules.synthetic.scene import BACKGROUNDS, background
from data_modules.synthetic.staging import Figure

SIZE = 128  # of the square that a person is painted in, pixels
KEY = (0, 255, 0)
Box = NDArray[np.float32]


@dataclass(frozen=True)
class Walk:
    """Somebody in a shot, from one frame of it to another."""

    who: int
    start: tuple[int, int]  # upper left corner of the square, pixels
    end: tuple[int, int] | None = None  # None: stays
    first: int = 0
    stop: int | None = None  # None: to the end of the shot


@dataclass(frozen=True)
class Shot:
    """What the camera sees without a cut; later walks are in front of earlier ones."""

    frames: int
    place: int  # chooses the background
    walks: Sequence[Walk]


@dataclass(frozen=True)
class Film:
    """A rendered film and what is known about it."""

    frames: NDArray[np.uint8]  # (T, H, W, 3) RGB
    faces: list[dict[int, Detection]]  # T: the visible faces, by person
    cuts: list[int]  # first frame of each shot but the first


@lru_cache(maxsize=16)
def _performance(who: int, emotion: str) -> tuple[NDArray[np.uint8], Box, NDArray[np.float32]]:
    """(T, S, S, 3) somebody before the key colour, (T, 4) boxes and (T, 5, 2) points."""
    plan = plan_clip(ClipSettings("lab", who, emotion, size=SIZE))
    figure = Figure(plan.person, plan.performance, plan.staging.light, plan.staging.clothes, SIZE)
    images = np.empty((len(plan.intensity), SIZE, SIZE, 3), np.uint8)
    images[:] = KEY
    for t, image in enumerate(images):
        figure.paint(image, t)
    marks = figure.portrait.landmarks
    return images, face_boxes(marks), np.stack([five_points(each) for each in marks])


def film(shots: Sequence[Shot], width: int = 384, height: int = 144, emotion: str = "happiness") -> Film:
    """Renders shots one after another."""
    pictures, faces, cuts = [], [], []
    for shot in shots:
        cuts.append(len(pictures))
        rng = np.random.default_rng(shot.place)
        wall = background(BACKGROUNDS[shot.place % len(BACKGROUNDS)], width, rng)[:height]
        for t in range(shot.frames):
            picture, present = wall.copy(), dict[int, Detection]()
            for walk in shot.walks:
                if walk.first <= t < (walk.stop or shot.frames):
                    _paint(picture, present, walk, t, shot.frames, emotion)
            pictures.append(picture)
            faces.append(present)
    return Film(np.stack(pictures), faces, cuts[1:])


def _paint(
    picture: NDArray[np.uint8], present: dict[int, Detection], walk: Walk, t: int, frames: int, emotion: str
) -> None:
    """Paints somebody over a picture and removes the faces that are hidden behind them."""
    images, boxes, points = _performance(walk.who, emotion)
    share = (t - walk.first) / max((walk.stop or frames) - walk.first - 1, 1)
    left, top = (round(a + share * (b - a)) for a, b in zip(walk.start, walk.end or walk.start, strict=True))
    number = t % (2 * len(images))  # forwards, then backwards
    number = min(number, 2 * len(images) - 1 - number)
    height, width = picture.shape[:2]
    rows, columns = slice(max(top, 0), min(top + SIZE, height)), slice(max(left, 0), min(left + SIZE, width))
    if rows.stop <= rows.start or columns.stop <= columns.start:
        return
    part = images[number, rows.start - top : rows.stop - top, columns.start - left : columns.stop - left]
    red, green, blue = np.moveaxis(part.astype(int), -1, 0)
    solid = green - np.maximum(red, blue) < 60  # what is mixed with the key colour at the edges is left out
    picture[rows, columns][solid] = part[solid]
    shift = np.array([left, top], np.float32)
    box = boxes[number] + np.tile(shift, 2)
    for who, other in list(present.items()):
        if overlaps(box, [other.box])[0] > 0.2:
            del present[who]
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    if 0.15 * SIZE < x < width - 0.15 * SIZE and 0 < y < height:
        present[walk.who] = Detection(box, 0.99, points[number] + shift)


class KnownFaces:
    """A detector that looks up the faces of a film, which it finds a little inaccurately; also after compression."""

    name, device = "known", "cpu"

    def __init__(self, known: Film) -> None:
        self._known, self._small = known, known.frames[:, ::8, ::8].astype(np.int16)

    def detect(self, frames):
        found = []
        for frame in frames:
            index = int(np.abs(self._small - frame[::8, ::8]).mean((1, 2, 3)).argmin())
            noise = np.random.default_rng(index).normal(0, 0.7, (4, 4)).astype(np.float32)
            faces = self._known.faces[index].values()
            found.append([Detection(f.box + n, f.score, f.points) for f, n in zip(faces, noise, strict=False)])
        return found


def identity_f1(truth: Sequence[dict[int, Box]], found: Sequence[dict[int, Box]], iou: float = 0.5) -> float:
    """IDF1 (Ristani et al., 2016, https://arxiv.org/abs/1609.01775, equations 8 to 11).

    True and found identities are paired one to one so that as few boxes as possible are missed or wrong: 2 IDTP /
    (2 IDTP + IDFP + IDFN), where IDTP counts frames in which the boxes of a pair overlap.
    """
    people, tracks = (sorted({key for frame in frames for key in frame}) for frames in (truth, found))
    common = np.zeros((len(people), len(tracks)))
    for real, given in zip(truth, found, strict=True):
        for i, person in enumerate(people):
            for j, track in enumerate(tracks):
                if person in real and track in given:
                    common[i, j] += overlaps(real[person], [given[track]])[0] >= iou
    matched = common[linear_sum_assignment(-common)].sum()
    return float(2 * matched / (sum(map(len, truth)) + sum(map(len, found))))


def identity_switches(truth: Sequence[dict[int, Box]], found: Sequence[dict[int, Box]], iou: float = 0.5) -> int:
    """How often a person has another number than when last found (CLEAR, Bernardin and Stiefelhagen, 2008)."""
    last, switches = dict[int, int](), 0
    for real, given in zip(truth, found, strict=True):
        people, tracks = list(real), list(given)
        if not people or not tracks:
            continue
        shares = np.stack([overlaps(real[person], [given[track] for track in tracks]) for person in people])
        for i, j in zip(*linear_sum_assignment(-shares), strict=True):
            if shares[i, j] >= iou:
                switches += last.get(people[i], tracks[j]) != tracks[j]
                last[people[i]] = tracks[j]
    return switches
