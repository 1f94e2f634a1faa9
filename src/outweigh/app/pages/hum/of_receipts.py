"""The hum as receipts know it: the idle draw under each run, by owner and over time."""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any

from outweigh.app.pages.asked import LONGEST, Asked
from outweigh.app.pages.hum.month import Rates, home_rates, month_figures, with_money
from outweigh.app.pages.hum.owners import OWNERS, few_owners
from outweigh.app.pages.shape import Column, figure, keyed, span_text, table
from outweigh.core.budget import Phase
from outweigh.core.constants import S_PER_DAY
from outweigh.core.errors import OverlappingScopes
from outweigh.core.intervals import Interval
from outweigh.core.measurement import Grade, half_width_95
from outweigh.core.receipt import Receipt, RunStatus
from outweigh.ledger import HumPower, hum_power
from outweigh.measure.hum import OWNER, HumRow, hum_view
from outweigh.ports import ReceiptFilter, Store

if TYPE_CHECKING:
    from outweigh.app.serving import Served

_PARTS = ("allocated", "unallocated", "host", "cooling")


def of_receipts(served: Served, asked: Asked, window: Interval) -> dict[str, Any]:
    """What the page shows of the receipts in a window; worked out once for each state of the ledger."""
    given = tuple(sorted(asked.given.items()))
    return _answered(_Question(served.ledger, served.texts.head(), window, given, served, asked))


@dataclass(frozen=True)
class _Question:
    """What was asked of which state of the ledger: the same question has the same answer, and is worked out once."""

    ledger: Store
    head: tuple[int, str]
    window: Interval
    given: tuple[tuple[str, str], ...]
    served: Served = field(compare=False)
    asked: Asked = field(compare=False)


@lru_cache(maxsize=16)
def _answered(question: _Question) -> dict[str, Any]:
    return _of_receipts(question.served, question.asked, question.window)


def _of_receipts(served: Served, asked: Asked, window: Interval) -> dict[str, Any]:
    receipts = [one for _, one in served.ledger.receipts(ReceiptFilter(within=window))]
    wanted = asked.text("owner")
    owners = sorted({_owner(one) for one in receipts})
    if wanted:
        receipts = [one for one in receipts if _owner(one) == wanted]
    rows = hum_view(receipts, window)
    known = _known(receipts, window)
    powers = _powers(receipts, window)
    power, twice = _power(receipts, window)
    rates = home_rates(served)
    hum_j = math.fsum(row.hum.joules for row in rows)
    work_j = math.fsum(row.work.joules for row in rows)
    half_j = math.fsum(one.half_j for one in known.values())
    grades = [one.grade for one in known.values() if one.grade is not None]
    grade = Grade.worst(grades) if grades else None
    how: dict[str, Any] = {"grade": grade.value} if grade else {}
    how |= {"method": ", ".join(sorted({m for one in known.values() for m in one.methods}))}
    how |= {"source": "; ".join(sorted({s for one in known.values() for s in one.sources}))}
    hum_w = None if power is None else power.power_w
    ends_w = None if power is None else (power.bounds_w.low, power.bounds_w.high)
    none = twice or "no receipt of this time knows its hum"
    return {
        "synthetic": "Some of these receipts were replayed from recorded or made traces."
        if any(one.total.method.value == "replayed" for one in receipts) else None,
        "figures": [
            figure("power", "mean hum while runs were measured", None, why=none) if power is None
            else figure("power", "mean hum while runs were measured", hum_w, *(ends_w or ()), note=_read(power), **how),
            figure("energy", "hum under these runs", None, why=none) if power is None
            else figure("energy", "hum under these runs", hum_j, hum_j - half_j, hum_j + half_j, **how),
            figure("share", "hum of all that was drawn", hum_j / (hum_j + work_j), note="of the runs that know theirs")
            if hum_j + work_j > 0 and not twice
            else figure("share", "hum of all that was drawn", None, why=none),
            *month_figures(rates, hum_w, ends_w, {"grade": how["grade"]} if grade else {}, none),
        ],
        "owners": owners,
        "why_no_money": rates.why,
        "sites": [],
        "latest": _latest_receipt(served),
        "charts": {"trend": _trend_of_receipts(() if twice else receipts, window)},
        "tables": {
            "owners": table(
                "Hum by owner, the largest first", with_money(OWNERS, rates),
                [_owner_row(row, known, powers[row.owner], twice, rates, asked) for row in rows],
                empty="no receipt lies in this time.",
            ),
            "parts": _parts([row for row in rows if not powers[row.owner][1]]),
        },
    }  # fmt: skip


def _owner(receipt: Receipt) -> str:
    return dict(receipt.labels).get(OWNER) or receipt.project


@dataclass(slots=True)
class _Kept:
    """How the hum of an owner is known. Meters err alike from run to run: half-widths [J] add up in full."""

    half_j: float = 0.0
    grade: Grade | None = None
    methods: set[str] = field(default_factory=set)
    sources: set[str] = field(default_factory=set)


