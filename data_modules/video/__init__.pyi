from .audio_track import open_sound as open_sound
from .audio_track import read_sound as read_sound
from .reader import open_clip as open_clip
from .reader import open_video as open_video
from .source import UnreadableVideoError as UnreadableVideoError
from .source import VideoLimits as VideoLimits
from .source import VideoSource as VideoSource
