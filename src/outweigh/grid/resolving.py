"""Who answers for a zone: live, then the user's file, the zone's year, its country's year, what is declared.

Never a world average, and never in silence: an answer says which level gave it and why those above did not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Generic, TypeVar

from outweigh.core.errors import (
    FactorMissing,
    GapsTooLarge,
    GridBusy,
    GridDataInvalid,
    GridUnavailable,
    MissingExtra,
    UnknownZone,
)
from outweigh.core.intervals import Interval
from outweigh.core.series import MAX_GAP, CarbonMeaning, CarbonSeries, PriceSeries
from outweigh.grid.zones import Zone, name_at, price_zones, zone_among
from outweigh.ports import GridSource
from outweigh.registry import grid_sources


class Level(StrEnum):
    """Where an answer came from, best first."""

    LIVE = "live"
    FILE = "file"
    ZONE_YEAR = "zone year"
    COUNTRY_YEAR = "country year"
    DECLARED = "declared"


@dataclass(frozen=True, slots=True)
class Sources:
    """What may be asked beside the embedded tables, each in the order it is asked in."""

    live: Sequence[GridSource] = ()
    files: Sequence[GridSource] = ()
    declared: Sequence[GridSource] = ()


@dataclass(frozen=True, slots=True)
class PassedOver:
    """A source that did not answer, and why.

    Attributes:
        without_it: it did, and has nothing (or too little) of that time.
        down: the failure of one that cannot be asked now, which may be another time.
    """

    level: Level
    source: str
    reason: str
    without_it: bool = False
    down: GridUnavailable | None = None


S = TypeVar("S", CarbonSeries, PriceSeries)


@dataclass(frozen=True, slots=True)
class Answer(Generic[S]):
    """A series, the level that gave it, those above that did not, and what a reader should know of it."""

    zone: Zone
    level: Level
    source: str
    series: S
    passed_over: tuple[PassedOver, ...]
    notes: tuple[str, ...]


_Ask = Callable[[GridSource, str], S]
# What a source may fail with and the next one be asked. Everything else is a mistake of ours or of the user.
_PASSED = (FactorMissing, GridUnavailable, GapsTooLarge)


def open_source(text: str) -> GridSource:
    """The grid source that "name" or "name:argument" means ("file:prices.csv"). Raises UnknownBackend, UsageError."""
    source, argument = grid_sources.named(text)
    return source.make(argument)


def resolve_carbon(
    asked: str,
    window: Interval,
    sources: Sources | None = None,
    *,
    meaning: CarbonMeaning | None = None,
    max_gap: float = MAX_GAP,
) -> Answer[CarbonSeries]:
    """Carbon intensity over `window`, from the best level that has it.

    Args:
        asked: a zone as typed; see `find_zone`.
        meaning: the question to answer; None takes each source's own, and of a file of several one that covers the
            window. Ask for one before comparing two zones.
        max_gap: a series with more than this share missing is passed over.

    Raises:
        UnknownZone: no zone goes by that name.
        FactorMissing: no level has it; its remedy tells what each said. Its cause is the failure of a source that
            cannot be asked now, where there is one (`soonest_back`).
        GridDataInvalid, MissingExtra: the user's own file cannot be read. A live source's bad answer is passed over.
    """
    sources = sources or Sources()
    zone = zone_among((*sources.live, *sources.files), asked)

    def ask(source: GridSource, key: str) -> CarbonSeries:
        series = source.carbon(key, window, meaning)
        # A file may answer several questions, each of another time: its first must not send us to a table.
        if meaning is None and series.missing_share > max_gap and source in sources.files:
            return _of_another_question(source, key, window, series, max_gap)
        return series

    return _first("carbon intensity", zone, _rungs(zone, asked, sources), ask, max_gap)


def _of_another_question(
    source: GridSource, key: str, window: Interval, holey: CarbonSeries, max_gap: float
) -> CarbonSeries:
    """The first of the source's other questions whose answer covers the window; else the one that does not."""
    for meaning in source.limits.meanings:
        if meaning == holey.meaning:
            continue
        try:
            series = source.carbon(key, window, meaning)
        except FactorMissing:
            continue  # of another zone
        if series.missing_share <= max_gap:
            return series
    return holey


