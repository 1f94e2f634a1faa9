"""Planning again and again: nothing is seen before its time, deadlines hold, what is committed stays."""

from __future__ import annotations

import itertools
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from outweigh.core.errors import GapsTooLarge, InvalidQuantity, PlanInfeasible
from outweigh.plan.kernels import Windows
from outweigh.plan.offers import offers
from outweigh.plan.problem import Job, Level, Places
from outweigh.plan.rolling import Rolling, Rules
from outweigh.plan.rolling_kernel import continuing
from outweigh.plan.rolling_outlook import Perfect, Persistence, Recorded

# Every example is a whole horizon of re-plans: fewer of them, and no clock on any.
few = settings(max_examples=20, deadline=None)

START = datetime(2026, 3, 1, tzinfo=UTC)
HOURS, SITES = 30, 2
STEADY = Rules(hysteresis=0.0)


def places(rate, start=START):
    rate = np.asarray(rate, dtype=float)
    names = tuple(f"s{i}" for i in range(len(rate)))
    return Places(names, start, 3600.0, rate[np.newaxis], np.zeros_like(rate)[np.newaxis], np.ones(len(rate)))


def job(release_h=0.0, window_h=24.0, work_h=2.0, name="job", start=START, **more):
    hour = timedelta(hours=1)
    more.setdefault("levels", (Level(1.0, 1000.0),))
    return Job(name, start + release_h * hour, start + (release_h + window_h) * hour, work_h, **more)


@st.composite
def tasks(draw, whole=True):
    work = draw(st.integers(1, 5)) if whole else draw(st.integers(1, 20)) / 4
    window = min(HOURS, int(np.ceil(work)) + draw(st.integers(0, 12)))
    return job(
        draw(st.integers(0, HOURS - window)),
        window,
        work,
        levels=draw(st.sampled_from([(Level(1.0, 1000.0),), (Level(1.0, 900.0), Level(1.8, 2000.0))])),
        preemptible=draw(st.booleans()),
        checkpoint_h=draw(st.sampled_from([0.0, 0.0, 1.0])),
        checkpoint_kwh=draw(st.sampled_from([0.0, 0.02])),
        sites=draw(st.frozensets(st.sampled_from(["s0", "s1"]), min_size=1)),
    )


job_lists = st.lists(tasks(), min_size=1, max_size=5).map(
    lambda listed: [replace(one, name=f"j{i}") for i, one in enumerate(listed)]
)
rates = st.lists(
    st.lists(st.integers(1, 40).map(lambda cents: cents / 100), min_size=HOURS, max_size=HOURS),
    min_size=SITES,
    max_size=SITES,
).map(np.array)


def rolled(jobs, outlook, rules=STEADY, came=None, until=HOURS):
    planner = Rolling(jobs, outlook, 1.0, rules=rules, came=came)
    for hour in range(until):
        planner.step(hour)
    return planner.result()


def paid(result, rate, n):
    runs = result.runs
    return np.bincount(runs.job, runs.energy_kwh * rate[runs.site, runs.step], minlength=n)


# --- laws -----------------------------------------------------------------------------------------------


@few
@given(rates, job_lists)
def test_with_perfect_foresight_and_room_for_all_it_comes_to_the_best_plan_made_at_once(rate, listed):
    jobs = places(rate).jobs(listed)

    result = rolled(jobs, Perfect(rate))

    np.testing.assert_allclose(paid(result, rate, len(jobs)), offers(jobs, rate, 1.0).cost.min(axis=1), rtol=1e-9)
    assert not result.changes.any()


@few
@given(rates, job_lists, st.sampled_from([0, 1, 3]), st.booleans(), st.sampled_from([0.0, 0.25, 5.0]))
def test_every_job_does_its_work_at_one_allowed_site_before_its_deadline(rate, listed, lead, at_once, hysteresis):
    jobs = places(rate).jobs(listed)
    rules = Rules(lead=lead, now_within_band=at_once, hysteresis=hysteresis)

    result = rolled(jobs, Persistence(rate, 6), rules, came=rate)

    assert not result.late.any()
    done = np.bincount(result.runs.job, result.runs.work, minlength=len(jobs))
    # Runs with pauses that cost are of whole steps, their work rounded up.
    assert (done >= jobs.work * (1 - 1e-9)).all()
    assert (done < jobs.work + jobs.speed.max(axis=1)).all()
    assert (result.start >= jobs.release).all()
    assert (result.end <= jobs.deadline).all()
    for i in range(len(jobs)):
        where = set(result.runs.site[result.runs.job == i].tolist())
        assert len(where) == 1
        assert jobs.allowed[i, where.pop()]


