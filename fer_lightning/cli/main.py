"""The command line `fer COMMAND ...`. Each command is a module of this folder, imported when it is used."""

import os
import signal
import sys
from importlib import import_module
from typing import Any

from data_modules.utils.signals import Terminated, terminated_by
from data_modules.utils.text import printable_line
from fer_lightning import __version__
from fer_lightning.cli import slurm
from fer_lightning.cli.errors import REPORT, remedy
from fer_lightning.cli.parsing import CommandParser
from fer_lightning.experiments.misspelt import suggestion

STATUSES = (
    "exit status: 0 everything is done; 1 something is not, such as a video that cannot be read, or a bug;\n"
    "2 an error that you can fix, which the message explains; 130 stopped with Ctrl-C, 143 with SIGTERM"
)


COMMANDS = {
    "train": ("train", "train an experiment, evaluate it, write its report; resumes a stopped run"),
    "cv": ("cross_validate", "train all folds and seeds of an experiment and summarise their scores"),
    "reproduce": ("reproduce", "train what a paper's table lacks, and write the table with our results"),
    "ablate": ("ablate", "train an experiment with other settings, and write the differences"),
    "tables": ("tables", "list the papers' tables, or print one with the results that are there"),
    "dashboard": ("dashboard", "make a view in W&B for the runs of a table, an ablation or an experiment"),
    "predict": ("predict", "recognise expressions over time in any videos, with the suite's model or yours"),
    "live": ("live", "show the expressions that a camera sees, on a page in a browser on this machine"),
    "export": ("export", "write a trained model to one file to take away, with a card of what it is good for"),
    "push": ("push", "send a trained model to the Hugging Face Hub, with its card"),
    "pull": ("pull", "fetch a trained model from the Hugging Face Hub; list those known by name"),
    "faces": ("faces", "extract aligned faces, boxes and landmarks from any videos"),
    "report": ("report", "write a run's report again"),
    "noise": ("noise", "evaluate trained landmark systems under noise on the points"),
    "compare": ("compare", "compare runs on the same clips, with paired intervals and tests"),
    "inflation": ("inflation", "measure what choosing the epoch on the reported split adds, over runs"),
    "ensemble": ("ensemble", "combine several runs into one model: average, weights, fusion, selection"),
    "data": ("data", "list, prepare and check data sets"),
    "experiments": ("experiments", "list the systems and data sets of which experiments are made"),
    "bench": ("bench", "measure speed: store formats, loading, training steps, prediction"),
    "fit": ("fit", "Lightning's own command, with all of its options"),
    "validate": ("fit", "Lightning's own command"),
    "test": ("test", "Lightning's own command; with --checkpoint RUN --data NAME on other data"),
}
"""Command -> its module in this folder, and its line in the help."""

RESUMED = ("train", "cv", "reproduce", "ablate", "data")
"""Commands that resume if they are run again; the others start from the beginning."""


def usage() -> str:
    """Returns the text of `fer --help`."""
    lines = [f"  {name:<12} {text}" for name, (_, text) in COMMANDS.items()]
    commands = "usage: fer COMMAND [--help] ...\n       fer --version\n\n" + "\n".join(lines)
    return f"{commands}\n\n{STATUSES}"


def complete() -> None:
    """Answers the shell that asks what may follow on its line, and ends the process."""
    import argcomplete

    def parser_of(prog: str) -> CommandParser:
        module = import_module(f"fer_lightning.cli.{COMMANDS[prog.removeprefix('fer ')][0]}")
        made: CommandParser = module.make_parser()
        return made

    parser = CommandParser("fer")
    parser.add_argument("--version", action="store_true")
    commands: Any = parser.add_subparsers(parser_class=parser_of)  # type: ignore[call-overload]  # it is only called
    for name in COMMANDS:
        commands.add_parser(name)
    argcomplete.autocomplete(parser)


def main(arguments: list[str] | None = None) -> int:
    """Runs a command and returns its exit status; errors that a user can fix are one message without a traceback.

    Raises:
        Exception: an unexpected error, with a note that asks to report it.
    """
    if "_ARGCOMPLETE" in os.environ:
        complete()
    command, *rest = (sys.argv[1:] if arguments is None else arguments) or ["--help"]
    if command in ("-h", "--help", "--version"):
        print(f"fer_lightning {__version__}" if command == "--version" else usage())
        return 0
    if command not in COMMANDS:
        print(f"fer: no command {command!r}{suggestion([command], COMMANDS)}\n\n{usage()}", file=sys.stderr)
        return 2
    try:
        module = import_module(f"fer_lightning.cli.{COMMANDS[command][0]}")
        with terminated_by(signal.SIGTERM, signal.SIGHUP, *slurm.signals()):
            result: int | None = module.main([command, *rest])
    except KeyboardInterrupt as stop:
        return _stopped(command, stop)
    except Exception as error:
        message = remedy(error)
        if message is None:
            error.add_note(REPORT)
            raise
        print("\n".join(map(printable_line, f"fer {command}: {message}".split("\n"))), file=sys.stderr)
        return 2
    return result or 0


def _stopped(command: str, stop: KeyboardInterrupt) -> int:
    """Says what becomes of a command that was stopped, requeues its job if asked for, and returns the exit status."""
    restart = "files that were written are complete; the same command starts from the beginning"
    advice = "the same command resumes where it stopped" if command in RESUMED else restart
    number = stop.number if isinstance(stop, Terminated) else signal.SIGINT
    reason = f" by {stop}" if isinstance(stop, Terminated) else ""
    if slurm.is_first_process():
        print(f"\nfer {command}: stopped{reason}; {advice}", file=sys.stderr)
        if number in slurm.signals() and command in RESUMED:
            print(f"fer {command}: {slurm.requeue()}", file=sys.stderr)
    return 128 + number
