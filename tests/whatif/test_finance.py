"""Business cases: present value, rates of return, what a gain hangs on; laws, printed figures, and bad files."""

import json
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner
from hypothesis import given, settings
from hypothesis import strategies as st

from outweigh.app.whatif_finance import finance as answer
from outweigh.cli.whatif_finance import finance
from outweigh.config.finance import load_case
from outweigh.core.errors import ConfigError, InvalidQuantity, UsageError
from outweigh.whatif.finance import Case, Option, Ranged, annuity, draw, irr, npv, payback, tornado
from outweigh.whatif.finance.case import BASE, DO_NOTHING

EXAMPLE = Path(__file__).parents[2] / "examples" / "finance" / "case.toml"
SOME = dict.fromkeys(BASE, 0.0) | {"units": 1e6, "energy": 0.002, "price": 0.15, "rate": 0.08}
money = st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=12)
rates = st.floats(-0.5, 2.0)


def case_of(*options, years=5, **changed):
    inputs = {name: one if isinstance(one, Ranged) else Ranged.exactly(one) for name, one in (SOME | changed).items()}
    return Case("EUR", years, inputs, options)


@st.composite
def ranges(draw_, low, high):
    three = sorted(draw_(st.tuples(*[st.floats(low, high)] * 3)))
    return Ranged(three[1], three[0], three[2])


@st.composite
def cases(draw_):
    positive = {name: draw_(ranges(0, 1e3)) for name in ("units", "energy", "price", "intensity", "carbon", "value")}
    growing = {name: draw_(ranges(-0.5, 1)) for name in ("growth", "price_growth", "carbon_growth", "rate")}
    option = Option("x", *(draw_(ranges(low, high)) for low, high in ((-0.9, 0.5), (0, 1e4), (0, 1e3), (0, 1.5))))
    return case_of(option, years=draw_(st.integers(1, 8)), **positive, **growing)


@settings(max_examples=60, deadline=None)
@given(one=money, factor=st.floats(-5, 5), rate=rates)
def test_present_value_is_linear_in_the_payments(one, factor, rate):
    other = one[::-1]
    sizes = npv(np.abs(one), rate) * (1 + abs(factor))

    both = npv(np.array(one) + factor * np.array(other), rate)

    assert both == pytest.approx(npv(one, rate) + factor * npv(other, rate), abs=1e-9 * (1 + sizes + npv(
        np.abs(other), rate) * (1 + abs(factor))))  # fmt: skip


# Present values (https://tutorsglobe.com/question/calculate-irr-for-projects-52035970.aspx) and a rate of
# return (https://www.coursehero.com/file/8681811), as printed in an exercise and a lecture.
def test_present_values_and_a_rate_of_return_are_the_printed_ones():
    assert round(float(npv([-30_000, 21_000, 21_000], 0.10))) == 6_446
    assert round(float(npv([-50_000, 33_000, 33_000], 0.10))) == 7_273
    assert irr([-250_000, *[100_000] * 5]) == pytest.approx(0.2865, abs=5e-5)


def test_a_rate_of_return_that_is_none_or_several_is_not_defined():
    # 1,000 - 3,000 x + 2,500 x^2 has no root: 9 - 10 is below 0. And -100 + 230 x - 132 x^2 has two.
    assert irr([1000, -3000, 2500]) is None
    assert irr([-100, 230, -132]) is None


@settings(max_examples=60, deadline=None)
@given(out=st.floats(1, 1e6), back=st.lists(st.floats(1, 1e6), min_size=1, max_size=10))
def test_at_the_internal_rate_of_return_nothing_is_gained(out, back):
    flows = [-out, *back]

    found = irr(flows)

    assert found is not None
    # Close to -100 % the powers of a small number have no digits left.
    if found > -0.9:
        assert npv(flows, found) == pytest.approx(0, abs=1e-6 * npv(np.abs(flows), found))


@settings(max_examples=60, deadline=None)
@given(rate=st.floats(1e-6, 1), years=st.integers(1, 40))
def test_an_annuity_pays_back_one_by_its_closed_form(rate, years):
    # The level payment of a loan of 1: r / (1 - (1 + r)^-n).
    assert annuity(rate, years) == pytest.approx(rate / (1 - (1 + rate) ** -years), rel=1e-6)
    assert npv([0.0, *[annuity(rate, years)] * years], rate) == pytest.approx(1)


def test_payback_counts_what_is_paid_late_and_says_never():
    assert payback([-100, 60, 60]) == pytest.approx(1 + 40 / 60)
    assert payback([-100, 120, -50, 40]) == pytest.approx(2 + 30 / 40)
    assert payback([-100, 60, 60], rate=0.2) is None


@settings(max_examples=40, deadline=None)
@given(case=cases())
def test_an_option_that_does_nothing_is_worth_what_doing_nothing_is(case):
    idle = Case(case.currency, case.years, case.inputs, (Option("idle"),))

    assert idle.gain("idle") == 0
    assert np.array_equal(idle.flows("idle").cash, idle.flows().cash)
    assert np.array_equal(idle.flows("idle").kwh, idle.flows().kwh)


