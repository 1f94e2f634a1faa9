"""gridstatus: the library itself, which fetches from a server on this machine."""

from __future__ import annotations

import importlib.util
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from outweigh.backends.grid.gridstatus import FUELS, GridStatusGrid
from outweigh.core.errors import FactorMissing, GridDataInvalid, GridUnavailable, MissingExtra, UnknownZone
from outweigh.core.intervals import Interval
from outweigh.core.series import DataQuality

spec = importlib.util.spec_from_file_location("keyed_providers", Path(__file__).with_name("keyed_providers.py"))
keyed = importlib.util.module_from_spec(spec)
spec.loader.exec_module(keyed)
DAY, HOUR, NOW = keyed.DAY, keyed.HOUR, keyed.NOW
ZONE = "US-CAL-CISO"
LOS_ANGELES = ZoneInfo("America/Los_Angeles")
HERE = importlib.util.find_spec("gridstatus") is not None

frameworks = [
    pytest.mark.frameworks,
    pytest.mark.skipif(not HERE, reason="gridstatus is not installed; `make test-frameworks` has it"),
    # The library's own: pandas warns of what it will do otherwise one day.
    pytest.mark.filterwarnings("ignore::FutureWarning", "ignore::DeprecationWarning", "ignore::UserWarning"),
]


@pytest.mark.skipif(HERE, reason="gridstatus is installed here")
def test_without_the_package_it_says_how_to_get_it():
    assert not GridStatusGrid.probe().usable
    with pytest.raises(MissingExtra, match=r"outweigh\[gridstatus\]"):
        GridStatusGrid(now=lambda: NOW).carbon(ZONE, DAY)


def test_an_unknown_zone_and_the_future_need_no_package():
    with pytest.raises(UnknownZone) as caught:
        GridStatusGrid(now=lambda: NOW).carbon("US-CAL-CIS", DAY)
    with pytest.raises(FactorMissing, match="no forecast"):
        GridStatusGrid(now=lambda: NOW).carbon(ZONE, Interval(NOW + HOUR, NOW + 2 * HOUR))

    assert any(ZONE in near for near in caught.value.nearest)


