"""What holds for every load and every tariff of a kind: bills, and the price of one more run."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from itertools import pairwise
from operator import add
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from outweigh.core.errors import PlanInfeasible
from outweigh.core.quantities import CarbonIntensity, Money, Power
from outweigh.whatif.tariff import Kind, Load, Run, Tariff, bill
from outweigh.whatif.tariff.cooling import Cooling, Stage
from outweigh.whatif.tariff.marginal import CarbonPrice, Question, Slope, Way, best_start, curve, held, marginal, ways
from outweigh.whatif.tariff.terms import (
    BEFORE_RIDERS,
    BEFORE_TAXES,
    WEEKDAYS,
    WEEKENDS,
    DemandCharge,
    EnergyRate,
    Fixed,
    Levy,
    MinimumTake,
    Ratchet,
    Rounding,
    Tier,
    TierVolume,
    Window,
)

START = datetime(2026, 1, 1, tzinfo=UTC)
HOURS = 24 * (31 + 28 + 31)
# Twelfths of an hour divide these evenly, so that splitting a step moves not one milliwatt-hour.
GRAIN = 12_000

prices = st.decimals(0, 1, places=4)
kilowatt_prices = st.decimals(0, 30, places=2)


@st.composite
def tiers(draw, price=prices, most=200_000):
    limits = sorted(draw(st.sets(st.integers(1, most), max_size=3)))
    return tuple(Tier(None if i == len(limits) else Decimal(limits[i]), draw(price)) for i in range(len(limits) + 1))


@st.composite
def tariffs(draw, ratchet=True):
    day = (Window(8 * 60, 20 * 60, WEEKDAYS),)
    night = (Window(0, 8 * 60, WEEKDAYS), Window(20 * 60, 24 * 60, WEEKDAYS), Window(days=WEEKENDS))
    clutch = Ratchet(draw(st.decimals(0, 1, places=2)), draw(st.integers(1, 11))) if ratchet else None
    return Tariff(
        name="drawn",
        currency="USD",
        energy=(EnergyRate("day", draw(tiers()), day), EnergyRate("night", draw(tiers()), night)),
        demand=(
            DemandCharge(
                "all",
                draw(tiers(kilowatt_prices, 500)),
                draw(st.sampled_from([15, 30, 60])),
                ratchet=clutch,
                minimum_kw=Decimal(draw(st.integers(0, 100))),
                contract_kw=Decimal(200),
                excess_price=draw(kilowatt_prices),
            ),
            DemandCharge("peak", draw(tiers(kilowatt_prices, 500)), windows=day),
        ),
        fixed=(Fixed("base", draw(kilowatt_prices)),),
        riders=(Levy("rider", frozenset({Kind.ENERGY, Kind.DEMAND}), share=draw(st.decimals(0, 1, places=3))),),
        taxes=(Levy("tax", BEFORE_TAXES, share=Decimal("0.19")), Levy("duty", frozenset(), per_kwh=draw(prices))),
        minimum_bill=draw(st.none() | st.decimals(0, 50_000, places=2)),
    )


kinds = st.sets(st.sampled_from(sorted(BEFORE_TAXES)))


@st.composite
def levied(draw):
    """Tariffs with a share of any kinds of lines, a ratchet and floors: some rise with load and some do not."""
    price, floor = draw(kilowatt_prices), Decimal(draw(st.sampled_from([0, 150])))
    charge = DemandCharge("d", (Tier(None, price),), 60, ratchet=Ratchet(Decimal("0.8")), minimum_kw=floor)
    tax = Levy("tax", frozenset(draw(kinds)), share=draw(st.sampled_from([Decimal(0), Decimal(2)])))
    free = (EnergyRate("all", (Tier(None, draw(st.sampled_from([Decimal(0), Decimal("0.001")]))),)),)
    # What stays unrounded shows each difference of two bills, and not the last cent's.
    exact = Rounding(Decimal("0.000001"), each_line=False)
    least = draw(st.none() | st.just(Decimal(5000)))
    return simple(charge, energy=free, taxes=(tax,), minimum_bill=least, rounding=exact)


@st.composite
def loads(draw, most_kw=400):
    seed, top = draw(st.integers(0, 2**32 - 1)), draw(st.integers(0, most_kw))
    steps = np.random.default_rng(seed).integers(0, top * 10**6 // GRAIN + 1, HOURS)
    return Load(START, 3600, steps * GRAIN)


@settings(max_examples=40, deadline=None)
@given(tariff=tariffs(), load=loads(), more=loads(100))
def test_drawing_more_never_makes_the_bill_smaller(tariff, load, more):
    assert tariff.rises_with_load

    assert bill(tariff, load.adding(more.milli_wh)).total >= bill(tariff, load).total


@settings(max_examples=150, deadline=None)
@given(tariff=levied(), months=st.tuples(*[st.integers(0, 400)] * 3), more=st.tuples(*[st.integers(0, 300)] * 3))
def test_a_tariff_that_says_it_rises_with_load_does_so_whatever_its_taxes_take_a_share_of(tariff, months, more):
    assume(tariff.rises_with_load)

    low, high = (bill(tariff, three_months(kw)).total for kw in (months, map(add, months, more)))

    assert high >= low


@pytest.mark.parametrize("of", [{Kind.RATCHET}, {Kind.RATCHET, Kind.ENERGY}, {Kind.DEMAND, Kind.MINIMUM}])
def test_a_share_of_a_ratchet_or_a_minimum_by_itself_can_fall_with_load_and_the_tariff_says_so(of):
    charge = DemandCharge("d", (Tier(None, Decimal(10)),), ratchet=Ratchet(Decimal("0.8")), minimum_kw=Decimal(100))

    assert not simple(charge, taxes=(Levy("t", frozenset(of), share=Decimal("0.5")),)).rises_with_load
    assert simple(charge, taxes=(Levy("t", BEFORE_TAXES, share=Decimal("0.5")),)).rises_with_load
    assert simple(charge, riders=(Levy("r", BEFORE_RIDERS, share=Decimal("0.5")),)).rises_with_load


def test_a_rider_on_the_ratchet_alone_falls_where_more_demand_leaves_less_of_it():
    charge = DemandCharge("d", (Tier(None, Decimal(10)),), ratchet=Ratchet(Decimal("0.8")))
    free = (EnergyRate("all", (Tier(None, Decimal(0)),)),)
    tariff = simple(charge, energy=free, riders=(Levy("r", frozenset({Kind.RATCHET}), share=Decimal("0.5")),))

    low, high = (bill(tariff, three_months([1000, kw, 1000])).total for kw in (400, 700))

    # February is billed 800 kW either way; half of what the ratchet adds to it is 2,000 USD, and then 500.
    assert (low, high) == (10_000 + 8_000 + 2_000 + 10_000, 10_000 + 8_000 + 500 + 10_000)
    assert not tariff.rises_with_load


@settings(max_examples=40, deadline=None)
@given(tariff=tariffs(ratchet=False), load=loads())
def test_without_a_ratchet_the_bill_of_a_quarter_is_the_sum_of_its_months(tariff, load):
    edges = [datetime(2026, month, 1, tzinfo=UTC) for month in (1, 2, 3, 4)]

    months = [bill(tariff, load.cut(low, high)).total for low, high in pairwise(edges)]

    assert bill(tariff, load).total == sum(months)


@settings(max_examples=40, deadline=None)
@given(tariff=tariffs(), load=loads(), parts=st.sampled_from([2, 4, 12]))
def test_the_bill_does_not_depend_on_how_finely_the_load_is_read(tariff, load, parts):
    assert bill(tariff, load.split(parts)).lines == bill(tariff, load).lines


# Clocks that move by half an hour in the ninety days from the month's first, and one that is half an hour off.
@settings(max_examples=40, deadline=None)
@given(
    tariff=tariffs(),
    load=loads(),
    parts=st.sampled_from([2, 4, 12]),
    clock=st.sampled_from([("Australia/Lord_Howe", 3), ("Australia/Lord_Howe", 8), ("America/St_Johns", 10)]),
)
def test_the_bill_does_not_depend_on_how_finely_the_load_is_read_where_clocks_move(tariff, load, parts, clock):
    zone, month = clock
    local = replace(tariff, timezone=zone)
    load = replace(load, start=datetime(2026, month, 1, tzinfo=UTC))

    assert bill(local, load.split(parts)).lines == bill(local, load).lines


def test_where_the_clock_moves_by_half_an_hour_every_hour_is_billed_by_its_own_period():
    noon = (EnergyRate("am", (Tier(None, Decimal(1)),), (Window(0, 12 * 60),)),
            EnergyRate("pm", (Tier(None, Decimal(0)),), (Window(12 * 60, 24 * 60),)))  # fmt: skip
    charge = DemandCharge("d", (Tier(None, Decimal(1)),), 60)
    tariff = replace(simple(charge, energy=noon), timezone="Australia/Lord_Howe")
    # April has one half hour more before noon, as clocks go back from 02:00 to 01:30 on the 5th.
    start, end = (datetime(2026, month, 1, tzinfo=ZoneInfo(tariff.timezone)).astimezone(UTC) for month in (4, 5))

    made = bill(tariff, Load.flat(Power.kw(10), start, end, 1800))

    assert made.of(Kind.ENERGY) == 10 * (30 * 12 + Decimal("0.5"))
    assert made.demands[0].metered_kw == 10


@settings(max_examples=40, deadline=None)
@given(tariff=tariffs(), load=loads(), hour=st.integers(0, HOURS - 1), nothing=st.sampled_from(["power", "time"]))
def test_a_run_that_draws_nothing_costs_nothing_in_every_part(tariff, load, hour, nothing):
    power, seconds = (Power.kw(0), 3600.0) if nothing == "power" else (Power.kw(100), 0.0)
    carbon = CarbonPrice(Money(100.0, "USD"), CarbonIntensity(400.0))

    made = marginal(Question(tariff, load, carbon=carbon), Run(power, seconds, START + timedelta(hours=hour)))

    assert made.total == made.carbon == 0
    assert not any(made.parts.values())
    assert not made.naive


@settings(max_examples=40, deadline=None)
@given(tariff=tariffs(), load=loads(), kw=st.floats(0, 300), hours=st.floats(0, 300), at=st.integers(0, 1000))
def test_the_parts_of_a_marginal_cost_add_up_to_the_difference_of_two_bills(tariff, load, kw, hours, at):
    run = Run(Power.kw(kw), hours * 3600, START + timedelta(hours=at))

    made = marginal(Question(tariff, load), run)

    assert made.cooling == 0
    assert sum(made.parts.values()) == made.total == bill(tariff, load.plus(run)).total - bill(tariff, load).total
    assert float(made.kwh) == pytest.approx(run.energy.to_kwh(), abs=2e-6)


stages = st.builds(
    lambda first, second, share, extra, rise: Cooling((Stage(first, second, share),
                                                        Stage(None, second + extra, share + rise))),
    st.floats(1, 400), st.floats(0, 50), st.floats(0, 1), st.floats(0, 80), st.floats(0, 0.5),
)  # fmt: skip


@settings(max_examples=30, deadline=None)
@given(tariff=tariffs(), load=loads(), cooling=stages, kw=st.floats(0, 300), at=st.integers(0, 1000))
def test_a_run_and_its_cooling_together_are_the_difference_of_two_bills(tariff, load, cooling, kw, at):
    run = Run(Power.kw(kw), 100 * 3600.0, START + timedelta(hours=at))

    made = marginal(Question(tariff, load, cooling=cooling), run)

    assert sum(made.parts.values()) + made.cooling == made.total
    assert made.cooling >= 0
    assert float(made.kwh - made.cooling_kwh) == pytest.approx(run.energy.to_kwh(), abs=2e-6)


@settings(max_examples=60, deadline=None)
@given(cooling=stages, kw=st.floats(0, 2000), more=st.floats(0, 500))
def test_the_meter_of_a_cooled_hall_reads_back_as_its_it_load(cooling, kw, more):
    meter = cooling.facility_kw(kw)

    assert cooling.it_kw(meter) == pytest.approx(kw, rel=1e-9, abs=1e-9)
    assert cooling.facility_kw(kw + more) >= meter
    assert cooling.added_kw(meter, 0.0) == 0


@settings(max_examples=30, deadline=None)
@given(load=loads(150), cooling=stages, kw=st.integers(1, 60), at=st.integers(0, 200))
def test_a_cooled_run_held_under_a_limit_never_passes_it(load, cooling, kw, at):
    charge = DemandCharge("d", (Tier(None, Decimal(1)),), contract_kw=Decimal(300))
    run = Run(Power.kw(kw), 20 * 3600.0, START + timedelta(hours=at))

    try:
        made = held(Question(simple(charge), load, cooling=cooling), run, Power.kw(300))
    except PlanInfeasible:
        return

    assert made.peak_kw <= max(300, load.peak_kw)


@settings(max_examples=40, deadline=None)
@given(load=loads(), shared=tiers())
def test_tiers_filled_by_the_whole_month_bill_its_energy_once_whatever_the_periods(load, shared):
    day = (Window(8 * 60, 20 * 60, WEEKDAYS),)
    night = (Window(0, 8 * 60, WEEKDAYS), Window(20 * 60, 24 * 60, WEEKDAYS), Window(days=WEEKENDS))
    split = (EnergyRate("day", shared, day), EnergyRate("night", shared, night))

    both = bill(simple(energy=split, tier_volume=TierVolume.MONTH), load)
    whole = bill(simple(energy=(EnergyRate("all", shared),)), load)

    # The same prices in both periods are the tariff without periods, but for the rounding of its lines.
    assert float(both.total) == pytest.approx(float(whole.total), abs=0.01 * len(both.lines))
    assert sum(line.quantity for line in both.lines) == pytest.approx(whole.kwh)


def test_tiers_shared_over_periods_of_different_prices_can_fall_with_load_and_the_tariff_says_so():
    noon = (Window(0, 12 * 60),), (Window(12 * 60, 24 * 60),)
    energy = tuple(
        EnergyRate(name, (Tier(Decimal(100), Decimal(price)), Tier(None, Decimal(0))), hours)
        for name, price, hours in (("am", 1, noon[0]), ("pm", 0, noon[1]))
    )
    tariff = simple(energy=energy, tier_volume=TierVolume.MONTH)
    morning, day = (Load.from_kwh(START, 3600, [100 / 12] * 12 + [rest] * 12) for rest in (0.0, 100 / 12))

    # 100 kWh before noon fill the dear tier; 100 more after noon take half of it for nothing.
    assert (bill(tariff, morning).total, bill(tariff, day).total) == (100, 50)
    assert not tariff.rises_with_load


@settings(max_examples=40, deadline=None)
@given(tariff=tariffs(), load=loads())
def test_the_lines_of_a_bill_are_whole_cents_and_add_up_by_month_and_by_kind(tariff, load):
    made = bill(tariff, load)

    assert all(line.amount == round(line.amount, 2) for line in made.lines)
    assert sum(made.month_total(month) for month in made.months) == sum(made.by_kind().values()) == made.total


@settings(max_examples=30, deadline=None)
@given(load=loads(150), kw=st.integers(1, 100), hours=st.integers(1, 200), at=st.integers(0, 300))
def test_a_run_held_under_a_limit_draws_its_energy_and_never_passes_the_limit(load, kw, hours, at):
    question = Question(simple(DemandCharge("d", (Tier(None, Decimal(1)),), contract_kw=Decimal(200))), load)
    run = Run(Power.kw(kw), hours * 3600, START + timedelta(hours=at))

    made = held(question, run, Power.kw(200))

    assert float(made.kwh) == pytest.approx(kw * hours, abs=2e-6)
    assert made.peak_kw <= 200
    assert made.start == run.start


def simple(*demand, **terms):
    given = {"energy": (EnergyRate("all", (Tier(None, Decimal("0.1")),)),), **terms}
    return Tariff("simple", "USD", demand=demand, **given)


def three_months(kw):
    """January to March at a power each [kW]."""
    days = (31, 28, 31)
    return Load.from_kw(START, 3600, np.repeat([float(one) for one in kw], [24 * count for count in days]))


def month_of(kw):
    return Load.flat(Power.kw(kw), START, START + timedelta(days=31))


TEN = Run(Power.kw(10), 100 * 3600, START + timedelta(days=2))


def test_falling_tiers_make_the_next_run_cheaper():
    falling = (EnergyRate("all", (Tier(Decimal(10_000), Decimal("0.2")), Tier(None, Decimal("0.05")))),)

    found = curve(Question(simple(energy=falling), month_of(10)), TEN, 6)

    assert found.slope is Slope.FALLS
    assert found.steps[0].cost > found.steps[-1].cost


def test_a_contract_step_makes_the_run_that_crosses_it_dearer_and_names_it():
    charge = DemandCharge("d", (Tier(None, Decimal(2)),), contract_kw=Decimal(45), excess_price=Decimal(20))

    found = curve(Question(simple(charge), month_of(20)), TEN, 4)

    # 20 kW and two runs are 40 kW; the third passes 45 kW by 5.
    assert [step.cost for step in found.steps] == [120, 120, 120 + 5 * 20, 120 + 10 * 20]
    assert found.edge is found.steps[2]
    assert found.slope is Slope.RISES


def test_one_price_has_no_slope():
    assert curve(Question(simple(), month_of(20)), TEN, 3).slope is Slope.FLAT


def test_tiers_that_fall_and_a_contract_that_rises_are_both_seen():
    falling = (EnergyRate("all", (Tier(Decimal(16_000), Decimal("0.2")), Tier(None, Decimal("0.05")))),)
    charge = DemandCharge("d", (Tier(None, Decimal(0)),), contract_kw=Decimal(45), excess_price=Decimal(20))

    assert curve(Question(simple(charge, energy=falling), month_of(20)), TEN, 4).slope is Slope.MIXED


def test_under_a_take_or_pay_floor_a_run_is_free_and_the_average_price_does_not_see_it():
    take = MinimumTake(Decimal(20_000), Decimal("0.1"))

    made = marginal(Question(simple(minimum_take=take), month_of(10)), TEN)

    assert made.total == 0
    assert made.naive == Decimal("268.82")  # 1,000 kWh at 2,000 USD / 7,440 kWh


def test_a_ratchet_charges_a_run_for_months_after_it():
    charge = DemandCharge("d", (Tier(None, Decimal(10)),), ratchet=Ratchet(Decimal("0.8"), 11))
    year = Load.flat(Power.kw(20), START, datetime(2027, 1, 1, tzinfo=UTC))

    made = marginal(Question(simple(charge), year), TEN)

    # 30 kW in January; 80 % of it, 24 kW instead of 20 kW, in the eleven months after.
    assert (made.parts[Kind.DEMAND], made.parts[Kind.RATCHET]) == (100, 11 * 4 * 10)


@settings(max_examples=20, deadline=None)
@given(
    days=st.integers(32, 200),
    billed=st.booleans(),
    first=st.integers(0, 20),
    share=st.sampled_from([Decimal("0.6"), Decimal("0.9")]),
)
def test_the_best_start_of_a_repeating_load_does_not_depend_on_where_it_was_cut(days, billed, first, share):
    def up_to(end):
        return Load.flat(Power.kw(20), START, end)

    charge = DemandCharge("d", (Tier(None, Decimal(10)),), ratchet=Ratchet(share, 4, of_billed=billed))
    run = Run(Power.kw(30), 24 * 3600, START + timedelta(days=first))
    latest = START + timedelta(days=30)

    cut, long = (
        best_start(Question(simple(charge), up_to(START + timedelta(days=reach)), repeats=up_to), run, latest,
                   every_s=5 * 24 * 3600)
        for reach in (days, 700)
    )  # fmt: skip

    assert cut.start == long.start
    assert billed or (cut.total, cut.left_out) == (long.total, ())


def test_a_ratchet_of_billed_demand_that_holds_a_peak_beyond_the_load_says_so():
    charge = DemandCharge("d", (Tier(None, Decimal(10)),), ratchet=Ratchet(Decimal(1), 2, of_billed=True))
    question = Question(simple(charge), Load.flat(Power.kw(20), START, datetime(2027, 1, 1, tzinfo=UTC)))

    made = marginal(question, TEN)

    assert made.parts[Kind.RATCHET] == 11 * 10 * 10
    assert "until 2027-02, and the load ends in 2026-12" in made.left_out[0]


def test_trying_starts_and_runs_tells_how_far_it_is():
    told = []
    question = Question(simple(), month_of(10))

    ways(question, TEN, TEN.start + timedelta(hours=3), progress=lambda what, share: told.append((what, share)))
    curve(question, TEN, 2, progress=lambda what, share: told.append((what, share)))

    assert told[3] == ("start 4 of 4", 1)
    assert told[4:] == [("run 1 of 2", 0.5), ("run 2 of 2", 1)]


def test_carbon_stands_beside_the_bill_at_its_declared_price():
    carbon = CarbonPrice(Money(80.0, "USD"), CarbonIntensity(250.0))

    made = marginal(Question(simple(), month_of(10), carbon=carbon), TEN)

    assert (made.total, made.carbon, made.total_with_carbon) == (100, 20, 120)


def test_the_best_start_waits_for_the_cheap_hours_and_now_does_not():
    rates = (
        EnergyRate("dear", (Tier(None, Decimal("0.5")),), (Window(0, 12 * 60),)),
        EnergyRate("cheap", (Tier(None, Decimal("0.1")),), (Window(12 * 60, 24 * 60),)),
    )
    run = Run(Power.kw(10), 6 * 3600, START + timedelta(hours=3))

    found = ways(Question(simple(energy=rates), month_of(10)), run, START + timedelta(hours=30))

    assert (found[Way.NOW].total, found[Way.BEST_START].total) == (30, 6)
    assert found[Way.BEST_START].start == START + timedelta(hours=12)
    assert Way.HELD not in found
