"""Jobs that share capacity: what must hold for every plan, and what a plan is held against."""

from __future__ import annotations

import itertools
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from outweigh.core.errors import GapsTooLarge, InvalidQuantity, PlanInfeasible, PlanNotFound
from outweigh.plan.problem import Job, Level, Places
from outweigh.plan.shared import Capacity, CapacityUnit, Committed, plan_jobs, verify

START = datetime(2026, 3, 28, 22, tzinfo=UTC)  # clocks in Europe change within the first day
HOUR = timedelta(hours=1)
thorough = settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def places(price, carbon=None, **more):
    price = np.asarray(price, dtype=float)
    carbon = np.zeros_like(price) if carbon is None else np.asarray(carbon, dtype=float)
    more.setdefault("pue", np.ones(len(price)))
    return Places(tuple("abcdefgh"[: len(price)]), START, 3600.0, price[np.newaxis], carbon[np.newaxis], **more)


def job(name="job", release=0, deadline=6, work=2.0, kw=1.0, **more):
    more.setdefault("levels", (Level(1.0, kw * 1000),))
    return Job(name, START + release * HOUR, START + deadline * HOUR, work, **more)


@st.composite
def instances(draw, steps=8, sites=2, jobs=6, whole=False):
    cents = st.integers(-5, 40)
    rates = [[draw(cents) / 100 for _ in range(steps)] for _ in range(sites)]
    there = places(rates, pue=np.array([1.0 + draw(st.integers(0, 5)) / 10 for _ in range(sites)]))
    made = []
    for number in range(draw(st.integers(1, jobs))):
        release = draw(st.integers(0, steps - 2))
        work = draw(st.integers(1, min(3, steps - release)))
        late = 0.0 if whole else draw(st.sampled_from([0.0, 0.0, 0.5]))
        deadline = draw(st.integers(release + work, steps))
        kind = "plain" if whole else draw(st.sampled_from(["plain", "plain", "fast", "resuming"]))
        kw = draw(st.integers(1, 4)) / 2
        more = {"levels": (Level(1.0, kw * 1000), Level(1.5, kw * 1700))} if kind == "fast" else {"kw": kw}
        if kind == "resuming":
            more |= {"checkpoint_h": draw(st.sampled_from([0.0, 0.25, 1.0, 1.5])), "checkpoint_kwh": 0.1}
        made.append(
            job(
                f"j{number}", release + (late if deadline - release > work else 0), deadline, work - 0.25 * (late > 0),
                preemptible=kind == "resuming" or draw(st.booleans()),
                home=draw(st.sampled_from(there.names)),
                sites=draw(st.sampled_from([frozenset(), frozenset({"a"}), frozenset({"b"})])),
                count=draw(st.integers(1, 3)), **more,
            )
        )  # fmt: skip
    limit = draw(st.integers(4, 16)) / 2
    return made, there, Capacity(np.full(sites, limit))


@thorough
@given(instances(), st.sampled_from([0.0, 50.0]))
def test_every_plan_is_sound_and_its_bound_is_proven_by_the_prices_it_comes_with(instance, carbon_price):
    jobs, there, capacity = instance

    try:
        plan = plan_jobs(jobs, there, capacity, carbon_price_per_tonne=carbon_price)
    except PlanInfeasible:
        return

    assert verify(plan, jobs, there, capacity) == ()
    assert plan.certificate.gap >= 0


def every_way(one, there, steps):
    """All whole-step runs of a job of one level: (site, steps it is on)."""
    first, last = int((one.release - START) / HOUR), int((one.deadline - START) / HOUR)
    need = round(one.work_h)
    for site, name in enumerate(there.names):
        if one.sites and name not in one.sites:
            continue
        spans = itertools.combinations(range(first, last), need) if one.preemptible else (
            tuple(range(start, start + need)) for start in range(first, last - need + 1)
        )  # fmt: skip
        for on in spans:
            yield site, on


