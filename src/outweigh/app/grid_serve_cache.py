"""A recorder between a grid source and its provider: what the provider answers is kept as fixture files, and replayed.

A file is one exchange: the request line, and the response's status, the headers that matter, its body and when it came.
No key is ever written: what a request carries in its headers stays out, parameters and fields that hold secrets are
left out of the request and replaced in the body, and so is any secret of the request that the provider echoes.
"""

from __future__ import annotations

import base64
import binascii
import contextlib
import hashlib
import json
import os
import re
import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qsl, quote, quote_plus, urlencode, urlsplit

from outweigh.core.errors import GridDataInvalid, MissingExtra, OutputError, UsageError
from outweigh.registry import grid_sources

if TYPE_CHECKING:
    from fastapi import FastAPI, Request, Response

#: Where a source's provider answers, by the beginning of the path that the source asks a stand-in for.
PROVIDERS: dict[str, dict[str, str]] = {
    "neso": {"": "https://api.carbonintensity.org.uk"},
    "energy-charts": {"": "https://api.energy-charts.info"},
    "octopus": {"": "https://api.octopus.energy"},
    "awattar": {"/de": "https://api.awattar.de", "/at": "https://api.awattar.at"},
    "energinet": {"": "https://api.energidataservice.dk"},
    "eia": {"": "https://api.eia.gov"},
    "entsoe": {"": "https://web-api.tp.entsoe.eu"},
    "electricity-maps": {"": "https://api.electricitymaps.com"},
    "watttime": {"": "https://api.watttime.org"},
}
REDACTED = "REDACTED"

# Names of headers and parameters that hold one: authorization, auth-token, api_key, securityToken, x-api-key.
_SECRET = re.compile(r"(auth|authorization|token|key|secret|password|credentials?|cookie|signature)$", re.IGNORECASE)
_SHORTEST_SECRET = 6
_KEPT_HEADERS = ("content-type", "etag", "last-modified", "link")
# Hop by hop, or of this connection.
_NOT_PASSED_ON = {
    "host", "connection", "keep-alive", "te", "trailer", "transfer-encoding", "upgrade", "content-length",
    "accept-encoding", "proxy-authorization", "proxy-authenticate", "cookie",
}  # fmt: skip
# Not what the provider has to say, but how it was at that moment.
_MOMENTARY = {401, 403, 408, 425, 429}
_LARGEST_B = 64_000_000
_TIMEOUT_S = 30.0


