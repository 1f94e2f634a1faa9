"""The world's figures: what is said of them is what they say, and what cannot be compared is not."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outweigh.cli.main import run as outweigh
from outweigh.core.errors import FactorMissing, InvalidQuantity, SeriesMismatch
from outweigh.core.quantities import CarbonIntensity, CarbonScope, Energy
from outweigh.data.places import country_years
from outweigh.data.world import world_figures
from outweigh.ledger import open_ledger
from outweigh.whatif.world import (
    Measure,
    National,
    beside,
    between,
    compare,
    known_countries,
    latest_estimate,
    tonnes_range,
)

FIGURES = world_figures()
RECEIPTS = Path(__file__).parents[1] / "stores" / "made_receipts.py"


def document(capsys, *words):
    code = outweigh(["whatif", "world", *words, "--json"])
    said = capsys.readouterr()
    assert code == 0, said.err
    return json.loads(said.out)


def refused(capsys, *words):
    code = outweigh(["whatif", "world", *words])
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    return code, said.err


def test_every_figure_says_its_year_scope_source_and_how_it_was_checked() -> None:
    for row in FIGURES.values():
        assert row.scope
        assert row.checked
        assert row.provenance.source
        assert row.provenance.grade.value == "D"
        assert row.central_twh is not None or (row.low_twh is not None and row.high_twh is not None)
        ends = [end for end in (row.low_twh, row.central_twh, row.high_twh) if end is not None]
        assert ends == sorted(ends)


def test_figures_are_those_the_agency_printed() -> None:
    # IEA, Electricity 2024, page 31; IEA, Energy and AI, April 2025, executive summary.
    assert (FIGURES["iea-2024-2026"].low_twh, FIGURES["iea-2024-2026"].high_twh) == (620, 1050)
    assert FIGURES["iea-2024-2022"].central_twh == 460
    assert (FIGURES["iea-ai-2024"].central_twh, FIGURES["iea-ai-2030"].central_twh) == (415, 945)


def test_the_articles_figure_is_about_twice_what_its_year_reads_by_the_latest_publication() -> None:
    year = between(FIGURES["iea-kq-2025"], FIGURES["iea-kq-2030"], 2026)

    (row,) = beside(FIGURES["article"], [year], Energy(0.0))

    assert row.claim_over == pytest.approx(2.0, abs=0.05)
    assert year.kind == "interpolation"


def test_the_articles_figure_lies_outside_the_range_published_for_its_year() -> None:
    (row,) = beside(FIGURES["article"], [FIGURES["iea-2024-2026"]], Energy(0.0))

    assert row.within is False
    assert row.note == "the scopes differ"


def test_figures_of_different_years_are_not_divided_by_each_other() -> None:
    (row,) = beside(FIGURES["article"], [FIGURES["iea-ai-2030"]], Energy(0.0))

    assert row.claim_over is None
    assert row.within is None


@given(twh=st.floats(0, 1e4))
def test_ones_own_share_of_a_figure_is_in_proportion_and_nothing_has_none(twh) -> None:
    (row,) = beside(FIGURES["article"], [FIGURES["iea-ai-2024"]], Energy(twh * 3.6e15))

    assert row.own_share == pytest.approx(twh / 415)


def test_the_first_row_is_what_is_drawn_if_nobody_does_anything(capsys) -> None:
    found = document(capsys)

    first, claim = found["figures"][:2]
    assert first["scenario"] == latest_estimate(tuple(FIGURES.values())).key
    assert first["kind"] == "estimate"
    assert (claim["scenario"], claim["claim_over"]) == ("article", 1.0)
    assert first["own_share"] is None


def test_a_year_that_is_not_between_two_figures_is_not_worked_out_from_them() -> None:
    with pytest.raises(InvalidQuantity):
        between(FIGURES["iea-kq-2025"], FIGURES["iea-kq-2030"], 2031)
    with pytest.raises(InvalidQuantity):
        between(FIGURES["iea-ai-2024"], FIGURES["iea-kq-2030"], 2026)


# Japan used 913 TWh in 2024 and produced 1,034 TWh: which one is meant makes a difference of 13 %.
USED = National("JP", "Japan", 2024, 913.0, Measure.CONSUMPTION, "declared")
PRODUCED = National("JP", "Japan", 2024, 1034.0, Measure.GENERATION, "declared")


def test_use_is_compared_with_use_and_production_with_production() -> None:
    assert compare(415, 2024, Measure.CONSUMPTION, USED) == pytest.approx(415 / 913)
    with pytest.raises(SeriesMismatch, match="consumption"):
        compare(415, 2024, Measure.CONSUMPTION, PRODUCED)


def test_a_scenario_of_one_year_is_not_held_against_a_country_in_another() -> None:
    with pytest.raises(SeriesMismatch, match="2026"):
        compare(1100, 2026, Measure.CONSUMPTION, USED)


def test_mixed_years_and_mixed_measures_are_refused_at_the_command_line(capsys) -> None:
    declared = ["--country", "JP", "--country-twh", "913", "--country-year", "2024", "--against", "consumption"]

    code, said = refused(capsys, *declared)
    assert (code, "2024" in said) == (2, True)
    code, said = refused(capsys, "--scenario", "iea-ai-2024", "--country", "JP")
    assert (code, "generation" in said) == (2, True)
    asked = document(capsys, "--scenario", "iea-ai-2024", *declared)
    assert asked["country"]["claim_over"] == pytest.approx(415 / 913)


def test_an_unknown_country_and_scenario_bring_the_nearest_names(capsys) -> None:
    code, said = refused(capsys, "--scenario", "iea-ai-2024", "--country", "Japn", "--against", "generation")
    assert (code, "Japan" in said) == (4, True)
    code, said = refused(capsys, "--scenario", "iea")
    assert (code, "iea-ai-2030" in said) == (2, True)
    with pytest.raises(FactorMissing, match="2024"):
        known_countries(country_years(), "JP", 1990)


@pytest.mark.parametrize("twh", [0.0, -5.0, float("nan"), float("inf")])
def test_a_country_without_electricity_is_no_country_to_compare_with(twh) -> None:
    with pytest.raises(InvalidQuantity):
        National("XX", "nowhere", 2024, twh, Measure.GENERATION, "declared")


def test_negative_energy_of_ones_own_is_refused(capsys) -> None:
    assert refused(capsys, "--energy", "-3 GWh")[0] == 2


def test_tonnes_are_a_range_between_countries_and_hold_every_country_of_the_year() -> None:
    energy = Energy(415 * 3.6e15)

    found = tonnes_range(energy, country_years(), 2024)

    for years in country_years().values():
        if 2024 in years and years[2024].generation_twh >= 1:
            tonnes = 415e9 * years[2024].g_per_kwh / 1e6
            assert found.low.to_tonnes() * (1 - 1e-9) <= tonnes <= found.high.to_tonnes() * (1 + 1e-9)


def test_a_declared_range_wins_and_is_not_taken_upside_down() -> None:
    energy = Energy(3.6e15)
    wide = (CarbonIntensity(30), CarbonIntensity(700))

    found = tonnes_range(energy, country_years(), 2024, declared=wide)

    assert (found.low.to_tonnes(), found.high.to_tonnes()) == pytest.approx((30e3, 700e3))
    with pytest.raises(InvalidQuantity):
        tonnes_range(energy, country_years(), 2024, declared=(wide[1], wide[0]))
    direct = CarbonIntensity(300, scope=CarbonScope.DIRECT)
    with pytest.raises(InvalidQuantity):
        tonnes_range(energy, country_years(), 2024, declared=(direct, direct))


def test_a_year_without_countries_has_no_tonnes() -> None:
    with pytest.raises(FactorMissing):
        tonnes_range(Energy(1.0), country_years(), 1980)


def test_ones_own_share_comes_from_the_ledger_too(capsys, tmp_path) -> None:
    spec = importlib.util.spec_from_file_location("made_receipts_for_the_world", RECEIPTS)
    made = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(made)
    receipts = [made.made_receipt(1), made.made_receipt(2)]
    store = open_ledger(tmp_path / "ledger.sqlite")
    for receipt in receipts:
        store.append(receipt)
    store.close()

    found = document(capsys, "--ledger", str(tmp_path / "ledger.sqlite"))

    assert found["own_energy_j"] == pytest.approx(sum(one.total.value.joules for one in receipts))
    assert "2 receipts" in found["own_source"]
    code, said = refused(capsys, "--ledger", str(tmp_path / "ledger.sqlite"), "--energy", "1 kWh")
    assert (code, "one of them" in said) == (2, True)
