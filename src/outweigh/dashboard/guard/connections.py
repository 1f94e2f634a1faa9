"""A connection that waits for a request's head only so long: uvicorn itself waits for ever."""

from __future__ import annotations

import asyncio
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_S = 10.0


class PatientProtocol(H11Protocol):
    """HTTP/1.1 by h11, closed when the head of a request is not there within `HEAD_S` of its connection or first byte.

    Bodies have a time of their own, in `bodies`; a connection that rests between two requests has uvicorn's.
    """

    _head_due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_is_here()
        super().connection_lost(exc)

    def handle_events(self) -> None:
        super().handle_events()
        # h11 is IDLE as long as the head is not whole.
        if self.conn.their_state is not h11.IDLE:
            self._head_is_here()
        elif self._head_due is None and self.conn.trailing_data[0]:
            self._await_head()

    def _await_head(self) -> None:
        self._head_due = self.loop.call_later(HEAD_S, self._too_slow)

    def _head_is_here(self) -> None:
        if self._head_due is not None:
            self._head_due.cancel()
            self._head_due = None

    def _too_slow(self) -> None:
        self._head_due = None
        if self.transport.is_closing() or self.conn.their_state is not h11.IDLE:
            return
        body = b"the head of the request did not come in time"
        head: list[tuple[Any, Any]] = [
            (b"content-type", b"text/plain; charset=utf-8"),
            (b"content-length", str(len(body)).encode()),
            (b"connection", b"close"),
        ]
        for event in (h11.Response(status_code=408, headers=head), h11.Data(data=body), h11.EndOfMessage()):
            if data := self.conn.send(event):
                self.transport.write(data)
        self.transport.close()
