"""Runs: what did this cost, and how sure are we; the newest first."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from outweigh.app.pages.asked import Asked, FieldRefused
from outweigh.app.pages.shape import Column, figure, keyed, span_text, table
from outweigh.core.budget import Phase
from outweigh.core.intervals import Interval
from outweigh.core.measurement import Grade, utc
from outweigh.core.receipt import Receipt, RunStatus
from outweigh.ledger import in_flight, seen_so_far
from outweigh.ports import ReceiptFilter
from outweigh.ports.serving import KeepsTexts

if TYPE_CHECKING:
    from outweigh.app.serving import Served

TAKES = ("project", "phase", "variant", "owner", "batch", "status", "grade", "since", "until", "limit", "after")
_MOST = 200
_USUAL = 50
_LOOKED_AT = 2_000  # receipts behind one page; what a filter leaves out beyond them is on the next
_STEP = 500
_RUNNING_S, _QUIET_S = 5, 30

COLUMNS = (
    Column("start", "started", "time", href="href", note="duration"),
    Column("project", "project", note="what"),
    Column("phase", "phase"),
    Column("status", "status", "state"),
    Column("energy", "energy", "energy", note="scope"),
    Column("hum", "of it hum", "energy"),
    Column("per_unit", "per unit", "energy", note="unit"),
    Column("grade", "grade", "grade", note="meter"),
)


def runs(served: Served, asked: Asked) -> dict[str, Any]:
    """A page of receipts and the runs in flight. Raises FieldRefused, LedgerError."""
    keeper = served.texts
    limit = asked.whole("limit", _USUAL, low=1, high=_MOST)
    after = asked.whole("after", 0, low=0, high=2**53)
    phase = asked.choice("phase", tuple(Phase))
    asked.choice("status", tuple(RunStatus))
    asked.choice("grade", tuple(Grade))
    which = ReceiptFilter(
        project=asked.text("project"), phase=phase, batch=asked.text("batch"), within=_within(served, asked)
    )
    rows, last, more = _page(keeper, which, asked, after or None, limit)
    kept, chain = keeper.head()
    running = [in_flight_row(one) for one in in_flight_receipts(served)]
    drawn = keeper.drawn()
    return {
        "schema": "outweigh.page.runs/1",
        "live": {"every_s": _RUNNING_S if running else _QUIET_S, "running": len(running)},
        "figures": [
            figure("number", "receipts in the ledger", float(kept), note=f"chain {chain[:12]}"),
            *_energy_by_scope(drawn),
            figure("number", "running now", float(len(running))),
        ],
        "tables": {
            "runs": table("Runs, the newest first", COLUMNS, rows, empty=_empty(kept, asked)),
            "running": table("Running now", RUNNING, running, empty="nothing is being measured on this machine."),
        },
        "next": asked.query(after=last) if more else None,
        "newest": asked.query(after=None) if after else None,
        "projects": sorted({one[0] for one in drawn}),
        "phases": [str(one) for one in Phase],
        "statuses": [str(one) for one in RunStatus],
        "grades": [str(one) for one in Grade],
        "receipts": kept,
    }


RUNNING = (
    Column("project", "project", note="what"),
    Column("phase", "phase"),
    Column("start", "started", "time"),
    Column("duration", "so far", "duration"),
    Column("energy", "energy so far", "energy", note="scope"),
    Column("power", "mean power", "power"),
    Column("grade", "grade", "grade", note="meter"),
)


def in_flight_receipts(served: Served) -> list[Receipt]:
    """What the runs in flight have noted of themselves so far."""
    seen = (seen_so_far(served.running, one.run_id) for one in in_flight(served.running))
    return [receipt for receipt in seen if receipt is not None]


def in_flight_row(receipt: Receipt) -> dict[str, Any]:
    """A row of RUNNING."""
    seconds = receipt.interval.seconds
    joules = receipt.total.value.joules
    return {
        **receipt_row("", receipt),
        "href": None,
        "status": "running",
        **keyed("duration", "duration", seconds),
        **keyed(
            "power", "power", joules / seconds if seconds > 0 else None, why="" if seconds > 0 else "it has just begun"
        ),
    }


def receipt_row(address: str, receipt: Receipt) -> dict[str, Any]:
    """One receipt as a row of COLUMNS: JSON types, missing figures null with a reason."""
    usable = receipt.status is not RunStatus.UNUSABLE
    total, hum = receipt.total, receipt.hum
    bounds = total.bounds_j
    unusable = "the meter's samples do not carry the figure"
    labels = dict(receipt.labels)
    row: dict[str, Any] = {
        "receipt": address,
        "href": f"/runs/{address}" if address else None,
        "start": utc(receipt.interval.start),
        "end": utc(receipt.interval.end),
        "duration": span_text(receipt.interval.seconds),
        "duration_s": receipt.interval.seconds,
        "project": receipt.project,
        "what": receipt.variant or labels.get("name", ""),
        "owner": labels.get("owner") or receipt.project,
        "batch": receipt.batch,
        "phase": receipt.phase.value,
        "status": receipt.status.value,
        "scope": total.scope.value,
        "unit": receipt.unit,
        "grade": receipt.grade.value,
        "method": total.method.value,
        "meter": receipt.meter,
    }
    if usable:
        row |= keyed("energy", "energy", total.value.joules, bounds.low, bounds.high)
    else:
        row |= keyed("energy", "energy", None, why=unusable)
    if hum is not None and usable:
        row |= keyed("hum", "energy", hum.value.joules, hum.bounds_j.low, hum.bounds_j.high)
    else:
        row |= keyed("hum", "energy", None, why="no idle draw was listened to" if usable else unusable)
    if receipt.units and usable:
        units = receipt.units
        row |= keyed("per_unit", "energy", total.value.joules / units, bounds.low / units, bounds.high / units)
    else:
        row |= keyed("per_unit", "energy", None, why="nobody counted units" if usable else unusable)
    return row


def _page(
    keeper: KeepsTexts, which: ReceiptFilter, asked: Asked, after: int | None, limit: int
) -> tuple[list[dict[str, Any]], int, bool]:
    """Rows that the filters leave, the number of the last receipt looked at, and whether more may follow."""
    rows: list[dict[str, Any]] = []
    seen, last = 0, after or 0
    plain = not any(asked.text(name) for name in ("variant", "owner", "status", "grade"))
    step = limit + 1 if plain else _STEP
    while True:
        found = keeper.texts(which, after=last or None, limit=step, newest=True)
        for one in found:
            if len(rows) == limit:
                return rows, last, True
            row = receipt_row(one.address, Receipt.from_dict(json.loads(one.text)))
            last = one.number
            if _wanted(row, asked):
                rows.append(row)
        seen += len(found)
        if len(found) < step:
            return rows, last, False
        if seen >= _LOOKED_AT:
            return rows, last, True


def _wanted(row: Mapping[str, Any], asked: Asked) -> bool:
    named = {"variant": "what", "owner": "owner", "status": "status", "grade": "grade"}
    return all(not asked.text(name) or row[key] == asked.text(name) for name, key in named.items())


def _within(served: Served, asked: Asked) -> Interval | None:
    if asked.since is None and asked.until is None:
        return None
    until = asked.until or served.now()
    since = asked.since or until - timedelta(days=36_500)
    if until < since:
        raise FieldRefused(
            f"the time from {since:%Y-%m-%d} to {until:%Y-%m-%d} ends before it starts",
            "until",
            "Give a later until, or an earlier since",
        )
    return Interval(since, until)


def _energy_by_scope(drawn: Sequence[tuple[str, str, str, str, int, float]]) -> list[dict[str, Any]]:
    """What runs drew, scope by scope: a node's energy holds its package's, so that there is no sum of both."""
    if not drawn:
        return [figure("energy", "energy of runs, as metered", None, why="there is no receipt yet")]
    return [
        figure(
            "energy", f"energy of runs, scope {scope}", math.fsum(one[5] for one in own),
            grade=Grade.worst(Grade(one[2]) for one in own).value,
            note="added run by run: of runs side by side on one machine each holds what it drew",
        )
        for scope in sorted({one[3] for one in drawn})
        for own in [[one for one in drawn if one[3] == scope]]
    ]  # fmt: skip


def _empty(kept: int, asked: Asked) -> str:
    if not kept:
        return "no run has been measured yet."
    return "no run is like that." if asked.given else "nothing here."


def newest(served: Served) -> Iterator[str]:
    """Addresses of the newest receipts: those on the first page of Runs."""
    for one in served.texts.texts(ReceiptFilter(), limit=_USUAL, newest=True):
        yield one.address
