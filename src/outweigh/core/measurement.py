"""A number with how we know it: scope, grade, method, uncertainty budget and factor provenance."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from outweigh.core.errors import InvalidQuantity, OverlappingScopes
from outweigh.core.intervals import Bounds, Interval
from outweigh.core.quantities import Energy


class Grade(StrEnum):
    """How well we know a figure. A is best; grade D never outranks a better grade."""

    A = "A"  # wall or rack meter
    B = "B"  # device counter
    C = "C"  # fitted or calibrated model
    D = "D"  # nameplate or default

    def at_least(self, floor: Grade) -> bool:
        return self.value <= floor.value

    @staticmethod
    def worst(grades: Iterable[Grade]) -> Grade:
        """The lowest of several: a chain is as good as its weakest link. Raises ValueError on none."""
        return max(grades, key=lambda grade: grade.value)


class Method(StrEnum):
    """How the figure came about."""

    COUNTER = "counter"  # an energy counter read at both edges
    INTEGRATED = "integrated"  # sampled power, integrated
    MODELLED = "modelled"  # a power model driven by activity
    REPLAYED = "replayed"  # a recorded or made trace: test data, says so wherever it is read
    DECLARED = "declared"  # a person said so

    @property
    def is_measured(self) -> bool:
        """Measured and modelled energy are never ranked against each other."""
        return self in (Method.COUNTER, Method.INTEGRATED)


class Scope(StrEnum):
    """What a meter sees. `contains` is the tree of containment: a parent's energy has its parts in it."""

    FACILITY = "facility"
    RACK = "rack"
    NODE = "node"  # the whole machine at its plug or baseboard controller
    PSYS = "psys"  # RAPL platform domain
    PACKAGE = "package"
    CORE = "core"
    UNCORE = "uncore"
    DRAM = "dram"  # beside the package, not inside it
    GPU = "gpu"
    CPU_THREADS = "cpu-threads"  # modelled draw of the hardware threads this process may use

    def contains(self, other: Scope) -> bool:
        """True when energy of `other` is part of energy of `self`; a scope contains itself."""
        scope: Scope | None = other
        while scope is not None:
            if scope is self:
                return True
            scope = _PARENT.get(scope)
        return False


# RAPL: package holds core and uncore; dram lies beside the package although sysfs nests it there
# (linux Documentation/power/powercap; powercap/powercap#3). psys holds package and dram. The GPU is a
# part of the node but not of psys: a discrete board has its own rail.
_PARENT: dict[Scope, Scope] = {
    Scope.RACK: Scope.FACILITY,
    Scope.NODE: Scope.RACK,
    Scope.PSYS: Scope.NODE,
    Scope.GPU: Scope.NODE,
    Scope.PACKAGE: Scope.PSYS,
    Scope.DRAM: Scope.PSYS,
    Scope.CORE: Scope.PACKAGE,
    Scope.UNCORE: Scope.PACKAGE,
    Scope.CPU_THREADS: Scope.PACKAGE,
}


def check_disjoint(scopes: Iterable[tuple[str, Scope]]) -> None:
    """Refuse to add readings of one machine whose scopes overlap.

    Args:
        scopes: (device, scope) pairs. The same scope on two devices (two sockets) is disjoint; a scope
            that contains another one is not, whatever the device, since a parent spans its devices.

    Raises:
        OverlappingScopes: two of them would count the same joules.
    """
    seen: list[tuple[str, Scope]] = []
    for device, scope in scopes:
        for other_device, other in seen:
            same = scope is other
            if (same and device == other_device) or (not same and (scope.contains(other) or other.contains(scope))):
                outer, inner = (scope, other) if scope.contains(other) else (other, scope)
                raise OverlappingScopes(outer, inner, "Count one of them; the other stays on the receipt unadded")
        seen.append((device, scope))


@dataclass(frozen=True, slots=True)
class Factor:
    """Where a factor came from: power curve, PUE, carbon intensity, price. `value` is in `unit`.

    `issued` and `retrieved` are ISO dates as the source gives them (a year is enough), "" when unknown.
    """

    name: str
    value: float
    unit: str
    source: str
    issued: str
    retrieved: str
    licence: str
    grade: Grade


