"""Process audio: extract speech, and compute spectrograms and openSMILE functionals."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
