"""Power of a cooled hall, from the load and the weather: what each part draws, and what the water costs.

A server's fans count as IT in PUE. Liquid takes them away, so IT power falls and PUE may look worse while the meter at
the gate turns more slowly. Hence ITUE (IT over computing) and TUE (facility over computing) stand beside it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import MISSING, dataclass, fields
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from outweigh.core.errors import InvalidQuantity, UsageError
from outweigh.core.quantities import Energy, Power
from outweigh.whatif.cooling.weather import Weather

Floats = NDArray[np.float64]
_ZERO_C = 273.15
_AIR_KG_PER_M3 = 1.293  # dry air at 0 degC and sea level
_AIR_J_PER_KG_K = 1010.0
_WATER_J_PER_KG_K = 4200.0
_WATER_KG_PER_M3 = 1000.0
_LEAST_LIFT_K = 1e-3
_MOST_W = 1e12


class Technology(StrEnum):
    """Ways to carry the heat off; immersion with a liquid that stays one (1), or boils (2)."""

    AIR = "air"
    COLD_PLATE = "cold-plate"
    IMMERSION_1 = "immersion-1"
    IMMERSION_2 = "immersion-2"


class Rejection(StrEnum):
    """Where the heat goes: a wet tower follows the wet-bulb temperature and drinks, a dry cooler does neither."""

    WET = "wet"
    DRY = "dry"


@dataclass(frozen=True, slots=True)
class Plant:
    """A technology's figures; docs/whatif.md says what each is, with its source. Shares are of 1, rises in K."""

    ups_efficiency: float
    distribution_loss: float
    lighting: float
    fixed_loss_share: float
    flow_exponent: float
    supply_air_c: float
    air_rise_k: float
    water_rise_k: float
    tower_rise_k: float
    hall_fan_pa: float
    hall_fan_efficiency: float
    outdoor_fan_pa: float
    outdoor_fan_efficiency: float
    liquid_to_air: float
    facility_pump_pa: float
    tower_pump_pa: float
    pump_efficiency: float
    tower_approach_k: float
    exchanger_approach_k: float
    coil_effectiveness: float
    dry_approach_k: float
    carnot_share: float
    most_cop: float
    evaporation_mj_per_kg: float
    evaporated_share: float
    concentration_cycles: float
    server_fan_share: float
    liquid_share: float = 0.0
    fans_removed: float = 0.0
    liquid_supply_c: float = 30.0
    loop_power_share: float = 0.0

    def __post_init__(self) -> None:
        for one in fields(self):
            value, (low, high) = getattr(self, one.name), _LIMITS[one.name]
            if not low <= value <= high:
                raise InvalidQuantity(one.name, f"{value:g}", f"it lies between {low:g} and {high:g}")


_SHARE, _EFFICIENCY, _RISE, _PRESSURE, _TEMPERATURE = (0.0, 1.0), (0.05, 1.0), (0.5, 60.0), (0.0, 5e6), (-10.0, 90.0)
_LIMITS: Mapping[str, tuple[float, float]] = {
    "ups_efficiency": _EFFICIENCY, "distribution_loss": (0.0, 0.5), "lighting": (0.0, 0.5), "fixed_loss_share": _SHARE,
    "flow_exponent": (1.0, 3.0), "supply_air_c": (5.0, 50.0), "air_rise_k": _RISE, "water_rise_k": _RISE,
    "tower_rise_k": _RISE, "hall_fan_pa": _PRESSURE, "hall_fan_efficiency": _EFFICIENCY, "outdoor_fan_pa": _PRESSURE,
    "outdoor_fan_efficiency": _EFFICIENCY, "liquid_to_air": (0.1, 10.0), "facility_pump_pa": _PRESSURE,
    "tower_pump_pa": _PRESSURE, "pump_efficiency": _EFFICIENCY, "tower_approach_k": (0.0, 30.0),
    "exchanger_approach_k": (0.0, 30.0), "coil_effectiveness": (0.1, 1.0), "dry_approach_k": (0.5, 40.0),
    "carnot_share": (0.05, 1.0), "most_cop": (1.0, 50.0), "evaporation_mj_per_kg": (2.2, 2.6),
    "evaporated_share": _SHARE, "concentration_cycles": (1.1, 50.0), "server_fan_share": (0.0, 0.6),
    "liquid_share": _SHARE, "fans_removed": _SHARE, "liquid_supply_c": _TEMPERATURE, "loop_power_share": (0.0, 0.5),
}  # fmt: skip


