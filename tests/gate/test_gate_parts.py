from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest

from outweigh.core.budget import Budget, Period, Phase
from outweigh.core.errors import InvalidQuantity, UsageError
from outweigh.core.intervals import Bounds, Estimate, Interval
from outweigh.core.measurement import Grade, Measurement, Method, Scope, UncertaintyComponent
from outweigh.core.project import Guard, PrimaryMetric, Value
from outweigh.core.quantities import Energy, Money, Power, Price
from outweigh.core.verdict import Outcome
from outweigh.gate import BudgetLine, Contenders, ValueTerms, weigh

PASS, FAIL, OPEN = Outcome.PASS, Outcome.FAIL, Outcome.INCONCLUSIVE
EUR = "EUR"


def pair(bench, gained, lost, *, ratio=2.0, both_wrong=100, n=2000, **options):
    base, candidate = bench.cells(n - gained - lost - both_wrong, gained, lost, both_wrong)
    return bench.evidence("base", base, 10.0, **options), bench.evidence("bigger", candidate, 10.0 * ratio, **options)


# --- proportion -------------------------------------------------------------------------------------


# 2^-0.15 = 0.901: a doubling of energy must cut an error of 20 % to 18 % (18.03 %, to two decimals).
@pytest.mark.parametrize(("candidate_error", "sign"), [(0.1795, 1), (0.1803, 0), (0.1810, -1)])
def test_doubling_the_energy_must_cut_a_twenty_percent_error_to_eighteen(bench, candidate_error, sign):
    n = 10_000
    wrong = round(candidate_error * n)
    base, candidate = bench.cells(n - 2000, 2000 - wrong, 0, wrong)
    contenders = Contenders(
        bench.evidence("base", base, 10.0, scatter=0.0), bench.evidence("bigger", candidate, 20.0, scatter=0.0)
    )

    t = bench.part(weigh(contenders, bench.terms()), "proportion").statistic

    assert t == pytest.approx(0, abs=5e-4) if sign == 0 else t * sign > 2e-3


@pytest.mark.parametrize(
    ("gained", "lost", "outcome"), [(120, 20, PASS), (20, 60, FAIL), (60, 40, OPEN)], ids=["pass", "fail", "open"]
)
def test_proportion_follows_its_bounds(bench, gained, lost, outcome):
    verdict = weigh(Contenders(*pair(bench, gained, lost)), bench.terms())

    part = bench.part(verdict, "proportion")

    assert part.outcome is outcome
    assert (part.bounds.low > 0) == (outcome is PASS)
    assert (part.bounds.high < 0) == (outcome is FAIL)
    assert (part.distance > 0) == (outcome is PASS)


def test_proportion_says_what_the_energy_asks_and_what_the_error_did(bench):
    verdict = weigh(Contenders(*pair(bench, 60, 40, ratio=2.13)), bench.terms())

    sentence = bench.part(verdict, "proportion").explanation

    assert sentence.startswith("energy per ticket rises 2.130 times [2.101, 2.160]; ")
    assert "the error would have to fall by 11 % to pay for it and fell by 12.5 % [" in sentence


def test_halving_the_energy_lets_the_error_grow_by_eleven_percent(bench):
    verdict = weigh(Contenders(*pair(bench, 10, 10, ratio=0.5)), bench.terms())

    assert "the error may grow by at most 11 % for it" in bench.part(verdict, "proportion").explanation


@pytest.mark.parametrize("ceiling", [0.95, 0.9])
def test_a_ceiling_at_or_below_the_measured_quality_is_inconclusive_with_a_remedy(bench, ceiling):
    terms = bench.terms(primary=PrimaryMetric("accuracy", ceiling=ceiling))

    verdict = weigh(Contenders(*pair(bench, 100, 0, both_wrong=0)), terms)

    part = bench.part(verdict, "proportion")
    assert verdict.outcome is OPEN
    assert part.statistic is None
    assert "Raise task.primary.ceiling" in part.explanation


def test_two_perfect_variants_are_inconclusive_and_not_a_division_by_zero(bench):
    verdict = weigh(Contenders(*pair(bench, 0, 0, both_wrong=0)), bench.terms())

    assert verdict.outcome is OPEN
    assert "at or above the declared ceiling" in bench.part(verdict, "proportion").explanation


