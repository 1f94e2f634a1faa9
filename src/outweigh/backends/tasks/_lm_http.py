"""Language models behind any server that speaks OpenAI's HTTP interface (vLLM, SGLang, llama.cpp, TensorRT-LLM …).

Answers are streamed, so that the time to the first token is seen. A server that is busy (429, 502, 503, 504) is asked
again after as long as it says (`Retry-After`), or a little longer each time where it says nothing.
"""

from __future__ import annotations

import email.utils
import hashlib
import json
import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from outweigh.backends.tasks._lm import NEEDED_BY, Asked, Completed, Scored, checked, until
from outweigh.backends.tasks._options import brief, nearest, need
from outweigh.core.errors import ModelError
from outweigh.core.variant import Option, Variant

_BUSY = (429, 502, 503, 504)
_FIRST_WAIT_S = 0.5
_KEYS = ("url", "model", "key_env")


@dataclass(frozen=True, slots=True)
class Address:
    """Where a server is. `key_env` names the environment variable that holds its key, "" for none."""

    url: str
    model: str
    key_env: str


def address_of(variant: Variant) -> Address | None:
    """The server a variant names: a URL, or a .json file with `url`, `model` and `key_env`; None for another model.

    Raises:
        ModelError: the file cannot be read, or says something else.
    """
    if variant.model.startswith(("http://", "https://")):
        return Address(variant.model.rstrip("/"), "", "")
    if not variant.model.endswith(".json"):
        return None
    path = Path(variant.model)
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as err:
        raise ModelError(variant.name, f"{path} cannot be read ({brief(err)})", "Give a server as JSON") from err
    strange = [name for name in said if name not in _KEYS] if isinstance(said, dict) else ["?"]
    if strange or not isinstance(said.get("url"), str) or not all(isinstance(value, str) for value in said.values()):
        remedy = nearest(strange[0], _KEYS) if strange else 'Write {"url": "http://host:8000/v1", "model": "name"}'
        raise ModelError(variant.name, f"{path.name} does not name a server", remedy)
    return Address(said["url"].rstrip("/"), said.get("model", ""), said.get("key_env", ""))


