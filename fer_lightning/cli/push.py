"""`fer push`: sends the model of a run to the Hugging Face Hub, with its card."""

import tempfile
from pathlib import Path

from fer_lightning.cli.parsing import CommandParser
from fer_lightning.runs.folder import RunFolder
from fer_lightning.runs.lookup import find_run
from fer_lightning.zoo.hub import HubModel
from fer_lightning.zoo.transfer import push, refuse_without_token


def make_parser() -> CommandParser:
    """Returns the parser of the command."""
    parser = CommandParser(
        "fer push",
        description="Sends the model of a finished run to a repository of the Hugging Face Hub: the file that `fer "
        "export` writes, and its card as the README, which says what it was trained on and under which licence. "
        "Whether that licence lets you pass on weights is for you to find out. Nothing else of the run is sent.",
    )
    parser.add_argument("run", metavar="RUN", help="folder of a finished run, or its name below runs/")
    parser.add_argument("repository", metavar="REPO", help="OWNER/NAME; a repository that does not exist is made")
    parser.add_argument("--public", action="store_true", help="let everybody see a repository that is made (only you)")
    parser.add_argument("--full", action="store_true", help="send all weights with 32 bits (16 for most of them)")
    return parser


def main(arguments: list[str]) -> None:
    """Runs `fer push RUN REPO`.

    Raises:
        FileNotFoundError: there is no such run, or it is not finished, or there is no connection.
        ValueError: the run is an ensemble, nobody is logged in, or the Hub refuses access.
    """
    options = make_parser().parse(arguments[1:])
    run, model = RunFolder(find_run(options.run)), HubModel.parse(options.repository)
    run.read_info()  # refuses a run that is not finished before anything is made
    refuse_without_token(model)

    # what follows takes seconds to import, so names are checked before
    from fer_lightning.export.repository import write_repository

    with tempfile.TemporaryDirectory(prefix="fer-push-") as folder:
        write_repository(run, Path(folder), model, half=not options.full)
        address = push(model, Path(folder), options.public)
    print(f"sent: {address}\nUse it: fer pull {model.name}, then --checkpoint {model.name}")
