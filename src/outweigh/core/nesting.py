"""Budget lines that are part of one another: what the parts promise, the whole has to hold."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime

from outweigh.core.budget import Budget, Period
from outweigh.core.constants import J_PER_KWH

_ROUNDING = 1e-9  # what sums of limits may be off by


@dataclass(frozen=True, slots=True)
class NestingProblem:
    """A line that cannot stand where it was put.

    Attributes:
        line: its name; of a whole that promises too much, the whole's.
        what, given, remedy: as in InvalidQuantity.
    """

    line: str
    what: str
    given: str
    remedy: str


def lineage(line: Budget, budgets: Sequence[Budget]) -> tuple[Budget, ...]:
    """A line and every line it is part of, from the inside out. Stops at a circle and at a line nobody declared."""
    by_name = {budget.name: budget for budget in budgets}
    found = [line]
    while (parent := by_name.get(found[-1].parent)) is not None and parent not in found:
        found.append(parent)
    return tuple(found)


def nesting_problems(budgets: Sequence[Budget], when: datetime) -> Iterator[NestingProblem]:
    """Parents nobody declared, circles, and wholes whose parts promise more than they have, as of `when`.

    Totals are held against each other as mean powers, so that a weekly line may be part of a monthly one; the hum of
    the parts is held against the hum of the whole where that bounds it.
    """
    by_name = {budget.name: budget.at(when) for budget in budgets}
    sound = True
    for budget in by_name.values():
        problem = _ancestry(budget, by_name)
        if problem is not None:
            sound = False
            yield problem
    if sound:
        for whole in by_name.values():
            parts = [part for part in by_name.values() if part.parent == whole.name]
            yield from _oversubscribed(whole, parts)


def _ancestry(budget: Budget, by_name: dict[str, Budget]) -> NestingProblem | None:
    chain = [budget.name]
    while parent := by_name[chain[-1]].parent:
        if parent not in by_name:
            # Told once, of the line that names it; who is part of that line has nothing to mend.
            remedy = f"{budget.name} is part of it: declare [budget.{parent}] with a total"
            return NestingProblem(budget.name, "budget parent", parent, remedy) if len(chain) == 1 else None
        if parent in chain:
            circle = " -> ".join((*chain, parent))
            return NestingProblem(budget.name, "budget parent", circle, "let no line be part of itself")
        chain.append(parent)
    return None


def _oversubscribed(whole: Budget, parts: Sequence[Budget]) -> Iterator[NestingProblem]:
    totals = [part for part in parts if part.total is not None]
    names = ", ".join(part.name for part in totals)
    period = whole.period or Period.MONTH
    promised_kwh = sum(_mean_w(part) for part in totals) * period.seconds / J_PER_KWH
    if totals and whole.total is None:
        remedy = f"its parts ({names}) promise {promised_kwh:.6g} kWh a {period}: give it a total that holds them"
        yield NestingProblem(whole.name, f"budget {whole.name}", "no total", remedy)
    elif whole.total is not None and promised_kwh > whole.total.joules / J_PER_KWH * (1 + _ROUNDING):
        remedy = f"its parts ({names}) promise {promised_kwh:.6g} kWh a {period}: raise it or cut one of them"
        given = f"{whole.total.joules / J_PER_KWH:.6g} kWh"
        yield NestingProblem(whole.name, f"budget {whole.name}", given, remedy)
    hums = [part for part in parts if part.hum is not None]
    promised_w = sum(part.hum.watts for part in hums if part.hum is not None)
    if whole.hum is not None and promised_w > whole.hum.watts * (1 + _ROUNDING):
        names = ", ".join(part.name for part in hums)
        remedy = f"its parts ({names}) promise a hum of {promised_w:.6g} W: raise it or cut one of them"
        yield NestingProblem(whole.name, f"budget {whole.name}", f"{whole.hum.watts:.6g} W", remedy)


def _mean_w(budget: Budget) -> float:
    return 0.0 if budget.total is None or budget.period is None else budget.total.joules / budget.period.seconds
