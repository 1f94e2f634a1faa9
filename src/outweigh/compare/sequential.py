"""When to stop measuring early without paying for it in false alarms.

Looking after every round and stopping at the first interval that excludes 1 calls far too many differences: ten looks
at 5 % call one in five where there is none (Armitage, McPherson, Rowe 1969, J R Stat Soc A 132:235). So the error is
spent over the looks: at a share t of the rounds planned,

    alpha*(t) = 4 - 4 Phi(z_{1-alpha/4} / sqrt t)

of it may have been used up (Lan, DeMets 1983, Biometrika 70:659, the function of O'Brien-Fleming shape, alpha / 2 on
either side): next to nothing early, nearly all of it at the end. The boundaries follow from the joint law of the looks,
a random walk with normal steps that stops at the boundary, by numerical integration (Armitage, McPherson, Rowe 1969).
With the variance unknown, the two-sided nominal level of each boundary is used with Student's t on the rounds then had
(Pocock 1977, Biometrika 64:191). With few rounds that alone spends up to a fifth too much, since early t statistics are
wilder than a random walk at the same levels; so all levels are tightened by the one factor that keeps the error of the
whole plan at alpha, found by simulating the plan on normal data with a fixed seed (40,000 plans).

An interval at the nominal level of its look is a repeated confidence interval (Jennison, Turnbull 1989, J R Stat Soc B
51:305): all of them together cover at the confidence asked for, so one may stop for any reason that the data give.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cache

import numpy as np
from scipy import optimize, stats

from outweigh.compare.energy import LogRatio
from outweigh.core.errors import InvalidQuantity

FIRST_LOOK = 4  # rounds before the first look: three degrees of freedom show little, and the error is saved for later
_GRID = 601  # points of the density between the boundaries; twice as many change no level by more than 1e-4 of itself
_PLANS, _SEED = 40_000, 1977
_LEAST_SPEND = 1e-12  # below this a boundary is out of reach, and its root is not worth finding


@dataclass(frozen=True, slots=True)
class Looks:
    """A plan of looks: after rounds FIRST_LOOK, FIRST_LOOK + 1, ..., `rounds`.

    Attributes:
        rounds: planned, at least 2.
        confidence: that all intervals together are to have, two-sided.
    """

    rounds: int
    confidence: float = 0.95

    def __post_init__(self) -> None:
        if self.rounds < 2:
            raise InvalidQuantity("number of rounds", repr(self.rounds), "plan at least two")
        if not 0 < self.confidence < 1:
            raise InvalidQuantity("confidence", repr(self.confidence), "give it as a fraction between 0 and 1")

    def level(self, rounds: int) -> float:
        """Confidence of the interval at the look after so many rounds; below the first look it is that of the first.

        >>> looks = Looks(rounds=12)
        >>> round(looks.level(6), 3), round(looks.level(12), 3)
        (0.998, 0.968)
        """
        levels = _tightened(self.rounds, round(self.confidence, 9))
        return levels[min(max(rounds, _first(self.rounds)), self.rounds) - _first(self.rounds)]

    def settled(self, ratio: LogRatio, precision: float) -> str:
        """Why no more rounds are needed, or "" while they are.

        Args:
            ratio: of the rounds so far.
            precision: half-width that is narrow enough, as a share: 0.02 for 2 %. It is held against the scatter of the
                rounds, which is what more rounds would make smaller.
        """
        if not _first(self.rounds) <= ratio.rounds < self.rounds:
            return ""
        level = self.level(ratio.rounds)
        bounds = ratio.bounds(level)
        if not bounds.contains(0.0):
            return "decided"
        half = float(stats.t.ppf((1 + level) / 2, ratio.dof)) * ratio.standard_error
        return "narrow" if math.expm1(half) <= precision else ""


def _first(rounds: int) -> int:
    return min(FIRST_LOOK, rounds)


@cache
def _tightened(rounds: int, confidence: float) -> tuple[float, ...]:
    """The levels for Student's t: tails of `_levels` times the factor that makes the whole plan spend alpha."""
    nominal = [1 - level for level in _levels(rounds, confidence)]
    steps = np.random.default_rng(_SEED).standard_normal((_PLANS, rounds))
    sums, squares = np.cumsum(steps, axis=1), np.cumsum(steps**2, axis=1)
    worst = np.full(_PLANS, np.inf)
    for look, tail in enumerate(nominal, start=_first(rounds)):
        mean = sums[:, look - 1] / look
        variance = (squares[:, look - 1] - look * mean**2) / (look - 1)
        p = 2 * stats.t.sf(np.abs(mean) / np.sqrt(variance / look), look - 1)
        worst = np.minimum(worst, p / tail)
    factor = min(1.0, float(np.quantile(worst, 1 - confidence)))
    return tuple(1 - factor * tail for tail in nominal)


@cache
def _levels(rounds: int, confidence: float) -> tuple[float, ...]:
    """1 - nominal two-sided level of each look, first to last."""
    alpha = 1 - confidence
    z_all = float(stats.norm.isf(alpha / 4))
    found: list[float] = []
    spent = 0.0
    grid = np.zeros(1)
    mass = np.ones(1)  # probability at each point of the grid: of walking there without having crossed before
    before = 0
    for look in range(_first(rounds), rounds + 1):
        share = look / rounds
        target = 4 * float(stats.norm.sf(z_all / math.sqrt(share)))
        spend = max(target - spent, _LEAST_SPEND)
        step = math.sqrt((look - before) / rounds)

        def crossed(edge: float, grid: np.ndarray = grid, mass: np.ndarray = mass, step: float = step) -> float:
            # The walk is symmetric, so both sides are crossed equally often.
            return max(2 * float(np.sum(mass * stats.norm.sf((edge - grid) / step))), 1e-300)

        edge = float(optimize.brentq(lambda e, c=crossed, s=spend: math.log(c(e)) - math.log(s), 0.0, 12.0, xtol=1e-10))
        found.append(1 - 2 * float(stats.norm.sf(edge / math.sqrt(share))))
        spent = target
        points = np.linspace(-edge, edge, _GRID)
        density = stats.norm.pdf((points[:, None] - grid[None, :]) / step) @ mass / step
        weights = np.full(_GRID, points[1] - points[0])
        weights[[0, -1]] /= 2
        grid, mass, before = points, density * weights, look
    return tuple(found)
