"""Tariff files: what is wrong is said with the line and with what to write instead."""

import pytest

from outweigh.config.tariffs import load_tariff, loads_tariff
from outweigh.core.errors import ConfigError

HEAD = 'name = "t"\ncurrency = "EUR"\ntimezone = "Europe/Berlin"\n'
FLAT = HEAD + '[[energy]]\nprice = "0.1 EUR/kWh"\n'


def refused(text):
    with pytest.raises(ConfigError) as caught:
        loads_tariff(text)
    return caught.value


BAD = {
    "no currency": ('name = "t"\ntimezone = "UTC"\n[[energy]]\nprice = "1 EUR/kWh"\n', 0, "lacks 'currency'"),
    "unknown currency": (FLAT.replace("EUR", "EUX"), 2, "EUX"),
    "two currencies": (FLAT + '[[rider]]\nname = "r"\nprice = "0.01 USD/kWh"\n', 8, "USD in a tariff in EUR"),
    "no clock": (FLAT.replace('timezone = "Europe/Berlin"\n', ""), 0, "lacks 'timezone'"),
    "unknown clock": (FLAT.replace("Berlin", "Berlim"), 1, "Europe/Berlim"),
    "overlapping tiers": (
        HEAD + '[[energy]]\ntiers = [\n{ up_to = "500 kWh", price = "1 EUR/kWh" },\n'
        '{ up_to = "400 kWh", price = "2 EUR/kWh" },\n{ price = "3 EUR/kWh" },\n]\n',
        5,
        "overlap at 400 kWh",
    ),
    "tiers that end": (HEAD + '[[energy]]\ntiers = [{ up_to = "500 kWh", price = "1 EUR/kWh" }]\n', 5, "end at 500"),
    "tiers in two units": (
        HEAD + '[[energy]]\ntiers = [{ up_to = "5 kWh", price = "1 EUR/kWh" }, '
        '{ up_to = "9 kWh/kW", price = "1 EUR/kWh" }, { price = "1 EUR/kWh" }]\n',
        5,
        "both kWh and kWh/kW",
    ),
    "a hole": (
        HEAD + '[[energy]]\nname = "day"\nprice = "1 EUR/kWh"\nhours = [{ from = "06:00", to = "22:00" }]\n',
        4,
        "a hole on mon in Jan, 00:00 to 06:00",
    ),
    "a holiday forgotten": (
        HEAD + '[[energy]]\nprice = "1 EUR/kWh"\nhours = [{ days = ["mon","tue","wed","thu","fri","sat","sun"] }]\n',
        4,
        "holiday in Jan",
    ),
    "hours claimed twice": (
        FLAT.replace("price", 'name = "a"\nprice') + '[[energy]]\nname = "b"\nprice = "2 EUR/kWh"\n'
        'hours = [{ from = "06:00", to = "07:00" }]\n',
        4,
        "'b' on mon in Jan, 06:00",
    ),
    "an odd edge": (HEAD + '[[energy]]\nprice = "1 EUR/kWh"\nhours = [{ from = "06:10" }]\n', 6, "06:10 to 24:00"),
    "no such time": (HEAD + '[[energy]]\nprice = "1 EUR/kWh"\nhours = [{ from = "25:00" }]\n', 6, "not a time of day"),
    "negative demand": (FLAT + '[[demand]]\nprice = "1 EUR/kW"\nminimum = "-5 kW"\n', 8, "negative"),
    "an odd window": (FLAT + '[[demand]]\nprice = "1 EUR/kW"\nwindow = "20 min"\n', 8, "not one of 15 min"),
    "a ratchet above 100 %": (FLAT + '[[demand]]\nprice = "1 EUR/kW"\nratchet = { share = "120%" }\n', 8, "1.2"),
    "excess of nothing": (FLAT + '[[demand]]\nprice = "1 EUR/kW"\nexcess = "2 EUR/kW"\n', 8, "no contract"),
    "energy priced per kW": (HEAD + '[[energy]]\nprice = "1 EUR/kW"\n', 5, "not a price here"),
    "a price without its unit": (HEAD + "[[energy]]\nprice = 0.1\n", 5, "not a number with its unit"),
    "no price at all": (HEAD, 1, "without a price of energy"),
    "a rider of nothing": (FLAT + '[[rider]]\nname = "r"\n', 7, "rider or tax"),
    "an unknown kind": (FLAT + '[[tax]]\nname = "t"\nshare = "1%"\nof = ["enrgy"]\n', 9, "no kind of line"),
    "a slip in a key": (
        FLAT + '[[demand]]\nprice = "1 EUR/kW"\nratched = { share = 0.8 }\n',
        8,
        "unknown key 'ratched'",
    ),
    "not TOML": ("name = ", 0, "not valid TOML"),
    "one bracket": (HEAD + '[energy]\nprice = "1 EUR/kWh"\n', 4, "one table"),
    "two charges of one name": (FLAT + '[[demand]]\nname = "d"\nprice = "1 EUR/kW"\n' * 2, 1, "name them apart"),
    "a choice that is a list": (FLAT + '[[demand]]\nprice = "1 EUR/kW"\nwindow = ["15 min"]\n', 8, "not one of 15 min"),
    "tiers of the month that differ": (
        HEAD + 'tiers_count = "month"\n[[energy]]\nprice = "1 EUR/kWh"\nhours = [{ to = "12:00" }]\n'
        '[[energy]]\ntiers = [{ up_to = "5 kWh", price = "1 EUR/kWh" }, { price = "2 EUR/kWh" }]\n'
        'hours = [{ from = "12:00" }]\n',
        4,
        "different limits",
    ),
    "a rider of what comes later": (FLAT + '[[rider]]\nname = "r"\nshare = "5%"\nof = ["tax"]\n', 1, "'r' of tax"),
    "a rider of a minimum that comes later": (
        FLAT + '[minimum_bill]\namount = "5 EUR"\n[[rider]]\nname = "r"\nshare = "5%"\nof = ["energy", "minimum"]\n',
        1,
        "'r' of minimum",
    ),
    "a rider of riders alone": (FLAT + '[[rider]]\nname = "r"\nshare = "5%"\nof = ["rider"]\n', 1, "the first rider"),
    "a tax of taxes alone": (FLAT + '[[tax]]\nname = "t"\nshare = "5%"\nof = ["tax"]\n', 1, "the first tax"),
    "a price of eighty digits": (FLAT.replace("0.1 ", "1" + "0" * 79 + " "), 5, "at most 30 digits"),
    "a rounding to nearly nothing": (FLAT.replace("[[", f'[rounding]\nto = "0.{"0" * 60}1 EUR"\n[[', 1), 4, "1E-61"),
    "a folder of clocks": (FLAT.replace("Europe/Berlin", "Europe"), 1, "'Europe'"),
    "a peak over an odd time": (FLAT.replace("[[", 'tiers_peak = "20 min"\n[[', 1), 4, "not one of 15 min"),
    "an unknown rounding": (FLAT.replace("[[", '[rounding]\nby = "bankers"\n[[', 1), 5, "bankers"),
}


