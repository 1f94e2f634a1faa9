"""Bodies, read whole before anybody looks at them: only so large, and only for so long."""

from __future__ import annotations

import asyncio

from starlette.types import Message, Receive, Scope, Send

READ_S = 30.0
_RECEIPTS = 8 * 1024 * 1024
_DOCUMENT = 4 * 1024 * 1024
_ELSE = 512 * 1024
#: What a client goes on sending after it was refused is thrown away, so much of it, for so long, and while something
#: comes [bytes, s, s].
_DISCARDED, _DISCARD_S, _QUIET_S = 64 * 1024 * 1024, 10.0, 1.0
_LIMITS = {"/api/v1/receipts": _RECEIPTS, "/api/v1/plans": _DOCUMENT, "/api/v1/verdicts": _DOCUMENT}


class BodyRefused(Exception):
    """`status` is 413 or 408, 400 for a client that went away or said a length that is none."""

    def __init__(self, status: int, detail: str) -> None:
        super().__init__(status, detail)
        self.status, self.detail = status, detail


def limit_of(path: str) -> int:
    """The largest body [bytes] that path takes."""
    return _LIMITS.get(path, _ELSE)


async def read(scope: Scope, receive: Receive, length: str | None, *, read_s: float | None = None) -> Receive:
    """The body, read; returns what hands it on. Raises BodyRefused.

    Args:
        length: the Content-Length, if one was said: one too large is refused before the first byte.
    """
    limit = limit_of(scope["path"])
    too_large = f"a body may have {limit // 1024:,} KiB here; send less at a time"
    if length is not None:
        # h11 has checked that it is a number; one of thousands of digits is still no int.
        if not length.isdigit() or len(length) > 15:
            raise BodyRefused(400, "the Content-Length is no length")
        if int(length) > limit:
            raise BodyRefused(413, too_large)
    chunks = bytearray()
    try:
        async with asyncio.timeout(READ_S if read_s is None else read_s):
            while True:
                message = await receive()
                if message["type"] == "http.disconnect":
                    raise BodyRefused(400, "the body ended before its end")
                chunks += message.get("body", b"")
                if len(chunks) > limit:
                    raise BodyRefused(413, too_large)
                if not message.get("more_body", False):
                    break
    except TimeoutError:
        raise BodyRefused(408, f"the body did not come within {READ_S:.0f} s") from None
    whole: Message = {"type": "http.request", "body": bytes(chunks), "more_body": False}
    waiting = [whole]

    async def again() -> Message:
        return waiting.pop() if waiting else await receive()

    return again


def lingering(send: Send, receive: Receive) -> Send:
    """Sends an answer to a client that may still be sending: its end comes once that has stopped.

    A connection that is closed over bytes nobody read is reset, and the client may lose the answer with it (RFC 9112,
    9.6). The answer itself does not wait, and what comes meanwhile is thrown away.
    """

    async def sending(message: Message) -> None:
        if message["type"] != "http.response.body" or message.get("more_body", False):
            await send(message)
            return
        await send({**message, "more_body": True})
        await _discard(receive)
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    return sending


async def _discard(receive: Receive) -> None:
    left = _DISCARDED
    try:
        async with asyncio.timeout(_DISCARD_S):
            while left > 0:
                async with asyncio.timeout(_QUIET_S):
                    message = await receive()
                left -= len(message.get("body", b""))
                if message["type"] == "http.disconnect" or not message.get("more_body", False):
                    return
    except TimeoutError:
        return