def test_the_instruction_mix_widens_the_proportion(bench):
    contenders = Contenders(*pair(bench, 120, 20))

    plain = bench.part(weigh(contenders, bench.terms()), "proportion")
    mixed = bench.part(weigh(contenders, bench.terms(mix_standard=0.5)), "proportion")

    assert mixed.bounds.half_width > 1.3 * plain.bounds.half_width


# --- caps -------------------------------------------------------------------------------------------


def caps(bench, budget, *, drawn=0.0, share_ahead=1.0, proposal=None, **inputs):
    base, bigger = pair(bench, 120, 20)
    proposal = replace(bigger, **(proposal or {}))
    line = BudgetLine(budget, Energy(drawn), share_ahead)
    return bench.part(weigh(Contenders(base, proposal), bench.terms(budgets=[line], **inputs)), "caps")


# The proposal draws 20 J a ticket with a scatter of 1 % over six rounds: its bounds lie at about 0.8 % either side.
@pytest.mark.parametrize(("limit_j", "outcome"), [(20.5, PASS), (20.05, OPEN), (19.5, FAIL)])
def test_per_unit_cap_holds_the_upper_bound_of_the_energy(bench, limit_j, outcome):
    part = caps(bench, Budget("serve", Phase.INFERENCE, per_unit=Energy(limit_j)))

    assert (part.outcome, part.subject, part.unit) == (outcome, "serve", "J")
    assert part.statistic == pytest.approx(20.0, rel=1e-3)
    assert part.threshold == limit_j
    assert (part.distance >= 0) == (outcome is PASS)


def test_what_the_meter_is_off_by_counts_against_a_cap(bench):
    part = caps(bench, Budget("serve", Phase.INFERENCE, per_unit=Energy(20.5)), absolute_standard=0.1)

    assert part.outcome is OPEN


# A million tickets a month of 20 J: 20 MJ.
@pytest.mark.parametrize(
    ("limit_j", "drawn_j", "share_ahead", "outcome"),
    [
        (21e6, 0.0, 1.0, PASS),
        (19e6, 0.0, 1.0, FAIL),
        (21e6, 5e6, 1.0, FAIL),
        (21e6, 5e6, 0.5, PASS),
        (21e6, 22e6, 0.0, FAIL),
        (20.05e6, 0.0, 1.0, OPEN),
    ],
)
def test_a_total_counts_what_is_drawn_and_what_is_still_to_be_served(bench, limit_j, drawn_j, share_ahead, outcome):
    budget = Budget("serve", Phase.INFERENCE, total=Energy(limit_j), period=Period.MONTH)

    part = caps(bench, budget, drawn=drawn_j, share_ahead=share_ahead)

    assert part.outcome is outcome
    assert part.statistic == pytest.approx(drawn_j + 20e6 * share_ahead, rel=1e-3)


def test_a_year_holds_twelve_months_of_volume(bench):
    part = caps(bench, Budget("serve", Phase.INFERENCE, total=Energy(1e9), period=Period.YEAR))

    assert part.statistic == pytest.approx(12 * 20e6, rel=1e-3)


@pytest.mark.parametrize(("limit_w", "outcome"), [(120, PASS), (105, OPEN), (80, FAIL)])
def test_hum_cap_holds_the_upper_bound_of_the_hum(bench, limit_w, outcome):
    hum = Estimate(100.0, Bounds(88.0, 112.0, 0.95))

    part = caps(bench, Budget("hum", Phase.IDLE, hum=Power(limit_w)), hum_w=hum)

    assert (part.outcome, part.unit) == (outcome, "W")


def test_a_hum_that_nobody_observed_is_inconclusive_and_not_zero(bench):
    part = caps(bench, Budget("hum", Phase.IDLE, hum=Power(1e9)))

    assert part.outcome is OPEN
    assert "not observed" in part.explanation


def test_idle_total_is_the_hum_over_the_period(bench):
    hum = Estimate(100.0, Bounds(100.0, 100.0))

    part = caps(bench, Budget("hum", Phase.IDLE, total=Energy.kwh(3), period=Period.DAY), hum_w=hum)

    assert part.statistic == pytest.approx(Energy.kwh(2.4).joules)
    assert part.outcome is PASS


