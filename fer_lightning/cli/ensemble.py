"""`fer ensemble`: one model of several runs, over their prediction tables."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from fer_lightning.ensemble.combine import combine
from fer_lightning.ensemble.members import read_members
from fer_lightning.ensemble.methods import (
    Average,
    BestSelection,
    FixedWeights,
    JointFusion,
    Method,
    SearchedWeights,
)
from fer_lightning.ensemble.result import print_ensemble, refuse_other_folder, write_ensemble


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
    names = [member.name for member in members]
    method = method_of(known, names)
    method.check_members(names)
    ensemble = combine(members, method, known.selection)
    print_ensemble(ensemble)
    if known.out:
        print(f"report: {write_ensemble(ensemble, known.out)}")


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        "fer ensemble",
        description="One model of several runs, over their prediction tables. A search reads the tables of the inner "
        "split, and is measured there on films or subjects that it was not made with.",
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
        return JointFusion(tuple(tuple(group.split(",")) for group in known.groups.split("/")))
    if method == "best":
        return BestSelection(known.max_models)
    if method == "average":
        return Average()
    if not known.weights:
        return SearchedWeights(known.step)
    return FixedWeights(known.weights)
