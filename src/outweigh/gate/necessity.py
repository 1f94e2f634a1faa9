"""Part (c): no measured cheaper alternative is equivalent to the proposal within the margins.

The incumbent is no alternative. What the proposal must be worth over the incumbent is already weighed by the
proportion and by the gain, with its energy in the balance; counting it here as well would ask that the gain be
larger than the equivalence margin, a second and harder threshold that the rule does not name. Alternatives are
the other measured variants, whatever their energy turned out to be: one that is not cheaper cannot dominate, and
showing that is part of the test. Only those that are cheaper by their point estimate count towards the number
of alternatives the project asks for.

An alternative dominates when its energy is lower AND its primary metric AND every guard are non-inferior to the
proposal's, so

- that it dominates is an intersection of claims, shown when each one is: p_refute is the largest of their
  p-values (intersection-union; Berger 1982, Technometrics 24, 295-300);
- that it does not is shown by any one way of falling short: p_hold is the smallest p-value times the number of
  ways (Bonferroni).
"""

from __future__ import annotations

from dataclasses import dataclass

from outweigh.compare.evidence import Evidence
from outweigh.core.project import Guard
from outweigh.core.verdict import Outcome, PartResult
from outweigh.gate.guards import all_guards, guard_tails
from outweigh.gate.inputs import Contenders, Terms, same_thing
from outweigh.gate.judged import Judged, cannot_tell, not_binding
from outweigh.gate.pair import Pair
from outweigh.gate.power import Spread
from outweigh.gate.tails import Tails
from outweigh.gate.wording import energy_change, with_ends


@dataclass(frozen=True, slots=True)
class Way:
    """One of the tests an alternative must pass to dominate; `tails` is good when it does."""

    name: str
    tails: Tails
    spread: Spread


def necessity(contenders: Contenders, terms: Terms, x: float, seed: int, n_draws: int) -> list[Judged]:
    """One result for each alternative, its name as subject; `x` is the proposal's ln(E / E_incumbent)."""
    if x <= 0:
        return [not_binding("necessity", "the proposal draws no more energy, so it need not be the cheapest way")]
    pairs = [Pair(contenders.proposal, other, terms, seed, n_draws) for other in _alternatives(contenders)]
    found = [_judge(pair) for pair in pairs]
    cheaper = sum(pair.x.estimate < 0 for pair in pairs)
    wanted = terms.spec.alternatives
    if cheaper < wanted:
        found.append(
            cannot_tell(
                "necessity",
                f"{cheaper} of the {wanted} cheaper alternative(s) asked for were measured: measure one with "
                f"`outweigh shrink {contenders.proposal.variant.name}`",
            )
        )
    return found or [not_binding("necessity", "the project asks for no measured alternative")]


def p_dominates(pair: Pair) -> float:
    """p-value against "the candidate of the pair does not dominate its base": small means shown to dominate."""
    return max(way.tails.p_good for way in _ways(pair, pair.terms.alpha))


def _alternatives(contenders: Contenders) -> list[Evidence]:
    taken = (contenders.incumbent, contenders.proposal)
    return [other for other in contenders.alternatives if not any(same_thing(other, one) for one in taken)]


def _judge(pair: Pair) -> Judged:
    alpha, name = pair.terms.alpha, pair.candidate.variant.name
    ways = _ways(pair, alpha)
    p_refute = max(way.tails.p_good for way in ways)
    p_hold = min(1.0, len(ways) * min(way.tails.p_bad for way in ways))
    if p_refute <= alpha:
        outcome, deciding = Outcome.FAIL, max(ways, key=lambda way: way.tails.p_good)
    else:
        outcome = Outcome.PASS if p_hold <= alpha else Outcome.INCONCLUSIVE
        # Bounds at the corrected level, so that they agree with the outcome.
        ways = _ways(pair, alpha / len(ways))
        deciding = min(ways, key=lambda way: way.tails.p_bad)
    tails = deciding.tails
    part = PartResult(
        part="necessity",
        subject=name,
        outcome=outcome,
        statistic=tails.estimate,
        bounds=tails.bounds,
        threshold=tails.threshold,
        unit=tails.unit,
        # The part passes where the alternative falls short, so its good side is the alternative's bad side.
        distance=-tails.room if outcome is Outcome.FAIL else tails.excess,
        p_hold=p_hold,
        p_refute=p_refute,
        binding=True,
        explanation=_sentence(pair, outcome, deciding),
    )
    return Judged(part, -tails.gap, deciding.spread)


def _ways(pair: Pair, alpha: float) -> list[Way]:
    """Energy lower, primary within its equivalence, each guard within its margin; base is the proposal."""
    terms, x = pair.terms, pair.x
    bounds = x.bounds(1 - 2 * alpha)
    lower = Tails(
        x.estimate, bounds.low, bounds.high, 0.0, x.p_less(0.0), x.p_greater(0.0), alpha, lower_is_better=True
    )
    ways = [Way("energy", lower, Spread(rounds=x.standard_error**2, fixed=x.mix_standard**2))]
    primary = Guard(terms.primary.metric, terms.primary.equivalence)
    others = [guard for guard in all_guards(terms) if guard.metric != primary.metric]
    for guard in (primary, *others):
        tails = guard_tails(pair, guard, alpha)
        ways.append(Way(guard.metric, tails, Spread(items=tails.variance)))
    return ways


def _sentence(pair: Pair, outcome: Outcome, deciding: Way) -> str:
    terms, x, name = pair.terms, pair.x, pair.candidate.variant.name
    coverage = 1 - 2 * deciding.tails.alpha
    bounds = x.bounds(coverage)
    change = f"energy per {terms.unit} {energy_change(x.estimate, bounds.low, bounds.high)}"
    quality = pair.primary.bounds(coverage)
    metric = terms.primary.metric
    figure = f"{metric} changes by {with_ends(pair.primary.difference, quality.low, quality.high)}"
    margin = f"within {terms.primary.equivalence:g}"
    start = f"with {name} in place of the proposal, {change} and {figure}"
    if outcome is Outcome.FAIL:
        return f"{start}: cheaper and equivalent {margin}, so the larger draw is not needed"
    if outcome is Outcome.PASS:
        short = "no cheaper" if deciding.name == "energy" else f"worse in {deciding.name} than the margin allows"
        return f"{start}: {short}, so it does not stand in for the proposal"
    return f"{start}: whether it is equivalent {margin} is not shown either way"
