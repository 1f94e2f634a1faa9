"""Rates of the Utility Rate Database as tariffs of ours: carried over, named where they cannot be, or refused."""

from datetime import UTC, datetime
from decimal import Decimal

import pytest

from outweigh.app.whatif_tariff import import_rate
from outweigh.config.tariff_text import tariff_text
from outweigh.config.tariffs import loads_tariff
from outweigh.core.errors import ConfigError
from outweigh.core.quantities import Power
from outweigh.whatif.tariff import Load, bill
from outweigh.whatif.tariff.terms import Per, TierVolume
from outweigh.whatif.tariff.urdb import tariff_from_urdb

SEASONS = [[0 if 5 <= month <= 8 else 1] * 24 for month in range(12)]
# South Central Public Power District, "Rate Scheduel LP1 Large Power Service", as the database answered it; empty and
# descriptive fields cut. https://apps.openei.org/IURDB/rate/view/539f6a23ec4f024411ec8beb, by way of the test data of
# NREL's PySAM (tests/urdb_rate_539f6a23ec4f024411ec8beb.json, commit ca16bc0), read 2026-11-24.
LP1 = {
    "label": "539f6a23ec4f024411ec8beb",
    "uri": "https://apps.openei.org/IURDB/rate/view/539f6a23ec4f024411ec8beb",
    "sector": "Industrial",
    "utility": "South Central Public Pwr Dist",
    "name": "Rate Scheduel LP1 Large Power Service",
    "energyweekdayschedule": SEASONS,
    "energyweekendschedule": SEASONS,
    "energyratestructure": [
        [
            {"max": 300, "rate": Decimal("0.049"), "unit": "kWh/kW"},
            {"rate": Decimal("0.033"), "unit": "kWh/kW"},
        ],
        [
            {"max": 300, "rate": Decimal("0.042"), "unit": "kWh/kW"},
            {"rate": Decimal("0.029"), "unit": "kWh/kW"},
        ],
    ],
    "flatdemandunit": "kW",
    "demandrateunit": "kW",
    "demandunits": "kW",
    "flatdemandmonths": [0, 0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0],
    "flatdemandstructure": [
        [{"max": 100, "rate": Decimal("13.5")}, {"rate": Decimal("12.1")}],
        [{"max": 100, "rate": Decimal("16.3")}, {"rate": Decimal("14.9")}],
    ],
}
CHICAGO = "America/Chicago"
JULY, AUGUST = datetime(2026, 7, 1, 5, tzinfo=UTC), datetime(2026, 8, 1, 5, tzinfo=UTC)
ALL_DAY = [[0] * 24 for _ in range(12)]


def test_a_rate_of_the_database_is_billed_with_its_season_its_hours_of_use_and_its_demand_tiers():
    tariff = tariff_from_urdb(LP1, CHICAGO)

    made = bill(tariff, Load.flat(Power.kw(200), JULY, AUGUST))

    energy = 60_000 * Decimal("0.049") + (744 * 200 - 60_000) * Decimal("0.033")
    assert made.total == energy + 100 * Decimal("16.3") + 100 * Decimal("14.9")
    assert tariff.left_out == ()
    assert tariff.source.endswith(LP1["label"])


def test_an_imported_rate_is_the_same_tariff_when_its_file_is_read_back():
    tariff = tariff_from_urdb(LP1, CHICAGO)

    assert loads_tariff(tariff_text(tariff)) == tariff


def test_time_of_use_demand_and_the_look_back_are_carried_over():
    day = [[0] * 8 + [1] * 12 + [0] * 4 for _ in range(12)]
    rate = {
        **LP1,
        "demandratestructure": [[{"rate": 0}], [{"rate": Decimal("5.5"), "adj": Decimal("0.5")}]],
        "demandweekdayschedule": day,
        "demandweekendschedule": ALL_DAY,
        "demandwindow": 30,
        "lookbackPercent": Decimal("0.8"),
        "lookbackRange": 11,
        "lookbackMonths": [0, 0, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0],
        "fixedchargefirstmeter": 100,
        "fixedchargeunits": "$/month",
        "mincharge": 1000,
        "minchargeunits": "$/month",
    }

    tariff = tariff_from_urdb(rate, CHICAGO)

    timed = tariff.demand[-1]
    assert (timed.tiers[0].price, timed.minutes, timed.windows[0].start) == (6, 30, 8 * 60)
    assert tariff.peak_minutes == 30
    assert timed.ratchet is not None
    assert (timed.ratchet.share, timed.ratchet.of_months) == (Decimal("0.8"), frozenset({6, 7, 8, 9}))
    assert (tariff.fixed[0].amount, tariff.minimum_bill) == (100, 1000)
    assert loads_tariff(tariff_text(tariff)) == tariff


NIGHT_AND_DAY = [[0] * 8 + [1] * 12 + [0] * 4 for _ in range(12)]