@pytest.mark.parametrize(("limit_j", "outcome"), [(1500.0, PASS), (1200.0, OPEN), (1000.0, FAIL)])
def test_training_line_is_charged_with_what_was_trained_for_the_proposal(bench, limit_j, outcome):
    window = Interval.starting(datetime(2026, 1, 1, tzinfo=UTC), 60)
    fit = Measurement(
        Energy(200.0), window, Scope.PACKAGE, Grade.B, Method.COUNTER, "replay", (UncertaintyComponent("gain", 20.0),)
    )

    part = caps(
        bench, Budget("train", Phase.TRAINING, total=Energy(limit_j), period=Period.QUARTER), drawn=1000.0,
        proposal={"fit": fit},
    )  # fmt: skip

    assert part.outcome is outcome
    assert part.statistic == 1200.0


def test_a_limit_of_nothing_fails_whatever_is_drawn(bench):
    assert caps(bench, Budget("none", Phase.INFERENCE, per_unit=Energy(0.0))).outcome is FAIL


def test_without_budgets_caps_do_not_bind(bench):
    assert not bench.part(weigh(Contenders(*pair(bench, 120, 20)), bench.terms()), "caps").binding


def test_a_share_of_the_period_outside_zero_and_one_is_refused():
    with pytest.raises(InvalidQuantity):
        BudgetLine(Budget("serve", Phase.INFERENCE, per_unit=Energy(1.0)), share_ahead=1.5)


# --- guards -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("gained", "lost", "outcome"), [(30, 30, PASS), (30, 50, OPEN), (10, 80, FAIL)], ids=["pass", "open", "fail"]
)
def test_a_guard_is_non_inferior_at_its_margin(bench, gained, lost, outcome):
    base, bigger = pair(bench, 120, 20)
    scores = bench.cells(2000 - gained - lost - 50, gained, lost, 50)
    base, bigger = (
        replace(evidence, scores={**evidence.scores, "recall": score})
        for evidence, score in zip((base, bigger), scores, strict=True)
    )

    part = bench.part(weigh(Contenders(base, bigger), bench.terms(guards=[Guard("recall", 0.012)])), "guards")

    assert (part.subject, part.outcome, part.threshold) == ("recall", outcome, -0.012)


def test_items_without_a_say_do_not_count_in_a_guard(bench):
    base, bigger = pair(bench, 120, 20)
    urgent = np.full(2000, np.nan)
    urgent[:200] = 1.0
    base, bigger = (replace(evidence, scores={**evidence.scores, "recall": urgent}) for evidence in (base, bigger))

    part = bench.part(weigh(Contenders(base, bigger), bench.terms(guards=[Guard("recall", 0.01)])), "guards")

    # 200 items that agree leave room for a difference of z^2 / (n + z^2) = 1.3 %, more than the margin.
    assert part.outcome is OPEN


@pytest.mark.parametrize("metric", ["p50_latency_ms", "p95_latency_ms", "mean_latency_ms"])
@pytest.mark.parametrize(
    ("slowdown", "guard", "outcome"),
    [
        (1.05, {"margin": 0.10, "relative": True}, PASS),
        (1.30, {"margin": 0.10, "relative": True}, FAIL),
        (1.05, {"margin": 0.50}, PASS),
        (1.50, {"margin": 0.50}, FAIL),
    ],
)
def test_latency_may_grow_by_its_margin_and_no_more(bench, metric, slowdown, guard, outcome):
    base, bigger = pair(bench, 120, 20)
    bigger = replace(bigger, latency_ms=base.latency_ms * slowdown)

    part = bench.part(weigh(Contenders(base, bigger), bench.terms(guards=[Guard(metric, **guard)])), "guards")

    assert part.outcome is outcome
    assert (part.distance >= 0) == (outcome is PASS)


def test_a_primary_margin_makes_the_primary_metric_a_guard(bench):
    terms = bench.terms(primary=PrimaryMetric("accuracy", margin=0.005, equivalence=0.005))

    verdict = weigh(Contenders(*pair(bench, 0, 40, ratio=0.1)), terms)

    assert bench.part(verdict, "proportion").outcome is OPEN
    assert bench.part(verdict, "guards").subject == "accuracy"
    assert verdict.outcome is FAIL


def test_an_unknown_guard_names_the_metrics_there_are(bench):
    with pytest.raises(UsageError, match="accuracy, p50_latency_ms, p95_latency_ms, mean_latency_ms"):
        weigh(Contenders(*pair(bench, 120, 20)), bench.terms(guards=[Guard("recal", 0.01)]))


