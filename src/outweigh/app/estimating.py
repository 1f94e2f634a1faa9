"""`outweigh estimate`: what was typed into work, a device and a place; estimates into rows; receipts back into them."""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from outweigh.core.errors import FactorMissing, InvalidQuantity, UnusableMeasurement, UsageError
from outweigh.core.intervals import Interval
from outweigh.core.measurement import Grade, Missing
from outweigh.core.quantities import CarbonScope
from outweigh.core.rates import parse_intensity, parse_price
from outweigh.core.rounding import plus_minus, si_prefix, significant
from outweigh.data.hardware import Device, devices
from outweigh.whatif.estimating.estimate import (
    INTENSITY,
    POWER,
    PRICE,
    PUE,
    WUE,
    Estimate,
    Figure,
    Place,
    estimate,
    power_of,
    utilisation_of,
)
from outweigh.whatif.estimating.learning import Learned, Observation, Reconciled, learned_factor, reconcile
from outweigh.whatif.estimating.ranges import METHOD, Propagated, Ranged
from outweigh.whatif.estimating.work import DeviceHours, Rates, Serving, Training, Work

if TYPE_CHECKING:
    from outweigh.core.receipt import Receipt
    from outweigh.grid import Answer

SCHEMA = "outweigh.estimate/1"
DECLARED = "declared"
_COUNTS = {"": 1.0, "k": 1e3, "K": 1e3, "M": 1e6, "B": 1e9, "G": 1e9, "T": 1e12}
_PARTS = 3  # of low:central:high
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


@dataclass(frozen=True, slots=True)
class Estimated:
    """Rows as JSON, tables as people read them, and notes."""

    documents: list[dict[str, Any]]
    tables: list[tuple[str, tuple[str, ...], list[tuple[str, ...]]]]
    lines: list[str]
    notes: list[str]


def estimated(asked: Asked, now: datetime | None = None) -> Estimated:
    """The estimate that was asked for, and its reconciliation with receipts where some were named.

    Raises:
        UsageError, InvalidQuantity: what was asked cannot be estimated.
        UnknownZone, FactorMissing: a place that nobody knows.
        UnusableMeasurement, LedgerError: receipts that do not fit.
    """
    now = now or datetime.now(UTC)
    work = _work(asked)
    names: tuple[str, ...] = asked.devices or ("declared device",)
    if asked.reconcile and len(names) > 1:
        raise UsageError("receipts are of one device", "Name one --device with --reconcile")
    if not asked.devices and not asked.watts:
        raise UsageError("nothing says what draws the power", "Name a --device (nvidia-h100-sxm), or give --watts")
    place, place_notes = _place(asked, now)
    rows = [_one(asked, work, name, place) for name in names]
    priced = [_with_tariff(asked, row) for row in rows]
    notes = [*dict.fromkeys(note for row in priced for note in row.notes), *place_notes]
    notes.append(f"intervals hold about 95 %: {METHOD}")
    documents = [_document(row, work) for row in priced]
    tables = [_table(row, work) for row in priced]
    if len(priced) > 1:
        tables = [_compared(priced)]
    lines: list[str] = []
    if asked.reconcile:
        found, learned, kept = _reconciled(asked, work, names[0], place, priced[0], now)
        documents.append(_reconciled_document(found, learned, kept))
        lines += _reconciled_lines(found, learned, kept)
    return Estimated(documents, tables, lines, notes)


