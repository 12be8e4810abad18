"""Li et al., Bi-modality fusion for emotion recognition in the wild, ICMI 2019."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
