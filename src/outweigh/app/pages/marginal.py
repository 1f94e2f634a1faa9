"""What one more run of a month would cost under a tariff of the project's folder, run by run."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from outweigh.app.pages.asked import Asked, FieldRefused
from outweigh.app.pages.forms import told_at
from outweigh.app.pages.found import FileKind, files_of, named
from outweigh.app.pages.shape import Column, table
from outweigh.core.errors import ConfigError, InvalidQuantity, UsageError

if TYPE_CHECKING:
    from outweigh.app.serving import Served

FIELDS = ("tariff", "flat", "load", "power", "lasting", "start", "pue", "runs")
MOST_RUNS = 60
_USUAL_RUNS = 12
_MOST_PUE = 10.0
_YEAR = timedelta(days=366)  # as far as ratchets of eleven months look back
_CURVE = [
    Column("run", "run of the month", "number"),
    Column("total", "adds", "money"),
    Column("energy", "energy", "money"),
    Column("demand", "demand and ratchet", "money"),
    Column("rest", "riders, taxes and the rest", "money"),
    Column("cooling", "cooling", "money"),
    Column("peak", "peak", "power", note="crosses"),
]


def marginal_run(document: dict[str, Any], served: Served, asked: Asked) -> None:
    """Add the marginal-run curve to a page, where one was asked for; and the files it can be asked of.

    Fields: `tariff` and `load`, names of files in the folder; `flat` instead of `load`, "5 MW"; `power` of the run,
    `lasting` "3 d", `start` (local time of the site), `pue` of the run, `runs`, how many.

    Raises:
        FieldRefused: a field is missing or cannot be followed.
    """
    from outweigh.app.whatif_tariff import Asked as Tariffed
    from outweigh.app.whatif_tariff import ask, curve_rows, moment, run_of

    tariffs, loads = files_of(served.folder, FileKind.TARIFF), files_of(served.folder, FileKind.LOAD)
    document["marginal"] = {
        "tariffs": [one.name for one in tariffs], "loads": [one.name for one in loads], "asked": False
    }  # fmt: skip
    if not any(asked.text(name) for name in FIELDS):
        return
    name = asked.choice("tariff", [one.name for one in tariffs])
    load = asked.choice("load", [one.name for one in loads])
    for field, example in (("tariff", "one of the folder's"), ("power", "650 kW"), ("lasting", "3 d"),
                           ("start", "2026-12-01T09:00")):  # fmt: skip
        if not asked.text(field):
            raise FieldRefused(f"{field} is missing", field, f"Give {example}")
    if not (load or asked.text("flat")):
        raise FieldRefused("what the site draws is missing", "flat", "Give 5 MW, or choose a load")
    runs = asked.whole("runs", _USUAL_RUNS, low=1, high=MOST_RUNS)
    pue = asked.number("pue", 1.0, low=1.0, high=_MOST_PUE)
    try:
        chosen = named(tariffs, name, "tariff")
        begun: datetime = moment(asked.text("start"), "UTC")
        since = begun.replace(day=1)
        question = ask(
            Tariffed(
                tariff=chosen.path,
                load=named(loads, load, "load").path if load else None,
                flat=asked.text("flat") or None,
                since=f"{since:%Y-%m-%d}",
                until=f"{(since + _YEAR).replace(day=1):%Y-%m-%d}",
                pue=pue,
            )
        )
        run = run_of(
            question.tariff, power=asked.text("power"), lasting=asked.text("lasting"), start=asked.text("start")
        )
        (_, *rows), curve = curve_rows(question, run, runs)
    except (ConfigError, InvalidQuantity, UsageError) as err:
        raise told_at(err, asked, FIELDS, folder=served.folder, other="tariff", options={"for": "lasting"}) from err
    document["marginal"] |= {
        "asked": True,
        "tariff": name,
        "currency": curve.currency,
        "slope": f"The price of one more run {curve.slope}.",
        "contract_w": None if question.tariff.contract_kw is None else float(question.tariff.contract_kw) * 1e3,
    }
    document["tables"]["marginal"] = table(
        f"What each run of the month adds to the bill under {name}", _CURVE, [_row(row) for row in rows]
    )
    document["notes"].append(
        "a run's price is the bill with it less the bill without it, over a year; projected from a tariff, grade D"
    )


def _row(row: dict[str, Any]) -> dict[str, Any]:
    money = row["currency"]
    shares = {
        "total": row["total"],
        "energy": row["energy"],
        "demand": row["demand"] + row["ratchet"],
        "rest": row["rider"] + row["tax"] + row["fixed"] + row["minimum"] + row["rounding"],
        "cooling": row["cooling"],
    }
    return {
        "run": row["run"],
        **shares,
        **{f"{name}_currency": money for name in shares},
        "peak_w": row["peak_w"],
        "crosses": "passes the contract" if row["crosses_contract"] else "",
    }
