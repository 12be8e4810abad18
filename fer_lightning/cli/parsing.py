"""The parser of the commands: options by their full names, and suggestions where one is misspelt.

A command's module builds its parser, and checks names and files, before it imports what computes: help and mistakes
are answered without the seconds that PyTorch takes to start.
"""

import argparse
import re
import sys
from collections.abc import Callable, Iterable, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, NoReturn, get_args

from data_modules.utils.processors import default_workers
from data_modules.video.source import DEFAULT_READER, Reader
from fer_lightning.experiments.misspelt import option_names, suggestion

FILES = ("--config", "--ckpt_path")
"""Options of Lightning's parser whose value is a file."""

ROOT, DATASET_ROOT = "--data.dataset.init_args.root", "--dataset.init_args.root"
"""What `--root` stands for with Lightning's parser, and with that of a data set alone."""
LIGHTNING_ROOTS = (ROOT, DATASET_ROOT)
EARLIER_ROOTS = ("--dataset.root", "--data.dataset.root")


class CommandParser(argparse.ArgumentParser):
    """A parser that takes no abbreviated options and raises its errors, so that they are told like all others.

    Args:
        prog: the command, such as `fer train`.
        options: those of `argparse.ArgumentParser`.
    """

    def __init__(self, prog: str, **options: Any) -> None:
        super().__init__(prog, allow_abbrev=False, **options)

    def error(self, message: str) -> NoReturn:
        """Raises an error for what cannot be parsed.

        Raises:
            ValueError: always.
        """
        raise ValueError(f"{message}; `{self.prog} --help` explains the options")

    def parse(self, arguments: Sequence[str]) -> argparse.Namespace:
        """Parses arguments and refuses what it does not know.

        Raises:
            ValueError: an argument does not exist or does not fit; the message suggests similar options.
        """
        options, others = self.parse_known_args(arguments)
        refuse_unknown(others, option_names(self), self.prog)
        return options

    def parse_with(self, arguments: Sequence[str], sections: Sequence[str]) -> tuple[argparse.Namespace, list[str]]:
        """Parses arguments of which some are those of another parser, and returns these beside the command's own.

        Args:
            arguments: the arguments.
            sections: the other parser's options, without dashes and up to the first dot.

        Raises:
            FileNotFoundError: an option names a file that does not exist.
            ValueError: an option exists in neither, or does not fit; the message suggests similar options.
        """
        options, others = self.parse_known_args(arguments)
        named = [other for other in others if other.startswith("--")]
        unknown = [each for each in named if re.split("[.=+]", each.removeprefix("--"))[0] not in sections]
        refuse_unknown(unknown, [*option_names(self), *(f"--{name}" for name in sections)], self.prog)
        refuse_missing_files(others)
        return options, others


def add_root(parser: argparse.ArgumentParser) -> None:
    """Adds the option that names the folder of a command's data set, and its other spellings."""
    folder = "folder of the data set (default: the folder of its name in FER_DATA, or in data/)"
    parser.add_argument("--root", metavar="FOLDER", action=_Root, help=folder)
    parser.add_argument(*EARLIER_ROOTS, *LIGHTNING_ROOTS, dest="root", action=_Root, help=argparse.SUPPRESS)


class _Root(argparse.Action):
    """Takes the folder of a data set, under any of its names, once."""

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        if getattr(namespace, self.dest, None) is not None:
            parser.error(f"{option} names the folder of the data set a second time; expected one")
        if Path(values).is_file():
            parser.error(f"{option} {values} is a file; expected the folder of the data set")
        if option in EARLIER_ROOTS:
            print(f"{option} is --root now, and will be removed", file=sys.stderr)
        setattr(namespace, self.dest, values)


def refuse_root(parser: argparse.ArgumentParser) -> None:
    """Has a command that reads several data sets say how their folder is named."""
    parser.add_argument("--root", *EARLIER_ROOTS, *LIGHTNING_ROOTS, action=_NoRoot, help=argparse.SUPPRESS)


class _NoRoot(argparse.Action):
    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, values: Any, option: str | None = None
    ) -> None:
        parser.error(f"{option}: rows may be of several data sets; name the folder that holds them all by FER_DATA")


def refuse_unknown(arguments: Sequence[str], known: Iterable[str], command: str) -> None:
    """Refuses arguments that a command does not have.

    Args:
        arguments: what the command's parser did not take.
        known: the options that exist.
        command: such as `fer train`, for the message.

    Raises:
        ValueError: there are any; the message suggests similar options.
    """
    if arguments:
        unknown = [argument.partition("=")[0] for argument in arguments if argument.startswith("-")]
        raise ValueError(
            f"no {'option' if unknown else 'argument'} {', '.join(unknown or arguments)}"
            f"{suggestion((name.partition('.')[0] for name in unknown), known)}; "
            f"`{command} --help` lists all"
        )


def refuse_missing_files(arguments: Sequence[str]) -> None:
    """Refuses arguments of Lightning's parser that name a file which does not exist.

    Raises:
        FileNotFoundError: there is no such file.
    """
    words = [word for argument in arguments for word in argument.split("=", 1)]
    for option, name in pairwise(words):
        if option in FILES and name.endswith((".yaml", ".yml", ".ckpt")) and not Path(name).is_file():
            raise FileNotFoundError(f"{option} {name}: there is no such file, looked for {Path(name).absolute()}")


def add_reader_option(parser: argparse.ArgumentParser) -> None:
    """Adds the choice of what decodes video files."""
    parser.add_argument(
        "--reader",
        choices=get_args(Reader),
        default=DEFAULT_READER,
        help=f"decodes video files ({DEFAULT_READER}); torchcodec needs fer_lightning[torchcodec] and FFmpeg's shared "
        "libraries",
    )


def add_loading_workers(parser: argparse.ArgumentParser) -> None:
    """Adds the number of processes that load batches."""
    parser.add_argument(
        "--workers",
        type=int,
        default=default_workers(),
        help="number of loading processes (default: 2, or 1 on one core)",
    )


def with_choices(action: argparse.Action, names: Callable[[], Sequence[str]]) -> None:
    """Has the shell complete an argument with names that are looked up when they are asked for."""
    action.completer = lambda **_: names()  # type: ignore[attr-defined]
