"""Reads the members of an ensemble and aligns their prediction tables clip by clip."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from data_modules.utils.text import counted
from fer_lightning.ensemble.methods import Probabilities
from fer_lightning.ensemble.sums import Predictions
from fer_lightning.evaluation.predictions import PredictionTable
from fer_lightning.runs.folder import RunFolder, RunInfo

MAX_LISTED = 5  # clips that an error names
SHARED_COLUMNS = ("emotion", "subject", "group", "split", "fold")  # columns in which members must not differ

Tables = dict[str, PredictionTable]


@dataclass(frozen=True, eq=False)
class EnsembleMember:
    """A run that is a member of an ensemble."""

    name: str
    run: RunFolder
    info: RunInfo
    test: PredictionTable  # of the reported split
    published: float | None = None  # the accuracy in the paper, per cent


def read_members(paths: Sequence[Path], names: Sequence[str] | None = None) -> tuple[EnsembleMember, ...]:
    """Reads runs in the given order, with their tables in the order of the first run's clips.

    Args:
        paths: the runs' folders.
        names: of the members; None to derive them from the folders.

    Raises:
        FileNotFoundError: a run is not evaluated yet.
        ValueError: a run is given twice, or the runs differ in clips, true classes, subjects, films, folds or class
            names.
    """
    folders = [path.resolve() for path in paths]
    for folder, path in zip(folders, paths, strict=True):
        if folders.count(folder) > 1:
            raise ValueError(f"{path} is given twice; give a member more weight with --weights")
    names = short_names(folders) if names is None else names
    runs = [RunFolder(path) for path in paths]
    infos = [run.read_info() for run in runs]
    tables = aligned_tables(
        dict(zip(names, (PredictionTable.read(run.predictions("test")) for run in runs), strict=True))
    )
    return tuple(EnsembleMember(*each) for each in zip(names, runs, infos, tables.values(), strict=True))


def short_names(folders: Sequence[Path]) -> list[str]:
    """Derives short names from runs' folders: the experiment, with fold and seed where it occurs more than once."""
    names = [folder.parent.name for folder in folders]
    with_fold_and_seed = [f"{folder.parent.name}@{folder.name}" for folder in folders]
    paths = [str(folder) for folder in folders]
    for longer_names in (with_fold_and_seed, paths):
        repeated = {name for name in names if names.count(name) > 1}
        names = [longer if name in repeated else name for name, longer in zip(names, longer_names, strict=True)]
    return names


def searched_tables(members: Sequence[EnsembleMember], selection: str) -> Tables:
    """Returns the tables on which a method is fitted: the inner split, or with `best_on_test` the reported split.

    Raises:
        FileNotFoundError: a member has no inner table.
        ValueError: a member was trained on its inner clips, its inner table is the reported split, or the tables do
            not match.
    """
    if selection == "best_on_test":
        return {member.name: member.test for member in members}
    for member in members:
        if member.info.selection == "last":
            raise ValueError(
                f"{member.run.path} was trained on the inner split too (selection: last): a search there would reward "
                "memorised clips. Train it with --data.selection inner, or use --method average or --weights, which "
                "search nothing"
            )
        if member.info.selection != "inner":
            raise ValueError(
                f"{member.run.path}: selection {member.info.selection}; its inner table is the reported split itself. "
                "To search on it, pass --selection best_on_test, which will be noted beside every result"
            )
    tables = aligned_tables({member.name: PredictionTable.read(member.run.predictions("inner")) for member in members})
    for member, table in zip(members, tables.values(), strict=True):
        if not len(table):
            raise ValueError(f"{member.run.predictions('inner')} is empty: there is nothing to search on")
        other_splits = sorted(set(table.split.tolist()) - {"inner"})
        if other_splits:
            raise ValueError(
                f"{member.run.predictions('inner')} holds clips of the split {other_splits[0]!r}; expected only clips "
                "of the inner split, on which no member was trained. Evaluate the run again"
            )
    return tables


