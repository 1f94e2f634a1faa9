"""The server that receipts are pushed to, over HTTP: one request a batch, tried again while that may help.

From the caller down: retries (httpx-retries: exponential, with jitter, and as long as Retry-After asks), then what adds
the token, so that neither the retries nor their logs hold it. Redirects are not followed: the token would go along.
"""

from __future__ import annotations

import json
import math
import ssl
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self
from urllib.parse import urlsplit

from outweigh.core.errors import MissingExtra, ServerUnavailable, UsageError
from outweigh.ledger.pushing.queue import Batch
from outweigh.ledger.pushing.sending import Accepted, Refused, TooLarge

if TYPE_CHECKING:
    import httpx

INSTALL = "Run: pip install 'outweigh[agent]'"
PATH = "/api/v1/receipts"

_TIMEOUT_S = 30.0
_CONNECT_S = 5.0
_BACKOFF_S = 0.5
_LONGEST_PAUSE_S = 60.0
_LARGEST_ANSWER = 1_000_000  # bytes
_SHOWN = 200  # characters of the server's own words
#: Where trying again may do: the server is busy, behind a proxy that cannot reach it, or has lost its database.
_AGAIN = (408, 425, 429, 500, 502, 503, 504)
_REFUSALS = (400, 409, 422)
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server answers: scheme, host, port and perhaps a path, without a slash at its end.

    `checked` raises UsageError for what is none, without repeating it: it may hold a password.
    """

    url: str

    @classmethod
    def checked(cls, url: str, *, plain_http: bool = False) -> Self:
        try:
            parts = urlsplit(url.strip())
            named = parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
        except ValueError:
            named = False
        if not named:
            raise UsageError("that is not the address of a server", "Write https://energy.example.org")
        if parts.username is not None or parts.password is not None or parts.query or parts.fragment:
            raise UsageError(
                "the address of a server holds no user, password or parameters",
                "Write https://energy.example.org, and give the token in OUTWEIGH_TOKEN or with --token-file",
            )
        if parts.scheme == "http" and parts.hostname not in _LOOPBACK and not plain_http:
            raise UsageError(
                f"http://{parts.hostname} would carry the token where others can read it",
                "Use https://, or --plain-http on a network that only you can read",
            )
        path = parts.path.rstrip("/").removesuffix(PATH)
        return cls(f"{parts.scheme}://{parts.netloc}{path}")


class HttpReceiver:
    """An outweigh server over HTTP; a context manager. See `sending.Receiver` for how it fails.

    Args:
        address: of the server.
        token: of a writer or owner there; "" sends none.
        ca: file of the certificates to trust, instead of the public ones.
        patience_s: how long one batch is tried again [s]; the last try may end a time-out later.

    Raises:
        MissingExtra: httpx or httpx-retries is not installed.
        UsageError: `ca` cannot be read, or the token holds what no token holds.
    """

    def __init__(self, address: Address, token: str = "", *, ca: Path | None = None, patience_s: float = 60.0) -> None:
        try:
            import httpx
            import httpx_retries
        except ModuleNotFoundError as err:
            raise MissingExtra(str(err.name), "outweigh ledger push", INSTALL) from err
        if not (token.isascii() and token.isprintable() and " " not in token):
            raise UsageError("the token holds characters that no token has", "Copy it again; it is one word")
        self.where, self._token, self._patience_s = address.url, token, patience_s
        self._until_s = 0.0
        # To read the public certificates takes longer than all the rest, and http:// needs none.
        trusted = _trusted(ca) if ca is not None or address.url.startswith("https") else False
        inner = httpx.HTTPTransport(verify=trusted, proxy=_proxy(address.url))
        retry = httpx_retries.Retry(
            # How often is not the question, only how long: `total_timeout` ends it.
            total=1000 if patience_s > 0 else 0,
            allowed_methods=("POST",),  # safe here: a batch keeps its key, and a receipt is kept once
            status_forcelist=_AGAIN,
            backoff_factor=_BACKOFF_S,
            max_backoff_wait=_LONGEST_PAUSE_S,
            total_timeout=patience_s or None,
        )
        self._client = httpx.Client(
            transport=httpx_retries.RetryTransport(_signed(self, inner, token, patience_s), retry),
            timeout=httpx.Timeout(_TIMEOUT_S, connect=_CONNECT_S),
            follow_redirects=False,
        )

    def __repr__(self) -> str:
        return f"HttpReceiver({self.where!r})"

    def send(self, batch: Batch) -> Accepted | TooLarge | Refused:
        import httpx

        self._until_s = time.monotonic() + self._patience_s
        headers = {"Content-Type": "application/json", "Idempotency-Key": batch.key, "User-Agent": "outweigh"}
        try:
            with self._client.stream("POST", self.where + PATH, content=batch.body, headers=headers) as response:
                return self._understood(response, batch)
        except httpx.HTTPError as err:
            raise self._explained(err) from err

    @property
    def out_of_patience(self) -> bool:
        """Whether the batch in hand has been tried for long enough: retries count their pauses, not the time-outs."""
        return time.monotonic() >= self._until_s

    def close(self) -> None:
        self._client.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.close()

    # --- what it said -------------------------------------------------------------------------------

    def _understood(self, response: httpx.Response, batch: Batch) -> Accepted | TooLarge | Refused:
        body = bytearray()
        for chunk in response.iter_bytes():
            body += chunk
            if len(body) > _LARGEST_ANSWER:
                break
        said = self.shown(_words(bytes(body)))
        status = response.status_code
        if status in (200, 201):
            return self._accepted(bytes(body))
        if status == 413:
            return TooLarge(said or "the body is too large for it")
        if status in _REFUSALS:
            return Refused(status, said or response.reason_phrase)
        answered = f"it answered {status} {response.reason_phrase}".rstrip() + (f": {said}" if said else "")
        if status in _AGAIN:
            raise self.unavailable(answered, pause_s(response))
        raise self._wrong(status, answered, response.headers.get("location", ""))

    def _accepted(self, body: bytes) -> Accepted:
        try:
            found = json.loads(body)
            addresses, already = found["addresses"], found["already"]
            if not all(isinstance(each, str) for each in addresses) or not isinstance(already, int):
                raise TypeError("addresses are texts, and already is a number")
        except (KeyError, TypeError, ValueError, RecursionError) as err:
            raise UsageError(
                f"{self.where} answers, but not as an outweigh server does",
                "Give the address that `outweigh serve` printed, or that of the proxy in front of it",
            ) from err
        return Accepted(tuple(addresses), already)

    def _wrong(self, status: int, answered: str, location: str) -> UsageError:
        remedies = {
            401: "The token is wrong, expired or missing: put a writer's into OUTWEIGH_TOKEN or --token-file",
            403: "The token may not write: ask the server's owner for a writer's",
            404: "Give the address that `outweigh serve` printed; a proxy may put it below a path",
            405: "Give the address that `outweigh serve` printed; a proxy may put it below a path",
        }
        if 300 <= status < 400:
            onward = urlsplit(location)
            place = f" to {onward.scheme}://{onward.hostname}" if onward.hostname else ""
            return UsageError(f"{self.where} sends us on{place}", "Give the address where it ends")
        return UsageError(f"{self.where}: {answered}", remedies.get(status, "Is it an outweigh server?"))

    def _explained(self, err: httpx.HTTPError) -> ServerUnavailable | UsageError:
        import httpx

        cause: BaseException | None = err
        while cause is not None:
            if isinstance(cause, ssl.SSLError):
                reason = getattr(cause, "verify_message", "") or cause.reason or str(cause)
                return UsageError(
                    f"{self.where} cannot be trusted: {reason}",
                    "Check the address and this machine's clock; name a private authority's certificate with --ca",
                )
            # httpcore's pool raises "from None": only the context still has it.
            cause = cause.__cause__ or cause.__context__
        if isinstance(err, httpx.ReadTimeout | httpx.WriteTimeout):
            return self.unavailable(f"no answer within {_TIMEOUT_S:g} s")
        return self.unavailable(f"no connection ({self.shown(str(err)) or type(err).__name__})")

    def unavailable(self, reason: str, retry_after_s: float = 0.0) -> ServerUnavailable:
        return ServerUnavailable(
            self.where, reason, math.ceil(retry_after_s), "What was not acknowledged waits on disk; push again later"
        )

    def shown(self, text: str) -> str:
        """The server's words, short, on one line, and never the token."""
        plain = " ".join("".join(c if c.isprintable() else " " for c in text).split())
        return (plain.replace(self._token, "***") if self._token else plain)[:_SHOWN]


