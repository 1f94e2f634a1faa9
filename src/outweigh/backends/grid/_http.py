"""What all live grid sources share: one way to ask a provider, and one way to fail.

An answer is kept on disk until the time it is fresh for, and shared by every process of this user. A provider that
says "later" (429, 503) is waited for within reason and no longer. Keys are never in an error, a file or a log.

Environment:
    OUTWEIGH_GRID_URL_<SOURCE>: another address for that source (a mirror, a recording); ENTSOE, ENERGY_CHARTS.
    OUTWEIGH_<SOURCE>_KEY: its key, where it needs one.
    OUTWEIGH_CACHE_DIR: the folder of kept answers; else XDG_CACHE_HOME/outweigh, else ~/.cache/outweigh.
"""

from __future__ import annotations

import os
import time
import weakref
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, quote_plus, urlsplit

from outweigh.backends.grid._manners import Manners
from outweigh.core.errors import GridDataInvalid, GridUnavailable, MissingExtra, UsageError
from outweigh.core.intervals import Interval
from outweigh.core.measurement import Grade
from outweigh.ports import Availability

if TYPE_CHECKING:
    import httpx

INSTALL = "pip install 'outweigh[live]'"
TIMEOUT_S = 10.0
PATIENCE_S = 10.0  # longest we wait for a provider that asks for a pause, over all retries of one request
_PAUSE_S = 60.0  # how long we leave one alone that says "later" each time and not until when

_PACKAGES = ("httpx", "hishel", "httpx_retries")
_REDIRECTS = 3
_SHOWN = 200  # characters of a provider's own words
_SHORTEST_SECRET = 6
_SETTLED_S = 86400.0


def clock() -> datetime:
    return datetime.now(UTC)


@dataclass(frozen=True, slots=True)
class Reply:
    """A provider's answer.

    Attributes:
        where: the address asked, without keys; what an origin cites.
        retrieved_at: when it came from the provider, however often the cache has given it since.
        from_cache: whether the cache gave it now.
    """

    source: str
    where: str
    status: int
    body: bytes = field(repr=False)
    content_type: str
    retrieved_at: datetime
    from_cache: bool

    def json(self) -> Any:
        """Raises GridDataInvalid for what is no JSON."""
        from outweigh.backends.grid._transport import parse_json

        return parse_json(self.source, self.where, self.body, self.content_type)

    @property
    def text(self) -> str:
        """Raises GridDataInvalid for what is no UTF-8."""
        try:
            return self.body.decode("utf-8")
        except UnicodeDecodeError as err:
            raise GridDataInvalid(self.source, self.where, f"it is not UTF-8 ({err})", "Ask again later") from err


