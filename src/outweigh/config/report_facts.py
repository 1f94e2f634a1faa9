"""A file of declared facts (TOML) for reports in standard forms. docs/reports.md shows one."""

from __future__ import annotations

import csv
import io
import math
from collections.abc import Iterator
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema

from outweigh.config.documents import read_model, read_text
from outweigh.config.reading import EnergyLimit, EnergyPrice, Intensity
from outweigh.config.refusals import Refusal
from outweigh.core.constants import J_PER_KWH, S_PER_HOUR
from outweigh.core.errors import ConfigError, InvalidQuantity
from outweigh.core.measurement import Factor, Grade
from outweigh.core.quantities import CarbonBasis, CarbonIntensity, CarbonScope, Price
from outweigh.data.embodied import embodied_carbon
from outweigh.report.declared import Billing, Embodied, Given, Instrument, ModelFacts, PowerSetup

PAGE = "docs/reports.md"
_S_PER_YEAR_OF_365_DAYS = 365 * 24 * S_PER_HOUR  # as the SCI's own example counts a lifespan
_G_PER = {"g": 1.0, "kg": 1e3, "t": 1e6}


def _mass_g(value: object) -> float:
    """ "1310 kgCO2e" in grams."""
    example = "write a number and a unit, such as '1310 kgCO2e'"
    if not isinstance(value, str):
        raise InvalidQuantity("mass of carbon", repr(value), example)
    number, _, unit = value.strip().partition(" ")
    symbol = unit.strip().removesuffix("CO2e").removesuffix("CO2eq")
    try:
        grams = float(number.replace("_", "")) * _G_PER[symbol]
    except (ValueError, KeyError) as err:
        raise InvalidQuantity("mass of carbon", repr(value), example) from err
    if not (math.isfinite(grams) and grams >= 0):
        raise InvalidQuantity("mass of carbon", repr(value), "it must be finite and not negative")
    return grams


Mass = Annotated[float, PlainValidator(_mass_g), WithJsonSchema({"type": "string"})]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class _Model(_Table):
    name: str = Field(default="", examples=["news-triage minilm"])
    version: str = Field(default="", examples=["1.2.0"])
    supplier: str = Field(default="", examples=["Example GmbH"])
    licence: str = Field(default="", examples=["Apache-2.0"], description="An SPDX licence expression.")
    kind: str = Field(default="", examples=["transformer encoder"])
    parameters: float | None = Field(default=None, gt=0, examples=[22.7e6])
    training_tokens: float | None = Field(default=None, gt=0, examples=[1.2e9])
    training_flop: float | None = Field(default=None, gt=0, examples=[1.6e17])
    inference_flop: float | None = Field(default=None, gt=0, examples=[5.1e17])
    inference_task: str = Field(default="", examples=["generating 100000 tokens"])
    inference_hardware: str = Field(default="", examples=["1 x NVIDIA L4"])
    training_type: str = Field(default="", pattern="^(pre-training|fine-tuning)?$", examples=["fine-tuning"])
    hardware: str = Field(default="", examples=["8 x NVIDIA H100"])
    hardware_count: float | None = Field(default=None, gt=0, examples=[8])
    location: str = Field(default="", examples=["Frankfurt, Germany"])
    release: date | None = Field(default=None, examples=["2026-11-01"])
    download: str = Field(default="", examples=["https://example.org/model"])


class _Grid(_Table):
    zone: str = Field(default="", examples=["DE"], description="Looked up in the tables, location-based.")
    intensity: Intensity | None = Field(default=None, examples=["353 gCO2e/kWh"])
    basis: str = Field(default="location", pattern="^(location|marginal)$", examples=["location"])
    scope: str = Field(default="lifecycle", pattern="^(direct|lifecycle)$", examples=["direct"])
    source: str = Field(default="declared", min_length=1, examples=["Umweltbundesamt 2025"])
    year: str = Field(default="", examples=["2025"])


class _Site(_Table):
    pue: float | None = Field(default=None, ge=1, examples=[1.25])
    price: EnergyPrice | None = Field(default=None, examples=["0.18 EUR/kWh"])
    source: str = Field(default="declared", min_length=1, examples=["meter of the building, 2026"])


class _Embodied(_Table):
    name: str = Field(min_length=1, examples=["server"])
    total: Mass | None = Field(default=None, examples=["1310 kgCO2e"])
    device: str = Field(default="", examples=["nvidia-h100-sxm"], description="Of the table of embodied carbon.")
    count: float = Field(default=1.0, gt=0, examples=[8])
    lifespan_years: float = Field(gt=0, examples=[4.0], description="Of 365 days.")
    share: float = Field(default=1.0, gt=0, le=1, examples=[0.125], description="Of its resources, reserved.")
    reserved_h: float | None = Field(default=None, ge=0, examples=[720.0])
    side: str = Field(default="", pattern="^(consumer|provider)?$", examples=["consumer"])
    source: str = Field(default="declared", min_length=1, examples=["product carbon footprint of the maker"])


