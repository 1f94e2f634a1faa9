"""Fields of energy.toml that people write as text with a unit, read into value types of the core.

Each is a pydantic annotation: a reader for the file, and a JSON Schema for editors. Readers raise InvalidQuantity,
which `refusals` turns into a sentence with the line.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from datetime import UTC, date, datetime
from typing import Annotated, TypeGuard, TypeVar

from pydantic import PlainValidator, WithJsonSchema

from outweigh.core.errors import InvalidQuantity
from outweigh.core.project import Guard
from outweigh.core.quantities import CarbonIntensity, Energy, Money, Power, Price
from outweigh.core.rates import parse_intensity
from outweigh.core.roadmap import Quarter
from outweigh.core.site import PueCurve
from outweigh.core.units import (
    parse_energy,
    parse_money,
    parse_money_per_hour,
    parse_power,
    parse_seconds,
    parse_share,
)
from outweigh.core.variant import Option

T = TypeVar("T")

_SHARE_SCHEMA: dict[str, object] = {
    "anyOf": [
        {"type": "number", "exclusiveMinimum": 0, "maximum": 1},
        {"type": "string", "pattern": r"^\s*[0-9.]+(?:[eE][-+]?[0-9]+)?\s*%?\s*$"},
    ]
}


def _quantity(unit: str) -> WithJsonSchema:
    """A number and a unit; `unit` is a regular expression. The reader, not the schema, refuses a negative limit."""
    number = r"[-+]?(?:[0-9][0-9_]*\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?"
    return WithJsonSchema({"type": "string", "pattern": rf"^\s*{number}\s*{unit}\s*$"})


def _text_reader(parse: Callable[[str], T], what: str, example: str) -> Callable[[object], T]:
    def read(value: object) -> T:
        if not isinstance(value, str):
            raise InvalidQuantity(what, _shown(value), f"write it in quotes and with its unit, such as {example!r}")
        return parse(value)

    return read


def _limit(read: Callable[[object], T], magnitude: Callable[[T], float], what: str) -> Callable[[object], T]:
    def checked(value: object) -> T:
        quantity = read(value)
        if not 0 <= magnitude(quantity) < math.inf:
            raise InvalidQuantity(what, repr(value), "it must be finite and not negative")
        return quantity

    return checked


def _shown(value: object) -> str:
    """A value as the file has it, cut to a length that fits a line."""
    text = repr(value) if isinstance(value, str) else str(value).lower() if isinstance(value, bool) else str(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def _is_number(value: object) -> TypeGuard[int | float]:
    """TOML booleans are not numbers, although Python's are."""
    return isinstance(value, int | float) and not isinstance(value, bool)


def _read_carbon_price(text: str) -> Money:
    amount, slash, per = text.partition("/")
    if slash and per.strip() != "t":
        raise InvalidQuantity("carbon price", repr(text), "it is per tonne of CO2e; write it as '100 USD/t'")
    return parse_money(amount)


def _read_price(text: str) -> Price:
    money, slash, per = text.partition("/")
    if not slash or per.strip() not in ("kWh", "MWh"):
        raise InvalidQuantity("energy price", repr(text), "write it as '0.12 USD/kWh' or '120 USD/MWh'")
    amount = parse_money(money)
    if per.strip() == "kWh":
        return Price.per_kwh(amount.amount, amount.currency)
    return Price.per_mwh(amount.amount, amount.currency)


def _read_share(value: object) -> float:
    if isinstance(value, str) or _is_number(value):
        share = parse_share(value)
    else:
        raise InvalidQuantity("share", _shown(value), "write it as 0.8 or as '80%'")
    if not 0 < share <= 1:
        raise InvalidQuantity("share", _shown(value), "it lies above 0 and up to 1 (100 %)")
    return share


def _read_absolute_margin(value: object) -> float:
    if _is_number(value) and 0 <= value <= 1:
        return float(value)
    raise InvalidQuantity("margin", _shown(value), "write a difference of the metric between 0 and 1, such as 0.01")


