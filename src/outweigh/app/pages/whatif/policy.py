"""Shocks that leaders argue about, for the sites of a placement file. Declared shocks, grade D."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from outweigh.app.pages.asked import Asked, clipped
from outweigh.app.pages.found import FileKind, chosen, files_of
from outweigh.app.pages.shape import Column, table
from outweigh.app.whatif_policy import Asked as Shocks
from outweigh.app.whatif_policy import policy

if TYPE_CHECKING:
    from outweigh.app.serving import Served

FIELDS = ("placement", "carbon_prices", "rise", "curtail", "new", "weights", "draws")
OPTIONS = {"tariff": "rise", "carbon-price": "carbon_prices", "weight": "weights"}
_MOST_DRAWS = 5000
_EXPOSURE = [
    Column("site", "site", "code", note="country"),
    Column("state", "state", note="basis"),
    Column("cost", "cost of a year", "money"),
    Column("more", "more than today", "money"),
    Column("share", "more than today", "share"),
]
_GAPS = [
    Column("state", "state"),
    Column("home", "at home", "money"),
    Column("rival", "best rival", "code"),
    Column("rival_cost", "at the rival", "money"),
    Column("gap", "support a year", "money"),
    Column("per_mwh", "a MWh", "money"),
    Column("carbon", "more carbon at home", "carbon"),
]
_RANKS = [
    Column("site", "site", "code"),
    Column("rank", "rank", "number"),
    Column("score", "score", "number"),
    Column("first", "first in", "share"),
]


def offered(served: Served) -> dict[str, Any]:
    """The files there are to choose from."""
    return {"files": [one.name for one in files_of(served.folder, FileKind.PLACEMENT)], "asked": False}


def answered(document: dict[str, Any], served: Served, asked: Asked) -> dict[str, Any]:
    """The sites as today first, then under each shock. Raises what `whatif_policy.policy` does, and FieldRefused."""
    file = chosen(served.folder, FileKind.PLACEMENT, asked, "placement", "placement file")
    found = policy(
        file.path,
        Shocks(
            carbon_prices=_several(asked.text("carbon_prices")),
            tariff=asked.text("rise", "+50%"),
            curtail=asked.text("curtail", "10%"),
            new=asked.text("new", "20%"),
            weights=_several(asked.text("weights")),
            draws=asked.whole("draws", 500, low=1, high=_MOST_DRAWS),
        ),
    )
    doc = found.document
    money = doc["currency"]
    document["tables"]["exposure"] = table(
        f"A year at each site of {file.name}, as today and under each shock", _EXPOSURE,
        [row for one in doc["exposure"] for row in _states(one, money)],
    )  # fmt: skip
    document["tables"]["support"] = table(
        f"Support that makes {clipped(doc['home'])} equal its best rival",
        _GAPS,
        [_gap(one, money) for one in doc["incentive_gap"]],
    )
    document["tables"]["ranks"] = table(
        f"Ranking, and how it holds over {doc['draws']} draws of the weights", _RANKS,
        [_rank(one) for one in doc["ranking"]],
        empty="no site has every figure that the weights ask for.",
    )  # fmt: skip
    return {"file": file.name, "home": doc["home"], "currency": money, "said": list(found.notes)}


def _several(text: str) -> tuple[str, ...]:
    return tuple(one.strip() for one in text.split(",") if one.strip())


def _states(one: dict[str, Any], money: str) -> list[dict[str, Any]]:
    today = one["cost_today"]
    rows = [("as today", today), *one["cost"].items()]
    return [
        {
            "site": one["site"], "country": one["country"], "state": state,
            "basis": "do nothing" if state == "as today" else "projected", "cost": cost, "cost_currency": money,
            "more": cost - today, "more_currency": money, "share": (cost - today) / today if today > 0 else None,
            "share_why": "nothing is paid today",
        }
        for state, cost in rows
    ]  # fmt: skip


def _gap(one: dict[str, Any], money: str) -> dict[str, Any]:
    return {
        "state": one["state"], "home": one["home_cost"], "rival": one["rival"] or "none",
        "rival_cost": one["rival_cost"], "rival_cost_said": "no rival", "gap": one["gap_per_year"],
        "per_mwh": one["gap_per_mwh"], "per_mwh_said": "nothing runs there", "carbon_g": one["carbon_more_at_home_g"],
        "carbon_said": "no rival",
        **{f"{key}_currency": money for key in ("home", "rival_cost", "gap", "per_mwh")},
    }  # fmt: skip


def _rank(one: dict[str, Any]) -> dict[str, Any]:
    return {
        "site": one["site"], "rank": one["rank"], "rank_low": one["rank_low"], "rank_high": one["rank_high"],
        "score": one["score"], "first": one["first_share"],
    }  # fmt: skip
