import pickle
from dataclasses import replace

import numpy as np
import pytest

from outweigh.compare.frontier import NotRankable
from outweigh.core.budget import Budget, Phase
from outweigh.core.errors import InvalidQuantity, UnusableMeasurement, UsageError
from outweigh.core.measurement import Grade, Method
from outweigh.core.project import GateMode, Guard
from outweigh.core.quantities import Energy
from outweigh.core.verdict import Outcome, PartResult
from outweigh.gate import BudgetLine, Contenders, combine, weigh

PASS, FAIL, OPEN = Outcome.PASS, Outcome.FAIL, Outcome.INCONCLUSIVE


def part(name, p_hold, p_refute, *, binding=True):
    outcome = PASS if p_hold is not None and p_hold <= 0.05 else OPEN
    return PartResult(name, "", outcome, 0.0, None, 0.0, "1", 0.0, p_hold, p_refute, binding, "")


def pair(bench, gained, lost, *, ratio=2.0, both_wrong=100, n=2000, **fields):
    base, candidate = bench.cells(n - gained - lost - both_wrong, gained, lost, both_wrong)
    return bench.evidence("base", base, 10.0, **fields), bench.evidence("bigger", candidate, 10.0 * ratio, **fields)


# --- combination ------------------------------------------------------------------------------------


def test_pass_needs_every_binding_part_and_no_correction():
    parts = [part("proportion", 0.049, 0.951), part("guards", 0.04, 0.96), part("caps", 0.9, 0.1, binding=False)]

    decision = combine(parts, 0.05)

    assert decision.outcome is PASS
    assert parts[decision.decided_by].part == "proportion"


def test_one_part_that_is_not_shown_to_hold_leaves_it_open():
    parts = [part("proportion", 0.001, 0.999), part("guards", 0.3, 0.7), part("caps", 0.06, 0.94)]

    decision = combine(parts, 0.05)

    assert decision.outcome is OPEN
    assert parts[decision.decided_by].part == "guards"


def test_fail_is_held_to_holm_over_the_parts():
    # 0.02 refutes alone (Holm, two tests: 0.04) and not among three (0.06).
    two = [part("proportion", 0.98, 0.02), part("guards", 0.01, 0.99)]

    assert combine(two, 0.05).outcome is FAIL
    assert combine([*two, part("caps", 0.01, 0.99)], 0.05).outcome is OPEN


def test_fail_names_the_part_with_the_smallest_p_value():
    parts = [part("proportion", 0.99, 0.01), part("guards", 0.999, 0.001), part("caps", 0.1, 0.9)]

    decision = combine(parts, 0.05)

    assert parts[decision.decided_by].part == "guards"


def test_the_gain_does_not_make_holm_stricter_for_the_proportion():
    parts = [part("proportion", 0.96, 0.04), part("gain", 0.5, 0.5)]

    assert combine(parts, 0.05).outcome is FAIL


def test_a_part_without_data_decides_only_over_parts_that_lean_to_holding():
    missing = part("necessity", None, None)

    assert combine([part("proportion", 0.2, 0.8), missing], 0.05).decided_by == 1
    assert combine([part("proportion", 0.8, 0.2), missing], 0.05).decided_by == 0


# --- identity and noise -----------------------------------------------------------------------------


@pytest.mark.parametrize("ratio", [0.5, 1.0, 2.0])
def test_the_same_content_under_two_names_is_never_passed_or_failed(bench, ratio):
    base, bigger = pair(bench, 120, 20, ratio=ratio, content="one and the same")

    verdict = weigh(Contenders(base, bigger), bench.terms())

    assert (verdict.outcome, verdict.decided_by) == (OPEN, "identity")
    assert (verdict.items_needed, verdict.rounds_needed, verdict.cheapest_pass) == (None, None, "")


def test_without_content_hashes_nothing_is_taken_for_the_same(bench):
    verdict = weigh(Contenders(*pair(bench, 120, 20, content="")), bench.terms())

    assert verdict.outcome is PASS


