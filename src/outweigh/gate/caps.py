"""Part (a): the upper bound of every budget line stays inside what is left of it."""

from __future__ import annotations

import math

import numpy as np

from outweigh.compare.energy import LogRatio, log_ratio
from outweigh.compare.evidence import Evidence
from outweigh.core.budget import Phase
from outweigh.core.constants import S_PER_MONTH
from outweigh.core.verdict import Outcome
from outweigh.gate.inputs import BudgetLine, Terms
from outweigh.gate.judged import Judged, cannot_tell, from_tails, not_binding
from outweigh.gate.power import Spread
from outweigh.gate.tails import Tails, standard_of
from outweigh.gate.wording import energy, power, share


def caps(proposal: Evidence, terms: Terms) -> list[Judged]:
    """One result for each limit of each line, the line's name as subject.

    What a line is charged with follows its phase: inference with E of the proposal; training and development
    with what was trained for it (and its amortised share per unit); idle with the hum.
    """
    found: list[Judged] = []
    for line in terms.budgets:
        budget = line.budget
        if budget.per_unit is not None:
            found.append(_per_unit(line, budget.per_unit.joules, proposal, terms))
        if budget.total is not None:
            found.append(_total(line, budget.total.joules, proposal, terms))
        if budget.hum is not None:
            found.append(_hum(line, budget.hum.watts, terms))
    return found or [not_binding("caps", "no budget line is declared")]


def _per_unit(line: BudgetLine, limit_j: float, proposal: Evidence, terms: Terms) -> Judged:
    name, unit = line.budget.name, terms.unit
    if line.budget.phase is Phase.INFERENCE:
        return _scaled(line, proposal, terms, per_unit_j=limit_j, factor=1.0, offset_j=0.0, limit_j=limit_j)
    parts = {Phase.IDLE: proposal.hum_j_per_unit}
    drawn_j = parts.get(line.budget.phase, proposal.amortised_j_per_unit)
    standard_j = drawn_j * terms.absolute_standard
    tails = Tails.of_normal_cap(drawn_j, standard_j, limit_j, terms.alpha, "J")
    sentence = f"{_at_most(tails)} per {unit} of the {energy(limit_j)} that {name} allows"
    return from_tails("caps", name, tails, sentence, Spread(fixed=standard_j**2))


def _total(line: BudgetLine, limit_j: float, proposal: Evidence, terms: Terms) -> Judged:
    budget = line.budget
    if budget.period is None:  # Budget refuses a total without one
        return cannot_tell("caps", f"{budget.name} has a total and no period: give it one", budget.name)
    left_j = limit_j - line.drawn.joules
    if budget.phase is Phase.INFERENCE:
        units = terms.volume_per_month * budget.period.seconds / S_PER_MONTH * line.share_ahead
        if units > 0 and left_j > 0:
            return _scaled(
                line, proposal, terms, per_unit_j=left_j / units, factor=units, offset_j=line.drawn.joules,
                limit_j=limit_j,
            )  # fmt: skip
        ahead_j, standard_j = float(proposal.energy_j_per_unit.mean()) * units, 0.0
    elif budget.phase is Phase.IDLE:
        if terms.hum_w is None:
            return _no_hum(line)
        seconds = budget.period.seconds * line.share_ahead
        ahead_j, standard_j = terms.hum_w.value * seconds, standard_of(terms.hum_w.bounds) * seconds
    else:
        fit = proposal.fit
        ahead_j = 0.0 if fit is None else fit.value.joules
        standard_j = 0.0 if fit is None else math.hypot(
            fit.standard_uncertainty.joules, ahead_j * terms.absolute_standard
        )  # fmt: skip
    tails = Tails.of_normal_cap(line.drawn.joules + ahead_j, standard_j, limit_j, terms.alpha, "J")
    return from_tails("caps", budget.name, tails, _total_sentence(line, tails), Spread(fixed=standard_j**2))


def _scaled(
    line: BudgetLine, proposal: Evidence, terms: Terms, *, per_unit_j: float, factor: float, offset_j: float,
    limit_j: float,
) -> Judged:  # fmt: skip
    """E of the proposal against `per_unit_j`, shown as offset + factor E against the line's limit."""
    name = line.budget.name
    if per_unit_j <= 0:
        drawn_j = float(proposal.energy_j_per_unit.mean())
        tails = Tails.of_normal_cap(drawn_j, 0.0, limit_j, terms.alpha, "J")
        return from_tails(
            "caps", name, tails, f"{name} allows nothing and the proposal draws {energy(drawn_j)}", Spread()
        )
    against = log_ratio(
        proposal.energy_j_per_unit,
        np.full(proposal.energy_j_per_unit.shape, per_unit_j),
        confidence=terms.two_sided,
        mix_standard=terms.absolute_standard,
    )
    tails = _in_joules(against, per_unit_j, factor, offset_j, limit_j, terms)
    if offset_j == 0 and factor == 1:
        used = math.exp(against.bounds().high)
        sentence = (
            f"{_at_most(tails)} per {terms.unit}, {share(used)} of the {energy(limit_j)} that {name} allows"
        )  # fmt: skip
    else:
        sentence = _total_sentence(line, tails)
    spread = Spread(rounds=against.standard_error**2, fixed=against.mix_standard**2)
    return from_tails("caps", name, tails, sentence, spread, gap=-against.estimate)


def _in_joules(
    against: LogRatio, per_unit_j: float, factor: float, offset_j: float, limit_j: float, terms: Terms
) -> Tails:
    bounds = against.bounds()

    def joules(log: float) -> float:
        return offset_j + factor * per_unit_j * math.exp(log)

    return Tails(
        estimate=joules(against.estimate),
        low=joules(bounds.low),
        high=joules(bounds.high),
        threshold=limit_j,
        p_good=against.p_less(0.0),
        p_bad=against.p_greater(0.0),
        alpha=terms.alpha,
        unit="J",
        lower_is_better=True,
    )


def _hum(line: BudgetLine, limit_w: float, terms: Terms) -> Judged:
    if terms.hum_w is None:
        return _no_hum(line)
    standard_w = standard_of(terms.hum_w.bounds)
    tails = Tails.of_normal_cap(terms.hum_w.value, standard_w, limit_w, terms.alpha, "W")
    bound_w = tails.low if tails.outcome is Outcome.FAIL else tails.high
    side = "at least" if tails.outcome is Outcome.FAIL else "at most"
    sentence = f"the hum is {side} {power(bound_w)}, and {line.budget.name} allows {power(limit_w)}"
    return from_tails("caps", line.budget.name, tails, sentence, Spread(fixed=standard_w**2))


def _no_hum(line: BudgetLine) -> Judged:
    name = line.budget.name
    return cannot_tell("caps", f"the hum was not observed, so {name} cannot be checked: give protocol.hum_s", name)


def _at_most(tails: Tails) -> str:
    if tails.outcome is Outcome.FAIL:
        return f"the proposal draws at least {energy(tails.low)}"
    return f"the proposal draws at most {energy(tails.high)}"


def _total_sentence(line: BudgetLine, tails: Tails) -> str:
    budget, drawn_j = line.budget, line.drawn.joules
    failed = tails.outcome is Outcome.FAIL
    bound_j = tails.low if failed else tails.high
    already = f" ({energy(drawn_j)} of it already drawn)" if drawn_j else ""
    return (
        f"the {budget.period} would draw {'at least' if failed else 'at most'} {energy(bound_j)}{already}, "
        f"and {budget.name} allows {energy(tails.threshold)}"
    )