@few
@given(rates, st.lists(tasks(whole=False), min_size=1, max_size=4))
def test_fractions_of_steps_are_done_in_time_too(rate, listed):
    jobs = places(rate).jobs([replace(one, name=f"j{i}") for i, one in enumerate(listed)])

    result = rolled(jobs, Persistence(rate, 6))

    assert not result.late.any()
    assert (np.bincount(result.runs.job, result.runs.work, minlength=len(jobs)) >= jobs.work * (1 - 1e-9)).all()


@few
@given(rates, rates, job_lists, st.integers(1, HOURS - 1))
def test_what_comes_later_changes_nothing_before(rate, other, listed, moment):
    jobs = places(rate).jobs(listed)
    altered = np.concatenate([rate[:, :moment], other[:, moment:]], axis=1)

    one, two = (
        rolled(jobs, Persistence(each, 6), Rules(), came=each, until=moment + 1).runs for each in (rate, altered)
    )

    for column in ("job", "site", "step", "work", "energy_kwh"):
        np.testing.assert_array_equal(getattr(one, column), getattr(two, column))


@few
@given(rates, job_lists, st.integers(0, HOURS - 1))
def test_planning_twice_on_one_vintage_changes_nothing(rate, listed, moment):
    class Restless(Persistence):
        """Says at every step that something is new, though nothing is."""

        asked = 0

        def vintage(self, step):
            Restless.asked += 1
            return Restless.asked

        def rates(self, step, until):
            return Perfect(self.actual).rates(step, until)

    jobs = places(rate).jobs(listed)
    planner = Rolling(jobs, Restless(rate, 6), 1.0, rules=STEADY)
    for hour in range(moment):
        planner.step(hour)
    planner._arrive(moment)
    planner._replan(moment, planner.live)
    before, changes = planner.planned, planner.result().changes.copy()

    planner._replan(moment, planner.live)

    assert planner.result().changes.tolist() == changes.tolist()
    for column in ("job", "site", "step", "work", "energy_kwh"):
        np.testing.assert_array_equal(getattr(before, column), getattr(planner.planned, column))


@few
@given(rates, job_lists, st.integers(1, 4))
def test_committed_slots_never_change(rate, listed, lead):
    jobs = places(rate).jobs(listed)
    planner = Rolling(jobs, Persistence(rate, 5), 1.0, rules=Rules(lead=lead, hysteresis=0.0))
    promised: dict[int, dict[int, list]] = {}

    for hour in range(HOURS):
        ran = planner.step(hour)
        plan = planner.planned
        for step in range(hour + 1, hour + lead):
            at = plan.step == step
            promised.setdefault(step, {})[hour] = sorted(
                zip(plan.job[at].tolist(), plan.site[at].tolist(), plan.work[at].tolist(), strict=True)
            )
        came = set(zip(ran.job.tolist(), ran.site.tolist(), ran.work.tolist(), strict=True))
        for said_at, slots in promised.get(hour, {}).items():
            assert set(slots) <= came
            # Only who came since, with no slack to wait for the lead, is beside them.
            assert all(jobs.release[row[0]] > said_at for row in came - set(slots))


@few
@given(rates, job_lists, st.sampled_from([2.0, 3.0]))
def test_capacity_holds_and_a_job_is_late_only_where_there_was_no_room(rate, listed, limit):
    jobs = places(rate).jobs([replace(one, levels=(Level(1.0, 1000.0),)) for one in listed])
    rules = Rules(capacity_kw=np.full(SITES, limit), hysteresis=0.0)
    horizon = HOURS + 24 * 3

    result = rolled(jobs, Persistence(np.tile(rate, 4), 6), rules, until=horizon)

    load = np.zeros((SITES, horizon))
    np.add.at(load, (result.runs.site, result.runs.step), result.runs.energy_kwh)
    assert load.max() <= limit * (1 + 1e-9)
    done = np.bincount(result.runs.job, result.runs.work, minlength=len(jobs))
    np.testing.assert_allclose(done, jobs.work)


# --- cases ----------------------------------------------------------------------------------------------


def test_a_job_whose_slack_is_gone_runs_whatever_it_costs():
    rate = np.array([[9.0] * 5 + [0.1] * 25])
    jobs = places(rate).jobs([job(0, 5, 5)])

    assert rolled(jobs, Perfect(rate)).start.tolist() == [0]


