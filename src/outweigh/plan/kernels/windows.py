"""Rows of work that every kernel takes: one row is one job at one site, within its window."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from outweigh.core.errors import GapsTooLarge, InvalidQuantity, PlanInfeasible
from outweigh.plan.problem import ROUNDING_STEPS, Bools, Floats, Ints

# Elements a kernel works on at a time: about 8 MB of floats, so that a million rows fit any machine.
CHUNK = 1_000_000


@dataclass(frozen=True, slots=True, eq=False)
class Windows:
    """N rows. Times and work in steps; fractions of a step count as what they are.

    Attributes:
        site: row of the rates, shape (N,).
        release: earliest start, shape (N,).
        deadline: latest end, shape (N,).
        work: run time, > 0, shape (N,).
    """

    site: Ints
    release: Floats
    deadline: Floats
    work: Floats

    @classmethod
    def of(cls, site: object, release: object, deadline: object, work: object) -> Windows:
        """Rows from anything that broadcasts to one shape, flattened in C order.

        >>> Windows.of([[0], [1]], [0, 5], 10, 2).release
        array([0., 5., 0., 5.])
        """
        times = (np.asarray(column, dtype=np.float64) for column in (release, deadline, work))
        where, *columns = np.broadcast_arrays(np.asarray(site, dtype=np.int64), *times)
        return cls(where.ravel(), *(column.ravel() for column in columns))

    def __len__(self) -> int:
        return len(self.site)

    def take(self, rows: Ints | Bools) -> Windows:
        return Windows(self.site[rows], self.release[rows], self.deadline[rows], self.work[rows])

    @property
    def whole(self) -> Bools:
        """Rows whose release, deadline and work are whole steps, shape (N,)."""
        times = (self.release, self.deadline, self.work)
        return np.asarray(np.logical_and.reduce([np.floor(time) == time for time in times]))


@dataclass(frozen=True, slots=True, eq=False)
class Use:
    """What rows run when, as a list of M entries in the order of rows, then steps.

    Attributes:
        row: which row, shape (M,).
        step: in which step, shape (M,).
        work: done in it [steps at speed 1], shape (M,).
        draw: power x time in it: steps at unit power, or [W x steps] where power is given, shape (M,).
    """

    row: Ints
    step: Ints
    work: Floats
    draw: Floats


def check(rate: Floats, rows: Windows) -> None:
    """Refuse what no kernel can answer.

    Args:
        rate: cost of one step at unit power, any currency, negative allowed, shape (S, T).

    Raises:
        InvalidQuantity: a rate that is not (S, T) or infinite, times that are not numbers, work not above 0, a window
            outside the steps, a site that is not there.
        PlanInfeasible: a row longer than its window; says by how many steps.
        GapsTooLarge: a gap (NaN) in the rates within a row's window. A step of unknown cost is never the cheapest, and
            leaving it out would hide that.
    """
    if rate.ndim != 2 or not rate.size:
        raise InvalidQuantity("rate", f"shape {rate.shape}", "give it as (sites, steps), neither of them 0")
    if np.isinf(rate).any():
        raise InvalidQuantity("rate", "infinite", "a step where nothing may run belongs in the windows or capacities")
    if not len(rows):
        return
    sites, steps = rate.shape
    if rows.site.min() < 0 or rows.site.max() >= sites:
        raise InvalidQuantity("site", f"{rows.site.min()} to {rows.site.max()}", f"there are {sites}, counted from 0")
    for name in ("release", "deadline", "work"):
        column = getattr(rows, name)
        if not np.isfinite(column).all():
            raise InvalidQuantity(name, str(column[~np.isfinite(column)][0]), "give finite numbers of steps")
    if rows.work.min() <= 0:
        raise InvalidQuantity("work", f"{rows.work.min()} steps", "give more than 0")
    if rows.release.min() < 0 or rows.deadline.max() > steps:
        raise InvalidQuantity(
            "window", f"{rows.release.min()} to {rows.deadline.max()} steps", f"what is known is 0 to {steps}"
        )
    short = rows.work - (rows.deadline - rows.release)
    worst = int(np.argmax(short))
    if short[worst] > ROUNDING_STEPS:
        raise PlanInfeasible(
            f"row {worst} is longer than its window", f"{short[worst]:.6g} steps", "Give it a later deadline"
        )
    _check_gaps(rate, rows)


def _check_gaps(rate: Floats, rows: Windows) -> None:
    gaps = np.isnan(rate)
    if not gaps.any():
        return
    before = np.concatenate([np.zeros((len(rate), 1), dtype=np.int64), np.cumsum(gaps, axis=1)], axis=1)
    first, last = np.floor(rows.release).astype(np.int64), np.ceil(rows.deadline).astype(np.int64)
    missing = before[rows.site, last] - before[rows.site, first]
    worst = int(np.argmax(missing))
    if missing[worst]:
        raise GapsTooLarge(
            f"the rate of site {rows.site[worst]}",
            f"steps {first[worst]} to {last[worst]}, the window of row {worst}",
            max(1, round(100 * float(missing[worst]) / (last[worst] - first[worst]))),
            "Fill the gap on purpose (--fill), or plan outside it",
        )


def alike(size: Ints, per_row: int = 1) -> Iterator[Ints]:
    """Indices of rows in lots of like `size`, each lot small enough for memory once padded to its largest.

    Args:
        size: elements of each row, shape (N,).
        per_row: elements beyond that for each of them.
    """
    order = np.argsort(size, kind="stable")
    sorted_size = size[order]
    at = 0
    while at < len(order):
        # At most a quarter of a lot is padding.
        until = int(np.searchsorted(sorted_size, sorted_size[at] * 4 // 3 + 8, side="right"))
        until = min(until, at + max(1, CHUNK // max(1, int(sorted_size[until - 1]) * per_row)))
        yield order[at:until]
        at = until
