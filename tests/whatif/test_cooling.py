"""Cooling: laws of the model, figures of others, and inputs that cannot be."""

from __future__ import annotations

import json

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outweigh.cli.main import run as outweigh
from outweigh.core.errors import InvalidQuantity, UsageError
from outweigh.core.quantities import Power
from outweigh.data.cooling import cooling_parameters
from outweigh.whatif.cooling import (
    Hall,
    Limits,
    Money,
    Plant,
    Rejection,
    Technology,
    Weather,
    over_year,
    plant_of,
    weigh,
    wet_bulb_c,
)

TABLE = {key: {name: Limits(row.value, row.low, row.high) for name, row in rows.items()}
         for key, rows in cooling_parameters().items()}  # fmt: skip
EXACT = {key: {name: Limits(one.value, one.value, one.value) for name, one in rows.items()}
         for key, rows in TABLE.items()}  # fmt: skip
IT = Power.mw(10)


def plant(technology: Technology, **changed: float) -> Plant:
    values = {**TABLE["all"], **TABLE["air"], **TABLE.get(technology, {})}
    return plant_of({**{name: one.value for name, one in values.items()}, **changed})


def steady(dry: float = 20.0, wet: float = 12.0, load: float = 1.0) -> Weather:
    return Weather.steady(dry, wet, load)


technologies = st.sampled_from(list(Technology))
rejections = st.sampled_from(list(Rejection))
temperatures = st.floats(-30, 45)
loads = st.floats(0.02, 1.0)


# --- figures of others --------------------------------------------------------------------------------


def test_the_wet_bulb_temperature_is_the_one_stull_works_out() -> None:
    # Stull 2011, section 2: 20 degC and 50 % give 13.7 degC.
    assert float(wet_bulb_c([20.0], [50.0])[0]) == pytest.approx(13.7, abs=0.05)


def test_pue_of_a_tower_cooled_hall_is_that_of_the_published_tool() -> None:
    # nuoaleon/Data-center-PUE-prediction-tool @ c31bab20, "Simple examples", the tool of Lei and Masanet, Energy 201
    # (2020) 117556: these parameters at 20 degC and 40 % give 1.08872. Not counted here is the latent heat of
    # dehumidifying (1 - 0.986 of the heat), worth 1.4 % of what water carries off: 0.0005.
    theirs = plant(
        Technology.AIR, ups_efficiency=0.980302734, distribution_loss=0.00560546875, lighting=0.00181445313,
        supply_air_c=27.3671875, air_rise_k=18.8856337, water_rise_k=7.50488281, tower_rise_k=4.13867188,
        hall_fan_pa=416.992188, hall_fan_efficiency=0.713720703, outdoor_fan_pa=148.339844,
        outdoor_fan_efficiency=0.745947266, facility_pump_pa=156284.191 * 0.7 / 0.668945312,
        tower_pump_pa=210534.680 * 0.7 / 0.709960938, pump_efficiency=0.7, tower_approach_k=6.50576172,
        exchanger_approach_k=2.29404297, coil_effectiveness=0.816601563, liquid_to_air=1.11914062,
    )  # fmt: skip
    wet = float(wet_bulb_c([20.0], [40.0])[0])

    found = over_year(theirs, steady(20.0, wet), IT, Rejection.WET)

    assert found.pue == pytest.approx(1.0887168, abs=1e-3)
    assert found.parts_j["chillers"] == 0


def test_two_phase_immersion_draws_what_was_measured_of_one() -> None:
    # Energies 14 (2021) 1395, abstract: partial PUE 1.053 to 1.037 from low to high power, COP 19.0 to 26.7.
    lossless = plant(Technology.IMMERSION_2, ups_efficiency=1.0, distribution_loss=0.0, lighting=0.0)

    found = over_year(lossless, steady(), IT, Rejection.WET)

    assert 1.037 <= found.pue <= 1.053


def test_a_tower_evaporates_what_carries_the_heat_off() -> None:
    # 2.45 MJ/kg (FAO 56): 1.469 L for each kWh of heat, and at four cycles a third more is let off.
    found = over_year(plant(Technology.AIR, evaporated_share=1.0), steady(), IT, Rejection.WET)
    heat_kwh = (found.facility_j - found.parts_j["fans and pumps"]) / 3.6e6

    assert found.water_l / heat_kwh == pytest.approx(3.6 / 2.45 * 4 / 3)


# --- laws ---------------------------------------------------------------------------------------------


