"""Owners: the columns of their table, and their hum over time with the largest by name."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from outweigh.app.pages.shape import Column, table

_MOST_OWNERS = 7  # drawn apart; the table has them all

OWNERS = (
    Column("owner", "owner", href="href"),
    Column("hum", "hum", "energy"),
    Column("power", "mean hum", "power"),
    Column("share", "of all hum", "share"),
    Column("work", "work", "energy"),
    Column("idle_share", "hum of what it drew", "share"),
    Column("month", "a month of this hum", "money"),
    Column("grade", "grade", "grade"),
    Column("action", "what to do"),
)


def few_owners(rows: list[dict[str, Any]]) -> dict[str, Any]:
    """The owners with most hum by name, the others together, at the end."""
    sums: dict[str, float] = {}
    for row in rows:
        sums[row["owner"]] = sums.get(row["owner"], 0.0) + row["hum_j"]
    named = sorted(sums, key=lambda owner: -sums[owner])[:_MOST_OWNERS]
    rest = f"{len(sums) - len(named)} others"
    found: dict[tuple[str, str], dict[str, Any]] = {}
    for row in rows:
        owner = row["owner"] if row["owner"] in named else rest
        one = found.setdefault((row["start"], owner), {**row, "owner": owner, "hum_j": 0.0, "work_j": 0.0})
        one["hum_j"] += row["hum_j"]
        one["work_j"] += row["work_j"]
    return {"rows": list(found.values()), "owners": [*named, *([rest] if len(sums) > len(named) else [])]}


def trend_table(rows: Sequence[dict[str, Any]]) -> dict[str, Any]:
    columns = (
        Column("start", "from", "time"),
        Column("owner", "owner"),
        Column("hum", "hum", "energy"),
        Column("work", "work", "energy"),
    )
    return table("Hum over time, by owner", columns, rows)
