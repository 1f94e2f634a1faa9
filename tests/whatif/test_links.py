"""Superconducting links: physics that holds, figures that were printed, and a projection that says so everywhere."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outweigh.cli.main import run as outweigh
from outweigh.core.errors import InvalidQuantity
from outweigh.core.measurement import Grade
from outweigh.data.links import link_facts
from outweigh.whatif.estimating import Ranged
from outweigh.whatif.links import Cooling, Link, carnot_w_per_w, compare_links

shares = st.floats(0, 1)


def ranged(low, high=None):
    return Ranged.between("made", low, high or low, "1", "a test", Grade.D)


COOLER = Cooling(4.2, 300.0, ranged(0.02, 0.20))


def link(leak_w=None, standing=1.0, warm=(17.5, 20), cold=(0.005, 0.005)):
    return Link(400e9, ranged(*warm), ranged(*cold), leak_w, standing)


def test_coolers_take_what_was_printed_of_them():
    # Tolpygo, Low Temp. Phys. 42, 361 (2016), section 4.1: 352 and 3,520 W a watt, at 20 and at 2 % of Carnot.
    assert COOLER.w_per_w.low == pytest.approx(352, abs=0.5)
    assert COOLER.w_per_w.high == pytest.approx(3520, abs=5)
    assert carnot_w_per_w(4.2, 300) == pytest.approx(70.43, abs=0.01)


@given(cold=st.floats(0.1, 290), warm=st.floats(291, 400), fraction=st.floats(0.001, 1))
def test_no_cooler_beats_carnot(cold, warm, fraction):
    assert Cooling(cold, warm, ranged(fraction)).w_per_w.low >= carnot_w_per_w(cold, warm) * (1 - 1e-9)


@given(use=shares, leak=st.one_of(st.none(), st.floats(0, 1)), standing=shares)
def test_nothing_adopted_changes_nothing_to_the_last_digit(use, leak, standing):
    found = compare_links(link(leak, standing), COOLER, 700.0, use, adopted=0.0)

    assert (found.cold_w.low, found.cold_w.high) == (found.warm_w.low, found.warm_w.high)
    assert (found.saved_w.low, found.saved_w.high) == (0, 0)


@given(use=shares, leak=st.floats(0, 1), standing=shares)
def test_no_saving_is_more_than_what_links_draw_today(use, leak, standing):
    found = compare_links(link(leak, standing), COOLER, 700.0, use)

    assert found.saved_share.high <= found.share.high + 1e-12
    assert found.saved_w.low <= found.saved_w.high
    assert found.share.low <= found.share.high < 1


@given(use=shares, leak=st.floats(0, 0.1), more=st.floats(1, 10))
def test_more_heat_and_more_bits_never_take_less(use, leak, more):
    here = compare_links(link(leak), COOLER, 700.0, use).cold_w

    assert compare_links(link(leak * more), COOLER, 700.0, use).cold_w.low >= here.low
    assert compare_links(link(leak), COOLER, 700.0, min(1.0, use * more)).cold_w.high >= here.high * (1 - 1e-12)


@given(leak=st.floats(0, 0.1), standing=shares)
def test_at_the_break_even_use_both_draw_the_same(leak, standing):
    single = Cooling(4.2, 300.0, ranged(0.2))
    one = link(leak, standing, warm=(18, 18))
    found = compare_links(one, single, 700.0, 0.5)

    use = found.break_even_middle.use
    if use is not None:
        there = compare_links(one, single, 700.0, use)
        assert there.cold_w.low == pytest.approx(there.warm_w.low, rel=1e-6, abs=1e-9)


def test_a_link_is_weighed_as_by_hand():
    # 400e9 bit/s x 17.5 to 20 pJ = 7 to 8 W, whatever is sent; cold: 400e9 x 0.3 x 5 fJ = 0.6 mW x 352 to 3,521.
    found = compare_links(link(), COOLER, 700.0, 0.3)

    assert (found.warm_w.low, found.warm_w.high) == (pytest.approx(7.0), pytest.approx(8.0))
    assert (found.cold_w.low, found.cold_w.high) == (pytest.approx(0.2113, rel=1e-3), pytest.approx(2.113, rel=1e-3))
    assert found.share.high == pytest.approx(8 / 708)
    # 7 W / 3,521 less 0.6 mW = 1.39 mW with the worst cooler.
    assert found.leak_limit_w.low == pytest.approx(1.39e-3, rel=5e-3)
    eaten = compare_links(link(found.leak_limit_w.low), Cooling(4.2, 300.0, ranged(0.02)), 700.0, 0.3)
    assert eaten.cold_w.high == pytest.approx(7.0)


def test_every_fact_says_its_source_year_grade_and_how_it_was_checked():
    for fact in link_facts().values():
        known = fact.provenance
        assert all((known.source, known.year, known.licence, fact.checked))
        assert known.grade is Grade.D
        assert 0 < fact.low <= fact.high
    # Dai et al., arXiv 2109.01808: 5 fJ a bit at 4.2 K.
    assert link_facts()["superconducting"].low == 0.005


@pytest.mark.parametrize(
    "make",
    [
        lambda: Cooling(300.0, 4.2, ranged(0.2)),
        lambda: Cooling(4.2, 300.0, ranged(1.5)),
        lambda: Cooling(0.0, 300.0, ranged(0.2)),
        lambda: link(-1.0),
        lambda: link(None, 1.2),
        lambda: Link(0.0, ranged(1), ranged(1)),
        lambda: compare_links(link(), COOLER, 700.0, 1.2),
        lambda: compare_links(link(), COOLER, 0.0, 0.5),
        lambda: compare_links(link(), COOLER, 700.0, float("nan")),
        lambda: compare_links(link(), COOLER, 700.0, 0.5, 2.0),
    ],
)
def test_what_cannot_be_is_refused(make):
    with pytest.raises(InvalidQuantity):
        make()


def test_the_table_the_lines_and_the_json_all_say_projection_and_readiness(capsys):
    assert outweigh(["whatif", "links", "--leak", "10 mW"]) == 0
    said = capsys.readouterr()
    assert "a projection" in said.out
    assert "superconducting (projected)" in said.out
    assert "technology readiness 3 to 4" in said.out
    assert said.out.index("as it is (do nothing)") < said.out.index("superconducting (projected)")

    assert outweigh(["whatif", "links", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["projected"] is True
    assert found["grade"] == "D"
    assert "readiness" in found["readiness"]
    assert not [key for key in found if "saved" in key and not key.startswith("projected")]


@pytest.mark.parametrize(
    "words",
    [
        ["--use", "120%"], ["--use", "x"], ["--gbit-per-s", "nan"], ["--gbit-per-s", "0"], ["--optics", "magic"],
        ["--carnot", "2"], ["--cold-k", "400"], ["--leak", "-1 W"], ["--device", "h100"], ["--device-power", "0 W"],
        ["--warm-pj", "nan"], ["--standing", "-1"], ["--adopted", "2"],
    ],
)  # fmt: skip
def test_bad_input_is_refused_with_what_to_do(capsys, words):
    code = outweigh(["whatif", "links", *words])
    said = capsys.readouterr()

    assert code == 2
    assert "Traceback" not in said.err
    assert said.out == ""


def test_no_bits_at_all_have_no_energy_of_a_bit(capsys):
    assert outweigh(["whatif", "links", "--use", "0", "--json"]) == 0
    found = json.loads(capsys.readouterr().out)

    assert found["as_is_pj_per_bit_low"] is None
    assert found["as_is_w_low"] > 0


@pytest.mark.parametrize(
    "words",
    [["--cold-pj", "1e300"], ["--carnot", "1e-300"], ["--cold-k", "1e-300"], ["--warm-k", "1e300"]],
)
def test_figures_beyond_what_can_be_computed_never_reach_the_answer(capsys, words):
    code = outweigh(["whatif", "links", *words, "--json"])
    said = capsys.readouterr()

    assert code in {0, 2}
    assert "Traceback" not in said.err
    if code == 0:
        json.loads(said.out, parse_constant=pytest.fail)
    else:
        assert "beyond what can be computed" in said.err
