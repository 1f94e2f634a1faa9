"""Laws of an intensity that is computed from what ran, and what any JSON does to the sources that read it."""

from __future__ import annotations

import contextlib
import importlib.util
import itertools
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from outweigh.backends.grid._mix import Generation, intensity_slots
from outweigh.core.errors import OutweighError
from outweigh.core.intervals import Interval
from outweigh.core.series import CarbonSeries, Gap
from outweigh.data.fuels import fuel_intensities

pytest.importorskip("hishel")

spec = importlib.util.spec_from_file_location("keyed_providers", Path(__file__).with_name("keyed_providers.py"))
keyed = importlib.util.module_from_spec(spec)
spec.loader.exec_module(keyed)
START = datetime(2026, 3, 29, tzinfo=UTC)
HOUR = timedelta(hours=1)
FUELS = {fuel: fuel for fuel in fuel_intensities()}
mixes = st.dictionaries(st.sampled_from(sorted(FUELS)), st.floats(0, 1e5, allow_nan=False), min_size=1)


def hour(mix, start=START, length=HOUR):
    return [Generation(start, start + length, fuel, mw) for fuel, mw in mix.items()]


def computed(rows):
    return intensity_slots(rows, FUELS, "test", "XX")


@given(mixes)
def test_an_intensity_lies_between_those_of_the_fuels_that_ran(mix):
    running = [fuel_intensities()[fuel].g_per_kwh for fuel, mw in mix.items() if mw > 0]

    (slot,) = computed(hour(mix))

    if running:
        assert min(running) * (1 - 1e-12) <= slot.value <= max(running) * (1 + 1e-12)
    else:
        assert slot.value is Gap.MISSING


@given(mixes, st.randoms(use_true_random=False))
def test_it_does_not_depend_on_the_order_of_the_rows_nor_on_a_row_told_twice(mix, chance):
    rows = hour(mix) + hour(mix)
    chance.shuffle(rows)

    assert computed(rows) == computed(hour(mix))


@given(mixes, st.floats(0.1, 1000))
def test_it_does_not_depend_on_how_large_the_zone_is(mix, times):
    (slot,) = computed(hour(mix))
    (larger,) = computed(hour({fuel: mw * times for fuel, mw in mix.items()}))

    if not isinstance(slot.value, Gap) and not isinstance(larger.value, Gap):
        assert larger.value == pytest.approx(slot.value, rel=1e-6)


@given(mixes, st.integers(1, 59))
def test_where_one_plants_hour_is_told_in_two_parts_the_hour_is_the_same_in_both(mix, minutes):
    first, *others = hour(mix)
    cut = START + timedelta(minutes=minutes)
    parts = [first._replace(end=cut), first._replace(start=cut)]

    values = {slot.value for slot in computed([*parts, *others])}

    assert values == {computed(hour(mix))[0].value}


# --- any JSON at all --------------------------------------------------------------------------------

WORDS = [
    *("response", "data", "total", "frequency", "period", "respondent", "fueltype", "value", "zone", "history"),
    *("forecast", "carbonIntensity", "datetime", "updatedAt", "meta", "region", "signal_type", "units", "point_time"),
    *(
        "data_point_period_seconds",
        "location",
        "time",
        "rating",
        "duration",
        "forecastData",
        "generatedAt",
        "timestamp",
    ),
]
leaves = (
    st.none()
    | st.booleans()
    | st.integers(-(10**20), 10**20)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.sampled_from(
        [
            "CISO",
            "DE",
            "NG",
            "co2_moer",
            "lbs_co2_per_mwh",
            "CAISO_NORTH",
            "northeurope",
            "hourly",
            "NaN",
            "01:00:00",
            "2026-03-29T05",
            "2026-03-29T00:00:00Z",
            "0001-01-01T00:00:00+14:00",
            "9999-12-31T23:59:00Z",
        ]
    )
)
anything = st.recursive(
    leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(WORDS), inner, max_size=6),
    max_leaves=25,
)
COUNTED = itertools.count()
PATHS = {
    "eia": ("/v2/", "US-CAL-CISO"),
    "electricity-maps": ("/v3/", "DE"),
    "watttime": ("/v3/", "US-CAL-CISO"),
    "carbon-aware-sdk": ("/emissions/", "northeurope"),
}


@pytest.mark.parametrize("name", sorted(PATHS))
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(body=anything)
def test_whatever_json_comes_it_is_read_or_refused_and_never_a_traceback(name, body, provider):
    path, zone = PATHS[name]
    provider.says("/login", {"token": "t0ken-0ne"}).says("/locations", {"northeurope": {}}).says(path, body)
    source = keyed.at_work(name, provider, argument="average-direct" if name == "carbon-aware-sdk" else "")
    # Another hour each time: an answer is kept by its address.
    window = Interval.starting(START - next(COUNTED) * HOUR, 3600)

    for ask in (source.carbon, source.forecast):
        with contextlib.suppress(OutweighError):
            assert isinstance(ask(zone, window), CarbonSeries)
