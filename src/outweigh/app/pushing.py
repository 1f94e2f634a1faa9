"""This machine's receipts to a server: what `outweigh ledger push` does, once or as long as it is let."""

from __future__ import annotations

import os
import random
import stat
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from outweigh.app.files import find_ledger
from outweigh.app.keeping import beside
from outweigh.core.errors import LedgerError, ServerUnavailable, UsageError
from outweigh.ledger import default_path, in_flight, open_ledger, recover
from outweigh.ledger.pushing import Counts, Pushed, PushQueue, Receiver, push, queue_path
from outweigh.ledger.pushing.http import Address, HttpReceiver
from outweigh.ledger.pushing.queue import MOST_RECEIPTS
from outweigh.ports import KeepsChain

if TYPE_CHECKING:
    from outweigh.ports import Store

TOKEN = "OUTWEIGH_TOKEN"
#: The longest pause of a follower whose server is away [s]; a lost hour costs nothing, since nothing is lost.
LONGEST_PAUSE_S = 300.0


@dataclass(frozen=True, slots=True)
class Told:
    """Whom to tell what: sentences for a person, and how far it is: (what, fraction in [0, 1])."""

    note: Callable[[str], None] = lambda _: None
    progress: Callable[[str, float], None] = lambda _what, _fraction: None


@dataclass(frozen=True, slots=True)
class Outgoing:
    """What is pushed where.

    Attributes:
        ledger: path or URL, as `find_ledger` gives it.
        address: of the server.
        most: how many receipts the queue holds at the most.
    """

    ledger: Path | str
    address: Address
    most: int = MOST_RECEIPTS

    @classmethod
    def named(
        cls, url: str, ledger: str | None = None, *, plain_http: bool = False, most: int = MOST_RECEIPTS
    ) -> Outgoing:
        """As it was typed. Raises UsageError for what is no server's address."""
        return cls(find_ledger(ledger), Address.checked(url, plain_http=plain_http), most)

    @contextmanager
    def queue(self) -> Iterator[PushQueue]:
        """The queue, for this process alone. Raises LedgerError when another one empties it."""
        with PushQueue(self.queue_file, most=self.most) as queue:
            if not queue.alone():
                raise LedgerError(
                    str(self.queue_file), "another process pushes this ledger to that server", "Let it, or stop it"
                )
            yield queue

    @property
    def queue_file(self) -> Path:
        """Where the queue is: beside the ledger; that of a ledger on a server, in the current folder."""
        if isinstance(self.ledger, str) and "://" in self.ledger:
            return queue_path(Path.cwd() / ".outweigh" / "push", self.address.url, self.ledger.rpartition("@")[2])
        path = Path(self.ledger)
        root = path.parent.parent
        own = path.absolute() == default_path(root).absolute()
        return queue_path(path.parent / "push" if own else path.with_name(f"{path.name}.push"), self.address.url)


def token_of(file: Path | None, told: Told) -> str:
    """The token from a file, or from the environment; "" where there is neither.

    Raises:
        UsageError: the file cannot be read, or is empty.
    """
    if file is None:
        return os.environ.get(TOKEN, "").strip()
    try:
        token = file.read_text(encoding="utf-8").strip()
        mode = file.stat().st_mode
    except (OSError, UnicodeDecodeError) as err:
        reason = err.strerror if isinstance(err, OSError) else "it is not text"
        raise UsageError(
            f"the token in {file} cannot be read ({reason})", "Write it there, for this user only"
        ) from err
    if not token:
        raise UsageError(f"{file} is empty", "Write the token into it")
    if os.name == "posix" and mode & (stat.S_IRGRP | stat.S_IROTH):
        told.note(f"others can read the token in {file}: chmod 600 {file}")
    return token


def push_once(outgoing: Outgoing, receiver: Receiver, told: Told) -> dict[str, Any]:
    """Take in what the ledger has, send all that waits, and again until nothing is left.

    Raises:
        ServerUnavailable, UsageError, LedgerError: what was not acknowledged waits in the queue.
    """
    with outgoing.queue() as queue, closing(open_ledger(outgoing.ledger, create=False)) as store:
        _recover(outgoing, told)
        done = _emptied(queue, store, receiver, told)
        return _row(outgoing, done, queue.counts())