def test_an_unknown_primary_metric_is_refused(bench):
    with pytest.raises(UsageError, match="'f1' is not measured for base"):
        weigh(Contenders(*pair(bench, 120, 20)), bench.terms(primary=PrimaryMetric("f1")))


# --- necessity --------------------------------------------------------------------------------------


def with_alternative(bench, gained, lost, energy_j, **options):
    """A good proposal, and an alternative that gains and loses so many items against it."""
    base, bigger = pair(bench, 120, 20)
    right = bigger.scores["accuracy"].copy()
    right[np.flatnonzero(right == 1)[:lost]] = 0
    right[np.flatnonzero(bigger.scores["accuracy"] == 0)[:gained]] = 1
    return Contenders(base, bigger, (bench.evidence("small", right, energy_j, **options),))


def test_a_cheaper_equivalent_alternative_fails_the_proposal_and_is_named(bench):
    verdict = weigh(with_alternative(bench, 5, 5, 12.0), bench.terms(alternatives=1))

    assert verdict.outcome is FAIL
    assert verdict.decided_by == "necessity: small"
    assert verdict.cheapest_pass == "small"
    assert "small does what bigger does for less" in verdict.advice


def test_a_clearly_worse_alternative_leaves_the_proposal_necessary(bench):
    verdict = weigh(with_alternative(bench, 0, 100, 12.0), bench.terms(alternatives=1))

    assert bench.part(verdict, "necessity").outcome is PASS
    assert verdict.outcome is PASS


def test_an_alternative_that_may_or_may_not_be_equivalent_leaves_it_open(bench):
    verdict = weigh(with_alternative(bench, 10, 30, 12.0), bench.terms(alternatives=1))

    assert bench.part(verdict, "necessity").outcome is OPEN
    assert verdict.outcome is OPEN


def test_an_alternative_that_draws_more_does_not_dominate(bench):
    verdict = weigh(with_alternative(bench, 5, 5, 30.0), bench.terms(alternatives=0))

    assert bench.part(verdict, "necessity").outcome is PASS


def test_an_alternative_is_not_equivalent_when_it_breaks_a_guard(bench):
    contenders = with_alternative(bench, 5, 5, 12.0)
    (small,) = contenders.alternatives
    slow = replace(contenders, alternatives=(replace(small, latency_ms=2 * small.latency_ms),))
    terms = bench.terms(alternatives=1, guards=[Guard("p95_latency_ms", 0.1, relative=True)])

    assert bench.part(weigh(contenders, terms), "necessity").outcome is FAIL
    assert bench.part(weigh(slow, terms), "necessity").outcome is PASS


def test_growth_without_a_measured_cheaper_alternative_is_inconclusive_and_says_what_to_run(bench):
    verdict = weigh(Contenders(*pair(bench, 120, 20)), bench.terms(alternatives=1))

    assert (verdict.outcome, verdict.decided_by) == (OPEN, "necessity")
    assert "`outweigh shrink bigger`" in verdict.advice


def test_a_costlier_alternative_does_not_count_as_the_cheaper_one_asked_for(bench):
    verdict = weigh(with_alternative(bench, 0, 0, 30.0), bench.terms(alternatives=1))

    assert verdict.outcome is OPEN
    assert "0 of the 1 cheaper alternative(s)" in verdict.advice


@pytest.mark.parametrize("twin", ["hash of base", "hash of bigger"])
def test_the_contenders_under_another_name_are_no_alternative(bench, twin):
    verdict = weigh(with_alternative(bench, 5, 5, 12.0, content=twin), bench.terms(alternatives=1))

    assert verdict.decided_by == "necessity"
    assert verdict.outcome is OPEN


def test_a_saving_needs_no_alternative(bench):
    verdict = weigh(Contenders(*pair(bench, 10, 10, ratio=0.1)), bench.terms(alternatives=1))

    assert not bench.part(verdict, "necessity").binding
    assert not bench.part(verdict, "gain").binding
    assert verdict.outcome is PASS


# --- anchor -----------------------------------------------------------------------------------------


def test_small_steps_that_each_pass_are_caught_against_the_last_release(bench):
    base, bigger = pair(bench, 120, 20, ratio=1.2)
    release = bench.evidence("release", bigger.scores["accuracy"], 2.0)

    verdict = weigh(Contenders(base, bigger, anchor=release), bench.terms(anchor="release"))

    assert bench.part(verdict, "proportion").outcome is PASS
    assert verdict.outcome is FAIL
    assert verdict.decided_by == "anchor: release"