@settings(max_examples=40, deadline=None)
@given(case=cases())
def test_every_bar_of_a_tornado_holds_the_declared_value_and_is_no_wider_than_the_one_before(case):
    bars = tornado(case, "x", most=50)

    assert all(bar.ends[0] <= bar.gain <= bar.ends[1] for bar in bars)
    assert all(before.swing >= after.swing for before, after in pairwise(bars))
    assert {bar.name for bar in bars} == {
        name for name, one in case.ranged().items() if one.spread and (":" not in name or name.startswith("x: "))
    }


@settings(max_examples=20, deadline=None)
@given(case=cases(), seed=st.integers(0, 2**31))
def test_scenarios_repeat_with_their_seed_and_lie_between_the_worst_and_the_best_of_certain_inputs(case, seed):
    first, again = (draw(case, 50, seed) for _ in range(2))

    assert np.array_equal(first.gains["x"], again.gains["x"])
    assert 0 <= first.better("x") <= 1
    low, middle, high = first.quantiles("x")
    assert low <= middle <= high


def test_a_case_without_ranges_has_one_scenario_and_no_tornado():
    case = case_of(Option("cut", Ranged.exactly(-0.5)))

    assert tornado(case, "cut") == ()
    assert np.all(draw(case, 10).gains["cut"] == case.gain("cut"))


def test_a_cut_is_worth_the_energy_it_saves_at_its_price_year_by_year():
    case = case_of(Option("cut", Ranged.exactly(-0.5), capex=Ranged.exactly(400.0)), years=2, growth=0.1)

    # 2,000 kWh and 2,200 kWh, half of them saved at 0.15 EUR.
    expected = -400 + 150 / 1.08 + 165 / 1.08**2
    assert case.gain("cut") == pytest.approx(expected)


# Sorrell (2007): of an expected saving of 5 %, 2 % realised is a rebound of 60 %.
@pytest.mark.parametrize(("rebound", "total"), [(0.0, 0.95), (0.6, 0.98), (1.0, 1.0), (1.4, 1.02)])
def test_a_rebound_takes_its_share_of_the_saving_back_and_above_one_it_backfires(rebound, total):
    case = case_of(Option("cut", Ranged.exactly(-0.05), rebound=Ranged.exactly(rebound)))

    nothing, cut = case.flows(), case.flows("cut")

    assert cut.kwh.sum() / nothing.kwh.sum() == pytest.approx(total)
    assert (cut.kwh[1:] / cut.units[1:] / (nothing.kwh[1:] / nothing.units[1:])) == pytest.approx(0.95)


def test_the_example_names_its_backfire_and_puts_doing_nothing_first_in_every_table():
    result = CliRunner().invoke(finance, [str(EXAMPLE), "--scenarios", "50"])
    document = json.loads(CliRunner().invoke(finance, [str(EXAMPLE), "--json", "--scenarios", "50"]).stdout)

    assert result.exit_code == 0
    assert "per unit down, total up (backfire)" in result.output
    headings = [line for line in result.output.splitlines() if "do nothing" in line]
    assert len(headings) == 3
    assert document["ways"][0]["way"] == DO_NOTHING
    assert document["ways"][0]["gain"] == 0
    assert len(document["tornado"]["int8"]) == 10


CASE = EXAMPLE.read_text(encoding="utf-8")
BAD = {
    "an unknown key": (CASE.replace("rebound", "rebond", 1), "rebond"),
    "a range upside down": (CASE.replace('low = "5%", high', 'low = "9%", high', 1), "lies between low and high"),
    "half a range": (CASE.replace(', high = "12%"', "", 1), "Give value, low and high"),
    "another currency": (CASE.replace("8000 EUR", "8000 USD"), "option.larger-cache.capex is in USD"),
    "all of the energy": (CASE.replace('"-46%"', '"-100%"'), "above -100 %"),
    "a rebound below zero": (CASE.replace('low = "40%"', 'low = "-4%"'), "rebound"),
    "energy without a unit": (CASE.replace('value = "1.2 Wh"', "value = 1.2"), "Write it such as '1.2 Wh'"),
    "no years": (CASE.replace("years = 5", "years = 0"), "1 to 60 years"),
    "a case that is a list": ("case = [1]", "case"),
    "not TOML": ("[case", "not valid TOML"),
}


@pytest.mark.parametrize(("text", "says"), BAD.values(), ids=BAD)
def test_a_case_that_says_something_wrong_is_refused(tmp_path, text, says):
    (tmp_path / "case.toml").write_text(text)

    with pytest.raises(ConfigError, match=says):
        load_case(tmp_path / "case.toml")


def test_an_option_nobody_declared_and_a_rate_that_cannot_be_are_refused():
    with pytest.raises(UsageError, match="no option"):
        case_of().gain("x")
    with pytest.raises(InvalidQuantity, match="discount rate"):
        npv([1.0], -1.0)


def test_growth_beyond_what_can_be_counted_is_refused_and_no_units_at_all_are_a_case(tmp_path):
    wild, none = tmp_path / "wild.toml", tmp_path / "none.toml"
    wild.write_text(
        CASE.replace('value = "30%", low = "10%", high = "60%"', 'value = "1e99%", low = "1%", high = "1e99%"')
    )
    none.write_text(CASE.replace("value = 400e6, low = 300e6", "value = 0, low = 0"))

    with pytest.raises(InvalidQuantity, match="beyond what can be counted"):
        answer(wild)
    assert answer(none, scenarios=10).document["ways"][0]["energy_j"] == [0.0] * 6
