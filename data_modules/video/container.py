"""Opens video and audio files safely with FFmpeg."""

from pathlib import Path

import av

# Playlists (hls, concat, ...) are left out: they make the reader open other files and addresses.
CONTAINERS = (
    "mov,mp4,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,asf,ogg,gif,h264,hevc,mjpeg,m4v,dv,mxf,wav,mp3,flac,aac"
)


def open_container(path: Path) -> av.container.InputContainer:
    """Opens a video or audio file; references to other files or addresses are not followed.

    Raises:
        av.error.FFmpegError: the file is not a video or audio file.
        OSError: the file cannot be read.
    """
    options = {"format_whitelist": CONTAINERS, "protocol_whitelist": "file"}
    return av.open(str(path.absolute()), options=options)  # a relative name may begin with a protocol
