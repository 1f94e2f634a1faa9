"""How much better or worse one variant is than another on the same items.

All differences are candidate minus base, all p-values are one-sided unless named otherwise, and a small p-value
always means "shown".
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import optimize, stats

from outweigh.compare.evidence import Floats
from outweigh.core.errors import UnusableMeasurement
from outweigh.core.intervals import Bounds

_BOOTSTRAP_CELLS = 4_000_000  # scores held at once while resampling: 32 MB


@dataclass(frozen=True, slots=True, eq=False)
class PairedQuality:
    """Scores of two variants on the items where both have a say, n >= 2; build it with `paired_quality`.

    Binary scores (only 0 and 1) get the score method of Tango, others the paired t. The t-interval of scores
    that all differ by the same amount has no width: with such scores trust the number of items, not the interval.

    Attributes:
        base, candidate: score of each item, shape (n,), no NaN; higher is better.
    """

    base: Floats
    candidate: Floats

    @property
    def n(self) -> int:
        return int(self.base.size)

    @property
    def difference(self) -> float:
        """Mean score of the candidate minus that of the base."""
        return float(np.mean(self.candidate - self.base))

    @property
    def is_binary(self) -> bool:
        return _binary(self.base) and _binary(self.candidate)

    @property
    def gained(self) -> int:
        """Items the candidate does better on; for binary scores the cell "candidate right, base wrong"."""
        return int(np.count_nonzero(self.candidate > self.base))

    @property
    def lost(self) -> int:
        """Items the candidate does worse on."""
        return int(np.count_nonzero(self.candidate < self.base))

    def bounds(self, confidence: float = 0.95) -> Bounds:
        """Two-sided interval of the difference; one end of `2c - 1` is the one-sided bound at c."""
        if self.is_binary:
            return tango_bounds(self.gained, self.lost, self.n, confidence)
        spread = float(stats.t.ppf((1 + confidence) / 2, self.n - 1)) * self._standard_error()
        return Bounds(self.difference - spread, self.difference + spread, confidence)

    def bootstrap_bounds(self, rng: np.random.Generator, confidence: float = 0.95, n_resamples: int = 4_000) -> Bounds:
        """BCa interval of the difference (Efron 1987, JASA 82:171), for scores too skewed for the t-interval."""
        delta = self.candidate - self.base
        if np.ptp(delta) == 0:
            return Bounds(self.difference, self.difference, confidence)
        result = stats.bootstrap(
            (delta,),
            np.mean,
            confidence_level=confidence,
            n_resamples=n_resamples,
            batch=max(1, _BOOTSTRAP_CELLS // self.n),
            method="BCa",
            rng=rng,
        )
        return Bounds(float(result.confidence_interval.low), float(result.confidence_interval.high), confidence)

    def p_greater(self, x0: float = 0.0) -> float:
        """p-value against "the difference is at most x0": small means shown to be greater."""
        if self.is_binary:
            return float(stats.norm.sf(tango_z(self.gained, self.lost, self.n, x0)))
        return self._tail(x0 - self.difference)

    def p_less(self, x0: float = 0.0) -> float:
        """p-value against "the difference is at least x0": small means shown to be less."""
        if self.is_binary:
            return float(stats.norm.cdf(tango_z(self.gained, self.lost, self.n, x0)))
        return self._tail(self.difference - x0)

    def p_noninferior(self, margin: float) -> float:
        """p-value against "worse by `margin` or more": small means shown to be non-inferior."""
        return self.p_greater(-margin)

    def p_equivalent(self, margin: float) -> float:
        """p-value against "apart by `margin` or more", by two one-sided tests (Schuirmann 1987, J Pharmacokinet
        Biopharm 15:657): small means shown to be equivalent."""
        return max(self.p_greater(-margin), self.p_less(margin))

    def p_different(self, *, mid: bool = False) -> float:
        """Two-sided p-value of "no item is easier for one than for the other".

        The exact McNemar test on the items gained and lost (a sign test, so it holds for any scores), or its
        mid-p version, which is less conservative (Fagerland, Lydersen, Laake 2013, BMC Med Res Methodol 13:91).
        """
        apart = self.gained + self.lost
        if apart == 0:
            return 1.0
        exact = float(stats.binomtest(self.gained, apart).pvalue)
        if not mid:
            return exact
        observed = float(stats.binom.pmf(self.gained, apart, 0.5))
        return 1 - observed / 2 if self.gained == self.lost else exact - observed

    def _standard_error(self) -> float:
        return float(np.std(self.candidate - self.base, ddof=1)) / math.sqrt(self.n)

    def _tail(self, distance: float) -> float:
        error = self._standard_error()
        if error == 0:
            return 0.0 if distance < 0 else 1.0
        return float(stats.t.sf(-distance / error, self.n - 1))


def paired_quality(base_scores: ArrayLike, candidate_scores: ArrayLike) -> PairedQuality:
    """Pair the scores of two variants on the same items.

    Args:
        base_scores: score of each item, shape (n,); NaN where the item has no say.
        candidate_scores: the same items, in the same order.

    Raises:
        UnusableMeasurement: unequal lengths, or fewer than two items on which both have a say.

    >>> paired = paired_quality([1, 1, 0, 0, 1], [1, 1, 1, 0, float("nan")])
    >>> paired.n, paired.difference
    (4, 0.25)
    """
    base, candidate = np.asarray(base_scores, dtype=float), np.asarray(candidate_scores, dtype=float)
    if base.ndim != 1 or base.shape != candidate.shape:
        raise UnusableMeasurement(
            "paired quality",
            f"{base.size} scores do not pair with {candidate.size}",
            "Evaluate both variants on the same items",
        )
    both = np.isfinite(base) & np.isfinite(candidate)
    if np.count_nonzero(both) < 2:
        raise UnusableMeasurement(
            "paired quality",
            f"only {np.count_nonzero(both)} of {base.size} items have a say for both variants",
            "Give the evaluation set more items that count for this metric",
        )
    return PairedQuality(base[both], candidate[both])


# --- Tango's score method ---------------------------------------------------------------------------


def tango_z(gained: int, lost: int, n: int, delta: float) -> float:
    """Score statistic of "the difference of paired proportions is delta", standard normal under it.

    Args:
        gained: items right for the candidate only.
        lost: items right for the base only.
        n: all items.
        delta: the difference held against, candidate minus base, in [-1, 1].

    Source: Tango 1998, Stat Med 17:891, equation for Z with q21 its restricted maximum-likelihood estimate.
    """
    delta = min(1.0, max(-1.0, delta))
    distance = gained - lost - n * delta
    if distance == 0:
        return 0.0
    b = -gained - lost + (2 * n - gained + lost) * delta
    c = -lost * delta * (1 - delta)
    q21 = (math.sqrt(max(0.0, b * b - 8 * n * c)) - b) / (4 * n)
    variance = n * (2 * q21 + delta * (1 - delta))
    return distance / math.sqrt(variance) if variance > 0 else math.copysign(_FAR, distance)


_FAR = 1e8  # where no scatter is left, a finite stand-in for infinity that a root finder can take


def tango_bounds(gained: int, lost: int, n: int, confidence: float = 0.95) -> Bounds:
    """Tango's score interval for the difference of paired proportions: the deltas that `tango_z` does not reject.

    It stays inside [-1, 1] and has width where no item tells the two apart.

    >>> bounds = tango_bounds(gained=1, lost=7, n=21)
    >>> round(bounds.low, 3), round(bounds.high, 3)
    (-0.517, -0.026)
    """
    z = float(stats.norm.ppf((1 + confidence) / 2))
    centre = (gained - lost) / n

    def end(edge: float, target: float) -> float:
        if centre == edge:
            return edge
        # The statistic falls from +far at -1 over 0 at the estimate to -far at 1, so each side has one root.
        return float(optimize.brentq(lambda delta: tango_z(gained, lost, n, delta) - target, centre, edge, xtol=1e-12))

    return Bounds(end(-1.0, z), end(1.0, -z), confidence)


# --- resampling -------------------------------------------------------------------------------------


def paired_error_draws(
    base_scores: ArrayLike, candidate_scores: ArrayLike, ceiling: float, n_draws: int, rng: np.random.Generator
) -> Floats:
    """Draws of g = ln(err_base / err_candidate) by resampling items, both variants together; positive is better.

    err is the distance of the mean score to the ceiling, and not below 0: a variant at the ceiling has none left
    to lose. Binary scores are resampled as the multinomial of their four cells, which is the item bootstrap
    exactly; others by index. Haldane-Anscombe corrections (Haldane 1956, Ann Hum Genet 20:309; Anscombe 1956,
    Biometrika 43:461) keep the logarithm finite and the spread honest. Half an item of error is added to each
    variant in every draw: 0.5 for binary scores, half the distance from the lowest score seen to the ceiling for
    others. For binary scores half an item is also added, before drawing, to each of the two cells that tell the
    variants apart, since two variants that agree on every item of a small set are not known to agree on all.

    Args:
        base_scores, candidate_scores: as in `paired_quality`.
        ceiling: best value of the metric, in its unit.
        n_draws: number of draws.
        rng: seeded by the caller.

    Returns:
        shape (n_draws,).

    Raises:
        UnusableMeasurement: see `paired_quality`.
    """
    pair = paired_quality(base_scores, candidate_scores)
    if pair.is_binary:
        both_right = int(np.count_nonzero((pair.base == 1) & (pair.candidate == 1)))
        cells = np.array(
            [both_right, pair.gained + 0.5, pair.lost + 0.5, pair.n - both_right - pair.gained - pair.lost]
        )
        drawn = rng.multinomial(pair.n, cells / cells.sum(), n_draws).astype(float)
        base_sum, candidate_sum = drawn[:, 0] + drawn[:, 2], drawn[:, 0] + drawn[:, 1]
        half = 0.5
    else:
        base_sum, candidate_sum = _resampled_sums(pair, n_draws, rng)
        half = 0.5 * max(0.0, ceiling - float(min(pair.base.min(), pair.candidate.min())))
    if half == 0:
        return np.zeros(n_draws)
    errors = [np.maximum(ceiling * pair.n - total, 0.0) + half for total in (base_sum, candidate_sum)]
    return np.asarray(np.log(errors[0]) - np.log(errors[1]), dtype=np.float64)


def _resampled_sums(pair: PairedQuality, n_draws: int, rng: np.random.Generator) -> tuple[Floats, Floats]:
    base, candidate = np.empty(n_draws), np.empty(n_draws)
    step = max(1, _BOOTSTRAP_CELLS // pair.n)
    for start in range(0, n_draws, step):
        size = min(step, n_draws - start)
        index = rng.integers(0, pair.n, (size, pair.n))
        base[start : start + size] = pair.base[index].sum(axis=1)
        candidate[start : start + size] = pair.candidate[index].sum(axis=1)
    return base, candidate


@dataclass(frozen=True, slots=True, eq=False)
class RatioDraws:
    """A ratio with draws of it, shape (n_draws,); for latency, above 1 means that the candidate is slower."""

    value: float
    sampled: Floats

    def bounds(self, confidence: float = 0.95) -> Bounds:
        """Percentile interval (Efron, Tibshirani 1993, chapter 13)."""
        low, high = np.quantile(self.sampled, [(1 - confidence) / 2, (1 + confidence) / 2])
        return Bounds(float(low), float(high), confidence)

    def p_greater(self, x0: float) -> float:
        """p-value against "at most x0", never 0: (draws on the other side + 1) / (draws + 1)."""
        return (int(np.count_nonzero(self.sampled <= x0)) + 1) / (self.sampled.size + 1)

    def p_less(self, x0: float) -> float:
        """p-value against "at least x0"."""
        return (int(np.count_nonzero(self.sampled >= x0)) + 1) / (self.sampled.size + 1)


def latency_ratio(
    base_ms: ArrayLike,
    candidate_ms: ArrayLike,
    rng: np.random.Generator,
    *,
    quantile: float = 0.95,
    n_draws: int = 2_000,
    rounds: ArrayLike | None = None,
) -> RatioDraws:
    """Ratio of a latency quantile, candidate over base, with a paired bootstrap of it.

    Items are resampled jointly, since a long item is long for both. Given `rounds`, whole rounds are resampled
    (Davison, Hinkley 1997, section 3.8): a burst of other work on the machine slows a round's items together, and
    treating them as independent would make the interval too narrow.

    Args:
        base_ms, candidate_ms: wall time of each item [ms], shape (n,), positive, n >= 2.
        rng: seeded by the caller.
        quantile: which one, in (0, 1).
        n_draws: number of draws.
        rounds: round each item was run in, shape (n,), the same for both variants; None resamples items only.

    Raises:
        UnusableMeasurement: unequal lengths, fewer than two items, or a latency that is not positive.
    """
    pair = paired_quality(base_ms, candidate_ms)
    if pair.n < np.size(base_ms) or min(pair.base.min(), pair.candidate.min()) <= 0:
        raise UnusableMeasurement("latency ratio", "an item took no positive time", "Measure the rounds again")
    marks = np.asarray(rounds if rounds is not None else [])
    groups = [np.flatnonzero(marks == mark) for mark in np.unique(marks)]
    sampled = np.empty(n_draws)
    for draw in range(n_draws):
        if groups:
            index = np.concatenate([groups[i] for i in rng.integers(0, len(groups), len(groups))])
        else:
            index = rng.integers(0, pair.n, pair.n)
        base_q, candidate_q = (_quantile(times[index], quantile) for times in (pair.base, pair.candidate))
        sampled[draw] = candidate_q / base_q
    return RatioDraws(_quantile(pair.candidate, quantile) / _quantile(pair.base, quantile), sampled)


def _quantile(values: Floats, share: float) -> float:
    # The upper of the two neighbours, as np.quantile(..., method="higher"), ten times faster in a loop.
    rank = min(values.size - 1, math.ceil(share * (values.size - 1)))
    return float(np.partition(values, rank)[rank])


def _binary(scores: Floats) -> bool:
    return bool(np.all((scores == 0) | (scores == 1)))


def items_for_equivalence(pair: PairedQuality, margin: float, confidence: float = 0.95, power: float = 0.8) -> int:
    """Items with which two variants as much alike as these are shown equivalent within `margin`, if they are.

    n = (z_confidence + z_(1 + power) / 2)^2 variance / margin^2, for two one-sided tests at a true difference of 0
    (Julious 2004, Stat Med 23:1921). The variance is that of the paired differences seen, with half an item added to
    each of the cells gained and lost (Haldane 1956, Ann Hum Genet 20:309): twelve items that agree throughout are not
    known to agree on all.

    >>> items_for_equivalence(paired_quality([1] * 190 + [0, 1] * 5, [1] * 190 + [1, 0] * 5), 0.02)
    1172
    """
    spread = float(np.max(np.abs(pair.candidate - pair.base))) if pair.gained + pair.lost else 1.0
    squares = float(np.sum((pair.candidate - pair.base) ** 2)) + spread**2
    z = float(stats.norm.ppf(confidence) + stats.norm.ppf((1 + power) / 2))
    return max(pair.n, math.ceil(z * z * squares / (pair.n + 1) / margin**2))
