"""Receipts added up for a report: energy with its interval, grade and method, never anything twice."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from outweigh.core.constants import G_PER_TONNE, J_PER_WH
from outweigh.core.errors import UsageError
from outweigh.core.measurement import Grade, Scope, half_width_95
from outweigh.core.receipt import Receipt, RunStatus
from outweigh.core.rounding import si, si_prefix, significant
from outweigh.ledger import add_up
from outweigh.ledger.drawn import MACHINE

Addressed = tuple[str, Receipt]


@dataclass(frozen=True, slots=True)
class Total:
    """A set of runs.

    Attributes:
        it_j, it_half_j: energy seen at or below the machines [J], and half of its 95 % interval. Meters err alike from
            run to run, so half-widths add up in full (JCGM 100:2008, 5.2.2, note 1).
        facility_j, facility_half_j: the same of meters that see the building, which holds its cooling already.
        hum_j: idle draw inside it, of the runs that know theirs; None where none does. `without_hum` do not.
        units, unit: functional units delivered; None where none was counted or they are of two kinds.
        busy_s: time in which at least one of the runs went on [s].
        machine_s: the same of each machine, by the label `machine`, added up [s]; runs without it are taken for one's.
        failed, unusable: runs that did not complete (their energy is counted), and those without a figure (it is not).
    """

    it_j: float
    it_half_j: float
    facility_j: float
    facility_half_j: float
    hum_j: float | None
    without_hum: int
    units: float | None
    unit: str
    without_units: int
    busy_s: float
    machine_s: float
    start: datetime
    end: datetime
    receipts: int
    failed: int
    unusable: int
    grade: Grade
    methods: tuple[str, ...]
    scopes: tuple[str, ...]
    meters: tuple[str, ...]
    addresses: tuple[str, ...]

    def at(self, pue: float | None) -> tuple[float, float, float]:
        """Energy with the building's share: (value, low, high) [J]; IT energy where no PUE is known."""
        factor = 1.0 if pue is None else pue
        value, half = self.facility_j + factor * self.it_j, self.facility_half_j + factor * self.it_half_j
        return value, min(value, max(0.0, value - half)), value + half

    def boundary(self, pue: float | None) -> str:
        """Which energy `at` gives, in words."""
        if not self.it_j:
            return "the facility's, as metered"
        return "IT energy, without the building's share" if pue is None else f"facility energy: IT energy x PUE {pue:g}"

    def about(self) -> dict[str, Any]:
        """How the energy is known, as plain JSON."""
        return {
            "it_energy_j": self.it_j, "it_energy_half_width_95_j": self.it_half_j,
            "facility_metered_energy_j": self.facility_j, "hum_j": self.hum_j, "receipts": self.receipts,
            "failed": self.failed, "unusable": self.unusable, "grade": str(self.grade), "methods": list(self.methods),
            "scopes": list(self.scopes), "meters": list(self.meters), "start": self.start.isoformat(),
            "end": self.end.isoformat(), "busy_s": self.busy_s, "machine_s": self.machine_s,
        }  # fmt: skip

    def sentences(self) -> list[str]:
        """What a reader has to know of the sum."""
        said = [
            f"energy of {self.receipts} receipts by {', '.join(self.methods)} of scope {', '.join(self.scopes)}, grade "
            f"{self.grade}; the interval holds about 95 % and is the meters' own"
        ]
        if self.failed:
            said.append(f"{self.failed} of them did not complete; what they drew is in the sum")
        if self.unusable:
            said.append(f"{self.unusable} runs left no usable figure: what they drew is missing here")
        if "replayed" in self.methods:
            said.append("test data: the meter replays a recorded or made trace")
        return said


