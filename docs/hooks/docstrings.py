"""What griffe does not understand in our docstrings."""

from typing import Any

import griffe


class Examples(griffe.Extension):
    """Reads `Example:` as the section of examples, for which griffe knows the plural alone."""

    def on_instance(self, *, obj: griffe.Object, **_: Any) -> None:
        """Is called for each module, class and function that is read."""
        if obj.docstring:
            obj.docstring.value = obj.docstring.value.replace("\nExample:\n", "\nExamples:\n")
