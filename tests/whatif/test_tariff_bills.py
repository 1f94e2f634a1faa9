"""Bills of small loads, re-added by hand, and worked bills that utilities printed."""

from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from outweigh.config.tariffs import loads_tariff
from outweigh.core.errors import GapsTooLarge, InvalidQuantity, SeriesMismatch
from outweigh.core.quantities import Power
from outweigh.core.series import DataQuality, Market, Origin, PriceMeaning, PriceSeries
from outweigh.whatif.tariff import Kind, Load, bill
from outweigh.whatif.tariff.terms import Rounding

JAN, FEB, MAR = (datetime(2026, month, 1, tzinfo=UTC) for month in (1, 2, 3))
FLAT = 'name = "t"\ncurrency = "USD"\ntimezone = "UTC"\n[[energy]]\nprice = "0.10 USD/kWh"\n'


def of_kwh(total, start=JAN, end=FEB):
    """A month that draws so much energy in all, evenly."""
    hours = int((end - start) / timedelta(hours=1))
    return Load.from_kwh(start, 3600, np.full(hours, total / hours))


def exactly(total, start=JAN):
    """A month whose milliwatt-hours add up to the figure exactly."""
    milli_wh = np.zeros(31 * 24, dtype=np.int64)
    milli_wh[:100] = total * 10**4
    return Load(start, 3600, milli_wh)


# City of Seymour (Indiana), "Billing Calculation Examples", residential electricity:
# https://cityofseymour.org/departments/utilities/residential-electricity/bill-comparison/
SEYMOUR = """
name = "Seymour"
currency = "USD"
timezone = "UTC"
[[energy]]
tiers = [
  { up_to = "250 kWh", price = "0.064 USD/kWh" },
  { up_to = "700 kWh", price = "0.049 USD/kWh" },
  %s{ price = "0.0446 USD/kWh" },
]
[[fixed]]
name = "base customer charge"
amount = "7.50 USD"
[[rider]]
name = "power cost"
price = "0.085 USD/kWh"
[[tax]]
name = "city sales tax"
share = "1%%"
"""


@pytest.mark.parametrize(
    ("kwh", "summer", "printed"),
    [(1200, "", "171.55"), (2000, '{ up_to = "1250 kWh", price = "0.0475 USD/kWh" },\n  ', "277.88")],
)
def test_a_tiered_bill_is_the_one_the_utility_prints_to_the_cent(kwh, summer, printed):
    tariff = loads_tariff(SEYMOUR % summer)

    assert bill(tariff, exactly(kwh)).total == Decimal(printed)


# Ameren Missouri, rate option FAQ: 5 kW x $3.37/kW = $16.85 in November, 5 kW x $8.16/kW = $40.80 in summer.
# https://ameren.com/missouri/company/rate-options/faqs
@pytest.mark.parametrize(("month", "printed"), [(11, "16.85"), (7, "40.80")])
def test_a_seasonal_demand_charge_is_the_one_the_utility_prints(month, printed):
    tariff = loads_tariff(
        FLAT.replace("0.10", "0")
        + '[[demand]]\nname = "winter"\nprice = "3.37 USD/kW"\nwindow = "60 min"\n'
        + 'months = ["jan", "feb", "mar", "apr", "may", "oct", "nov", "dec"]\n'
        + '[[demand]]\nname = "summer"\nprice = "8.16 USD/kW"\nwindow = "60 min"\nmonths = ["jun","jul","aug","sep"]\n'
    )
    start = datetime(2026, month, 1, tzinfo=UTC)

    assert bill(tariff, Load.from_kw(start, 900, [1, 2, 1, 2, 5, 5, 5, 5])).total == Decimal(printed)


# Taipower: 20 kWh a month are billed in any case, at 1.63 TWD/kWh: 32.6 TWD.
# https://www.taipower.com.tw/en/page.aspx?mid=4500
def test_a_minimum_take_is_paid_where_nothing_is_drawn():
    tariff = loads_tariff(
        'name = "t"\ncurrency = "TWD"\ntimezone = "UTC"\n[[energy]]\nprice = "1.63 TWD/kWh"\n'
        '[minimum_take]\nenergy = "20 kWh"\nper = "month"\nprice = "1.63 TWD/kWh"\n'
    )

    empty, used = bill(tariff, exactly(0)), bill(tariff, exactly(15))

    assert empty.total == empty.of(Kind.MINIMUM) == Decimal("32.60")
    assert used.total == Decimal("32.60")
    assert bill(tariff, exactly(30)).total == Decimal("48.90")


