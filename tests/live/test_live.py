"""`fer live` through its real server, with a client of web sockets in the place of the page."""

import json
import re
import struct
import threading
import urllib.error
import urllib.request
from fractions import Fraction
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

import numpy as np
import pytest

from data_modules.faces.detection import Detection
from data_modules.labels import SEVEN
from data_modules.video.reader import open_video
from data_modules.video.source import UnreadableVideoError
from fer_lightning import RecognitionOptions
from fer_lightning.live.pictures import pictures_of
from fer_lightning.live.recent_faces import RecentFaces
from fer_lightning.live.recording import Recording
from fer_lightning.live.request import LiveRequest, open_port
from fer_lightning.live.server import served
from fer_lightning.live.stream import ExpressionStream, make_extractor
from fer_lightning.predict.recogniser import Recogniser
from fer_lightning.predict.row_classifier import RowPredictions
from fer_lightning.report.figures.style import class_colours
from tests import videos
from tests.live.serving import message_of, next_of, socket_address
from tests.predict.test_predict import SKIN, fake_detector, fer_predict, table, write_checkpoint, write_video  # noqa: F401
from tests.predict.test_predict_sound import SETTINGS, Ear, EyeAndEar
from tests.predict.test_predict_sound import write_checkpoint as write_sound_checkpoint

pytest.importorskip("uvicorn")  # the extra `live`
client = pytest.importorskip("websockets.sync.client")

OPTIONS = RecognitionOptions(device="cpu", every=1, window=0.5)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_checkpoint(tmp_path_factory.mktemp("trained") / "1-0")


@pytest.fixture
def request_for(run, tmp_path, fake_detector):  # noqa: F811
    return lambda **values: LiveRequest(run, OPTIONS, out=tmp_path / "recordings", **values)


def picture(face: bool, left: int = 20) -> np.ndarray:
    """The picture of `write_video`, without its noise."""
    frame = np.full((120, 160, 3), 90, np.uint8)
    if face:
        frame[30:90, left : left + 60] = SKIN
    return frame


def connect(page: str):
    return client.connect(socket_address(page), max_size=None)


def test_each_picture_is_answered_with_box_and_expression(request_for):
    with served(request_for()) as page, connect(page) as socket:
        for number in range(6):
            socket.send(message_of(picture(number < 3), number / 10))
            moment = next_of(socket, "moment")
            assert moment["time"] == number / 10
            assert moment["size"] == [160, 120]
            assert moment["box"] == ([20, 30, 80, 90] if number < 3 else None)
            if number < 3:
                assert sum(moment["shares"]) == pytest.approx(1, abs=0.01)
                assert moment["label"] == int(np.argmax(moment["shares"]))


def test_a_picture_that_waits_is_replaced_by_a_later_one(request_for, monkeypatch):
    """While the first is looked at, three come; of these, only the last is answered."""
    busy, go_on, see = threading.Event(), threading.Event(), ExpressionStream.see

    def slow(self, frame, seconds):
        busy.set()
        assert go_on.wait(60)
        return see(self, frame, seconds)

    monkeypatch.setattr(ExpressionStream, "see", slow)
    with served(request_for()) as page, connect(page) as socket:
        socket.send(message_of(picture(True), 0.0))
        assert busy.wait(60)
        for seconds in (0.1, 0.2, 0.3):
            socket.send(message_of(picture(True), seconds))
        socket.ping().wait(60)  # all of them have arrived
        go_on.set()
        assert [next_of(socket, "moment")["time"] for _ in range(2)] == [0.0, 0.3]


def test_a_recording_has_the_tables_of_predict(request_for, run, tmp_path):
    """Frames come at a varying pace: its times are in the video and in the table, and so is what `fer predict` says."""
    times = [10 + each for each in (0, 0.1, 0.2, 0.3, 0.5, 0.7, 0.9, 1.1, 1.3, 1.4)]
    with served(request_for()) as page, connect(page) as socket:
        socket.send(message_of(picture(True), 9.9))  # before the recording
        next_of(socket, "moment")
        socket.send(json.dumps({"record": True}))
        next_of(socket, "recording")
        for number, seconds in enumerate(times):
            socket.send(message_of(picture(number < 5), seconds))
            next_of(socket, "moment")
        socket.send(json.dumps({"record": False}))
        video = next_of(socket, "writing")["video"]
        written = next_of(socket, "written")
        found = urllib.request.urlopen(f"{page}recordings/{written['page']}").read().decode()
    assert open_video(video).timestamps == pytest.approx([each - 10 for each in times], abs=1e-3)
    folder = tmp_path / "recordings" / written["folder"].rpartition("/")[2]
    assert sorted(path.name for path in folder.iterdir()) == sorted(written["files"])
    assert "const data" in found
    rows = table(folder)
    assert [row["expression"] in SEVEN for row in rows] == [True, False, False]
    assert rows[0]["confidence"]
    assert fer_predict(video, "--checkpoint", run, "--out", tmp_path / "p", "--every", 1, "--window", 0.5) == 0
    assert table(tmp_path / "p" / folder.name) == rows


