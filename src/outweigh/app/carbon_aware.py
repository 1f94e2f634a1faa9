"""What the Carbon Aware API answers: carbon intensity that was, and forecasts with their best window, by location.

A location is a zone ("DE", "US-CAL-CISO"), a cloud region ("aws:eu-central-1") or one of Azure by its bare name
("eastus"), which is how clients of the Green Software Foundation's Carbon Aware SDK name places.
"""

from __future__ import annotations

import difflib
import math
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

from outweigh.app.own_forecasts import HISTORY, OwnForecasts
from outweigh.app.taking_turns import TakingTurns
from outweigh.core.errors import (
    FactorMissing,
    GapsTooLarge,
    GridDataInvalid,
    GridUnavailable,
    InvalidQuantity,
    MissingExtra,
    OutweighError,
    SeriesMismatch,
    UnknownZone,
)
from outweigh.core.intervals import Bounds, Interval
from outweigh.core.meaning import CLOCK_SLACK_S, RANK
from outweigh.core.series import MAX_GAP, CarbonMeaning, CarbonSeries, DataQuality, Gap, PriceSeries, Slot
from outweigh.data.places import cloud_regions, typical_days, zone_names
from outweigh.data.tables import zone_intensities
from outweigh.grid import (
    Answer,
    Level,
    PassedOver,
    Sources,
    Zone,
    name_at,
    open_source,
    resolve_carbon,
    resolve_prices,
    soonest_back,
    zone_among,
)
from outweigh.grid.arrays import as_arrays
from outweigh.ports import GridSource

MAX_LOCATIONS = 100
MAX_POINTS = 50_000  # in one answer: a year of hours for five locations
LONGEST = timedelta(days=366)
_HOUR, _DAY = timedelta(hours=1), timedelta(days=1)
_REACH_S = 7 * 86400.0  # how far ahead a source is asked that does not say how far it looks
_AZURE = "azure:"
# Figures exist between these; beyond them arithmetic with dates itself ends.
_FIRST, _LAST = datetime(1990, 1, 1, tzinfo=UTC), datetime(2100, 1, 1, tzinfo=UTC)
# A point that is known is worth telling however few there are; only the mean over a window needs nearly all of it.
_ANY_GAP = 1 - 1e-9
_SAME = 1e-9  # relative: two means of the same values in another order are equal


@dataclass(frozen=True, slots=True)
class Place:
    """A location as a client names it, the name the rest of us know it by, and the zone it lies in."""

    location: str
    name: str
    zone: Zone


@dataclass(frozen=True, slots=True)
class Said:
    """How an answer is known: the series it is from, which level gave it, and what a reader should know of it.

    `passed_over` are the sources that were asked before and did not answer.
    """

    zone: Zone
    level: Level | None
    backend: str
    series: CarbonSeries
    notes: tuple[str, ...]
    passed_over: tuple[PassedOver, ...] = ()


@dataclass(frozen=True, slots=True)
class Rated:
    """Carbon intensity [gCO2e/kWh] of a location over `[start, end)`; `bounds` where the series has them."""

    location: str
    start: datetime
    end: datetime
    g_per_kwh: float
    quality: DataQuality
    bounds: Bounds | None
    said: Said


@dataclass(frozen=True, slots=True)
class Forecast:
    """A forecast cut to `[start, end)` and averaged over windows of `window_min` minutes.

    Attributes:
        generated_at: when the provider issued it, or when it was asked for where it does not say.
        points: one for every start at which the whole window is known.
        optimal: those with the lowest mean, the first first.
    """

    location: str
    requested_at: datetime
    generated_at: datetime
    start: datetime
    end: datetime
    window_min: int
    points: tuple[Rated, ...]
    optimal: tuple[Rated, ...]
    said: Said


@dataclass(frozen=True, slots=True)
class Observed:
    """Points in time order, location by location; `reasons` say why a location has none."""

    points: tuple[Rated, ...]
    reasons: tuple[str, ...]


