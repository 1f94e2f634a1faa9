"""What a hardware thread draws, idle and busy, by microarchitecture: the table behind the `cpu-model` meter.

The figures are wall power of whole servers divided by their hardware threads, from published SPECpower_ssj2008
results: they hold the board, memory, fans and power supply as well as the processor, and so lie above what a
processor's own counter would show. A row gives the mean over its results; the relative standard deviations
say how far the results of one microarchitecture scatter.

Cloud Carbon Footprint's own mean for the fifth EPYC generation (3.68 W idle, 8.96 W busy per thread) is left
out: its processor list has entries such as "EPYC 2435", which also match the Opteron 2435 of 2009. The row
here is taken from the results of that generation alone.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from outweigh.core.errors import FactorMissing

TABLE = Path(__file__).with_name("cpu_power.csv")

#: Names of the factors a meter built on this table carries; `measure` reads the meter's own cost off them.
IDLE_FACTOR = "idle power per hardware thread"
MAX_FACTOR = "full-load power per hardware thread"

#: Uncertainty components of such a meter. The curve is about what work adds; the intercept about the idle draw
#: alone; the instruction mix about work alone, for workloads of unlike mix at equal utilisation draw unlike
#: power: comparisons of unlike variants add it to their ratio, where the other two cancel.
POWER_CURVE = "power curve"
IDLE_INTERCEPT = "idle intercept"
INSTRUCTION_MIX = "instruction mix"


@dataclass(frozen=True, slots=True)
class CpuPower:
    """One row: power of a hardware thread [W], idle and at full load.

    Attributes:
        results: how many published results the means are taken over; None where the source does not say.
        idle_relative_sd: standard deviation of idle power between those results, relative to the mean.
        dynamic_relative_sd: the same for full load less idle.
        model_source: where the family and model numbers of this microarchitecture come from.
    """

    vendor: str
    family: int | None
    models: str
    steppings: str
    microarchitecture: str
    idle_w_per_thread: float
    max_w_per_thread: float
    results: int | None
    idle_relative_sd: float | None
    dynamic_relative_sd: float | None
    source: str
    year: str
    licence: str
    model_source: str

    @property
    def dynamic_w_per_thread(self) -> float:
        """Power that work adds to a busy hardware thread [W]."""
        return self.max_w_per_thread - self.idle_w_per_thread

    @property
    def is_default(self) -> bool:
        return self.vendor == "*"

    def matches(self, vendor: str, family: int, model: int, stepping: int) -> bool:
        return (
            vendor == self.vendor
            and family == self.family
            and _within(model, self.models)
            and (not self.steppings or _within(stepping, self.steppings))
        )


@cache
def cpu_power_table() -> tuple[CpuPower, ...]:
    """All rows, the default row last."""
    import csv  # here, because most sessions run on a meter that needs no table

    with TABLE.open(newline="", encoding="utf-8") as file:
        return tuple(
            CpuPower(
                vendor=row["vendor"],
                family=int(row["family"]) if row["family"] else None,
                models=row["models"],
                steppings=row["steppings"],
                microarchitecture=row["microarchitecture"],
                idle_w_per_thread=float(row["idle_w_per_thread"]),
                max_w_per_thread=float(row["max_w_per_thread"]),
                results=int(row["results"]) if row["results"] else None,
                idle_relative_sd=_number(row["idle_relative_sd"]),
                dynamic_relative_sd=_number(row["dynamic_relative_sd"]),
                source=row["source"],
                year=row["year"],
                licence=row["licence"],
                model_source=row["model_source"],
            )
            for row in csv.DictReader(file)
        )


def cpu_power_for(vendor: str, family: int, model: int, stepping: int) -> CpuPower:
    """The row of a processor as /proc/cpuinfo names it. Raises FactorMissing with the rows of its family.

    >>> cpu_power_for("AuthenticAMD", 25, 17, 1).microarchitecture
    'EPYC 4th gen (Genoa)'
    """
    for row in cpu_power_table():
        if row.matches(vendor, family, model, stepping):
            return row
    near = tuple(r.microarchitecture for r in cpu_power_table() if (r.vendor, r.family) == (vendor, family))
    raise FactorMissing(
        "power curve of a processor",
        f"{vendor or 'unknown vendor'} family {family} model {model} stepping {stepping}",
        near,
        "The default row stands in, at grade D; a sourced row can be added to data/cpu_power.csv",
    )


def default_cpu_power() -> CpuPower:
    """The row that stands in for an unknown processor: a cloud provider's average, grade D."""
    return next(row for row in cpu_power_table() if row.is_default)


def spread_within() -> tuple[float, float]:
    """How far the results of one microarchitecture scatter, pooled over the rows that say (root mean square).

    Returns:
        Relative standard deviations of (idle power, full load less idle).
    """
    rows = cpu_power_table()
    return (
        _root_mean_square([r.idle_relative_sd for r in rows if r.idle_relative_sd is not None]),
        _root_mean_square([r.dynamic_relative_sd for r in rows if r.dynamic_relative_sd is not None]),
    )


def spread_between() -> tuple[float, float]:
    """How far the microarchitectures of the table lie from the default row (root mean square, relative to it).

    Returns:
        (idle power, full load less idle): what is risked by not knowing the processor.
    """
    default = default_cpu_power()
    rows = [row for row in cpu_power_table() if not row.is_default]
    return (
        _root_mean_square([r.idle_w_per_thread / default.idle_w_per_thread - 1 for r in rows]),
        _root_mean_square([r.dynamic_w_per_thread / default.dynamic_w_per_thread - 1 for r in rows]),
    )


def _number(text: str) -> float | None:
    return float(text) if text else None


def _within(number: int, ranges: str) -> bool:
    """Whether a number lies in a list such as "63", "79;86" or "160-175"."""
    for part in ranges.split(";"):
        low, _, high = part.partition("-")
        if int(low) <= number <= int(high or low):
            return True
    return False


def _root_mean_square(values: list[float]) -> float:
    return math.sqrt(sum(v * v for v in values) / len(values))
