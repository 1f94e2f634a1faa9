"""When to start one job that runs through: the best start in its window, and whether waiting for it is worth it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np

from outweigh.run.rates import Floats, Rates


@dataclass(frozen=True, slots=True)
class Start:
    """Where and when to start, and why.

    Attributes:
        site: its name. at: the moment; now, where waiting is not worth it.
        rate: mean rate over the run [per kWh of IT energy]. now: of starting at once at the first site; NaN where it is
            not known.
        why: in a sentence.
    """

    site: str
    at: datetime
    rate: float
    now: float
    why: str

    @property
    def saving(self) -> float:
        """Share that it saves against starting at once; 0 where that is not known."""
        return 1 - self.rate / self.now if math.isfinite(self.now) and self.now > 0 else 0.0


def best_start(
    rates: Rates, now: datetime, deadline: datetime, run_s: float, *, carbon_price: float | None = None,
    least_saving: float = 0.02, spare_s: float = 0.0,
) -> Start:  # fmt: skip
    """The start of the lowest mean rate among those that are done in time.

    The rate is linear between the moments at which the start or the end of the run meets the edge of a step, so one of
    those is the best (as in `plan.kernels.contiguous`). Starts over steps of which nothing is known do not compete.

    Args:
        rates: what is known; the first site is where it runs if nobody decides.
        run_s: how long it runs [s].
        carbon_price: per tonne, to weigh carbon with the price; None weighs carbon alone.
        least_saving: share below which waiting is not worth it.
        spare_s: to keep before the deadline [s].

    Returns:
        Now at the first site, with the reason, where there is no time to wait or nothing is known.
    """
    first = rates.sites[0]
    latest = deadline - timedelta(seconds=run_s + spare_s)
    if latest <= now:
        short_s = (now - latest).total_seconds()
        late = now + timedelta(seconds=run_s) > deadline
        why = f"there is no time to wait{f': it will be late by {short_s / 3600:.2g} h' if late else ''}"
        return Start(first, now, math.nan, math.nan, why)
    rate = _rate(rates, carbon_price)
    starts = _candidates(rates, now, latest, run_s)
    at_once = _mean(rate[0], rates, now, run_s)
    means = [[_mean(row, rates, start, run_s) for start in starts] for row in rate]
    known = np.where(np.isfinite(means), means, np.inf)
    # Equal to a part in a billion is equal: the earlier start is the surer one.
    best = float(known.min(initial=np.inf))
    if not math.isfinite(best):
        return Start(first, now, math.nan, at_once, "nothing is known of the time to come, so it is not waited for")
    row, column = min(np.argwhere(known <= best + 1e-9 * abs(best)).tolist(), key=lambda pair: (pair[1], pair[0]))
    found = Start(rates.sites[row], starts[column], best, at_once, "")
    if math.isfinite(at_once) and at_once > 0 and found.saving < least_saving:
        why = f"waiting would save {max(found.saving, 0.0):.1%} only (less than {least_saving:.0%})"
        return Start(first, now, at_once, at_once, why)
    known_now = math.isfinite(at_once) and at_once > 0
    why = f"{found.saving:.0%} less than at once" if known_now else "the rate of starting at once is not known"
    return Start(found.site, found.at, best, at_once, why)


def _rate(rates: Rates, carbon_price: float | None) -> Floats:
    pue = rates.pue[:, np.newaxis]
    if carbon_price is None:
        return np.asarray(rates.carbon * pue)
    return np.asarray((rates.price + rates.carbon * (carbon_price / 1e6)) * pue)


def _candidates(rates: Rates, now: datetime, latest: datetime, run_s: float) -> list[datetime]:
    edges = [rates.start + timedelta(seconds=i * rates.step_s) for i in range(rates.steps + 1)]
    meets = {now, latest, *edges, *(edge - timedelta(seconds=run_s) for edge in edges)}
    return sorted(start for start in meets if now <= start <= latest)


def _mean(row: Floats, rates: Rates, start: datetime, run_s: float) -> float:
    """Mean over the run; NaN where any of it is not known."""
    begin = (start - rates.start).total_seconds() / rates.step_s
    until = begin + run_s / rates.step_s
    if begin < -1e-9 or until > rates.steps + 1e-9:
        return math.nan
    low, high = max(math.floor(begin + 1e-9), 0), min(math.ceil(until - 1e-9), rates.steps)
    edges = np.clip(np.arange(low, high + 1, dtype=np.float64), begin, until)
    return float(np.diff(edges) @ row[low:high]) / (until - begin)
