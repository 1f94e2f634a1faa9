"""Which combinations go on, by the search's items; and what is shown of those left, by the held-out ones."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from scipy import stats

from outweigh.compare.energy import LogRatio, log_ratio
from outweigh.compare.evidence import Floats
from outweigh.compare.quality import latency_ratio, paired_quality
from outweigh.core.errors import UnusableMeasurement
from outweigh.core.intervals import Estimate
from outweigh.core.project import Guard
from outweigh.shrink.search_series import Series, joined
from outweigh.shrink.search_space import Combination

KEEP_SHARE = 1 / 3  # of the combinations of a rung that go on to the next (Li et al. 2018, JMLR 18(185), eta = 3)
KEEP_LEAST = 3
_BOX = math.log(1.05)
_LATENCIES = {"p50_latency_ms": 0.50, "p95_latency_ms": 0.95}
_MEAN_LATENCY = "mean_latency_ms"
_MOST_ITEMS = 10_000_000


@dataclass(frozen=True, slots=True)
class Bar:
    """What a combination must keep.

    Attributes:
        metric: the task's primary one.
        margin: loss of it that is tolerated, against the base.
        at_least: the value it must reach instead, or None.
        guards: further metrics that must not get worse than their margins.
        confidence: of each one-sided test.
    """

    metric: str
    margin: float
    at_least: float | None = None
    guards: tuple[Guard, ...] = ()
    confidence: float = 0.95

    def words(self) -> str:
        if self.at_least is not None:
            return f"{self.metric} of at least {self.at_least:g}"
        return f"{self.metric} at most {self.margin:g} below the base's"


@dataclass(frozen=True, slots=True, eq=False)
class Seen:
    """A combination beside the base, on the same items in the same rounds."""

    combination: Combination
    base: Series
    own: Series
    mix_standard: float = 0.0

    @staticmethod
    def of(combination: Combination, parts: Sequence[tuple[Series, Series]], mix_standard: float = 0.0) -> Seen:
        return Seen(combination, joined([base for base, _ in parts]), joined([own for _, own in parts]), mix_standard)

    @property
    def energy(self) -> LogRatio:
        return log_ratio(self.own.energy_j_per_unit, self.base.energy_j_per_unit, mix_standard=self.mix_standard)

    @property
    def energy_ratio(self) -> float:
        return math.exp(self.energy.estimate)

    @property
    def latency_ratio(self) -> float:
        """Of the 95th percentile."""
        return self.own.latency_quantile_ms(0.95) / self.base.latency_quantile_ms(0.95)

    def constraints(self, bar: Bar) -> dict[str, float]:
        """How far each part of the bar is from being met, by point estimate: at most 0 is met."""
        return {bar.metric: -_gap(self, bar)} | {guard.metric: -_guard_gap(self, guard) for guard in bar.guards}

    def meets(self, bar: Bar) -> bool:
        return all(short <= 0 for short in self.constraints(bar).values())


def may_go_on(seen: Seen, bar: Bar) -> bool:
    """Whether the primary metric is not shown to miss the bar, at the bar's confidence."""
    pair = paired_quality(seen.base.scores[bar.metric], seen.own.scores[bar.metric])
    if bar.at_least is not None:
        scores = _counted(seen.own.scores[bar.metric])
        return _p_below(scores, bar.at_least) > 1 - bar.confidence
    return pair.p_less(-bar.margin) > 1 - bar.confidence


def promoted(rung: Sequence[Seen], bar: Bar) -> list[Seen]:
    """Who is looked at again: a third of a rung, at least three, front by front, the cheapest of a front first.

    Those that are shown to miss the bar or to draw more than the base are out, and so are those that lie within 5 % of
    the base, or above it, in both: they are the base to the front. Those that meet the bar so far go before
    those that may yet. Among them, energy and latency ratio to the base decide; two that lie within 5 % of each other
    in both are one to the front (epsilon-dominance: Laumanns et al. 2002, Evolutionary Computation 10(3):263-282), so
    that a front is not made of noise.
    """
    alive = [
        seen
        for seen in rung
        if may_go_on(seen, bar) and seen.energy.p_greater(0.0) > 1 - bar.confidence and not _is_the_base(seen)
    ]
    count = max(KEEP_LEAST, math.ceil(KEEP_SHARE * len(rung)))
    found: list[Seen] = []
    for left in ([s for s in alive if s.meets(bar)], [s for s in alive if not s.meets(bar)]):
        while left and len(found) < count:
            front = front_of(left)
            found += front
            left = [seen for seen in left if seen not in front]
    return found[:count]


