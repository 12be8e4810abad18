"""Find faces, follow them, choose the main one, align it, and place its landmarks."""

import lazy_loader

__getattr__, __dir__, __all__ = lazy_loader.attach_stub(__name__, __file__)
