"""A forge's REST API: one request at a time, patient where the forge asks for it, and never longer than a minute."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from outweigh.core.errors import MissingExtra, OutweighError

if TYPE_CHECKING:
    import httpx

#: Requests of one call, the first included, and the longest that all their waiting may take together [s].
_TRIES, _PATIENCE_S = 4, 60.0
_TIMEOUT_S = 20.0


class CommentNotPosted(OutweighError):
    """The forge did not take the comment. `read_only` when the token may not write: another job can."""

    def __init__(self, where: str, reason: str, read_only: bool, remedy: str) -> None:
        super().__init__(where, reason, read_only, remedy)
        self.where, self.reason, self.read_only = where, reason, read_only

    def __str__(self) -> str:
        return f"{self.where} did not take the comment: {self.reason}. {self.remedy}"


class Api:
    """A client of one forge.

    Args:
        base_url: of the API; every request goes there and nowhere else, redirects are not followed: they would carry
            the token along.
        headers: with the token.
        wait: how to wait [s].
    """

    def __init__(
        self, base_url: str, headers: Mapping[str, str], *, wait: Callable[[float], None] = time.sleep
    ) -> None:
        try:
            import httpx
        except ImportError as err:
            raise MissingExtra("httpx", "posting a comment", "Run: pip install 'outweigh[http]'") from err
        self._httpx = httpx
        self._where, self._wait = base_url, wait
        try:
            self._client = httpx.Client(base_url=base_url, headers=dict(headers), timeout=_TIMEOUT_S)
        except httpx.InvalidURL as err:
            raise CommentNotPosted(base_url, f"that is no address ({err})", False, "Check its API URL") from err

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._client.close()

    def call(self, method: str, path: str, body: Mapping[str, object] | None = None, **query: str | int) -> Any:
        """One request; its JSON answer.

        Retry-After and GitHub's x-ratelimit-reset are honoured where the wait is short enough; a request that may have
        been carried out is not sent twice.

        Raises:
            CommentNotPosted: the forge cannot be reached, or refuses.
        """
        patience_s = _PATIENCE_S
        for attempt in range(1, _TRIES + 1):
            try:
                answer = self._client.request(method, path, json=body, params=dict(query))
            except self._httpx.TransportError as err:
                # What never left may go out again; so may a question. An order without an answer may be done already.
                unsent = isinstance(err, self._httpx.ConnectError | self._httpx.ConnectTimeout)
                wait_s: float | None = 2.0 ** (attempt - 1) if unsent or method == "GET" else None
                problem, read_only = f"it cannot be reached ({type(err).__name__})", False
            else:
                if answer.is_success:
                    return self._json(answer)
                wait_s = _asked_to_wait_s(answer, attempt)
                problem, read_only = _refusal(answer), answer.status_code in (401, 403, 404) and wait_s is None
            if wait_s is None or attempt == _TRIES or wait_s > patience_s:
                break
            patience_s -= wait_s
            self._wait(wait_s)
        remedy = "Post it from a job whose token may write: `outweigh gate comment --file comment.md`"
        raise CommentNotPosted(self._where, problem, read_only, remedy)

    def _json(self, answer: httpx.Response) -> Any:
        try:
            return answer.json()
        except ValueError as err:
            raise CommentNotPosted(self._where, "its answer is not JSON", False, "Check its API URL") from err


def _asked_to_wait_s(answer: httpx.Response, attempt: int) -> float | None:
    """How long to wait before asking again [s]; None where asking again is no use.

    Sources: RFC 9110, 10.2.3 (Retry-After: seconds or a date) and 15.6.4; GitHub REST API, "Rate limits" (403 or 429
    with retry-after, or x-ratelimit-remaining 0 and x-ratelimit-reset in seconds of the Unix epoch).
    """
    if answer.status_code not in (403, 429, 500, 502, 503, 504):
        return None
    after = answer.headers.get("retry-after", "")
    if after.isdigit():
        return float(after)
    now = datetime.now(UTC)
    if after:
        try:
            return max(0.0, (parsedate_to_datetime(after) - now).total_seconds())
        except (ValueError, TypeError):
            return None
    if answer.headers.get("x-ratelimit-remaining") == "0":
        reset = answer.headers.get("x-ratelimit-reset", "")
        return max(0.0, float(reset) - now.timestamp()) if reset.isdigit() else None
    if answer.status_code == 403:
        return None
    # A server that failed halfway through an order may have carried it out; a question can be asked again.
    return 2.0 ** (attempt - 1) if answer.status_code in (429, 503) or answer.request.method == "GET" else None


def _refusal(answer: httpx.Response) -> str:
    said = ""
    try:
        body = answer.json()
        said = str(body.get("message", "")) if isinstance(body, dict) else ""
    except ValueError:
        pass
    return f"{answer.status_code} {said or answer.reason_phrase}".strip()
