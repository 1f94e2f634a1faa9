"""What the callbacks of all training frameworks share: one run a fit, ended however the fit ends."""

from __future__ import annotations

import atexit
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self

from outweigh.app.blocks import Run, status_of
from outweigh.core.errors import OutweighError
from outweigh.core.receipt import Receipt, RunStatus
from outweigh.integrations.figures import numbers_so_far

if TYPE_CHECKING:
    from outweigh.measure import MeterSession


class Fit:
    """One run a fit, with its steps counted.

    Some frameworks tell a callback nothing when training raises. Then the run ends, with the energy up to its last
    step, when the next fit begins or the program ends. To have it end at once, and with the right status, train inside
    the callback: `with callback: trainer.train()`.
    """

    receipt: Receipt | None = None

    def prepare(
        self, framework: str, project: str, meter: str | None, session: MeterSession | None, ledger: Path | str | None
    ) -> None:
        self._framework = framework
        self._options: dict[str, Any] = {"project": project, "meter": meter, "session": session, "ledger": ledger}
        self._run: Run | None = None

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
        atexit.register(self._abandoned)

    def step(self, steps: float) -> None:
        """So many steps were done since the fit began."""
        if self._run is not None:
            self._run.units = steps
            self._run.mark()

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
        self.receipt = run.finish(status, at_last_mark=at_last_mark, note=note) or self.receipt
        return self.receipt

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
