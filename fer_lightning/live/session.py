"""One page that is open: pictures come in, what is recognised goes out; a picture that comes too late is left out.

The page and the server speak as follows. A binary message is a picture: its time in seconds as eight bytes, a
little-endian number of IEEE 754, then a JPEG; the page sends those of the camera, the server those of `--input`. All
else is JSON. The page sends `{"record": true}` or false. The server sends `moment`s, and `state`s: `recording`,
`writing`, `written`, `ended`, and `failed` with the reason, whether it still records, and the
time of the picture if it is one that failed.
"""

import asyncio
import json
import logging
import struct
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any, TypeVar

from data_modules.faces.extraction import FaceExtractor
from data_modules.utils.files import NotWritableError
from data_modules.utils.messages import first_line
from data_modules.video.source import UnreadableVideoError
from fer_lightning.live.pictures import Picture, pictures_of
from fer_lightning.live.recording import Recording, new_recording, write_tables
from fer_lightning.live.request import LiveRequest
from fer_lightning.live.stream import ExpressionStream, Moment, SeenFace
from fer_lightning.predict.recogniser import Recogniser

if TYPE_CHECKING:
    from starlette.websockets import WebSocket

EXPECTED = (UnreadableVideoError, NotWritableError)  # which tell users what to do
TIME = struct.Struct("<d")
Result = TypeVar("Result")
log = logging.getLogger(__name__)


@dataclass(frozen=True)
class Live:
    """What all pages share: the model, its networks, and the one thread in which these work."""

    request: LiveRequest
    recogniser: Recogniser
    extractor: FaceExtractor
    thread: ThreadPoolExecutor


class Session:
    """Serves one page from its opening to its closing.

    Args:
        live: what all pages share.
        socket: the connection to the page.
    """

    def __init__(self, live: Live, socket: "WebSocket") -> None:
        self._live, self._socket = live, socket
        self._stream = ExpressionStream(live.recogniser, live.extractor)
        self._latest: Picture | None = None
        self._arrived, self._speaking, self._stop = asyncio.Event(), asyncio.Lock(), threading.Event()
        self._recording: Recording | None = None
        self._writing: list[asyncio.Task[None]] = []

    async def serve(self) -> None:
        """Serves the page until it is closed; what is being recorded then is completed."""
        await self._socket.accept()
        tasks = [asyncio.create_task(self._recognise())]
        if self._live.request.source is not None:
            tasks.append(asyncio.create_task(self._guarded(self._play)))
        try:
            while (message := await self._socket.receive())["type"] != "websocket.disconnect":
                if message.get("bytes"):
                    (seconds,) = TIME.unpack_from(message["bytes"])
                    self._offer(Picture(seconds, message["bytes"][TIME.size :]))
                elif message.get("text"):
                    await self._record(bool(json.loads(message["text"]).get("record")))
        finally:
            self._stop.set()
            for task in tasks:
                task.cancel()
            await self._record(False)
            await asyncio.gather(*self._writing)

    def _offer(self, picture: Picture) -> None:
        """Takes a picture in the place of the one that waits."""
        self._latest = picture
        self._arrived.set()

    async def _guarded(self, work: Callable[[], Any]) -> None:
        """Does some work, and tells the page of an error."""
        try:
            await work()
        except Exception as error:
            await self._fail(error)

    async def _recognise(self) -> None:
        while True:
            await self._arrived.wait()
            self._arrived.clear()
            picture, self._latest = self._latest, None
            if picture is None:
                continue
            try:
                await self._answer(picture)
            except Exception as error:  # the next picture may do
                await self._fail(error, time=picture.seconds)

    async def _answer(self, picture: Picture) -> None:
        frame = await self._in_thread(lambda: picture.frame)
        if self._recording is not None:
            try:
                await self._in_thread(self._recording.add, frame, picture.seconds)
            except Exception as error:
                await self._fail(error)
                await self._record(False)  # completes what was recorded until then
        moment = await self._in_thread(self._stream.see, frame, picture.seconds)
        if self._live.request.source is not None:
            await self._send(TIME.pack(picture.seconds) + picture.jpeg)
        await self._send(json.dumps({"moment": _plain(moment)}, allow_nan=False))

    async def _play(self) -> None:
        """Offers the pictures of `--input` as they come."""
        loop, source = asyncio.get_running_loop(), self._live.request.source

        def play() -> None:
            for picture in pictures_of(str(source), self._stop):
                loop.call_soon_threadsafe(self._offer, picture)

        await asyncio.to_thread(play)
        await self._say("ended")

    async def _record(self, wanted: bool) -> None:
        """Begins a recording, or ends it and writes its tables."""
        try:
            if wanted and self._recording is None:
                self._recording = await self._in_thread(new_recording, self._live.request.out)
                await self._say("recording")
            elif not wanted and self._recording is not None:
                recording, self._recording = self._recording, None
                await self._in_thread(recording.close)
                await self._say("writing", video=str(recording.path))
                self._writing.append(asyncio.create_task(self._guarded(partial(self._write_tables, recording))))
        except Exception as error:
            await self._fail(error)

    async def _write_tables(self, recording: Recording) -> None:
        live = self._live
        written = await asyncio.to_thread(write_tables, live.recogniser, live.request, recording.path)
        await self._say("written", folder=str(written.folder), files=written.files, page=written.page)

    async def _in_thread(self, work: Callable[..., Result], *arguments: Any) -> Result:
        return await asyncio.get_running_loop().run_in_executor(self._live.thread, work, *arguments)

    async def _fail(self, error: Exception, **values: Any) -> None:
        log.error("%s", first_line(error), exc_info=None if isinstance(error, EXPECTED) else error)
        await self._say("failed", reason=first_line(error), recording=self._recording is not None, **values)

    async def _say(self, state: str, **values: Any) -> None:
        await self._send(json.dumps({"state": state} | values))

    async def _send(self, content: str | bytes) -> None:
        """Sends a message, one at a time; if the page was closed, there is nobody to miss it."""
        from starlette.websockets import WebSocketDisconnect

        async with self._speaking:
            with suppress(WebSocketDisconnect, RuntimeError):
                if isinstance(content, str):
                    await self._socket.send_text(content)
                else:
                    await self._socket.send_bytes(content)


def _plain(moment: Moment) -> dict[str, Any]:
    """Returns what is recognised as plain values."""
    others = [_plain_face(face) for face in moment.others]
    return {"time": moment.seconds, "size": moment.size, **_plain_face(moment.main), "others": others}


def _plain_face(face: SeenFace) -> dict[str, Any]:
    """Returns what is recognised of one person; probabilities are rounded as on the page of a video."""
    shares = face.probabilities
    return {
        "box": None if face.box is None else [round(float(edge)) for edge in face.box],
        "person": face.person,
        "label": face.label,
        "shares": None if shares is None else [round(share, 3) for share in shares],
    }
