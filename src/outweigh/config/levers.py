"""A file of levers (TOML) -> a base and what is declared of each lever. docs/levers-curve.md shows one."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, PlainValidator, WithJsonSchema

from outweigh.config.documents import read_model, read_text
from outweigh.config.locate import Path as KeyPath
from outweigh.config.reading import Benefit, CarbonPrice, EnergyLimit, EnergyPrice, Intensity
from outweigh.config.refusals import Refusal, dotted
from outweigh.core.errors import ConfigError, InvalidQuantity
from outweigh.core.units import parse_share
from outweigh.whatif.finance import annuity
from outweigh.whatif.levers_curve import Base, Kind, Lever, Ratio

PAGE = "docs/levers-curve.md"
_NO_CHANGE = Ratio()


def _read_change(value: object) -> Ratio:
    def left(one: object) -> float:
        text = one.strip() if isinstance(one, str) else ""
        if text[:1] not in ("+", "-") or not text.endswith("%"):
            raise InvalidQuantity("change", repr(one), "write it with its sign: '-12%' or '+3%'")
        return 1 + parse_share(text)

    if not isinstance(value, dict):
        return Ratio(*[left(value)] * 3)
    if set(value) != {"value", "low", "high"}:
        raise InvalidQuantity("change", ", ".join(map(str, value)) or "nothing", "give value, low and high")
    ends = sorted((left(value["low"]), left(value["high"])))
    return Ratio(left(value["value"]), *ends)


def _read_rate(value: object) -> float:
    rate = parse_share(value) if isinstance(value, str) else None
    if rate is None or not -1 < rate < 10:
        raise InvalidQuantity("rate", repr(value), "write it as '8%'")
    return rate


_Change = Annotated[Ratio, PlainValidator(_read_change), WithJsonSchema({"type": ["string", "object"]})]
_Rate = Annotated[float, PlainValidator(_read_rate), WithJsonSchema({"type": "string"})]


class _Table(BaseModel):
    model_config = ConfigDict(extra="forbid", strict=True, frozen=True, allow_inf_nan=False)


class _Base(_Table):
    """A year as it goes on if nobody does anything."""

    energy: EnergyLimit | None = Field(
        default=None, examples=["480 MWh"], description="Of a year, at the meter. Default: the review's incumbent."
    )
    price: EnergyPrice = Field(examples=["0.14 EUR/kWh"], description="Of energy.")
    intensity: Intensity = Field(examples=["350 gCO2e/kWh"], description="Carbon of energy.")
    carbon_price: CarbonPrice | None = Field(default=None, examples=["80 EUR/t"], description="Counts as a saving.")
    rate: _Rate = Field(default=0.0, examples=["8%"], description="Yearly interest on capital.")


class _Lever(_Table):
    variant: str = Field(default="", examples=["l3-int8"], description="Measured under this name in the review.")
    energy: _Change = Field(default=_NO_CHANGE, examples=["-12%"], description="Change of energy.")
    intensity: _Change = Field(default=_NO_CHANGE, examples=["-8%"], description="Change of its carbon.")
    price: _Change = Field(default=_NO_CHANGE, examples=["-3%"], description="Change of its price.")
    capex: Benefit | None = Field(default=None, examples=["5000 EUR"], description="Paid once, for `life` years.")
    life: float = Field(default=5.0, gt=0, le=60, examples=[5.0], description="Years that capital lasts.")
    running: Benefit | None = Field(default=None, examples=["3000 EUR"], description="Paid every year.")
    kind: Literal["", "software", "place", "hour", "facility"] = Field(
        default="", examples=["facility"], description="What it changes. Default: software, where energy changes."
    )
    together: str = Field(default="", examples=["stack"], description="Software levers that were measured together.")
    excludes: str = Field(default="", examples=["place"], description="Group of which one lever can be used.")
    source: str = Field(default="", examples=["vendor's sheet"], description="Where the change is from.")
    attempt: str = Field(default="", alias="try", examples=["outweigh shrink l3"], description="Command to try it.")


class LeversToml(_Table):
    """What could be saved of a year of energy."""

    base: _Base
    lever: dict[str, _Lever] = Field(default={}, description="Levers by name.")


@dataclass(frozen=True, slots=True)
class DeclaredLevers:
    """What a file declares.

    Attributes:
        kwh: energy of a year; None where it is left to the review.
        projected: levers with a change of their own.
        costs: of measured variants: lever with its cost, no change, by the variant's name.
    """

    kwh: float | None
    price: float
    g_per_kwh: float
    currency: str
    carbon_price: float
    projected: tuple[Lever, ...]
    costs: dict[str, Lever]
    source: str

    def base(self, kwh: float) -> Base:
        return Base(kwh, self.price, self.g_per_kwh, self.currency, self.carbon_price)


def load_levers(path: Path) -> DeclaredLevers:
    """Read a file of levers.

    Raises:
        ConfigError: it is missing or unreadable, is not TOML, or says something we refuse.
    """
    text = read_text(path, f"Write one as {PAGE} shows")
    document = read_model(text, str(path), LeversToml, PAGE, lambda tables: list(_check(tables)))
    base = document.base
    projected: list[Lever] = []
    costs: dict[str, Lever] = {}
    for name, table in document.lever.items():
        lever = _lever(name, table, base.rate)
        if table.variant:
            costs[table.variant] = lever
        else:
            projected.append(lever)
    try:
        return DeclaredLevers(
            kwh=None if base.energy is None else base.energy.to_kwh(),
            price=base.price.amount_per_kwh,
            g_per_kwh=base.intensity.g_per_kwh,
            currency=base.price.currency,
            carbon_price=0.0 if base.carbon_price is None else base.carbon_price.amount,
            projected=tuple(projected),
            costs=costs,
            source=str(path),
        )
    except InvalidQuantity as err:
        raise ConfigError(str(path), 0, f"{err.quantity}: {err.given}", err.remedy) from err


def _lever(name: str, table: _Lever, rate: float) -> Lever:
    capital = 0.0 if table.capex is None else table.capex.amount * annuity(rate, table.life)
    return Lever(
        name, table.energy, table.intensity, table.price,
        cost=capital + (0.0 if table.running is None else table.running.amount),
        source=table.source or "declared", kind=Kind(table.kind) if table.kind else None, excludes=table.excludes,
        together=table.together, command=table.attempt,
    )  # fmt: skip


def _check(document: LeversToml) -> Iterator[Refusal]:
    currency = document.base.price.currency
    stated: list[tuple[KeyPath, str]] = []
    if document.base.carbon_price is not None:
        stated.append((("base", "carbon_price"), document.base.carbon_price.currency))
    variants: set[str] = set()
    for name, table in document.lever.items():
        path: KeyPath = ("lever", name)
        stated += [
            ((*path, key), money.currency)
            for key, money in (("capex", table.capex), ("running", table.running))
            if money is not None
        ]
        changed = any(one != _NO_CHANGE for one in (table.energy, table.intensity, table.price))
        if table.variant and changed:
            problem = f"{dotted(path)} declares a change and names a measured variant"
            yield Refusal(path, problem, "Leave the change to the measurement, or leave variant out")
        if not table.variant and table.energy == _NO_CHANGE and table.intensity == _NO_CHANGE:
            yield Refusal(path, f"{dotted(path)} changes nothing", 'Write energy = "-12%", or name its variant')
        if table.together and table.kind not in ("", Kind.SOFTWARE):
            problem = f"{dotted(path)} is of kind {table.kind}, and only software is measured together"
            yield Refusal((*path, "together"), problem, "Leave together out: levers of different kinds count together")
        if table.variant in variants:
            yield Refusal((*path, "variant"), f"two levers name the variant {table.variant!r}", "Leave one of them out")
        variants |= {table.variant} - {""}
    for path, found in stated:
        if found != currency:
            remedy = "Two currencies do not add: convert at a rate you state"
            yield Refusal(path, f"{dotted(path)} is in {found}, base.price in {currency}", remedy)
    if document.base.price.amount_per_kwh < 0:
        yield Refusal(("base", "price"), "base.price is negative", "Write the year's mean price, 0 or more")
