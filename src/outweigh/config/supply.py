"""A file of a site's supply (TOML) -> what `whatif supply` is asked. docs/whatif.md shows one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema

from outweigh.config.documents import read_model, read_text
from outweigh.config.locate import Path as KeyPath
from outweigh.config.reading import CarbonPrice, DemandCharge, EnergyLimit, EnergyPrice, PowerLimit, Share
from outweigh.config.refusals import Refusal, dotted
from outweigh.core.errors import InvalidQuantity
from outweigh.core.quantities import Energy, Money, Power, Price
from outweigh.core.units import parse_share

PAGE = "docs/whatif.md"
_Text = Annotated[str, Field(min_length=1)]


def _read_growth(value: object) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    if not (number or isinstance(value, str)):
        raise InvalidQuantity("growth", repr(value), "write '20%' a year")
    growth = parse_share(value)  # type: ignore[arg-type]
    if not -1 < growth <= 100:
        raise InvalidQuantity("growth", repr(value), "write '20%' a year; it is above -100 %")
    return growth


def _read_level(value: object) -> float:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    level = parse_share(value) if number or isinstance(value, str) else -1.0  # type: ignore[arg-type]
    if not 0 <= level <= 1:
        raise InvalidQuantity("state of charge", repr(value), "write '50%', between 0 and 100 %")
    return level


_Growth = Annotated[float, PlainValidator(_read_growth), WithJsonSchema({"type": ["number", "string"]})]
_Level = Annotated[float, PlainValidator(_read_level), WithJsonSchema({"type": ["number", "string"]})]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class _Supply(_Table):
    """The site as it is."""

    load: _Text = Field(examples=["load.csv"], description="Its load: start,kw.")
    grid: _Text = Field(
        examples=["grid.csv"], description="The grid: start, a price such as EUR/MWh, gCO2e/kWh and, if known, cfe."
    )
    timezone: _Text = Field(default="UTC", examples=["Europe/Berlin"], description="Of times that name none.")
    cap: PowerLimit | None = Field(default=None, examples=["8 MW"], description="What the connection gives.")
    export: EnergyPrice | None = Field(
        default=None, examples=["0.03 EUR/kWh"], description="What feeding in earns. Default: nothing may be fed in."
    )
    carbon_price: CarbonPrice | None = Field(default=None, examples=["80 EUR/t"], description="Default: none.")
    growth: _Growth = Field(default=0.0, examples=["20%"], description="Of the load, a year.")


class _Generator(_Table):
    """A plant on the site."""

    output: _Text = Field(examples=["sun.csv"], description="Its output over its capacity: start,share.")
    capacity: PowerLimit = Field(examples=["5 MW"], description="Rated power.")
    yearly: DemandCharge | None = Field(
        default=None, examples=["55 EUR/kW"], description="Rent, upkeep and interest per kW and year."
    )


class _Battery(_Table):
    """A store on the site."""

    power: PowerLimit = Field(examples=["2 MW"], description="Of charging and of discharging.")
    energy: EnergyLimit = Field(examples=["8 MWh"], description="Usable.")
    efficiency: Share = Field(examples=["88%"], description="Of a round trip.")
    start: _Level = Field(default=0.5, examples=["50%"], description="State of charge at both ends of the time.")
    wear: EnergyPrice | None = Field(default=None, examples=["0.02 EUR/kWh"], description="Of a kWh discharged.")
    yearly: EnergyPrice | None = Field(
        default=None, examples=["20 EUR/kWh"], description="Rent, upkeep and interest per kWh of store and year."
    )


class _Contract(_Table):
    """A power purchase agreement, pay as produced."""

    output: _Text = Field(examples=["wind.csv"], description="Its output over its capacity: start,share.")
    capacity: PowerLimit = Field(examples=["3 MW"], description="What is contracted.")
    strike: EnergyPrice = Field(examples=["0.065 EUR/kWh"], description="Paid for every kWh produced.")


class SupplyToml(_Table):
    """A site's supply: what it has, and what may be built."""

    supply: _Supply
    generator: dict[str, _Generator] = Field(default={}, description="Plants on the site, by name.")
    battery: _Battery | None = None
    contract: _Contract | None = None


