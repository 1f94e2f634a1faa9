"""What a page was asked for: the fields of its address, read one by one and refused with a clear word."""

from __future__ import annotations

import difflib
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from urllib.parse import urlencode

from outweigh.core.errors import OutweighError, UsageError
from outweigh.core.intervals import Interval

LONGEST = 200  # characters of a field; nothing that is asked for is longer
_MOST_FIELDS = 40
_FARTHEST_DAYS = 36_525  # a century is as far back as `since` in days reaches
_YEARS = range(1970, 2200)  # nothing ran before or after, and a window around any of them stays within the calendar


class FieldRefused(UsageError):
    """A field of a page's address that cannot be followed; `field` is its name."""

    def __init__(self, problem: str, name: str, remedy: str) -> None:
        OutweighError.__init__(self, problem, name, remedy)
        self.problem, self.field = problem, name


class PageMissing(UsageError):
    """An address under which there is nothing."""


@dataclass(frozen=True, slots=True)
class Asked:
    """The fields of a page's address, all text until they are asked for by kind.

    An empty field is one that was not given: forms send every field they have.

    Attributes:
        given: name -> text, without empty ones.
        address: what the path names (the address of a receipt), or "".

    >>> asked = Asked.of([("limit", "20"), ("since", "2026-11-01"), ("owner", "")], takes=("limit", "since", "owner"))
    >>> asked.whole("limit", 50, low=1, high=500), asked.text("owner"), asked.since.isoformat()
    (20, '', '2026-11-01T00:00:00+00:00')
    """

    given: Mapping[str, str] = field(default_factory=dict)
    address: str = ""

    @staticmethod
    def of(fields: Iterable[tuple[str, str]], *, takes: Sequence[str], address: str = "") -> Asked:
        """Raises FieldRefused for a field the page does not take, one given twice, or one too long."""
        given: dict[str, str] = {}
        for number, (name, text) in enumerate(fields):
            if number >= _MOST_FIELDS:
                raise FieldRefused(f"more than {_MOST_FIELDS} fields", clipped(name), "Leave some out")
            if name not in takes:
                near = difflib.get_close_matches(name, takes, 1)
                known = f"Did you mean {near[0]}?" if near else f"It takes {', '.join(takes) or 'none'}"
                raise FieldRefused(f"this page takes no field {clipped(name)!r}", clipped(name), known)
            if len(text) > LONGEST:
                raise FieldRefused(f"{name} is {len(text)} characters long", name, f"Give at most {LONGEST}")
            if name in given:
                raise FieldRefused(f"{name} is given twice", name, "Give it once")
            if text.strip():
                given[name] = text.strip()
        return Asked(given, address)

    def text(self, name: str, default: str = "") -> str:
        return self.given.get(name, default)

    def choice(self, name: str, options: Sequence[str], default: str = "") -> str:
        """One of `options`; FieldRefused for another, with the nearest."""
        text = self.given.get(name)
        if text is None:
            return default
        if text not in options:
            near = difflib.get_close_matches(text, options, 1)
            hint = f"Did you mean {near[0]!r}?" if near else f"Choose one of {', '.join(options[:12])}"
            raise FieldRefused(f"{name} cannot be {clipped(text)!r}", name, hint)
        return text

    def number(self, name: str, default: float, *, low: float = -math.inf, high: float = math.inf) -> float:
        """A finite number in [low, high]; FieldRefused for anything else."""
        text = self.given.get(name)
        if text is None:
            return default
        bounds = f"Give a number from {low:g} to {high:g}" if math.isfinite(low + high) else "Give a number"
        try:
            value = float(text)
        except ValueError:
            raise FieldRefused(f"{name} {clipped(text)!r} is no number", name, bounds) from None
        if not (math.isfinite(value) and low <= value <= high):
            raise FieldRefused(f"{name} {clipped(text)!r} is out of range", name, bounds)
        return value

    def whole(self, name: str, default: int, *, low: int, high: int) -> int:
        """A whole number in [low, high]; FieldRefused for anything else."""
        value = self.number(name, default, low=low, high=high)
        if value != int(value):
            raise FieldRefused(f"{name} {value:g} is no whole number", name, f"Give one from {low} to {high}")
        return int(value)

    def parsed(self, name: str, parse: Callable[[str], object], default: object = None) -> object:
        """What `parse` makes of the field; its OutweighError is told at the field."""
        text = self.given.get(name)
        if text is None:
            return default
        try:
            return parse(text)
        except FieldRefused:
            raise
        except OutweighError as err:
            raise FieldRefused(str(err).removesuffix(f". {err.remedy}"), name, err.remedy) from err

    @property
    def since(self) -> datetime | None:
        return self.when("since")

    @property
    def until(self) -> datetime | None:
        return self.when("until")

    def when(self, name: str) -> datetime | None:
        """A day or an instant of 1970 to 2199, ISO 8601; without its distance from UTC it is UTC.

        FieldRefused for anything else.
        """
        text = self.given.get(name)
        if text is None:
            return None
        try:
            stamp = datetime.fromisoformat(text)
            found = (stamp if stamp.tzinfo else stamp.replace(tzinfo=UTC)).astimezone(UTC)
        except (ValueError, OverflowError):
            example = "Write a day, 2026-11-01, or an instant, 2026-11-01T08:00Z"
            raise FieldRefused(f"{name} {clipped(text)!r} is no time", name, example) from None
        if found.year not in _YEARS:
            remedy = f"Give a time of {_YEARS[0]} to {_YEARS[-1]}"
            raise FieldRefused(f"{name} {clipped(text)!r} is no time that anything ran at", name, remedy)
        return found

    def window(self, now: datetime, days: float) -> Interval:
        """From `since` to `until`, as far as given; else the `days` up to the end of the hour that `now` is in, so that
        what was asked twice in an hour is the same. FieldRefused where it ends before it starts."""
        until = self.until or now.astimezone(UTC).replace(minute=0, second=0, microsecond=0) + timedelta(hours=1)
        since = self.since or until - timedelta(days=min(days, _FARTHEST_DAYS))
        if until < since:
            raise FieldRefused(f"the time from {since:%Y-%m-%d} to {until:%Y-%m-%d} ends before it starts", "until",
                               "Give a later until, or an earlier since")  # fmt: skip
        return Interval(since, until)

    def query(self, **changed: str | int | None) -> str:
        """The fields as the query of an address, "?" included, with some changed or, where None, left out.

        >>> Asked({"owner": "a & b", "after": "x"}).query(after=None, limit=5)
        '?owner=a+%26+b&limit=5'
        """
        fields = {**self.given, **changed}
        kept = {name: str(value) for name, value in fields.items() if value is not None and value != ""}
        return f"?{urlencode(kept)}" if kept else ""


def clipped(text: str, most: int = 60) -> str:
    """Text short enough for a sentence."""
    return text if len(text) <= most else f"{text[: most - 1]}…"
