"""Keep the devices or replace them, for the same work. By data sheets, grade D."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from outweigh.app.pages.asked import Asked, FieldRefused
from outweigh.app.pages.shape import Column, table
from outweigh.app.whatif_hardware import Asked as Fleets
from outweigh.app.whatif_hardware import weighed
from outweigh.data.hardware import devices
from outweigh.whatif.hardware.keeping import Bound

if TYPE_CHECKING:
    from outweigh.app.serving import Served

FIELDS = ("kept", "bought", "devices", "replaced_by", "busy", "idle", "bound", "over", "zone", "hall_pue",
          "power_carbon", "power_price", "buying", "resale", "embodied", "discount")  # fmt: skip
OPTIONS = {
    "count": "devices", "new-count": "replaced_by", "years": "over", "pue": "hall_pue", "intensity": "power_carbon",
    "price": "power_price", "cost": "buying", "rate": "discount", "region": "zone", "horizon": "over",
    "busy share": "busy", "idle share": "idle", "discount rate": "discount", "number of new devices": "replaced_by",
    "PUE": "hall_pue", "carbon intensity": "power_carbon", "unit of carbon intensity": "power_carbon",
    "unit of price": "power_price", "embodied carbon": "embodied",
    "purchase price": "buying",
}  # fmt: skip
_BOUNDS = tuple(one.value for one in Bound)
_MOST = 10_000_000  # devices
_WAYS = [
    Column("way", "way", note="basis"),
    Column("count", "devices", "number", note="device"),
    Column("facility", "energy", "energy"),
    Column("use", "carbon of use", "carbon"),
    Column("debt", "carbon of making", "carbon"),
    Column("carbon", "carbon in all", "carbon"),
    Column("power_money", "power", "money"),
    Column("purchase", "purchase", "money"),
    Column("money", "money in all", "money"),
]
_NO_PRICE = "no price of power is known"
_NO_CARBON = "no carbon intensity is known"


def offered(_served: Served) -> dict[str, Any]:
    return {"known": sorted(devices()), "bounds": list(_BOUNDS), "asked": False}


def answered(document: dict[str, Any], _served: Served, asked: Asked) -> dict[str, Any]:
    """Keeping first, then replacing. Raises what `whatif_hardware.weighed` does, and FieldRefused."""
    known = tuple(sorted(devices()))
    needed = {
        "kept": ("which devices are there", "one of the table"),
        "bought": ("which would replace them", "one of the table"),
        "devices": ("how many there are", "such as 512"), "hall_pue": ("the PUE of the hall", "such as 1.2"),
    }  # fmt: skip
    for field, (what, example) in needed.items():
        if not asked.text(field):
            raise FieldRefused(f"{what} is missing", field, f"Give {example}")
    found = weighed(
        Fleets(
            old=asked.choice("kept", known),
            new=asked.choice("bought", known),
            count=asked.whole("devices", 1, low=1, high=_MOST),
            new_count=asked.whole("replaced_by", 1, low=1, high=_MOST) if asked.text("replaced_by") else None,
            busy=asked.text("busy", "60%"),
            idle=asked.text("idle"),
            years=asked.number("over", 4.0, low=0.1, high=100),
            bound=asked.choice("bound", _BOUNDS, _BOUNDS[0]),
            zone=asked.text("zone"),
            pue=asked.text("hall_pue"),
            intensity=asked.text("power_carbon"),
            price=asked.text("power_price"),
            cost=asked.text("buying"),
            resale=asked.text("resale"),
            embodied=asked.text("embodied"),
            discount=asked.text("discount"),
        )
    )
    doc = found.document
    rows = [_row("keep", "do nothing", doc["keep"], doc), _row("replace", "projected", doc["replace"], doc)]
    document["tables"]["fleets"] = table(
        f"The same work over {doc['years']:g} years; by data sheets, all of grade {doc['grade']}", _WAYS, rows
    )
    return {"lines": found.lines, "said": found.notes, "currency": doc["currency"]}


def _row(way: str, basis: str, side: dict[str, Any], doc: Any) -> dict[str, Any]:
    money, kept = doc["currency"] or "", way == "keep"
    low, high = side["embodied_carbon_g_low"], side["embodied_carbon_g_high"]
    return {
        "way": way, "basis": basis,
        "count": side["count"], "device": side["device"],
        "facility_j": side["facility_energy_j"], "facility_low_j": side["facility_energy_j_low"],
        "facility_high_j": side["facility_energy_j_high"],
        "use_g": side["use_carbon_g"], "use_low_g": side.get("use_carbon_g_low"),
        "use_high_g": side.get("use_carbon_g_high"), "use_why": _NO_CARBON,
        "debt_g": 0.0 if kept else (low * high) ** 0.5,
        "debt_low_g": None if kept else low, "debt_high_g": None if kept else high,
        "carbon_g": side["carbon_g"], "carbon_low_g": side.get("carbon_g_low"),
        "carbon_high_g": side.get("carbon_g_high"), "carbon_why": _NO_CARBON,
        "power_money": side["power_money"], "power_money_low": side.get("power_money_low"),
        "power_money_high": side.get("power_money_high"), "power_money_why": _NO_PRICE,
        "purchase": side["purchase_money"], "purchase_why": "no price of a device was given",
        "money": side["money"], "money_why": "a price is missing",
        **{f"{key}_currency": money for key in ("power_money", "purchase", "money")},
    }  # fmt: skip