@dataclass(frozen=True, slots=True)
class DeclaredGenerator:
    name: str
    output: Path
    capacity: Power
    yearly: float


@dataclass(frozen=True, slots=True)
class DeclaredBattery:
    power: Power
    energy: Energy
    efficiency: float
    start: float
    wear: float
    yearly: float


@dataclass(frozen=True, slots=True)
class DeclaredContract:
    output: Path
    capacity: Power
    strike: float


@dataclass(frozen=True, slots=True)
class SupplySpec:
    """What a supply file says, with its CSV files not yet read. `currency` is "" where the file states none; `yearly`
    is money a year for all of the thing."""

    load: Path
    grid: Path
    timezone: str
    cap: Power | None
    export: Price | None
    carbon_price: Money | None
    growth: float
    generators: tuple[DeclaredGenerator, ...]
    battery: DeclaredBattery | None
    contract: DeclaredContract | None
    currency: str
    source: Path


def load_supply(path: Path) -> SupplySpec:
    """Read a supply file. Paths in it are relative to it.

    Raises:
        ConfigError: it is missing or unreadable, is not TOML, or says something we refuse.
    """
    text = read_text(path, f"Write one as {PAGE} shows")
    document = read_model(text, str(path), SupplyToml, PAGE, lambda tables: list(_one_currency(tables)))
    asked, battery, contract = document.supply, document.battery, document.contract
    stated = [currency for _, currency in _currencies(document)]
    folder = path.parent
    return SupplySpec(
        load=folder / asked.load,
        grid=folder / asked.grid,
        timezone=asked.timezone,
        cap=asked.cap,
        export=asked.export,
        carbon_price=asked.carbon_price,
        growth=asked.growth,
        generators=tuple(
            DeclaredGenerator(
                name,
                folder / one.output,
                one.capacity,
                0.0 if one.yearly is None else one.yearly.amount * one.capacity.to_kw(),
            )
            for name, one in document.generator.items()
        ),
        battery=None
        if battery is None
        else DeclaredBattery(
            battery.power,
            battery.energy,
            battery.efficiency,
            battery.start,
            0.0 if battery.wear is None else battery.wear.amount_per_kwh,
            0.0 if battery.yearly is None else battery.yearly.amount_per_kwh * battery.energy.to_kwh(),
        ),
        contract=None
        if contract is None
        else DeclaredContract(folder / contract.output, contract.capacity, contract.strike.amount_per_kwh),
        currency=stated[0] if stated else "",
        source=path,
    )


def _currencies(document: SupplyToml) -> list[tuple[KeyPath, str]]:
    battery, contract = document.battery, document.contract
    found: list[tuple[KeyPath, Money | Price | None]] = [
        (("supply", "export"), document.supply.export),
        (("supply", "carbon_price"), document.supply.carbon_price),
        *((("generator", name, "yearly"), one.yearly) for name, one in document.generator.items()),
    ]
    if battery is not None:
        found += [(("battery", "wear"), battery.wear), (("battery", "yearly"), battery.yearly)]
    if contract is not None:
        found.append((("contract", "strike"), contract.strike))
    return [(path, value.currency) for path, value in found if value is not None]


def _one_currency(document: SupplyToml) -> Iterator[Refusal]:
    stated = _currencies(document)
    for path, currency in stated:
        if currency != stated[0][1]:
            problem = f"{dotted(path)} is in {currency}, {dotted(stated[0][0])} in {stated[0][1]}"
            yield Refusal(path, problem, "Two currencies do not add: convert at a rate you state")
    if document.supply.cap is not None and document.supply.cap.watts == 0:
        yield Refusal(("supply", "cap"), "supply.cap is 0", 'Write cap = "8 MW", or leave it out')
