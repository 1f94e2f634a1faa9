"""How long a run stays on the bill: a ratchet bills its peak for months, and a load that ends before cuts that off."""

from __future__ import annotations

from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from outweigh.whatif.tariff.billing import Bill, floor_kw
from outweigh.whatif.tariff.clocks import Month, after, label, month_start
from outweigh.whatif.tariff.terms import Tariff

Tails = tuple[tuple[str, Month], ...]
"""Of each demand charge that bills a run beyond the end of the load: its name, and the last month that it does."""


def reach(tariff: Tariff, end: datetime) -> datetime:
    """Where the last month ends in which a ratchet can bill a peak that was set before `end`.

    A ratchet of billed demand may hold a peak for longer; `tails` sees that in the bills.
    """
    back = max((one.ratchet.months_back for one in tariff.demand if one.ratchet is not None), default=0)
    if not back:
        return end
    last = (end - timedelta(microseconds=1)).astimezone(ZoneInfo(tariff.timezone))
    return month_start(after((last.year, last.month), back + 1), tariff.timezone)


def tails(tariff: Tariff, before: Bill, with_run: Bill) -> Tails:
    """Charges whose floor the run still lifts after the last month of the two bills, as far as ratchets look."""
    found = []
    for charge in tariff.demand:
        if charge.ratchet is None:
            continue
        lifted = None
        for ahead in range(1, charge.ratchet.months_back + 1):
            month = after(before.months[-1], ahead)
            low, high = (floor_kw(charge.ratchet, one.history[charge.name], month) for one in (before, with_run))
            if month[1] in charge.months and high > max(low, charge.minimum_kw):
                lifted = month
        if lifted is not None:
            found.append((charge.name, lifted))
    return tuple(found)


def tail_words(found: Tails, end: Month) -> tuple[str, ...]:
    """What a person has to know of a tail that the load cuts off; `end` is the load's last month."""
    return tuple(
        f"the ratchet of {name!r} may bill this run's peak until {label(last)}, and the load ends in {label(end)}: "
        "what it costs after that is not counted"
        for name, last in found
    )
