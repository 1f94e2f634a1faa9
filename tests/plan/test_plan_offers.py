"""Jobs on places: typed in, turned into arrays, and priced one by one; DST days, gaps and edges included."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from outweigh.core.errors import GapsTooLarge, InvalidQuantity, PlanInfeasible, UsageError
from outweigh.plan.offers import How, offers, runs, starting_now
from outweigh.plan.problem import Job, Level, Places

START = datetime(2026, 3, 1, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


def places(price, *, carbon=None, step_s=3600.0, start=START, pue=None, **more):
    price = np.atleast_3d(np.asarray(price, dtype=float)) if np.ndim(price) == 3 else np.atleast_2d(price)[np.newaxis]
    price = price.astype(float)
    return Places(
        tuple(f"s{i}" for i in range(price.shape[1])),
        start,
        step_s,
        price,
        np.zeros_like(price) if carbon is None else np.broadcast_to(np.asarray(carbon, dtype=float), price.shape),
        np.ones(price.shape[1]) if pue is None else np.asarray(pue, dtype=float),
        **more,
    )


def job(release_h=0.0, deadline_h=24.0, work_h=2.0, watts=1000.0, name="job", **more):
    hour = timedelta(hours=1)
    more.setdefault("levels", (Level(1.0, watts),))
    return Job(name, START + release_h * hour, START + deadline_h * hour, work_h, **more)


hours = st.integers(0, 96).map(lambda quarters: quarters / 4)


@st.composite
def tasks(draw, sites=3):
    release = draw(hours.filter(lambda h: h < 20))
    work = draw(st.integers(1, 12).map(lambda quarters: quarters / 4))
    slack = draw(st.integers(0, 20).map(lambda quarters: quarters / 4))
    speeds = draw(st.sampled_from([(1.0,), (0.5, 1.0), (1.0, 1.9, 2.6)]))
    levels = tuple(Level(v, draw(st.integers(50, 400)) * v**1.3) for v in speeds)
    allowed = draw(st.frozensets(st.sampled_from([f"s{i}" for i in range(sites)]), min_size=1))
    return job(
        release,
        min(24.0, release + work / speeds[-1] + slack),
        min(work, (24 - release) * speeds[-1]),
        levels=levels,
        preemptible=draw(st.booleans()),
        sites=allowed,
        checkpoint_h=draw(st.sampled_from([0.0, 0.25, 1.0, 1.5])),
        checkpoint_kwh=draw(st.sampled_from([0.0, 0.1])),
    )


prices = st.lists(
    st.lists(st.integers(-20, 80).map(lambda cents: cents / 100), min_size=24, max_size=24), min_size=3, max_size=3
)


@given(prices, st.lists(tasks(), min_size=1, max_size=4))
def test_every_run_does_its_work_at_an_allowed_site_in_time_for_the_cost_that_was_offered(price, asked):
    asked = [replace(one, name=f"j{i}") for i, one in enumerate(asked)]
    here = places(price)
    jobs, rate = here.jobs(asked), here.rate(0)

    found = offers(jobs, rate, here.step_h)
    planned = runs(jobs, rate, here.step_h, found, found.site)

    each = np.arange(len(jobs))
    paid = np.bincount(planned.job, planned.energy_kwh * rate[planned.site, planned.step], minlength=len(jobs))
    np.testing.assert_allclose(paid, found.cost[each, found.site], atol=1e-9)
    done = np.bincount(planned.job, planned.work, minlength=len(jobs))
    # Pauses that cost are at whole steps, where work is rounded up: never less than asked, less than a step more.
    more = done - jobs.work
    assert (more >= -1e-9).all()
    whole = found.how[each, found.site] == How.PAUSING
    assert (more[~whole] <= 1e-9).all()
    assert jobs.allowed[planned.job, planned.site].all()
    assert (planned.step >= np.floor(jobs.release[planned.job])).all()
    assert (planned.step + 1 <= np.ceil(jobs.deadline[planned.job])).all()
    assert (found.cost <= starting_now(jobs, rate, here.step_h) + 1e-9).all()


@given(prices, tasks(), st.permutations(range(3)))
def test_relabelling_the_sites_relabels_the_offers_and_changes_nothing_else(price, asked, order):
    before, after = places(price), places([price[i] for i in order])
    renamed = replace(asked, sites=frozenset(f"s{order.index(int(name[1:]))}" for name in asked.sites))

    one = offers(before.jobs([asked]), before.rate(0), 1.0).cost
    other = offers(after.jobs([renamed]), after.rate(0), 1.0).cost

    np.testing.assert_array_equal(one[:, list(order)], other)


@given(prices, tasks(), st.integers(1, 16))
def test_a_later_deadline_never_costs_more_whatever_the_job_can_do(price, asked, quarters):
    here = places(price)
    later = replace(asked, deadline=min(asked.deadline + timedelta(hours=quarters / 4), START + timedelta(hours=24)))

    cost = [offers(here.jobs([one]), here.rate(0), 1.0).cost for one in (asked, later)]

    assert (cost[1] <= cost[0] + 1e-9).all()


@given(prices, tasks())
def test_splitting_every_step_changes_no_cost_where_pauses_are_free_or_not_wanted(price, asked):
    free = replace(asked, checkpoint_h=0.0, checkpoint_kwh=0.0)
    whole, split = places(price), places(np.repeat(price, 4, axis=1), step_s=900.0)

    cost = [offers(here.jobs([free]), here.rate(0), here.step_h).cost for here in (whole, split)]

    np.testing.assert_allclose(cost[0], cost[1], atol=1e-9)


@pytest.mark.parametrize(("day", "steps"), [((2026, 3, 29), 23), ((2026, 10, 25), 25), ((2026, 6, 1), 24)])
def test_a_local_day_on_which_clocks_change_has_the_hours_that_it_has(day, steps):
    midnight = datetime(*day, tzinfo=BERLIN)
    tomorrow = datetime(*day, tzinfo=BERLIN) + timedelta(days=1)
    start = midnight.astimezone(UTC)
    here = places(np.arange(25.0), start=start)
    asked = Job("local day", midnight, tomorrow, float(steps), (Level(1, 1000),), preemptible=True)

    jobs = here.jobs([asked])
    planned = runs(jobs, here.rate(0), 1.0, found := offers(jobs, here.rate(0), 1.0), found.site)

    assert (jobs.release[0], jobs.deadline[0]) == (0, steps)
    assert planned.step.tolist() == list(range(steps))
    with pytest.raises(PlanInfeasible, match="longer than its window"):
        here.jobs([replace(asked, work_h=steps + 0.5)])


def test_carbon_and_pue_are_in_the_rate_and_scenarios_count_by_their_probability():
    price = np.array([[[0.1, 0.1]], [[0.3, 0.1]]])
    carbon = np.array([[[400.0, 0.0]], [[400.0, 1000.0]]])
    here = places(price, carbon=carbon, pue=[1.5], probability=np.array([0.75, 0.25]))

    # 1.5 x (0.75 x 0.1 + 0.25 x 0.3 + 400 g x 100/t), 1.5 x (0.1 + 0.25 x 1000 g x 100/t)
    np.testing.assert_allclose(here.rate(100), [[1.5 * (0.15 + 0.04), 1.5 * (0.1 + 0.025)]])


def test_a_scenario_that_cannot_happen_may_have_gaps():
    price = np.array([[[0.1]], [[np.nan]]])

    assert places(price, probability=np.array([1.0, 0.0])).rate(0).item() == pytest.approx(0.1)
    assert np.isnan(places(price, probability=np.array([0.9, 0.1])).rate(0)).all()


def test_a_gap_counts_only_for_jobs_that_may_run_there():
    here = places([[1.0, 1.0, 1.0], [1.0, np.nan, 1.0]])

    assert offers(here.jobs([job(0, 3, sites=frozenset({"s0"}))]), here.rate(0), 1.0).cost[0, 1] == np.inf
    with pytest.raises(GapsTooLarge):
        offers(here.jobs([job(0, 3)]), here.rate(0), 1.0)


def test_data_to_move_keeps_a_job_at_home_until_another_site_saves_more():
    here = places([[1.0] * 4, [0.5] * 4], move_cost_per_gb=np.array([0.1, 0.1]))

    def best(gb):
        found = offers(here.jobs([job(0, 4, home="s0", data_gb=gb)]), here.rate(0), 1.0)
        return found.site[0], found.cost[0].tolist()

    assert best(5) == (1, [2.0, 1.5])
    assert best(20) == (0, [2.0, 3.0])


def test_a_job_that_cannot_move_stays_at_home():
    here = places([[1.0] * 4, [0.5] * 4])

    assert here.jobs([job(0, 4, home="s0", movable=False)]).allowed.tolist() == [[True, False]]


def test_pauses_that_cost_are_taken_only_where_they_pay():
    price = [[1.0, 9.0, 1.0, 1.0, 9.0, 9.0]]

    def how(**more):
        here = places(price)
        jobs = here.jobs([job(0, 6, 3, preemptible=True, **more)])
        found = offers(jobs, here.rate(0), 1.0)
        planned = runs(jobs, here.rate(0), 1.0, found, found.site)
        return How(found.how[0, 0]), planned.step.tolist(), planned.energy_kwh.tolist(), found.cost[0, 0]

    assert how() == (How.ELASTIC, [0, 2, 3], [1, 1, 1], 3.0)
    # 2 kWh to go on: 1 + (1 + 2) + 1 beats 9 + 1 + 1; a kWh of restoring is drawn in the step that resumes.
    assert how(checkpoint_kwh=2.0) == (How.PAUSING, [0, 2, 3], [1, 3, 1], 5.0)
    assert how(checkpoint_kwh=9.0) == (How.THROUGH, [0, 1, 2], [1, 1, 1], 11.0)
    # An hour lost on going on needs a fourth cheap hour, which there is not.
    assert how(checkpoint_h=1.0) == (How.THROUGH, [0, 1, 2], [1, 1, 1], 11.0)


def test_a_rigid_job_takes_the_level_that_costs_least_within_its_window():
    here = places([[1.0, 1.0, 5.0, 5.0]])
    asked = job(0, 4, 4, levels=(Level(1, 1000), Level(2, 2500)))

    found = offers(jobs := here.jobs([asked]), here.rate(0), 1.0)

    # Twice as fast: 2 h at 2.5 kW for 1 each is 5; at speed 1, four hours are 12.
    assert (found.cost[0, 0], found.level[0, 0]) == (5.0, 1)
    planned = runs(jobs, here.rate(0), 1.0, found, found.site)
    assert (planned.work.tolist(), planned.energy_kwh.tolist()) == ([2.0, 2.0], [2.5, 2.5])


def test_a_deadline_beyond_what_is_known_is_cut_and_said():
    here = places([[1.0] * 10])

    jobs = here.jobs([job(0, 30, 4), job(0, 10, 4, name="inside")])

    assert (jobs.deadline.tolist(), jobs.cut.tolist()) == ([10, 10], [True, False])
    with pytest.raises(PlanInfeasible, match=r"what is known ends.*short by 2 h"):
        here.jobs([job(0, 30, 12)])


def test_an_uncertain_duration_is_planned_for_at_the_quantile_asked_for():
    here = places([[1.0] * 24])
    asked = job(0, 24, 3, work_quantiles=((0.1, 2.0), (0.5, 3.0), (0.9, 7.0)))

    work = [here.jobs([asked], work_quantile=q).work[0] for q in (0.05, 0.5, 0.7, 0.99)]

    assert work == [2.0, 3.0, pytest.approx(5.0), 7.0]


@pytest.mark.parametrize(
    ("refusal", "wrong"),
    [
        (InvalidQuantity, {"work_h": 0.0}),
        (InvalidQuantity, {"work_h": float("nan")}),
        (InvalidQuantity, {"levels": ()}),
        (InvalidQuantity, {"levels": (Level(2, 5), Level(1, 3))}),
        (InvalidQuantity, {"checkpoint_h": -1.0}),
        (InvalidQuantity, {"count": 0}),
        (InvalidQuantity, {"work_quantiles": ((0.5, 3.0), (0.4, 4.0))}),
        (InvalidQuantity, {"work_quantiles": ((1.7, 3.0),)}),
        (InvalidQuantity, {"work_quantiles": ((0.5, -3.0),)}),
        (InvalidQuantity, {"work_quantiles": ((0.5, 3.0), (0.9, float("inf")))}),
        (UsageError, {"movable": False}),
        (UsageError, {"sites": frozenset({"mars"})}),
        (PlanInfeasible, {"work_h": 25.0}),
        (PlanInfeasible, {"release_h": -1.0}),
    ],
)
def test_a_job_that_cannot_be_is_refused(refusal, wrong):
    with pytest.raises(refusal):
        places([[1.0] * 24]).jobs([job(**wrong)])


def test_two_jobs_of_one_name_are_refused():
    with pytest.raises(UsageError, match="two jobs"):
        places([[1.0] * 24]).jobs([job(), job()])


@pytest.mark.parametrize(
    "wrong",
    [
        {"step_s": 0.0},
        {"start": datetime.fromisoformat("2026-03-01")},
        {"carbon": np.zeros((1, 2, 24))},
        {"names": ("a", "b")},
        {"pue": np.array([0.9])},
        {"probability": np.array([0.5])},
        {"capacity_kw": np.full((1, 24), -1.0)},
        {"capacity_kw": np.ones((1, 23))},
        {"move_cost_per_gb": np.ones(2)},
    ],
)
def test_places_that_do_not_fit_together_are_refused(wrong):
    with pytest.raises(InvalidQuantity):
        replace(places([[1.0] * 24]), **wrong)
