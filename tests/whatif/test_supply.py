"""Supply: energy is kept, limits hold, the bound is a bound, and doing nothing costs what the grid costs."""

from __future__ import annotations

import csv
import dataclasses
import errno
import json
import os
import shutil
from datetime import date
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outweigh.cli.main import run as outweigh
from outweigh.core.errors import InvalidQuantity
from outweigh.whatif.supply import (
    Battery,
    Contract,
    Generator,
    Grid,
    Site,
    broken_laws,
    dispatch,
    headroom,
    outcome,
    reaches_cap,
    ways,
)

EXAMPLE = Path(__file__).parents[2] / "examples" / "supply"


def site(load=(1000.0, 1000.0), price=(0.10, 0.30), g=(400.0, 400.0), **more) -> Site:
    return Site("EUR", 1.0, np.array(load), Grid(np.array(price), np.array(g)), **more)


def sun(kw: float, *output: float) -> Generator:
    return Generator("sun", kw, np.array(output))


steps = 6
figures = st.lists(st.floats(0, 5000), min_size=steps, max_size=steps)
shares = st.lists(st.floats(0, 1), min_size=steps, max_size=steps)
prices = st.lists(st.floats(-0.2, 0.6), min_size=steps, max_size=steps)
batteries = st.builds(
    Battery, st.floats(0, 2000), st.floats(0, 8000), st.floats(0.3, 1.0), st.floats(0, 1), st.floats(0, 0.05)
)


@st.composite
def sites(draw) -> Site:
    return Site(
        currency="EUR",
        step_h=draw(st.sampled_from([0.25, 0.5, 1.0])),
        load_kw=np.array(draw(figures)),
        grid=Grid(np.array(draw(prices)), np.full(steps, draw(st.floats(0, 900)))),
        generators=(Generator("sun", draw(st.floats(0, 8000)), np.array(draw(shares))),),
        battery=draw(st.none() | batteries),
        contract=draw(st.none() | st.builds(Contract, st.floats(0, 3000), st.just(np.full(steps, 0.4)), st.just(0.06))),
        cap_kw=draw(st.floats(500, 20_000)),
        export_per_kwh=draw(st.none() | st.floats(0, 0.1)),
        per_tonne=draw(st.floats(0, 200)),
    )


# --- laws ---------------------------------------------------------------------------------------------


@settings(max_examples=40, deadline=None)
@given(asked=sites())
def test_energy_is_kept_and_every_limit_holds(asked) -> None:
    found = dispatch(asked)

    assert broken_laws(asked, found) == ()
    if asked.battery is not None:
        # In over a full cycle is out plus what the two directions lose.
        into, out = found.charging_kw.sum(), found.discharging_kw.sum()
        assert out == pytest.approx(into * asked.battery.efficiency, abs=0.05, rel=1e-4)


@settings(max_examples=40, deadline=None)
@given(asked=sites())
def test_the_bound_is_never_above_the_cost(asked) -> None:
    found = dispatch(asked)

    assert found.bound <= found.objective + 1e-6 * max(1.0, abs(found.objective))


@settings(max_examples=25, deadline=None)
@given(asked=sites())
def test_building_nothing_is_the_grid_alone(asked) -> None:
    nothing, alone = outcome("nothing", asked.scaled(0.0)), outcome("alone", asked.alone())

    assert (nothing.total is None) == (alone.total is None)
    assert nothing.grid_cost == pytest.approx(alone.grid_cost, rel=1e-9, abs=1e-6)
    assert nothing.total is None or nothing.total == pytest.approx(alone.total, rel=1e-9, abs=1e-6)
    assert nothing.carbon.grams == pytest.approx(alone.carbon.grams, rel=1e-9, abs=1e-3)
    assert nothing.matched_share == pytest.approx(alone.matched_share, abs=1e-9)
    assert nothing.peak.watts == pytest.approx(alone.peak.watts)


@settings(max_examples=20, deadline=None)
@given(asked=sites())
def test_what_may_be_built_never_makes_the_dispatch_dearer(asked) -> None:
    free = asked if asked.battery is None else dataclasses.replace(
        asked, battery=dataclasses.replace(asked.battery, wear_per_kwh=0.0)
    )  # fmt: skip

    more, alone = dispatch(free), dispatch(free.alone())

    assert more.bound <= alone.objective + 1e-6 * max(1.0, abs(alone.objective))


