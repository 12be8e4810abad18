"""A small Hugging Face Hub on this machine: it stores what its client sends, and gives it back."""

import base64
import hashlib
import json
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest
from huggingface_hub import constants

COMMIT = "c" * 40
TOKEN = "hf_a_token_that_may_write"


class Hub(ThreadingHTTPServer):
    """Repositories, and what was asked of the server."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Answer)
        self.files: dict[str, dict[str, bytes]] = {}  # repository -> name -> content
        self.gated: set[str] = set()
        self.private: dict[str, bool] = {}
        self.asked: list[tuple[str, str]] = []  # method, path

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.server_port}"


class Answer(BaseHTTPRequestHandler):
    """The parts of the Hub's API that sending and fetching a model's files take."""

    server: Hub
    protocol_version = "HTTP/1.1"

    def log_message(self, *_):
        pass

    def answer(self, status=200, content=b"", code="", **headers):
        self.send_response(status)
        sent = {"Content-Length": str(len(content)), **{k.replace("_", "-"): v for k, v in headers.items()}}
        for name, value in (sent | ({"X-Error-Code": code} if code else {})).items():
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(content)

    def json(self, value):
        self.answer(content=json.dumps(value).encode(), Content_Type="application/json")

    def do_HEAD(self):
        self.do_GET()

    def do_GET(self):
        self.server.asked.append((self.command, self.path))
        repository, _, rest = self.path.lstrip("/").partition("/resolve/")
        revision, _, name = rest.partition("/")
        files = self.server.files.get(repository)
        if files is None:
            return self.answer(404, code="RepoNotFound")
        if repository in self.server.gated:
            return self.answer(403, code="GatedRepo")
        if revision not in ("main", COMMIT):
            return self.answer(404, code="RevisionNotFound")
        if name not in files:
            return self.answer(404, code="EntryNotFound", X_Repo_Commit=COMMIT)
        content = files[name]
        return self.answer(content=content, X_Repo_Commit=COMMIT, ETag=f'"{hashlib.sha256(content).hexdigest()}"')

    def do_POST(self):
        self.server.asked.append((self.command, self.path))
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        if self.headers.get("Transfer-Encoding") == "chunked":
            body = b"".join(self.chunks())
        if self.path != "/api/validate-yaml" and self.headers.get("Authorization") != f"Bearer {TOKEN}":
            return self.answer(401)
        if self.path == "/api/repos/create":
            asked = json.loads(body)
            name = "/".join(filter(None, (asked.get("organization"), asked["name"])))
            self.server.files.setdefault(name, {})
            self.server.private.setdefault(name, asked.get("private") or asked.get("visibility") == "private")
            return self.json({"url": f"{self.server.address}/{name}", "name": name, "id": name})
        if "/preupload/" in self.path:
            return self.json(
                {
                    "files": [
                        {"path": each["path"], "uploadMode": "regular", "shouldIgnore": False}
                        for each in json.loads(body)["files"]
                    ]
                }
            )
        if "/commit/" in self.path:
            repository = self.path.removeprefix("/api/models/").partition("/commit/")[0]
            for line in map(json.loads, body.splitlines()):
                if line["key"] == "file":
                    content = base64.b64decode(line["value"]["content"])
                    self.server.files[repository][line["value"]["path"]] = content
            return self.json({"commitUrl": f"{self.server.address}/{repository}/commit/{COMMIT}", "commitOid": COMMIT})
        return self.json({"errors": [], "warnings": []})

    def chunks(self):
        while size := int(self.rfile.readline(), 16):
            yield self.rfile.read(size)
            self.rfile.readline()
        self.rfile.readline()


@contextmanager
def hub_here(patch: pytest.MonkeyPatch, cache) -> Iterator[Hub]:
    """Runs a Hub that the client finds, with a cache of its own and nobody logged in."""
    hub = Hub()
    patch.setattr(constants, "ENDPOINT", hub.address)
    patch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", hub.address + "/{repo_id}/resolve/{revision}/{filename}")
    patch.setattr(constants, "HF_HUB_CACHE", str(cache))
    patch.setattr(constants, "HF_TOKEN_PATH", str(cache / "no-token"))
    patch.delenv("HF_TOKEN", raising=False)
    thread = Thread(target=hub.serve_forever, daemon=True)
    thread.start()
    try:
        yield hub
    finally:
        hub.shutdown()
        hub.server_close()
