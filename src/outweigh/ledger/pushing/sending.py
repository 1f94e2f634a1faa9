"""Who empties the queue: batch by batch, until nothing waits or the server cannot be had."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from outweigh.core.errors import LedgerError
from outweigh.ledger.pushing.queue import Batch, PushQueue

#: So many refused in a row, and none taken, is not about the receipts any more.
_REFUSED_ALL = 10


@dataclass(frozen=True, slots=True)
class Accepted:
    """The server has them, durably: their addresses as it worked them out, and how many it had before."""

    addresses: tuple[str, ...]
    already: int


@dataclass(frozen=True, slots=True)
class TooLarge:
    """The server, or something on the way to it, takes no body of that size."""

    reason: str
    status: int = 413


@dataclass(frozen=True, slots=True)
class Refused:
    """The server will not have something in it, whatever is done; which receipt it is nobody has said."""

    status: int
    reason: str


class Receiver(Protocol):
    """A server that takes receipts.

    Fails with ServerUnavailable where trying later may do (no connection, 429, 5xx), after it has tried for a while
    itself; with UsageError where it will not (a wrong token, a certificate that does not hold, no such server).
    """

    where: str

    def send(self, batch: Batch) -> Accepted | TooLarge | Refused: ...


@dataclass(frozen=True, slots=True)
class Pushed:
    """What one emptying did: receipts taken by the server, of which it had `already` some, and those set aside."""

    sent: int = 0
    already: int = 0
    aside: int = 0


def push(queue: PushQueue, receiver: Receiver, told: Callable[[Pushed], None] = lambda _: None) -> Pushed:
    """Send everything that waits.

    A batch that the server will not take is halved until the receipt is found that it refuses; that one is set aside
    with the server's reason, and the others go on.

    Args:
        told: after every answer, with what was done so far.

    Raises:
        ServerUnavailable, UsageError: of the receiver. What was not acknowledged still waits.
        LedgerError: the queue cannot be written, the server answers other addresses than those sent, or refuses all.
    """
    done = Pushed()
    while (batch := queue.next_batch()) is not None:
        answer = receiver.send(batch)
        if isinstance(answer, Accepted):
            if set(answer.addresses) != set(batch.addresses):
                raise LedgerError(
                    receiver.where,
                    "it acknowledges other receipts than were sent, so nothing is taken as kept",
                    "Is it an outweigh server of this version, with nothing between that changes requests?",
                )
            queue.done(batch, already=answer.already)
            done = Pushed(done.sent + len(batch.addresses), done.already + answer.already, done.aside)
        elif len(batch.addresses) > 1:
            queue.split(batch)
            continue
        else:
            queue.set_aside(batch, answer.status, answer.reason)
            done = Pushed(done.sent, done.already, done.aside + 1)
            if done.sent == 0 and done.aside >= _REFUSED_ALL:
                raise LedgerError(
                    receiver.where,
                    f"it refuses every receipt ({answer.status}: {answer.reason}); {done.aside} are set aside",
                    "Mend that, then `outweigh ledger push URL --retry-refused`; the others wait",
                )
        told(done)
    return done
