"""Parts that more than one system uses. They are imported when they are first asked for, as `fer_lightning`'s are."""

from typing import TYPE_CHECKING

from fer_lightning.lazy import names_of

if TYPE_CHECKING:
    from fer_lightning.layers.attention import FrameSelfAttention
    from fer_lightning.layers.backbones import FrameBackbone
    from fer_lightning.layers.c3d import C3D
    from fer_lightning.layers.correlation import frame_substitution, inter_frame_correlation, substitution_index
    from fer_lightning.layers.fusion import LowRankFusion
    from fer_lightning.layers.landmark_descriptors import landmark_distances, lmed, lmed_cf
    from fer_lightning.layers.local_binary_patterns import local_binary_codes, local_binary_image
    from fer_lightning.layers.pyramid import temporal_pyramid
    from fer_lightning.layers.recurrent import LSTMStack, SceneAwareRNN, SummedBiLSTM
    from fer_lightning.layers.resnet3d import ResNet3D
    from fer_lightning.layers.scaling import RangeScaler
    from fer_lightning.layers.support_vectors import SupportVectorMachine
    from fer_lightning.layers.vgg import VGG16, EnhancedVGG
    from fer_lightning.layers.video_backbones import ClipBackbone

_MODULES = {
    "C3D": "c3d",
    "ClipBackbone": "video_backbones",
    "EnhancedVGG": "vgg",
    "FrameBackbone": "backbones",
    "FrameSelfAttention": "attention",
    "LSTMStack": "recurrent",
    "LowRankFusion": "fusion",
    "RangeScaler": "scaling",
    "ResNet3D": "resnet3d",
    "SceneAwareRNN": "recurrent",
    "SummedBiLSTM": "recurrent",
    "SupportVectorMachine": "support_vectors",
    "VGG16": "vgg",
    "frame_substitution": "correlation",
    "inter_frame_correlation": "correlation",
    "landmark_distances": "landmark_descriptors",
    "lmed": "landmark_descriptors",
    "lmed_cf": "landmark_descriptors",
    "local_binary_codes": "local_binary_patterns",
    "local_binary_image": "local_binary_patterns",
    "substitution_index": "correlation",
    "temporal_pyramid": "pyramid",
}

__all__ = [
    "C3D",
    "VGG16",
    "ClipBackbone",
    "EnhancedVGG",
    "FrameBackbone",
    "FrameSelfAttention",
    "LSTMStack",
    "LowRankFusion",
    "RangeScaler",
    "ResNet3D",
    "SceneAwareRNN",
    "SummedBiLSTM",
    "SupportVectorMachine",
    "frame_substitution",
    "inter_frame_correlation",
    "landmark_distances",
    "lmed",
    "lmed_cf",
    "local_binary_codes",
    "local_binary_image",
    "substitution_index",
    "temporal_pyramid",
]


__getattr__ = names_of(__name__, _MODULES)
