"""Who answers for a zone, in which order, and what is said of those that did not; names of zones."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from outweigh.backends.grid.file import FileGrid
from outweigh.backends.grid.static import FixedGrid
from outweigh.core.errors import FactorMissing, GridBusy, GridDataInvalid, GridUnavailable, UnknownZone
from outweigh.core.intervals import Interval
from outweigh.core.quantities import CarbonScope
from outweigh.core.series import (
    Accounting,
    CarbonKind,
    CarbonMeaning,
    CarbonSeries,
    DataQuality,
    Market,
    Origin,
)
from outweigh.grid import Level, Sources, find_zone, open_source, resolve_carbon, resolve_prices

DAY = Interval.starting(datetime(2026, 6, 1, tzinfo=UTC), 86400)
AVERAGE = CarbonMeaning(CarbonKind.AVERAGE, CarbonScope.LIFECYCLE, Accounting.PRODUCTION)


def series(hours: int, value: float = 111.0) -> CarbonSeries:
    origin = Origin("a provider", "DE", "made here", "CC0")
    return CarbonSeries.regular(DAY.start, 3600.0, [value] * hours, DataQuality.MEASURED, AVERAGE, origin)


class Broken(FixedGrid):
    """A live source that fails in one of the ways the port allows."""

    def __init__(self, failure: Exception) -> None:
        super().__init__()
        self.failure = failure

    def carbon(self, zone: str, window: Interval, meaning: CarbonMeaning | None = None) -> CarbonSeries:
        raise self.failure


def test_a_newcomer_gets_the_countrys_year_with_everything_said():
    answer = resolve_carbon("DE", DAY)

    assert answer.level is Level.COUNTRY_YEAR
    assert answer.series.origin.vintage == "2025"
    assert answer.series.worst_quality is DataQuality.YEARLY_DEFAULT
    assert answer.series.interval == DAY
    assert [one.level for one in answer.passed_over] == [Level.ZONE_YEAR]


def test_a_year_we_have_is_answered_with_that_year():
    past = Interval.starting(datetime(2019, 6, 1, tzinfo=UTC), 3600)

    assert resolve_carbon("DE", past).series.origin.vintage == "2019"


def test_live_goes_before_file_before_the_tables_before_what_is_declared():
    live = FixedGrid(carbon={"DE": series(24, 1.0)})
    file = FixedGrid(carbon={"DE": series(24, 2.0)})
    declared = FixedGrid(carbon={"DE": 3.0, "SL": 4.0})

    def answered(sources: Sources, zone: str = "DE") -> tuple[Level, float]:
        answer = resolve_carbon(zone, DAY, sources)
        return answer.level, answer.series.mean_value()

    assert answered(Sources([live], [file], [declared])) == (Level.LIVE, 1.0)
    assert answered(Sources([], [file], [declared])) == (Level.FILE, 2.0)
    assert answered(Sources([], [], [declared]))[0] is Level.COUNTRY_YEAR
    assert answered(Sources([], [], [declared]), "SL") == (Level.DECLARED, 4.0)


@pytest.mark.parametrize(
    ("failure", "reason"),
    [
        (GridUnavailable("x", "no network", "Connect"), "no network"),
        (GridBusy("x", 30, "Wait"), "30 s"),
        (GridDataInvalid("x", "http://x", "no JSON", "Try later"), "no JSON"),
        (FactorMissing("carbon intensity", "DE", (), "Ask another"), "Ask another"),
    ],
)
def test_a_live_source_that_fails_is_passed_over_and_says_why(failure: Exception, reason: str):
    answer = resolve_carbon("DE", DAY, Sources(live=[Broken(failure)]))

    assert answer.level is Level.COUNTRY_YEAR
    assert reason in answer.passed_over[0].reason


def test_a_bug_in_a_source_is_not_taken_for_a_missing_answer():
    with pytest.raises(ZeroDivisionError):
        resolve_carbon("DE", DAY, Sources(live=[Broken(ZeroDivisionError())]))


def test_a_source_with_over_a_tenth_missing_is_passed_over_and_one_with_less_says_how_much():
    holey = resolve_carbon("DE", DAY, Sources(live=[FixedGrid(carbon={"DE": series(21)})]))
    whole = resolve_carbon("DE", DAY, Sources(live=[FixedGrid(carbon={"DE": series(22)})]))

    assert holey.level is Level.COUNTRY_YEAR
    assert "13 %" in holey.passed_over[0].reason
    assert whole.level is Level.LIVE
    assert any("8.3 %" in note for note in whole.notes)


def test_a_clock_ahead_of_the_provider_finds_gaps_and_not_old_values():
    ahead = Interval.starting(DAY.start + timedelta(days=2), 3600)

    answer = resolve_carbon("DE", ahead, Sources(live=[FixedGrid(carbon={"DE": series(24)})]))

    assert answer.level is Level.COUNTRY_YEAR
    assert "100 %" in answer.passed_over[0].reason


def test_a_broken_file_of_the_user_is_told_and_not_replaced_by_a_table(tmp_path: Path):
    (tmp_path / "own.csv").write_text("zone,start\n")

    with pytest.raises(GridDataInvalid):
        resolve_carbon("DE", DAY, Sources(files=[FileGrid(tmp_path / "own.csv")]))


def test_a_zone_without_its_own_year_gets_its_countrys_and_is_told_so():
    answer = resolve_carbon("CA-QC", DAY)

    assert answer.level is Level.COUNTRY_YEAR
    assert answer.series.origin.zone == "CA"
    assert any("stands in for CA-QC" in note for note in answer.notes)


def test_a_balancing_authority_has_its_own_year():
    answer = resolve_carbon("ERCO", DAY)

    assert (answer.zone.key, answer.level, answer.series.origin.vintage) == ("US-TEX-ERCO", Level.ZONE_YEAR, "2022")


def test_a_country_whose_figure_is_mostly_rounding_is_missing_and_the_world_does_not_stand_in():
    with pytest.raises(FactorMissing) as caught:
        resolve_carbon("SL", DAY)

    assert not isinstance(caught.value, UnknownZone)
    assert caught.value.exit_code == 4


@pytest.mark.parametrize("asked", ["", " ", "World", "WORLD", "OWID_WRL", "earth", "DE-XX", "de", "AQ"])
def test_a_name_that_is_no_zone_is_refused_and_nothing_is_guessed(asked: str):
    with pytest.raises(UnknownZone) as caught:
        resolve_carbon(asked, DAY)

    assert caught.value.exit_code == 2


@pytest.mark.parametrize(
    ("asked", "nearest"),
    [
        ("Germny", "DE (Germany)"),
        ("de", "DE (Germany)"),
        ("DE-XX", "DE (Germany)"),
        ("US-TEX-ERC", "US-TEX-ERCO (Electric Reliability Council of Texas)"),
        ("eu-central-1", "aws:eu-central-1 (Europe (Frankfurt))"),
        ("Namib", "NA (Namibia)"),
    ],
)
def test_a_slip_lists_the_nearest_names(asked: str, nearest: str):
    with pytest.raises(UnknownZone) as caught:
        find_zone(asked)

    assert nearest in caught.value.nearest


@pytest.mark.parametrize(
    ("asked", "key", "note"),
    [
        ("NA", "NA", ""),
        ("AUS-NSW", "AU-NSW", "now AU-NSW"),
        ("US-CA", "US-CAL-CISO", "now US-CAL-CISO"),
        ("DEU", "DE", "Germany"),
        ("aws:eu-central-1", "DE", "lies in DE"),
    ],
)
def test_codes_old_names_and_cloud_regions_lead_to_their_zone_with_a_note(asked: str, key: str, note: str):
    zone = find_zone(asked)

    assert zone.key == key
    assert note in zone.note


def test_namibia_is_answered_for():
    assert resolve_carbon("NA", DAY).zone.name == "Namibia"


def test_a_zone_only_the_users_file_knows_is_taken_as_it_is():
    own = FixedGrid(carbon={"our-campus": series(24)})

    assert resolve_carbon("our-campus", DAY, Sources(files=[own])).level is Level.FILE


def test_a_price_names_its_market_and_who_pays_it():
    answer = resolve_prices("DE", DAY)

    assert answer.series.meaning.market is Market.RETAIL
    assert not answer.series.meaning.taxes
    assert answer.series.origin.vintage == "2025-S1"
    assert any("band IE (20,000 to 69,999 MWh a year), excluding taxes" in note for note in answer.notes)


def test_where_only_the_market_has_that_year_the_market_answers_and_says_what_it_leaves_out():
    year = Interval.starting(datetime(2021, 7, 1, tzinfo=UTC), 86400)

    answer = resolve_prices("DE", year)

    assert answer.series.meaning.market is Market.DAY_AHEAD
    assert answer.series.origin.vintage == "2021"
    assert any("without network charges" in note for note in answer.notes)


def test_a_us_state_has_a_price_under_its_iso_name():
    answer = resolve_prices("US-CA", DAY)

    assert (answer.zone.key, answer.zone.name) == ("US-CA", "California")
    assert answer.series.meaning.market is Market.RETAIL


def test_a_country_without_a_price_is_missing_one():
    with pytest.raises(FactorMissing, match="electricity price"):
        resolve_prices("JP", DAY)


def test_a_meaning_that_only_a_lower_level_has_is_answered_from_there():
    direct = replace(AVERAGE, scope=CarbonScope.DIRECT)
    live = FixedGrid(carbon={"DE": replace(series(24), meaning=direct)})

    answer = resolve_carbon("DE", DAY, Sources(live=[live]), meaning=AVERAGE)

    assert answer.level is Level.COUNTRY_YEAR
    assert answer.series.meaning == AVERAGE


def test_a_source_is_opened_by_what_people_type():
    assert open_source("static:XX=5 g/kWh").carbon("XX", DAY).mean_value() == 5.0


def test_what_nobody_has_is_caused_by_the_source_to_wait_for():
    down, longer, shorter = (
        GridUnavailable("x", "no network", "Connect"),
        GridBusy("y", 90, "Wait"),
        GridBusy("z", 30, ""),
    )

    with pytest.raises(FactorMissing) as caught:
        resolve_carbon("SL", DAY, Sources(live=[Broken(down), Broken(longer), Broken(shorter)]))

    assert caught.value.__cause__ is shorter
    answer = resolve_carbon("DE", DAY, Sources(live=[Broken(down)]))
    assert (answer.passed_over[0].down, answer.passed_over[0].without_it) == (down, False)


class OwnNames(FixedGrid):
    """A source of which only asking tells what it has; it answers with the name it was asked by."""

    def zones(self) -> tuple[str, ...]:
        return ()

    def takes(self, name: str) -> bool:
        return name in {"eastus", "azure:eastus", "ERCOT_NORTHCENTRAL"}

    def carbon(self, zone: str, window: Interval, meaning: CarbonMeaning | None = None) -> CarbonSeries:
        origin = Origin("a provider", zone, "made here", "CC0")
        return replace(series(24), origin=origin)


@pytest.mark.parametrize(
    ("asked", "key"), [("eastus", "eastus"), ("azure:eastus", "US-MIDA-PJM"), ("ERCOT_NORTHCENTRAL",) * 2]
)
def test_a_named_source_is_asked_by_the_name_only_it_knows(asked: str, key: str):
    answer = resolve_carbon(asked, DAY, Sources(live=[OwnNames()]))

    assert (answer.zone.key, answer.series.origin.zone) == (key, asked)


@pytest.mark.parametrize("asked", ["eastsu", "DE-LX"])
def test_a_slip_that_a_source_takes_and_its_provider_refuses_is_a_slip(asked: str):
    class Taking(FixedGrid):
        def takes(self, name: str) -> bool:
            return True

    with pytest.raises(UnknownZone) as caught:
        resolve_carbon(asked, DAY, Sources(live=[Taking(carbon={"eastus": 1.0})]))

    assert caught.value.exit_code == 2
    down = Broken(GridUnavailable("x", "no network", "Connect"))
    down.takes = lambda _: True  # type: ignore[attr-defined]
    assert resolve_carbon("DE-LX", DAY, Sources(live=[down])).level is Level.COUNTRY_YEAR


def test_a_name_that_no_source_takes_is_refused_still():
    with pytest.raises(UnknownZone):
        resolve_carbon("eastsu", DAY, Sources(live=[OwnNames()]))


def test_a_code_or_an_old_name_is_translated_before_a_source_takes_it_as_its_own():
    from outweigh.backends.grid.electricity_maps import ElectricityMapsGrid
    from outweigh.grid import name_at, zone_among

    maps = ElectricityMapsGrid()

    asked_by = {
        asked: name_at(maps, zone_among([maps], asked), asked)
        for asked in ("CISO", "UK", "US-CA", "ES-IB-MA", "aws:eu-west-1")
    }

    assert asked_by == {
        "CISO": "US-CAL-CISO", "UK": "GB", "US-CA": "US-CAL-CISO", "ES-IB-MA": "ES-IB-MA", "aws:eu-west-1": "IE",
    }  # fmt: skip
