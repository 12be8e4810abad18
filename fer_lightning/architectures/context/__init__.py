"""The context models, which use the face and the image of the whole person.

Do et al. (2021), "Context-Aware Emotion Recognition in the Wild Using Spatio-Temporal and Temporal-Pyramid Models",
Sensors 21, 2344, https://doi.org/10.3390/s21072344
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
