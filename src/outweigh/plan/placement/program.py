"""The two-stage programme of a placement, in arrays, and what a placement costs once a scenario has come true.

Shares are of the load: x[i] is planned at site i, z[i] is 1 where site i is opened. In scenario s, with room K and
share of hours kept a, site i keeps ``a min(x, K z)`` of what was planned there and can take ``a K z`` in all, what
comes from elsewhere at the price of moving; what runs nowhere is paid as unserved. The recourse is a fractional
knapsack of pieces with one price each (Dantzig, Operations Research 5(2), 1957), filled from the cheapest.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from outweigh.plan.placement.measures import tail_weights

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

_FULL = 1 - 1e-12  # of a load filled piece by piece: what rounding leaves is not a piece


@dataclass(frozen=True, slots=True, eq=False)
class Group:
    """Sites that count together: their planned shares sum to at most `cap`. `members` has shape (N,), true or false."""

    name: str
    members: NDArray[np.bool_]
    cap: float


@dataclass(frozen=True, eq=False)
class Program:
    """A placement in arrays. S scenarios, N sites.

    Attributes:
        cost: of running all of the load at a site for the term, carbon included [currency], shape (S, N).
        room: what the site can carry of the load, 0 to 1, shape (S, N).
        kept: share of the hours in which it may run, 0 to 1, shape (S, N).
        probability: shape (S,), sums to 1.
        label: which declared scenario it belongs to, shape (S,).
        cap: the largest planned share, shape (N,).
        opening: paid when a site is opened [currency], >= 0, shape (N,).
        moving: of all of the load, once [currency]; None: nothing is moved.
        unserved: of all of the load [currency].
        risk_weight: w in ``(1 - w) mean + w CVaR``.
        tail: level of the CVaR.
    """

    cost: Floats
    room: Floats
    kept: Floats
    probability: Floats
    label: Ints
    cap: Floats
    opening: Floats
    groups: tuple[Group, ...]
    moving: float | None
    unserved: float
    risk_weight: float
    tail: float

    @property
    def shape(self) -> tuple[int, int]:
        scenarios, sites = self.cost.shape
        return scenarios, sites

    def weighted(self, risk_weight: float) -> Program:
        return replace(self, risk_weight=risk_weight)

    def likely(self, probability: Floats) -> Program:
        return replace(self, probability=probability)

    def only(self, scenario: int) -> Program:
        """The programme of one scenario that is certain."""
        one = slice(scenario, scenario + 1)
        return replace(
            self, cost=self.cost[one], room=self.room[one], kept=self.kept[one], label=self.label[one],
            probability=np.ones(1),
        )  # fmt: skip

    def mean(self) -> Program:
        """The programme of the mean scenario, as if it were certain."""
        p = self.probability
        return replace(
            self, cost=(p @ self.cost)[np.newaxis], room=(p @ self.room)[np.newaxis],
            kept=(p @ self.kept)[np.newaxis], label=np.zeros(1, dtype=np.int64), probability=np.ones(1),
        )  # fmt: skip

    @cached_property
    def slopes(self) -> Floats:
        """Price of each piece, shape (S, 2 N + 1): kept in place, brought from elsewhere, unserved."""
        moved = self.cost + (self.moving or 0.0)
        return np.concatenate([self.cost, moved, np.full((len(self.cost), 1), self.unserved)], axis=1)

    @cached_property
    def order(self) -> Ints:
        """Pieces from the cheapest, shape (S, 2 N + 1). Prices do not depend on the placement, so neither does this."""
        return np.argsort(self.slopes, axis=1, kind="stable")

    @cached_property
    def sorted_slopes(self) -> Floats:
        return np.asarray(np.take_along_axis(self.slopes, self.order, axis=1))


@dataclass(frozen=True, slots=True, eq=False)
class Recourse:
    """What a placement costs in each scenario, and why.

    Attributes:
        cost: [currency], without what opening costs, shape (S,).
        price: of the last piece that is filled [currency for all of the load], shape (S,).
        runs: share that runs at each site, shape (S, N).
        moved: of it, brought from elsewhere, shape (S, N).
    """

    cost: Floats
    price: Floats
    runs: Floats
    moved: Floats

    @property
    def unserved(self) -> Floats:
        return np.asarray(np.maximum(1 - self.runs.sum(axis=1), 0.0))


def pieces(program: Program, shares: Floats, opened: Floats) -> Floats:
    """Length of each piece, shape (S, 2 N + 1), in the order of `Program.slopes`."""
    room = program.room * opened
    stays = program.kept * np.minimum(shares, room)
    taken = np.zeros_like(stays) if program.moving is None else program.kept * room - stays
    # Whatever else there is, all of the load can go unserved.
    return np.concatenate([stays, taken, np.ones((len(stays), 1))], axis=1)


def marginal_price(program: Program, lengths: Floats) -> Floats:
    """Price of the piece with which the load is complete, shape (S,)."""
    filled = np.cumsum(np.take_along_axis(lengths, program.order, axis=1), axis=1)
    last = (filled >= _FULL).argmax(axis=1)
    return np.take_along_axis(program.sorted_slopes, last[:, np.newaxis], axis=1)[:, 0]


def recourse(program: Program, shares: Floats, opened: Floats) -> Recourse:
    """The cheapest way to run the load in each scenario.

    Args:
        shares: planned, sum to 1, shape (N,).
        opened: 1 where a site is open, shape (N,).
    """
    lengths = np.take_along_axis(pieces(program, shares, opened), program.order, axis=1)
    before = np.cumsum(lengths, axis=1) - lengths
    used = np.clip(1 - before, 0.0, lengths)
    last = (before + lengths >= _FULL).argmax(axis=1)
    filled = np.zeros_like(used)
    np.put_along_axis(filled, program.order, used, axis=1)
    sites = len(shares)
    moved = filled[:, sites : 2 * sites]
    return Recourse(
        cost=(used * program.sorted_slopes).sum(axis=1),
        price=np.take_along_axis(program.sorted_slopes, last[:, np.newaxis], axis=1)[:, 0],
        runs=filled[:, :sites] + moved,
        moved=moved,
    )


def objective(program: Program, shares: Floats, opened: Floats) -> float:
    """Opening, and ``(1 - w) mean + w CVaR`` of the recourse [currency]."""
    cost = recourse(program, shares, opened).cost
    return float(program.opening @ opened + scenario_weights(program, cost) @ cost)


def scenario_weights(program: Program, cost: Floats) -> Floats:
    """Weights of the scenarios at which the objective is their weighted sum, shape (S,), sum to 1.

    The dual form of CVaR: Rockafellar, Uryasev and Zabarankin, Finance and Stochastics 10, 2006.
    """
    w = program.risk_weight
    return (1 - w) * program.probability + w * tail_weights(cost, program.probability, program.tail)
