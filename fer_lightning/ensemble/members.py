"""The runs that an ensemble is made of: their tables, brought together clip by clip."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from fer_lightning.ensemble.methods import Probabilities
from fer_lightning.ensemble.sums import Predictions
from fer_lightning.evaluation.predictions import PredictionTable
from fer_lightning.runs.folder import RunFolder, RunInfo

LISTED = 5  # clips that an error names
SAME = ("emotion", "subject", "group", "split", "fold")  # columns in which members must not differ

Tables = dict[str, PredictionTable]


@dataclass(frozen=True, eq=False)
class Member:
    """One run."""

    name: str
    run: RunFolder
    info: RunInfo
    test: PredictionTable
    published: float | None = None  # accuracy that the paper gives, per cent


def read_members(paths: Sequence[Path], names: Sequence[str] | None = None) -> tuple[Member, ...]:
    """The runs in the order they are given, their tables in the order of the first's clips.

    Args:
        paths: the runs' folders.
        names: of the members; None for names out of their folders'.

    Raises:
        FileNotFoundError: a run is not evaluated yet.
        ValueError: a run stands there twice, or the runs differ in clips, true names, subjects, films, folds or
            classes.
    """
    places = [path.resolve() for path in paths]
    for place, path in zip(places, paths, strict=True):
        if places.count(place) > 1:
            raise ValueError(f"{path} is given twice; give a member more weight with --weights")
    names = names_of(places) if names is None else names
    runs = [RunFolder(path) for path in paths]
    infos = [run.read_info() for run in runs]
    tables = matched(dict(zip(names, (PredictionTable.read(run.predictions("test")) for run in runs), strict=True)))
    return tuple(Member(*each) for each in zip(names, runs, infos, tables.values(), strict=True))


def names_of(places: Sequence[Path]) -> list[str]:
    """Short names of runs' folders: the experiment's, with fold and seed where two are of one experiment."""
    names = [place.parent.name for place in places]
    longer = [f"{place.parent.name}@{place.name}" for place in places]
    whole = [str(place) for place in places]
    for further in (longer, whole):
        repeated = {name for name in names if names.count(name) > 1}
        names = [other if name in repeated else name for name, other in zip(names, further, strict=True)]
    return names


def searched_tables(members: Sequence[Member], selection: str) -> Tables:
    """The tables on which a search may choose under a selection: `inner`, or the reported split (`best_on_test`).

    Raises:
        FileNotFoundError: a member has no inner table.
        ValueError: a member was trained or chosen on the clips of its inner table, or the tables do not match.
    """
    if selection == "best_on_test":
        return {member.name: member.test for member in members}
    for member in members:
        if member.info.selection == "last":
            raise ValueError(
                f"{member.run.path} was trained on the inner split too (selection: last): a search there would reward "
                "what it has memorised. Train it with --data.selection inner, or take --method average or --weights, "
                "which search nothing"
            )
        if member.info.selection != "inner":
            raise ValueError(
                f"{member.run.path}: selection {member.info.selection}; its inner table is the reported split itself. "
                "A search there needs --selection best_on_test, which is then named wherever its number stands"
            )
    tables = matched({member.name: PredictionTable.read(member.run.predictions("inner")) for member in members})
    for member, table in zip(members, tables.values(), strict=True):
        if not len(table):
            raise ValueError(f"{member.run.predictions('inner')} is empty: there is nothing to search on")
        strange = sorted(set(table.split.tolist()) - {"inner"})
        if strange:
            raise ValueError(
                f"{member.run.predictions('inner')} holds clips of the split {strange[0]!r}; a search needs clips of "
                "the inner split, which no member was trained on. Evaluate the run again"
            )
    return tables


def inner_tables(members: Sequence[Member]) -> Tables:
    """The members' inner tables, for an ensemble that chooses nothing.

    Raises:
        FileNotFoundError: a member has none.
        ValueError: they are not of the same clips.
    """
    selections = sorted({member.info.selection for member in members})
    if len(selections) > 1:
        raise ValueError(f"the members' selections differ ({', '.join(selections)}), and with them their inner clips")
    return matched({member.name: PredictionTable.read(member.run.predictions("inner")) for member in members})


def combined_selection(members: Sequence[Member]) -> str:
    """What an ensemble that chooses nothing is, in the words of `RunInfo.selection`: what its weakest member is.

    That is `best_on_test` with a member that was chosen on what is reported, else `last` with one that was trained on
    the inner clips, so that no further search may have it.
    """
    found = {member.info.selection for member in members}
    return next(name for name in ("best_on_test", "last", "inner") if name in found)


def matched(tables: Mapping[str, PredictionTable]) -> Tables:
    """The tables in the order of the first's clips.

    Raises:
        ValueError: they differ in classes, clips, true names, subjects, films, splits or folds; the message says where.
    """
    first_name, first = next(iter(tables.items()))
    found: Tables = {}
    for name, table in tables.items():
        if table.class_names != first.class_names:
            raise ValueError(
                f"{name} has the classes {', '.join(table.class_names)}, {first_name} "
                f"{', '.join(first.class_names)}; members of an ensemble share their classes"
            )
        row = {clip_id: place for place, clip_id in enumerate(table.clip_id.tolist())}
        if len(row) != len(table):
            raise ValueError(f"{name} holds clips under several seeds; an ensemble takes tables of one run each")
        _refuse_other_clips(name, set(row), first_name, set(first.clip_id.tolist()))
        found[name] = table.select(np.array([row[clip_id] for clip_id in first.clip_id.tolist()], dtype=np.int64))
        _refuse_other_columns(name, found[name], first_name, first)
    return found


def _refuse_other_clips(name: str, clips: set[str], first_name: str, expected: set[str]) -> None:
    for owner, other, alone in ((name, first_name, clips - expected), (first_name, name, expected - clips)):
        if alone:
            shown = ", ".join(sorted(alone)[:LISTED]) + (", ..." if len(alone) > LISTED else "")
            raise ValueError(
                f"{len(alone)} clips stand in the table of {owner} and not in that of {other}: {shown}. Members of an "
                "ensemble are evaluated on the same clips: the same data set, fold and inner share"
            )


def _refuse_other_columns(name: str, table: PredictionTable, first_name: str, first: PredictionTable) -> None:
    for column in SAME:
        ours, theirs = getattr(table, column), getattr(first, column)
        differing = np.flatnonzero(ours != theirs)
        if len(differing):
            row = differing[0]
            raise ValueError(
                f"{len(differing)} clips, such as {str(table.clip_id[row])!r}, differ in {column}: "
                f"{str(ours[row])!r} in {name}, {str(theirs[row])!r} in {first_name}"
            )


def probabilities_of(tables: Mapping[str, PredictionTable]) -> Predictions:
    """Probabilities (M, C) by name."""
    return {name: table.probabilities for name, table in tables.items()}


def ensemble_table(tables: Mapping[str, PredictionTable], probabilities: Probabilities) -> PredictionTable:
    """The table of what an ensemble (M, C) says of its members' clips.

    The coverage is that of the member that sees most. The seed is that of the members, 0 where they differ.
    """
    members = list(tables.values())
    missing = np.asarray(np.isnan(probabilities).all(axis=1))
    seeds = {int(seed) for table in members for seed in np.unique(table.seed)}
    return replace(
        members[0],
        probabilities=probabilities,
        seed=np.full(len(members[0]), seeds.pop() if len(seeds) == 1 else 0),
        coverage=np.max([table.coverage for table in members], axis=0),
        reason=np.array(
            [_reason(members, row) if none else "" for row, none in enumerate(missing.tolist())], dtype=np.str_
        ),
    )


def _reason(members: Sequence[PredictionTable], row: int) -> str:
    """Why no member that counts has a prediction."""
    reasons = sorted({str(table.reason[row]) for table in members if table.missing[row]})
    silent = all(table.missing[row] for table in members)
    return "; ".join(reasons) if silent else "; ".join([*reasons, "the members that have a prediction weigh nothing"])
