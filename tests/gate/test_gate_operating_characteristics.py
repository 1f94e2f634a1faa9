"""How often the whole rule passes and fails, by simulation, against the reference table."""

import csv
import math

import numpy as np
import pytest

from outweigh.gate import Contenders, weigh

SIMULATIONS = 300
BOUNDARY = 0.20 * 2**-0.15  # where a doubling of energy is just paid for

# case of the table: error of the candidate, energy ratio; the base errs on 20 %.
CASES = {
    "at_boundary": (BOUNDARY, 2.0),
    "double_energy_no_gain": (0.20, 2.0),
    "double_energy_error_20_to_16": (0.16, 2.0),
    "half_energy_same_error": (0.20, 0.5),
    "half_energy_error_20_to_24": (0.24, 0.5),
}


@pytest.mark.parametrize("n_items", [500, 2000])
@pytest.mark.parametrize("case", CASES)
def test_gate_passes_and_fails_as_often_as_the_reference_table_says(bench, shared_data, case, n_items):
    with (shared_data / "gate" / "operating_characteristics.csv").open() as file:
        table = {
            row["outcome"]: float(row["rate_pct"]) / 100
            for row in csv.DictReader(file)
            if row["case"] == case and int(row["n_items"]) == n_items
        }
    error, ratio = CASES[case]
    rng = np.random.default_rng(20_260)
    terms = bench.terms()

    outcomes = []
    for seed in range(SIMULATIONS):
        base, bigger = bench.simulate(rng, n_items, 0.20, error, ratio)
        outcomes.append(weigh(Contenders(base, bigger), terms, seed=seed, n_draws=1_999).outcome.value)

    for outcome, expected in table.items():
        # Three and a half binomial standard errors, and two points for what the table's own run scatters by.
        tolerance = 3.5 * math.sqrt(max(expected, 0.01) * (1 - expected + 0.01) / SIMULATIONS) + 0.02
        assert outcomes.count(outcome) / SIMULATIONS == pytest.approx(expected, abs=tolerance), outcome
