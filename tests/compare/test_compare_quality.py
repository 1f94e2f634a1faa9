import math
import pickle

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from outweigh.compare.quality import (
    latency_ratio,
    paired_error_draws,
    paired_quality,
    tango_bounds,
    tango_z,
)
from outweigh.core.errors import UnusableMeasurement


def from_cells(both, gained, lost, neither):
    base = [1.0] * both + [0.0] * gained + [1.0] * lost + [0.0] * neither
    candidate = [1.0] * both + [1.0] * gained + [0.0] * lost + [0.0] * neither
    return paired_quality(base, candidate)


# Cells are (both, candidate only, base only, neither).
# Fagerland, Lydersen, Laake 2014, Stat Med 33:2850, tables II and V: airway hyper-responsiveness (Bentur et al. 2009).
# Tango 1998, Stat Med 17:891: 32 pairs, and 44 pairs at 90 % with empty cells. Agresti, Min 2005, Stat Med 24:729:
# 86 pairs. The last three as the test suite of the R package `ratesci` (P. Laud) quotes them.
@pytest.mark.parametrize(
    ("cells", "confidence", "low", "high"),
    [
        ((1, 1, 7, 12), 0.95, -0.517, -0.026),
        ((4, 9, 3, 16), 0.95, -0.027, 0.390),
        ((43, 0, 1, 0), 0.90, -0.096, 0.037),
        ((53, 16, 8, 9), 0.95, -0.020, 0.207),
    ],
)
def test_tango_interval_matches_published_examples(cells, confidence, low, high):
    bounds = from_cells(*cells).bounds(confidence)

    assert round(bounds.low, 3) == low
    assert round(bounds.high, 3) == high


# Fagerland, Lydersen, Laake 2013, BMC Med Res Methodol 13:91: the same children, exact 0.0703, mid-p 0.0391.
# Armitage, Berry 1994, p. 127: two culture media for sputum, 12 against 2; Liddell's exact test gives 0.0129.
def test_mcnemar_matches_published_examples():
    assert round(from_cells(1, 1, 7, 12).p_different(), 4) == 0.0703
    assert round(from_cells(1, 1, 7, 12).p_different(mid=True), 4) == 0.0391
    assert round(from_cells(20, 12, 2, 16).p_different(), 4) == 0.0129


@pytest.mark.parametrize(("gained", "lost"), [(7, 1), (2, 5), (0, 3)])
def test_mid_p_counts_half_of_what_was_observed_on_both_sides(gained, lost):
    n, k = gained + lost, min(gained, lost)
    one_sided = sum(math.comb(n, i) for i in range(k)) / 2**n + math.comb(n, k) / 2**n / 2

    assert from_cells(3, gained, lost, 3).p_different(mid=True) == pytest.approx(2 * one_sided)


def test_mid_p_of_a_draw_is_one_less_half_the_chance_of_a_draw():
    # Fagerland, Lydersen, Laake 2013, supplement: 1 - 0.5 binompdf(n12, n12 + n21, 0.5) where n12 = n21.
    assert from_cells(3, 5, 5, 3).p_different(mid=True) == pytest.approx(1 - math.comb(10, 5) / 2**11)


def test_variants_that_never_differ_show_no_difference_and_an_interval_with_width():
    pair = from_cells(90, 0, 0, 10)

    assert pair.p_different() == 1.0
    # T = -sqrt(n d / (1 - d)) in closed form, so the bound is z^2 / (n + z^2).
    z2 = stats.norm.ppf(0.975) ** 2
    assert pair.bounds().high == pytest.approx(z2 / (100 + z2))
    assert pair.bounds().low == pytest.approx(-z2 / (100 + z2))


@given(st.integers(0, 30), st.integers(0, 30), st.integers(1, 60), st.floats(0.5, 0.999))
@settings(max_examples=60)
def test_tango_interval_holds_exactly_the_differences_its_statistic_does_not_reject(gained, lost, same, confidence):
    n = gained + lost + same
    bounds, z = tango_bounds(gained, lost, n, confidence), stats.norm.ppf((1 + confidence) / 2)
    mirrored = tango_bounds(lost, gained, n, confidence)

    assert -1 <= bounds.low <= (gained - lost) / n <= bounds.high <= 1
    assert tango_z(gained, lost, n, bounds.low) == pytest.approx(z, abs=1e-6)
    assert tango_z(gained, lost, n, bounds.high) == pytest.approx(-z, abs=1e-6)
    assert mirrored.low == pytest.approx(-bounds.high, abs=1e-9)


