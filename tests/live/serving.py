"""A page's side of the conversation with the server of `fer live`."""

import json
import struct
from typing import Any

import cv2
import numpy as np


def socket_address(page: str) -> str:
    return page.replace("http", "ws", 1) + "socket"


def message_of(frame: np.ndarray, seconds: float) -> bytes:
    """A picture as the page sends it."""
    jpeg = cv2.imencode(".jpg", frame[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 95])[1].tobytes()
    return struct.pack("<d", seconds) + jpeg


def next_of(socket, *kinds: str) -> dict[str, Any]:
    """The next message that is a `moment`, or a state of that name; others are skipped, but no failure is."""
    while True:
        message = socket.recv(timeout=60)
        if isinstance(message, bytes):
            continue
        found = json.loads(message)
        kind = "moment" if "moment" in found else found["state"]
        assert kind != "failed" or "failed" in kinds, found
        if kind in kinds:
            return found.get("moment", found)
