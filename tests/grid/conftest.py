"""A provider on this machine: a real HTTP server that answers as it is told and remembers what it was asked."""

from __future__ import annotations

import gzip
import json
import os
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

SAMPLES = (
    Path(os.environ.get("OUTWEIGH_SHARED_DATA", Path(__file__).parents[3] / "shared" / "data"))
    / "regions"
    / "api_samples"
)


def read_sample(name: str) -> Any:
    path = SAMPLES / name
    if not path.is_file():
        pytest.skip(f"no reference data at {SAMPLES}: set OUTWEIGH_SHARED_DATA")
    return json.loads(path.read_bytes()) if path.suffix == ".json" else path.read_bytes()


@dataclass
class Answer:
    """What the provider sends.

    Attributes:
        body: sent as it is where bytes, else as JSON.
        cut: promise more than is sent, then close: a half-closed connection.
        hold: wait until the test is over before answering: a provider that hangs.
    """

    body: object = None
    status: int = 200
    headers: dict[str, str] = field(default_factory=dict)
    packed: bool = False
    cut: bool = False
    hold: bool = False


@dataclass(frozen=True)
class Asked:
    path: str
    query: dict[str, str]
    headers: dict[str, str]


Responder = Callable[[Asked], Answer]


class Provider:
    """Attributes:
    url: where it answers.
    asked: what it was asked, in order.
    date: the time its Date header shows; None sends none.
    """

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self._patch = patch
        self._answers: dict[str, list[Answer | Responder]] = {}
        self.asked: list[Asked] = []
        self.date: Callable[[], datetime] | None = None
        self.over = threading.Event()
        provider = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                provider.respond(self)

            def log_message(self, *_: Any) -> None:
                pass

        self._server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._server.server_address[1]}"
        threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True).start()

    def on(self, path: str, *answers: Answer | Responder) -> Provider:
        """Answers for addresses that start with `path`, in order; the last one stays. The longest path wins."""
        self._answers[path] = list(answers)
        return self

    def says(self, path: str, *bodies: object) -> Provider:
        """As `on`, for answers that are nothing but JSON."""
        return self.on(path, *(Answer(body) for body in bodies))

    def stands_in_for(self, source: str, key: str = "") -> Provider:
        name = source.upper().replace("-", "_")
        self._patch.setenv(f"OUTWEIGH_GRID_URL_{name}", self.url)
        if key:
            self._patch.setenv(f"OUTWEIGH_{name}_KEY", key)
        return self

    def sample(self, name: str) -> Any:
        """A recorded or documented answer by its file name; skips where the reference data is absent."""
        return read_sample(name)

    def respond(self, handler: BaseHTTPRequestHandler) -> None:
        parts = urlsplit(handler.path)
        query = {name: values[-1] for name, values in parse_qs(parts.query, keep_blank_values=True).items()}
        asked = Asked(parts.path, query, {name.lower(): value for name, value in handler.headers.items()})
        self.asked.append(asked)
        fitting = [path for path in self._answers if parts.path.startswith(path)]
        queue = self._answers[max(fitting, key=len)] if fitting else [Answer({"error": "not found"}, 404)]
        given = queue.pop(0) if len(queue) > 1 else queue[0]
        answer = given if isinstance(given, Answer) else given(asked)
        if answer.hold:
            self.over.wait(30)
            return
        body = answer.body if isinstance(answer.body, bytes) else json.dumps(answer.body).encode()
        headers = {"Content-Type": "application/json", **answer.headers}
        if answer.packed:
            body, headers["Content-Encoding"] = gzip.compress(body), "gzip"
        if self.date is not None:
            headers.setdefault("Date", format_datetime(self.date(), usegmt=True))
        handler.send_response_only(answer.status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("Content-Length", str(len(body) + (1000 if answer.cut else 0)))
        handler.end_headers()
        handler.wfile.write(body)
        if answer.cut:
            handler.close_connection = True

    def close(self) -> None:
        self.over.set()
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OUTWEIGH_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def provider(monkeypatch: pytest.MonkeyPatch) -> Iterator[Provider]:
    provider = Provider(monkeypatch)
    yield provider
    provider.close()


@pytest.fixture
def answer() -> type[Answer]:
    """What a provider is told to send (test modules cannot import one another)."""
    return Answer


@pytest.fixture
def sample() -> Callable[[str], Any]:
    """A recorded or documented answer by its file name; skips where the reference data is absent."""
    return read_sample
