"""Classes of this suite by the paths with which configurations name them."""

from importlib import import_module

OWN = ("fer_lightning", "data_modules")
"""The packages of this suite."""


def own_class(class_path: str) -> type | None:
    """Returns a class of this suite; None for classes of other packages, which are not imported, and unknown ones."""
    module, _, name = class_path.rpartition(".")
    if module.split(".")[0] not in OWN:
        return None
    try:
        found: type = getattr(import_module(module), name)
    except (ImportError, AttributeError):
        return None
    return found
