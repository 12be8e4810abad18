"""Prepare a data set: extract the faces and audio of all clips in parallel, and resume after an interruption."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
