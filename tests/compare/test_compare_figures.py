"""Energy per unit, correct answer and token; sweeps; the probability of being on the frontier."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outweigh.compare.elasticity import elasticity
from outweigh.compare.energy import log_ratio, noise_floor
from outweigh.compare.evidence import Evidence
from outweigh.compare.figures import energy_figures, ratio_of_sums
from outweigh.compare.frontier import NotRankable, frontier_probability
from outweigh.compare.quality import items_for_equivalence, paired_quality
from outweigh.core.errors import UnusableMeasurement
from outweigh.core.measurement import Grade, Method
from outweigh.core.variant import Variant

ROUNDS, ITEMS = 4, 40


def evidence(name="a", scores=None, work_j=2.0, hum_j=1.0, all_in_j=0.5, grade=Grade.B, method=Method.COUNTER, **more):
    rng = np.random.default_rng(len(name) + ord(name[0]))
    spread = 1 + more.pop("spread", 0.0) * rng.standard_normal(ROUNDS)
    return Evidence(
        variant=Variant(name, f"{name}.onnx", content_hash=more.pop("content_hash", name)),
        items=np.arange(ITEMS),
        scores={"accuracy": np.ones(ITEMS) if scores is None else np.asarray(scores, dtype=float)},
        latency_ms=np.ones(ITEMS),
        units=np.full(ROUNDS, 10.0),
        work_j=work_j * spread,
        hum_j=np.full(ROUNDS, hum_j),
        service_s=np.full(ROUNDS, 0.5),
        energy_j_per_unit=all_in_j * spread,
        work_j_per_unit=0.2,
        hum_j_per_unit=0.1,
        amortised_j_per_unit=0.0,
        grade=grade,
        method=method,
        item_rounds=np.repeat(np.arange(ROUNDS), ITEMS // ROUNDS),
        **more,
    )


def test_net_gross_and_all_in_are_the_work_the_meter_and_the_facility():
    figures = energy_figures(evidence(), "accuracy")

    assert figures.per_unit.net.value == pytest.approx(0.2)
    assert figures.per_unit.gross.value == pytest.approx(0.3)
    assert figures.per_unit.all_in.value == pytest.approx(0.5)
    assert figures.power_w == pytest.approx(6.0)
    assert (figures.per_token, figures.token_method) == ({}, "")


def test_energy_per_correct_answer_is_that_per_unit_over_the_share_that_is_right():
    half = energy_figures(evidence(scores=[1, 0] * 20), "accuracy")

    assert half.per_correct.gross.value == pytest.approx(2 * half.per_unit.gross.value)
    assert energy_figures(evidence(scores=[0.5] * ITEMS), "accuracy").per_correct is None
    assert energy_figures(evidence(scores=[0] * ITEMS), "accuracy").per_correct is None


def test_tokens_are_charged_by_the_time_of_reading_and_writing_and_that_is_called_an_allocation():
    counts = {"tokens_in": 100.0, "tokens_out": 20.0, "prefill_s": 0.1, "decode_s": 0.4}
    one = evidence(counts={name: np.full(ROUNDS, value) for name, value in counts.items()})

    figures = energy_figures(one, "accuracy")

    assert figures.per_token["prefill"].gross.value == pytest.approx(3.0 * 0.2 / 100)
    assert figures.per_token["decode"].gross.value == pytest.approx(3.0 * 0.8 / 20)
    assert figures.per_token["decode"].all_in.value == pytest.approx(5.0 * 0.8 / 20)
    assert "allocated" in figures.token_method


def test_tokens_without_times_are_charged_together():
    one = evidence(counts={"tokens_in": np.full(ROUNDS, 25.0), "tokens_out": np.full(ROUNDS, 5.0)})
    assert energy_figures(one, "accuracy").per_token["tokens"].net.value == pytest.approx(2.0 / 30)


@given(factor=st.floats(1e-3, 1e3), seed=st.integers(0, 99))
def test_the_interval_of_a_ratio_of_sums_scales_with_its_unit(factor, seed):
    rng = np.random.default_rng(seed)
    top, bottom = rng.uniform(1, 2, 6), rng.uniform(1, 2, 6)
    plain, scaled = ratio_of_sums(top, bottom), ratio_of_sums(factor * top, bottom)

    assert scaled.value == pytest.approx(factor * plain.value)
    assert scaled.bounds.high == pytest.approx(factor * plain.bounds.high)
    assert plain.bounds.contains(plain.value)


def test_the_interval_of_a_ratio_of_sums_covers_nineteen_times_in_twenty():
    rng, covered, trials = np.random.default_rng(5), 0, 2_000
    for _ in range(trials):
        units = rng.integers(8, 13, 12).astype(float)
        covered += ratio_of_sums(0.3 * units * np.exp(rng.normal(0, 0.1, 12)), units).bounds.contains(
            0.3 * math.exp(0.005)
        )
    assert covered / trials == pytest.approx(0.95, abs=0.015)


# --- sweeps -----------------------------------------------------------------------------------------


@given(exponent=st.floats(-2, 2), scale=st.floats(1e-3, 1e3), unit=st.floats(1e-3, 1e3))
def test_a_power_law_gives_its_exponent_back_whatever_the_units(exponent, scale, unit):
    x = [1.0, 2.0, 4.0, 8.0]
    drift = np.array([1.0, 1.1, 1.3])
    found = elasticity([unit * value for value in x], [scale * value**exponent * drift for value in x])

    assert found.exponent.value == pytest.approx(exponent, abs=1e-9)
    assert found.off == pytest.approx(0, abs=1e-9)
    assert [step.value for step in found.steps] == pytest.approx([exponent] * 3, abs=1e-9)


def test_the_interval_of_an_exponent_covers_the_truth_through_drift_that_all_points_share():
    rng, x, covered, trials = np.random.default_rng(9), np.array([1.0, 2.0, 4.0, 8.0]), 0, 4_000
    for _ in range(trials):
        drift = np.exp(np.cumsum(rng.normal(0, 0.1, 12)))
        energies = [value**-0.4 * drift * np.exp(rng.normal(0, 0.05, 12)) for value in x]
        covered += elasticity(x.tolist(), energies).exponent.bounds.contains(-0.4)
    # Four standard errors.
    assert covered / trials == pytest.approx(0.95, abs=0.014)


def test_a_knob_that_stops_helping_bends():
    rng = np.random.default_rng(2)
    found = elasticity([1, 2, 4, 8], [level * np.exp(rng.normal(0, 0.01, 8)) for level in (1.0, 0.55, 0.35, 0.34)])
    assert found.bends()
    assert found.off > 0.05
    assert found.steps[0].value < -0.8 < -0.1 < found.steps[2].value


@pytest.mark.parametrize(
    ("x", "energies"),
    [
        ([1.0], [[1.0, 1.0]]),
        ([2.0, 1.0], [[1.0, 1.0]] * 2),
        ([0.0, 1.0], [[1.0, 1.0]] * 2),
        ([1.0, 2.0], [[1.0], [1.0]]),
        ([1.0, 2.0], [[1.0, 2.0], [1.0, 2.0, 3.0]]),
        ([1.0, 2.0], [[1.0, 2.0], [1.0, 0.0]]),
    ],
)
def test_points_that_make_no_line_are_refused_with_a_remedy(x, energies):
    with pytest.raises(UnusableMeasurement) as caught:
        elasticity(x, energies)
    assert caught.value.remedy


# --- frontier, noise floor, items needed ------------------------------------------------------------


def drawn(*variants, **options):
    return frontier_probability(variants, "accuracy", np.random.default_rng(1), **options)


def test_clear_winners_are_certain_and_clear_losers_have_no_chance():
    found = drawn(
        evidence("cheap", [1, 0] * 20, all_in_j=0.1, spread=0.02),
        evidence("good", [1] * 40, all_in_j=0.5, spread=0.02),
        evidence("worst", [0] * 30 + [1] * 10, all_in_j=0.9, spread=0.02),
    )
    assert found == {"cheap": 1.0, "good": 1.0, "worst": 0.0}


def test_two_variants_that_nobody_can_tell_apart_in_energy_share_the_frontier():
    rng = np.random.default_rng(8)
    rounds = 0.5 * np.exp(0.05 * rng.standard_normal((2, ROUNDS)))
    left, right = (evidence(name, [1] * 39 + [0]) for name in "lr")
    for one, energy in ((left, rounds[0]), (right, rounds[1] * rounds[0].mean() / rounds[1].mean())):
        one.energy_j_per_unit[:] = energy
    found = drawn(left, right)

    # Where each round is drawn once (4! / 4^4 = 9 % of the draws) both means are equal, and neither is beaten.
    assert found["l"] + found["r"] == pytest.approx(1.09, abs=0.03)
    assert 0.3 < found["l"] < 0.8


def test_drift_that_both_share_leaves_the_cheaper_one_on_the_frontier_for_sure():
    drift = np.array([1.0, 2.0, 0.5, 3.0])
    cheap, dear = evidence("cheap", all_in_j=0.50), evidence("dear", all_in_j=0.52)
    cheap.energy_j_per_unit[:] *= drift
    dear.energy_j_per_unit[:] *= drift

    assert drawn(cheap, dear) == {"cheap": 1.0, "dear": 0.0}


def test_doubt_of_the_instruction_mix_makes_a_small_lead_unsure_and_spares_the_same_model():
    cheap, dear = evidence("cheap", all_in_j=0.50), evidence("dear", all_in_j=0.52)
    assert 0.0 < drawn(cheap, dear, mix_standard=0.05)["dear"] < 0.5
    same = evidence("again", all_in_j=0.52, content_hash="cheap")
    assert drawn(cheap, same, mix_standard=0.05)["again"] == 0.0


def test_a_nameplate_figure_never_pushes_a_measured_one_off_the_frontier():
    found = drawn(evidence("plate", all_in_j=0.1, grade=Grade.D), evidence("real", [1, 0] * 20, all_in_j=0.5))
    assert found == {"plate": 1.0, "real": 1.0}


def test_measured_and_modelled_are_not_put_on_one_frontier():
    with pytest.raises(NotRankable):
        drawn(evidence("a"), evidence("b", method=Method.MODELLED))


@given(seed=st.integers(0, 999))
def test_the_noise_floor_is_never_below_what_the_pair_differed_by(seed):
    rng = np.random.default_rng(seed)
    pair = log_ratio(np.exp(rng.normal(0, 0.1, 12)), np.exp(rng.normal(0, 0.1, 12)))

    assert noise_floor(pair) >= abs(pair.estimate)
    assert noise_floor(pair, 0.99) >= noise_floor(pair, 0.95)


def test_twelve_items_that_agree_throughout_need_hundreds_more_to_be_called_equivalent():
    twelve = paired_quality([1] * 12, [1] * 12)

    assert twelve.p_equivalent(0.01) > 0.05
    assert 5_000 < items_for_equivalence(twelve, 0.01) < 10_000


def test_the_items_named_are_enough_in_about_the_share_of_cases_that_is_asked_for():
    rng, margin, apart = np.random.default_rng(4), 0.02, 0.06
    pilot = paired_quality([1] * 940 + [0, 1] * 30, [1] * 940 + [1, 0] * 30)
    needed = items_for_equivalence(pilot, margin)

    shown = 0
    for _ in range(400):
        gained, lost, _ = rng.multinomial(needed, [apart / 2, apart / 2, 1 - apart])
        base = [0] * gained + [1] * lost + [1] * (needed - gained - lost)
        candidate = [1] * gained + [0] * lost + [1] * (needed - gained - lost)
        shown += paired_quality(base, candidate).p_equivalent(margin) <= 0.05
    # Three standard errors of a share of 0.8 in 400 trials are 0.06.
    assert shown / 400 == pytest.approx(0.8, abs=0.08)
