"""A budget line while a run draws it: what is left before, warnings on the way, and the word to stop.

watch = LineWatch(find_line("train"), store=store, folder=folder, run_id=run_id, told=print)
watch.begin(now)                       # says what is left
if watch.look(energy_j, now):          # every second or every step: the line would be overshot
    ...                                # end the run where it can be taken up again
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from outweigh.app.budgeting import in_wh
from outweigh.core.budget import Budget, Period
from outweigh.core.errors import LedgerError, UsageError
from outweigh.core.intervals import Interval
from outweigh.core.nesting import lineage
from outweigh.ports import ReceiptFilter

if TYPE_CHECKING:
    from outweigh.core.project import Project
    from outweigh.core.quantities import Energy
    from outweigh.core.receipt import Receipt
    from outweigh.ports import Store

#: Label of a receipt that names the line it is charged to, as `outweigh.ledger.burning` reads it.
LINE = "budget"
#: Shares of a line at which whoever draws it is warned, beside the line's own `warn_at`.
WARNED_AT = (0.80, 0.95, 1.0)
_ASKED_EVERY = timedelta(seconds=5)  # how often others are looked up: as often as runs in flight note themselves


@dataclass(frozen=True, slots=True)
class Line:
    """A declared budget line.

    Attributes:
        budgets: the line and those it is part of, from the inside out.
    """

    project: Project
    budgets: tuple[Budget, ...]

    @property
    def name(self) -> str:
        return self.budgets[0].name

    def totals(self, when: datetime) -> tuple[Budget, ...]:
        """Those with a total, as they stand at `when`."""
        return tuple(line for line in (one.at(when) for one in self.budgets) if line.total is not None)


def find_line(name: str, start: Path | None = None) -> Line:
    """A budget line of the nearest energy.toml, from `start` (the current folder) upwards.

    Raises:
        ConfigError: energy.toml is not understood.
        UsageError: there is none, or no line is called that.
    """
    from outweigh.config import FILE_NAME, load_project

    here = (start or Path()).resolve()
    path = next((folder / FILE_NAME for folder in (here, *here.parents) if (folder / FILE_NAME).is_file()), None)
    if path is None:
        raise UsageError(
            f"there is no {FILE_NAME} from here upwards that could declare the budget line {name!r}",
            f"Go to the project's folder, or declare [budget.{name}]",
        )
    project = load_project(path)
    line = next((one for one in project.budgets if one.name == name), None)
    if line is None:
        known = ", ".join(one.name for one in project.budgets) or "none"
        raise UsageError(f"{path} declares no budget line {name!r}", f"Declared: {known}")
    return Line(project, lineage(line, project.budgets))


class LineWatch:
    """One run against its budget. Nothing here stops anything: it says when.

    Energies are the meter's central figures: IT energy, hum included, as receipts have it.

    Args:
        line: the declared line, with those it is part of; None for a limit on this run alone.
        limit: a limit on this run alone.
        store, folder: where receipts and runs in flight are; needed for a line.
        told: called with what a person should know.
    """

    def __init__(
        self,
        line: Line | None = None,
        *,
        limit: Energy | None = None,
        store: Store | None = None,
        folder: Path | None = None,
        run_id: str = "",
        told: Callable[[str], None],
    ) -> None:
        self._line, self._limit = line, limit
        self._store, self._folder, self._run_id = store, folder, run_id
        self._told = told
        self._begun: datetime | None = None
        self._asked: datetime | None = None
        self._known: dict[str, Receipt] = {}  # of others, by run id
        self._flying: tuple[Receipt, ...] = ()
        self._reached: dict[tuple[str, datetime | None], float] = {}
        self._unread = False

    def begin(self, now: datetime) -> bool:
        """The run begins: say what is left. False when some line has nothing left.

        Raises LedgerError when the ledger cannot be read.
        """
        self._begun = now
        if self._line is None:
            return True
        totals = self._line.totals(now)
        if not totals:
            self._told(f"budget {self._line.name}: no total to draw down; the receipt is charged to it all the same")
            return True
        self._ask(now, since=min(_period(line, now).start for line in totals))
        enough = True
        for line in totals:
            period, limit_j, drawn_j = self._standing(line, now)
            share = drawn_j / limit_j if limit_j > 0 else math.inf
            # What was reached before is told in this line, and not again with the first look.
            self._reached[line.name, period.start] = max((t for t in _thresholds(line) if share >= t), default=0.0)
            left = f"{in_wh(limit_j - drawn_j)} of {in_wh(limit_j)} left until {period.end:%Y-%m-%d}"
            if limit_j <= drawn_j:
                enough = False
                left = f"nothing left of {in_wh(limit_j)} until {period.end:%Y-%m-%d}: {in_wh(drawn_j)} are drawn"
            elif share >= line.warn_at:
                left += f"; {share:.0%} is drawn, and the warning is set at {line.warn_at:.0%}"
            self._told(f"budget {line.name}: {left}")
        return enough

    def look(self, energy_j: float, now: datetime, *, ahead_j: float = 0.0) -> bool:
        """Warn of what was reached. True when a limit would be overshot by going on.

        Args:
            energy_j: what this run has drawn since it began [J].
            ahead_j: what it will draw until somebody could stop it [J].
        """
        over = False
        if self._limit is not None:
            over = self._hold("this run's budget", None, WARNED_AT, energy_j, self._limit.joules, ahead_j)
        if self._line is not None:
            totals = self._line.totals(now)
            if totals and (self._asked is None or now - self._asked >= _ASKED_EVERY):
                self._ask_again(now)
            for line in totals:
                period, limit_j, drawn_j = self._standing(line, now)
                own_j = energy_j * self._share_in(period, now)
                name = f"budget {line.name}"
                reached = self._hold(name, period.start, _thresholds(line), drawn_j + own_j, limit_j, ahead_j, own_j)
                over = over or reached
        return over

    def _hold(
        self, name: str, start: datetime | None, thresholds: Sequence[float], drawn_j: float, limit_j: float,
        ahead_j: float, own_j: float | None = None,
    ) -> bool:  # fmt: skip
        share = drawn_j / limit_j if limit_j > 0 else math.inf
        key = (name.removeprefix("budget "), start)
        reached = max((t for t in thresholds if share >= t), default=0.0)
        if reached > self._reached.get(key, 0.0):
            self._reached[key] = reached
            told = f"{share:.0%} drawn" if math.isfinite(share) else "overdrawn"
            mine = "" if own_j is None else f", {in_wh(own_j)} of it by this run"
            self._told(f"{name}: {told}: {in_wh(drawn_j)} of {in_wh(limit_j)}{mine}")
        return drawn_j + ahead_j >= limit_j

    def _standing(self, line: Budget, now: datetime) -> tuple[Interval, float, float]:
        """Its period, its total [J], and what others have drawn of it in the period so far [J]."""
        from outweigh.ledger import charged, drawn_j

        assert self._line is not None
        assert line.total is not None
        period = _period(line, now)
        so_far = Interval(period.start, now)
        budgets = self._line.project.budgets
        # Every line of the lineage is charged whatever its parts are; `charged` knows which receipts those are.
        others = [one for one in (*self._known.values(), *self._flying) if charged(line, budgets, one)]
        return period, line.total.joules, drawn_j(others, so_far)

    def _share_in(self, period: Interval, now: datetime) -> float:
        """Share of this run that falls into the period, as if its power were even: as its receipt will be charged."""
        if self._begun is None or self._begun >= period.start or now <= self._begun:
            return 1.0
        return (now - period.start) / (now - self._begun)

    def _ask_again(self, now: datetime) -> None:
        assert self._begun is not None
        try:
            self._ask(now, since=self._begun)
        except LedgerError as err:
            self._asked = now
            if not self._unread:
                self._unread = True
                self._told(f"what others draw meanwhile is not seen: {err}")

    def _ask(self, now: datetime, since: datetime) -> None:
        from outweigh.ledger import in_flight, seen_so_far

        self._asked = now
        if self._line is None or self._store is None:
            return
        project = self._line.project.name
        # A receipt of this very moment is inside too: intervals are half-open.
        within = Interval(since, now + timedelta(microseconds=1))
        for _, receipt in self._store.receipts(ReceiptFilter(project=project, within=within)):
            self._known[receipt.run_id] = receipt
        self._known.pop(self._run_id, None)
        if self._folder is not None:
            seen = (seen_so_far(self._folder, flight.run_id) for flight in in_flight(self._folder))
            self._flying = tuple(
                one
                for one in seen
                if one is not None
                and one.project == project
                and one.run_id != self._run_id
                and one.run_id not in self._known
            )


def _period(line: Budget, now: datetime) -> Interval:
    return (line.period or Period.MONTH).containing(now)


def _thresholds(line: Budget) -> tuple[float, ...]:
    return tuple(sorted({*WARNED_AT, line.warn_at}))
