"""A lower bound on what any placement costs, from multipliers that nobody has to believe.

For weights v of the scenarios that the risk measure allows, prices l <= unserved, a multiplier t of "shares sum to 1"
and u >= 0 of the groups, and k >= 0 of "at least n sites are open" (n: as few as the largest caps need to sum to
1), the Lagrangian dual of the whole programme, binaries included, splits into sites:

    sum_s v l + t - sum_g u cap_g + k n + sum_i min over z in {0, 1} and x in [0, cap z] of
        (opening - k) z + (u_g(i) - t) x - sum_s v [(l - c)+ - (l - c - m)+] a min(x, K z) + v (l - c - m)+ a K z

with (y)+ the larger of y and 0. Bad multipliers make it loose, never wrong (weak duality; Boyd and Vandenberghe,
Convex Optimization, 2004, section 5.1.3; Geoffrion, Mathematical Programming Study 2, 1974, for the binaries). Where
sites are branched on, every leaf has multipliers of its own; the bound is the least of a set of leaves that leaves no
case out.

Nothing of this file is used to find a placement, and nothing of HiGHS is used here.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from outweigh.plan.placement.program import Floats, Program

# Far above what adding up a few thousand products in floating point can be off by, relative to their size.
_ROUNDING = 1e-12
_ROUNDING_OF_CAPS = 1e-6  # four caps of 25 % hold the load, however they add up


@dataclass(frozen=True, slots=True, eq=False)
class Leaf:
    """A case of the proof: these sites closed, these opened, the others free; and multipliers for it.

    Attributes:
        weights: of the scenarios, shape (S,), sum to 1.
        prices: of all of the load in each scenario [currency], shape (S,).
        share: multiplier of "shares sum to 1" [currency].
        groups: multipliers of the caps of the groups [currency], >= 0, shape (G,).
        count: multiplier of "at least so many sites are open" [currency], >= 0.
    """

    closed: frozenset[int]
    opened: frozenset[int]
    weights: Floats
    prices: Floats
    share: float
    groups: Floats
    count: float = 0.0


def proven_bound(program: Program, leaves: Sequence[Leaf]) -> float:
    """The least bound of the leaves [currency]; -inf where they leave a case out."""
    if not leaves or not _cover([(leaf.closed, leaf.opened) for leaf in leaves]):
        return -math.inf
    return min(leaf_bound(program, leaf) for leaf in leaves)


def leaf_bound(program: Program, leaf: Leaf) -> float:
    """What no placement of this case can beat [currency], rounded down."""
    parts = _parts(program, leaf)
    values = [
        value if site in leaf.opened else min(value, 0.0)
        for site, value in enumerate(parts.sites.tolist())
        if site not in leaf.closed
    ]
    return float(parts.constant + math.fsum(values) - _ROUNDING * parts.scale)


def site_values(program: Program, leaf: Leaf) -> Floats:
    """What each site adds to the bound of the case when it is opened [currency], shape (N,)."""
    return _parts(program, leaf).sites


@dataclass(frozen=True, slots=True, eq=False)
class _Parts:
    """The bound in parts: what is there anyway, what each site adds when open, and the size of all that is added."""

    constant: float
    sites: Floats
    scale: float


def _parts(program: Program, leaf: Leaf) -> _Parts:
    weights = _allowed(program, leaf.weights)
    price = np.minimum(leaf.prices, program.unserved)
    groups = np.maximum(leaf.groups, 0.0)
    per_share = np.full(program.shape[1], -leaf.share)
    for multiplier, group in zip(groups, program.groups, strict=True):
        per_share[group.members] += multiplier

    kept = np.maximum(price[:, np.newaxis] - program.cost, 0.0)
    if program.moving is None:
        taken = np.zeros_like(kept)
    else:
        taken = np.maximum(price[:, np.newaxis] - program.cost - program.moving, 0.0)
    weighed = weights[:, np.newaxis] * program.kept
    worth = weighed * (kept - taken)
    flat = (weighed * taken * program.room).sum(axis=0)
    least, size = _least(per_share, worth, program.room, program.cap)

    caps = np.array([group.cap for group in program.groups])
    count = max(leaf.count, 0.0)
    constant = float(weights @ price) + leaf.share - float(groups @ caps) + count * fewest_sites(program)
    scale = float(weights @ np.abs(price)) + abs(leaf.share) + float(groups.sum())
    scale += float((size + flat + program.opening + count).sum())
    return _Parts(constant, program.opening - count - flat + least, scale)


def fewest_sites(program: Program) -> int:
    """How many sites any placement needs at the least: as many as the largest caps take to sum to 1."""
    reach = np.cumsum(np.sort(program.cap)[::-1])
    return int(min((reach < 1 - _ROUNDING_OF_CAPS).sum() + 1, len(reach)))


def _least(per_share: Floats, worth: Floats, room: Floats, cap: Floats) -> tuple[Floats, Floats]:
    """Least of ``per_share x - sum(worth min(x, room))`` over 0 <= x <= cap of each site, and the size of what was
    added up, shapes (N,).

    Convex and piecewise linear in x, so the least is at 0, at cap or where x is the room of a scenario.
    """
    order = np.argsort(room, axis=0)
    edge = np.minimum(np.take_along_axis(room, order, axis=0), cap)
    value = np.take_along_axis(worth, order, axis=0)
    below = np.cumsum(value * edge, axis=0)
    above = value.sum(axis=0) - np.cumsum(value, axis=0)
    at_edges = (per_share * edge - below - above * edge).min(axis=0)
    at_cap = per_share * cap - (value * edge).sum(axis=0)
    return np.minimum(0.0, np.minimum(at_edges, at_cap)), np.abs(per_share) * cap + (np.abs(value) * edge).sum(axis=0)


def _allowed(program: Program, weights: Floats) -> Floats:
    """The weights as the risk measure allows them: ``(1 - w) p <= v <= (1 - w) p + w p / (1 - tail)``, sum 1."""
    w, p = program.risk_weight, program.probability
    most = w * p / (1 - program.tail)
    extra = np.clip(weights - (1 - w) * p, 0.0, most)
    missing = w - extra.sum()
    if missing < 0:
        extra *= w / extra.sum()
    elif missing > 0 and (free := (most - extra).sum()) > 0:
        extra += (most - extra) * min(1.0, missing / free)
    return np.asarray((1 - w) * p + extra)


def _cover(cases: Sequence[tuple[frozenset[int], frozenset[int]]]) -> bool:
    """Whether every choice of open and closed sites is in one of the cases (closed, opened)."""
    if any(not closed and not opened for closed, opened in cases):
        return True
    if not cases:
        return False
    counts: dict[int, int] = {}
    for closed, opened in cases:
        for site in closed | opened:
            counts[site] = counts.get(site, 0) + 1
    site = max(counts, key=lambda one: counts[one])
    without = [(closed - {site}, opened) for closed, opened in cases if site not in opened]
    with_it = [(closed, opened - {site}) for closed, opened in cases if site not in closed]
    return _cover(without) and _cover(with_it)