def test_forty_comparisons_of_a_model_with_itself_call_no_difference(bench):
    rng = np.random.default_rng(4)
    right = np.arange(1400) >= 70

    called = 0
    for seed in range(40):
        base, again = (bench.evidence(n, right, 10.0, noise=0.03 * rng.standard_normal(12)) for n in ("base", "again"))
        called += weigh(Contenders(base, again), bench.terms(), seed=seed).outcome is not OPEN

    # Different hashes here, so that it is the statistics and not the identity check that hold still.
    assert called <= 4


def test_labels_at_chance_never_pass(bench):
    rng = np.random.default_rng(7)

    outcomes = set()
    for seed in range(30):
        base = bench.evidence("base", rng.random(1400) < 0.2, 17.6)
        bigger = bench.evidence("bigger", rng.random(1400) < 0.2, 37.9)
        outcomes.add(weigh(Contenders(base, bigger), bench.terms(), seed=seed).outcome)

    assert PASS not in outcomes


def test_swapping_incumbent_and_proposal_turns_the_answer_round(bench):
    base, bigger = pair(bench, 120, 20)

    forth, back = weigh(Contenders(base, bigger), bench.terms()), weigh(Contenders(bigger, base), bench.terms())

    assert (forth.outcome, back.outcome) == (PASS, FAIL)
    there, and_back = bench.part(forth, "proportion"), bench.part(back, "proportion")
    assert there.statistic == pytest.approx(-and_back.statistic)
    assert there.bounds.low == pytest.approx(-and_back.bounds.high, abs=0.02)


# --- what the verdict says --------------------------------------------------------------------------


def test_an_open_verdict_says_how_many_items_settle_it_and_they_do(bench):
    verdict = weigh(Contenders(*pair(bench, 60, 30)), bench.terms())
    more = verdict.items_needed

    assert (verdict.outcome, verdict.decided_by) == (OPEN, "proportion")
    assert more is not None
    # The same shares of items, so the estimates stay; a tenth more for rounding and for the draws.
    scale = 1.1 * (2000 + more) / 2000
    grown = pair(bench, round(60 * scale), round(30 * scale), both_wrong=round(100 * scale), n=round(2000 * scale))
    assert weigh(Contenders(*grown), bench.terms()).outcome is PASS


def test_a_cap_that_is_open_asks_for_rounds_and_not_for_items(bench):
    line = BudgetLine(Budget("serve", Phase.INFERENCE, per_unit=Energy(20.1)))

    verdict = weigh(Contenders(*pair(bench, 120, 20)), bench.terms(budgets=[line]))

    assert verdict.decided_by == "caps: serve"
    assert verdict.items_needed is None
    assert verdict.rounds_needed is not None
    assert "more rounds" in verdict.advice


def test_a_settled_verdict_needs_nothing_more(bench):
    verdict = weigh(Contenders(*pair(bench, 120, 20)), bench.terms())

    assert (verdict.items_needed, verdict.rounds_needed) == (None, None)
    assert verdict.advice == "adopt bigger"
    assert verdict.cheapest_pass == "bigger"


def test_the_cheapest_pass_passes_when_it_is_proposed(bench):
    base, bigger = pair(bench, 20, 60, ratio=3.0)
    right = base.scores["accuracy"].copy()
    right[np.flatnonzero(right == 0)[:60]] = 1
    better = bench.evidence("better", right, 9.0)

    verdict = weigh(Contenders(base, bigger, (better,)), bench.terms())
    proposed = weigh(Contenders(base, better, (bigger,)), bench.terms())

    assert (verdict.outcome, verdict.cheapest_pass) == (FAIL, "better")
    assert proposed.outcome is PASS


def test_a_cheaper_equivalent_of_the_incumbent_is_pointed_out_even_when_it_is_not_shown_to_pass(bench):
    base, bigger = pair(bench, 40, 40, ratio=2.0)
    right = base.scores["accuracy"].copy()
    right[np.flatnonzero(right == 1)[:12]] = 0
    light = bench.evidence("light", right, 6.0)

    verdict = weigh(Contenders(base, bigger, (light,)), bench.terms())

    assert verdict.cheapest_pass == ""
    assert "light draws 40 % less than base and is as good within the margins" in verdict.advice


