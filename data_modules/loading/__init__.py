"""Load batches: samples of clips, augmentation, balanced batches, and the data module."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
