"""From a batch to a report.

The public classes are imported when they are first asked for: `fer --help`, and the processes that only crop faces, do
not wait for torch.
"""

from typing import TYPE_CHECKING

from fer_lightning.lazy import names_of

if TYPE_CHECKING:
    from fer_lightning.architectures.audio_visual import AudioVisual
    from fer_lightning.architectures.bimodal.spectrogram_cnn import SpectrogramCNN
    from fer_lightning.architectures.bimodal.visual import CNNBiLSTM, StaticFrameVote
    from fer_lightning.architectures.ceflnet import CEFLNet
    from fer_lightning.architectures.context.frames import PooledBackbone, PooledVGG
    from fer_lightning.architectures.context.pyramid import ContextTemporalPyramid
    from fer_lightning.architectures.context.spatiotemporal import ContextSpatiotemporal
    from fer_lightning.architectures.ecnn_fsa import CNNLSTM, ECNNFSA
    from fer_lightning.architectures.image_classifier import DenseNetFC, ImageClassifier
    from fer_lightning.architectures.support_vectors import LandmarkSVM, OpenSmileSVM
    from fer_lightning.architectures.vshnn.landmark_mlp import LandmarkMLP, LandmarkNet
    from fer_lightning.architectures.vshnn.network import VSHNN
    from fer_lightning.architectures.vshnn.single_streams import AppearanceRNN, SceneCNN
    from fer_lightning.evaluation.outputs import ClassifierOutput, StreamScores
    from fer_lightning.layers.backbones import FrameBackbone, FullyConnectedBackbone
    from fer_lightning.layers.vgg import VGG16, VGG19, EnhancedVGG
    from fer_lightning.layers.video_backbones import ClipBackbone
    from fer_lightning.training.classifier import VideoClassifier
    from fer_lightning.training.schedules import WarmupCosine

_MODULES = {
    "AppearanceRNN": "architectures.vshnn.single_streams",
    "AudioVisual": "architectures.audio_visual",
    "CEFLNet": "architectures.ceflnet",
    "CNNBiLSTM": "architectures.bimodal.visual",
    "CNNLSTM": "architectures.ecnn_fsa",
    "ClassifierOutput": "evaluation.outputs",
    "ClipBackbone": "layers.video_backbones",
    "ContextSpatiotemporal": "architectures.context.spatiotemporal",
    "ContextTemporalPyramid": "architectures.context.pyramid",
    "DenseNetFC": "architectures.image_classifier",
    "ECNNFSA": "architectures.ecnn_fsa",
    "EnhancedVGG": "layers.vgg",
    "FrameBackbone": "layers.backbones",
    "FullyConnectedBackbone": "layers.backbones",
    "ImageClassifier": "architectures.image_classifier",
    "LandmarkMLP": "architectures.vshnn.landmark_mlp",
    "LandmarkNet": "architectures.vshnn.landmark_mlp",
    "LandmarkSVM": "architectures.support_vectors",
    "OpenSmileSVM": "architectures.support_vectors",
    "PooledBackbone": "architectures.context.frames",
    "PooledVGG": "architectures.context.frames",
    "SceneCNN": "architectures.vshnn.single_streams",
    "SpectrogramCNN": "architectures.bimodal.spectrogram_cnn",
    "StaticFrameVote": "architectures.bimodal.visual",
    "StreamScores": "evaluation.outputs",
    "VGG16": "layers.vgg",
    "VGG19": "layers.vgg",
    "VSHNN": "architectures.vshnn.network",
    "VideoClassifier": "training.classifier",
    "WarmupCosine": "training.schedules",
}

__all__ = [
    "CNNLSTM",
    "ECNNFSA",
    "VGG16",
    "VGG19",
    "VSHNN",
    "AppearanceRNN",
    "AudioVisual",
    "CEFLNet",
    "CNNBiLSTM",
    "ClassifierOutput",
    "ClipBackbone",
    "ContextSpatiotemporal",
    "ContextTemporalPyramid",
    "DenseNetFC",
    "EnhancedVGG",
    "FrameBackbone",
    "FullyConnectedBackbone",
    "ImageClassifier",
    "LandmarkMLP",
    "LandmarkNet",
    "LandmarkSVM",
    "OpenSmileSVM",
    "PooledBackbone",
    "PooledVGG",
    "SceneCNN",
    "SpectrogramCNN",
    "StaticFrameVote",
    "StreamScores",
    "VideoClassifier",
    "WarmupCosine",
]


__getattr__ = names_of(__name__, _MODULES)
