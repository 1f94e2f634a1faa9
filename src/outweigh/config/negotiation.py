"""A file of buyers and offers (TOML) -> what it declares. docs/tariffs.md shows one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema

from outweigh.config.documents import read_model, read_text
from outweigh.config.reading import Share
from outweigh.config.refusals import Refusal, dotted
from outweigh.config.tariffs import load_tariff
from outweigh.core.errors import ConfigError, InvalidQuantity
from outweigh.core.units import parse_share
from outweigh.whatif.negotiating import Offer
from outweigh.whatif.tariff.terms import Tariff

PAGE = "docs/tariffs.md"


def _read_rate(value: object) -> float:
    rate = parse_share(value) if isinstance(value, str) else None
    if rate is None or not -1 < rate < 10:
        raise InvalidQuantity("yearly rate", repr(value), "write it as '3%'")
    return rate


_Rate = Annotated[float, PlainValidator(_read_rate), WithJsonSchema({"type": "string"})]
_File = Annotated[str, Field(min_length=1)]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class _Sheet(_Table):
    tariff: _File = Field(examples=["today.toml"], description="Today's tariff, from this file's folder.")
    year: int = Field(ge=1900, le=9998, examples=[2026], description="Whose hours are billed.")
    growth: _Rate = Field(default=0.0, examples=["3%"], description="Of today's prices, a year.")
    rate: _Rate = Field(default=0.0, examples=["6%"], description="Yearly discount rate.")


class _Buyer(_Table):
    flat: str = Field(default="", examples=["400 kW"], description="The same load all along.")
    load: str = Field(default="", examples=["week.csv"], description="Or a CSV: a week, or the year.")


class _Curtail(_Table):
    hours: float = Field(gt=0, le=8760, examples=[120.0], description="A year, at most.")
    share: Share = Field(examples=["40%"], description="Of the load that is cut in them.")


class _Offer(_Table):
    tariff: _File = Field(examples=["five-years.toml"], description="Its terms, from this file's folder.")
    years: int | None = Field(default=None, ge=1, le=60, examples=[5], description="For which its prices stand.")
    curtail: _Curtail | None = Field(default=None, description="When the supplier may cut the load.")


class NegotiationToml(_Table):
    """Who buys, under which terms, and what was offered."""

    sheet: _Sheet
    buyer: dict[str, _Buyer] = Field(default={}, description="Loads by name.")
    offer: dict[str, _Offer] = Field(default={}, description="Terms that could be had, by name.")


@dataclass(frozen=True, slots=True)
class DeclaredBuyer:
    """One of `flat` and `load` is given, as written; `load` is a path from the current folder."""

    name: str
    flat: str
    load: Path | None


@dataclass(frozen=True, slots=True)
class Negotiation:
    """What the file declares; tariffs are read."""

    tariff_path: Path
    today: Tariff
    year: int
    growth: float
    rate: float
    buyers: tuple[DeclaredBuyer, ...]
    offers: tuple[Offer, ...]


def load_negotiation(path: Path) -> Negotiation:
    """Read a sheet of buyers and offers, and the tariffs it names.

    Raises:
        ConfigError: a file is missing or unreadable, is not TOML, or says something we refuse.
    """
    text = read_text(path, f"Write one as {PAGE} shows")
    document = read_model(text, str(path), NegotiationToml, PAGE, lambda tables: list(_check(tables)))
    asked, folder = document.sheet, path.parent
    try:
        offers = tuple(
            Offer(
                name,
                load_tariff(folder / table.tariff),
                table.years,
                0.0 if table.curtail is None else table.curtail.hours,
                0.0 if table.curtail is None else table.curtail.share,
            )
            for name, table in document.offer.items()
        )
    except InvalidQuantity as err:
        raise ConfigError(str(path), 0, f"{err.quantity}: {err.given}", err.remedy) from err
    return Negotiation(
        tariff_path=folder / asked.tariff,
        today=load_tariff(folder / asked.tariff),
        year=asked.year,
        growth=asked.growth,
        rate=asked.rate,
        buyers=tuple(
            DeclaredBuyer(name, table.flat, folder / table.load if table.load else None)
            for name, table in document.buyer.items()
        ),
        offers=offers,
    )


def _check(document: NegotiationToml) -> Iterator[Refusal]:
    if not document.buyer:
        yield Refusal(("buyer",), "the file declares no buyer", "Add a table [buyer.small]")
    for name, table in document.buyer.items():
        if bool(table.flat) == bool(table.load):
            path = ("buyer", name)
            yield Refusal(path, f"{dotted(path)} needs one load", 'Write flat = "400 kW" or load = "week.csv"')