def brute_force(jobs, there, capacity):
    """Least cost of all whole-step plans; inf if there is none."""
    rate, limit = there.rate(0.0), capacity.by_step(there)
    singles = [replace(one, name=f"{one.name}.{n}", count=1) for one in jobs for n in range(one.count)]
    ways = [list(every_way(one, there, there.steps)) for one in singles]
    best = [np.inf]

    def put(at, load, cost):
        if cost >= best[0] + 1e-9 and not (rate < 0).any():
            return
        if at == len(singles):
            best[0] = min(best[0], cost)
            return
        kw = singles[at].levels[0].power_w / 1000
        for site, on in ways[at]:
            if all(load[site, t] + kw <= limit[site, t] + 1e-9 for t in on):
                for t in on:
                    load[site, t] += kw
                put(at + 1, load, cost + kw * sum(rate[site, t] for t in on))
                for t in on:
                    load[site, t] -= kw

    put(0, np.zeros_like(limit), 0.0)
    return best[0]


@thorough
@given(instances(steps=4, jobs=3, whole=True))
def test_the_bound_is_below_the_best_plan_of_all_and_the_plan_is_not(instance):
    jobs, there, capacity = instance
    jobs = [replace(one, count=min(one.count, 2)) for one in jobs]
    optimum = brute_force(jobs, there, capacity)

    try:
        plan = plan_jobs(jobs, there, capacity, carbon_price_per_tonne=0.0, goal_gap=0.0)
    except PlanInfeasible:
        assert optimum == np.inf
        return

    assert plan.certificate.lower_bound <= optimum + 1e-9
    # A plan may use parts of steps and so beat all whole-step plans, but never the bound.
    assert plan.objective >= plan.certificate.lower_bound
    assert plan.objective == pytest.approx(optimum, rel=1e-9, abs=1e-9)


@thorough
@given(instances(whole=True))
def test_relabelling_the_sites_changes_nothing(instance):
    jobs, there, capacity = instance
    swapped = replace(
        there, names=there.names[::-1], price=there.price[:, ::-1], carbon=there.carbon[:, ::-1], pue=there.pue[::-1]
    )

    try:
        plan = plan_jobs(jobs, there, capacity, carbon_price_per_tonne=0.0, goal_gap=0.0)
    except PlanInfeasible:
        with pytest.raises(PlanInfeasible):
            plan_jobs(jobs, swapped, capacity, carbon_price_per_tonne=0.0, goal_gap=0.0)
        return
    other = plan_jobs(jobs, swapped, capacity, carbon_price_per_tonne=0.0, goal_gap=0.0)

    size = sum(one.count * one.work_h * one.levels[0].power_w for one in jobs) / 1000 * 0.5
    assert other.certificate.lower_bound == pytest.approx(plan.certificate.lower_bound, abs=1e-7 * size)
    assert other.objective == pytest.approx(plan.objective, abs=1e-7 * size)


@thorough
@given(instances(whole=True), st.integers(1, 4))
def test_more_capacity_never_raises_the_best_fractional_plan(instance, more):
    jobs, there, capacity = instance
    larger = Capacity(capacity.limit + more)

    try:
        tight = plan_jobs(jobs, there, capacity, carbon_price_per_tonne=0.0, goal_gap=0.0)
    except PlanInfeasible:
        return
    loose = plan_jobs(jobs, there, larger, carbon_price_per_tonne=0.0, goal_gap=0.0)

    size = sum(one.count * one.work_h * one.levels[0].power_w for one in jobs) / 1000 * 0.5
    assert loose.certificate.lower_bound <= tight.certificate.lower_bound + 1e-7 * size


@thorough
@given(instances(whole=True))
def test_a_later_deadline_never_raises_the_best_fractional_plan(instance):
    jobs, there, capacity = instance
    later = [replace(one, deadline=START + there.steps * HOUR) for one in jobs]

    try:
        tight = plan_jobs(jobs, there, capacity, carbon_price_per_tonne=0.0, goal_gap=0.0)
    except PlanInfeasible:
        return
    loose = plan_jobs(later, there, capacity, carbon_price_per_tonne=0.0, goal_gap=0.0)

    size = sum(one.count * one.work_h * one.levels[0].power_w for one in jobs) / 1000 * 0.5
    assert loose.certificate.lower_bound <= tight.certificate.lower_bound + 1e-7 * size


