"""`outweigh whatif cooling`: files and options into a hall, technologies weighed against it, answers as rows."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from outweigh.app.whatif_csv import read_rows
from outweigh.app.whatif_series import read_hours
from outweigh.core.errors import ConfigError, InvalidQuantity, UsageError
from outweigh.core.quantities import CarbonIntensity
from outweigh.core.rates import parse_intensity, parse_price
from outweigh.core.rounding import plus_minus, significant
from outweigh.core.units import parse_money, parse_power, parse_share
from outweigh.data.cooling import cooling_parameters
from outweigh.whatif.cooling import (
    Figure,
    Hall,
    Limits,
    Money,
    Option,
    Rejection,
    Technology,
    Weather,
    weigh,
    wet_bulb_c,
)

SCHEMA = "outweigh.cooling/1"
_MOST_OF_A_YEAR = 0.95
_J_PER_MWH = 3.6e9


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line was told, as written."""

    it: str
    weather: Path | None = None
    timezone: str = "UTC"
    dry: float | None = None
    wet: float | None = None
    humidity: float | None = None
    load: str = ""
    rejection: str = "wet"
    now: str = "air"
    share: str = "100%"
    reuse: str = "0%"
    price: str = ""
    intensity: str = ""
    carbon_price: str = ""
    water: str = ""
    heat: str = ""
    capex: tuple[str, ...] = ()
    years: float = 10.0
    rate: str = "0%"
    parameters: Path | None = None


@dataclass(frozen=True, slots=True)
class Cooled:
    """The answer as JSON, as a table, and its notes."""

    document: Mapping[str, Any]
    headings: tuple[str, ...]
    rows: list[tuple[str, ...]]
    lines: list[str]
    notes: list[str]


def cool(asked: Asked) -> Cooled:
    """Technologies against the one in place.

    Raises:
        ConfigError: a file says something we refuse.
        UsageError, InvalidQuantity: options that do not go together, or figures that cannot be.
    """
    weather = _weather(asked)
    hall = Hall(
        parse_power(asked.it), weather, Rejection(asked.rejection), Technology(asked.now), parse_share(asked.share),
        parse_share(asked.reuse),
    )  # fmt: skip
    parameters, sources = _parameters(asked.parameters)
    money = _money(asked)
    options = weigh(hall, parameters, money)
    notes = ["modelled from published parameters, not measured (grade D): calibrate them with --parameters"]
    if weather.years < _MOST_OF_A_YEAR:
        notes.append(
            f"the weather covers {weather.years * 8760:.0f} h and is taken for a whole year: other seasons may differ"
        )
    if weather.source == "declared" and asked.weather is None:
        notes.append("one declared temperature stands for the year: give --weather for a climate")
    if money is None:
        notes.append("no price was given: savings are in energy and nothing is said of payback")
    elif any(option.capex is None for option in options):
        notes.append("capital of no technology ships: --capex cold-plate='300 EUR/kW' gives payback")
    return Cooled(
        document=_document(asked, hall, money, options, sources, notes),
        headings=("technology", "PUE", "ITUE", "TUE", "facility MWh/a", "saved MWh/a", "peak kW", "WUE L/kWh", "ERE",
                  *(() if money is None else (f"saved {money.currency}/a", "payback", f"at most {money.currency}/kW"))),
        rows=[_cells(option, hall, money) for option in options],
        lines=[line for option in options if (line := _flip_words(option, hall, money))],
        notes=notes,
    )  # fmt: skip


def _weather(asked: Asked) -> Weather:
    load = parse_share(asked.load) if asked.load else None
    if (asked.weather is None) == (asked.dry is None):
        raise UsageError("cooling needs the weather", "Give --weather FILE.csv, or --dry 12 --wet 9")
    wet = Rejection(asked.rejection) is Rejection.WET
    if asked.weather is None:
        dry_c = float(asked.dry or 0.0)
        if asked.wet is not None and asked.humidity is not None:
            raise UsageError("--wet and --humidity say the same", "Give one of them")
        if asked.humidity is not None:
            wet_c = float(wet_bulb_c([dry_c], [asked.humidity])[0])
        elif asked.wet is not None or not wet:
            wet_c = dry_c if asked.wet is None else asked.wet
        else:
            raise UsageError("a wet tower follows the wet-bulb temperature", "Add --wet 9 or --humidity 60")
        return Weather.steady(dry_c, wet_c, 1.0 if load is None else load)
    hours = read_hours(asked.weather, asked.timezone, wanted=("dry_c",))
    dry = hours.column("dry_c")
    if "wet_c" in hours.columns:
        wet_bulb = hours.column("wet_c")
    elif "humidity_pct" in hours.columns:
        wet_bulb = wet_bulb_c(dry, hours.column("humidity_pct"))
    elif wet:
        remedy = "Add wet_c or humidity_pct, or take --rejection dry"
        raise ConfigError(str(asked.weather), 1, "a wet tower follows the wet-bulb temperature", remedy)
    else:
        wet_bulb = dry
    if load is not None and "load" in hours.columns:
        raise UsageError(f"{asked.weather.name} has a column load", "Leave --load out, or the column")
    loads = hours.columns.get("load", np.full(dry.shape, 1.0 if load is None else load))
    return Weather(dry, wet_bulb, loads, hours.step_s, str(asked.weather))


