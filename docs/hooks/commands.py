"""The page of all commands, made from their argparse parsers."""

import argparse
import re
from collections.abc import Iterator
from contextlib import redirect_stdout, suppress
from functools import cache
from importlib import import_module
from io import StringIO
from unittest.mock import patch

from fer_lightning.cli.main import COMMANDS, STATUSES

LIGHTNING = ("fit", "validate")
"""Commands that take a command line of Lightning: so many options that a line of usage is of no use."""
NAME = re.compile(r"((?:--[a-z]|[^\s,;()'\"]*[_<|*])[^\s,;()'\"]*(?<![.:]))")
"""What Markdown would take for markup, or would show with a dash, in a text of a terminal."""


def commands_page() -> str:
    """Returns the options of every command as Markdown, then what the exit statuses mean."""
    parts = [section(name, text, module) for name, (module, text) in COMMANDS.items()]
    return "\n\n".join([*parts, "## Exit status", f"```text\n{STATUSES}\n```"])


def section(name: str, text: str, module: str) -> str:
    """Returns the part about one command."""
    head = f"## fer {name}\n\n{escaped(sentence(text))}"
    if name in LIGHTNING:
        return "\n\n".join([head, *lightning(name)])
    parser = parser_of(name, module)
    return "\n\n".join([head, *(described(parser) if parser else [f"```text\nfer {name}\n```"])])


def lightning(name: str) -> Iterator[str]:
    """Yields the usage and the options of a command of Lightning; those that an earlier one has are not repeated."""
    yield f"``` {{.text .usage}}\nfer {name} [EXPERIMENT] [OPTION VALUE ...]\n```"
    first = option_rows(parser_of(LIGHTNING[0], "fit"))
    rows = option_rows(parser_of(name, "fit"))
    if name == LIGHTNING[0]:
        yield "`--model.help CLASS` lists the options of a model, and so do `--data.dataset.help` and the like."
    else:
        yield f"It takes the options of `fer {LIGHTNING[0]}`, and these:"
        rows = [each for each in rows if each not in first]
    yield table(rows)


@cache
def parser_of(name: str, module: str) -> argparse.ArgumentParser | None:
    """Returns the parser whose help a command prints; None if the command takes no arguments."""
    shown: list[argparse.ArgumentParser] = []
    with (
        patch.object(argparse.ArgumentParser, "print_help", lambda self, file=None: shown.append(self)),
        redirect_stdout(StringIO()),
        suppress(SystemExit),
    ):
        # `fer test` is Lightning's command unless a checkpoint is given.
        import_module(f"fer_lightning.cli.{module}").main([name, *(["--checkpoint=RUN"] * (name == "test")), "--help"])
    return shown[0] if shown else None


def described(parser: argparse.ArgumentParser) -> Iterator[str]:
    """Yields the description, usage, options and commands of a parser as Markdown."""
    usage = re.sub(r"\s+", " ", parser.format_usage().removeprefix("usage: ")).replace("[-h] ", "")
    yield f"``` {{.text .usage}}\n{usage.strip()}\n```"
    if parser.description and parser.prog.count(" ") == 1:
        yield escaped(sentence(parser.description.split("\n\n")[0]))
    if rows := option_rows(parser):
        yield table(rows)
    for action in parser._actions:
        if isinstance(action, argparse._SubParsersAction):
            helps = {each.dest: each.help or "" for each in action._choices_actions}
            for name, child in action.choices.items():
                yield f"### {parser.prog} {name}\n\n{escaped(sentence(helps[name]))}"
                yield from described(child)
    if parser.epilog:
        formatted = parser.formatter_class is argparse.RawDescriptionHelpFormatter
        yield f"```text\n{parser.epilog}\n```" if formatted else escaped(parser.epilog)


def option_rows(parser: argparse.ArgumentParser) -> list[str]:
    """Returns a row for each option of a parser but those that show help."""
    others = (argparse._HelpAction, argparse._SubParsersAction)
    actions = [each for each in parser._actions if not isinstance(each, others)]
    return [row(each) for each in actions if not "".join(each.option_strings).endswith(".help")]


def table(rows: list[str]) -> str:
    """Returns rows as a table of options."""
    return "\n".join(["| option | meaning |", "|---|---|", *rows])


def row(action: argparse.Action) -> str:
    """Returns a row of the table of options."""
    usual = "VALUE" if "." in action.dest else action.dest.upper()
    value = action.metavar or (f"{{{','.join(map(str, action.choices))}}}" if action.choices else usual)
    names = action.option_strings or [str(action.metavar or action.dest)]
    takes = f" {value}" if action.option_strings and action.nargs != 0 else ""
    takes += " ..." if action.nargs in ("+", "*") else ""
    text = re.sub(r":\w+:`~?([^`]*)`|``([^`]*)``", r"`\1\2`", action.help or "")  # Lightning's are in reStructuredText
    meaning = escaped(sentence(text % vars(action)))
    code = "<br>".join(f"`{name}{takes}`" for name in names).replace("|", "\\|")
    return f"| {code} | {meaning} |"


def sentence(text: str) -> str:
    """Returns a help text as a sentence; one that begins with a list of names keeps its first letter."""
    text = text.strip()
    first = text[:1] if re.match(r"[\w.]+,", text) else text[:1].upper()
    return first + text[1:] + ("" if not text or text.endswith((".", ")")) else ".")


def escaped(text: str) -> str:
    """Returns a text of a terminal as Markdown: options, placeholders and names as code, no markup by accident."""
    codes = re.split(r"(`[^`]*`)", re.sub(r"\s+", " ", text))
    marked = "".join(each if each.startswith("`") else NAME.sub(r"`\1`", each) for each in codes)
    return marked.replace("|", "\\|")
