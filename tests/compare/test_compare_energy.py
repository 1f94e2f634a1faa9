import math
import pickle

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp
from scipy import stats

from outweigh.compare.energy import log_ratio
from outweigh.core.errors import UnusableMeasurement

energies = hnp.arrays(float, st.integers(2, 12), elements=st.floats(1e-3, 1e6))
pairs = st.integers(2, 12).flatmap(
    lambda n: st.tuples(*(hnp.arrays(float, n, elements=st.floats(1e-3, 1e6)) for _ in range(2)))
)


@given(pairs, st.floats(0, 0.2))
def test_swapping_the_variants_flips_the_sign_and_nothing_else(pair, mix):
    candidate, against = pair
    there = log_ratio(candidate, against, mix_standard=mix)
    back = log_ratio(against, candidate, mix_standard=mix)

    assert back.estimate == pytest.approx(-there.estimate, abs=1e-12)
    assert back.bounds(0.9).low == pytest.approx(-there.bounds(0.9).high, abs=1e-9)
    assert back.p_greater(0.01) == pytest.approx(there.p_less(-0.01), abs=1e-9)


@given(pairs, st.floats(1e-3, 1e3))
def test_the_unit_of_energy_does_not_matter(pair, unit):
    candidate, against = pair
    joules, other = log_ratio(candidate, against), log_ratio(candidate * unit, against * unit)

    assert other.estimate == pytest.approx(joules.estimate, abs=1e-9)
    assert other.standard_error == pytest.approx(joules.standard_error, abs=1e-9)


@given(energies)
def test_a_variant_against_itself_has_ratio_one(energy):
    assert log_ratio(energy, energy).ratio().value == 1.0


def test_without_a_mix_term_the_interval_is_scipys_paired_t_interval():
    rng = np.random.default_rng(5)
    candidate, against = rng.lognormal(1.0, 0.1, 12), rng.lognormal(0.8, 0.1, 12)
    ours = log_ratio(candidate, against)
    theirs = stats.ttest_1samp(np.log(candidate / against), 0.02, alternative="greater")

    interval = stats.ttest_1samp(np.log(candidate / against), 0.0).confidence_interval(0.9)
    assert ours.bounds(0.9).low == pytest.approx(interval.low)
    assert ours.bounds(0.9).high == pytest.approx(interval.high)
    assert ours.p_greater(0.02) == pytest.approx(theirs.pvalue)
    assert ours.p_less(0.02) == pytest.approx(1 - theirs.pvalue)


# Student 1908, Biometrika 6:1, extra hours of sleep; the paired t-interval as the manual page of R's `sleep` and
# `t.test` prints it: mean -1.58, 95 % -2.4598858 to -0.7001142, t = -4.0621, p = 0.002833.
def test_the_interval_matches_students_sleep_data():
    first = np.array([0.7, -1.6, -0.2, -1.2, -0.1, 3.4, 3.7, 0.8, 0.0, 2.0])
    second = np.array([1.9, 0.8, 1.1, 0.1, -0.1, 4.4, 5.5, 1.6, 4.6, 3.4])

    ratio = log_ratio(np.exp(first), np.exp(second))

    assert ratio.estimate == pytest.approx(-1.58)
    assert ratio.bounds().low == pytest.approx(-2.4598858, abs=1e-7)
    assert ratio.bounds().high == pytest.approx(-0.7001142, abs=1e-7)
    assert 2 * ratio.p_less(0.0) == pytest.approx(0.002833, abs=1e-6)


# JCGM 100:2008, G.4.1: nu_eff = u_c^4 / sum(u_i^4 / nu_i), where a component known exactly has infinite nu.
def test_the_mix_term_adds_in_quadrature_with_the_effective_degrees_of_freedom_of_the_gum():
    scatter = log_ratio([1.0, 1.1, 1.05, 0.95], [1.0, 1.0, 1.0, 1.0])
    both = log_ratio([1.0, 1.1, 1.05, 0.95], [1.0, 1.0, 1.0, 1.0], mix_standard=0.03)

    u_c = math.sqrt(scatter.standard_error**2 + 0.03**2)
    dof = u_c**4 / (scatter.standard_error**4 / 3)
    assert both.effective_dof == pytest.approx(dof)
    assert both.bounds().half_width == pytest.approx(stats.t.ppf(0.975, dof) * u_c)
    assert both.bounds().half_width > 1.96 * 0.03


def test_with_no_scatter_only_the_normal_mix_term_is_left():
    ratio = log_ratio([2.0, 2.0], [1.0, 1.0], mix_standard=0.05)

    assert ratio.effective_dof == math.inf
    assert ratio.bounds().half_width == pytest.approx(1.959964 * 0.05, rel=1e-6)


# The draws convolve t and normal; the bounds use the Welch-Satterthwaite approximation of that, a little narrower.
@pytest.mark.parametrize(("mix", "tolerance"), [(0.0, 0.01), (0.02, 0.06)])
def test_the_draws_have_the_quantiles_of_the_bounds(mix, tolerance):
    ratio = log_ratio([1.0, 1.1, 1.05, 0.95, 1.2, 1.0], [1.0, 1.0, 0.97, 1.0, 1.0, 1.05], mix_standard=mix)

    drawn = ratio.draws(np.random.default_rng(3), 400_000)

    bounds = ratio.bounds(0.9)
    assert np.quantile(drawn, 0.05) == pytest.approx(bounds.low, abs=tolerance * bounds.half_width)
    assert np.quantile(drawn, 0.95) == pytest.approx(bounds.high, abs=tolerance * bounds.half_width)


@pytest.mark.parametrize(
    ("candidate", "against", "said"),
    [
        ([1.0], [1.0], "no scatter"),
        ([1.0, 2.0], [1.0], "do not pair"),
        ([1.0, 0.0], [1.0, 1.0], "not a positive number"),
        ([1.0, -2.0], [1.0, 1.0], "not a positive number"),
        ([1.0, float("nan")], [1.0, 1.0], "not a positive number"),
    ],
)
def test_rounds_that_carry_no_ratio_are_refused_with_a_remedy(candidate, against, said):
    with pytest.raises(UnusableMeasurement, match=said) as caught:
        log_ratio(candidate, against)
    assert caught.value.remedy
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_a_log_ratio_survives_pickling():
    ratio = log_ratio([1.0, 1.1], [1.0, 0.9])
    assert pickle.loads(pickle.dumps(ratio)) == ratio


# 2,000 simulated comparisons of 12 rounds: two standard errors of a proportion of 0.05 are 0.0097.
@pytest.mark.parametrize(("mix", "seed"), [(0.0, 11), (0.02, 12)])
def test_the_interval_covers_the_truth_as_often_as_it_says(mix, seed):
    rng = np.random.default_rng(seed)
    truth, missed = 0.3, 0
    for _ in range(2_000):
        shared = rng.normal(0, 0.5, 12)
        candidate = np.exp(shared + truth + rng.normal(0, mix) + rng.normal(0, 0.05, 12))
        against = np.exp(shared + rng.normal(0, 0.05, 12))
        missed += not log_ratio(candidate, against, mix_standard=mix).bounds(0.95).contains(truth)
    assert missed / 2_000 == pytest.approx(0.05, abs=0.0125)