class _Instrument(_Table):
    name: str = Field(min_length=1, examples=["wind, guarantees of origin"])
    intensity: Intensity = Field(examples=["0 gCO2e/kWh"])
    energy: EnergyLimit | None = Field(default=None, examples=["12 MWh"], description="Everything, where left out.")
    hourly: str = Field(default="", examples=["wind.csv"], description="CSV of hour and kWh, beside this file.")


class _Market(_Table):
    scope: str = Field(default="direct", pattern="^(direct|lifecycle)$", examples=["direct"])
    residual: Intensity | None = Field(default=None, examples=["690 gCO2e/kWh"])
    source: str = Field(default="declared", min_length=1, examples=["AIB residual mix 2025"])
    instrument: list[_Instrument] = Field(default=[])


class _SciAi(_Table):
    kind: str = Field(default="", examples=["classical"])
    units: float | None = Field(default=None, gt=0, examples=[350.0], description="Of the standard's in one of ours.")
    count: float | None = Field(default=None, gt=0, examples=[5.0e10], description="Delivered in all.")


class _Billing(_Table):
    account: str = Field(default="", examples=["cost-centre-7"])
    account_name: str = Field(default="", examples=["Support"])
    issuer: str = Field(default="", examples=["Stadtwerke Musterstadt"])
    provider: str = Field(default="", examples=["Example GmbH, machine room"])
    region: str = Field(default="", examples=["eu-central-1"])
    invoiced: bool = Field(default=False, description="These rows are the invoice itself.")


class _Power(_Table):
    analyser: str = Field(default="", examples=["Yokogawa WT310E"])
    accuracy: float | None = Field(default=None, gt=0, lt=1, examples=[0.01])
    nodes: int | None = Field(default=None, ge=1, examples=[1])
    clocks_synchronised: bool | None = None
    battery_between: bool | None = None
    interconnect_counted: bool | None = None
    management_documented: bool | None = None
    performance_phase_only: bool | None = None


class ReportFactsToml(_Table):
    """What no meter knows and a standard asks for. Every table may be left out."""

    model: _Model = _Model()
    grid: _Grid = _Grid()
    site: _Site = _Site()
    embodied: list[_Embodied] = Field(default=[])
    market: _Market = _Market()
    sci_ai: _SciAi = _SciAi()
    billing: _Billing = _Billing()
    power: _Power = _Power()


def load_facts(path: Path) -> tuple[Given, str]:
    """Read declared facts.

    Returns:
        The facts, and the zone whose carbon is to be looked up ("" for none). Declared figures are of grade D: nobody
        here measured them.

    Raises:
        ConfigError: it is missing or unreadable, is not TOML, or says something we refuse.
    """
    text = read_text(path, f"Write one as {PAGE} shows, or print one: outweigh report facts")
    found = read_model(text, str(path), ReportFactsToml, PAGE, lambda tables: list(_refused(tables)))
    grid, site, market = found.grid, found.site, found.market
    try:
        given = Given(
            model=ModelFacts(**found.model.model_dump()),
            intensity=None if grid.intensity is None else _rate(
                grid.intensity, CarbonBasis(grid.basis), CarbonScope(grid.scope), grid.source, grid.year
            ),
            pue=None if site.pue is None else (site.pue, _factor("PUE", site.pue, "1", site.source)),
            price=None if site.price is None else (site.price, _price_factor(site.price, site.source)),
            embodied=tuple(_made(one) for one in found.embodied),
            instruments=tuple(_contract(one, CarbonScope(market.scope), path) for one in market.instrument),
            residual=None if market.residual is None else _rate(
                market.residual, CarbonBasis.MARKET, CarbonScope(market.scope), market.source, ""
            ),
            billing=Billing(**found.billing.model_dump()),
            power=PowerSetup(**found.power.model_dump()),
            sci_kind=found.sci_ai.kind,
            sci_units=found.sci_ai.units,
            sci_count=found.sci_ai.count,
        )  # fmt: skip
    except InvalidQuantity as err:
        raise ConfigError(str(path), 0, f"{err.quantity}: {err.given}", err.remedy) from err
    return given, grid.zone


def _refused(document: ReportFactsToml) -> Iterator[Refusal]:
    if document.grid.zone and document.grid.intensity is not None:
        yield Refusal(("grid", "zone"), "grid names a zone and an intensity", "Keep one of them")
    known = embodied_carbon()
    for index, one in enumerate(document.embodied):
        at = ("embodied", index)
        if (one.total is None) == (not one.device):
            yield Refusal(at, f"embodied {one.name!r} needs either total or device", 'Write total = "1310 kgCO2e"')
        elif one.device and one.device not in known:
            remedy = f"There are {', '.join(sorted(known))}; or write total"
            yield Refusal((*at, "device"), f"no figure of embodied carbon is known for {one.device!r}", remedy)
    for index, contract in enumerate(document.market.instrument):
        if contract.hourly and contract.energy is not None:
            where = ("market", "instrument", index, "hourly")
            remedy = "The file of hours says its energy: keep it"
            yield Refusal(where, f"{contract.name!r} has energy and hourly", remedy)


