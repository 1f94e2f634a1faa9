"""The marginal abatement cost curve over all levers, each interaction counted once.

The rule, in this order:

1. Counted is what is shown to save and keeps quality. Of levers that exclude each other (variants of one sitting are:
   one of them serves), only the one with the largest yearly gain counts. Software levers do not compose, so all of
   them exclude each other, but for those that are said to be measured together. What changes energy and says no kind
   is taken for software.
2. Counted levers are ordered by what they cost per tonne avoided, the cheapest first, before the energy they save is
   paid for. So no cost is negative and the order is sound: net costs below zero do not rank (Taylor, Energy Policy 48
   (2012) 430-438). Among equals the larger saving comes first. What earlier levers left scales all others alike, so
   the order stands when they are applied.
3. Each lever takes its share of what the ones before it left: the ratios multiply. What all of them save together is
   the joint effect, never the sum of what each would save alone (double counting: Kesicki and Ekins, Climate Policy 12
   (2012) 219-236).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

from outweigh.core.constants import G_PER_TONNE
from outweigh.core.errors import InvalidQuantity, UsageError

# Below that share of a year nothing is saved that a float could tell.
_LEAST = 1e-9


@dataclass(frozen=True, slots=True)
class Ratio:
    """What is left of a quantity, 0.6 of it, and the interval that may lie in."""

    value: float = 1.0
    low: float = 1.0
    high: float = 1.0

    def __post_init__(self) -> None:
        if not (0 < self.low <= self.value <= self.high < math.inf):
            given = f"{self.value:g} in {self.low:g} to {self.high:g}"
            raise InvalidQuantity("ratio of a lever", given, "it lies above 0 and within its interval")


class Kind(StrEnum):
    """What a lever changes. Levers of different kinds are taken to be independent."""

    SOFTWARE = "software"  # the program or the model that serves
    PLACE = "place"
    HOUR = "hour"
    FACILITY = "facility"


@dataclass(frozen=True, slots=True)
class Lever:
    """Something that saves.

    Attributes:
        energy: energy with it over energy without.
        intensity, price: the same of the carbon and of the price of each kWh: another hour, another place.
        cost: money a year, capital turned into level payments.
        measured: on this task and this machine; else a projection.
        kind: None where nobody said.
        excludes: name of a group of which one lever can be used; "" excludes nothing.
        together: name of a set of software levers whose changes were measured with each other in place; "" of none.
        keeps_quality: None where nobody judged it.
        barred: why it is not counted whatever it saves; "" where nothing speaks against it.
        command: how to try it.
    """

    name: str
    energy: Ratio = Ratio()
    intensity: Ratio = Ratio()
    price: Ratio = Ratio()
    cost: float = 0.0
    measured: bool = False
    grade: str = "D"
    method: str = "declared"
    source: str = ""
    kind: Kind | None = None
    excludes: str = ""
    together: str = ""
    keeps_quality: bool | None = None
    barred: str = ""
    command: str = ""

    def __post_init__(self) -> None:
        if not 0 <= self.cost < math.inf:
            raise InvalidQuantity(f"cost of {self.name}", f"{self.cost:g}", "it is 0 or more a year")

    @property
    def carbon(self) -> Ratio:
        """Carbon with it over carbon without; the two parts vary on their own, so the interval is the widest."""
        e, i = self.energy, self.intensity
        return Ratio(e.value * i.value, e.low * i.low, e.high * i.high)

    @property
    def is_software(self) -> bool:
        return self.kind is Kind.SOFTWARE or (self.kind is None and self.energy != Ratio())


@dataclass(frozen=True, slots=True)
class Base:
    """A year as it goes on if nobody does anything: energy at the meter, its price and its carbon."""

    kwh: float
    price: float
    g_per_kwh: float
    currency: str
    carbon_price: float = 0.0

    def __post_init__(self) -> None:
        for what, figure in (("energy of a year", self.kwh), ("carbon intensity", self.g_per_kwh)):
            if not 0 < figure < math.inf:
                raise InvalidQuantity(what, f"{figure:g}", "it is above 0: there is nothing to save otherwise")
        for what, figure in (("price of energy", self.price), ("price of carbon", self.carbon_price)):
            if not 0 <= figure < math.inf:
                raise InvalidQuantity(what, f"{figure:g}", "it is 0 or more")
        if not math.isfinite(self.money):
            raise InvalidQuantity(
                "cost of a year", f"{self.money:g}", "energy and prices are beyond what can be counted"
            )

    @property
    def tonnes(self) -> float:
        return self.kwh * self.g_per_kwh / G_PER_TONNE

    @property
    def money(self) -> float:
        """What energy and carbon cost a year."""
        return self.kwh * self.price + self.tonnes * self.carbon_price

    def with_levers(self, levers: Sequence[Lever]) -> tuple[float, float, float]:
        """(kWh, tonnes, money) of a year with all of them at work."""
        energy = math.prod(lever.energy.value for lever in levers)
        carbon = math.prod(lever.carbon.value for lever in levers)
        price = math.prod(lever.price.value for lever in levers)
        kwh, tonnes = self.kwh * energy, self.tonnes * carbon
        return kwh, tonnes, kwh * self.price * price + tonnes * self.carbon_price


@dataclass(frozen=True, slots=True)
class Step:
    """One lever of the curve, on top of the ones before it.

    Attributes:
        kwh, tonnes: saved a year.
        low_tonnes, high_tonnes: at the ends of the lever's own interval.
        saved: money not spent on energy (and carbon, where it has a price), a year.
        gross_per_tonne, net_per_tonne: its cost over the tonnes, before and after what it saves. The net one may be
            negative; it does not rank.
        before: tonnes that earlier steps have avoided.
    """

    lever: Lever
    before: float
    kwh: float
    tonnes: float
    low_tonnes: float
    high_tonnes: float
    saved: float
    gross_per_tonne: float
    net_per_tonne: float


@dataclass(frozen=True, slots=True)
class Curve:
    """The counted levers in their order, and why the others are not counted.

    Attributes:
        kwh, tonnes, money: saved a year by all of them together, the joint effect.
        low_tonnes, high_tonnes: of that; the levers' intervals are independent and add up in quadrature on the log.
        summed_tonnes: what each would save alone, added up: a figure to warn of, not to use.
    """

    base: Base
    steps: tuple[Step, ...]
    passed_over: tuple[tuple[Lever, str], ...]
    kwh: float
    tonnes: float
    low_tonnes: float
    high_tonnes: float
    money: float
    cost: float
    summed_tonnes: float


def curve(base: Base, levers: Sequence[Lever]) -> Curve:
    """The curve of `levers` on a year of `base`, by the rule of this module.

    Raises:
        UsageError: two levers bear one name.
    """
    names = [lever.name for lever in levers]
    if twice := {name for name in names if names.count(name) > 1}:
        raise UsageError(f"two levers are called {min(twice)!r}", "Name them apart")
    counted, passed = _counted(base, levers)
    counted.sort(key=lambda lever: (_gross(base, lever), lever.carbon.value, lever.name))
    counted, late = _while_something_is_left(counted)
    passed += late
    steps: list[Step] = []
    for index, lever in enumerate(counted):
        kwh, tonnes, money = base.with_levers(counted[:index])
        next_kwh, next_tonnes, next_money = base.with_levers(counted[: index + 1])
        avoided = tonnes - next_tonnes
        steps.append(
            Step(
                lever=lever,
                before=base.tonnes - tonnes,
                kwh=kwh - next_kwh,
                tonnes=avoided,
                low_tonnes=tonnes * (1 - lever.carbon.high),
                high_tonnes=tonnes * (1 - lever.carbon.low),
                saved=money - next_money,
                gross_per_tonne=lever.cost / avoided,
                net_per_tonne=(lever.cost - (money - next_money)) / avoided,
            )
        )
    kwh, tonnes, money = base.with_levers(counted)
    low, high = _joint(counted)
    return Curve(
        base=base,
        steps=tuple(steps),
        passed_over=tuple(passed),
        kwh=base.kwh - kwh,
        tonnes=base.tonnes - tonnes,
        low_tonnes=base.tonnes * (1 - high),
        high_tonnes=base.tonnes * (1 - low),
        money=base.money - money,
        cost=math.fsum(lever.cost for lever in counted),
        summed_tonnes=math.fsum(base.tonnes * (1 - lever.carbon.value) for lever in counted),
    )


def _while_something_is_left(levers: Sequence[Lever]) -> tuple[list[Lever], list[tuple[Lever, str]]]:
    left, kept = 1.0, list[Lever]()
    late: list[tuple[Lever, str]] = []
    for lever in levers:
        if left * (1 - lever.carbon.value) > _LEAST**2:
            left *= lever.carbon.value
            kept.append(lever)
        else:
            late.append((lever, "the levers before it leave nothing"))
    return kept, late


def _counted(base: Base, levers: Sequence[Lever]) -> tuple[list[Lever], list[tuple[Lever, str]]]:
    counted: list[Lever] = []
    passed: list[tuple[Lever, str]] = []
    for lever in levers:
        if lever.barred:
            passed.append((lever, lever.barred))
        elif lever.keeps_quality is False:
            passed.append((lever, "it is not shown to keep quality"))
        elif lever.carbon.value > 1 - _LEAST:
            passed.append((lever, "it saves nothing"))
        elif lever.measured and lever.carbon.high >= 1:
            passed.append((lever, "its saving is within the noise"))
        else:
            counted.append(lever)
    for group in sorted({lever.excludes for lever in counted} - {""}):
        rivals = [lever for lever in counted if lever.excludes == group]
        best = max(rivals, key=lambda lever: _worth(base, [lever]))
        for lever in rivals:
            if lever is not best:
                counted.remove(lever)
                passed.append((lever, f"it excludes {best.name}, which gains more"))
    chosen = max(_ways(counted), key=lambda way: _worth(base, way), default=[])
    names = " with ".join(lever.name for lever in chosen)
    for lever in [one for one in counted if one.is_software and one not in chosen]:
        counted.remove(lever)
        unsaid = "; if it is not software, say its kind" if lever.kind is None else ""
        passed.append((lever, f"not measured together with {names}, which gains more{unsaid}"))
    return counted, passed


def _ways(levers: Sequence[Lever]) -> list[list[Lever]]:
    """Software levers that can be used at once: alone, or as the set that was measured together."""
    ways: dict[tuple[str, str], list[Lever]] = {}
    for lever in levers:
        if lever.is_software:
            ways.setdefault((lever.together, "" if lever.together else lever.name), []).append(lever)
    return list(ways.values())


def _gross(base: Base, lever: Lever) -> float:
    return lever.cost / (base.tonnes * (1 - lever.carbon.value))


def _worth(base: Base, levers: Sequence[Lever]) -> tuple[float, float]:
    """The yearly gain of levers together, and among equals the carbon they take off."""
    gain = base.money - base.with_levers(levers)[2] - math.fsum(lever.cost for lever in levers)
    return gain, -math.prod(lever.carbon.value for lever in levers)


def _joint(levers: Sequence[Lever]) -> tuple[float, float]:
    """Ends of the joint carbon ratio."""
    middle = math.fsum(math.log(lever.carbon.value) for lever in levers)
    below = math.hypot(*(math.log(lever.carbon.value / lever.carbon.low) for lever in levers))
    above = math.hypot(*(math.log(lever.carbon.high / lever.carbon.value) for lever in levers))
    return math.exp(middle - below), math.exp(middle + above)
