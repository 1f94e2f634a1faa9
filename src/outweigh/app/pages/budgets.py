"""Budgets: what is left of each line and for how long, what the roadmap asks of them, and who may go over."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from outweigh.app.budgeting import budget_sentences, limit_text, receipts_for, rows_of
from outweigh.app.pages.asked import Asked, clipped
from outweigh.app.pages.shape import Column, figure, table
from outweigh.app.roadmapping import roadmap_of, roadmap_sentences
from outweigh.core.errors import FactorMissing, InvalidQuantity, OverlappingScopes
from outweigh.core.measurement import utc
from outweigh.core.project import Project
from outweigh.ports import Store

if TYPE_CHECKING:
    from outweigh.app.serving import Served

SCHEMA = "outweigh.page.budgets/1"
TAKES = ("owner", "phase", "line")
_FRESH_MIN = 10
_SOON = timedelta(days=14)  # a waiver that ends within is told
_TO_PASTE = """[budget.serve]
phase = "inference"
total = { limit = "60 kWh", per = "month" }
warn_at = "80%"
owner = "team-support\""""


def budgets(served: Served, asked: Asked) -> dict[str, Any]:
    """Every budget line as it stands, how it was drawn down, the roadmap's demands, and the waivers.

    Fields: `owner`, `phase` and `line` (its name) show only the lines that match.

    Raises:
        FieldRefused: a field names none of the lines.
        LedgerError: the ledger cannot be read.
    """
    project, now = served.project, _shortly(served.now())
    if project is None or not (project.budgets or project.roadmap or project.waivers):
        what = "no energy.toml" if project is None else "no budget"
        return {
            "schema": SCHEMA, "figures": [], "tables": {}, "burn": [], "grid": None, "owners": [], "phases": [],
            "lines": [], "empty": f"There is {what} in {served.folder.name or 'this folder'} yet.",
            "commands": ["outweigh init"] if project is None else [_TO_PASTE], "notes": [],
        }  # fmt: skip
    owners = sorted({line.owner for line in project.budgets if line.owner})
    phases = sorted({str(line.phase) for line in project.budgets})
    names = [line.name for line in project.budgets]
    owner, phase, wanted = asked.choice("owner", owners), asked.choice("phase", phases), asked.choice("line", names)
    worked = _worked(_State(served.ledger, served.texts.head(), now, project))
    rows = [
        row
        for row in worked.rows
        if owner in ("", row["owner"]) and phase in ("", row["phase"]) and wanted in ("", row["budget"])
    ]
    courses = [(row, worked.courses[row["budget"]]) for row in rows if row["budget"] in worked.courses]
    plans = worked.plans
    return {
        "schema": SCHEMA,
        "project": project.name,
        "owners": owners,
        "phases": phases,
        "lines": names,
        "figures": list(_figures(rows)),
        "burn": [_drawn_down(row, course, now) for row, course in courses],
        "grid": _grid(plans),
        "tables": {
            "lines": table("Budget lines as they stand", _LINES, [_line(row) for row in rows],
                           empty="no line matches, or none can be added up."),
            "fill": table("How full each limit is", _FILL, list(_fill(project, rows, now))),
            "burn": table("How each line was drawn down", _BURN, list(_burnt(courses))),
            "roadmap": table("The roadmap, feature by quarter", _ROADMAP, [_planned(row) for row in plans],
                             empty="energy.toml has no [[roadmap]] entries."),
            "waivers": table("Waivers: dated exceptions that somebody answers for", _WAIVERS,
                             list(_waivers(project, served.now())), empty="none is declared."),
        },
        "notes": [
            "energy of lines is IT energy as metered: failed and interrupted runs drew theirs all the same",
            "a forecast takes the days (hours, of a daily line) seen as independent, with their mean and scatter",
            *worked.notes,
        ],
    }  # fmt: skip


