"""What every grid source promises, whichever it is. Live clients join with a recorded answer in `SOURCES`,
which `provider`, a real server on this machine (conftest.py), gives them."""

from __future__ import annotations

import importlib.util
import pickle
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from outweigh.backends.grid.static import FixedGrid
from outweigh.core.errors import FactorMissing, InvalidQuantity, OutweighError, UnknownZone
from outweigh.core.intervals import Interval
from outweigh.core.measurement import Grade
from outweigh.core.quantities import CarbonScope
from outweigh.core.series import (
    Accounting,
    CarbonKind,
    CarbonMeaning,
    CarbonSeries,
    DataQuality,
    Gap,
    Market,
    Origin,
    PriceMeaning,
    PriceSeries,
)
from outweigh.ports import Availability, GridSource, Offer
from outweigh.registry import grid_sources

spec = importlib.util.spec_from_file_location("keyed_providers", Path(__file__).with_name("keyed_providers.py"))
keyed = importlib.util.module_from_spec(spec)
spec.loader.exec_module(keyed)

DAY = Interval.starting(datetime(2026, 3, 29, tzinfo=UTC), 86400)


@dataclass(frozen=True)
class Case:
    """A source that can answer without a network, and a zone and window of which it knows something."""

    name: str
    make: Callable[[Path, Any], GridSource]  # of an empty folder, and of the provider on this machine
    zone: str
    window: Interval = DAY


def recorded(_: Path) -> GridSource:
    meaning = CarbonMeaning(CarbonKind.MARGINAL, CarbonScope.DIRECT, Accounting.CONSUMPTION)
    origin = Origin("made", "XX", "made in this test", "CC0", issued_at=DAY.start)
    values = [100.0, None, 300.0, Gap.INVALID, *[200.0] * 20]
    past = CarbonSeries.regular(DAY.start, 3600.0, values, DataQuality.MEASURED, meaning, origin)
    ahead = CarbonSeries.regular(DAY.start, 1800.0, [50.0] * 96, DataQuality.FORECAST, meaning, origin)
    money = PriceMeaning("GBP", Market.RETAIL, taxes=True)
    price = PriceSeries.regular(DAY.start, 900.0, [0.1, *[-0.2] * 8, None] * 10, DataQuality.MEASURED, money, origin)
    return FixedGrid(carbon={"XX": past}, prices={"XX": price}, forecasts={"XX": ahead})


def written(folder: Path, suffix: str) -> GridSource:
    """A file with carbon, its forecast and prices of one zone, over the day in Berlin's spring when clocks go on."""
    rows = ["zone,start,end,value,unit,kind,scope,accounting,market,taxes,quality,issued_at,source,licence"]
    for i in range(24):
        start, end = (DAY.start + timedelta(hours=i + n) for n in (0, 1))
        span = f"DE,{start.isoformat()},{end.isoformat()}"
        rows.append(f"{span},{300 + i},gCO2e/kWh,average,direct,consumption,,,measured,,an operator,CC BY 4.0")
        rows.append(f"{span},{310 + i},kg/MWh,average,direct,consumption,,,forecast,2026-03-28T12:00Z,an operator,CC0")
        rows.append(f"{span},{40 - 5 * i},EUR/MWh,,,,day-ahead,out,measured,,an exchange,own")
    csv = folder / "own.csv"
    csv.write_text("\n".join(rows), encoding="utf-8")
    if suffix == ".parquet":
        duckdb = pytest.importorskip("duckdb")
        with duckdb.connect(":memory:") as connection:
            connection.execute(
                f"COPY (SELECT * FROM read_csv('{csv}', all_varchar = true)) "
                f"TO '{folder / 'own.parquet'}' (FORMAT parquet)"
            )
    return grid_sources.get("file").make(str(folder / f"own{suffix}"))


def archived(folder: Path) -> GridSource:
    """The recorded zone, put as it was known an hour after its day."""
    from outweigh.data.grid_archive import Archive

    pytest.importorskip("duckdb")
    source, archive = recorded(folder), Archive(folder / "grid")
    for series in answers(source, "XX", DAY):
        archive.put(series, retrieved_at=DAY.end + timedelta(hours=1))
    return grid_sources.get("archive").make(f"{folder / 'grid'}@2026-03-31T00:00Z")


def neso(provider: Any) -> GridSource:
    # Recorded on 2020-05-24: six hours of which nothing is known yet but the forecast.
    provider.stands_in_for("neso").says("/intensity/", provider.sample("uk_intensity_fw24h.json"))
    return grid_sources.get("neso")(now=lambda: datetime(2020, 5, 24, 20, 40, tzinfo=UTC))  # type: ignore[call-arg]


