from .audio import AudioSettings as AudioSettings
from .datasets import VideoDataset as VideoDataset
from .faces import FaceSettings as FaceSettings
from .loading import ClipAugmentation as ClipAugmentation
from .loading import ClipBatch as ClipBatch
from .loading import VideoDataModule as VideoDataModule
from .manifest import VideoRecord as VideoRecord
from .store import ClipStore as ClipStore
