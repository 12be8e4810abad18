"""Prepare a data set: faces and audio of all its clips, resumable and in parallel."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
