"""From a batch to a report.

The public classes are imported when they are first asked for: `fer --help`, and the processes that only crop faces, do
not wait for torch.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fer_lightning.architectures.ceflnet import CEFLNet
    from fer_lightning.architectures.image_classifier import ImageClassifier
    from fer_lightning.classifier import ClassifierOutput, VideoClassifier
    from fer_lightning.layers.backbones import FrameBackbone
    from fer_lightning.schedules import WarmupCosine

_MODULES = {
    "CEFLNet": "architectures.ceflnet",
    "ClassifierOutput": "classifier",
    "FrameBackbone": "layers.backbones",
    "ImageClassifier": "architectures.image_classifier",
    "VideoClassifier": "classifier",
    "WarmupCosine": "schedules",
}

__all__ = ["CEFLNet", "ClassifierOutput", "FrameBackbone", "ImageClassifier", "VideoClassifier", "WarmupCosine"]


def __getattr__(name: str) -> Any:
    """A public class, out of its module."""
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
