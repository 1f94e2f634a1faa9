"""Energy, money, carbon and water of work that has not run yet: device hours x watts, and what the place adds.

Whatever is not known stays missing and says why: without a PUE there is no energy of the facility and therefore no
carbon and no money, without a figure of the site's water there is none.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from outweigh.core.constants import J_PER_KWH, S_PER_HOUR
from outweigh.core.errors import InvalidQuantity
from outweigh.core.measurement import Grade, Method, Missing
from outweigh.core.quantities import CarbonScope, Energy, LocationCarbon, Money
from outweigh.data.hardware import Device
from outweigh.whatif.estimating.learning import LEARNED, Learned
from outweigh.whatif.estimating.ranges import Propagated, Ranged, propagate
from outweigh.whatif.estimating.work import ARITHMETIC, MEMORY, DeviceHours, Rates, Serving, Work

POWER, PUE, INTENSITY, PRICE, WUE = "power", "PUE", "carbon intensity", "price", "WUE"
TDP_DOUBT = 0.30
"""A rated power is ± 30 % of what is drawn until somebody measures: estimates from the rating were 27 to 37 % off on
8-GPU nodes (Newkirk et al., arXiv 2506.14551, 2025)."""

TRAINING_REACHED = (0.138, 0.292, 0.462)
"""Share of the dense arithmetic that published trainings reached over all their device hours, 6 x parameters x tokens
each: Llama 3.1 8B 13.8 %, 70B 25.3 %, 405B 33.2 % (model card, 15e12 tokens), Llama 2 7B 40.5 %, 13B 37.7 %, 34B 35.0
%, 70B 43.5 % (arXiv 2307.09288, 2e12 tokens), GPT-3 24.6 of 125 TFLOP/s (arXiv 2104.10350, table 4). The middle is
their geometric mean; the upper end is what PaLM held while it ran, 46.2 % (arXiv 2204.02311, table 3)."""

SERVING_REACHED = (0.2, 0.7)
MEMORY_REACHED = (0.25, 0.85)
"""Of serving: conventions of ours, wide until a receipt narrows them. Tuned servers are said to reach 60 to 85 % of the
memory's bandwidth."""

#: How a published family's energy divides; named in notes, never applied unless asked for.
DEVELOPMENT_SEEN = "82.2 % of the compute of Olmo 3 went into development (Morrison et al., arXiv 2605.01158, 2026)"
IDLE_SEEN = "BLOOM's idle nodes drew 59 % of its dynamic energy on top (Luccioni et al., arXiv 2211.02001, 2022)"
NODE_SEEN = "an 8-GPU H100 node drew up to 8.4 kW, 1.5 times its boards' rating (Latif et al., IEEE Access 13, 2025)"


@dataclass(frozen=True, slots=True)
class Place:
    """Where the work runs. Each is a range, or missing with the reason.

    Attributes:
        intensity: [gCO2e/kWh], location-based, of `scope`.
        price: [currency/kWh].
        wue: litres of water at the site per kWh of IT energy [L/kWh] (ISO/IEC 30134-9), without that of power plants.
    """

    pue: Ranged | Missing
    intensity: Ranged | Missing
    price: Ranged | Missing
    wue: Ranged | Missing
    scope: CarbonScope = CarbonScope.LIFECYCLE
    currency: str = ""


@dataclass(frozen=True, slots=True)
class Figure:
    """One result, or why there is none. `result` is in the unit that `unit` names."""

    name: str
    unit: str
    result: Propagated | Missing
    grade: Grade

    @property
    def known(self) -> Propagated:
        """Raises InvalidQuantity where it is missing."""
        if isinstance(self.result, Missing):
            raise InvalidQuantity(self.name, "missing", self.result.reason)
        return self.result


@dataclass(frozen=True, slots=True)
class Estimate:
    """What one way of doing the work takes.

    Attributes:
        device_s: device seconds.
        it_energy: of the accelerators, and of what a host factor, hum and development add [J]; no PUE.
        facility_energy: with PUE [J].
        carbon: [gCO2e], location-based, in `scope`; money in `currency`; water at the site [L].
        inputs: every input with its range, grade and source.
    """

    device: str
    method: Method
    grade: Grade
    device_s: Figure
    it_energy: Figure
    facility_energy: Figure
    carbon: Figure
    money: Figure
    water: Figure
    scope: CarbonScope
    currency: str
    inputs: tuple[Ranged, ...]
    notes: tuple[str, ...]

    @property
    def energy(self) -> Energy:
        """IT energy, central."""
        return Energy(self.it_energy.known.value)

    @property
    def location_carbon(self) -> LocationCarbon:
        return LocationCarbon(self.carbon.known.value, self.scope)

    @property
    def cost(self) -> Money:
        return Money(self.money.known.value, self.currency)


def power_of(device: Device) -> Ranged:
    """The rated power ± 30 %."""
    ends = (device.rated_w * (1 - TDP_DOUBT), device.rated_w * (1 + TDP_DOUBT))
    source = f"rated power of {device.name}, ± 30 % until calibrated ({device.source}, {device.year})"
    return Ranged(POWER, device.rated_w, *ends, "W", source, Grade.D)


