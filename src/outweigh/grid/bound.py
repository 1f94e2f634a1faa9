"""The most that shifting in time could ever save in a zone: with perfect foresight, over a period that has been.

A job of steady power may start at any step of the period. It could start at once, or at the best time of the window
that begins then and holds all of it. The bound is over all those starts together: one less the ratio of the two sums,
which is how the published bounds are made (Sukprasert et al., EuroSys 2024; a window here is their job length plus
slack). No forecast, however good, saves more on that period; another year may be another bound.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

from outweigh.core.errors import GapsTooLarge, InvalidQuantity
from outweigh.core.intervals import Interval
from outweigh.core.meaning import CarbonMeaning, PriceMeaning
from outweigh.core.series import MAX_GAP, CarbonSeries, DataQuality, Origin, PriceSeries
from outweigh.grid.arrays import as_arrays

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

HOUR_S = 3600.0
WORTH = 0.10  # a start gains much when waiting saves at least this share of it
_CHUNK = 4_000_000  # values that are sorted at a time: 32 MB
_FLAT = 1e-12


class Saving(NamedTuple):
    """What waiting saves over all starts together.

    Attributes:
        mean: per kWh, in the series' unit, mean over the starts; never negative.
        share: of what starting at once costs; None where that is not above zero, as with prices.
        worth_share: share of the starts at which waiting saves 10 % or more of what starting at once costs.
    """

    mean: float
    share: float | None
    worth_share: float


@dataclass(frozen=True, slots=True)
class Bound:
    """The bound of one job length in one window.

    Attributes:
        job_h, window_h: [h]; the window holds the job.
        meaning, origin: of the series.
        interval: the period looked at.
        starts: how many count.
        left_out: how many do not: more than 10 % of their window is missing, or some of the run that starts at once.
        now: mean of starting at once, in the series' unit.
        in_one_piece: the job runs through.
        with_pauses: it may pause at every step, without cost: no schedule of it saves more.
    """

    job_h: float
    window_h: float
    meaning: CarbonMeaning | PriceMeaning
    origin: Origin
    interval: Interval
    starts: int
    left_out: int
    now: float
    in_one_piece: Saving
    with_pauses: Saving


def bound(series: CarbonSeries | PriceSeries, job_h: float, window_h: float) -> Bound:
    """The bound of one job; `bounds` of many. See the module for what it is a bound of, and `Bound` for what is said.

    Args:
        series: what was, in steps of an hour or less; the longer the better, a year takes in all seasons.
        job_h: run time at steady power [h], whole steps of the series.
        window_h: from the earliest start to the latest end [h], at least `job_h`.

    Raises:
        InvalidQuantity: lengths that are not whole steps or do not fit, steps above an hour.
        GapsTooLarge: no start has a window that is known enough.

    >>> from datetime import datetime, UTC
    >>> from outweigh.grid import open_source
    >>> from outweigh.core.intervals import Interval
    >>> year = Interval(datetime(2022, 1, 1, tzinfo=UTC), datetime(2023, 1, 1, tzinfo=UTC))
    >>> typical = open_source("typical").carbon("US-CAL-CISO", year)
    >>> print(f"{bound(typical, 4, 24).in_one_piece.share:.2f}")
    0.31
    """
    return bounds(series, [(job_h, window_h)])[0]


def bounds(series: CarbonSeries | PriceSeries, sizes: Sequence[tuple[float, float]]) -> tuple[Bound, ...]:
    """Bounds of several (job, window) lengths [h] over one series; raises as `bound` does."""
    step_s, values = _steps(series)
    return tuple(_bound(series, step_s, values, job_h, window_h) for job_h, window_h in sizes)


def _bound(
    series: CarbonSeries | PriceSeries, step_s: float, values: NDArray[np.float64], job_h: float, window_h: float
) -> Bound:
    import numpy as np
    from numpy.lib.stride_tricks import sliding_window_view

    job, window = _whole("job", job_h, step_s), _whole("window", window_h, step_s)
    if not 0 < job <= window:
        raise InvalidQuantity(
            "window", f"{window_h:g} h for a job of {job_h:g} h", "give the job room: at least its length"
        )
    if window > len(values):
        raise InvalidQuantity("window", f"{window_h:g} h", f"the series has {series.seconds / HOUR_S:g} h")
    starts = len(values) - window + 1
    known = np.isfinite(values)
    before = np.concatenate([[0], np.cumsum(~known)])
    missing = before[window:] - before[:-window]
    run_gaps = (before[job:] - before[:-job])[:starts]
    counts = (missing <= MAX_GAP * window + 1e-9) & (run_gaps == 0)
    if not counts.any():
        raise GapsTooLarge(
            f"{series.meaning} of {series.origin.zone}",
            f"every window of {window_h:g} h in {series.interval.start:%Y-%m-%d} to {series.interval.end:%Y-%m-%d}",
            math.ceil(100 * min(1.0, float(missing.min()) / window)) if missing.min() else 100,
            "Give a series with fewer gaps",
        )
    sums = np.concatenate([[0.0], np.cumsum(np.where(known, values, 0.0))])
    runs = (sums[job:] - sums[:-job]) / job
    runs[(before[job:] - before[:-job]) > 0] = np.inf  # a run over a gap never wins
    now = runs[:starts][counts]
    at_best = _lowest(runs, window - job + 1)[:starts][counts]
    cheapest = np.empty(starts)
    view = sliding_window_view(values, window)
    lot = max(1, _CHUNK // window)
    for first in range(0, starts, lot):
        part = np.partition(view[first : first + lot], job - 1, axis=1)[:, :job]
        cheapest[first : first + lot] = part.mean(axis=1)
    return Bound(
        job_h,
        window_h,
        series.meaning,
        series.origin,
        series.interval,
        int(counts.sum()),
        int(starts - counts.sum()),
        float(now.mean()),
        _saving(now, at_best),
        _saving(now, cheapest[counts]),
    )


def _saving(now: NDArray[np.float64], best: NDArray[np.float64]) -> Saving:
    import numpy as np

    mean = max(0.0, float((now - best).mean()))
    level = float(now.mean())
    worth = (now - best) >= WORTH * np.abs(now)
    worth &= (now - best) > _FLAT * max(1.0, float(np.abs(now).max()))
    return Saving(mean, mean / level if level > 0 else None, float(worth.mean()))


def _lowest(runs: NDArray[np.float64], choices: int) -> NDArray[np.float64]:
    """Lowest of each `choices` neighbours, from the first of them on, shape (n - choices + 1,)."""
    from scipy.ndimage import minimum_filter1d

    # origin moves the window so that it begins at its own element.
    lowest = minimum_filter1d(runs, choices, mode="nearest", origin=-(choices // 2))
    return lowest[: len(runs) - choices + 1]


def _whole(name: str, hours: float, step_s: float) -> int:
    steps = hours * HOUR_S / step_s
    if not math.isfinite(steps) or steps <= 0 or abs(steps - round(steps)) > 1e-9 * max(1.0, steps):
        raise InvalidQuantity(name, f"{hours:g} h", f"give whole steps of the series, {step_s / 60:g} min each")
    return round(steps)


def _steps(series: CarbonSeries | PriceSeries) -> tuple[float, NDArray[np.float64]]:
    """The series in steps of one length [s], +inf where it is not known. A forecast within it is not what was."""
    import numpy as np

    arrays = as_arrays(series)
    length_s = np.diff(arrays.edges_s)
    known = arrays.known & np.array([quality is not DataQuality.FORECAST for quality in series.qualities])
    if not known.any():
        raise GapsTooLarge(
            f"{series.meaning} of {series.origin.zone}", str(series.interval), 100, "Give a series of what was"
        )
    step_s = float(math.gcd(*(int(length) for length in set(length_s[known].tolist()))))
    if step_s > HOUR_S or length_s[known].max() > HOUR_S or step_s < 60:
        raise InvalidQuantity(
            "series",
            f"steps of {step_s / HOUR_S:g} to {length_s[known].max() / HOUR_S:g} h",
            "give steps of a minute to an hour: a longer mean hides what shifting gains",
        )
    edges_s = np.arange(arrays.edges_s[0], arrays.edges_s[-1] + step_s / 2, step_s)
    # Every known slot is whole steps long; a step is known when the slot that holds its middle is.
    middle = edges_s[:-1] + step_s / 2
    slot = np.clip(np.searchsorted(arrays.edges_s, middle, side="right") - 1, 0, len(known) - 1)
    return step_s, np.where(known[slot], arrays.values[slot], np.inf)