def _shortly(now: datetime) -> datetime:
    """The end of the ten minutes that run: until then two looks at the same receipts are alike, and none is missed."""
    begun = now.replace(minute=now.minute - now.minute % _FRESH_MIN, second=0, microsecond=0)
    return begun if begun == now else begun + timedelta(minutes=_FRESH_MIN)


_Course = tuple[tuple[datetime, float], ...]


@dataclass(frozen=True)
class _State:
    """A state of the ledger at a time: what is worked out of it is worked out once."""

    ledger: Store
    head: tuple[int, str]
    now: datetime
    project: Project


@dataclass(frozen=True)
class _Worked:
    rows: tuple[dict[str, Any], ...]
    courses: Mapping[str, _Course]
    plans: tuple[dict[str, Any], ...]
    notes: tuple[str, ...]


@lru_cache(maxsize=8)
def _worked(state: _State) -> _Worked:
    from outweigh.ledger import burnt_so_far

    project, now = state.project, state.now
    receipts = receipts_for(project, state.ledger, now)
    rows: list[dict[str, Any]] = []
    notes: list[str] = []
    try:
        rows = rows_of(project, receipts, now)
    except (InvalidQuantity, OverlappingScopes) as err:
        notes.append(f"the lines cannot be added up: {err}")
    limited = {row["budget"] for row in rows if row["limit_j"] is not None}
    courses = {
        line.name: burnt_so_far(line, project.budgets, receipts, now)
        for line in project.budgets if line.name in limited
    }  # fmt: skip
    plans: list[dict[str, Any]] = []
    try:
        plans = roadmap_of(project, state.ledger, now)
        notes += roadmap_sentences(plans)
    except FactorMissing as err:
        notes.append(f"the roadmap cannot be worked out: {err}")
    return _Worked(tuple(rows), courses, tuple(plans), tuple(notes))


# --- lines ------------------------------------------------------------------------------------------

_LINES = [
    Column("budget", "line", "code", note="whose"),
    Column("state", "state", "state", note="why"),
    Column("limits", "limit"),
    Column("drawn", "drawn in the period", "energy"),
    Column("left", "left", "energy"),
    Column("share", "of the limit", "share"),
    Column("exhausted_at", "used up", "time", note="exhausted"),
    Column("per_unit", "per unit", "joules"),
    Column("hum", "hum", "power"),
    Column("grade", "grade", "grade", note="rests_on"),
]


def _line(row: Mapping[str, Any]) -> dict[str, Any]:
    part = f"part of {row['part_of']}" if row["part_of"] else ""
    total = row["limit_j"] is not None
    known = {key: value for key, value in row.items() if key != "burn_rates"}
    return {
        **known,
        # Of a limit of 0 no share can be said.
        "share": row["share"] if total and row["limit_j"] > 0 else None,
        "rates": [one["rate"] if math.isfinite(one["rate"]) else None for one in row["burn_rates"]],
        "whose": ", ".join(text for text in (row["phase"], row["owner"] or "no owner", part) if text),
        "why": "; ".join(budget_sentences(dict(row))),
        "limits": limit_text(dict(row)),
        "left_said": "" if total else "no limit",
        "share_said": "" if total else "no limit",
        "share_why": "the limit is 0" if total else "",
        "exhausted": _exhausted(row),
        "exhausted_at_why": _not_exhausted(row),
        "per_unit_why": "no receipt counts units" if row["per_unit_j"] is None else "",
        "hum_why": "no receipt knows its hum" if row["hum_w"] is None else "",
        "rests_on": f"{row['receipts']} receipts" + (f", {row['failed']} failed" if row["failed"] else ""),
    }


def _exhausted(row: Mapping[str, Any]) -> str:
    if row["exhausted_at"] is None or row["exhausted_earliest"] is None:
        return ""
    late = (row["exhausted_latest"] or "after the period")[:10]
    return f"95 %: {row['exhausted_earliest'][:10]} to {'after the period' if late == 'after the ' else late}"


