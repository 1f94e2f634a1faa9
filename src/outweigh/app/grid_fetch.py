"""Filling the local archive from any grid source: what is missing is asked for, what came is kept."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from outweigh.core.errors import (
    FactorMissing,
    GapsTooLarge,
    GridBusy,
    GridDataInvalid,
    GridUnavailable,
    OutweighError,
    UsageError,
)
from outweigh.core.intervals import Interval
from outweigh.core.series import CarbonMeaning, CarbonSeries, Gap, PriceMeaning, PriceSeries
from outweigh.grid import name_at, open_source, zone_among
from outweigh.grid.archive import Archive, default_folder
from outweigh.ports import GridSource, Offer

Progress = Callable[[str, float], None]

SETTLED_AFTER_H = 72.0
PATIENCE_S = 120.0
_LONGEST_ASK = timedelta(days=31)
# A source that has so often been asked for a hole, each time long after it, is not asked for it again unless told to.
_ASKED_ENOUGH = 3
# Holes that lie nearer are asked for together: figures that come twice cost less than another request.
_NEAR = timedelta(days=7)
_DAY = timedelta(days=1)
_FIRST_WEEK = timedelta(days=7)
_AHEAD = timedelta(days=2)
_WHAT = {Offer.CARBON: "carbon intensity", Offer.FORECAST: "carbon forecast", Offer.PRICES: "electricity price"}


@dataclass(slots=True)
class OfZone:
    """What came of one zone [s of its time].

    Attributes:
        there_s: was in the archive already and settled, so that nobody was asked, `there_gap_s` included.
        there_gap_s: of that, gaps that the source was asked for often enough.
        came_s: came now, gaps among it included.
        gap_s: of what came, what the source has no value of.
        left_s: did not come: the source does not reach back so far, or it failed.
        out_of_reach_s: of that, what it does not reach back to.
        failures: parts that did not come, and why; the others were asked for all the same, unless the source is down.
    """

    zone: str
    requests: int = 0
    puts: list[str] = field(default_factory=list)
    there_s: float = 0.0
    there_gap_s: float = 0.0
    came_s: float = 0.0
    gap_s: float = 0.0
    left_s: float = 0.0
    out_of_reach_s: float = 0.0
    failures: list[tuple[Interval, OutweighError]] = field(default_factory=list)

    @property
    def failure(self) -> OutweighError | None:
        """The first one."""
        return self.failures[0][1] if self.failures else None

    @property
    def has_nothing(self) -> bool:
        return self.there_s <= self.there_gap_s and self.came_s <= self.gap_s


@dataclass(slots=True)
class Fetched:
    """What a fetch brought. `stopped` is the interrupt that ended it, for the caller to raise again."""

    source: str
    what: Offer
    window: Interval
    into: Path
    zones: list[OfZone] = field(default_factory=list)
    stopped: BaseException | None = None

    @property
    def exit_code(self) -> int:
        """0 where all that was asked for is there, as far as the source has it; else that of the first failure."""
        failed = next((one.failure.exit_code for one in self.zones if one.failure is not None), 0)
        return failed or (4 if any(one.left_s > 0 or one.has_nothing for one in self.zones) else 0)

    def rows(self) -> list[dict[str, Any]]:
        """One row a zone, unit in the key."""
        return [
            {
                "zone": one.zone,
                "what": self.what.value,
                "source": self.source,
                "start": self.window.start.isoformat(),
                "end": self.window.end.isoformat(),
                "into": str(self.into),
                "requests": one.requests,
                "puts": one.puts,
                "there_s": one.there_s,
                "there_gap_s": one.there_gap_s,
                "came_s": one.came_s,
                "gap_s": one.gap_s,
                "left_s": one.left_s,
                "failure": None if one.failure is None else str(one.failure),
                "failures": [
                    {"start": part.start.isoformat(), "end": part.end.isoformat(), "reason": str(reason)}
                    for part, reason in one.failures
                ],
            }
            for one in self.zones
        ]


def fetch(
    zones: Sequence[str],
    source: str,
    *,
    start: str = "",
    end: str = "",
    what: Offer = Offer.CARBON,
    into: Path | None = None,
    known_since: str = "",
    again: bool = False,
    settled_after_h: float = SETTLED_AFTER_H,
    patience_s: float = PATIENCE_S,
    progress: Progress = lambda _what, _share: None,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    sleep: Callable[[float], None] = time.sleep,
) -> Fetched:
    """Bring series of some zones into the archive. What came is kept, whatever happens after.

    Only what is missing is asked for, and what may have been revised: slots that were retrieved less than
    `settled_after_h` after their end. A hole in what came is missing, until the source has answered three times that
    it has nothing there; a file is read every time. Long windows are cut to what the source takes at once, at most 31
    days. A part that the source has not, or has bad data of, does not keep the others from coming; an outage does.

    Args:
        zones: as typed; see `zone_among`. What only the source has a name for is kept by that name.
        source: "name" or "name:argument".
        start, end: ISO 8601, a bare date is its midnight in UTC. Default: the last seven days; prices up to the end
            of tomorrow; a forecast from now on, as far as the source looks ahead.
        what: carbon, its forecast, or prices. A forecast is asked for every time: each is an issue of its own.
        into: folder of the archive; default: the user's.
        known_since: from when on this was known, for what does not say: an old download. A file's own time of
            modification by default.
        again: ask for all of it, settled or not.
        patience_s: how long to wait in all for a source that asks for a pause [s].

    Raises:
        UnknownZone: before anything is asked.
        UsageError: the window or the source's name is none. MissingExtra, OutputError: nothing can be kept.
    """
    for option, given in (("--settled-after", settled_after_h), ("--patience", patience_s)):
        if not 0 <= given <= 1e6:
            raise UsageError(f"{option} {given:g} is no length of time", "Give 0 or more, at most a million")
    opened = open_source(source)
    if what not in opened.limits.offers:
        raise FactorMissing(_WHAT[what], source, (), "`outweigh doctor` lists what each source offers; take another")
    window = _window(start, end, what, opened, now())
    keys = list(dict.fromkeys(name_at(opened, zone_among([opened], zone), zone) for zone in zones))
    since = _known_since(known_since, opened, source, now())
    fetched = Fetched(source, what, window, into or default_folder())
    run = _Run(opened, source, Archive(fetched.into), what, since, now, sleep, patience_s)
    asks = [(zone, list(run.missing(zone, window, again, timedelta(hours=settled_after_h)))) for zone in keys]
    total_s = sum(each.seconds for _, parts in asks for each in parts) or 1.0
    done_s = 0.0
    for zone, parts in asks:
        there_s = window.seconds - sum(each.seconds for each in parts)
        of_zone = OfZone(zone, there_s=there_s, there_gap_s=run.gaps_there_s(zone, parts))
        fetched.zones.append(of_zone)
        for part in parts:
            if fetched.stopped is None:
                try:
                    run.ask(of_zone, part, partial(_tell, progress, done_s / total_s))
                except KeyboardInterrupt as stop:
                    fetched.stopped = stop
                    of_zone.left_s += part.seconds
            else:
                of_zone.left_s += part.seconds
            done_s += part.seconds
            progress(f"{zone} until {part.end:%Y-%m-%d}", done_s / total_s)
    return fetched


def _tell(progress: Progress, share: float, what: str) -> None:
    progress(what, share)


class _Run:
    """One source, one archive, and what is left of our patience."""

    def __init__(
        self,
        source: GridSource,
        name: str,
        archive: Archive,
        what: Offer,
        since: datetime | None,
        now: Callable[[], datetime],
        sleep: Callable[[float], None],
        patience_s: float,
    ) -> None:
        self._source, self._name, self._archive, self._what = source, name, archive, what
        self._since, self._now, self._sleep, self._patience_s = since, now, sleep, patience_s
        self._down: OutweighError | None = None
        self._left: dict[str, list[Interval]] = {}  # holes of a zone that were asked for often enough
        self._heard: set[tuple[str, CarbonMeaning | PriceMeaning]] = set()  # what the source has said a word on

    def missing(self, zone: str, window: Interval, again: bool, settles: timedelta) -> Iterator[Interval]:
        """The parts of the window to ask for, cut to what the source takes at once."""
        longest = _LONGEST_ASK
        if self._source.limits.window_s is not None:
            longest = min(longest, timedelta(seconds=self._source.limits.window_s))
        settled = [] if again or self._what is Offer.FORECAST else self._settled(zone, window, settles)
        for part in together(without(window, settled)):
            at = part.start
            while at < part.end:
                upto = min(at + longest, part.end)
                yield Interval(at, upto)
                at = upto

    def gaps_there_s(self, zone: str, asked: Sequence[Interval]) -> float:
        """Gaps in what is not asked for again [s]."""
        return math.fsum(one.seconds for hole in self._left.get(zone, ()) for one in without(hole, asked))

    def _settled(self, zone: str, window: Interval, settles: timedelta) -> list[Interval]:
        kind = PriceMeaning if self._what is Offer.PRICES else CarbonMeaning
        settled, left = list[Interval](), list[Interval]()
        for held in self._archive.held(zone):
            if not isinstance(held.meaning, kind):
                continue
            # What another source said (a file, an older one) does not tell what this one would say.
            for one in self._archive.answered(zone, held.meaning, window, self._name, settles):
                self._heard.add((zone, held.meaning))
                if one.words:
                    settled.append(one.interval)
                elif one.empty >= _ASKED_ENOUGH and self._source.name != "file":
                    left.append(one.interval)
        self._left[zone] = [part for hole in left for part in without(hole, settled)]
        return [*settled, *left]

    def ask(self, of_zone: OfZone, part: Interval, say: Callable[[str], None]) -> None:
        if self._down is not None:
            of_zone.failures.append((part, self._down))
            of_zone.left_s += part.seconds
            return
        reach_s = self._source.limits.back_s
        if reach_s is not None and self._what is not Offer.FORECAST:
            first = self._now() - timedelta(seconds=reach_s)
            if part.start < first:
                short_s = (min(first, part.end) - part.start).total_seconds()
                of_zone.left_s += short_s
                of_zone.out_of_reach_s += short_s
                if part.end <= first:
                    return
                part = Interval(first, part.end)
        try:
            series = self._answer(of_zone, part, say)
            retrieved = self._since or series.origin.retrieved_at or self._now()
            # An answer without a word in it is kept only to tell how often the source was asked for a hole.
            spoke = (of_zone.zone, series.meaning)
            if spoke in self._heard or set(series.values) != {Gap.MISSING}:
                self._heard.add(spoke)
                put = self._archive.put(series, retrieved_at=retrieved, zone=of_zone.zone, backend=self._name)
                of_zone.puts.append(put)
        except (GridUnavailable, FactorMissing, GapsTooLarge, GridDataInvalid) as err:
            of_zone.failures.append((part, err))
            of_zone.left_s += part.seconds
            if isinstance(err, GridUnavailable):
                self._down = err  # the same provider: no other zone fares better now
            return
        of_zone.came_s += part.seconds
        of_zone.gap_s += series.missing_share * series.seconds

    def _answer(self, of_zone: OfZone, part: Interval, say: Callable[[str], None]) -> CarbonSeries | PriceSeries:
        while True:
            try:
                of_zone.requests += 1
                if self._what is Offer.PRICES:
                    return self._source.prices(of_zone.zone, part)
                if self._what is Offer.FORECAST:
                    return self._source.forecast(of_zone.zone, part)
                return self._source.carbon(of_zone.zone, part)
            except GridBusy as err:
                if err.retry_after_s > self._patience_s:
                    raise
                self._patience_s -= err.retry_after_s
                say(f"{self._name} asks for {err.retry_after_s} s")
                self._sleep(err.retry_after_s)


def without(window: Interval, spans: Sequence[Interval]) -> Iterator[Interval]:
    """The parts of a window that no span covers, in order.

    >>> day = Interval.starting(datetime(2026, 1, 1, tzinfo=UTC), 86400)
    >>> noon = Interval.starting(day.start + timedelta(hours=12), 3600)
    >>> [part.seconds / 3600 for part in without(day, [noon])]
    [12.0, 11.0]
    """
    at = window.start
    for span in sorted(spans):
        if span.start >= window.end:
            break
        if span.start > at:
            yield Interval(at, span.start)
        at = max(at, span.end)
    if at < window.end:
        yield Interval(at, window.end)


def together(parts: Iterable[Interval]) -> Iterator[Interval]:
    """Parts in order, those that lie near one another as one."""
    joined: Interval | None = None
    for part in parts:
        if joined is not None and part.start - joined.end < _NEAR:
            joined = Interval(joined.start, part.end)
            continue
        if joined is not None:
            yield joined
        joined = part
    if joined is not None:
        yield joined


def moment(option: str, text: str) -> datetime:
    """A time as people type it: ISO 8601 with its distance from UTC, or a date, which is its midnight in UTC."""
    try:
        stamp = datetime.fromisoformat(text)
    except ValueError as err:
        raise UsageError(f"{option} {text!r} is not an ISO 8601 time", "Write 2026-10-25 or 2026-10-25T02:30Z") from err
    if not 1900 < stamp.year < 2200:
        raise UsageError(f"{option} {text!r} is no time of an electric grid", "Write a year such as 2026")
    if stamp.tzinfo is not None:
        return stamp.astimezone(UTC)
    if "T" in text or " " in text:
        raise UsageError(f"{option} {text!r} does not say how far it is from UTC", "Write 2026-10-25T02:30Z or +02:00")
    return stamp.replace(tzinfo=UTC)


def _window(start: str, end: str, what: Offer, source: GridSource, now: datetime) -> Interval:
    hour = now.replace(minute=0, second=0, microsecond=0)
    if what is Offer.FORECAST:
        ahead_s = source.limits.ahead_s
        first = moment("--from", start) if start else hour
        usual = first + (_AHEAD if ahead_s is None else timedelta(seconds=ahead_s))
    else:
        usual = hour if what is Offer.CARBON else hour.replace(hour=0) + 2 * _DAY
        first = moment("--from", start) if start else (moment("--to", end) if end else hour) - _FIRST_WEEK
    last = moment("--to", end) if end else usual
    if last <= first:
        raise UsageError(f"--to {last:%Y-%m-%dT%H:%MZ} is not after --from {first:%Y-%m-%dT%H:%MZ}", "Turn them round")
    return Interval(first, last)


def _known_since(text: str, source: GridSource, name: str, now: datetime) -> datetime | None:
    if text:
        since = moment("--known-since", text)
        if since > now:
            raise UsageError(f"--known-since {text!r} is yet to come", "Say when the data were downloaded")
        return since
    if source.name != "file":
        return None
    path = Path(name.partition(":")[2])
    try:
        return datetime.fromtimestamp(int(path.stat().st_mtime), UTC)
    except OSError as err:
        raise UsageError(f"{path} cannot be read: {err.strerror}", "Give the path of a readable file") from err


def compact(into: Path | None, progress: Progress) -> dict[str, Any]:
    """Merge the archive's small files; no row is lost. Returns what it did."""
    folder = into or default_folder()
    if not folder.is_dir():
        raise UsageError(f"there is no archive in {folder}", "`outweigh grid fetch ZONE --source NAME` makes one")
    before = sum(1 for _ in folder.rglob("*.parquet"))
    gone = Archive(folder).compact(progress)
    return {"into": str(folder), "files_before": before, "files_after": before - gone}


__all__ = ["Fetched", "OfZone", "compact", "fetch", "moment", "without"]