def resolve_prices(
    asked: str, window: Interval, sources: Sources | None = None, *, max_gap: float = MAX_GAP
) -> Answer[PriceSeries]:
    """Price over `window`, from the best level that has it; raises as `resolve_carbon` does."""
    sources = sources or Sources()
    zone = zone_among((*sources.live, *sources.files), asked, price_zones())
    rungs = _rungs(zone, asked, sources)
    return _first("electricity price", zone, rungs, lambda source, key: source.prices(key, window), max_gap)


def soonest_back(failures: Iterable[GridUnavailable | None]) -> GridUnavailable | None:
    """Of several that cannot be asked now, the one to wait for: the shortest pause, or else the first."""
    down = [one for one in failures if one is not None]
    pauses = [one for one in down if isinstance(one, GridBusy)]
    return min(pauses, key=lambda one: one.retry_after_s) if pauses else next(iter(down), None)


def _first(
    what: str, zone: Zone, rungs: Iterable[tuple[Level, GridSource, str]], ask: _Ask[S], max_gap: float
) -> Answer[S]:
    passed: list[PassedOver] = []
    refused: UnknownZone | None = None
    for level, source, key in rungs:
        if refused is not None and level not in (Level.LIVE, Level.FILE) and not any(one.down for one in passed):
            raise refused  # a slip: a country's mean must not stand in for a place that is none
        if level is Level.ZONE_YEAR and zone.is_country:
            passed.append(PassedOver(level, source.name, f"{zone.key} is a whole country"))
            continue
        try:
            series = ask(source, key)
            if series.missing_share > max_gap:
                series.mean_value(max_gap=max_gap)
        except UnknownZone as err:
            if zone.taken and level is Level.LIVE:
                refused = refused or err
            passed.append(PassedOver(level, source.name, f"{source.name} has no figure of {key}"))
            continue
        except _PASSED as err:
            down = err if isinstance(err, GridUnavailable) else None
            passed.append(PassedOver(level, source.name, str(err), without_it=down is None, down=down))
            continue
        except (GridDataInvalid, MissingExtra) as err:
            # What a person pointed us at is theirs to mend; a table must not quietly take its place.
            if level is not Level.LIVE:
                raise
            passed.append(PassedOver(level, source.name, str(err)))
            continue
        return Answer(zone, level, source.name, series, tuple(passed), tuple(_notes(zone, level, series)))
    tried = "; ".join(f"{one.level}: {one.reason}" for one in passed if one.level is not Level.ZONE_YEAR)
    raise FactorMissing(
        what, zone.key, (), f"Declare it, or point --file at your own figures. Tried {tried or 'nothing'}"
    ) from soonest_back(one.down for one in passed)


def _rungs(zone: Zone, asked: str, sources: Sources) -> Iterator[tuple[Level, GridSource, str]]:
    # What is declared makes no zone known: a slip in its name would otherwise pass for a place.
    for live in sources.live:
        yield Level.LIVE, live, name_at(live, zone, asked)
    for file in sources.files:
        yield Level.FILE, file, zone.key
    tables = grid_sources.get("tables").make()
    yield Level.ZONE_YEAR, tables, zone.key
    if zone.country:
        yield Level.COUNTRY_YEAR, tables, zone.country
    for declared in sources.declared:
        yield Level.DECLARED, declared, zone.key


def _notes(zone: Zone, level: Level, series: CarbonSeries | PriceSeries) -> Iterator[str]:
    if zone.note:
        yield zone.note
    if level is Level.COUNTRY_YEAR and not zone.is_country:
        yield f"the mean of all of {zone.country} stands in for {zone.key}, which may be far from it"
    if isinstance(series, PriceSeries) and series.origin.method:
        yield series.origin.method
    if series.missing_share > 0:
        yield f"{100 * series.missing_share:.1f} % of the window is missing and counts for nothing"
