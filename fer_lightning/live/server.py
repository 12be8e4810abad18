"""The server of `fer live`: a page and a connection, for this machine alone and for whoever knows the token."""

import secrets
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

from fer_lightning.live.page import UNHEARD, live_page
from fer_lightning.live.request import HOST, LiveRequest, open_port
from fer_lightning.live.session import Live, Session
from fer_lightning.live.stream import make_extractor
from fer_lightning.predict.recogniser import Recogniser

if TYPE_CHECKING:
    import uvicorn
    from starlette.applications import Starlette
    from starlette.requests import Request
    from starlette.responses import Response
    from starlette.websockets import WebSocket

REFUSED = "This page needs the whole address that `fer live` printed, with its token.\n"
HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": "frame-ancestors 'none'",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
MOST_BYTES = 1 << 24  # of a picture
GRACE = 5  # seconds for pages to close when the server ends


def make_app(request: LiveRequest, recogniser: Recogniser, token: str) -> "Starlette":
    """Returns the application; everything is below the token, and all else is refused.

    Args:
        request: the arguments of the call.
        recogniser: the model.
        token: the secret part of the address.

    Raises:
        DetectorNotFoundError: the detector is not installed.
        ModuleNotFoundError: the extra `live` is not installed.
        ValueError: the model needs what a stream of pictures does not have.
    """
    from starlette.applications import Starlette
    from starlette.middleware import Middleware
    from starlette.middleware.trustedhost import TrustedHostMiddleware
    from starlette.responses import HTMLResponse, PlainTextResponse
    from starlette.routing import Mount, Route, WebSocketRoute
    from starlette.staticfiles import StaticFiles

    live = Live(request, recogniser, make_extractor(recogniser), ThreadPoolExecutor(1, "recognition"))

    def page(_: "Request") -> "Response":
        return HTMLResponse(live_page(recogniser, request), headers=HEADERS)

    def refuse(_: "Request") -> "Response":
        return PlainTextResponse(REFUSED, 403)

    async def serve_page(socket: "WebSocket") -> None:
        await Session(live, socket).serve()

    recordings = StaticFiles(directory=request.out, check_dir=False)
    inside = [Route("/", page), WebSocketRoute("/socket", serve_page), Mount("/recordings", recordings)]
    # against pages elsewhere whose name leads to this machine
    hosts = Middleware(TrustedHostMiddleware, allowed_hosts=[HOST, "localhost"])
    return Starlette(routes=[Mount(f"/{token}", routes=inside), Route("/{path:path}", refuse)], middleware=[hosts])


def make_server(request: LiveRequest, recogniser: Recogniser, listener: socket.socket) -> tuple["uvicorn.Server", str]:
    """Returns a server that has not begun, and the address of its page.

    Raises:
        DetectorNotFoundError: the detector is not installed.
        ModuleNotFoundError: the extra `live` is not installed.
        ValueError: the model needs what a stream of pictures does not have.
    """
    import uvicorn

    token = secrets.token_urlsafe(24)
    config = uvicorn.Config(
        make_app(request, recogniser, token),
        log_level="error",
        access_log=False,  # it would show the token
        ws_max_size=MOST_BYTES,
        lifespan="off",
        timeout_graceful_shutdown=GRACE,
    )
    return uvicorn.Server(config), f"http://{HOST}:{listener.getsockname()[1]}/{token}/"


def serve(request: LiveRequest, listener: socket.socket) -> None:
    """Serves the page until it is interrupted.

    Args:
        request: the arguments of the call.
        listener: see `open_port`.

    Raises:
        DetectorNotFoundError: the detector is not installed.
        FileNotFoundError: there is no checkpoint, or a member of an ensemble is missing.
        ValueError: the checkpoint cannot be used, or the model needs what a stream of pictures does not have.
    """
    recogniser = Recogniser(request.checkpoint, request.options)
    print(recogniser.label.summary)
    if recogniser.settings.model_facts.uses_audio:
        print(UNHEARD)
    server, address = make_server(request, recogniser, listener)
    print(f"Open {address} in a browser on this machine; Ctrl-C ends it.", flush=True)
    server.run([listener])


@contextmanager
def served(request: LiveRequest) -> Iterator[str]:
    """Serves the page in a thread while the block lasts, on any port that is free, and yields its address.

    Args:
        request: the arguments of the call.

    Raises:
        DetectorNotFoundError: the detector is not installed.
        ModuleNotFoundError: the extra `live` is not installed.
        RuntimeError: the server did not end within a minute.
        ValueError: the model needs what a stream of pictures does not have.
    """
    with open_port(0) as listener:
        server, address = make_server(request, Recogniser(request.checkpoint, request.options), listener)
        thread = threading.Thread(target=server.run, args=([listener],))
        thread.start()
        try:
            while not server.started:
                time.sleep(0.01)
            yield address
        finally:
            server.should_exit = True
            thread.join(60)
    if thread.is_alive():
        raise RuntimeError(f"the server of {address} did not end within a minute")
