"""Bi-modality fusion: the visual models and the audio model of spectrograms.

Li et al. (2019), "Bi-modality Fusion for Emotion Recognition in the Wild", ICMI 2019,
https://doi.org/10.1145/3340555.3355719
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
