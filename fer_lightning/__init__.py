"""From a batch to a report."""

from fer_lightning.architectures.ceflnet import CEFLNet
from fer_lightning.architectures.image_classifier import ImageClassifier
from fer_lightning.classifier import ClassifierOutput, VideoClassifier
from fer_lightning.layers.backbones import FrameBackbone
from fer_lightning.schedules import WarmupCosine

__all__ = ["CEFLNet", "ClassifierOutput", "FrameBackbone", "ImageClassifier", "VideoClassifier", "WarmupCosine"]
