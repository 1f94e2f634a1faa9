"""The layers between a live grid source and its provider, on httpx. Imported when a request is made, never before.

From the caller down: the cache (hishel), retries with jitter (httpx-retries), then `Network`, which adds the keys,
keeps to the provider's limits and reads the whole answer. The keys are below the cache and the retries, so that
neither their files nor their logs ever hold one.
"""

from __future__ import annotations

import json
import logging
import math
import sqlite3
import time
import urllib.request
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from pathlib import Path

import hishel
import hishel.httpx
import httpx
import httpx_retries

from outweigh.backends.grid._manners import Manners, say_once
from outweigh.core.errors import GridBusy, GridDataInvalid, GridHeldBack
from outweigh.core.meaning import CLOCK_SLACK_S

CACHE_FILE = "grid-http.sqlite"
RETRIEVED = "outweigh-retrieved-at"
FRESH = "outweigh-fresh-until"

_CONNECT_S = 3.0
_LARGEST_ANSWER = 64_000_000  # bytes, unpacked
_LARGEST_CACHE = 256_000_000  # bytes; hishel makes room
_AGAIN = (429, 502, 503, 504)
_RETRIES = 2
_BACKOFF_S = 0.5
# What a bottom layer has unpacked, and what a cache should not keep of a person.
_DROPPED = frozenset({"content-encoding", "content-length", "transfer-encoding", "set-cookie"})
_LOOPBACK = frozenset({"127.0.0.1", "localhost", "::1"})
_CLOCK_REMEDY = "Check this machine's clock (timedatectl, ntpq)"


class Network(httpx.BaseTransport):
    """One request to one provider: signed, in its turn, read to the end.

    Raises:
        GridBusy: the provider's pause is longer than we wait; GridHeldBack: what its limit leaves us to wait is.
        GridDataInvalid: not what was asked for, too large, or stamped by a clock that is not ours.
    """

    def __init__(
        self,
        source: str,
        inner: httpx.BaseTransport,
        manners: Manners,
        *,
        headers: Mapping[str, str],
        params: Mapping[str, str],
        now: Callable[[], datetime],
        sleep: Callable[[float], None],
        timeout_s: float,
        patience_s: float,
        ban_s: float | None,
    ) -> None:
        self._source, self._inner, self._manners = source, inner, manners
        self._headers, self._params = dict(headers), dict(params)
        self._now, self._sleep, self._timeout_s, self._patience_s = now, sleep, timeout_s, patience_s
        self._ban_s = ban_s

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        self._wait_for_turn()
        where = f"{request.url.host}{request.url.path}"
        answer = self._read(self._inner.handle_request(self._signed(request)), where)
        now = self._now()
        pause_s = _pause_s(answer, now) if answer.status_code in _AGAIN else None
        if pause_s is None and answer.status_code == 429:
            pause_s = self._ban_s
        if pause_s is not None:
            if pause_s > self._patience_s:
                self._manners.pause(pause_s)
                raise busy(self._source, pause_s)
            answer.headers["Retry-After"] = str(math.ceil(pause_s))  # in seconds: our clocks need not agree
        if answer.is_success:
            self._check_clock(answer, now, where)
            if request.extensions.get("expects") == "json":
                parse_json(self._source, where, answer.content, answer.headers.get("content-type", ""))
        answer.headers[RETRIEVED] = now.isoformat()
        answer.headers[FRESH] = request.extensions.get("fresh_until", "")
        return answer

    def _wait_for_turn(self) -> None:
        left_s = self._patience_s
        while (turn := self._manners.ask()).wait_s > 0:
            wait_s = turn.wait_s
            # Less each time, whatever the clock does: one that stands still must not keep us here.
            if wait_s > left_s:
                raise busy(self._source, wait_s, ours=turn.ours)
            left_s -= max(wait_s, 0.1)
            self._sleep(wait_s)

    def _signed(self, request: httpx.Request) -> httpx.Request:
        headers = request.headers.copy()
        headers.update(self._headers)
        headers.update(request.extensions.get("secret_headers", {}))
        url = request.url.copy_merge_params(self._params) if self._params else request.url
        return httpx.Request(request.method, url, headers=headers, extensions=request.extensions)

    def _read(self, response: httpx.Response, where: str) -> httpx.Response:
        # A time-out of httpx is for each read; a server that drips would keep us for ever.
        until_s = time.monotonic() + self._timeout_s
        body = bytearray()
        try:
            for chunk in response.iter_bytes():
                body += chunk
                if len(body) > _LARGEST_ANSWER:
                    problem = f"its answer is larger than {_LARGEST_ANSWER // 1_000_000} MB"
                    raise GridDataInvalid(self._source, where, problem, "Ask for a shorter window")
                if time.monotonic() > until_s:
                    raise httpx.ReadTimeout("the answer does not end")
        finally:
            response.close()
        headers = [(name, value) for name, value in response.headers.multi_items() if name.lower() not in _DROPPED]
        return httpx.Response(response.status_code, headers=headers, content=bytes(body))

    def _check_clock(self, answer: httpx.Response, now: datetime, where: str) -> None:
        said = _http_date(answer.headers.get("date", ""))
        if said is None:
            return
        age = answer.headers.get("age", "0")  # RFC 9111, 5.1: how long it lay in caches on the way
        ahead_s = (now - said).total_seconds() - (float(age) if age.isdecimal() else 0.0)
        if abs(ahead_s) > CLOCK_SLACK_S:
            problem = f"this machine's clock is {abs(ahead_s):.0f} s {'ahead of' if ahead_s > 0 else 'behind'} its own"
            raise GridDataInvalid(self._source, where, problem, _CLOCK_REMEDY)

    def close(self) -> None:
        self._inner.close()