@pytest.mark.parametrize(("text", "line", "says"), BAD.values(), ids=BAD)
def test_a_tariff_file_that_says_something_wrong_is_refused_with_line_and_remedy(text, line, says):
    error = refused(text)

    assert says in str(error)
    assert error.line == line
    assert error.remedy


def test_a_rider_may_take_its_share_of_a_contracts_floor_which_comes_before_it():
    tariff = loads_tariff(
        FLAT
        + '[[demand]]\nprice = "1 EUR/kW"\nminimum = "5 kW"\n[[rider]]\nname = "r"\nshare = "5%"\nof = ["minimum"]\n'
    )

    assert tariff.riders[0].share


def test_a_slip_is_answered_with_the_nearest_key():
    assert "'ratchet'" in refused(BAD["a slip in a key"][0]).remedy


def test_a_missing_file_and_one_that_is_no_text_are_refused(tmp_path):
    (tmp_path / "binary.toml").write_bytes(b"\xff\xfe\x00")
    for name in ("none.toml", "binary.toml", "."):
        with pytest.raises(ConfigError):
            load_tariff(tmp_path / name)


def test_prices_are_kept_as_printed_and_units_are_read():
    tariff = loads_tariff(
        HEAD + '[[energy]]\nprice = "84.20 EUR/MWh"\n[[demand]]\nprice = "12 EUR/kW"\ncontract = "7 MW"\n'
    )

    assert str(tariff.energy[0].tiers[0].price) == "0.0842"
    assert tariff.contract_kw == 7000
