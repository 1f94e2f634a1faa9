"""A zone's past, for the bound and for forecasts: as long as a file or an archive has it, or as long as is asked."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from outweigh.core.errors import FactorMissing, GapsTooLarge, GridBusy, GridHeldBack, UsageError
from outweigh.core.intervals import Interval
from outweigh.core.series import CarbonMeaning, CarbonSeries, Gap, PriceSeries
from outweigh.grid import name_at, open_source, price_zones, zone_among
from outweigh.ports import GridSource

Tell = Callable[[str, float], None]

YEAR_H = 365 * 24
PATIENCE_S = 120.0  # for a provider that asks for a pause, over all of a history
# For our own keeping to a published limit: at two requests a minute a year of months is through in seven minutes.
LIMIT_PATIENCE_S = 600.0
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
    meaning: CarbonMeaning | None = None,
    tell: Tell = lambda _what, _share: None,
    sleep: Callable[[float], None] = time.sleep,
) -> History:
    """The past of a zone.

    Args:
        zone: as typed; see `outweigh.grid.zone_among`.
        source: "name" or "name:argument".
        file: the user's own figures; stands for "file:PATH".
        last_h: the last so many hours [h] of it; None takes all that a file or archive has. Of others a year at most.
        until: nothing from then on is asked for; the present where it is later or None. A file is read as it is.
        meaning: which carbon intensity; None takes the source's own, and of a file of several the one it has most of.
        tell: how far it is; a provider is asked month by month, and waited for where its limit says so.
        sleep: how to wait [s].

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
    found = zone_among([opened], zone, price_zones() if price else ())
    key = name_at(opened, found, zone)
    asked = _span(opened, last_h, until or now)
    notes = [found.note] if found.note else []
    if opened.name in _AT_HAND:
        series = opened.prices(key, asked) if price else _most_known(opened, key, asked, meaning, notes)
    else:
        series = _Months(opened, key, price, meaning, tell, sleep).over(asked)
    series = _known(series, until)
    if last_h is not None and series.seconds > 3600 * last_h:
        series = series.window(Interval(series.interval.end - timedelta(hours=last_h), series.interval.end))
    return History(found.key, found.name, opened.name, series, tuple(notes))


def _most_known(
    source: GridSource, key: str, asked: Interval, meaning: CarbonMeaning | None, notes: list[str]
) -> CarbonSeries:
    """The answer to the question asked; without one, to that of which the source knows the most time."""
    series = source.carbon(key, asked, meaning)
    if meaning is not None:
        return series
    answers = [series]
    for other in source.limits.meanings:
        if other != series.meaning:
            try:
                answers.append(source.carbon(key, asked, other))
            except FactorMissing:
                continue  # of another zone
    best = min(answers, key=lambda one: one.missing_share)
    if len(answers) > 1:
        notes.append(
            f"of {len(answers)} questions that {source.name} answers of {key} this is the one it knows the most time "
            "of; --question names another"
        )
    return best


class _Months:
    """A provider's past, asked for by calendar months: what has come is kept, so that a second try goes on there."""

    def __init__(
        self,
        source: GridSource,
        key: str,
        price: bool,
        meaning: CarbonMeaning | None,
        tell: Tell,
        sleep: Callable[[float], None],
    ) -> None:
        self._source, self._key, self._price, self._meaning = source, key, price, meaning
        self._tell, self._sleep = tell, sleep
        self._patience_s, self._limit_patience_s, self._share = PATIENCE_S, LIMIT_PATIENCE_S, 0.0

    def over(self, asked: Interval) -> CarbonSeries | PriceSeries:
        parts = []
        for month in _months(asked, self._source.limits.back_s is None):
            self._share = max(0.0, (month.start - asked.start) / (asked.end - asked.start))
            self._tell(f"{self._key} {month.start:%Y-%m}", self._share)
            parts.append(self._answer(month))
        retrieved = max((at for one in parts if (at := one.origin.retrieved_at) is not None), default=None)
        slots = [slot for one in parts for slot in one.slots()]
        first, origin = parts[0], replace(parts[0].origin, retrieved_at=retrieved)
        if isinstance(first, CarbonSeries):
            return CarbonSeries.of(slots, asked, first.meaning, origin)
        return PriceSeries.of(slots, asked, first.meaning, origin)

    def _answer(self, month: Interval) -> CarbonSeries | PriceSeries:
        while True:
            try:
                if self._price:
                    return self._source.prices(self._key, month)
                return self._source.carbon(self._key, month, self._meaning)
            except GridBusy as err:
                wait_s = err.retry_after_s
                if isinstance(err, GridHeldBack):
                    self._limit_patience_s -= wait_s
                else:
                    self._patience_s -= wait_s
                if min(self._patience_s, self._limit_patience_s) < 0:
                    what = " --price" if self._price else ""
                    raise type(err)(
                        err.source,
                        wait_s,
                        f"Months that came are kept for a day, so try again in {wait_s} s; or fill an archive, which "
                        f"keeps them: `outweigh grid fetch {self._key} --source {self._source.name}{what} --from "
                        f"{month.start:%Y-%m-%d}`, then --source archive",
                    ) from err
                self._tell(f"waiting {wait_s} s for {self._source.name}", self._share)
                self._sleep(wait_s)


def _months(asked: Interval, from_the_first: bool) -> Iterator[Interval]:
    """The calendar months (UTC) it lies in. `from_the_first`: all of the first one, so that its address is the same
    tomorrow."""
    first = asked.start.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    while first < asked.end:
        following = (first + timedelta(days=32)).replace(day=1)
        yield Interval(first if from_the_first else max(first, asked.start), min(following, asked.end))
        first = following


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
