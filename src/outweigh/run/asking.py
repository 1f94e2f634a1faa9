"""A step as an executor is asked for it."""

from __future__ import annotations

import json
from datetime import datetime

from outweigh.core.following import StepKind
from outweigh.core.jobs import JobRequest, JobStatus
from outweigh.ports import JobExecutor
from outweigh.run.clock import PlanClock
from outweigh.run.deciding import Wanted
from outweigh.run.following import Following
from outweigh.run.tracked import Tracked


def ask(
    executor: JobExecutor, job: Tracked, each: Wanted, begin: datetime | None, clock: PlanClock, following: Following
) -> JobStatus | None:
    """Ask it; what it says of a job that is submitted, in its own time.

    Args:
        begin: of the step, in wall time.

    Raises:
        ExecutorError: as `JobExecutor` says.
    """
    if each.kind is StepKind.SUBMIT:
        return executor.submit(request(job, each, begin, clock, following))
    if each.kind is StepKind.RELEASE:
        executor.release(job.key, begin=begin)
    elif each.kind is StepKind.MOVE:
        executor.move(job.key, each.site)
    elif each.kind is StepKind.PAUSE:
        executor.pause(job.key)
    elif each.kind is StepKind.RESUME:
        executor.resume(job.key)
    else:
        executor.cancel(job.key)
    return None


def request(job: Tracked, each: Wanted, begin: datetime | None, clock: PlanClock, following: Following) -> JobRequest:
    """What is asked for, of a job that is submitted."""
    terms = job.terms
    return JobRequest(
        key=job.key,
        command=terms.command,
        name=job.name,
        site=each.site if following.names_sites else "",
        begin=begin,
        hold=each.hold,
        checkpoint=terms.checkpoint,
        power_w=max(piece.power_w for piece in job.pieces) if terms.power_known else 0.0,
        cpus=terms.cpus,
        gpus=terms.gpus,
        nodes=terms.nodes,
        work_s=clock.wall_s(job.needs_s()),
        cwd=following.cwd,
        environment=(
            ("OUTWEIGH_JOB_NAME", job.name),
            ("OUTWEIGH_JOB_PROJECT", following.project),
            ("OUTWEIGH_JOB_PHASE", following.phase),
            ("OUTWEIGH_SITE", each.site),
        ),
    )


def detail(each: Wanted) -> str:
    """A step for the database."""
    begin = None if each.begin is None else each.begin.isoformat()
    return json.dumps({"site": each.site, "begin": begin, "hold": each.hold}, separators=(",", ":"))