def _made(one: _Embodied) -> Embodied:
    if one.total is not None:
        low = high = one.total * one.count
        source = one.source
    else:
        row = embodied_carbon()[one.device]
        low, high = row.low_kg * 1e3 * one.count, row.high_kg * 1e3 * one.count
        source = f"{row.provenance.source} ({row.scope})"
    reserved_s = None if one.reserved_h is None else one.reserved_h * S_PER_HOUR
    return Embodied(
        one.name, low, high, one.lifespan_years * _S_PER_YEAR_OF_365_DAYS, one.share, reserved_s, one.side, source
    )


def _contract(one: _Instrument, scope: CarbonScope, path: Path) -> Instrument:
    hourly = _hours(path.parent / one.hourly) if one.hourly else ()
    return Instrument(one.name, one.intensity.g_per_kwh, one.energy, scope, hourly)


def _hours(path: Path) -> tuple[tuple[float, float], ...]:
    """Hour (ISO 8601 with its distance from UTC) and kWh, a line each under a heading, as (epoch [s], J)."""
    remedy = "Write a heading and lines such as 2026-11-23T14:00Z,12.5"
    rows = list(csv.reader(io.StringIO(read_text(path, remedy))))[1:]
    found: dict[float, float] = {}
    for number, row in enumerate(rows, start=2):
        if not row:
            continue
        try:
            stamp, kwh = datetime.fromisoformat(row[0].strip()), float(row[1])
        except (ValueError, IndexError) as err:
            raise ConfigError(str(path), number, f"{','.join(row)!r} is no hour with its energy", remedy) from err
        seconds = stamp.timestamp()
        if stamp.tzinfo is None or seconds % S_PER_HOUR or not (math.isfinite(kwh) and kwh >= 0):
            problem = f"{','.join(row)!r} is no whole hour with its distance from UTC and energy of 0 or more"
            raise ConfigError(str(path), number, problem, remedy)
        if seconds in found:
            twice = datetime.fromtimestamp(seconds, UTC).isoformat()
            raise ConfigError(str(path), number, f"the hour {twice} comes twice", "Keep one line an hour")
        found[seconds] = kwh * J_PER_KWH
    return tuple(sorted(found.items()))


def _rate(
    rate: CarbonIntensity, basis: CarbonBasis, scope: CarbonScope, source: str, year: str
) -> tuple[CarbonIntensity, Factor]:
    value = CarbonIntensity(rate.g_per_kwh, basis, scope)
    factor = Factor("carbon intensity", rate.g_per_kwh, "gCO2e/kWh", source, year, "", "declared", Grade.D)
    return value, factor


def _price_factor(price: Price, source: str) -> Factor:
    return _factor("electricity price", price.amount_per_kwh, f"{price.currency}/kWh", source)


def _factor(name: str, value: float, unit: str, source: str) -> Factor:
    return Factor(name, value, unit, source, "", "", "declared", Grade.D)


EXAMPLE = """# What no meter knows and a standard asks for. Leave out what you do not know: you are asked for it.

[model]
name = "news-triage minilm"
version = "1.2.0"
supplier = "Example GmbH"
licence = "Apache-2.0"
parameters = 22.7e6
training_type = "fine-tuning"           # or "pre-training"
hardware = "1 x NVIDIA L4"
hardware_count = 1
location = "Frankfurt, Germany"
release = 2026-11-01
download = "https://example.org/models/news-triage"

[grid]
intensity = "353 gCO2e/kWh"             # or zone = "DE", which is looked up
scope = "direct"                        # or "lifecycle"
source = "the grid operator, 2025"

[site]
pue = 1.25
price = "0.18 EUR/kWh"

[[embodied]]                            # hardware, for the SCI
name = "server"
total = "1310 kgCO2e"                   # or device = "nvidia-h100-sxm"
lifespan_years = 4
share = 1.0                             # of its resources

[sci_ai]
kind = "classical"                      # llm, video, image, agent, ocr, classical
units = 1.0                             # inferences to one functional unit

[market]                                # scope 2, market-based
residual = "690 gCO2e/kWh"

[[market.instrument]]
name = "wind, guarantees of origin"
intensity = "0 gCO2e/kWh"
energy = "12 MWh"                       # or hourly = "wind.csv"

[billing]                               # FOCUS
account = "cost-centre-7"
issuer = "Stadtwerke Musterstadt"
provider = "Example GmbH, machine room"

[power]                                 # MLPerf rules
nodes = 1
clocks_synchronised = true
battery_between = false
"""