def test_a_page_that_is_closed_while_it_records_leaves_a_whole_recording(request_for, tmp_path):
    with served(request_for()) as page, connect(page) as socket:
        socket.send(json.dumps({"record": True}))
        next_of(socket, "recording")
        for number in range(4):
            socket.send(message_of(picture(True), number / 10))
            next_of(socket, "moment")
    (video,) = (tmp_path / "recordings").glob("*.mp4")
    assert open_video(video).num_frames == 4
    assert len(table(video.with_suffix(""))) == 1
    assert not [path for path in (tmp_path / "recordings").iterdir() if path.name.startswith(".")]


def test_a_recording_without_a_picture_says_so(request_for, tmp_path):
    with served(request_for()) as page, connect(page) as socket:
        for wanted in (True, False):
            socket.send(json.dumps({"record": wanted}))
        assert "no picture came" in next_of(socket, "failed")["reason"]
        socket.send(message_of(picture(True), 0.0))
        assert next_of(socket, "moment")["box"]  # it goes on
    assert list((tmp_path / "recordings").iterdir()) == []


BROKEN = b"no picture"


def test_a_picture_that_fails_ends_neither_recognition_nor_a_recording(request_for):
    """Four pictures, of which the second cannot be decoded; the times of the others are in the video."""
    with served(request_for()) as page, connect(page) as socket:
        socket.send(json.dumps({"record": True}))
        next_of(socket, "recording")
        for number in range(4):
            if number == 1:
                socket.send(struct.pack("<d", number / 10) + BROKEN)
                failed = next_of(socket, "failed")
                assert "cannot be decoded" in failed.pop("reason")
                assert failed == {"state": "failed", "recording": True, "time": 0.1}
            else:
                socket.send(message_of(picture(True), number / 10))
                assert next_of(socket, "moment")["time"] == number / 10
        socket.send(json.dumps({"record": False}))
        video = next_of(socket, "writing")["video"]
        next_of(socket, "written")
    assert open_video(video).timestamps == pytest.approx([0, 0.2, 0.3], abs=1e-3)


def test_a_recording_that_fails_is_completed_and_recognition_goes_on(request_for, monkeypatch):
    """The third picture cannot be written; the two before it are in the video."""
    add = Recording.add

    def add_two(self, frame, seconds):
        if self.frames == 2:
            raise OSError("the encoder broke")
        add(self, frame, seconds)

    monkeypatch.setattr(Recording, "add", add_two)
    with served(request_for()) as page, connect(page) as socket:
        socket.send(json.dumps({"record": True}))
        next_of(socket, "recording")
        for number in range(3):
            socket.send(message_of(picture(True), number / 10))
            if number == 2:
                assert "the encoder broke" in next_of(socket, "failed")["reason"]
                video = next_of(socket, "writing")["video"]
            assert next_of(socket, "moment")["time"] == number / 10
        next_of(socket, "written")
        socket.send(message_of(picture(True), 0.3))
        assert next_of(socket, "moment")["time"] == 0.3
    assert open_video(video).timestamps == pytest.approx([0, 0.1], abs=1e-3)


