"""`fer test`: Lightning's command, or a trained model on another data set's reported split, by class names."""

from collections.abc import Sequence
from pathlib import Path

from fer_lightning.cli import fit
from fer_lightning.cli.parsing import CommandParser, add_loading_workers, add_root, with_choices
from fer_lightning.experiments.system import data_file, data_names
from fer_lightning.zoo.lookup import find_model, is_shared


def make_parser() -> CommandParser:
    """Returns the parser of the command."""
    parser = CommandParser(
        "fer test",
        description="Evaluate a trained model on the reported split of another data set; classes are matched by name. "
        "Faces are cut as in the model's training; --dataset.faces.margin and the like state them.",
        epilog="Without --checkpoint, it is Lightning's command: `fer test EXPERIMENT`, with the options of `fer fit`. "
        "It evaluates the chosen checkpoint of the experiment's run, or --ckpt_path, and writes into RUN/test/.",
    )
    parser.add_argument(
        "--checkpoint",
        required=True,
        metavar="RUN",
        help="folder of a run, its name below runs/, a checkpoint, or a model's name (`fer pull --list`)",
    )
    data = parser.add_argument("--data", required=True, help="name of a data set (`fer experiments` lists them)")
    with_choices(data, data_names)
    add_root(parser)
    parser.add_argument(
        "--fold", help="fold of the data set's protocol (default: that of the run on its own data set, elsewhere 1)"
    )
    parser.add_argument(
        "--classes",
        nargs="*",
        default=[],
        metavar="DATA=MODEL",
        help="classes with different names, such as calm=neutral",
    )
    add_loading_workers(parser)
    parser.add_argument(
        "--out",
        type=Path,
        help="the prediction table (default: RUN/on/NAME-FOLD.csv, without a run MODEL-on-NAME-FOLD.csv); the report "
        "is in a folder of that name beside it",
    )
    return parser


def main(arguments: list[str]) -> None:
    """Writes table and report and prints the metrics; without `--checkpoint`, Lightning's own command runs.

    Raises:
        FileNotFoundError: there is no such run, or no such data set.
        ValueError: an option is invalid, or model and data have fewer than two classes in common.
    """
    asks_for_help = arguments[1:] in (["--help"], ["-h"])
    if not (asks_for_help or any(argument.split("=")[0] == "--checkpoint" for argument in arguments)):
        return fit.main(arguments)
    options, others = make_parser().parse_with(arguments[1:], ("dataset",))
    checkpoint, renamed = find_model(options.checkpoint), parse_renaming(options.classes)
    data_file(options.data)

    # what follows takes seconds to import, so names are checked before
    from fer_lightning.experiments.other_data import EvaluationRequest, evaluate_on_other_data

    out = options.out
    if out is None and is_shared(checkpoint):
        out = Path(f"{Path(options.checkpoint).name}-on-{options.data}-{options.fold or 1}.csv")
    stated = (options.data, options.fold, renamed, options.workers, out, options.root)
    evaluate_on_other_data(EvaluationRequest(checkpoint, *stated, tuple(others)))
    return None


def parse_renaming(pairs: Sequence[str]) -> dict[str, str]:
    """Parses pairs such as `calm=neutral` into {"calm": "neutral"}.

    Raises:
        ValueError: one of them is not a pair.
    """
    for pair in pairs:
        if pair.count("=") != 1:
            raise ValueError(f"--classes {pair}: expected DATA=MODEL, such as calm=neutral")
    return dict(pair.split("=") for pair in pairs)
