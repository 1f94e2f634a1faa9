"""The parts a supervisor is made of: rates, clocks, starts, learning, reports."""

import math
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outweigh.core.budget import Phase
from outweigh.core.errors import InvalidQuantity, UsageError
from outweigh.core.intervals import Interval
from outweigh.core.measurement import Grade, Measurement, Method, Scope
from outweigh.core.quantities import Energy
from outweigh.core.receipt import Receipt, RunStatus
from outweigh.run.clock import PlanClock
from outweigh.run.gantt import gantt
from outweigh.run.inside import MEASURED_J, MEASURED_S
from outweigh.run.leading import holder_is_gone, holder_name, holder_words
from outweigh.run.learning import Learned, learn
from outweigh.run.rates import Rates
from outweigh.run.reporting import saving
from outweigh.run.settling import JOB, POWER_FACTOR, PREDICTED_J, PREDICTED_S, RAN_S, RUN_FACTOR, TRIAL
from outweigh.run.waiting import best_start


def rates(day, carbon, *, price=None):
    carbon = np.array([carbon], dtype=float)
    prices = np.full(carbon.shape, 0.1) if price is None else np.array([price], dtype=float)
    return Rates(("fr",), day.start, 3600.0, prices, carbon, np.array([1.5]))


def test_energy_of_a_stretch_is_split_over_its_steps(day):
    drawn = rates(day, [100, 300]).over("fr", day.at(0.5), day.at(1.5), 2000.0)

    assert drawn.it_kwh == pytest.approx(2.0)
    assert drawn.facility_kwh == pytest.approx(3.0)
    assert drawn.carbon_g == pytest.approx(1.5 * 100 + 1.5 * 300)
    assert drawn.cost == pytest.approx(0.3)
    assert drawn.unseen_kwh == 0


def test_what_is_not_known_is_left_out_and_told_of(day):
    drawn = rates(day, [100, math.nan]).over("fr", day.at(0), day.at(3), 1000.0)

    assert drawn.carbon_g == pytest.approx(150)
    assert drawn.unseen_kwh == pytest.approx(3.0)  # one step unknown, one beyond the end
    assert drawn.unpriced_kwh == pytest.approx(1.5)


@given(cut=st.floats(0, 4), start=st.floats(0, 4), length=st.floats(0, 4))
@settings(deadline=None, max_examples=50)
def test_a_stretch_draws_the_same_wherever_it_is_cut(day, cut, start, length):
    known = rates(day, [100, 400, 50, 900, 10, 20, 30, 40])
    begin, end = day.at(start), day.at(start + length)
    middle = min(max(day.at(cut), begin), end)

    whole = known.over("fr", begin, end, 1e3)
    parts = known.over("fr", begin, middle, 1e3).plus(known.over("fr", middle, end, 1e3))

    assert parts == pytest.approx(whole, abs=1e-6)


def test_rates_survive_the_database(day):
    known = rates(day, [100, math.nan])

    again = Rates.from_dict(known.to_dict())

    assert not again.differs_after(known, day.start)
    assert again.differs_after(replace(known, carbon=known.carbon + 1), day.start)


def test_what_is_past_makes_no_new_vintage(day):
    known = rates(day, [100, 200])
    carbon = known.carbon.copy()
    carbon[0, 0] = 5

    assert not known.differs_after(replace(known, carbon=carbon), day.at(1))


def test_a_fast_clock_goes_both_ways(day):
    clock = PlanClock(day.start, day.at(100), 480.0, read=lambda: day.at(100) + timedelta(minutes=1))

    assert clock.now() == day.at(8)
    assert clock.to_wall(clock.to_plan(day.at(101))) == day.at(101)
    assert clock.wall_s(clock.plan_s(3.0)) == 3.0
    with pytest.raises(InvalidQuantity):
        PlanClock(day.start, day.start, 0.0)


# --- when to start ------------------------------------------------------------------------------------


def test_the_cleanest_start_in_time_is_taken(day):
    found = best_start(rates(day, [300, 300, 100, 50, 60, 20]), day.start, day.at(5), 2 * 3600)

    assert found.at == day.at(3)
    assert found.saving == pytest.approx(1 - 55 / 300)


