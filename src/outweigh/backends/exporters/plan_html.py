"""`plan.html`: a plan as one page that works offline: jobs over time, carbon and price beside them, load, frontier."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

from outweigh.backends.exporters._atomic import write_text
from outweigh.backends.exporters._page import compose
from outweigh.backends.exporters._timetables import (
    SCRIPT,
    SOURCE_HEADINGS,
    amount,
    mass,
    seconds,
    site_strips,
    source_rows,
    when,
)
from outweigh.core.rounding import si
from outweigh.registry import exporters

MOST_DRAWN = 60  # jobs in the chart; more rows than that nobody reads
MOST_LISTED = 200  # jobs in the table; the plan file holds all


@exporters.register("plan-html")
class PlanHtmlExporter:
    """A plan for people. Loads nothing from anywhere: a content security policy in the file forbids it."""

    name: ClassVar[str]

    def write(self, model: Mapping[str, object], path: Path) -> None:
        """Raises OutputError when the file cannot be written."""
        write_text(path, render(model))


def render(doc: Mapping[str, Any]) -> str:
    """The page as text; `doc` is a plan of schema outweigh.plan/1."""
    money = doc["currency"]
    certificate = doc["certificate"]
    no_plan = f"no plan {certificate.get('within', '')}".rstrip()
    saving = doc["saving"]
    jobs, sites = sum(job["count"] for job in doc["jobs"]), len(doc["sites"])
    return compose(
        "plan.html.j2",
        SCRIPT,
        "plan.js",
        doc=doc,
        data=chart_data(doc),
        headline=_headline(saving),
        horizon=f"{when(doc['horizon']['start'])} to {when(doc['horizon']['end'])} UTC, "
        f"{jobs} job{'s' if jobs != 1 else ''} at {sites} site{'s' if sites != 1 else ''}",
        certificate=f"Cost and priced carbon come to {amount(certificate['objective'], money)}, and "
        f"{no_plan} brings them below {amount(certificate['lower_bound'], money)} (gap {certificate['gap']:.2%}). "
        f"{certificate['method']}.",
        key_figures=[
            ("cost", amount(doc["plan"]["cost"], money)),
            ("carbon", mass(doc["plan"]["carbon_kg"])),
            ("facility energy", si(1e3 * doc["facility_energy_kwh"], "Wh")),
            ("price of carbon", f"{doc['carbon_price_per_tonne']:g} {money}/t"),
        ],
        carbon_words=doc["carbon_meaning"],
        site_headings=("site", "energy", "cost of energy", "carbon", "highest load", "capacity"),
        site_rows=[_site_row(site, money) for site in doc["sites"]],
        frontier_headings=("price of carbon", "cost", "carbon"),
        frontier_rows=[
            (f"{one['carbon_price_per_tonne']:g} {money}/t", amount(one["cost"], money), mass(one["carbon_kg"]))
            for one in doc["frontier"]
        ],
        policy_headings=("policy", "cost", "carbon", "cost + carbon x its price", "jobs not in time"),
        policy_rows=[_policy_row(one, money) for one in (doc["plan"], *doc["against"])],
        job_headings=("job", "site", "start", "end", "deadline", "energy", "cost of energy", "carbon"),
        job_rows=[_job_row(job, money) for job in _by_start(doc["jobs"])[:MOST_LISTED]],
        source_headings=SOURCE_HEADINGS,
        source_rows=list(source_rows(doc["sites"])),
    )


def _headline(saving: Mapping[str, Any]) -> str:
    if saving["share"] is None:
        return "All jobs in time"
    if saving["noise"]:
        return "Run it now"
    share = 100 * saving["share"]
    return f"{abs(share):.1f} % {'less' if share >= 0 else 'more'}"


def chart_data(doc: Mapping[str, Any]) -> dict[str, Any]:
    """What the charts draw: the jobs that draw the most energy, every site whole. Times are seconds since 1970."""
    start_s = datetime.fromisoformat(doc["horizon"]["start"]).timestamp()
    step_s, steps = doc["horizon"]["step_s"], doc["horizon"]["steps"]
    drawn = sorted(doc["jobs"], key=lambda job: -job["energy_kwh"])[:MOST_DRAWN]
    baseline = doc["against"][0]
    return {
        "currency": doc["currency"],
        "edges": [start_s + i * step_s for i in range(steps + 1)],
        "sites": [
            {**strip, "load_kw": site["load_kw"], "capacity_kw": site["capacity_kw"]}
            for strip, site in zip(site_strips(doc["sites"]), doc["sites"], strict=True)
        ],
        "jobs": [
            {
                "name": job["name"],
                "release": seconds(job["release"]),
                "deadline": min(seconds(job["deadline"]), start_s + steps * step_s),
                "pieces": [
                    {
                        "site": piece["site"],
                        "start": seconds(piece["start"]),
                        "end": seconds(piece["end"]),
                        "power_w": piece["power_w"],
                    }
                    for piece in job["pieces"]
                ],
            }
            for job in _by_start(drawn)
        ],
        "left_out": len(doc["jobs"]) - len(drawn),
        "frontier": doc["frontier"] or None,
        "now": {"cost": baseline["cost"], "carbon_kg": baseline["carbon_kg"]},
    }


def _by_start(jobs: list[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    return sorted(jobs, key=lambda job: (job["start"], job["name"]))


def _site_row(site: Mapping[str, Any], money: str) -> tuple[str, ...]:
    capacity = site["capacity_kw"]
    return (
        site["name"],
        si(1e3 * site["facility_energy_kwh"], "Wh"),
        amount(site["energy_cost"], money),
        mass(site["carbon_kg"]),
        si(1e3 * max(site["load_kw"]), "W"),
        "no limit" if capacity is None else si(1e3 * max(kw for kw in capacity if kw is not None), "W"),
    )


def _policy_row(one: Mapping[str, Any], money: str) -> tuple[str, ...]:
    late = str(one["late_jobs"]) if one["late_jobs"] else "none"
    return one["policy"], amount(one["cost"], money), mass(one["carbon_kg"]), amount(one["objective"], money), late


def _job_row(job: Mapping[str, Any], money: str) -> tuple[str, ...]:
    name = f"{job['name']} ({job['count']})" if job["count"] > 1 else job["name"]
    return (
        name,
        ", ".join(job["sites"]),
        when(job["start"]),
        when(job["end"]),
        when(job["deadline"]),
        si(1e3 * job["energy_kwh"], "Wh"),
        amount(job["energy_cost"], money),
        mass(job["carbon_kg"]),
    )
