"""What a verdict hangs on, and eta from a team's own record."""

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outweigh.core.errors import UnusableMeasurement
from outweigh.core.verdict import Outcome
from outweigh.gate import Contenders, Tried, calibrate_eta, sensitivity


def tried(rng, comparisons, eta, *, scatter=0.0, levels=True):
    found = []
    for index in range(comparisons):
        level = rng.normal() if levels else 0.0
        for variant, log_energy in enumerate((0.0, 0.7, 1.4)):
            log_error = level - eta * log_energy + scatter * rng.normal()
            found.append(Tried(f"c{index}", f"v{variant}", math.exp(log_error - 4), math.exp(log_energy + level)))
    return found


def test_eta_of_a_record_without_scatter_is_found_exactly():
    fit = calibrate_eta(tried(np.random.default_rng(1), 6, 0.21))

    assert fit.eta.value == pytest.approx(0.21)
    assert fit.clustered
    assert (fit.comparisons, fit.variants) == (6, 18)


@given(eta=st.floats(-0.5, 0.5), seed=st.integers(0, 2**32 - 1))
@settings(max_examples=50)
def test_a_harder_task_or_a_hungrier_machine_moves_no_eta(eta, seed):
    levelled = calibrate_eta(tried(np.random.default_rng(seed), 3, eta, levels=True))

    assert levelled.eta.value == pytest.approx(eta, abs=1e-9)


@pytest.mark.parametrize("comparisons", [2, 12])
def test_the_interval_of_eta_covers_it_as_often_as_it_says(comparisons):
    rng = np.random.default_rng(7)
    covered = 0
    for _ in range(400):
        bounds = calibrate_eta(tried(rng, comparisons, 0.15, scatter=0.1)).eta.bounds
        covered += bounds.low <= 0.15 <= bounds.high

    # Three and a half binomial standard errors; with few clusters the robust interval is known to be a little short.
    assert covered / 400 >= 0.95 - 3.5 * math.sqrt(0.05 * 0.95 / 400)


def test_variants_that_draw_alike_carry_no_eta():
    alike = [Tried("c", name, error, 10.0) for name, error in (("a", 0.1), ("b", 0.2), ("c", 0.3))]

    with pytest.raises(UnusableMeasurement, match="much the same energy"):
        calibrate_eta(alike)


def test_two_variants_carry_no_eta_and_the_remedy_says_how_many_do():
    with pytest.raises(UnusableMeasurement, match="three variants or more"):
        calibrate_eta([Tried("c", "a", 0.1, 1.0), Tried("c", "b", 0.05, 2.0)])


def test_a_bigger_model_whose_gain_is_real_passes_up_to_some_eta_and_fails_from_another(bench):
    base, bigger = bench.cells(8_200, 1_000, 200, 600)
    contenders = Contenders(bench.evidence("base", base), bench.evidence("bigger", bigger, 20.0))

    found = sensitivity(contenders, bench.terms(eta=0.15), seed=3)

    by_eta = {s.value: s.outcome for s in found.settings if s.what == "eta"}
    assert by_eta[0.0] is Outcome.PASS
    assert found.holds is not None
    assert found.refuted is not None
    assert 0 == found.holds[0] < found.holds[1] < found.refuted[0]
    # T is linear in eta: what the grid says agrees with where it turns.
    for eta, outcome in by_eta.items():
        if eta < found.holds[1] - 0.01:
            assert outcome is Outcome.PASS
        if eta > found.refuted[0] + 0.01:
            assert outcome is Outcome.FAIL


def test_a_proposal_that_draws_less_and_errs_less_passes_at_any_eta(bench):
    base, better = bench.cells(8_000, 1_500, 100, 400)
    contenders = Contenders(bench.evidence("base", base, 20.0), bench.evidence("bigger", better, 10.0))

    found = sensitivity(contenders, bench.terms(), seed=3)

    assert found.holds == (0.0, math.inf)
    assert found.refuted is None
    assert found.turning(Outcome.PASS) == ()


def test_a_saving_that_costs_quality_is_refuted_at_no_price_on_energy_and_holds_at_a_high_one(bench):
    base, worse = bench.cells(8_000, 200, 700, 1_100)
    contenders = Contenders(bench.evidence("base", base, 20.0), bench.evidence("bigger", worse, 10.0))

    found = sensitivity(contenders, bench.terms(), seed=3)

    assert found.refuted is not None
    assert found.holds is not None
    assert found.refuted[0] == 0
    assert found.holds[0] > found.refuted[1]
    assert found.holds[1] == math.inf


def test_the_ceiling_is_moved_between_the_best_quality_and_one(bench):
    base, bigger = bench.cells(8_200, 1_000, 200, 600)
    contenders = Contenders(bench.evidence("base", base), bench.evidence("bigger", bigger, 20.0))

    found = sensitivity(contenders, bench.terms(), seed=3)

    ceilings = [s for s in found.settings if s.what == "ceiling"]
    assert min(s.value for s in ceilings) > 0.92
    assert [s.value for s in ceilings if s.declared] == [1.0]


def test_the_low_volume_is_moved_where_its_energies_can_be_worked_out(bench):
    base, bigger = bench.cells(8_200, 1_000, 200, 600)
    contenders = Contenders(bench.evidence("base", base), bench.evidence("bigger", bigger, 20.0))
    asked = []

    def at_volume(volume):
        asked.append(volume)
        return contenders

    found = sensitivity(contenders, bench.terms(), volume_low=100.0, at_volume=at_volume)

    assert asked == [10.0, 50.0, 100.0, 200.0, 1000.0]
    assert [s.value for s in found.settings if s.what == "low volume" and s.declared] == [100.0]
