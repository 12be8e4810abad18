"""VSHNN, its fusion with facial landmarks, and its single streams.

Lee et al. (2020), "Visual Scene-Aware Hybrid and Multi-Modal Feature Aggregation for Facial Expression Recognition",
Sensors 20, 5184, https://doi.org/10.3390/s20185184
"""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
