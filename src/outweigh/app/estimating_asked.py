"""What `outweigh estimate` was told, as written, into work, a device and a place."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from outweigh.core.errors import FactorMissing, InvalidQuantity, UsageError
from outweigh.core.intervals import Interval
from outweigh.core.measurement import Grade, Missing
from outweigh.core.quantities import CarbonScope
from outweigh.core.rates import parse_intensity, parse_price
from outweigh.data.hardware import Device, devices, nearest_devices
from outweigh.whatif.estimating.estimate import INTENSITY, POWER, PRICE, PUE, WUE, Place, power_of
from outweigh.whatif.estimating.ranges import Ranged
from outweigh.whatif.estimating.work import DeviceHours, Rates, Serving, Training, Work

if TYPE_CHECKING:
    from outweigh.grid import Answer

DECLARED = "declared"
_COUNTS = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "B": 1e9, "G": 1e9, "T": 1e12}
_MOST = 1e30  # of anything that is counted: products of three counts and a device's rate stay within a float
_ENDS, _WITH_MIDDLE = 2, 3  # parts of low:high, of low:central:high
_YEAR = timedelta(days=365)


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line was told, as written; empty text is not given."""

    devices: tuple[str, ...] = ()
    parameters: str = ""
    active: str = ""
    tokens: str = ""
    requests: str = ""
    prompt: str = ""
    output: str = ""
    batch: float = 1.0
    weight_bytes: float = 2.0
    kv_bytes: float | None = None
    recompute: float = 0.0
    device_hours: str = ""
    watts: str = ""
    tflops: float | None = None
    memory_gb_s: float | None = None
    utilisation: str = ""
    host: float | None = None
    idle: str = ""
    development: str = ""
    zone: str = ""
    region: str = ""
    pue: str = ""
    wue: str = ""
    intensity: str = ""
    intensity_scope: str = "lifecycle"
    price: str = ""
    tariff: Path | None = None
    start: str = ""
    count: int | None = None
    file: Path | None = None
    fresh: bool = False
    ledger: Path | None = None
    reconcile: tuple[str, ...] = ()
    parts: bool = False
    keep: bool = True


def parse_count(text: str, what: str) -> float:
    """
    >>> parse_count("8B", "parameters"), parse_count("15.6T", "tokens"), parse_count("1e6", "requests")
    (8000000000.0, 15600000000000.0, 1000000.0)
    """
    said = text.strip().replace("_", "")
    unit = said[-1:] if said[-1:].isalpha() else ""
    try:
        value = float(said[: len(said) - len(unit)])
    except ValueError:
        value = math.nan
    if unit not in _COUNTS or not 0 <= value <= _MOST:
        raise InvalidQuantity(
            what, repr(text), "write a count such as 8B, 15.6T or 2e12: 0 to 1e30, more is beyond any computer"
        )
    return value * _COUNTS[unit]


