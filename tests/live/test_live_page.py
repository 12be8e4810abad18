"""The page of `fer live` in Chromium, whose fake camera shows a clip, driven by its DevTools protocol."""

import json
import re
import subprocess
import time
from contextlib import ExitStack
from dataclasses import replace
from itertools import count
from pathlib import Path

import av
import numpy as np
import pytest

from data_modules.faces.detection import Detection
from data_modules.labels import SEVEN
from data_modules.video.reader import open_video
from fer_lightning import RecognitionOptions
from fer_lightning.live.request import LiveRequest
from fer_lightning.live.server import served
from fer_lightning.live.stream import ExpressionStream
from fer_lightning.report.figures.style import person_colour
from tests.predict.test_page import CHROMIUM, in_chromium
from tests.predict.test_predict import SKIN, fake_detector, table, write_checkpoint, write_video  # noqa: F401

pytest.importorskip("uvicorn")  # the extra `live`
client = pytest.importorskip("websockets.sync.client")

OPTIONS = RecognitionOptions(device="cpu", every=1, window=0.5)


def write_camera(path: Path, seconds: int = 2) -> Path:
    """What the fake camera shows again and again: the square of `SquareFinder`, and nothing in the last quarter."""
    with av.open(str(path), "w", format="yuv4mpegpipe") as file:
        stream = file.add_stream("rawvideo", rate=20)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        for number in range(20 * seconds):
            frame = np.full((120, 160, 3), 90, np.uint8)
            if number < 15 * seconds:
                frame[30:90, 20:80] = SKIN
            file.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        file.mux(stream.encode(None))
    return path