def _not_exhausted(row: Mapping[str, Any]) -> str:
    if row["limit_j"] is None:
        return "no limit on the total"
    if row["exhausted_probability"] is None:
        return "three days of receipts are needed to say"
    if row["exhausted_at"] is None:
        return f"not in this period ({row['exhausted_probability']:.0%} that it is)"
    return ""


def _figures(rows: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    for row in rows:
        if row["limit_j"] is not None:
            yield figure(
                "energy", f"left of {clipped(row['budget'], 40)} until {row['period_end'][:10]}", row["left_j"],
                row["limit_j"] - row["drawn_high_j"], row["limit_j"] - row["drawn_low_j"], grade=row["grade"] or "",
                note=row["state"], method=f"limit less what {row['receipts']} receipts drew",
                source="energy.toml and the ledger",
            )  # fmt: skip


_FILL = [
    Column("line", "line", "code"),
    Column("what", "limit on"),
    Column("value", "now", "text"),
    Column("limit", "limit", "text"),
    Column("share", "share of the limit", "share"),
    Column("warn_at", "warns at", "share"),
    Column("state", "state", "state"),
]


def _fill(project: Project, rows: Sequence[Mapping[str, Any]], now: datetime) -> Iterator[dict[str, Any]]:
    """The share of each limit that is taken, where both are known."""
    warn_at = {line.name: line.at(now).warn_at for line in project.budgets}
    for row in rows:
        for what, value, limit, unit in (
            ("the period", row["drawn_j"] if row["limit_j"] is not None else None, row["limit_j"], "J"),
            ("a unit", row["per_unit_j"], row["limit_per_unit_j"], "J"),
            ("the hum", row["hum_w"], row["limit_hum_w"], "W"),
        ):
            if limit:
                yield {
                    "line": row["budget"], "what": what, "value": "" if value is None else f"{value:.4g} {unit}",
                    "limit": f"{limit:.4g} {unit}", "share": None if value is None else value / limit,
                    "share_why": "nothing is known yet" if value is None else "",
                    "warn_at": warn_at[row["budget"]], "state": row["state"],
                }  # fmt: skip


# --- burn-down --------------------------------------------------------------------------------------

_BURN = [
    Column("line", "line", "code"),
    Column("at", "until", "time"),
    Column("drawn", "drawn", "energy"),
    Column("left", "left", "energy"),
]


def _drawn_down(row: Mapping[str, Any], course: _Course, now: datetime) -> dict[str, Any]:
    """What the chart of one line draws. Times are seconds since 1970."""
    return {
        "line": row["budget"],
        "owner": row["owner"],
        "state": row["state"],
        "limit_j": row["limit_j"],
        "start_s": datetime.fromisoformat(row["period_start"]).timestamp(),
        "end_s": datetime.fromisoformat(row["period_end"]).timestamp(),
        "now_s": now.timestamp(),
        "at_s": [at.timestamp() for at, _ in course],
        "left_j": [row["limit_j"] - drawn_j for _, drawn_j in course],
        "left_low_j": row["limit_j"] - row["drawn_high_j"],
        "left_high_j": row["limit_j"] - row["drawn_low_j"],
        "exhausted_s": _stamp(row["exhausted_at"]),
        "earliest_s": _stamp(row["exhausted_earliest"]),
        "latest_s": _stamp(row["exhausted_latest"]),
        "probability": row["exhausted_probability"],
        "forecast_why": _not_exhausted(row),
    }


def _burnt(courses: Iterable[tuple[Mapping[str, Any], _Course]]) -> Iterator[dict[str, Any]]:
    for row, course in courses:
        for at, drawn_j in course:
            yield {"line": row["budget"], "at": utc(at), "drawn_j": drawn_j, "left_j": row["limit_j"] - drawn_j}


def _stamp(text: str | None) -> float | None:
    return None if text is None else datetime.fromisoformat(text).timestamp()


# --- roadmap ----------------------------------------------------------------------------------------

_ROADMAP = [
    Column("feature", "feature", "text", note="variant"),
    Column("quarter", "quarter"),
    Column("state", "state", "state", note="source"),
    Column("energy_per_unit", "per unit", "joules"),
    Column("energy", "in the quarter", "energy"),
    Column("headroom", "headroom", "energy", note="headroom_line"),
    Column("money", "money", "money"),
    Column("carbon", "carbon", "carbon", note="carbon_basis"),
    Column("grade", "grade", "grade", note="method"),
]
_G_PER_KG = 1000.0


def _planned(row: Mapping[str, Any]) -> dict[str, Any]:
    unknown = "not measured, nothing planned" if row["energy_j"] is None else ""
    no_site = "" if row["site"] else "no site is declared"
    return {
        **row,
        **{
            f"carbon{end}_g": None if row[f"carbon{end}_kg"] is None else row[f"carbon{end}_kg"] * _G_PER_KG
            for end in ("", "_low", "_high")
        },
        "energy_per_unit_why": unknown,
        "energy_why": unknown,
        "headroom_why": "" if row["headroom_j"] is not None else "no limit on its line's total, or not known",
        "money_why": no_site or unknown,
        "money_currency": row["currency"] or "",
        "carbon_why": no_site or unknown,
    }


def _grid(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    """Features, and below them the lines they draw, by quarter; None without a roadmap."""
    if not rows:
        return None
    quarters = list(dict.fromkeys(row["quarter"] for row in rows))
    features = list(dict.fromkeys(row["feature"] for row in rows))
    by = {(row["feature"], row["quarter"]): row for row in rows}
    lines = sorted({row["headroom_line"] for row in rows if row["headroom_line"]})
    return {
        "quarters": quarters,
        "features": [
            {"feature": name, "cells": [_cell(by.get((name, quarter))) for quarter in quarters]} for name in features
        ],
        "lines": [{"line": line, "cells": [_headroom(line, quarter, rows) for quarter in quarters]} for line in lines],
    }


def _cell(row: Mapping[str, Any] | None) -> dict[str, Any] | None:
    if row is None:
        return None
    return {
        "energy_j": row["energy_j"], "energy_low_j": row["energy_low_j"], "energy_high_j": row["energy_high_j"],
        "state": row["state"],
    }  # fmt: skip


def _headroom(line: str, quarter: str, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any] | None:
    found = [row for row in rows if row["headroom_line"] == line and row["quarter"] == quarter]
    if not found:
        return None
    tightest = min(found, key=lambda row: float("inf") if row["headroom_j"] is None else row["headroom_j"])
    left_j, low_j = tightest["headroom_j"], tightest["headroom_low_j"]
    state = "not known" if left_j is None else "short" if left_j < 0 else "may be short" if (low_j or 0) < 0 else "fits"
    return {"headroom_j": left_j, "headroom_low_j": low_j, "headroom_high_j": None, "state": state}


# --- waivers ----------------------------------------------------------------------------------------

_WAIVERS = [
    Column("proposal", "proposal", "code", note="content"),
    Column("state", "state", "state", note="left"),
    Column("expires", "expires", "time"),
    Column("owner", "owner"),
    Column("reason", "reason"),
    Column("parts", "excuses", "list"),
]


def _waivers(project: Project, now: datetime) -> Iterator[dict[str, Any]]:
    for one in sorted(project.waivers, key=lambda waiver: waiver.expires):
        left = one.expires - now
        state = "expired" if left <= timedelta(0) else "expires soon" if left <= _SOON else "in force"
        yield {
            "proposal": one.proposal,
            "content": f"content {one.content[:12]}, verdict {one.verdict[:12]}",
            "state": state,
            "left": f"{abs(left.days)} days {'left' if left > timedelta(0) else 'ago'}",
            "expires": utc(one.expires),
            "owner": one.owner,
            "reason": one.reason,
            "parts": list(one.parts) or ["every part"],
        }
