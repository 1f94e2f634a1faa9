"""The report document: plain JSON, every figure with its interval, what is missing stays missing with a reason."""

from __future__ import annotations

import json
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from outweigh.core.measurement import Missing
from outweigh.core.verdict import Outcome
from outweigh.report import review_document
from outweigh.report.facts import ReviewCost
from outweigh.report.figures import energy_interval, latency_figures, score_interval
from outweigh.report.shape import ReviewDocument

UNITS = (
    "_j",
    "_w",
    "_s",
    "_ms",
    "_kwh",
    "_kg",
    "_per_kwh",
    "_per_tonne",
    "_per_month",
    "_months",
    "_bytes",
    "_per_unit",
)
# Numbers without a unit: shares, ratios, scores, counts, p-values, confidence, money beside its currency.
BARE = {
    "schema", "n_items", "rounds", "seed", "confidence", "relative_standard_uncertainty", "value", "low", "high", "n",
    "ceiling", "eta", "exit_code", "items_needed", "rounds_needed", "statistic", "threshold", "distance", "p_hold",
    "p_refute", "share", "cost", "pue", "baseline_cost", "objective", "lower_bound", "gap", "round", "units",
    "equals_units", "absolute_low", "absolute_high", "seconds",
}  # fmt: skip
# Their parent's key carries the unit or the name ("latency_ms": {"p95"}, "metrics": {"accuracy"}).
UNDER_A_UNIT = {"latency_ms", "metrics"}


def keys_of_numbers(node: object, above: str = "") -> set[str]:
    if isinstance(node, dict):
        found = set()
        for key, value in node.items():
            if isinstance(value, int | float) and not isinstance(value, bool):
                found |= set() if above in UNDER_A_UNIT else {key}
            found |= keys_of_numbers(value, key)
        return found
    if isinstance(node, list):
        return set().union(*(keys_of_numbers(item, above) for item in node)) if node else set()
    return set()


def test_the_document_is_plain_json_that_survives_a_round_trip(make_facts):
    document = review_document(make_facts())

    assert json.loads(json.dumps(document, allow_nan=False)) == document
    assert document["schema"] == 1
    assert document["kind"] == "outweigh.review"
    assert document["created"] == "2026-11-03T09:30:00.000000Z"


def test_the_document_has_exactly_the_keys_of_its_shape(make_facts):
    assert [*review_document(make_facts()), "weighing"] == list(ReviewDocument.__annotations__)


def test_every_number_says_its_unit_in_the_key_or_has_none(make_facts):
    keys = keys_of_numbers(review_document(make_facts()))

    assert {key for key in keys if key not in BARE and not key.endswith(UNITS)} == set()


def test_a_share_of_right_answers_gets_the_wilson_interval():
    # Newcombe 1998, Statistics in Medicine 17, 857-872, Table I, method 3: 81 of 263 gives 0.2553 to 0.3662.
    found = score_interval(np.array([1.0] * 81 + [0.0] * 182), 0.95)

    assert found["low"] == pytest.approx(0.2553, abs=5e-5)
    assert found["high"] == pytest.approx(0.3662, abs=5e-5)


def test_scores_between_zero_and_one_get_a_t_interval():
    scores = np.array([0.2, 0.4, 0.9, np.nan])

    found = score_interval(scores, 0.95)

    expected = stats.ttest_1samp(scores[:3], 0.0).confidence_interval(0.95)
    assert (found["low"], found["high"]) == pytest.approx((expected.low, expected.high))
    assert found["n"] == 3
    assert "Student" in found["method"]


def test_one_round_has_no_interval_and_says_why():
    found = energy_interval(np.array([0.113]), 0.95, 0.1)

    assert found["value"] == 0.113
    assert found["low"] is found["high"] is found["absolute_low"] is None
    assert "one round" in found["method"]


def test_energy_between_rounds_is_a_t_interval_as_scipy_computes_it():
    rounds = np.array([0.112, 0.114, 0.1135, 0.1121])

    found = energy_interval(rounds, 0.95, None)

    expected = stats.ttest_1samp(rounds, 0.0).confidence_interval(0.95)
    assert (found["low"], found["high"]) == pytest.approx((expected.low, expected.high))
    assert found["absolute_low"] is None
    assert "not known" in found["absolute_method"]


@given(
    rounds=st.lists(st.floats(1e-3, 1e3), min_size=2, max_size=20),
    relative=st.floats(0, 2.0),
)
def test_the_absolute_interval_holds_the_scatter_between_rounds_and_stays_above_zero(rounds, relative):
    found = energy_interval(np.array(rounds), 0.95, relative)

    # Below zero there is nothing to hold: two rounds reach there by the interval's symmetry alone.
    assert found["absolute_low"] <= found["low"] + 1e-9 or found["low"] <= 0 < found["absolute_low"]
    assert found["absolute_low"] > 0 or found["absolute_low"] == found["low"]
    assert found["absolute_high"] >= found["high"] - 1e-9


