"""`plan --scenarios`: a placement over months from its file, as a document and rows."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from outweigh.config.placements import load_placement
from outweigh.core.errors import OutweighError
from outweigh.core.plan import Certificate
from outweigh.core.rounding import significant
from outweigh.grid import find_zone, resolve_site, site_factors
from outweigh.plan.placement import HEDGED, Grouping, Placement, Stable, Way, place_load, verify
from outweigh.plan.placement.placing import Progress, silent

SCHEMA = "outweigh.placement/1"
_PERCENT = 100.0


@dataclass(frozen=True, slots=True, eq=False)
class Placed:
    """A placement as JSON, as tables, and its notes."""

    document: Mapping[str, Any]
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]
    scenario_columns: tuple[str, ...]
    scenario_rows: list[tuple[str, ...]]
    notes: list[str]


def place_file(path: Path, *, sensitivity: bool = True, progress: Progress = silent) -> Placed:
    """Place the load of a file (docs/placement.md) over its sites.

    Raises:
        ConfigError, FactorMissing, UsageError, PlanInfeasible: as reading, looking up and placing do.
        OutweighError: the independent check of the answer found something wrong; nothing is shown then.
    """
    spec = load_placement(path)
    source = site_factors()
    sites = [resolve_site(declared.spec, source) for declared in spec.sites]
    countries = [find_zone(site.zone).country for site in sites]
    found = place_load(spec.question(sites, countries), sensitivity=sensitivity, progress=progress)
    if wrong := verify(found):
        raise OutweighError(f"the placement fails its own check ({'; '.join(wrong)})", "Report this with the file")
    return placed(found, spec.source)


def placed(found: Placement, source: str = "") -> Placed:
    """A placement as the command line shows it."""
    question = found.question
    money = question.currency
    used = [name for name in question.names if any(way.shares[name] > 0 for way in found.ways)]
    columns = ("way", *used, f"mean [{money}]", f"CVaR {question.tail:.0%} [{money}]", "moved", "unserved",
               "HHI country", "HHI grid", "HHI provider")  # fmt: skip
    rows = [
        (
            way.name, *(f"{_PERCENT * way.shares[name]:.1f} %" for name in used), significant(way.expected, 4),
            significant(way.tail, 4), f"{_PERCENT * way.moved:.1f} %", f"{_PERCENT * way.unserved:.1f} %",
            *(f"{way.hhi[by]:.2f}" for by in (Grouping.COUNTRY, Grouping.GRID, Grouping.PROVIDER)),
        )
        for way in found.ways
    ]  # fmt: skip
    scenario_rows: list[tuple[str, ...]] = [
        (one.name, f"{one.probability:.3g}", significant(one.cost, 4),
         "not worked out" if one.regret is None else significant(one.regret, 3))
        for one in found.declared
    ]  # fmt: skip
    return Placed(
        document=_document(found, source),
        columns=columns,
        rows=rows,
        scenario_columns=("scenario", "probability", f"cost of the hedged way [{money}]", f"regret [{money}]"),
        scenario_rows=scenario_rows,
        notes=[*_lines(found), *found.notes],
    )


def _lines(found: Placement) -> list[str]:
    money, bound = found.question.currency, found.certificate
    lines = [
        f"the hedge costs {found.premium:+.2%} on average and takes {found.tail_cut:.2%} off the CVaR, "
        f"against the cheapest on average",
        f"certificate of the hedged way: no placement has an objective below {significant(bound.lower_bound, 5)} "
        f"{money} (gap {bound.gap:.2%}); {bound.method}",
    ]
    if found.perfect_information is not None:
        lines.append(
            f"knowing the scenario beforehand would save {significant(found.perfect_information)} {money} on average; "
            f"planning for the mean scenario instead would cost {significant(max(found.stochastic_solution, 0.0))} more"
        )
    if found.fresh is not None:
        mean, tail = found.fresh
        lines.append(
            f"on scenarios drawn anew: mean {significant(mean, 4)}, CVaR {significant(tail, 4)} {money}; "
            "what the plan says of itself leans to the hopeful side"
        )
    lines += [_stable(one) for one in (*found.weights, *found.probabilities)]
    return lines


def _stable(one: Stable) -> str:
    if one.low <= 0 and one.high >= 1:
        return f"{one.of} ({one.at:.3g}): the sites stay the same whatever it is"
    words = f"{one.of} ({one.at:.3g}): the sites stay the same from {one.low:.3g} to {one.high:.3g}"
    beyond = [
        f"{side} it {', '.join(sites)}"
        for side, sites in (("below", one.beyond_low), ("above", one.beyond_high))
        if sites
    ]
    return f"{words}; {', '.join(beyond)}" if beyond else words


def _document(found: Placement, source: str) -> dict[str, Any]:
    question = found.question
    return {
        "schema": SCHEMA,
        "source": source or None,
        "start": question.interval.start.isoformat(),
        "end": question.interval.end.isoformat(),
        "energy_it_kwh": question.energy_it.to_kwh(),
        "currency": question.currency,
        "carbon_price_per_tonne": question.carbon_price_per_tonne.amount,
        "carbon_basis": question.candidates[0].site.intensity.basis.value,
        "carbon_scope": question.candidates[0].site.intensity.scope.value,
        "risk_weight": question.risk_weight,
        "tail": question.tail,
        "scenarios": found.scenarios,
        "seed": question.seed,
        "ways": [_way(way) for way in found.ways],
        "premium": found.premium,
        "tail_cut": found.tail_cut,
        "certificate": _certificate(found.certificate, len(found.leaves)),
        "certificate_cheapest": _certificate(found.average, len(found.average_leaves)),
        "declared": [
            {"scenario": one.name, "probability": one.probability, "cost": one.cost, "regret": one.regret}
            for one in found.declared
        ],
        "perfect_information": found.perfect_information,
        "stochastic_solution": found.stochastic_solution,
        "fresh": None if found.fresh is None else {"expected": found.fresh[0], "cvar": found.fresh[1]},
        "stable": [
            {"of": one.of, "at": one.at, "low": one.low, "high": one.high, "beyond_low": list(one.beyond_low),
             "beyond_high": list(one.beyond_high)}
            for one in (*found.weights, *found.probabilities)
        ],
        "factors": [
            {"site": candidate.site.name, "name": f.name, "value": f.value, "unit": f.unit, "source": f.source,
             "issued": f.issued, "retrieved": f.retrieved, "licence": f.licence, "grade": f.grade.value}
            for candidate in question.candidates for f in candidate.site.factors
        ],
        "notes": list(found.notes),
    }  # fmt: skip


def _way(way: Way) -> dict[str, Any]:
    return {
        "way": way.name, "shares": way.shares, "runs": way.runs, "opened": list(way.opened),
        "opening_cost": way.opening,
        "expected_cost": way.expected, "cvar": way.tail, "moved_share": way.moved, "unserved_share": way.unserved,
        "hhi": {by.value: value for by, value in way.hhi.items()},
        # What a chart of the distribution needs: hedged and cheapest side by side, worst first.
        "scenario_cost": sorted(way.scenario_cost.tolist(), reverse=True),
    }  # fmt: skip


def _certificate(certificate: Certificate, cases: int) -> dict[str, Any]:
    return {
        "objective": certificate.objective, "lower_bound": certificate.lower_bound, "gap": certificate.gap,
        "currency": certificate.currency, "method": certificate.method, "cases": cases, "checked": True,
    }  # fmt: skip


__all__ = ["HEDGED", "Placed", "place_file", "placed"]
