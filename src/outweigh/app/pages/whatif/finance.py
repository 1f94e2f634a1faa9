"""A business case of the folder over its years, doing nothing first. Projected, of the grade its options declare."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from outweigh.app.pages.asked import Asked, clipped
from outweigh.app.pages.found import FileKind, chosen, files_of
from outweigh.app.pages.shape import Column, table
from outweigh.app.whatif_finance import finance

if TYPE_CHECKING:
    from outweigh.app.serving import Served

FIELDS = ("case", "option", "scenarios", "seed")
OPTIONS: dict[str, str] = {}
_MOST_SCENARIOS = 5000
_BARS = 10
_WAYS = [
    Column("way", "way", note="basis"),
    Column("present", "present value", "money"),
    Column("gain", "gain over doing nothing", "money"),
    Column("better", "better in", "share"),
    Column("payback", "payback, years", "number"),
    Column("irr", "internal rate of return", "share"),
    Column("energy", "energy in all", "energy"),
    Column("carbon", "carbon in all", "carbon"),
    Column("grade", "grade", "grade"),
]
_CASH = [
    Column("way", "way"),
    Column("year", "year", "number"),
    Column("cash", "cash flow", "money"),
    Column("energy", "energy", "energy"),
    Column("carbon", "carbon", "carbon"),
]
_TORNADO = [
    Column("input", "input"),
    Column("at_low", "gain at its low end", "money"),
    Column("at_high", "gain at its high end", "money"),
    Column("swing", "swing", "money"),
]


def offered(served: Served) -> dict[str, Any]:
    """The files there are to choose from."""
    return {"files": [one.name for one in files_of(served.folder, FileKind.CASE)], "asked": False}


def answered(document: dict[str, Any], served: Served, asked: Asked) -> dict[str, Any]:
    """Doing nothing, then each option. Raises what `whatif_finance.finance` does, and FieldRefused."""
    file = chosen(served.folder, FileKind.CASE, asked, "case", "case")
    option = asked.text("option")
    found = finance(
        file.path,
        scenarios=asked.whole("scenarios", 500, low=1, high=_MOST_SCENARIOS),
        seed=asked.whole("seed", 0, low=0, high=2**31),
        option=option,
        bars=_BARS,
    )
    doc = found.document
    money = doc["currency"]
    best = max(doc["tornado"], key=lambda way: _gain(doc, way), default="")
    shown = option or best
    document["tables"]["ways"] = table(
        f"{file.name} over {doc['years']} years", _WAYS, [_way(x, money) for x in doc["ways"]]
    )
    document["tables"]["cash"] = table("Year by year", _CASH, [row for x in doc["ways"] for row in _years(x, money)])
    document["tables"]["tornado"] = table(
        f"What the gain of {clipped(shown)} hangs on", _TORNADO,
        [_bar(one, money) for one in doc["tornado"].get(shown, [])],
        empty="no input has a range.",
    )  # fmt: skip
    return {
        "file": file.name, "currency": money, "options": list(doc["tornado"]), "option": shown,
        "gain": _gain(doc, shown) if shown else None, "lines": found.lines, "said": found.notes,
    }  # fmt: skip


def _gain(doc: Any, way: str) -> float:
    return next(float(one["gain"]) for one in doc["ways"] if one["way"] == way)


def _way(one: dict[str, Any], money: str) -> dict[str, Any]:
    nothing = one["better_share"] is None
    return {
        "way": one["way"], "basis": "do nothing" if nothing else f"projected: {one['source'] or 'no source named'}",
        "present": one["present_value"], "present_currency": money,
        "gain": one["gain"], "gain_low": None if nothing else one["scenario_p05"],
        "gain_high": None if nothing else one["scenario_p95"], "gain_currency": money,
        "better": one["better_share"], "better_said": "–",
        "payback": one["payback_years"], "payback_said": "–" if nothing else "never",
        "irr": one["irr"], "irr_said": "–" if nothing else "not defined",
        "irr_why": "" if nothing else f"{one['sign_changes']} changes of sign",
        "energy_j": sum(one["energy_j"]), "carbon_g": sum(one["carbon_g"]), "grade": one["grade"],
    }  # fmt: skip


def _years(one: dict[str, Any], money: str) -> list[dict[str, Any]]:
    return [
        {"way": one["way"], "year": year, "cash": cash, "cash_currency": money, "energy_j": joules, "carbon_g": grams}
        for year, (cash, joules, grams) in enumerate(zip(one["cash"], one["energy_j"], one["carbon_g"], strict=True))
    ]


def _bar(one: dict[str, Any], money: str) -> dict[str, Any]:
    return {
        "input": one["input"], "at_low": one["gain_low"], "at_high": one["gain_high"], "swing": one["swing"],
        **{f"{key}_currency": money for key in ("at_low", "at_high", "swing")},
    }  # fmt: skip
