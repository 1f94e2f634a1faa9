"""What to know before talking to a supplier: who pays what under which terms, alone and together.

Loads are of one whole year. Doing nothing is today's tariff, each buyer alone. An offer's prices stay as they are over
its term; today's grow. A load that can be curtailed is cut in the hours the supplier calls, which nobody knows
beforehand: both ends are worked out, its own highest hours and its lowest ones.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from outweigh.core.errors import InvalidQuantity, SeriesMismatch, UsageError
from outweigh.whatif.tariff.billing import Bill, bill
from outweigh.whatif.tariff.load import MILLI_WH_PER_KWH, Load
from outweigh.whatif.tariff.terms import Kind, Tariff

POOLED = "pooled"
_HOUR_S = 3600
# Volumes looked at: a fiftieth to fifty times the load.
_WIDEST, _POINTS, _HALVINGS = 50.0, 33, 40
_MOST_MILLI_WH = 2.0**62
_LEAST_GROWTH, _MOST_GROWTH = -0.99, 10.0


@dataclass(frozen=True, slots=True)
class Offer:
    """Terms that could be had instead.

    Attributes:
        years: for how long its prices stand; None where it ends like today's.
        curtail_hours: hours a year in which the supplier may cut the load, by `curtail_share` of it.
    """

    name: str
    tariff: Tariff
    years: int | None = None
    curtail_hours: float = 0.0
    curtail_share: float = 0.0

    def __post_init__(self) -> None:
        if self.years is not None and not 1 <= self.years <= 60:
            raise InvalidQuantity(f"term of {self.name}", f"{self.years} years", "it lies between 1 and 60")
        if not (0 <= self.curtail_hours <= 8760 and 0 <= self.curtail_share <= 1):
            given = f"{100 * self.curtail_share:g} % in {self.curtail_hours:g} h"
            raise InvalidQuantity(f"curtailment of {self.name}", given, "at most all of the load in 8760 h")
        if (self.curtail_hours > 0) != (self.curtail_share > 0):
            raise InvalidQuantity(f"curtailment of {self.name}", "half of it", "give its hours and its share")


@dataclass(frozen=True, slots=True)
class Paid:
    """What someone pays in the year under some terms."""

    total: Decimal
    kwh: Decimal
    parts: Mapping[Kind, Decimal]
    notes: tuple[str, ...]

    @property
    def per_kwh(self) -> Decimal | None:
        return self.total / self.kwh if self.kwh else None


@dataclass(frozen=True, slots=True)
class Term:
    """What fixing prices for years is worth against today's that grow.

    Attributes:
        worth: present value of what is saved over the term; negative where it costs.
        break_even: yearly growth of today's prices at which the term is worth nothing; None where no growth is.
    """

    years: int
    growth: float
    worth: float
    break_even: float | None


@dataclass(frozen=True, slots=True)
class Curtailed:
    """What standing to be cut is worth, with the hours called at the load's highest, and at its lowest.

    Attributes:
        saved: money in the year, each end.
        lost_kwh: energy not drawn, each end.
        per_lost_kwh: the most a lost kWh may be worth to the buyer, each end.
    """

    saved: tuple[Decimal, Decimal]
    lost_kwh: tuple[Decimal, Decimal]
    per_lost_kwh: tuple[Decimal | None, Decimal | None]


@dataclass(frozen=True, slots=True)
class Turn:
    """A yearly volume, in the shape of a load, at which an offer and today's tariff cost the same.

    Attributes:
        cheaper_above: the offer is the cheaper one beyond it, and not below.
    """

    kwh: float
    cheaper_above: bool


@dataclass(frozen=True, slots=True)
class Sheet:
    """Everything worked out, keyed by who (a buyer, or all pooled) and by offer."""

    currency: str
    today: Mapping[str, Paid]
    offered: Mapping[tuple[str, str], Paid]
    terms: Mapping[tuple[str, str], Term]
    curtailed: Mapping[tuple[str, str], Curtailed]
    turns: Mapping[tuple[str, str], tuple[Turn, ...]]

    @property
    def apart(self) -> Decimal:
        """What all buyers pay today, each alone: doing nothing."""
        return sum((paid.total for who, paid in self.today.items() if who != POOLED), Decimal(0))

    @property
    def pooling(self) -> Decimal | None:
        """What buying together saves under today's tariff; None where there is one buyer."""
        return self.apart - self.today[POOLED].total if POOLED in self.today else None

    def pooled_parts(self) -> dict[Kind, Decimal]:
        """The saving of pooling by kind of line."""
        return {
            kind: sum((paid.parts[kind] for who, paid in self.today.items() if who != POOLED), Decimal(0))
            - self.today[POOLED].parts[kind]
            for kind in Kind
        }


def sheet(
    today: Tariff, buyers: Mapping[str, Load], offers: Sequence[Offer], *, growth: float = 0.0, rate: float = 0.0
) -> Sheet:
    """Every buyer, and all of them pooled, under today's tariff and every offer.

    Args:
        buyers: loads of the same year in the same steps.
        growth: of today's prices, a year.
        rate: yearly discount rate.

    Raises:
        SeriesMismatch: an offer in another currency, or loads that are not of the same hours.
        UsageError: no buyer, or one that is called as the pool is.
    """
    _check(today, buyers, offers, growth, rate)
    who = dict(buyers)
    if len(buyers) > 1:
        who[POOLED] = pooled(list(buyers.values()))
    now = {name: _paid(bill(today, load)) for name, load in who.items()}
    offered, terms, curtailed, turns = {}, {}, {}, {}
    for offer in offers:
        for name, load in who.items():
            key = name, offer.name
            offered[key] = _paid(bill(offer.tariff, load))
            turns[key] = break_even(today, offer.tariff, load)
            if offer.years is not None:
                terms[key] = term(now[name].total, offered[key].total, offer.years, growth, rate)
            if offer.curtail_hours:
                curtailed[key] = _curtailed(offer, load, now[name].total)
    return Sheet(today.currency, now, offered, terms, curtailed, turns)


