"""What power costs and carries at every site over the steps of a plan: one vintage of it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from outweigh.core.errors import UsageError

Floats = NDArray[np.float64]
J_PER_KWH = 3.6e6


class Drawn(NamedTuple):
    """Energy of some stretches, and what it cost and carried.

    Attributes:
        it_kwh: of the machines. facility_kwh: with the PUE.
        cost: [currency]. carbon_g: [gCO2e]. Both of what is known only.
        unpriced_kwh, unseen_kwh: facility energy drawn in steps of which the price, or the carbon, is not known.
    """

    it_kwh: float = 0.0
    facility_kwh: float = 0.0
    cost: float = 0.0
    carbon_g: float = 0.0
    unpriced_kwh: float = 0.0
    unseen_kwh: float = 0.0

    def plus(self, other: Drawn) -> Drawn:
        return Drawn(*(one + two for one, two in zip(self, other, strict=True)))


@dataclass(frozen=True, slots=True, eq=False)
class Rates:
    """One vintage. S sites, T steps.

    Attributes:
        sites: names, in the order of the rows.
        start: of step 0; aware.
        step_s: length of a step [s].
        price: [currency/kWh], shape (S, T); NaN where it is not known.
        carbon: [gCO2e/kWh], shape (S, T); NaN where it is not known.
        pue: shape (S,).
        issued: when what it says was said, ISO 8601; empty where nobody tells.
    """

    sites: tuple[str, ...]
    start: datetime
    step_s: float
    price: Floats
    carbon: Floats
    pue: Floats
    issued: str = ""

    @property
    def steps(self) -> int:
        return int(self.price.shape[1])

    @property
    def end_s(self) -> float:
        """End of the last step [s, UTC epoch]."""
        return self.start.timestamp() + self.steps * self.step_s

    def over(self, site: str, start: datetime, end: datetime, power_w: float) -> Drawn:
        """What an IT power draws over [start, end) at a site. Raises UsageError for a site that is not there."""
        if site not in self.sites:
            raise UsageError(f"{site!r} is no site of this plan", f"Its sites are {', '.join(self.sites)}")
        at = self.sites.index(site)
        begin = (start - self.start).total_seconds() / self.step_s
        until = max((end - self.start).total_seconds() / self.step_s, begin)
        kwh_a_step = power_w * self.step_s / J_PER_KWH
        pue = float(self.pue[at])
        cost = grams = 0.0
        inside_from, inside_to = min(max(begin, 0.0), self.steps), min(max(until, 0.0), self.steps)
        unpriced = unseen = (until - begin - (inside_to - inside_from)) * kwh_a_step * pue
        if inside_to > inside_from:
            first, last = math.floor(inside_from), math.ceil(inside_to)
            edges = np.clip(np.arange(first, last + 1, dtype=np.float64), inside_from, inside_to)
            kwh = np.diff(edges) * kwh_a_step * pue
            cost, without = _summed(kwh, self.price[at, first:last])
            unpriced += without
            grams, without = _summed(kwh, self.carbon[at, first:last])
            unseen += without
        it_kwh = (until - begin) * kwh_a_step
        return Drawn(it_kwh, it_kwh * pue, cost, grams, unpriced, unseen)

    def differs_after(self, other: Rates, now: datetime) -> bool:
        """Whether the two say different things of the steps that are not over at `now`."""
        first = min(max(math.floor((now - self.start).total_seconds() / self.step_s), 0), self.steps)
        return not all(
            np.array_equal(one[:, first:], two[:, first:], equal_nan=True)
            for one, two in ((self.price, other.price), (self.carbon, other.carbon))
        )

    def to_dict(self) -> dict[str, Any]:
        return {
            "sites": list(self.sites),
            "start": self.start.isoformat(),
            "step_s": self.step_s,
            "price_per_kwh": _plain(self.price),
            "intensity_g_per_kwh": _plain(self.carbon),
            "pue": self.pue.tolist(),
            "issued": self.issued,
        }

    @classmethod
    def from_dict(cls, body: Mapping[str, Any]) -> Rates:
        return cls(
            tuple(body["sites"]),
            datetime.fromisoformat(body["start"]),
            float(body["step_s"]),
            _array(body["price_per_kwh"]),
            _array(body["intensity_g_per_kwh"]),
            np.array(body["pue"], dtype=np.float64),
            str(body["issued"]),
        )

    @classmethod
    def of_plan(cls, document: Mapping[str, Any]) -> Rates:
        """Those a plan was made on; `document` is of schema outweigh.plan/1."""
        sites, horizon = document["sites"], document["horizon"]
        return cls(
            tuple(site["name"] for site in sites),
            datetime.fromisoformat(horizon["start"]),
            float(horizon["step_s"]),
            _array([site["price_per_kwh"] for site in sites]),
            _array([site["intensity_g_per_kwh"] for site in sites]),
            np.array([site["pue"] for site in sites], dtype=np.float64),
            str(document["created"]),
        )


def _summed(kwh: Floats, rate: Floats) -> tuple[float, float]:
    """Energy at its rate, and the energy of which the rate is not known."""
    known = np.isfinite(rate)
    return float(kwh[known] @ rate[known]), float(kwh[~known].sum())


def _array(rows: Sequence[Sequence[float | None]]) -> Floats:
    return np.array([[math.nan if each is None else each for each in row] for row in rows], dtype=np.float64)


def _plain(values: Floats) -> list[list[float | None]]:
    return [[each if math.isfinite(each) else None for each in row] for row in values.tolist()]
