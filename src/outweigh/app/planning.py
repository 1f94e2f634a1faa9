"""`outweigh plan JOBS`: from a file of jobs to a plan, its proof, and what it is compared with."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np

from outweigh import __version__
from outweigh.app.places import Surveyed, survey
from outweigh.app.watching import Watched, record_of, watched
from outweigh.config.jobs import load_jobs
from outweigh.core.errors import GapsTooLarge, InvalidQuantity, OutputError, UsageError
from outweigh.core.printable import printable
from outweigh.core.rounding import si, significant
from outweigh.core.series import CarbonSeries, Gap, PriceSeries
from outweigh.grid import Answer, Sources
from outweigh.plan.plancheck import now_at_home
from outweigh.plan.planfile import SCHEMA, outcome_body, plan_body, plan_id
from outweigh.plan.problem import G_PER_TONNE
from outweigh.plan.saving import saving_body
from outweigh.plan.saving_error import KNOWN, Moved, error_of_saving
from outweigh.plan.shared import Schedule, plan_jobs
from outweigh.plan.sites import PlanSpec
from outweigh.registry import exporters

Progress = Callable[[str, float], None]

#: Times the price of carbon at which the frontier is drawn; 0 is money alone.
_FRONTIER = (0.0, 0.25, 0.5, 2.0, 4.0)
# Of the notes of a schedule: said in other words by the statement of the saving.
_ONE_FORECAST, _SAID = "The rates are one forecast", ("No plan is cheaper", "Starting now, here, in the order")
_NAMED = 3
_USUAL_PRICE = 100.0  # per tonne, for the frontier of a plan that puts no price on carbon
#: Up to so many jobs the frontier is drawn unasked: it takes five more plans.
FRONTIER_JOBS = 300


@dataclass(frozen=True, slots=True)
class Planned:
    """A plan as a document of schema outweigh.plan/1, rows for a table, and sentences."""

    document: dict[str, Any]
    rows: list[tuple[str, ...]]
    notes: list[str]


COLUMNS = ("job", "site", "start", "end", "deadline", "energy", "cost of energy", "carbon")


def plan_file(
    path: Path,
    *,
    sources: Sequence[str] = (),
    files: Sequence[Path] = (),
    frontier: bool | None = None,
    goal_gap: float = 0.005,
    time_limit_s: float | None = None,
    learn: Path | str | None = None,
    now: datetime | None = None,
    into: Path | None = None,
    progress: Progress = lambda _what, _fraction: None,
) -> Planned:
    """Plan the jobs of a file over its sites.

    Args:
        sources: live sources to ask for carbon and price, "name" or "name:argument", in this order. Of a horizon that
            is not over, their forecast is asked for where they have one.
        files: the user's own series, asked next.
        into: folder of an archive that the answers are kept in, so that the plan can be made again from it.
        frontier: also plan at other prices of carbon; by default up to FRONTIER_JOBS jobs.
        goal_gap: stop improving once the plan is proven within this share of the best.
        time_limit_s: stop improving then, all plans together: half of it is for the plan where the frontier is asked
            for, else all. Points that no time is left for are left out.
        learn: ledger with receipts of earlier runs of these jobs, by which run time and power are corrected.

    Raises:
        ConfigError, UsageError: the file of jobs.
        FactorMissing, GapsTooLarge: a zone without figures, or a gap where a job might run.
        PlanInfeasible: the jobs do not fit, with which, where and how much is missing.
    """
    if time_limit_s is not None and not 0 <= time_limit_s < math.inf:
        raise InvalidQuantity("time limit", f"{time_limit_s:g} s", "give 0 or more seconds")
    now = now or datetime.now(UTC)
    spec = load_jobs(path, now)
    said: list[str] = []
    if learn is not None:
        from outweigh.app.learning import corrected

        spec, said = corrected(spec, learn)
    live, own = watched(sources, now, into), watched((f"file:{each}" for each in files), now, into)
    for each in own:
        each.zones()  # a file is read, and refused, even where nobody asks it
    asked = Sources(live, own)
    progress("carbon and price", 0.0)
    found = survey(spec, asked)
    price = 0.0 if spec.carbon_price is None else spec.carbon_price.amount
    _check_known(spec, found)
    steps = len(_FRONTIER) + 1 if frontier or (frontier is None and len(spec.jobs) <= FRONTIER_JOBS) else 1

    began = time.monotonic()

    def left_s() -> float | None:
        return None if time_limit_s is None else max(0.0, time_limit_s - (time.monotonic() - began))

    def solve(carbon_price: float, done: int, warm: Schedule | None, limit_s: float | None) -> Schedule:
        progress("planning", done / steps)
        return plan_jobs(
            spec.jobs, found.places, found.capacity, carbon_price_per_tonne=carbon_price, goal_gap=goal_gap,
            time_limit_s=limit_s, warm=None if warm is None else warm.prices, currency=found.currency,
            work_quantile=spec.work_quantile,
        )  # fmt: skip

    limit_s = left_s()
    schedule = solve(price, 0, None, limit_s / 2 if frontier and limit_s else limit_s)
    points = [_point(price, schedule, chosen=True)]
    others = list(dict.fromkeys(factor * (price or _USUAL_PRICE) for factor in _FRONTIER)) if steps > 1 else []
    others = [other for other in others if other != price]
    for i, other in enumerate(others):
        limit_s = left_s()
        if limit_s is not None and not limit_s:
            said.append(f"The frontier lacks {len(others) - i} of {len(others) + 1} points: the time limit was up.")
            break
        share_s = None if limit_s is None else limit_s / (len(others) - i)
        points.append(_point(other, solve(other, i + 1, schedule, share_s), chosen=False))
    found = replace(found, notes=(*said, *_may_overrun(spec), *_devices(spec), *found.notes))
    document = _document(
        spec, found, schedule, points if len(points) > 1 else [], [*live, *own], goal_gap, time_limit_s
    )
    rows = [_row(job, found.currency) for job in _by_start(document["jobs"])]
    return Planned(document, rows, [printable(line) for line in _lines(document)])


def _may_overrun(spec: PlanSpec) -> Iterator[str]:
    """What is planned for of an uncertain duration, and how many may take longer."""
    uncertain = [job for job in spec.jobs if job.work_quantiles]
    if not uncertain:
        return
    many, asked = sum(job.count for job in uncertain), spec.work_quantile
    # Beyond the last quantile that is known, its hours are planned for.
    reached = min(min(asked, job.work_quantiles[-1][0]) for job in uncertain)
    yield (
        f"{many} job{'' if many == 1 else 's'} of uncertain duration: planned for is what is not exceeded with p = "
        f"{asked:g} (work_quantile), so up to {1 - reached:.0%} may take longer and overrun."
    )
    short = [job.name for job in uncertain if job.work_quantiles[-1][0] < asked]
    if short:
        yield f"No quantile up to p = {asked:g} is given for {_some(short)}: planned for is the highest that is."


def _devices(spec: PlanSpec) -> Iterator[str]:
    asking = [name for name, ask in spec.asks if ask.gpus]
    if asking:
        yield f"GPUs are not counted: capacity is power here. `outweigh run` asks for those of {_some(asking)}."


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:_NAMED]) + (f" and {len(names) - _NAMED} more" if len(names) > _NAMED else "")


def _check_known(spec: PlanSpec, found: Surveyed) -> None:
    """Refuse a gap in the window of a job: a step of unknown cost is never the cheapest.

    Raises:
        GapsTooLarge: which figure of which site, and the job in whose window it is.
    """
    places = found.places
    rows = places.jobs(spec.jobs, work_quantile=spec.work_quantile)
    # A file's steps are compared in one go: most plans have no gap at all.
    for what, values in (("carbon intensity", places.carbon[0]), ("price", places.price[0])):
        gaps = np.isnan(values)
        if not gaps.any():
            continue
        before = np.concatenate([np.zeros((len(gaps), 1), dtype=np.int64), np.cumsum(gaps, axis=1)], axis=1)
        first, last = np.floor(rows.release).astype(np.int64), np.ceil(rows.deadline).astype(np.int64)
        missing = (before[:, last] - before[:, first]).T * rows.allowed
        for job, site in np.argwhere(missing > 0)[:1].tolist():
            steps = int(last[job] - first[job])
            when = [places.start + timedelta(seconds=int(at) * places.step_s) for at in (first[job], last[job])]
            raise GapsTooLarge(
                f"the {what} at {places.names[site]}",
                f"the window of job {rows.names[job]!r}, [{when[0]:%Y-%m-%dT%H:%MZ}, {when[1]:%Y-%m-%dT%H:%MZ})",
                math.ceil(100 * int(missing[job, site]) / steps),
                "Fill the gap in the file, take another source, or let the job run elsewhere or at another time",
            )


def check_pages(paths: Sequence[Path]) -> None:
    """Refuse what `write_page` could not write, before the work is done and lost.

    Raises:
        UsageError: another ending. OutputError: no such folder.
    """
    for path in paths:
        if path.suffix not in (".html", ".json"):
            raise UsageError(f"{path} ends in neither .json nor .html", "Name the file plan.json or plan.html")
        if not path.parent.is_dir():
            raise OutputError(str(path), f"there is no folder {path.parent}", "Make it, or name another file")


def write_page(document: dict[str, Any], path: Path, page: str = "plan-html") -> None:
    """Write a plan or a back-test as JSON or, where the name ends in .html, as the page of its kind.

    Raises:
        OutputError: it cannot be written. UsageError: another ending.
    """
    check_pages([path])
    exporters.get(page if path.suffix == ".html" else "json")().write(document, path)


def _document(
    spec: PlanSpec,
    found: Surveyed,
    schedule: Schedule,
    frontier: list[dict[str, Any]],
    asked: Sequence[Watched],
    goal_gap: float,
    time_limit_s: float | None,
) -> dict[str, Any]:
    body = plan_body(
        spec.jobs, found.places, found.capacity, schedule, dict(spec.asks), work_quantile=spec.work_quantile
    )
    for site, sited in zip(body["sites"], found.sited, strict=True):
        site["zone"] = sited.carbon.zone.key
        site["sources"] = {"carbon": source_of(sited.carbon), "price": source_of(sited.price)}
        seen = {"carbon": record_of(sited.carbon.series, asked), "price": record_of(sited.price.series, asked)}
        site["seen"] = seen if any(seen.values()) else None
    certificate = schedule.certificate
    saving = _saving(spec, found, schedule)
    # What they say of one forecast is said of its intervals, where there are any.
    notes = [note for note in schedule.notes if not note.startswith((_ONE_FORECAST, *_SAID))]
    document = {
        "schema": SCHEMA,
        "outweigh_version": __version__,
        "created": datetime.now(UTC).isoformat(),
        "source": spec.source,
        "source_name": Path(spec.source).name,
        "currency": found.currency,
        "carbon_price_per_tonne": schedule.carbon_price_per_tonne,
        "carbon_meaning": str(found.sited[0].carbon.series.meaning),
        "asked": {"goal_gap": goal_gap, "time_limit_s": time_limit_s, "work_quantile": spec.work_quantile},
        **body,
        "it_energy_kwh": schedule.it_energy_kwh,
        "facility_energy_kwh": sum(site["facility_energy_kwh"] for site in body["sites"]),
        "plan": outcome_body(schedule.outcome),
        "against": [outcome_body(one) for one in (schedule.baseline, schedule.best_constant)],
        "perfect_foresight": _foresight(found),
        "saving": saving,
        "certificate": {
            "objective": certificate.objective, "lower_bound": certificate.lower_bound, "gap": certificate.gap,
            "currency": certificate.currency, "method": certificate.method, "within": certificate.within,
        },
        "frontier": sorted(frontier, key=lambda point: point["carbon_price_per_tonne"]),
        "notes": [*filter(None, [saving["error_note"]]), *notes, *found.notes],
    }  # fmt: skip
    return {**document, "plan_id": plan_id(document)}


def _saving(spec: PlanSpec, found: Surveyed, schedule: Schedule) -> dict[str, Any]:
    """The saving against starting now, and whether it is larger than the forecasts' own error (k = 2)."""
    error = _error(spec, found, schedule)
    plan, against = outcome_body(schedule.outcome), outcome_body(schedule.baseline)
    known = None if isinstance(error, str) else error
    note = "" if schedule.baseline.late else _error_note(found, error)
    return {**saving_body(plan, against, found.currency, known), "error_note": note}