def test_a_named_anchor_that_was_not_measured_is_inconclusive(bench):
    verdict = weigh(Contenders(*pair(bench, 120, 20)), bench.terms(anchor="release"))

    assert verdict.outcome is OPEN
    assert verdict.decided_by == "anchor: release"


@pytest.mark.parametrize("which", ["hash of base", "hash of bigger"])
def test_an_anchor_that_is_one_of_the_contenders_asks_nothing_more(bench, which):
    base, bigger = pair(bench, 120, 20)
    release = bench.evidence("release", base.scores["accuracy"], 10.0, content=which)

    verdict = weigh(Contenders(base, bigger, anchor=release), bench.terms(anchor="release"))

    assert not bench.part(verdict, "anchor").binding
    assert verdict.outcome is PASS


# --- gain -------------------------------------------------------------------------------------------


def test_a_hair_more_energy_needs_a_gain_that_is_real(bench):
    verdict = weigh(Contenders(*pair(bench, 30, 26, ratio=1.001)), bench.terms())

    part = bench.part(verdict, "gain")
    assert part.binding
    assert part.outcome is OPEN
    assert verdict.outcome is OPEN


# --- value ------------------------------------------------------------------------------------------


def value(bench, contenders, amount=0.9, *, kwh=0.25, hour=0.10, currency=EUR, per="avoided error"):
    declared = Value(per, Money(amount, EUR), "product", "ab.md")
    prices = ValueTerms(Price(kwh, currency), Money(hour, currency))
    return bench.part(weigh(contenders, bench.terms(value=declared, prices=prices)), "value")


# 20 J against 10 J a ticket, and 0.2 s against 0.1 s of a replica, both by the bench's construction.
def test_value_is_the_ratio_of_benefit_to_full_marginal_cost(bench):
    part = value(bench, Contenders(*pair(bench, 120, 20)), amount=0.001)

    benefit = 0.001 * 100 / 2000
    cost = 10 / 3.6e6 * 0.25 + 0.1 / 3600 * 0.10
    assert part.statistic == pytest.approx(benefit / cost, rel=1e-3)
    assert part.threshold == 1.0
    assert part.outcome is PASS


@pytest.mark.parametrize(
    ("amount", "outcome"), [(1e-3, PASS), (7e-5, OPEN), (2e-5, FAIL)], ids=["pays", "open", "does not pay"]
)
def test_value_weighs_the_lower_benefit_against_the_upper_cost(bench, amount, outcome):
    part = value(bench, Contenders(*pair(bench, 120, 20)), amount)

    assert part.outcome is outcome
    assert (part.bounds.low >= 1) == (outcome is PASS)
    assert (part.bounds.high <= 1) == (outcome is FAIL)


def test_value_holds_when_the_cost_falls_and_quality_does_not(bench):
    part = value(bench, Contenders(*pair(bench, 30, 5, ratio=0.5)))

    assert (part.outcome, part.unit) == (PASS, "EUR/month")


def test_value_fails_when_the_lost_quality_costs_more_than_is_saved(bench):
    assert value(bench, Contenders(*pair(bench, 5, 60, ratio=0.5))).outcome is FAIL


def test_hardware_time_is_part_of_the_cost(bench):
    contenders = Contenders(*pair(bench, 120, 20))

    assert value(bench, contenders, 7e-4, hour=0.01).outcome is PASS
    assert value(bench, contenders, 7e-4, hour=10.0).outcome is FAIL


def test_a_missing_price_is_inconclusive_and_named(bench):
    declared = Value("avoided error", Money(0.9, EUR), "product", "ab.md")
    terms = bench.terms(value=declared, prices=ValueTerms(Price(0.25, EUR), None))

    part = bench.part(weigh(Contenders(*pair(bench, 120, 20)), terms), "value")

    assert part.outcome is OPEN
    assert "declare the hardware price" in part.explanation


def test_currencies_are_never_converted_in_silence(bench):
    with pytest.raises(UsageError, match="worth EUR, and a price is in USD"):
        value(bench, Contenders(*pair(bench, 120, 20)), currency="USD")


def test_a_benefit_that_cannot_be_counted_is_refused(bench):
    with pytest.raises(UsageError, match="avoided error"):
        value(bench, Contenders(*pair(bench, 120, 20)), per="happy customer")
