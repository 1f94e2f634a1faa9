"""`grid forecast`: the hours to come of a zone whose provider does not tell, and how far to trust them."""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path
from typing import Any, NamedTuple, TypeVar

from outweigh.app.grid_history import YEAR_H, History, Tell, history_of
from outweigh.app.grid_question import question_of
from outweigh.core.errors import UsageError
from outweigh.core.intervals import Interval
from outweigh.core.series import CarbonSeries, PriceSeries
from outweigh.grid.forecasting import CONFIDENCE, MAX_REACH_H, Errors, Method, Skill, backtest, fit_until

LONGEST_H = 4 * YEAR_H  # older years say little of this one, and cost the same to read
FRESH_H = 72.0  # a history that ends longer ago is of another time: the forecast begins where it ends
_BARS = "▁▂▃▄▅▆▇█"


@dataclass(frozen=True, slots=True)
class Foretold:
    """What `grid forecast` says: the document, rows of the format that `--file` reads, lines and cells for people."""

    document: dict[str, Any]
    records: tuple[dict[str, object], ...]
    head: tuple[str, ...]
    chart: str
    headings: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    notes: tuple[str, ...]


def zone_forecast(
    zone: str,
    *,
    hours: int = 48,
    issued: str = "",
    price: bool = False,
    source: str = "",
    file: Path | None = None,
    method: str = Method.BOOSTED,
    clocks: str = "UTC",
    question: str = "",
    now: datetime | None = None,
    tell: Tell = lambda _what, _share: None,
) -> Foretold:
    """Forecast a zone from its own past, with the skill on a stretch of that past which the model had not seen.

    Args:
        hours: how far ahead [h], 1 to 168.
        issued: ISO 8601 time with its distance from UTC; "" takes the present, or the end of a history that is older.
        clocks: the zone's, as in the tz database ("Europe/Berlin").
        method: "boosted" or "seasonal".
        question: which carbon intensity, such as "lifecycle-production"; "" takes the source's own.

    Raises:
        UsageError, InvalidQuantity (exit 2), GapsTooLarge (exit 4: too short a history), MissingExtra, and what a
        source may fail with.
    """
    now = now or datetime.now(UTC)
    if not 1 <= hours <= MAX_REACH_H:
        raise UsageError(f"--hours {hours} is out of reach", f"Give 1 to {MAX_REACH_H}")
    if method not in set(Method):
        raise UsageError(f"there is no method {method!r}", f"Take one of {', '.join(Method)}")
    zone_clocks = _clocks(clocks)
    asked_at = _time(issued) if issued else None
    meaning = question_of(question, price=price)
    tell("reading the history", 0.05)
    history = history_of(
        zone, price=price, source=source, file=file, last_h=None if asked_at else LONGEST_H, now=now, until=asked_at,
        meaning=meaning, tell=lambda what, share: tell(what, 0.05 + 0.15 * share),
    )  # fmt: skip
    series, notes = history.series, list(history.notes)
    end = series.interval.end
    issue = asked_at or (now if end > now - timedelta(hours=FRESH_H) else end)
    if not asked_at and issue == end:
        notes.append(f"the history ends at {end:%Y-%m-%dT%H:%MZ}: the forecast is issued there, and not now")
    issue = issue.astimezone(UTC)
    window = Interval.starting(issue.replace(minute=0, second=0, microsecond=0), 3600.0 * hours)
    if isinstance(series, CarbonSeries):
        told = _looked(series, issue, window, Method(method), zone_clocks, tell)
    else:
        told = _looked(series, issue, window, Method(method), zone_clocks, tell)
    gaps = told.missing_share
    if gaps > 0:
        notes.append(f"{100 * gaps:.1f} % of the history is missing; nothing was learnt from it, and nothing filled")
    return _told(history, told.series, told.skill, issue, zone_clocks, clocks, min(hours, 24), notes)


class _Looked(NamedTuple):
    series: CarbonSeries | PriceSeries
    skill: Skill
    missing_share: float


S = TypeVar("S", CarbonSeries, PriceSeries)