def test_a_file_is_played_at_its_pace_and_its_pictures_are_sent(request_for, tmp_path):
    path = write_video(tmp_path / "a.mp4", [True] * 5 + [False] * 3)
    with served(request_for(source=str(path))) as page, connect(page) as socket:
        kinds, boxes = [], {}
        while not kinds or kinds[-1] != "ended":
            message = socket.recv(timeout=60)
            if isinstance(message, bytes):
                kinds.append("picture")
                (seconds,) = struct.unpack_from("<d", message)
                assert message[8:10] == b"\xff\xd8"  # JPEG
                continue
            found = json.loads(message)
            kinds.append("moment" if "moment" in found else found["state"])
            if kinds[-1] == "moment":
                assert found["moment"]["time"] == seconds
                boxes[round(10 * seconds)] = found["moment"]["box"]
    assert set(boxes) <= set(range(8))
    assert len(boxes) >= 3
    for number, box in boxes.items():
        assert (box is not None) == (number < 5)
    assert kinds.count("picture") == kinds.count("moment")


def test_a_file_is_not_faster_than_it_is(tmp_path):
    path, stop = write_video(tmp_path / "a.mp4", [True] * 4), threading.Event()
    waited = []
    stop.wait = lambda timeout: waited.append(timeout) or False
    assert [each.seconds for each in pictures_of(str(path), stop)] == pytest.approx([0, 0.1, 0.2, 0.3])
    assert waited[-1] > 0.1  # the last picture, which came at once, is held back


def test_an_address_is_read_from_its_server(tmp_path):
    path = write_video(tmp_path / "a.mp4", [True, False, True], size=(1920, 1080))
    oblong = videos.write_video(tmp_path / "oblong.mp4", [picture(True)] * 2, pixel=Fraction(64, 45))
    handler = partial(SimpleHTTPRequestHandler, directory=tmp_path)
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever).start()
        try:
            address = f"http://127.0.0.1:{server.server_port}/"
            found = list(pictures_of(address + path.name, threading.Event()))
            square = list(pictures_of(address + oblong.name, threading.Event()))
            with pytest.raises(UnreadableVideoError, match=r"none\.mp4: cannot be read"):
                list(pictures_of(address + "none.mp4", threading.Event()))
        finally:
            server.shutdown()
    assert [each.seconds for each in found] == pytest.approx([0, 0.1, 0.2])
    assert [each.frame.shape for each in found] == [(540, 960, 3)] * 3
    assert [each.frame.shape for each in square] == [(120, 228, 3)] * 2
    assert np.abs(found[0].frame[30, 25].astype(int) - SKIN).max() < 40


def test_what_cannot_be_read_is_told_to_the_page(request_for, tmp_path):
    (tmp_path / "a.mp4").write_text("no video")
    with served(request_for(source=str(tmp_path / "a.mp4"))) as page, connect(page) as socket:
        assert "cannot be opened as a video" in next_of(socket, "failed")["reason"]
    with served(request_for()) as page, connect(page) as socket:
        socket.send(struct.pack("<d", 0) + BROKEN)
        assert "cannot be decoded; expected JPEG" in next_of(socket, "failed")["reason"]


def test_without_the_token_everything_is_refused(request_for):
    with served(request_for()) as page:
        assert re.fullmatch(r"http://127\.0\.0\.1:\d+/[\w-]{32}/", page)
        base = page.rsplit("/", 2)[0]
        for path in ("/", "/socket", "/recordings/", "/" + "x" * 32 + "/", page[len(base) : -2] + "/"):
            with pytest.raises(urllib.error.HTTPError, match="403") as refused:
                urllib.request.urlopen(base + path)
            assert b"whole address" in refused.value.read()
        for path in ("/socket", "/" + "x" * 32 + "/socket"):
            with pytest.raises(Exception, match="403"), client.connect(base.replace("http", "ws") + path):
                pass
        elsewhere = urllib.request.Request(page, headers={"Host": "evil.example"})
        with pytest.raises(urllib.error.HTTPError, match="400"):
            urllib.request.urlopen(elsewhere)
        answer = urllib.request.urlopen(page)
        assert answer.headers["Cache-Control"] == "no-store"
        text = answer.read().decode()
    assert "default-src 'none'" in text
    assert not re.search(r"""(src|href)=["']""", text)
    assert json.loads(re.search(r"const data = (.*);\n", text)[1])["colours"] == class_colours(SEVEN)


def test_only_this_machine_can_reach_it():
    with open_port(0) as listener:
        assert listener.getsockname()[0] == "127.0.0.1"
        with pytest.raises(ValueError, match=f"--port {listener.getsockname()[1]} is in use"):
            open_port(listener.getsockname()[1])
    with pytest.raises(ValueError, match="--port 70000 cannot be used"):
        open_port(70000)


# --- from frames to moments, without a server -----------------------------------------------------------------------


