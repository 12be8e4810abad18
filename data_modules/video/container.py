"""Opens video and audio files safely with FFmpeg."""

from fractions import Fraction
from pathlib import Path

import av

# Playlists (hls, concat, ...) are left out: they make the reader open other files and addresses.
CONTAINERS = (
    "mov,mp4,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,asf,ogg,gif,h264,hevc,mjpeg,m4v,dv,mxf,wav,mp3,flac,aac"
)
FROM_ZERO = ("mp4", "matroska")  # whose clock begins at zero, also if nothing is shown then; those of others anywhere


def open_container(path: Path) -> av.container.InputContainer:
    """Opens a video or audio file; references to other files or addresses are not followed.

    Raises:
        av.error.FFmpegError: the file is not a video or audio file.
        OSError: the file cannot be read.
    """
    options = {"format_whitelist": CONTAINERS, "protocol_whitelist": "file"}
    return av.open(str(path.absolute()), options=options)  # a relative name may begin with a protocol


def first_picture(file: av.container.InputContainer) -> Fraction:
    """Returns the time of the first picture in seconds, on the clock of the file."""
    video = next(iter(file.streams.video), None)
    if video is None or video.start_time is None or video.time_base is None:
        return Fraction(0)
    return Fraction(video.start_time * video.time_base)


def start_of_pictures(path: Path) -> float:
    """Returns the seconds from where players start counting to the first picture of a file.

    It is 0 for what is not a video file, or cannot be read.
    """
    try:
        with open_container(path) as file:
            begin = float((file.start_time or 0) / av.time_base)
            if any(name in file.format.name for name in FROM_ZERO):
                begin = min(begin, 0.0)
            return max(0.0, float(first_picture(file)) - begin)
    except (av.error.FFmpegError, OSError):
        return 0.0