@dataclass(frozen=True, slots=True)
class UncertaintyComponent:
    """One named standard uncertainty (k = 1) in the unit of the value it belongs to (GUM 5.1).

    A `source` with the word "rectangular" says that it comes from limits ± a, anything between them alike:
    `standard` is then a / sqrt(3) (GUM 4.3.7).
    """

    name: str
    standard: float
    source: str = ""

    @property
    def rectangular(self) -> bool:
        return "rectangular" in self.source


def combine(components: Iterable[UncertaintyComponent]) -> float:
    """Combined standard uncertainty of uncorrelated components (JCGM 100:2008, 5.1.2, unit sensitivities).

    >>> combine([UncertaintyComponent("resolution", 3.0), UncertaintyComponent("calibration", 4.0)])
    5.0
    """
    return math.sqrt(sum(c.standard**2 for c in components))


def half_width_95(components: Iterable[UncertaintyComponent]) -> float:
    """Half-width of the interval that holds 95 %, in the unit of the components.

    Twice the combined standard uncertainty, unless a rectangular component dominates: limits ± a hold everything, and
    twice a / sqrt(3) would lie beyond them (JCGM 100:2008, G.2.2 and 6.3.3). The largest rectangular component is
    therefore taken as it is, and the rest as normal with twice its combined standard uncertainty for 95 %; the
    half-width of the sum of the two is solved for.

    >>> half_width_95([UncertaintyComponent("reading", 3.0), UncertaintyComponent("step", 4.0)])
    10.0
    >>> round(half_width_95([UncertaintyComponent("calibration", 5.0 / 3**0.5, "± 5, rectangular")]), 2)
    4.75
    """
    known = list(components)
    whole = 2 * combine(known)
    widest = max((c.standard for c in known if c.rectangular), default=0.0)
    if widest <= 0:
        return whole
    limit = math.sqrt(3) * widest
    rest = whole**2 / 4 - widest**2
    # Where the rest is a thousandth of the limit or less, the interval is 95 % of the limits.
    sigma = max(2 * math.sqrt(max(0.0, rest)) / _NORMAL_95, 1e-3 * limit)
    low, high = 0.0, whole
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        low, high = (middle, high) if _held(middle / sigma, limit / sigma) < 0.95 else (low, middle)
    return high


_NORMAL_95 = 1.959964  # 95 % of a standard normal variable lie within
_HALVINGS = 30  # to a part in 10^9


def _held(x: float, a: float) -> float:
    """Share within ± x of the sum of a standard normal and a uniform variable over ± a."""
    return (_tail_area(x + a) - _tail_area(x - a)) / a - 1


def _tail_area(x: float) -> float:
    """Integral of the standard normal distribution function up to x."""
    return x * (1 + math.erf(x / math.sqrt(2))) / 2 + math.exp(-x * x / 2) / math.sqrt(2 * math.pi)


@dataclass(frozen=True, slots=True)
class Measurement:
    """Energy over an interval, and how we know it. `components` are standard uncertainties [J], k = 1."""

    value: Energy
    interval: Interval
    scope: Scope
    grade: Grade
    method: Method
    source: str
    components: tuple[UncertaintyComponent, ...] = ()
    factors: tuple[Factor, ...] = ()

    @property
    def standard_uncertainty(self) -> Energy:
        return Energy(combine(self.components))

    @property
    def bounds_j(self) -> Bounds:
        """Coverage interval [J] at about 95 %: `half_width_95` (JCGM 100:2008, 6.3.3 and G.2.2)."""
        spread = half_width_95(self.components)
        return Bounds(self.value.joules - spread, self.value.joules + spread, 0.95)


@dataclass(frozen=True, slots=True)
class Missing:
    """A figure that is not known, and why. Never 0, never a world average in silence."""

    what: str
    reason: str


def utc(stamp: datetime) -> str:
    """ISO 8601 in UTC with a Z, to the microsecond; the one way times are written."""
    from datetime import UTC

    if stamp.tzinfo is None:
        raise InvalidQuantity("time", repr(stamp), "give it a time zone")
    return stamp.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