def front_of(rung: Sequence[Seen]) -> list[Seen]:
    """Those that no other dominates in energy and latency beyond 5 %, the cheapest first."""
    boxes = {id(seen): (_box(seen.energy_ratio), _box(seen.latency_ratio)) for seen in rung}

    def beaten(seen: Seen) -> bool:
        own = boxes[id(seen)]
        return any(other != own and other[0] <= own[0] and other[1] <= own[1] for other in boxes.values())

    return sorted((seen for seen in rung if not beaten(seen)), key=lambda seen: (seen.energy_ratio, seen.combination))


def nominees(rung: Sequence[Seen], bar: Bar, most: int = 3) -> list[Seen]:
    """Who is judged on the held-out items: the front of those that meet the bar and save energy, the cheapest first.

    Without those whose rounds show that they draw more than the cheapest: each one judged costs the others certainty.
    """
    front = front_of([seen for seen in rung if seen.meets(bar) and seen.energy_ratio < 1])
    return [seen for seen in front if not _is_dearer(seen, front[0], bar.confidence)][:most]


def _is_the_base(seen: Seen) -> bool:
    return min(seen.energy_ratio, seen.latency_ratio) > math.exp(-_BOX)


def _is_dearer(seen: Seen, than: Seen, confidence: float) -> bool:
    """By the scatter of rounds alone: what the mix leaves is mostly common to two that were made from one model."""
    apart = seen.energy.estimate - than.energy.estimate
    spread = math.hypot(seen.energy.standard_error, than.energy.standard_error)
    return apart > float(stats.norm.isf(1 - confidence)) * spread


@dataclass(frozen=True, slots=True, eq=False)
class Judged:
    """One combination on the held-out items.

    Attributes:
        energy_ratio: to the base, with its two-sided interval at the bar's confidence.
        quality, quality_difference: of the primary metric; the difference is to the base, with its interval.
        p_value: against "it misses a part of the bar, or saves nothing"; the largest of its parts.
        adjusted: the same after Holm's correction over all that were judged.
        weakest: the part with the largest p-value.
        shown: whether it is shown to meet the bar and to save energy.
        items_needed: held-out items that would settle the quality if the figures stay as they are; None when no
            number would, or none is needed.
    """

    seen: Seen
    energy_ratio: Estimate
    quality: float
    quality_difference: Estimate
    p_value: float
    adjusted: float
    weakest: str
    shown: bool
    items_needed: int | None

    @property
    def combination(self) -> Combination:
        return self.seen.combination


def judge(finalists: Sequence[Seen], bar: Bar, correct: Callable[[Sequence[float]], Sequence[float]]) -> list[Judged]:
    """The verdict on what the search ended with, in the order nominated.

    A combination is shown when all parts hold at the bar's confidence (an intersection-union test: no correction over
    the parts), corrected over the combinations.

    Args:
        finalists: on the held-out items.
        correct: adjusts p-values for several tests at once (Holm).
    """
    parts = [_p_values(seen, bar) for seen in finalists]
    adjusted = correct([max(one.values()) for one in parts])
    return [_judged(seen, bar, one, p) for seen, one, p in zip(finalists, parts, adjusted, strict=True)]


def _judged(seen: Seen, bar: Bar, parts: Mapping[str, float], adjusted: float) -> Judged:
    pair = paired_quality(seen.base.scores[bar.metric], seen.own.scores[bar.metric])
    p_value, shown = max(parts.values()), adjusted <= 1 - bar.confidence
    return Judged(
        seen=seen,
        energy_ratio=seen.energy.ratio(bar.confidence),
        quality=seen.own.metric(bar.metric),
        quality_difference=Estimate(pair.difference, pair.bounds(bar.confidence)),
        p_value=p_value,
        adjusted=adjusted,
        weakest=max(parts, key=lambda part: parts[part]),
        shown=shown,
        items_needed=None if shown else _items_needed(seen, bar),
    )


def _p_values(seen: Seen, bar: Bar) -> dict[str, float]:
    """For each part, the p-value against "it does not hold"."""
    found = {"energy": seen.energy.p_less(0.0), bar.metric: _p_primary(seen, bar)}
    for guard in bar.guards:
        found[guard.metric] = _p_guard(seen, guard)
    return found


def _p_primary(seen: Seen, bar: Bar) -> float:
    if bar.at_least is not None:
        return _p_above(_counted(seen.own.scores[bar.metric]), bar.at_least)
    pair = paired_quality(seen.base.scores[bar.metric], seen.own.scores[bar.metric])
    return pair.p_noninferior(bar.margin)


