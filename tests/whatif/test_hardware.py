"""Keep or replace: laws, a case worked by hand, and what turns the answer."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outweigh.cli.main import run as outweigh
from outweigh.core.errors import InvalidQuantity
from outweigh.core.measurement import Grade
from outweigh.data.embodied import embodied_carbon
from outweigh.data.hardware import device, devices
from outweigh.whatif.estimating import Ranged
from outweigh.whatif.hardware import Fleet, Replacement, Site, weigh
from outweigh.whatif.hardware.keeping import Bound

A100, B200 = device("nvidia-a100-sxm-80gb"), device("nvidia-b200-sxm")
MADE = Ranged.between("embodied carbon", 284.25, 475, "kgCO2e", "HGX B200 PCF summary", Grade.D)


def at(pue, g, price):
    """A site of figures, or of (low, central, high)."""

    def ranged(name, given, unit):
        ends = given if isinstance(given, tuple) else (given, given, given)
        return Ranged(name, ends[1], ends[0], ends[2], unit, "declared", Grade.D)

    return Site(
        ranged("PUE", pue, "1"),
        None if g is None else ranged("carbon intensity", g, "gCO2e/kWh"),
        None if price is None else ranged("price", price, "EUR/kWh"),
    )


HERE = at(1.2, 400.0, 0.2)


def choice(busy=0.5, years=4.0, site=HERE, new=B200, embodied=MADE, price=None, bound=Bound.ARITHMETIC, count=None,
           idle=None, discount=0.0, old=A100):  # fmt: skip
    return weigh(Fleet(old, 80, busy, idle), Replacement(new, embodied, count, price), site, years, bound, discount)


def test_a_fleet_is_weighed_as_by_hand():
    # 2,250 / 312 = 7.2115 times as fast: 80 / 7.2115 = 11.09, so 12 do the work of 80, busy 0.5 x 80 / 7.2115 / 12.
    # Keep: 1.2 x 4 a x 8,765.82 h x 400 W x 40 = 673.2 MWh; replace: x 1,000 W x 5.5467 = 233.4 MWh.
    found = choice()

    assert found.replacement.count == 12
    assert found.replacement.busy == pytest.approx(0.46222, rel=1e-4)
    assert found.keep.energy_j.value / 3.6e9 == pytest.approx(673.2, rel=1e-3)
    assert found.replacement.energy_j.value / 3.6e9 == pytest.approx(233.4, rel=1e-3)
    # Debt: 12 x sqrt(284.25 x 475) kg = 4.410 t; saved a year: (673.2 - 233.4) / 4 MWh x 0.4 t = 43.98 t.
    assert found.carbon_even_years == pytest.approx(4.410 / 43.98, rel=2e-3)
    assert found.carbon_even_bounds.low < found.carbon_even_years < found.carbon_even_bounds.high


def test_keeping_owes_nothing_and_stands_first():
    found = choice(price=30_000.0)

    assert (found.keep.embodied_g.low, found.keep.embodied_g.high, found.keep.purchase) == (0, 0, 0)
    assert found.replacement.purchase == 12 * 30_000
    assert found.grade is Grade.D


@given(busy=st.floats(0.01, 1.0), years=st.floats(0.1, 20), g=st.floats(0.1, 1000))
def test_replacing_a_device_with_itself_saves_nothing_and_never_pays_its_debt(busy, years, g):
    found = choice(busy, years, at(1.1, g, 0.1), new=A100, price=1.0)

    assert found.replacement.energy_j.value == pytest.approx(found.keep.energy_j.value)
    assert found.carbon_even_years is None or found.carbon_even_years > 1e6
    assert found.money_even_years is None or found.money_even_years > 1e6


@given(busy=st.floats(0.01, 1.0), longer=st.floats(1.0, 5.0), idle=st.floats(0, 1))
def test_energy_grows_with_the_years_and_intervals_hold_their_middle(busy, longer, idle):
    here, later = choice(busy, 2.0, idle=idle), choice(busy, 2.0 * longer, idle=idle)

    for one, two in ((here.keep, later.keep), (here.replacement, later.replacement)):
        assert two.energy_j.value == pytest.approx(longer * one.energy_j.value)
        assert one.energy_j.bounds.low <= one.energy_j.value <= one.energy_j.bounds.high
        assert one.carbon_g.bounds.low <= one.carbon_g.value <= one.carbon_g.bounds.high


def test_no_work_and_no_hum_take_no_energy():
    found = choice(busy=0.0)

    assert found.keep.energy_j.value == found.replacement.energy_j.value == 0
    assert found.carbon_even_years is None


def test_at_the_intensity_and_the_price_that_are_named_both_are_even():
    found = choice(price=30_000.0, discount=0.05)
    carbon, money = (
        next(one for one in found.flips if one.quantity == name) for name in ("carbon intensity", "price of power")
    )

    cleaner = choice(site=at(1.2, carbon.at, 0.2), price=30_000.0)
    dearer = choice(site=at(1.2, 400.0, money.at), price=30_000.0, discount=0.05)

    assert cleaner.keep.carbon_g.value == pytest.approx(cleaner.replacement.carbon_g.value)
    assert dearer.keep.money == pytest.approx(dearer.replacement.money)
    assert dearer.money_even_years == pytest.approx(4.0)


def test_at_the_busy_share_that_is_named_carbon_is_even():
    found = choice(count=12)
    busy = next(one for one in found.flips if one.quantity == "busy share")

    there = choice(busy=busy.at, count=12)

    assert there.keep.carbon_g.value == pytest.approx(there.replacement.carbon_g.value, rel=1e-6)


def test_devices_that_draw_more_for_the_same_work_never_pay_back():
    found = choice(new=device("nvidia-v100-sxm2"), old=B200)

    assert found.carbon_even_years is None
    assert next(one for one in found.flips if one.of == "carbon").sense.startswith("never")


def test_what_writes_answers_is_held_against_the_memory():
    found = choice(bound=Bound.MEMORY)

    # 8,000 / 2,039 GB/s: 80 / 3.9235 = 20.4, so 21.
    assert found.replacement.count == 21


@pytest.mark.parametrize(
    ("site", "wider"),
    [
        (at((1.1, 1.5, 2.2), 400.0, 0.2), {"energy_j", "use_g", "power_money"}),
        (at(1.5, (200.0, 400.0, 800.0), 0.2), {"use_g"}),
        (at(1.5, 400.0, (0.1, 0.2, 0.4)), {"power_money"}),
    ],
)
def test_a_range_of_the_site_widens_what_it_is_a_factor_of_and_nothing_else(site, wider):
    exact, found = choice(site=at(1.5, 400.0, 0.2)), choice(site=site)

    for one, two in ((exact.keep, found.keep), (exact.replacement, found.replacement)):
        for name in ("energy_j", "use_g", "power_money"):
            before, after = getattr(one, name), getattr(two, name)
            assert after.value == pytest.approx(before.value)
            width = (after.bounds.high / after.bounds.low) / (before.bounds.high / before.bounds.low)
            assert width > 1.2 if name in wider else width == pytest.approx(1.0), name


def test_a_range_that_both_sides_share_moves_them_together():
    # Intensity a half to twice, and devices without any doubt of their own would be even a half to twice as late:
    # what the fleets' own doubt allows is less than that, so the ends lie no further than both in quadrature.
    exact, found = choice(site=at(1.2, 400.0, 0.2)), choice(site=at(1.2, (200.0, 400.0, 800.0), 0.2))
    before, after = exact.carbon_even_bounds, found.carbon_even_bounds
    saved = {name: debt / one for name, debt, one in (
        ("soon", 284.25, before.low), ("soon now", 284.25, after.low), ("late", 475, before.high),
        ("late now", 475, after.high))}  # fmt: skip
    middle = math.sqrt(284.25 * 475) / exact.carbon_even_years

    assert saved["soon now"] - middle == pytest.approx(math.hypot(saved["soon"] - middle, middle))
    assert middle - saved["late now"] == pytest.approx(math.hypot(middle - saved["late"], middle / 2))
    assert after.low < before.low < before.high < after.high


def test_missing_figures_stay_missing():
    found = choice(site=at(1.2, None, None))

    assert found.keep.carbon_g is None
    assert found.keep.power_money is None
    assert found.carbon_even_years is None
    assert found.replacement.money is None


@pytest.mark.parametrize(
    "wrong",
    [{"busy": 1.1}, {"busy": float("nan")}, {"years": 0}, {"years": float("inf")}, {"idle": -0.1}, {"discount": 1.0},
     {"price": -1.0}, {"price": float("nan")}, {"count": 0}, {"count": 1}],
)  # fmt: skip
def test_what_cannot_be_is_refused(wrong):
    with pytest.raises(InvalidQuantity):
        choice(**wrong)


def test_every_device_says_how_each_of_its_three_figures_was_checked_and_none_is_recalled():
    for key, row in devices().items():
        assert "read " in row.checked, key
        assert not {"recalled", "partly"} & set(row.checked.split()), key
        figures = [row.rated_w, row.flop_per_s / 1e12, row.bytes_per_s / 1e9]
        said = [figure for figure in figures if f"{figure:g}" in row.checked]
        assert "all three" in row.checked or len(said) >= 2, key  # the third is derived, and the row says from what


def test_embodied_figures_say_their_source_and_belong_to_devices_of_the_table():
    # NVIDIA's product carbon footprints: 1,312 kg for a baseboard of eight H100, 2,274 kg for one of eight B200; and a
    # teardown, Falk et al., arXiv 2509.00093: 127.6 kg for an A100.
    rows = embodied_carbon()

    assert set(rows) <= set(devices())
    assert all(row.provenance.source and row.checked and 0 < row.low_kg < row.high_kg for row in rows.values())
    assert 8 * rows["nvidia-h100-sxm"].low_kg == 1312
    assert 8 * rows["nvidia-b200-sxm"].low_kg == 2274
    assert rows["nvidia-a100-sxm-80gb"].low_kg == 127.6


def test_nvidias_own_claim_of_embodied_carbon_per_operation_follows_from_the_two_rows():
    # NVIDIA developer blog, HGX B200 reduces embodied carbon emissions intensity, 2025: 24 % less.
    rows = embodied_carbon()
    each = {key: rows[key].low_kg / device(key).flop_per_s for key in ("nvidia-h100-sxm", "nvidia-b200-sxm")}

    assert 1 - each["nvidia-b200-sxm"] / each["nvidia-h100-sxm"] == pytest.approx(0.24, abs=0.01)


WORDS = ["whatif", "hardware", "nvidia-a100-sxm-80gb", "nvidia-b200-sxm", "--count", "80"]


def test_the_command_line_says_grade_projection_scope_and_when_it_is_even(capsys):
    code = outweigh([*WORDS, "--zone", "DE", "--pue", "1.2", "--cost", "30000 EUR", "--start", "2027-01-01", "--json"])
    found = json.loads(capsys.readouterr().out)

    assert code == 0
    assert (found["grade"], found["projected"], found["carbon_basis"]) == ("D", True, "location")
    assert list(found).index("keep") < list(found).index("replace")
    assert found["replace"]["embodied_carbon_g_low"] == pytest.approx(12 * 284.25e3)
    assert found["money_even_years"] > found["carbon_even_years"] > 0

    outweigh([*WORDS, "--zone", "DE", "--pue", "1.2", "--start", "2027-01-01"])
    said = capsys.readouterr()
    assert "keep (do nothing)" in said.out
    assert "carbon is even after" in said.out
    assert "2027-" in said.out
    assert "missing" in said.out  # the purchase, of which nobody said a price


def test_ranges_of_the_place_reach_the_answer(capsys):
    def answer(*more):
        assert outweigh([*WORDS, *more, "--json"]) == 0
        return json.loads(capsys.readouterr().out)

    wide, exact = answer("--zone", "DE", "--pue", "1.1:2.2"), answer("--zone", "DE", "--pue", "1.5556349186104046")
    plain = answer("--intensity", f"{exact['intensity_g_per_kwh']} gCO2e/kWh", "--pue", "1.5556349186104046")

    def width(found, side="keep", key="facility_energy_j"):
        return found[side][f"{key}_high"] / found[side][f"{key}_low"]

    assert wide["keep"]["facility_energy_j"] == pytest.approx(exact["keep"]["facility_energy_j"])
    assert width(wide) > 1.2 * width(exact) == pytest.approx(1.2 * 1.3 / 0.7)
    assert width(wide, "replace") > 1.1 * width(exact, "replace")
    assert (wide["pue_low"], wide["pue_high"]) == (1.1, 2.2)
    # The drift of yearly means, which a declared intensity does not have.
    assert width(exact, key="use_carbon_g") > width(plain, key="use_carbon_g")
    assert "drift" in exact["intensity_g_per_kwh_source"]


def test_a_device_without_a_study_gets_the_range_of_those_that_have_one_and_says_so(capsys):
    words = ["nvidia-v100-sxm2", "nvidia-l4", "--count", "8", "--pue", "1.2", "--intensity", "400 gCO2e/kWh"]
    code = outweigh(["whatif", "hardware", *words, "--json"])
    found = json.loads(capsys.readouterr().out)

    assert code == 0
    assert found["replace"]["embodied_carbon_g_low"] / found["replace"]["count"] == pytest.approx(127.6e3)
    assert any("no figure of nvidia-l4" in note for note in found["notes"])


@pytest.mark.parametrize(
    ("more", "says"),
    [
        ([], "--pue"),
        (["--pue", "1.2", "--busy", "120%"], "0 to 1"),
        (["--pue", "1.2", "--busy", "nan"], "share"),
        (["--pue", "1.2", "--years", "nan"], "horizon"),
        (["--pue", "1.2", "--cost", "30000 EUR", "--price", "0.1 USD/kWh"], "EUR"),
        (["--pue", "1.2", "--new-count", "1"], "needs"),
        (["--pue", "1.2", "--embodied", "-5"], "embodied"),
        (["--pue", "1.2", "--embodied", "1e300"], "at most"),
        (["--pue", "1.2", "--start", "soon"], "2027-01-01"),
        (["--pue", "0.5"], "PUE"),
    ],
)
def test_bad_input_is_refused_with_what_to_do(capsys, more, says):
    code = outweigh([*WORDS, *more])
    said = capsys.readouterr()

    assert code == 2
    assert says in said.err
    assert "Traceback" not in said.err
    assert said.out == ""


def test_an_unknown_device_names_its_nearest(capsys):
    code = outweigh(["whatif", "hardware", "a100", "nvidia-b200-sxm", "--count", "8", "--pue", "1.2"])

    assert code == 2
    assert "nvidia-a100-sxm-80gb" in capsys.readouterr().err
