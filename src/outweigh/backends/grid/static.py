"""One figure a zone, for all time: what somebody declared. Also the double that tests and users plan with."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar, Self

from outweigh.backends.grid._answering import meaning_of, not_offered, plain_names, unknown_zone
from outweigh.core.errors import UsageError
from outweigh.core.intervals import Interval
from outweigh.core.measurement import Grade
from outweigh.core.quantities import CarbonScope
from outweigh.core.rates import parse_intensity, parse_price
from outweigh.core.series import (
    Accounting,
    CarbonKind,
    CarbonMeaning,
    CarbonSeries,
    DataQuality,
    Market,
    Origin,
    PriceMeaning,
    PriceSeries,
)
from outweigh.ports import Availability, Offer, SourceLimits
from outweigh.registry import grid_sources

DECLARED_MEANING = CarbonMeaning(CarbonKind.AVERAGE, CarbonScope.LIFECYCLE, Accounting.PRODUCTION)
_EXAMPLE = "Write static:DE=230 gCO2e/kWh,DE=0.15 EUR/kWh"
_ENTRY = re.compile(r"\s*([^=\s]+)\s*=\s*(.+?)\s*")
_MASS = re.compile(r"[^a-zA-Z]*(g|kg|t|lbs?)\s*(CO2\w*)?\s*/")


@grid_sources.register("static")
class FixedGrid:
    """Declared figures, or whole series, by zone. Grade D: nobody here has measured them.

    Args:
        carbon: zone -> [gCO2e/kWh] (average, lifecycle, production-based), or a series.
        prices: zone -> (amount [currency/kWh], currency), taken as retail without taxes, or a series.
        forecasts: zone -> the forecast it answers with; a zone without one has none.

    A series is answered as it is, cut to the window; outside it there are gaps.

    >>> from datetime import UTC, datetime
    >>> day = Interval.starting(datetime(2026, 1, 1, tzinfo=UTC), 86400)
    >>> FixedGrid(carbon={"DE": 230.0}).carbon("DE", day).mean().g_per_kwh
    230.0
    """

    name: ClassVar[str]

    def __init__(
        self,
        carbon: Mapping[str, float | CarbonSeries] | None = None,
        prices: Mapping[str, tuple[float, str] | PriceSeries] | None = None,
        forecasts: Mapping[str, CarbonSeries] | None = None,
    ) -> None:
        self._carbon, self._prices, self._forecasts = dict(carbon or {}), dict(prices or {}), dict(forecasts or {})

    @classmethod
    def probe(cls) -> Availability:
        return Availability(cls.name, usable=True, sees="figures you declare, for all time", grade=Grade.D)

    @classmethod
    def make(cls, argument: str = "") -> Self:
        """
        >>> FixedGrid.make("DE=230 g/kWh,DE=0.15 EUR/kWh,FR=40 kg/MWh").zones()
        ('DE', 'FR')
        """
        carbon: dict[str, float | CarbonSeries] = {}
        prices: dict[str, tuple[float, str] | PriceSeries] = {}
        for text in filter(str.strip, argument.split(",")):
            entry = _ENTRY.fullmatch(text)
            if entry is None:
                raise UsageError(f"{text!r} is no ZONE=FIGURE", _EXAMPLE)
            zone, figure = entry.groups()
            if "/" not in figure:
                raise UsageError(f"{figure!r} is neither a carbon intensity nor a price", _EXAMPLE)
            if _MASS.match(figure):
                carbon[zone] = parse_intensity(figure)
            else:
                price = parse_price(figure)
                prices[zone] = (price.amount_per_kwh, price.currency)
        return cls(carbon, prices)

    @property
    def limits(self) -> SourceLimits:
        held = {Offer.CARBON: self._carbon, Offer.FORECAST: self._forecasts, Offer.PRICES: self._prices}
        series = (one for one in (*self._carbon.values(), *self._forecasts.values()) if isinstance(one, CarbonSeries))
        plain = [DECLARED_MEANING] if any(isinstance(one, float | int) for one in self._carbon.values()) else []
        return SourceLimits(
            offers=frozenset(offer for offer, what in held.items() if what),
            meanings=tuple(dict.fromkeys([*plain, *(one.meaning for one in series)])),
        )

    def zones(self) -> tuple[str, ...]:
        return tuple(sorted({*self._carbon, *self._prices, *self._forecasts}))

    def carbon(self, zone: str, window: Interval, meaning: CarbonMeaning | None = None) -> CarbonSeries:
        self._known(zone)
        held = self._carbon.get(zone)
        if held is None:
            not_offered(self.name, "carbon intensity", zone)
        if isinstance(held, CarbonSeries):
            return self._asked(held, zone, window, meaning)
        asked = meaning_of(SourceLimits(frozenset(), (DECLARED_MEANING,)), meaning, self.name, zone)
        return CarbonSeries.flat(float(held), window, DataQuality.DECLARED, asked, _origin(zone))

    def forecast(self, zone: str, window: Interval, meaning: CarbonMeaning | None = None) -> CarbonSeries:
        self._known(zone)
        if zone not in self._forecasts:
            not_offered(self.name, "carbon forecast", zone)
        return self._asked(self._forecasts[zone], zone, window, meaning)

    def prices(self, zone: str, window: Interval) -> PriceSeries:
        self._known(zone)
        held = self._prices.get(zone)
        if held is None:
            not_offered(self.name, "electricity price", zone)
        if isinstance(held, PriceSeries):
            return held.window(window)
        amount, currency = held
        meaning = PriceMeaning(currency, Market.RETAIL, taxes=False)
        return PriceSeries.flat(amount, window, DataQuality.DECLARED, meaning, _origin(zone))

    def _asked(self, held: CarbonSeries, zone: str, window: Interval, meaning: CarbonMeaning | None) -> CarbonSeries:
        meaning_of(SourceLimits(frozenset(), (held.meaning,)), meaning, self.name, zone)
        return held.window(window)

    def _known(self, zone: str) -> None:
        if zone not in self.zones():
            unknown_zone(self.name, zone, plain_names(self.zones()))


def _origin(zone: str) -> Origin:
    return Origin("declared", zone, "declared by the user", "declared")
