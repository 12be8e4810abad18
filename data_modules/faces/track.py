"""The track of one face over time."""

from collections.abc import Sequence

from data_modules.faces.appearance import FeatureHistory, Vector
from data_modules.faces.detection import Detection


class Track:
    """One face over time: sums for the vote, and the features of recent faces, in constant memory.

    Args:
        number: number of the track, counted from 0.
        index: frame number of the first detection.
        face: the first detection.
        features: features of that face, one vector for each kind: histograms, embedding.
        k: number of faces in the recent mean of features.
    """

    def __init__(self, number: int, index: int, face: Detection, features: Sequence[Vector], k: int) -> None:
        self.number, self.first_frame = number, index
        self.histories = tuple(FeatureHistory(vector, k) for vector in features)
        self._length, self._area, self._score = 0, 0.0, 0.0
        self._count(index, face)

    def __len__(self) -> int:
        """Returns the number of detections."""
        return self._length

    @property
    def mean_area(self) -> float:
        """The mean area of the boxes in square pixels."""
        return self._area / self._length

    @property
    def mean_score(self) -> float:
        """The mean score of the detections."""
        return self._score / self._length

    def add(self, index: int, face: Detection, features: Sequence[Vector]) -> None:
        """Appends a later detection: equation 9."""
        for history, vector in zip(self.histories, features, strict=True):
            history.add(vector)
        self._count(index, face)

    def end(self) -> None:
        """Releases the memory that only an active track needs."""
        for history in self.histories:
            history.forget()

    def _count(self, index: int, face: Detection) -> None:
        self.last_frame, self.box = index, face.box
        width, height = (float(side) for side in face.box[2:] - face.box[:2])
        self._length += 1
        self._area += max(width, 0.0) * max(height, 0.0)
        self._score += face.score