class TestLibrary:
    pytestmark = frameworks

    def test_a_day_of_the_operator_is_its_mix_times_the_medians_without_imports_and_batteries(self, provider):
        series = keyed.gridstatus(provider).carbon(ZONE, DAY)

        assert series.missing_share == 0
        assert series.mean_value() == pytest.approx(keyed.CAISO_G_PER_KWH)
        assert series.worst_quality is DataQuality.ESTIMATED
        assert (series.origin.provider, series.origin.retrieved_at) == ("CAISO", NOW)
        # A day of UTC touches two days of California.
        assert [asked.path for asked in provider.asked] == [
            f"/outlook/history/202603{day}/fuelsource.csv" for day in (28, 29)
        ]

    # Clocks in California go on at 2026-03-08T10:00Z and back at 2026-11-01T09:00Z (15 U.S.C. 260a).
    def test_the_local_day_of_23_hours_is_whole_though_the_file_holds_an_hour_that_was_not(self, provider):
        start = datetime(2026, 3, 8, tzinfo=LOS_ANGELES)
        local_day = Interval(start, (start + timedelta(days=1)).replace(hour=0))

        series = keyed.gridstatus(provider, empty=[2]).carbon(ZONE, local_day)

        assert local_day.seconds == 23 * 3600
        assert series.missing_share == 0

    def test_the_hour_that_the_clocks_show_twice_is_a_gap_and_no_hour_is_moved(self, provider):
        start = datetime(2026, 11, 1, tzinfo=LOS_ANGELES)
        local_day = Interval(start, (start + timedelta(days=1)).replace(hour=0))
        source = keyed.gridstatus(provider, local_day.end + HOUR, hours=[0, 1, 1, *range(2, 24)])

        series = source.carbon(ZONE, local_day)

        assert local_day.seconds == 25 * 3600
        assert series.missing_share == pytest.approx(2 / 25)
        assert series.window(Interval(local_day.start + HOUR, local_day.start + 3 * HOUR)).missing_share == 1

    def test_a_day_the_operator_does_not_have_is_told(self, provider, answer):
        source = keyed.gridstatus(provider)
        provider.on("/outlook/history/", answer({}, 404))

        with pytest.raises(GridUnavailable, match="CAISO did not answer"):
            source.carbon(ZONE, DAY)

    def test_miso_has_no_day_before_yesterday_and_shows_a_gap(self, provider):
        source = keyed.gridstatus(provider)

        assert source.carbon("US-MIDW-MISO", DAY).missing_share == 1
        assert not provider.asked

    def test_a_file_of_another_shape_is_a_typed_refusal(self, provider, answer):
        source = keyed.gridstatus(provider)
        provider.on("/outlook/history/", answer(b"<html>moved</html>", headers={"Content-Type": "text/html"}))

        with pytest.raises(GridDataInvalid, match="the library cannot read it"):
            source.carbon(ZONE, DAY)

    def test_pjm_without_a_key_of_its_own_is_told_where_one_is(self, monkeypatch):
        monkeypatch.delenv("PJM_API_KEY", raising=False)

        with pytest.raises(GridUnavailable, match="PJM_API_KEY"):
            GridStatusGrid(now=lambda: NOW).carbon("US-MIDA-PJM", DAY)

    def test_an_instant_holds_until_the_next_and_for_an_hour_at_most(self):
        pandas = pytest.importorskip("pandas")
        times = [DAY.start, DAY.start + timedelta(minutes=7), DAY.start + 4 * HOUR]
        table = pandas.DataFrame({"Time": pandas.to_datetime(times), "Nuclear": [1, 2, 3]})

        rows = list(GridStatusGrid(now=lambda: NOW)._rows(table, ZONE))

        assert [(row.start, row.end - row.start) for row in rows] == [
            (times[0], timedelta(minutes=7)),
            (times[1], HOUR),
            (times[2], timedelta(minutes=7)),
        ]

    def test_every_column_of_the_operators_that_can_be_seen_here_has_a_fuel(self):
        miso = {"Battery Storage", "Coal", "Natural Gas", "Nuclear", "Other", "Solar", "Wind"}
        ercot = {"Coal and Lignite", "Hydro", "Nuclear", "Power Storage", "Solar", "Wind", "Natural Gas", "Other"}
        caiso = set(
            keyed.CAISO_HEADER.replace("mall h", "mall H").replace("al g", "al G").replace("ge h", "ge H").split(",")
        )

        assert miso | ercot | (caiso - {"Time", "Imports"}) <= set(FUELS)


# --- entsoe-py as the judge of our own reading of ENTSO-E -------------------------------------------


@pytest.mark.frameworks
@pytest.mark.skipif(
    importlib.util.find_spec("entsoe") is None, reason="entsoe-py is not installed; `make test-frameworks` has it"
)
@pytest.mark.filterwarnings("ignore")  # it reads XML as HTML, and BeautifulSoup says so
class TestEntsoePy:
    def test_it_knows_the_same_areas(self):
        from entsoe.mappings import Area

        from outweigh.backends.grid.entsoe import _ZONES

        theirs = {area.value for area in Area}
        named = {"DE": "DE_LU", "LU": "DE_LU", "IE": "IE_SEM"}
        assert set(_ZONES.values()) <= theirs
        for zone, code in _ZONES.items():
            name = named.get(
                zone, zone.rpartition("-")[2].replace("NO", "NO_").replace("SE", "SE_").replace("DK", "DK_")
            )
            if len(zone) == 2:
                assert Area[named.get(zone, zone)].value == code
            elif not zone.startswith("IT"):
                assert Area[name].value == code

    def test_it_reads_the_documented_curve_alike(self, provider, sample):
        from entsoe.parsers import parse_prices

        body = sample("entsoe_a44_a03_gap_shape.xml")
        start = datetime(2026, 1, 10, 23, tzinfo=UTC)
        provider.on("/api", keyed.answer(provider, body, headers={"Content-Type": "text/xml"}))
        source = keyed.at_work("entsoe", provider, start + 20 * HOUR)

        ours = source.prices("DE", Interval.starting(start, 86400))

        theirs = parse_prices(body.decode())["15min"]
        assert [stamp.timestamp() for stamp in theirs.index] == list(ours.edges_s[:-1])
        assert list(theirs / 1000) == pytest.approx(list(ours.values))
