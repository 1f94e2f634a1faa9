"""Fit on a history, forecast from any later moment. Nothing that was not known at the issue is looked at."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, tzinfo
from enum import StrEnum
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeVar

from outweigh.core.errors import GapsTooLarge, InvalidQuantity
from outweigh.core.intervals import Bounds, Interval
from outweigh.core.series import CarbonKind, CarbonMeaning, CarbonSeries, DataQuality, PriceSeries
from outweigh.grid.forecasting.boosted import Boosted
from outweigh.grid.forecasting.combining import shares
from outweigh.grid.forecasting.conformal import CALIBRATION_DAYS, followed, shift
from outweigh.grid.forecasting.features import DAY_H, WEEK_H, Past, Rows
from outweigh.grid.forecasting.hourly import HOUR_S, Hourly, hourly
from outweigh.grid.forecasting.seasonal import BUCKETS_H, Ahead, Model, Seasonal

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

CONFIDENCE = 0.90
MAX_REACH_H = WEEK_H
MIN_HISTORY_DAYS = 42
# The last quarter of a history is held back, for the intervals and for the skill that is reported; a season at most.
HELD_SHARE, HELD_MIN_DAYS, HELD_MAX_DAYS = 0.25, 14, 90
WARM_UP_H = 2 * WEEK_H  # rows with less past than that teach nothing
MAX_ROWS = 32_000  # a group; about what a year of hours gives, and more years add weather rather than rows
_PER_ISSUE = 4


class Method(StrEnum):
    SEASONAL = "seasonal"  # numpy only
    BOOSTED = "boosted"  # needs the extra `forecast`


_MODELS: dict[Method, type[Model]] = {Method.SEASONAL: Seasonal, Method.BOOSTED: Boosted}


class Group(NamedTuple):
    """Horizons [h] that share a model: tomorrow, and the rest of the week."""

    first_h: int
    last_h: int


GROUPS = (Group(1, DAY_H), Group(DAY_H + 1, MAX_REACH_H))


class Issue(NamedTuple):
    """What one issue says of the hours after it, in the series' unit, shape (n,) each.

    `ahead_h` is the horizon, 1 for the hour that begins at the issue. `target` is the row of the history.
    """

    ahead_h: NDArray[np.int64]
    target: NDArray[np.int64]
    point: NDArray[np.float64]
    low: NDArray[np.float64]
    high: NDArray[np.float64]
    spread: NDArray[np.float64]
    yesterday: NDArray[np.float64]
    last_week: NDArray[np.float64]


#: By bucket of horizons: the share of outcomes that the next issue allows below its interval, and above.
Shares = dict[tuple[int, int], tuple[float, float]]
_AIM = (1 - CONFIDENCE) / 2

S = TypeVar("S", CarbonSeries, PriceSeries)


@dataclass(frozen=True, slots=True, eq=False)
class Forecaster(Generic[S]):
    """A model of one zone. Make one with `fit`; give it newer outcomes with `knowing`.

    Attributes:
        history: the series it knows.
        hours: the same hour by hour.
        method: how it was fitted.
        clocks: of the zone; UTC where none were given.
        reach_h: how far ahead it was fitted for [h].
        held_from: row of `hours` up to which the model was fitted that answers for the held-back stretch.
        fitted_until: row of `hours` up to which the final model was fitted. It answers for issues from there on.
    """

    history: S
    hours: Hourly
    method: Method
    clocks: tzinfo
    reach_h: int
    held_from: int
    fitted_until: int
    _held: tuple[Model, ...]
    _final: tuple[Model, ...]
    _past: Past
    _made: dict[int, Issue] = field(default_factory=dict)
    _held_to: dict[int, tuple[Issue, Shares]] = field(default_factory=dict)

    def knowing(self, history: S) -> Forecaster[S]:
        """The same model with outcomes up to date: intervals take in how it did since; nothing is fitted again.

        Raises:
            SeriesMismatch, InvalidQuantity: the history answers another question, or begins at another hour.
        """
        from outweigh.core.series import check_same_question

        check_same_question(self.history, history)
        hours = hourly(history, self.clocks, MAX_REACH_H + DAY_H)
        if hours.first_h != self.hours.first_h:
            raise InvalidQuantity("history", f"a beginning at {history.interval.start}", "append to the fitted one")
        return replace(self, history=history, hours=hours, _past=Past(hours), _made={}, _held_to={})

    def held_back(self) -> Forecaster[S]:
        """The model that has not seen the held-back stretch, for issues in it."""
        return replace(self, fitted_until=self.held_from, _final=self._held, _made={}, _held_to={})

    def predict(self, issued_at: datetime, window: Interval) -> S:
        """The forecast of `window` as it would have been issued at `issued_at`.

        Returns:
            Hourly slots (cut at the window's ends) of quality FORECAST: expected values, with intervals that hold with
            90 %. Only hours that had ended by `issued_at` are looked at; horizons count from the last known of them.

        Raises:
            InvalidQuantity: an issue before the end of what it was fitted on, a window that has begun before the issue.
            GapsTooLarge: the window reaches further than `reach_h` beyond the last known hour.
        """
        import numpy as np

        if issued_at.tzinfo is None:
            raise InvalidQuantity("issue", repr(issued_at), "give it a time zone; we keep UTC")
        index = self.hours.index(issued_at)
        if index < self.fitted_until:
            until = self.hours.start_of(self.fitted_until)
            raise InvalidQuantity(
                "issue", f"{issued_at:%Y-%m-%dT%H:%MZ}", f"the model has seen outcomes up to {until:%Y-%m-%dT%H:%MZ}"
            )
        if window.start < self.hours.start_of(index) or window.seconds <= 0:
            raise InvalidQuantity("window", str(window), "a forecast is of time after its issue")
        base = self.hours.known_until(index)
        first, last = self.hours.index(window.start), math.ceil(window.end.timestamp() / HOUR_S) - self.hours.first_h
        if last - base > self.reach_h:
            known = self.hours.start_of(base)
            raise GapsTooLarge(
                f"what is known of {self.history.origin.zone} ends at {known:%Y-%m-%dT%H:%MZ}, which",
                f"the window up to {window.end:%Y-%m-%dT%H:%MZ}",
                math.ceil(100 * min(1.0, (last - base - self.reach_h) / (last - first))),
                f"The reach is {self.reach_h} h beyond the last known hour. Fetch newer values or ask for less",
            )
        said = self.calibrated(base)
        wanted = slice(first - base, last - base)
        low, high, point = said.low[wanted], said.high[wanted], said.point[wanted]
        edges = [(self.hours.first_h + row) * float(HOUR_S) for row in range(first, last + 1)]
        edges[0], edges[-1] = window.start.timestamp(), window.end.timestamp()
        until = self.hours.start_of(self.fitted_until)
        origin = replace(
            self.history.origin,
            provider="outweigh",
            source=f"forecast from {self.history.origin.source}",
            method=f"{_MODELS[self.method].version}, fitted on outcomes up to {until:%Y-%m-%dT%H:%MZ}",
            issued_at=issued_at.astimezone(UTC),
            retrieved_at=None,
            vintage="",
        )
        return replace(
            self.history,
            edges_s=tuple(edges),
            values=tuple(point.tolist()),
            qualities=(DataQuality.FORECAST,) * len(point),
            origin=origin,
            bounds=tuple(
                Bounds(a, b, CONFIDENCE) for a, b in zip(low.tolist(), np.maximum(low, high).tolist(), strict=True)
            ),
        )

    # --- by rows ------------------------------------------------------------------------------------

    def calibrated(self, base: int) -> Issue:
        """What is said at row `base` of all hours within reach, held to the errors known by then.

        The point is the model's, drawn to yesterday's value and last week's as far as those have done better lately
        (`combining`); the interval is conformal, and follows its own misses from the held-back stretch on.
        """
        if base not in self._held_to:
            first = self.held_from + (base - self.held_from) % DAY_H if base >= self.held_from else base
            chain = [issue for issue in range(first, base + 1, DAY_H) if issue not in self._held_to]
            self.prepare(chain)
            for issue in chain:
                shares_then = self._shares(issue)
                self._held_to[issue] = self._calibrated(issue, shares_then), shares_then
        return self._held_to[base][0]

    def _shares(self, base: int) -> Shares:
        """What the issue of the day before allowed, moved by what was missed of the last whole issue."""
        import numpy as np

        nominal: Shares = dict.fromkeys(BUCKETS_H, (_AIM, _AIM))
        if base - DAY_H not in self._held_to:
            return nominal
        found = dict(self._held_to[base - DAY_H][1])
        for first_h, last_h in BUCKETS_H:
            whole = self._held_to.get(base - DAY_H * math.ceil(last_h / DAY_H))
            if whole is None:
                continue
            said = whole[0]
            here = (said.ahead_h >= first_h) & (said.ahead_h <= last_h)
            came = self.hours.values[said.target[here]]
            known = ~np.isnan(came)
            if known.any():
                below, above = found[first_h, last_h]
                found[first_h, last_h] = (
                    followed(below, float((came < said.low[here])[known].mean()), _AIM),
                    followed(above, float((came > said.high[here])[known].mean()), _AIM),
                )
        return found

    def _calibrated(self, base: int, allowed: Shares) -> Issue:
        import numpy as np

        daily = range(base - DAY_H, base - DAY_H * (CALIBRATION_DAYS + 1), -DAY_H)
        earlier: list[int] = [issue for issue in daily if issue >= self.held_from]
        said = self._made[base]
        point, low, high = said.point.copy(), said.low.copy(), said.high.copy()
        if earlier:
            before = [self._made[issue] for issue in earlier]
            ahead, target, was_low, was_high, spread = (
                np.concatenate([getattr(one, name) for one in before])
                for name in ("ahead_h", "target", "low", "high", "spread")
            )
            each = np.concatenate([_each(one) for one in before], axis=1)
            now = _each(said)
            came = np.full(len(target), np.nan)
            known = target < base
            came[known] = self.hours.values[target[known]]
            counts = ~np.isnan(came)
            age = (base - target) / DAY_H
            for first_h, last_h in BUCKETS_H:
                some = counts & (ahead >= first_h) & (ahead <= last_h)
                here = (said.ahead_h >= first_h) & (said.ahead_h <= last_h)
                if not here.any() or not some.any():
                    continue
                share = shares(each[:, some], came[some], spread[some], age[some], len(earlier))
                # The interval keeps the model's width and moves with the point; then it is held to what came.
                moved, was_moved = share @ now[:, here] - now[0, here], share @ each[:, some] - each[0, some]
                under = (was_low[some] + was_moved - came[some]) / spread[some]
                over = (came[some] - was_high[some] - was_moved) / spread[some]
                # Hours of one issue miss together. Within a day it counts by half its hours: by one, intervals were too
                # narrow, by all, too wide (the outcome to come would lie beyond all others, for sure). Further
                # ahead, targets of daily issues overlap as well, and it is one observation.
                coming = here.sum() / (2.0 if last_h <= DAY_H else 1.0)
                below, above = allowed[first_h, last_h]
                point[here] += moved
                low[here] += moved - shift(under, age[some], below, coming) * said.spread[here]
                high[here] += moved + shift(over, age[some], above, coming) * said.spread[here]
        meaning = self.history.meaning
        if isinstance(meaning, CarbonMeaning) and meaning.kind is CarbonKind.AVERAGE:
            point, low, high = (np.maximum(values, 0.0) for values in (point, low, high))
        return said._replace(point=point, low=np.minimum(low, point), high=np.maximum(high, point))

    def prepare(self, issues: list[int]) -> None:
        """Make what is said at many rows in one go; `calibrated` then finds it."""
        import numpy as np

        lacking = sorted({issue for issue in issues if issue not in self._made})
        for models, some in (
            (self._held, [issue for issue in lacking if issue < self.fitted_until]),
            (self._final, [issue for issue in lacking if issue >= self.fitted_until]),
        ):
            if not some:
                continue
            parts = []
            for group, model in zip(GROUPS, models, strict=False):
                ahead = np.arange(group.first_h, min(group.last_h, self.reach_h) + 1)
                issue, horizon = np.repeat(some, len(ahead)), np.tile(ahead, len(some))
                rows: Rows = self._past.rows(issue, horizon)
                told: Ahead = model.ahead(rows.looks)
                columns = (
                    horizon,
                    issue + horizon - 1,
                    *(rows.usual + rows.spread * told_of for told_of in told),
                    rows.spread,
                    rows.yesterday,
                    rows.last_week,
                )
                parts.append([column.reshape(len(some), len(ahead)) for column in columns])
            joined = [np.concatenate(columns, axis=1) for columns in zip(*parts, strict=True)]
            for row, issue_row in enumerate(some):
                self._made[issue_row] = Issue(*(column[row] for column in joined))


def fit(
    history: S, *, method: Method = Method.BOOSTED, clocks: tzinfo = UTC, reach_h: int = MAX_REACH_H
) -> Forecaster[S]:
    """Learn a zone from its own past.

    Args:
        history: outcomes in steps of at most an hour; finer ones are averaged to hours. Gaps are left out. What it says
            is taken to be known when its hour has ended.
        clocks: of the zone, so that days follow its people; clocks that change are followed, too.
        reach_h: how far ahead [h], 1 to 168; less takes less time.

    Raises:
        InvalidQuantity: steps above an hour, typical or yearly figures, a reach out of range.
        GapsTooLarge: fewer than 42 days of known hours.
        MissingExtra: the boosted method without scikit-learn.
    """
    if not 1 <= reach_h <= MAX_REACH_H:
        raise InvalidQuantity("reach", f"{reach_h} h", f"give 1 to {MAX_REACH_H}")
    hours = hourly(history, clocks, MAX_REACH_H + DAY_H)
    until = hours.known_until(len(hours))
    known_h = _known_h(hours, until)
    if known_h < MIN_HISTORY_DAYS * DAY_H:
        raise GapsTooLarge(
            f"a history of {known_h / DAY_H:.1f} known days",
            f"the {MIN_HISTORY_DAYS} days a forecast is fitted on",
            math.ceil(100 * (1 - known_h / (MIN_HISTORY_DAYS * DAY_H))),
            "Give a longer one: a year is good (outweigh grid fetch)",
        )
    days = min(HELD_MAX_DAYS, max(HELD_MIN_DAYS, HELD_SHARE * until / DAY_H))
    held_from = until - round(days) * DAY_H
    past = Past(hours)
    model = _MODELS[method]
    held, final = (
        tuple(_fitted(model, past, group, reach_h, end) for group in GROUPS if group.first_h <= reach_h)
        for end in (held_from, until)
    )
    return Forecaster(history, hours, method, clocks, reach_h, held_from, until, held, final, past)


def forecast(
    history: S, issued_at: datetime, window: Interval, *, method: Method = Method.BOOSTED, clocks: tzinfo = UTC
) -> S:
    """Fit on what was known at `issued_at` and forecast `window`; see `fit` and `Forecaster.predict`."""
    return fit_until(history, issued_at, window, method=method, clocks=clocks).predict(issued_at, window)


def fit_until(
    history: S, issued_at: datetime, window: Interval, *, method: Method = Method.BOOSTED, clocks: tzinfo = UTC
) -> Forecaster[S]:
    """`fit` on the hours of `history` that had ended by `issued_at`, reaching as far as `window` asks."""
    if issued_at.tzinfo is None:
        raise InvalidQuantity("issue", repr(issued_at), "give it a time zone; we keep UTC")
    hour_s = math.floor(issued_at.timestamp() / HOUR_S) * HOUR_S
    if hour_s <= history.edges_s[0]:
        raise GapsTooLarge(
            f"{history.meaning} of {history.origin.zone}",
            f"the time before {issued_at}",
            100,
            "Give an earlier history",
        )
    known = history
    if hour_s < history.edges_s[-1]:
        known = history.window(Interval(history.interval.start, datetime.fromtimestamp(hour_s, UTC)))
    hours = hourly(known, clocks, 0)
    last_s = (hours.first_h + hours.known_until(len(hours))) * HOUR_S
    reach_h = math.ceil((window.end.timestamp() - last_s) / HOUR_S)
    return fit(known, method=method, clocks=clocks, reach_h=min(MAX_REACH_H, max(1, reach_h)))


def _each(issue: Issue) -> NDArray[np.float64]:
    """What the model, yesterday and last week say, shape (3, n); where one of these is unknown the model stands in."""
    import numpy as np

    rivals = np.stack([issue.yesterday, issue.last_week])
    return np.concatenate([issue.point[np.newaxis], np.where(np.isnan(rivals), issue.point, rivals)])


def _known_h(hours: Hourly, until: int) -> int:
    import numpy as np

    return int((~np.isnan(hours.values[:until])).sum())


def _fitted(model: type[Model], past: Past, group: Group, reach_h: int, until: int) -> Model:
    """Rows of all times of the day, targets before `until` only."""
    import numpy as np

    first = WARM_UP_H
    count = max(0, until - first)
    step = max(1, math.ceil(count * _PER_ISSUE / MAX_ROWS))
    issue = np.arange(first, until, step)
    chance = np.random.default_rng(0)
    last_h = min(group.last_h, reach_h)
    horizon = chance.integers(group.first_h, last_h + 1, size=(len(issue), _PER_ISSUE)).ravel()
    issue = np.repeat(issue, _PER_ISSUE)
    target = issue + horizon - 1
    inside = target < until
    issue, horizon, target = issue[inside], horizon[inside], target[inside]
    known = ~np.isnan(past.hours.values[target])
    issue, horizon, target = issue[known], horizon[known], target[known]
    rows = past.rows(issue, horizon)
    came = (past.hours.values[target] - rows.usual) / rows.spread
    usable = np.isfinite(came)
    return model.fitted(rows.looks[usable], came[usable], (1 - CONFIDENCE) / 2)