def test_a_better_plan_is_taken_only_where_it_gains_more_than_the_regret_band():
    first, second = [0.3] * 10, [0.3] * 10
    first[5], second[8] = 0.20, 0.19  # the second vintage is 5 % better somewhere else

    class Two(Perfect):
        def vintage(self, step):
            return int(step >= 2)

        def rates(self, step, until):
            return np.array([second if step >= 2 else first])[:, step:until]

    both = np.array([[0.3] * 5 + [0.2] + [0.3] * 2 + [0.19, 0.3]])
    second[5] = 0.20
    jobs = places(both).jobs([job(0, 10, 1)])

    def start_with(band):
        planner = Rolling(jobs, Two(both), 1.0, rules=Rules(hysteresis=1.0))
        planner._band = [(band, 1.0)]
        for hour in range(10):
            planner.step(hour)
        return planner.result()

    assert (start_with(0.0).start.tolist(), start_with(0.0).changes.tolist()) == ([8], [1])
    assert (start_with(0.1).start.tolist(), start_with(0.1).changes.tolist()) == ([5], [0])


def test_the_regret_band_is_what_decisions_cost_beyond_the_best_in_hindsight():
    days = 10
    rate = np.tile([0.1] * 12 + [0.3] * 12, days)[np.newaxis].astype(float)
    wrong = 0.4 - rate
    jobs = places(rate).jobs([job(24 * d, 24, 2, name=f"d{d}") for d in range(days)])

    right = Rolling(jobs, Perfect(rate), 1.0, came=rate)
    misled = Rolling(jobs, Recorded(wrong, 24, 24), 1.0, came=rate)
    for hour in range(24 * days):
        right.step(hour)
        misled.step(hour)

    assert right.band == pytest.approx(0.0, abs=1e-12)
    assert misled.band == pytest.approx(2.0)  # 0.3 paid where 0.1 was to be had


def test_a_job_that_began_stays_and_what_pausing_costs_is_in_the_decision():
    rate = np.array([[0.1, 0.5, 0.1, 0.1, 0.9]])

    def steps_of(kwh):
        jobs = places(rate).jobs([job(0, 5, 3, preemptible=True, checkpoint_kwh=kwh)])
        return rolled(jobs, Perfect(rate), until=5).runs.step.tolist()

    assert steps_of(0.1) == [0, 2, 3]
    assert steps_of(4.2) == [0, 1, 2]


def test_where_nothing_is_known_a_job_starts_at_once_and_says_so():
    rate = np.full((1, 30), 0.2)
    jobs = places(rate).jobs([job(0, 20, 2)])

    result = rolled(jobs, Persistence(rate, 24))

    assert (result.blind.tolist(), result.start.tolist()) == ([True], [0])


def test_a_forecast_that_ends_before_the_deadline_is_planned_on_as_far_as_it_goes():
    class Short(Perfect):
        def rates(self, step, until):
            known = self.actual[:, step:until].copy()
            known[:, 6:] = np.nan
            return known

    rate = np.array([[0.3, 0.2, 0.3, 0.3, 0.3, 0.3, 0.3, 0.3, 0.01, 0.3]])
    jobs = places(rate).jobs([job(0, 10, 1)])

    result = rolled(jobs, Short(rate), until=10)

    assert (result.edge.tolist(), result.start.tolist()) == ([True], [1])