def _read_guard_margin(value: object) -> tuple[float, bool]:
    """(margin, relative): "10%" is a share of the incumbent's value, 0.01 a difference in the metric's own unit."""
    remedy = "write '10%' (a share of the incumbent's value) or 0.01 (in the metric's own unit)"
    if isinstance(value, str) and value.strip().endswith("%"):
        margin, relative = parse_share(value), True
    elif _is_number(value):
        margin, relative = float(value), False
    else:
        raise InvalidQuantity("margin", _shown(value), remedy)
    if not 0 <= margin < math.inf:
        raise InvalidQuantity("margin", _shown(value), "it must be finite and not negative")
    return margin, relative


def _read_pue(value: object) -> PueCurve:
    if isinstance(value, dict) and value.keys() == {"idle", "full"}:
        idle, full = value["idle"], value["full"]
    else:
        idle = full = value
    if not (_is_number(idle) and _is_number(full) and math.isfinite(idle) and math.isfinite(full)):
        raise InvalidQuantity("PUE", _shown(value), "write 1.25 or { idle = 1.6, full = 1.25 }")
    return PueCurve(float(idle), float(full))


def _read_options(value: object) -> dict[str, Option]:
    if not isinstance(value, dict):
        raise InvalidQuantity("table of options", _shown(value), "write keys and values under an [….options] header")
    for key, option in value.items():
        if not isinstance(option, str | int | float) or (isinstance(option, float) and not math.isfinite(option)):
            remedy = "an option is text, a finite number, true or false"
            raise InvalidQuantity(f"option ({key})", _shown(option), remedy)
    return dict(value)


def _read_day(value: object) -> datetime:
    """A day is its first instant in UTC; a stamp is taken as it is, and needs a zone."""
    if isinstance(value, str):
        try:
            value = date.fromisoformat(value.strip())
        except ValueError as err:
            raise InvalidQuantity("day", _shown(value), "write it as 2027-01-31") from err
    if isinstance(value, datetime):
        if value.tzinfo is None:
            raise InvalidQuantity("day", str(value), "write the day alone, or a time with its zone")
        return in_utc(value)
    if isinstance(value, date):
        return datetime(value.year, value.month, value.day, tzinfo=UTC)
    raise InvalidQuantity("day", _shown(value), "write it as 2027-01-31")


def _read_stamp(value: object) -> datetime:
    if isinstance(value, str):
        try:
            value = datetime.fromisoformat(value.strip())
        except ValueError as err:
            raise InvalidQuantity("time", _shown(value), "write it as 2027-01-31T08:00Z") from err
    if not isinstance(value, datetime) or value.tzinfo is None:
        raise InvalidQuantity("time", _shown(value), "write it with its distance from UTC, as 2027-01-31T08:00Z")
    return in_utc(value)


def in_utc(stamp: datetime) -> datetime:
    """Raises InvalidQuantity: at the ends of the calendar it is a time in its own zone and none in UTC."""
    try:
        return stamp.astimezone(UTC)
    except OverflowError as err:
        remedy = "in UTC it lies outside the years 1 to 9999; write it as 2027-01-31T08:00Z"
        raise InvalidQuantity("time", stamp.isoformat(), remedy) from err


def _read_money_per(unit: str, example: str) -> Callable[[object], Money]:
    """Reader of money per `unit` ("EUR/kW"); the amount alone is kept."""

    def read(text: str) -> Money:
        money, slash, per = text.partition("/")
        if not slash or per.strip() != unit:
            raise InvalidQuantity(f"price per {unit}", repr(text), f"write it as {example!r}")
        return parse_money(money)

    return _limit(_text_reader(read, f"price per {unit}", example), lambda money: money.amount, f"price per {unit}")


def _read_carbon_intensity(text: str) -> CarbonIntensity:
    return CarbonIntensity(parse_intensity(text))


def guard(metric: str, margin: tuple[float, bool]) -> Guard:
    return Guard(metric, margin[0], relative=margin[1])


_QUARTER = _text_reader(Quarter.parse, "quarter", "2027Q1")
_ENERGY = _text_reader(parse_energy, "energy", "1.2 Wh")
_POWER = _text_reader(parse_power, "power", "180 W")
_SECONDS = _text_reader(parse_seconds, "duration", "3 s")
_MONEY = _text_reader(parse_money, "money", "0.90 EUR")
_PER_HOUR = _text_reader(parse_money_per_hour, "price per hour", "0.05 USD/h")
_CARBON_PRICE = _text_reader(_read_carbon_price, "carbon price", "100 USD/t")
_PRICE = _text_reader(_read_price, "energy price", "0.12 USD/kWh")


