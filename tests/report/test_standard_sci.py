"""ISO/IEC 21031 and the SCI for AI against their own worked examples, with the slips of unit in them put right."""

from __future__ import annotations

from dataclasses import replace

import pytest
from hypothesis import given as drawn
from hypothesis import strategies as st

from outweigh.core.budget import Phase
from outweigh.core.errors import InvalidQuantity, UsageError
from outweigh.core.measurement import Factor, Grade
from outweigh.core.quantities import CarbonBasis, CarbonIntensity, CarbonScope
from outweigh.report.declared import Embodied, Given, ModelFacts
from outweigh.report.standards.sci import Carbon, embodied, operational, sci, score
from outweigh.report.standards.sci_ai import per_billion_parameters, per_exaflop, per_million_tokens, sci_ai
from outweigh.report.totals import total

J_PER_KWH = 3.6e6
HOUR_S, YEAR_S = 3600.0, 365 * 24 * 3600.0
FACTOR = Factor("carbon intensity", 400.0, "gCO2e/kWh", "invented", "2025", "", "declared", Grade.D)
PUE = Factor("PUE", 1.25, "1", "invented", "", "", "declared", Grade.D)
GIVEN = Given(
    intensity=(CarbonIntensity(400.0, scope=CarbonScope.DIRECT), FACTOR),
    pue=(1.25, PUE),
    embodied=(Embodied("server", 1e6, 1e6, 4 * YEAR_S),),
)


# Software Carbon Intensity specification 1.1.0, "Embodied emissions": 1000 kg over four years, reserved for an hour,
# are "around 28 g".
def test_embodied_carbon_of_an_hour_is_that_of_the_specification():
    low, high = Embodied("device", 1e6, 1e6, 4 * YEAR_S).grams(HOUR_S)

    assert low == high == pytest.approx(28.5, abs=0.05)


def test_machines_that_work_at_the_same_time_owe_what_they_owe_one_after_the_other(made_run, addressed):
    at_once = addressed(
        made_run(J_PER_KWH, seconds=HOUR_S, labels=(("machine", "m1"),)),
        made_run(J_PER_KWH, seconds=HOUR_S, labels=(("machine", "m2"),)),
    )

    m = sci(total(at_once), GIVEN).figures["embodied_g"]

    assert m == pytest.approx(2 * 28.5, rel=0.01)
    assert total(at_once).busy_s == HOUR_S


def test_receipts_that_belong_to_no_boundary_leave_the_report_incomplete(made_run, addressed):
    prepared = addressed(made_run(J_PER_KWH, phase=Phase.TRAINING, labels=(("stage", "prepare"),)))

    assert not sci_ai(prepared, Given(sci_kind="llm")).complete


# Green Software Foundation, case study eShoppen, app server: 0.0656 kWh at 951 g/kWh; 1205.52 kg over 35,040 h, an
# hour, 2 of 16 cores. It prints M = 4.305 g and 66.6906 g in all; 1205.52 kg / 35,040 / 8 are 4.3005 g, and 66.6861 g
# in all.
def test_the_app_server_of_the_eshoppen_case_study_scores_as_its_figures_say():
    o = operational((0.0656 * J_PER_KWH,) * 3, CarbonIntensity(951.0))
    m = embodied([Embodied("server", 1205.52e3, 1205.52e3, 35_040 * HOUR_S, share=2 / 16)], HOUR_S)

    assert o.g == pytest.approx(62.3856, abs=1e-4)
    assert m.g == pytest.approx(4.3005, abs=1e-4)
    assert (o + m).g == pytest.approx(66.6861, abs=1e-4)


# SCI for AI, 9.1.1: 6,500 kg over 50 billion tokens. It prints 0.13 g per million tokens, and that is 0.13 kg.
def test_6500_kg_over_50_billion_tokens_are_130_g_per_million():
    assert per_million_tokens(6_500e3, 50e9) == pytest.approx(130.0)


# 9.1.2: 200,000 kg over 5 x 10^22 FLOP. It prints 4 x 10^-18 kg, which is right, and "4 g per 10^18", which is 4 kg.
def test_200_tonnes_over_5e22_flop_are_4_kg_per_exaflop():
    assert per_exaflop(200_000e3, 5e22) == pytest.approx(4_000.0)


# 9.2.1: 3,200 kg over 40 million inferences are 0.08 g each, as printed.
def test_3200_kg_over_40_million_inferences_are_0_08_g_each():
    assert score(Carbon(3_200e3, 3_200e3, 3_200e3), 40e6).g == pytest.approx(0.08)


