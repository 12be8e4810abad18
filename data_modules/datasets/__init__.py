"""Data sets: one thin file for each, their folds and splits, and the doctor that examines a copy."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