EnergyLimit = Annotated[
    Energy,
    PlainValidator(_limit(_ENERGY, lambda energy: energy.joules, "energy limit")),
    _quantity("(?:[mkMG]?J|[mkMGT]?Wh)"),
]
PowerLimit = Annotated[
    Power,
    PlainValidator(_limit(_POWER, lambda power: power.watts, "power limit")),
    _quantity("[mkMG]?W"),
]
Seconds = Annotated[
    float, PlainValidator(_limit(_SECONDS, lambda seconds: seconds, "duration")), _quantity("(?:ms|s|min|h|d)")
]
Benefit = Annotated[Money, PlainValidator(_limit(_MONEY, lambda money: money.amount, "value")), _quantity("[A-Z]{3}")]
CarbonPrice = Annotated[
    Money,
    PlainValidator(_limit(_CARBON_PRICE, lambda money: money.amount, "carbon price")),
    _quantity(r"[A-Z]{3}(?:\s*/\s*t)?"),
]
HourlyPrice = Annotated[
    Money,
    PlainValidator(_limit(_PER_HOUR, lambda money: money.amount, "price per hour")),
    _quantity(r"[A-Z]{3}\s*/\s*h"),
]
# A negative energy price is real: day-ahead markets clear below zero.
EnergyPrice = Annotated[Price, PlainValidator(_PRICE), _quantity(r"[A-Z]{3}\s*/\s*[kM]Wh")]
Share = Annotated[float, PlainValidator(_read_share), WithJsonSchema(_SHARE_SCHEMA)]
AbsoluteMargin = Annotated[
    float,
    PlainValidator(_read_absolute_margin),
    WithJsonSchema({"type": "number", "minimum": 0, "maximum": 1}),
]
GuardMargin = Annotated[
    tuple[float, bool],
    PlainValidator(_read_guard_margin),
    WithJsonSchema(
        {"anyOf": [{"type": "number", "minimum": 0}, {"type": "string", "pattern": r"^\s*[0-9.]+\s*%\s*$"}]}
    ),
]
Pue = Annotated[
    PueCurve,
    PlainValidator(_read_pue),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "number", "minimum": 1},
                {
                    "type": "object",
                    "properties": {
                        "idle": {"type": "number", "minimum": 1, "description": "At no load."},
                        "full": {"type": "number", "minimum": 1, "description": "At full load."},
                    },
                    "required": ["idle", "full"],
                    "additionalProperties": False,
                },
            ]
        }
    ),
]
Options = Annotated[
    dict[str, Option],
    PlainValidator(_read_options),
    WithJsonSchema({"type": "object", "additionalProperties": {"type": ["string", "number", "boolean"]}}),
]
Day = Annotated[
    datetime, PlainValidator(_read_day), WithJsonSchema({"type": "string", "pattern": "^[0-9]{4}-[0-9]{2}-[0-9]{2}"})
]
CalendarQuarter = Annotated[
    Quarter, PlainValidator(_QUARTER), WithJsonSchema({"type": "string", "pattern": "^[0-9]{4}Q[1-4]$"})
]
Stamp = Annotated[datetime, PlainValidator(_read_stamp), WithJsonSchema({"type": "string", "format": "date-time"})]
Intensity = Annotated[
    CarbonIntensity,
    PlainValidator(
        _limit(
            _text_reader(_read_carbon_intensity, "carbon intensity", "230 gCO2e/kWh"),
            lambda intensity: intensity.g_per_kwh,
            "carbon intensity",
        )
    ),
    _quantity(r"\S+"),
]
DemandCharge = Annotated[Money, PlainValidator(_read_money_per("kW", "12 EUR/kW")), _quantity(r"[A-Z]{3}\s*/\s*kW")]
PricePerGb = Annotated[Money, PlainValidator(_read_money_per("GB", "0.02 EUR/GB")), _quantity(r"[A-Z]{3}\s*/\s*GB")]
