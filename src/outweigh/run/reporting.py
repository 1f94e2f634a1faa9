"""Predicted against actual, job by job and in all, and what following the plan saved against starting at once."""

from __future__ import annotations

import heapq
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Any, Final

import numpy as np

from outweigh.plan.problem import G_PER_TONNE
from outweigh.run.following import Following
from outweigh.run.rates import Drawn, Rates
from outweigh.run.replanning import W_PER_KW, SiteTerms
from outweigh.run.settling import Came, came, planned, worked_until
from outweigh.run.tracked import Fate, Stage, Tracked

SCHEMA: Final = "outweigh.run/1"
CONFIDENCE: Final = 0.95
_ROUNDING: Final = 1e-9  # of a figure: what differs by less has not changed, and its sign says nothing


@dataclass(frozen=True, slots=True)
class Saving:
    """What was saved against starting at once, with the interval that holds the like of it with 95 %.

    Attributes:
        of: what starting at once would have come to.
        jobs: pairs it is the sum of. left_out: jobs of which one side or the other is not known.
    """

    value: float
    low: float
    high: float
    of: float
    jobs: int
    left_out: int = 0

    @property
    def share(self) -> float:
        return self.value / self.of if self.of else 0.0

    def to_dict(self, unit: str) -> dict[str, Any]:
        return {
            f"saved_{unit}": self.value if self.jobs else None,
            f"low_{unit}": self.low if math.isfinite(self.low) else None,
            f"high_{unit}": self.high if math.isfinite(self.high) else None,
            f"at_once_{unit}": self.of if self.jobs else None,
            "share": self.share if self.jobs else None,
            "jobs": self.jobs,
            "left_out": self.left_out,
            "confidence": CONFIDENCE,
        }


def run_document(following: Following, jobs: Iterable[Tracked], now: datetime) -> dict[str, Any]:
    """What came of a plan, of schema outweigh.run/1; plain JSON with the unit in every key.

    Energy of a job is IT energy unless the key says facility. What a job was predicted to draw, cost and carry is its
    first plan at the rates it was made on; what it came to is where and when it ran at the latest rates. A figure that
    rests on a step nobody knows is left out of cost or carbon, and the energy it is of stands beside; a job with such a
    step, in what it drew or at once, is no part of a saving, which says how many were left out of it. Jobs that were
    lost, or whose energy is not known, are in no sum; `in_no_sum` counts them. `sources` of a
    site are those the plan was made on; `rates_issued` is when the latest rates were said, null where nobody tells.
    """
    every = list(jobs)
    results = {job.key: came(job, following.rates, now) for job in every}
    at_once = starting_at_once(every, results, following.rates, SiteTerms.of_plan(following.document))
    rows = [_job(job, results[job.key], at_once.get(job.key), following, now) for job in every]
    done = [job for job in every if _counts_in(job, results[job.key]) and job.key in at_once]
    price = float(following.document["carbon_price_per_tonne"])

    pairs = [(at_once[job.key], _drawn(results[job.key])) for job in done]

    def saved(of: Callable[[Drawn], float], *needs: Callable[[Drawn], float]) -> Saving:
        known = [pair for pair in pairs if all(_all_known(one, each) for each in needs for one in pair)]
        found = saving([of(before) for before, _ in known], [of(after) for _, after in known])
        return replace(found, left_out=len(pairs) - len(known))

    return {
        "schema": SCHEMA,
        "as_of": now.isoformat(),
        "following": following.id,
        "plan_id": following.document.get("plan_id"),
        "source_name": following.document.get("source_name") or following.id,
        "on": following.on,
        "clock_factor": following.clock["factor"],
        "trial": following.clock["factor"] != 1.0 or any(job.seen is not None and job.seen.simulated for job in every),
        "currency": following.document["currency"],
        "carbon_meaning": following.document["carbon_meaning"],
        "carbon_price_per_tonne": price,
        "over": all(job.stage is Stage.OVER for job in every),
        "counts": _counts(every, now),
        "in_no_sum": _in_no_sum(every, results),
        "replans": following.replans,
        "predicted": _totals(planned(job, following.first_rates) for job in done),
        "actual": _totals(_drawn(results[job.key]) for job in done),
        "at_once": _totals(at_once[job.key] for job in done),
        "saving": {
            "carbon": saved(lambda one: one.carbon_g / 1e3, _unseen).to_dict("kg"),
            "cost": saved(lambda one: one.cost, _unpriced).to_dict("currency"),
            "objective": saved(lambda one: one.cost + one.carbon_g / G_PER_TONNE * price, _unpriced, _unseen).to_dict(
                "currency"
            ),
        },
        "horizon": following.document["horizon"],
        "rates_issued": following.rates.issued or None,
        "sites": [
            {
                "name": site["name"],
                "zone": site.get("zone"),
                "intensity_g_per_kwh": _known(following.rates.carbon[i]),
                "price_per_kwh": _known(following.rates.price[i]),
                "sources": site.get("sources"),
            }
            for i, site in enumerate(following.document["sites"])
        ],
        "jobs": rows,
        "said": list(following.said),
    }


