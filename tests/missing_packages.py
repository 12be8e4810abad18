"""Runs a program as on a machine without some packages: `python -m tests.missing_packages av,wandb PROGRAM ...`."""

import runpy
import sys
from importlib.machinery import ModuleSpec
from typing import Any


class Without:
    """A finder of modules that finds those of some packages no more; who looks for them is told that there are none."""

    def __init__(self, finder: Any, packages: set[str]) -> None:
        self._finder, self._packages = finder, packages

    def find_spec(self, name: str, *place: Any) -> ModuleSpec | None:
        return None if name.partition(".")[0] in self._packages else self._finder.find_spec(name, *place)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._finder, name)


if __name__ == "__main__":
    packages, module, *arguments = sys.argv[1:]
    sys.meta_path[:] = [Without(finder, set(packages.split(","))) for finder in sys.meta_path]
    sys.argv = [module, *arguments]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
