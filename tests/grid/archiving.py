"""Small series to archive: what was, what somebody expected, and what it cost, by the hour from one noon on."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from outweigh.core.intervals import Bounds, Interval
from outweigh.core.quantities import CarbonScope
from outweigh.core.series import (
    Accounting,
    CarbonKind,
    CarbonMeaning,
    CarbonSeries,
    DataQuality,
    Gap,
    Market,
    Origin,
    PriceMeaning,
    PriceSeries,
)

NOON = datetime(2026, 6, 1, 12, tzinfo=UTC)
DIRECT = CarbonMeaning(CarbonKind.AVERAGE, CarbonScope.DIRECT, Accounting.CONSUMPTION)
LIFECYCLE = CarbonMeaning(CarbonKind.AVERAGE, CarbonScope.LIFECYCLE, Accounting.CONSUMPTION)
AUCTION = PriceMeaning("EUR", Market.DAY_AHEAD, taxes=False)


def hours(first: int, last: int) -> Interval:
    """From the `first` hour after noon to the `last`."""
    return Interval(NOON + timedelta(hours=first), NOON + timedelta(hours=last))


def after(n: float) -> datetime:
    return NOON + timedelta(hours=n)


def said(
    values: Sequence[float | Gap | None],
    first: int = 0,
    *,
    provider: str = "a provider",
    issued: datetime | None = None,
    step_s: float = 3600.0,
    meaning: CarbonMeaning = DIRECT,
    zone: str = "DE",
) -> CarbonSeries:
    """What a provider says was, from the `first` hour after noon on."""
    origin = Origin(provider, zone, f"https://{provider.split()[-1]}.example/v1", "CC BY 4.0", "v1", issued)
    return CarbonSeries.regular(after(first), step_s, values, DataQuality.ESTIMATED, meaning, origin)


def expected(
    values: Sequence[float | Gap | None], issued: datetime, first: int = 0, *, wide: float = 0.0
) -> CarbonSeries:
    """A forecast, with prediction intervals `wide` to either side if that is above 0."""
    origin = Origin("a provider", "DE", "https://provider.example/forecast", "CC BY 4.0", "v1", issued)
    made = CarbonSeries.regular(after(first), 3600.0, values, DataQuality.FORECAST, DIRECT, origin)
    if not wide:
        return made
    bounds = tuple(Bounds(v - wide, v + wide, 0.9) for v in made.values if not isinstance(v, Gap))
    return CarbonSeries(DIRECT, made.edges_s, made.values, made.qualities, origin, bounds)


def standing_in(
    values: Sequence[float | Gap | None],
    first: int = 0,
    *,
    provider: str = "a provider",
    quality: DataQuality = DataQuality.TYPICAL,
    issued: datetime | None = None,
) -> CarbonSeries:
    """Figures of another time that stand in for these hours."""
    series = said(values, first, provider=provider, issued=issued)
    return replace(series, qualities=(quality,) * len(series))


def paid(values: Sequence[float | Gap | None], first: int = 0, meaning: PriceMeaning = AUCTION) -> PriceSeries:
    origin = Origin("an exchange", "DE", "https://exchange.example", "own use")
    return PriceSeries.regular(after(first), 3600.0, values, DataQuality.MEASURED, meaning, origin)
