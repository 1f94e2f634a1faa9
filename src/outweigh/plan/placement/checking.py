"""What is wrong with a placement, found without the solver and without the code that made it."""

from __future__ import annotations

import math

from outweigh.plan.placement.placing import CHEAPEST, HEDGED, Placement, Way
from outweigh.plan.placement.problem import Grouping
from outweigh.plan.placement.program import Program
from outweigh.plan.placement.proof import proven_bound
from outweigh.plan.placement.scenarios import program_of

_SHARE = 1e-6  # of the load: no share is decided to more digits
_MONEY = 1e-9  # relative: the same sums, added up in another order


def verify(placement: Placement) -> tuple[str, ...]:
    """Sentences on what does not hold; none where all does.

    Shares, caps and capacities are checked against the question. The cost of every scenario is added up again, piece
    by piece in plain Python; mean and CVaR are taken from these costs by the formula of Rockafellar and Uryasev
    (2000): the least over v of v + mean(excess over v) / (1 - tail). The bound is proven again from its multipliers.
    """
    question = placement.question
    program = program_of(question)
    wrong: list[str] = []
    for way, certificate, leaves, weight in (
        (placement.way(CHEAPEST), placement.average, placement.average_leaves, 0.0),
        (placement.way(HEDGED), placement.certificate, placement.leaves, question.risk_weight),
    ):
        wrong += _shares(placement, way)
        shares = [way.shares[name] for name in question.names]
        is_open = [name in way.opened or program.opening[i] == 0 for i, name in enumerate(question.names)]
        opening = math.fsum(float(program.opening[i]) for i, opened in enumerate(is_open) if opened)
        costs = [opening + _scenario(program, s, shares, is_open) for s in range(len(program.cost))]
        odds = program.probability.tolist()
        expected = math.fsum(p * cost for p, cost in zip(odds, costs, strict=True))
        tail = _cvar(costs, odds, question.tail)
        objective = (1 - weight) * expected + weight * tail
        for what, said, is_so in (
            ("expected cost", way.expected, expected),
            ("CVaR", way.tail, tail),
            ("objective", certificate.objective, objective),
        ):
            if abs(said - is_so) > _MONEY * max(abs(is_so), 1e-9):
                wrong.append(f"{way.name}: the {what} is {is_so:.9g}, not {said:.9g} {question.currency}")
        bound = proven_bound(program.weighted(weight), leaves)
        if certificate.lower_bound > bound + _MONEY * abs(bound):
            wrong.append(f"{way.name}: the proof gives a bound of {bound:.9g}, not {certificate.lower_bound:.9g}")
        if certificate.lower_bound > certificate.objective + _MONEY * abs(certificate.objective):
            wrong.append(f"{way.name}: the bound lies above the objective")
    return tuple(wrong)


def _shares(placement: Placement, way: Way) -> list[str]:
    question, wrong = (
        placement.question,
        [
            f"{way.name}: {name} has a share and is not opened"
            for name, share in way.shares.items()
            if share > 0 and name not in way.opened
        ],
    )
    total = math.fsum(way.shares.values())
    if abs(total - 1) > _SHARE:
        wrong.append(f"{way.name}: the shares sum to {total:.9g}, not to 1")
    load_w = question.energy_it.joules / question.interval.seconds
    by_group: dict[tuple[Grouping, str], float] = {}
    for candidate in question.candidates:
        site, share = candidate.site, way.shares[candidate.site.name]
        if share < 0:
            wrong.append(f"{way.name}: the share at {site.name} is negative")
        drawn_w = share * load_w * max(site.pue.idle, site.pue.full)
        if drawn_w > site.capacity.watts * (1 + _SHARE) + _SHARE * load_w:
            wrong.append(f"{way.name}: {site.name} would draw {drawn_w:.6g} of {site.capacity.watts:.6g} W")
        for by in Grouping:
            if name := candidate.group(by):
                by_group[by, name] = by_group.get((by, name), 0.0) + share
    for (by, name), share in by_group.items():
        if share > question.caps.of(by) + _SHARE:
            wrong.append(f"{way.name}: {by} {name} has {share:.4%} of at most {question.caps.of(by):.4%}")
    return wrong


def _scenario(program: Program, scenario: int, shares: list[float], is_open: list[bool]) -> float:
    """Cost of running the load in a scenario: the cheapest pieces first, until it all runs or goes unserved."""
    prices, rooms, kept = (array[scenario].tolist() for array in (program.cost, program.room, program.kept))
    pieces = [(program.unserved, math.inf)]
    for price, room, hours, share, opened in zip(prices, rooms, kept, shares, is_open, strict=True):
        if opened:
            stays = hours * min(share, room)
            pieces.append((price, stays))
            if program.moving is not None:
                pieces.append((price + program.moving, hours * room - stays))
    paid, rest = [], 1.0
    for price, length in sorted(pieces):
        runs = min(rest, length)
        paid.append(price * runs)
        rest -= runs
        if rest <= 0:
            break
    return math.fsum(paid)


def _cvar(costs: list[float], odds: list[float], tail: float) -> float:
    """The function to minimise is convex and piecewise linear with its bends at the costs: the least is at one."""
    pairs = sorted(zip(costs, odds, strict=True), reverse=True)
    best, above, weighed = math.inf, 0.0, 0.0
    for cost, p in pairs:
        best = min(best, cost + (weighed - above * cost) / (1 - tail))
        above, weighed = above + p, weighed + p * cost
    return best
