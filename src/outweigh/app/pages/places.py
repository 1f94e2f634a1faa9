"""Places & times: the week of every site, sites against each other, plans over time, and what one more run costs."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, Any

from outweigh.app.pages.asked import Asked, FieldRefused, clipped
from outweigh.app.pages.found import FileKind, files_of, json_of
from outweigh.app.pages.marginal import FIELDS as MARGINAL
from outweigh.app.pages.marginal import marginal_run
from outweigh.app.pages.shape import Column, figure, table
from outweigh.app.weighing import sites_of
from outweigh.core.constants import J_PER_KWH
from outweigh.core.errors import FactorMissing, GapsTooLarge, UnknownZone, UsageError
from outweigh.core.intervals import Interval
from outweigh.core.measurement import utc
from outweigh.core.project import Project, SiteSpec
from outweigh.core.quantities import Energy
from outweigh.core.series import CarbonSeries, Gap, PriceSeries
from outweigh.core.site import Site
from outweigh.grid import DECLARED, Answer, Sources, open_source, resolve_carbon
from outweigh.plan import planning_pue

if TYPE_CHECKING:
    from outweigh.app.serving import Served

SCHEMA = "outweigh.page.places/1"
TAKES = ("since", "shape", "plan", *MARGINAL)
SHAPES = ("known", "typical")
_MOST_SITES = 12  # strips below each other; more nobody reads
_MOST_PLANS = 40
_DAYS = 7
_YEARS = (1990, 2100)  # of which figures exist
_HOUR_S = 3600.0
_KWH_PER_MWH = 1000.0


def places(served: Served, asked: Asked) -> dict[str, Any]:
    """The project's sites over a week and against each other, a plan, and the price of one more run.

    Fields: `since`, the first day of the week, this week's Monday by default; `shape`, "known" or "typical" (a typical
    day of 2022 where there is one: an example, no forecast); `plan`, the name of a plan; and those of `marginal_run`.

    Raises:
        FieldRefused: a field that cannot be followed.
    """
    project = served.project
    specs = project.sites if project else ()
    window = _week(asked, served.now())
    shape = asked.choice("shape", SHAPES, SHAPES[0])
    strips = _strips(served, specs[:_MOST_SITES], window, typical=shape == "typical")
    sites, factors, site_notes = _sites(project)
    plans = _plans(served)
    tables = {
        "carbon": table("Carbon intensity of each site over the week", _CARBON, strips.carbon,
                        empty="no site is declared, or nothing is known of one."),
        "price": table("Price of electricity at each site over the week", _PRICE, strips.prices,
                       empty="no site is declared, or nothing is known of one."),
        "sources": table("Where these come from", _SOURCES, strips.sources),
        "sites": table("Sites against each other, per MWh of IT energy", _SITES, sites, empty="no site is declared."),
        "factors": table("Factors of the sites", _FACTORS, factors, empty="none."),
    }  # fmt: skip
    document: dict[str, Any] = {
        "schema": SCHEMA,
        "week": {"start": utc(window.start), "end": utc(window.end)},
        "shape": shape,
        "flat": bool(strips.carbon) and len(strips.carbon) == len({row["site"] for row in strips.carbon}),
        "sites": [spec.name for spec in specs],
        "plans": [name for name, _ in plans],
        "tables": tables,
        "plan": None,
        "figures": [],
        "notes": [*strips.notes, *site_notes],
    }
    if len(specs) > _MOST_SITES:
        document["notes"].append(f"{_MOST_SITES} of {len(specs)} sites are drawn")
    _add_plan(document, plans, asked)
    _add_serving(document, served)
    marginal_run(document, served, asked)
    return document


def _week(asked: Asked, now: datetime) -> Interval:
    midnight = now.astimezone(UTC).replace(hour=0, minute=0, second=0, microsecond=0)
    begun = asked.since or midnight - timedelta(days=midnight.weekday())
    if not _YEARS[0] <= begun.year <= _YEARS[1]:
        raise FieldRefused(f"since {begun:%Y-%m-%d} is no time of a grid", "since", "Give a year such as 2026")
    begun = begun.replace(minute=0, second=0, microsecond=0)
    return Interval(begun, begun + timedelta(days=_DAYS))


# --- the week ---------------------------------------------------------------------------------------

_CARBON = [
    Column("site", "site", "code"),
    Column("start", "from", "time"),
    Column("end", "to", "time"),
    Column("carbon", "carbon intensity", "intensity"),
    Column("meaning", "what it is"),
    Column("quality", "quality", "state"),
    Column("grade", "grade", "grade"),
]
_PRICE = [
    Column("site", "site", "code"),
    Column("start", "from", "time"),
    Column("end", "to", "time"),
    Column("price", "price per MWh", "money"),
    Column("meaning", "what it is"),
    Column("quality", "quality", "state"),
    Column("grade", "grade", "grade"),
]
_SOURCES = [
    Column("site", "site", "code", note="zone"),
    Column("what", "what", note="meaning"),
    Column("quality", "quality", "state", note="level"),
    Column("grade", "grade", "grade"),
    Column("year", "of", note="retrieved"),
    Column("source", "source", note="licence"),
    Column("why", "not from"),
]


class _Strips:
    """Rows of the two strips, where they come from, and what was not found."""

    def __init__(self) -> None:
        self.carbon: list[dict[str, Any]] = []
        self.prices: list[dict[str, Any]] = []
        self.sources: list[dict[str, Any]] = []
        self.notes: list[str] = []


def _strips(served: Served, specs: Sequence[SiteSpec], window: Interval, *, typical: bool) -> _Strips:
    found = _Strips()
    for spec in specs:
        try:
            carbon = _carbon(served, spec, window, typical=typical)
        except (FactorMissing, GapsTooLarge, UnknownZone) as err:
            found.notes.append(f"carbon of {spec.name} is not known: {err}")
        else:
            found.carbon += _rows(spec.name, carbon.series, window, "carbon_g_per_kwh", 1.0, "")
            found.sources.append(_source(spec, "carbon", carbon))
            found.notes += [f"{spec.name}: {note}" for note in carbon.notes]
        if spec.price is not None:
            found.prices.append(
                {"site": spec.name, "start": utc(window.start), "end": utc(window.end), "price": 1e3
                 * spec.price.amount_per_kwh, "price_currency": spec.price.currency, "meaning": "declared",
                 "quality": "declared", "grade": "D"}
            )  # fmt: skip
            found.sources.append(
                {"site": spec.name, "zone": spec.zone, "what": "price", "meaning": "declared", "quality": "declared",
                 "level": "declared", "grade": "D", "year": "", "source": DECLARED, "licence": "", "why": ""}
            )  # fmt: skip
            continue
        try:
            price = served.answers.prices(spec.zone, window)
        except (FactorMissing, GapsTooLarge, UnknownZone) as err:
            found.notes.append(f"the price at {spec.name} is not known: {err}")
            continue
        found.prices += _rows(
            spec.name, price.series, window, "price", _KWH_PER_MWH, price.series.meaning.currency
        )  # fmt: skip
        found.sources.append(_source(spec, "price", price))
        found.notes += [f"{spec.name}: {note}" for note in price.notes]
    found.notes = list(dict.fromkeys(found.notes))
    return found


def _carbon(served: Served, spec: SiteSpec, window: Interval, *, typical: bool) -> Answer[CarbonSeries]:
    if typical:
        return resolve_carbon(spec.zone, window, Sources([open_source("typical")]))
    return served.answers.carbon(spec.zone, window)


def _rows(
    site: str, series: CarbonSeries | PriceSeries, window: Interval, key: str, times: float, currency: str
) -> Iterator[dict[str, Any]]:
    """Hours of the series, or the one figure that holds all week; what is not known is null."""
    start_s, hours = window.start.timestamp(), round(window.seconds / _HOUR_S)
    edges = [start_s + _HOUR_S * i for i in range(hours + 1)] if len(series) > 1 else [start_s, window.end.timestamp()]
    hourly = series.onto(edges)
    meaning = str(series.meaning)
    for (begin, end), value, quality in zip(pairwise(edges), hourly.values, hourly.qualities, strict=True):
        known = not isinstance(value, Gap)
        row = {
            "site": site, "start": _iso(begin), "end": _iso(end), key: value * times if not isinstance(value, Gap) else
            None, "meaning": meaning, "quality": quality.value if known else "missing",
            "grade": quality.grade.value if known else None,
        }  # fmt: skip
        if not known:
            row[f"{key.partition('_')[0]}_why"] = "the source has nothing of this hour"
        yield row | ({"price_currency": currency} if currency else {})


def _iso(stamp_s: float) -> str:
    return utc(datetime.fromtimestamp(stamp_s, UTC))


def _source(spec: SiteSpec, what: str, answer: Answer[CarbonSeries] | Answer[PriceSeries]) -> dict[str, Any]:
    series = answer.series
    origin, quality = series.origin, series.worst_quality
    return {
        "site": spec.name,
        "zone": f"{spec.zone}, by {origin.zone}" if origin.zone != spec.zone else spec.zone,
        "what": what,
        "meaning": str(series.meaning),
        "quality": quality.value,
        "level": f"level: {answer.level.value}, by {answer.source}",
        "grade": quality.grade.value,
        "year": origin.vintage or (utc(origin.issued_at) if origin.issued_at else ""),
        "retrieved": f"retrieved {origin.retrieved_at:%Y-%m-%d}" if origin.retrieved_at else "",
        "source": origin.source,
        "licence": origin.licence,
        "why": "; ".join(one.reason for one in answer.passed_over),
    }


# --- sites against each other -----------------------------------------------------------------------

_SITES = [
    Column("site", "site", "code", note="zone"),
    Column("cost", "cost of a MWh of IT", "money"),
    Column("carbon", "carbon of a MWh of IT", "carbon", note="basis"),
    Column("state", "frontier", "state"),
    Column("pue", "PUE", "number"),
    Column("cap", "cap", "power"),
    Column("grade", "grade", "grade"),
    Column("how", "rests on"),
]
_FACTORS = [
    Column("site", "site", "code"),
    Column("factor", "factor"),
    Column("value", "value", "number", note="unit"),
    Column("source", "source", note="licence"),
    Column("issued", "of", note="retrieved"),
    Column("grade", "grade", "grade"),
]


def _sites(project: Project | None) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[str]]:
    """Each site's cost and carbon of a MWh of IT energy, by its yearly figures and the worse end of its PUE."""
    if project is None or not project.sites:
        return [], [], []
    try:
        sites = sites_of(project)
    except FactorMissing as err:
        return [], [], [f"the sites cannot be compared: {err}"]
    rows = [_site(site) for site in sites]
    for row in rows:
        beats = [
            one["site"]
            for one in rows
            if one["price_currency"] == row["price_currency"] and one["basis"] == row["basis"] and _beats(one, row)
        ]
        row["state"] = f"beaten by {clipped(beats[0])}" if beats else "on the frontier"
    factors = [
        {"site": site.name, "factor": one.name, "value": one.value, "unit": one.unit, "source": one.source,
         "licence": one.licence, "issued": one.issued, "retrieved": one.retrieved, "grade": one.grade.value}
        for site in sites for one in site.factors
    ]  # fmt: skip
    return (
        rows,
        factors,
        ["cost and carbon of a site are of a year's mean, at the worse end of its PUE: what a plan goes by"],
    )


