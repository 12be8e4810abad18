"""`fer cv`: cross-validation. Trains all folds and seeds of an experiment and summarises their scores."""

from fer_lightning.cli.jobs import add_job_arguments, train_from_options
from fer_lightning.cli.parsing import CommandParser
from fer_lightning.cli.train import SECTIONS, add_experiment_arguments, request_from_options


def make_parser() -> CommandParser:
    """Returns the parser of the command."""
    parser = CommandParser(
        "fer cv", description="Train all folds and seeds of an experiment and summarise their scores."
    )
    add_experiment_arguments(parser)
    parser.add_argument("--folds", nargs="+", default=[], help="names of folds (default: all of the protocol)")
    parser.add_argument("--seeds", nargs="+", type=int, default=[0], help="seeds of the runs (default: 0)")
    add_job_arguments(parser)
    return parser


def main(arguments: list[str]) -> int:
    """Runs `fer cv EXPERIMENT`; returns 0 if all runs are finished and 1 if some failed.

    Raises:
        FileNotFoundError: there is no such system or no such data set.
        ValueError: an option or a setting is not valid, or a setting differs from that of a finished run.
    """
    options, others = make_parser().parse_with(arguments[1:], SECTIONS)
    request = request_from_options(options, others)
    train = train_from_options(options)

    # what follows takes seconds to import, so names are checked before
    from fer_lightning.tables.cross_validation import cross_validate

    return cross_validate(request, options.folds, options.seeds, train)
