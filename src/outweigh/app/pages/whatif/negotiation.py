"""Buyers of a negotiation sheet, alone and pooled, under today's tariff and under what they were offered."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from outweigh.app.pages.asked import Asked
from outweigh.app.pages.found import FileKind, chosen, files_of
from outweigh.app.pages.shape import Column, table
from outweigh.app.whatif_negotiate import negotiate

if TYPE_CHECKING:
    from outweigh.app.serving import Served

FIELDS = ("sheet",)
OPTIONS: dict[str, str] = {}
_BILLS = [
    Column("who", "who"),
    Column("offer", "tariff", note="basis"),
    Column("energy", "energy of a year", "energy"),
    Column("total", "bill of a year", "money"),
    Column("each", "per kWh", "money"),
    Column("saves", "below today", "money"),
]


def offered(served: Served) -> dict[str, Any]:
    """The files there are to choose from."""
    return {"files": [one.name for one in files_of(served.folder, FileKind.NEGOTIATION)], "asked": False}


def answered(document: dict[str, Any], served: Served, asked: Asked) -> dict[str, Any]:
    """Each buyer as today first, then under each offer. Raises what `whatif_negotiate.negotiate` does."""
    file = chosen(served.folder, FileKind.NEGOTIATION, asked, "sheet", "negotiation sheet")
    found = negotiate(file.path)
    doc = found.document
    document["tables"]["bills"] = table(
        f"Bills of {doc['year']} under {doc['tariff']} and under each offer", _BILLS,
        [row for one in doc["who"] for row in _bills(one, doc["currency"])],
    )  # fmt: skip
    return {"file": file.name, "currency": doc["currency"], "lines": found.lines, "said": found.notes}


def _bills(one: dict[str, Any], money: str) -> list[dict[str, Any]]:
    each = [("as today", "do nothing", one["today"], 0.0)]
    each += [(offer["offer"], "projected", offer, offer["saves"]) for offer in one["offers"]]
    return [
        {
            "who": one["name"], "offer": name, "basis": basis, "energy_j": paid["energy_j"], "total": paid["total"],
            "each": paid["per_kwh"], "each_why": "nothing is drawn", "saves": saves,
            **{f"{key}_currency": money for key in ("total", "each", "saves")},
        }
        for name, basis, paid, saves in each
    ]  # fmt: skip
