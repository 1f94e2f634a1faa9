"""Receipts of the jobs that a supervisor follows, with what was measured inside them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from outweigh.app.keeping import beside
from outweigh.core.errors import RunUnreadable
from outweigh.core.receipt import Receipt
from outweigh.ledger import recover
from outweigh.run.following import Following
from outweigh.run.inside import Insides
from outweigh.run.settling import receipt_body
from outweigh.run.tracked import Tracked


class ReceiptsOfJobs:
    """What a supervisor settles and appends with.

    Args:
        store: the ledger. where: what it was opened by.
        trial: nobody drew anything, so that no receipt is kept: whoever adds receipts up need not know of trials.
        told: what to tell a person.
    """

    def __init__(
        self, store: Any, where: Path | str, following: Following, *, trial: bool, told: Callable[[str], None]
    ) -> None:
        self._store, self._trial, self._told = store, trial, told
        self._insides = None if trial else Insides(store, following.first_rates.start)
        self._running, _ = beside(where, Path(following.cwd) if following.cwd else None)
        self._unreadable: set[str] = set()

    def settle(self, jobs: Sequence[Tracked], following: Following) -> list[dict[str, object]]:
        """The bodies of the receipts of jobs that have ended, in order. Raises LedgerError."""
        insides = self._insides
        if insides is None:
            return [receipt_body(job, following, trial=self._trial) for job in jobs]
        self._bring_in()
        return [receipt_body(job, following, trial=False, written=insides.of(job.key)) for job in jobs]

    def append(self, bodies: Sequence[Mapping[str, object]]) -> Sequence[str]:
        """Their addresses; "" where none is kept. Raises LedgerError."""
        if self._trial:
            return [""] * len(bodies)
        found: Sequence[str] = self._store.append_all([Receipt.from_dict(dict(body)) for body in bodies])
        return found

    def _bring_in(self) -> None:
        """What was measured inside jobs that were killed; a file that cannot be looked at holds up no job."""
        try:
            recover(self._store, self._running)
        except RunUnreadable as err:
            if err.path not in self._unreadable:
                self._told(f"{err}. What was measured inside a job that was killed may be missing on its receipt")
            self._unreadable.add(err.path)
