"""What is laid on the scales: the contenders' evidence, and the terms they are weighed on."""

from __future__ import annotations

import math
from dataclasses import dataclass

from outweigh.compare.evidence import Evidence
from outweigh.compare.frontier import NotRankable
from outweigh.core.budget import Budget
from outweigh.core.errors import InvalidQuantity, UnusableMeasurement, UsageError
from outweigh.core.intervals import Estimate
from outweigh.core.measurement import Grade, Method
from outweigh.core.project import GateSpec, Guard, PrimaryMetric
from outweigh.core.quantities import Energy, Money, Price


@dataclass(frozen=True, slots=True, eq=False)
class Contenders:
    """Evidence of one interleaved comparison: everyone saw the same items and ran in the same rounds.

    Attributes:
        alternatives: other measured ways to do the task; those that are the incumbent or the proposal under
            another name (same content hash) are no alternatives and are passed over.
        anchor: the last release, or None when the project names none.
    """

    incumbent: Evidence
    proposal: Evidence
    alternatives: tuple[Evidence, ...] = ()
    anchor: Evidence | None = None

    @property
    def everyone(self) -> tuple[Evidence, ...]:
        anchor = () if self.anchor is None else (self.anchor,)
        return (self.incumbent, self.proposal, *self.alternatives, *anchor)

    @property
    def grade(self) -> Grade:
        """The worst of all: a verdict is as good as the weakest evidence it rests on."""
        return Grade.worst(evidence.grade for evidence in self.everyone)

    def check(self) -> None:
        """Refuse evidence that cannot be weighed together.

        Raises:
            UsageError: items or rounds are not the same, or two contenders of
                different content share a name.
            NotRankable: measured, modelled, replayed or declared energies are mixed, or grade D stands beside a
                better grade.
            UnusableMeasurement: fewer than two rounds.
        """
        contents: dict[str, str] = {}
        for evidence in self.everyone:
            name, content = evidence.variant.name, evidence.variant.content_hash
            if contents.setdefault(name, content) != content:
                raise UsageError(f"two different variants are called {name}", "Give each variant a name of its own")
        first = self.incumbent
        for other in self.everyone[1:]:
            if other.items.shape != first.items.shape or bool((other.items != first.items).any()):
                raise UsageError(
                    f"{other.variant.name} and {first.variant.name} were not judged on the same evaluation items",
                    "Measure them in one comparison: `outweigh compare`",
                )
            if other.energy_j_per_unit.shape != first.energy_j_per_unit.shape:
                raise UsageError(
                    f"{other.variant.name} ran {other.energy_j_per_unit.size} rounds and {first.variant.name} "
                    f"{first.energy_j_per_unit.size}",
                    "Energy is compared round by round: measure them interleaved with `outweigh compare`",
                )
            if _kind(other.method) != _kind(first.method):
                raise NotRankable(
                    first.variant.name,
                    other.variant.name,
                    f"the energy of the one is {_kind(first.method)}, of the other {_kind(other.method)}",
                    "Measure both with one meter",
                )
            if (other.grade is Grade.D) != (first.grade is Grade.D):
                raise NotRankable(
                    first.variant.name,
                    other.variant.name,
                    f"their energies are of grade {first.grade} and {other.grade}, and D never outranks a better one",
                    "Measure both with one meter",
                )
        if first.energy_j_per_unit.size < 2:
            raise UnusableMeasurement(
                "the comparison", "it has one round, which says nothing about scatter", "Measure at least 2 rounds"
            )


def _kind(method: Method) -> str:
    return "measured" if method.is_measured else str(method)


def same_thing(one: Evidence, other: Evidence) -> bool:
    """Whether two names stand for one content. An empty hash is never the same as anything."""
    return bool(one.variant.content_hash) and one.variant.content_hash == other.variant.content_hash


NOTHING = Energy(0.0)


@dataclass(frozen=True, slots=True)
class BudgetLine:
    """A budget and what is left of it.

    Attributes:
        drawn: what receipts have drawn from the line in the current period.
        share_ahead: share of the period that is still to be served, in [0, 1]; 1 asks for a whole period.
    """

    budget: Budget
    drawn: Energy = NOTHING
    share_ahead: float = 1.0

    def __post_init__(self) -> None:
        if not 0 <= self.share_ahead <= 1:
            raise InvalidQuantity("share of the period ahead", repr(self.share_ahead), "give it between 0 and 1")


@dataclass(frozen=True, slots=True)
class ValueTerms:
    """Prices of what a unit costs at the margin; None where the project declares none.

    Attributes:
        electricity: price of facility energy.
        hardware_per_hour: price of one busy replica hour. Where replicas idle, the caller divides the price
            by the utilisation, since the idle time is bought with the busy one.
    """

    electricity: Price | None = None
    hardware_per_hour: Money | None = None


@dataclass(frozen=True, slots=True)
class Terms:
    """What the contenders are weighed on.

    Attributes:
        unit: name of the functional unit, for the sentences ("article").
        volume_per_month: functional units a month.
        hum_w: idle draw of what serves the model [W, facility], with its interval; None when not observed.
        mix_standard: relative standard uncertainty (k = 1) of an energy ratio between two variants, from
            their different instruction mixes. Not added between variants of one content.
        absolute_standard: relative standard uncertainty (k = 1) of an absolute energy from meter gain and
            factors. It cancels in a ratio, and counts against every budget line.
        prices: for the value test.
    """

    spec: GateSpec
    primary: PrimaryMetric
    unit: str
    volume_per_month: float
    guards: tuple[Guard, ...] = ()
    budgets: tuple[BudgetLine, ...] = ()
    hum_w: Estimate | None = None
    mix_standard: float = 0.0
    absolute_standard: float = 0.0
    prices: ValueTerms = ValueTerms()

    def __post_init__(self) -> None:
        if not 0.5 < self.spec.confidence < 1:
            raise InvalidQuantity("gate.confidence", repr(self.spec.confidence), "give it between 0.5 and 1")
        if not self.spec.eta >= 0:
            raise InvalidQuantity("gate.eta", repr(self.spec.eta), "more energy must not ask for less: give 0 or more")
        if not self.volume_per_month > 0:
            raise InvalidQuantity("volume", repr(self.volume_per_month), "give the units served a month, above zero")
        for name, given in (("mix", self.mix_standard), ("absolute", self.absolute_standard)):
            if not (math.isfinite(given) and given >= 0):
                raise InvalidQuantity(f"{name} uncertainty", repr(given), "give a share of at least 0")

    @property
    def alpha(self) -> float:
        """One-sided error rate of a single test."""
        return 1 - self.spec.confidence

    @property
    def two_sided(self) -> float:
        """Coverage of the two-sided interval whose ends are the one-sided bounds."""
        return 2 * self.spec.confidence - 1