def parse_range(text: str, name: str, unit: str) -> Ranged:
    """A figure, its two ends, or ends with the middle between them.

    >>> parse_range("0.3:0.45", "utilisation", "1").low, parse_range("1.1", "PUE", "1").high
    (0.3, 1.1)
    """
    try:
        ends = [float(part) for part in text.split(":")]
    except ValueError:
        ends = []
    if not 1 <= len(ends) <= _WITH_MIDDLE or not all(math.isfinite(end) for end in ends):
        raise InvalidQuantity(name, repr(text), "write one figure, low:high, or low:central:high")
    if len(ends) == _ENDS:
        return Ranged.between(name, ends[0], ends[1], unit, DECLARED, Grade.D)
    return Ranged(name, ends[len(ends) // 2], ends[0], ends[-1], unit, DECLARED, Grade.D)


def check_belongs(asked: Asked) -> None:
    """Refuse what would be read and then left out of the answer.

    Raises:
        UsageError: an option that belongs to another that was not given.
    """
    if asked.tariff is None and (asked.start or asked.count is not None):
        raise UsageError("--start and --count say when a run is billed, and no tariff is given", "Add --tariff FILE")
    if not asked.reconcile and asked.parts:
        raise UsageError("--parts says what receipts are, and none is given", "Add --reconcile RECEIPT")
    if asked.device_hours and asked.utilisation:
        raise UsageError(
            "the power of declared hours does not follow from --utilisation", "Leave it out, or give --watts"
        )


def work_of(asked: Asked) -> Work:
    kinds = [
        name
        for name, given in (
            ("--tokens", asked.tokens), ("--requests", asked.requests), ("--device-hours", asked.device_hours),
        )
        if given
    ]  # fmt: skip
    if len(kinds) != 1:
        problem = (
            "nothing says how much work it is" if not kinds else f"{' and '.join(kinds)} are different kinds of work"
        )
        raise UsageError(
            problem, "Give --parameters and --tokens (training), --requests (serving), or --device-hours"
        )  # fmt: skip
    if asked.device_hours:
        return DeviceHours(parse_count(asked.device_hours, "device hours"))
    if not asked.parameters:
        raise UsageError("the size of the model is not known", "Add --parameters 8B")
    parameters = parse_count(asked.parameters, "parameters")
    active = parse_count(asked.active, "active parameters") if asked.active else None
    if asked.tokens:
        if active is not None and not 0 < active <= parameters:
            raise InvalidQuantity("active parameters", asked.active, "above 0, and at most all of them")
        used = parameters if active is None else active
        return Training(used, parse_count(asked.tokens, "tokens"), asked.recompute)
    if not asked.output:
        raise UsageError("the length of an answer is not known", "Add --output-tokens 300, and --prompt-tokens")
    return Serving(
        parameters, parse_count(asked.requests, "requests"), parse_count(asked.prompt or "0", "prompt tokens"),
        parse_count(asked.output, "output tokens"), asked.batch, active, asked.weight_bytes, asked.kv_bytes,
    )  # fmt: skip


def device_of(asked: Asked, name: str) -> tuple[Rates, Ranged]:
    """What a device does at best, and what it draws.

    Raises:
        UsageError: the table lacks it, with the nearest keys, and no watts were given.
    """
    found = devices().get(name)
    if asked.watts:
        return _rates(asked, found), parse_range(asked.watts, POWER, "W")
    if found is None:
        remedy = f"{nearest_devices(name)} Or give --watts (with --tflops, and --memory-gb-s to serve)"
        raise UsageError(f"the hardware table has no device {name!r}", remedy)
    return _rates(asked, found), power_of(found)


def _rates(asked: Asked, found: Device | None) -> Rates:
    for name, value in (("TFLOP/s", asked.tflops), ("memory bandwidth", asked.memory_gb_s)):
        if value is not None and not (math.isfinite(value) and value > 0):
            raise InvalidQuantity(name, f"{value:g}", "give a figure above 0")
    flop = 1e12 * asked.tflops if asked.tflops is not None else None if found is None else found.flop_per_s
    memory = 1e9 * asked.memory_gb_s if asked.memory_gb_s is not None else None if found is None else found.bytes_per_s
    return Rates(flop, memory)


def overheads_of(asked: Asked) -> dict[str, float]:
    from outweigh.core.units import parse_share

    found: dict[str, float] = {}
    if asked.host is not None:
        found["host"] = asked.host
    if asked.idle:
        share = parse_share(asked.idle)
        if not (math.isfinite(share) and share >= 0):
            raise InvalidQuantity("hum", asked.idle, "what it adds to the energy at work: 59% or 0.59")
        found["idle"] = 1 + share
    if asked.development:
        share = parse_share(asked.development)
        if not 0 <= share < 1:
            raise InvalidQuantity("development", asked.development, "its share of the whole: 0 to below 1, such as 82%")
        found["development"] = 1 / (1 - share)
    return found


def place_of(asked: Asked, now: datetime) -> tuple[Place, list[str]]:
    notes: list[str] = []
    zone = asked.zone or asked.region
    if zone and asked.file is None:
        from outweigh.grid.zones import find_zone

        find_zone(zone)  # a slip is refused, even where all that it would be looked up for is declared
    pue = _pue(asked)
    intensity, scope = _intensity(asked, zone, now, notes)
    price, currency = _price(asked, zone, now, notes)
    return Place(pue, intensity, price, _wue(asked), scope, currency), notes


def _pue(asked: Asked) -> Ranged | Missing:
    if asked.pue:
        return parse_range(asked.pue, PUE, "1").at_least(
            1, "a facility draws at least what its machines draw: 1 or more"
        )
    if not asked.region:
        return Missing(PUE, "no PUE: give --pue 1.1:1.4, or --region aws:eu-central-1 for its published one")
    from outweigh.grid import site_factors

    try:
        value, factor = site_factors().pue(asked.region)
    except FactorMissing as err:
        return Missing(PUE, f"no PUE: {err}")
    # A yearly mean of a region; of how much its months and buildings differ from it nothing is published.
    return Ranged.exactly(PUE, value, "1", f"{factor.source}, {factor.issued}, a yearly mean", factor.grade)


def _wue(asked: Asked) -> Ranged | Missing:
    if asked.wue:
        return parse_range(asked.wue, WUE, "L/kWh")
    if asked.region:
        from outweigh.data.places import cloud_regions

        row = cloud_regions().get(asked.region)
        if row is not None and "WUE" in row.factors:
            value, known = row.factors["WUE"]
            if value > 0:
                return Ranged.exactly(WUE, value, "L/kWh", f"{known.source}, {known.year}", known.grade)
    return Missing(
        WUE, "no WUE is published for it: give --wue 0.18" if asked.region else "no WUE: give --wue, or --region"
    )


def _intensity(asked: Asked, zone: str, now: datetime, notes: list[str]) -> tuple[Ranged | Missing, CarbonScope]:
    if asked.intensity:
        value = parse_intensity(asked.intensity)
        scope = CarbonScope(asked.intensity_scope)
        if value <= 0:
            raise InvalidQuantity(INTENSITY, asked.intensity, "give a figure above 0")
        return Ranged.exactly(INTENSITY, value, "gCO2e/kWh", DECLARED, Grade.D), scope
    if not zone:
        return Missing(INTENSITY, "no grid zone: give --zone DE, --region, or --intensity"), CarbonScope.LIFECYCLE
    from outweigh.grid import resolve_carbon

    answer = resolve_carbon(zone, _window(now), _sources(asked))
    notes += [f"carbon: {text}" for text in answer.notes]
    return _answered(INTENSITY, answer, "gCO2e/kWh", "carbon intensity", now), answer.series.meaning.scope


def _price(asked: Asked, zone: str, now: datetime, notes: list[str]) -> tuple[Ranged | Missing, str]:
    if asked.price and asked.tariff is not None:
        raise UsageError("--price and --tariff both say what power costs", "Give one of them")
    if asked.tariff is not None:
        return Missing(PRICE, "the tariff is billed below"), ""
    if asked.price:
        price = parse_price(asked.price)
        if price.amount_per_kwh <= 0:
            raise InvalidQuantity(PRICE, asked.price, "give a price above 0; a market's is billed with --tariff")
        unit = f"{price.currency}/kWh"
        return Ranged.exactly(PRICE, price.amount_per_kwh, unit, DECLARED, Grade.D), price.currency
    if not zone:
        return Missing(PRICE, 'no price: give --price "0.15 EUR/kWh", --tariff, --zone or --region'), ""
    from outweigh.grid import resolve_prices

    try:
        answer = resolve_prices(zone, _window(now), _sources(asked))
    except FactorMissing as err:
        return Missing(PRICE, f"no price: {err}"), ""
    notes += [f"price: {text}" for text in answer.notes]
    currency = answer.series.meaning.currency
    return _answered(PRICE, answer, f"{currency}/kWh", "price", now), currency


def _window(now: datetime) -> Interval:
    return Interval(now, now + _YEAR)


def _sources(asked: Asked) -> Any:
    from outweigh.grid import Sources, open_source

    return Sources() if asked.file is None else Sources(files=(open_source(f"file:{asked.file}"),))


def _answered(name: str, answer: Answer[Any], unit: str, quantity: str, now: datetime) -> Ranged:
    """A looked-up mean, as wide as such means have been off for a year as far away (docs/data.md)."""
    from outweigh.data.tables import factor_drift

    factor = answer.series.factor()
    value = factor.value
    if value <= 0:
        raise FactorMissing(quantity, answer.zone.key, (), "Its mean is not above 0; declare one")
    source = f"{factor.source}, {factor.issued or answer.level} ({answer.level})"
    vintage = answer.series.origin.vintage[:4]
    if not vintage.isdigit():
        return Ranged.exactly(name, value, unit, source, factor.grade)
    lags = [lag for what, lag in factor_drift() if what == quantity and lag > 0]
    lag = min(max(now.year - int(vintage), min(lags)), max(lags))
    off = math.exp(2 * factor_drift()[quantity, lag].value)
    return Ranged(
        name,
        value,
        value / off,
        value * off,
        unit,
        f"{source}; its drift over {lag} year{'s' * (lag != 1)}",
        factor.grade,
    )
