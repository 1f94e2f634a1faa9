"""Where a run is kept while it goes on and when it has ended: the ledger, and the journal beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from copy import copy
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from outweigh.app.files import find_ledger
from outweigh.core.budget import Phase
from outweigh.core.rounding import si

if TYPE_CHECKING:
    from outweigh.core.receipt import Receipt
    from outweigh.ledger import RunJournal
    from outweigh.measure import MeterSession, Window, WindowReading
    from outweigh.ports import Store

#: How often a run in flight writes down what it has seen [s]: what a kill may lose.
EVERY_S = 5.0
_SLACK_S = 0.25  # the journal turns down what comes early, and a ticker is never quite on time


class Kept:
    """An open ledger, with the runs that were cut off before brought in.

    Args:
        told: what to tell a person (a run was recovered).

    Raises:
        LedgerError: it cannot be opened or written.
    """

    def __init__(self, ledger: Path | str | None, told: Callable[[str], None] = lambda _: None) -> None:
        from outweigh.ledger import default_path, open_ledger, recover, running_folder

        self.where = find_ledger(ledger)
        self.store: Store = open_ledger(self.where)
        # In our own folder the journals have a folder of their own; a ledger elsewhere has one that bears its name, so
        # that two ledgers side by side do not recover each other's runs.
        path = None if isinstance(self.where, str) and "://" in self.where else Path(self.where)
        if path is None or path == default_path(path.parent.parent):
            self.folder = running_folder(Path.cwd() if path is None else path.parent.parent)
            self.folder.parent.mkdir(exist_ok=True)
        else:
            self.folder = path.with_name(f"{path.name}.running")
        for receipt in recover(self.store, self.folder):
            told(
                f"a run of {receipt.project} that was cut off on {receipt.interval.start:%Y-%m-%d %H:%M} UTC is now in "
                f"the ledger, {receipt.status}: {si(receipt.total.value.joules, 'J')} seen"
            )

    def journal(
        self,
        session: MeterSession,
        run_id: str,
        *,
        project: str,
        phase: Phase,
        unit: str = "",
        labels: Mapping[str, str] | None = None,
        every_s: float = EVERY_S,
    ) -> RunJournal:
        """Begin the journal of a run. Raises LedgerError when it cannot be written."""
        from outweigh.ledger import RunJournal
        from outweigh.measure.reading import common_scope
        from outweigh.measure.receipts import versions

        meter = session.meter
        return RunJournal(
            self.folder,
            run_id,
            project=project,
            phase=phase,
            meter=meter.name,
            scope=common_scope([channel.scope for channel in meter.channels if channel.counted]),
            grade=meter.grade,
            method=meter.method,
            source=meter.source,
            unit=unit,
            labels=labels,
            versions=versions(meter.source),
            every_s=every_s,
        )

    def close(self) -> None:
        self.store.close()


class Watched:
    """A window that is noted in a journal while it lasts; a context manager."""

    def __init__(self, session: MeterSession, journal: RunJournal | None, every_s: float = EVERY_S) -> None:
        self._session, self._journal = session, journal
        self._every_s = every_s
        self._window: Window = session.window()
        self.units: float | None = None

    def __enter__(self) -> Self:
        self._window.__enter__()
        self._ticker = self._session.clock.every(self._every_s + _SLACK_S, self.note)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self._ticker.stop()
        self.mark()

    def mark(self) -> None:
        """Let the window end here, unless it is marked again later."""
        self._window.__exit__(None, None, None)

    def leave(self) -> None:
        """Stop noting; the window ends where it was last marked."""
        self._ticker.stop()

    def so_far(self) -> WindowReading:
        """What was drawn from the beginning until now."""
        # A copy of an open window can be ended while the window itself goes on.
        until_now = copy(self._window)
        until_now.__exit__(None, None, None)
        return until_now.reading

    def note(self) -> None:
        """Write down what was seen so far."""
        if self._journal is not None:
            seen = self.so_far()
            self._journal.seen(seen.total, seen.hum, seen.work, units=self.units, notes=seen.notes)

    @property
    def reading(self) -> WindowReading:
        return self._window.reading


def receipt_named(receipt: Receipt, run_id: str) -> Receipt:
    """The receipt under the id its journal has."""
    from dataclasses import replace

    return replace(receipt, run_id=run_id)
