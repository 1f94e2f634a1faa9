"""A zone's past, for the bound and for forecasts: as long as a file or an archive has it, or as long as is asked."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from outweigh.core.errors import GapsTooLarge, UsageError
from outweigh.core.intervals import Interval
from outweigh.core.series import CarbonSeries, Gap, PriceSeries
from outweigh.grid import find_zone, open_source, price_zones
from outweigh.ports import GridSource

YEAR_H = 365 * 24
# Sources that hold what they hold: asking for all of it costs nothing and asks nobody.
_AT_HAND = ("file", "archive")
_EVER = Interval(datetime(1990, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC))


class History(NamedTuple):
    """What a source has of a zone, from its first known slot to its last."""

    zone: str
    name: str
    source: str
    series: CarbonSeries | PriceSeries
    notes: tuple[str, ...]


def history_of(
    zone: str,
    *,
    price: bool,
    source: str = "",
    file: Path | None = None,
    last_h: float | None,
    now: datetime,
    until: datetime | None = None,
) -> History:
    """The past of a zone.

    Args:
        zone: as typed; see `outweigh.grid.find_zone`.
        source: "name" or "name:argument".
        file: the user's own figures; stands for "file:PATH".
        last_h: the last so many hours [h] of it; None takes all that a file or archive has. Of others a year at most.
        until: nothing from then on is asked for; the present where it is later or None. A file is read as it is.

    Raises:
        UsageError: no source is named, or two are.
        UnknownZone, FactorMissing and what the source may fail with.
        GapsTooLarge: it has nothing.
    """
    if bool(source) == (file is not None):
        raise UsageError(
            "say where the history is" if not source else "there are two histories",
            "Give one of --file PATH and --source NAME (`--source archive` is what `outweigh grid fetch` kept)",
        )
    opened = open_source(source or f"file:{file}")
    found = find_zone(zone, {*opened.zones(), *(price_zones() if price else ())})
    asked = _span(opened, last_h, until or now)
    series = opened.prices(found.key, asked) if price else opened.carbon(found.key, asked)
    series = _known(series, until)
    if last_h is not None and series.seconds > 3600 * last_h:
        series = series.window(Interval(series.interval.end - timedelta(hours=last_h), series.interval.end))
    return History(found.key, found.name, opened.name, series, (found.note,) if found.note else ())


def _span(source: GridSource, last_h: float | None, until: datetime) -> Interval:
    if source.name in _AT_HAND:
        return _EVER
    # Of a provider, a year at most: more says little of the hours to come and is much to ask for.
    hours = YEAR_H if last_h is None else min(last_h, YEAR_H)
    back_s = source.limits.back_s
    if back_s:
        hours = min(hours, back_s / 3600)
    end = until.replace(minute=0, second=0, microsecond=0)
    return Interval(end - timedelta(hours=hours), end)


def _known(series: CarbonSeries | PriceSeries, until: datetime | None) -> CarbonSeries | PriceSeries:
    """Without the gaps at its ends, and without what begins at `until` or after."""
    known = [i for i, value in enumerate(series.values) if not isinstance(value, Gap)]
    if until is not None:
        known = [i for i in known if series.edges_s[i] < until.timestamp()]
    if not known:
        raise GapsTooLarge(
            f"{series.meaning} of {series.origin.zone} from {series.origin.provider}",
            "all that was asked for",
            100,
            "Take another source or an earlier time",
        )
    first, last = (datetime.fromtimestamp(series.edges_s[i], UTC) for i in (known[0], known[-1] + 1))
    return series.window(Interval(first, last))