def tiered(*limits):
    return [[{"max": top, "rate": Decimal("0.1")}, {"rate": Decimal("0.2")}] for top in limits]


def test_tiers_and_time_of_use_together_are_filled_by_the_month_as_the_databases_own_calculator_does():
    both = {"energyweekdayschedule": NIGHT_AND_DAY, "energyweekendschedule": NIGHT_AND_DAY}

    alike = tariff_from_urdb({**LP1, **both, "energyratestructure": tiered(500, 500)}, CHICAGO)
    apart = tariff_from_urdb({**LP1, **both, "energyratestructure": tiered(500, 900)}, CHICAGO)

    assert tariff_from_urdb(LP1, CHICAGO).tier_volume is TierVolume.PERIOD
    assert alike.tier_volume is TierVolume.MONTH
    assert loads_tariff(tariff_text(alike)) == alike
    assert apart.tier_volume is TierVolume.PERIOD
    assert "each period fills its own" in apart.left_out[0]


def test_what_a_bill_cannot_hold_is_named_on_the_tariff():
    rate = {
        **LP1,
        "coincidentratestructure": [[{"rate": Decimal(3)}]],
        "fueladjustmentsmonthly": [Decimal("0.001")] * 12,
        "demandreactivepowercharge": Decimal("0.2"),
        "fixedchargefirstmeter": 100,
        "fixedchargeunits": "$/year",
    }

    named = " ".join(tariff_from_urdb(rate, CHICAGO).left_out)

    for word in ("coincident", "fuel adjustments", "reactive", "per year"):
        assert word in named


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"energyratestructure": []}, "no energyratestructure"),
        ({"energyratestructure": [[{"rate": 1, "unit": "kWh daily"}]], "energyweekdayschedule": ALL_DAY}, "kwh daily"),
        ({"flatdemandunit": "kVA"}, "kVA"),
        ({"demandwindow": 5}, "5 min"),
        ({"energyweekdayschedule": [[0] * 24] * 11}, "12 months"),
        ({"energyweekdayschedule": [[7] * 24] * 12}, "period 7 of 2"),
        ({"fixedchargefirstmeter": 3, "fixedchargeunits": "$/kWh"}, "fixed charge"),
        ({"energyratestructure": [[{"rate": "x"}]], "energyweekdayschedule": ALL_DAY}, "no figure"),
        ({"energyratestructure": [[{"rate": float("nan")}]], "energyweekdayschedule": ALL_DAY}, "no figure"),
    ],
)
def test_a_rate_that_would_bill_something_else_in_silence_is_refused(change, says):
    weekend = ALL_DAY if "energyratestructure" in change else SEASONS

    with pytest.raises(ConfigError, match=says):
        tariff_from_urdb({**LP1, "energyweekendschedule": weekend, **change}, CHICAGO)


@pytest.mark.parametrize(
    "change",
    [
        {"energyweekdayschedule": [[None] * 24] * 12},
        {"energyweekdayschedule": [[Decimal("0.5")] * 24] * 12},
        {"energyweekdayschedule": [["night"] * 24] * 12},
        {"energyweekdayschedule": [0] * 12},
        {"energyweekdayschedule": 7},
        {"energyratestructure": [0, [{"rate": 1}]]},
        {"energyratestructure": [[0]]},
        {"energyratestructure": "free"},
        {"flatdemandmonths": [None] * 12},
        {"flatdemandmonths": [7] * 12},
    ],
)
def test_a_table_of_the_database_that_holds_something_else_is_refused_and_never_guessed(change):
    with pytest.raises(ConfigError):
        tariff_from_urdb({**LP1, **change}, CHICAGO)


def test_a_period_that_is_written_with_a_decimal_point_is_that_period():
    pointed = [[Decimal(f"{one}.0") for one in row] for row in SEASONS]

    found = tariff_from_urdb({**LP1, "energyweekdayschedule": pointed, "energyweekendschedule": pointed}, CHICAGO)

    assert found == tariff_from_urdb(LP1, CHICAGO)


def test_charges_of_older_entries_are_billed_and_those_we_do_not_know_are_named():
    older = {**LP1, "fixedmonthlycharge": 20, "fixedchargeunits": "$/day", "minmonthlycharge": 500,
             "standbycharge": Decimal("3.5"), "transformercharge": 0, "chargenote": "none"}  # fmt: skip

    old, new = tariff_from_urdb(older, CHICAGO), tariff_from_urdb({**older, "mincharge": 700}, CHICAGO)

    assert (old.fixed[0].amount, old.fixed[0].per, old.minimum_bill, new.minimum_bill) == (20, Per.MONTH, 500, 700)
    assert old.left_out == ("standbycharge = 3.5, a charge we do not know",)


def test_json_nested_beyond_all_sense_is_refused(tmp_path):
    path = tmp_path / "rate.json"
    path.write_text("[" * 100_000)

    with pytest.raises(ConfigError, match="not JSON"):
        import_rate(path, CHICAGO, None)