@pytest.mark.parametrize(
    ("grade", "mode", "provisional", "may_block"),
    [
        (Grade.A, GateMode.ENFORCE, False, True),
        (Grade.B, GateMode.ENFORCE, False, True),
        (Grade.B, GateMode.WARN, False, False),
        (Grade.C, GateMode.ENFORCE, True, False),
        (Grade.D, GateMode.ENFORCE, True, False),
    ],
)
def test_what_may_block_depends_on_mode_and_grade(bench, grade, mode, provisional, may_block):
    verdict = weigh(Contenders(*pair(bench, 120, 20, grade=grade)), bench.terms(mode=mode))

    assert (verdict.grade, verdict.provisional, verdict.may_block) == (grade, provisional, may_block)


def test_the_verdict_is_as_good_as_the_weakest_evidence(bench):
    base, bigger = pair(bench, 120, 20)
    small = bench.evidence("small", base.scores["accuracy"], 5.0, grade=Grade.C)

    verdict = weigh(Contenders(base, bigger, (small,)), bench.terms())

    assert (verdict.grade, verdict.provisional) == (Grade.C, True)


def test_the_same_evidence_and_seed_give_the_same_verdict_and_it_travels(bench):
    contenders = Contenders(*pair(bench, 60, 40))

    verdict = weigh(contenders, bench.terms())

    assert weigh(contenders, bench.terms()) == verdict
    assert pickle.loads(pickle.dumps(verdict)) == verdict


# --- refusals ---------------------------------------------------------------------------------------


def test_measured_and_modelled_energy_are_never_weighed_against_each_other(bench):
    base, bigger = pair(bench, 120, 20)

    with pytest.raises(NotRankable, match=r"measured.*modelled"):
        weigh(Contenders(base, replace(bigger, method=Method.MODELLED)), bench.terms())


def test_grade_d_is_never_ranked_beside_a_better_grade(bench):
    base, bigger = pair(bench, 120, 20)

    with pytest.raises(NotRankable, match="D never outranks"):
        weigh(Contenders(base, replace(bigger, grade=Grade.D)), bench.terms())


def test_contenders_must_have_seen_the_same_items(bench):
    base, bigger = pair(bench, 120, 20)

    with pytest.raises(UsageError, match="same evaluation items"):
        weigh(Contenders(base, replace(bigger, items=bigger.items + 1)), bench.terms())


def test_contenders_must_have_run_the_same_rounds(bench):
    base, bigger = pair(bench, 120, 20)
    fewer = replace(bigger, energy_j_per_unit=bigger.energy_j_per_unit[:-1])

    with pytest.raises(UsageError, match="5 rounds and base 6"):
        weigh(Contenders(base, fewer), bench.terms())


def test_two_variants_may_not_share_a_name(bench):
    base, bigger = pair(bench, 120, 20)
    twin = bench.evidence("bigger", base.scores["accuracy"], 5.0, content="another")

    with pytest.raises(UsageError, match="two different variants are called bigger"):
        weigh(Contenders(base, bigger, (twin,)), bench.terms())


def test_one_round_carries_no_verdict(bench):
    contenders = Contenders(*pair(bench, 120, 20, noise=np.zeros(1)))

    with pytest.raises(UnusableMeasurement, match="one round"):
        weigh(contenders, bench.terms())


@pytest.mark.parametrize(
    "wrong", [{"confidence": 0.4}, {"eta": -0.1}, {"volume_per_month": 0.0}, {"mix_standard": -1.0}]
)
def test_terms_that_cannot_be_are_refused(bench, wrong):
    with pytest.raises(InvalidQuantity):
        bench.terms(**wrong)


# --- speed ------------------------------------------------------------------------------------------


def test_two_thousand_items_and_three_alternatives_are_weighed_without_waiting(bench):
    from time import process_time

    base, bigger = pair(bench, 120, 20)
    alternatives = tuple(bench.evidence(f"alt{i}", base.scores["accuracy"], 8.0 + i) for i in range(3))
    terms = bench.terms(alternatives=1, guards=[Guard("p95_latency_ms", 0.1, relative=True)])

    start = process_time()
    weigh(Contenders(base, bigger, alternatives), terms)

    # About 0.3 s on an idle core; ten times that still is no waiting.
    assert process_time() - start < 3.0