def plant_of(values: Mapping[str, float]) -> Plant:
    """A plant from its parameters by name.

    Raises:
        UsageError: a name that is none, or one that is missing.
        InvalidQuantity: a figure outside what it can be.
    """
    known = {one.name: one for one in fields(Plant)}
    if unknown := [name for name in values if name not in known]:
        raise UsageError(f"no parameter of cooling is called {unknown[0]!r}", f"There are {', '.join(known)}")
    if missing := [one.name for one in fields(Plant) if one.default is MISSING and one.name not in values]:
        raise UsageError(f"the parameter {missing[0]} has no figure", "Add it to the file of parameters")
    return Plant(**values)


@dataclass(frozen=True, slots=True)
class Year:
    """What a hall draws over the weather it was given.

    Attributes:
        it_j: what IT draws [J], server fans in it, as PUE counts it.
        compute_j: that without the server fans [J]: the same for every technology.
        facility_j: all at the gate [J].
        reused_j: heat handed on to others [J].
        water_l: water of the towers [L], what is let off included.
        peak_w: highest power at the gate [W].
        parts_j: facility energy by what draws it [J]; they sum to it.
    """

    it_j: float
    compute_j: float
    facility_j: float
    reused_j: float
    water_l: float
    peak_w: float
    parts_j: Mapping[str, float]

    @property
    def pue(self) -> float:
        """Facility over IT energy (ISO/IEC 30134-2)."""
        return self.facility_j / self.it_j

    @property
    def itue(self) -> float:
        """IT over computing energy (Patterson and others, ISC 2013)."""
        return self.it_j / self.compute_j

    @property
    def tue(self) -> float:
        """Facility over computing energy, ITUE x PUE (the same)."""
        return self.facility_j / self.compute_j

    @property
    def wue(self) -> float:
        """Water per IT energy [L/kWh] (ISO/IEC 30134-9)."""
        return self.water_l / (self.it_j / 3.6e6)

    @property
    def erf(self) -> float:
        """Reused over facility energy (ISO/IEC 30134-6)."""
        return self.reused_j / self.facility_j

    @property
    def ere(self) -> float:
        """Facility energy less what is reused, over IT energy: (1 - ERF) x PUE (The Green Grid, 2010)."""
        return (self.facility_j - self.reused_j) / self.it_j

    def mixed(self, other: Year, share: float) -> Year:
        """So much of `other`, the rest of this; peaks add up as if they came together."""
        keep = 1 - share

        def mix(name: str) -> float:
            one: float = getattr(self, name)
            two: float = getattr(other, name)
            return keep * one + share * two

        return Year(
            it_j=mix("it_j"),
            compute_j=mix("compute_j"),
            facility_j=mix("facility_j"),
            reused_j=mix("reused_j"),
            water_l=mix("water_l"),
            peak_w=mix("peak_w"),
            parts_j={part: keep * self.parts_j[part] + share * other.parts_j[part] for part in self.parts_j},
        )

    @property
    def facility(self) -> Energy:
        return Energy(self.facility_j)


def air_share(pressure_pa: float, efficiency: float, rise_k: float, air_c: float) -> float:
    """Fan power over the heat its air carries: pressure over density, heat capacity, rise and efficiency.

    >>> round(air_share(500, 0.775, 16.7, 27.0), 4)
    0.0325
    """
    return pressure_pa / (float(_density(np.asarray(air_c))) * _AIR_J_PER_KG_K * rise_k * efficiency)


def pump_share(pressure_pa: float, efficiency: float, rise_k: float) -> float:
    """Pump power over the heat its water carries.

    >>> round(pump_share(143658, 0.7, 7.5), 4)
    0.0065
    """
    return pressure_pa / (_WATER_KG_PER_M3 * _WATER_J_PER_KG_K * rise_k * efficiency)