def _error(spec: PlanSpec, found: Surveyed, schedule: Schedule) -> float | str:
    places = found.places
    shape = len(places.names), places.steps
    now = now_at_home(spec.jobs, places, found.capacity, spec.work_quantile).runs
    moved = places.pue[:, np.newaxis] * (now.it_kwh(*shape) - schedule.runs.it_kwh(*shape))
    edges = places.start.timestamp() + places.step_s * np.arange(places.steps + 1, dtype=np.float64)
    carbon = schedule.carbon_price_per_tonne / G_PER_TONNE
    factors = [
        Moved(one.site.name, moved[row], series, weight)
        for row, one in enumerate(found.sited)
        for series, weight in ((one.carbon.series, carbon), (one.price.series, 1.0))
    ]
    return error_of_saving(factors, edges)


def _error_note(found: Surveyed, error: float | str) -> str:
    if isinstance(error, str):
        return f"Whether the saving is more than the forecast's own error is not known: no interval comes with {error}."
    if not error:
        if guessed := list(_guessed(found)):
            return (
                "What the plan moves does not depend on how far figures are off. These are neither measured, "
                f"settled nor declared: {', '.join(guessed)}."
            )
        return "Carbon and prices are what was measured, settled or declared: no forecast's error is in the saving."
    return (
        f"The saving could be off by {significant(2 * error, 2)} {found.currency} (k = 2), from the intervals of the "
        "forecasts: the most over errors that last a step, 6 h, a day, or all through."
    )


