"""`fer train`: trains, evaluates and reports an experiment. The same command resumes a run that was stopped."""

import argparse
from collections.abc import Iterator
from dataclasses import replace

from fer_lightning.cli.parsing import ROOT, CommandParser, add_root, with_choices
from fer_lightning.experiments.overrides import is_own, parse_arguments, variant_name
from fer_lightning.experiments.request import ExperimentRequest, experiment_of_file, split_name
from fer_lightning.experiments.system import data_names, experiment_pairs
from fer_lightning.runs.folder import RunFolder

SECTIONS = ("config", "data", "ensemble", "experiment", "model", "print_config", "seed_everything", "trainer")
"""The options of Lightning's parser, up to the first dot, and those of an ensemble."""

AUTO = "auto"
"""The name that stands for one made of the settings that differ from the experiment's."""


def main(arguments: list[str]) -> None:
    """Parses the command line and trains."""
    train(parse(arguments[1:]))


def make_parser() -> CommandParser:
    """Returns the parser of the command."""
    parser = CommandParser(
        "fer train",
        description="Train an experiment, evaluate it on the inner and the reported split, and write its report. For "
        "an ensemble, train the members that are not trained yet and fuse them.",
        epilog="All other options are Lightning's, such as --trainer.max_epochs 5 or --model.init_args.sal false; "
        "`fer fit --help` lists them. An ensemble takes --ensemble.method Average and the like itself and hands all "
        "other options to its members, whose runs then carry --name too.",
    )
    add_experiment_arguments(parser)
    parser.add_argument("--fold", default="1", help="fold of the data set's protocol (default: 1)")
    parser.add_argument("--seed", type=int, default=0, help="seed of everything random (default: 0)")
    return parser


def parse(arguments: list[str]) -> ExperimentRequest:
    """Parses a command line; options that are not declared here go on to Lightning's parser, which is strict.

    Raises:
        FileNotFoundError: there is no such system or no such data set.
        ValueError: an option does not exist or does not fit.
    """
    options, others = make_parser().parse_with(arguments, SECTIONS)
    return replace(request_from_options(options, others), fold=options.fold, seed=options.seed)


def add_experiment_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments that name an experiment."""
    experiment = parser.add_argument(
        "experiment",
        help="<system>_<data>, such as ceflnet_synthetic; `fer experiments` lists systems and data sets. Or a file of "
        "the working folder, such as my.yaml, which describes a system of your own; with --data",
    )
    with_choices(experiment, experiment_pairs)
    with_choices(parser.add_argument("--data", help="another data set"), data_names)
    add_root(parser)
    parser.add_argument("--size", choices=("small", "paper"), help="small crops and backbones, or those of the paper")
    parser.add_argument(
        "--name",
        default="",
        help="name of a variant, such as no_sal; its runs get their own folder. `auto` makes it of the settings that "
        "differ from the experiment's, such as sal_false",
    )
    parser.add_argument("--group", default="", help="the runs' group in W&B, such as a table (default: the experiment)")
    parser.add_argument("--job-type", default="train", choices=("train", "ablation"), help="the runs' kind in W&B")


def request_from_options(options: argparse.Namespace, others: list[str]) -> ExperimentRequest:
    """Returns the request for the arguments of `add_experiment_arguments`; `others` are Lightning's.

    Raises:
        FileNotFoundError: there is no such system or no such data set.
        ValueError: the name should be made of settings, and one of them does not exist or has no value.
    """
    root = () if options.root is None else (ROOT, options.root)
    experiment, data = options.experiment, options.data or None
    if experiment.endswith((".yaml", ".yml")):
        experiment, data = experiment_of_file(experiment, data), None
    request = ExperimentRequest(
        experiment,
        data,
        options.size or None,
        name=options.name,
        arguments=(*root, *separated(others)),
        group=options.group,
        job_type=options.job_type,
    )
    split_name(request.experiment)
    return replace(request, name=automatic_name(request)) if request.name == AUTO else request


def separated(arguments: list[str]) -> Iterator[str]:
    """Yields arguments in which `--key=value` is `--key` and `value`, as all requests have them."""
    for argument in arguments:
        yield from argument.split("=", 1) if argument.startswith("--") else (argument,)


def automatic_name(request: ExperimentRequest) -> str:
    """Returns the name that `fer ablate` gives to a variant with a request's arguments; empty if nothing differs.

    Raises:
        ValueError: a setting does not exist or has no value.
    """
    # what follows takes seconds to import, so names are checked before
    from fer_lightning.ensemble.training import resolved

    config = resolved(replace(request, name="", arguments=()))
    overrides = parse_arguments(config, request.arguments)
    return variant_name(each for each in overrides if not is_own(config, each))


def train(request: ExperimentRequest) -> RunFolder:
    """Trains, evaluates and reports a model, or an ensemble with the members that are not trained yet."""
    if request.is_ensemble:
        # what follows takes seconds to import, so names are checked before
        from fer_lightning.ensemble.training import train_ensemble

        return train_ensemble(request)
    from fer_lightning.experiments.fit import fit_experiment

    return fit_experiment(request)
