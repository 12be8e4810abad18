"""PyAV, which is imported when it is first used: a machine that reads no videos need not have it."""

from typing import TYPE_CHECKING

import lazy_loader

if TYPE_CHECKING:
    import av as av
else:
    av = lazy_loader.load("av")