# The rule, not the figures, is printed: U.S. DOE (PNNL), 80 % of the peak of the 11 months before.
# https://feds.pnnl.gov/faq/what-demand-ratchet
def test_a_ratchet_bills_at_least_its_share_of_an_earlier_peak_and_lets_go_after_its_months():
    tariff = loads_tariff(
        FLAT + '[[demand]]\nname = "d"\nprice = "10 USD/kW"\nratchet = { share = "80%", months = 11 }\n'
    )
    days = [20.0 if month == 0 else 5.0 for month in range(13)]
    starts = [datetime(2025 + month // 12, month % 12 + 1, 1, tzinfo=UTC) for month in range(14)]
    kw = np.concatenate(
        [np.full(int((b - a) / timedelta(hours=1)), days[i]) for i, (a, b) in enumerate(pairwise(starts))]
    )

    made = bill(tariff, Load.from_kw(starts[0], 3600, kw))

    assert [one.billed_kw for one in made.demands] == [20, *[16] * 11, 5]
    assert made.of(Kind.RATCHET) == 11 * (16 - 5) * 10


# NREL (a laboratory of the U.S. Department of Energy), REopt API, test_demand_ratchet_rate: under Primary Service -
# Northford of Wallingford, Connecticut (OpenEI 539f6a23ec4f024411ec8bf9), a year of 1 kW with one hour of 100 kW in
# January pays 100 x (10.5 + 0.35 x 10.5 x 5 + 0.35 x 11.5 x 6) USD for demand.
def test_a_ratchet_over_two_seasons_costs_what_nrel_works_out_for_a_municipal_rate():
    charge = '[[demand]]\nname = "%s"\nprice = "%s USD/kW"\nwindow = "60 min"\nmonths = %s\n'
    charge += 'ratchet = { share = "35%%", months = 11 }\n'
    cold, warm = '["jan","feb","mar","apr","nov","dec"]', '["may","jun","jul","aug","sep","oct"]'
    tariff = loads_tariff(FLAT.replace("0.10", "0") + charge % ("cold", "10.5", cold) + charge % ("warm", "11.5", warm))
    kw = np.ones(8760)
    kw[8] = 100.0

    made = bill(tariff, Load.from_kw(JAN, 3600, kw))

    assert made.of(Kind.DEMAND) + made.of(Kind.RATCHET) == Decimal("5302.50")


def test_tiers_that_count_the_month_are_shared_out_by_use_and_tiers_that_count_a_period_are_its_own():
    text = FLAT.split("[[energy]]")[0] + "%s" + "".join(
        f'[[energy]]\nname = "{name}"\ntiers = [{{ up_to = "100 kWh", price = "{first} USD/kWh" }}, '
        f'{{ price = "{rest} USD/kWh" }}]\nhours = [{{ from = "{low}", to = "{high}" }}]\n'
        for name, first, rest, low, high in (("am", "0.10", "0.20", "00:00", "12:00"),
                                             ("pm", "0.30", "0.50", "12:00", "24:00"))
    )  # fmt: skip
    # 30 kWh before noon and 120 after it.
    load = Load.from_kwh(JAN, 3600, [*[2.5] * 12, *[10.0] * 12])

    own, shared = (bill(loads_tariff(text % rule), load).total for rule in ("", 'tiers_count = "month"\n'))

    assert own == 30 * Decimal("0.10") + 100 * Decimal("0.30") + 20 * Decimal("0.50")
    # The month is 100 kWh in the first tier and 50 in the second; a fifth of each is before noon.
    assert shared == (20 * Decimal("0.10") + 10 * Decimal("0.20")) + (80 * Decimal("0.30") + 40 * Decimal("0.50"))


def test_a_ratchet_without_history_says_what_it_did_not_see_and_uses_history_that_is_given():
    tariff = loads_tariff(
        FLAT + '[[demand]]\nname = "d"\nprice = "10 USD/kW"\nratchet = { share = "80%", months = 2 }\n'
    )
    load = Load.flat(Power.kw(5), JAN, FEB)

    blind = bill(tariff, load)
    seeing = bill(tariff, load, history={"d": {(2025, 12): Decimal(20), (2025, 11): Decimal(3)}})

    assert "2025-11" in blind.notes[0]
    assert seeing.notes == ()
    assert (blind.demands[0].billed_kw, seeing.demands[0].billed_kw) == (5, 16)


def test_a_contract_bills_a_floor_below_it_and_an_extra_price_above_it():
    tariff = loads_tariff(
        FLAT + '[[demand]]\nname = "d"\nprice = "2 USD/kW"\nminimum = "8 kW"\ncontract = "10 kW"\nexcess = "7 USD/kW"\n'
    )

    low, high = (bill(tariff, Load.flat(Power.kw(kw), JAN, FEB)) for kw in (5, 12))

    assert (low.of(Kind.DEMAND), low.of(Kind.MINIMUM)) == (10, 6)
    assert high.of(Kind.DEMAND) == 12 * 2 + 2 * 7


@pytest.mark.parametrize(("window", "kw"), [("15 min", 9), ("30 min", 6), ("60 min", 4)])
def test_demand_is_the_highest_mean_over_the_charges_own_window(window, kw):
    tariff = loads_tariff(FLAT + f'[[demand]]\nname = "d"\nprice = "1 USD/kW"\nwindow = "{window}"\n')

    made = bill(tariff, Load.from_kw(JAN, 900, [1, 3, 9, 3, 2, 2, 2, 2]))

    assert made.demands[0].metered_kw == kw


def test_demand_counts_only_in_the_hours_of_its_windows():
    tariff = loads_tariff(
        FLAT
        + '[[demand]]\nname = "d"\nprice = "1 USD/kW"\nhours = [{ from = "08:00", to = "20:00", days = "weekdays" }]\n'
    )
    kw = np.full(31 * 24, 5.0)
    kw[7], kw[8], kw[24 * 2 + 12] = 50.0, 20.0, 80.0  # Thursday 07:00 and 08:00, Saturday noon

    assert bill(tariff, Load.from_kw(JAN, 3600, kw)).demands[0].metered_kw == 20


NIGHT = """
name = "two"
currency = "EUR"
timezone = "Europe/Berlin"
holidays = [2026-12-25]
[[energy]]
name = "night"
price = "0.10 EUR/kWh"
hours = [{ from = "22:00", to = "06:00", days = "weekdays" }, { days = "weekends" }]
[[energy]]
name = "day"
price = "0.30 EUR/kWh"
hours = [{ from = "06:00", to = "22:00", days = "weekdays" }]
"""


def local(month, year=2026):
    return datetime(year, month, 1, tzinfo=ZoneInfo("Europe/Berlin")).astimezone(UTC)


def kwh_of(made, name):
    return sum((line.quantity for line in made.lines if line.name == name), Decimal(0))


@pytest.mark.parametrize(("month", "hours"), [(3, 31 * 24 - 1), (10, 31 * 24 + 1), (11, 30 * 24)])
def test_windows_follow_the_local_clock_over_the_days_of_23_and_25_hours(month, hours):
    tariff = loads_tariff(NIGHT)

    made = bill(tariff, Load.flat(Power.kw(1), local(month), local(month + 1)))

    weekdays = sum(date(2026, month, day).weekday() < 5 for day in range(1, 31 + (month != 11)))
    assert made.kwh == hours
    assert made.months == ((2026, month),)
    assert kwh_of(made, "day") == weekdays * 16
    assert made.notes == ()


def test_a_leap_year_has_its_29th_of_february_and_a_holiday_is_no_weekday():
    leap = bill(loads_tariff(NIGHT), Load.flat(Power.kw(1), local(2, 2028), local(3, 2028)))
    december = bill(loads_tariff(NIGHT), Load.flat(Power.kw(1), local(12), local(1, 2027)))

    assert leap.kwh == 29 * 24
    assert kwh_of(leap, "day") == 21 * 16
    assert kwh_of(december, "day") == 22 * 16  # 23 weekdays, one of them Christmas


def test_an_hourly_load_under_half_hour_edges_is_split_at_the_edge():
    tariff = loads_tariff(
        'name = "t"\ncurrency = "USD"\ntimezone = "UTC"\n[[energy]]\nname = "a"\nprice = "1 USD/kWh"\n'
        'hours = [{ from = "08:30", to = "09:30" }]\n'
        '[[energy]]\nname = "b"\nprice = "0 USD/kWh"\nhours = [{ from = "09:30", to = "08:30" }]\n'
    )

    assert bill(tariff, Load.flat(Power.kw(4), JAN, FEB)).total == 31 * 4


def test_a_zone_off_by_half_an_hour_is_billed_by_its_own_hours():
    tariff = loads_tariff(NIGHT.replace("Europe/Berlin", "Asia/Kolkata"))

    made = bill(tariff, Load.flat(Power.kw(1), datetime(2026, 6, 1, tzinfo=UTC), datetime(2026, 6, 2, tzinfo=UTC)))

    # 05:30 to 05:30 local: half an hour of night, 16 of day, the rest night.
    assert kwh_of(made, "day") == 16


def test_tiers_in_hours_of_use_widen_with_the_months_peak():
    tariff = loads_tariff(
        'name = "t"\ncurrency = "USD"\ntimezone = "UTC"\n[[energy]]\n'
        'tiers = [{ up_to = "200 kWh/kW", price = "0.2 USD/kWh" }, '
        '{ price = "0.1 USD/kWh" }]\n'
    )

    made = bill(tariff, Load.flat(Power.kw(10), JAN, FEB))

    assert made.total == 2000 * Decimal("0.2") + 5440 * Decimal("0.1")


def test_hours_of_use_count_the_peak_of_all_hours_whatever_hours_a_demand_charge_counts():
    hours = FLAT.replace('price = "0.10 USD/kWh"', 'tiers = [{ up_to = "200 kWh/kW", price = "0.2 USD/kWh" }, '
                         '{ price = "0.1 USD/kWh" }]')  # fmt: skip
    free = '[[demand]]\nname = "day"\nprice = "0 USD/kW"\nhours = [{ from = "08:00", to = "20:00" }]\n'
    # 10 kW at night, 1 kW by day: the month's peak is the night's.
    load = Load.from_kw(JAN, 3600, [*[10] * 8, *[1] * 12, *[10] * 4] * 31)

    plain, beside = (bill(loads_tariff(text), load) for text in (hours, hours + free))

    assert plain.total == beside.total == 2000 * Decimal("0.2") + (31 * 132 - 2000) * Decimal("0.1")


@pytest.mark.parametrize(("key", "kw"), [("", 9), ('tiers_peak = "30 min"\n', 6), ('tiers_peak = "60 min"\n', 4)])
def test_the_peak_that_hours_of_use_count_is_averaged_over_the_time_the_tariff_says(key, kw):
    text = FLAT.replace("[[energy]]", f"{key}[[energy]]").replace(
        'price = "0.10 USD/kWh"', 'tiers = [{ up_to = "1 kWh/kW", price = "1 USD/kWh" }, { price = "0 USD/kWh" }]'
    )

    assert bill(loads_tariff(text), Load.from_kw(JAN, 900, [1, 3, 9, 3, *[2] * 20])).total == kw


BLOCK = (
    'name = "b"\ncurrency = "EUR"\ntimezone = "UTC"\n[[block]]\nname = "PPA"\npower = "1 MW"\nprice = "0.05 EUR/kWh"\n'
)


def test_energy_beyond_a_block_that_nothing_prices_is_refused_and_never_free():
    tariff = loads_tariff(BLOCK)

    assert bill(tariff, Load.flat(Power.kw(1000), JAN, FEB)).total == 744_000 * Decimal("0.05")
    with pytest.raises(InvalidQuantity, match=r"73,656,000 kWh beyond .* first at 2026-01-01T00:00"):
        bill(tariff, Load.flat(Power.kw(100_000), JAN, FEB))


def test_history_of_a_charge_that_the_tariff_does_not_have_is_refused():
    tariff = loads_tariff(FLAT + '[[demand]]\nname = "capacity"\nprice = "1 USD/kW"\nratchet = { share = "80%" }\n')

    with pytest.raises(InvalidQuantity, match=r"'capacty'.*'capacity'"):
        bill(tariff, exactly(1), history={"capacty": {(2025, 12): Decimal(20)}})


def test_a_bill_is_the_history_of_the_next_one():
    tariff = loads_tariff(FLAT + '[[demand]]\nname = "d"\nprice = "1 USD/kW"\nratchet = { share = "80%" }\n')
    both = Load.from_kw(JAN, 3600, [20.0] * 31 * 24 + [5.0] * 28 * 24)

    first = bill(tariff, both.cut(JAN, FEB))
    second = bill(tariff, both.cut(FEB, MAR), history=first.history)

    assert first.total + second.total == bill(tariff, both).total


def test_an_amount_that_rounding_cannot_hold_is_refused():
    with pytest.raises(InvalidQuantity, match="more digits than a bill carries"):
        Rounding(Decimal("1e-30"))(Decimal(10) ** 15)


def prices(values, currency="EUR"):
    origin = Origin("test", "DE", "made up for this test", "declared")
    return PriceSeries.regular(
        JAN, 3600, values, DataQuality.MEASURED, PriceMeaning(currency, Market.DAY_AHEAD, False), origin
    )


SPOT = 'name = "s"\ncurrency = "EUR"\ntimezone = "UTC"\n[spot]\nadder = "0.01 EUR/kWh"\n'


def test_spot_energy_is_paid_hour_by_hour_with_its_adder_and_a_negative_hour_pays_back():
    made = bill(loads_tariff(SPOT), Load.from_kwh(JAN, 3600, [2, 3, 5]), spot=prices([0.1, -0.2, 0.05]))

    assert made.total == Decimal("0.2") - Decimal("0.6") + Decimal("0.25") + Decimal("0.1")


def test_a_missing_spot_price_is_refused_and_so_is_another_currency():
    load = Load.from_kwh(JAN, 3600, [2, 3, 5])

    with pytest.raises(GapsTooLarge, match="33 %"):
        bill(loads_tariff(SPOT), load, spot=prices([0.1, None, 0.05]))
    with pytest.raises(GapsTooLarge):
        bill(loads_tariff(SPOT), load, spot=prices([0.1, 0.2]))
    with pytest.raises(SeriesMismatch, match="USD"):
        bill(loads_tariff(SPOT), load, spot=prices([0.1, 0.2, 0.3], "USD"))
    with pytest.raises(InvalidQuantity, match="no prices were given"):
        bill(loads_tariff(SPOT), load)


def test_a_block_bought_ahead_is_paid_in_full_and_what_is_left_of_it_is_sold_at_spot():
    tariff = loads_tariff(
        SPOT + '[[block]]\nname = "PPA"\npower = "3 kW"\nprice = "0.06 EUR/kWh"\ntake_or_pay = true\nresale = "50%"\n'
    )

    made = bill(tariff, Load.from_kwh(JAN, 3600, [2, 5]), spot=prices([0.1, 0.1]))

    # 6 kWh at 0.06; 1 kWh sold at half of 0.10; 2 kWh beyond the block at 0.10 + 0.01.
    assert made.total == Decimal("0.36") - Decimal("0.05") + Decimal("0.20") + Decimal("0.02")


def test_a_bill_is_rounded_by_the_tariffs_own_rule_and_its_lines_still_add_up():
    text = FLAT.replace("0.10", "0.0333") + '[[rider]]\nname = "r"\nprice = "0.0111 USD/kWh"\n'
    by_line = bill(loads_tariff(text), exactly(1))
    by_bill = bill(
        loads_tariff(text.replace("[[energy]]", '[rounding]\nto = "0.05 USD"\nby = "up"\neach = "bill"\n[[energy]]')),
        exactly(1),
    )

    assert by_line.total == Decimal("0.04")
    assert by_bill.total == Decimal("0.05")
    assert by_bill.of(Kind.ROUNDING) == Decimal("0.05") - Decimal("0.0444")


def test_a_month_covered_in_part_is_said():
    made = bill(loads_tariff(FLAT), Load.flat(Power.kw(1), JAN, datetime(2026, 1, 20, tzinfo=UTC)))

    assert "2026-01 in part" in made.notes[0]


def test_a_yearly_take_is_settled_in_the_years_last_month():
    tariff = loads_tariff(FLAT + '[minimum_take]\nenergy = "12 MWh"\nper = "year"\nprice = "0.05 USD/kWh"\n')
    year = Load.flat(Power.kw(1), JAN, datetime(2027, 1, 1, tzinfo=UTC))

    made = bill(tariff, year)

    assert made.of(Kind.MINIMUM) == (12000 - 8760) * Decimal("0.05")
    assert {line.month for line in made.lines if line.kind is Kind.MINIMUM} == {(2026, 12)}


def test_a_minimum_bill_tops_the_month_up_before_taxes():
    tariff = loads_tariff(FLAT + '[minimum_bill]\namount = "40 USD"\n[[tax]]\nname = "vat"\nshare = "10%"\n')

    made = bill(tariff, exactly(100))

    assert (made.of(Kind.MINIMUM), made.total) == (30, 44)


@pytest.mark.parametrize("bad", [[1.0, -0.5], [1.0, float("nan")], [1.0, float("inf")], []])
def test_a_load_that_is_negative_or_missing_is_refused(bad):
    with pytest.raises(InvalidQuantity):
        Load.from_kwh(JAN, 3600, bad)


def test_a_load_without_a_zone_or_on_an_odd_step_is_refused():
    with pytest.raises(InvalidQuantity, match="zone"):
        Load.from_kwh(datetime(2026, 1, 1), 3600, [1.0])  # noqa: DTZ001
    with pytest.raises(InvalidQuantity, match="divide an hour"):
        Load.from_kwh(JAN, 7000, [1.0])