@dataclass(frozen=True, slots=True)
class Exchange:
    """One request and its answer, as they are kept."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...]
    body_sha256: str
    status: int
    headers: Mapping[str, str]
    body: bytes
    recorded_at: str


@dataclass(slots=True)
class Recorder:
    """Exchanges in a folder, and how many were kept and replayed."""

    folder: Path
    kept: int = 0
    replayed: int = 0
    unknown: list[str] = field(default_factory=list)

    def open(self) -> None:
        """Make the folder: one that cannot be written to is told before anything is served. Raises OutputError."""
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            with tempfile.NamedTemporaryFile(dir=self.folder, prefix=".", suffix=".part"):
                pass
        except OSError as err:
            raise OutputError(str(self.folder), err.strerror or str(err), "Give a folder you may write to") from err

    def keep(self, exchange: Exchange) -> None:
        """Write it, whole or not at all; the same request again replaces the earlier answer. Raises OutputError."""
        try:
            body = {"text": exchange.body.decode("utf-8")}
        except UnicodeDecodeError:
            body = {"base64": base64.b64encode(exchange.body).decode("ascii")}
        document = {
            "request": {
                "method": exchange.method,
                "path": exchange.path,
                "query": [list(pair) for pair in exchange.query],
                "body_sha256": exchange.body_sha256 or None,
            },
            "response": {"status": exchange.status, "headers": dict(exchange.headers), **body},
            "recorded_at": exchange.recorded_at,
        }
        path = self._path(exchange.method, exchange.path, exchange.query, exchange.body_sha256)
        try:
            self.folder.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(dir=self.folder, prefix=".", suffix=".part")
            try:
                with os.fdopen(handle, "w", encoding="utf-8", newline="\n") as file:
                    file.write(json.dumps(document, ensure_ascii=False, indent=1) + "\n")
                Path(name).chmod(0o644)  # mkstemp makes it private; a fixture is meant to be read
                Path(name).replace(path)
            except OSError:
                with contextlib.suppress(OSError):
                    Path(name).unlink()
                raise
        except OSError as err:
            raise OutputError(str(self.folder), err.strerror or str(err), "Give a folder you may write to") from err
        self.kept += 1

    def find(self, method: str, path: str, query: Sequence[tuple[str, str]], body_sha256: str = "") -> Exchange | None:
        """What was answered; None where it was never asked. Raises GridDataInvalid for a file that is no exchange."""
        file = self._path(method, path, query, body_sha256)
        try:
            document = json.loads(file.read_text(encoding="utf-8"))
            answer = document["response"]
            body = answer["text"].encode() if "text" in answer else base64.b64decode(answer["base64"])
            headers = {str(name): str(value) for name, value in answer["headers"].items()}
            found = Exchange(
                method, path, tuple(query), body_sha256, int(answer["status"]), headers, body,
                str(document["recorded_at"]),
            )  # fmt: skip
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError, AttributeError) as err:
            raise GridDataInvalid(
                "serve-cache", str(file), f"it is no recorded answer ({err})", "Record it again"
            ) from err
        return found

    def _path(self, method: str, path: str, query: Sequence[tuple[str, str]], body_sha256: str) -> Path:
        asked = json.dumps([method, path, sorted(map(list, query)), body_sha256])
        digest = hashlib.sha256(asked.encode()).hexdigest()[:12]
        name = re.sub(r"[^A-Za-z0-9]+", "-", path).strip("-")[:80] or "root"
        return self.folder / f"{method.lower()}-{name}-{digest}.json"

    def __len__(self) -> int:
        return sum(1 for _ in self.folder.glob("*.json")) if self.folder.is_dir() else 0


def upstreams(source: str, upstream: str, *, offline: bool) -> dict[str, str]:
    """Where requests go, by the beginning of their path.

    Raises:
        UsageError: no address is known for that source, or the given one is none. UnknownBackend: no such source.
    """
    grid_sources.get(source)
    if offline:
        return {}
    if not upstream:
        if source not in PROVIDERS:
            raise UsageError(f"no address is known for grid source {source}", "Give one with --upstream")
        return PROVIDERS[source]
    try:
        parts = urlsplit(upstream)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment or parts.username:
        raise UsageError(f"--upstream {upstream!r} is no address", "Write https://HOST or https://HOST/PATH")
    return {"": upstream.rstrip("/")}


def application(recorder: Recorder, routes: Mapping[str, str]) -> FastAPI:
    """The stand-in as an ASGI application: with routes it passes requests on and records, without it only replays.

    Raises:
        MissingExtra: FastAPI or httpx is not installed.
    """
    try:
        import httpx
        from fastapi import FastAPI, Response
        from fastapi.concurrency import run_in_threadpool
        from starlette.middleware.trustedhost import TrustedHostMiddleware
    except ImportError as err:
        raise MissingExtra(
            err.name or "fastapi", "outweigh grid serve-cache", "Run: pip install 'outweigh[live,serve]'"
        ) from err

    app = FastAPI(docs_url=None, redoc_url=None, openapi_url=None)
    # A page in a browser must not reach a provider through us under another name for this machine.
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=["127.0.0.1", "localhost"])

    def failed(status: int, message: str) -> Response:
        return Response(json.dumps({"error": message}), status, media_type="application/json")

    def given(exchange: Exchange) -> Response:
        headers = {**exchange.headers, "x-outweigh-recorded-at": exchange.recorded_at}
        return Response(exchange.body, exchange.status, headers=headers)

    async def answer(request: Request) -> Response:
        path = request.scope["raw_path"].decode("ascii") if request.scope.get("raw_path") else request.url.path
        every = parse_qsl(request.url.query, keep_blank_values=True)
        plain = [pair for pair in every if not _SECRET.search(pair[0])]
        body = await request.body()
        body_sha256 = hashlib.sha256(body).hexdigest() if body else ""
        if not routes:
            try:
                found = await run_in_threadpool(recorder.find, request.method, path, plain, body_sha256)
            except GridDataInvalid as err:
                return failed(500, str(err))
            if found is None:
                asked = f"{request.method} {path}" + (f"?{urlencode(plain)}" if plain else "")
                recorder.unknown.append(asked)
                return failed(504, f"offline, and never recorded: {asked}")
            recorder.replayed += 1
            return given(found)
        prefix = max((start for start in routes if path.startswith(start)), key=len, default=None)
        if prefix is None:
            return failed(404, f"no provider is known for {path}")
        base = httpx.URL(routes[prefix])
        wanted = base.raw_path.rstrip(b"/") + path.removeprefix(prefix).encode()
        query = request.url.query.encode()
        # The host is the provider's whatever the path says: only the path below it is replaced.
        target = base.copy_with(raw_path=wanted + (b"?" + query if query else b""))
        headers = {name: value for name, value in request.headers.items() if name.lower() not in _NOT_PASSED_ON}
        try:
            async with httpx.AsyncClient(timeout=_TIMEOUT_S, follow_redirects=False) as client:
                came = await client.request(request.method, target, headers=headers, content=body or None)
        except httpx.TimeoutException:
            return failed(504, f"{base.host} does not answer within {_TIMEOUT_S:g} s")
        except httpx.HTTPError as err:
            return failed(502, f"{base.host} cannot be asked ({type(err).__name__})")
        if len(came.content) > _LARGEST_B:
            return failed(502, f"the answer of {base.host} is larger than {_LARGEST_B // 1_000_000} MB")
        kept = {name: came.headers[name] for name in _KEPT_HEADERS if name in came.headers}
        if came.status_code < 500 and came.status_code not in _MOMENTARY and not came.is_redirect:
            secrets = _secrets(request.headers.items(), every)
            exchange = Exchange(
                request.method, path, tuple(plain), body_sha256, came.status_code,
                {name: _hidden(value, secrets) for name, value in kept.items()},
                _without_secrets(came.content, kept.get("content-type", ""), secrets),
                datetime.now(UTC).isoformat(timespec="seconds"),
            )  # fmt: skip
            try:
                await run_in_threadpool(recorder.keep, exchange)
            except OutputError as err:
                return failed(507, str(err))
        passed = {**kept, **{name: came.headers[name] for name in ("retry-after", "location") if name in came.headers}}
        return Response(came.content, came.status_code, headers=passed)

    # The annotations are strings in this module, and FastAPI would look for their names in it.
    app.add_route("/{path:path}", answer, methods=["GET", "POST"])
    return app


def serve_cache(
    folder: Path, source: str, *, upstream: str, offline: bool, port: int, started: Callable[[dict[str, Any]], None]
) -> Recorder:
    """Serve on 127.0.0.1 until told to stop; returns what was kept and replayed.

    Args:
        started: told address, the variable to set, and where requests go, once connections are taken.

    Raises:
        UsageError, UnknownBackend, MissingExtra, OutputError: before anything is served.
    """
    from outweigh.app.serving import serve

    routes = upstreams(source, upstream, offline=offline)
    recorder = Recorder(folder / source)
    if offline and not len(recorder):
        raise UsageError(f"there is nothing recorded in {recorder.folder}", "Record first, without --offline")
    if not offline:
        recorder.open()
    made = application(recorder, routes)

    def tell(url: str) -> None:
        variable = f"OUTWEIGH_GRID_URL_{source.upper().replace('-', '_')}"
        started(
            {
                "url": url,
                "variable": variable,
                "source": source,
                "upstream": sorted(set(routes.values())),
                "folder": str(recorder.folder),
                "recorded": len(recorder),
            }
        )

    serve(made, "127.0.0.1", port, started=tell)
    return recorder


def _secrets(headers: Iterable[tuple[str, str]], query: Iterable[tuple[str, str]]) -> set[str]:
    """Every secret that a request carries, in every way it could be written back."""
    found: set[str] = set()
    for name, value in (*headers, *query):
        if not _SECRET.search(name):
            continue
        parts = {value, *value.split()}
        if value[:6].lower() == "basic ":  # RFC 7617
            with contextlib.suppress(binascii.Error, UnicodeDecodeError):
                name_and_password = base64.b64decode(value[6:].strip(), validate=True).decode("utf-8")
                parts |= {name_and_password, name_and_password.partition(":")[2]}
        for part in parts:
            if len(part) >= _SHORTEST_SECRET and part.lower() not in ("basic", "bearer"):
                found |= {part, quote(part, safe=""), quote_plus(part), json.dumps(part)[1:-1]}
    return found


def _hidden(text: str, secrets: Iterable[str]) -> str:
    for secret in sorted(secrets, key=len, reverse=True):
        text = text.replace(secret, REDACTED)
    return text


def _without_secrets(body: bytes, content_type: str, secrets: set[str]) -> bytes:
    try:
        text = body.decode("utf-8")
    except UnicodeDecodeError:
        for secret in sorted(secrets, key=len, reverse=True):
            body = body.replace(secret.encode(), REDACTED.encode())
        return body
    if "json" in content_type:
        # Field by field in the text itself: to read and write it again would change the provider's own numbers.
        text = _TOKEN_FIELD.sub(rf'\1"{REDACTED}"', text)
    return _hidden(text, secrets).encode()


_TOKEN_FIELD = re.compile(
    r'("(?:[a-z_-]*token|api_?key|password|secret|client_secret)"\s*:\s*)"(?:[^"\\]|\\.)*"', re.IGNORECASE
)
