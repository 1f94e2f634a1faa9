"""A file of a business case (TOML) -> the case. docs/finance.md shows one."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Annotated, NamedTuple

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema

from outweigh.config.documents import read_model, read_text
from outweigh.config.locate import Path as KeyPath
from outweigh.config.refusals import Refusal, dotted
from outweigh.core.errors import ConfigError, InvalidQuantity, UsageError
from outweigh.core.rates import parse_intensity, parse_price
from outweigh.core.units import parse_energy, parse_money, parse_share
from outweigh.whatif.finance import Case, Option, Ranged

PAGE = "docs/finance.md"


class _Figure(NamedTuple):
    """A range in the unit its key stands for, and its currency where it has one."""

    ranged: Ranged
    currency: str = ""


def _energy(text: str) -> tuple[float, str]:
    return parse_energy(text).to_kwh(), ""


def _price(text: str) -> tuple[float, str]:
    price = parse_price(text)
    return price.amount_per_kwh, price.currency


def _money(text: str) -> tuple[float, str]:
    money = parse_money(text)
    return money.amount, money.currency


def _per_tonne(text: str) -> tuple[float, str]:
    amount, slash, per = text.partition("/")
    if not slash or per.strip() != "t":
        raise InvalidQuantity("carbon price", repr(text), "it is per tonne of CO2e; write it as '80 EUR/t'")
    return _money(amount)


def _intensity(text: str) -> tuple[float, str]:
    return parse_intensity(text), ""


def _share(text: str) -> tuple[float, str]:
    return parse_share(text), ""


def _count(text: str) -> tuple[float, str]:
    raise InvalidQuantity("number of units", repr(text), "write a number without quotes, such as 3.0e6")


def _reader(parse: Callable[[str], tuple[float, str]], example: str, number: bool) -> Callable[[object], _Figure]:
    def one(value: object) -> tuple[float, str]:
        if number and isinstance(value, int | float) and not isinstance(value, bool):
            return float(value), ""
        if not isinstance(value, str):
            raise InvalidQuantity("figure", repr(value), f"write it such as {example}")
        return parse(value)

    def read(value: object) -> _Figure:
        if not isinstance(value, dict):
            only, currency = one(value)
            return _Figure(Ranged.exactly(only), currency)
        if set(value) != {"value", "low", "high"}:
            raise InvalidQuantity("range", ", ".join(map(str, value)) or "nothing", "give value, low and high")
        parts = {key: one(value[key]) for key in ("value", "low", "high")}
        currencies = {currency for _, currency in parts.values()}
        if len(currencies) > 1:
            raise InvalidQuantity("range", " and ".join(sorted(currencies)), "write its three figures in one currency")
        return _Figure(Ranged(parts["value"][0], parts["low"][0], parts["high"][0]), currencies.pop())

    return read


_ANY = WithJsonSchema({"type": ["string", "number", "object"]})
_Energy = Annotated[_Figure, PlainValidator(_reader(_energy, "'1.2 Wh'", False)), _ANY]
_Price = Annotated[_Figure, PlainValidator(_reader(_price, "'0.14 EUR/kWh'", False)), _ANY]
_Money = Annotated[_Figure, PlainValidator(_reader(_money, "'60000 EUR'", False)), _ANY]
_Carbon = Annotated[_Figure, PlainValidator(_reader(_per_tonne, "'80 EUR/t'", False)), _ANY]
_Intensity = Annotated[_Figure, PlainValidator(_reader(_intensity, "'350 gCO2e/kWh'", False)), _ANY]
_Share = Annotated[_Figure, PlainValidator(_reader(_share, "'8%'", True)), _ANY]
_Count = Annotated[_Figure, PlainValidator(_reader(_count, "3.0e6", True)), _ANY]
_NONE = _Figure(Ranged.exactly(0.0))


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class _Case(_Table):
    unit: str = Field(default="unit", min_length=1, examples=["ticket"], description="What is delivered.")
    years: int = Field(examples=[5], description="How far the case looks.")
    rate: _Share = Field(examples=["8%"], description="Yearly discount rate.")


class _Base(_Table):
    """How things go on if nobody does anything."""

    units: _Count = Field(examples=[36e6], description="Delivered in the first year.")
    growth: _Share = Field(default=_NONE, examples=["30%"], description="Of units, a year.")
    energy: _Energy = Field(examples=["1.2 Wh"], description="Of a unit, at the meter.")
    price: _Price = Field(examples=["0.14 EUR/kWh"], description="Of energy, in the first year.")
    price_growth: _Share = Field(default=_NONE, examples=["2%"], description="Of it, a year.")
    intensity: _Intensity = Field(default=_NONE, examples=["350 gCO2e/kWh"], description="Carbon of energy.")
    carbon_price: _Carbon = Field(default=_NONE, examples=["80 EUR/t"], description="In the first year.")
    carbon_growth: _Share = Field(default=_NONE, examples=["5%"], description="Of it, a year.")
    value: _Money = Field(default=_NONE, examples=["0.001 EUR"], description="Of one unit delivered.")
    running: _Money = Field(default=_NONE, examples=["60000 EUR"], description="Hardware and people, a year.")
    running_growth: _Share = Field(default=_NONE, examples=["2%"], description="Of running cost, a year.")


class _Option(_Table):
    change: _Share = Field(default=_NONE, examples=["-40%"], description="Of the energy of a unit.")
    capex: _Money = Field(default=_NONE, examples=["60000 EUR"], description="Paid at the start.")
    running: _Money = Field(default=_NONE, examples=["3000 EUR"], description="Paid every year on top.")
    rebound: _Share = Field(default=_NONE, examples=["10%"], description="Of the saving, taken back as more units.")
    price: _Share = Field(default=_NONE, examples=["-5%"], description="Change of the price of energy.")
    intensity: _Share = Field(default=_NONE, examples=["-80%"], description="Change of its carbon.")
    grade: str = Field(default="D", pattern="^[ABCD]$", examples=["B"], description="Of the change of energy.")
    source: str = Field(default="", examples=["review of 2026-11"], description="Where the change is from.")


class FinanceToml(_Table):
    """Years of cash flow of doing nothing and of options beside it."""

    case: _Case
    base: _Base
    option: dict[str, _Option] = Field(default={}, description="What could be done, by name.")


def load_case(path: Path) -> Case:
    """Read a business case.

    Raises:
        ConfigError: it is missing or unreadable, is not TOML, or says something we refuse.
    """
    text = read_text(path, f"Write one as {PAGE} shows")
    document = read_model(text, str(path), FinanceToml, PAGE, lambda tables: list(_one_currency(tables)))
    base = document.base
    inputs = {
        "units": base.units, "growth": base.growth, "energy": base.energy, "price": base.price,
        "price_growth": base.price_growth, "intensity": base.intensity, "carbon": base.carbon_price,
        "carbon_growth": base.carbon_growth, "value": base.value, "running": base.running,
        "running_growth": base.running_growth, "rate": document.case.rate,
    }  # fmt: skip
    try:
        return Case(
            currency=base.price.currency,
            years=document.case.years,
            inputs={name: figure.ranged for name, figure in inputs.items()},
            options=tuple(_option(name, table) for name, table in document.option.items()),
            unit=document.case.unit,
            source=str(path),
        )
    except InvalidQuantity as err:
        raise ConfigError(str(path), 0, f"{err.quantity}: {err.given}", err.remedy) from err
    except UsageError as err:
        raise ConfigError(str(path), 0, err.problem, err.remedy) from err


def _option(name: str, table: _Option) -> Option:
    return Option(
        name, table.change.ranged, table.capex.ranged, table.running.ranged, table.rebound.ranged,
        table.price.ranged, table.intensity.ranged, table.grade, table.source,
    )  # fmt: skip


def _one_currency(document: FinanceToml) -> Iterator[Refusal]:
    currency = document.base.price.currency
    stated: list[tuple[KeyPath, _Figure]] = [
        (("base", key), getattr(document.base, key)) for key in ("carbon_price", "value", "running")
    ]
    stated += [
        (("option", name, key), getattr(table, key))
        for name, table in document.option.items()
        for key in ("capex", "running")
    ]
    for path, figure in stated:
        if figure.currency and figure.currency != currency:
            remedy = "Two currencies do not add: convert at a rate you state"
            yield Refusal(path, f"{dotted(path)} is in {figure.currency}, base.price in {currency}", remedy)