# --- what was typed ------------------------------------------------------------------------------------


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
    if unit not in _COUNTS or not math.isfinite(value) or value < 0:
        raise InvalidQuantity(what, repr(text), "write a count such as 8B, 15.6T or 2e12: 0 or more, and finite")
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
    if not 1 <= len(ends) <= _PARTS or not all(math.isfinite(end) for end in ends):
        raise InvalidQuantity(name, repr(text), "write one figure, low:high, or low:central:high")
    if len(ends) == 2:
        return Ranged.between(name, *ends, unit, DECLARED, Grade.D)
    return Ranged(name, ends[len(ends) // 2], ends[0], ends[-1], unit, DECLARED, Grade.D)


def _work(asked: Asked) -> Work:
    kinds = [
        name
        for name, given in (
            ("--tokens", asked.tokens), ("--requests", asked.requests), ("--device-hours", asked.device_hours),
        )
        if given
    ]  # fmt: skip
    if len(kinds) != 1:
        problem = "nothing says how much work it is" if not kinds else f"{' and '.join(kinds)} are different kinds of work"
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


def _one(asked: Asked, work: Work, name: str, place: Place, *, learn: bool = True) -> Estimate:
    found = devices().get(name)
    if found is None and not asked.watts:
        near = difflib.get_close_matches(name, devices(), n=3, cutoff=0.4)
        known = f"did you mean {', '.join(near)}?" if near else f"known: {', '.join(devices())}"
        remedy = f"{known[0].upper()}{known[1:]} Or give --watts (with --tflops, and --memory-gb-s to serve)"
        raise UsageError(f"the hardware table has no device {name!r}", remedy)
    power = parse_range(asked.watts, POWER, "W") if asked.watts else power_of(_there(found))
    declared = parse_range(asked.utilisation, "utilisation", "1") if asked.utilisation else None
    overheads = _overheads(asked)
    learned = None
    if learn and not asked.fresh and not asked.watts:
        learned = learned_factor(_seen(_key(name, work, overheads)))
    return estimate(
        work, name, _rates(asked, found), power, utilisation_of(work, declared), place, overheads=overheads,
        learned=learned,
    )  # fmt: skip


def _there(found: Device | None) -> Device:
    if found is None:
        raise UsageError("nothing says what draws the power", "Name a --device, or give --watts")
    return found


def _rates(asked: Asked, found: Device | None) -> Rates:
    for name, value in (("TFLOP/s", asked.tflops), ("memory bandwidth", asked.memory_gb_s)):
        if value is not None and not (math.isfinite(value) and value > 0):
            raise InvalidQuantity(name, f"{value:g}", "give a figure above 0")
    flop = 1e12 * asked.tflops if asked.tflops is not None else None if found is None else found.flop_per_s
    memory = 1e9 * asked.memory_gb_s if asked.memory_gb_s is not None else None if found is None else found.bytes_per_s
    return Rates(flop, memory)


def _overheads(asked: Asked) -> dict[str, float]:
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


# --- the place -----------------------------------------------------------------------------------------


def _place(asked: Asked, now: datetime) -> tuple[Place, list[str]]:
    notes: list[str] = []
    zone = asked.zone or asked.region
    pue = _pue(asked)
    intensity, scope = _intensity(asked, zone, now, notes)
    price, currency = _price(asked, zone, now, notes)
    return Place(pue, intensity, price, _wue(asked), scope, currency), notes


def _pue(asked: Asked) -> Ranged | Missing:
    if asked.pue:
        return parse_range(asked.pue, PUE, "1").at_least(1, "a facility draws at least what its machines draw: 1 or more")
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
    return Missing(WUE, "no WUE is published for it: give --wue 0.18" if asked.region else "no WUE: give --wue, or --region")


def _intensity(
    asked: Asked, zone: str, now: datetime, notes: list[str]
) -> tuple[Ranged | Missing, CarbonScope]:
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
    return Ranged(name, value, value / off, value * off, unit, f"{source}; its drift over {lag} years", factor.grade)


def _with_tariff(asked: Asked, row: Estimate) -> Estimate:
    """The money of a run that a tariff file bills: the whole bill of the run alone, per kWh, on the estimate's energy."""
    if asked.tariff is None:
        return row
    if not asked.start or not asked.count:
        raise UsageError("a tariff needs to know when, and how many devices", "Add --start 2026-03-02T09:00 --count 512")
    if isinstance(row.facility_energy.result, Missing):
        return replace(row, money=replace(row.money, result=row.facility_energy.result))
    from outweigh.app.whatif_tariff import moment
    from outweigh.config.tariffs import load_tariff
    from outweigh.core.quantities import Power
    from outweigh.whatif.tariff import Load, bill

    tariff = load_tariff(asked.tariff)
    energy = row.facility_energy.known
    seconds = row.device_s.known.value / asked.count
    if seconds <= 0:
        nothing = Propagated(0.0, energy.bounds, {})
        return replace(row, money=Figure("money", tariff.currency, nothing, Grade.D), currency=tariff.currency)
    start = moment(asked.start, tariff.timezone).astimezone(UTC)
    hours = max(1, math.ceil(seconds / 3600))
    power = Power(energy.value / (hours * 3600))
    start = start.replace(minute=0, second=0, microsecond=0)
    found = bill(tariff, Load.flat(power, start, start + timedelta(hours=hours)))
    per_j = float(found.total) / energy.value
    ends = replace(energy.bounds, low=energy.bounds.low * per_j, high=energy.bounds.high * per_j)
    money = Propagated(float(found.total), ends, {})
    told = (
        f"money: the bill of this run alone under {asked.tariff.name}, fixed charges and demand with it; what it adds "
        "to a site's bill: `outweigh whatif tariff marginal`"
    )
    return replace(
        row, money=Figure("money", tariff.currency, money, Grade.worst([row.grade, Grade.D])),
        currency=tariff.currency, notes=(*row.notes, told),
    )  # fmt: skip


# --- receipts ------------------------------------------------------------------------------------------


def _key(device: str, work: Work, overheads: Mapping[str, float]) -> str:
    kind = {Training: "training", Serving: "serving", DeviceHours: "hours"}[type(work)]
    more = "".join(f" {name}={factor:.6g}" for name, factor in sorted(overheads.items()) if name != "development")
    return f"{device} {kind}{more}"


def _seen(key: str) -> list[Observation]:
    from outweigh.data.learned import kept_rows

    return [
        Observation(row.receipts, row.ratio, row.relative, row.grade, row.scope, row.at)
        for row in kept_rows()
        if row.key == key
    ]


def _reconciled(
    asked: Asked, work: Work, name: str, place: Place, row: Estimate, now: datetime
) -> tuple[Reconciled, Learned | None, str]:
    from outweigh.core.measurement import utc
    from outweigh.data.learned import Row, keep_row

    if asked.development:
        raise UsageError("receipts are of one run, and --development is of what led to it", "Leave it out to reconcile")
    plain = _one(asked, work, name, place, learn=False)
    prior = plain.energy.joules
    receipts = list(_receipts(asked))
    groups = [receipts] if asked.parts else [[one] for one in receipts]
    seen = [_observation(group, prior, utc(now)) for group in groups]
    found = reconcile(row.energy.joules, row.it_energy.known.bounds, prior, seen)
    learned, kept = None, ""
    if asked.watts:
        return found, learned, "declared watts are kept as declared: nothing is learned"
    if asked.keep:
        key = _key(name, work, _overheads(asked))
        for one in seen:
            where = keep_row(Row(key, one.receipts, one.ratio, one.relative, one.grade, one.scope, one.at))
            kept = f"kept in {where}"
        learned = learned_factor(_seen(key))
    return found, learned, kept


def _receipts(asked: Asked) -> Iterator[tuple[str, Receipt]]:
    from outweigh.app.files import opened

    addresses = [text for text in asked.reconcile if not Path(text).is_file()]
    for text in asked.reconcile:
        if text not in addresses:
            yield _from_file(Path(text))
    if addresses:
        with opened(asked.ledger) as store:
            for text in addresses:
                receipt = store.get(text)
                yield receipt.content_hash, receipt


def _from_file(path: Path) -> tuple[str, Receipt]:
    from outweigh.core.receipt import Receipt

    remedy = "Name a receipt as `outweigh ledger show --json` prints it, or its address in the ledger"
    try:
        body = json.loads(path.read_text(encoding="utf-8"))
        receipt = Receipt.from_dict(body.get("receipt", body))
    except OSError as err:
        raise UsageError(f"{path} cannot be read ({err.strerror})", remedy) from err
    except (ValueError, KeyError, TypeError, AttributeError) as err:
        raise UsageError(f"{path} is no receipt ({type(err).__name__}: {err})", remedy) from err
    return receipt.content_hash, receipt


def _observation(group: Sequence[tuple[str, Receipt]], prior: float, at: str) -> Observation:
    from outweigh.core.receipt import RunStatus

    for address, receipt in group:
        if receipt.status is not RunStatus.COMPLETED:
            raise UnusableMeasurement(
                f"receipt {address[:8]}", f"its run {receipt.status}", "Reconcile runs that went to their end"
            )
    scopes = {receipt.total.scope for _, receipt in group}
    if len(scopes) > 1:
        raise UnusableMeasurement("the reconciliation", "its receipts see different scopes", "Take one meter's")
    measured = sum(receipt.total.value.joules for _, receipt in group)
    doubt = math.sqrt(sum(receipt.total.standard_uncertainty.joules**2 for _, receipt in group))
    if measured <= 0 or prior <= 0:
        raise UnusableMeasurement("the reconciliation", "there is no energy to compare", "Name receipts of the run")
    return Observation(
        tuple(address for address, _ in group), measured / prior, doubt / measured,
        Grade.worst(receipt.grade for _, receipt in group), str(scopes.pop()), at,
    )  # fmt: skip


# --- answers -------------------------------------------------------------------------------------------

_KEYS = {"J": "j", "gCO2e": "g", "L": "litres", "s": "s"}


def _figures(row: Estimate) -> tuple[Figure, ...]:
    return row.device_s, row.it_energy, row.facility_energy, row.carbon, row.money, row.water


def _document(row: Estimate, work: Work) -> dict[str, Any]:
    body: dict[str, Any] = {
        "schema": SCHEMA,
        "device": row.device,
        "operations": work.operations,
        "grade": row.grade.value,
        "method": row.method.value,
        "propagation": METHOD,
        "carbon_basis": "location",
        "carbon_scope": row.scope.value,
        "currency": row.currency or None,
    }
    names = ("device_time", "it_energy", "facility_energy", "carbon", "money", "water")
    for name, figure in zip(names, _figures(row), strict=True):
        key = f"{name}_{_KEYS.get(figure.unit, '')}".rstrip("_")
        if isinstance(figure.result, Missing):
            body |= {key: None, f"{name}_missing": figure.result.reason}
            continue
        body |= {
            key: figure.result.value,
            f"{key}_low": figure.result.bounds.low,
            f"{key}_high": figure.result.bounds.high,
            f"{name}_grade": figure.grade.value,
        }
    widest = row.it_energy.known.contributions
    body["contributions"] = [
        {"input": name, "it_energy_j_low": low, "it_energy_j_high": high} for name, (low, high) in widest.items()
    ]
    body["inputs"] = [
        {"name": one.name, "central": one.central, "low": one.low, "high": one.high, "unit": one.unit,
         "grade": one.grade.value, "source": one.source}
        for one in row.inputs
    ]  # fmt: skip
    body["notes"] = list(row.notes)
    return body


def _table(row: Estimate, work: Work) -> tuple[str, tuple[str, ...], list[tuple[str, ...]]]:
    lines = [_shown(figure, row) for figure in _figures(row)]
    for one in row.inputs:
        ends = plus_minus(one.central, one.low, one.high) if one.low < one.high else significant(one.central)
        lines.append((f"  {one.name}", "", f"{ends} {one.unit if one.unit != '1' else ''}".strip(), "", one.grade.value,
                      one.source))  # fmt: skip
    done = "" if work.operations is None else f", {work.operations:.3g} operations"
    return f"{row.device}{done}", ("what", "low", "central", "high", "grade", "how known"), lines


def _shown(figure: Figure, row: Estimate) -> tuple[str, ...]:
    how = {"carbon": f"location-based, {row.scope}"}.get(figure.name, row.method.value)
    if isinstance(figure.result, Missing):
        return figure.name, "", "missing", "", "", figure.result.reason
    ends = (figure.result.bounds.low, figure.result.value, figure.result.bounds.high)
    low, central, high = (in_unit(end, figure.unit, ends[1]) for end in ends)
    return figure.name, low, central, high, figure.grade.value, how


def in_unit(value: float, unit: str, like: float) -> str:
    """A figure in the unit that people read it in, scaled as `like` is.

    >>> in_unit(3.6e9, "J", 3.6e9), in_unit(2.5e6, "gCO2e", 2.5e6), in_unit(7200.0, "s", 7200.0)
    ('1 MWh', '2.5 tCO2e', '2 device hours')
    """
    if unit == "J":
        factor, prefix = si_prefix(like / 3600)
        return f"{significant(value / 3600 / factor)} {prefix}Wh"
    if unit == "gCO2e":
        return f"{significant(value / 1e6)} tCO2e" if like >= 1e6 else f"{significant(value / 1e3)} kgCO2e"
    if unit == "s":
        return f"{significant(value / 3600)} device hours"
    return f"{significant(value)} {unit}"


def _compared(rows: Sequence[Estimate]) -> tuple[str, tuple[str, ...], list[tuple[str, ...]]]:
    lines = [("not run (do nothing)", "0", "0", "0", "0", "")]
    for row in rows:
        cells = []
        for figure in (row.facility_energy, row.carbon, row.money, row.water):
            one = row.it_energy if figure is row.facility_energy and isinstance(figure.result, Missing) else figure
            if isinstance(one.result, Missing):
                cells.append("missing")
                continue
            ends = (one.result.value, one.result.bounds.low, one.result.bounds.high)
            central, low, high = (in_unit(end, one.unit, ends[0]) for end in ends)
            mark = " (no PUE)" if one is row.it_energy else ""
            cells.append(f"{central} ({low} to {high}){mark}")
        lines.append((row.device, *cells, row.grade.value))
    return "", ("device", "energy", "carbon", "money", "water", "grade"), lines


def _reconciled_document(found: Reconciled, learned: Learned | None, kept: str) -> dict[str, Any]:
    body: dict[str, Any] = {
        "schema": "outweigh.reconciled/1",
        "estimated_j": found.estimated_j,
        "estimated_j_low": found.estimated_bounds.low,
        "estimated_j_high": found.estimated_bounds.high,
        "measured_j": found.measured_j,
        "measured_j_low": found.measured_bounds.low,
        "measured_j_high": found.measured_bounds.high,
        "ratio": found.ratio,
        "ratio_low": found.ratio_bounds.low,
        "ratio_high": found.ratio_bounds.high,
        "inside": found.inside,
        "runs": found.runs,
        "receipts": found.receipts,
        "grade": found.grade.value,
        "scope": found.scope,
        "kept": bool(learned),
        "note": kept,
    }
    if learned is not None:
        body |= {
            "learned_factor": learned.factor,
            "learned_low": None if learned.bounds is None else learned.bounds.low,
            "learned_high": None if learned.bounds is None else learned.bounds.high,
            "learned_grade": learned.grade.value,
            "learned_runs": learned.runs,
            "learned_receipts": learned.receipts,
        }
    return body


def _reconciled_lines(found: Reconciled, learned: Learned | None, kept: str) -> list[str]:
    ratio = plus_minus(found.ratio, found.ratio_bounds.low, found.ratio_bounds.high)
    where = "within the estimate's interval" if found.inside else "outside the estimate's interval"
    lines = [
        f"measured {in_unit(found.measured_j, 'J', found.measured_j)} for {in_unit(found.estimated_j, 'J', found.estimated_j)} "
        f"estimated, {ratio} times, {where}",
        f"from {found.receipts} receipts of {found.runs} runs, grade {found.grade}, scope {found.scope}",
    ]
    if learned is not None:
        span = "" if learned.bounds is None else f" ({learned.bounds.low:.3g} to {learned.bounds.high:.3g})"
        lines.append(f"next time: times {learned.factor:.3g}{span}, {learned.told}; {kept}")
    elif kept:
        lines.append(kept)
    return lines
