"""`fer ensemble`: one model of several runs, over their prediction tables."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from data_modules.progress import progress
from fer_lightning.ensemble.members import (
    Member,
    combined_selection,
    ensemble_table,
    inner_tables,
    probabilities_of,
    read_members,
    searched_tables,
)
from fer_lightning.ensemble.methods import (
    FOLDS,
    Average,
    BestSelection,
    FixedWeights,
    JointFusion,
    Method,
    SearchedWeights,
    cross_fitted,
    groups_of,
)
from fer_lightning.ensemble.result import Ensemble, print_ensemble, refuse_other_folder, write_ensemble


def main(arguments: list[str]) -> None:
    """Combines runs, prints what it comes to, and writes it as a run of its own.

    Raises:
        FileNotFoundError: a run is not evaluated yet.
        ValueError: the runs do not fit together, or a search would look at what it must not.
    """
    known = parse(arguments[1:])
    if known.out:
        refuse_other_folder(known.out, known.runs)
    members = read_members(known.runs)
    ensemble = combine(members, method_of(known, [member.name for member in members]), known.selection)
    print_ensemble(ensemble)
    if known.out:
        print(f"report: {write_ensemble(ensemble, known.out)}")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        "fer ensemble",
        description="One model of several runs, over their prediction tables. A search reads the tables of the inner "
        "split, and is measured there on subjects that it was not made with.",
    )
    parser.add_argument("runs", nargs="+", type=Path, metavar="RUN", help="such as runs/ceflnet_synthetic/1-0")
    parser.add_argument(
        "--method",
        choices=("average", "weighted", "joint", "best"),
        help="average (the default), weighted sum with searched weights, joint late fusion, or best selection",
    )
    parser.add_argument("--weights", nargs="+", type=float, help="of the runs in their order, in place of a search")
    parser.add_argument("--step", type=float, default=0.02, help="of the search for weights (0.02)")
    parser.add_argument("--groups", help="for joint late fusion: names or places of the runs, such as 1,2,3/4,5")
    parser.add_argument("--max-models", type=int, default=5, help="of the best selection (5)")
    parser.add_argument(
        "--selection",
        choices=("inner", "best_on_test"),
        default="inner",
        help="what a search looks at: the inner split, or the very split that is reported, as the papers do (inner)",
    )
    parser.add_argument("--out", type=Path, metavar="RUN", help="write it as a run, such as runs/average_dfew/1-0")
    return parser.parse_args(arguments)


def method_of(known: argparse.Namespace, names: Sequence[str]) -> Method:
    """The method of a command line.

    Raises:
        ValueError: options that do not fit together.
    """
    implied = "weighted" if known.weights else "joint" if known.groups else "average"
    method = known.method or implied
    if (known.weights and method != "weighted") or (known.groups and method != "joint"):
        raise ValueError(f"--method {method}: --weights go with the method weighted, --groups with joint, alone")
    if method == "joint":
        if not known.groups:
            raise ValueError(f"--method joint needs --groups, such as {names[0]}/{','.join(names[1:]) or '...'}")
        return JointFusion(groups_of(known.groups, names))
    if method == "best":
        return BestSelection(known.max_models)
    if method == "average":
        return Average()
    if not known.weights:
        return SearchedWeights(known.step)
    if len(known.weights) != len(names):
        raise ValueError(f"{len(known.weights)} weights for {len(names)} runs: expected one each, in their order")
    return FixedWeights(dict(zip(names, known.weights, strict=True)))


def combine(members: Sequence[Member], method: Method, selection: str = "inner") -> Ensemble:
    """Fits a method where it may look, and applies it to the reported and the inner split.

    Raises:
        FileNotFoundError: a search lacks an inner table.
        ValueError: a search would look at what it must not, or tables do not match.
    """
    return _searched(members, method, selection) if method.searches else _plain(members, method)


def _plain(members: Sequence[Member], method: Method) -> Ensemble:
    """An ensemble that looks at no true class."""
    tests = {member.name: member.test for member in members}
    fitted = method.fit(probabilities_of(tests), members[0].test)
    inner, problem = None, ""
    try:
        tables = inner_tables(members)
        inner = ensemble_table(tables, fitted.predict(probabilities_of(tables)))
    except (FileNotFoundError, ValueError) as error:
        problem = str(error)
    test = ensemble_table(tests, fitted.predict(probabilities_of(tests)))
    return Ensemble(tuple(members), method, combined_selection(members), fitted, test, inner, None, problem)


def _searched(members: Sequence[Member], method: Method, selection: str) -> Ensemble:
    """An ensemble that is fitted to true classes."""
    tests = {member.name: member.test for member in members}
    searched = searched_tables(members, selection)
    p, table = probabilities_of(searched), searched[members[0].name]
    where = "the inner split" if selection == "inner" else f"the reported split itself ({selection})"
    print(f"{method.describe()}: looks at {len(table)} clips of {where}", flush=True)
    with progress("search, and again without each fold's subjects", FOLDS + 1, transient=True) as reach:
        fitted = method.fit(p, table)
        reach(1)
        test = ensemble_table(tests, fitted.predict(probabilities_of(tests)))
        if selection != "inner":
            return Ensemble(tuple(members), method, selection, fitted, test, test, None, "")
        others = cross_fitted(method, p, table, lambda done: reach(1 + done))
    inner = None if others is None else ensemble_table(searched, others)
    problem = "the inner clips are of one subject, or no two of one emotion: no folds over subjects"
    on_searched = ensemble_table(searched, fitted.predict(p))
    return Ensemble(
        tuple(members), method, selection, fitted, test, inner, on_searched, "" if inner is not None else problem
    )
