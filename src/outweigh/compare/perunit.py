"""Facility energy per functional unit: the E of the gate.

For round r, with PUE at the serving load:

    E_r = PUE * (work_j_r / units_r + hum_r) + amortised_j / (volume_low * horizon)

    hum_r       = hum_w * threads / threads_total * replica_s_r
    replica_s_r = max(s_r / utilisation, min_replicas * S_PER_MONTH / volume_low)
    s_r         = service_s_r / units_r

A replica reserves `threads` of the machine's `threads_total` hardware threads and so owns that share of the idle
draw for as long as it is provisioned: its busy time over the utilisation, or the replicas that are always on
divided by the low volume, whichever is more. `amortised_j` is what training and development drew, facility side.
The low volume is used throughout: a promise of traffic pays for nothing.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from outweigh.compare.evidence import Floats
from outweigh.core.constants import S_PER_MONTH
from outweigh.core.errors import InvalidQuantity, UnusableMeasurement
from outweigh.core.project import Serving


@dataclass(frozen=True, slots=True)
class Facility:
    """Where and how much the variants would serve.

    Attributes:
        pue: facility energy over IT energy at the serving load, at least 1.
        serving: how replicas are provisioned.
        volume_low_per_month: functional units per month, the low figure.
        horizon_months: over how long training and development are written off.
        threads_total: hardware threads that share the metered hum.
    """

    pue: float
    serving: Serving
    volume_low_per_month: float
    horizon_months: float
    threads_total: int

    def __post_init__(self) -> None:
        if not self.pue >= 1:
            raise InvalidQuantity("PUE", repr(self.pue), "facility energy over IT energy is at least 1")
        for name, value in (("volume", self.volume_low_per_month), ("horizon", self.horizon_months)):
            if not value > 0:
                raise InvalidQuantity(name, repr(value), "give a number above zero")
        if not 0 < self.serving.utilisation <= 1:
            raise InvalidQuantity("utilisation", repr(self.serving.utilisation), "give a share between 0 and 1")
        if self.serving.min_replicas < 0:
            raise InvalidQuantity("min_replicas", repr(self.serving.min_replicas), "give a number of at least 0")
        if not 1 <= self.serving.threads <= self.threads_total:
            raise InvalidQuantity(
                "serving.threads",
                repr(self.serving.threads),
                f"a replica reserves between 1 and all {self.threads_total} hardware threads of the machine",
            )

    @property
    def units_over_horizon(self) -> float:
        return self.volume_low_per_month * self.horizon_months


@dataclass(frozen=True, slots=True, eq=False)
class PerUnit:
    """Facility energy per functional unit [J] round by round, shape (R,), and its three parts."""

    energy_j: Floats
    work_j: Floats
    hum_j: Floats
    amortised_j: float


def hum_share_j(service_s_per_unit: Floats, hum_w: float, facility: Facility) -> Floats:
    """A unit's share of the hum [J], IT side, shape like `service_s_per_unit` [s] (see the module's formula).

    >>> from outweigh.core.project import Serving
    >>> half = Facility(1.0, Serving(utilisation=0.5, threads=1), 1e6, 12, threads_total=2)
    >>> hum_share_j(np.array([0.1]), 10.0, half).tolist()
    [1.0]
    """
    serving = facility.serving
    always_on_s = serving.min_replicas * S_PER_MONTH / facility.volume_low_per_month
    replica_s = np.maximum(service_s_per_unit / serving.utilisation, always_on_s)
    return np.asarray(hum_w * serving.threads / facility.threads_total * replica_s, dtype=np.float64)


def energy_per_unit(
    work_j: Floats, units: Floats, service_s: Floats, *, hum_w: float, amortised_j: float, facility: Facility
) -> PerUnit:
    """Facility energy per functional unit of each round, by the formula at the top of this module.

    Args:
        work_j: IT energy of the work of each round [J], shape (R,).
        units: functional units of each round, shape (R,), positive.
        service_s: wall time of each round [s], shape (R,).
        hum_w: idle draw of the metered scope [W].
        amortised_j: training and development of the variant over its life [J], facility side.
        facility: where it would serve.

    Raises:
        UnusableMeasurement: a round delivered no units.
    """
    if np.any(units <= 0):
        raise UnusableMeasurement("energy per unit", "a round delivered nothing", "Give every round at least one item")
    work = facility.pue * work_j / units
    hum = facility.pue * hum_share_j(service_s / units, hum_w, facility)
    amortised = amortised_j / facility.units_over_horizon
    return PerUnit(energy_j=work + hum + amortised, work_j=work, hum_j=hum, amortised_j=amortised)
