"""Policy: a shock that changes nothing costs nothing, support that is paid closes the gap."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outweigh.cli.main import run as outweigh
from outweigh.core.errors import InvalidQuantity, UsageError
from outweigh.whatif.policy import (
    Criterion,
    Hit,
    Load,
    Place,
    Shock,
    everyday,
    exposures,
    incentive_gap,
    rank,
)

EXAMPLE = Path(__file__).parents[2] / "examples" / "placement" / "placement.toml"
HOME = Place("home", "DE", 0.14, 350.0, 1.3, 84.0, 0.05)
RIVAL = Place("rival", "SE", 0.09, 40.0, 1.1, 89.0, -0.2)
THIRD = Place("third", "FR", 0.11, 50.0, 1.15, 77.0, -0.1)
PLACES = (HOME, RIVAL, THIRD)
LOAD = Load(1e6, "EUR", unserved_per_kwh=3.0, per_tonne=80.0, new_share=0.2)
SHOCKS = everyday()

places = st.lists(
    st.builds(Place, st.just("x"), st.just("DE"), st.floats(0.01, 0.5), st.floats(0, 900), st.floats(1, 2),
              st.floats(0, 100), st.floats(-1, 1)),
    min_size=2, max_size=5,
).map(lambda many: tuple(dataclasses.replace(one, name=f"p{at}") for at, one in enumerate(many)))  # fmt: skip
loads = st.builds(Load, st.floats(1e3, 1e9), st.just("EUR"), st.floats(0.5, 10), st.floats(0, 300), st.floats(0, 1))


def by_name(found):
    return {one.place.name: one for one in found}


# --- laws ---------------------------------------------------------------------------------------------


@given(load=loads, places=places)
def test_a_shock_that_changes_nothing_costs_what_today_costs(load, places) -> None:
    nothing = [Shock("empty"), Shock("same price", per_tonne=load.per_tonne), Shock("no hit", each=Hit()),
               Shock("named, not hit", at={places[0].name: Hit()})]  # fmt: skip

    for one in exposures(load, places, nothing):
        assert all(cost == one.today for cost in one.shocked.values())


@given(load=loads, places=places, rises=st.tuples(st.floats(0, 2), st.floats(0, 2)))
def test_a_higher_tariff_never_makes_a_place_cheaper(load, places, rises) -> None:
    low, high = sorted(rises)
    shocks = [Shock("low", each=Hit(price_factor=1 + low)), Shock("high", each=Hit(price_factor=1 + high))]

    for one in exposures(load, places, shocks):
        assert one.today <= one.shocked["low"] * (1 + 1e-12) <= one.shocked["high"] * (1 + 1e-9)


@settings(max_examples=60)
@given(load=loads, places=places)
def test_support_that_is_paid_makes_home_equal_its_best_rival(load, places) -> None:
    (today,) = incentive_gap(load, places, "p0", ())
    home = places[0]
    paid = dataclasses.replace(home, price_per_kwh=home.price_per_kwh - today.per_mwh / 1e3)

    (after,) = incentive_gap(load, (paid, *places[1:]), "p0", ())

    assert after.gap == pytest.approx(0, abs=1e-6 * max(1.0, abs(today.home_cost)))
    if today.gap > 0:
        assert after.home_cost == pytest.approx(today.rival_cost)
        assert today.gap == pytest.approx(today.per_mwh * load.it_kwh * home.pue / 1e3)


@given(seed=st.integers(0, 5), order=st.permutations(range(3)))
@settings(max_examples=20, deadline=None)
def test_ranks_do_not_depend_on_the_order_of_the_file(seed, order) -> None:
    weights = dict.fromkeys(Criterion, 1.0)
    given_, _ = rank(exposures(LOAD, PLACES, SHOCKS), weights, draws=200, seed=seed)
    moved, _ = rank(exposures(LOAD, [PLACES[at] for at in order], SHOCKS), weights, draws=200, seed=seed)

    assert {one.name: one for one in given_} == {one.name: one for one in moved}


# --- golden, by hand ----------------------------------------------------------------------------------


def test_costs_and_the_gap_are_those_worked_out_by_hand() -> None:
    # Home: 1.3 x (0.14 + 0.35 kg x 0.08/kg) = 0.2184 a kWh; rival: 1.1 x (0.09 + 0.04 x 0.08) = 0.10252.
    found = by_name(exposures(LOAD, PLACES, SHOCKS))
    today, *_ = incentive_gap(LOAD, PLACES, "home", SHOCKS)

    assert found["home"].today == pytest.approx(218_400)
    assert found["rival"].today == pytest.approx(102_520)
    assert today.gap == pytest.approx(115_880)
    assert today.per_mwh == pytest.approx(115_880 / 1300)
    # 455 t at home and 44 t there: each of 411 t more comes with that much support.
    assert today.tonnes == pytest.approx(411)
    assert today.per_tonne == pytest.approx(115_880 / 411)
    assert found["home"].shocked["carbon 150 EUR/t"] == pytest.approx(1e6 * 1.3 * (0.14 + 0.35 * 0.15))
    assert found["rival"].shocked["tariff +50%"] == pytest.approx(1e6 * 1.1 * (0.135 + 0.0032))


def test_what_cannot_run_moves_to_the_cheapest_place_that_is_left() -> None:
    found = by_name(exposures(LOAD, PLACES, SHOCKS))
    rival, third = found["rival"], found["third"]

    # Third: 1.15 x (0.11 + 0.05 x 0.08) = 0.1311 a kWh.
    assert rival.shocked["site lost"] == pytest.approx(third.today)
    assert rival.shocked["off 10% of hours"] == pytest.approx(0.9 * rival.today + 0.1 * third.today)
    assert rival.shocked["moratorium"] == pytest.approx(0.8 * rival.today + 0.2 * third.today)


def test_with_nowhere_to_go_the_load_is_unserved() -> None:
    (alone,) = exposures(LOAD, (HOME,), SHOCKS)
    (today, *_, lost) = incentive_gap(LOAD, (HOME,), "home", SHOCKS)

    assert alone.shocked["site lost"] == pytest.approx(3e6)
    assert (today.rival, today.gap) == ("", 0.0)
    assert lost.rival_cost is None


@pytest.mark.parametrize(
    ("here", "there", "unserved"),
    [
        (Hit(moratorium=True), Hit(moratorium=True), 0.2),  # the new fifth of the load, let in by nobody
        (Hit(duty=0.5), Hit(duty=0.5), 0.5),  # the same hours
        (Hit(duty=0.5), Hit(duty=0.1), 0.1),  # on again in four fifths of them
        (Hit(duty=0.1), Hit(duty=0.5), 0.1),
        (Hit(lost=True), Hit(duty=0.3), 0.3),
        (Hit(duty=0.5, moratorium=True), Hit(duty=0.6), 0.5 + 0.1 * 0.2),
        (Hit(lost=True), Hit(lost=True), 1.0),
        (Hit(lost=True), Hit(), 0.0),
    ],
)
def test_a_rival_takes_only_what_the_same_shock_lets_it_take(here, there, unserved) -> None:
    # Home 0.2184 a kWh and rival 0.10252, as above; what runs nowhere costs 3.
    shock = Shock("both", at={"home": here, "rival": there})

    home, _ = exposures(LOAD, (HOME, RIVAL), [shock])

    displaced = here.displaced(LOAD.new_share)
    assert home.unserved["both"] == pytest.approx(unserved)
    assert home.shocked["both"] == pytest.approx(
        1e6 * ((1 - displaced) * 0.2184 + (displaced - unserved) * 0.10252 + unserved * 3.0)
    )


@given(load=loads, places=places, duty=st.floats(0.01, 0.99))
def test_a_duty_that_befalls_all_places_alike_moves_nothing(load, places, duty) -> None:
    shock = Shock("all", at={place.name: Hit(duty=duty) for place in places})

    for one in exposures(load, places, [shock]):
        assert one.unserved["all"] == pytest.approx(duty)
        nowhere = duty * load.it_kwh * load.unserved_per_kwh
        assert one.shocked["all"] == pytest.approx((1 - duty) * one.today + nowhere)


def test_a_place_under_a_moratorium_is_no_rival_even_for_a_load_of_which_nothing_is_new() -> None:
    old = dataclasses.replace(LOAD, new_share=0.0)

    (gap,) = incentive_gap(old, (HOME, RIVAL), "home", [Shock("x", at={"rival": Hit(moratorium=True)})], today=False)

    assert (gap.rival, gap.gap) == ("", 0.0)


def test_what_runs_nowhere_is_said_with_its_price(tmp_path, capsys) -> None:
    everywhere = ", ".join(f'{site} = "50%"' for site in ("frankfurt", "stockholm", "paris"))
    text = EXAMPLE.read_text().replace('stockholm = "5%"', everywhere)
    (tmp_path / "p.toml").write_text(text)

    assert outweigh(["whatif", "policy", str(tmp_path / "p.toml")]) == 0
    said = capsys.readouterr()

    assert "dry-year: 50% of frankfurt, 50% of stockholm, 50% of paris" in " ".join((said.out + said.err).split())


def test_a_named_shock_befalls_its_place_whoever_is_asked_about() -> None:
    storm = Shock("storm", at={"rival": Hit(lost=True)})

    found = by_name(exposures(LOAD, PLACES, [storm]))
    _, gap = incentive_gap(LOAD, PLACES, "home", [storm])

    assert found["home"].shocked["storm"] == found["home"].today
    assert found["rival"].shocked["storm"] == pytest.approx(found["third"].today)
    assert gap.rival == "third"


def test_the_ranking_holds_where_one_place_is_best_in_everything() -> None:
    ranked, missing = rank(exposures(LOAD, (HOME, RIVAL), SHOCKS), dict.fromkeys(Criterion, 1.0), draws=500)

    assert missing == ()
    assert [one.name for one in ranked] == ["rival", "home"]
    assert ranked[0].first_share == 1.0
    assert (ranked[0].low, ranked[0].high) == (1, 1)


def test_two_places_that_each_win_one_criterion_are_first_as_often_under_any_mix_of_weights() -> None:
    cheap = dataclasses.replace(HOME, name="cheap", price_per_kwh=0.05, g_per_kwh=400.0)
    clean = dataclasses.replace(HOME, name="clean", price_per_kwh=0.25, g_per_kwh=20.0)
    free = dataclasses.replace(LOAD, per_tonne=0.0)

    ranked, _ = rank(exposures(free, (cheap, clean), ()), {Criterion.COST: 1.0, Criterion.CARBON: 1.0}, draws=20_000)

    # Weights uniform over the simplex: each is first in half of it, give or take 4 standard errors of 20,000 draws.
    assert ranked[0].first_share == pytest.approx(0.5, abs=4 * (0.25 / 20_000) ** 0.5)


def test_the_same_seed_draws_the_same_weights() -> None:
    found = exposures(LOAD, PLACES, SHOCKS)
    weights = {Criterion.COST: 3.0, Criterion.GOVERNANCE: 1.0}

    assert rank(found, weights, seed=7) == rank(found, weights, seed=7)


def test_a_place_without_a_figure_is_not_ranked_instead_of_guessed() -> None:
    dark = dataclasses.replace(THIRD, name="dark", governance=None)
    found = exposures(LOAD, (*PLACES, dark), SHOCKS)

    ranked, missing = rank(found, {Criterion.COST: 1.0, Criterion.GOVERNANCE: 1.0})
    by_cost, none = rank(found, {Criterion.COST: 1.0})

    assert (missing, none) == (("dark",), ())
    assert "dark" not in {one.name for one in ranked}
    assert "dark" in {one.name for one in by_cost}


# --- bad input ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "make",
    [
        lambda: dataclasses.replace(HOME, pue=0.9),
        lambda: dataclasses.replace(HOME, g_per_kwh=-1.0),
        lambda: dataclasses.replace(HOME, import_share=1.2),
        lambda: Hit(duty=1.0),
        lambda: Hit(price_factor=-0.1),
        lambda: Shock("x", per_tonne=-5.0),
        lambda: dataclasses.replace(LOAD, it_kwh=-1.0),
        lambda: dataclasses.replace(LOAD, new_share=1.5),
        lambda: rank(exposures(LOAD, PLACES, ()), {Criterion.COST: -1.0}),
        lambda: rank(exposures(LOAD, PLACES, ()), {}),
        lambda: rank(exposures(LOAD, PLACES, ()), {Criterion.COST: 1.0}, draws=0),
    ],
)
def test_what_cannot_be_is_refused(make) -> None:
    with pytest.raises(InvalidQuantity):
        make()


@pytest.mark.parametrize(
    "make",
    [
        lambda: exposures(LOAD, (), SHOCKS),
        lambda: exposures(LOAD, (HOME, HOME), SHOCKS),
        lambda: exposures(LOAD, PLACES, [Shock("x", at={"nowhere": Hit()})]),
        lambda: incentive_gap(LOAD, PLACES, "nowhere", ()),
    ],
)
def test_names_that_lead_nowhere_are_refused(make) -> None:
    with pytest.raises(UsageError):
        make()


def asked(capsys, *words):
    code = outweigh(["whatif", "policy", *words])
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    return code, said


def test_the_example_puts_today_first_and_says_where_each_figure_is_from(capsys) -> None:
    code, said = asked(capsys, str(EXAMPLE), "--json")

    document = json.loads(said.out)
    assert code == 0
    assert document["incentive_gap"][0]["state"] == "as today"
    assert {one["site"] for one in document["exposure"]} == {"frankfurt", "stockholm", "paris"}
    assert document["governance"]["DE"]["year"] == "2023"
    assert all(factor["source"] for factor in document["factors"])
    assert "carbon-tax" in document["exposure"][0]["cost"]
    assert any("does not fit" in note for note in document["notes"])


@pytest.mark.parametrize(
    ("words", "told"),
    [
        (["--weight", "price=3"], "cost=3"),
        (["--weight", "cost=x"], "cost=3"),
        (["--imports", "berlin=10%"], "frankfurt"),
        (["--carbon-price", "70 USD/t"], "not in EUR"),
        (["--carbon-price", "70 EUR/kg"], "per tonne"),
        (["--curtail", "100%"], "below 1"),
        (["--tariff", "-150%"], "multiplied by 0 or more"),
        (["--new", "120%"], "between 0 and 1"),
    ],
)
def test_options_that_cannot_be_are_refused_with_a_remedy(capsys, words, told) -> None:
    code, said = asked(capsys, str(EXAMPLE), *words)

    assert code == 2
    assert told in said.err


def test_an_unknown_zone_brings_the_nearest_names(capsys, tmp_path) -> None:
    path = tmp_path / "placement.toml"
    path.write_text(EXAMPLE.read_text().replace('zone = "SE"', 'zone = "SEE"'))

    code, said = asked(capsys, str(path))

    assert code in (2, 4)
    assert "nearest" in said.err
