from .audio_track import open_audio as open_audio
from .audio_track import read_audio as read_audio
from .reader import open_clip as open_clip
from .reader import open_video as open_video
from .source import UnreadableVideoError as UnreadableVideoError
from .source import VideoLimits as VideoLimits
from .source import VideoSource as VideoSource
