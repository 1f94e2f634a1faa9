"""In which range of the weight of risk, and of each probability, a placement keeps its sites."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from outweigh.plan.placement.problem import Question
from outweigh.plan.placement.program import Program
from outweigh.plan.placement.solving import Solved, Solver

_HALVINGS = 6  # of the distance between the value and the end of its range: to a 64th of it


@dataclass(frozen=True, slots=True)
class Stable:
    """Within [low, high] of `of`, all else as declared, the best placement uses these sites.

    Found by halving from the declared value `at` outwards, to a 64th of the way; beyond an end, `beyond_low` and
    `beyond_high` name the sites that are best there ("" at the end of the range).
    """

    of: str
    at: float
    low: float
    high: float
    beyond_low: tuple[str, ...] = ()
    beyond_high: tuple[str, ...] = ()


_Sites = frozenset[int]


def weight_ranges(solver: Solver, found: Solved, at: float, names: Sequence[str]) -> tuple[Stable, ...]:
    """The range of the weight of risk in which the sites stay those of `found`."""
    return (_range("weight of risk", at, found, lambda weight: used(solver.solve(weight)), names),)


def probability_ranges(
    program: Program, question: Question, found: Solved, told: Callable[[str, float], None]
) -> tuple[Stable, ...]:
    """The range of each declared scenario's probability; the others share what is left in their old proportions.

    Args:
        told: hears which scenario is being looked at, and the share that is done.
    """
    if len(question.scenarios) < 2:
        return ()

    def sites(number: int, probability: float) -> _Sites:
        own = program.label == number
        inside, outside = program.probability[own].sum(), program.probability[~own].sum()
        odds = program.probability.copy()
        odds[own] = odds[own] * probability / inside if inside > 0 else probability / own.sum()
        odds[~own] = odds[~own] * (1 - probability) / outside if outside > 0 else (1 - probability) / (~own).sum()
        return used(Solver(program.likely(odds)).solve())

    ranges = []
    for number, scenario in enumerate(question.scenarios):
        told(f"probability of {scenario.name}", number / len(question.scenarios))
        best = partial(sites, number)
        ranges.append(_range(f"probability of {scenario.name}", scenario.probability, found, best, question.names))
    return tuple(ranges)


def used(solved: Solved) -> _Sites:
    """Sites with a planned share."""
    return frozenset(np.flatnonzero(solved.shares > 0).tolist())


def _range(of: str, at: float, found: Solved, best: Callable[[float], _Sites], names: Sequence[str]) -> Stable:
    chosen = used(found)
    low, beyond_low = _end(at, 0.0, chosen, best)
    high, beyond_high = _end(at, 1.0, chosen, best)
    named = tuple(names)
    return Stable(
        of, at, low, high, tuple(named[i] for i in sorted(beyond_low)), tuple(named[i] for i in sorted(beyond_high))
    )


def _end(at: float, end: float, chosen: _Sites, best: Callable[[float], _Sites]) -> tuple[float, _Sites]:
    """The farthest value from `at` towards `end` at which the sites stay, and those that are best beyond it."""
    beyond = best(end)
    if beyond == chosen:
        return end, frozenset()
    stays, leaves = at, end
    for _ in range(_HALVINGS):
        middle = (stays + leaves) / 2
        there = best(middle)
        if there == chosen:
            stays = middle
        else:
            leaves, beyond = middle, there
    return stays, beyond
