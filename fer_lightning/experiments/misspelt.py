"""Suggests options that exist where one is misspelt."""

import argparse
import difflib
import inspect
import re
from collections.abc import Iterable, Iterator
from pydoc import locate

OPTION = re.compile(r"(?<![\w-])--[\w.]+")
REFUSED = re.compile(r"Option '([\w.]+)' is not accepted")
CLASS = re.compile(r"class_path[ =]'([\w.]+)'")


def suggestion(unknown: Iterable[str], known: Iterable[str]) -> str:
    """Returns `; did you mean ...?` with names similar to those that do not exist, or nothing if there are none."""
    names = list(dict.fromkeys(known))  # one of the same name belongs to another command
    similar = [
        name
        for each in unknown
        for name in difflib.get_close_matches(each, [name for name in names if name != each], n=1)
    ]
    return f"; did you mean {' and '.join(dict.fromkeys(similar))}?" if similar else ""


def suggested(error: argparse.ArgumentError, parser: argparse.ArgumentParser) -> str:
    """Returns the message of an error, with a suggestion for what in it does not exist: an option, or a class's."""
    message = str(error)
    refused, classes = REFUSED.search(message), CLASS.findall(message)
    if refused and classes:  # jsonargparse prints every type that it has tried, the class at fault last
        return f"{classes[-1]} has no argument {refused[1]!r}{suggestion([refused[1]], _arguments(classes[-1]))}"
    known = list(option_names(parser))
    return message + suggestion((name for name in OPTION.findall(message) if name not in known), known)


def _arguments(path: str) -> Iterator[str]:
    """Yields the names of the arguments of a class and of those that it extends."""
    for kind in inspect.getmro(found) if inspect.isclass(found := locate(path)) else ():
        if inspect.isfunction(constructor := vars(kind).get("__init__")):
            yield from inspect.signature(constructor).parameters


def option_names(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Yields the long options of a parser and of its subcommands."""
    for action in parser._actions:  # argparse has no public way to them
        yield from (name for name in action.option_strings if name.startswith("--"))
        if isinstance(action, argparse._SubParsersAction):
            for subparser in action.choices.values():
                yield from option_names(subparser)
