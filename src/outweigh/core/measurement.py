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
    """One named standard uncertainty (k = 1) in the unit of the value it belongs to (GUM 5.1)."""

    name: str
    standard: float
    source: str = ""


def combine(components: Iterable[UncertaintyComponent]) -> float:
    """Combined standard uncertainty of uncorrelated components (JCGM 100:2008, 5.1.2, unit sensitivities).

    >>> combine([UncertaintyComponent("resolution", 3.0), UncertaintyComponent("calibration", 4.0)])
    5.0
    """
    return math.sqrt(sum(c.standard**2 for c in components))


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
        """Coverage interval [J] at about 95 % (k = 2; JCGM 100:2008, 6.3.3)."""
        spread = 2 * combine(self.components)
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
