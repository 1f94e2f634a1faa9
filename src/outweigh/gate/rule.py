"""The weighing: all parts of the rule, and the one verdict they come to.

Pass is an intersection-union test: every binding part holds at the stated confidence, and because all must hold
no correction is needed (Berger 1982, Technometrics 24, 295-300). Fail needs one part refuted after Holm's
correction over the parts and over the alternatives of necessity. Anything else is inconclusive.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from outweigh.compare.evidence import Evidence
from outweigh.core.measurement import Grade
from outweigh.core.project import GateMode
from outweigh.core.verdict import Outcome, PartResult, Verdict
from outweigh.gate.caps import caps
from outweigh.gate.guards import check_metrics, guards
from outweigh.gate.holm import holm
from outweigh.gate.inputs import Contenders, Terms, same_thing
from outweigh.gate.judged import Judged, cannot_tell
from outweigh.gate.necessity import necessity, p_dominates
from outweigh.gate.pair import Pair
from outweigh.gate.power import more_items, more_rounds
from outweigh.gate.proportion import anchor, gain, proportion
from outweigh.gate.value import value
from outweigh.gate.wording import share

# A part without any data is as likely to hold as not; it ranks there among parts that have some.
_NO_DATA = 0.5
# Beyond so many times what was measured, "measure more" is no advice anybody can follow.
_GATHERABLE = 20


@dataclass(frozen=True, slots=True)
class Decision:
    """What the parts come to.

    Attributes:
        decided_by: index of the part that decided, in the order given; -1 where no part binds.
        refute_alpha: level a single p_refute is held to at first, alpha over the number of tests.
    """

    outcome: Outcome
    decided_by: int
    refute_alpha: float


def combine(parts: Sequence[PartResult], alpha: float) -> Decision:
    """Pass, fail or inconclusive, and the part that decided.

    For a pass that is the part that came closest to not holding; for a fail the one with the smallest p-value,
    of which Holm's adjusted one is then the smallest too; else the one farthest from holding.

    Gain is not among the tests for fail: where it binds (x > 0), an error that did not fall makes T < 0 as well,
    so the proportion is refuted by less than what refutes the gain, and a test that adds nothing would only make
    Holm's correction stricter (as with other logically related hypotheses; Shaffer 1986, JASA 81, 826-831).
    """
    binding = [index for index, part in enumerate(parts) if part.binding]
    refutable = {i: p for i in binding if parts[i].part != "gain" and (p := parts[i].p_refute) is not None}
    refute_alpha = alpha / max(1, len(refutable))
    adjusted = dict(zip(refutable, holm(tuple(refutable.values())), strict=True))
    if adjusted and min(adjusted.values()) <= alpha:
        return Decision(Outcome.FAIL, min(refutable, key=refutable.__getitem__), refute_alpha)

    def short_of_holding(index: int) -> float:
        p_hold = parts[index].p_hold
        return _NO_DATA if p_hold is None else p_hold

    open_parts = [index for index in binding if parts[index].outcome is not Outcome.PASS]
    if binding and not open_parts:
        return Decision(Outcome.PASS, max(binding, key=short_of_holding), refute_alpha)
    return Decision(Outcome.INCONCLUSIVE, max(open_parts, key=short_of_holding, default=-1), refute_alpha)


def weigh(contenders: Contenders, terms: Terms, *, seed: int = 0, n_draws: int = 10_000) -> Verdict:
    """Weigh the proposal against the incumbent, the budgets and the alternatives.

    Args:
        contenders: evidence of one interleaved comparison.
        terms: the rule's numbers, margins, budgets and prices.
        seed: of the resampling; the same seed and evidence give the same verdict.
        n_draws: resamples of items for g and T.

    Raises:
        UsageError: contenders that were not judged alike, an unknown metric, or a value we cannot count.
        NotRankable: measured and modelled energy, or grade D and a better one, side by side.
        UnusableMeasurement: energies, rounds or items that carry no test.
    """
    contenders.check()
    check_metrics(terms, contenders.everyone)
    judged = list(_judge(contenders, terms, seed, n_draws))
    decision = combine([one.part for one in judged], terms.alpha)
    if same_thing(contenders.proposal, contenders.incumbent):
        # Two measurements of one thing differ by noise alone, and noise is no reason for a verdict.
        judged.append(_identity(contenders))
        decision = Decision(Outcome.INCONCLUSIVE, len(judged) - 1, decision.refute_alpha)
    deciding = judged[decision.decided_by]
    items, rounds = _still_needed(deciding, decision, contenders, terms, seed)
    cheapest = _cheapest_pass(contenders, terms, decision.outcome, seed, n_draws)
    grade = contenders.grade
    part = deciding.part
    return Verdict(
        outcome=decision.outcome,
        provisional=grade in (Grade.C, Grade.D),
        grade=grade,
        min_grade=terms.spec.min_grade,
        may_block=terms.spec.mode is GateMode.ENFORCE and grade.at_least(terms.spec.min_grade),
        incumbent=contenders.incumbent.variant.name,
        proposal=contenders.proposal.variant.name,
        confidence=terms.spec.confidence,
        eta=terms.spec.eta,
        parts=tuple(one.part for one in judged),
        decided_by=f"{part.part}: {part.subject}" if part.subject else part.part,
        distance=part.distance,
        items_needed=items,
        rounds_needed=rounds,
        cheapest_pass=cheapest,
        advice=_advice(contenders, terms, decision, part, items, rounds, cheapest, seed),
    )


def _judge(contenders: Contenders, terms: Terms, seed: int, n_draws: int) -> Iterator[Judged]:
    pair = Pair(contenders.incumbent, contenders.proposal, terms, seed, n_draws)
    yield proportion(pair)
    yield from caps(contenders.proposal, terms)
    yield anchor(contenders, terms, seed, n_draws)
    yield gain(pair)
    yield value(pair)
    yield from guards(pair)
    yield from necessity(contenders, terms, pair.x.estimate, seed, n_draws)


def _identity(contenders: Contenders) -> Judged:
    return cannot_tell(
        "identity",
        f"{contenders.proposal.variant.name} and {contenders.incumbent.variant.name} have the same content: nothing "
        "was proposed, and what differs between them is noise",
    )


def _still_needed(
    deciding: Judged, decision: Decision, contenders: Contenders, terms: Terms, seed: int
) -> tuple[int | None, int | None]:
    if decision.outcome is not Outcome.INCONCLUSIVE or deciding.part.p_hold is None:
        return None, None
    pair = Pair(contenders.incumbent, contenders.proposal, terms, seed)
    # What points towards a fail has Holm's correction to overcome.
    alpha = terms.alpha if deciding.gap > 0 else decision.refute_alpha
    return (
        more_items(deciding.gap, deciding.spread, pair.n_items, alpha),
        more_rounds(deciding.gap, deciding.spread, pair.n_rounds, alpha),
    )


def _cheapest_pass(contenders: Contenders, terms: Terms, outcome: Outcome, seed: int, n_draws: int) -> str:
    """The cheapest measured variant for which every test of this gate holds if it is proposed, or "".

    The incumbent is not among them: to propose what is there already is to propose nothing. How many cheaper
    alternatives were measured is left out: of the cheapest variant there can be none, and the gate will ask for
    one when it is proposed and draws more than the incumbent.
    """
    others = (contenders.proposal, *contenders.alternatives)
    for evidence in sorted(others, key=lambda one: float(one.energy_j_per_unit.mean())):
        if same_thing(evidence, contenders.incumbent):
            continue
        if evidence is contenders.proposal:
            if outcome is Outcome.PASS:
                return evidence.variant.name
            continue
        rest = tuple(other for other in others if other is not evidence)
        as_proposal = replace(contenders, proposal=evidence, alternatives=rest)
        # Cheap parts come first, so most variants are ruled out before anything is resampled twice.
        if all(_holds(one.part) for one in _judge(as_proposal, terms, seed, n_draws)):
            return evidence.variant.name
    return ""


def _holds(part: PartResult) -> bool:
    uncounted = part.part == "necessity" and not part.subject
    return not part.binding or uncounted or part.outcome is Outcome.PASS


def _advice(
    contenders: Contenders, terms: Terms, decision: Decision, part: PartResult, items: int | None,
    rounds: int | None, cheapest: str, seed: int,
) -> str:  # fmt: skip
    proposal = contenders.proposal.variant.name
    if part.part == "identity":
        return "change something, or propose another variant"
    if decision.outcome is Outcome.PASS:
        more = "" if cheapest in ("", proposal) else f"; {cheapest} passes too and draws less"
        return f"adopt {proposal}{more}"
    steps = []
    if decision.outcome is Outcome.FAIL and part.part == "necessity":
        steps.append(f"{part.subject} does what {proposal} does for less: use it in its place")
    if cheapest:
        steps.append(f"propose {cheapest}, the cheapest measured variant that passes")
    steps += _cheaper_equivalents(contenders, terms, cheapest, seed)
    if cheapest:
        return "; ".join(steps)
    if decision.outcome is Outcome.FAIL:
        steps.append(
            f"keep {contenders.incumbent.variant.name}, or look for a cheaper way: `outweigh shrink {proposal}`"
        )
    elif part.p_hold is None:
        steps.append(part.explanation)
    else:
        steps.append(_to_settle(part.part, items, rounds, contenders.proposal))
    return "; ".join(steps)


def _to_settle(part: str, items: int | None, rounds: int | None, proposal: Evidence) -> str:
    """How much more would settle an open part, as long as somebody could gather it."""
    ways = []
    if items is not None and items <= _GATHERABLE * proposal.items.size:
        ways.append(f"{items:,} more evaluation items")
    if rounds is not None and rounds <= _GATHERABLE * proposal.units.size:
        ways.append(f"{rounds:,} more rounds")
    if ways:
        return f"measure {' or '.join(ways)}: that settles {part} if the estimates stay"
    far = f" (it would take {items:,} more evaluation items)" if items is not None else ""
    return f"{part} lies so close to its limit that measuring more is no practical way to settle it{far}"


def _cheaper_equivalents(contenders: Contenders, terms: Terms, cheapest: str, seed: int) -> list[str]:
    """Alternatives shown to cost less than the incumbent and to be as good within the margins."""
    others = [
        other
        for other in contenders.alternatives
        if other.variant.name != cheapest
        and not same_thing(other, contenders.incumbent)
        and not same_thing(other, contenders.proposal)
    ]
    pairs = [Pair(contenders.incumbent, other, terms, seed) for other in others]
    cheaper = [pair for pair in pairs if pair.x.p_less(0.0) <= terms.alpha]
    shown = holm(tuple(p_dominates(pair) for pair in cheaper))
    return [
        f"{pair.candidate.variant.name} draws {share(1 - pair.x.ratio().value)} less than "
        f"{pair.base.variant.name} and is as good within the margins"
        for pair, p_value in zip(cheaper, shown, strict=True)
        if p_value <= terms.alpha
    ]