@given(technology=technologies, rejection=rejections, dry=temperatures, load=loads, reuse=st.floats(0, 1))
def test_ratios_are_what_they_are_defined_as_and_no_hall_draws_less_than_its_it(
    technology, rejection, dry, load, reuse
):
    found = over_year(plant(technology), steady(dry, dry - 3, load), IT, rejection, reuse)

    assert found.pue >= 1
    assert found.itue >= 1
    assert found.tue == pytest.approx(found.pue * found.itue)
    assert sum(found.parts_j.values()) == pytest.approx(found.facility_j)
    assert found.ere == pytest.approx((1 - found.erf) * found.pue)
    assert 0 <= found.erf <= 1
    assert found.water_l == 0 if rejection is Rejection.DRY else found.water_l >= 0


@given(technology=technologies, rejection=rejections, dry=temperatures, load=loads)
def test_computing_is_the_same_whatever_cools_it(technology, rejection, dry, load) -> None:
    weather = steady(dry, dry - 3, load)

    found = over_year(plant(technology), weather, IT, rejection)

    assert found.compute_j == pytest.approx(over_year(plant(Technology.AIR), weather, IT, rejection).compute_j)


@given(technology=technologies, rejection=rejections, dry=temperatures, loads=st.tuples(loads, loads))
def test_power_never_falls_with_load_and_pue_never_rises_with_it(technology, rejection, dry, loads) -> None:
    low, high = sorted(loads)
    # Fans that slow down by less than the load (exponent 1) leave the fixed losses alone to shape PUE.
    one = plant(technology, flow_exponent=1.0)

    less = over_year(one, steady(dry, dry - 3, low), IT, rejection)
    more = over_year(one, steady(dry, dry - 3, high), IT, rejection)

    assert less.facility_j <= more.facility_j * (1 + 1e-12)
    assert less.pue >= more.pue * (1 - 1e-12)


@given(technology=technologies, dry=temperatures, warmer=st.floats(0, 15))
def test_chillers_never_rest_more_when_it_is_warmer(technology, dry, warmer) -> None:
    cool = over_year(plant(technology), steady(dry, dry - 3), IT, Rejection.WET)
    warm = over_year(plant(technology), steady(dry + warmer, dry + warmer - 3), IT, Rejection.WET)

    assert warm.parts_j["chillers"] >= cool.parts_j["chillers"] * (1 - 1e-12)


def test_liquid_lowers_facility_power_by_more_than_pue_says() -> None:
    air, bath = (over_year(plant(one), steady(), IT, Rejection.WET)
                 for one in (Technology.AIR, Technology.IMMERSION_1))  # fmt: skip

    assert bath.facility_j / air.facility_j < bath.pue / air.pue
    assert bath.parts_j["server fans"] == 0
    assert air.parts_j["server fans"] == pytest.approx(0.125 * air.it_j)


def test_hours_that_differ_add_up_to_the_year_they_make() -> None:
    dry = np.array([5.0, 30.0])
    both = Weather(dry, dry - 4, np.array([0.4, 1.0]), 3600.0, "made up")
    apart = [Weather(dry[i : i + 1], dry[i : i + 1] - 4, both.load[i : i + 1], 3600.0, "made up") for i in range(2)]

    whole = over_year(plant(Technology.AIR), both, IT, Rejection.DRY)
    parts = [over_year(plant(Technology.AIR), one, IT, Rejection.DRY) for one in apart]

    assert whole.facility_j == pytest.approx(sum(one.facility_j for one in parts))
    assert whole.peak_w == max(one.peak_w for one in parts)


@settings(max_examples=15, deadline=None)
@given(now=technologies, rejection=rejections, dry=temperatures, load=loads)
def test_converting_nothing_gives_the_first_row_everywhere(now, rejection, dry, load) -> None:
    money = Money("EUR", 0.12, capex_per_kw=dict.fromkeys(Technology, 500.0), heat_per_kwh=0.02, water_per_m3=2.0)
    hall = Hall(IT, steady(dry, dry - 3, load), rejection, now, share=0.0, reuse=0.5)

    first, *others = weigh(hall, EXACT, money)

    assert first.technology is now
    for one in others:
        assert one.year.facility_j == pytest.approx(first.year.facility_j, rel=1e-12)
        assert one.saved_j.value == pytest.approx(0, abs=1e-6 * first.year.facility_j)
        assert one.saved == pytest.approx(0, abs=1e-6 * money.of(first.year))
        assert (one.capex, dict(one.flips)) == (0.0, {})