def test_doing_nothing_comes_first_and_costs_what_the_grid_charges() -> None:
    (first, _), *_ = ways(site(generators=(sun(500, 1, 0),), per_tonne=100.0))

    # By hand: 1000 x 0.10 + 1000 x 0.30, and 800 kg at 100 a tonne.
    assert first.total == pytest.approx(100 + 300 + 80)
    assert first.carbon.to_tonnes() == pytest.approx(0.8)
    assert (first.matched_share, first.own_kwh) == (0.0, 0.0)


# --- golden, by hand ----------------------------------------------------------------------------------


def test_a_battery_buys_the_cheap_hour_for_the_dear_one() -> None:
    # 100 kWh in at 0.10 cost 10, of which 81 come out for 0.30 and save 24.30.
    battery = Battery(power_kw=100.0, energy_kwh=500.0, efficiency=0.81, start_share=0.0)

    found = outcome("battery", site(battery=battery))

    assert found.grid_cost == pytest.approx(400 + 10 - 24.30)
    assert found.lost_kwh == pytest.approx(19)
    assert found.gap == pytest.approx(0, abs=1e-9)


def test_a_loss_above_the_spread_leaves_the_battery_idle() -> None:
    idle = Battery(power_kw=100.0, energy_kwh=500.0, efficiency=0.30, start_share=0.0)

    assert outcome("battery", site(battery=idle)).grid_cost == pytest.approx(400)


def test_a_surplus_of_one_hour_does_not_match_another() -> None:
    # The rule of Google, 24/7 Carbon-Free Energy: Methodologies and Metrics (2021): all by the year, half by the hour.
    contract = Contract(2000.0, np.array([1.0, 0.0]), strike_per_kwh=0.06)

    found = outcome("contract", site(contract=contract))

    assert (found.matched_share, found.matched_yearly) == (0.5, 1.0)
    # Paid as produced: 2000 kWh at 0.06 less the market's 0.10.
    assert found.contract_cost == pytest.approx(2000 * (0.06 - 0.10))
    assert found.carbon.to_tonnes() == pytest.approx(0.8)


def test_the_grids_own_clean_share_counts_for_what_is_left() -> None:
    asked = dataclasses.replace(site(), grid=Grid(np.array([0.1, 0.3]), np.zeros(2), np.array([0.2, 0.6])))

    assert outcome("grid", asked).matched_with_grid == pytest.approx(0.4)


def test_a_negative_price_is_not_burned_in_the_battery() -> None:
    battery = Battery(power_kw=500.0, energy_kwh=1000.0, efficiency=0.7, start_share=0.5)
    asked = site(price=(-0.10, -0.10), battery=battery)

    found = dispatch(asked)

    assert float(np.minimum(found.charging_kw, found.discharging_kw).max()) < 1e-6
    assert broken_laws(asked, found) == ()
    assert found.bound <= found.objective


# --- the cap ------------------------------------------------------------------------------------------


def test_the_cap_is_hard_and_what_it_leaves_unserved_is_named() -> None:
    found = outcome("grid", site(load=(1000.0, 1500.0), cap_kw=1200.0))

    assert found.total is None
    assert (found.short_kwh, found.short_hours) == (pytest.approx(300), 1.0)
    assert found.peak.to_kw() <= 1200


def test_a_battery_can_carry_a_peak_over_the_cap() -> None:
    battery = Battery(power_kw=400.0, energy_kwh=400.0, efficiency=1.0, start_share=0.5)

    found = outcome("battery", site(load=(900.0, 1300.0), cap_kw=1200.0, battery=battery))

    assert found.total is not None


def test_headroom_is_the_cap_over_the_peak_and_a_battery_evens_it_out() -> None:
    load = (800.0, 1200.0)
    battery = Battery(power_kw=400.0, energy_kwh=1000.0, efficiency=1.0, start_share=0.5)

    # By hand: 1800 / 1200; with a lossless battery the mean counts, 1800 / 1000; sun in the peak adds to the cap.
    assert headroom(site(load=load, cap_kw=1800.0)) == pytest.approx(1.5)
    assert headroom(site(load=load, cap_kw=1800.0, battery=battery)) == pytest.approx(1.8)
    assert headroom(site(load=load, cap_kw=1800.0, generators=(sun(600, 0, 1),))) == pytest.approx(2.0)


