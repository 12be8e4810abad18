"""Clips with too few faces, lengthened by pictures that optical flow makes."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, islice

import numpy as np

from data_modules.store.clip_file import FaceFrame, Origin
from data_modules.video.interpolation import between, lengthen


def lengthened(faces: Iterator[FaceFrame], length: int) -> Iterator[FaceFrame]:
    """Faces of a clip with fewer than `length` of them brought to so many by optical flow; other clips as they are."""
    first = list(islice(faces, length))
    if not 0 < len(first) < length:
        yield from chain(first, faces)
        return
    longer = lengthen([face.crop for face in first], length)
    persons = None if first[0].person is None else lengthen([f.person for f in first if f.person is not None], length)
    made = longer.made | (np.diff(longer.position, prepend=-1.0) == 0)  # a single frame is repeated
    for i, position in enumerate(longer.position):
        nearest = first[round(float(position))]
        if not made[i]:
            yield nearest
            continue
        low, high, share = first[int(position)], first[min(int(position) + 1, len(first) - 1)], position % 1
        yield replace(
            nearest,
            crop=longer.crops[i],
            box=between(low.box, high.box, share),
            score=float(between(low.score, high.score, share)),
            landmarks=between(low.landmarks, high.landmarks, share),
            intensity=between(low.intensity, high.intensity, share),
            person=None if persons is None else persons.crops[i],
            origin=Origin.MADE,
            matrix=between(low.matrix, high.matrix, share),
        )