def _foresight(found: Surveyed) -> str:
    """What stands in a plan where its distance to perfect foresight would."""
    if any(_guessed(found)):
        return (
            "Not known before the time has come: the bound holds for the figures planned on, not for those that come. "
            "Over history, `outweigh plan JOBS --backtest` has it (oracle)."
        )
    return "All figures are measured, settled or declared: foresight could not do better than the certificate's bound."


def _guessed(found: Surveyed) -> Iterator[str]:
    for one in found.sited:
        for what, series in (("carbon", one.carbon.series), ("price", one.price.series)):
            known = zip(series.values, series.qualities, strict=True)
            if any(quality not in KNOWN for value, quality in known if not isinstance(value, Gap)):
                yield f"{what} at {one.site.name} ({series.worst_quality})"


def _point(carbon_price: float, schedule: Schedule, *, chosen: bool) -> dict[str, Any]:
    return {
        "carbon_price_per_tonne": carbon_price,
        "cost": schedule.cost,
        "carbon_kg": schedule.carbon_g / 1e3,
        "gap": schedule.certificate.gap,
        "chosen": chosen,
    }


def source_of(answer: Answer[CarbonSeries] | Answer[PriceSeries]) -> dict[str, Any]:
    """Where a series comes from and how well it is known, as plain values."""
    series = answer.series
    quality, origin = series.worst_quality, series.origin
    return {
        "zone": origin.zone,
        "meaning": str(series.meaning),
        "level": answer.level.value,
        "quality": quality.value,
        "grade": quality.grade.value,
        "provider": origin.provider,
        "source": origin.source,
        "licence": origin.licence,
        "method": origin.method or None,
        "vintage": origin.vintage or None,
        "issued_at": origin.issued_at.isoformat() if origin.issued_at else None,
        "retrieved_at": origin.retrieved_at.isoformat() if origin.retrieved_at else None,
        "missing_share": series.missing_share,
        "passed_over": [{"level": one.level.value, "backend": one.source, "reason": one.reason} for one in
                        answer.passed_over],
    }  # fmt: skip