def _beats(one: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    pairs = [(float(one[key]), float(other[key])) for key in ("cost", "carbon_g")]
    return all(a <= b for a, b in pairs) and any(a < b for a, b in pairs)


def _site(site: Site) -> dict[str, Any]:
    facility = Energy.kwh(_KWH_PER_MWH) * planning_pue(site)
    cost, carbon = facility * site.price, facility * site.intensity
    return {
        "site": site.name,
        "zone": site.zone,
        "cost": cost.amount,
        "cost_currency": cost.currency,
        "price_currency": cost.currency,
        "carbon_g": carbon.grams,
        "basis": f"{site.intensity.basis}, {site.intensity.scope}",
        "pue": planning_pue(site),
        "cap_w": site.capacity.watts,
        "grade": max(one.grade.value for one in site.factors),
        "how": f"{len(site.factors)} factors, named below",
    }


# --- plans ------------------------------------------------------------------------------------------

_JOBS = [
    Column("job", "job", "code"),
    Column("where", "site", "list"),
    Column("start", "start", "time"),
    Column("end", "end", "time"),
    Column("deadline", "deadline", "time"),
    Column("energy", "energy", "energy"),
    Column("cost", "cost of energy", "money"),
    Column("carbon", "carbon", "carbon"),
]
_LOAD = [
    Column("site", "site", "code"),
    Column("start", "from", "time"),
    Column("load", "IT power planned", "power"),
    Column("cap", "cap", "power"),
]
_SERVING = [
    Column("site", "site", "code", note="zone"),
    Column("share", "share", "share"),
    Column("energy", "energy", "energy"),
    Column("cost", "cost", "money"),
    Column("carbon", "carbon", "carbon"),
]
_DRAWN = ("edges", "sites", "jobs", "left_out", "currency")  # of `plan_html.chart_data`
_MOST_LISTED = 200
_G_PER_KG = 1000.0
_Plans = list[tuple[str, Mapping[str, Any]]]


def _plans(served: Served) -> _Plans:
    """Plan documents by name, newest first: those of the folder, and those that were sent in."""
    found: _Plans = []
    for one in files_of(served.folder, FileKind.PLAN)[:_MOST_PLANS]:
        try:
            found.append((one.name, json_of(one)))
        except UsageError:
            continue  # half of a file that is being written: the next look will have it
    for kept in served.documents.documents("plan", limit=_MOST_PLANS, newest=True):
        document = json.loads(kept.body)
        if isinstance(document, dict) and document.get("schema") == "outweigh.plan/1":
            found.append((kept.address[:12], document))
    return found


def _add_plan(document: dict[str, Any], plans: _Plans, asked: Asked) -> None:
    from outweigh.backends.exporters.plan_html import chart_data

    name = asked.choice("plan", document["plans"], next(iter(document["plans"]), ""))
    if not name:
        return
    plan = dict(plans)[name]
    try:
        drawn = chart_data(plan)
        jobs = [_job(job, plan["currency"]) for job in plan["jobs"][:_MOST_LISTED]]
        load = list(_load(plan))
        said = {
            "name": name, "created": plan["created"], "id": plan["plan_id"][:12],
            "statement": plan["saving"]["statement"], "meaning": plan["carbon_meaning"], "source": plan["source_name"],
        }  # fmt: skip
        figures = list(_plan_figures(plan))
    except (KeyError, TypeError, ValueError, IndexError, AttributeError) as err:
        # It comes from outside; whatever is wrong with it is one sentence for the reader.
        document["notes"].append(f"{name} is no whole plan ({type(err).__name__}: {err}); make it again")
        return
    document["plan"] = {
        **said,
        "drawn": {key: drawn[key] for key in ("edges", "sites", "jobs", "left_out", "currency")},
    }
    document["figures"] = figures
    document["tables"]["jobs"] = table(f"Jobs of {name}, by start", _JOBS, sorted(jobs, key=lambda job: job["start"]))
    document["tables"]["load"] = table(f"Power of {name} against the cap of each site", _LOAD, load)
    if len(plan["jobs"]) > _MOST_LISTED:
        document["notes"].append(f"the first {_MOST_LISTED} of {len(plan['jobs'])} jobs are listed; the plan has all")


def _job(job: Mapping[str, Any], currency: str) -> dict[str, Any]:
    return {
        "job": f"{job['name']} ({job['count']})" if job["count"] > 1 else job["name"],
        "where": list(job["sites"]),
        "start": job["start"],
        "end": job["end"],
        "deadline": job["deadline"],
        "energy_j": job["energy_kwh"] * J_PER_KWH,
        "cost": job["energy_cost"],
        "cost_currency": currency,
        "carbon_g": job["carbon_kg"] * _G_PER_KG,
    }


def _load(plan: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    start = datetime.fromisoformat(plan["horizon"]["start"])
    step_s = float(plan["horizon"]["step_s"])
    for site in plan["sites"]:
        caps = site["capacity_kw"] or [None] * len(site["load_kw"])
        for index, (load_kw, cap_kw) in enumerate(zip(site["load_kw"], caps, strict=True)):
            yield {
                "site": site["name"],
                "start": utc(start + timedelta(seconds=index * step_s)),
                "load_w": None if load_kw is None else load_kw * 1e3,
                "cap_w": None if cap_kw is None else cap_kw * 1e3,
            } | ({"cap_why": "no limit"} if cap_kw is None else {})


def _plan_figures(plan: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    money, how = plan["currency"], "planned, not measured"
    source = plan["certificate"]["method"]
    yield figure("money", "cost of the plan", plan["plan"]["cost"], value_currency=money, method=how, source=source,
                 note="projected")  # fmt: skip
    yield figure("carbon", "carbon of the plan", plan["plan"]["carbon_kg"] * _G_PER_KG, method=how,
                 source=plan["carbon_meaning"], note="projected")  # fmt: skip
    yield figure("share", "saves against starting now", plan["saving"]["share"], method=how, source=source,
                 why="starting now leaves jobs without room in time" if plan["saving"]["share"] is None else "",
                 note="within the forecasts' error" if plan["saving"]["noise"] else "projected")  # fmt: skip
    yield figure("share", "at most so far from the optimum", plan["certificate"]["gap"], method="certificate",
                 source=source)  # fmt: skip


def _add_serving(document: dict[str, Any], served: Served) -> None:
    """Where the latest review would serve the coming month."""
    for one in files_of(served.folder, FileKind.REVIEW)[:_MOST_PLANS]:
        try:
            plan = json_of(one).get("plan")
            if not isinstance(plan, dict):
                continue
            rows = [
                {
                    "site": each["site"], "zone": each["zone"], "share": each["share"],
                    "energy_j": each["energy_kwh"] * J_PER_KWH, "cost": each["cost"],
                    "cost_currency": each["currency"], "carbon_g": each["carbon_kg"] * _G_PER_KG,
                }
                for each in plan["assignments"]
            ]  # fmt: skip
        except (UsageError, KeyError, TypeError):
            continue
        served_by = clipped(str(plan.get("variant") or "the variant in service"))
        caption = f"Serving the coming month, by {one.name}: {served_by}"
        document["tables"]["serving"] = table(caption, _SERVING, rows)
        return
