"""From a batch to a report.

The public names are imported when they are first asked for, and listed once, in `__init__.pyi`.
"""

from importlib.metadata import version

import lazy_loader

from data_modules.utils.old_paths import install as _understand_old_paths

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)

__version__ = version("fer_lightning")

_understand_old_paths()
