"""A plan file taken apart again and checked: against its own jobs, sites and prices, and nothing that made it."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any, Final

import numpy as np

from outweigh.core.errors import OutweighError, UsageError
from outweigh.core.plan import Certificate
from outweigh.plan.planfile import MOST_COPIES, SCHEMA, outcome_body, plan_body, plan_id
from outweigh.plan.problem import Floats, Job, Level, Places
from outweigh.plan.saving import saving_body
from outweigh.plan.shared import Capacity, CapacityPrices, Outcome, Runs, Schedule, verify
from outweigh.plan.shared.planning import evaluate
from outweigh.plan.shared.policies import Placed, first_come
from outweigh.plan.sites import Ask

_RELATIVE: Final = 1e-8
_MOST: Final = 20
# Parts of runs, a step each: more than a plan of a million jobs has. They are spread out here from a few letters.
_MOST_PARTS: Final = 20_000_000
# What a file that people or programs changed can make of reading it.
_MALFORMED: Final = (KeyError, TypeError, ValueError, AttributeError, IndexError, OverflowError, ZeroDivisionError)
_AGAIN: Final = "Make it again with `outweigh plan JOBS --out plan.json`"
Document = Mapping[str, Any]


@dataclass(frozen=True, slots=True, eq=False)
class Rebuilt:
    """What a plan file was made of, and the plan in it."""

    jobs: tuple[Job, ...]
    places: Places
    capacity: Capacity
    schedule: Schedule
    asks: Mapping[str, Ask]


def rebuild(document: Document, source: str) -> Rebuilt:
    """Jobs, places, capacity and plan of a file of schema outweigh.plan/1. Uncertain work is the work planned for.

    Raises:
        UsageError: it is no such plan, or does not hold what this needs.
    """
    given = document.get("schema") if isinstance(document, Mapping) else None
    if given != SCHEMA:
        raise UsageError(f"{source} is no plan of schema {SCHEMA} (it says {given!r})", _AGAIN)
    if not _finite(document):
        raise UsageError(f"{source} holds a number that is not finite", _AGAIN)
    try:
        jobs = tuple(_job(body) for body in document["jobs"])
        places, capacity = _places(document), _capacity(document)
        schedule = _schedule(document, jobs, places, capacity)
        asks = {body["name"]: _ask(body) for body in document["jobs"]}
    except OutweighError as err:
        raise UsageError(f"{source} holds what no plan can: {err}", _AGAIN) from err
    except _MALFORMED as err:
        raise UsageError(f"{source} lacks what a check needs, or says it otherwise ({err!r})", _AGAIN) from err
    return Rebuilt(jobs, places, capacity, schedule, asks)


def faults(document: Document, source: str) -> tuple[str, ...]:
    """Everything that is wrong with a plan file, as sentences; empty when it is sound.

    - Its id is the digest of what it says.
    - All that `plan.shared.verify` looks at: windows, sites, work, capacity, sums, and the bound with its proof.
    - Totals of sites and jobs, pieces and times are what the runs come to.
    - Starting now, at home, is worked out again, and the saving is the distance to it; so are its sentence and whether
      it is noise, from the forecasts' error that the file states.

    What it cannot know is whether carbon and prices in the file are those of the grid: `--replay` looks up their
    vintages. Nor are sources, grades, the forecasts' error, the best constant policy, the frontier and notes looked at.

    Raises: see `rebuild`.
    """
    built = rebuild(document, source)
    found: list[str] = []
    try:
        for fault in _faults(document, built):
            found.append(fault)
            if len(found) == _MOST:
                found.append("and more")
                break
    except OutweighError as err:
        found.append(f"what it holds cannot be planned: {err}")
    except _MALFORMED as err:
        found.append(f"it lacks what a check needs, or says it otherwise ({err!r})")
    return tuple(found)


def _faults(document: Document, built: Rebuilt) -> Iterator[str]:
    stated = document.get("plan_id")
    if stated != plan_id(document):
        yield f"the id {str(stated)[:12]!r} is not the digest of the plan: it was changed after it was made"
    yield from verify(built.schedule, built.jobs, built.places, built.capacity)
    body = plan_body(built.jobs, built.places, built.capacity, built.schedule, built.asks)
    # Of an uncertain duration the file holds the work that was planned for.
    for one, said in zip(body["jobs"], document["jobs"], strict=True):
        one["work_h"] = said["work_h"]
    for key in ("horizon", "sites", "jobs"):
        yield from _different(document[key], body[key], key)
    total = sum(site["facility_energy_kwh"] for site in body["sites"])
    yield from _different(document.get("facility_energy_kwh"), total, "facility_energy_kwh")
    baseline = _baseline(built)
    against = document.get("against") or [{}]
    yield from _different(against[0], outcome_body(baseline), "against[0]")
    saving = document.get("saving") or {}
    # Of the figures that were just looked at, so that the sentence is the same to the last letter.
    error = saving.get("error_objective")
    if error is not None and not (_number(error) and error >= 0):
        yield f"saving.error_objective is {error!r}"
        return
    worked_out = saving_body(document["plan"], against[0], str(document["currency"]), error)
    yield from _different(saving.get("objective"), worked_out["objective"], "saving.objective",
                          size=abs(baseline.objective))  # fmt: skip
    yield from _different(saving.get("share"), worked_out["share"], "saving.share", size=1.0)
    for key in ("noise", "statement"):
        yield from _different(saving.get(key), worked_out[key], f"saving.{key}")


def _different(said: Any, found: Any, where: str, size: float | None = None) -> Iterator[str]:
    """Where a document says otherwise than what was worked out; keys only it has are no matter."""
    if isinstance(found, Mapping) and isinstance(said, Mapping):
        for key, value in found.items():
            yield from _different(said.get(key), value, f"{where}.{key}")
    elif isinstance(found, list) and isinstance(said, list):
        if len(found) != len(said):
            yield f"{where} has {len(said)} entries, not {len(found)}"
            return
        scale = max((abs(one) for one in found if isinstance(one, float)), default=0.0)
        for i, (one, other) in enumerate(zip(said, found, strict=True)):
            yield from _different(one, other, f"{where}[{i}]", size=scale)
    elif _number(found) and _number(said):
        if not abs(said - found) <= _RELATIVE * max(abs(found), size or 0.0) + 1e-12:
            yield f"{where} says {said!r}, the runs come to {found!r}"
    elif said != found:
        yield f"{where} says {said!r}, the runs come to {found!r}"


def _number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def now_at_home(jobs: Sequence[Job], places: Places, capacity: Capacity, work_quantile: float = 0.5) -> Placed:
    """The runs a plan is held against: start now, at home, in the order of release, waiting where there is no room."""
    rows = places.jobs(jobs, work_quantile=work_quantile)
    sites = np.arange(len(places.names))
    return first_come(rows, capacity.by_step(places), np.ones(len(rows)), places.step_h, sites, home_first=True)


def _baseline(built: Rebuilt) -> Outcome:
    placed = now_at_home(built.jobs, built.places, built.capacity)
    rows = built.places.jobs(built.jobs)
    carbon_price = built.schedule.carbon_price_per_tonne
    name = built.schedule.baseline.policy
    return evaluate(name, placed.runs, rows, built.places, built.capacity, carbon_price, None, placed.late)


def _finite(value: Any) -> bool:
    if isinstance(value, Mapping):
        return all(_finite(each) for each in value.values())
    if isinstance(value, list):
        return all(_finite(each) for each in value)
    return not isinstance(value, float) or math.isfinite(value)


# --- reading --------------------------------------------------------------------------------------------


def _whole(value: Any, least: int, most: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not least <= value <= most:
        asked = f"a whole number from {least} to {most}" if least < most else f"the {most} there are"
        raise ValueError(f"{value!r} is not {asked}")
    return value


def _job(body: Document) -> Job:
    allowed = [str(site) for site in body["allowed_sites"]]
    return Job(
        name=str(body["name"]),
        release=datetime.fromisoformat(body["release"]),
        deadline=datetime.fromisoformat(body["deadline"]),
        work_h=float(body["planned_work_h"]),
        levels=tuple(Level(float(one["speed"]), float(one["power_w"])) for one in body["levels"]),
        preemptible=bool(body["preemptible"]),
        home=str(body["home"]),
        sites=frozenset(allowed),
        checkpoint_h=float(body["checkpoint_h"]),
        checkpoint_kwh=float(body["checkpoint_kwh"]),
        data_gb=float(body["data_gb"]),
        count=_whole(body["count"], 1, MOST_COPIES),
        run_factor=float(body.get("run_factor", 1.0)),
        power_factor=float(body.get("power_factor", 1.0)),
    )


def _ask(body: Document) -> Ask:
    return Ask(
        tuple(body["command"]), body["checkpoint_signal"], body["checkpoint_grace_s"], body["cpus"], body["gpus"],
        body["nodes"],
    )  # fmt: skip


def _places(document: Document) -> Places:
    sites = document["sites"]
    return Places(
        names=tuple(str(site["name"]) for site in sites),
        start=datetime.fromisoformat(document["horizon"]["start"]),
        step_s=float(document["horizon"]["step_s"]),
        price=_by_step(sites, "price_per_kwh", math.nan)[np.newaxis],
        carbon=_by_step(sites, "intensity_g_per_kwh", math.nan)[np.newaxis],
        pue=np.array([float(site["pue"]) for site in sites]),
        move_cost_per_gb=np.array([float(site["move_cost_per_gb"]) for site in sites]),
    )


def _capacity(document: Document) -> Capacity:
    sites = document["sites"]
    # As many as there are prices: a count alone could ask for any amount of memory.
    steps = _whole(document["horizon"]["steps"], *(2 * [len(sites[0]["price_per_kwh"])]))
    limit = [[None] * steps if site["capacity_kw"] is None else site["capacity_kw"] for site in sites]
    return Capacity(
        np.array([[math.inf if one is None else float(one) for one in row] for row in limit]),
        demand_rate=np.array([float(site["demand_rate_per_kw"]) for site in sites]),
        peak_kw=np.array([float(site["peak_so_far_kw"]) for site in sites]),
    )


def _by_step(sites: Sequence[Document], key: str, missing: float) -> Floats:
    return np.array([[missing if one is None else float(one) for one in site[key]] for site in sites])


def _schedule(document: Document, jobs: Sequence[Job], places: Places, capacity: Capacity) -> Schedule:
    runs = _runs(document["jobs"], {name: i for i, name in enumerate(places.names)}, places)
    sites, certificate = document["sites"], document["certificate"]
    prices = CapacityPrices(_by_step(sites, "capacity_price_per_kwh", 0.0))
    if capacity.charged:
        prices = replace(prices, demand=_by_step(sites, "demand_price_per_kw", 0.0))
    against = [_outcome(one) for one in document["against"]]
    return Schedule(
        names=tuple(job.name for job in jobs),
        sites=places.names,
        runs=runs,
        outcome=_outcome(document["plan"]),
        baseline=against[0],
        best_constant=against[1],
        alone=against[0],
        it_energy_kwh=float(document["it_energy_kwh"]),
        carbon_price_per_tonne=float(document["carbon_price_per_tonne"]),
        certificate=Certificate(
            float(certificate["objective"]), float(certificate["lower_bound"]), float(certificate["gap"]),
            str(certificate["currency"]), str(certificate["method"]), str(certificate.get("within", "")),
        ),
        prices=prices,
    )  # fmt: skip


def _runs(jobs: Sequence[Document], site_of: Mapping[str, int], places: Places) -> Runs:
    each = [(position, run) for position, job in enumerate(jobs) for run in job["runs"]]
    stretches = [(number, *stretch) for number, (_, run) in enumerate(each) for stretch in run["steps"]]
    number, first, many, work, kwh = (
        (list(column) for column in zip(*stretches, strict=True)) if stretches else [[]] * 5
    )
    for at, length in zip(first, many, strict=True):
        _whole(at, 0, places.steps - 1)
        _whole(length, 1, places.steps - at)
    if sum(many) > _MOST_PARTS:
        raise ValueError(f"its runs have {sum(many):,} parts, more than the {_MOST_PARTS:,} that are looked at")
    length = np.array(many, dtype=np.int64)
    within = np.arange(length.sum()) - np.repeat(np.cumsum(length) - length, length)
    return Runs(
        job=np.array([position for position, _ in each], dtype=np.int64),
        site=np.array([site_of[run["site"]] for _, run in each], dtype=np.int64),
        count=np.array([_whole(run["count"], 0, MOST_COPIES) for _, run in each], dtype=np.int64),
        start=np.array([float(run["start_step"]) for _, run in each]),
        end=np.array([float(run["end_step"]) for _, run in each]),
        offset=np.concatenate(
            [[0], np.cumsum(np.bincount(np.array(number, dtype=np.int64), length, minlength=len(each)))]
        ).astype(np.int64),
        step=np.repeat(np.array(first, dtype=np.int64), length) + within,
        work=np.repeat(np.array(work, dtype=np.float64) / places.step_h, length),
        energy_kwh=np.repeat(np.array(kwh, dtype=np.float64), length),
    )


def _outcome(body: Document) -> Outcome:
    return Outcome(
        str(body["policy"]), float(body["cost"]), 1e3 * float(body["carbon_kg"]), float(body["objective"]),
        int(body["late_jobs"]),
    )  # fmt: skip