def _looked(series: S, issue: datetime, window: Interval, method: Method, clocks: tzinfo, tell: Tell) -> _Looked:
    """Ahead, and back on the stretch that was held back."""
    tell("fitting", 0.2)
    model = fit_until(series, issue, window, method=method, clocks=clocks)
    tell("forecasting", 0.7)
    said = model.predict(issue, window)
    tell("looking back", 0.8)
    # The first third of what was held back calibrates the intervals of the rest; issues at the same hour of the day.
    days = (model.fitted_until - model.held_from) // 24
    first = model.held_from + 24 * (days // 3) + (model.hours.index(issue) - model.held_from) % 24
    tried = Interval(model.hours.start_of(first), model.hours.start_of(model.fitted_until))
    hours = min(24, model.reach_h, round(window.seconds / 3600))
    return _Looked(said, backtest(model.held_back(), tried, hours=hours), model.history.missing_share)


def _told(
    history: History,
    said: CarbonSeries | PriceSeries,
    skill: Skill,
    issue: datetime,
    zone_clocks: tzinfo,
    clocks: str,
    tried_h: int,
    notes: list[str],
) -> Foretold:
    is_carbon = isinstance(said, CarbonSeries)
    unit = "g/kWh" if is_carbon else f"{said.meaning.unit.partition('/')[0]}/MWh"
    times = 1.0 if is_carbon else 1e3
    digits = 0 if is_carbon else 2

    def figure(value: float) -> str:
        return f"{times * value:.{digits}f}"

    who = f"{history.zone} ({history.name})" if history.name else history.zone
    origin = said.origin
    span = said.interval
    head = (
        f"{who}  {said.meaning}, forecast of {span.seconds / 3600:.0f} h issued {issue:%Y-%m-%dT%H:%MZ}",
        f"    method   {origin.method}",
        f"    skill    {tried_h} h ahead on {skill.days} days held back: {skill}",
        f"             {_skill_line('this', skill.model, times, unit)}; "
        f"{_skill_line('yesterday', skill.persistence, times, unit)}; "
        f"{_skill_line('last week', skill.last_week, times, unit)}",
        f"             {100 * skill.coverage:.0f} % of {skill.hours} outcomes lay within the 90 % interval",
        f"    source   {origin.source} ({origin.licence}); grade {said.worst_quality.grade}",
    )
    cells, records, slots = [], [], []
    for slot, bounds in zip(said.slots(), said.bounds, strict=True):
        assert isinstance(slot.value, float)
        assert bounds is not None  # every hour of our own forecast has both
        cells.append(
            (
                f"{slot.start.astimezone(zone_clocks):%a %Y-%m-%d %H:%M %z}",
                figure(slot.value),
                f"{figure(bounds.low)} to {figure(bounds.high)}",
            )
        )
        key = "intensity_g_per_kwh" if is_carbon else "price_per_kwh"
        slots.append(
            {
                "start": slot.start.isoformat(),
                "end": slot.end.isoformat(),
                key: slot.value,
                f"low_{key}": bounds.low,
                f"high_{key}": bounds.high,
            }
        )
        records.append(_record(said, slot.start, slot.end, slot.value, issue))
    document = {
        "zone": history.zone,
        "start": span.start.isoformat(),
        "end": span.end.isoformat(),
        "issued_at": issue.isoformat(),
        "question": str(said.meaning),
        "unit": said.meaning.unit,
        "quality": said.worst_quality.value,
        "grade": said.worst_quality.grade.value,
        "method": origin.method,
        "clocks": clocks,
        "confidence": CONFIDENCE,
        "provider": origin.provider,
        "source": origin.source,
        "licence": origin.licence,
        "backend": history.source,
        "skill": {
            "horizon_h": tried_h,
            "start": skill.window.start.isoformat(),
            "end": skill.window.end.isoformat(),
            "days": skill.days,
            "hours": skill.hours,
            "this": asdict(skill.model),
            "persistence": asdict(skill.persistence),
            "last_week": asdict(skill.last_week),
            "coverage": skill.coverage,
            "interval_width": skill.width,
            "lead_share": skill.lead,
            "p_no_better": skill.p_no_better,
            "better_than_persistence": skill.better,
        },
        "slots": slots,
        "notes": notes,
    }
    return Foretold(
        document, tuple(records), head, _chart(said), (f"from ({clocks})", unit, "90 % interval"), tuple(cells),
        tuple(notes),
    )  # fmt: skip


def _skill_line(name: str, errors: Errors, times: float, unit: str) -> str:
    if errors.mape_percent is not None:
        return f"{name} {errors.mape_percent:.1f} % MAPE"
    return f"{name} {times * errors.mae:.3g} {unit} MAE"


def _record(
    said: CarbonSeries | PriceSeries, start: datetime, end: datetime, value: float, issue: datetime
) -> dict[str, object]:
    """One line as docs/grid.md says, so that a plan can take the forecast as a file."""
    line: dict[str, object] = {
        "zone": said.origin.zone,
        "start": start.isoformat(),
        "end": end.isoformat(),
        "value": value,
        "unit": said.meaning.unit,
    }
    if isinstance(said, CarbonSeries):
        of = said.meaning
        line |= {"kind": of.kind.value, "scope": of.scope.value, "accounting": of.accounting.value}
    else:
        money = said.meaning
        line |= {"market": money.market.value, "taxes": "in" if money.taxes else "out"}
    return line | {
        "quality": said.qualities[0].value,
        "issued_at": issue.isoformat(),
        "source": f"{said.origin.method}; {said.origin.source}",
        "licence": said.origin.licence,
    }


def _chart(said: CarbonSeries | PriceSeries) -> str:
    """Hours as bars between the lowest and the highest."""
    values = [value for value in said.values if isinstance(value, float)]
    low, high = min(values), max(values)
    if high <= low:
        return ""
    return "".join(_BARS[min(7, math.floor(8 * (value - low) / (high - low)))] for value in values)


def _clocks(name: str) -> tzinfo:
    from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError) as err:
        raise UsageError(f"there are no clocks called {name!r}", "Write --clocks Europe/Berlin (tz database)") from err


def _time(text: str) -> datetime:
    try:
        stamp = datetime.fromisoformat(text)
    except ValueError as err:
        raise UsageError(f"--issued {text!r} is not an ISO 8601 time", "Write 2026-10-25T00:00Z") from err
    if stamp.tzinfo is None:
        raise UsageError(f"--issued {text!r} does not say how far it is from UTC", "Write 2026-10-25T00:00Z or +02:00")
    return stamp.astimezone(UTC)
