"""How the answers of live providers become slots: times, steps, units, and what is wrong with them."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from itertools import pairwise

from outweigh.backends.grid._http import Reply
from outweigh.core.errors import GridDataInvalid, InvalidQuantity, OutweighError
from outweigh.core.intervals import Interval
from outweigh.core.series import DataQuality, Gap, Slot

_LONGEST_STEP_S = 3600.0
# No provider we read has a mean below: nothing that burns anything is under 2 g/kWh, and 0 is 0 in every unit.
_LEAST_G_PER_KWH = 1.5
_LATE = timedelta(hours=2)


@contextmanager
def reading(reply: Reply) -> Iterator[None]:
    """Turns what goes wrong over an answer of another shape into GridDataInvalid."""
    try:
        yield
    except OutweighError:
        raise
    except (AttributeError, IndexError, KeyError, OverflowError, TypeError, ValueError) as err:
        what = f"it has no {err}" if isinstance(err, KeyError) else str(err)
        raise invalid(reply, f"its answer is not of the shape we know ({what})") from err


def invalid(reply: Reply, problem: str) -> GridDataInvalid:
    return GridDataInvalid(
        reply.source, reply.where, problem, "Ask again later; if it stays, the provider has changed: report it"
    )


def rows_of(value: object, what: str) -> list[dict[str, object]]:
    """A list of objects, or a TypeError that `reading` turns into words."""
    if not isinstance(value, list) or not all(isinstance(row, dict) for row in value):
        raise TypeError(f"{what} is no list of objects")
    return value


def number(value: object) -> float | None:
    """A JSON number, or its null. Text is no number here: a provider that begins to send it has changed."""
    if value is None:
        return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise TypeError(f"{value!r} is no number")
    return float(value)


def stamp(value: object) -> datetime:
    """An ISO 8601 time that says how far it is from UTC."""
    moment = datetime.fromisoformat(str(value))
    if moment.tzinfo is None:
        raise ValueError(f"{value!r} does not say how far it is from UTC")
    return moment.astimezone(UTC)


def check_window(window: Interval) -> None:
    """Refuses a window without length, before anybody is asked."""
    if window.seconds <= 0:
        raise InvalidQuantity("window", str(window), "give it a length above zero")


def spans(window: Interval, step_s: float, longest_s: float) -> Iterator[Interval]:
    """The window on whole steps, in pieces of at most `longest_s`: a source asks in these, so that addresses repeat."""
    start_s = window.start.timestamp() // step_s * step_s
    end_s = -(-window.end.timestamp() // step_s) * step_s
    while start_s < end_s:
        until_s = min(end_s, start_s + longest_s)
        yield Interval(datetime.fromtimestamp(start_s, UTC), datetime.fromtimestamp(until_s, UTC))
        start_s = until_s


def from_starts(
    points: Iterable[tuple[datetime, float | Gap | None, DataQuality]], least_step_s: float
) -> Iterator[Slot]:
    """Slots of points that say only when they start.

    A slot lasts to its nearer neighbour, and an hour at most: a missing point leaves a gap and stretches none, and
    a market that went from hours to quarters keeps both. A point alone lasts `least_step_s`.
    """
    at: dict[datetime, tuple[datetime, float | Gap | None, DataQuality]] = {}
    for point in points:
        if at.setdefault(point[0], point) != point:
            raise ValueError(f"there are two values for {point[0]:%Y-%m-%dT%H:%MZ}")
    ordered = [at[start] for start in sorted(at)]
    steps = [(b[0] - a[0]).total_seconds() for a, b in pairwise(ordered)]
    for i, (start, value, quality) in enumerate(ordered):
        step_s = min((*steps[max(0, i - 1) : i], *steps[i : i + 1]), default=least_step_s)
        yield Slot(start, start + timedelta(seconds=min(step_s, _LONGEST_STEP_S)), value, quality)


def known_or_forecast(
    actual: float | None, forecast: float | None, end: datetime, now: datetime, quality: DataQuality
) -> tuple[float | None, DataQuality]:
    """What a source says of a slot that has two columns.

    An actual that is null is the forecast, marked as one, until two hours after the slot: it may still come. After
    that the provider does not know, and a forecast would pass for what was.
    """
    if actual is not None:
        return actual, quality
    return (forecast, DataQuality.FORECAST) if end > now - _LATE else (None, quality)


def check_grams(reply: Reply, slots: Sequence[Slot]) -> None:
    """Refuses intensities that are too low to be in gCO2/kWh: kg/kWh, say, or g/Wh.

    What is too high is refused by the series itself. Whole numbers pass: a region full of wind has 0 and 1.
    """
    known = [slot.value for slot in slots if isinstance(slot.value, float | int)]
    highest = max(known, default=0.0)
    if 0 < highest < _LEAST_G_PER_KWH and any(value != int(value) for value in known):
        raise invalid(
            reply, f"its highest intensity is {highest:g}, which cannot be in gCO2/kWh (it would be in kgCO2/kWh)"
        )