def test_a_start_may_lie_within_a_step(day):
    found = best_start(rates(day, [300, 100, 300]), day.at(0.25), day.at(3), 1.5 * 3600)

    assert found.at in (day.at(0.5), day.at(1.0))


def test_waiting_for_little_is_not_worth_it(day):
    found = best_start(rates(day, [100, 99.5, 99.5]), day.start, day.at(3), 3600)

    assert found.at == day.start
    assert "would save 0.5% only" in found.why


@pytest.mark.parametrize("deadline", [1.0, 2.0])
def test_without_time_to_wait_it_starts_now(day, deadline):
    found = best_start(rates(day, [300, 1, 1]), day.start, day.at(deadline), 2 * 3600)

    assert found.at == day.start
    assert ("late by 1 h" in found.why) == (deadline < 2)


def test_what_nobody_knows_is_not_waited_for(day):
    found = best_start(rates(day, [math.nan] * 6), day.start, day.at(6), 3600)

    assert found.at == day.start
    assert "nothing is known" in found.why


def test_a_gap_is_never_the_cleanest_hour(day):
    found = best_start(rates(day, [300, math.nan, 200, 250]), day.start, day.at(4), 3600)

    assert found.at == day.at(2)


@given(
    values=st.lists(st.floats(1, 1000), min_size=6, max_size=12), hours=st.floats(0.25, 3), spare=st.floats(0.0, 3.0)
)
@settings(deadline=None, max_examples=60)
def test_no_start_on_a_fine_raster_is_cleaner(day, values, hours, spare):
    known = rates(day, values)
    deadline = day.at(min(hours + spare, len(values)))

    found = best_start(known, day.start, deadline, hours * 3600, least_saving=0.0)

    latest = (deadline - day.start).total_seconds() / 3600 - hours
    for i in range(40):
        start = day.at(max(latest, 0) * i / 39)
        mean = known.over("fr", start, start + timedelta(hours=hours), 1e3).carbon_g / hours
        assert math.isnan(found.rate) or found.rate <= mean * (1 + 1e-6) + 1e-6
    assert math.isnan(found.rate) or found.at + timedelta(hours=hours) <= deadline + timedelta(seconds=1)


# --- who leads ----------------------------------------------------------------------------------------


def test_no_two_supervisors_have_one_name():
    assert holder_name() != holder_name()
    assert holder_words(holder_name()).startswith("process ")


def test_only_a_process_that_is_surely_gone_is_gone():
    here = holder_name()
    assert not holder_is_gone(here)
    assert not holder_is_gone(here.replace('"machine":"', '"machine":"elsewhere'))
    assert not holder_is_gone("")
    ticks = here.partition('"started_ticks":')[2].rstrip("}")
    if ticks.isdecimal() and '"machine":""' not in here:
        assert holder_is_gone(here.replace(f'"started_ticks":{ticks}', f'"started_ticks":{int(ticks) + 1}'))


# --- learning -----------------------------------------------------------------------------------------


def receipt(day, *, ran_s=1200.0, predicted_s=1000.0, joules=2400.0, method=Method.COUNTER, **labels):
    total = Measurement(
        Energy(joules),
        Interval(day.start, day.start + timedelta(seconds=ran_s)),
        Scope.NODE,
        Grade.B,
        method,
        "made up",
    )
    said = {JOB: "train", RAN_S: repr(ran_s), PREDICTED_S: repr(predicted_s), PREDICTED_J: repr(1000.0), **labels}
    return Receipt(
        "run", "made-up", Phase.TRAINING, RunStatus.COMPLETED, total, None, None, labels=tuple(sorted(said.items()))
    )


def test_a_prediction_moves_towards_what_came_by_the_number_of_receipts(day):
    one = learn([receipt(day)])["train"]
    many = learn([receipt(day)] * 9)["train"]

    assert one.run_ratio == pytest.approx(1.2**0.5)
    assert many.run_ratio == pytest.approx(1.2**0.9)
    assert many.power_ratio == pytest.approx(2.0**0.9)
    assert (many.runs, many.metered, many.run_s, many.power_w) == (9, 9, 1200.0, 2.0)
    assert "9 receipts" in many.words("train")