class HttpModel:
    """A client of one server; its methods may be called from several threads.

    Raises:
        ModelError: the server does not answer, or has no model of that name.
        MissingExtra: httpx is not installed.
    """

    def __init__(
        self, variant: Variant, address: Address, options: Mapping[str, Option],
        pause: Callable[[float], None] = time.sleep,
    ) -> None:  # fmt: skip
        self._name, self._address, self._pause = variant.name, address, pause
        self._httpx = need("httpx", "httpx", NEEDED_BY, "Run: pip install 'outweigh[http]'")
        self._retries, timeout_s = int(options["retries"]), float(options["timeout_s"])
        self._patience_s = timeout_s
        key = os.environ.get(address.key_env, "") if address.key_env else ""
        if address.key_env and not key:
            problem = f"the environment variable {address.key_env} is not set"
            raise ModelError(variant.name, problem, f"Put the key of {address.url} into it")
        limits = self._httpx.Limits(max_connections=int(options["concurrency"]))
        self._client = self._httpx.Client(
            timeout=timeout_s, headers={"Authorization": f"Bearer {key}"} if key else {}, limits=limits, trust_env=False
        )
        try:
            self._model = address.model or self._first_model()
        except ModelError:
            self._client.close()
            raise
        in_force = {
            "url": address.url, "model": self._model,
            **{name: options[name] for name in ("chat", "concurrency")},
        }  # fmt: skip
        # The weights are out of sight: what is pinned is who was asked, and for what.
        self.content_hash = hashlib.sha256(json.dumps(in_force, sort_keys=True).encode()).hexdigest()

    def score(self, text: str) -> Scored:
        body = {"prompt": text, "max_tokens": 0, "echo": True, "logprobs": 1, "temperature": 0.0}
        began_s = time.perf_counter()
        answer = self._posted("/completions", body)
        seconds = time.perf_counter() - began_s
        try:
            told = answer["choices"][0]["logprobs"]
            tokens, logs, tops = told["tokens"], told["token_logprobs"], told["top_logprobs"]
            pairs = [
                (float(log), max(top, key=top.__getitem__) == token)
                for token, log, top in zip(tokens, logs, tops, strict=True)
                if log is not None and top
            ]
        except (KeyError, IndexError, TypeError, ValueError) as err:
            raise self._no_likelihoods() from err
        # A server that ignores `echo` tells of what it wrote, not of what it was given.
        if "".join(tokens).strip() not in (text.strip(), "") and len("".join(tokens)) < len(text) // 2:
            raise self._no_likelihoods()
        found, likeliest = [log for log, _ in pairs], tuple(best for _, best in pairs)
        return Scored(checked(self._name, found, text), likeliest, len(tokens), seconds)

    def complete(self, prompt: str, asked: Asked) -> Completed:
        shared: dict[str, object] = {
            "max_tokens": asked.max_tokens, "temperature": 0.0, "stream": True,
            "stream_options": {"include_usage": True}, **({"stop": [asked.stop]} if asked.stop else {}),
        }  # fmt: skip
        if asked.chat:
            path, body = "/chat/completions", shared | {"messages": [{"role": "user", "content": prompt}]}
        else:
            path, body = "/completions", shared | {"prompt": prompt}
        asked_at_s = time.monotonic()
        pieces: list[str] = []
        came_at_s: list[float] = []
        usage: Mapping[str, Any] = {}
        for event in self._streamed(path, body):
            usage = event.get("usage") or usage
            for choice in event.get("choices") or ():
                piece = choice.get("text") or (choice.get("delta") or {}).get("content") or ""
                if piece:
                    pieces.append(piece)
                    came_at_s.append(time.monotonic())
        done_s = time.monotonic()
        first_s = came_at_s[0] if came_at_s else done_s
        # Without a count of its own, a server that sends token by token is counted by what it sent.
        tokens_out = int(usage.get("completion_tokens", len(pieces)))
        return Completed(
            until("".join(pieces), asked.stop), int(usage.get("prompt_tokens", 0)), tokens_out, first_s - asked_at_s,
            done_s - first_s, tuple(came_at_s), asked_at_s,
        )  # fmt: skip

    def close(self) -> None:
        self._client.close()

    def _first_model(self) -> str:
        answer = self._answered("GET", "/models", None)
        try:
            return str(answer["data"][0]["id"])
        except (KeyError, IndexError, TypeError) as err:
            raise self._wrong("lists no model", "Name one: `model` in the server's .json file") from err

    def _posted(self, path: str, body: Mapping[str, object]) -> Any:
        return self._answered("POST", path, {"model": self._model, **body})

    def _answered(self, method: str, path: str, body: object) -> Any:
        with self._response(method, path, body) as response:
            try:
                response.read()
                return response.json()
            except self._httpx.TransportError as err:
                raise self._lost(err) from err
            except ValueError as err:
                raise self._wrong("does not answer in JSON", "Check the address: it ends in /v1 as a rule") from err

    def _streamed(self, path: str, body: Mapping[str, object]) -> Iterator[Mapping[str, Any]]:
        """Events of one answer (server-sent events: lines of "data: {json}", then "data: [DONE]")."""
        with self._response("POST", path, {"model": self._model, **body}) as response:
            try:
                for line in response.iter_lines():
                    said = line.removeprefix("data:").strip() if line.startswith("data:") else ""
                    if not said:
                        continue
                    if said == "[DONE]":
                        return
                    event = json.loads(said)
                    if "error" in event:
                        raise self._wrong(f"breaks off ({event['error']})", "Look at its log")
                    yield event
            except self._httpx.TransportError as err:
                raise self._lost(err) from err
            except (ValueError, TypeError) as err:
                raise self._wrong(f"streams what is no JSON ({brief(err)})", "Check the address") from err

    def _response(self, method: str, path: str, body: object) -> Any:
        """An open answer of status 200, to be closed; asks again while the server is busy."""
        began_s = time.monotonic()
        for attempt in range(self._retries + 1):
            request = self._client.build_request(method, self._address.url + path, json=body)
            try:
                response = self._client.send(request, stream=True)
            except self._httpx.TimeoutException as err:
                raise self._lost(err) from err
            except (self._httpx.TransportError, self._httpx.InvalidURL) as err:
                problem = f"{self._address.url} does not answer ({brief(err)})"
                raise ModelError(self._name, problem, "Start the server, or check its address") from err
            if response.status_code == 200:
                return _Closing(response)
            with _Closing(response), suppress(self._httpx.TransportError):
                response.read()
            if response.status_code not in _BUSY:
                said = brief(ValueError(response.text))
                raise self._wrong(f"refuses {path} with {response.status_code} ({said})", "Check model, key and limits")
            wait_s = retry_after_s(response.headers.get("Retry-After", ""), datetime.now(UTC))
            wait_s = _FIRST_WAIT_S * 2**attempt if wait_s is None else wait_s
            left_s = self._patience_s - (time.monotonic() - began_s)
            if attempt == self._retries or wait_s > left_s:
                break
            self._pause(wait_s)
        remedy = "Lower `concurrency`, or raise `retries` and `timeout_s`"
        raise self._wrong(f"stays busy ({response.status_code}) after {attempt + 1} requests", remedy)

    def _wrong(self, problem: str, remedy: str) -> ModelError:
        return ModelError(self._name, f"{self._address.url} {problem}", remedy)

    def _lost(self, err: Exception) -> ModelError:
        kind = "takes too long" if isinstance(err, self._httpx.TimeoutException) else "breaks off"
        return self._wrong(f"{kind} ({brief(err)})", "Raise `timeout_s`, or look at the server's log")

    def _no_likelihoods(self) -> ModelError:
        return self._wrong(
            "does not tell how likely a given text is (`echo` with `logprobs`)",
            "Use a server that does, such as vLLM; or set the task option `measure` to 'exact-match'",
        )


class _Closing:
    """An open answer that is closed on leaving, whatever happened."""

    def __init__(self, response: Any) -> None:
        self._response = response

    def __enter__(self) -> Any:
        return self._response

    def __exit__(self, *_: object) -> None:
        self._response.close()


def retry_after_s(said: str, now: datetime) -> float | None:
    """Seconds to wait by a `Retry-After` header, a number or a date (RFC 9110, 10.2.3); None when it says neither.

    >>> from datetime import datetime, UTC
    >>> now = datetime(1999, 12, 31, 23, 59, 50, tzinfo=UTC)
    >>> retry_after_s("120", now), retry_after_s("Fri, 31 Dec 1999 23:59:59 GMT", now), retry_after_s("soon", now)
    (120.0, 9.0, None)
    """
    if said.strip().isdecimal():
        return float(said)
    try:
        when = email.utils.parsedate_to_datetime(said)
    except ValueError:
        return None
    when = when if when.tzinfo else when.replace(tzinfo=UTC)
    return max(0.0, (when - now).total_seconds())