def test_jobs_do_not_herd_into_the_cheapest_hour():
    there = places([[0.30, 0.10, 0.20, 0.30]])
    jobs = [job(f"j{n}", deadline=4, work=1) for n in range(4)]

    plan = plan_jobs(jobs, there, Capacity(np.array([2.0])), carbon_price_per_tonne=0.0)

    assert plan.runs.it_kwh(1, 4).tolist() == [[0.0, 2.0, 2.0, 0.0]]
    assert plan.objective == pytest.approx(0.6)
    assert plan.certificate.gap == pytest.approx(0.0, abs=1e-9)
    # One more kW at 01:00 is worth the dime that somebody pays at 02:00 instead.
    assert plan.prices.limit[0, 1] == pytest.approx(0.10, abs=0.11)


def test_many_like_jobs_cost_no_more_to_plan_than_one():
    there = places([[0.30, 0.10, 0.20, 0.30]])

    plan = plan_jobs(
        [job(deadline=4, work=1, count=1000)], there, Capacity(np.array([500.0])), carbon_price_per_tonne=0
    )

    assert len(plan.runs) == 2
    assert plan.runs.count.sum() == 1000
    assert plan.certificate.gap == pytest.approx(0.0, abs=1e-9)


def test_capacity_can_be_counted_in_devices():
    there = places([[0.10, 0.20]])
    jobs = [job(f"j{n}", deadline=2, work=1, devices=devices) for n, devices in enumerate((8, 4, 4))]

    plan = plan_jobs(jobs, there, Capacity(np.array([8.0]), CapacityUnit.DEVICES), carbon_price_per_tonne=0)

    # Two jobs of 4 devices draw twice what one of 8 draws, so they get the cheap hour.
    assert plan.runs.it_kwh(1, 2).tolist() == [[2.0, 1.0]]
    assert verify(plan, jobs, there, Capacity(np.array([8.0]), CapacityUnit.DEVICES)) == ()


def test_a_demand_charge_flattens_the_plan_down_to_the_peak_so_far():
    there = places([[0.10, 0.12, 0.12, 0.12]])
    jobs = [job(f"j{n}", deadline=4, work=1) for n in range(8)]
    free = Capacity(np.array([100.0]))
    charged = Capacity(np.array([100.0]), demand_rate=np.array([10.0]), peak_kw=np.array([2.0]))

    cheapest = plan_jobs(jobs, there, free, carbon_price_per_tonne=0)
    flat = plan_jobs(jobs, there, charged, carbon_price_per_tonne=0)

    assert cheapest.runs.it_kwh(1, 4).max() == 8.0
    assert flat.runs.it_kwh(1, 4).tolist() == [[2.0, 2.0, 2.0, 2.0]]
    assert flat.cost == pytest.approx(2 * 0.10 + 6 * 0.12)
    assert verify(flat, jobs, there, charged) == ()


def drawn(seed):
    """60 jobs at two sites over three days, of 2 to 11 kW."""
    rng = np.random.default_rng(seed)
    price = (0.1 + 0.05 * np.sin(np.arange(72) * 2 * np.pi / 24))[None] * rng.uniform(0.8, 1.2, (2, 72))
    jobs = []
    for number in range(60):
        work, release = int(rng.integers(2, 10)), int(rng.integers(0, 30))
        kw = float(rng.integers(2, 12))
        jobs.append(job(f"j{number}", release, release + work + 24, work, kw, preemptible=bool(rng.random() < 0.3)))
    return jobs, places(price, pue=np.array([1.2, 1.3]))


def test_peaks_that_cost_are_searched_for_and_a_gap_above_the_goal_is_said():
    jobs, there = drawn(seed=0)
    charged = Capacity(np.array([80.0, 80.0]), demand_rate=np.array([12.0, 12.0]), peak_kw=np.array([20.0, 20.0]))

    plan = plan_jobs(jobs, there, charged, carbon_price_per_tonne=0)

    # Below peaks set by hand, planned without the charge, the same jobs came to 409.7 with it.
    assert plan.objective <= 409.7
    assert verify(plan, jobs, there, charged) == ()
    assert any(f"{plan.certificate.gap:.2%} above its bound, and 0.50% was asked for" in note for note in plan.notes)


def test_a_goal_that_is_met_needs_no_word():
    plan = plan_jobs([job()], places([[0.1] * 6]), Capacity(np.array([1.0])), carbon_price_per_tonne=0, goal_gap=0.0)

    assert not any("above its bound" in note for note in plan.notes)