def inner_tables(members: Sequence[EnsembleMember]) -> Tables:
    """Returns the members' inner tables, for a method that uses no true classes.

    Raises:
        FileNotFoundError: a member has no inner table.
        ValueError: the tables are not of the same clips.
    """
    selections = sorted({member.info.selection for member in members})
    if len(selections) > 1:
        raise ValueError(f"the members' selections differ ({', '.join(selections)}), and with them their inner clips")
    return aligned_tables({member.name: PredictionTable.read(member.run.predictions("inner")) for member in members})


def combined_selection(members: Sequence[EnsembleMember]) -> str:
    """Returns the `RunInfo.selection` of an ensemble whose method uses no true classes.

    It is `best_on_test` if a member was chosen on the reported split, else `last` if a member was trained on the inner
    clips, so that no other ensemble is fitted on them.
    """
    selections = {member.info.selection for member in members}
    return next(name for name in ("best_on_test", "last", "inner") if name in selections)


def aligned_tables(tables: Mapping[str, PredictionTable]) -> Tables:
    """Returns the tables with their rows in the order of the first table's clips.

    Raises:
        ValueError: the tables differ in class names, clips, true classes, subjects, films, splits or folds; the
            message says where.
    """
    first_name, first = next(iter(tables.items()))
    aligned: Tables = {}
    for name, table in tables.items():
        if table.class_names != first.class_names:
            raise ValueError(
                f"{name} has the classes {', '.join(table.class_names)}, {first_name} "
                f"{', '.join(first.class_names)}; members of an ensemble share their classes"
            )
        rows = {clip_id: row for row, clip_id in enumerate(table.clip_id.tolist())}
        if len(rows) != len(table):
            raise ValueError(f"{name} holds clips under several seeds; expected a table of a single run")
        _check_clips(name, set(rows), first_name, set(first.clip_id.tolist()))
        aligned[name] = table.select(np.array([rows[clip_id] for clip_id in first.clip_id.tolist()], dtype=np.int64))
        _check_columns(name, aligned[name], first_name, first)
    return aligned


def _check_clips(name: str, clips: set[str], first_name: str, expected: set[str]) -> None:
    for owner, other, unmatched in ((name, first_name, clips - expected), (first_name, name, expected - clips)):
        if unmatched:
            listed = ", ".join(sorted(unmatched)[:MAX_LISTED]) + (", ..." if len(unmatched) > MAX_LISTED else "")
            raise ValueError(
                f"{counted(len(unmatched), 'clip')} in the table of {owner} but not in that of {other}: {listed}. "
                "Members of an ensemble must be evaluated on the same clips: same data set, fold and inner share"
            )


def _check_columns(name: str, table: PredictionTable, first_name: str, first: PredictionTable) -> None:
    for column in SHARED_COLUMNS:
        ours, theirs = getattr(table, column), getattr(first, column)
        differing = np.flatnonzero(ours != theirs)
        if len(differing):
            row = differing[0]
            raise ValueError(
                f"{column} differs in {counted(len(differing), 'clip')}, such as {str(table.clip_id[row])!r}: "
                f"{str(ours[row])!r} in {name}, {str(theirs[row])!r} in {first_name}"
            )


def probabilities_of(tables: Mapping[str, PredictionTable]) -> Predictions:
    """Returns the probabilities (M, C) of each table by its name."""
    return {name: table.probabilities for name, table in tables.items()}


def ensemble_table(tables: Mapping[str, PredictionTable], probabilities: Probabilities) -> PredictionTable:
    """Returns the table of an ensemble with the probabilities (M, C) for its members' clips.

    The coverage of a clip is the highest of the members. The seed is that of the members, or 0 if they differ.
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
            [_reason(members, row) if is_missing else "" for row, is_missing in enumerate(missing.tolist())],
            dtype=np.str_,
        ),
    )


def _reason(members: Sequence[PredictionTable], row: int) -> str:
    """Says why no member with a weight above zero has a prediction."""
    reasons = sorted({str(table.reason[row]) for table in members if table.missing[row]})
    if not all(table.missing[row] for table in members):
        reasons.append("the members with a prediction have weight 0")
    return "; ".join(reasons)
