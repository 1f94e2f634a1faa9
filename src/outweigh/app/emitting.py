"""`plan --emit`: a plan as the task files of another scheduler, which then starts its jobs without us."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

from outweigh.app.supervising import read_plan_file
from outweigh.core.errors import UsageError
from outweigh.registry import exporters
from outweigh.run.terms import read_plan

SCHEMA: Final = "outweigh.starts/1"
KINDS: Final = ("airflow", "skypilot")


def emit(plan: Path, kind: str, into: Path) -> int:
    """Write the task files of a plan file; how many jobs they hold.

    Args:
        kind: one of KINDS. into: the DAG file (airflow), or the folder of task files (skypilot).

    Raises:
        UsageError: it is no plan, has a job without a command, or one that the scheduler cannot run as it was planned.
        OutputError: it cannot be written.
    """
    document = starts(read_plan_file(plan), str(plan))
    exporters.get(kind)().write(document, into)
    return len(document["jobs"])


def starts(document: Mapping[str, Any], source: str) -> dict[str, Any]:
    """Every single job of a plan with its command, its site and its start, in the order of the starts.

    Schema outweigh.starts/1: plan_id, source_name, horizon of the plan; jobs with name, command, site, start, end and
    deadline (ISO 8601), cpus, gpus, nodes.

    Raises:
        UsageError: a job pauses or moves while it runs. A scheduler that only starts jobs would run it otherwise than
            planned.
    """
    read = read_plan(document, source)
    jobs = []
    for position, which, pieces in read.pieces:
        terms = read.terms[position]
        for before, after in pairwise(pieces):
            if before.end != after.start or before.site != after.site:
                raise UsageError(
                    f"{source} lets job {terms.name!r} pause, and task files only say when it starts",
                    "Plan it with preemptible = false, or let `outweigh run` follow the plan",
                )
        jobs.append(
            {
                "name": terms.name if terms.job.count == 1 else f"{terms.name}-{which + 1}",
                "command": list(terms.command),
                "site": pieces[0].site,
                "start": pieces[0].start.isoformat(),
                "end": pieces[-1].end.isoformat(),
                "deadline": terms.job.deadline.isoformat(),
                "cpus": terms.cpus,
                "gpus": terms.gpus,
                "nodes": terms.nodes,
            }
        )
    return {
        "schema": SCHEMA,
        "plan_id": read.plan_id,
        "source_name": document.get("source_name") or Path(source).name,
        "horizon": document["horizon"],
        "jobs": sorted(jobs, key=lambda job: (job["start"], job["name"])),
    }