def _p_guard(seen: Seen, guard: Guard) -> float:
    try:
        if guard.metric in _LATENCIES:
            quantile = _LATENCIES[guard.metric]
            most = 1 + (guard.margin if guard.relative else guard.margin / seen.base.latency_quantile_ms(quantile))
            draws = latency_ratio(
                seen.base.latency_ms, seen.own.latency_ms, np.random.default_rng(0), quantile=quantile,
                rounds=seen.base.item_rounds,
            )  # fmt: skip
            return draws.p_less(most)
        base, own = _guarded(seen, guard)
        margin = guard.margin * abs(float(np.nanmean(base))) if guard.relative else guard.margin
        return paired_quality(base, own).p_noninferior(margin)
    except UnusableMeasurement:
        return 1.0  # fewer than two items have a say: nothing is shown


def _guarded(seen: Seen, guard: Guard) -> tuple[Floats, Floats]:
    """Scores of a guard metric, higher is better."""
    if guard.metric == _MEAN_LATENCY:
        return -seen.base.latency_ms, -seen.own.latency_ms
    return seen.base.scores[guard.metric], seen.own.scores[guard.metric]


def _guard_gap(seen: Seen, guard: Guard) -> float:
    """How far a guard is above what it must keep, in the metric's unit; negative when it is missed."""
    if guard.metric in _LATENCIES:
        quantile = _LATENCIES[guard.metric]
        base, own = (-one.latency_quantile_ms(quantile) for one in (seen.base, seen.own))
    else:
        scores = _guarded(seen, guard)
        if any(not np.isfinite(one).any() for one in scores):
            return 0.0  # no item has a say yet: it is not held against it
        base, own = (float(np.nanmean(one)) for one in scores)
    return own - base + (guard.margin * abs(base) if guard.relative else guard.margin)


def _gap(seen: Seen, bar: Bar) -> float:
    own = seen.own.metric(bar.metric)
    floor = seen.base.metric(bar.metric) - bar.margin if bar.at_least is None else bar.at_least
    # An item that has a say is always there for the primary metric; without one nothing is known, and nothing is met.
    return own - floor if math.isfinite(own - floor) else -1.0


def _items_needed(seen: Seen, bar: Bar) -> int | None:
    """Large-sample: n at which the gap to the bar is z standard errors (Connor 1987, Biometrics 43, 207-211)."""
    gap = _gap(seen, bar)
    own, base = seen.own.scores[bar.metric], seen.base.scores[bar.metric]
    spread = _counted(own if bar.at_least is not None else own - base)
    if gap <= 0 or spread.size < 2:
        return None
    # Two variants that agree on every item of a small set are not known to agree on all: half an item each way.
    variance = max(float(np.var(spread, ddof=1)), 1 / spread.size)
    needed = math.ceil(variance * (float(stats.norm.isf(1 - bar.confidence)) / gap) ** 2)
    return needed if spread.size < needed <= _MOST_ITEMS else None


def _p_above(scores: Floats, floor: float) -> float:
    """Against "the mean is at most `floor`": exact binomial for scores of 0 and 1, else the t-test."""
    if scores.size < 2:
        return 1.0
    if np.all((scores == 0) | (scores == 1)):
        if not 0 <= floor <= 1:
            return 1.0 if floor > 1 else 0.0
        return float(stats.binomtest(int(scores.sum()), scores.size, floor, alternative="greater").pvalue)
    return _t_tail(floor - float(scores.mean()), scores)


def _p_below(scores: Floats, floor: float) -> float:
    if scores.size < 2:
        return 1.0
    if np.all((scores == 0) | (scores == 1)):
        if not 0 <= floor <= 1:
            return 0.0 if floor > 1 else 1.0
        return float(stats.binomtest(int(scores.sum()), scores.size, floor, alternative="less").pvalue)
    return _t_tail(float(scores.mean()) - floor, scores)


def _t_tail(distance: float, scores: Floats) -> float:
    error = float(np.std(scores, ddof=1)) / math.sqrt(scores.size)
    if error == 0:
        return 0.0 if distance < 0 else 1.0
    return float(stats.t.sf(-distance / error, scores.size - 1))


def _counted(scores: Floats) -> Floats:
    return scores[np.isfinite(scores)]


def _box(ratio: float) -> int:
    return math.floor(math.log(ratio) / _BOX)
