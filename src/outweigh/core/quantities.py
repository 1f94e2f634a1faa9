"""Value types for what crosses a public boundary: energy, power, carbon, money and their rates.

Inside loops and arrays we use plain SI floats with the unit in the name; at the doors we use these, so
that Energy + Power is a TypeError and not a number.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from enum import StrEnum
from typing import ClassVar, Self, overload

from outweigh.core.constants import G_PER_KG, G_PER_TONNE, J_PER_KWH, J_PER_MWH, J_PER_WH
from outweigh.core.errors import InvalidQuantity


def _finite(name: str, value: float) -> None:
    if not math.isfinite(value):
        raise InvalidQuantity(name, repr(value), "a quantity is a finite number; missing values stay missing")


@dataclass(frozen=True, slots=True, order=True)
class Energy:
    """Energy [J]. Drawn is positive, fed back is negative.

    >>> Energy.kwh(1) + Energy.wh(500)
    Energy(joules=5400000.0)
    >>> Energy.kwh(2) * Price.per_kwh(0.25, "EUR")
    Money(amount=0.5, currency='EUR')
    """

    joules: float

    def __post_init__(self) -> None:
        _finite("energy", self.joules)

    @classmethod
    def wh(cls, value: float) -> Self:
        return cls(value * J_PER_WH)

    @classmethod
    def kwh(cls, value: float) -> Self:
        return cls(value * J_PER_KWH)

    @classmethod
    def mwh(cls, value: float) -> Self:
        return cls(value * J_PER_MWH)

    def to_wh(self) -> float:
        return self.joules / J_PER_WH

    def to_kwh(self) -> float:
        return self.joules / J_PER_KWH

    def to_mwh(self) -> float:
        return self.joules / J_PER_MWH

    def per(self, seconds: float) -> Power:
        """Mean power over `seconds` [s], which must be positive."""
        if seconds <= 0:
            raise InvalidQuantity("duration", repr(seconds), "mean power needs a duration above zero")
        return Power(self.joules / seconds)

    def __add__(self, other: Energy) -> Energy:
        return Energy(self.joules + other.joules) if isinstance(other, Energy) else NotImplemented

    def __sub__(self, other: Energy) -> Energy:
        return Energy(self.joules - other.joules) if isinstance(other, Energy) else NotImplemented

    def __neg__(self) -> Energy:
        return Energy(-self.joules)

    @overload
    def __mul__(self, other: float) -> Energy: ...
    @overload
    def __mul__(self, other: Price) -> Money: ...
    @overload
    def __mul__(self, other: CarbonIntensity) -> Carbon: ...
    def __mul__(self, other: float | Price | CarbonIntensity) -> Energy | Money | Carbon:
        if isinstance(other, Price):
            return Money(self.joules / J_PER_KWH * other.amount_per_kwh, other.currency)
        if isinstance(other, CarbonIntensity):
            grams = self.joules / J_PER_KWH * other.g_per_kwh
            return _CARBON_BY_BASIS[other.basis](grams, other.scope)
        if isinstance(other, int | float):
            return Energy(self.joules * other)
        return NotImplemented

    __rmul__ = __mul__

    @overload
    def __truediv__(self, other: float) -> Energy: ...
    @overload
    def __truediv__(self, other: Energy) -> float: ...
    def __truediv__(self, other: float | Energy) -> Energy | float:
        if isinstance(other, Energy):
            return self.joules / other.joules
        if isinstance(other, int | float):
            return Energy(self.joules / other)
        return NotImplemented


@dataclass(frozen=True, slots=True, order=True)
class Power:
    """Power [W]. Drawn is positive.

    >>> Power.kw(1).over(3600)
    Energy(joules=3600000.0)
    """

    watts: float

    def __post_init__(self) -> None:
        _finite("power", self.watts)

    @classmethod
    def kw(cls, value: float) -> Self:
        return cls(value * 1e3)

    @classmethod
    def mw(cls, value: float) -> Self:
        """Megawatts."""
        return cls(value * 1e6)

    def to_kw(self) -> float:
        return self.watts / 1e3

    def over(self, seconds: float) -> Energy:
        return Energy(self.watts * seconds)

    def __add__(self, other: Power) -> Power:
        return Power(self.watts + other.watts) if isinstance(other, Power) else NotImplemented

    def __sub__(self, other: Power) -> Power:
        return Power(self.watts - other.watts) if isinstance(other, Power) else NotImplemented

    def __mul__(self, factor: float) -> Power:
        return Power(self.watts * factor) if isinstance(factor, int | float) else NotImplemented

    __rmul__ = __mul__

    @overload
    def __truediv__(self, other: float) -> Power: ...
    @overload
    def __truediv__(self, other: Power) -> float: ...
    def __truediv__(self, other: float | Power) -> Power | float:
        if isinstance(other, Power):
            return self.watts / other.watts
        if isinstance(other, int | float):
            return Power(self.watts / other)
        return NotImplemented


class CarbonBasis(StrEnum):
    """Which question a carbon figure answers. The three are never added or compared."""

    LOCATION = "location"
    MARKET = "market"
    MARGINAL = "marginal"


class CarbonScope(StrEnum):
    """What a factor counts: stack emissions only, or the whole life cycle. Never mixed."""

    DIRECT = "direct"
    LIFECYCLE = "lifecycle"


@dataclass(frozen=True, slots=True)
class Carbon:
    """Greenhouse gas [gCO2e]; use one of the three subclasses. Adding two kinds is a TypeError.

    >>> LocationCarbon(1.0) + MarginalCarbon(1.0)
    Traceback (most recent call last):
        ...
    TypeError: location (lifecycle) and marginal (lifecycle) carbon answer different questions and do not mix
    """

    grams: float
    scope: CarbonScope = CarbonScope.LIFECYCLE
    basis: ClassVar[CarbonBasis]

    def __post_init__(self) -> None:
        if type(self) is Carbon:
            raise TypeError("Carbon is location-based, market-based or marginal: use the subclass that says which")
        _finite("carbon", self.grams)

    def to_kg(self) -> float:
        return self.grams / G_PER_KG

    def to_tonnes(self) -> float:
        return self.grams / G_PER_TONNE

    def _same_kind(self, other: Carbon) -> None:
        if self.basis is not other.basis or self.scope is not other.scope:
            raise TypeError(
                f"{self.basis} ({self.scope}) and {other.basis} ({other.scope}) carbon answer different questions "
                "and do not mix"
            )

    def __add__(self, other: Carbon) -> Self:
        if not isinstance(other, Carbon):
            return NotImplemented
        self._same_kind(other)
        return type(self)(self.grams + other.grams, self.scope)

    def __sub__(self, other: Carbon) -> Self:
        if not isinstance(other, Carbon):
            return NotImplemented
        self._same_kind(other)
        return type(self)(self.grams - other.grams, self.scope)

    def __mul__(self, factor: float) -> Self:
        return type(self)(self.grams * factor, self.scope) if isinstance(factor, int | float) else NotImplemented

    __rmul__ = __mul__

    def __lt__(self, other: Carbon) -> bool:
        if not isinstance(other, Carbon):
            return NotImplemented
        self._same_kind(other)
        return self.grams < other.grams

    def __le__(self, other: Carbon) -> bool:
        if not isinstance(other, Carbon):
            return NotImplemented
        self._same_kind(other)
        return self.grams <= other.grams


@dataclass(frozen=True, slots=True)
class LocationCarbon(Carbon):
    """Carbon of the grid where the energy was drawn (GHG Protocol scope 2, location-based)."""

    basis: ClassVar[CarbonBasis] = CarbonBasis.LOCATION


@dataclass(frozen=True, slots=True)
class MarketCarbon(Carbon):
    """Carbon by contract (GHG Protocol scope 2, market-based)."""

    basis: ClassVar[CarbonBasis] = CarbonBasis.MARKET


@dataclass(frozen=True, slots=True)
class MarginalCarbon(Carbon):
    """Carbon that one more or one less kWh would have changed."""

    basis: ClassVar[CarbonBasis] = CarbonBasis.MARGINAL


_CARBON_BY_BASIS: dict[CarbonBasis, type[Carbon]] = {
    CarbonBasis.LOCATION: LocationCarbon,
    CarbonBasis.MARKET: MarketCarbon,
    CarbonBasis.MARGINAL: MarginalCarbon,
}


@dataclass(frozen=True, slots=True)
class CarbonIntensity:
    """Carbon per energy [gCO2e/kWh], with the question it answers. Negative only for marginal."""

    g_per_kwh: float
    basis: CarbonBasis = CarbonBasis.LOCATION
    scope: CarbonScope = CarbonScope.LIFECYCLE

    def __post_init__(self) -> None:
        _finite("carbon intensity", self.g_per_kwh)
        if self.g_per_kwh < 0 and self.basis is not CarbonBasis.MARGINAL:
            raise InvalidQuantity("carbon intensity", f"{self.g_per_kwh} g/kWh", "an average intensity is not negative")

    def __lt__(self, other: CarbonIntensity) -> bool:
        if not isinstance(other, CarbonIntensity):
            return NotImplemented
        if (self.basis, self.scope) != (other.basis, other.scope):
            raise TypeError(
                f"{self.basis} ({self.scope}) and {other.basis} ({other.scope}) intensities are not comparable"
            )
        return self.g_per_kwh < other.g_per_kwh


# ISO 4217 active codes of currencies in circulation; a typo must not become a currency.
_ISO_4217 = frozenset(
    """AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BRL BSD BTN BWP BYN BZD CAD CDF
    CHF CLP CNY COP CRC CUP CVE CZK DJF DKK DOP DZD EGP ERN ETB EUR FJD FKP GBP GEL GHS GIP GMD GNF GTQ GYD HKD HNL
    HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LYD MAD MDL
    MGA MKD MMK MNT MOP MRU MUR MVR MWK MXN MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON
    RSD RUB RWF SAR SBD SCR SDG SEK SGD SHP SLE SOS SRD SSP STN SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH
    UGX USD UYU UZS VED VES VND VUV WST XAF XCD XCG XOF XPF YER ZAR ZMW ZWG""".split()  # noqa: SIM905
)


def check_currency(code: str) -> str:
    """The code itself when it is an active ISO 4217 code; raises InvalidQuantity otherwise."""
    if not re.fullmatch(r"[A-Z]{3}", code) or code not in _ISO_4217:
        raise InvalidQuantity("currency", repr(code), "use an ISO 4217 code such as EUR, USD or GBP")
    return code


@dataclass(frozen=True, slots=True)
class Money:
    """An amount in one currency (ISO 4217). Two currencies never add: conversion is never silent."""

    amount: float
    currency: str

    def __post_init__(self) -> None:
        _finite("money", self.amount)
        check_currency(self.currency)

    def _same(self, other: Money) -> None:
        if self.currency != other.currency:
            raise TypeError(f"{self.currency} and {other.currency} do not add; convert at a stated rate first")

    def __add__(self, other: Money) -> Money:
        if not isinstance(other, Money):
            return NotImplemented
        self._same(other)
        return Money(self.amount + other.amount, self.currency)

    def __sub__(self, other: Money) -> Money:
        if not isinstance(other, Money):
            return NotImplemented
        self._same(other)
        return Money(self.amount - other.amount, self.currency)

    def __mul__(self, factor: float) -> Money:
        return Money(self.amount * factor, self.currency) if isinstance(factor, int | float) else NotImplemented

    __rmul__ = __mul__

    @overload
    def __truediv__(self, other: float) -> Money: ...
    @overload
    def __truediv__(self, other: Money) -> float: ...
    def __truediv__(self, other: float | Money) -> Money | float:
        if isinstance(other, Money):
            self._same(other)
            return self.amount / other.amount
        if isinstance(other, int | float):
            return Money(self.amount / other, self.currency)
        return NotImplemented

    def __lt__(self, other: Money) -> bool:
        if not isinstance(other, Money):
            return NotImplemented
        self._same(other)
        return self.amount < other.amount

    def __le__(self, other: Money) -> bool:
        if not isinstance(other, Money):
            return NotImplemented
        self._same(other)
        return self.amount <= other.amount


@dataclass(frozen=True, slots=True)
class Price:
    """Money per energy [currency/kWh]. Negative is a real price."""

    amount_per_kwh: float
    currency: str

    def __post_init__(self) -> None:
        _finite("price", self.amount_per_kwh)
        check_currency(self.currency)

    @classmethod
    def per_kwh(cls, amount: float, currency: str) -> Self:
        return cls(amount, currency)

    @classmethod
    def per_mwh(cls, amount: float, currency: str) -> Self:
        return cls(amount / 1e3, currency)
