"""Carbon intensity and price over time: slots `[start, end)` of any length, each with how well it is known.

A series says which question it answers (`CarbonMeaning`, `PriceMeaning`) and where it comes from (`Origin`). Two
series of different meaning are never compared, added or joined: `SeriesMismatch`, which is a TypeError. What is not
known is a `Gap`, not a number: it has no order, so it cannot win a minimum, and a mean over too much of it is refused.
"""

from __future__ import annotations

import math
from bisect import bisect_right
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from itertools import pairwise
from typing import Generic, NamedTuple, Self, TypeVar

from outweigh.core.errors import GapsTooLarge, GridDataInvalid, InvalidQuantity, SeriesMismatch
from outweigh.core.intervals import Bounds, Interval
from outweigh.core.meaning import (
    CLOCK_SLACK_S,
    GAPS,
    RANK,
    Accounting,
    CarbonKind,
    CarbonMeaning,
    DataQuality,
    Gap,
    Market,
    Origin,
    PriceMeaning,
)
from outweigh.core.measurement import Factor
from outweigh.core.quantities import CarbonBasis, CarbonIntensity, Price

__all__ = [
    "MAX_GAP",
    "Accounting",
    "CarbonKind",
    "CarbonMeaning",
    "CarbonSeries",
    "DataQuality",
    "Fill",
    "Gap",
    "Market",
    "Origin",
    "PriceMeaning",
    "PriceSeries",
    "Series",
    "Slot",
    "align",
    "check_same_question",
]

MAX_GAP = 0.10  # share of a window that may be missing before a mean over it is refused
# Nothing that feeds a grid emits as much, per kWh, over its life: the oldest oil-shale plants stay below 2,000. A value
# above is in other units (g/MWh, mg/kWh).
MAX_G_PER_KWH = 5_000.0


class Slot(NamedTuple):
    """One value as a provider gives it. None is the provider's null; an absent slot becomes a gap by itself."""

    start: datetime
    end: datetime
    value: float | Gap | None
    quality: DataQuality


class Fill(StrEnum):
    """What goes into a gap on request; every filled slot is marked, and none is ever the lowest."""

    WORST = "worst"  # the highest known value of the series
    HOLD = "hold"  # the last known value before; at the beginning the first one after


M = TypeVar("M", CarbonMeaning, PriceMeaning)