def test_limits_of_a_figure_hold_it_and_cancel_where_both_sides_share_them() -> None:
    air, cold, *_ = weigh(Hall(IT, steady()), TABLE)

    assert cold.facility_j.low < cold.facility_j.value < cold.facility_j.high
    # What both halls share (UPS, pumps) moves both: the saving is known better than either bill.
    saved, bill = (one.high - one.low for one in (cold.saved_j, cold.facility_j))
    assert saved < bill
    assert air.saved_j.low == air.saved_j.high == 0


# --- money --------------------------------------------------------------------------------------------


def test_the_sign_flips_where_the_gain_is_nothing() -> None:
    money = Money("EUR", 0.12, capex_per_kw={Technology.COLD_PLATE: 800.0})
    hall = Hall(IT, steady(12, 9, 0.7))
    _, cold, *_ = weigh(hall, EXACT, money)

    (price,) = cold.flips["price"]
    (load,) = cold.flips["load"]
    at_price = weigh(hall, EXACT, Money("EUR", price, capex_per_kw=money.capex_per_kw))[1]
    at_load = weigh(Hall(IT, steady(12, 9, load)), EXACT, money)[1]

    rent = 800.0 * IT.to_kw() / 10
    assert at_price.saved == pytest.approx(rent)
    assert at_load.saved == pytest.approx(rent, rel=1e-6)
    assert cold.payback_years == pytest.approx(800.0 * IT.to_kw() / cold.saved)


def test_the_most_that_capital_may_cost_is_what_pays_back_over_the_term() -> None:
    hall, term = Hall(IT, steady()), {"years": 8.0, "rate": 0.06}
    most = weigh(hall, EXACT, Money("EUR", 0.12, **term))[1].most_capex_per_kw

    money = Money("EUR", 0.12, capex_per_kw={Technology.COLD_PLATE: most}, **term)
    at_most = weigh(hall, EXACT, money)[1]

    assert at_most.saved == pytest.approx(at_most.capex * money.annuity)


def test_an_annuity_is_the_one_of_the_textbook() -> None:
    # 10 years at 5 %: 0.1295 of the capital a year (Brealey, Myers and Allen, annuity table: factor 7.722).
    assert Money("EUR", 0.1, years=10, rate=0.05).annuity == pytest.approx(1 / 7.722, abs=1e-5)
    assert Money("EUR", 0.1, years=10).annuity == 0.1


# --- bad input ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "given_",
    [
        {"dry": float("nan")}, {"dry": 200.0}, {"dry": 10.0, "wet": 15.0}, {"load": 0.0}, {"load": 1.5}, {"load": -0.2},
    ],
)  # fmt: skip
def test_weather_that_cannot_be_is_refused(given_) -> None:
    with pytest.raises(InvalidQuantity):
        steady(**{"dry": 20.0, "wet": 12.0, "load": 1.0, **given_})


@pytest.mark.parametrize(
    ("name", "value"),
    [("ups_efficiency", 1.2), ("pump_efficiency", 0.0), ("liquid_share", 1.1), ("carnot_share", 1.5),
     ("concentration_cycles", 1.0), ("server_fan_share", -0.1), ("most_cop", float("nan"))],
)  # fmt: skip
def test_a_parameter_beyond_physics_is_refused(name, value) -> None:
    with pytest.raises(InvalidQuantity, match=name):
        plant(Technology.COLD_PLATE, **{name: value})


def test_unknown_and_missing_parameters_are_named() -> None:
    with pytest.raises(UsageError, match="supply_aire_c"):
        plant(Technology.AIR, supply_aire_c=25.0)
    with pytest.raises(UsageError, match="ups_efficiency"):
        plant_of({"lighting": 0.0})