def pause_s(response: httpx.Response) -> float:
    """The pause that Retry-After asks for [s], 0 where it says nothing that can be read (RFC 9110, 10.2.3)."""
    import httpx_retries

    try:
        return httpx_retries.Retry().parse_retry_after(response.headers.get("retry-after", ""))
    except ValueError:
        return 0.0


def _signed(receiver: HttpReceiver, inner: httpx.BaseTransport, token: str, patience_s: float) -> httpx.BaseTransport:
    import httpx

    class Signed(httpx.BaseTransport):
        """Adds the token. What retries cannot mend leaves them here as an error they do not know."""

        def handle_request(self, request: httpx.Request) -> httpx.Response:
            headers = request.headers.copy()
            if token:
                headers["Authorization"] = f"Bearer {token}"
            try:
                response = inner.handle_request(
                    httpx.Request(
                        request.method, request.url, headers=headers, stream=request.stream,
                        extensions=request.extensions,
                    )
                )  # fmt: skip
            except httpx.TransportError as err:
                explained = receiver._explained(err)
                if isinstance(explained, UsageError) or receiver.out_of_patience:
                    raise explained from err
                raise
            if response.status_code in _AGAIN and pause_s(response) > patience_s:
                response.close()
                raise receiver.unavailable(
                    f"it answered {response.status_code} and asks for a pause", pause_s(response)
                )
            return response

        def close(self) -> None:
            inner.close()

    return Signed()


def _trusted(ca: Path | None) -> Any:
    if ca is None:
        return True
    try:
        return ssl.create_default_context(cafile=str(ca))
    except (OSError, ssl.SSLError) as err:
        reason = err.strerror or "no certificate in PEM is in it"
        raise UsageError(f"the certificates in {ca} cannot be read ({reason})", "Name a PEM file with --ca") from err


def _proxy(url: str) -> str | None:
    """The proxy of the environment for this address; httpx leaves it out where a transport is given."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if host in _LOOPBACK or urllib.request.proxy_bypass(host):
        return None
    proxies = urllib.request.getproxies()
    return proxies.get(parts.scheme) or proxies.get("all")


def _words(body: bytes) -> str:
    """What an answer says: the detail of a problem (RFC 9457), or its text where it is no page."""
    text = body.decode(errors="replace")
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return "" if text.lstrip().startswith("<") else text
    if isinstance(found, dict):
        problem, remedy = found.get("detail") or found.get("title"), found.get("remedy")
        return ". ".join(each for each in (problem, remedy) if isinstance(each, str))
    return ""
