"""Face crops, landmarks, audio and cached features on disk, keyed by what made them."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