class CarbonAnswers:
    """Answers from the sources it is given, best first as `grid show` has them. Threads may share it.

    Args:
        sources: live sources, files and declared figures.
        archive: folder of a local archive; asked after the live sources, and for forecasts of the past as of then.
        demo: let a typical day of 2022 stand in for a forecast, marked so, where there is none.
        now: the present; the clock's by default.

    Raises:
        GridDataInvalid, UsageError, MissingExtra: a file or archive that cannot be read is told at once.
    """

    def __init__(
        self,
        sources: Sources,
        *,
        archive: Path | None = None,
        demo: bool = False,
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        files = [*sources.files, *([open_source(f"archive:{archive}")] if archive else [])]
        for file in files:
            file.zones()
        self._sources = replace(
            sources,
            live=[TakingTurns(one, at_hand=False) for one in sources.live],
            files=[TakingTurns(one, at_hand=True) for one in files],
        )
        self._archive, self._demo, self._now = archive, demo, now
        self._own = OwnForecasts()

    def locations(self) -> dict[str, tuple[float | None, float | None]]:
        """Every name a location goes by -> latitude and longitude [degrees, WGS 84], None for a zone."""
        found: dict[str, tuple[float | None, float | None]] = {}
        for key, row in cloud_regions().items():
            if row.zone:
                found[key.removeprefix(_AZURE)] = (row.latitude, row.longitude)
        zones = {row.zone for row in zone_intensities().values()}
        zones |= {row.zone for row in zone_names().values() if not row.now}
        zones |= {zone for source in (*self._sources.live, *self._sources.files) for zone in source.zones()}
        return found | dict.fromkeys(sorted(zones - set(found)), (None, None))

    def observed(self, locations: Sequence[str], start: datetime | None, end: datetime | None) -> Observed:
        """What the intensity was in slots that overlap `[start, end)`.

        Args:
            start: None takes now; without `end`, the slot that holds `start`.

        Raises:
            UnknownZone, InvalidQuantity: named after the parameter that is wrong.
            GridUnavailable, GridBusy: nothing is known, and a source cannot be asked now.
        """
        places = self._places(locations)
        window, asked = self._observed_window(start, end)
        points, reasons, down = [], [], []
        for place in places:
            try:
                answer = self._resolved(place, window, max_gap=_ANY_GAP)
            except (FactorMissing, GapsTooLarge) as err:
                reasons.append(str(err))
                down.append(_down(err))
                continue
            found = [part for point in _rated(place.location, answer, asked) for part in _by_days(point, asked)]
            points.extend(found)
            if len(points) > MAX_POINTS:
                raise InvalidQuantity("toTime", f"a time of {len(points)} points and more", "ask for less at a time")
            if not found:
                reasons.append(f"{answer.source} has nothing of {place.zone.key} for that time")
        _raise_if_down(points, down)
        return Observed(tuple(points), tuple(reasons))

    def best(self, locations: Sequence[str], start: datetime | None, end: datetime | None) -> Observed:
        """The points with the lowest intensity of all locations; ties all, the first first.

        All are of one meaning: a lifecycle figure never wins or loses against a direct one.

        Raises:
            SeriesMismatch: there is no one question that the sources answer for all these locations.
            GridUnavailable, GridBusy: nothing is known, and a source cannot be asked now.
        """
        places = self._places(locations)
        window, asked = self._observed_window(start, end)
        answers, reasons, down = self._of_one_meaning(places, window)
        _raise_if_down(answers, down)
        points = [point for place, answer in answers for point in _rated(place.location, answer, asked)]
        return Observed(_lowest(points), tuple(reasons))

    def average(self, location: str, start: datetime, end: datetime) -> Rated:
        """Time-weighted mean over `[start, end)`.

        Raises:
            FactorMissing, GapsTooLarge: less than nine tenths of it is known.
            GridUnavailable, GridBusy: so, and a source cannot be asked now.
        """
        (place,) = self._places([location])
        window = _checked("startTime", start, "endTime", end)
        try:
            answer = self._resolved(place, window)
        except FactorMissing as err:
            _raise_if_down((), [_down(err)])
            raise
        series = answer.series
        said = Said(answer.zone, answer.level, answer.source, series, answer.notes, answer.passed_over)
        bounds = series.bounds[0] if len(series.bounds) == 1 else None
        return Rated(location, window.start, window.end, series.mean_value(), series.worst_quality, bounds, said)

    def forecast(
        self,
        location: str,
        start: datetime | None = None,
        end: datetime | None = None,
        window_min: int | None = None,
        requested_at: datetime | None = None,
    ) -> Forecast:
        """The newest forecast (as of `requested_at`, where given) and its best window.

        Args:
            start, end: within the forecast; its ends by default.
            window_min: length of the work [min]; one slot of the forecast by default.

        Raises:
            FactorMissing: nobody forecasts for that location; a yearly mean is not passed off as a forecast.
            GridUnavailable, GridBusy: nobody who can be asked now forecasts for it.
            InvalidQuantity: named after the parameter that is wrong.
        """
        (place,) = self._places([location])
        if window_min is not None and window_min <= 0:
            raise InvalidQuantity("windowSize", str(window_min), "give the length of the work in minutes, above 0")
        for field, stamp in (("dataStartAt", start), ("dataEndAt", end), ("requestedAt", requested_at)):
            if stamp is not None:
                _sane(field, stamp)
        if start is not None and end is not None:
            _checked("dataStartAt", start, "dataEndAt", end)
        now = self._now()
        if requested_at is not None and requested_at > now + timedelta(seconds=CLOCK_SLACK_S):
            raise InvalidQuantity(
                "requestedAt", requested_at.isoformat(), "it lies ahead; ask for the current forecast"
            )
        at = requested_at or now
        series, said = self._newest(place, at, past=requested_at is not None)
        first, last = _known_span(series)
        begin, finish = start or first, end or last
        for field, stamp in (("dataStartAt", begin), ("dataEndAt", finish)):
            if not first <= stamp <= last:
                raise InvalidQuantity(
                    field, stamp.isoformat(), f"the forecast covers {first.isoformat()} to {last.isoformat()}"
                )
        points = tuple(_windows(series, begin, finish, window_min, said))
        if not points:
            raise InvalidQuantity(
                "windowSize" if window_min else "dataEndAt",
                f"{window_min} min" if window_min else finish.isoformat(),
                f"no whole window is known between {begin.isoformat()} and {finish.isoformat()}",
            )
        shown_min = window_min or int((points[0].end - points[0].start).total_seconds() // 60)
        issued = series.origin.issued_at or at
        return Forecast(location, at, issued, begin, finish, shown_min, points, _lowest(points), said)

    def carbon(self, location: str, window: Interval) -> Answer[CarbonSeries]:
        """Carbon intensity over a window, as far as it is known. Raises UnknownZone, FactorMissing, GapsTooLarge."""
        (place,) = self._places([location])
        return self._resolved(place, window, max_gap=_ANY_GAP)

    def prices(self, location: str, window: Interval) -> Answer[PriceSeries]:
        """Price over a window, as far as it is known. Raises UnknownZone, FactorMissing, GapsTooLarge."""
        return resolve_prices(location, window, self._sources, max_gap=_ANY_GAP)

    # --- in private ---------------------------------------------------------------------------------

    def _places(self, locations: Sequence[str]) -> list[Place]:
        if len(locations) > MAX_LOCATIONS:
            raise InvalidQuantity("location", f"a list of {len(locations)}", f"ask for {MAX_LOCATIONS} at a time")
        sources = (*self._sources.live, *self._sources.files)
        known = {zone for source in sources for zone in source.zones()}
        return [self._place(location, sources, known) for location in dict.fromkeys(locations)]

    def _place(self, location: str, sources: Sequence[GridSource], known: set[str]) -> Place:
        azure = _AZURE + location.lower()
        name = azure if azure in cloud_regions() and location not in known else location
        try:
            return Place(location, name, zone_among(sources, name))
        except UnknownZone as err:
            names, letters = list(self.locations()), sorted(location.lower())
            # Words in another order are far apart by edits: "useast", as the SDK's own documentation has it.
            turned = [name for name in names if len(name) > 4 and sorted(name) == letters]
            near = difflib.get_close_matches(location.lower(), names, n=3, cutoff=0.6)
            named = tuple(dict.fromkeys([*turned, *near, *err.nearest]))[:5]
            raise UnknownZone(location, named, "GET /locations lists all; the case of a zone counts") from err

    def _observed_window(self, start: datetime | None, end: datetime | None) -> tuple[Interval, Interval]:
        """Whole hours to ask sources for, so that no slot is cut, and what was asked for."""
        if start is None and end is not None:
            raise InvalidQuantity("time", "nothing", "it must be given where toTime is")
        begin = start or self._now()
        asked = Interval(_sane("time", begin), begin) if end is None else _checked("time", begin, "toTime", end)
        first, last = _hour(asked.start), _hour(asked.end)
        return Interval(first, last if last == asked.end > first else last + _HOUR), asked

    def _resolved(
        self, place: Place, window: Interval, meaning: CarbonMeaning | None = None, max_gap: float = MAX_GAP
    ) -> Answer[CarbonSeries]:
        return resolve_carbon(place.name, window, self._sources, meaning=meaning, max_gap=max_gap)

    def _of_one_meaning(
        self, places: Sequence[Place], window: Interval
    ) -> tuple[list[tuple[Place, Answer[CarbonSeries]]], list[str], list[GridUnavailable | None]]:
        answers: list[tuple[Place, Answer[CarbonSeries]]] = []
        reasons, down = [], []
        for place in places:
            try:
                answers.append((place, self._resolved(place, window, max_gap=_ANY_GAP)))
            except (FactorMissing, GapsTooLarge) as err:
                reasons.append(str(err))
                down.append(_down(err))
        meanings = dict.fromkeys(answer.series.meaning for _, answer in answers)
        if len(meanings) < 2:
            return answers, reasons, down
        for meaning in meanings:
            try:
                same = [(place, self._resolved(place, window, meaning, _ANY_GAP)) for place, _ in answers]
                return same, reasons, down
            except (FactorMissing, GapsTooLarge):
                continue
        one, other = list(meanings)[:2]
        raise SeriesMismatch(str(one), str(other), "These locations cannot be ranked; ask for them one by one")

    def _newest(self, place: Place, at: datetime, *, past: bool) -> tuple[CarbonSeries, Said]:
        zone = place.zone
        passed: list[PassedOver] = []
        for level, source in self._forecasters(at, past=past):
            reach_s = min(source.limits.ahead_s or _REACH_S, _REACH_S)
            window = Interval.starting(_hour(at), max(3600.0, 3600 * math.ceil(reach_s / 3600)))
            try:
                series = source.forecast(name_at(source, zone, place.name), window)
            except UnknownZone:
                passed.append(PassedOver(level, source.name, f"{source.name} does not know it"))
                continue
            except GridUnavailable as err:
                passed.append(PassedOver(level, source.name, str(err), down=err))
                continue
            except (FactorMissing, GapsTooLarge) as err:
                passed.append(PassedOver(level, source.name, str(err), without_it=True))
                continue
            except (GridDataInvalid, MissingExtra) as err:
                if level is not Level.LIVE:
                    raise
                passed.append(PassedOver(level, source.name, str(err)))
                continue
            issued = series.origin.issued_at
            if issued is not None and (issued - at).total_seconds() > CLOCK_SLACK_S:
                late = f"that of {source.name} was issued only at {issued.isoformat()}"
                passed.append(PassedOver(level, source.name, late, without_it=True))
                continue
            # Within what it covers: a series that is padded with gaps loses its prediction intervals.
            series = series.window(Interval(_slot_start(series, at), series.interval.end))
            if series.missing_share >= 1 or series.interval.end <= at:
                over = f"that of {source.name} says nothing of the time after {at.isoformat()}"
                passed.append(PassedOver(level, source.name, over, without_it=True))
                continue
            return series, Said(zone, level, source.name, series, (zone.note,) if zone.note else (), tuple(passed))
        if not past:
            try:
                return self._from_history(zone, at, tuple(passed))
            except (FactorMissing, GapsTooLarge, InvalidQuantity) as err:
                passed.append(PassedOver(Level.FILE, "own forecast", str(err), without_it=True))
        if self._demo and zone.key in typical_days():
            return self._typical(zone, at, tuple(passed))
        _raise_if_down((), [one.down for one in passed])
        tried = "; ".join(one.reason for one in passed) or "no source was given"
        raise FactorMissing(
            "carbon forecast",
            zone.key,
            (),
            f"A yearly mean is no forecast: start with --source, --file or --archive, which have one. Tried: {tried}",
        )

    def _from_history(self, zone: Zone, at: datetime, passed: tuple[PassedOver, ...]) -> tuple[CarbonSeries, Said]:
        """Our own forecast, from the history in the user's files or archive."""
        window = Interval.starting(at - HISTORY, HISTORY.total_seconds())
        for source in self._sources.files:
            if zone.key not in source.zones():
                continue
            history = source.carbon(zone.key, window)
            series = self._own.forecast(zone.key, history, at)
            notes = [f"our own forecast, from the history in {source.name}", *([zone.note] if zone.note else [])]
            return series, Said(zone, Level.FILE, source.name, series, tuple(notes), passed)
        raise FactorMissing("history", zone.key, (), "Give one as --file or --archive, and we forecast from it")

    def _forecasters(self, at: datetime, *, past: bool) -> Iterator[tuple[Level, GridSource]]:
        if not past:
            yield from ((Level.LIVE, source) for source in self._sources.live)
        for source in self._sources.files:
            if past and source.name == "archive":
                yield Level.FILE, open_source(f"archive:{self._archive}@{at.isoformat()}")
            else:
                yield Level.FILE, source

    def _typical(self, zone: Zone, at: datetime, passed: tuple[PassedOver, ...]) -> tuple[CarbonSeries, Said]:
        source = open_source("typical")
        series = source.carbon(zone.key, Interval.starting(_hour(at), 48 * 3600.0))
        note = "a typical day of another year, for a demonstration: not a forecast"
        return series, Said(zone, None, source.name, series, (note, *((zone.note,) if zone.note else ())), passed)


def _down(err: OutweighError) -> GridUnavailable | None:
    """The source that cannot be asked now and might have had it; see `resolve_carbon`."""
    return err.__cause__ if isinstance(err.__cause__, GridUnavailable) else None


def _raise_if_down(known: Collection[object], failures: Iterable[GridUnavailable | None]) -> None:
    """Where nothing is known, that is for now: the client should come back, and not take it for an answer."""
    down = None if known else soonest_back(failures)
    if down is not None:
        raise down


def _rated(location: str, answer: Answer[CarbonSeries], asked: Interval) -> Iterator[Rated]:
    series = answer.series
    said = Said(answer.zone, answer.level, answer.source, series, answer.notes, answer.passed_over)
    for i, slot in enumerate(series.slots()):
        # At one instant, the slot that holds it.
        inside = slot.end > asked.start and (slot.start < asked.end or slot.start == asked.start == asked.end)
        if inside and _is_known(slot):
            yield _point(location, slot, series, i, said)


def _by_days(point: Rated, asked: Interval) -> Iterator[Rated]:
    """A point longer than a day, cut at UTC midnights to what was asked for: clients expect hours, not years."""
    if point.end - point.start <= _DAY:
        yield point
        return
    start, last = max(point.start, asked.start), min(point.end, max(asked.end, asked.start + _HOUR))
    while start < last:
        midnight = start.replace(hour=0, minute=0, second=0, microsecond=0) + _DAY
        end = min(midnight, last)
        yield replace(point, start=start, end=end)
        start = end


def _point(location: str, slot: Slot, series: CarbonSeries, i: int, said: Said) -> Rated:
    value = slot.value
    bounds = series.bounds[i] if series.bounds else None
    return Rated(location, slot.start, slot.end, float(value), slot.quality, bounds, said)  # type: ignore[arg-type]


def _is_known(slot: Slot) -> bool:
    return not isinstance(slot.value, Gap) and slot.value is not None and slot.quality is not DataQuality.FILLED


def _windows(
    series: CarbonSeries, start: datetime, end: datetime, window_min: int | None, said: Said
) -> Iterator[Rated]:
    """Points of a forecast as the SDK has them: the slots themselves, or means over a window that slides by one slot.

    A window with anything missing in it is left out: it cannot be the best.
    """
    location = series.origin.zone
    if window_min is None:
        for i, slot in enumerate(series.slots()):
            if slot.end > start and slot.start < end and _is_known(slot):
                yield _point(location, slot, series, i, said)
        return
    import numpy as np

    arrays = as_arrays(series)
    edges, known = arrays.edges_s, arrays.known
    t0 = float(edges[0])
    lengths = np.diff(edges)
    grams = np.concatenate([[0.0], np.cumsum(np.where(known, arrays.values, 0.0) * lengths)])
    missing = np.concatenate([[0.0], np.cumsum(np.where(known, 0.0, lengths))])
    first = int(np.argmax(known & (edges[1:] > start.timestamp())))
    tick_s, window_s = float(lengths[first]), 60.0 * window_min
    first_s, last_s = max(start.timestamp(), float(edges[first])), end.timestamp()
    n = math.floor((last_s - window_s - first_s) / tick_s + 1e-9) + 1
    begins = first_s + tick_s * np.arange(max(0, n))
    ends = begins + window_s

    grams_to, grams_from = (np.interp(stamps - t0, edges - t0, grams) for stamps in (ends, begins))
    missing_to, missing_from = (np.interp(stamps - t0, edges - t0, missing) for stamps in (ends, begins))
    means, gaps = (grams_to - grams_from) / window_s, missing_to - missing_from
    for begin_s, mean, gap in zip(begins.tolist(), means.tolist(), gaps.tolist(), strict=True):
        if gap > 1e-6:
            continue
        i, j = bisect_right(series.edges_s, begin_s) - 1, bisect_left(series.edges_s, begin_s + window_s)
        quality = max(series.qualities[i:j], key=lambda one: RANK[one])
        # Bounds of a mean do not follow from those of its parts.
        bounds = series.bounds[i] if series.bounds and j == i + 1 else None
        begin = datetime.fromtimestamp(begin_s, UTC)
        yield Rated(location, begin, begin + timedelta(seconds=window_s), mean, quality, bounds, said)


def _lowest(points: Sequence[Rated]) -> tuple[Rated, ...]:
    if not points:
        return ()
    least = min(point.g_per_kwh for point in points)
    return tuple(point for point in points if point.g_per_kwh <= least + _SAME * abs(least))


def _known_span(series: CarbonSeries) -> tuple[datetime, datetime]:
    known = [slot for slot in series.slots() if _is_known(slot)]
    return known[0].start, known[-1].end


def _slot_start(series: CarbonSeries, at: datetime) -> datetime:
    """The start of the slot that holds `at`: what has ended before is of no use to who plans."""
    i = min(max(0, bisect_right(series.edges_s, at.timestamp()) - 1), len(series) - 1)
    return datetime.fromtimestamp(series.edges_s[i], UTC)


def _sane(field: str, stamp: datetime) -> datetime:
    if not _FIRST <= stamp <= _LAST:
        raise InvalidQuantity(field, stamp.isoformat(), f"give a time between {_FIRST:%Y} and {_LAST:%Y}")
    return stamp


def _checked(start_field: str, start: datetime, end_field: str, end: datetime) -> Interval:
    _sane(start_field, start)
    _sane(end_field, end)
    if not start < end:
        raise InvalidQuantity(end_field, end.isoformat(), f"it must be after {start_field}, {start.isoformat()}")
    if end - start > LONGEST:
        raise InvalidQuantity(end_field, end.isoformat(), f"ask for at most {LONGEST.days} days at a time")
    return Interval(start, end)


def _hour(stamp: datetime) -> datetime:
    return stamp.astimezone(UTC).replace(minute=0, second=0, microsecond=0)
