"""How many pictures a second `fer live` answers, and how long each takes: rendered people at 640 x 480.

The real server with the suite's own model is asked over a socket as the page asks it: two pictures on their way at
most. The browser's own work, taking a picture and drawing the answer, is not in the figures.
"""

import json
import struct
import tempfile
import time
from pathlib import Path
from typing import Any, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from data_modules.labels import SEVEN
from data_modules.synthetic.clip import ClipSettings, render_clip
from fer_lightning.live.pictures import Picture
from fer_lightning.live.request import LiveRequest, check_packages
from fer_lightning.live.server import served
from fer_lightning.predict.request import People, RecognitionOptions

WIDTH, HEIGHT, CAMERA = 640, 480, 30  # pictures a second
AT_ONCE = 2  # on their way


def run(quick: bool = False) -> None:
    """Prints the pictures a second and the time from a picture to its answer.

    Raises:
        ValueError: the extra `live` is not installed.
    """
    check_packages()
    print(f"{WIDTH} x {HEIGHT}, a camera of {CAMERA} pictures a second")
    _measure("one person", 1, "main", quick)
    main, everybody = (_measure(f"two people, --people {each}", 2, each, quick) for each in get_args(People))
    print(f"--people all takes {everybody / main:.2f} times as much of a processor as main, with two people")


def _measure(name: str, people: int, whose: People, quick: bool) -> float:
    """Prints what is measured with a number of people in the picture; returns a picture's seconds of a processor."""
    pictures = [Picture.of(frame, 0.0).jpeg for frame in frames_of_people(people)]
    with tempfile.TemporaryDirectory() as folder:
        request = LiveRequest(None, RecognitionOptions(device="cpu", people=whose), out=Path(folder))
        with served(request) as address:
            delays, seconds, work, faces = converse(address, pictures, 2.0 if quick else 15.0)
    median, late = 1000 * np.quantile(delays, [0.5, 0.95])
    print(
        f"{name}: {len(delays) / seconds:.1f} are answered, after {median:.0f} ms (median), {late:.0f} ms (95 %); a "
        f"face in {100 * faces:.0f} % of them; each took {1000 * work / len(delays):.0f} ms of a processor"
    )
    return work / len(delays)


def frames_of_people(people: int) -> list[NDArray[np.uint8]]:
    """Returns the frames, (H, W, 3), of rendered people side by side before grey; one is twice as large as rendered."""
    side = min(HEIGHT, WIDTH // people)
    shows = [render_clip(ClipSettings("lab", number, SEVEN[3])).frames for number in range(people)]
    frames = []
    for faces in zip(*shows, strict=False):
        frame = np.full((HEIGHT, WIDTH, 3), 96, np.uint8)
        for number, face in enumerate(faces):
            left = (WIDTH - people * side) // 2 + number * side
            frame[:side, left : left + side] = cv2.resize(face, (side, side))
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