def test_what_was_learnt_stays_learnt_when_plans_follow_it(day):
    """The job declares 1,000 s at 1 W, and takes 1,200 s at 2 W: each plan learns from the receipts of those before."""
    receipts = []
    for _ in range(60):
        known = learn(receipts).get("train", Learned())
        run, power = known.run_ratio, known.power_ratio
        said = {PREDICTED_J: repr(1000.0 * run * power), RUN_FACTOR: repr(run), POWER_FACTOR: repr(power)}
        receipts.append(receipt(day, predicted_s=1000.0 * run, **said))

    last = learn(receipts)["train"]

    assert last.run_ratio == pytest.approx(1.2 ** (20 / 21))
    assert last.power_ratio == pytest.approx(2.0 ** (20 / 21))


def test_declared_power_teaches_nothing_of_power(day):
    found = learn([receipt(day, method=Method.DECLARED)])["train"]

    assert (found.runs, found.metered, found.power_ratio, found.power_w) == (1, 0, 1.0, None)


def test_a_run_that_nobody_predicted_says_how_long_it_took_and_no_more(day):
    bare = receipt(day)
    bare = replace(bare, labels=((JOB, "train"),))

    found = learn([bare, receipt(day)])["train"]

    assert (found.timed, found.run_s, found.power_w) == (2, 1200.0, 2.0)
    assert (found.runs, found.metered) == (1, 1)
    assert found.run_ratio == pytest.approx(1.2**0.5)


def test_power_is_learnt_from_what_was_measured_inside_a_job(day):
    # 500 s of the 1,200 s were measured, at 3 W; 1 W was predicted.
    inside = receipt(day, joules=0.0, method=Method.MODELLED, **{MEASURED_J: "1500.0", MEASURED_S: "500.0"})

    found = learn([inside])["train"]

    assert (found.metered, found.power_w) == (1, 3.0)
    assert found.power_ratio == pytest.approx(3.0**0.5)


def test_trials_failures_and_spoilt_labels_teach_nothing(day):
    failed = replace(receipt(day), status=RunStatus.FAILED)

    assert learn([receipt(day, **{TRIAL: "true"}), failed, receipt(day, **{RAN_S: "soon"})]) == {}


# --- what was saved -----------------------------------------------------------------------------------


def test_a_saving_may_be_nothing_or_a_loss(day):
    assert saving([1.0, 2.0], [1.0, 2.0]).value == 0
    loss = saving([1.0, 2.0, 3.0], [2.0, 3.1, 4.0])
    assert loss.high < 0
    assert saving([5.0], [4.0]).low == -math.inf


def test_what_differs_by_rounding_alone_is_neither_saved_nor_lost():
    found = saving([0.1 + 0.2, 1.1], [0.3, 1.1000000000000003])

    assert (found.value, found.low, found.high) == (0.0, 0.0, 0.0)


def test_the_interval_of_a_saving_is_students(day):
    # Student's t of 3 degrees of freedom at 0.975 is 3.182 (NIST/SEMATECH e-Handbook, table 1.3.6.7.2).
    found = saving([2.0, 3.0, 4.0, 5.0], [1.0, 1.0, 1.0, 1.0])

    half = 3.182 * np.std([1, 2, 3, 4], ddof=1) / 2 * 4
    assert found.value == 10
    assert (found.high - found.low) / 2 == pytest.approx(half, rel=1e-3)


def test_a_chart_shows_where_each_job_ran_and_when_it_was_due(world, day):
    supervisor = world.supervise(world.follow(day.planned([day.job("train", work_h=2.0)])))
    supervisor.lead()
    world.live(supervisor, 26)

    chart = gantt(world.report(supervisor), width=48)

    (row,) = [line for line in chart.splitlines() if line.startswith("train")]
    assert row.count("S") == 4  # two hours of half-hour columns, at se
    assert "|" in row
    assert "50 (▁) to 600 (█) gCO2e/kWh" in chart


def test_rates_know_their_sites_only(day):
    with pytest.raises(UsageError):
        rates(day, [1, 2]).over("mars", day.start, day.at(1), 1.0)