def over_year(plant: Plant, weather: Weather, it: Power, rejection: Rejection, reuse: float = 0.0) -> Year:
    """What a hall draws.

    Args:
        it: IT power at full load under air, server fans included: the computing is the same whatever cools it.
        reuse: share of the heat of the warmest loop that is handed on, 0 to 1.

    Raises:
        InvalidQuantity: a power that is not above 0, or a share outside 0 to 1.
    """
    if not 0 < it.watts < _MOST_W:
        raise InvalidQuantity("IT power", f"{it.watts:g} W", "it is above 0, and below a terawatt")
    if not 0 <= reuse <= 1:
        raise InvalidQuantity("share of heat that is reused", f"{reuse:g}", "it lies between 0 and 1")
    load, fans = weather.load, plant.server_fan_share * (1 - plant.fans_removed)
    compute_w = it.watts * (1 - plant.server_fan_share) * load
    it_full_w = it.watts * (1 - plant.server_fan_share + fans)
    it_w = it_full_w * load
    electrical = 1 / plant.ups_efficiency - 1 + 1 / (1 - plant.distribution_loss) - 1
    losses_w = it_full_w * electrical * (plant.fixed_loss_share + (1 - plant.fixed_loss_share) * load)
    lighting_w = np.full_like(load, it_full_w * plant.lighting)
    heat_w = it_w + losses_w + lighting_w
    full_w = it_full_w * (1 + electrical + plant.lighting)
    # Fans and pumps slow down with the flow: to the cube by the affinity law, less where they work against a head.
    slower = (heat_w / full_w) ** (plant.flow_exponent - 1)
    liquid_w = plant.liquid_share * it_w
    air_w = heat_w - liquid_w
    reused_w = reuse * (liquid_w if plant.liquid_share > 0 else air_w)
    hall_w = air_share(plant.hall_fan_pa, plant.hall_fan_efficiency, plant.air_rise_k, plant.supply_air_c) * air_w
    pump_w = pump_share(plant.facility_pump_pa, plant.pump_efficiency, plant.water_rise_k) * heat_w
    loop_w = plant.loop_power_share * liquid_w
    out_c = (
        weather.wet_c + plant.tower_approach_k if rejection is Rejection.WET else weather.dry_c + plant.dry_approach_k
    )
    return_air_c = plant.supply_air_c + plant.air_rise_k
    air_water_c = return_air_c - plant.air_rise_k / plant.coil_effectiveness
    liquid_water_c = plant.liquid_supply_c - plant.exchanger_approach_k
    # What is reused leaves before it would be chilled; the warmest loop is the liquid one where there is one.
    to_air = air_w - (reused_w if plant.liquid_share == 0 else 0.0)
    to_liquid = liquid_w - (reused_w if plant.liquid_share > 0 else 0.0)
    chiller_w = _chiller(plant, to_air, air_water_c, out_c) + _chiller(plant, to_liquid, liquid_water_c, out_c)
    rejected_w = heat_w - reused_w + chiller_w
    outdoor_w = rejected_w * _outdoor_share(plant, weather, rejection)
    parts = {
        "computing": compute_w,
        "server fans": it_w - compute_w,
        "electrical losses": losses_w + lighting_w,
        "fans and pumps": (hall_w + pump_w + loop_w + outdoor_w) * slower,
        "chillers": chiller_w,
    }
    facility_w = np.sum(list(parts.values()), axis=0)
    water = 0.0
    if rejection is Rejection.WET:
        kept = plant.concentration_cycles / (plant.concentration_cycles - 1)
        water = float(rejected_w.sum()) * plant.evaporated_share / (plant.evaporation_mj_per_kg * 1e6) * kept
    seconds = weather.step_s
    return Year(
        it_j=float(it_w.sum()) * seconds,
        compute_j=float(compute_w.sum()) * seconds,
        facility_j=float(facility_w.sum()) * seconds,
        reused_j=float(reused_w.sum()) * seconds,
        water_l=water * seconds,
        peak_w=float(facility_w.max()),
        parts_j={name: float(power.sum()) * seconds for name, power in parts.items()},
    )


def _chiller(plant: Plant, heat_w: Floats, supply_c: float, out_c: Floats) -> Floats:
    """Compressor power [W] for what the economiser does not take.

    The economiser takes all while what comes from outdoors is cold enough for the supply, and a falling share up to
    the return temperature (Lei and Masanet, Energy 201 (2020) 117556).
    """
    come_c = out_c + plant.exchanger_approach_k
    free = np.clip((supply_c + plant.water_rise_k - come_c) / plant.water_rise_k, 0.0, 1.0)
    lift_k = np.maximum(out_c + plant.tower_rise_k - supply_c, _LEAST_LIFT_K)
    cop = np.minimum(plant.most_cop, plant.carnot_share * (supply_c + _ZERO_C) / lift_k)
    return heat_w * (1 - free) / cop


def _outdoor_share(plant: Plant, weather: Weather, rejection: Rejection) -> Floats:
    """Power of pumps and fans outdoors over the heat they give off."""
    pumps = pump_share(plant.tower_pump_pa, plant.pump_efficiency, plant.tower_rise_k)
    wet = rejection is Rejection.WET
    air_kg_per_j = (
        1 / (_WATER_J_PER_KG_K * plant.tower_rise_k * plant.liquid_to_air)
        if wet
        else 1 / (_AIR_J_PER_KG_K * plant.dry_approach_k)
    )
    fans = air_kg_per_j * plant.outdoor_fan_pa / (_density(weather.dry_c) * plant.outdoor_fan_efficiency)
    return pumps + fans


def _density(air_c: Floats) -> Floats:
    return _AIR_KG_PER_M3 * _ZERO_C / (_ZERO_C + air_c)
