"""Describe the supported data sets, their folds and splits, and check a copy for errors (`doctor`)."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
