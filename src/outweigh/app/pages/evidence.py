"""Evidence: on what does all this rest, how fresh is it, and how is it worked out again?"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from datetime import date
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from outweigh import __version__
from outweigh.app.pages.asked import Asked
from outweigh.app.pages.shape import Column, figure, keyed, table
from outweigh.app.weighing import sites_of
from outweigh.core.constants import S_PER_DAY
from outweigh.core.errors import ConfigError, FactorMissing
from outweigh.core.measurement import Factor, Grade
from outweigh.data.catalogue import TableFacts, shipped_tables
from outweigh.ports import KeepsViews, Store

if TYPE_CHECKING:
    from outweigh.app.serving import Served

_OLD_DAYS = 400  # a yearly figure has been published anew by then
_MOST_SOURCES = 3

GRADES = {
    "A": "a wall or rack meter",
    "B": "a device's own counter",
    "C": "a fitted or calibrated model",
    "D": "a nameplate, a default, a yearly mean",
}


def evidence(served: Served, asked: Asked) -> dict[str, Any]:
    """Sources with date, licence and age; grades of what was measured; what would be recomputed, and how."""
    today = served.now().date()
    tables = shipped_tables()
    kept, chain = served.texts.head()
    factors, why = _project_factors(served)
    rows = sum(one.rows for one in tables)
    oldest = min((one.retrieved[0] for one in tables if one.retrieved), default=None)
    return {
        "schema": "outweigh.page.evidence/1",
        "figures": [
            figure("number", "receipts, each with its address", float(kept), note=f"chain {chain[:16]}"),
            figure("number", "tables of facts shipped", float(len(tables)), note=f"{rows:,} rows"),
            figure("duration", "the oldest was taken, ago", _age_s(oldest, today), note=f"{oldest}")
            if oldest else figure("duration", "the oldest was taken, ago", None, why="no table says"),
        ],
        "chain": {"receipts": kept, "link": chain},
        "why_no_factors": why,
        "commands": _commands(served),
        "version": __version__,
        "tables": {
            "grades": _grades(served),
            "factors": table("Factors of this project's sites", FACTORS, [_factor_row(one, today) for one in factors],
                             empty=why or "energy.toml declares no site."),
            "views": _views(served),
            "sources": table("Tables of facts in this version", SOURCES, [_source_row(one, today) for one in tables]),
        },
    }  # fmt: skip


SOURCES = (
    Column("name", "table", note="sha256"),
    Column("rows", "rows", "number"),
    Column("years", "of"),
    Column("retrieved", "retrieved"),
    Column("age", "age", "duration"),
    Column("state", "state", "state"),
    Column("grades", "grades", "list"),
    Column("sources", "sources", note="more"),
    Column("licences", "licences"),
)
FACTORS = (
    Column("name", "factor"),
    Column("value", "value", "number", note="unit"),
    Column("issued", "of"),
    Column("retrieved", "retrieved"),
    Column("age", "age", "duration"),
    Column("grade", "grade", "grade"),
    Column("source", "source", note="licence"),
)


def _source_row(one: TableFacts, today: date) -> dict[str, Any]:
    age_s = _age_s(one.retrieved[0], today) if one.retrieved else None
    more = len(one.sources) - _MOST_SOURCES
    return {
        "name": one.name,
        "sha256": f"sha256 {one.sha256[:12]}",
        **keyed("rows", "number", float(one.rows)),
        "years": "" if one.years is None else "–".join(dict.fromkeys(one.years)),
        "years_why": "its rows name no year",
        "retrieved": "" if one.retrieved is None else " to ".join(dict.fromkeys(str(day) for day in one.retrieved)),
        "retrieved_why": "its rows do not say",
        **keyed("age", "duration", age_s, why="" if age_s is not None else "its rows do not say"),
        "state": "not dated" if age_s is None else "old" if age_s > _OLD_DAYS * S_PER_DAY else "fresh",
        "grades": list(one.grades),
        "sources": "; ".join(one.sources[:_MOST_SOURCES]),
        "more": f"and {more} more, in the file" if more > 0 else "",
        "licences": "; ".join(one.licences[:_MOST_SOURCES]),
    }


def _age_s(day: date, today: date) -> float:
    return max(0, (today - day).days) * S_PER_DAY


def _factor_row(one: Factor, today: date) -> dict[str, Any]:
    day = _day(one.retrieved)
    return {
        "name": one.name,
        **keyed("value", "number", one.value),
        "unit": one.unit,
        "issued": one.issued,
        "retrieved": one.retrieved,
        **keyed("age", "duration", _age_s(day, today) if day else None, why="" if day else "it does not say when"),
        "grade": one.grade.value,
        "source": one.source,
        "licence": one.licence,
    }


def _day(text: str) -> date | None:
    padded = text if len(text) != len("2026-11") else f"{text}-01"
    try:
        return date.fromisoformat(padded[:10])
    except ValueError:
        return None


def _project_factors(served: Served) -> tuple[list[Factor], str]:
    if served.project is None:
        return [], "no energy.toml here: `outweigh init` writes one."
    try:
        sites = sites_of(served.project)
    except (FactorMissing, ConfigError) as err:
        return [], str(err)
    return list(dict.fromkeys(factor for site in sites for factor in site.factors)), ""


def _grades(served: Served) -> dict[str, Any]:
    columns = (
        Column("scope", "scope"),
        Column("grade", "grade", "grade"),
        Column("meaning", "how it is known"),
        Column("receipts", "receipts", "number"),
        Column("energy", "energy, as metered", "energy"),
        Column("share", "of the energy of this scope", "share"),
    )
    counts: Counter[tuple[str, str]] = Counter()
    energies_j: dict[tuple[str, str], list[float]] = {}
    for _, _, grade, scope, receipts, joules in served.texts.drawn():
        counts[scope, grade] += receipts
        energies_j.setdefault((scope, grade), []).append(joules)
    energy_j = {key: sum(joules) for key, joules in energies_j.items()}
    scopes = sorted({scope for scope, _ in energy_j}) or [""]
    # A node's energy holds its package's: a share is of one scope, and scopes are never added.
    whole_j = {scope: sum(joules for (own, _), joules in energy_j.items() if own == scope) for scope in scopes}
    rows = [
        {
            "scope": scope,
            "grade": grade.value,
            "meaning": GRADES[grade.value],
            **keyed("receipts", "number", float(counts[scope, grade.value])),
            **keyed("energy", "energy", energy_j.get((scope, grade.value)),
                    why="" if counts[scope, grade.value] else "no receipt of this grade"),
            **keyed("share", "share",
                    energy_j.get((scope, grade.value), 0.0) / whole_j[scope] if whole_j[scope] else None,
                    why="" if whole_j[scope] else "nothing was drawn"),
        }
        for scope in scopes
        for grade in Grade
    ]  # fmt: skip
    return table("How well the energy in the ledger is known, scope by scope", columns, rows)


def _views(served: Served) -> dict[str, Any]:
    """Factor sets that carbon and money were worked out with, and how many receipts have a view of each."""
    return _views_in(_Then(served.ledger, served.texts.head(), f"{served.now():%Y-%m-%dT%H:%M}"))


@dataclass(frozen=True)
class _Then:
    """A ledger at a time. Every view is read to count them, and there may be several of each receipt: once a minute."""

    ledger: Store
    head: tuple[int, str]
    minute: str


@lru_cache(maxsize=4)
def _views_in(then: _Then) -> dict[str, Any]:
    columns = (
        Column("kind", "view"),
        Column("factor", "factor", note="factor_set"),
        Column("issued", "of"),
        Column("grade", "grade", "grade"),
        Column("receipts", "receipts", "number"),
        Column("last", "last taken", "time"),
        Column("source", "source", note="licence"),
    )
    found: dict[tuple[str, str], dict[str, Any]] = {}
    counts: Counter[tuple[str, str]] = Counter()
    for view in then.ledger.views() if isinstance(then.ledger, KeepsViews) else ():
        key = view.kind.value, view.factor_set
        factor = view.factors[0]
        counts[key] += 1
        last = max(view.computed_at, found[key]["last"]) if key in found else view.computed_at
        found[key] = {
            "kind": view.kind.value,
            "factor": factor.name,
            "factor_set": f"set {view.factor_set[:12]}",
            "issued": factor.issued,
            "grade": factor.grade.value,
            "last": last,
            "source": factor.source,
            "licence": factor.licence,
        }
    rows = [{**row, **keyed("receipts", "number", float(counts[key]))} for key, row in found.items()]
    return table(
        "Carbon and money of receipts, by the factors they were worked out with",
        columns,
        sorted(rows, key=lambda row: str(row["last"]), reverse=True),
        empty="no view was taken yet; receipts hold energy, and carbon and money are worked out when you ask.",
    )


def _commands(served: Served) -> list[dict[str, str]]:
    site = served.project.sites[0] if served.project is not None and served.project.sites else None
    zone = site.zone if site else "ZONE"
    region = f" --region {site.region}" if site and site.region else ""
    return [
        {"what": "Carbon and money of every receipt again, under today's factors; earlier views stay",
         "command": f"outweigh ledger recompute --zone {zone}{region}"},
        {"what": "Every receipt against its address, and the chain that holds them in order",
         "command": "outweigh ledger verify"},
        {"what": "The factors of the project's sites fixed, so that a new table never looks like a regression",
         "command": "outweigh gate lock-factors"},
        {"what": "What each meter here sees, how well, and how to know it better", "command": "outweigh doctor"},
    ]  # fmt: skip
