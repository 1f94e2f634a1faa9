"""A command, measured: hum before it, energy during it, its exit code kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from outweigh.core.budget import Phase
from outweigh.core.receipt import Receipt, RunStatus
from outweigh.measure.receipts import receipt_for
from outweigh.measure.session import MeterSession
from outweigh.ports import Completed, Executor

_SIGINT_CODE = 130  # 128 + SIGINT, as a shell reports it
_SIGTERM_CODE = 143  # 128 + SIGTERM


def measure_command(
    session: MeterSession,
    executor: Executor,
    command: Sequence[str],
    *,
    project: str,
    phase: Phase,
    hum_s: float = 3.0,
    labels: Mapping[str, str] | None = None,
    batch: str = "",
) -> Receipt:
    """Listen to the idle draw, run the command, and give its receipt.

    A command that is stopped from outside (Ctrl-C here, SIGINT or SIGTERM there) has an INTERRUPTED receipt
    with the energy up to then; one that fails has a FAILED one, for its energy was drawn all the same.

    Args:
        hum_s: how long to listen before the command starts [s]; 0 leaves the split unknown, unless a hum is known.

    Raises:
        MeterUnavailable, UnusableMeasurement: the meter or the idle draw cannot be read; the command was not run.
        OutweighError: the executor cannot start it; no receipt, for nothing ran.
    """
    if hum_s > 0:
        session.hum(hum_s)
    with session.window() as window:
        try:
            completed = executor.run(command)
        except KeyboardInterrupt:
            completed = Completed(exit_code=_SIGINT_CODE, cpu_s=0.0, interrupted=True)
    reading = window.reading
    return receipt_for(
        reading,
        meter=session.meter.name,
        project=project,
        phase=phase,
        status=_status(completed),
        batch=batch,
        meter_cost=session.cost(),
        exit_code=completed.exit_code,
        labels=labels,
    )


def _status(completed: Completed) -> RunStatus:
    if completed.interrupted or completed.exit_code in (_SIGINT_CODE, _SIGTERM_CODE):
        return RunStatus.INTERRUPTED
    return RunStatus.COMPLETED if completed.exit_code == 0 else RunStatus.FAILED