@pytest.mark.parametrize(("gained", "lost", "edge"), [(40, 0, 1.0), (0, 40, -1.0)])
def test_tango_interval_ends_at_the_edge_when_every_item_goes_one_way(gained, lost, edge):
    bounds = tango_bounds(gained, lost, 40)
    assert edge in (bounds.low, bounds.high)
    assert bounds.half_width > 0


@given(st.integers(1, 20), st.integers(1, 20), st.integers(5, 60), st.floats(0.005, 0.3))
@settings(max_examples=60)
def test_equivalence_is_the_two_sided_interval_of_1_minus_2_alpha_inside_the_margins(gained, lost, same, margin):
    pair = from_cells(same, gained, lost, 0)
    inside = -margin < pair.bounds(0.90).low and pair.bounds(0.90).high < margin

    assert (pair.p_equivalent(margin) < 0.05) is inside
    assert pair.p_equivalent(margin) >= pair.p_noninferior(margin)


def test_at_margin_zero_the_score_test_is_mcnemars_asymptotic_test():
    # Tango 1998: McNemar's statistic (b - c) / sqrt(b + c) is the special case of no margin.
    assert tango_z(12, 2, 50, 0.0) == pytest.approx(10 / math.sqrt(14))


def test_graded_scores_get_the_paired_t_test_and_tost_of_scipy():
    # Student 1908, Biometrika 6:1, extra hours of sleep under two drugs; TOST as two calls of scipy's t-test.
    first = np.array([0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0])
    second = np.array([1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4])
    pair = paired_quality(first, second)
    interval = stats.ttest_rel(second, first).confidence_interval(0.95)
    above = stats.ttest_1samp(second - first, -2.5, alternative="greater").pvalue
    below = stats.ttest_1samp(second - first, 2.5, alternative="less").pvalue

    assert not pair.is_binary
    assert (pair.bounds().low, pair.bounds().high) == pytest.approx((interval.low, interval.high))
    assert pair.p_equivalent(2.5) == pytest.approx(max(above, below))
    assert pair.p_noninferior(2.5) == pytest.approx(above)


def test_bca_interval_is_seeded_and_close_to_t_for_well_behaved_scores():
    rng = np.random.default_rng(2)
    base = rng.normal(0.5, 0.1, 400)
    pair = paired_quality(base, base + rng.normal(0.02, 0.05, 400))
    bounds = pair.bootstrap_bounds(np.random.default_rng(7))

    assert bounds == pair.bootstrap_bounds(np.random.default_rng(7))
    assert bounds.low == pytest.approx(pair.bounds().low, abs=0.001)
    assert bounds.high == pytest.approx(pair.bounds().high, abs=0.001)


def test_items_without_a_say_are_left_out_in_pairs():
    nan = float("nan")
    pair = paired_quality([1, nan, 0, 1], [1, 1, 1, nan])

    assert pair.n == 2
    assert pair.difference == 0.5


@pytest.mark.parametrize(("base", "candidate"), [([1, 0], [1]), ([1, float("nan")], [float("nan"), 1]), ([], [])])
def test_scores_that_do_not_pair_are_refused_with_a_remedy(base, candidate):
    with pytest.raises(UnusableMeasurement) as caught:
        paired_quality(base, candidate)
    assert caught.value.remedy


# 3,000 tables of 200 items. Tango 1998 reports coverage close to nominal; the score interval stays within 1.5 points.
@pytest.mark.parametrize(("cells", "seed"), [((0.90, 0.03, 0.03, 0.04), 1), ((0.80, 0.10, 0.05, 0.05), 2)])
def test_tango_interval_covers_the_truth_as_often_as_it_says(cells, seed):
    rng = np.random.default_rng(seed)
    truth, missed = cells[1] - cells[2], 0
    seen = {}
    for _, gained, lost, _ in rng.multinomial(200, cells, 3_000):
        if (gained, lost) not in seen:
            seen[gained, lost] = tango_bounds(int(gained), int(lost), 200).contains(truth)
        missed += not seen[gained, lost]
    assert missed / 3_000 == pytest.approx(0.05, abs=0.015)


# --- error draws ------------------------------------------------------------------------------------