@dataclass(frozen=True, slots=True)
class Series(Generic[M]):
    """Values over adjoining slots. Use `CarbonSeries` or `PriceSeries`; build one with `of` or `regular`.

    Attributes:
        meaning: the question it answers.
        edges_s: n + 1 slot edges [s, UTC epoch], strictly increasing; slot i is `[edges_s[i], edges_s[i + 1])`.
        values: n means over their slots in `meaning.unit`, or why there is none.
        qualities: n; that of a gap says nothing.
        origin: where it comes from.
        bounds: n prediction intervals in the same unit, None for a slot without one (a gap, an outcome); or
            none at all.

    Raises:
        InvalidQuantity: lengths, order or a value that is not finite.
        GridDataInvalid: values that cannot be what they are said to be (units, clocks).
    """

    meaning: M
    edges_s: tuple[float, ...]
    values: tuple[float | Gap, ...]
    qualities: tuple[DataQuality, ...]
    origin: Origin
    bounds: tuple[Bounds | None, ...] = ()

    def __post_init__(self) -> None:
        n = len(self.values)
        if n == 0 or len(self.edges_s) != n + 1 or len(self.qualities) != n or len(self.bounds) not in (0, n):
            raise InvalidQuantity("series", f"{n} values", "give n > 0 values, n qualities, n + 1 edges, 0 or n bounds")
        for before, after in pairwise(self.edges_s):
            if not before < after:
                raise InvalidQuantity("series", f"edges {before} and {after}", "edges increase strictly")
        for value in self.values:
            if not isinstance(value, Gap) and not math.isfinite(value):
                raise InvalidQuantity("series", repr(value), "a value is finite; what is not known is a Gap")
        self._check()

    def _check(self) -> None:
        if type(self) is Series:
            raise TypeError("a series is of carbon or of prices: use the subclass that says which")

    # --- making -------------------------------------------------------------------------------------

    @classmethod
    def of(cls, slots: Iterable[Slot], window: Interval, meaning: M, origin: Origin) -> Self:
        """A series that covers exactly `window`: slots sorted and cut to it, the rest of it gaps.

        A provider's NaN or infinity is no value either: Gap.INVALID.

        Args:
            slots: in any order; the same slot twice is one, two values for one time are refused.
            window: of positive length.

        Raises:
            GridDataInvalid: slots that overlap, or end before they start.
        """
        _positive(window)
        edges: list[float] = [window.start.timestamp()]
        values: list[float | Gap] = []
        qualities: list[DataQuality] = []
        until = window.end.timestamp()

        def put(end_s: float, value: float | Gap, quality: DataQuality) -> None:
            edges.append(end_s)
            values.append(value)
            qualities.append(quality)

        seen: Slot | None = None
        for slot in sorted(slots, key=lambda one: (one.start, one.end)):
            if slot.end <= slot.start:
                raise _refused(origin, slot, "a slot ends before it starts")
            if seen is not None and slot.start < seen.end:
                if slot == seen:
                    continue
                raise _refused(origin, slot, "there are two values for the same time")
            seen = slot
            start_s, end_s = max(slot.start.timestamp(), edges[0]), min(slot.end.timestamp(), until)
            if end_s <= start_s:
                continue
            if start_s > edges[-1]:
                put(start_s, Gap.MISSING, DataQuality.ESTIMATED)
            put(end_s, _value_or_gap(slot.value), slot.quality)
        if edges[-1] < until:
            put(until, Gap.MISSING, DataQuality.ESTIMATED)
        return cls(meaning, tuple(edges), tuple(values), tuple(qualities), origin)

    @classmethod
    def regular(
        cls,
        start: datetime,
        step_s: float,
        values: Sequence[float | Gap | None],
        quality: DataQuality,
        meaning: M,
        origin: Origin,
    ) -> Self:
        """Slots of one length [s] from `start` on."""
        first_s = start.timestamp()
        return cls(
            meaning,
            tuple(first_s + i * step_s for i in range(len(values) + 1)),
            tuple(Gap.NULL if value is None else value for value in values),
            (quality,) * len(values),
            origin,
        )

    @classmethod
    def flat(cls, value: float, window: Interval, quality: DataQuality, meaning: M, origin: Origin) -> Self:
        """One value all over `window`."""
        _positive(window)
        edges = (window.start.timestamp(), window.end.timestamp())
        return cls(meaning, edges, (value,), (quality,), origin)

    # --- looking ------------------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self.values)

    @property
    def interval(self) -> Interval:
        return Interval(_stamp(self.edges_s[0]), _stamp(self.edges_s[-1]))

    @property
    def seconds(self) -> float:
        return self.edges_s[-1] - self.edges_s[0]

    @property
    def steps_s(self) -> tuple[float, ...]:
        """The different slot lengths [s], ascending; slots cut at a window's ends count too."""
        return tuple(sorted({b - a for a, b in pairwise(self.edges_s)}))

    def slots(self) -> Iterable[Slot]:
        for i, value in enumerate(self.values):
            yield Slot(_stamp(self.edges_s[i]), _stamp(self.edges_s[i + 1]), value, self.qualities[i])

    def at(self, stamp: datetime) -> float | Gap:
        """The value of the slot that holds `stamp`; outside the series Gap.MISSING."""
        i = bisect_right(self.edges_s, stamp.timestamp()) - 1
        return self.values[i] if 0 <= i < len(self.values) else Gap.MISSING

    @property
    def worst_quality(self) -> DataQuality:
        """The least certain quality among the known slots; raises GapsTooLarge where nothing is known."""
        known = {quality for value, quality in zip(self.values, self.qualities, strict=True) if value not in GAPS}
        if not known:
            raise self._too_large(1.0)
        return max(known, key=lambda quality: RANK[quality])

    @property
    def missing_share(self) -> float:
        """Share of the series' time that is gaps, in [0, 1]. Filled slots are not gaps; `filled_share` counts them."""
        return self._share(lambda value, _: isinstance(value, Gap))

    @property
    def filled_share(self) -> float:
        return self._share(lambda _, quality: quality is DataQuality.FILLED)

    def lowest(self) -> Slot:
        """The first slot with the lowest value; gaps and filled slots never win.

        Raises:
            GapsTooLarge: nothing is known.
        """
        best: int | None = None
        best_value = math.inf
        for i, value in enumerate(self.values):
            if isinstance(value, Gap) or self.qualities[i] is DataQuality.FILLED:
                continue
            if value < best_value:
                best, best_value = i, value
        if best is None:
            raise self._too_large(1.0)
        return Slot(_stamp(self.edges_s[best]), _stamp(self.edges_s[best + 1]), best_value, self.qualities[best])

    def mean_value(self, window: Interval | None = None, *, max_gap: float = MAX_GAP) -> float:
        """Time-weighted mean in `meaning.unit` over what is known of `window` (default: all).

        Raises:
            GapsTooLarge: more than the share `max_gap` of the window is missing. Time outside the series is missing.
        """
        wanted = self if window is None else self.window(window)
        if wanted.missing_share > max_gap:
            raise wanted._too_large(wanted.missing_share)
        total, weight = [], []
        for i, value in enumerate(wanted.values):
            if not isinstance(value, Gap):
                seconds = wanted.edges_s[i + 1] - wanted.edges_s[i]
                total.append(value * seconds)
                weight.append(seconds)
        return math.fsum(total) / math.fsum(weight)

    def factor(self, value: float | None = None, *, window: Interval | None = None) -> Factor:
        """The mean (or `value`) as the factor a receipt or a site keeps."""
        origin = self.origin
        shown = self.mean_value(window) if value is None else value
        issued = origin.vintage or (origin.issued_at.isoformat() if origin.issued_at else "")
        retrieved = origin.retrieved_at.isoformat() if origin.retrieved_at else ""
        name = f"{self.meaning} of {origin.zone}"
        grade = self.worst_quality.grade
        return Factor(name, shown, self.meaning.unit, origin.source, issued, retrieved, origin.licence, grade)

    # --- changing -----------------------------------------------------------------------------------

    def window(self, window: Interval) -> Self:
        """Exactly `window` of it: slots are cut at its ends, and what lies outside the series is a gap.

        A cut slot keeps its value: a slot's mean is taken to hold all through it.
        """
        _positive(window)
        start_s, end_s = window.start.timestamp(), window.end.timestamp()
        first = max(0, bisect_right(self.edges_s, start_s) - 1)
        edges, values, qualities = [start_s], list[float | Gap](), list[DataQuality]()
        bounds: list[Bounds | None] = []
        if start_s < self.edges_s[0]:
            edges.append(min(self.edges_s[0], end_s))
            values.append(Gap.MISSING)
            qualities.append(DataQuality.ESTIMATED)
            bounds.append(None)
        for i in range(first, len(self.values)):
            if self.edges_s[i] >= end_s:
                break
            if self.edges_s[i + 1] <= start_s:
                continue
            edges.append(min(self.edges_s[i + 1], end_s))
            values.append(self.values[i])
            qualities.append(self.qualities[i])
            bounds.append(self.bounds[i] if self.bounds else None)
        if edges[-1] < end_s:
            edges.append(end_s)
            values.append(Gap.MISSING)
            qualities.append(DataQuality.ESTIMATED)
            bounds.append(None)
        kept = tuple(bounds) if any(bounds) else ()
        return replace(self, edges_s=tuple(edges), values=tuple(values), qualities=tuple(qualities), bounds=kept)

    def onto(self, edges_s: Sequence[float], *, max_gap: float = 0.0) -> Self:
        """Time-weighted means between other edges [s, UTC epoch]; the mean over the whole is kept where nothing is
        missing.

        Args:
            edges_s: at least two, strictly increasing; time outside the series is missing.
            max_gap: a new slot with more than this share missing is a gap; below, it is the mean of what is known.

        Prediction intervals are dropped: those of a mean do not follow from those of its parts.
        """
        values: list[float | Gap] = []
        qualities: list[DataQuality] = []
        i = 0
        for start_s, end_s in pairwise(edges_s):
            while i < len(self.values) and self.edges_s[i + 1] <= start_s:
                i += 1
            parts: list[tuple[float, float]] = []
            worst, reason, j = DataQuality.MEASURED, Gap.MISSING, i
            while j < len(self.values) and self.edges_s[j] < end_s:
                value = self.values[j]
                if isinstance(value, Gap):
                    reason = value
                else:
                    parts.append((value, min(end_s, self.edges_s[j + 1]) - max(start_s, self.edges_s[j])))
                    worst = max(worst, self.qualities[j], key=lambda quality: RANK[quality])
                j += 1
            known_s = math.fsum(seconds for _, seconds in parts)
            missing = 1 - known_s / (end_s - start_s)
            if not parts or missing > max_gap + 1e-9:
                values.append(reason)
                qualities.append(DataQuality.ESTIMATED)
            else:
                same = parts[0][0]
                alike = all(value == same for value, _ in parts)
                values.append(same if alike else math.fsum(v * s for v, s in parts) / known_s)
                qualities.append(worst)
        return replace(
            self, edges_s=tuple(edges_s), values=tuple(values), qualities=tuple(qualities), bounds=()
        )  # lengths and order are checked where every series is

    def resample(self, step_s: float, *, max_gap: float = 0.0) -> Self:
        """Coarser steps [s], starting at multiples of `step_s` since 1970-01-01T00:00Z; the ends may be shorter.

        Raises:
            InvalidQuantity: the series has a known slot longer than `step_s`; a finer step would be made up.
        """
        longest_s = self._longest_known_s()
        if step_s <= 0 or longest_s > step_s:
            raise InvalidQuantity(
                "step", f"{step_s:g} s", f"the series has slots of {longest_s:g} s; ask for as much or more"
            )
        return self.onto(_round_edges(step_s, self.edges_s[0], self.edges_s[-1]), max_gap=max_gap)

    def filled(self, fill: Fill = Fill.WORST) -> Self:
        """Gaps filled and marked `DataQuality.FILLED`; `lowest` still passes over them.

        Raises:
            GapsTooLarge: nothing is known to fill with.
        """
        known = [value for value in self.values if not isinstance(value, Gap)]
        if not known:
            raise self._too_large(1.0)
        last, values, qualities = known[0], list[float | Gap](), list[DataQuality]()
        for value, quality in zip(self.values, self.qualities, strict=True):
            if isinstance(value, Gap):
                values.append(max(known) if fill is Fill.WORST else last)
                qualities.append(DataQuality.FILLED)
            else:
                last = value
                values.append(value)
                qualities.append(quality)
        return replace(self, values=tuple(values), qualities=tuple(qualities))

    # --- in private ---------------------------------------------------------------------------------

    def _longest_known_s(self) -> float:
        slots = zip(pairwise(self.edges_s), self.values, strict=True)
        return max((end_s - start_s for (start_s, end_s), value in slots if value not in GAPS), default=0.0)

    def _share(self, counts: Callable[[float | Gap, DataQuality], bool]) -> float:
        parts = (
            self.edges_s[i + 1] - self.edges_s[i]
            for i in range(len(self.values))
            if counts(self.values[i], self.qualities[i])
        )
        return math.fsum(parts) / self.seconds

    def _too_large(self, share: float) -> GapsTooLarge:
        span = self.interval
        window = f"[{span.start:%Y-%m-%dT%H:%MZ}, {span.end:%Y-%m-%dT%H:%MZ})"
        return GapsTooLarge(
            f"{self.meaning} of {self.origin.zone} from {self.origin.provider}",
            window,
            # Rounded up: 10.2 % missing must not read as the 10 % that is allowed.
            math.ceil(100 * share - 1e-9),
            "Ask for a window that is covered, take another source, or fill the gaps explicitly",
        )


