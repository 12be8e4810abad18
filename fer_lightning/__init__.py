"""From a batch to a report.

The public classes are imported when they are first asked for: `fer --help`, and the processes that only crop faces, do
not wait for torch.
"""

from typing import TYPE_CHECKING

from fer_lightning.lazy import names_of

if TYPE_CHECKING:
    from fer_lightning.architectures.ceflnet import CEFLNet
    from fer_lightning.architectures.ecnn_fsa import CNNLSTM, ECNNFSA
    from fer_lightning.architectures.image_classifier import DenseNetFC, ImageClassifier
    from fer_lightning.architectures.landmark_mlp import LandmarkMLP, LandmarkNet
    from fer_lightning.architectures.single_streams import AppearanceRNN, SceneCNN
    from fer_lightning.architectures.support_vectors import LandmarkSVM
    from fer_lightning.architectures.vshnn import VSHNN
    from fer_lightning.classifier import VideoClassifier
    from fer_lightning.layers.backbones import FrameBackbone, FullyConnectedBackbone
    from fer_lightning.layers.vgg import VGG16, EnhancedVGG
    from fer_lightning.layers.video_backbones import ClipBackbone
    from fer_lightning.outputs import ClassifierOutput, StreamScores
    from fer_lightning.schedules import WarmupCosine

_MODULES = {
    "AppearanceRNN": "architectures.single_streams",
    "CEFLNet": "architectures.ceflnet",
    "CNNLSTM": "architectures.ecnn_fsa",
    "ClassifierOutput": "outputs",
    "ClipBackbone": "layers.video_backbones",
    "DenseNetFC": "architectures.image_classifier",
    "ECNNFSA": "architectures.ecnn_fsa",
    "EnhancedVGG": "layers.vgg",
    "FrameBackbone": "layers.backbones",
    "FullyConnectedBackbone": "layers.backbones",
    "ImageClassifier": "architectures.image_classifier",
    "LandmarkMLP": "architectures.landmark_mlp",
    "LandmarkNet": "architectures.landmark_mlp",
    "LandmarkSVM": "architectures.support_vectors",
    "SceneCNN": "architectures.single_streams",
    "StreamScores": "outputs",
    "VGG16": "layers.vgg",
    "VSHNN": "architectures.vshnn",
    "VideoClassifier": "classifier",
    "WarmupCosine": "schedules",
}

__all__ = [
    "CNNLSTM",
    "ECNNFSA",
    "VGG16",
    "VSHNN",
    "AppearanceRNN",
    "CEFLNet",
    "ClassifierOutput",
    "ClipBackbone",
    "DenseNetFC",
    "EnhancedVGG",
    "FrameBackbone",
    "FullyConnectedBackbone",
    "ImageClassifier",
    "LandmarkMLP",
    "LandmarkNet",
    "LandmarkSVM",
    "SceneCNN",
    "StreamScores",
    "VideoClassifier",
    "WarmupCosine",
]


__getattr__ = names_of(__name__, _MODULES)
