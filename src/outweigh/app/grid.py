"""The grid's verbs: what a zone's power carries and costs, which zones there are."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from outweigh.app.grid_question import question_of
from outweigh.core.errors import FactorMissing, UsageError
from outweigh.core.intervals import Interval
from outweigh.core.series import CarbonMeaning, CarbonSeries, PriceSeries
from outweigh.grid import (
    Answer,
    Level,
    PassedOver,
    Sources,
    open_live,
    open_source,
    price_zones,
    resolve_carbon,
    resolve_prices,
    zone_among,
)
from outweigh.ports import Offer

# Generation by fuel comes hours to two days late (docs/grid-sources.md).
LATE_DAYS = 3


@dataclass(frozen=True, slots=True)
class Shown:
    """What `grid show` says of a zone: full figures with the unit in the key, lines for people, and notes."""

    document: dict[str, Any]
    lines: tuple[str, ...]
    notes: tuple[str, ...]


def show_zone(
    zone: str,
    *,
    price: bool = False,
    at: str = "",
    hours: float = 1.0,
    sources: Sequence[str] = (),
    live: bool = False,
    files: Sequence[Path] = (),
    archive: Path | None = None,
    as_of: str = "",
    declared: Sequence[str] = (),
    question: str = "",
    now: datetime | None = None,
) -> Shown:
    """Carbon intensity (or price) of a zone over a window, from the best level that has it.

    Args:
        zone: as typed: a zone, a code, an old name or a cloud region.
        at: ISO 8601 start of the window with its distance from UTC; "" takes the hour that has begun. Where a live
            source is too late for it, and none of the user's files has it, the last whole day that the source has is
            shown, and said to be.
        hours: length of the window [h].
        sources: live sources to ask first, "name" or "name:argument", in this order.
        live: ask those of the stated order after them (`grid.live_order`).
        files: the user's own files, asked next.
        archive: folder of a local archive, asked with the files.
        as_of: ISO 8601: what was known at that moment, from the archive alone (default: the user's); nothing else knows
            what it once said.
        declared: "230 gCO2e/kWh" or "0.15 EUR/kWh", taken for this zone where nothing else answers.
        question: which carbon intensity, such as "lifecycle-production"; "" takes each source's own.
        now: the present; the clock's by default.

    Raises:
        UnknownZone (exit 2), FactorMissing (exit 4) and what a source of the user's own may fail with.
    """
    moment = _moment("--as-of", as_of) if as_of else None
    if moment is not None and (sources or live or files or declared):
        raise UsageError("--as-of is answered by the archive alone", "Leave out --source, --live, --file and --declare")
    wanted = question_of(question, price=price)
    window = _window(at, hours, now or moment or datetime.now(UTC))
    opened = [open_source(f"file:{path}") for path in files]
    if archive is not None or moment is not None:
        bound = f"@{moment.isoformat()}" if moment is not None else ""
        opened.append(open_source(f"archive:{archive or ''}{bound}"))
    asked = Sources([open_source(text) for text in sources], opened)
    unopened: list[PassedOver] = []
    if live:
        asked, unopened = _with_live(zone, asked, Offer.PRICES if price else Offer.CARBON)
    if declared:
        given = (*asked.live, *asked.files)
        keys = dict.fromkeys((zone_among(given, zone, price_zones()).key, zone_among(given, zone).key))
        figures = ",".join(f"{key}={figure}" for key in keys for figure in declared)
        asked = replace(asked, declared=[open_source(f"static:{figures}")])
    answer: Answer[CarbonSeries] | Answer[PriceSeries]
    answer = resolve_prices(zone, window, asked) if price else resolve_carbon(zone, window, asked, meaning=wanted)
    if not at and hours <= 1 and not price and answer.level not in (Level.LIVE, Level.FILE):
        late = _last_full_day(zone, asked, answer.passed_over, window, wanted)
        if late is not None:
            answer, window, hours = late, late.series.interval, 24.0
    passed_over = (*unopened, *answer.passed_over)
    if moment is not None and answer.level is not Level.FILE:
        why = "; ".join(one.reason for one in passed_over if one.level is Level.FILE)
        what = f"{'electricity price' if price else 'carbon intensity'} known at {moment:%Y-%m-%dT%H:%MZ}"
        raise FactorMissing(what, answer.zone.key, (), f"`outweigh grid fetch` fills the archive. Tried {why}")
    series = answer.series
    value = series.mean_value()
    quality, origin = series.worst_quality, series.origin
    meaning = series.meaning
    document: dict[str, Any] = {
        "zone": answer.zone.key,
        "name": answer.zone.name,
        "asked": zone,
        "start": window.start.isoformat(),
        "end": window.end.isoformat(),
    }
    if isinstance(series, CarbonSeries):
        of = series.meaning
        document |= {
            "intensity_g_per_kwh": value,
            "kind": of.kind.value,
            "scope": of.scope.value,
            "accounting": of.accounting.value,
        }
        unit = of.unit
        shown = f"{value:.3g}" if value < 100 else f"{value:.0f}"
    else:
        money = series.meaning
        document |= {
            "price_per_kwh": value,
            "currency": money.currency,
            "market": money.market.value,
            "taxes": "in" if money.taxes else "out",
        }
        unit = f"{money.currency}/MWh"
        shown = f"{1e3 * value:.2f}"
    document |= {
        "of_zone": origin.zone,
        "year": origin.vintage or None,
        "level": answer.level.value,
        "quality": quality.value,
        "grade": quality.grade.value,
        "provider": origin.provider,
        "source": origin.source,
        "licence": origin.licence,
        "method": origin.method or None,
        "issued_at": origin.issued_at.isoformat() if origin.issued_at else None,
        "retrieved_at": origin.retrieved_at.isoformat() if origin.retrieved_at else None,
        "missing_share": series.missing_share,
        "backend": answer.source,
        "notes": list(answer.notes),
        "passed_over": [{"level": one.level.value, "backend": one.source, "reason": one.reason} for one in passed_over],
    }
    when = f"mean of {origin.vintage}" if origin.vintage else f"{window.start:%Y-%m-%dT%H:%MZ} for {hours:g} h"
    who = f"{answer.zone.key} ({answer.zone.name})" if answer.zone.name else answer.zone.key
    lines: tuple[str, ...] = (
        f"{who}  {shown} {unit}  {when}  grade {quality.grade}",
        f"    what     {meaning}",
        f"    how      {quality} of {origin.zone}, level: {answer.level}, answered by: {answer.source}",
        f"    source   {origin.source} ({origin.licence})",
    )
    if moment is not None and origin.retrieved_at is not None:
        lines = (*lines, f"    known    since {origin.retrieved_at:%Y-%m-%dT%H:%MZ}, as of {moment:%Y-%m-%dT%H:%MZ}")
    # That a country has no finer figure of its own is no news to a person.
    whole = Level.ZONE_YEAR if answer.zone.is_country else None
    passed = (f"not from {one.level}: {one.reason}" for one in passed_over if one.level is not whole)
    return Shown(document, lines, (*answer.notes, *passed))


def _last_full_day(
    zone: str, asked: Sources, passed_over: Sequence[PassedOver], window: Interval, meaning: CarbonMeaning | None
) -> Answer[CarbonSeries] | None:
    """The latest whole day (UTC) that a live source has which comes too late for the running hour; three days back."""
    late = {one.source: one for one in passed_over if one.level is Level.LIVE and one.without_it}
    midnight = window.start.replace(hour=0, minute=0, second=0, microsecond=0)
    for source in asked.live:
        if source.name not in late:
            continue
        for back in range(1, 1 + LATE_DAYS):
            day = Interval.starting(midnight - timedelta(days=back), 86400)
            try:
                answer = resolve_carbon(zone, day, Sources([source]), meaning=meaning)
            except FactorMissing:
                return None
            if answer.level is Level.LIVE:
                told = f"{source.name} has nothing of the running hour yet: this is the last whole day that it has"
                return replace(answer, passed_over=tuple(passed_over), notes=(told, *answer.notes))
            if not any(one.without_it for one in answer.passed_over):
                break  # it is down or asks for a pause: no use in asking on
    return None


def _with_live(zone: str, asked: Sources, offer: Offer) -> tuple[Sources, list[PassedOver]]:
    prices = price_zones() if offer is Offer.PRICES else frozenset()
    # Some zones have a name in a live source alone, so those of the order as typed are looked into for it.
    known = {name for source in open_live(zone, offer)[0] for name in source.zones()}
    key = zone_among((*asked.live, *asked.files), zone, {*known, *prices}).key
    opened, unopened = open_live(key, offer)
    if not opened and not unopened:
        unopened = [PassedOver(Level.LIVE, "none", f"no live source is known to have it of {key}")]
    return replace(asked, live=[*asked.live, *opened]), unopened


def zone_rows(like: str = "") -> list[dict[str, Any]]:
    """Every zone with a name, sorted: which figures the embedded tables have of it.

    Args:
        like: only zones with this in their key or name, whatever the case.
    """
    wanted = like.casefold()
    return [row for row in _zones() if wanted in row["zone"].casefold() or wanted in row["name"].casefold()]


def _zones() -> Iterator[dict[str, Any]]:
    from outweigh.data.places import country_years, typical_days, wholesale_years, zone_names
    from outweigh.data.tables import industrial_prices, zone_intensities

    names = {row.zone: row.name for row in zone_intensities().values()}
    names |= {row.zone: row.name for row in zone_names().values() if not row.now}
    prices = industrial_prices()
    names |= {zone: next(iter(rows.values())).name for zone, rows in prices.items() if zone not in names}
    for zone in sorted(names):
        years = country_years().get(zone)
        row = zone_intensities().get(zone)
        carbon = (f"{min(years)} to {max(years)}" if years else row.provenance.year) if row else ""
        paid = prices.get(zone) or wholesale_years().get(zone)
        yield {
            "zone": zone,
            "name": names[zone],
            "carbon_years": carbon,
            "price_years": f"{min(paid)} to {max(paid)}" if paid else "",
            "typical_day": zone in typical_days(),
        }


def _moment(option: str, text: str) -> datetime:
    try:
        stamp = datetime.fromisoformat(text)
    except ValueError as err:
        raise UsageError(f"{option} {text!r} is not an ISO 8601 time", "Write 2026-10-25T02:30Z") from err
    if stamp.tzinfo is None:
        raise UsageError(f"{option} {text!r} does not say how far it is from UTC", "Write 2026-10-25T02:30Z or +02:00")
    if not 1900 < stamp.year < 2200:
        raise UsageError(f"{option} {text!r} is no time of an electric grid", "Write a year such as 2026")
    return stamp.astimezone(UTC)


def _window(at: str, hours: float, now: datetime) -> Interval:
    start = _moment("--at", at) if at else now.replace(minute=0, second=0, microsecond=0)
    if not 0 < hours <= 24 * 366:
        raise UsageError(f"--hours {hours:g} is not a window", "Give more than 0 and at most a year, 8784")
    return Interval.starting(start, 3600 * hours)