@pytest.mark.parametrize("day", [(2026, 3, 29), (2026, 10, 25)])
def test_days_on_which_clocks_change_have_the_hours_they_have(day):
    berlin = ZoneInfo("Europe/Berlin")
    midnight = datetime(*day, tzinfo=berlin)
    start, end = midnight.astimezone(UTC), (midnight + timedelta(days=1)).astimezone(UTC)
    hours = int((end - start).total_seconds() // 3600)
    rate = np.array([[0.2] * (hours - 1) + [0.1]])
    whole = Job("day", start, end, 1, (Level(1, 1000),))

    result = rolled(places(rate, start).jobs([whole]), Perfect(rate), until=hours)

    assert hours in (23, 25)
    assert result.start.tolist() == [hours - 1]


def test_a_zero_slack_newcomer_displaces_what_can_wait():
    rate = np.array([[0.1] * 4 + [0.2] * 20])
    jobs = places(rate).jobs([job(0, 24, 4, name="waits", preemptible=True), job(1, 2, 2, name="must")])
    rules = Rules(capacity_kw=np.array([1.0]), hysteresis=0.0)

    result = rolled(jobs, Perfect(rate), rules, until=24)

    assert not result.late.any()
    assert result.runs.step[result.runs.job == 1].tolist() == [1, 2]
    assert result.runs.step[result.runs.job == 0].tolist()[:2] == [0, 3]


def test_a_job_that_finds_no_room_in_time_is_late_and_still_runs():
    rate = np.full((1, 60), 0.2)
    jobs = places(rate).jobs([job(0, 4, 4, name="first"), job(1, 3, 3, name="late")])
    rules = Rules(capacity_kw=np.array([1.0]))

    result = rolled(jobs, Perfect(rate), rules, until=60)

    assert result.late.tolist() == [False, True]
    assert result.start.tolist() == [0, 4]


# --- the rest of a run ----------------------------------------------------------------------------------


def by_hand(price, work, lost, extra, running):
    """Least cost over all ways to work, rest or restore in every step. Restoring ends at an edge."""
    best, whole = np.inf, math.ceil(lost)
    for ways in itertools.product(["rest", "work", "restore"], repeat=len(price)):
        cost, on, t, done = 0.0, running, 0, 0
        while t < len(price):
            if ways[t] == "rest":
                on = False
            elif ways[t] == "work" and on:
                cost, done = cost + price[t], done + 1
            elif not on and ways[t : t + whole + 1] == ("restore",) * whole + ("work",):
                cost += (extra - (whole - lost)) * price[t] + price[t : t + whole + 1].sum()
                on, t, done = True, t + whole, done + 1
            else:
                break
            t += 1
        if t == len(price) and done == work:
            best = min(best, cost)
    return best


@settings(deadline=None)
@given(
    st.lists(st.integers(-3, 9), min_size=1, max_size=6),
    st.integers(1, 4),
    st.sampled_from([0, 1, 2, 0.25, 1.5]),
    st.sampled_from([0.0, 0.5, 2.0]),
    st.booleans(),
)
def test_the_rest_of_a_run_costs_what_trying_all_ways_finds(price, work, lost, extra, running):
    price = np.array(price, dtype=float)

    rest = continuing(
        price[np.newaxis], Windows.of(0, 0, len(price), work), np.array([lost]), np.array([extra]), np.array([running])
    )

    expected = by_hand(price, work, lost, extra, running)
    assert rest.cost[0] == pytest.approx(expected)
    if np.isfinite(expected):
        spared = math.ceil(lost) - lost
        drawn = (price * (rest.works[0] | rest.restores[0])).sum() + (extra - spared) * (price * rest.resumes[0]).sum()
        assert (rest.works[0].sum(), drawn) == (work, pytest.approx(expected))


# --- outlooks -------------------------------------------------------------------------------------------


def test_persistence_repeats_the_last_known_day_and_knows_nothing_before_the_first():
    values = np.arange(60, dtype=float)[np.newaxis]

    assert Persistence(values, 24).rates(30, 56)[0].tolist() == [*range(6, 30), 6, 7]
    assert Persistence(values, 24, every=24).rates(30, 32)[0].tolist() == [6, 7]
    assert np.isnan(Persistence(values, 24).rates(3, 6)[0]).all()


def test_recorded_forecasts_hold_as_far_as_they_were_made_and_then_repeat_their_last_day():
    values = np.arange(100, dtype=float)[np.newaxis]
    outlook = Recorded(values, ahead=24, period=24)

    assert outlook.rates(10, 60)[0].tolist() == [*range(10, 34), *range(10, 34), 10, 11]
    assert outlook.settled(24) is values
    assert outlook.settled(25) is None


@pytest.mark.parametrize("rate", [np.ones(5), np.array([[np.inf]])])
def test_rates_that_are_none_are_refused(rate):
    with pytest.raises(InvalidQuantity):
        Perfect(rate)


@pytest.mark.parametrize("more", [{"lead": -1}, {"hysteresis": -0.1}, {"hysteresis": np.nan}])
def test_rules_that_make_no_sense_are_refused(more):
    with pytest.raises(InvalidQuantity):
        Rules(**more)


def test_a_job_that_cannot_wait_for_the_next_step_is_refused():
    rate = np.full((1, 10), 0.2)
    with pytest.raises(PlanInfeasible, match=r"0\.5 h"):
        Rolling(places(rate).jobs([job(0.5, 2, 2)]), Perfect(rate), 1.0)


def test_a_job_that_draws_more_than_any_site_gives_is_refused_at_once():
    rate = np.full((1, 10), 0.2)
    with pytest.raises(PlanInfeasible, match=r"0\.5 kW"):
        Rolling(places(rate).jobs([job(0, 5, 2)]), Perfect(rate), 1.0, rules=Rules(capacity_kw=np.array([0.5])))


def test_a_gap_in_the_rest_of_a_run_is_refused():
    with pytest.raises(GapsTooLarge):
        continuing(
            np.array([[1.0, np.nan]]), Windows.of(0, 0, 2, 1), np.zeros(1, np.int64), np.zeros(1), np.ones(1, bool)
        )