class Web:
    """One provider over HTTP. Opened at the first request; closed with `close`, or when it is let go.

    Args:
        source: the back-end's name, for errors and the environment.
        base_url: where it answers, without a slash at the end; the environment may put another in its place.
        headers, params: what every request carries and nobody may see: a key in either place.
        now: the present, in UTC.
        cache: folder of kept answers; None takes the user's.
        requests_per_hour, requests_per_minute: the provider's published limits, kept on our side over all processes.
        rates: further ones, as (requests, within seconds).
        lane: names what the limits are for, where a provider limits each of its endpoints by itself.
        key_remedy: what to do where the key is refused (401, 403).
        timeout_s: for one answer [s].
        patience_s: longest pause we honour by waiting [s]; a longer one is GridBusy at once.
        ban_s: for how long [s] the provider is known to refuse those who asked too much (429), where it does not say.
        sleep: how to wait [s].

    Raises:
        UsageError: the environment names an address that is none.
    """

    def __init__(
        self,
        source: str,
        base_url: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        now: Callable[[], datetime] = clock,
        cache: Path | None = None,
        requests_per_hour: float | None = None,
        requests_per_minute: float | None = None,
        rates: Sequence[tuple[float, float]] = (),
        lane: str = "",
        key_remedy: str = "",
        timeout_s: float = TIMEOUT_S,
        patience_s: float = PATIENCE_S,
        ban_s: float | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self.source, self.now = source, now
        self.base_url = _base_url(source, base_url)
        self._headers, self._params = dict(headers or {}), dict(params or {})
        self._key_remedy, self._timeout_s, self._patience_s, self._sleep = key_remedy, timeout_s, patience_s, sleep
        self._ban_s = ban_s
        self._folder = cache_folder() if cache is None else cache
        limits = [(n, s) for n, s in ((requests_per_hour, 3600.0), (requests_per_minute, 60.0)) if n is not None]
        self._manners = Manners(f"{self.base_url} {lane}".strip(), [*limits, *rates], self._folder, now)
        self._clients: tuple[httpx.Client, httpx.Client] | None = None
        self._finalizer: Callable[[], object] | None = None

    def __repr__(self) -> str:
        return f"Web({self.source!r}, {self.base_url!r})"

    def json(
        self,
        path: str,
        params: Mapping[str, str] | Sequence[tuple[str, str]] = (),
        *,
        fresh_until: datetime | None = None,
    ) -> Any:
        """The JSON of `get`, for who needs nothing else of it."""
        return self.get(path, params, fresh_until=fresh_until).json()

    def text(
        self,
        path: str,
        params: Mapping[str, str] | Sequence[tuple[str, str]] = (),
        *,
        fresh_until: datetime | None = None,
    ) -> str:
        """The text of `get`, for who needs nothing else of it."""
        return self.get(path, params, fresh_until=fresh_until, expects="text").text

    def get(
        self,
        path: str,
        params: Mapping[str, str] | Sequence[tuple[str, str]] = (),
        *,
        fresh_until: datetime | None = None,
        expects: str = "json",
        allow: Collection[int] = (),
        headers: Mapping[str, str] | None = None,
    ) -> Reply:
        """Ask, or take the kept answer.

        Args:
            path: below the base, with a slash at the start.
            params: of the query; they name the kept answer, so no key belongs here.
            fresh_until: until when a kept answer does; None, or what is past, keeps nothing. See `fresh_until`.
            expects: "json" refuses anything else before it is kept; "text" takes any.
            allow: status codes of failures that the caller reads himself.
            headers: further secret ones for this request (a token that changes).

        Raises:
            GridUnavailable, GridBusy, GridDataInvalid; MissingExtra without the packages.
        """
        keeping, plain = self._open()
        now = self.now()
        kept = fresh_until is not None and fresh_until > now
        extensions: dict[str, Any] = {"expects": expects, "secret_headers": dict(headers or {})}
        client = plain
        if kept and fresh_until is not None:
            client = keeping
            extensions["fresh_until"] = fresh_until.isoformat()
            extensions["caching"] = {"ttl": (fresh_until - now).total_seconds()}
        response = self._send(client, path, params, extensions)
        where = self._hidden(str(response.request.url), headers)
        if not response.is_success and response.status_code not in allow:
            self._refuse(response, headers)
        from outweigh.backends.grid._transport import RETRIEVED

        return Reply(
            self.source,
            where,
            response.status_code,
            response.content,
            response.headers.get("content-type", ""),
            datetime.fromisoformat(response.headers[RETRIEVED]),
            bool(response.extensions.get("caching", {}).get("from_cache")),
        )

    def close(self) -> None:
        if self._finalizer is not None:
            self._finalizer()
        self._clients = self._finalizer = None

    # --- in private ---------------------------------------------------------------------------------

    def _open(self) -> tuple[httpx.Client, httpx.Client]:
        if self._clients is None:
            for package in _PACKAGES:
                if find_spec(package) is None:
                    raise MissingExtra(package, f"grid source {self.source}", INSTALL)
            from outweigh.backends.grid._transport import connect

            self._clients = connect(
                self.source,
                self.base_url,
                self._manners,
                headers=self._headers,
                params=self._params,
                folder=self._folder,
                now=self.now,
                sleep=self._sleep,
                timeout_s=self._timeout_s,
                patience_s=self._patience_s,
                ban_s=self._ban_s,
            )
            self._finalizer = weakref.finalize(self, _close, self._clients)
        return self._clients

    def _send(
        self,
        client: httpx.Client,
        path: str,
        params: Mapping[str, str] | Sequence[tuple[str, str]],
        extensions: dict[str, Any],
    ) -> httpx.Response:
        import httpx

        host = urlsplit(self.base_url).netloc
        pairs = httpx.QueryParams(tuple(params.items() if isinstance(params, Mapping) else params))
        request = client.build_request(
            "GET",
            self.base_url + path,
            params=pairs or None,
            headers={"User-Agent": "outweigh", "Accept": "*/*"},
            extensions=extensions,
        )
        try:
            for _ in range(_REDIRECTS + 1):
                response = client.send(request)
                if response.next_request is None:
                    return response
                onward = response.next_request
                if (onward.url.scheme, onward.url.netloc) != (request.url.scheme, request.url.netloc):
                    raise self._unavailable(
                        f"it sends us on to {onward.url.scheme}://{onward.url.host}",
                        f"If that is right, say so: OUTWEIGH_GRID_URL_{_variable(self.source)}=ADDRESS",
                    )
                # The extensions of the first one hold what it is kept under, and the keys.
                request = client.build_request("GET", onward.url, headers=request.headers, extensions=extensions)
            raise self._unavailable(f"it sends us on more than {_REDIRECTS} times", "Ask again later")
        except httpx.TimeoutException as err:
            raise self._unavailable(
                f"no answer from {host} within {self._timeout_s:g} s", "Check the network, or ask again later"
            ) from err
        except httpx.ConnectError as err:
            reason = self._hidden(str(err), extensions["secret_headers"]) or "refused"
            raise self._unavailable(f"no connection to {host} ({reason})", "Check the network") from err
        except httpx.DecodingError as err:
            raise GridDataInvalid(self.source, host, "its answer cannot be unpacked", "Ask again later") from err
        except httpx.HTTPError as err:
            reason = self._hidden(str(err), extensions["secret_headers"]) or type(err).__name__
            raise self._unavailable(f"the connection to {host} broke off ({reason})", "Ask again later") from err

    def _refuse(self, response: httpx.Response, headers: Mapping[str, str] | None) -> None:
        from outweigh.backends.grid._transport import busy

        status = response.status_code
        if status == 429 or (status == 503 and "retry-after" in response.headers):
            asked = response.headers.get("retry-after", "")
            pause_s = max(1.0, float(asked) if asked.isdecimal() else _PAUSE_S)
            # It has said so to all our retries: no process of this user asks before that is over.
            self._manners.pause(pause_s)
            raise busy(self.source, pause_s)
        said = self._hidden(_message(response.content), headers)
        reason = f"it answered {status} {response.reason_phrase}" + (f": {said}" if said else "")
        if status in (401, 403):
            raise self._unavailable(reason, self._key_remedy or "It needs no key that we know of; ask again later")
        raise self._unavailable(reason, "Ask again later" if status >= 500 else "Check what was asked for")

    def _unavailable(self, reason: str, remedy: str) -> GridUnavailable:
        return GridUnavailable(self.source, reason, remedy)

    def _hidden(self, text: str, headers: Mapping[str, str] | None) -> str:
        for secret in {*self._headers.values(), *self._params.values(), *(headers or {}).values()}:
            for part in {secret, secret.rpartition(" ")[2]}:  # "Bearer TOKEN"
                if len(part) >= _SHORTEST_SECRET:
                    for shown in {part, quote(part), quote(part, safe=""), quote_plus(part)}:
                        text = text.replace(shown, "***")
        return text


def fresh_until(window: Interval, now: datetime, step_s: float) -> datetime:
    """How long an answer for `window` holds: to the end of the running step; a day where the window is long over.

    What is younger than a day may still get meters in, and older figures are revised, though rarely.
    """
    if window.end.timestamp() + _SETTLED_S > now.timestamp():
        return datetime.fromtimestamp((now.timestamp() // step_s + 1) * step_s, UTC)
    return now + timedelta(days=1)


def cache_folder() -> Path:
    """Where answers are kept (see above for the environment)."""
    if given := os.environ.get("OUTWEIGH_CACHE_DIR"):
        return Path(given)
    root = os.environ.get("XDG_CACHE_HOME")
    return (Path(root) if root else Path.home() / ".cache") / "outweigh"


def key_of(source: str, where_to_get: str) -> str:
    """The key of `source` from OUTWEIGH_<SOURCE>_KEY.

    Raises:
        GridUnavailable: there is none.
        UsageError: it holds what no key holds; it is not shown.
    """
    variable = f"OUTWEIGH_{_variable(source)}_KEY"
    key = os.environ.get(variable, "").strip()
    if not key:
        raise GridUnavailable(source, "it needs a key", f"{where_to_get}, then set {variable}")
    if not key.isascii() or not key.isprintable():
        raise UsageError(f"{variable} holds characters that no key has", "Copy it again")
    return key


def probed(
    source: str, sees: str, grade: Grade, *, key: bool = False, where_to_get: str = "", improve: str = ""
) -> Availability:
    """Whether `source` can be asked, without asking it: are the packages here, is there a key?"""
    for package in _PACKAGES:
        if find_spec(package) is None:
            return Availability(
                source, usable=False, sees=sees, reason=f"the package {package} is not installed", remedy=INSTALL
            )
    if key:
        try:
            key_of(source, where_to_get)
        except GridUnavailable as err:
            return Availability(source, usable=False, sees=sees, reason=err.reason, remedy=err.remedy)
        except UsageError as err:
            return Availability(source, usable=False, sees=sees, reason=err.problem, remedy=err.remedy)
    return Availability(source, usable=True, sees=sees, grade=grade, improve=improve)


def _variable(source: str) -> str:
    return source.upper().replace("-", "_")


def _base_url(source: str, base_url: str) -> str:
    variable = f"OUTWEIGH_GRID_URL_{_variable(source)}"
    given = os.environ.get(variable, "").strip()
    if not given:
        return base_url
    if "@" in given:
        raise UsageError(f"{variable} holds a user or a password", "It would be shown: put it into a proxy of yours")
    try:
        parts = urlsplit(given)
        usable = parts.scheme in ("http", "https") and bool(parts.hostname) and (parts.port or 1) > 0
    except ValueError:
        usable = False
    if not usable or parts.query or parts.fragment:
        raise UsageError(f"{variable} is {given!r}, which is no address", "Write http://HOST:PORT or https://HOST/PATH")
    return given.rstrip("/")


def _message(body: bytes) -> str:
    """A provider's own words for its failure, as far as it has any: one line, cut short."""
    import json

    try:
        said = json.loads(body)
    except (ValueError, RecursionError):
        return ""
    for key in ("error", "message", "detail", "description", "msg"):
        while isinstance(said, dict) and key in said:
            said = said[key]
    if not isinstance(said, str):
        return ""
    line = " ".join(said.split())
    return "".join(one for one in line if one.isprintable())[:_SHOWN]


def _close(clients: tuple[httpx.Client, httpx.Client]) -> None:
    for client in clients:
        client.close()
