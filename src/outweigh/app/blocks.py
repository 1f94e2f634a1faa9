"""Measuring a stretch of a Python program: `with outweigh.measuring(...)` and `@outweigh.measured(...)`."""

from __future__ import annotations

import functools
import inspect
import os
import threading
import uuid
import warnings
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar, cast

from outweigh.app.files import find_ledger
from outweigh.app.keeping import EVERY_S, Kept, Watched, keep_trace
from outweigh.app.lines import LINE, Line, LineWatch
from outweigh.app.of_job import OfJob
from outweigh.app.surroundings import Surroundings, booked_on
from outweigh.core.budget import Phase
from outweigh.core.errors import LedgerError, OutweighError, UsageError
from outweigh.core.measurement import Measurement
from outweigh.core.quantities import Energy
from outweigh.core.receipt import Receipt, RunStatus
from outweigh.core.rounding import si
from outweigh.core.units import parse_energy

if TYPE_CHECKING:
    from outweigh.measure import MeterSession, WindowReading
    from outweigh.ports import Meter

#: A shorter block leaves no samples: its course is not worth the tenth of a second that writing it takes [s].
_SHORTEST_TRACE_S = 5.0

F = TypeVar("F", bound=Callable[..., Any])


class EnergyBudgetWarning(UserWarning):
    """A measured stretch drew, or may have drawn, more than its budget."""


class Run:
    """One measured stretch of a program; a context manager, made by `measuring`.

    However the stretch ends it leaves one receipt: completed; failed, when an exception leaves it; interrupted, on
    Ctrl-C or when an asyncio task is cancelled. A process that is killed leaves it too, at the next start.

    Attributes:
        units, unit: what the stretch delivered; set them inside it.
        labels: texts for the receipt; add to them inside it.
    """

    def __init__(
        self,
        name: str = "",
        *,
        phase: str | Phase = Phase.DEVELOPMENT,
        project: str = "",
        unit: str = "",
        labels: Mapping[str, str] | None = None,
        budget: Energy | str | None = None,
        meter: str | None = None,
        hum_s: float = 0.0,
        session: MeterSession | None = None,
        ledger: Path | str | None = None,
        owner: str = "",
        every_s: float = EVERY_S,
        line: Line | None = None,
    ) -> None:
        self.name, self.unit = name, unit
        self.units: float | None = None
        job = OfJob.found()
        self.labels = {
            **(job.labels if job else {}),
            **({"name": name} if name else {}),
            **({LINE: line.name} if line else {}),
            **(labels or {}),
        }
        self._line = line
        self._phase = Phase(phase)
        self._project = project
        self._budget = parse_energy(budget) if isinstance(budget, str) else budget
        self._meter, self._hum_s = meter, hum_s
        self._given, self._ledger, self._every_s = session, ledger, every_s
        self._owner = owner
        self._pid = os.getpid()
        self._watched: Watched | None = None
        self._receipt: Receipt | None = None
        self._address = ""

    # --- what it found --------------------------------------------------------------------------------

    @property
    def receipt(self) -> Receipt:
        """The receipt. Raises UsageError while the stretch goes on."""
        if self._receipt is None:
            raise UsageError("the run has not ended yet", "Read its receipt after the `with` block")
        return self._receipt

    @property
    def address(self) -> str:
        """Address of the receipt in the ledger; "" while there is none."""
        return self._address

    @property
    def energy(self) -> Energy:
        """What was drawn, hum and work together: so far, or in all once the run has ended."""
        if self._receipt is not None:
            return self._receipt.total.value
        return self.so_far().total.value

    @property
    def work(self) -> Energy | None:
        """What was drawn beyond the hum, so far or in all; None where no idle draw is known."""
        split = self._receipt.work if self._receipt is not None else self.so_far().work
        return None if split is None else split.value

    def so_far(self) -> WindowReading:
        """Hum and work from the beginning until now. Raises UsageError once the run has ended."""
        return self._open().so_far()

    # --- its life -------------------------------------------------------------------------------------

    def start(self) -> Self:
        """Begin. Raises MeterUnavailable or LedgerError before anything is measured."""
        if self._watched is not None or self._receipt is not None:
            raise UsageError("a run is measured once", "Make a new one for every stretch")
        self._pid = os.getpid()
        self._kept = _shared.kept(self._ledger)
        self._session = self._given if self._given is not None else _shared.take(self._meter)
        with ExitStack() as undo:
            undo.callback(self._give_back)
            if self._hum_s > 0:
                self._session.hum(self._hum_s)
            self._run_id = uuid.uuid4().hex
            self._project = booked_on(self._project)
            self._journal = self._kept.journal(
                self._session, self._run_id, project=self._project, phase=self._phase, unit=self.unit,
                labels=self.labels, every_s=self._every_s,
            )  # fmt: skip
            self._around = Surroundings(self._session, self._kept.folder, phase=self._phase, owner=self._owner)
            watched = Watched(self._session, self._journal, self._every_s, self._around)
            watched.__enter__()
            undo.pop_all()
        self._watched = watched
        return self

    def mark(self) -> WindowReading:
        """Let the run end here, should nobody come back to say more: what a framework calls after every step.

        Returns what was drawn up to here.
        """
        watched = self._open()
        watched.units = self.units
        return watched.mark()

    def line_watch(self, told: Callable[[str], None]) -> LineWatch:
        """The run against its budget, the line it is charged to or an energy of its own; says what is left of a line.

        Raises LedgerError when the ledger cannot be read.
        """
        self._open()
        watch = LineWatch(
            self._line, limit=self._budget, store=self._kept.store, folder=self._kept.folder, run_id=self._run_id,
            told=told,
        )  # fmt: skip
        watch.begin(self._session.clock.utc())
        return watch

    def finish(
        self, status: RunStatus = RunStatus.COMPLETED, *, at_last_mark: bool = False, note: str = ""
    ) -> Receipt | None:
        """End it and keep the receipt. Nothing happens in a forked child, whose run this is not, and None is returned.

        Raises LedgerError when the ledger does not take the receipt; `receipt` has it all the same, and the journal
        beside the ledger brings it in at the next start.
        """
        if self._pid != os.getpid():
            return None
        from outweigh.measure import receipt_for

        watched = self._open()
        self._watched = None
        watched.leave(at_last_mark=at_last_mark)
        notes = [note] if note else []
        reading = watched.reading
        over = None if self._budget is None else against_budget(reading.work or reading.total, self._budget)
        if over is not None:
            notes.append(over)
        try:
            receipt = receipt_for(
                reading,
                meter=self._session.meter.name,
                project=self._project,
                phase=self._phase,
                status=status,
                units=self.units,
                unit=self.unit,
                meter_cost=self._session.cost(),
                labels=self.labels,
                notes=notes,
                run_id=self._run_id,
            )
            self._receipt = self._around.on(receipt)
            self._address = self._journal.finish(self._kept.store, self._receipt)
            self._keep_samples(watched)
        finally:
            self._give_back()
        if over is not None:
            warnings.warn(f"{self.name or 'this run'}: {over}", EnergyBudgetWarning, stacklevel=3)
        return self._receipt

    def __enter__(self) -> Self:
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        try:
            self.finish(status_of(error))
        except (OutweighError, OSError) as err:
            if error is None:
                raise
            # What went wrong in the block is what its caller waits for; ours is told beside it.
            error.add_note(f"outweigh: the receipt was not kept: {err}")

    def _keep_samples(self, watched: Watched) -> None:
        receipt = self.receipt
        if receipt.interval.seconds < _SHORTEST_TRACE_S:
            return
        about = {"receipt": self._address}
        try:
            keep_trace(self._kept.samples, self._run_id, watched.trace(), receipt.interval, about)
        except LedgerError as err:
            warnings.warn(f"power over time is not kept: {err}", stacklevel=4)

    def _open(self) -> Watched:
        if self._watched is None:
            raise UsageError("the run is not going on", "Start it first, and end it once")
        return self._watched

    def _give_back(self) -> None:
        if self._given is None:
            _shared.give_back(self._meter)


