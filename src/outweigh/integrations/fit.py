"""What the callbacks of all training frameworks share: one run a fit, ended however the fit ends."""

from __future__ import annotations

import atexit
import os
import sys
import warnings
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from outweigh.app.blocks import EnergyBudgetWarning, Run, status_of
from outweigh.app.lines import Line, LineWatch, find_line
from outweigh.core.errors import InvalidQuantity, OutweighError, UsageError
from outweigh.core.quantities import Energy
from outweigh.core.receipt import Receipt, RunStatus
from outweigh.core.units import parse_energy
from outweigh.integrations.figures import numbers_so_far

if TYPE_CHECKING:
    from outweigh.measure import MeterSession, WindowReading

_UP = 4  # frames from a warning to the framework's own call


class Fit:
    """One run a fit, with its steps counted.

    Some frameworks tell a callback nothing when training raises. Then the run ends, with the energy up to its last
    step, when the next fit begins or the program ends. To have it end at once, and with the right status, train inside
    the callback: `with callback: trainer.train()`.

    A `budget` is the name of a line of the nearest energy.toml, or an energy for one fit alone ("3 kWh"). At 80 %, 95 %
    and the line's `warn_at` an EnergyBudgetWarning says how much is drawn, by others before and meanwhile too. With
    `stop` training ends at the step after which one more, as long as the longest of the mean and the last, would
    overshoot it; the receipt is interrupted then.

    Attributes:
        stopping: whether training is to end because of its budget.
    """

    receipt: Receipt | None = None
    stopping = False

    def prepare(
        self, framework: str, project: str, meter: str | None, session: MeterSession | None, ledger: Path | str | None,
        budget: Energy | str | None = None, stop: bool = False,
    ) -> None:  # fmt: skip
        if stop and budget is None:
            raise UsageError("there is no budget to stop at", 'Give budget="LINE" or budget="3 kWh" with stop=True')
        self._framework = framework
        limit, line = _limit_or_line(budget)
        if line is not None and project not in ("", line.project.name):
            raise UsageError(
                f"budget {line.name} is a line of project {line.project.name!r}, not of {project!r}",
                "Leave project out, or name the line's",
            )
        self._options: dict[str, Any] = {
            "project": project if line is None else line.project.name, "meter": meter, "session": session,
            "ledger": ledger, "budget": limit, "line": line, "owner": "" if line is None else line.budgets[0].owner,
        }  # fmt: skip
        self._limit, self._stop = limit, stop
        self._held = budget is not None
        self._run: Run | None = None
        self._watch: LineWatch | None = None
        self._last_j = 0.0

    @property
    def run(self) -> Run | None:
        """The run that goes on; None between fits."""
        return self._run

    def begin(self, labels: Mapping[str, str] | None = None) -> None:
        self.end(
            RunStatus.FAILED, at_last_mark=True, note="training stopped without a word; energy up to its last step"
        )
        run = Run(
            "fit", phase="training", unit="step", labels={"framework": self._framework, **(labels or {})},
            **self._options,
        )  # fmt: skip
        self._run = run.start()
        run.units = 0.0
        run.mark()
        self.stopping, self._last_j = False, 0.0
        self._watch = run.line_watch(_warn) if self._held else None
        atexit.register(self._abandoned)

    def step(self, steps: float) -> None:
        """So many steps were done since the fit began."""
        if self._run is not None:
            self._run.units = steps
            reading = self._run.mark()
            if self._watch is not None:
                self._heed(self._watch, reading, steps)

    def figures(self) -> dict[str, float]:
        """What the fit has drawn so far; empty between fits."""
        if self._run is None:
            return {}
        return numbers_so_far(self._run.so_far(), self._run.units, "step")

    def end(
        self, status: RunStatus = RunStatus.COMPLETED, *, at_last_mark: bool = False, note: str = ""
    ) -> Receipt | None:
        """End the run, if one goes on, and keep its receipt."""
        run, self._run = self._run, None
        if run is None:
            return None
        atexit.unregister(self._abandoned)
        self._watch = None
        if self.stopping and status is RunStatus.COMPLETED:
            status, note = RunStatus.INTERRUPTED, note or "training was ended before its budget was overshot"
        self.receipt = run.finish(status, at_last_mark=at_last_mark, note=note) or self.receipt
        return self.receipt

    def _heed(self, watch: LineWatch, reading: WindowReading, steps: float) -> None:
        # A line is charged with the total, as its receipts are; an energy of its own is held against the work, as
        # `measuring(budget=…)` does.
        drawn = reading.total if self._limit is None else (reading.work or reading.total)
        energy_j = drawn.value.joules
        step_j = max(energy_j - self._last_j, energy_j / steps if steps > 0 else 0.0)
        self._last_j = energy_j
        over = watch.look(energy_j, reading.total.interval.end, ahead_j=step_j if self._stop else 0.0)
        if over and self._stop and not self.stopping:
            self.stopping = True
            _warn("training ends here: another step would overshoot the budget")

    def _abandoned(self) -> None:
        # Python leaves here what ended the program, when something did.
        error = getattr(sys, "last_value", None)
        status = status_of(error) if error is not None else RunStatus.FAILED
        try:
            self.end(status, at_last_mark=True, note="the program ended first; energy up to the last step")
        except OutweighError as err:
            # Nobody is left to catch it; the journal beside the ledger still has the run.
            os.write(2, f"outweigh: {err}\n".encode())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        if error is not None:
            self.end(status_of(error), note="training was left by an exception")


def _limit_or_line(budget: Energy | str | None) -> tuple[Energy | None, Line | None]:
    if not isinstance(budget, str):
        return budget, None
    try:
        return parse_energy(budget), None
    except InvalidQuantity:
        return None, find_line(budget)


def _warn(text: str) -> None:
    warnings.warn(text, EnergyBudgetWarning, stacklevel=_UP)
