"""The real server of `fer live` in a thread, and a page's side of the conversation."""

import json
import struct
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import cv2
import numpy as np

from fer_lightning.live.request import LiveRequest, open_port
from fer_lightning.live.server import make_server
from fer_lightning.predict.recogniser import Recogniser


@contextmanager
def served(request: LiveRequest, recogniser: Recogniser | None = None) -> Iterator[str]:
    """The address of the page."""
    with open_port(0) as listener:
        server, address = make_server(request, recogniser or Recogniser(request.checkpoint, request.options), listener)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            while not server.started:
                time.sleep(0.01)
            yield address
        finally:
            server.should_exit = True
            thread.join(60)
            assert not thread.is_alive()


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
