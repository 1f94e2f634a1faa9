"""A plan as a file: everything needed to run it, draw it, check it and compare it with what came of it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, timedelta
from typing import Any, Final

import numpy as np

from outweigh.plan.problem import Floats, Job, Level, Places
from outweigh.plan.shared import Capacity, Outcome, Runs, Schedule
from outweigh.plan.sites import Ask

SCHEMA: Final = "outweigh.plan/1"
#: Of one entry of a plan; ten times what was ever planned. A file that says more is a slip of the pen.
MOST_COPIES: Final = 10_000_000
_SAME_POWER: Final = 1e-6
Document = dict[str, Any]


def plan_body(
    jobs: Sequence[Job],
    places: Places,
    capacity: Capacity,
    schedule: Schedule,
    asks: Mapping[str, Ask],
    *,
    work_quantile: float = 0.5,
) -> Document:
    """What a plan says of its horizon, sites and jobs, as plain JSON with the unit in every key.

    Times are ISO 8601 in UTC. Energy of a job is IT energy unless the key says facility; power of a piece is the mean
    IT power of one of its `count` jobs over the piece, and pieces of one `run` are of the same jobs. A step that is not
    known is null. What planning again needs of a job and a site is there too, and `runs` hold what the check needs: for
    one of the jobs, stretches of like steps as [first step, how many, work of each in hours at speed 1, IT energy of
    each in kWh].
    """
    it_kwh = schedule.runs.it_kwh(len(places.names), places.steps)
    pue = np.broadcast_to(places.pue if places.pue.ndim == 2 else places.pue[:, np.newaxis], it_kwh.shape)
    price, carbon = (_expected(each, places) for each in (places.price, places.carbon))
    limit = capacity.by_step(places)
    return {
        "horizon": {
            "start": _iso(places, 0.0),
            "end": _iso(places, places.steps),
            "step_s": places.step_s,
            "steps": places.steps,
        },
        "sites": [
            {
                "name": name,
                # The mean of equal figures can be off in the last digit, and planning again must see the same.
                "pue": float(pue[s, 0] if (pue[s] == pue[s, 0]).all() else pue[s].mean()),
                "capacity_kw": None if np.isinf(limit[s]).all() else _known(limit[s]),
                "load_kw": _known(it_kwh[s] / places.step_h),
                "price_per_kwh": _known(price[s]),
                "intensity_g_per_kwh": _known(carbon[s]),
                "capacity_price_per_kwh": _known(schedule.prices.limit[s]),
                "demand_price_per_kw": _known(schedule.prices.demand[s]) if schedule.prices.demand.size else None,
                "move_cost_per_gb": float(places.move_cost_per_gb[s]) if places.move_cost_per_gb.size else 0.0,
                "demand_rate_per_kw": float(capacity.demand_rate[s]) if capacity.demand_rate.size else 0.0,
                "peak_so_far_kw": float(capacity.peak_kw[s]) if capacity.peak_kw.size else 0.0,
                **_site_totals(it_kwh[s] * pue[s], price[s], carbon[s]),
            }
            for s, name in enumerate(places.names)
        ],
        "jobs": [
            _job(job, position, places, schedule, pue, price, carbon, asks, work_quantile)
            for position, job in enumerate(jobs)
        ],
    }


def outcome_body(outcome: Outcome) -> Document:
    return {
        "policy": outcome.policy,
        "cost": outcome.cost,
        "carbon_kg": outcome.carbon_g / 1e3,
        "objective": outcome.objective,
        "late_jobs": outcome.late,
    }


def plan_id(document: Mapping[str, Any]) -> str:
    """SHA-256 over what the plan says, its time of making and its own id left out."""
    said = {key: value for key, value in document.items() if key not in ("created", "plan_id")}
    return hashlib.sha256(json.dumps(said, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def pieces(runs: Runs, row: int, levels: Sequence[Level], step_h: float) -> Iterator[tuple[float, float, float]]:
    """The stretches of a run in which its power is the same: start, end [steps] and IT energy [kWh], in order.

    A part of a step is as long as it is on, at a power that the job has: at the end of the step where the next one
    follows and none came before, else at its beginning.
    """
    first, last = int(runs.offset[row]), int(runs.offset[row + 1])
    step, kwh = runs.step[first:last].tolist(), runs.energy_kwh[first:last].tolist()
    kw = _powers(runs.work[first:last].tolist(), kwh, levels, step_h)
    begun: tuple[float, float, float] | None = None
    for at in range(last - first):
        start = max(float(step[at]), float(runs.start[row]))
        end = min(step[at] + 1.0, float(runs.end[row]))
        if end <= start or kwh[at] <= 0:
            continue
        on = kwh[at] / (kw[at] * step_h)
        if on < (end - start) * (1 - _SAME_POWER):
            follows, came = step[at] + 1 in step[at + 1 : at + 2], at > 0 and step[at - 1] == step[at] - 1
            start, end = (end - on, end) if follows and not came else (start, start + on)
        if (
            begun is not None
            and begun[1] == start
            and _alike(begun[2] / (begun[1] - begun[0]), kwh[at] / (end - start))
        ):
            begun = (begun[0], end, begun[2] + kwh[at])
            continue
        if begun is not None:
            yield begun
        begun = (start, end, kwh[at])
    if begun is not None:
        yield begun


def _powers(work: Sequence[float], kwh: Sequence[float], levels: Sequence[Level], step_h: float) -> list[float]:
    """Power in every step at which it would be on for all of what it draws [kW], of the levels of the job."""
    found: list[float | None] = []
    for done, drawn in zip(work, kwh, strict=True):
        own = (one.power_w / 1e3 for one in levels if _alike(drawn, done / one.speed * one.power_w / 1e3 * step_h))
        found.append(next(own, None) if done else None)
    # What restores does no work, at the level of the run. What is between two levels is on all the time, as no level is
    # below the lowest.
    lowest = min(one.power_w for one in levels) / 1e3
    restores = next((each for each in found if each is not None), lowest)
    return [each or (lowest if done else restores) for each, done in zip(found, work, strict=True)]


def _stretches(runs: Runs, row: int, step_h: float) -> Iterator[list[float]]:
    first, last = int(runs.offset[row]), int(runs.offset[row + 1])
    held: list[float] | None = None
    for step, work, kwh in zip(
        runs.step[first:last].tolist(), runs.work[first:last].tolist(), runs.energy_kwh[first:last].tolist(),
        strict=True,
    ):  # fmt: skip
        if held is not None and step == held[0] + held[1] and (work * step_h, kwh) == (held[2], held[3]):
            held[1] += 1
            continue
        if held is not None:
            yield held
        held = [step, 1, work * step_h, kwh]
    if held is not None:
        yield held


def _alike(one: float, other: float) -> bool:
    return abs(one - other) <= _SAME_POWER * max(one, other)


def _job(
    job: Job,
    position: int,
    places: Places,
    schedule: Schedule,
    pue: Floats,
    price: Floats,
    carbon: Floats,
    asks: Mapping[str, Ask],
    work_quantile: float,
) -> Document:
    ask = asks.get(job.name, Ask())
    runs, drawn, held = schedule.runs, list[Document](), list[Document]()
    it_kwh = facility_kwh = cost = grams = 0.0
    for number, row in enumerate(schedule.of_job(position).tolist()):
        site, count = int(runs.site[row]), int(runs.count[row])
        entries = slice(int(runs.offset[row]), int(runs.offset[row + 1]))
        kwh = runs.energy_kwh[entries] * count
        at = runs.step[entries]
        it_kwh += float(kwh.sum())
        facility_kwh += float((kwh * pue[site, at]).sum())
        cost += float((kwh * pue[site, at] * price[site, at]).sum())
        grams += float((kwh * pue[site, at] * carbon[site, at]).sum())
        held.append({
            "site": places.names[site], "count": count, "start_step": float(runs.start[row]),
            "end_step": float(runs.end[row]), "steps": list(_stretches(runs, row, places.step_h)),
        })  # fmt: skip
        drawn.extend(
            {
                "run": number,
                "site": places.names[site],
                "start": _iso(places, start),
                "end": _iso(places, end),
                "count": count,
                "power_w": energy / ((end - start) * places.step_h) * 1e3,
                "energy_kwh": energy,
            }
            for start, end, energy in pieces(runs, row, job.levels, places.step_h)
        )
    return {
        "name": job.name,
        "count": job.count,
        "home": job.home,
        "release": job.release.isoformat(),
        "deadline": job.deadline.isoformat(),
        "work_h": job.work_h,
        "planned_work_h": job.work_at(work_quantile),
        "run_factor": job.run_factor,
        "power_factor": job.power_factor,
        "preemptible": job.preemptible,
        "start": min((piece["start"] for piece in drawn), default=None),
        "end": max((piece["end"] for piece in drawn), default=None),
        "sites": list(dict.fromkeys(piece["site"] for piece in drawn)),
        "energy_kwh": it_kwh,
        "facility_energy_kwh": facility_kwh,
        "energy_cost": cost,
        "carbon_kg": grams / 1e3,
        "pieces": drawn,
        "runs": held,
        "levels": [{"speed": level.speed, "power_w": level.power_w} for level in job.levels],
        "allowed_sites": [job.home] if not job.movable else sorted(job.sites or places.names),
        "checkpoint_h": job.checkpoint_h,
        "checkpoint_kwh": job.checkpoint_kwh,
        "checkpoint_signal": ask.signal,
        "checkpoint_grace_s": ask.grace_s,
        "data_gb": job.data_gb,
        "cpus": ask.cpus,
        "gpus": ask.gpus,
        "nodes": ask.nodes,
        "command": list(ask.command),
    }


def _site_totals(facility_kwh: Floats, price: Floats, carbon: Floats) -> Document:
    drawn = facility_kwh > 0  # where nothing is drawn, a gap in the price is no matter
    return {
        "facility_energy_kwh": float(facility_kwh.sum()),
        "energy_cost": float((facility_kwh * price)[drawn].sum()),
        "carbon_kg": float((facility_kwh * carbon)[drawn].sum()) / 1e3,
    }


def _expected(each: Floats, places: Places) -> Floats:
    """Over the scenarios that can happen, shape (S, T)."""
    chance = places.probability if places.probability.size else np.full(len(each), 1 / len(each))
    return np.asarray(np.tensordot(chance[chance > 0], each[chance > 0], axes=1))


def _known(values: Floats) -> list[float | None]:
    return [value if np.isfinite(value) else None for value in values.tolist()]


def _iso(places: Places, steps: float) -> str:
    return (places.start.astimezone(UTC) + timedelta(seconds=steps * places.step_s)).isoformat()
