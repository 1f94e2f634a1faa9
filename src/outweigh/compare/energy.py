"""How much more energy one variant draws than another: the log-ratio of interleaved rounds."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from outweigh.compare.evidence import Floats
from outweigh.core.errors import UnusableMeasurement
from outweigh.core.intervals import Bounds, Estimate


@dataclass(frozen=True, slots=True)
class LogRatio:
    """ln(E_candidate / E_against): positive means that the candidate draws more.

    Two standard uncertainties stand behind it: the scatter over rounds, with `dof` degrees of freedom, and
    `mix_standard`, which no repetition averages away and which counts as normal. They add in quadrature,
    u_c^2 = s^2 + u_mix^2, and the interval is estimate +- t(nu_eff) u_c, with the effective degrees of freedom
    of Welch-Satterthwaite (JCGM 100:2008, G.4.1): nu_eff = u_c^4 / (s^4 / dof). With u_mix = 0 this is the
    plain t-interval.

    Attributes:
        estimate: mean over rounds of ln c_r - ln a_r, dimensionless.
        standard_error: of that mean, s = sd / sqrt(R).
        dof: R - 1.
        mix_standard: relative standard uncertainty (k = 1) of the ratio that different instruction mixes leave,
            as a meter that is off by a different factor for each variant.
        rounds: R.
        confidence: two-sided, used where a method is not given another.
    """

    estimate: float
    standard_error: float
    dof: float
    mix_standard: float
    rounds: int
    confidence: float = 0.95

    @property
    def combined_standard(self) -> float:
        """u_c, on the log scale (k = 1)."""
        return math.hypot(self.standard_error, self.mix_standard)

    @property
    def effective_dof(self) -> float:
        """nu_eff; infinite where only the normal part is left."""
        if self.mix_standard == 0:
            return self.dof
        if self.standard_error == 0:
            return math.inf
        share = self.combined_standard / self.standard_error
        return self.dof * share**4 if share < 1e6 else math.inf

    def bounds(self, confidence: float | None = None) -> Bounds:
        """Two-sided interval on the log scale; one end of `2c - 1` is the one-sided bound at c."""
        level = self.confidence if confidence is None else confidence
        spread = float(stats.t.ppf((1 + level) / 2, self.effective_dof)) * self.combined_standard
        return Bounds(self.estimate - spread, self.estimate + spread, level)

    def ratio(self, confidence: float | None = None) -> Estimate:
        """E_candidate / E_against, the geometric mean over rounds, with its interval."""
        bounds = self.bounds(confidence)
        return Estimate(math.exp(self.estimate), Bounds(math.exp(bounds.low), math.exp(bounds.high), bounds.confidence))

    def p_greater(self, x0: float) -> float:
        """p-value against "the log-ratio is at most x0": small means shown to be greater."""
        return self._tail(x0 - self.estimate)

    def p_less(self, x0: float) -> float:
        """p-value against "the log-ratio is at least x0": small means shown to be less."""
        return self._tail(self.estimate - x0)

    def draws(self, rng: np.random.Generator, n: int) -> Floats:
        """n draws of the log-ratio, shape (n,): scaled and shifted t plus normal (JCGM 101:2008, 6.4.9, 6.4.7)."""
        scatter = self.standard_error * rng.standard_t(self.dof, n)
        return self.estimate + scatter + self.mix_standard * rng.standard_normal(n)

    def _tail(self, distance: float) -> float:
        if self.combined_standard == 0:
            # No scatter at all: the answer is the sign, and equality shows nothing.
            return 0.0 if distance < 0 else 1.0
        return float(stats.t.sf(-distance / self.combined_standard, self.effective_dof))


def noise_floor(aa: LogRatio, confidence: float | None = None) -> float:
    """The far end of the interval of a variant against itself, on the log scale.

    A ratio of two variants that is no further from 1 than a variant is from itself, as far as this sitting can tell, is
    within the noise, whatever its own interval says.

    >>> noise_floor(log_ratio([1.0, 1.0, 1.0], [1.0, 1.0, 1.0]))
    0.0
    """
    bounds = aa.bounds(confidence)
    return max(abs(bounds.low), abs(bounds.high))


def log_ratio(
    candidate_j: ArrayLike, against_j: ArrayLike, confidence: float = 0.95, mix_standard: float = 0.0
) -> LogRatio:
    """Paired log-ratio of the energy of interleaved rounds.

    Round r of both variants lies close in time and runs the same items, so that drift of the machine and
    difficulty of the items cancel in ln c_r - ln a_r. Any unit will do as long as it is the same.

    Args:
        candidate_j: energy of each round, or per unit of each round [J], shape (R,), R >= 2, all positive.
        against_j: the same rounds of the variant it is held against, shape (R,).
        confidence: two-sided confidence of the intervals, unless a method is asked for another.
        mix_standard: see LogRatio.

    Raises:
        UnusableMeasurement: fewer than two rounds, unequal numbers of rounds, or an energy that is not a
            positive finite number.

    >>> log_ratio([2.0, 2.2, 1.8], [1.0, 1.1, 0.9]).ratio().value
    2.0
    """
    candidate, against = np.asarray(candidate_j, dtype=float), np.asarray(against_j, dtype=float)
    what = "energy ratio"
    if candidate.ndim != 1 or candidate.shape != against.shape:
        raise UnusableMeasurement(
            what,
            f"{candidate.size} rounds of one variant do not pair with {against.size} of the other",
            "Measure both in the same interleaved rounds",
        )
    if candidate.size < 2:
        raise UnusableMeasurement(
            what, f"{candidate.size} round(s) show no scatter", "Measure at least two rounds: set protocol.rounds"
        )
    if (
        not (np.all(np.isfinite(candidate)) and np.all(np.isfinite(against)))
        or min(candidate.min(), against.min()) <= 0
    ):
        raise UnusableMeasurement(
            what,
            "a round's energy is not a positive number",
            "Lengthen the rounds (fewer rounds or more items) so that the work stands out of the hum",
        )
    if not (math.isfinite(mix_standard) and mix_standard >= 0):
        raise UnusableMeasurement(
            what, f"an uncertainty of {mix_standard!r} for the instruction mix", "Give a share of at least 0"
        )
    logs = np.log(candidate) - np.log(against)
    rounds = int(logs.size)
    return LogRatio(
        estimate=float(logs.mean()),
        standard_error=float(logs.std(ddof=1)) / math.sqrt(rounds),
        dof=float(rounds - 1),
        mix_standard=mix_standard,
        rounds=rounds,
        confidence=confidence,
    )
