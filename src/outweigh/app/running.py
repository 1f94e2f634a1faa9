"""`measure`: one command, a process that runs already or the idle draw, and one receipt."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, cast

from outweigh.app.keeping import Kept, Watched, finish
from outweigh.app.lines import LINE, Line, LineWatch, find_line
from outweigh.app.of_job import OfJob, there
from outweigh.app.stopping import GRACE_S, STOPPED_BY, STOPPED_CODE, Held, Signalled
from outweigh.app.surroundings import Surroundings, booked_on
from outweigh.core.budget import Phase
from outweigh.core.errors import CommandNotRun, OutweighError, UnusableMeasurement, UsageError
from outweigh.core.quantities import Energy
from outweigh.core.receipt import HumSplit, Receipt, RunStatus
from outweigh.core.rounding import si
from outweigh.ports import Availability, Completed, Executor

if TYPE_CHECKING:
    from outweigh.ledger import RunJournal
    from outweigh.measure import MeterSession

#: The meter that can tell one process tree from the rest of the machine.
_ATTRIBUTING = "cpu-model"
_LONGEST_S = 86_400.0  # who listens for longer than a day has mistaken the unit
_SHORTEST_IDLE_S = 0.1
_KILLED_CODE = 137  # 128 + SIGKILL, as a shell reports it


def measure(
    command: Sequence[str],
    *,
    meter: str | None = None,
    hum_s: float = 2.0,
    hum_after_s: float = 0.0,
    phase: str | None = None,
    project: str = "",
    owner: str = "",
    labels: Sequence[str] = (),
    ledger: Path | str | None = None,
    budget: str = "",
    stop_at_budget: bool = False,
    grace_s: float = GRACE_S,
    told: Callable[[str], None] = lambda _: None,
) -> tuple[Receipt, str, str]:
    """Run a command, measure it and keep the receipt. Killed meanwhile, it is found and closed at the next start.

    Args:
        meter: by name, several with commas between them; the best that works here by default.
        hum_s, hum_after_s: how long to listen to the idle draw before and after [s]; 0 not to.
        phase: development by default, or that of the budget line. Inside a job of `outweigh run` project and phase are
            the job's by default, and the receipt stands where the job's declared power would have stood.
        owner: who answers for its hum; the owner of the phase's budget in the nearest energy.toml by default.
        labels: "key=value" texts to keep on the receipt.
        budget: line of the nearest energy.toml the run is charged to; whoever runs it is told as it is used up.
        stop_at_budget: end the command before the line, or one it is part of, is overshot: SIGTERM, and SIGKILL when
            `grace_s` [s] have gone by. The receipt is interrupted and has the label `stopped_by_budget`.
        told: called with what a person should know besides (an earlier run was recovered).

    Returns:
        The receipt, its address and where it was kept: the journal, when the ledger did not take it in the end.

    Raises:
        CommandNotRun: the command does not exist or cannot be executed, or is to stop at a budget that is used up.
        ConfigError, UsageError: no such time, label, meter or budget line.
        LedgerError, MeterUnavailable: before the command is started.
    """
    from outweigh.measure import MeterSession, choose_meter, measure_command
    from outweigh.registry import executors

    begun_s = time.monotonic()
    listening_s(hum_s, "--hum")
    listening_s(hum_after_s, "--hum-after")
    listening_s(grace_s, "--grace")
    on = _Charged.to(budget, phase=phase, project=project, owner=owner, labels=labels)
    if stop_at_budget and (on.line is None or not on.line.totals(datetime.now(UTC))):
        raise UsageError(
            "there is nothing to stop at", "Name a budget line that has a total, or is part of one: --budget LINE"
        )
    chosen, _ = choose_meter(meter)
    kept = Kept(ledger, told)
    run_id = uuid.uuid4().hex
    named = on.labels
    try:
        watch = on.watch(kept, run_id, told)
        if not on.begin(watch) and stop_at_budget:
            raise CommandNotRun(
                command[0] if command else "", f"nothing is left of budget {budget}, and it was to stop there",
                STOPPED_CODE, "Raise the line by a dated change in energy.toml, or run without --stop-at-budget",
            )  # fmt: skip
        with MeterSession(chosen) as session:
            around = Surroundings(session, kept.folder, phase=on.phase, owner=on.owner, told=told)
            with kept.journal(session, run_id, project=on.project, phase=on.phase, labels=named) as journal:
                local = executors.get("local")()
                send = cast("Signalled", local).signal if stop_at_budget else None
                noted = _Noted(local, session, journal, around, watch=watch, send=send, grace_s=grace_s, told=told)
                try:
                    receipt = measure_command(
                        session,
                        noted,
                        command,
                        project=on.project,
                        phase=on.phase,
                        hum_s=hum_s,
                        hum_after_s=hum_after_s,
                        labels=named,
                    )
                except (OutweighError, KeyboardInterrupt):
                    journal.close()  # nothing ran: there is no run to recover
                    raise
                receipt = noted.stopped_at(budget, replace(receipt, run_id=run_id))
                receipt = there(around.met(around.on(receipt, run_s=noted.cpu_s), kept.store), begun_s)
                return receipt, *finish(kept, journal, receipt, noted.watched, told)
    finally:
        kept.close()


def measure_idle(
    seconds: float,
    *,
    meter: str | None = None,
    project: str = "",
    owner: str = "",
    labels: Sequence[str] = (),
    ledger: Path | str | None = None,
    budget: str = "",
    told: Callable[[str], None] = lambda _: None,
) -> tuple[Receipt, str, str]:
    """Listen to the idle draw, and keep a receipt of the phase `idle`, all of it hum, for its owner.

    Ctrl-C ends it early, with what was drawn until then.

    Returns, raises: as `measure`. What others run meanwhile is in it, and noted where it is seen.
    """
    from outweigh.measure import MeterSession, choose_meter, receipt_for

    listening_s(seconds, "--idle", least_s=_SHORTEST_IDLE_S)
    on = _Charged.to(budget, phase=Phase.IDLE, project=project, owner=owner, labels=labels)
    chosen, _ = choose_meter(meter)
    kept = Kept(ledger, told)
    run_id = uuid.uuid4().hex
    about, named = on.project, on.labels
    try:
        watch = on.watch(kept, run_id, told)
        on.begin(watch)
        with MeterSession(chosen) as session:
            around = Surroundings(session, kept.folder, phase=Phase.IDLE, owner=on.owner, told=told)
            with kept.journal(session, run_id, project=about, phase=Phase.IDLE, labels=named) as journal:
                status, notes = RunStatus.COMPLETED, ["nothing was run: all of it is hum"]
                with Watched(session, journal, around=around) as watched, _held(watch, watched, session, told):
                    begun_s = session.clock.monotonic_s()
                    try:
                        with contextlib.suppress(UnusableMeasurement):  # then the receipt is, and says why
                            session.hum(seconds)
                        # A model knows its idle draw and is not listened to.
                        session.clock.sleep(max(0.0, begun_s + seconds - session.clock.monotonic_s()))
                    except KeyboardInterrupt:
                        status = RunStatus.INTERRUPTED
                        notes.append(f"stopped before its {seconds:g} s were over")
                reading = watched.reading
                nothing = replace(reading.total, value=Energy(0.0), components=())
                receipt = receipt_for(
                    replace(reading, hum=reading.total, work=nothing), meter=chosen.name, project=about,
                    phase=Phase.IDLE, status=status, meter_cost=session.cost(), labels=named, notes=notes,
                    run_id=run_id,
                )  # fmt: skip
                receipt = around.met(around.on(receipt), kept.store)
                return receipt, *finish(kept, journal, receipt, watched, told)
    finally:
        kept.close()


def listening_s(seconds: float, option: str, *, least_s: float = 0.0) -> float:
    """A time to listen for [s]. Raises UsageError for what is none: nan, less than the least, more than a day."""
    if not least_s <= seconds <= _LONGEST_S:
        least = f"{least_s:g}" if least_s else "0 (not to listen)"
        raise UsageError(
            f"{seconds:g} s is no time to listen for", f"Give {option} in seconds, from {least} to {_LONGEST_S:.0f}"
        )
    return seconds


def measure_pid(
    pid: int,
    *,
    meter: str | None = None,
    phase: str | None = None,
    project: str = "",
    owner: str = "",
    labels: Sequence[str] = (),
    ledger: Path | str | None = None,
    budget: str = "",
    told: Callable[[str], None] = lambda _: None,
    limit_s: float | None = None,
) -> tuple[Receipt, str, str]:
    """Measure a process that runs already, with all it starts, until it ends, Ctrl-C comes or the limit is reached.

    By default its CPU seconds are modelled, for that is the only meter that tells one process from the rest of the
    machine. A meter that is named sees all of its scope while the process runs, and the receipt says so. What the
    process drew before is not in it, and its exit code is not known to us.

    Args:
        budget: line the run is charged to; whoever watches is told as it is used up, and nothing is stopped.
        limit_s: stop watching after so long [s].

    Raises:
        UsageError: there is no such process, or this platform has no /proc.
        LedgerError, MeterUnavailable: before anything was measured.
    """
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
    on = _Charged.to(budget, phase=phase, project=project, owner=owner, labels=labels)
    kept = Kept(ledger, told)
    run_id = uuid.uuid4().hex
    notes = ["a running process and its descendants, from when it was first looked at", f"attribution: {how}"]
    if not attributed:
        notes = [f"all of {chosen.name}'s scope while the process ran, not that process's share"]
    try:
        watch = on.watch(kept, run_id, told)
        on.begin(watch)
        with (
            MeterSession(chosen) as session,
            kept.journal(session, run_id, project=on.project, phase=on.phase, labels=on.labels) as journal,
        ):
            status = RunStatus.COMPLETED
            around = Surroundings(session, kept.folder, phase=on.phase, owner=on.owner, told=told)
            begun_s = run_s()
            with Watched(session, journal, around=around) as watched, _held(watch, watched, session, told):
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
                project=on.project,
                phase=on.phase,
                status=status,
                meter_cost=session.cost(),
                labels=on.labels,
                notes=[*notes, *told_of_shares],
                run_id=run_id,
            )
            receipt = around.on(replace(receipt, overlapping=(*receipt.overlapping, *shares)), run_s=run_s() - begun_s)
            return receipt, *finish(kept, journal, receipt, watched, told)
    finally:
        kept.close()


@dataclass(frozen=True, slots=True)
class _Charged:
    """What a run is booked on: as the options say, and as its budget line declares where they say nothing."""

    line: Line | None
    project: str
    phase: Phase
    owner: str
    labels: dict[str, str]

    @staticmethod
    def to(budget: str, *, phase: str | None, project: str, owner: str, labels: Sequence[str]) -> _Charged:
        named = parse_labels(labels)
        # The idle draw is nobody's work, also where a job listens to it.
        job = OfJob.found() if phase != Phase.IDLE else None
        if job is not None:
            named = {**job.labels, **named}
        if not budget:
            about = booked_on(project or (job.project if job else ""))
            usual = job.phase if job is not None and job.phase is not None else Phase.DEVELOPMENT
            return _Charged(None, about, Phase(phase or usual), owner, named)
        line = find_line(budget)
        declared = line.budgets[0]
        if project and project != line.project.name:
            raise UsageError(
                f"budget {budget} is a line of project {line.project.name!r}, not of {project!r}",
                "Leave --project out, or name the line's",
            )
        if named.setdefault(LINE, budget) != budget:
            raise UsageError(f"the label {LINE}={named[LINE]} names another line than --budget", "Give one of the two")
        return _Charged(line, line.project.name, Phase(phase or declared.phase), owner or declared.owner, named)

    def watch(self, kept: Kept, run_id: str, told: Callable[[str], None]) -> LineWatch | None:
        if self.line is None:
            return None
        return LineWatch(self.line, store=kept.store, folder=kept.folder, run_id=run_id, told=told)

    def begin(self, watch: LineWatch | None) -> bool:
        """False when nothing is left to draw."""
        return watch is None or watch.begin(datetime.now(UTC))


def _held(
    watch: LineWatch | None, watched: Watched, session: MeterSession, told: Callable[[str], None], *,
    send: Callable[[int], bool] | None = None, grace_s: float = GRACE_S,
) -> contextlib.AbstractContextManager[Held | None]:  # fmt: skip
    if watch is None:
        return contextlib.nullcontext()
    return Held(watch, watched, session.clock, send=send, grace_s=grace_s, told=told)


class _Noted:
    """An executor whose run is noted in a journal while it lasts; `cpu_s` is what its tree took."""

    name: ClassVar[str] = "noted"

    def __init__(
        self, executor: Executor, session: MeterSession, journal: RunJournal, around: Surroundings, *,
        watch: LineWatch | None, send: Callable[[int], bool] | None, grace_s: float, told: Callable[[str], None],
    ) -> None:  # fmt: skip
        self._executor, self._session, self._journal, self._around = executor, session, journal, around
        self._watch, self._send, self._grace_s, self._told = watch, send, grace_s, told
        self._holder: Held | None = None
        self.watched: Watched | None = None
        self.cpu_s: float | None = None

    @classmethod
    def probe(cls) -> Availability:
        return Availability(cls.name, usable=True)

    def run(self, command: Sequence[str]) -> Completed:
        with (
            Watched(self._session, self._journal, around=self._around) as self.watched,
            _held(
                self._watch, self.watched, self._session, self._told, send=self._send, grace_s=self._grace_s
            ) as self._holder,
        ):
            completed = self._executor.run(command)
        self.cpu_s = completed.cpu_s
        return completed

    def stopped_at(self, budget: str, receipt: Receipt) -> Receipt:
        """The receipt, with what was done to the run."""
        held = self._holder
        if held is None or not held.stopped:
            return receipt
        told = f"stopped before budget {budget} was overshot: SIGTERM"
        told += f", and SIGKILL after {self._grace_s:g} s" if held.killed else ", and it ended by itself"
        labels = tuple(sorted({**dict(receipt.labels), STOPPED_BY: budget}.items()))
        return replace(receipt, labels=labels, notes=(*receipt.notes, told))


def exit_code_of(receipt: Receipt) -> int:
    """What `outweigh measure` ends with: the command's own code; 124 when it was stopped at its budget and ended
    within the grace period, 137 when it had to be killed, as `timeout` ends (GNU coreutils manual, timeout).
    """
    if STOPPED_BY in dict(receipt.labels):
        return _KILLED_CODE if receipt.exit_code == _KILLED_CODE else STOPPED_CODE
    return receipt.exit_code if receipt.exit_code is not None else 0


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
    if receipt.hum_split is not None:
        lines.append(f"  of the hum: {split_line(receipt.hum_split)}")
    lines.append(f"  how: {total.source}")
    lines += [f"  note: {text}" for text in receipt.notes]
    lines.append(f"  receipt {address[:12]} in {kept_in}")
    return "\n".join(lines)


def split_line(split: HumSplit) -> str:
    """
    >>> split_line(HumSplit(allocated=Energy(3.5), cooling=Energy(1200.0)))
    'allocated 3.50 J, cooling 1.20 kJ'
    """
    parts = {"allocated": split.allocated, "unallocated": split.unallocated, "host": split.host,
             "cooling": split.cooling}  # fmt: skip
    return ", ".join(f"{name} {si(energy.joules, 'J')}" for name, energy in parts.items() if energy is not None)
