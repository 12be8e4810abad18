"""`fer ensemble`: combines several runs into one model, from their prediction tables."""

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from fer_lightning.cli.parsing import CommandParser
from fer_lightning.runs.folder import RunFolder
from fer_lightning.runs.labels import RunLabels
from fer_lightning.runs.lookup import find_run

if TYPE_CHECKING:
    from fer_lightning.ensemble.methods import Method


def make_parser() -> CommandParser:
    """Returns the parser of the command."""
    parser = CommandParser(
        "fer ensemble",
        description="Combine several runs into one model, from their prediction tables. A search uses the tables of "
        "the inner split, and is scored there on films or subjects that it did not use.",
    )
    parser.add_argument("runs", nargs="+", metavar="RUN", help="such as runs/ceflnet_synthetic/1-0")
    parser.add_argument(
        "--method",
        choices=("average", "weighted", "joint", "best"),
        help="average (the default), weighted sum with searched weights, joint late fusion, or best selection",
    )
    parser.add_argument(
        "--weights", nargs="+", type=float, help="weights of the runs, in their order, instead of a search"
    )
    parser.add_argument("--step", type=float, default=0.02, help="step of the search for weights (default: 0.02)")
    parser.add_argument("--groups", help="for joint late fusion: names or positions of the runs, such as 1,2,3/4,5")
    parser.add_argument(
        "--max-models", type=int, default=5, help="largest number of runs in the best selection (default: 5)"
    )
    parser.add_argument(
        "--selection",
        choices=("inner", "best_on_test"),
        default="inner",
        help="split that a search uses: inner, or the very split that is reported, as the papers do (default: inner)",
    )
    parser.add_argument(
        "--out", type=Path, metavar="RUN", help="write the ensemble as a run, such as runs/average_dfew/1-0"
    )
    parser.add_argument("--group", default="", help="the ensemble's group in W&B (default: that of its members)")
    return parser


def main(arguments: list[str]) -> None:
    """Combines runs, prints the scores, and writes the ensemble as a run if `--out` is given.

    Raises:
        FileNotFoundError: there is no such run, or it is not evaluated yet.
        ValueError: the runs do not fit together, or a search would use clips that it must not see.
    """
    options = make_parser().parse(arguments[1:])
    runs = [find_run(name) for name in options.runs]

    # these take seconds, so names are checked before
    from fer_lightning.ensemble.combine import combine
    from fer_lightning.ensemble.members import read_members
    from fer_lightning.ensemble.result import print_ensemble, refuse_other_folder, write_ensemble
    from fer_lightning.ensemble.wandb_run import send_ensemble
    from fer_lightning.evaluation.calibration_file import calibration_line

    if options.out:
        refuse_other_folder(options.out, runs)
    members = read_members(runs)
    names = [member.name for member in members]
    method = method_from_options(options, names)
    method.check_members(names)
    ensemble = combine(members, method, options.selection)
    print_ensemble(ensemble)
    if options.out:
        print(f"report: {write_ensemble(ensemble, options.out)}")
        print(calibration_line(RunFolder(options.out)))
        send_ensemble(ensemble, options.out, RunLabels(options.group))


def method_from_options(options: argparse.Namespace, names: Sequence[str]) -> "Method":
    """Returns the method that the options ask for.

    Raises:
        ValueError: the options do not fit together.
    """
    from fer_lightning.ensemble.methods import Average, BestSelection, FixedWeights, JointFusion, SearchedWeights

    implied = "weighted" if options.weights else "joint" if options.groups else "average"
    method = options.method or implied
    if (options.weights and method != "weighted") or (options.groups and method != "joint"):
        raise ValueError(f"--method {method}: --weights needs method weighted, --groups method joint")
    if method == "joint":
        if not options.groups:
            raise ValueError(f"--method joint needs --groups, such as {names[0]}/{','.join(names[1:]) or '...'}")
        return JointFusion(tuple(tuple(group.split(",")) for group in options.groups.split("/")))
    if method == "best":
        return BestSelection(options.max_models)
    if method == "average":
        return Average()
    if not options.weights:
        return SearchedWeights(options.step)
    return FixedWeights(options.weights)
