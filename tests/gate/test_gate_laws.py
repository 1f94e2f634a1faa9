"""What must hold of every weighing, whatever was measured."""

import math
from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from outweigh.core.budget import Budget, Phase
from outweigh.core.project import Guard, PrimaryMetric
from outweigh.core.quantities import Energy
from outweigh.core.verdict import Outcome
from outweigh.gate import BudgetLine, Contenders, weigh

RANK = {Outcome.FAIL: 0, Outcome.INCONCLUSIVE: 1, Outcome.PASS: 2}
counts = st.integers(0, 60)
# At least one item lies wrong for both, so that no variant reaches the ceiling.
both_wrong = st.integers(1, 150)
ratios = st.floats(0.1, 10)
few = settings(max_examples=60, deadline=None)


def contenders(bench, gained, lost, wrong, ratio, *, alternative=None):
    base, candidate = bench.cells(800 - gained - lost - wrong, gained, lost, wrong)
    others = () if alternative is None else (bench.evidence("small", base, alternative),)
    return Contenders(bench.evidence("base", base, 10.0), bench.evidence("bigger", candidate, 10.0 * ratio), others)


def terms(bench):
    line = BudgetLine(Budget("serve", Phase.INFERENCE, per_unit=Energy(30.0)))
    return bench.terms(
        primary=PrimaryMetric("accuracy", margin=0.05, equivalence=0.05),
        guards=[Guard("mean_latency_ms", 0.1, relative=True)],
        budgets=[line],
        alternatives=1,
    )


def rank(bench, weighed):
    return RANK[weigh(weighed, terms(bench), n_draws=999).outcome]


@few
@given(gained=counts, lost=counts, wrong=both_wrong, ratio=ratios, more=st.floats(1, 10), small=st.floats(5, 50))
def test_more_energy_never_turns_a_fail_into_a_pass(bench, gained, lost, wrong, ratio, more, small):
    before = rank(bench, contenders(bench, gained, lost, wrong, ratio, alternative=small))
    after = rank(bench, contenders(bench, gained, lost, wrong, ratio * more, alternative=small))

    assert not (before == 0 and after == 2)


@few
@given(gained=counts, lost=counts, wrong=both_wrong, ratio=ratios, more=st.floats(1, 10))
def test_the_lower_bound_of_the_proportion_falls_as_energy_rises(bench, gained, lost, wrong, ratio, more):
    cheap = weigh(contenders(bench, gained, lost, wrong, ratio), bench.terms(), n_draws=999)
    dear = weigh(contenders(bench, gained, lost, wrong, ratio * more), bench.terms(), n_draws=999)

    assert bench.part(dear, "proportion").bounds.low <= bench.part(cheap, "proportion").bounds.low + 1e-9
    assert bench.part(dear, "proportion").p_refute <= bench.part(cheap, "proportion").p_refute


@few
@given(gained=counts, lost=counts, wrong=both_wrong, ratio=ratios, better=st.integers(1, 60))
def test_better_quality_never_turns_a_pass_into_a_fail(bench, gained, lost, wrong, ratio, better):
    better = min(better, lost)
    before = rank(bench, contenders(bench, gained, lost, wrong, ratio))
    after = rank(bench, contenders(bench, gained, lost - better, wrong, ratio))

    assert not (before == 2 and after == 0)


@few
@given(gained=counts, lost=counts, wrong=st.integers(0, 150), ratio=ratios, ceiling=st.floats(0.6, 1.0))
def test_every_figure_of_a_verdict_is_finite(bench, gained, lost, wrong, ratio, ceiling):
    weighed = contenders(bench, gained, lost, wrong, ratio)
    verdict = weigh(weighed, replace(terms(bench), primary=PrimaryMetric("accuracy", ceiling=ceiling)), n_draws=999)

    for part in verdict.parts:
        figures = [part.statistic, part.threshold, part.distance, part.p_hold, part.p_refute]
        figures += [part.bounds.low, part.bounds.high] if part.bounds else []
        assert all(math.isfinite(figure) for figure in figures if figure is not None)
        assert part.explanation


@few
@given(gained=counts, lost=counts, wrong=both_wrong, ratio=ratios, scale=st.floats(1e-6, 1e6))
def test_the_verdict_does_not_depend_on_the_unit_of_energy(bench, gained, lost, wrong, ratio, scale):
    weighed = contenders(bench, gained, lost, wrong, ratio)

    def scaled(evidence):
        return replace(evidence, energy_j_per_unit=evidence.energy_j_per_unit * scale)

    other = Contenders(scaled(weighed.incumbent), scaled(weighed.proposal))

    plain, rescaled = (weigh(one, bench.terms(), n_draws=999) for one in (weighed, other))
    # The last bit of a logarithm may tip a draw that lies on the threshold.
    assert abs(RANK[plain.outcome] - RANK[rescaled.outcome]) <= 1
    assert np.isclose(bench.part(plain, "proportion").statistic, bench.part(rescaled, "proportion").statistic)


@few
@given(gained=counts, lost=counts, wrong=both_wrong, ratio=ratios, small=st.floats(5, 50), large=st.floats(5, 50))
def test_the_order_of_the_alternatives_does_not_matter(bench, gained, lost, wrong, ratio, small, large):
    weighed = contenders(bench, gained, lost, wrong, ratio, alternative=small)
    other = bench.evidence("other", weighed.proposal.scores["accuracy"], large)

    one = weigh(replace(weighed, alternatives=(*weighed.alternatives, other)), terms(bench), n_draws=999)
    two = weigh(replace(weighed, alternatives=(other, *weighed.alternatives)), terms(bench), n_draws=999)

    assert (one.outcome, one.distance, one.cheapest_pass) == (two.outcome, two.distance, two.cheapest_pass)