@settings(max_examples=15, deadline=None)
@given(asked=sites())
def test_a_load_at_its_headroom_is_served_and_one_above_it_is_not(asked) -> None:
    factor = headroom(asked)
    if not 0.01 < factor < 1e3:
        return
    under, over = (
        dispatch(dataclasses.replace(asked, load_kw=asked.load_kw * factor * by)).short_kw.max() for by in (0.999, 1.01)
    )

    assert under <= 1e-3
    assert over > 0


def test_growth_meets_the_cap_on_the_day_that_compounding_says() -> None:
    # 1.25 a year doubles in ln 2 / ln 1.25 = 3.106 years: the 1,134th day after.
    assert reaches_cap(2.0, 0.25, date(2027, 1, 1)) == date(2030, 2, 8)
    assert reaches_cap(0.9, 0.25, date(2027, 1, 1)) == date(2027, 1, 1)
    assert reaches_cap(2.0, 0.0, date(2027, 1, 1)) is None
    assert reaches_cap(2.0, 1e-9, date(2027, 1, 1)) is None
    with pytest.raises(InvalidQuantity):
        reaches_cap(2.0, -1.0, date(2027, 1, 1))


def test_a_forged_dispatch_is_found_out() -> None:
    battery = Battery(power_kw=100.0, energy_kwh=500.0, efficiency=0.81, start_share=0.0)
    asked = site(battery=battery, cap_kw=5000.0)
    found = dispatch(asked)

    assert broken_laws(asked, dataclasses.replace(found, grid_kw=found.grid_kw * 0.9))
    assert broken_laws(asked, dataclasses.replace(found, state_kwh=found.state_kwh + 50))
    assert broken_laws(dataclasses.replace(asked, cap_kw=900.0), found)


# --- bad input ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("efficiency", [0.0, 1.01, -0.5, float("nan")])
def test_a_battery_gives_back_no_more_than_it_took(efficiency) -> None:
    with pytest.raises(InvalidQuantity, match="efficiency"):
        Battery(1.0, 1.0, efficiency)


@pytest.mark.parametrize(
    "more",
    [{"load": (-1.0, 5.0)}, {"load": (float("nan"), 5.0)}, {"price": (0.1, float("inf"))}, {"g": (-5.0, 5.0)},
     {"cap_kw": 0.0}, {"price": (0.1,)}],
)  # fmt: skip
def test_a_site_that_cannot_be_is_refused(more) -> None:
    with pytest.raises(InvalidQuantity):
        site(**more)


def test_an_output_in_kilowatts_is_no_share() -> None:
    with pytest.raises(InvalidQuantity, match=r"between 0 and 1\.5"):
        sun(500, 0.2, 380.0)


def asked(capsys, path, *words):
    code = outweigh(["whatif", "supply", str(path), *words])
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    return code, said


@pytest.fixture
def folder(tmp_path):
    shutil.copytree(EXAMPLE, tmp_path / "supply")
    return tmp_path / "supply"


def test_the_example_shows_doing_nothing_first_and_a_bound_for_every_way(capsys) -> None:
    code, said = asked(capsys, EXAMPLE / "site.toml", "--json")

    document = json.loads(said.out)
    first, *others = document["ways"]
    assert code == 0
    assert first["own_energy_j"] == 0
    for way in (first, *others):
        assert 0 <= way["matched_share"] <= 1
        assert abs(way["certificate"]["gap"]) < 1e-6
        parts = sum(way[name] for name in ("grid_cost", "contract_cost", "fixed_cost", "wear_cost", "carbon_cost"))
        assert way["total"] == pytest.approx(parts - way["earned"])
        into = way["grid_energy_j"] + way["own_energy_j"]
        out = sum(way[f"{name}_energy_j"] for name in ("load", "lost", "unused", "fed_in"))
        assert into == pytest.approx(out, rel=1e-6)