def _parameters(path: Path | None) -> tuple[dict[str, dict[str, Limits]], list[dict[str, Any]]]:
    """The parameters that ship, with those of a file in their place; and where each is from."""
    found: dict[str, dict[str, Limits]] = {}
    sources: dict[tuple[str, str], dict[str, Any]] = {}
    for technology, shipped in cooling_parameters().items():
        for name, known in shipped.items():
            found.setdefault(technology, {})[name] = Limits(known.value, known.low, known.high)
            sources[technology, name] = {
                "technology": technology, "parameter": name, "value": known.value, "low": known.low, "high": known.high,
                "unit": known.provenance.unit, "year": known.provenance.year, "source": known.provenance.source,
                "licence": known.provenance.licence, "checked": known.checked, "grade": known.provenance.grade.value,
            }  # fmt: skip
    for line, row in _own_rows(path) if path is not None else ():
        technology, name = row.get("technology", ""), row.get("parameter", "")
        if technology not in ("all", *Technology):
            remedy = f"There are {', '.join(('all', *Technology))}"
            raise ConfigError(str(path), line, f"no technology is called {technology!r}", remedy)
        known_names = sorted({name for rows in found.values() for name in rows})
        if name not in known_names:
            raise ConfigError(
                str(path), line, f"no parameter is called {name!r}", f"There are {', '.join(known_names)}"
            )
        try:
            value = float(row["value"])
            limits = Limits(value, float(row.get("low") or value), float(row.get("high") or value))
        except (KeyError, ValueError) as err:
            remedy = "Write technology,parameter,value and, where they are known, low,high,source"
            raise ConfigError(str(path), line, f"{name} has no figure that can be read: {err}", remedy) from err
        found.setdefault(technology, {})[name] = limits
        sources[technology, name] = {
            "technology": technology, "parameter": name, "value": value, "low": limits.low, "high": limits.high,
            "source": row.get("source") or "user file", "checked": "declared", "grade": "D",
        }  # fmt: skip
    return found, list(sources.values())


def _own_rows(path: Path) -> list[tuple[int, dict[str, str]]]:
    rows = read_rows(path)
    if not rows:
        raise ConfigError(str(path), 0, "it holds no parameters", "Write technology,parameter,value and a row for each")
    return rows


def _money(asked: Asked) -> Money | None:
    if not asked.price:
        if any((asked.capex, asked.carbon_price, asked.intensity, asked.water, asked.heat)):
            raise UsageError("money needs the price of electricity", 'Add --price "0.12 EUR/kWh"')
        return None
    if asked.intensity and not asked.carbon_price:
        raise UsageError("an intensity needs a price of carbon here", 'Add --carbon-price "80 EUR/t"')
    price = parse_price(asked.price)
    capex: dict[Technology, float] = {}
    for text in asked.capex:
        name, equals, amount = text.partition("=")
        if name not in list(Technology) or not equals:
            raise UsageError(f"--capex {text!r} names no technology", f"Write {Technology.COLD_PLATE}='300 EUR/kW'")
        capex[Technology(name)] = _per(amount, "kW", price.currency)
    return Money(
        currency=price.currency,
        per_kwh=price.amount_per_kwh,
        intensity=CarbonIntensity(parse_intensity(asked.intensity)) if asked.intensity else None,
        per_tonne=_per(asked.carbon_price, "t", price.currency),
        water_per_m3=_per(asked.water, "m3", price.currency),
        heat_per_kwh=_per(asked.heat, "kWh", price.currency),
        capex_per_kw=capex,
        years=asked.years,
        rate=parse_share(asked.rate),
    )


def _per(text: str, unit: str, currency: str) -> float:
    if not text:
        return 0.0
    amount, slash, per = text.partition("/")
    if not slash or per.strip() != unit:
        raise InvalidQuantity(f"price per {unit}", repr(text), f"write it as '2 {currency}/{unit}'")
    money = parse_money(amount)
    if money.currency != currency:
        raise UsageError(f"{text!r} is not in {currency}", "Two currencies do not add: convert at a rate you state")
    return money.amount