def measuring(
    name: str = "",
    *,
    phase: str | Phase = Phase.DEVELOPMENT,
    project: str = "",
    unit: str = "",
    labels: Mapping[str, str] | None = None,
    budget: Energy | str | None = None,
    meter: str | None = None,
    hum_s: float = 0.0,
    session: MeterSession | None = None,
    ledger: Path | str | None = None,
    owner: str = "",
) -> Run:
    """Measure a block of code and keep its receipt.

        with outweigh.measuring("fit", phase="training", unit="sample") as run:
            model.fit(x, y)
            run.units = len(x)
        print(run.energy, run.receipt.grade)

    Blocks may nest and overlap (threads, asyncio tasks): each sees all that is drawn meanwhile, so an outer block
    contains its inner ones and their energies are not to be added. A block costs some 20 ms, for its receipt is
    on the disk when it ends; for windows of microseconds use `outweigh.measure.MeterSession`.

    Args:
        name: kept on the receipt as the label "name".
        phase: development, training, inference or idle.
        project: when empty that of the nearest energy.toml, or the current folder's name.
        budget: warn (EnergyBudgetWarning) and note it on the receipt when the work, or the total where no idle draw is
            known, exceeds it. Nothing is stopped.
        meter: by the name `outweigh doctor` shows; the best that works by default.
        hum_s: listen to the idle draw so long before [s]; without, a counter's energy is not split (a model's is).
        session: an open session to measure with, in place of `meter`.
        ledger: path or URL; the nearest `.outweigh/ledger.sqlite` by default.
        owner: who answers for its hum, kept as the label "owner"; the owner of the phase's budget in the nearest
            energy.toml by default.

    Raises:
        MeterUnavailable, LedgerError: before the block is entered, or at its end where the ledger fails then.
    """
    return Run(
        name, phase=phase, project=project, unit=unit, labels=labels, budget=budget, meter=meter, hum_s=hum_s,
        session=session, ledger=ledger, owner=owner,
    )  # fmt: skip