class Places:
    """Finds faces at given left edges in each frame, one after another."""

    name, device = "fake", "cpu"

    def __init__(self, *frames: tuple[int, ...]) -> None:
        self._frames = iter(frames)

    def detect(self, frames):
        return [
            [Detection(np.array([x, 30, x + 60, 90], np.float32), 0.99) for x in next(self._frames)] for _ in frames
        ]


def stream_of(run, monkeypatch, detector, options=OPTIONS) -> ExpressionStream:
    monkeypatch.setattr("data_modules.faces.models.make_detector", lambda name, device: detector)
    recogniser = Recogniser(run, options)
    return ExpressionStream(recogniser, make_extractor(recogniser))


def test_the_main_face_is_that_which_was_seen_most_and_others_have_a_box(run, monkeypatch):
    places = [(10,)] * 5 + [(10, 90)] * 5 + [(90,)] * 8
    stream = stream_of(run, monkeypatch, Places(*places))
    frame = np.full((120, 160, 3), 90, np.uint8)
    frame[30:90, 10:70] = SKIN
    frame[30:90, 90:150] = (60, 60, 200)
    found = [stream.see(frame, number / 5) for number in range(len(places))]
    assert [None if each.main.box is None else int(each.main.box[0]) for each in found[:10]] == [10] * 10
    assert [len(each.others) for each in found] == [0] * 5 + [1] * 5 + [1] * 5 + [0] * 3
    assert [each.main.label for each in found[12:15]] == [-3] * 3  # another person: the main one left 0.5 s ago
    assert [int(each.main.box[0]) for each in found[15:]] == [90] * 3  # and does not come back within a second
    assert found[-1].main.label >= 0


def test_everybody_has_a_number_and_an_expression(run, monkeypatch):
    """Two people, of whom one has a reddish and one a blue face; the second leaves for 2 s and is somebody new then."""
    places = [(10,)] * 5 + [(10, 90)] * 5 + [(10,)] * 10 + [(10, 90)] * 5
    options = RecognitionOptions(device="cpu", window=0.5, people="all", calibrate=False)
    stream = stream_of(run, monkeypatch, Places(*places), options)

    def predict(faces, rows, advance):
        first, stop = faces.position_ranges(rows.window_frames)[0]
        crops = faces.crops(np.arange(first, stop)) if stop > first else np.zeros((0, 1, 1, 3))
        if 2 * len(crops) < len(faces.clip.times):
            return RowPredictions(np.full((1, 7), np.nan))
        blue = float(crops[..., 2].mean() > crops[..., 0].mean())
        return RowPredictions(np.array([[blue, *[0.0] * 5, 1 - blue]]))

    monkeypatch.setattr(stream._recogniser._classifier, "predict", predict)
    frame = np.full((120, 160, 3), 90, np.uint8)
    frame[30:90, 10:70] = SKIN
    frame[30:90, 90:150] = (60, 60, 200)
    found = [stream.see(frame, number / 5) for number in range(len(places))]
    assert [(each.main.person, each.main.label) for each in found] == [(1, 6)] * len(places)
    seen = [[(int(each.box[0]), each.person, each.label) for each in moment.others] for moment in found]
    assert seen[:5] == [[]] * 5
    assert seen[6:10] == [[(90, 2, 0)]] * 4
    assert seen[10:20] == [[]] * 10
    assert seen[21:] == [[(90, 3, 0)]] * 4
    assert seen[5] == seen[20] == [(90, 0, None)]  # a single detection may be an error
    assert len(stream._people) == 2


def test_others_are_judged_only_if_asked_for(run, monkeypatch):
    stream = stream_of(run, monkeypatch, Places(*[(10, 90)] * 4))
    found = [stream.see(picture(True), number / 5) for number in range(4)]
    assert [(len(each.others), each.others[0].label, each.others[0].probabilities) for each in found] == [
        (1, None, None)
    ] * 4


def test_it_is_said_that_a_model_which_hears_is_given_no_sound(tmp_path, run, fake_detector, monkeypatch):  # noqa: F811
    monkeypatch.setenv("FER_TRUSTED_MODULES", "tests")
    both = write_sound_checkpoint(tmp_path / "both", EyeAndEar, SETTINGS)
    pages = []
    for each in (both, run):
        with served(LiveRequest(each, OPTIONS, out=tmp_path / "recordings")) as page:
            pages.append(urllib.request.urlopen(page).read().decode())
    assert ["The model also hears, but nothing is listened to" in page for page in pages] == [True, False]


