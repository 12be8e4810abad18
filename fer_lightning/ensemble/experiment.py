"""Ensembles as experiments: a file that names other experiments and how they become one model."""

import difflib
import re
from argparse import ArgumentError
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, fields
from typing import Any, Literal

import yaml
from jsonargparse import ArgumentParser

from fer_lightning.ensemble.methods import Average, Method
from fer_lightning.experiments.request import ExperimentInfo, Request
from fer_lightning.experiments.resume import RUNTIME_ONLY_KEYS

OWN = ("ensemble", "experiment")  # what an ensemble's file holds, and begins the arguments that are its own


@dataclass(frozen=True)
class Entry:
    """A member, under `members:`; a name alone stands for `{run: NAME}`.

    Args:
        run: name of its experiment, which may be an ensemble.
        name: of a variant of it, as `fer train --name`.
        arguments: that make the variant, as on the command line of `fer train`.
        published: its accuracy in the paper, per cent.
    """

    run: str
    name: str = ""
    arguments: tuple[str, ...] = ()
    published: float | None = None

    @property
    def label(self) -> str:
        """What it is called in weights, groups, tables."""
        return f"{self.run}.{self.name}" if self.name else self.run


@dataclass(frozen=True)
class EnsembleSettings:
    """What an ensemble is made of, under `ensemble:`.

    Args:
        members: in the order in which tables show them.
        method: how they become one.
        selection: what a search looks at: the inner split, or the very split that is reported, as the papers do.
        published: the ensemble's accuracy in the paper, per cent.

    Raises:
        ValueError: no members, two of one name, a variant without a name, or a method of other members.
    """

    members: tuple[Entry, ...]
    method: Method = field(default_factory=Average)
    selection: Literal["inner", "best_on_test"] = "inner"
    published: float | None = None

    def __post_init__(self) -> None:
        if not self.members:
            raise ValueError("ensemble.members is empty: expected names of experiments")
        for entry in self.members:
            if [other.label for other in self.members].count(entry.label) > 1:
                raise ValueError(f"ensemble.members: {entry.label} stands there twice; give variants names")
            if entry.arguments and not entry.name:
                raise ValueError(f"ensemble.members: {entry.run} has arguments and no `name`, under which it is kept")
        self.method.refuse([entry.label for entry in self.members])


@dataclass(frozen=True)
class EnsembleExperiment:
    """An ensemble as it was asked for."""

    request: Request
    settings: EnsembleSettings
    plain: dict[str, Any]  # all that decides it, as lists, strings and numbers

    def requests(self) -> tuple[Request, ...]:
        """What is asked of each member: the same data set, size, fold and seed, and what is meant for members.

        Members that are told anything that may decide a result stand under the ensemble's `--name` too.
        """
        asked, (_, further) = self.request, split_arguments(self.request.arguments)
        variant = asked.name if decisive(further) else ""
        return tuple(
            Request(
                entry.run,
                asked.data,
                asked.size or asked.default_size,
                asked.fold,
                asked.seed,
                ".".join(name for name in (entry.name, variant) if name),
                (*entry.arguments, *further),
            )
            for entry in self.settings.members
        )


def read_ensemble(request: Request) -> EnsembleExperiment:
    """The ensemble of an experiment's file, its own arguments laid over it.

    Raises:
        FileNotFoundError: there is no such experiment.
        ValueError: a key does not exist or a value does not fit; the message names what is near.
    """
    content = request.content()
    own, further = split_arguments(request.arguments)
    parser = ArgumentParser(exit_on_error=False)
    parser.add_class_arguments(ExperimentInfo, "experiment")
    parser.add_class_arguments(EnsembleSettings, "ensemble")
    if isinstance(content["ensemble"], dict) and isinstance(content["ensemble"].get("members"), list):
        entries = [{"run": each} if isinstance(each, str) else each for each in content["ensemble"]["members"]]
        content = content | {"ensemble": content["ensemble"] | {"members": entries}}
    try:
        parsed = parser.parse_object(content)
        if own:
            parsed = parser.parse_args(own, namespace=parsed)
        settings = parser.instantiate_classes(parsed).ensemble
    except (ArgumentError, ValueError, TypeError) as error:
        raise ValueError(f"{request.file}: {error}{_near(str(error))}") from error
    plain = yaml.safe_load(parser.dump(parsed, skip_none=False))
    return EnsembleExperiment(request, settings, plain | {"members_arguments": further if decisive(further) else []})


def split_arguments(arguments: Sequence[str]) -> tuple[list[str], list[str]]:
    """The arguments that are an ensemble's own, and those that are meant for its members."""
    own: list[str] = []
    further: list[str] = []
    into = further
    for argument in arguments:
        if argument.startswith("--"):
            into = own if re.split(r"[.=]", argument[2:])[0] in OWN else further
        into.append(argument)
    return own, further


def decisive(arguments: Sequence[str]) -> bool:
    """Whether Lightning's arguments may decide a result; devices and paths, say, do not."""
    return any(each.startswith("--") and not each[2:].startswith(RUNTIME_ONLY_KEYS) for each in arguments)


def model_requests(request: Request, above: tuple[str, ...] = ()) -> Iterator[Request]:
    """The requests of all models that a request comes down to: itself, or its members', however deep.

    Raises:
        FileNotFoundError: a member is no experiment.
        ValueError: an ensemble is a part of itself.
    """
    if request.experiment in above:
        raise ValueError(f"{' > '.join((*above, request.experiment))}: an ensemble cannot be a part of itself")
    if not request.is_ensemble:
        yield request
        return
    for member in read_ensemble(request).requests():
        yield from model_requests(member, (*above, request.experiment))


def _near(message: str) -> str:
    """The options and classes that are near to what a message complains of."""
    schema = (Entry, EnsembleSettings, ExperimentInfo, *Method.__subclasses__())
    known = [each.__name__ for each in Method.__subclasses__()]
    known += [each.name for of in schema for each in fields(of)]
    wrong = re.findall(
        r"(?:option|attribute) '(\w+)'|string: (\S+)|arguments: --(?:\w+\.)*(\w+)", message, re.IGNORECASE
    )
    words = [word.rsplit(".", 1)[-1] for groups in wrong for word in groups if word]
    near = [name for word in words for name in difflib.get_close_matches(word, dict.fromkeys(known), 3, 0.6)]
    return f"; did you mean {' or '.join(dict.fromkeys(near))}?" if near else ""