# --- answers ------------------------------------------------------------------------------------------


def _cells(option: Option, hall: Hall, money: Money | None) -> tuple[str, ...]:
    year = option.year
    name = f"{option.technology} (as now)" if option.technology is hall.now else str(option.technology)
    cells = (
        name, _words(option.pue), f"{year.itue:.3f}", _words(option.tue), _words(option.facility_j, _J_PER_MWH),
        _words(option.saved_j, _J_PER_MWH), f"{year.peak_w / 1e3:,.0f}", f"{year.wue:.2f}", f"{year.ere:.3f}",
    )  # fmt: skip
    if money is None:
        return cells
    saved = "-" if option.saved is None else significant(option.saved, 4)
    most = "-" if option.most_capex_per_kw is None else significant(option.most_capex_per_kw, 3)
    return (*cells, saved, _payback_words(option.payback_years), most)


def _words(figure: Figure, unit: float = 1.0) -> str:
    if figure.low == figure.high:
        return significant(figure.value / unit, 4)
    return plus_minus(figure.value / unit, figure.low / unit, figure.high / unit)


def _payback_words(years: float | None) -> str:
    if years is None:
        return "-"
    return "never" if math.isinf(years) else f"{years:.1f} years"


def _flip_words(option: Option, hall: Hall, money: Money | None) -> str:
    if option.technology is hall.now:
        return ""
    what = "its gain, rent of capital paid," if money is not None and option.capex else "its gain"
    told = [
        *(f"at a load of {100 * load:.0f} %" for load in option.flips.get("load", ())),
        *(
            f"where it is {abs(by_k):.1f} K {'warmer' if by_k > 0 else 'colder'} outdoors"
            for by_k in option.flips.get("temperature", ())
        ),
        *(f"at {price:.4g} {'' if money is None else money.currency}/kWh" for price in option.flips.get("price", ())),
    ]
    if not told:
        return f"{option.technology}: no load, temperature or price looked at changes the sign of {what}"
    return f"{option.technology}: {what} changes sign {', '.join(told)}"


def _document(
    asked: Asked,
    hall: Hall,
    money: Money | None,
    options: tuple[Option, ...],
    sources: list[dict[str, Any]],
    notes: list[str],
) -> dict[str, Any]:
    return {
        "schema": SCHEMA,
        "it_full_w": hall.it.watts,
        "weather": hall.weather.source,
        "hours": hall.weather.years * 8760,
        "rejection": str(hall.rejection),
        "now": str(hall.now),
        "converted_share": hall.share,
        "reuse_share": hall.reuse,
        "currency": None if money is None else money.currency,
        "years": asked.years,
        "grade": "D",
        "method": "modelled",
        "options": [_row(option, hall) for option in options],
        "parameters": sources,
        "notes": notes,
    }


def _row(option: Option, hall: Hall) -> dict[str, Any]:
    year, yearly = option.year, 1 / hall.weather.years
    payback = option.payback_years
    return {
        "technology": str(option.technology),
        "pue": option.pue.value, "pue_low": option.pue.low, "pue_high": option.pue.high,
        "itue": year.itue,
        "tue": option.tue.value, "tue_low": option.tue.low, "tue_high": option.tue.high,
        "it_energy_j": year.it_j * yearly,
        "compute_energy_j": year.compute_j * yearly,
        "facility_energy_j": option.facility_j.value,
        "facility_energy_low_j": option.facility_j.low,
        "facility_energy_high_j": option.facility_j.high,
        "saved_energy_j": option.saved_j.value,
        "saved_energy_low_j": option.saved_j.low,
        "saved_energy_high_j": option.saved_j.high,
        "parts_energy_j": {name: value * yearly for name, value in year.parts_j.items()},
        "peak_power_w": year.peak_w,
        "water_l": year.water_l * yearly,
        "wue_l_per_kwh": year.wue,
        "saved_water_l": option.saved_l,
        "reused_energy_j": year.reused_j * yearly,
        "erf": year.erf,
        "ere": year.ere,
        "saved_per_year": option.saved,
        "capex": option.capex,
        "payback_years": None if payback is None or math.isinf(payback) else payback,
        "pays_back": None if payback is None else math.isfinite(payback),
        "most_capex_per_kw": option.most_capex_per_kw,
        "flips": {name: list(values) for name, values in option.flips.items()},
    }  # fmt: skip
