"""A connection that waits only so long, for the head of a request and for a reader: uvicorn itself waits for ever."""

from __future__ import annotations

import asyncio
import sys
from typing import Any

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEAD_S = 10.0
TAKEN_S = 30.0
# Shorter than `timeout_graceful_shutdown`: what uvicorn cancels then would go on waiting for the reader.
STOP_S = 4.0


class PatientProtocol(H11Protocol):
    """HTTP/1.1 by h11, closed when the head of a request is not there within `HEAD_S` of its connection or first byte.

    Closed too when its reader takes nothing of an answer for `TAKEN_S`, or, once the server stops, has not taken all of
    it within `STOP_S`. Bodies have a time of their own, in `bodies`; a connection that rests between two requests has
    uvicorn's.
    """

    _head_due: asyncio.TimerHandle | None = None
    _taken_due: asyncio.TimerHandle | None = None
    _stop_due: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        # Writing pauses with the first byte that the kernel does not take. By default up to 64 KiB lie there untimed,
        # and closing waits until they are taken.
        transport.set_write_buffer_limits(high=0)
        self._await_head()

    def connection_lost(self, exc: Exception | None) -> None:
        self._head_is_here()
        self._is_taken()
        if self._stop_due is not None:
            self._stop_due.cancel()
        super().connection_lost(exc)

    def pause_writing(self) -> None:
        super().pause_writing()
        self._await_reader()

    def resume_writing(self) -> None:
        self._is_taken()
        super().resume_writing()

    def shutdown(self) -> None:
        super().shutdown()
        self._stop_due = self.loop.call_later(STOP_S, self._not_taken)

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

    def _await_reader(self) -> None:
        self._taken_due = self.loop.call_later(TAKEN_S, self._look, self._left())

    def _is_taken(self) -> None:
        if self._taken_due is not None:
            self._taken_due.cancel()
            self._taken_due = None

    def _look(self, before: int) -> None:
        # Nothing but an answer's last bytes was added meanwhile: whoever sends waits until everything is taken.
        if self._left() < before:
            self._await_reader()
        else:
            self._not_taken()

    def _left(self) -> int:
        """Bytes that the reader has not taken, with the kernel's where it says (POSIX).

        The kernel takes from us in bursts that can lie megabytes apart: ours alone would make a slow reader look like
        one that does not read.
        """
        ours = self.transport.get_write_buffer_size()
        try:
            import fcntl
            import termios
        except ImportError:
            return ours
        kept = fcntl.ioctl(self.transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(4))
        return ours + int.from_bytes(kept, sys.byteorder)

    def _not_taken(self) -> None:
        if self.transport.get_write_buffer_size():
            self.transport.abort()

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
