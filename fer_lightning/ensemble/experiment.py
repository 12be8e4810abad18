"""Ensembles as experiments: files that name other experiments and the method that combines them."""

import difflib
import re
from argparse import ArgumentError
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass, field, fields
from typing import Any, Literal

import yaml
from jsonargparse import ArgumentParser

from fer_lightning.ensemble.methods import Average, Method
from fer_lightning.experiments.request import ExperimentRequest
from fer_lightning.experiments.resume import RUNTIME_ONLY_KEYS
from fer_lightning.experiments.system import ExperimentInfo, system_file

SECTIONS = ("ensemble", "experiment")  # of an ensemble's file; arguments that begin with these are the ensemble's own


@dataclass(frozen=True)
class MemberSettings:
    """The settings of a member, an item of `members:`; a plain name means `{system: NAME}`.

    Args:
        system: name of the member's system, which may be an ensemble; it is run on the ensemble's data set.
        name: of a variant of the system, as for `fer train --name`.
        arguments: of the variant, as on the command line of `fer train`.
        published: the member's accuracy in the paper, per cent.
    """

    system: str
    name: str = ""
    arguments: tuple[str, ...] = ()
    published: float | None = None

    @property
    def label(self) -> str:
        """The member's name in weights, groups and tables."""
        return f"{self.system}.{self.name}" if self.name else self.system


@dataclass(frozen=True)
class EnsembleSettings:
    """The settings of an ensemble, under `ensemble:`.

    Args:
        members: in the order of the tables.
        method: how the members are combined.
        selection: the split on which a method is fitted: the inner split, or the reported split itself, as in the
            papers.
        published: the ensemble's accuracy in the paper, per cent.

    Raises:
        ValueError: there are no members, two have the same name, a member has arguments but no name, or the method
            does not fit the members.
    """

    members: tuple[MemberSettings, ...]
    method: Method = field(default_factory=Average)
    selection: Literal["inner", "best_on_test"] = "inner"
    published: float | None = None

    def __post_init__(self) -> None:
        if not self.members:
            raise ValueError("ensemble.members is empty: expected names of systems")
        for entry in self.members:
            if [other.label for other in self.members].count(entry.label) > 1:
                raise ValueError(f"ensemble.members: {entry.label} is listed twice; give its variants different names")
            if entry.arguments and not entry.name:
                raise ValueError(
                    f"ensemble.members: {entry.system} has arguments but no `name`; its run needs a name of its own"
                )
        self.method.check_members([entry.label for entry in self.members])


@dataclass(frozen=True)
class EnsembleExperiment:
    """A request for an ensemble with its settings."""

    request: ExperimentRequest
    settings: EnsembleSettings
    plain: dict[str, Any]  # the settings as lists, strings and numbers, to compare and to save

    def requests(self) -> tuple[ExperimentRequest, ...]:
        """Returns the request for each member: same data set, size, fold, seed and group, and the members' arguments.

        If these arguments may change results, the names of the members' runs end with the ensemble's `--name`.
        """
        request, (_, member_arguments) = self.request, split_arguments(self.request.arguments)
        variant = request.name if may_change_results(member_arguments) else ""
        return tuple(
            ExperimentRequest(
                f"{entry.system}_{request.dataset}",
                size=request.size or request.default_size,
                fold=request.fold,
                seed=request.seed,
                name=".".join(name for name in (entry.name, variant) if name),
                arguments=(*entry.arguments, *member_arguments),
                group=request.group or request.experiment,
                job_type=request.job_type,
            )
            for entry in self.settings.members
        )


