"""The public names of a module, as the blocks of which mkdocstrings makes the reference."""

import re
from importlib import import_module
from types import ModuleType

API = re.compile(r"^<!-- api: (?P<module>[\w.]+)(?: from (?P<rooms>[\w., ]+))? -->$", re.MULTILINE)


def with_api(markdown: str) -> str:
    """Returns a page with a block for each public name in the place of `<!-- api: MODULE from ROOM, ROOM -->`.

    Names are those that the module offers and that are defined below one of the rooms; without rooms, all of them.
    """
    return API.sub(lambda match: blocks(match["module"], tuple((match["rooms"] or "").split(", "))), markdown)


def blocks(name: str, rooms: tuple[str, ...]) -> str:
    """Returns the blocks of a module's public names."""
    module = import_module(name)
    found = [each for each in public_names(module) if home(module, each).startswith(rooms)]
    return "\n\n".join(f"::: {name}.{each}" for each in found)


def public_names(module: ModuleType) -> list[str]:
    """Lists the classes and functions that a module offers, in alphabetical order."""
    listed = getattr(module, "__all__", None) or [
        each for each in vars(module) if not each.startswith("_") and home(module, each) == module.__name__
    ]
    return sorted((each for each in listed if callable(getattr(module, each))), key=str.lower)


def home(module: ModuleType, name: str) -> str:
    """Returns the module in which a name is defined; empty for a constant."""
    return str(getattr(getattr(module, name), "__module__", ""))