class Browser:
    """A Chromium without a window, in which a page is open."""

    def __init__(self, profile: Path, address: str, *flags: str) -> None:
        command = [CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1000,900"]
        command += [f"--user-data-dir={profile}", "--remote-debugging-port=0", *flags, "about:blank"]
        self._process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
        self._numbers = count(1)
        for line in self._process.stderr:
            if found := re.search(r"DevTools listening on (ws://\S+)", line):
                break
        self._stack = ExitStack()
        self._socket = self._stack.enter_context(client.connect(found[1], max_size=None))
        target = self._call("Target.createTarget", url=address)["targetId"]
        self._session = self._call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        self.wait_for("location.protocol === 'http:' && document.readyState === 'complete'")

    def _call(self, method: str, **params):
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": params}
        self._socket.send(json.dumps(message | ({"sessionId": self._session} if hasattr(self, "_session") else {})))
        while True:
            answer = json.loads(self._socket.recv(timeout=60))
            if answer.get("id") == number:
                assert "error" not in answer, answer
                return answer["result"]

    def evaluate(self, script: str):
        """The value of an expression in the page."""
        answer = self._call("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in answer, answer
        return answer["result"].get("value")

    def wait_for(self, condition: str, seconds: float = 60):
        end = time.monotonic() + seconds
        while not (value := self.evaluate(condition)):
            assert time.monotonic() < end, (condition, self.evaluate("document.body.innerText"))
            time.sleep(0.05)
        return value

    def close(self) -> None:
        self._stack.close()
        self._process.kill()
        self._process.wait()
        self._process.stderr.close()


@pytest.fixture
def browse(tmp_path):
    opened = []

    def open_page(address: str, *flags: str) -> Browser:
        opened.append(Browser(tmp_path / "profile", address, *flags))
        return opened[-1]

    yield open_page
    for browser in opened:
        browser.close()


@in_chromium
def test_pictures_that_fail_are_told_and_others_are_sent(tmp_path, fake_detector, browse, monkeypatch):  # noqa: F811
    """The first three, one more than may be on their way at once; then nothing fails."""
    failing, see = iter(range(3)), ExpressionStream.see

    def fails(self, frame, seconds):
        if next(failing, None) is not None:
            raise ValueError("the network broke")
        return see(self, frame, seconds)

    monkeypatch.setattr(ExpressionStream, "see", fails)
    run = write_checkpoint(tmp_path / "run")
    fake = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
    with served(LiveRequest(run, OPTIONS, out=tmp_path / "recordings")) as address:
        browser = browse(address, *fake, f"--use-file-for-fake-video-capture={write_camera(tmp_path / 'camera.y4m')}")
        browser.wait_for("moments.length > 5")
        assert "the network broke" in browser.evaluate("byId('problem').textContent")
        texts = "[byId('record').textContent, byId('record').getAttribute('aria-pressed')]"
        for recording, expected in ((True, ["Stop recording", "true"]), (False, ["Record", "false"])):
            browser.evaluate(f"onState({json.dumps({'state': 'failed', 'reason': 'x', 'recording': recording})})")
            assert browser.evaluate(texts) == expected


@in_chromium
def test_a_camera_is_watched_and_recorded(tmp_path, fake_detector, browse):  # noqa: F811
    run = write_checkpoint(tmp_path / "run")
    camera = write_camera(tmp_path / "camera.y4m")
    fake = ("--use-fake-device-for-media-stream", "--use-fake-ui-for-media-stream")
    with served(LiveRequest(run, OPTIONS, out=tmp_path / "recordings")) as address:
        browser = browse(address, *fake, f"--use-file-for-fake-video-capture={camera}")
        browser.wait_for("shown && shown.box && shown.shares")
        box, size = browser.evaluate("[shown.box, shown.size]")
        assert size == [160, 120]
        assert box == [20, 30, 80, 90]
        assert browser.evaluate("byId('current').textContent").rpartition(" ")[0].split()[0] in SEVEN
        browser.evaluate("byId('record').click()")
        browser.wait_for("byId('record').textContent === 'Stop recording'")
        browser.wait_for("moments.filter(each => !each.box).length > 2 && moments.filter(each => each.box).length > 9")
        edge = browser.evaluate(
            """(() => { shown = [...moments].reverse().find(each => each.box && each.shares);
            const pen = setUp(boxes, 640, 480); drawFaces(pen, 640, 480);
            const pixel = boxes.getContext("2d").getImageData(4 * shown.box[0], 240, 1, 1).data;
            return [...pixel, colourOf(shown.label)]; })()"""
        )
        assert edge[:3] == list(bytes.fromhex(edge[4][1:]))
        assert re.fullmatch(r"[\d.]+ pictures a second, \d+ ms behind", browser.evaluate("byId('speed').textContent"))
        browser.evaluate("byId('record').click()")
        link = browser.wait_for("document.querySelector('#state a')?.href")
        assert browser.evaluate(f"fetch({link!r}).then(answer => answer.text())").startswith("<!doctype html>")
        assert browser.evaluate("byId('problem').hidden")
    (video,) = (tmp_path / "recordings").glob("*.mp4")
    source, rows = open_video(video), table(video.with_suffix(""))
    assert (source.width, source.height) == (160, 120)
    assert source.num_frames > 10
    assert {row["expression"] for row in rows} & set(SEVEN)
    assert float(rows[-1]["end"]) == pytest.approx(source.timestamps[-1], abs=0.5)
    assert (tmp_path / "recordings" / "all-videos.csv").is_file()


class TwoSquares:
    """Finds two faces in each picture."""

    name, device = "fake", "cpu"

    def detect(self, frames):
        lefts = (20.0, 90.0)
        return [[Detection(np.array([x, 30, x + 40, 90], np.float32), 0.9) for x in lefts] for _ in frames]


@in_chromium
def test_everybody_has_a_box_with_a_number_and_an_expression(tmp_path, monkeypatch, browse):
    monkeypatch.setattr("data_modules.faces.models.make_detector", lambda name, device: TwoSquares())
    run = write_checkpoint(tmp_path / "run")
    video = write_video(tmp_path / "a.mp4", [True] * 10)
    options = replace(OPTIONS, people="all")
    with served(LiveRequest(run, options, source=str(video), out=tmp_path / "recordings")) as address:
        browser = browse(address)
        browser.wait_for("byId('state').textContent === 'the video has ended' && shown")
        seen = browser.evaluate("[shown, ...shown.others].map(each => [each.person, each.shares.length, each.box])")
        assert seen == [[1, 7, [20, 30, 60, 90]], [2, 7, [90, 30, 130, 90]]]
        assert browser.evaluate("byId('current').textContent").startswith("1: ")
        edges = browser.evaluate(
            """(() => { const pen = setUp(boxes, 640, 480); drawFaces(pen, 640, 480);
            const at = x => [...boxes.getContext("2d").getImageData(4 * x, 280, 1, 1).data].slice(0, 3);
            return [at(20), at(90), at(75)]; })()"""
        )
        colours = [list(bytes.fromhex(person_colour(number)[1:])) for number in (1, 2)]
        assert edges == [*colours, [0, 0, 0]]


@in_chromium
def test_a_page_without_a_camera_says_so(tmp_path, fake_detector, browse):  # noqa: F811
    run = write_checkpoint(tmp_path / "run")
    with served(LiveRequest(run, OPTIONS, out=tmp_path / "recordings")) as address:
        browser = browse(address)
        text = browser.wait_for("byId('problem').hidden ? '' : byId('problem').textContent")
        assert "camera" in text
        assert "`fer live --input`" in text


@in_chromium
def test_a_camera_of_another_number_is_missed(tmp_path, fake_detector, browse):  # noqa: F811
    run = write_checkpoint(tmp_path / "run")
    fake = ("--use-fake-device-for-media-stream=device-count=2", "--use-fake-ui-for-media-stream")
    with served(LiveRequest(run, OPTIONS, camera=7, out=tmp_path / "recordings")) as address:
        browser = browse(address, *fake)
        text = browser.wait_for("byId('problem').hidden ? '' : byId('problem').textContent")
        assert text.startswith("There is no camera 7: this browser has 2, counted from 0.")


@in_chromium
def test_the_pictures_of_a_file_are_shown_with_boxes(tmp_path, fake_detector, browse):  # noqa: F811
    run = write_checkpoint(tmp_path / "run")
    video = write_video(tmp_path / "a.mp4", [True] * 10)
    with served(LiveRequest(run, OPTIONS, source=str(video), out=tmp_path / "recordings")) as address:
        browser = browse(address)
        browser.wait_for("byId('state').textContent === 'the video has ended' && shown")
        assert browser.evaluate("shown.box") == [20, 30, 80, 90]
        found = browser.evaluate(
            """picture.then(bitmap => { draw(bitmap); const x = boxes.width / 160, y = boxes.height / 120;
            const at = (px, py) => [...boxes.getContext("2d").getImageData(px * x, py * y, 1, 1).data].slice(0, 3);
            return [at(50, 60), at(120, 60)]; })"""
        )
        assert np.abs(np.array(found[0]) - SKIN).max() < 30
        assert np.abs(np.array(found[1]) - 90).max() < 10