def follow(
    outgoing: Outgoing,
    receiver: Receiver,
    told: Told,
    *,
    every_s: float,
    answered: Callable[[dict[str, Any]], None] = lambda _: None,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Go on pushing what the ledger gets, until interrupted. A server that is away is waited for, longer each time.

    Args:
        every_s: how often to look for new receipts [s].
        answered: told what each look sent, where it sent anything.
        sleep: how to wait [s].

    Raises:
        UsageError: a wrong token or address: waiting would not mend that.
        LedgerError: the queue cannot be written, or the server refuses everything.
    """
    away, missing = 0, False
    with outgoing.queue() as queue, closing(_Ledger(outgoing.ledger)) as ledger:
        while True:
            try:
                _recover(outgoing, told)
                done = _emptied(queue, ledger.store(), receiver, told)
                missing = False
            except ServerUnavailable as err:
                if away == 0:
                    told.note(f"{err} {queue.counts().waiting} receipts wait; it is tried again and again")
                away += 1
                sleep(_pause_s(away, every_s, err.retry_after_s))
                continue
            except LedgerError as err:
                # A fresh node has no ledger before its first run; anything else that is wrong with it stays wrong.
                if not _has_none_yet(outgoing.ledger):
                    raise
                if not missing:
                    told.note(f"there is no ledger yet ({err.path}); the first run starts one")
                missing = True
                sleep(every_s)
                continue
            if away:
                told.note(f"{outgoing.address.url} answers again")
                away = 0
            if done != Pushed():
                answered(_row(outgoing, done, queue.counts()))
            sleep(every_s)


class _Ledger:
    """The ledger, kept open from one look to the next: to look is one query then, and an agent looks all day.

    A file that was taken away or replaced is opened anew: a handle would go on reading what is no longer there.
    """

    def __init__(self, location: Path | str) -> None:
        self._location = location
        self._opened: Store | None = None
        self._file: tuple[int, int] | None = None

    def store(self) -> Store:
        """Raises LedgerError where there is none."""
        file = self._now()
        if self._opened is None or file != self._file:
            self.close()
            self._opened, self._file = open_ledger(self._location, create=False), file
        return self._opened

    def close(self) -> None:
        if self._opened is not None:
            self._opened.close()
            self._opened = None

    def _now(self) -> tuple[int, int] | None:
        if isinstance(self._location, str) and "://" in self._location:
            return None
        try:
            found = Path(self._location).stat()
        except OSError:
            return None
        return found.st_dev, found.st_ino


def standing(outgoing: Outgoing) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """How the queue stands, and what the server refused, without asking it."""
    with PushQueue(outgoing.queue_file, most=outgoing.most) as queue:
        refused = [
            {"receipt": one.address, "status": one.status, "reason": one.reason, "at": one.at} for one in queue.aside()
        ]
        return _row(outgoing, Pushed(), queue.counts()), refused


def take_back(outgoing: Outgoing) -> int:
    """Let what was refused wait again; how many. Raises LedgerError while another process pushes."""
    with outgoing.queue() as queue:
        return queue.take_back()


# --- in private ---------------------------------------------------------------------------------------


def _emptied(queue: PushQueue, store: Store, receiver: Receiver, told: Told) -> Pushed:
    if not isinstance(store, KeepsChain):
        raise UsageError("this ledger keeps no hash chain to push along", "Use `outweigh ledger export`")
    total, was_full = Pushed(), False
    while True:
        filled = queue.fill(store)
        if filled.anew:
            told.note("this is another ledger than the last time: it is read from its beginning, nothing is sent twice")
        waiting = queue.counts().waiting
        if waiting == 0 and filled.full:
            counts = queue.counts()
            raise LedgerError(
                str(queue.path),
                f"the queue is full of {counts.aside} receipts that the server refuses; the rest waits in the ledger",
                "See --status, mend it and --retry-refused, or raise --queue-size",
            )
        if filled.full and not was_full:
            told.note(f"the queue is full with {waiting} receipts; the rest waits in the ledger until there is room")

        def so_far(done: Pushed, of: int = waiting) -> None:
            told.progress(f"{done.sent} of {of} receipts", min(1.0, (done.sent + done.aside) / of) if of else 1.0)

        done = push(queue, receiver, so_far)
        was_full = filled.full
        total = Pushed(total.sent + done.sent, total.already + done.already, total.aside + done.aside)
        if not filled.full:
            return total


def _recover(outgoing: Outgoing, told: Told) -> None:
    """Bring in runs that were cut off, so that their receipts go along."""
    folder, _ = beside(outgoing.ledger)
    if not folder.is_dir() or not any(folder.iterdir()) or len(in_flight(folder)) == len(list(folder.glob("*.jsonl"))):
        return
    with closing(open_ledger(outgoing.ledger)) as store:
        for receipt in recover(store, folder):
            told.note(f"run {receipt.run_id} had been cut off and is now in the ledger, {receipt.status}")


def _has_none_yet(ledger: Path | str) -> bool:
    return not (isinstance(ledger, str) and "://" in ledger) and not Path(ledger).exists()


def _pause_s(tries: int, every_s: float, asked_s: float) -> float:
    """Longer each time, with jitter: a thousand agents must not come back in the same second."""
    longest = min(LONGEST_PAUSE_S, max(every_s, 1.0) * 2.0 ** min(tries, 16))
    return max(asked_s, random.uniform(0.5, 1.0) * longest)


def _row(outgoing: Outgoing, done: Pushed, counts: Counts) -> dict[str, Any]:
    return {
        "server": outgoing.address.url,
        "sent": done.sent,
        "already_there": done.already,
        "refused": done.aside,
        "waiting": counts.waiting,
        "set_aside": counts.aside,
        "sent_ever": counts.sent,
        "queue": str(outgoing.queue_file),
    }


def open_receiver(outgoing: Outgoing, token: str, *, ca: Path | None, patience_s: float) -> HttpReceiver:
    """The server over HTTP. Raises MissingExtra, UsageError."""
    return HttpReceiver(outgoing.address, token, ca=ca, patience_s=patience_s)
