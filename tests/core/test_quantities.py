"""Quantities: what may be combined, what must not, and that they survive a trip to a worker."""

import dataclasses
import pickle

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outweigh.core import (
    CarbonBasis,
    CarbonIntensity,
    CarbonScope,
    Energy,
    LocationCarbon,
    MarginalCarbon,
    MarketCarbon,
    Money,
    Power,
    Price,
)
from outweigh.core.errors import InvalidQuantity
from outweigh.core.quantities import Carbon
from outweigh.core.units import (
    parse_energy,
    parse_money,
    parse_money_per_hour,
    parse_power,
    parse_seconds,
    parse_share,
)

finite = st.floats(-1e12, 1e12)


def test_energy_and_power_do_not_add():
    with pytest.raises(TypeError):
        Energy(1.0) + Power(1.0)  # type: ignore[operator]


def test_one_watt_year_is_eight_point_seven_six_six_kwh():
    assert Power(1.0).over(365.2425 * 86_400).to_kwh() == pytest.approx(8.76582)


@given(watts=st.floats(0, 1e6), cut=st.floats(0, 1))
def test_energy_does_not_depend_on_where_the_window_is_cut(watts, cut):
    whole = Power(watts).over(3600)
    parts = Power(watts).over(3600 * cut) + Power(watts).over(3600 * (1 - cut))
    assert parts.joules == pytest.approx(whole.joules)


@given(finite)
def test_kwh_go_in_and_out_unchanged(value):
    assert Energy.kwh(value).to_kwh() == pytest.approx(value)


@pytest.mark.parametrize("one", [LocationCarbon(1.0), MarketCarbon(1.0), MarginalCarbon(1.0)])
@pytest.mark.parametrize("other", [LocationCarbon(1.0), MarketCarbon(1.0), MarginalCarbon(1.0)])
def test_carbon_of_two_bases_neither_adds_nor_compares(one, other):
    if type(one) is type(other):
        assert (one + other).grams == 2.0
    else:
        with pytest.raises(TypeError, match="do not mix"):
            one + other
        with pytest.raises(TypeError, match="do not mix"):
            _ = one < other


def test_direct_and_lifecycle_carbon_do_not_add():
    with pytest.raises(TypeError, match="direct"):
        LocationCarbon(1.0, CarbonScope.DIRECT) + LocationCarbon(1.0, CarbonScope.LIFECYCLE)


def test_carbon_without_a_basis_cannot_be_made():
    with pytest.raises(TypeError, match="subclass"):
        Carbon(1.0)


def test_energy_times_intensity_keeps_basis_and_scope():
    carbon = Energy.kwh(2) * CarbonIntensity(100.0, CarbonBasis.MARGINAL, CarbonScope.DIRECT)

    assert carbon == MarginalCarbon(200.0, CarbonScope.DIRECT)


def test_an_average_intensity_is_not_negative_but_a_marginal_one_may_be():
    with pytest.raises(InvalidQuantity):
        CarbonIntensity(-1.0)
    assert CarbonIntensity(-1.0, CarbonBasis.MARGINAL).g_per_kwh == -1.0


def test_energy_times_price_is_money():
    assert Energy.mwh(2) * Price.per_mwh(-30.0, "EUR") == Money(-60.0, "EUR")


def test_two_currencies_never_add():
    with pytest.raises(TypeError, match="convert"):
        Money(1.0, "EUR") + Money(1.0, "USD")


@pytest.mark.parametrize("code", ["eur", "EURO", "XXX", "", "€"])
def test_a_currency_that_is_not_iso_4217_is_refused(code):
    with pytest.raises(InvalidQuantity):
        Money(1.0, code)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
@pytest.mark.parametrize("kind", [Energy, Power, LocationCarbon])
def test_missing_is_never_a_number(kind, value):
    with pytest.raises(InvalidQuantity):
        kind(value)


@pytest.mark.parametrize(
    "value",
    [Energy(1.5), Power(2.0), MarketCarbon(3.0), Money(1.0, "EUR"), Price(0.1, "USD"), CarbonIntensity(5.0)],
)
def test_quantities_are_frozen_and_survive_pickling(value):
    assert pickle.loads(pickle.dumps(value)) == value
    with pytest.raises(dataclasses.FrozenInstanceError):
        setattr(value, dataclasses.fields(value)[0].name, 1)


# BIPM SI Brochure 9th ed.: 1 W h = 3600 J; 1 W = 1 J/s.
@pytest.mark.parametrize(
    ("text", "joules"),
    [("1.2 Wh", 4320.0), ("35 MWh", 1.26e11), ("3 J", 3.0), ("5kWh", 1.8e7), ("1_000 J", 1e3), ("2.5e-3 kWh", 9e3)],
)
def test_energy_is_read_as_people_write_it(text, joules):
    assert parse_energy(text).joules == pytest.approx(joules)


@pytest.mark.parametrize("text", ["5 W", "5", "Wh", "", "five Wh", "1,2 Wh", "nan Wh", "1e999 Wh", "5 kwh", "5 Wh Wh"])
def test_what_is_not_an_energy_is_refused_with_an_example(text):
    with pytest.raises(InvalidQuantity, match=r"1\.2 Wh"):
        parse_energy(text)


def test_power_duration_share_and_money_are_read_as_people_write_them():
    assert parse_power("180 W").watts == 180
    assert parse_seconds("1.5 h") == 5400
    assert parse_share("80%") == parse_share(0.8) == parse_share("0.8") == 0.8
    assert parse_money("0.90 EUR") == Money(0.9, "EUR")
    assert parse_money_per_hour("0.05 USD/h") == Money(0.05, "USD")


@pytest.mark.parametrize("text", ["0.05 USD", "0.05 USD/kWh", "USD/h"])
def test_a_price_per_hour_says_per_hour(text):
    with pytest.raises(InvalidQuantity, match="USD/h"):
        parse_money_per_hour(text)