def test_error_draws_centre_on_the_log_ratio_of_errors():
    pair = from_cells(880, 40, 20, 60)

    drawn = paired_error_draws(pair.base, pair.candidate, 1.0, 20_000, np.random.default_rng(1))

    assert np.median(drawn) == pytest.approx(math.log(100 / 80), abs=0.01)


def test_error_draws_of_cells_agree_with_the_item_bootstrap():
    # Shrinking scores by a thousandth makes them graded and changes nothing else.
    pair = from_cells(880, 40, 20, 60)
    cells = paired_error_draws(pair.base, pair.candidate, 1.0, 20_000, np.random.default_rng(1))
    shrunk = [np.where(scores == 1, 1.0, 1e-9) for scores in (pair.base, pair.candidate)]
    items = paired_error_draws(*shrunk, 1.0, 4_000, np.random.default_rng(2))

    assert np.quantile(items, [0.05, 0.5, 0.95]) == pytest.approx(np.quantile(cells, [0.05, 0.5, 0.95]), abs=0.015)


@given(st.tuples(*[st.integers(0, 40)] * 4).filter(lambda cells: sum(cells) >= 2), st.sampled_from([1.0, 0.97, 0.5]))
@settings(max_examples=60)
def test_error_draws_are_finite_whatever_the_cells(cells, ceiling):
    pair = from_cells(*cells)
    drawn = paired_error_draws(pair.base, pair.candidate, ceiling, 50, np.random.default_rng(0))
    assert np.all(np.isfinite(drawn))


def test_two_variants_that_agree_everywhere_are_not_known_to_agree_everywhere():
    pair = from_cells(95, 0, 0, 5)

    drawn = paired_error_draws(pair.base, pair.candidate, 1.0, 4_000, np.random.default_rng(4))

    assert np.quantile(drawn, 0.05) < 0 < np.quantile(drawn, 0.95)


def test_scores_all_at_the_ceiling_leave_no_error_to_compare():
    assert not paired_error_draws([2.0, 2.0], [2.0, 2.0], 2.0, 5, np.random.default_rng(0)).any()


def test_one_sided_bounds_of_the_error_ratio_err_as_rarely_as_they_say():
    rng = np.random.default_rng(9)
    cells = (0.93, 0.02, 0.01, 0.04)
    truth, above, below, trials = math.log(0.06 / 0.05), 0, 0, 600
    for both, gained, lost, neither in rng.multinomial(1_000, cells, trials):
        pair = from_cells(both, gained, lost, neither)
        low, high = np.quantile(paired_error_draws(pair.base, pair.candidate, 1.0, 500, rng), [0.05, 0.95])
        above, below = above + (low > truth), below + (high < truth)
    # Three standard errors of a proportion of 0.05 in 600 trials are 0.027.
    assert above / trials <= 0.077
    assert below / trials <= 0.077


# --- latency ----------------------------------------------------------------------------------------


def test_latency_ratio_of_a_variant_twice_as_slow_is_two_without_doubt():
    base = np.random.default_rng(1).lognormal(1, 0.5, 500)

    ratio = latency_ratio(base, 2 * base, np.random.default_rng(2), n_draws=200)

    assert ratio.value == pytest.approx(2.0)
    assert ratio.bounds().low == pytest.approx(2.0)
    assert ratio.p_greater(1.1) == pytest.approx(1 / 201)
    assert ratio.p_less(1.1) == 1.0


def test_a_slow_burst_in_one_round_widens_the_latency_interval_when_rounds_are_known():
    rng = np.random.default_rng(3)
    base, rounds = rng.lognormal(1, 0.1, 600), np.repeat(np.arange(12), 50)
    candidate = np.where(rounds == 4, 3.0, 1.0) * base

    items = latency_ratio(base, candidate, np.random.default_rng(4), n_draws=400)
    whole_rounds = latency_ratio(base, candidate, np.random.default_rng(4), n_draws=400, rounds=rounds)

    assert items.bounds().low > 1.5
    assert whole_rounds.bounds().contains(1.0)


def test_a_latency_that_is_not_positive_is_refused():
    with pytest.raises(UnusableMeasurement, match="no positive time"):
        latency_ratio([1.0, 0.0], [1.0, 1.0], np.random.default_rng(0))


def test_paired_quality_survives_pickling():
    pair = from_cells(3, 2, 1, 1)
    assert pickle.loads(pickle.dumps(pair)).difference == pair.difference
