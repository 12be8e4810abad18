"""`fer train`: trains, evaluates and reports an experiment. The same command resumes a run that was stopped."""

import argparse
from dataclasses import replace

from fer_lightning.ensemble.training import train_ensemble
from fer_lightning.experiments.fit import fit_experiment
from fer_lightning.experiments.request import ExperimentRequest
from fer_lightning.experiments.system import data_names, system_names
from fer_lightning.runs.folder import RunFolder


def main(arguments: list[str]) -> None:
    """Parses the command line and trains."""
    train(parse(arguments[1:]))


def parse(arguments: list[str]) -> ExperimentRequest:
    """Parses a command line; options that are not declared here go on to Lightning's parser, which is strict."""
    parser = argparse.ArgumentParser(
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
    options, others = parser.parse_known_args(arguments)
    return replace(request_from_options(options, others), fold=options.fold, seed=options.seed)


def add_experiment_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds the arguments that name an experiment."""
    parser.add_argument(
        "experiment",
        help=f"<system>_<data>; systems: {', '.join(system_names())}; data sets: {', '.join(data_names())}",
    )
    parser.add_argument("--data", help="another data set")
    parser.add_argument("--size", choices=("small", "paper"), help="small crops and backbones, or those of the paper")
    parser.add_argument("--name", default="", help="name of a variant, such as no_sal; its runs get their own folder")
    parser.add_argument("--group", default="", help="the runs' group in W&B, such as a table (default: the experiment)")
    parser.add_argument("--job-type", default="train", choices=("train", "ablation"), help="the runs' kind in W&B")


def request_from_options(options: argparse.Namespace, others: list[str]) -> ExperimentRequest:
    """Returns the request for the arguments of `add_experiment_arguments`; `others` are Lightning's."""
    return ExperimentRequest(
        options.experiment,
        options.data or None,
        options.size or None,
        name=options.name,
        arguments=tuple(others),
        group=options.group,
        job_type=options.job_type,
    )


def train(request: ExperimentRequest) -> RunFolder:
    """Trains, evaluates and reports a model, or an ensemble with the members that are not trained yet."""
    return train_ensemble(request) if request.is_ensemble else fit_experiment(request)