@dataclass(frozen=True, slots=True)
class CarbonSeries(Series[CarbonMeaning]):
    """Carbon intensity [gCO2e/kWh] over time. An average one is never negative."""

    def _check(self) -> None:
        marginal = self.meaning.kind is CarbonKind.MARGINAL
        for i, value in enumerate(self.values):
            if isinstance(value, Gap):
                continue
            if abs(value) > MAX_G_PER_KWH or (value < 0 and not marginal):
                raise GridDataInvalid(
                    self.origin.provider,
                    f"{self.origin.zone} {_stamp(self.edges_s[i]):%Y-%m-%dT%H:%MZ}",
                    f"{value:g} gCO2e/kWh cannot be an {self.meaning.kind} intensity",
                    "Check the unit; we know gCO2e/kWh, kgCO2e/MWh, kgCO2e/kWh and lbCO2e/MWh",
                )
        self._check_clock()

    def _check_clock(self) -> None:
        fetched = self.origin.retrieved_at
        if fetched is None:
            return
        latest_s = fetched.timestamp() + CLOCK_SLACK_S
        for i in range(len(self.values) - 1, -1, -1):
            if self.edges_s[i] <= latest_s:
                return
            if self.qualities[i] is DataQuality.MEASURED and self.values[i] not in GAPS:
                raise GridDataInvalid(
                    self.origin.provider,
                    f"{self.origin.zone} {_stamp(self.edges_s[i]):%Y-%m-%dT%H:%MZ}",
                    f"it is said to be measured, but it was fetched earlier, at {fetched:%Y-%m-%dT%H:%MZ}",
                    "Check this machine's clock (timedatectl, ntpq); what is to come is a forecast",
                )

    def mean(self, window: Interval | None = None, *, max_gap: float = MAX_GAP) -> CarbonIntensity:
        """Time-weighted mean as a value type; see `mean_value` for what is refused."""
        basis = CarbonBasis.MARGINAL if self.meaning.kind is CarbonKind.MARGINAL else CarbonBasis.LOCATION
        return CarbonIntensity(self.mean_value(window, max_gap=max_gap), basis, self.meaning.scope)


