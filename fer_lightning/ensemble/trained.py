"""Loads an ensemble with the trained models of its members, which may be ensembles themselves."""

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
    """A member with a weight above zero or a group, and its trained model."""

    part: Part
    trained: "Trained"


@dataclass(frozen=True)
class TrainedEnsemble:
    """Trained members, and the function that combines their predictions."""

    run: RunFolder
    method: str  # a short description
    members: tuple[TrainedMember, ...]
    fuse: Callable[[Predictions], Probabilities]  # from (M, C) probabilities by member's name to (M, C)

    @property
    def models(self) -> tuple[TrainedModel, ...]:
        """All models of the ensemble, including those of members that are ensembles."""
        return tuple(model for member in self.members for model in member.trained.models)

    @property
    def class_names(self) -> tuple[str, ...]:
        """The class list that all members share."""
        return self.members[0].trained.class_names


Trained = TrainedModel | TrainedEnsemble


def load_run(run: Path, weights: bool = True) -> Trained:
    """Loads the model or ensemble from a run's folder, a checkpoint or an `ensemble.json`.

    Members of weight 0, which a best selection has left out, are not loaded. Nothing is unpickled.

    Args:
        run: the folder or file.
        weights: False builds the models without their weights, for their settings alone.

    Raises:
        FileNotFoundError: there is no checkpoint, or a member's run is missing; the message names it.
        ValueError: a checkpoint cannot be used, a file of the ensemble is damaged, an ensemble contains itself, or
            members differ in their classes.
    """
    return _load(run, (), weights)


def _load(run: Path, above: tuple[Path, ...], weights: bool) -> Trained:
    folder = ensemble_at(run)
    record = None if folder is None else Record.read(folder)
    if folder is None or record is None:
        return load_trained(run, weights)
    path = folder.path.resolve()
    if path in above:
        raise ValueError(f"{folder.path}: {path_of(folder)} makes the ensemble a part of itself; make it again")
    parts = tuple(part for part in record.members if part.weight != 0)
    if not parts or len({part.name for part in parts}) < len(parts):
        raise ValueError(
            f"{path_of(folder)} is damaged (members with a say: "
            f"{', '.join(part.name for part in parts) or 'none'}); make the ensemble again"
        )
    members = tuple(TrainedMember(part, _member(folder, part, (*above, path), weights)) for part in parts)
    _check_classes(folder, members)
    return TrainedEnsemble(folder, record.method, members, _fusion(folder, parts, members[0].trained.class_names))


def _member(run: RunFolder, part: Part, above: tuple[Path, ...], weights: bool) -> Trained:
    folder = member_folder(run, part)
    try:
        return _load(folder, above, weights)
    except FileNotFoundError as error:
        raise FileNotFoundError(f"{run.path}, member {part.name}: {error}") from error
    except ValueError as error:
        raise ValueError(f"{run.path}, member {part.name}: {error}") from error


def _check_classes(run: RunFolder, members: Sequence[TrainedMember]) -> None:
    first = members[0]
    for member in members:
        classes, expected = member.trained.class_names, first.trained.class_names
        if classes != expected:
            raise ValueError(
                f"{run.path}: its member {member.part.name} has the classes {', '.join(classes)}, {first.part.name} "
                f"{', '.join(expected)}; members of an ensemble share their classes. If one of them was trained again, "
                "make a new ensemble of runs with the same classes"
            )


def _fusion(
    run: RunFolder, parts: Sequence[Part], class_names: tuple[str, ...]
) -> Callable[[Predictions], Probabilities]:
    """Returns the function that combines the members' probabilities, as the ensemble's files define it.

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
        raise ValueError(f"{path_of(run)} is damaged ({error}); make the ensemble again") from error
    return partial(weighted_sum, weights=weights)