def test_what_is_committed_leaves_no_room():
    there = places([[0.10, 0.20]])
    held = Committed(np.array([[1.0, 0.0]]))

    plan = plan_jobs([job(deadline=2, work=1)], there, Capacity(np.array([1.0])), carbon_price_per_tonne=0, frozen=held)

    assert plan.runs.step.tolist() == [1]
    assert verify(plan, [job(deadline=2, work=1)], there, Capacity(np.array([1.0])), frozen=held) == ()


def test_the_prices_of_one_plan_are_a_start_for_the_next():
    there = places([[0.30, 0.10, 0.20, 0.30]] * 2)
    jobs = [job(f"j{n}", deadline=4, work=1) for n in range(8)]
    capacity = Capacity(np.array([2.0, 2.0]))
    before = plan_jobs(jobs, there, capacity, carbon_price_per_tonne=0)

    after = plan_jobs(jobs, there, capacity, carbon_price_per_tonne=0, warm=before.prices)

    assert after.objective == pytest.approx(before.objective)
    assert after.certificate.lower_bound == pytest.approx(before.certificate.lower_bound, rel=1e-6)


def test_the_baseline_waits_where_there_is_no_room_and_says_who_is_late():
    there = places([[0.30, 0.10]])
    jobs = [job(f"j{n}", deadline=2, work=1, home="a") for n in range(2)]

    plan = plan_jobs(jobs, there, Capacity(np.array([1.0])), carbon_price_per_tonne=0)

    assert plan.baseline.cost == pytest.approx(0.40)
    assert plan.alone.cost == pytest.approx(0.60)
    assert plan.baseline.late == 0


@pytest.mark.parametrize(("minutes", "kwh"), [(0, 400.0), (1, 400 + 40 / 60), (10, 400 + 400 / 60), (60, 440.0)])
def test_restoring_draws_for_the_time_it_takes_and_not_for_whole_steps(minutes, kwh):
    there = places([[0.05] * 5 + [0.60] * 6 + [0.05] * 13])
    jobs = [job(deadline=18, work=10, kw=40.0, preemptible=True, checkpoint_h=minutes / 60)]

    plan = plan_jobs(jobs, there, Capacity(np.array([np.inf])), carbon_price_per_tonne=0)

    # Five cheap hours, seven cheap hours, and one pause between them.
    assert plan.it_energy_kwh == pytest.approx(kwh)
    assert plan.objective == pytest.approx(0.05 * kwh)
    assert plan.certificate.lower_bound == pytest.approx(0.05 * kwh)
    assert verify(plan, jobs, there, Capacity(np.array([np.inf]))) == ()


FAST = (Level(1.0, 1000), Level(2.0, 2500))


@pytest.mark.parametrize(
    ("more", "words"),
    [
        ({"levels": FAST, "preemptible": True}, ""),
        ({"levels": FAST}, "that keeps one level through a run"),
        ({"preemptible": True, "checkpoint_h": 1 / 3600}, "that pauses at whole steps"),
        (
            {"levels": FAST, "preemptible": True, "checkpoint_kwh": 0.1},
            "that keeps one level through a run and pauses at whole steps",
        ),
    ],
)
def test_a_bound_over_fewer_plans_than_there_are_says_over_which(more, words):
    there, jobs, capacity = places([[0.1, 0.3, 0.1, 0.3, 0.1, 0.3]]), [job(work=7.0, **more)], Capacity(np.array([9.0]))
    if "levels" not in more:
        jobs = [job(work=3.0, **more)]

    plan = plan_jobs(jobs, there, capacity, carbon_price_per_tonne=0)

    assert plan.certificate.within == words
    assert any("change speed and pause as they please" in note for note in plan.notes) is bool(words)
    assert verify(plan, jobs, there, capacity) == ()
    claims_all = replace(plan, certificate=replace(plan.certificate, within=""))
    assert any("the bound holds for" in fault for fault in verify(claims_all, jobs, there, capacity)) is bool(words)


