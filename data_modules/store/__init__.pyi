from .audio_cache import AudioCache as AudioCache
from .clip_store import ClipStore as ClipStore
from .clip_store import ClipSummary as ClipSummary
from .clip_store import FaceFrame as FaceFrame
from .clip_store import StoredClip as StoredClip
from .feature_cache import FeatureCache as FeatureCache
