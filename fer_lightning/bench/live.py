"""How many pictures a second `fer live` answers, and how long each takes: a rendered person at 640 x 480.

The real server with the suite's own model is asked over a socket as the page asks it: two pictures on their way at
most. The browser's own work, taking a picture and drawing the answer, is not in the figures.
"""

import json
import struct
import tempfile
import time
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from numpy.typing import NDArray

from data_modules.labels import SEVEN
from data_modules.synthetic.clip import ClipSettings, render_clip
from fer_lightning.live.pictures import Picture
from fer_lightning.live.request import LiveRequest, check_packages
from fer_lightning.live.server import served
from fer_lightning.predict.request import RecognitionOptions

WIDTH, HEIGHT, CAMERA = 640, 480, 30  # pictures a second
AT_ONCE = 2  # on their way


def run(quick: bool = False) -> None:
    """Prints the pictures a second and the time from a picture to its answer.

    Raises:
        ValueError: the extra `live` is not installed.
    """
    check_packages()
    pictures = [Picture.of(frame, 0.0).jpeg for frame in frames_of_a_person()]
    with tempfile.TemporaryDirectory() as folder:
        request = LiveRequest(None, RecognitionOptions(device="cpu"), out=Path(folder))
        with served(request) as address:
            delays, seconds, work, faces = converse(address, pictures, 2.0 if quick else 15.0)
    median, late = 1000 * np.quantile(delays, [0.5, 0.95])
    print(
        f"{WIDTH} x {HEIGHT}, a camera of {CAMERA} pictures a second: {len(delays) / seconds:.1f} are answered, after "
        f"{median:.0f} ms (median), {late:.0f} ms (95 %); a face in {100 * faces:.0f} % of them; each took "
        f"{1000 * work / len(delays):.0f} ms of a processor"
    )


def frames_of_a_person() -> list[NDArray[np.uint8]]:
    """Returns the frames, (H, W, 3), of a rendered person, twice as large as rendered, before grey."""
    frames = []
    for face in render_clip(ClipSettings("lab", 0, SEVEN[3])).frames:
        side = HEIGHT
        frame = np.full((HEIGHT, WIDTH, 3), 96, np.uint8)
        frame[:, (WIDTH - side) // 2 :][:, :side] = cv2.resize(face, (side, side))
        frames.append(frame)
    return frames


def converse(address: str, pictures: list[bytes], seconds: float) -> tuple[list[float], float, float, float]:
    """Sends pictures as a page does for some seconds, after one second to warm up.

    Returns:
        The seconds from each picture to its answer, the time that this took, the processor's time of this process,
        and the share of answers with a face.
    """
    from websockets.sync.client import connect

    sent, delays, faces = list[float](), list[float](), 0
    with connect(address.replace("http", "ws", 1) + "socket") as socket:
        begin, work = time.perf_counter(), time.process_time()
        counted, number, due = begin + 1, 0, begin
        while time.perf_counter() < counted + seconds:
            if len(sent) < AT_ONCE:
                time.sleep(max(0.0, due - time.perf_counter()))
                now = time.perf_counter()
                due = max(due + 1 / CAMERA, now)
                sent.append(now)
                socket.send(struct.pack("<d", now) + pictures[number % len(pictures)])
                number += 1
                if len(sent) < AT_ONCE:
                    continue
            message: dict[str, Any] = json.loads(socket.recv())
            moment, now = message["moment"], time.perf_counter()
            sent = [each for each in sent if each > moment["time"]]
            if now > counted:
                work = work if delays else time.process_time()
                delays.append(now - moment["time"])
                faces += moment["box"] is not None
        return delays, time.perf_counter() - counted, time.process_time() - work, faces / max(len(delays), 1)
