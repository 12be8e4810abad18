"""The command line: `fer COMMAND ...`. Each command is a file of this folder, imported when it is asked for."""

import sys
from importlib import import_module

from fer_lightning import __version__
from fer_lightning.cli.errors import REPORT, remedy

STATUSES = (
    "exit status: 0 all is done; 1 something is not, such as a video that cannot be read, or a fault of the suite;\n"
    "2 something that you can mend, which the message names; 130 stopped with Ctrl-C"
)


COMMANDS = {
    "train": ("train", "train an experiment, evaluate it, write its report; resumes what was stopped"),
    "cv": ("cross_validate", "all folds and seeds of an experiment, and what they come to together"),
    "predict": ("predict", "expressions over time of any videos, with a trained run"),
    "faces": ("faces", "aligned faces, boxes and landmarks of any videos"),
    "report": ("report", "write a run's report again"),
    "noise": ("noise", "trained landmark systems under noise on the points: a curve"),
    "compare": ("compare", "two runs on the same clips, with a paired interval"),
    "ensemble": ("ensemble", "one model of several runs: average, weights, fusion, selection"),
    "data": ("data", "prepare a data set: render, crop faces, list what there is"),
    "experiments": ("experiments", "list the experiments"),
    "bench": ("bench", "measure speed: store formats, loading, training steps, prediction"),
    "fit": ("fit", "Lightning's own command, with all of its options"),
    "validate": ("fit", "Lightning's own command"),
    "test": ("test", "Lightning's own command; with --checkpoint RUN --data NAME on other data"),
}
"""Command -> its file in this folder, and what it does."""

RESUMED = ("train", "cv", "data")
"""Commands that go on where they were stopped; others begin anew."""


def usage() -> str:
    """What `fer --help` prints."""
    lines = [f"  {name:<12} {text}" for name, (_, text) in COMMANDS.items()]
    commands = "usage: fer COMMAND [--help] ...\n       fer --version\n\n" + "\n".join(lines)
    return f"{commands}\n\n{STATUSES}"


def main(arguments: list[str] | None = None) -> int:
    """Runs a command and returns its exit status; errors that a user can mend are one message, without a traceback.

    Raises:
        Exception: what nobody expected, with a note of where to report it.
    """
    command, *rest = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if command in ("-h", "--help", "--version"):
        print(f"fer_lightning {__version__}" if command == "--version" else usage())
        return 0
    if command not in COMMANDS:
        print(f"fer: no command {command!r}\n\n{usage()}", file=sys.stderr)
        return 2
    module = import_module(f"fer_lightning.cli.{COMMANDS[command][0]}")
    try:
        result: int | None = module.main([command, *rest])
    except KeyboardInterrupt:
        anew = "what is written is whole and stays; the same command begins anew"
        then = "the same command goes on where it was" if command in RESUMED else anew
        print(f"\nfer {command}: stopped; {then}", file=sys.stderr)
        return 130
    except Exception as error:
        message = remedy(error)
        if message is None:
            error.add_note(REPORT)
            raise
        print(f"fer {command}: {message}", file=sys.stderr)
        return 2
    return result or 0