def asked(capsys, *words):
    code = outweigh(["whatif", "cooling", "--it", "10 MW", *words])
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    return code, said


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--dry", "12"], "wet-bulb"),
        (["--wet", "12"], "weather"),
        (["--dry", "12", "--wet", "9", "--humidity", "60"], "one of them"),
        (["--dry", "12", "--humidity", "160"], "between 5 and 100"),
        (["--dry", "12", "--wet", "9", "--share", "140%"], "between 0 and 1"),
        (["--dry", "12", "--wet", "9", "--capex", "bath=3 EUR/kW", "--price", "1 EUR/kWh"], "names no technology"),
        (["--dry", "12", "--wet", "9", "--capex", "immersion-1=3 USD/kW", "--price", "1 EUR/kWh"], "not in EUR"),
        (["--dry", "12", "--wet", "9", "--water", "3 EUR/m3"], "price of electricity"),
        (["--dry", "12", "--wet", "9", "--price", "1 EUR/kWh", "--carbon-price", "80 EUR/t"], "intensity"),
        (["--dry", "12", "--wet", "9", "--price", "1 EUR/kWh", "--intensity", "350 g/kWh"], "--carbon-price"),
        (["--dry", "12", "--wet", "9", "--intensity", "350 g/kWh"], "--price"),
        (["--dry", "12", "--wet", "9", "--price", "1 EUR/kWh", "--years", "0"], "years above 0"),
    ],
)
def test_options_that_do_not_go_together_are_refused_with_a_remedy(capsys, words, told) -> None:
    code, said = asked(capsys, *words)

    assert code == 2
    assert told in said.err


def test_a_year_of_weather_comes_from_a_file_and_ones_own_parameters_win(capsys, tmp_path) -> None:
    weather, own = tmp_path / "weather.csv", tmp_path / "own.csv"
    weather.write_text("start,dry_c,humidity_pct,load\n2026-01-01T00:00,5,80,0.5\n2026-01-01T01:00,30,40,1\n")
    own.write_text("technology,parameter,value,source\nair,server_fan_share,0.2,our meters\n")

    code, said = asked(capsys, "--weather", str(weather), "--parameters", str(own), "--json")

    document = json.loads(said.out)
    assert code == 0
    assert document["options"][0]["itue"] == pytest.approx(1 / 0.8)
    assert [one for one in document["parameters"] if one["source"] == "our meters"]
    assert any("2 h" in note for note in document["notes"])


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("start,dry_c\n2026-01-01T00:00,5\n2026-01-01T01:00,\n", "weather.csv:3"),
        ("start,dry_c\n2026-01-01T00:00,5\n2026-01-01T02:00,6\n2026-01-01T03:00,6\n", "among steps"),
        ("start,temperature\n2026-01-01T00:00,5\n2026-01-01T01:00,6\n", "dry_c"),
        ("start,dry_c\n2026-01-01T00:00,5\n2026-01-01T01:00,6\n", "wet_c or humidity_pct"),
        ("", "no series"),
    ],
)
def test_a_weather_file_that_lacks_something_is_refused_with_its_line(capsys, tmp_path, text, told) -> None:
    path = tmp_path / "weather.csv"
    path.write_text(text)

    code, said = asked(capsys, "--weather", str(path))

    assert code == 2
    assert told in said.err


def test_the_hour_that_the_clock_skips_is_not_made_up(capsys, tmp_path) -> None:
    # 2026-03-29 in Berlin: 01:00 is followed by 03:00.
    local = "".join(f"2026-03-29T0{hour}:00,{hour},60\n" for hour in (0, 1, 2, 3))
    (tmp_path / "spring.csv").write_text(f"start,dry_c,humidity_pct\n{local}")

    code, said = asked(capsys, "--weather", str(tmp_path / "spring.csv"), "--timezone", "Europe/Berlin")

    assert code == 2
    assert "offset" in said.err


def test_every_parameter_says_its_unit_source_and_how_it_was_checked() -> None:
    for rows in cooling_parameters().values():
        for row in rows.values():
            assert row.low <= row.value <= row.high
            assert row.provenance.unit
            assert row.provenance.source
            assert row.checked
            assert row.provenance.grade.value == "D"


@pytest.mark.parametrize("text", ["", "technology,parameter,value\n"])
def test_a_file_without_a_single_parameter_is_no_calibration(capsys, tmp_path, text) -> None:
    path = tmp_path / "own.csv"
    path.write_text(text)

    code, said = asked(capsys, "--dry", "12", "--wet", "9", "--parameters", str(path))

    assert code == 2
    assert "technology,parameter,value" in said.err


def test_weather_of_a_year_that_clocks_do_not_know_is_refused(capsys, tmp_path) -> None:
    path = tmp_path / "weather.csv"
    path.write_text("start,dry_c,humidity_pct\n9999-12-31T22:00,5,50\n9999-12-31T23:00,5,50\n")

    code, said = asked(capsys, "--weather", str(path), "--timezone", "America/New_York")

    assert code == 2
    assert "2199" in said.err
