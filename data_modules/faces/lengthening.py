"""Lengthens clips that have too few faces with frames interpolated by optical flow."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import chain, islice

import numpy as np

from data_modules.store.clip_file import FaceFrame, Origin
from data_modules.video.interpolation import interpolate, lengthen


def lengthen_faces(faces: Iterator[FaceFrame], length: int) -> Iterator[FaceFrame]:
    """Yields the faces of a clip; clips with fewer than `length` faces are interpolated to that number."""
    first = list(islice(faces, length))
    if not 0 < len(first) < length:
        yield from chain(first, faces)
        return
    longer = lengthen([face.crop for face in first], length)
    persons = None if first[0].person is None else lengthen([f.person for f in first if f.person is not None], length)
    interpolated = longer.interpolated | (np.diff(longer.position, prepend=-1.0) == 0)  # or a repeated single frame
    for i, position in enumerate(longer.position):
        nearest = first[round(float(position))]
        if not interpolated[i]:
            yield nearest
            continue
        low, high, share = first[int(position)], first[min(int(position) + 1, len(first) - 1)], position % 1
        yield replace(
            nearest,
            crop=longer.crops[i],
            box=interpolate(low.box, high.box, share),
            score=float(interpolate(low.score, high.score, share)),
            landmarks=interpolate(low.landmarks, high.landmarks, share),
            intensity=interpolate(low.intensity, high.intensity, share),
            person=None if persons is None else persons.crops[i],
            origin=Origin.INTERPOLATED,
            matrix=interpolate(low.matrix, high.matrix, share),
        )