@dataclass(frozen=True, slots=True)
class PriceSeries(Series[PriceMeaning]):
    """Price [currency/kWh] over time; negative is a real price. Markets quote per MWh: see `per_mwh`."""

    @staticmethod
    def per_mwh(amount: float) -> float:
        """A market's figure [currency/MWh] as we keep it [currency/kWh].

        >>> PriceSeries.per_mwh(-500.0)
        -0.5
        """
        return amount / 1e3

    def _check(self) -> None:
        """Any finite number is a price."""

    def mean(self, window: Interval | None = None, *, max_gap: float = MAX_GAP) -> Price:
        """Time-weighted mean as a value type; see `mean_value` for what is refused."""
        return Price(self.mean_value(window, max_gap=max_gap), self.meaning.currency)


S = TypeVar("S", CarbonSeries, PriceSeries)
T = TypeVar("T", CarbonSeries, PriceSeries)


def check_same_question(one: CarbonSeries | PriceSeries, other: CarbonSeries | PriceSeries) -> None:
    """Raises SeriesMismatch (a TypeError) unless both answer the same question: before any comparison of two zones."""
    if one.meaning != other.meaning:
        raise SeriesMismatch(
            f"{one.meaning} ({one.origin.provider}, {one.origin.zone})",
            f"{other.meaning} ({other.origin.provider}, {other.origin.zone})",
            "Take both from one source, or one that publishes the same kind, scope, basis, money and taxes",
        )