def read_ensemble(request: ExperimentRequest) -> EnsembleExperiment:
    """Reads the ensemble of an experiment's file, overridden by the request's own arguments.

    Raises:
        FileNotFoundError: the experiment does not exist.
        ValueError: a key does not exist or a value is not valid; the message suggests similar names.
    """
    own, member_arguments = split_arguments(request.arguments)
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(ExperimentInfo, "experiment")
    parser.add_class_arguments(EnsembleSettings, "ensemble")
    layers = [_with_whole_members(layer.content) for layer in request.layers()]
    try:
        parsed = None
        for layer in layers:
            parsed = parser.parse_object(layer, cfg_base=parsed)
        if own:
            parsed = parser.parse_args(own, namespace=parsed)
        settings = parser.instantiate_classes(parsed).ensemble
    except (ArgumentError, ValueError, TypeError) as error:
        hint = _suggestion({key: value for layer in layers for key, value in layer.items()}, own)
        raise ValueError(f"{system_file(request.system)}: {error}{hint}") from error
    plain = yaml.safe_load(parser.dump(parsed, skip_none=False))
    plain["ensemble"]["members"] = [  # the parser writes defaults of items only sometimes
        asdict(entry) | {"arguments": list(entry.arguments)} for entry in settings.members
    ]
    plain["members_arguments"] = member_arguments if may_change_results(member_arguments) else []
    return EnsembleExperiment(request, settings, plain)


def _with_whole_members(content: dict[str, Any]) -> dict[str, Any]:
    """Returns settings in which members that are given as plain names are written out."""
    ensemble = content.get("ensemble")
    if not isinstance(ensemble, dict) or not isinstance(ensemble.get("members"), list):
        return content
    members = [{"system": each} if isinstance(each, str) else each for each in ensemble["members"]]
    return content | {"ensemble": ensemble | {"members": members}}


def split_arguments(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """Splits arguments into those of the ensemble itself and those of its members."""
    own: list[str] = []
    member_arguments: list[str] = []
    target = member_arguments
    for argument in arguments:
        if argument.startswith("--"):
            target = own if re.split(r"[.=]", argument[2:])[0] in SECTIONS else member_arguments
        target.append(argument)
    return own, member_arguments


def may_change_results(arguments: Sequence[str]) -> bool:
    """Checks whether arguments may change a run's results, unlike those for devices and paths."""
    return any(each.startswith("--") and not each[2:].startswith(RUNTIME_ONLY_KEYS) for each in arguments)


def model_requests(request: ExperimentRequest, above: tuple[str, ...] = ()) -> Iterator[ExperimentRequest]:
    """Yields the requests of all models below a request: itself, or its members at any depth.

    Raises:
        FileNotFoundError: a member's experiment does not exist.
        ValueError: an ensemble contains itself.
    """
    if request.experiment in above:
        raise ValueError(f"{' > '.join((*above, request.experiment))}: an ensemble cannot be a part of itself")
    if not request.is_ensemble:
        yield request
        return
    for member in read_ensemble(request).requests():
        yield from model_requests(member, (*above, request.experiment))


def _suggestion(content: dict[str, Any], arguments: Sequence[str]) -> str:
    """Suggests options and methods similar to those in a file and its arguments that do not exist."""
    methods = Method.__subclasses__()
    options = [
        option.name
        for schema in (MemberSettings, EnsembleSettings, ExperimentInfo, *methods)
        for option in fields(schema)
    ]
    existing = dict.fromkeys([*(method.__name__ for method in methods), *options, *SECTIONS, "class_path", "init_args"])
    names = [*_names(content), *(name for argument in arguments for name in re.split(r"[.=]", argument.lstrip("-")))]
    unknown = [name for name in names if name not in existing]
    similar = [match for name in unknown for match in difflib.get_close_matches(name, existing, 3, 0.6)]
    return f"; did you mean {' or '.join(dict.fromkeys(similar))}?" if similar else ""


def _names(value: object) -> Iterator[str]:
    """Yields all keys of nested settings, and the names of classes; the keys of `weights` are names of members."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield str(key)
            if key in ("class_path", "method") and isinstance(inner, str):
                yield inner.rsplit(".", 1)[-1]
            elif key != "weights":
                yield from _names(inner)
    elif isinstance(value, list):
        for item in value:
            yield from _names(item)
