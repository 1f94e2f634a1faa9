"""Air, cold plate and immersion for one hall in one climate. Modelled, grade D."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from outweigh.app.pages.asked import Asked, FieldRefused
from outweigh.app.pages.shape import Column, table
from outweigh.app.whatif_cooling import Asked as Cooled
from outweigh.app.whatif_cooling import cool

if TYPE_CHECKING:
    from outweigh.app.serving import Served

TECHNOLOGIES = ("air", "cold-plate", "immersion-1", "immersion-2")
_CAPEX = {"capex_cold_plate": "cold-plate", "capex_immersion_1": "immersion-1", "capex_immersion_2": "immersion-2"}
FIELDS = ("it", "dry", "humidity", "it_load", "rejection", "cooled_by", "share", "reuse", "price", "intensity",
          "carbon_price", *_CAPEX, "years", "rate")  # fmt: skip
OPTIONS = {"load": "it_load", "now": "cooled_by", "weather": "dry", "capex": "capex_cold_plate", "wet": "humidity"}
_REJECTIONS = ("wet", "dry")
_LITRES = [
    Column("technology", "technology", "code", note="now"),
    Column("facility", "facility energy a year", "energy"),
    Column("saved", "saves a year", "energy"),
    Column("pue", "PUE", "number"),
    Column("itue", "ITUE", "number"),
    Column("tue", "TUE", "number"),
    Column("peak", "peak", "power"),
    Column("water", "water a year, m³", "number"),
    Column("money", "money saved a year", "money"),
    Column("payback", "payback, years", "number"),
    Column("grade", "grade", "grade", note="method"),
]


def offered(_served: Served) -> dict[str, Any]:
    return {"technologies": list(TECHNOLOGIES), "rejections": list(_REJECTIONS), "asked": False}


def answered(document: dict[str, Any], _served: Served, asked: Asked) -> dict[str, Any]:
    """The technologies, what cools the hall now first. Raises what `whatif_cooling.cool` does, and FieldRefused."""
    for field, example in (("it", "10 MW"), ("dry", "12")):
        if not asked.text(field):
            raise FieldRefused(f"{field} is missing", field, f"Give such as {example}")
    rejection = asked.choice("rejection", _REJECTIONS, _REJECTIONS[0])
    if rejection == "wet" and not asked.text("humidity"):
        raise FieldRefused("a wet tower follows the wet-bulb temperature", "humidity", "Give such as 70, or a dry one")
    humid = asked.text("humidity")
    found = cool(
        Cooled(
            it=asked.text("it"),
            dry=asked.number("dry", 0.0, low=-60, high=60),
            humidity=asked.number("humidity", 0.0, low=0, high=100) if humid else None,
            load=asked.text("it_load"),
            rejection=rejection,
            now=asked.choice("cooled_by", TECHNOLOGIES, TECHNOLOGIES[0]),
            share=asked.text("share", "100%"),
            reuse=asked.text("reuse", "0%"),
            price=asked.text("price"),
            intensity=asked.text("intensity"),
            carbon_price=asked.text("carbon_price"),
            capex=tuple(f"{name}={asked.text(field)}" for field, name in _CAPEX.items() if asked.text(field)),
            years=asked.number("years", 10.0, low=0.1, high=100),
            rate=asked.text("rate", "0%"),
        )
    )
    doc = found.document
    document["tables"]["cooling"] = table(
        "What the hall draws and drinks, what cools it now first", _LITRES, [_row(one, doc) for one in doc["options"]]
    )
    document["tables"]["parameters"] = table("The parameters it is modelled from", _PARAMETERS, doc["parameters"])
    return {"lines": found.lines, "said": found.notes, "currency": doc["currency"]}


_PARAMETERS = [
    Column("technology", "technology", "code"),
    Column("parameter", "parameter"),
    Column("value", "value", "number", note="unit"),
    Column("source", "source", note="licence"),
    Column("year", "of", note="checked"),
    Column("grade", "grade", "grade"),
]


def _row(one: dict[str, Any], doc: Any) -> dict[str, Any]:
    now = one["technology"] == doc["now"]
    no_price = "no price was given"
    return {
        "technology": one["technology"],
        "now": "as now: do nothing" if now else "projected",
        "facility_j": one["facility_energy_j"], "facility_low_j": one["facility_energy_low_j"],
        "facility_high_j": one["facility_energy_high_j"],
        "saved_j": one["saved_energy_j"], "saved_low_j": one["saved_energy_low_j"],
        "saved_high_j": one["saved_energy_high_j"],
        "pue": one["pue"], "pue_low": one["pue_low"], "pue_high": one["pue_high"],
        "itue": one["itue"],
        "tue": one["tue"], "tue_low": one["tue_low"], "tue_high": one["tue_high"],
        "peak_w": one["peak_power_w"],
        "water": one["water_l"] / 1e3,
        "money": one["saved_per_year"], "money_currency": doc["currency"] or "", "money_why": no_price,
        "payback": one["payback_years"],
        "payback_said": "–" if now else "never" if one["pays_back"] is False else "",
        "payback_why": "" if now or one["pays_back"] is False else "no capital was given",
        "grade": doc["grade"], "method": doc["method"],
    }  # fmt: skip
