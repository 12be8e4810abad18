"""Do et al., Context-aware emotion recognition in the wild, Sensors 2021."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
