"""`fer fit`, `fer validate`: Lightning's own commands, which change nothing that a run has."""

import yaml

from fer_lightning.cli.parsing import ROOT, CommandParser, add_root, refuse_missing_files, with_choices
from fer_lightning.experiments.request import ExperimentRequest
from fer_lightning.experiments.system import base_settings, experiment_pairs


def make_parser() -> CommandParser:
    """Returns a parser of what this suite adds to Lightning's commands, for the completion of the shell."""
    parser = CommandParser("fer fit", description="Lightning's own command, with all of its options.")
    with_choices(parser.add_argument("experiment", nargs="?"), experiment_pairs)
    add_root(parser)
    return parser


def main(arguments: list[str]) -> None:
    """Runs one of Lightning's commands on an experiment, or on the settings that all experiments share.

    Raises:
        FileNotFoundError: there is no such experiment or file, or no trained model to evaluate.
        ValueError: a setting does not exist or does not fit, or the run to fit has begun.
    """
    command, *rest = arguments
    rest = _with_root(rest)
    refuse_missing_files(rest)
    if rest and not rest[0].startswith("-"):
        settings = ExperimentRequest(rest[0], arguments=tuple(rest[1:])).command_line()
    else:
        settings = ["--config", yaml.safe_dump(base_settings()), *rest]

    # what follows takes seconds to import, so names are checked before
    from fer_lightning.experiments.lightning_cli import FerCLI

    FerCLI([command, *settings])


def _with_root(arguments: list[str]) -> list[str]:
    """Returns Lightning's arguments, in which `--root` is the option that it stands for, behind the experiment."""
    parser = CommandParser("fer fit", add_help=False)
    add_root(parser)
    options, others = parser.parse_known_args(arguments)
    named = [others.pop(0)] if others and not others[0].startswith("-") else []
    return [*named, *(() if options.root is None else (ROOT, options.root)), *others]
