"""Opening a file with FFmpeg, whatever wrote it."""

from pathlib import Path

import av

# Playlists (hls, concat, ...) are left out: they make the reader open other files and addresses.
CONTAINERS = (
    "mov,mp4,matroska,webm,avi,mpegts,mpeg,mpegvideo,flv,asf,ogg,gif,h264,hevc,mjpeg,m4v,dv,mxf,wav,mp3,flac,aac"
)


def open_container(path: Path) -> av.container.InputContainer:
    """Opens a video or sound file, which may refer to no other file or address.

    Raises:
        av.error.FFmpegError: it is none.
        OSError: it cannot be read.
    """
    options = {"format_whitelist": CONTAINERS, "protocol_whitelist": "file"}
    return av.open(str(path.absolute()), options=options)  # a relative name may begin with a protocol