class ByInterval(hishel.SqliteStorage):
    """hishel's store with one rule more: an answer is fresh until the time it was stored for, by the source's clock."""

    def __init__(self, path: Path, now: Callable[[], datetime]) -> None:
        super().__init__(database_path=path, max_size=_LARGEST_CACHE)
        self._clock = now

    def get_entries(self, key: str) -> list[hishel.Entry]:
        fresh = []
        for entry in super().get_entries(key):
            until = entry.response.headers.get(FRESH)
            if until and self._clock() < datetime.fromisoformat(until):
                fresh.append(entry)
            else:
                self.remove_entry(entry.id)
        return fresh


class _Patient(httpx_retries.Retry):
    """Retries that wait by the source's own clock."""

    rest: Callable[[float], None] = time.sleep

    def sleep(self, response: httpx.Response | Exception) -> None:
        seconds = self._calculate_sleep(response.headers if isinstance(response, httpx.Response) else {})
        type(self).rest(seconds)
        self.elapsed_sleep += seconds


def connect(
    source: str,
    base_url: str,
    manners: Manners,
    *,
    headers: Mapping[str, str],
    params: Mapping[str, str],
    folder: Path | None,
    now: Callable[[], datetime],
    sleep: Callable[[float], None],
    timeout_s: float,
    patience_s: float,
    ban_s: float | None,
) -> tuple[httpx.Client, httpx.Client]:
    """Two clients of one provider: one that keeps answers, one that does not. Close both."""
    network = Network(
        source,
        httpx.HTTPTransport(proxy=_proxy(httpx.URL(base_url))),
        manners,
        headers=headers,
        params=params,
        now=now,
        sleep=sleep,
        timeout_s=timeout_s,
        patience_s=patience_s,
        ban_s=ban_s,
    )
    patient = type("Patient", (_Patient,), {"rest": staticmethod(sleep)})
    retrying = httpx_retries.RetryTransport(
        network,
        patient(
            total=_RETRIES,
            status_forcelist=_AGAIN,
            # Not what says that there is no network, nor what has already cost a time-out: another source is quicker.
            retry_on_exceptions=(httpx.ReadError, httpx.WriteError, httpx.RemoteProtocolError),
            backoff_factor=_BACKOFF_S,
            max_backoff_wait=patience_s,
            total_timeout=patience_s,
        ),
    )
    storage = _storage(folder, now)
    timeout = httpx.Timeout(timeout_s, connect=min(_CONNECT_S, timeout_s))
    plain = httpx.Client(transport=retrying, timeout=timeout)
    if storage is None:
        return plain, plain
    return httpx.Client(transport=hishel.httpx.CacheTransport(retrying, storage), timeout=timeout), plain


def parse_json(source: str, where: str, body: bytes, content_type: str = "") -> object:
    """The document in `body`; raises GridDataInvalid for what is none."""
    try:
        if "html" in content_type:
            raise ValueError("a web page")
        return json.loads(body)
    except (ValueError, RecursionError) as err:
        page = body.lstrip()[:1] == b"<"
        problem = "it answered a page, not JSON" if page else f"its answer is not JSON ({err})"
        remedy = "A proxy or a sign-in page may stand between; ask again later" if page else "Ask again later"
        raise GridDataInvalid(source, where, problem, remedy) from err


def busy(source: str, seconds: float, *, ours: bool = False) -> GridBusy:
    whole_s, kind = math.ceil(seconds), GridHeldBack if ours else GridBusy
    return kind(source, whole_s, f"Ask again in {whole_s} s, or take another source")


def _pause_s(answer: httpx.Response, now: datetime) -> float | None:
    """How long Retry-After asks us to wait [s]; None where it says nothing that can be read (RFC 9110, 10.2.3)."""
    asked = answer.headers.get("retry-after", "").strip()
    if asked.isascii() and asked.isdigit():
        return float(asked)
    until = _http_date(asked)
    if until is None:
        return None
    # Counted from the provider's own clock where it says what that shows.
    return max(0.0, (until - (_http_date(answer.headers.get("date", "")) or now)).total_seconds())


def _http_date(text: str) -> datetime | None:
    try:
        stamp = parsedate_to_datetime(text)
    except (TypeError, ValueError):
        return None
    return stamp if stamp.tzinfo else stamp.replace(tzinfo=UTC)


def _proxy(url: httpx.URL) -> str | None:
    """The proxy of the environment for this address; httpx leaves it out where a transport is given."""
    if url.host in _LOOPBACK or urllib.request.proxy_bypass(url.host):
        return None
    proxies = urllib.request.getproxies()
    return proxies.get(url.scheme) or proxies.get("all")


def _storage(folder: Path | None, now: Callable[[], datetime]) -> ByInterval | None:
    if folder is None:
        return None
    _listen_to_cache()
    try:
        folder.mkdir(parents=True, exist_ok=True)
        storage = ByInterval(folder / CACHE_FILE, now)
        with (folder / CACHE_FILE).open("ab"):
            pass
        storage.get_entries("")
    except (OSError, sqlite3.Error, RuntimeError) as err:
        say_once(f"answers cannot be kept in {folder} ({err}); each is fetched anew")
        return None
    return storage


class _CacheFailure(logging.Handler):
    """hishel logs a full disk with a traceback for every answer; a person needs one line, once."""

    def emit(self, record: logging.LogRecord) -> None:
        err = record.exc_info[1] if record.exc_info else None
        say_once(f"answers cannot be kept any more ({err or record.getMessage()}); each is fetched anew")


def _listen_to_cache() -> None:
    logger = logging.getLogger("hishel")
    if not any(isinstance(handler, _CacheFailure) for handler in logger.handlers):
        logger.addHandler(_CacheFailure(logging.WARNING))