def utilisation_of(work: Work, declared: Ranged | None = None) -> tuple[Ranged, ...]:
    """What share of the device's best the work reaches: as declared, or what was published, or a convention.

    Raises:
        InvalidQuantity: a share above 1: no work is faster than the roofline.
    """
    serving = isinstance(work, Serving)
    usual: dict[str, tuple[tuple[float, ...], str]] = {
        ARITHMETIC: (
            SERVING_REACHED if serving else TRAINING_REACHED,
            "a convention, not a measurement" if serving else "what nine published trainings reached",
        ),
        MEMORY: (MEMORY_REACHED, "a convention, not a measurement"),
    }
    found = []
    for name in work.reaches:
        if declared is not None:
            one = Ranged(name, declared.central, declared.low, declared.high, "1", declared.source, declared.grade)
        else:
            ends, source = usual[name]
            low, middle, high = (
                ends if len(ends) == len(TRAINING_REACHED) else (ends[0], math.sqrt(math.prod(ends)), ends[1])
            )
            one = Ranged(name, middle, low, high, "1", source, Grade.D)
        found.append(one.at_most(1.0, "nothing is done faster than the device can: at most 1"))
    return tuple(found)


def estimate(
    work: Work,
    device: str,
    rates: Rates,
    power: Ranged,
    reached: Sequence[Ranged],
    place: Place,
    *,
    overheads: Mapping[str, float] | None = None,
    learned: Learned | None = None,
) -> Estimate:
    """What the work takes on that device at that place.

    Args:
        power: of one device while it works [W].
        overheads: name -> factor on IT energy, 1 or more: the rest of the node, the hum, development. None is on by
            itself.
        learned: what receipts of such work said; its range then stands for those of power and utilisation.

    Raises:
        InvalidQuantity: a factor below 1.
        UsageError: a rate of the device is missing.
    """
    overheads = dict(overheads or {})
    for name, factor in overheads.items():
        if not 1 <= factor < float("inf"):
            raise InvalidQuantity(name, f"{factor:g}", "an overhead adds to the energy: a factor of 1 or more")
    factor = 1.0
    for one in overheads.values():
        factor *= one
    inputs = [power, *reached]
    notes: list[str] = []
    if learned is not None:
        inputs, note = learned.in_place_of(inputs)
        notes.append(note)

    def device_s(x: Mapping[str, float]) -> float:
        return work.device_s(rates, x)

    def it_j(x: Mapping[str, float]) -> float:
        return device_s(x) * x[POWER] * factor * x.get(LEARNED, 1.0)

    method = Method.DECLARED if isinstance(work, DeviceHours) else Method.MODELLED
    grade = Grade.worst(one.grade for one in inputs) if learned is None else learned.grade
    # Receipts tell energy, not time: what they teach of watts and utilisation together narrows no device hours.
    busy_grade = Grade.worst(one.grade for one in reached) if reached else Grade.D
    of_place = {PUE: place.pue, INTENSITY: place.intensity, PRICE: place.price, WUE: place.wue}
    known = {name: one for name, one in of_place.items() if isinstance(one, Ranged)}
    notes += _notes(work, overheads, [*inputs, *known.values()])

    def figure(name: str, unit: str, needs: Sequence[str], scale: float) -> Figure:
        lacking = [one for one in needs if one not in known]
        if lacking:
            missing = of_place[lacking[0]]
            reason = missing.reason if isinstance(missing, Missing) else ""
            return Figure(name, unit, Missing(name, reason), grade)
        of = [*inputs, *(known[one] for one in needs)]

        def result(x: Mapping[str, float]) -> float:
            value = it_j(x) / scale
            for need in needs:
                value *= x[need]
            return value

        return Figure(name, unit, propagate(result, of), Grade.worst([grade, *(known[one].grade for one in needs)]))

    return Estimate(
        device=device,
        method=method,
        grade=grade,
        device_s=Figure("device time", "s", propagate(device_s, reached), busy_grade),
        it_energy=figure("IT energy", "J", (), 1.0),
        facility_energy=figure("facility energy", "J", (PUE,), 1.0),
        carbon=figure("carbon", "gCO2e", (PUE, INTENSITY), J_PER_KWH),
        money=figure("money", place.currency, (PUE, PRICE), J_PER_KWH),
        water=figure("water", "L", (WUE,), J_PER_KWH),
        scope=place.scope,
        currency=place.currency,
        inputs=(*inputs, *known.values()),
        notes=tuple(notes),
    )


def _notes(work: Work, overheads: Mapping[str, float], inputs: Sequence[Ranged]) -> list[str]:
    notes = [f"{name}: factor {factor:g} on IT energy, as asked" for name, factor in overheads.items()]
    if "host" not in overheads:
        notes.append(f"the accelerators alone: --host adds the rest of the node ({NODE_SEEN})")
    if "idle" not in overheads:
        notes.append(f"no hum: --idle adds it ({IDLE_SEEN})")
    if "development" not in overheads and not isinstance(work, Serving):
        notes.append(f"this run alone: --development adds what led to it ({DEVELOPMENT_SEEN})")
    if isinstance(work, Serving) and work.kv_bytes_per_token is None:
        notes.append("reading the cache of the context is left out: give --kv-bytes-per-token")
    if any(one.name == PRICE for one in inputs):
        notes.append("money is that of electricity: devices are neither bought nor hired here")
    if exact := [one.name for one in inputs if one.low == one.high and one.source == "declared"]:
        notes.append(f"declared without a range, and taken as exact: {', '.join(exact)}")
    return notes


def hours(figure: Figure) -> float:
    """Device hours, central."""
    return figure.known.value / S_PER_HOUR
