"""What a business case hangs on: one input at a time over its range, and all of them at once by draws.

Draws are triangular between low and high with the declared value on top, each input on its own; nothing is known of how
they move together, and a case whose inputs do says so. Source of propagating by draws: JCGM 101:2008.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from outweigh.core.errors import InvalidQuantity
from outweigh.whatif.finance.case import DO_NOTHING, Case, Ranged

Floats = NDArray[np.float64]
_MOST_DRAWS = 100_000


@dataclass(frozen=True, slots=True)
class Bar:
    """One input at both ends of its range, all others at their declared values.

    Attributes:
        nothing_low, nothing_high: present value of doing nothing there.
        gain_low, gain_high: gain of the option over it, at the input's low and high end.
        gain: with the declared value, as for all bars.
    """

    name: str
    ranged: Ranged
    nothing_low: float
    nothing_high: float
    gain_low: float
    gain_high: float
    gain: float

    @property
    def swing(self) -> float:
        return self.ends[1] - self.ends[0]

    @property
    def ends(self) -> tuple[float, float]:
        """The bar; it holds the gain at the declared value, even where an end lies on the same side of it."""
        three = (self.gain_low, self.gain, self.gain_high)
        return min(three), max(three)


def tornado(case: Case, option: str, most: int = 10) -> tuple[Bar, ...]:
    """The inputs with the widest bars, widest first."""
    base = float(case.gain(option))
    bars = []
    for name, one in case.ranged().items():
        if not one.spread or not (name in case.inputs or name.startswith(f"{option}: ")):
            continue
        ends = {name: np.array([one.low, one.high])}
        nothing, gain = case.npv(DO_NOTHING, ends), case.gain(option, ends)
        nothing = np.broadcast_to(nothing, (2,))
        bars.append(Bar(name, one, float(nothing[0]), float(nothing[1]), float(gain[0]), float(gain[1]), base))
    return tuple(sorted(bars, key=lambda bar: (-bar.swing, bar.name))[:most])


@dataclass(frozen=True, slots=True)
class Scenarios:
    """All inputs drawn at once, the same draws for every way.

    Attributes:
        nothing: present value of doing nothing, shape (n,).
        gains: gain of each option over it, shape (n,).
    """

    nothing: Floats
    gains: Mapping[str, Floats]
    seed: int

    def quantiles(self, option: str, at: tuple[float, ...] = (0.05, 0.5, 0.95)) -> tuple[float, ...]:
        """Quantiles of an option's gain, or of doing nothing's present value."""
        values = self.nothing if option == DO_NOTHING else self.gains[option]
        return tuple(float(one) for one in np.quantile(values, at))

    def better(self, option: str) -> float:
        """Share of the draws in which the option is worth more than doing nothing."""
        return float(np.mean(self.gains[option] > 0))


def draw(case: Case, n: int = 1000, seed: int = 0) -> Scenarios:
    """n draws of all inputs that have a range."""
    if not 1 <= n <= _MOST_DRAWS:
        raise InvalidQuantity("number of scenarios", str(n), f"draw 1 to {_MOST_DRAWS:,}")
    rng = np.random.default_rng(seed)
    given: dict[str, Floats | float] = {
        name: rng.triangular(one.low, one.value, one.high, n) for name, one in case.ranged().items() if one.spread
    }
    nothing = np.broadcast_to(case.npv(DO_NOTHING, given), (n,)).copy()
    gains = {option.name: np.broadcast_to(case.gain(option.name, given), (n,)).copy() for option in case.options}
    return Scenarios(nothing, gains, seed)