def energy_charts(provider: Any) -> GridSource:
    """Carbon as recorded on 2026-07-12; the recorded prices are of 2024-12-08 and are moved to that day."""
    carbon, prices = provider.sample("energy_charts_co2eq.json"), provider.sample("energy_charts_price.json")
    later_s = 1783893600 - prices["unix_seconds"][0]
    prices["unix_seconds"] = [second + later_s for second in prices["unix_seconds"]]
    # Where one column has a value the other has none, so a forecast is known for what was to come only.
    carbon["co2eq_forecast"] = [400.0 if one is None else one for one in carbon["co2eq_forecast"]]
    provider.stands_in_for("energy-charts").says("/co2eq", carbon).says("/price", prices)
    return grid_sources.get("energy-charts")(now=lambda: datetime(2026, 7, 12, 22, 50, tzinfo=UTC))  # type: ignore[call-arg]


def octopus(provider: Any) -> GridSource:
    provider.stands_in_for("octopus").says("/v1/products/", provider.sample("octopus_unit_rates_shape.json"))
    return grid_sources.get("octopus")(now=lambda: datetime(2026, 1, 10, 22, 40, tzinfo=UTC))  # type: ignore[call-arg]


def awattar(provider: Any) -> GridSource:
    provider.stands_in_for("awattar").says("/de/v1/marketdata", provider.sample("awattar_marketdata_shape.json"))
    return grid_sources.get("awattar")(now=lambda: datetime(2024, 12, 7, 23, 30, tzinfo=UTC))  # type: ignore[call-arg]


def energinet(provider: Any) -> GridSource:
    """The documented shape for both carbon data sets; prices in the fields their page names, with values made up."""
    shape = provider.sample("energinet_co2emisprog_shape.json")
    prices = [
        {"TimeUTC": f"2026-01-10T08:{minute:02d}:00", "PriceArea": "DK1", "DayAheadPriceEUR": 61.5}
        for minute in (0, 15, 30, 45)
    ]
    provider.stands_in_for("energinet").says("/dataset/CO2Emis", shape)
    provider.says("/dataset/DayAheadPrices", {"dataset": "DayAheadPrices", "records": prices})
    return grid_sources.get("energinet")(now=lambda: datetime(2026, 1, 10, 8, 20, tzinfo=UTC))  # type: ignore[call-arg]


def span(start: str, minutes: float) -> Interval:
    return Interval.starting(datetime.fromisoformat(start), 60 * minutes)


SOURCES = [
    Case("tables", lambda *_: grid_sources.get("tables").make(), "US-CAL-CISO"),
    Case("static", lambda *_: grid_sources.get("static").make("DE=230 g/kWh,DE=0.15 EUR/kWh"), "DE"),
    Case("static", lambda folder, _: recorded(folder), "XX"),
    Case("typical", lambda *_: grid_sources.get("typical").make(), "US-TEX-ERCO"),
    Case("file", lambda folder, _: written(folder, ".csv"), "DE"),
    Case("file", lambda folder, _: written(folder, ".parquet"), "DE"),
    Case("neso", lambda _, provider: neso(provider), "GB", span("2020-05-24T20:30Z", 360)),
    Case("energy-charts", lambda _, provider: energy_charts(provider), "DE", span("2026-07-12T22:00Z", 75)),
    Case("octopus", lambda _, provider: octopus(provider), "GB-C", span("2026-01-10T22:30Z", 60)),
    Case("awattar", lambda _, provider: awattar(provider), "DE", span("2024-12-07T23:00Z", 120)),
    Case("energinet", lambda _, provider: energinet(provider), "DK-DK1", span("2026-01-10T08:00Z", 10)),
    *(Case(*case) for case in keyed.CASES),
    Case("archive", lambda folder, _: archived(folder), "XX"),
]


# A source that reads with another's library is tried where that library is: `make test-frameworks`.
PARAMS = [pytest.param(case, marks=[pytest.mark.frameworks] if case.name == "gridstatus" else []) for case in SOURCES]


@pytest.fixture(params=PARAMS, ids=lambda case: case.name)
def case(request: pytest.FixtureRequest) -> Case:
    return request.param


@pytest.fixture
def source(case: Case, tmp_path: Path, provider: Any) -> GridSource:
    return case.make(tmp_path, provider)


def answers(source: GridSource, zone: str, window: Interval) -> list[CarbonSeries | PriceSeries]:
    ask = {Offer.CARBON: source.carbon, Offer.FORECAST: source.forecast, Offer.PRICES: source.prices}
    return [ask[offer](zone, window) for offer in sorted(source.limits.offers)]


