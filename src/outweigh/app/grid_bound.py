"""`grid bound`: the most that shifting could save in a zone, before anyone bothers."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from outweigh.app.grid_history import YEAR_H, History, Tell, history_of
from outweigh.app.grid_question import question_of
from outweigh.core.errors import GapsTooLarge, InvalidQuantity, UsageError
from outweigh.core.intervals import Interval
from outweigh.core.series import CarbonMeaning, CarbonSeries, DataQuality, PriceSeries
from outweigh.grid import find_zone, open_source
from outweigh.grid.bound import Bound, bounds

JOBS_H = (1.0, 4.0, 12.0, 24.0, 96.0)
WINDOWS_H = (12.0, 24.0, 48.0, 168.0)
TYPICAL = "typical"
_OF_YEAR = 2022  # the year that the typical days are of
_LOW_KNOWN = 0.9
_UNITS_H = {"min": 1 / 60, "h": 1.0, "d": 24.0}


@dataclass(frozen=True, slots=True)
class Bounded:
    """What `grid bound` says: one document a job length and window, cells and lines for people, notes."""

    documents: tuple[dict[str, Any], ...]
    head: tuple[str, ...]
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]


def zone_bound(
    zone: str,
    *,
    jobs: Sequence[str] = (),
    windows: Sequence[str] = (),
    price: bool = False,
    source: str = "",
    file: Path | None = None,
    year: int | None = None,
    question: str = "",
    now: datetime | None = None,
    tell: Tell = lambda _what, _share: None,
) -> Bounded:
    """Bounds of a zone by job length and window.

    Args:
        jobs, windows: lengths as typed ("4h", "90min", "7d"); none gives a table of usual ones.
        source, file: where the year is; neither takes the typical days that ship, where there are some of that zone.
        year: the calendar year, UTC; None takes the last 365 days there are.
        question: which carbon intensity, such as "lifecycle-production"; "" takes the source's own.

    Raises:
        UsageError, InvalidQuantity (exit 2), and what a source may fail with.
    """
    now = now or datetime.now(UTC)
    sizes = [(job, window) for job in _lengths(jobs, JOBS_H) for window in _lengths(windows, WINDOWS_H)]
    # Of the usual ones, a job that fills its window tells nothing.
    fitting = [(job, window) for job, window in sizes if job < window or (job == window and jobs and windows)]
    if not fitting or (jobs and windows and len(fitting) < len(sizes)):
        worst = next((job, window) for job, window in sizes if job > window)
        raise UsageError(f"a job of {worst[0]:g} h does not fit a window of {worst[1]:g} h", "Give a longer --window")
    reading = _Reading(price, question_of(question, price=price), now, tell)
    history = _history(zone, reading, source, file, year)
    series = history.series
    longest = max(window for _, window in fitting)
    if longest * 3600 > series.seconds:
        if windows:
            raise InvalidQuantity("window", f"{longest:g} h", f"the series has {series.seconds / 3600:g} h")
        fitting = [(job, window) for job, window in fitting if window * 3600 <= series.seconds]
        if not fitting:
            raise GapsTooLarge(
                f"a history of {series.seconds / 3600:g} h",
                "the shortest window that is usually asked about",
                100,
                "Give a longer one (a year is good), or --job and --window",
            )
    found = bounds(series, fitting)
    typical = DataQuality.TYPICAL in series.qualities
    notes = tuple(_notes(history, found, typical))
    return Bounded(
        tuple(_document(history, one, zone, typical) | {"notes": list(notes)} for one in found),
        tuple(_head(history, found[0])),
        ("job", "window", "in one piece", "with pauses", f"saved, {_unit(series)}", "starts worth it", "left out"),
        tuple(_cells(series, one) for one in found),
        notes,
    )


def hours_of(text: str) -> float:
    """A length as typed, in hours: "4h", "90min", "7d"; a bare number is hours.

    >>> hours_of("90min"), hours_of("7d"), hours_of("4")
    (1.5, 168.0, 4.0)
    """
    plain = text.strip().lower()
    unit = next((unit for unit in _UNITS_H if plain.endswith(unit)), "h")
    try:
        length = float(plain.removesuffix(unit)) * _UNITS_H[unit]
    except ValueError:
        length = float("nan")
    if not 0 < length <= YEAR_H:
        raise UsageError(f"{text!r} is not a length of time", 'Write "4h", "90min" or "7d", up to a year')
    return length


def _lengths(given: Sequence[str], usual: Sequence[float]) -> list[float]:
    return list(dict.fromkeys(hours_of(text) for text in given)) or list(usual)


class _Reading(NamedTuple):
    """What of a zone is read, and who is told how far it is."""

    price: bool
    meaning: CarbonMeaning | None
    now: datetime
    tell: Tell


def _history(zone: str, reading: _Reading, source: str, file: Path | None, year: int | None) -> History:
    price, meaning, now, tell = reading
    if year is not None and not 1990 <= year < 2100:
        raise UsageError(f"--year {year} is no year of electricity data", "Write --year 2025")
    if not source and file is None:
        typical = open_source(TYPICAL)
        known = find_zone(zone, typical.zones())
        if price or known.key not in typical.zones():
            what = "prices" if price else f"typical days of {known.key}"
            raise UsageError(
                f"there are no {what} here to take a bound from",
                "Give a year of data: --file PATH, or --source NAME (`outweigh grid fetch` builds an archive)",
            )
        source = TYPICAL
    if source.partition(":")[0] == TYPICAL:
        if year not in (None, _OF_YEAR):
            raise UsageError(
                f"the typical days here are of {_OF_YEAR}, and --year asks for {year}",
                f"Give that year: --file PATH or --source NAME --year {year}; or leave --year out",
            )
        last = _january(_OF_YEAR + 1)
        return history_of(zone, price=price, source=source, last_h=YEAR_H, now=last, meaning=meaning)
    if year is None:
        return history_of(
            zone, price=price, source=source, file=file, last_h=YEAR_H, now=now, meaning=meaning, tell=tell
        )
    window = Interval(_january(year), min(_january(year + 1), max(now, _january(year))))
    if window.seconds <= 0:
        raise UsageError(f"{year} has not begun", "Give a year that has been")
    history = history_of(
        zone, price=price, source=source, file=file, last_h=None if file else window.seconds / 3600, now=now,
        until=window.end, meaning=meaning, tell=tell,
    )  # fmt: skip
    return history._replace(series=history.series.window(window))


def _january(year: int) -> datetime:
    return datetime(year, 1, 1, tzinfo=UTC)


def _unit(series: CarbonSeries | PriceSeries) -> str:
    return "g/kWh" if isinstance(series, CarbonSeries) else f"{series.meaning.currency}/MWh"


def _figure(series: CarbonSeries | PriceSeries, value: float) -> str:
    return f"{value:.1f}" if isinstance(series, CarbonSeries) else f"{1e3 * value:.2f}"


def _cells(series: CarbonSeries | PriceSeries, one: Bound) -> tuple[str, ...]:
    def percent(share: float | None) -> str:
        return "-" if share is None else f"{100 * share:.1f} %"

    pieces, pauses = one.in_one_piece, one.with_pauses
    return (
        f"{one.job_h:g} h",
        f"{one.window_h:g} h",
        percent(pieces.share),
        percent(pauses.share),
        f"{_figure(series, pieces.mean)} to {_figure(series, pauses.mean)}",
        f"{100 * pieces.worth_share:.0f} %",
        f"{one.left_out} of {one.starts + one.left_out}",
    )


def _head(history: History, first: Bound) -> list[str]:
    series, origin = history.series, history.series.origin
    span, quality = series.interval, series.worst_quality
    who = f"{history.zone} ({history.name})" if history.name else history.zone
    return [
        f"{who}  the most that shifting could have saved, {span.start:%Y-%m-%d} to {span.end:%Y-%m-%d}",
        f"    what     {series.meaning}; at once: {_figure(series, first.now)} {_unit(series)} on average",
        f"    how      perfect foresight; every start of the period; {quality}, grade {quality.grade}",
        f"    source   {origin.source} ({origin.licence})",
    ]


def _notes(history: History, found: Sequence[Bound], typical: bool) -> list[str]:
    series = history.series
    notes = list(history.notes)
    if typical:
        notes.append(
            f"typical days of {_OF_YEAR} have no weather, so a real year has more to gain: this is an example and no "
            "bound for your year. Give --file or --source"
        )
    else:
        known_days = (1 - series.missing_share) * series.seconds / 86400
        if known_days < _LOW_KNOWN * YEAR_H / 24:
            notes.append(f"{known_days:.0f} known days are not a year: other seasons may differ")
    if series.missing_share > 0:
        notes.append(f"{100 * series.missing_share:.1f} % of the period is missing and never wins")
    if any(one.in_one_piece.share is None for one in found):
        notes.append("no percentage where starting at once costs nothing or less on average")
    return notes


def _document(history: History, one: Bound, asked: str, typical: bool) -> dict[str, Any]:
    series, origin = history.series, history.series.origin
    meaning = one.meaning
    if isinstance(series, CarbonSeries):
        of = series.meaning
        what: dict[str, Any] = {"kind": of.kind.value, "scope": of.scope.value, "accounting": of.accounting.value}
        unit = "g_per_kwh"
    else:
        money = series.meaning
        what = {"currency": money.currency, "market": money.market.value, "taxes": "in" if money.taxes else "out"}
        unit = "price_per_kwh"
    return {
        "zone": history.zone,
        "asked": asked,
        "start": one.interval.start.isoformat(),
        "end": one.interval.end.isoformat(),
        "question": str(meaning),
        **what,
        "job_h": one.job_h,
        "window_h": one.window_h,
        f"now_{unit}": one.now,
        f"saved_in_one_piece_{unit}": one.in_one_piece.mean,
        f"saved_with_pauses_{unit}": one.with_pauses.mean,
        "saved_in_one_piece_share": one.in_one_piece.share,
        "saved_with_pauses_share": one.with_pauses.share,
        "starts_worth_it_share": one.in_one_piece.worth_share,
        "starts": one.starts,
        "starts_left_out": one.left_out,
        "missing_share": series.missing_share,
        "method": "perfect foresight over every start; ratio of sums",
        "example_only": typical,
        "quality": series.worst_quality.value,
        "grade": series.worst_quality.grade.value,
        "provider": origin.provider,
        "source": origin.source,
        "licence": origin.licence,
        "retrieved_at": origin.retrieved_at.isoformat() if origin.retrieved_at else None,
        "backend": history.source,
    }