def test_a_slow_machine_loses_nobody(run, monkeypatch):
    """A picture every three seconds: the face that is there each time stays the main one."""
    stream = stream_of(run, monkeypatch, Places(*[(20,)] * 6))
    found = [stream.see(picture(True), 3.0 * number) for number in range(6)]
    assert [None if each.main.box is None else int(each.main.box[0]) for each in found] == [20] * 6
    assert len(stream._tracker.tracks) == 1


def says(stream: ExpressionStream, monkeypatch, answers: list[float]) -> list[np.ndarray]:
    """Has the model answer `anger` with these probabilities, in this order; returns the crops that it is asked for."""
    asked, left = [], iter(answers)

    def predict(faces, rows, advance):
        first, stop = faces.position_ranges(rows.window_frames)[0]
        asked.append(faces.crops(np.arange(first, stop)))
        share = next(left)
        return RowPredictions(np.array([[share, *[(1 - share) / 6] * 6]]))

    monkeypatch.setattr(stream._recogniser._classifier, "predict", predict)
    return asked


def test_a_model_of_several_frames_judges_the_last_window_each_hop(run, monkeypatch):
    options = RecognitionOptions(device="cpu", window=1.0, hop=0.5, calibrate=False)
    stream = stream_of(run, monkeypatch, Places(*[(20,)] * 13), options)
    asked = says(stream, monkeypatch, [0.2, 0.4, 0.8])
    found = [stream.see(picture(True), number / 8) for number in range(12)]  # exact in binary
    assert [len(crops) for crops in asked] == [1, 5, 9]
    anger = [each.main.probabilities[0] for each in found]
    assert anger == pytest.approx([0.2] * 4 + [0.3] + [0.4] * 3 + [0.6] + [0.8] * 3)


def test_a_model_of_single_images_judges_each_frame_and_is_smoothed(run, monkeypatch):
    options = RecognitionOptions(device="cpu", hop=0.5, calibrate=False)
    stream = stream_of(run, monkeypatch, Places(*[(20,)] * 13), options)
    stream._recogniser.sees_single_frame = True
    asked = says(stream, monkeypatch, [0.2, 0.4, 0.6, 0.8])
    found = [stream.see(picture(True), number / 4) for number in range(4)]
    assert [len(crops) for crops in asked] == [1, 1, 1, 1]
    assert [each.main.probabilities[0] for each in found] == pytest.approx([0.2, 0.3, 0.4, 0.6])


def test_a_model_that_also_hears_gets_faces_alone(tmp_path, monkeypatch):
    monkeypatch.setenv("FER_TRUSTED_MODULES", "tests")
    run = write_sound_checkpoint(tmp_path / "both", EyeAndEar, SETTINGS)
    stream = stream_of(run, monkeypatch, Places((20,), ()))
    found = [stream.see(picture(number < 1), 0.6 * number) for number in range(2)]
    assert [each.main.label for each in found] == [2, -1]  # `face`; `both` and `audio` are other answers
    assert found[1].main.probabilities is None


def test_models_that_see_no_faces_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("FER_TRUSTED_MODULES", "tests")
    run = write_sound_checkpoint(tmp_path / "ear", Ear, SETTINGS)
    with pytest.raises(ValueError, match="a model of sound; expected one of faces, as nothing is listened to"):
        make_extractor(Recogniser(run, OPTIONS))


def test_recent_faces_are_a_clip(run, monkeypatch):
    stream = stream_of(run, monkeypatch, Places((20,), (), (24,)))
    face = stream._extractor.cut(0, picture(True), Detection(np.array([20, 30, 80, 90], np.float32), 0.9))
    faces = RecentFaces([(0.0, None), (0.1, face), (0.2, None), (0.3, face)])
    assert faces.frame_index.tolist() == [1, 3]
    assert (len(faces), faces.crop_size, faces.summary.num_frames) == (2, 48, 4)
    assert faces.optional("box").tolist() == [[20, 30, 80, 90]] * 2
    assert faces.optional("landmarks") is None
    assert not faces.has("person")
    assert faces.crops([1, 0, 0]).shape == (3, 48, 48, 3)
    assert faces.audio() is None
