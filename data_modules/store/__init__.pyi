from .audio_cache import AudioCache as AudioCache
from .clip_file import ClipSummary as ClipSummary
from .clip_file import FaceFrame as FaceFrame
from .clip_store import ClipStore as ClipStore
from .feature_cache import FeatureCache as FeatureCache
from .stored_clip import StoredClip as StoredClip
