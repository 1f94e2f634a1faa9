"""One run under a tariff of the folder: now, at its best start, held under the contract. Projected, grade D."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from outweigh.app.pages.asked import Asked, FieldRefused
from outweigh.app.pages.found import FileKind, chosen, files_of, named
from outweigh.app.pages.shape import Column, table
from outweigh.app.whatif_tariff import Asked as Tariffed
from outweigh.app.whatif_tariff import ask, moment, run_of, way_rows

if TYPE_CHECKING:
    from outweigh.app.serving import Served

FIELDS = ("tariff", "flat", "week", "power", "lasting", "start", "latest", "every", "pue", "grid", "carbon_at")
OPTIONS = {"for": "lasting", "load": "week", "intensity": "grid", "carbon-price": "carbon_at"}
_YEAR = timedelta(days=366)  # as far as ratchets of eleven months look back
_MOST_STARTS = 600
_WAYS = [
    Column("way", "way", note="projected"),
    Column("start", "start", "time"),
    Column("end", "end", "time"),
    Column("total", "adds to the bill", "money"),
    Column("energy", "energy", "money"),
    Column("demand", "demand and ratchet", "money"),
    Column("rest", "riders, taxes, rest", "money"),
    Column("cooling", "cooling", "money"),
    Column("naive", "by the average price", "money"),
    Column("times", "times the average", "number"),
    Column("carbon", "carbon at its price", "money"),
    Column("peak", "peak", "power"),
]


def offered(served: Served) -> dict[str, Any]:
    """The files there are to choose from."""
    return {
        "files": [one.name for one in files_of(served.folder, FileKind.TARIFF)],
        "weeks": [one.name for one in files_of(served.folder, FileKind.LOAD)],
        "asked": False,
    }


def answered(document: dict[str, Any], served: Served, asked: Asked) -> dict[str, Any]:
    """The ways, not running first. Raises what `whatif_tariff` does, and FieldRefused."""
    weeks = files_of(served.folder, FileKind.LOAD)
    file = chosen(served.folder, FileKind.TARIFF, asked, "tariff", "tariff")
    week = asked.choice("week", [one.name for one in weeks])
    for field, example in (("power", "650 kW"), ("lasting", "3 d"), ("start", "2026-12-01T09:00")):
        if not asked.text(field):
            raise FieldRefused(f"{field} is missing", field, f"Give such as {example}")
    if not (week or asked.text("flat")):
        raise FieldRefused("what the site draws is missing", "flat", "Give 5 MW, or choose a week")
    begun: datetime = moment(asked.text("start"), "UTC")
    latest = asked.text("latest")
    every = asked.text("every", "6 h")
    since = begun.replace(day=1)
    question = ask(
        Tariffed(
            tariff=file.path,
            load=named(weeks, week, "week").path if week else None,
            flat=asked.text("flat") or None,
            since=f"{since:%Y-%m-%d}",
            until=f"{(since + _YEAR).replace(day=1):%Y-%m-%d}",
            pue=asked.number("pue", 1.0, low=1.0, high=10.0),
            intensity=asked.text("grid") or None,
            carbon_price=asked.text("carbon_at") or None,
        )
    )
    if latest:
        _few_enough(begun, moment(latest, "UTC"), every)
    run = run_of(question.tariff, power=asked.text("power"), lasting=asked.text("lasting"), start=asked.text("start"))
    _, *rows = way_rows(question, run, latest or None, every)
    money = question.tariff.currency
    nothing = {"way": "not running", "projected": "do nothing", "start": None, "start_why": "-", "end": None,
               "end_why": "-", **dict.fromkeys(_MONEY, 0.0), "times_said": "–", "peak_said": "as before"}  # fmt: skip
    document["tables"]["ways"] = table(
        f"What the run adds to a year's bill under {file.name}",
        _WAYS,
        [{**one, **{f"{key}_currency": money for key in _MONEY}} for one in (nothing, *(_row(row) for row in rows))],
    )
    notes = dict.fromkeys(str(note) for row in rows for note in _notes(row))
    return {"file": file.name, "currency": money, "said": list(notes)}


_MONEY = ("total", "energy", "demand", "rest", "cooling", "naive", "carbon")


def _few_enough(begun: datetime, latest: datetime, every: str) -> None:
    from outweigh.core.units import parse_seconds

    step_s = parse_seconds(every)
    # A time without a zone is a local one; for the count the difference is no matter.
    reach_s = (latest.replace(tzinfo=None) - begun.replace(tzinfo=None)).total_seconds()
    if step_s <= 0 or reach_s / step_s > _MOST_STARTS:
        raise FieldRefused(f"more than {_MOST_STARTS} starts to look at", "every", "Take longer steps, such as 6 h")


def _notes(row: dict[str, Any]) -> list[object]:
    notes = row["notes"]
    return list(notes) if isinstance(notes, list) else []


def _row(row: dict[str, Any]) -> dict[str, Any]:
    return {
        "way": row["way"],
        "projected": "projected",
        "start": row["start"],
        "end": row["end"],
        "total": row["total"],
        "energy": row["energy"],
        "demand": row["demand"] + row["ratchet"],
        "rest": row["rider"] + row["tax"] + row["fixed"] + row["minimum"] + row["rounding"],
        "cooling": row["cooling"],
        "naive": row["naive"],
        "naive_why": "there is no average price",
        "times": row["times_naive"],
        "times_why": "there is no average price",
        "carbon": row["carbon"],
        "carbon_said": "not priced",
        "peak_w": row["peak_w"],
    }
