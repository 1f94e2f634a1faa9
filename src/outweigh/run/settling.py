"""What came of a job: what it drew, beside what its plan said, and the receipt of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

from outweigh.core.budget import Phase
from outweigh.core.intervals import Interval
from outweigh.core.measurement import Grade, Measurement, Method, Scope, UncertaintyComponent
from outweigh.core.quantities import Energy
from outweigh.core.receipt import Receipt, RunStatus
from outweigh.ledger.drawn import DEVICE
from outweigh.ledger.imports import SLURM_JOB
from outweigh.run.following import Following
from outweigh.run.inside import inside
from outweigh.run.rates import J_PER_KWH, Drawn, Rates
from outweigh.run.terms import S_PER_HOUR
from outweigh.run.tracked import Fate, Tracked

METHOD: Final = ("outweigh.run", "1")
DECLARED: Final = "declared power of the plan x time at work"
#: Labels of a receipt that a later plan learns from.
JOB, PREDICTED_S, RAN_S, PREDICTED_J, TRIAL = (
    "outweigh.job", "outweigh.predicted_s", "outweigh.ran_s", "outweigh.predicted_j", "outweigh.trial",
)  # fmt: skip
#: What was learnt before had multiplied the declared figures by these; the next is learnt against them as declared.
RUN_FACTOR, POWER_FACTOR = "outweigh.run_factor", "outweigh.power_factor"
_STATUS: Final = {
    Fate.COMPLETED: RunStatus.COMPLETED,
    Fate.FAILED: RunStatus.FAILED,
    Fate.CANCELLED: RunStatus.INTERRUPTED,
    Fate.LOST: RunStatus.UNUSABLE,
}


@dataclass(frozen=True, slots=True)
class Came:
    """What came of a job.

    Attributes:
        start: first start. end: of its last stretch. run_s: at work in between [s].
        work_s: the part of it without restoring after pauses and without attempts that were lost [s].
        it_j: IT energy [J]. standard_j: its standard uncertainty [J].
        measured: whether a meter says so; else it is the declared power times the time at work.
        known: False where neither is there, or the job was lost: the energy is then not known.
        grade: of the energy.
        drawn: at the rates given, with the PUE.
    """

    start: datetime
    end: datetime
    run_s: float
    work_s: float
    it_j: float
    standard_j: float
    measured: bool
    known: bool
    grade: Grade
    drawn: Drawn


def planned(job: Tracked, rates: Rates) -> Drawn:
    """What its first plan says it draws, at these rates."""
    total = Drawn()
    for piece in job.first:
        total = total.plus(rates.over(piece.site, piece.start, piece.end, piece.power_w))
    return total


def came(job: Tracked, rates: Rates, now: datetime) -> Came | None:
    """What it drew until `now`, where and when it ran, at these rates; None when it never began."""
    seen = job.seen
    if seen is None or not seen.stints:
        return None
    until = worked_until(job, now)
    run_s = seen.worked_s(until)
    energy = seen.energy if seen.energy is not None and seen.energy.method is not Method.DECLARED else None
    it_j = job.power_w() * run_s if energy is None else energy.value.joules
    power_w = it_j / run_s if run_s > 0 else 0.0
    drawn = Drawn()
    for stint in seen.stints:
        site = stint.site if stint.site in rates.sites else job.site
        drawn = drawn.plus(rates.over(site, stint.start, stint.end or until, power_w))
    return Came(
        start=seen.stints[0].start,
        end=seen.stints[-1].end or until,
        run_s=run_s,
        work_s=_work_s(job, until),
        it_j=it_j,
        standard_j=0.0 if energy is None else energy.standard_uncertainty.joules,
        measured=energy is not None and energy.method.is_measured,
        known=job.fate is not Fate.LOST and (energy is not None or job.terms.power_known),
        grade=Grade.D if energy is None else energy.grade,
        drawn=drawn,
    )


def worked_until(job: Tracked, now: datetime) -> datetime:
    """Where a stretch that nobody saw end is taken to end. What is over draws no more: it ends where the job was last
    seen, or where nobody kept that, where its last stretch began."""
    seen = job.seen
    if job.fate is None or seen is None or not seen.stints:
        return now
    return seen.ended or max(job.sighted or seen.stints[-1].start, seen.stints[-1].start)


def _work_s(job: Tracked, until: datetime) -> float:
    """Time at work that a run without pauses would have taken [s]: a job that saves restores with each stretch after
    the first, for as long as it declares; one that cannot save begins anew, and only its last stretch counts."""
    assert job.seen is not None, "only what has begun has worked"
    lengths_s = [((stint.end or until) - stint.start).total_seconds() for stint in job.seen.stints]
    if not job.terms.job.preemptible:
        return lengths_s[-1]
    restore_s = job.terms.job.checkpoint_h * S_PER_HOUR
    return lengths_s[0] + sum(max(each - restore_s, 0.0) for each in lengths_s[1:])


def _factors(job: Tracked) -> tuple[tuple[str, float], ...]:
    return (RUN_FACTOR, job.terms.job.run_factor), (POWER_FACTOR, job.terms.job.power_factor)


def receipt_body(job: Tracked, following: Following, *, trial: bool, written: Sequence[Receipt] = ()) -> dict[str, Any]:
    """The receipt of a job that has ended, as a dictionary. The same every time, so that it is kept once.

    Args:
        trial: nothing ran, or on a clock that is not the world's: the figures are the plan's, and say so.
        written: receipts that were written inside the job. What they hold is the job's energy from now on, and this
            receipt holds only what they leave out.
    """
    seen, fate = job.seen, job.fate
    assert seen is not None, "only what has begun has a receipt"
    assert fate is not None, "only what has ended has a receipt"
    end = seen.ended or seen.stints[-1].end or worked_until(job, seen.stints[-1].start)
    found = came(job, following.first_rates, end)
    assert found is not None
    interval = Interval(found.start, max(found.end, found.start))
    kept = inside(job, written, found.run_s, interval) if fate is not Fate.LOST else None
    if kept is not None:
        job.seen = seen = replace(seen, energy=kept.whole)
        found = came(job, following.first_rates, end)
        assert found is not None
    before = planned(job, following.first_rates)
    status = _STATUS[fate]
    energy = seen.energy
    if status is RunStatus.UNUSABLE:
        total = Measurement(Energy(0.0), interval, Scope.NODE, Grade.D, Method.DECLARED, "nobody knows how it ended")
    elif kept is not None:
        total = kept.rest
    elif energy is not None and energy.method is not Method.DECLARED:
        total = energy
    elif not found.known:
        status = RunStatus.UNUSABLE
        total = Measurement(Energy(0.0), interval, Scope.NODE, Grade.D, Method.DECLARED, "nobody says what it draws")
    else:
        # The width is not known either: half of the figure, both ways, is a declared power at its word.
        limits = UncertaintyComponent("declared power", 0.5 * found.it_j / 3**0.5, "± 50 %, rectangular; not measured")
        total = Measurement(
            Energy(found.it_j), interval, Scope.NODE, Grade.D, Method.DECLARED, DECLARED, components=(limits,)
        )
    notes = [*job.notes, *([kept.note] if kept is not None else [])]
    if trial:
        notes.append(
            "a trial: nothing ran" if seen.simulated else
            f"a trial: the clock ran {following.clock['factor']:g} times as fast, and time and energy are the plan's"
        )  # fmt: skip
    sites = sorted({stint.site for stint in seen.stints if stint.site})
    labels = {
        JOB: job.terms.name,
        **({PREDICTED_S: repr(job.needs_s())} if job.terms.work_known else {}),
        RAN_S: repr(found.run_s),
        **({PREDICTED_J: repr(before.it_kwh * J_PER_KWH)} if job.terms.power_known and job.terms.work_known else {}),
        **{name: repr(factor) for name, factor in _factors(job) if factor != 1.0},
        # The joules of a job are its own, also while others of its plan run: they are told apart as devices are.
        DEVICE: job.key,
        "outweigh.sites": ",".join(sites) or job.site,
        "outweigh.deadline": job.deadline.isoformat(),
        "outweigh.attempts": str(seen.restarts + 1),
        **({SLURM_JOB: seen.id} if following.on.partition(":")[0] == "slurm" else {}),
        **({TRIAL: "true"} if trial else {}),
        **(kept.labels if kept is not None else {}),
    }
    return Receipt(
        run_id=job.key,
        project=following.project,
        phase=Phase(following.phase),
        status=status,
        total=total,
        hum=None,
        work=None,
        batch=following.id,
        variant=job.terms.name,
        meter="" if total.method is Method.DECLARED else total.source,
        exit_code=seen.exit_code,
        versions=(METHOD,),
        labels=tuple(sorted(labels.items())),
        notes=tuple(notes),
    ).to_dict()