def test_a_small_uncertainty_of_the_meter_is_the_usual_plus_minus():
    # JCGM 100:2008, 5.1.2: in quadrature; with next to no scatter what is left is 1.96 u.
    found = energy_interval(np.array([1.0, 1.000001, 0.999999]), 0.95, 0.01)

    assert found["absolute_high"] - 1 == pytest.approx(1.96 * 0.01, rel=0.02)
    assert 1 - found["absolute_low"] == pytest.approx(1.96 * 0.01, rel=0.02)


@pytest.mark.parametrize("n", [10, 60, 100, 1400])
def test_the_interval_of_p95_is_the_one_scipy_inverts_from_the_quantile_test(n):
    latency_ms = np.random.default_rng(n).lognormal(3, 0.2, n)

    found = latency_figures(latency_ms, 0.95)

    expected = stats.quantile_test(latency_ms, q=0, p=0.95).confidence_interval(0.95)
    assert found["p95_low"] == pytest.approx(expected.low)
    # A sample too small to bound it gives NaN there and None here.
    assert found["p95_high"] == (None if np.isnan(expected.high) else pytest.approx(expected.high))


def test_an_open_end_of_an_interval_is_null_and_never_zero(make_facts):
    parts = review_document(make_facts())["verdict"]["parts"]

    hum = next(part for part in parts if part["subject"] == "hum")
    assert hum["bounds"]["high"] is None
    assert hum["bounds"]["low"] == 1.9


def test_a_missing_plan_and_trace_stay_missing_with_their_reason(make_facts, no_plan):
    document = review_document(make_facts(plan=no_plan, trace=Missing("trace", "the meter keeps no samples")))

    assert document["plan"] is None
    assert document["plan_missing"] == "the project declares one site, and a plan needs two"
    assert document["trace"] is None
    assert document["trace_missing"] == "the meter keeps no samples"


def test_a_hum_that_was_not_observed_is_null_with_its_reason(make_facts):
    hum = review_document(make_facts(hum=Missing("hum", "the window before the run was too short")))["hum"]

    assert hum["power_w"] is None
    assert hum["reason"] == "the window before the run was too short"


def test_the_energy_of_the_plan_carries_the_interval_of_the_variant_it_serves(make_facts):
    document = review_document(make_facts())

    served = document["variants"][2]["energy_j_per_unit"]
    plan = document["plan"]
    assert plan["energy_low_kwh"] / plan["energy_kwh"] == pytest.approx(served["absolute_low"] / served["value"])
    assert review_document(make_facts(planned_variant=""))["plan"]["energy_low_kwh"] is None


def test_the_pue_of_a_sloped_curve_is_what_the_planner_used_or_unknown(make_facts):
    used = review_document(make_facts())["plan"]["assignments"]
    unknown = review_document(make_facts(site_pue={}))["plan"]["assignments"]

    assert [row["pue"] for row in used] == [1.3, 1.15, 1.43]
    assert [row["pue"] for row in unknown] == [1.3, 1.15, None]


def test_the_statement_names_the_method_the_meter_and_the_grade_of_provisional_evidence(make_facts):
    evidence = review_document(make_facts())["evidence"]

    assert evidence["provisional"] is True
    assert evidence["statement"] == (
        "Provisional: energy is modelled (CPU seconds × a made-up power curve; meter cpu-model, grade C), "
        "not read from a counter."
    )


def test_the_statement_of_measured_evidence_does_not_say_provisional(make_facts):
    facts = make_facts()
    firm = replace(facts.verdict, provisional=False, outcome=Outcome.PASS)

    evidence = review_document(make_facts(verdict=firm))["evidence"]

    assert "provisional" not in evidence["statement"].lower()


def test_the_receipts_are_listed_once_each_with_those_of_the_rounds(make_facts):
    receipts = review_document(make_facts())["receipts"]

    assert len(receipts) == len(set(receipts)) == 1 + 3 * 12


def test_what_it_cost_to_find_out_is_said_in_energy_and_in_units_of_the_incumbent(make_facts):
    cost = review_document(make_facts())["cost_of_review"]

    assert cost["equals_units"] == pytest.approx(1180.0 / 0.161, rel=0.01)
    assert cost["statement"] == (
        "This review took 3 min 12 s and (1.18 ± 0.28) kJ (grade C, modelled), as much as the incumbent draws for "
        "7,300 articles."
    )


def test_a_review_whose_own_energy_is_unknown_says_so(make_facts):
    facts = make_facts()
    cost = ReviewCost(42.0, Missing("energy", "the meter stopped"), None, facts.cost.grade, facts.cost.method)

    found = review_document(make_facts(cost=cost))["cost_of_review"]

    assert found["energy_j"] is None
    assert found["statement"] == "This review took 42 s; its energy is not known: the meter stopped."