def measured(name: str | Callable[..., Any] = "", **options: Any) -> Any:
    """Measure every call of a function, plain or async; arguments as for `measuring`.

        @outweigh.measured(phase="inference", unit="ticket")
        def triage(ticket): ...

    The name is the function's unless one is given. Raises UsageError for a generator, whose work is done between calls.
    """
    if callable(name):
        return _wrapped(name, name.__qualname__, options)

    def decorate(function: F) -> F:
        return cast("F", _wrapped(function, name or function.__qualname__, options))

    return decorate


def _wrapped(function: Callable[..., Any], name: str, options: Mapping[str, Any]) -> Callable[..., Any]:
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise UsageError(
            f"{name} is a generator: it works between the calls", "Use `with outweigh.measuring(...)` around the loop"
        )
    if inspect.iscoroutinefunction(function):

        @functools.wraps(function)
        async def call_async(*args: Any, **kwargs: Any) -> Any:
            with Run(name, **options):
                return await function(*args, **kwargs)

        return call_async

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        with Run(name, **options):
            return function(*args, **kwargs)

    return call


def status_of(error: BaseException | None) -> RunStatus:
    """How a stretch ended that this exception left.

    >>> status_of(None).value, status_of(KeyboardInterrupt()).value, status_of(SystemExit(0)).value
    ('completed', 'interrupted', 'completed')
    """
    if error is None or (isinstance(error, SystemExit) and error.code in (None, 0)):
        return RunStatus.COMPLETED
    from asyncio import CancelledError  # imported here: it takes longer than the rest of this file

    if isinstance(error, KeyboardInterrupt | CancelledError | GeneratorExit):
        return RunStatus.INTERRUPTED
    return RunStatus.FAILED


def against_budget(drawn: Measurement, budget: Energy) -> str | None:
    """What to say of an energy and its budget: None when its upper bound lies within it."""
    low, high = drawn.bounds_j.low, drawn.bounds_j.high
    figure = si(drawn.value.joules, "J", drawn.bounds_j.half_width)
    if low > budget.joules:
        return f"over budget: {figure} against {si(budget.joules, 'J')}"
    if high > budget.joules:
        return f"perhaps over budget: {figure} against {si(budget.joules, 'J')}"
    return None


class _Shared:
    """What runs of this process share.

    One open session a meter, for as long as a run needs it: nested runs read the same meter, with one sampler. And
    every ledger once opened, for opening one takes far longer than writing to it.
    """

    def __init__(self) -> None:
        self.forget()
        if hasattr(os, "register_at_fork"):
            # The sessions are the parent's, and a lock that another thread held at the fork would stay locked for good.
            os.register_at_fork(after_in_child=self.forget)

    def forget(self) -> None:
        self._lock = threading.Lock()
        self._sessions: dict[str | None, tuple[MeterSession, int]] = {}
        self._chosen: dict[str | None, Meter] = {}
        self._ledgers: dict[str, Kept] = {}

    def kept(self, ledger: Path | str | None) -> Kept:
        where = find_ledger(ledger)
        path = None if isinstance(where, str) and "://" in where else Path(where).absolute()
        with self._lock:
            key = str(path or where)
            if key in self._ledgers and path is not None and not path.exists():
                self._ledgers.pop(key).close()  # somebody took the file away: begin a new one, as a new process would
            if key not in self._ledgers:
                self._ledgers[key] = Kept(path or where)
            return self._ledgers[key]

    def take(self, meter: str | None) -> MeterSession:
        from outweigh.measure import MeterSession, choose_meter

        with self._lock:
            session, users = self._sessions.get(meter, (None, 0))
            if session is None:
                if meter not in self._chosen:
                    self._chosen[meter], _ = choose_meter(meter)  # asking every meter there is takes its time
                session = MeterSession(self._chosen[meter]).__enter__()
            self._sessions[meter] = (session, users + 1)
            return session

    def give_back(self, meter: str | None) -> None:
        with self._lock:
            if meter not in self._sessions:
                return
            session, users = self._sessions.pop(meter)
            if users > 1:
                self._sessions[meter] = (session, users - 1)
            else:
                session.__exit__(None, None, None)


_shared = _Shared()
