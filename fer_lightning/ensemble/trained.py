"""An ensemble's run with the trained models of its members, which may be ensembles again."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from fer_lightning.ensemble.joint import JointLateFusion
from fer_lightning.ensemble.methods import Probabilities
from fer_lightning.ensemble.sums import Predictions, weighted_sum, weights_of
from fer_lightning.runs.ensemble_record import Part, Record, ensemble_at, fusion_path, member_folder, path_of
from fer_lightning.runs.folder import RunFolder
from fer_lightning.training.loading import TrainedModel, load_trained


@dataclass(frozen=True)
class TrainedMember:
    """A member that has a say, and the weight or group that it has it with."""

    part: Part
    trained: "Trained"


@dataclass(frozen=True)
class TrainedEnsemble:
    """Trained members, and how what they say becomes one."""

    run: RunFolder
    method: str  # in words
    members: tuple[TrainedMember, ...]
    fuse: Callable[[Predictions], Probabilities]  # member's name -> (M, C) probabilities; to (M, C)

    @property
    def models(self) -> tuple[TrainedModel, ...]:
        """All models below, however deep."""
        return tuple(model for member in self.members for model in member.trained.models)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The class list that all members share."""
        return self.members[0].trained.class_names


Trained = TrainedModel | TrainedEnsemble


def load_run(run: Path) -> Trained:
    """The model or the ensemble that a run's folder, a checkpoint or an `ensemble.json` holds.

    Members of weight 0, which a best selection has left out, are not asked for. Nothing is unpickled.

    Raises:
        FileNotFoundError: there is no checkpoint, or a member's run is missing; the message names it.
        ValueError: a checkpoint cannot be used, a file of the ensemble is damaged, an ensemble is a part of itself, or
            members differ in their classes.
    """
    return _load(run, ())


def _load(run: Path, above: tuple[Path, ...]) -> Trained:
    found = ensemble_at(run)
    if found is None:
        return load_trained(run)
    place, record = found.path.resolve(), Record.read(found)
    assert record is not None  # there is the file
    if place in above:
        raise ValueError(f"{found.path}: {path_of(found)} makes the ensemble a part of itself; make it again")
    parts = tuple(part for part in record.members if part.weight != 0)
    if not parts or len({part.name for part in parts}) < len(parts):
        raise ValueError(
            f"{path_of(found)} is damaged (members with a say: {', '.join(part.name for part in parts) or 'none'}); "
            "write the ensemble again"
        )
    members = tuple(TrainedMember(part, _member(found, part, (*above, place))) for part in parts)
    _refuse_other_classes(found, members)
    return TrainedEnsemble(found, record.method, members, _fusion(found, parts, members[0].trained.class_names))


def _member(run: RunFolder, part: Part, above: tuple[Path, ...]) -> Trained:
    folder = member_folder(run, part)
    try:
        return _load(folder, above)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{run.path}, member {part.name}: {error}") from error
    except ValueError as error:
        raise ValueError(f"{run.path}, member {part.name}: {error}") from error


def _refuse_other_classes(run: RunFolder, members: Sequence[TrainedMember]) -> None:
    first = members[0]
    for member in members:
        ours, theirs = member.trained.class_names, first.trained.class_names
        if ours != theirs:
            raise ValueError(
                f"{run.path}: its member {member.part.name} has the classes {', '.join(ours)}, {first.part.name} "
                f"{', '.join(theirs)}; members of an ensemble share their classes. One of them was trained again: make "
                "the ensemble again of runs on the same classes"
            )


def _fusion(
    run: RunFolder, parts: Sequence[Part], class_names: tuple[str, ...]
) -> Callable[[Predictions], Probabilities]:
    """What the ensemble's files say of how members become one.

    Raises:
        FileNotFoundError: the network of a joint late fusion is missing.
        ValueError: the files are damaged.
    """
    weights = {part.name: part.weight for part in parts if part.weight is not None}
    groups = sorted({part.group for part in parts if part.group is not None})
    if not weights and all(part.group is not None for part in parts):
        names = [[part.name for part in parts if part.group == group] for group in groups]
        return JointLateFusion.read(fusion_path(run), names, len(class_names)).predict
    try:
        weights_of([part.name for part in parts], weights)
    except (TypeError, ValueError) as error:
        raise ValueError(f"{path_of(run)} is damaged ({error}); write the ensemble again") from error
    return partial(weighted_sum, weights=weights)
