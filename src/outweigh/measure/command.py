"""A command, measured: hum before it and after it, energy during it, its exit code kept."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace

from outweigh.core.budget import Phase
from outweigh.core.errors import MeterUnavailable, UnusableMeasurement
from outweigh.core.receipt import Receipt, RunStatus
from outweigh.measure.attribution import (
    Account,
    MachineTime,
    accounting,
    allocated,
    follow,
    left_note,
    sees_processor,
    share_note,
    watch,
)
from outweigh.measure.receipts import receipt_for
from outweigh.measure.session import MeterSession, Window
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
    hum_after_s: float = 0.0,
    labels: Mapping[str, str] | None = None,
    batch: str = "",
) -> Receipt:
    """Listen to the idle draw, run the command, and give its receipt.

    A command that is stopped from outside (Ctrl-C here, SIGINT or SIGTERM there) has an INTERRUPTED receipt
    with the energy up to then; one that fails has a FAILED one, for its energy was drawn all the same.

    A meter that models the run goes by the CPU time of its process tree; a device counter reads the machine, and the
    receipt notes what share of the machine's CPU time was the run's. Processes that still live when the command has
    ended are noted and not waited for. Where a device is shared the run's part of it is on the receipt beside the
    total, allocated and not measured.

    Args:
        hum_s: how long to listen before the command starts [s]; 0 leaves the split unknown, unless a hum is known.
        hum_after_s: how long to listen again when it has ended [s]; 0 not to. Not done after an interruption, nor
            while processes of the run still live.

    Raises:
        MeterUnavailable, UnusableMeasurement: the meter or the idle draw cannot be read; the command was not run.
        OutweighError: the executor cannot start it; no receipt, for nothing ran.
    """
    if hum_s > 0:
        session.hum(hum_s)
    before = after = None
    with accounting() as account:
        followed = follow(session.meter, account.cpu_s)
        try:
            with session.window() as window:
                before = MachineTime.now(account.cpu_s())
                watch(session.meter, account.living)
                try:
                    completed = executor.run(command)
                except KeyboardInterrupt:
                    completed = Completed(exit_code=_SIGINT_CODE, cpu_s=0.0, interrupted=True)
                account.look()
                watch(session.meter, None)
                after = MachineTime.now(account.cpu_s())
        finally:
            watch(session.meter, None)
            follow(session.meter, None)
    notes = _attribution(session, account, followed, before, after)
    status = _status(completed)
    if hum_after_s > 0:
        notes += _listen_after(window, hum_after_s, account, status)
    reading = window.reading
    shares, told = allocated(session.meter, reading.total.interval)
    receipt = receipt_for(
        reading,
        meter=session.meter.name,
        project=project,
        phase=phase,
        status=status,
        batch=batch,
        meter_cost=session.cost(),
        exit_code=completed.exit_code,
        labels=labels,
        notes=[*notes, *told],
    )
    return replace(receipt, overlapping=(*receipt.overlapping, *shares)) if shares else receipt


def _attribution(
    session: MeterSession, account: Account, followed: bool, before: MachineTime | None, after: MachineTime | None
) -> list[str]:
    """What the receipt says of whose energy it is."""
    notes = [f"attribution: {account.how}"] if followed else []
    if sees_processor(session.meter) and before is not None and after is not None:
        notes.append(f"{share_note(before, after)} ({account.how})")
    left = left_note(account.left)
    if left is not None and (followed or session.meter.method.is_measured):
        notes.append(left)
    return notes


def _listen_after(window: Window, seconds: float, account: Account, status: RunStatus) -> list[str]:
    if status is RunStatus.INTERRUPTED:
        return []  # whoever stopped it does not want to wait
    if account.left:
        return ["no idle draw was observed after the run: processes of it still lived"]
    try:
        window.listen_after(seconds)
    except (UnusableMeasurement, MeterUnavailable) as err:
        # The run is over and its energy known: what was heard before it still splits it.
        return [f"no idle draw was observed after the run: {err}"]
    return []


def _status(completed: Completed) -> RunStatus:
    if completed.interrupted or completed.exit_code in (_SIGINT_CODE, _SIGTERM_CODE):
        return RunStatus.INTERRUPTED
    return RunStatus.COMPLETED if completed.exit_code == 0 else RunStatus.FAILED
