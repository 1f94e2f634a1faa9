"""The power rules of MLPerf, one by one: what receipts show, what was declared, what nobody knows."""

from __future__ import annotations

import pytest

from outweigh.core.measurement import Grade, Method, Scope
from outweigh.core.receipt import Latency
from outweigh.report.declared import Given, PowerSetup
from outweigh.report.standards.mlperf import Sampled, mlperf_check

KWH = 3.6e6
GOOD = PowerSetup(
    analyser="Yokogawa WT310E", accuracy=0.01, nodes=1, clocks_synchronised=True, battery_between=False,
    management_documented=True, performance_phase_only=True,
)  # fmt: skip
MET, NOT, UNKNOWN = "met", "not met", "not known"


def answers(receipts, setup=GOOD, samples=None):
    sheet = mlperf_check(receipts, Given(power=setup), samples or {})
    return {(rule["suite"], rule["rule"]): rule["answer"] for rule in sheet.figures["rules"]}


def test_a_wall_meter_with_samples_and_declared_facts_meets_every_rule_but_the_workflow(made_run, addressed):
    receipts = addressed(made_run(KWH, units=10.0, unit="query", latency=Latency(1.0, 1.0, 1.0, 10)))
    samples = {address: Sampled(3600, 1.0) for address, _ in receipts}

    found = answers(receipts, samples=samples)

    assert {key: answer for key, answer in found.items() if answer != MET} == {("inference", "analyser"): NOT}


# MLPerf Training - Power Measurement Rules: node level, at least one sample a second, the run or 60 samples, 5 %.
@pytest.mark.parametrize(
    ("run", "rule", "answer"),
    [
        ({"scope": Scope.GPU}, "node level", NOT),
        ({"scope": Scope.GPU}, "at the supply", NOT),
        ({"grade": Grade.B}, "at the supply", NOT),
        ({"method": Method.MODELLED}, "measured", NOT),
        ({"method": Method.REPLAYED}, "measured", NOT),
        ({"method": Method.INTEGRATED}, "measured", MET),
    ],
)
def test_a_rule_of_training_is_answered_by_what_the_receipt_says(made_run, addressed, run, rule, answer):
    assert answers(addressed(made_run(KWH, **run)))["training", rule] == answer


@pytest.mark.parametrize(
    ("sampled", "rule", "answer"),
    [
        (Sampled(59, 1.0), "60 samples", NOT),
        (Sampled(60, 1.0), "60 samples", MET),
        (Sampled(600, 1.01), "once a second", NOT),
        (None, "once a second", UNKNOWN),
    ],
)
def test_samples_decide_the_rules_of_sampling(made_run, addressed, sampled, rule, answer):
    receipts = addressed(made_run(KWH))

    assert answers(receipts, samples={receipts[0][0]: sampled})["training", rule] == answer


@pytest.mark.parametrize(
    ("setup", "half_j", "answer"),
    [
        (PowerSetup(accuracy=0.05), 0.0, MET),
        (PowerSetup(accuracy=0.06), 0.0, NOT),
        (PowerSetup(), 0.01 * KWH, UNKNOWN),  # an interval of ours is no specification of the meter
        (PowerSetup(), 0.10 * KWH, NOT),
    ],
)
def test_five_per_cent_is_the_meter_s_specification(made_run, addressed, setup, half_j, answer):
    assert answers(addressed(made_run(KWH, half_j=half_j)), setup)["training", "5 % accuracy"] == answer


def test_nodes_that_were_not_measured_are_missed(made_run, addressed):
    receipts = addressed(made_run(KWH, labels=(("machine", "a"),)), made_run(KWH, labels=(("machine", "b"),)))

    assert answers(receipts, PowerSetup(nodes=2))["training", "all nodes"] == MET
    assert answers(receipts, PowerSetup(nodes=3))["training", "all nodes"] == NOT
    assert answers(receipts, PowerSetup())["training", "all nodes"] == UNKNOWN


def test_what_nobody_declared_is_not_known_and_asked_for(made_run, addressed):
    receipts = addressed(made_run(KWH))

    sheet = mlperf_check(receipts, Given(), {})

    assert answers(receipts, PowerSetup())["inference", "clocks"] == UNKNOWN
    assert "power.clocks_synchronised" in {ask.what for ask in sheet.missing}


def test_no_figure_is_called_a_result_of_mlperf(made_run, addressed):
    sheet = mlperf_check(addressed(made_run(KWH)), Given(), {})

    assert "no figure here is an MLPerf result" in sheet.notes[0]