# 9.2.2: 75,000 kg over 2.5 billion parameters. It prints 30 kg per billion, which would be 75 kg in all.
def test_75_tonnes_over_2_5_billion_parameters_are_30000_kg_per_billion():
    assert per_billion_parameters(75_000e3, 2.5e9) == pytest.approx(30_000e3)


def test_a_score_holds_the_building_the_embodied_carbon_and_an_interval(made_run, addressed):
    receipts = addressed(made_run(3.6e6, units=1000.0, unit="ticket", half_j=3.6e5))

    found = sci(total(receipts), GIVEN).figures

    # 1 kWh x 1.25 x 400 g and an hour of 1,000 kg over four years, over 1,000 tickets.
    assert found["operational_g"] == pytest.approx(500.0)
    assert found["embodied_g"] == pytest.approx(28.54, abs=0.01)
    assert found["score_g"] == pytest.approx(0.52854, abs=1e-5)
    assert found["score_low_g"] == pytest.approx(0.47854, abs=1e-5)
    assert found["score_high_g"] == pytest.approx(0.57854, abs=1e-5)
    assert found["score_grade"] == "D"


def test_without_embodied_carbon_there_is_no_score_and_it_is_asked_for(made_run, addressed):
    receipts = addressed(made_run(3.6e6, units=1000.0, unit="ticket"))

    sheet = sci(total(receipts), replace(GIVEN, embodied=()))

    assert not sheet.complete
    assert "score_g" not in sheet.figures
    assert sheet.figures["operational_g"] == pytest.approx(500.0)
    assert [ask.what for ask in sheet.missing] == ["embodied carbon of the hardware"]
    assert "lifespan_years" in sheet.missing[0].example


def test_contracts_never_lower_a_score():
    market = CarbonIntensity(0.0, CarbonBasis.MARKET)

    with pytest.raises(UsageError, match="excludes market-based"):
        operational((J_PER_KWH,) * 3, market)


def test_hardware_cannot_be_reserved_more_than_whole():
    with pytest.raises(InvalidQuantity, match="share"):
        Embodied("server", 1.0, 1.0, YEAR_S, share=1.5)


def test_energy_of_a_meter_that_sees_the_building_gets_no_pue(made_run, addressed):
    from outweigh.core.measurement import Scope

    receipts = addressed(made_run(3.6e6, units=10.0, unit="ticket", scope=Scope.FACILITY))

    assert sci(total(receipts), GIVEN).figures["energy_j"] == 3.6e6


@drawn(
    parts=st.lists(st.floats(0, 1e12), min_size=1, max_size=6),
    units=st.floats(1e-3, 1e12),
    intensity=st.floats(0, 2000),
)
def test_scores_of_components_add_up_to_the_score_of_the_whole(parts, units, intensity):
    rate = CarbonIntensity(intensity)
    each = [score(operational((joules,) * 3, rate), units).g for joules in parts]

    assert sum(each) == pytest.approx(score(operational((sum(parts),) * 3, rate), units).g, rel=1e-9, abs=1e-12)


def test_running_and_making_a_model_are_scored_apart_and_never_for_a_gate(made_run, addressed):
    receipts = addressed(
        made_run(3.6e6, units=1000.0, unit="ticket"),
        made_run(7.2e6, phase="idle"),
        made_run(36e6, phase="training"),
        made_run(1e9, phase="development", labels=(("stage", "prepare"),)),
    )
    facts = replace(
        GIVEN, pue=(1.0, PUE), embodied=(Embodied("server", 0.0, 0.0, YEAR_S),), sci_kind="classical", sci_units=2.0,
        model=ModelFacts(parameters=2e9, training_flop=1e18),
    )  # fmt: skip

    found = sci_ai(receipts, facts).figures

    assert found["consumer"]["score_g"] == pytest.approx(3 * 400 / 2000)
    assert found["provider"]["carbon_g"] == pytest.approx(10 * 400)
    assert found["provider"]["per_parameter_g"] == pytest.approx(4000 / 2e9)
    assert found["provider"]["per_flop_g"] == pytest.approx(4000 / 1e18)
    assert found["provider"]["per_training_token_g"] is None
    assert found["used_in_a_gate"] is False


def test_tokens_are_asked_for_where_receipts_count_tickets(made_run, addressed):
    receipts = addressed(made_run(3.6e6, units=1000.0, unit="ticket"))

    sheet = sci_ai(receipts, replace(GIVEN, sci_kind="llm"))

    assert not sheet.complete
    assert any("number of tokens" in ask.what for ask in sheet.missing)


def test_a_kind_of_system_that_is_none_of_the_standard_is_refused(made_run, addressed):
    with pytest.raises(UsageError, match="no kind of AI system"):
        sci_ai(addressed(made_run(1.0)), replace(GIVEN, sci_kind="oracle"))
