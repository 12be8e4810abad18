"""Lee et al., Visual scene-aware hybrid and multi-modal feature aggregation, Sensors 2020."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
