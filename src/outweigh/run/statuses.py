"""What an executor said of a job, in plan time, and as JSON for the ledger's database."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime
from typing import Any

from outweigh.core.intervals import Interval
from outweigh.core.jobs import JobState, JobStatus, Stint
from outweigh.core.measurement import Grade, Measurement, Method, Scope, UncertaintyComponent
from outweigh.core.quantities import Energy
from outweigh.run.clock import PlanClock


def in_plan_time(status: JobStatus, clock: PlanClock) -> JobStatus:
    """Its stamps moved to plan time; energy is left out where the clock is not the world's: those joules are of a
    trial."""
    if clock.is_real:
        return status

    def at(stamp: datetime | None) -> datetime | None:
        return None if stamp is None else clock.to_plan(stamp)

    return replace(
        status,
        submitted=at(status.submitted),
        begin=at(status.begin),
        started=at(status.started),
        ended=at(status.ended),
        stints=tuple(replace(stint, start=clock.to_plan(stint.start), end=at(stint.end)) for stint in status.stints),
        energy=None,
    )


def without_sites(status: JobStatus) -> JobStatus:
    """Where the executor's places are none of the plan's, what it calls them means nothing here."""
    return replace(status, site="", stints=tuple(replace(stint, site="") for stint in status.stints))


def told_apart(status: JobStatus) -> tuple[object, ...]:
    """What makes a status another one: everything but the energy of a job that still runs."""
    return (
        status.id, status.state, status.restarts, status.site, status.begin, status.stints, status.exit_code,
        status.reason, status.notes, status.ended,
    )  # fmt: skip


def to_dict(status: JobStatus) -> dict[str, Any]:
    return {
        "key": status.key,
        "id": status.id,
        "state": status.state.value,
        "site": status.site,
        "restarts": status.restarts,
        "submitted": _text(status.submitted),
        "begin": _text(status.begin),
        "started": _text(status.started),
        "ended": _text(status.ended),
        "stints": [[s.site, s.start.isoformat(), _text(s.end), list(s.nodes)] for s in status.stints],
        "exit_code": status.exit_code,
        "energy": None if status.energy is None or not status.state.over else _energy(status.energy),
        "reason": status.reason,
        "notes": list(status.notes),
        "simulated": status.simulated,
    }


def from_dict(body: Mapping[str, Any]) -> JobStatus:
    energy = body["energy"]
    return JobStatus(
        key=body["key"],
        id=body["id"],
        state=JobState(body["state"]),
        site=body["site"],
        restarts=body["restarts"],
        submitted=_stamp(body["submitted"]),
        begin=_stamp(body["begin"]),
        started=_stamp(body["started"]),
        ended=_stamp(body["ended"]),
        stints=tuple(
            Stint(site, datetime.fromisoformat(start), _stamp(end), tuple(nodes))
            for site, start, end, nodes in body["stints"]
        ),
        exit_code=body["exit_code"],
        energy=None if energy is None else _measurement(energy),
        reason=body["reason"],
        notes=tuple(body["notes"]),
        simulated=body["simulated"],
    )


def _energy(measured: Measurement) -> dict[str, Any]:
    return {
        "energy_j": measured.value.joules,
        "start": measured.interval.start.isoformat(),
        "end": measured.interval.end.isoformat(),
        "scope": measured.scope.value,
        "grade": measured.grade.value,
        "method": measured.method.value,
        "source": measured.source,
        "components": [[c.name, c.standard, c.source] for c in measured.components],
    }


def _measurement(body: Mapping[str, Any]) -> Measurement:
    return Measurement(
        Energy(body["energy_j"]),
        Interval(datetime.fromisoformat(body["start"]), datetime.fromisoformat(body["end"])),
        Scope(body["scope"]),
        Grade(body["grade"]),
        Method(body["method"]),
        body["source"],
        tuple(UncertaintyComponent(*each) for each in body["components"]),
    )


def _text(stamp: datetime | None) -> str | None:
    return None if stamp is None else stamp.isoformat()


def _stamp(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
