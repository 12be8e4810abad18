"""Several trained models that recognise expressions together."""

import torch

from fer_lightning.ensemble.trained import Trained, TrainedEnsemble
from fer_lightning.predict.faces import VideoFaces
from fer_lightning.predict.row_classifier import Advance, RowClassifier, RowPredictions
from fer_lightning.predict.settings import MemberFacts, ModelFacts
from fer_lightning.predict.timeline import TimelineRows
from fer_lightning.predict.windows import WindowClassifier


class EnsembleClassifier(RowClassifier):
    """The members of an ensemble, whose predictions for each row are fused as the ensemble fuses those for clips.

    A member without a prediction for a row, because the row has no face or no audio, is left out of that row.

    Args:
        ensemble: its trained members.
        device: where they run.

    Raises:
        AudioLibraryNotFoundError: a package is missing that a member's audio needs.
        ValueError: a member needs an input that is not made from videos here.
    """

    def __init__(self, ensemble: TrainedEnsemble, device: torch.device) -> None:
        self.class_names, self._fuse = ensemble.class_names, ensemble.fuse
        self._members = [(member.part.name, make_classifier(member.trained, device)) for member in ensemble.members]
        facts = [classifier.facts for _, classifier in self._members]
        self.facts = ModelFacts(
            str(ensemble.run.path),
            ensemble.method,
            tuple(sorted({name for each in facts for name in each.inputs})),
            sampler="",
            members=tuple(
                MemberFacts(member.part.name, member.part.share, member.part.weight, each)
                for member, each in zip(ensemble.members, facts, strict=True)
            ),
        )

    def predict(self, faces: VideoFaces, rows: TimelineRows, advance: Advance) -> RowPredictions:
        """See `RowClassifier.predict`; the members are run one after the other."""
        predictions: list[tuple[str, RowPredictions]] = []
        for name, classifier in self._members:
            advance_member = self._member_progress(advance, len(predictions), len(rows.start))
            predictions.append((name, classifier.predict(faces, rows, advance_member)))
        fused = self._fuse({name: member.probabilities for name, member in predictions})
        return RowPredictions(fused, tuple(predictions))

    def _member_progress(self, advance: Advance, done: int, rows: int) -> Advance:
        """Scales the rows of the next member, after `done` others, to its share of all work."""
        return lambda row: advance((done * rows + row) / len(self._members))


def make_classifier(trained: Trained, device: torch.device) -> RowClassifier:
    """Returns the classifier of a trained model or ensemble.

    Raises:
        AudioLibraryNotFoundError: a package is missing that a model's audio needs.
        ValueError: a model needs an input that is not made from videos here.
    """
    if isinstance(trained, TrainedEnsemble):
        return EnsembleClassifier(trained, device)
    return WindowClassifier(trained, device)
