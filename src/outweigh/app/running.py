"""`measure`: one command, or a process that runs already, and one receipt."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from outweigh.app.keeping import Kept, Watched, receipt_named
from outweigh.core.budget import Phase
from outweigh.core.errors import OutweighError, UsageError
from outweigh.core.receipt import Receipt
from outweigh.core.rounding import si
from outweigh.ports import Availability, Completed, Executor

if TYPE_CHECKING:
    from outweigh.ledger import RunJournal
    from outweigh.measure import MeterSession

#: The meter that can tell one process tree from the rest of the machine.
_ATTRIBUTING = "cpu-model"


def measure(
    command: Sequence[str],
    *,
    meter: str | None = None,
    hum_s: float = 2.0,
    phase: str = "development",
    project: str = "",
    labels: Sequence[str] = (),
    ledger: Path | str | None = None,
    told: Callable[[str], None] = lambda _: None,
) -> tuple[Receipt, str, str]:
    """Run a command, measure it and keep the receipt. Killed meanwhile, it is found and closed at the next start.

    Args:
        hum_s: how long to listen to the idle draw before [s].
        labels: "key=value" texts to keep on the receipt.
        told: called with what a person should know besides (an earlier run was recovered).

    Returns:
        The receipt, its address and where it was kept.

    Raises:
        CommandNotRun: the command does not exist or cannot be executed.
        LedgerError, MeterUnavailable: before the command is started.
    """
    from outweigh.measure import MeterSession, choose_meter, measure_command
    from outweigh.registry import executors

    chosen, _ = choose_meter(meter)
    kept = Kept(ledger, told)
    run_id = uuid.uuid4().hex
    about = project or Path.cwd().name
    named = parse_labels(labels)
    try:
        with (
            MeterSession(chosen) as session,
            kept.journal(session, run_id, project=about, phase=Phase(phase), labels=named) as journal,
        ):
            try:
                receipt = measure_command(
                    session,
                    _Noted(executors.get("local")(), session, journal),
                    command,
                    project=about,
                    phase=Phase(phase),
                    hum_s=hum_s,
                    labels=named,
                )
            except (OutweighError, KeyboardInterrupt):
                journal.close()  # nothing ran: there is no run to recover
                raise
            receipt = receipt_named(receipt, run_id)
            return receipt, journal.finish(kept.store, receipt), str(kept.where)
    finally:
        kept.close()


def measure_pid(
    pid: int,
    *,
    meter: str | None = None,
    phase: str = "development",
    project: str = "",
    labels: Sequence[str] = (),
    ledger: Path | str | None = None,
    told: Callable[[str], None] = lambda _: None,
    limit_s: float | None = None,
) -> tuple[Receipt, str, str]:
    """Measure a process that runs already, with all it starts, until it ends, Ctrl-C comes or the limit is reached.

    By default its CPU seconds are modelled, for that is the only meter that tells one process from the rest of the
    machine. A meter that is named sees all of its scope while the process runs, and the receipt says so. What the
    process drew before is not in it, and its exit code is not known to us.

    Args:
        limit_s: stop watching after so long [s].

    Raises:
        UsageError: there is no such process, or this platform has no /proc.
        LedgerError, MeterUnavailable: before anything was measured.
    """
    from dataclasses import replace

    from outweigh.core.receipt import RunStatus
    from outweigh.data.processes import ProcessTree
    from outweigh.measure import MeterSession, attribution, choose_meter, receipt_for
    from outweigh.ports import Meter
    from outweigh.registry import meters

    tree = ProcessTree(pid)
    attributed = meter in (None, _ATTRIBUTING)
    group_s = attribution.group_cpu_s(pid)
    run_s, how = (tree.cpu_s, attribution.BY_PROC) if group_s is None else (group_s, attribution.BY_GROUP)
    if attributed:
        make: Callable[..., Meter] = meters.get(_ATTRIBUTING)
        chosen = make(cpu_seconds=run_s, threads=tree.threads())
    else:
        chosen, _ = choose_meter(meter)
    kept = Kept(ledger, told)
    run_id = uuid.uuid4().hex
    about = project or Path.cwd().name
    named = parse_labels(labels)
    notes = ["a running process and its descendants, from when it was first looked at", f"attribution: {how}"]
    if not attributed:
        notes = [f"all of {chosen.name}'s scope while the process ran, not that process's share"]
    try:
        with (
            MeterSession(chosen) as session,
            kept.journal(session, run_id, project=about, phase=Phase(phase), labels=named) as journal,
        ):
            status = RunStatus.COMPLETED
            with Watched(session, journal) as watched:
                before = attribution.MachineTime.now(run_s())
                attribution.watch(chosen, tree.living)
                try:
                    told(f"measuring process {pid} until it ends; Ctrl-C stops the watching, not the process")
                    if not tree.wait(limit_s):
                        status = RunStatus.INTERRUPTED
                except KeyboardInterrupt:
                    status = RunStatus.INTERRUPTED
                finally:
                    attribution.watch(chosen, None)
                after = attribution.MachineTime.now(run_s())
            if before is not None and after is not None and attribution.sees_processor(chosen):
                notes.append(f"{attribution.share_note(before, after)} ({how})")
            shares, told_of_shares = attribution.allocated(chosen, watched.reading.total.interval)
            if status is RunStatus.INTERRUPTED:
                notes.append("watching was stopped before the process ended")
            receipt = receipt_for(
                watched.reading,
                meter=chosen.name,
                project=about,
                phase=Phase(phase),
                status=status,
                meter_cost=session.cost(),
                labels=named,
                notes=[*notes, *told_of_shares],
            )
            receipt = replace(receipt_named(receipt, run_id), overlapping=(*receipt.overlapping, *shares))
            return receipt, journal.finish(kept.store, receipt), str(kept.where)
    finally:
        kept.close()


class _Noted:
    """An executor whose run is noted in a journal while it lasts."""

    name: ClassVar[str] = "noted"

    def __init__(self, executor: Executor, session: MeterSession, journal: RunJournal) -> None:
        self._executor, self._session, self._journal = executor, session, journal

    @classmethod
    def probe(cls) -> Availability:
        return Availability(cls.name, usable=True)

    def run(self, command: Sequence[str]) -> Completed:
        with Watched(self._session, self._journal):
            return self._executor.run(command)


def parse_labels(texts: Sequence[str]) -> dict[str, str]:
    """
    >>> parse_labels(["team=triage", "why="])
    {'team': 'triage', 'why': ''}
    """
    labels = {}
    for text in texts:
        key, equals, value = text.partition("=")
        if not equals or not key:
            raise UsageError(f"{text!r} is not a label", "Write it as KEY=VALUE, such as --label team=triage")
        labels[key] = value
    return labels


def receipt_line(receipt: Receipt, address: str, kept_in: str) -> str:
    """A receipt in a few lines for people: figure, interval, split, how we know it, where it is kept."""
    total = receipt.total
    lines = [
        f"{si(total.value.joules, 'J', total.bounds_j.half_width)} in {total.interval.seconds:.1f} s   "
        f"{total.method}, grade {total.grade}, {total.scope}   {receipt.status}"
    ]
    if receipt.hum is not None and receipt.work is not None:
        lines.append(
            f"  hum {si(receipt.hum.value.joules, 'J', receipt.hum.bounds_j.half_width)}, "
            f"work {si(receipt.work.value.joules, 'J', receipt.work.bounds_j.half_width)}"
        )
    lines.append(f"  how: {total.source}")
    lines += [f"  note: {text}" for text in receipt.notes]
    lines.append(f"  receipt {address[:12]} in {kept_in}")
    return "\n".join(lines)