def align(one: S, other: T) -> tuple[S, T]:
    """Both on the union of their edges, over the time they share; values are only split, never averaged.

    Two carbon series, or two price series, must answer the same question; carbon beside price is fine.

    Raises:
        SeriesMismatch: two of one type with different meanings.
        InvalidQuantity: they share no time.
    """
    if type(one) is type(other):
        check_same_question(one, other)
    start_s, end_s = max(one.edges_s[0], other.edges_s[0]), min(one.edges_s[-1], other.edges_s[-1])
    if start_s >= end_s:
        raise InvalidQuantity("pair of series", f"{one.interval} and {other.interval}", "they share no time")
    edges = sorted({e for e in (*one.edges_s, *other.edges_s) if start_s <= e <= end_s})
    return one.onto(edges), other.onto(edges)


def _value_or_gap(value: float | Gap | None) -> float | Gap:
    if value is None:
        return Gap.NULL
    return value if isinstance(value, Gap) or math.isfinite(value) else Gap.INVALID


def _round_edges(step_s: float, first_s: float, last_s: float) -> list[float]:
    """The two ends and the multiples of `step_s` between them."""
    inner = [k * step_s for k in range(math.floor(first_s / step_s) + 1, math.ceil(last_s / step_s))]
    return [first_s, *inner, last_s]


def _stamp(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


def _positive(window: Interval) -> None:
    if window.seconds <= 0:
        raise InvalidQuantity("window", str(window), "give it a length above zero")


def _refused(origin: Origin, slot: Slot, problem: str) -> GridDataInvalid:
    where = f"{origin.zone} {slot.start:%Y-%m-%dT%H:%M%z}"
    return GridDataInvalid(origin.provider, where, problem, "Correct or remove the row")