def test_the_note_gives_the_bound_over_plans_that_change_speed_as_they_please():
    there, capacity = places([[0.1, 0.3, 0.1, 0.3]]), Capacity(np.array([np.inf]))
    tied = job(deadline=4, work=6.0, levels=FAST)

    plan = plan_jobs([tied], there, capacity, carbon_price_per_tonne=0, currency="EUR")
    loose = plan_jobs([replace(tied, preemptible=True)], there, capacity, carbon_price_per_tonne=0)

    # Through: 3 h at 2.5 kW for 0.1 + 0.3 + 0.1. As it pleases: 2.5 kW in the two cheap hours, 1 kW in the others.
    assert (plan.certificate.lower_bound, loose.objective) == (pytest.approx(1.25), pytest.approx(1.1))
    assert any("it would be 1.100 EUR, not 1.250 EUR" in note for note in plan.notes)


def test_the_best_constant_policy_weighs_what_moving_costs_and_stays_at_home():
    there = places([[0.11] * 24, [0.10] * 24], move_cost_per_gb=np.array([0.0, 0.10]))
    jobs = [job(deadline=24, work=6, kw=8.0, home="a", data_gb=1000)]

    plan = plan_jobs(jobs, there, Capacity(np.array([np.inf, np.inf])), carbon_price_per_tonne=0)

    assert (plan.best_constant.policy, plan.best_constant.objective) == ("always at home, at once", pytest.approx(5.28))


@pytest.mark.parametrize("limit", [np.inf, 1.0])
def test_the_best_constant_policy_is_the_best_of_every_site_and_every_delay(limit):
    rng = np.random.default_rng(5)
    there = places(rng.uniform(0.1, 0.5, (3, 40)))
    jobs = [job(f"j{n}", 3 * n, 3 * n + 30, 3, 1.0, home="a") for n in range(3)]

    plan = plan_jobs(jobs, there, Capacity(np.full(3, limit)), carbon_price_per_tonne=0)

    rate = there.rate(0.0)
    every = {
        f"always at {there.names[site]}, {late} h later": rate[site, late : late + 9].sum()
        for site in range(3)
        for late in range(24)
    }
    name = min(every, key=every.__getitem__)
    assert plan.best_constant.policy.replace("home", "a") == name
    assert plan.best_constant.objective == pytest.approx(every[name])


@pytest.mark.parametrize(
    "more",
    [
        {"preemptible": True},
        {"preemptible": True, "checkpoint_h": 0.5},
        {},
        {"levels": (Level(1, 40e3), Level(2, 90e3))},
    ],
)
def test_no_part_of_a_job_runs_where_its_lowest_level_is_more_than_the_site_gives(more):
    there = places([[0.01] * 6, [0.50] * 6])
    jobs = [job("j", 0, 6, 2.5, 40.0, **more)]
    # The first site is cheap and has 30 kW; then it has 100 kW, but for half of the steps.
    uneven = np.array([[100.0, 30, 100, 30, 100, 30], [100.0] * 6])

    small = plan_jobs(jobs, there, Capacity(np.array([30.0, 100.0])), carbon_price_per_tonne=0)
    plan = plan_jobs(jobs, there, Capacity(uneven), carbon_price_per_tonne=0)

    assert set(small.runs.site.tolist()) == {1}
    assert all(
        uneven[site, step] >= 40 for site, step in zip(plan.runs.site[plan.runs.of_entry], plan.runs.step, strict=True)
    )
    assert verify(plan, jobs, there, Capacity(uneven)) == ()
    less = verify(plan, jobs, there, Capacity(np.full((2, 6), 39.0)))
    assert any("less than its lowest level draws" in fault for fault in less)


def test_a_job_that_no_site_gives_its_power_for_long_enough_is_refused_at_once():
    limit = np.array([[30.0, 100, 100, 30, 30, 100]])

    with pytest.raises(PlanInfeasible, match="no site has that much for long enough"):
        plan_jobs(
            [job(work=3.5, kw=40.0, preemptible=True)], places([[0.1] * 6]), Capacity(limit), carbon_price_per_tonne=0
        )


def test_jobs_that_differ_in_name_alone_are_planned_as_one_that_stands_for_all_and_each_has_its_run():
    rng = np.random.default_rng(7)
    there = places(rng.uniform(0.1, 0.4, (2, 24)))
    kinds = [job(f"k{n}", n, n + 12, 2 + n % 3, 1.0 + n % 2, home="b", count=1 + n % 2) for n in range(6)]
    named = [replace(kind, name=f"{kind.name}.{n}") for n in range(5) for kind in kinds]
    merged = [replace(kind, count=5 * kind.count) for kind in kinds]
    capacity = Capacity(np.array([8.0, 6.0]))

    each = plan_jobs(named, there, capacity, carbon_price_per_tonne=0)
    one = plan_jobs(merged, there, capacity, carbon_price_per_tonne=0)

    assert verify(each, named, there, capacity) == ()
    assert each.names == tuple(one.name for one in named)
    assert (each.objective, each.certificate.lower_bound) == (one.objective, one.certificate.lower_bound)
    assert each.runs.it_kwh(2, 24).tolist() == one.runs.it_kwh(2, 24).tolist()


