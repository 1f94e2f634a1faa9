"""Every lever of a levers file on one abatement curve; measured ones come from a review."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from outweigh.app.pages.asked import Asked
from outweigh.app.pages.found import FileKind, files_of, named
from outweigh.app.pages.shape import Column, table
from outweigh.app.whatif_levers import Asked as Levers
from outweigh.app.whatif_levers import levers

if TYPE_CHECKING:
    from outweigh.app.serving import Served

FIELDS = ("levers", "review", "energy")
OPTIONS: dict[str, str] = {}
_STEPS = [
    Column("name", "lever", note="source"),
    Column("basis", "basis", "state"),
    Column("carbon", "avoids a year", "carbon"),
    Column("energy", "energy a year", "energy"),
    Column("cost", "cost a year", "money"),
    Column("saved", "saves a year", "money"),
    Column("gross", "per tonne, before savings", "money"),
    Column("net", "net of savings", "money"),
    Column("grade", "grade", "grade"),
    Column("command", "try it", "code"),
]
_PASSED = [
    Column("name", "not counted"),
    Column("saves", "saves alone", "share"),
    Column("basis", "basis", "state"),
    Column("why", "why"),
]


def offered(served: Served) -> dict[str, Any]:
    """The files there are to choose from."""
    return {
        "files": [one.name for one in files_of(served.folder, FileKind.LEVERS)],
        "reviews": [one.name for one in files_of(served.folder, FileKind.REVIEW)],
        "asked": False,
        "trouble": "",
    }


def answered(document: dict[str, Any], served: Served, asked: Asked) -> dict[str, Any]:
    """The curve, doing nothing first. Raises what `whatif_levers.levers` does, and FieldRefused."""
    files, reviews = files_of(served.folder, FileKind.LEVERS), files_of(served.folder, FileKind.REVIEW)
    name = asked.choice("levers", [one.name for one in files], files[0].name if files else "")
    chosen = named(files, name, "levers file")
    review = asked.choice("review", [one.name for one in reviews])
    found = levers(
        Levers(
            levers=chosen.path,
            review=named(reviews, review, "review").path if review else None,
            energy=asked.text("energy"),
        )
    )
    doc = found.document
    money = doc["currency"]
    rows = [_nothing(doc, name), *(_step(one, money) for one in doc["steps"]), _total(doc)]
    document["tables"]["levers"] = table(f"Levers of {name}, cheapest per tonne first", _STEPS, rows)
    if doc["passed_over"]:
        document["tables"]["passed"] = table(
            "Not on the curve, and why", _PASSED, [_passed(x) for x in doc["passed_over"]]
        )
    document["notes"] += [*found.lines, *found.notes]
    return {"file": name, "review": review, **{key: doc[key] for key in ("steps", "base", "total", "currency")}}


def _money(row: dict[str, Any], money: str) -> dict[str, Any]:
    return row | {f"{key}_currency": money for key in ("cost", "saved", "gross", "net")}


def _nothing(doc: dict[str, Any], name: str) -> dict[str, Any]:
    base = doc["base"]
    return _money(
        {"name": "do nothing", "source": name, "basis": "as today", "carbon_g": 0.0, "energy_j": 0.0,
         "cost": 0.0, "saved": 0.0, "gross_said": "–", "gross_why": f"emits {base['carbon_g'] / 1e6:.4g} t a year",
         "net_said": "–", "net_why": f"draws {base['energy_j'] / 3.6e9:.4g} MWh", "grade": None, "command": ""},
        doc["currency"],
    )  # fmt: skip


def _step(one: dict[str, Any], money: str) -> dict[str, Any]:
    return _money(
        {"name": one["name"], "source": one["source"], "basis": _basis(one), "carbon_g": one["carbon_g"],
         "carbon_low_g": one["carbon_low_g"], "carbon_high_g": one["carbon_high_g"], "energy_j": one["energy_j"],
         "cost": one["cost"], "saved": one["saved"], "gross": one["gross_per_tonne"], "net": one["net_per_tonne"],
         "grade": one["grade"], "command": one["command"] or ""}, money,
    )  # fmt: skip


def _total(doc: dict[str, Any]) -> dict[str, Any]:
    total = doc["total"]
    return _money(
        {"name": "all of them", "source": "each takes its share of what the ones before it left", "basis": "together",
         "carbon_g": total["carbon_g"], "carbon_low_g": total["carbon_low_g"], "carbon_high_g": total["carbon_high_g"],
         "energy_j": total["energy_j"], "cost": total["cost"], "saved": total["saved"], "gross_said": "see each",
         "net_said": "see each", "grade": None, "command": ""}, doc["currency"],
    )  # fmt: skip


def _passed(one: dict[str, Any]) -> dict[str, Any]:
    return {
        "name": one["name"], "basis": _basis(one), "why": one["why"], "saves": 1 - one["carbon_ratio"],
        "saves_low": 1 - one["carbon_ratio_high"], "saves_high": 1 - one["carbon_ratio_low"],
    }  # fmt: skip


def _basis(one: dict[str, Any]) -> str:
    return "measured" if one["measured"] else "projected"
