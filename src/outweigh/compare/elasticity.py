"""How energy answers to a knob: the exponent of energy per unit over batch, threads, sequence length or size.

    ln E = a + b ln x        b = -1: halved by doubling x; 0: no effect; 1: doubled

b is fitted by least squares through the points of each round, since round r of all points lies close in time and runs
the same items; the fits' mean has Student's t on R - 1 degrees of freedom. The interval is that of the best line
through what was measured, whether or not a line is the right curve: how far the points lie off it is said beside it,
and the exponent from each point to the next, which is what bends.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike
from scipy import stats

from outweigh.core.errors import UnusableMeasurement
from outweigh.core.intervals import Bounds, Estimate


@dataclass(frozen=True, slots=True)
class Elasticity:
    """The exponent of energy per unit over x.

    Attributes:
        exponent: of the best line through all points.
        steps: exponent from each point to the next, one fewer than the points.
        off: the largest distance of a point's mean from the line, as a share (0.05: 5 % off); 0 for two points.
        rounds: R.
    """

    exponent: Estimate
    steps: tuple[Estimate, ...]
    off: float
    rounds: int

    def bends(self) -> bool:
        """Whether one exponent is too few: two of the steps' intervals have nothing in common."""
        low, high = max(s.bounds.low for s in self.steps), min(s.bounds.high for s in self.steps)
        return low > high


def elasticity(x: Sequence[float], energy_j_per_unit: Sequence[ArrayLike], confidence: float = 0.95) -> Elasticity:
    """Fit the exponent of energy per unit over x.

    Args:
        x: value of the knob at each point, positive and increasing, at least two.
        energy_j_per_unit: for each point, energy per unit of each of the same rounds [J], shape (R,), R >= 2.

    Raises:
        UnusableMeasurement: fewer than two points or rounds, x that does not increase, rounds that do not pair, or an
            energy that is not a positive number.

    >>> rounds = np.array([8.0, 8.8])
    >>> round(elasticity([1, 2, 4], [rounds, rounds / 2, rounds / 4]).exponent.value, 9)
    -1.0
    """
    points = [np.asarray(one, dtype=float) for one in energy_j_per_unit]
    if len(points) < 2 or len(points) != len(x):
        raise _unusable(f"{len(points)} point(s) make no line", "Sweep over at least two values")
    if not (min(x) > 0 and all(b > a for a, b in itertools.pairwise(x))):
        raise _unusable("its values do not increase from above zero", "Give them in increasing order, each once")
    if len({point.shape for point in points}) > 1 or points[0].ndim != 1 or points[0].size < 2:
        raise _unusable("its points do not share at least two rounds", "Measure them in the same interleaved rounds")
    energies = np.stack(points)
    if not np.all(np.isfinite(energies)) or np.any(energies <= 0):
        raise _unusable("a round's energy is not a positive number", "Lengthen the rounds with protocol.window")
    logs, log_x = np.log(energies), np.log(np.asarray(x, dtype=float))
    centred = log_x - log_x.mean()
    slopes = centred @ logs / float(centred @ centred)
    means = logs.mean(axis=1)
    line = means.mean() + slopes.mean() * centred
    steps = tuple(
        _mean((logs[i + 1] - logs[i]) / (log_x[i + 1] - log_x[i]), confidence) for i in range(len(points) - 1)
    )
    off = math.expm1(float(np.max(np.abs(means - line)))) if len(points) > 2 else 0.0
    return Elasticity(_mean(slopes, confidence), steps, off, int(slopes.size))


def _mean(values: np.ndarray, confidence: float) -> Estimate:
    centre = float(values.mean())
    standard = float(values.std(ddof=1)) / math.sqrt(values.size)
    spread = float(stats.t.ppf((1 + confidence) / 2, values.size - 1)) * standard
    return Estimate(centre, Bounds(centre - spread, centre + spread, confidence))


def _unusable(reason: str, remedy: str) -> UnusableMeasurement:
    return UnusableMeasurement("the sweep", reason, remedy)
