"""Several trained models that recognise expressions as one."""

import torch

from fer_lightning.ensemble.trained import Trained, TrainedEnsemble
from fer_lightning.predict.faces import VideoFaces
from fer_lightning.predict.row_classifier import Advance, Answers, RowClassifier
from fer_lightning.predict.settings import MemberFacts, ModelFacts
from fer_lightning.predict.timeline import Rows
from fer_lightning.predict.windows import WindowClassifier


class EnsembleClassifier(RowClassifier):
    """The members of an ensemble, each with rows of its own, put together as the ensemble does with clips.

    A member that has no answer for a row, as there is no face or no sound in it, is left out of that row.

    Args:
        ensemble: its trained members.
        device: where they run.

    Raises:
        AudioLibraryNotFoundError: a package is missing that a member's sound needs.
        ValueError: a member needs what is not made from videos.
    """

    def __init__(self, ensemble: TrainedEnsemble, device: torch.device) -> None:
        self.class_names, self._fuse = ensemble.class_names, ensemble.fuse
        self._members = [(member.part.name, classifier_of(member.trained, device)) for member in ensemble.members]
        facts = [classifier.facts for _, classifier in self._members]
        self.facts = ModelFacts(
            str(ensemble.run.path),
            ensemble.method,
            tuple(sorted({each for fact in facts for each in fact.inputs})),
            sampler="",
            members=tuple(
                MemberFacts(member.part.name, member.part.share, member.part.weight, fact)
                for member, fact in zip(ensemble.members, facts, strict=True)
            ),
        )

    def answer(self, faces: VideoFaces, rows: Rows, advance: Advance) -> Answers:
        """See `RowClassifier.answer`; the members come one after the other."""
        said: list[tuple[str, Answers]] = []
        for name, classifier in self._members:
            said.append((name, classifier.answer(faces, rows, self._part_of(advance, len(said), len(rows.start)))))
        return Answers(self._fuse({name: answers.probabilities for name, answers in said}), tuple(said))

    def _part_of(self, advance: Advance, done: int, rows: int) -> Advance:
        """Takes the rows of the next member, `done` of them being through, for their share of all work."""
        return lambda row: advance((done * rows + row) / len(self._members))


def classifier_of(trained: Trained, device: torch.device) -> RowClassifier:
    """What recognises expressions with a trained model or ensemble.

    Raises:
        AudioLibraryNotFoundError: a package is missing that a model's sound needs.
        ValueError: a model needs what is not made from videos.
    """
    if isinstance(trained, TrainedEnsemble):
        return EnsembleClassifier(trained, device)
    return WindowClassifier(trained, device)
