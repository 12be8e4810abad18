"""Names that other code may rely on, where it may import them from; signatures as they are documented."""

import inspect
from importlib import import_module

import pytest

NAMES = {
    "fer_lightning": (
        "AudioVisual CEFLNet CNNBiLSTM CNNLSTM ContextSpatiotemporal ContextTemporalPyramid CurvesLogger ECNNFSA "
        "ImageClassifier LandmarkMLP Recogniser Recognition RecognitionOptions RunWandbLogger "
        "SpectrogramCNN StaticFrameVote VSHNN VideoClassifier WarmupCosine Window __version__ load"
    ),
    "fer_lightning.layers": (
        "C3D FrameSelfAttention LowRankFusion SceneAwareRNN SummedBiLSTM frame_substitution inter_frame_correlation "
        "lmed lmed_cf temporal_pyramid"
    ),
    "fer_lightning.ensemble": "JointLateFusion average best_selection search_weights weighted_sum",
    "data_modules": "ClipBatch VideoDataModule VideoDataset FaceSettings AudioSettings ClipAugmentation",
    "data_modules.datasets": "AFEW BU4DFE CAER CKPlus CREMAD DFEW FERV39k MAFW MMI Own RAVDESS Synthetic",
    "data_modules.sampling": "random_indices segment_indices subvideo_indices",
    "data_modules.tracking": "FaceTracker vote",
}
SIGNATURES = {
    "fer_lightning.layers.inter_frame_correlation": "x mask=None",
    "fer_lightning.layers.frame_substitution": "x k=3 mask=None",
    "fer_lightning.layers.SceneAwareRNN": "input_size scene_size hidden_size cell='gru' connection='B'",
    "fer_lightning.layers.FrameSelfAttention": "size=2048 scale=0.1",
    "fer_lightning.layers.SummedBiLSTM": "input_size hidden_size num_layers=2",
    "fer_lightning.ensemble.search_weights": "p labels step=0.02",
    "fer_lightning.ensemble.best_selection": "p labels max_models=5",
    "data_modules.sampling.subvideo_indices": "num_frames clips=7 frames=5 generator=None",
    "data_modules.sampling.segment_indices": "num_frames n generator=None",
    "data_modules.sampling.random_indices": "num_frames k generator=None",
    "data_modules.tracking.vote": "tracks num_frames frame_size weights=(1.0, 1.0, 1.0)",
}


@pytest.mark.parametrize("module", NAMES)
def test_public_names_can_be_imported(module):
    found = import_module(module)
    assert [name for name in NAMES[module].split() if not hasattr(found, name)] == []


@pytest.mark.parametrize("path", SIGNATURES)
def test_public_functions_take_what_is_documented(path):
    module, name = path.rsplit(".", 1)
    parameters = inspect.signature(getattr(import_module(module), name)).parameters.values()
    written = [p.name if p.default is p.empty else f"{p.name}={p.default!r}" for p in parameters]
    expected = SIGNATURES[path].replace("(1.0, 1.0, 1.0)", "(1.0,1.0,1.0)").split()
    assert [each.replace(" ", "") for each in written][: len(expected)] == expected


@pytest.mark.parametrize("module", ["data_modules", "fer_lightning", "fer_lightning.layers", "data_modules.datasets"])
def test_every_name_that_is_listed_exists(module):
    """They are imported when they are asked for; `test_startup` holds that they are not before."""
    found = import_module(module)
    assert [name for name in found.__all__ if not callable(getattr(found, name))] == []