def total(receipts: Iterable[Addressed], what: str = "receipts") -> Total:
    """Add receipts up.

    Raises:
        UsageError: there is none with a usable figure.
        OverlappingScopes: two counted the same joules; see `ledger.add_up`.
    """
    kept = list(receipts)
    usable = [(address, one) for address, one in kept if one.status is not RunStatus.UNUSABLE]
    if not usable:
        remedy = "Widen --since, --until, --phase or --variant; `outweigh ledger list` shows what is there"
        raise UsageError(f"the ledger has no {what} with a usable figure in this selection", remedy)
    added = add_up(one for _, one in kept)
    runs = [one for _, one in usable]
    outside = [one for one in runs if one.total.scope is Scope.FACILITY]
    inside = [one for one in runs if one.total.scope is not Scope.FACILITY]
    hums = [one.hum.value.joules for one in runs if one.hum is not None]
    counted = [one for one in runs if one.units]
    kinds = {one.unit for one in counted}
    return Total(
        it_j=math.fsum(one.total.value.joules for one in inside),
        it_half_j=math.fsum(half_width_95(one.total.components) for one in inside),
        facility_j=math.fsum(one.total.value.joules for one in outside),
        facility_half_j=math.fsum(half_width_95(one.total.components) for one in outside),
        hum_j=math.fsum(hums) if hums else None,
        without_hum=len(runs) - len(hums),
        units=math.fsum(one.units or 0.0 for one in counted) if len(kinds) == 1 else None,
        unit=kinds.pop() if len(kinds) == 1 else "",
        without_units=len(runs) - len(counted),
        busy_s=_busy_s(runs),
        machine_s=_machine_s(runs),
        start=min(one.interval.start for one in runs),
        end=max(one.interval.end for one in runs),
        receipts=len(runs),
        failed=added.failed,
        unusable=len(added.unusable),
        grade=Grade.worst(one.grade for one in runs),
        methods=tuple(dict.fromkeys(one.total.method.value for one in runs)),
        scopes=tuple(dict.fromkeys(one.total.scope.value for one in runs)),
        meters=tuple(dict.fromkeys(one.total.source for one in runs)),
        addresses=tuple(address for address, _ in usable),
    )


def _busy_s(runs: Sequence[Receipt]) -> float:
    """Length of the union of the runs' intervals [s]."""
    seconds, until = 0.0, -math.inf
    for start, end in sorted((one.interval.start.timestamp(), one.interval.end.timestamp()) for one in runs):
        seconds += max(0.0, end - max(start, until))
        until = max(until, end)
    return seconds


def _machine_s(runs: Sequence[Receipt]) -> float:
    on: dict[str, list[Receipt]] = {}
    for one in runs:
        on.setdefault(dict(one.labels).get(MACHINE, ""), []).append(one)
    return math.fsum(_busy_s(each) for each in on.values())


_CLOSE = 5e-4  # of the value: a narrower interval is said in words, or a figure would have digits nobody reads


def energy_text(value_j: float, low_j: float, high_j: float) -> str:
    """Energy in Wh, or in J below one: mWh beside MWh would be misread.

    >>> energy_text(3.6e6, 3.5e6, 3.7e6), energy_text(80.0, 80.0, 80.0)
    ('1.000 ± 0.028 kWh', '80 J')
    """
    per, unit = (1.0, "J") if abs(value_j) < J_PER_WH else (J_PER_WH, "Wh")
    return _within(value_j / per, unit, (high_j - low_j) / 2 / per)


def carbon_text(value_g: float, low_g: float | None = None, high_g: float | None = None) -> str:
    """
    >>> carbon_text(1234.0), carbon_text(2.5e6), carbon_text(1e3, 999.9, 1000.1)
    ('1.23 kg CO2e', '2.50 t CO2e', '1 kg CO2e ± < 0.05 %')
    """
    scale, unit = (G_PER_TONNE, "t CO2e") if abs(value_g) >= G_PER_TONNE else (1.0, "g CO2e")
    half = 0.0 if low_g is None or high_g is None else (high_g - low_g) / 2
    return _within(value_g / scale, unit, half / scale)


def _within(value: float, unit: str, half: float) -> str:
    if 0 < half < _CLOSE * abs(value):
        factor, prefix = si_prefix(value)
        return f"{significant(value / factor, 4)} {prefix}{unit} ± < {100 * _CLOSE:g} %"
    return si(value, unit, half or None)