def saving(at_once: Sequence[float], actual: Sequence[float]) -> Saving:
    """Paired by job: the sum of the differences, and its Student interval over the jobs as a sample of their like.

    A share of it may be chance: the interval says how much, and it may hold zero. It needs two jobs; negative is a
    loss.

    >>> found = saving([2.0, 3.0, 4.0], [1.0, 3.5, 2.0])
    >>> round(found.value, 6), found.low < 0 < found.high
    (2.5, True)
    """
    from scipy import stats

    before = np.array(at_once, dtype=np.float64)
    gains = before - np.array(actual, dtype=np.float64)
    gains[np.abs(gains) <= _ROUNDING * np.abs(before)] = 0.0
    n = len(gains)
    total = float(gains.sum())
    if n < 2:
        return Saving(total, -math.inf, math.inf, float(before.sum()), n)
    half = float(stats.t.ppf((1 + CONFIDENCE) / 2, n - 1)) * float(gains.std(ddof=1)) * math.sqrt(n)
    return Saving(total, total - half, total + half, float(before.sum()), n)


def starting_at_once(
    jobs: Sequence[Tracked], results: Mapping[str, Came | None], rates: Rates, terms: SiteTerms
) -> dict[str, Drawn]:
    """The same work at the same power, started at its release at home, in the order of release, waiting where the site
    has no room. A job runs as long as it worked: what restoring after pauses took, and attempts that were lost, are
    what following the plan added."""
    found: dict[str, Drawn] = {}
    running: dict[str, list[tuple[datetime, float]]] = {}
    load: dict[str, float] = {}
    queue: dict[str, datetime] = {}
    for job in sorted(jobs, key=lambda each: (each.terms.job.release, each.key)):
        result = results[job.key]
        if result is None or result.work_s <= 0:
            continue
        asked = job.terms.job
        home = asked.home if asked.home in rates.sites else min(asked.sites)
        power_w = result.it_j / result.run_s
        kw = power_w / W_PER_KW
        row = terms.capacity_kw[rates.sites.index(home)]
        ends = running.setdefault(home, [])
        start = max(asked.release, queue.get(home, asked.release))
        while True:
            while ends and ends[0][0] <= start:
                load[home] = load.get(home, 0.0) - heapq.heappop(ends)[1]
            step = int((start - rates.start).total_seconds() // rates.step_s)
            limit = row[min(max(step, 0), len(row) - 1)]
            if not ends or load.get(home, 0.0) + kw <= limit * (1 + 1e-9):
                break
            start = ends[0][0]
        queue[home] = start
        end = start + timedelta(seconds=result.work_s)
        heapq.heappush(ends, (end, kw))
        load[home] = load.get(home, 0.0) + kw
        found[job.key] = rates.over(home, start, end, power_w)
    return found


def deadline_met(job: Tracked, now: datetime) -> bool | None:
    """Whether it was done in time; None while that is open."""
    if job.fate is Fate.COMPLETED and job.seen is not None:
        end = job.seen.ended or job.seen.stints[-1].end
        return end is not None and end <= job.deadline
    return False if job.stage is Stage.OVER or now >= job.deadline else None


def _job(
    job: Tracked, result: Came | None, at_once: Drawn | None, following: Following, now: datetime
) -> dict[str, Any]:
    before = planned(job, following.first_rates)
    seen = job.seen
    return {
        "name": job.name,
        "key": job.key,
        "id": seen.id if seen else None,
        "state": job.fate.value if job.fate else seen.state.value if seen else job.stage.value,
        "exit_code": seen.exit_code if seen else None,
        "restarts": seen.restarts if seen else 0,
        "release": job.terms.job.release.isoformat(),
        "deadline": job.deadline.isoformat(),
        "deadline_met": deadline_met(job, now),
        "planned": {
            "start": job.first[0].start.isoformat(),
            "end": job.first[-1].end.isoformat(),
            "site": job.first[0].site,
            "run_s": job.needs_s(),
            **_figures(before, known=job.terms.power_known),
        },
        "actual": None if result is None else {
            "start": result.start.isoformat(),
            "end": result.end.isoformat(),
            "sites": list(dict.fromkeys(stint.site for stint in seen.stints)) if seen else [],
            "run_s": result.run_s,
            "measured": result.measured,
            "grade": result.grade.value,
            "standard_uncertainty_kwh": result.standard_j / 3.6e6,
            **_figures(result.drawn, known=result.known),
        },
        "at_once": None if at_once is None else _figures(at_once, known=result is not None and result.known),
        "stints": [
            {
                "site": s.site or job.site,
                "start": s.start.isoformat(),
                "end": (s.end or worked_until(job, now)).isoformat(),
            }
            for s in (seen.stints if seen else ())
        ],
        "receipt": job.address or None,
        "notes": list(job.notes),
    }  # fmt: skip


def _counts_in(job: Tracked, result: Came | None) -> bool:
    return job.stage is Stage.OVER and result is not None and result.known


def _in_no_sum(jobs: Sequence[Tracked], results: Mapping[str, Came | None]) -> dict[str, int]:
    """Jobs that ran and are over, and are in no sum, by why."""
    ran = [(job, found) for job in jobs if (found := results[job.key]) is not None and job.stage is Stage.OVER]
    return {
        "lost": sum(job.fate is Fate.LOST for job, _ in ran),
        "energy_not_known": sum(not found.known and job.fate is not Fate.LOST for job, found in ran),
    }


def _unseen(drawn: Drawn) -> float:
    return drawn.unseen_kwh


def _unpriced(drawn: Drawn) -> float:
    return drawn.unpriced_kwh


def _all_known(drawn: Drawn, not_known: Callable[[Drawn], float]) -> bool:
    return not_known(drawn) <= _ROUNDING * drawn.facility_kwh


def _figures(drawn: Drawn, *, known: bool = True) -> dict[str, float | None]:
    """Cost or carbon of which nothing is known is null; what is left out of them stands beside."""
    if not known:
        return dict.fromkeys(
            ("energy_kwh", "facility_energy_kwh", "energy_cost", "carbon_kg", "unpriced_kwh", "carbon_unknown_kwh")
        )
    nearly_all = drawn.facility_kwh * (1 - 1e-9)
    return {
        "energy_kwh": drawn.it_kwh,
        "facility_energy_kwh": drawn.facility_kwh,
        "energy_cost": None if 0 < nearly_all <= drawn.unpriced_kwh else drawn.cost,
        "carbon_kg": None if 0 < nearly_all <= drawn.unseen_kwh else drawn.carbon_g / 1e3,
        "unpriced_kwh": drawn.unpriced_kwh,
        "carbon_unknown_kwh": drawn.unseen_kwh,
    }


def _totals(each: Iterable[Drawn]) -> dict[str, float | None]:
    total = Drawn()
    for one in each:
        total = total.plus(one)
    return _figures(total)


def _drawn(result: Came | None) -> Drawn:
    return Drawn() if result is None else result.drawn


def _counts(jobs: Sequence[Tracked], now: datetime) -> dict[str, int]:
    fates = [job.fate for job in jobs]
    met = [deadline_met(job, now) for job in jobs]
    return {
        "jobs": len(jobs),
        **{fate.value: fates.count(fate) for fate in Fate},
        "open": fates.count(None),
        "in_time": met.count(True),
        "late": met.count(False),
        "restarted": sum(job.seen is not None and job.seen.restarts > 0 for job in jobs),
    }


def _known(values: Any) -> list[float | None]:
    return [each if math.isfinite(each) else None for each in values.tolist()]
