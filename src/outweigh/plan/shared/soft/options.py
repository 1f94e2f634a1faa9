"""What all kinds of options have in common: pairs of a shape and a site, what they cost and what they hold."""

from __future__ import annotations

from typing import NamedTuple, Protocol

import numpy as np

from outweigh.plan.offers import W_PER_KW
from outweigh.plan.problem import Bools, Floats, Ints
from outweigh.plan.shared.classes import Shapes
from outweigh.plan.shared.columns import Columns


class Pairs(NamedTuple):
    """Shapes at sites where they may run, at one of their levels, in the order of shapes; all shape (n,)."""

    shape: Ints
    site: Ints
    level: Ints

    def take(self, rows: Ints | Bools) -> Pairs:
        return Pairs(self.shape[rows], self.site[rows], self.level[rows])

    def length(self, shapes: Shapes) -> Floats:
        """Steps each runs at its level, shape (n,)."""
        return np.asarray(shapes.jobs.work[self.shape] / shapes.jobs.speed[self.shape, self.level])

    def kw(self, shapes: Shapes) -> Floats:
        """Power of each at its level, for 1 kW at the first, shape (n,)."""
        return np.asarray(shapes.jobs.power_w[self.shape, self.level] / W_PER_KW)


class Options(Protocol):
    """Ways to run of one kind, few enough for memory. The two last methods speak of the costs asked for last."""

    pairs: Pairs

    def cost(self, rate: Floats, temperature: float) -> Floats:
        """What each pair costs, softened over its runs [currency/kW], shape (n,)."""

    def drawn(self, kw: Floats, cells: int) -> Floats:
        """Mean power over each step with `kw` on each pair [kW], flat over sites and steps."""

    def columns(self, kw: Floats, rate: Floats) -> tuple[Columns, Floats]:
        """The runs that count, and the power of each [kW]. Columns have no cost yet."""

    def of(self, pairs: Pairs) -> Options:
        """The same for fewer pairs."""
