"""`plan.html`: a plan as one page that works offline: jobs over time, carbon and price beside them, load, frontier."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, ClassVar

from outweigh.backends.exporters._atomic import write_text
from outweigh.backends.exporters._page import compose
from outweigh.core.rounding import si, significant
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
    saving = doc["saving"]
    return compose(
        "plan.html.j2",
        "plan.js",
        doc=doc,
        data=chart_data(doc),
        headline=_headline(saving),
        horizon=f"{_when(doc['horizon']['start'])} to {_when(doc['horizon']['end'])} UTC, "
        f"{sum(job['count'] for job in doc['jobs'])} jobs at {len(doc['sites'])} sites",
        certificate=f"Cost and priced carbon come to {_money(certificate['objective'], money)}, and no plan brings "
        f"them below {_money(certificate['lower_bound'], money)} (gap {certificate['gap']:.2%}). "
        f"{certificate['method']}.",
        key_figures=[
            ("cost", _money(doc["plan"]["cost"], money)),
            ("carbon", _mass(doc["plan"]["carbon_kg"])),
            ("facility energy", si(1e3 * doc["facility_energy_kwh"], "Wh")),
            ("price of carbon", f"{doc['carbon_price_per_tonne']:g} {money}/t"),
        ],
        carbon_words=doc["carbon_meaning"],
        site_headings=("site", "energy", "cost of energy", "carbon", "highest load", "capacity"),
        site_rows=[_site_row(site, money) for site in doc["sites"]],
        frontier_headings=("price of carbon", "cost", "carbon"),
        frontier_rows=[
            (f"{one['carbon_price_per_tonne']:g} {money}/t", _money(one["cost"], money), _mass(one["carbon_kg"]))
            for one in doc["frontier"]
        ],
        policy_headings=("policy", "cost", "carbon", "cost + carbon x its price", "jobs not in time"),
        policy_rows=[_policy_row(one, money) for one in (doc["plan"], *doc["against"])],
        job_headings=("job", "site", "start", "end", "deadline", "energy", "cost of energy", "carbon"),
        job_rows=[_job_row(job, money) for job in _by_start(doc["jobs"])[:MOST_LISTED]],
        source_headings=("site", "what", "level", "quality", "grade", "source"),
        source_rows=list(_source_rows(doc["sites"])),
    )


def _headline(saving: Mapping[str, Any]) -> str:
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
            {
                "name": site["name"],
                "load_kw": site["load_kw"],
                "capacity_kw": site["capacity_kw"],
                "intensity_g_per_kwh": site["intensity_g_per_kwh"],
                "price_per_mwh": [None if price is None else 1e3 * price for price in site["price_per_kwh"]],
            }
            for site in doc["sites"]
        ],
        "jobs": [
            {
                "name": job["name"],
                "release": _seconds(job["release"]),
                "deadline": min(_seconds(job["deadline"]), start_s + steps * step_s),
                "pieces": [
                    {
                        "site": piece["site"],
                        "start": _seconds(piece["start"]),
                        "end": _seconds(piece["end"]),
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
        _money(site["energy_cost"], money),
        _mass(site["carbon_kg"]),
        si(1e3 * max(site["load_kw"]), "W"),
        "no limit" if capacity is None else si(1e3 * max(kw for kw in capacity if kw is not None), "W"),
    )


def _policy_row(one: Mapping[str, Any], money: str) -> tuple[str, ...]:
    late = str(one["late_jobs"]) if one["late_jobs"] else "none"
    return one["policy"], _money(one["cost"], money), _mass(one["carbon_kg"]), _money(one["objective"], money), late


def _job_row(job: Mapping[str, Any], money: str) -> tuple[str, ...]:
    name = f"{job['name']} ({job['count']})" if job["count"] > 1 else job["name"]
    return (
        name,
        ", ".join(job["sites"]),
        _when(job["start"]),
        _when(job["end"]),
        _when(job["deadline"]),
        si(1e3 * job["energy_kwh"], "Wh"),
        _money(job["energy_cost"], money),
        _mass(job["carbon_kg"]),
    )


def _source_rows(sites: list[Mapping[str, Any]]) -> Iterator[tuple[str, ...]]:
    for site in sites:
        for what in ("carbon", "price"):
            known = site["sources"][what]
            yield (
                f"{site['name']} ({known['zone']})",
                known["meaning"],
                known["level"],
                known["quality"],
                known["grade"],
                f"{known['source']} ({known['licence']})",
            )


def _when(text: str) -> str:
    return f"{text[:10]} {text[11:16]}"


def _seconds(text: str) -> float:
    return datetime.fromisoformat(text).timestamp()


def _money(amount: float, currency: str) -> str:
    return f"{significant(amount, 4)} {currency}"


def _mass(kg: float) -> str:
    return si(1e3 * kg, "g") if abs(kg) < 1e3 else f"{significant(kg / 1e3)} t"