def _by_start(jobs: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return sorted(jobs, key=lambda job: (job["start"], job["name"]))


def _row(job: dict[str, Any], currency: str) -> tuple[str, ...]:
    name = f"{job['name']} ({job['count']})" if job["count"] > 1 else job["name"]
    return (
        printable(name), printable(", ".join(job["sites"])),
        _when(job["start"]), _when(job["end"]), _when(job["deadline"]),
        si(1e3 * job["energy_kwh"], "Wh"), f"{significant(job['energy_cost'])} {currency}",
        si(1e3 * job["carbon_kg"], "g"),
    )  # fmt: skip


def _when(text: str) -> str:
    return f"{text[5:10]} {text[11:16]}"


def _lines(document: dict[str, Any]) -> Iterator[str]:
    money, plan, certificate = document["currency"], document["plan"], document["certificate"]
    yield (
        f"plan: {significant(plan['cost'], 4)} {money} and {si(1e3 * plan['carbon_kg'], 'g')} of CO2e "
        f"({document['carbon_meaning']}), carbon at {document['carbon_price_per_tonne']:g} {money}/t"
    )
    yield document["saving"]["statement"]
    no_plan = f"no plan {certificate['within']}".rstrip()
    yield (
        f"certificate: cost and priced carbon come to {significant(certificate['objective'], 4)} {money}, and "
        f"{no_plan} brings them below "
        f"{significant(certificate['lower_bound'], 4)} {money} (gap {certificate['gap']:.2%}); check "
        "the file with outweigh plan --check"
    )
    yield from document["notes"]