def pooled(loads: Sequence[Load]) -> Load:
    """All of them on one meter."""
    first = loads[0]
    for other in loads[1:]:
        if (other.start_s, other.step_s, len(other)) != (first.start_s, first.step_s, len(first)):
            remedy = "Give all loads the same hours and steps"
            raise SeriesMismatch(
                f"a load from {first.start.isoformat()}", f"one from {other.start.isoformat()}", remedy
            )
    if sum(float(load.milli_wh.sum(dtype=np.float64)) for load in loads) > _MOST_MILLI_WH:
        raise InvalidQuantity("pooled load", "more than can be counted", "are the loads in W?")
    return Load(first.start, first.step_s, np.sum([load.milli_wh for load in loads], axis=0))


def scaled(load: Load, factor: float) -> Load:
    """The same shape, so many times as much."""
    return Load(load.start, load.step_s, np.rint(load.milli_wh * factor).astype(np.int64))


def break_even(today: Tariff, offered: Tariff, load: Load) -> tuple[Turn, ...]:
    """Yearly volumes [kWh] at which two tariffs change places, for loads of this shape, smallest first.

    Volumes from a fiftieth to fifty times the load are looked at; tariffs that change places twice between two
    neighbours of 33 points are taken for not doing so.
    """
    kwh = int(load.milli_wh.sum()) / MILLI_WH_PER_KWH
    if kwh == 0:
        return ()

    def dearer(factor: float) -> Decimal:
        one = scaled(load, factor)
        return bill(offered, one).total - bill(today, one).total

    factors = np.geomspace(1 / _WIDEST, min(_WIDEST, _MOST_MILLI_WH / float(load.milli_wh.sum())), _POINTS)
    signs = [dearer(float(factor)) for factor in factors]
    found = []
    for low, high, at_low, at_high in zip(factors, factors[1:], signs, signs[1:], strict=False):
        if (at_low > 0) == (at_high > 0) or at_low == at_high:
            continue
        down, up = math.log(low), math.log(high)
        for _ in range(_HALVINGS):
            middle = (down + up) / 2
            if (dearer(math.exp(middle)) > 0) == (at_low > 0):
                down = middle
            else:
                up = middle
        found.append(Turn(kwh * math.exp(up), cheaper_above=at_low > 0))
    return tuple(found)


def term(today: Decimal, offered: Decimal, years: int, growth: float, rate: float) -> Term:
    """What a fixed price is worth over its years, paid at the end of each.

    >>> round(term(Decimal(100), Decimal(110), 2, 0.10, 0.0).worth, 6)
    -10.0
    """
    now, then = float(today), float(offered)

    def worth(grows: float) -> float:
        return math.fsum((now * (1 + grows) ** (t - 1) - then) / (1 + rate) ** t for t in range(1, years + 1))

    low, high = _LEAST_GROWTH, _MOST_GROWTH
    turn = None
    if years > 1 and now > 0 and worth(low) < 0 < worth(high):
        for _ in range(100):
            middle = (low + high) / 2
            low, high = (middle, high) if worth(middle) < 0 else (low, middle)
        turn = (low + high) / 2
    return Term(years, growth, worth(growth), turn)


def curtailed(load: Load, hours: float, share: float, *, highest: bool) -> Load:
    """The load with its highest or its lowest hours cut by a share."""
    steps = min(len(load), round(hours * _HOUR_S / load.step_s))
    order = np.argsort(load.milli_wh, kind="stable")
    called = order[len(order) - steps :] if highest else order[:steps]
    left = load.milli_wh.copy()
    left[called] = np.rint(left[called] * (1 - share)).astype(np.int64)
    return Load(load.start, load.step_s, left)


def _curtailed(offer: Offer, load: Load, today: Decimal) -> Curtailed:
    ends = [curtailed(load, offer.curtail_hours, offer.curtail_share, highest=highest) for highest in (True, False)]
    saved = tuple(today - bill(offer.tariff, one).total for one in ends)
    lost = tuple(Decimal(int((load.milli_wh - one.milli_wh).sum())) / MILLI_WH_PER_KWH for one in ends)
    each = tuple(money / kwh if kwh else None for money, kwh in zip(saved, lost, strict=True))
    return Curtailed((saved[0], saved[1]), (lost[0], lost[1]), (each[0], each[1]))


def _paid(made: Bill) -> Paid:
    return Paid(made.total, made.kwh, made.by_kind(), made.notes)


def _check(today: Tariff, buyers: Mapping[str, Load], offers: Sequence[Offer], growth: float, rate: float) -> None:
    if not buyers:
        raise UsageError("there is no buyer", "Declare one or more")
    if POOLED in buyers:
        raise UsageError(f"a buyer is called {POOLED!r}", "That is what all of them together are called; rename it")
    names = [offer.name for offer in offers]
    if twice := {name for name in names if names.count(name) > 1}:
        raise UsageError(f"two offers are called {min(twice)!r}", "Name them apart")
    for what, figure in (("growth of prices", growth), ("discount rate", rate)):
        if not -1 < figure < math.inf:
            raise InvalidQuantity(what, f"{100 * figure:g} %", "it lies above -100 % a year")
    for offer in offers:
        if offer.tariff.currency != today.currency:
            raise SeriesMismatch(
                f"an offer in {offer.tariff.currency} ({offer.name})",
                f"today's tariff in {today.currency}",
                "Two currencies do not add: convert the file at a rate you state",
            )
