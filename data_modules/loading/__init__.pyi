from .batch import ClipBatch as ClipBatch
from .batch import ClipSample as ClipSample
from .batch import collate as collate
from .clip_dataset import Clip as Clip
from .clip_dataset import ClipDataset as ClipDataset
from .datamodule import VideoDataModule as VideoDataModule
from .transforms import ClipAugmentation as ClipAugmentation
