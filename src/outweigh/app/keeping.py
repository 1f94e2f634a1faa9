"""Where a run is kept while it goes on and when it has ended: the ledger, and the journal and samples beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Self

from outweigh.app.files import find_ledger
from outweigh.app.surroundings import Surroundings
from outweigh.core.budget import Phase
from outweigh.core.errors import LedgerError, MissingExtra
from outweigh.core.rounding import si

if TYPE_CHECKING:
    from datetime import datetime

    from outweigh.app.sitting import Sat
    from outweigh.core.intervals import Interval
    from outweigh.core.receipt import Receipt
    from outweigh.ledger import RunJournal
    from outweigh.measure import MeterSession, Window, WindowReading
    from outweigh.ports import Store

#: How often a run in flight writes down what it has seen [s]: what a kill may lose.
EVERY_S = 5.0
_SLACK_S = 0.25  # the journal turns down what comes early, and a ticker is never quite on time
_SHORTEST_TRACE_S = 1.0  # a shorter run has no course worth keeping
#: The channel that samples of a whole meter are kept under.
WHOLE = "total"


def beside(ledger: Path | str, here: Path | None = None) -> tuple[Path, Path]:
    """The folders of runs in flight and of samples that belong to a ledger.

    In our own folder they have folders of their own; a ledger elsewhere has ones that bear its name, so that two
    ledgers side by side do not recover each other's runs. A server's are in the folder `here`, by default the current
    one.
    """
    from outweigh.ledger import default_path, running_folder
    from outweigh.ledger.samples import samples_folder

    if isinstance(ledger, str) and "://" in ledger:
        here = here or Path.cwd()
        return running_folder(here), samples_folder(here)
    path = Path(ledger)
    root = path.parent.parent
    if path == default_path(root):
        return running_folder(root), samples_folder(root)
    return path.with_name(f"{path.name}.running"), path.with_name(f"{path.name}.samples")


class Kept:
    """An open ledger, with the runs that were cut off before brought in.

    Args:
        told: what to tell a person (a run was recovered).

    Raises:
        LedgerError: it cannot be opened or written.
    """

    def __init__(self, ledger: Path | str | None, told: Callable[[str], None] = lambda _: None) -> None:
        from outweigh.ledger import open_ledger, recover

        self.where = find_ledger(ledger)
        self.store: Store = open_ledger(self.where)
        self.folder, self.samples = beside(self.where)
        self.folder.parent.mkdir(exist_ok=True)
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
    """A window that is noted in a journal while it lasts; a context manager.

    Attributes:
        units: what was delivered so far, for the journal.
    """

    def __init__(
        self,
        session: MeterSession,
        journal: RunJournal | None,
        every_s: float = EVERY_S,
        around: Surroundings | None = None,
    ) -> None:
        self._session, self._journal, self._around = session, journal, around
        self._every_s = every_s
        self._window: Window = session.window()
        self._marked: WindowReading | None = None
        self._epoch_s = 0.0
        self.units: float | None = None

    def __enter__(self) -> Self:
        if self._around is not None:
            self._around.begin()
        # The stamp of a sample, as that of the window: the wall clock at the beginning, the monotonic one from there.
        clock = self._session.clock
        self._epoch_s = clock.utc().timestamp() - clock.monotonic_s()
        self._window.__enter__()
        self._ticker = self._session.clock.every(self._every_s + _SLACK_S, self.note)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.leave()

    def mark(self) -> WindowReading:
        """Remember what was drawn up to here, should nobody come back to end the window."""
        self._marked = self._window.so_far()
        return self._marked

    def leave(self, *, at_last_mark: bool = False) -> None:
        """End the window, here or where it was last marked."""
        self._ticker.stop()
        if not at_last_mark or self._marked is None:
            self._marked = None
            self._window.__exit__(None, None, None)
        if self._around is not None:
            self._around.end()

    def so_far(self) -> WindowReading:
        """What was drawn from the beginning until now."""
        return self._window.so_far()

    def note(self) -> None:
        """Write down what was seen so far."""
        if self._around is not None:
            self._around.look()
        if self._journal is not None:
            seen = self.so_far()
            self._journal.seen(seen.total, seen.hum, seen.work, units=self.units, notes=seen.notes)

    def trace(self) -> list[tuple[float, float]]:
        """Power over time of the session: (end of the step [s, Unix epoch], mean power of the step [W])."""
        begun_s = self._session.started_s + self._epoch_s
        return [(begun_s + t_s, power_w) for t_s, power_w in self._session.trace()]

    @property
    def reading(self) -> WindowReading:
        """What was drawn in all. Raises UsageError before the window has ended."""
        return self._marked if self._marked is not None else self._window.reading


def keep_trace(
    folder: Path, run_id: str, trace: Sequence[tuple[float, float]], within: Interval, about: Mapping[str, str]
) -> bool:
    """Keep a power trace as the samples of a run, where DuckDB is installed.

    Args:
        folder: of samples, as `beside` gives it.
        trace: (end of a step [s, Unix epoch], mean power of the step [W]).
        within: only the steps that end in it.
        about: texts for the segments' metadata: `receipt`, the address.

    Returns:
        Whether there was anything to keep, and DuckDB to keep it with.

    Raises:
        LedgerError: the samples cannot be written. The receipt is not touched by it.
    """
    from outweigh.ledger.samples import SampleWriter

    start_s, end_s = within.start.timestamp(), within.end.timestamp()
    inside = [(t_s, power_w) for t_s, power_w in trace if start_s < t_s <= end_s]
    if not inside:
        return False
    try:
        with SampleWriter(folder, run_id, longest_s=float("inf"), about=about) as writer:
            for t_s, power_w in inside:
                writer.append(t_s, WHOLE, power_w)
    except MissingExtra:
        return False  # `outweigh doctor` says so, once; a run is no place for it
    return True


def keep_trace_of(
    ledger: Path | str, batch: str, trace: Sequence[tuple[float, float]], started: datetime, within: Interval
) -> bool:
    """The same for a sitting, whose receipts share a batch: (seconds since `started`, power [W])."""
    begun_s = started.timestamp()
    _, folder = beside(ledger)
    return keep_trace(folder, batch, [(begun_s + t_s, w) for t_s, w in trace], within, {"batch": batch})


def keep_sitting(ledger: Path | str, sat: Sat) -> Sat:
    """Keep the power of a whole sitting as the samples of its batch; every receipt of it finds its own part there.

    Returns:
        The sitting; with a sentence more in its notes where the samples could not be written.
    """
    try:
        keep_trace_of(ledger, sat.batch, sat.trace, sat.started, sat.whole.total.interval)
    except LedgerError as err:
        return replace(sat, notes=(*sat.notes, f"power over time is not kept: {err}"))
    return sat


def finish(
    kept: Kept, journal: RunJournal, receipt: Receipt, watched: Watched | None, told: Callable[[str], None]
) -> tuple[str, str]:
    """Keep a run that is over: its receipt, then its samples. What it drew is lost to nothing that fails here.

    Returns:
        The receipt's address, and where it is kept: the ledger, or the journal when the ledger did not take it.
    """
    import json

    address = receipt.content_hash
    try:
        journal.finish(kept.store, receipt)
    except LedgerError as err:
        told(f"the run is over and its receipt is not in the ledger: {err}")
        if journal.trouble is None:
            told(f"It is in {journal.path}; the next `outweigh measure`, or `outweigh ledger recover`, brings it in")
            return address, str(journal.path)
        told("Nor can it be written beside the ledger. Keep this line, and bring it in with `outweigh ledger import`:")
        told(json.dumps({"receipt": address, "body": receipt.to_dict()}, ensure_ascii=False, separators=(",", ":")))
        return address, "the line above"
    if watched is not None and receipt.interval.seconds >= _SHORTEST_TRACE_S:
        try:
            keep_trace(kept.samples, receipt.run_id, watched.trace(), receipt.interval, {"receipt": address})
        except LedgerError as err:
            told(f"power over time is not kept: {err}")
    return address, str(kept.where)