# --- what is refused --------------------------------------------------------------------------------


def test_too_much_work_names_the_jobs_the_hours_and_the_kilowatt_hours_that_are_missing():
    there = places([[0.1] * 6, [0.1] * 6])
    jobs = [job(f"night{n}", 1, 3, 2, sites=frozenset({"b"})) for n in range(3)]
    jobs += [job("easy", 0, 6, 1)]

    with pytest.raises(PlanInfeasible) as caught:
        plan_jobs(jobs, there, Capacity(np.array([5.0, 2.0])), carbon_price_per_tonne=0)

    assert "night0, night1, night2" in caught.value.problem
    assert "easy" not in caught.value.problem
    assert "at b from 2026-03-28T23:00Z to 2026-03-29T01:00Z" in caught.value.problem
    assert caught.value.missing == "at least 2 kWh"


def test_a_job_larger_than_any_site_is_named():
    with pytest.raises(PlanInfeasible, match="'giant' draws 9 kW and no site has that much") as caught:
        plan_jobs([job("giant", kw=9.0)], places([[0.1] * 6]), Capacity(np.array([4.0])), carbon_price_per_tonne=0)

    assert caught.value.missing == "5 kW"


def test_jobs_that_fit_in_parts_but_not_whole_are_named():
    there = places([[0.1] * 2])
    jobs = [job(f"j{n}", deadline=2, work=1, kw=2.0) for n in range(3)]

    with pytest.raises(PlanNotFound, match=r"^no plan was found: .* as a whole, though their parts would fit"):
        plan_jobs(jobs, there, Capacity(np.array([3.0])), carbon_price_per_tonne=0)


def test_jobs_that_had_room_in_less_capacity_have_it_in_more():
    jobs, there = drawn(seed=0)

    for facility_kw in (27, 28):
        capacity = Capacity(facility_kw / there.pue)
        plan = plan_jobs(jobs, there, capacity, carbon_price_per_tonne=0, goal_gap=0.1)
        assert verify(plan, jobs, there, capacity) == ()


def test_no_capacity_at_all_is_infeasible_and_says_how_much_is_missing():
    with pytest.raises(PlanInfeasible) as caught:
        plan_jobs([job(kw=1.0)], places([[0.1] * 6]), Capacity(np.array([0.0])), carbon_price_per_tonne=0)

    assert caught.value.missing == "1 kW"


def test_a_job_longer_than_its_window_is_refused_with_the_hours_that_are_missing():
    with pytest.raises(PlanInfeasible, match="short by 1 h"):
        plan_jobs([job(deadline=2, work=3)], places([[0.1] * 6]), Capacity(np.array([1.0])), carbon_price_per_tonne=0)


def test_a_gap_in_the_forecast_is_refused_where_a_job_could_run():
    there = places([[0.1, np.nan, 0.1, 0.1]])

    with pytest.raises(GapsTooLarge):
        plan_jobs([job(deadline=3)], there, Capacity(np.array([1.0])), carbon_price_per_tonne=0)

    plan = plan_jobs([job(release=2, deadline=4)], there, Capacity(np.array([1.0])), carbon_price_per_tonne=0)
    assert plan.cost == pytest.approx(0.2)


def test_negative_prices_are_prices():
    there = places([[0.1, -0.2, -0.1, 0.1]])
    jobs = [job(f"j{n}", deadline=4, work=1) for n in range(2)]

    plan = plan_jobs(jobs, there, Capacity(np.array([1.0])), carbon_price_per_tonne=0)

    assert plan.cost == pytest.approx(-0.3)
    assert verify(plan, jobs, there, Capacity(np.array([1.0]))) == ()


