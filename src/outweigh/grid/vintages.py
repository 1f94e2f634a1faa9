"""What a decision saw, kept so that it can be replayed; and what the decision cost beside the best one.

A record is a small dict that fits in a plan file or a receipt. It names the puts of the archive that the answer was
made of, by digest, and the digest of the answer: `replay` gives back that very series or refuses.

>>> import tempfile
>>> from datetime import UTC, datetime
>>> from pathlib import Path
>>> from outweigh.grid import open_source
>>> from outweigh.grid.archive import Archive
>>> day = Interval.starting(datetime(2026, 6, 1, tzinfo=UTC), 86400)
>>> with tempfile.TemporaryDirectory() as folder:
...     archive = Archive(Path(folder))
...     source = Noted(open_source("typical"), archive, now=lambda: day.end)
...     decided_on = source.carbon("US-TEX-ERCO", day)
...     again = replay(source.records[0], archive)
>>> again.values == decided_on.values, sorted(source.records[0])[:4]
(True, ['asked', 'at', 'end', 'meaning'])
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any, ClassVar, Protocol, TypeVar, runtime_checkable

from outweigh.core.errors import GapsTooLarge, GridDataInvalid, InvalidQuantity
from outweigh.core.intervals import Interval
from outweigh.core.series import (
    MAX_GAP,
    CarbonMeaning,
    CarbonSeries,
    DataQuality,
    Gap,
    PriceSeries,
    check_same_question,
)
from outweigh.grid.archive import Archive, Asked, Look, digest_of, meaning_fields, meaning_from
from outweigh.ports import GridSource, SourceLimits

AnySeries = CarbonSeries | PriceSeries
SCHEMA = 1

# --- what was seen ------------------------------------------------------------------------------------


def seen(look: Look) -> dict[str, Any]:
    """An answer of the archive as a record."""
    vintages = [_vintage(put.id, put.issued_at, put.retrieved_at) for put in look.puts]
    return _record(look.zone, look.asked, look.series, look.at, vintages)


def _record(
    zone: str, asked: Asked, series: AnySeries, at: datetime | None, vintages: list[dict[str, Any]]
) -> dict[str, Any]:
    window = series.interval
    return {
        "schema": SCHEMA,
        "zone": zone,
        "asked": str(asked),
        "meaning": meaning_fields(series.meaning),
        "start": window.start.isoformat(),
        "end": window.end.isoformat(),
        "at": at and at.isoformat(),
        "provider": series.origin.provider,
        "vintages": vintages,
        "series": digest_of(series),
    }


def _vintage(put: str, issued_at: datetime | None, retrieved_at: datetime) -> dict[str, Any]:
    return {
        "put": put,
        "issued_at": issued_at and issued_at.isoformat(),
        "retrieved_at": retrieved_at.isoformat(),
    }


def replay(record: Mapping[str, Any], archive: Archive) -> AnySeries:
    """The series that a decision saw, bit for bit, whatever the archive has learnt since.

    Raises:
        FactorMissing: the archive does not hold what it saw.
        GridDataInvalid: the record is no record of ours, or what is held under its digests says something else.
    """
    try:
        window = Interval(datetime.fromisoformat(record["start"]), datetime.fromisoformat(record["end"]))
        asked, meaning = Asked(record["asked"]), meaning_from(record["meaning"])
        zone, puts, digest = record["zone"], [one["put"] for one in record["vintages"]], record["series"]
    except (KeyError, TypeError, ValueError) as err:
        raise GridDataInvalid("archive", "record of a decision", f"it is not whole ({err})", "Record it again") from err
    if record.get("schema") != SCHEMA:
        raise GridDataInvalid("archive", "record of a decision", "it is of another version", "Upgrade outweigh")
    series = archive.replay(zone, meaning, window, puts, asked=asked)
    if digest_of(series) != digest:
        raise GridDataInvalid(
            "archive", f"{zone} {window.start:%Y-%m-%dT%H:%MZ}", "its vintage is not what the decision saw",
            "Restore the archive from a backup; a file in it was changed",
        )  # fmt: skip
    return series


@runtime_checkable
class _Looks(Protocol):
    """A source that answers from an archive and tells of what."""

    archive: Archive
    last_look: Look | None


class Noted:
    """A grid source that notes all that it is asked: live answers are put into the archive, and every one is recorded.

    Give it to a planner instead of the source itself; `records` then says what the plan was made on.

    Args:
        source: any; one that is an archive itself is not copied.
        archive: where answers are kept.
        now: the present, for what does not say when it was retrieved.
    """

    name: ClassVar[str] = "noted"

    def __init__(
        self, source: GridSource, archive: Archive, now: Callable[[], datetime] = lambda: datetime.now(UTC)
    ) -> None:
        self._source, self._archive, self._now = source, archive, now
        self.records: list[dict[str, Any]] = []

    @property
    def limits(self) -> SourceLimits:
        return self._source.limits

    def zones(self) -> tuple[str, ...]:
        return self._source.zones()

    def carbon(self, zone: str, window: Interval, meaning: CarbonMeaning | None = None) -> CarbonSeries:
        return self._note(zone, self._source.carbon(zone, window, meaning))

    def forecast(self, zone: str, window: Interval, meaning: CarbonMeaning | None = None) -> CarbonSeries:
        return self._note(zone, self._source.forecast(zone, window, meaning))

    def prices(self, zone: str, window: Interval) -> PriceSeries:
        return self._note(zone, self._source.prices(zone, window))

    def _note(self, zone: str, series: S) -> S:
        if isinstance(self._source, _Looks) and self._source.last_look is not None:
            self.records.append(seen(self._source.last_look))
            return series
        retrieved = series.origin.retrieved_at or self._now()
        put = self._archive.put(series, retrieved_at=retrieved, zone=zone, backend=self._source.name)
        # What was put says when it was retrieved, even where the source did not.
        dated = replace(series, origin=replace(series.origin, retrieved_at=retrieved))
        vintage = _vintage(put, dated.origin.issued_at, retrieved)
        self.records.append(_record(zone, Asked.KNOWN, dated, retrieved, [vintage]))
        return series


def noted(source: GridSource, into: Archive | None = None, now: Callable[[], datetime] | None = None) -> Noted | None:
    """`source` with all that it is asked noted: one that looks through an archive as it is, any other into `into`.
    None where it is neither, as nothing could be replayed."""
    archive = source.archive if isinstance(source, _Looks) else into
    if archive is None:
        return None
    return Noted(source, archive) if now is None else Noted(source, archive, now)


S = TypeVar("S", CarbonSeries, PriceSeries)

# --- what it cost -------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Regret:
    """What a choice cost under what then was, for a job of constant power.

    Figures are means over the job's time in `unit` (gCO2e/kWh or money per kWh); times the job's energy they are its
    carbon or cost.

    Attributes:
        chosen: what was chosen.
        best: the best choice there was, by perfect foresight.
        now: starting at once.
        promised: what the forecast said of the choice; None where none is given.
    """

    chosen: float
    best: float
    now: float
    promised: float | None
    unit: str

    @property
    def absolute(self) -> float:
        """Chosen less best, never below 0 [unit]."""
        return self.chosen - self.best

    @property
    def share(self) -> float | None:
        """Part of what perfect foresight saves over starting at once that was not saved; above 1 where starting at
        once was better. None where there was nothing to save."""
        possible = self.now - self.best
        return self.absolute / possible if possible > 0 else None

    @property
    def realised(self) -> float | None:
        """Part of what perfect foresight saves that was saved: 1 - share."""
        return None if self.share is None else 1 - self.share


def regret(
    chosen: Sequence[Interval],
    actual: AnySeries,
    *,
    within: Interval | None = None,
    forecast: AnySeries | None = None,
    pausable: bool | None = None,
) -> Regret:
    """What was chosen, held against the best that could have been chosen under `actual`.

    Args:
        chosen: the times the job ran, which do not overlap.
        actual: what then was; see `Archive.known(..., forecasts=False)`.
        within: the time the job could have run in; default: all of `actual`.
        forecast: what the choice was made on.
        pausable: whether the best choice may be in pieces; default: whether this one is.

    Raises:
        SeriesMismatch: forecast and actual answer different questions.
        GapsTooLarge: more than a tenth of the chosen time, or of that at the start, is not known.
        InvalidQuantity: the choice lies outside of `within`, or overlaps itself.
    """
    within = within or actual.interval
    ordered = sorted(chosen)
    if not ordered or any(one.end > other.start for one, other in pairwise(ordered)):
        raise InvalidQuantity("choice", f"{len(ordered)} stretches of time", "give some that do not overlap")
    if ordered[0].start < within.start or ordered[-1].end > within.end:
        raise InvalidQuantity("choice", f"up to {ordered[-1].end}", f"it must lie within {within.start}, {within.end}")
    if forecast is not None:
        check_same_question(forecast, actual)
    job_s = math.fsum(one.seconds for one in ordered)
    best = cheapest(actual, within, job_s, pausable=len(ordered) > 1 if pausable is None else pausable)
    return Regret(
        mean_over(actual, ordered),
        mean_over(actual, best),
        mean_over(actual, [Interval.starting(within.start, job_s)]),
        None if forecast is None else mean_over(forecast, ordered),
        actual.meaning.unit,
    )


def mean_over(series: AnySeries, times: Sequence[Interval]) -> float:
    """Time-weighted mean over several stretches. Raises GapsTooLarge where over a tenth of one is missing."""
    return math.fsum(series.mean_value(one, max_gap=MAX_GAP) * one.seconds for one in times) / math.fsum(
        one.seconds for one in times
    )


def cheapest(series: AnySeries, within: Interval, job_s: float, *, pausable: bool = False) -> tuple[Interval, ...]:
    """When a job of that length [s] and constant power runs cheapest; the first such time.

    In one piece it may start at any moment: the mean over a window is piecewise linear in its start, so one of the
    starts at which an end of the job meets the edge of a slot is best. Gaps and filled slots are never chosen.

    Raises:
        GapsTooLarge: there is no known stretch that is long enough.
        InvalidQuantity: the job does not fit in the window.
    """
    if not 0 < job_s <= within.seconds:
        raise InvalidQuantity("job", f"{job_s:g} s", f"it must fit in the window of {within.seconds:g} s")
    cut = series.window(within)
    known = [
        (start_s, end_s, value)
        for (start_s, end_s), value, quality in zip(pairwise(cut.edges_s), cut.values, cut.qualities, strict=True)
        if not isinstance(value, Gap) and quality is not DataQuality.FILLED
    ]
    found = _pieces(known, job_s) if pausable else _piece(known, job_s)
    if not found:
        share = 1 - math.fsum(end_s - start_s for start_s, end_s, _ in known) / within.seconds
        raise GapsTooLarge(
            f"{series.meaning} of {series.origin.zone}",
            f"[{within.start:%Y-%m-%dT%H:%MZ}, {within.end:%Y-%m-%dT%H:%MZ})",
            math.ceil(100 * share - 1e-9),
            f"No known stretch is {job_s / 3600:g} h long; take another source or window",
        )
    return tuple(Interval(datetime.fromtimestamp(a, UTC), datetime.fromtimestamp(b, UTC)) for a, b in found)


_Known = list[tuple[float, float, float]]
_Times = list[tuple[float, float]]


def _pieces(known: _Known, job_s: float) -> _Times:
    taken, left_s = _Times(), job_s
    for start_s, end_s, _ in sorted(known, key=lambda slot: (slot[2], slot[0])):
        run_s = min(left_s, end_s - start_s)
        taken.append((start_s, start_s + run_s))
        left_s -= run_s
        if left_s <= 0:
            break
    if left_s > 0:
        return []
    joined = _Times()
    for start_s, end_s in sorted(taken):
        if joined and joined[-1][1] == start_s:
            joined[-1] = (joined[-1][0], end_s)
        else:
            joined.append((start_s, end_s))
    return joined


def _piece(known: _Known, job_s: float) -> _Times:
    best: tuple[float, float] | None = None
    for stretch in _stretches(known):
        edges = [stretch[0][0], *(end_s for _, end_s, _ in stretch)]
        sums = [0.0]
        for start_s, end_s, value in stretch:
            sums.append(sums[-1] + value * (end_s - start_s))
        starts = sorted({s for e in edges for s in (e, e - job_s) if edges[0] <= s and s + job_s <= edges[-1]})
        for start_s in starts:
            total = _upto(edges, sums, start_s + job_s) - _upto(edges, sums, start_s)
            # Sums differ in their last digits where the means are equal: the first of equals is meant.
            if best is None or total < best[0] - 1e-12 * abs(best[0]):
                best = (total, start_s)
    return [] if best is None else [(best[1], best[1] + job_s)]


def _stretches(known: _Known) -> list[_Known]:
    stretches: list[_Known] = []
    for slot in known:
        if stretches and stretches[-1][-1][1] == slot[0]:
            stretches[-1].append(slot)
        else:
            stretches.append([slot])
    return stretches


def _upto(edges: Sequence[float], sums: Sequence[float], moment_s: float) -> float:
    from bisect import bisect_right

    i = min(bisect_right(edges, moment_s), len(edges) - 1) - 1
    return sums[i] + (sums[i + 1] - sums[i]) * (moment_s - edges[i]) / (edges[i + 1] - edges[i])