def test_every_source_in_the_registry_has_a_case_here():
    assert {case.name for case in SOURCES} == set(grid_sources.names())


def test_it_is_a_grid_source_under_its_own_name_and_says_what_it_sees(case: Case, source: GridSource):
    probe = type(source).probe()

    assert isinstance(source, GridSource)
    assert source.name == case.name
    assert isinstance(probe, Availability)
    assert probe.usable or (probe.reason and probe.remedy)


def test_it_offers_something_and_names_the_question_its_carbon_answers(source: GridSource):
    limits = source.limits

    assert limits.offers
    assert bool(limits.meanings) == bool(limits.offers & {Offer.CARBON, Offer.FORECAST})
    assert list(source.zones()) == sorted(set(source.zones()))


@pytest.mark.parametrize("minutes", [0, 17])
def test_a_series_covers_exactly_the_window_asked_for(case: Case, source: GridSource, minutes: int):
    window = Interval.starting(case.window.start + timedelta(minutes=minutes), 7 * 3600)

    for series in answers(source, case.zone, window):
        assert series.interval == window
        assert all(isinstance(value, float | int | Gap) for value in series.values)


def test_it_answers_with_something_and_says_where_it_comes_from(case: Case, source: GridSource):
    for series in answers(source, case.zone, case.window):
        assert series.missing_share < 0.2
        assert all((series.origin.provider, series.origin.zone, series.origin.source, series.origin.licence))
        assert series.factor(1.0).grade in Grade


def test_beyond_what_it_knows_there_are_gaps_or_a_typed_refusal_and_never_a_reading(case: Case, source: GridSource):
    far = Interval.starting(datetime(2151, 1, 1, tzinfo=UTC), 3600)

    for ask in (source.carbon, source.forecast, source.prices):
        try:
            series = ask(case.zone, far)
        except OutweighError:
            continue
        known = [q for v, q in zip(series.values, series.qualities, strict=True) if not isinstance(v, Gap)]
        assert DataQuality.MEASURED not in known


def test_a_forecast_says_when_it_was_issued(case: Case, source: GridSource):
    if Offer.FORECAST in source.limits.offers:
        forecast = source.forecast(case.zone, case.window)

        assert forecast.origin.issued_at is not None
        assert forecast.worst_quality is DataQuality.FORECAST


def test_the_meaning_it_names_first_is_the_one_it_answers_with(case: Case, source: GridSource):
    if Offer.CARBON in source.limits.offers:
        assert source.carbon(case.zone, case.window).meaning == source.limits.meanings[0]


def test_a_meaning_it_does_not_publish_is_refused_and_not_replaced(case: Case, source: GridSource):
    every = [CarbonMeaning(k, s, a) for k in CarbonKind for s in CarbonScope for a in Accounting]
    other = next(meaning for meaning in every if meaning not in source.limits.meanings)

    with pytest.raises(FactorMissing):
        source.carbon(case.zone, case.window, other)


def test_what_it_does_not_offer_is_missing_and_says_so(case: Case, source: GridSource):
    ask = {Offer.CARBON: source.carbon, Offer.FORECAST: source.forecast, Offer.PRICES: source.prices}

    for offer in set(Offer) - source.limits.offers:
        with pytest.raises(FactorMissing, match=r"\w"):
            ask[offer](case.zone, case.window)


@pytest.mark.parametrize("zone", ["ZZ-NOWHERE", "", "world", "OWID_WRL"])
def test_an_unknown_zone_is_refused_with_a_remedy_and_no_average(case: Case, source: GridSource, zone: str):
    for offer, ask in ((Offer.CARBON, source.carbon), (Offer.PRICES, source.prices)):
        if offer in source.limits.offers:
            with pytest.raises(FactorMissing) as caught:
                ask(zone, case.window)
            assert caught.value.remedy
            assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_a_slip_in_a_zone_lists_what_is_like_it(case: Case, source: GridSource):
    if source.zones() and len(case.zone) > 2:
        ask = source.carbon if Offer.CARBON in source.limits.offers else source.prices
        with pytest.raises(UnknownZone) as caught:
            ask(case.zone[:-1], case.window)
        assert any(case.zone in near for near in caught.value.nearest)


def test_a_window_without_length_is_refused(case: Case, source: GridSource):
    ask = source.carbon if Offer.CARBON in source.limits.offers else source.prices
    with pytest.raises(InvalidQuantity):
        ask(case.zone, Interval(case.window.start, case.window.start))