def _known(receipts: Iterable[Receipt], window: Interval) -> dict[str, _Kept]:
    found: dict[str, _Kept] = {}
    for receipt in receipts:
        hum_of = receipt.total if receipt.phase is Phase.IDLE else receipt.hum
        length = receipt.interval.seconds
        if receipt.status is RunStatus.UNUSABLE or hum_of is None or length <= 0:
            continue
        inside = receipt.interval.overlap_s(window)
        if inside <= 0:
            continue
        kept = found.setdefault(_owner(receipt), _Kept())
        kept.half_j += inside / length * half_width_95(hum_of.components)
        kept.grade = hum_of.grade if kept.grade is None else Grade.worst((kept.grade, hum_of.grade))
        kept.methods.add(hum_of.method.value)
        kept.sources.add(hum_of.source)
    return found


def _power(receipts: Sequence[Receipt], window: Interval) -> tuple[HumPower | None, str]:
    """The hum's power, and where joules would be counted twice, which receipts those are."""
    try:
        return hum_power(receipts, window), ""
    except OverlappingScopes as err:
        return None, str(err)


def _powers(receipts: Sequence[Receipt], window: Interval) -> dict[str, tuple[HumPower | None, str]]:
    of_owner: dict[str, list[Receipt]] = {}
    for one in receipts:
        of_owner.setdefault(_owner(one), []).append(one)
    return {owner: _power(some, window) for owner, some in of_owner.items()}


def _read(power: HumPower) -> str:
    told = f", summed over {power.machines} machines" if power.machines > 1 else ""
    return f"read for {span_text(power.read_s)}{told}"


def _owner_row(
    row: HumRow,
    known: dict[str, _Kept],
    own: tuple[HumPower | None, str],
    twice: str,
    rates: Rates,
    asked: Asked,
) -> dict[str, Any]:
    """A row of an owner; `own` is the power of their hum, `twice` why the hum of all is not to be had."""
    power, own_twice = own
    kept = known.get(row.owner) if power is not None else None
    why = "" if kept else own_twice or "no receipt of theirs knows its hum"
    drawn_j = row.hum.joules + row.work.joules
    hum_j = row.hum.joules if kept else None
    low_j, high_j = (row.hum.joules - kept.half_j, row.hum.joules + kept.half_j) if kept else (None, None)
    power_w = power.power_w if power else None
    low_w, high_w = (power.bounds_w.low, power.bounds_w.high) if power else (None, None)
    idle = row.hum.joules / drawn_j if kept and drawn_j > 0 else None
    return {
        "owner": row.owner,
        "href": f"/{asked.query(owner=row.owner)}" if len(row.owner) <= LONGEST else None,
        **keyed("hum", "energy", hum_j, low_j, high_j, why=why),
        **keyed("power", "power", power_w, low_w, high_w, why=why),
        **keyed("share", "share", row.share if kept and not twice else None, why=why or twice),
        **keyed("work", "energy", row.work.joules if kept else None, why=why),
        **keyed("idle_share", "share", idle, why="" if idle is not None else why or "it drew nothing"),
        **rates.cost(power_w, why),
        "grade": kept.grade.value if kept and kept.grade else None,
        "runs": row.runs,
        "runs_without_hum": row.unknown,
        "action": "tell apart, or drop, runs that counted the same energy" if own_twice else row.action,
    }


def _parts(rows: Sequence[HumRow]) -> dict[str, Any]:
    columns = (
        Column("owner", "owner"),
        Column("allocated", "of what it had", "energy"),
        Column("unallocated", "beside it, unused", "energy"),
        Column("host", "rest of the machine", "energy"),
        Column("cooling", "cooling, on top", "energy"),
    )
    rows_of = [
        {
            "owner": row.owner,
            **{
                key: value
                for part in _PARTS
                for energy in [getattr(row.split, part)]
                for key, value in keyed(
                    part, "energy", None if energy is None else energy.joules,
                    why="" if energy is not None else "no meter tells",
                ).items()
            },
        }
        for row in rows
        if any(getattr(row.split, part) is not None for part in _PARTS)
    ]  # fmt: skip
    return table("What the hum is made of, of owners of whom that is known", columns, rows_of, empty="no receipt says.")


def _latest_receipt(served: Served) -> str | None:
    found = list(served.texts.texts(ReceiptFilter(), limit=1, newest=True))
    return served.ledger.get(found[0].address).interval.end.isoformat() if found else None


def _trend_of_receipts(receipts: Sequence[Receipt], window: Interval) -> dict[str, Any]:
    """Hum and work by bucket and owner: hours of a short window, else days, else weeks."""
    step_s = next((step for step in (3600.0, S_PER_DAY, 7 * S_PER_DAY) if window.seconds <= 62 * step), 30 * S_PER_DAY)
    first = window.start.replace(minute=0, second=0, microsecond=0)
    if step_s >= S_PER_DAY:
        first = first.replace(hour=0)
    edges: list[datetime] = [first]
    while edges[-1] < window.end:
        edges.append(edges[-1] + timedelta(seconds=step_s))
    inside: list[list[Receipt]] = [[] for _ in edges[:-1]]
    for one in receipts:
        low = max(0, bisect_right(edges, one.interval.start) - 1)
        high = bisect_right(edges, one.interval.end)
        for at in range(low, min(high, len(inside))):
            inside[at].append(one)
    rows = [
        {"start": start.isoformat(), "end": end.isoformat(), "owner": row.owner, "hum_j": row.hum.joules,
         "work_j": row.work.joules}
        for start, end, some in zip(edges, edges[1:], inside, strict=False)
        if some
        for row in hum_view(some, Interval(max(start, window.start), min(end, window.end)))
    ]  # fmt: skip
    return {"step_s": step_s, **few_owners(rows)}