def test_at_no_share_every_way_of_the_example_is_the_first(capsys) -> None:
    code, said = asked(capsys, EXAMPLE / "site.toml", "--share", "0%", "--json")

    first, *others = json.loads(said.out)["ways"]
    assert code == 0
    for way in others:
        for name in ("total", "carbon_g", "peak_power_w", "grid_energy_j"):
            assert way[name] == pytest.approx(first[name], rel=1e-9)
    assert asked(capsys, EXAMPLE / "site.toml", "--share", "130%")[0] == 2


def test_the_residual_is_a_load_that_the_tariff_engine_reads(capsys, tmp_path) -> None:
    residual = tmp_path / "residual.csv"
    code, said = asked(capsys, EXAMPLE / "site.toml", "--residual", str(residual), "--json")
    last = json.loads(said.out)["ways"][-1]

    with residual.open() as file:
        kwh = sum(float(row["kw"]) for row in csv.DictReader(file))
    billed = outweigh(["whatif", "tariff", "bill", str(EXAMPLE.parent / "tariff" / "site.toml"), "--load",
                       str(residual)])  # fmt: skip

    assert (code, billed) == (0, 0)
    assert kwh * 3.6e6 == pytest.approx(last["grid_energy_j"], rel=1e-6)


def test_a_residual_that_cannot_be_written_whole_leaves_the_old_one_as_it_was(capsys, tmp_path, monkeypatch) -> None:
    residual = tmp_path / "residual.csv"
    residual.write_text("kept")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    code, said = asked(capsys, EXAMPLE / "site.toml", "--residual", str(residual))

    assert code == 2
    assert "No space left" in said.err
    assert [one.name for one in tmp_path.iterdir()] == ["residual.csv"]
    assert residual.read_text() == "kept"


def test_a_residual_goes_through_a_link_to_its_file(capsys, tmp_path) -> None:
    (tmp_path / "link.csv").symlink_to(tmp_path / "file.csv")

    assert asked(capsys, EXAMPLE / "site.toml", "--residual", str(tmp_path / "link.csv"))[0] == 0
    assert (tmp_path / "link.csv").is_symlink()
    assert (tmp_path / "file.csv").read_text().startswith("start,kw\n2027-03-01T00:00:00+00:00,")


@pytest.mark.parametrize(
    ("was", "now", "told"),
    [
        ('efficiency = "88%"', 'efficiency = "108%"', "site.toml:22"),
        ('strike = "0.065 EUR/kWh"', 'strike = "0.065 USD/kWh"', "USD"),
        (
            'output = "wind.csv"\ncapacity = "2 MW"\nyearly',
            'output = "gone.csv"\ncapacity = "2 MW"\nyearly',
            "gone.csv",
        ),
        ("[battery]", "[batterie]", "battery"),
        ('growth = "15%"', 'growth = "-200%"', "growth"),
        ('cap = "5 MW"', 'cap = "0 MW"', "cap"),
        ('cap = "5 MW"', 'cap = "5 MW"\ntimezone = "Mars/Olympus"', "time zone"),
    ],
)
def test_a_supply_file_that_says_something_wrong_is_refused(capsys, folder, was, now, told) -> None:
    text = (folder / "site.toml").read_text()
    assert was in text
    (folder / "site.toml").write_text(text.replace(was, now, 1))

    code, said = asked(capsys, folder / "site.toml")

    assert code == 2
    assert told in said.err


@pytest.mark.parametrize(
    ("name", "line", "told"),
    [
        ("load.csv", "2027-03-01T00:00Z,-5", "load.csv:2"),
        ("sun.csv", "2027-03-01T00:00Z,", "not a number"),
        ("wind.csv", "2027-02-28T23:00Z,0.3", "among steps"),
    ],
)
def test_a_profile_with_a_hole_or_a_negative_demand_is_refused(capsys, folder, name, line, told) -> None:
    lines = (folder / name).read_text().splitlines()
    (folder / name).write_text("\n".join([lines[0], line, *lines[2:]]) + "\n")

    code, said = asked(capsys, folder / "site.toml")

    assert code == 2
    assert told in said.err


def test_profiles_of_other_hours_do_not_go_together(capsys, folder) -> None:
    lines = (folder / "sun.csv").read_text().splitlines()
    (folder / "sun.csv").write_text("\n".join(lines[:-1]) + "\n")

    code, said = asked(capsys, folder / "site.toml")

    assert code == 2
    assert "other steps" in said.err
