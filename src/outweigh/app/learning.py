"""Jobs of a file, corrected by what earlier receipts of theirs say."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from outweigh.app.files import opened
from outweigh.plan.problem import Job, Level
from outweigh.plan.sites import PlanSpec
from outweigh.ports import ReceiptFilter
from outweigh.run.learning import Learned, learn


def corrected(spec: PlanSpec, ledger: Path | str | None) -> tuple[PlanSpec, list[str]]:
    """The jobs with run time and power as their receipts have them, and how many receipts each correction rests on.

    Raises:
        LedgerError: there is no such ledger.
    """
    with opened(ledger) as store:
        found = learn(receipt for _, receipt in store.receipts(ReceiptFilter()))
    jobs = tuple(_corrected(job, found[job.name]) if job.name in found else job for job in spec.jobs)
    said = [found[job.name].words(job.name) for job in spec.jobs if job.name in found]
    unknown = sum(job.name not in found for job in spec.jobs)
    if unknown:
        said.append(f"{unknown} of {len(spec.jobs)} jobs as declared: no receipt is of them")
    return replace(spec, jobs=jobs), said


def _corrected(job: Job, learned: Learned) -> Job:
    return replace(
        job,
        work_h=job.work_h * learned.run_ratio,
        work_quantiles=tuple((p, hours * learned.run_ratio) for p, hours in job.work_quantiles),
        levels=tuple(Level(level.speed, level.power_w * learned.power_ratio) for level in job.levels),
        run_factor=learned.run_ratio,
        power_factor=learned.power_ratio,
    )