def test_a_horizon_that_ends_before_the_deadline_is_said():
    plan = plan_jobs([job(deadline=9)], places([[0.1] * 6]), Capacity(np.array([1.0])), carbon_price_per_tonne=0)

    assert any("the optimum lies at the edge of what is known" in note for note in plan.notes)


@pytest.mark.parametrize(
    "wrong",
    [
        lambda: Capacity(np.array([np.nan])),
        lambda: Capacity(np.array([-1.0])),
        lambda: Capacity(np.array([1.0]), demand_rate=np.array([np.inf])),
        lambda: Committed(np.array([[np.nan]])),
        lambda: plan_jobs([job()], places([[0.1] * 6]), Capacity(np.ones((1, 3))), carbon_price_per_tonne=0),
        lambda: plan_jobs([job()], places([[0.1] * 6]), Capacity(np.ones(1)), carbon_price_per_tonne=-1),
        lambda: plan_jobs([job()], places([[0.1] * 6]), Capacity(np.ones(1)), carbon_price_per_tonne=0, goal_gap=2),
        lambda: plan_jobs(
            [job()], places([[0.1] * 6]), Capacity(np.ones(1), CapacityUnit.DEVICES), carbon_price_per_tonne=0
        ),
    ],
)
def test_numbers_that_cannot_be_are_refused(wrong):
    with pytest.raises(InvalidQuantity):
        wrong()


def test_nothing_to_plan_is_an_empty_plan():
    plan = plan_jobs([], places([[0.1] * 6]), Capacity(np.array([1.0])), carbon_price_per_tonne=0)

    assert (len(plan.runs), plan.objective, plan.certificate.gap) == (0, 0.0, 0.0)
    assert verify(plan, [], places([[0.1] * 6]), Capacity(np.array([1.0]))) == ()


# --- a plan that was tampered with ------------------------------------------------------------------


@pytest.fixture
def sound():
    there = places([[0.30, 0.10, 0.20, 0.30], [0.25, 0.25, 0.25, 0.25]])
    jobs = [job(f"j{n}", deadline=4, work=2, home="a") for n in range(3)]
    capacity = Capacity(np.array([1.0, 1.0]))
    return plan_jobs(jobs, there, capacity, carbon_price_per_tonne=0), jobs, there, capacity


def faults(sound, **changes):
    plan, jobs, there, capacity = sound
    return " / ".join(verify(replace(plan, **changes), jobs, there, capacity))


def test_a_shifted_start_is_found(sound):
    runs = sound[0].runs
    assert "the runs come to" in faults(sound, runs=replace(runs, step=(runs.step + 1) % 4))


def test_jobs_in_the_same_place_are_found(sound):
    runs = sound[0].runs
    crowd = replace(runs, step=np.tile([1, 2], 3), site=np.zeros(3, np.int64))
    assert "over its capacity" in faults(sound, runs=crowd)


def test_a_job_that_is_left_out_is_found(sound):
    runs = sound[0].runs
    assert "runs 2 times, not 1" in faults(sound, runs=replace(runs, count=np.array([2, 1, 1])))


def test_work_that_is_not_done_is_found(sound):
    runs = sound[0].runs
    assert "of its 2 h of work" in faults(sound, runs=replace(runs, work=runs.work * 0.5))


def test_energy_that_is_left_out_is_found(sound):
    runs = sound[0].runs
    assert "no level of it does that work" in faults(sound, runs=replace(runs, energy_kwh=runs.energy_kwh * 0.5))


def test_a_wrong_objective_is_found(sound):
    outcome = sound[0].outcome
    assert "the objective is stated" in faults(sound, outcome=replace(outcome, objective=outcome.objective * 0.9))


def test_a_bound_that_is_too_high_is_found(sound):
    stated = sound[0].certificate
    high = replace(stated, lower_bound=stated.objective, gap=0.0, objective=stated.objective)
    cheap = replace(sound[0].prices, limit=sound[0].prices.limit * 0.5)
    assert "above what the prices of capacity prove" in faults(sound, certificate=high, prices=cheap)


def test_negative_prices_of_capacity_prove_nothing(sound):
    assert "not 0 or more" in faults(sound, prices=replace(sound[0].prices, limit=sound[0].prices.limit - 1))


def test_a_gap_that_is_not_the_distance_is_found(sound):
    assert "is not the distance" in faults(sound, certificate=replace(sound[0].certificate, gap=0.5))
