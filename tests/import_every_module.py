"""Imports every module of the packages that are installed: `python tests/import_every_module.py`."""

import importlib
import pkgutil
import sys

import data_modules
import fer_lightning


def main() -> int:
    """Prints each module that cannot be imported, with the reason; 1 where there is any, or where none was found."""
    found, failed = 0, 0
    for package in (data_modules, fer_lightning):
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            found += 1
            try:
                importlib.import_module(module.name)
            except ImportError as error:
                failed += 1
                print(f"{module.name}: {error}", file=sys.stderr)
    print(f"{found - failed} of {found} modules were imported")
    return 1 if failed or not found else 0


if __name__ == "__main__":
    sys.exit(main())
