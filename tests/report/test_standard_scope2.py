"""GHG Protocol scope 2: hours, contracts, and what is never mixed."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from outweigh.core.budget import Phase
from outweigh.core.errors import UsageError
from outweigh.core.intervals import Interval
from outweigh.core.measurement import Factor, Grade, Measurement, Method, Scope
from outweigh.core.quantities import CarbonBasis, CarbonIntensity, CarbonScope, Energy
from outweigh.core.receipt import Receipt, RunStatus
from outweigh.report.declared import Given, Instrument
from outweigh.report.standards.scope2 import by_hour, hourly_loads, located, over_period, scope2

KWH = 3.6e6
NINE = datetime(2026, 11, 3, 9, 0, tzinfo=UTC)
NINE_S = NINE.timestamp()
FACTOR = Factor("carbon intensity", 400.0, "gCO2e/kWh", "invented", "2025", "", "declared", Grade.D)
DIRECT = (CarbonIntensity(400.0, scope=CarbonScope.DIRECT), FACTOR)
RESIDUAL = (CarbonIntensity(700.0, CarbonBasis.MARKET, CarbonScope.DIRECT), FACTOR)


def test_a_run_is_spread_over_the_hours_it_ran_in(made_run, addressed):
    half_past = NINE.replace(minute=30)

    loads = hourly_loads(addressed(made_run(3 * KWH, start=half_past, seconds=5400.0)), None)

    assert loads == pytest.approx({NINE_S: KWH, NINE_S + 3600: 2 * KWH})


def test_the_building_is_added_to_machines_and_not_to_its_own_meter(made_run, addressed):
    receipts = addressed(made_run(KWH, start=NINE), made_run(KWH, start=NINE, scope=Scope.FACILITY))

    assert hourly_loads(receipts, 1.5) == pytest.approx({NINE_S: 2.5 * KWH})


@drawn(
    runs=st.lists(st.tuples(st.floats(0, 1e9), st.integers(0, 86_400), st.floats(0, 50_000)), min_size=1, max_size=5)
)
def test_hours_add_up_to_what_the_runs_drew(runs):
    receipts = []
    for index, (joules, begun_s, seconds) in enumerate(runs):
        start = NINE + timedelta(seconds=begun_s)
        window = Interval(start, start + timedelta(seconds=seconds))
        seen = Measurement(Energy(joules), window, Scope.NODE, Grade.A, Method.COUNTER, "invented")
        one = Receipt(str(index), "p", Phase.INFERENCE, RunStatus.COMPLETED, seen, None, None)
        receipts.append((str(index), one))

    assert sum(hourly_loads(receipts, None).values()) == pytest.approx(
        math.fsum(joules for joules, _, _ in runs), rel=1e-9, abs=1e-6
    )


def test_an_hour_without_a_figure_leaves_the_whole_unknown_and_is_counted():
    loads = {NINE_S: KWH, NINE_S + 3600: KWH}

    whole, part, unknown = located(loads, {NINE_S: 300.0, NINE_S + 3600: None})

    assert (whole, part, unknown) == (None, pytest.approx(300.0), 1)


def test_a_contract_covers_its_energy_and_the_residual_mix_the_rest():
    wind = Instrument("wind", 0.0, Energy(6 * KWH))

    found = over_period(10 * KWH, [wind], 700.0)

    assert found.carbon_g == pytest.approx(4 * 700.0)
    assert found.covered_j == pytest.approx(6 * KWH)


def test_without_a_residual_mix_the_rest_stays_unknown():
    assert over_period(10 * KWH, [Instrument("wind", 0.0, Energy(6 * KWH))], None).carbon_g is None


def test_by_hour_a_contract_counts_no_more_than_was_drawn_in_the_hour():
    loads = {NINE_S: 4 * KWH, NINE_S + 3600: 4 * KWH}
    wind = Instrument("wind", 0.0, hourly=((NINE_S, 8 * KWH),))

    found = by_hour(loads, [wind], 700.0)

    assert found.covered_j == pytest.approx(4 * KWH)
    assert found.carbon_g == pytest.approx(4 * 700.0)


@drawn(
    loads=st.lists(st.floats(0, 1e9), min_size=1, max_size=8),
    wind=st.lists(st.floats(0, 1e9), min_size=1, max_size=8),
)
def test_matching_by_hour_never_covers_more_than_matching_over_the_period(loads, wind):
    hours = {NINE_S + 3600 * i: joules for i, joules in enumerate(loads)}
    made = tuple((NINE_S + 3600 * i, joules) for i, joules in enumerate(wind))

    hourly = by_hour(hours, [Instrument("wind", 0.0, hourly=made)], 700.0)
    annual = over_period(sum(loads), [Instrument("wind", 0.0, Energy(sum(wind)))], 700.0)

    assert hourly.covered_j <= annual.covered_j * (1 + 1e-9) + 1e-6


def test_location_and_market_stand_side_by_side_and_the_period_beside_the_hours(made_run, addressed):
    receipts = addressed(made_run(10 * KWH, start=NINE))
    wind = Instrument("wind", 0.0, Energy(6 * KWH))
    facts = Given(
        intensity=DIRECT, residual=RESIDUAL, instruments=(wind,), hours=((NINE_S, 250.0),), hours_source="a file",
        hours_scope=CarbonScope.DIRECT,
    )  # fmt: skip

    rows = {(row["basis"], row["matching"]): row for row in scope2(receipts, facts).figures["rows"]}

    assert rows["location-based", "one figure for the period"]["carbon_g"] == pytest.approx(4000.0)
    assert rows["location-based", "hour by hour"]["carbon_g"] == pytest.approx(2500.0)
    assert rows["market-based", "matched over the period"]["carbon_g"] == pytest.approx(2800.0)
    assert rows["market-based", "matched hour by hour"]["carbon_g"] == pytest.approx(7000.0)
    assert all(row["is_scope_2"] for row in rows.values())


def test_a_life_cycle_factor_is_shown_and_never_called_scope_2(made_run, addressed):
    facts = Given(intensity=(CarbonIntensity(400.0, scope=CarbonScope.LIFECYCLE), FACTOR))

    sheet = scope2(addressed(made_run(KWH)), facts)

    assert sheet.figures["rows"][0]["is_scope_2"] is False
    assert any("not scope 2" in note for note in sheet.notes)


@pytest.mark.parametrize(
    "facts",
    [
        Given(intensity=(CarbonIntensity(400.0, CarbonBasis.MARGINAL), FACTOR)),
        Given(intensity=DIRECT, residual=RESIDUAL, instruments=(Instrument("x", 0.0, scope=CarbonScope.LIFECYCLE),)),
    ],
)
def test_marginal_carbon_and_mixed_scopes_are_refused(made_run, addressed, facts):
    with pytest.raises(UsageError):
        scope2(addressed(made_run(KWH)), facts)


def test_a_gap_in_the_hours_makes_the_report_incomplete(made_run, addressed):
    facts = Given(intensity=DIRECT, residual=RESIDUAL)

    assert scope2(addressed(made_run(KWH, start=NINE)), facts).complete
    assert not scope2(addressed(made_run(KWH, start=NINE)), replace(facts, hours=((NINE_S, None),))).complete
