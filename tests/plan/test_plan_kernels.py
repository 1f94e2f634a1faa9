"""The exact kernels: equal to brute force on small cases, and the laws that hold for every input."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.optimize import linprog

from outweigh.core.errors import GapsTooLarge, InvalidQuantity, PlanInfeasible
from outweigh.plan.kernels import (
    Windows,
    contiguous,
    contiguous_use,
    elastic,
    elastic_use,
    hull,
    interruptible,
    interruptible_use,
    now,
    resuming,
    resuming_use,
    resumptions,
)

# Prices and intensities to two decimals, negative ones among them, with ties.
prices = st.integers(-500, 2000).map(lambda cents: cents / 100)
QUARTERS = 4


def rates(max_sites=3, max_steps=8):
    shape = st.tuples(st.integers(1, max_sites), st.integers(1, max_steps))
    return arrays.arrays(np.float64, shape, elements=prices)


@st.composite
def planned(draw, quarters=False, max_steps=8):
    """A rate and some rows whose work fits their windows; with `quarters`, at quarters of a step."""
    rate = draw(rates(max_steps=max_steps))
    parts = QUARTERS if quarters else 1
    rows = []
    for _ in range(draw(st.integers(1, 4))):
        release = draw(st.integers(0, rate.shape[1] * parts - 1))
        deadline = draw(st.integers(release + 1, rate.shape[1] * parts))
        work = draw(st.integers(1, deadline - release))
        site = draw(st.integers(0, rate.shape[0] - 1))
        rows.append((site, release / parts, deadline / parts, work / parts))
    return rate, Windows.of(*(np.array(column) for column in zip(*rows, strict=True)))


def each(rows):
    return zip(rows.site.tolist(), rows.release.tolist(), rows.deadline.tolist(), rows.work.tolist(), strict=True)


def integral(rate, start, end):
    """Cost of running from start to end, cell by cell."""
    return sum(price * max(0.0, min(t + 1, end) - max(t, start)) for t, price in enumerate(rate))


def brute_resuming(rate, release, deadline, work, lost, fee, extra):
    """Every subset of the steps, as runs: the first works throughout, the others restore first and then work.

    Restoring ends at an edge: of a fraction of a step it is the end.
    """
    best, whole = np.inf, int(np.ceil(lost))
    spared = whole - lost
    steps = range(release, deadline)
    for chosen in itertools.chain.from_iterable(itertools.combinations(steps, n) for n in range(1, len(steps) + 1)):
        runs = [[t for _, t in run] for _, run in itertools.groupby(enumerate(chosen), key=lambda at: at[1] - at[0])]
        later = runs[1:]
        if any(len(run) <= whole for run in later) or len(runs[0]) + sum(len(r) - whole for r in later) != work:
            continue
        cost = sum(rate[t] for t in chosen) + sum(fee + (extra - spared) * rate[run[0]] for run in later)
        best = min(best, cost)
    return best


def least_by_programme(rate, release, deadline, work, speed, power):
    """The elastic job as a linear programme over the time at every level in every step; HiGHS' answer."""
    room = [max(0.0, min(t + 1, deadline) - max(t, release)) for t in range(len(rate))]
    cells = list(itertools.product(range(len(rate)), range(len(speed))))
    found = linprog(
        [rate[t] * power[i] for t, i in cells],
        A_ub=[[float(t == u) for u, _ in cells] for t in range(len(rate))],
        b_ub=room,
        A_eq=[[speed[i] for _, i in cells]],
        b_eq=[work],
        method="highs",
    )
    return found.fun if found.status == 0 else None


# --- equal to brute force --------------------------------------------------------------------------------


@given(planned(quarters=True))
def test_a_run_without_pause_is_the_best_of_all_starts_fractions_included(case):
    rate, rows = case

    found = contiguous(rate, rows)

    for i, (site, release, deadline, work) in enumerate(each(rows)):
        # Costs bend only where a start or an end meets an edge, and with quarters all of those are at quarters.
        starts = np.arange(release * QUARTERS, (deadline - work) * QUARTERS + 1) / QUARTERS
        assert found.cost[i] == pytest.approx(min(integral(rate[site], s, s + work) for s in starts), abs=1e-9)
        assert integral(rate[site], found.start[i], found.start[i] + work) == pytest.approx(found.cost[i], abs=1e-9)


@given(rates(max_sites=2, max_steps=30), st.integers(1, 6), st.integers(0, 12))
def test_many_starts_of_one_length_take_the_table_and_find_the_same(rate, work, slack):
    steps = rate.shape[1]
    assume(steps > work)
    release = np.arange(steps - work)
    deadline = np.minimum(release + work + slack, steps)
    together = Windows.of([[0], [rate.shape[0] - 1]] * 40, release, deadline, work)

    found = contiguous(rate, together)

    for i in range(0, len(together), 7):
        alone = contiguous(rate, together.take(np.array([i])))
        assert (found.cost[i], found.start[i]) == (alone.cost[0], alone.start[0])


@given(planned(quarters=True))
def test_an_interruptible_run_is_the_cheapest_quarters_of_the_window(case):
    rate, rows = case

    found = interruptible(rate, rows)

    for i, (site, release, deadline, work) in enumerate(each(rows)):
        fine = np.repeat(rate[site], QUARTERS)[int(release * QUARTERS) : int(deadline * QUARTERS)] / QUARTERS
        assert found[i] == pytest.approx(sum(sorted(fine)[: int(work * QUARTERS)]), abs=1e-9)


@given(
    planned(),
    st.sampled_from([0, 1, 2, 3, 0.25, 1.5]),
    st.sampled_from([0.0, 0.5, 4.0]),
    st.sampled_from([0.0, 1.0, 2.5]),
)
def test_a_run_with_dear_resumptions_is_the_best_of_all_subsets(case, lost, fee, extra):
    rate, rows = case

    found = resuming(rate, rows, lost, fee, extra)
    use = resuming_use(rate, rows, lost, fee, extra)

    paid = np.bincount(use.row, use.draw * rate[rows.site[use.row], use.step], minlength=len(rows))
    np.testing.assert_allclose(paid + fee * resumptions(rows, use), found, atol=1e-9)
    for i, (site, release, deadline, work) in enumerate(each(rows)):
        window = (int(release), int(deadline), int(work))
        assert found[i] == pytest.approx(brute_resuming(rate[site], *window, lost, fee, extra), abs=1e-9)


@given(
    planned(quarters=True, max_steps=5),
    st.lists(st.tuples(st.integers(1, 12), st.integers(1, 40)), min_size=1, max_size=4),
)
def test_an_elastic_run_is_the_optimum_of_its_linear_programme(case, levels):
    rate, rows = case
    levels = sorted(dict(levels).items())
    speed, power = np.array([v / 4 for v, _ in levels]), np.array([float(p) for _, p in levels])
    assume((rows.work / speed[-1] <= rows.deadline - rows.release).all())

    found = elastic(rate, rows, speed, power)

    for i, (site, release, deadline, work) in enumerate(each(rows)):
        expected = least_by_programme(rate[site], release, deadline, work, speed, power)
        assert found[i] == pytest.approx(expected, rel=1e-7, abs=1e-6)


# --- laws -----------------------------------------------------------------------------------------------


def all_kernels(rate, rows):
    """Name -> (cost, use) of every kernel, at unit power, with resumptions that cost."""
    start = contiguous(rate, rows)
    one, watt = np.array([1.0, 2.0]), np.array([1.0, 2.6])
    found = {
        "contiguous": (start.cost, contiguous_use(rows, start.start)),
        "interruptible": (interruptible(rate, rows), interruptible_use(rate, rows)),
        "elastic": (elastic(rate, rows, one, watt), elastic_use(rate, rows, one, watt)),
    }
    if rows.whole.all():
        found["resuming"] = (resuming(rate, rows, 1, 0.0), resuming_use(rate, rows, 1, 0.0))
    return found


@given(st.one_of(planned(), planned(quarters=True)))
def test_work_is_conserved_inside_the_window_and_what_is_drawn_is_what_it_costs(case):
    rate, rows = case

    for name, (cost, use) in all_kernels(rate, rows).items():
        done = np.bincount(use.row, use.work, minlength=len(rows))
        np.testing.assert_allclose(done, rows.work, atol=1e-9, err_msg=name)
        paid = np.bincount(use.row, use.draw * rate[rows.site[use.row], use.step], minlength=len(rows))
        np.testing.assert_allclose(paid, cost, atol=1e-9, err_msg=name)
        assert (use.step >= np.floor(rows.release[use.row])).all(), name
        assert (use.step + 1 <= np.ceil(rows.deadline[use.row])).all(), name
        # In a step the window only touches, no more runs than lies inside it.
        inside = np.minimum(use.step + 1, rows.deadline[use.row]) - np.maximum(use.step, rows.release[use.row])
        fastest = 2.0 if name == "elastic" else 1.0
        assert (use.work <= fastest * inside + 1e-9).all(), name


@given(st.one_of(planned(), planned(quarters=True)), st.integers(0, 3))
def test_a_later_deadline_never_costs_more(case, later):
    rate, rows = case
    longer = Windows(rows.site, rows.release, np.minimum(rows.deadline + later, rate.shape[1]), rows.work)

    before, after = all_kernels(rate, rows), all_kernels(rate, longer)

    for name in before.keys() & after.keys():
        assert (after[name][0] <= before[name][0] + 1e-9).all(), name


@given(st.one_of(planned(), planned(quarters=True)))
def test_more_freedom_never_costs_more(case):
    rate, rows = case

    found = {name: cost for name, (cost, _) in all_kernels(rate, rows).items()}

    assert (found["contiguous"] <= now(rate, rows) + 1e-9).all()
    assert (found["interruptible"] <= found["contiguous"] + 1e-9).all()
    if (rate >= 0).all():
        # Where energy is paid for being used, a level that draws more per work is no loss but a gain, too.
        assert (found["elastic"] <= found["interruptible"] + 1e-9).all()
    if "resuming" in found:
        assert (found["resuming"] <= found["contiguous"] + 1e-9).all()


@given(planned(), st.randoms(use_true_random=False))
def test_relabelling_the_sites_changes_no_cost(case, chance):
    rate, rows = case
    order = list(range(len(rate)))
    chance.shuffle(order)
    moved = Windows(np.argsort(order)[rows.site], rows.release, rows.deadline, rows.work)

    for name, (cost, _) in all_kernels(rate, rows).items():
        np.testing.assert_array_equal(all_kernels(rate[order], moved)[name][0], cost)


@given(planned(), st.integers(-5, 5))
def test_a_rate_higher_by_a_constant_costs_that_constant_times_the_work(case, lift):
    rate, rows = case

    for kernel in (lambda r: contiguous(r, rows).cost, lambda r: interruptible(r, rows)):
        np.testing.assert_allclose(kernel(rate + lift), kernel(rate) + lift * rows.work, atol=1e-9)


def test_free_resumptions_are_interruptible_and_dear_ones_contiguous():
    rng = np.random.default_rng(7)
    rate = rng.uniform(0, 500, (3, 40))
    rows = Windows.of([[0], [1], [2]], [0, 3, 10], [20, 33, 40], [4, 9, 30])

    np.testing.assert_allclose(resuming(rate, rows, 0), interruptible(rate, rows))
    np.testing.assert_allclose(resuming(rate, rows, 0, 1e9), contiguous(rate, rows).cost)


def test_of_equal_starts_and_steps_the_earliest_is_taken():
    rate, rows = np.ones((1, 6)), Windows.of(0, 1, 6, 2)

    assert contiguous(rate, rows).start.tolist() == [1.0]
    assert interruptible_use(rate, rows).step.tolist() == [1, 2]


# --- levels -----------------------------------------------------------------------------------------------


@given(st.dictionaries(st.integers(1, 20), st.integers(0, 60), min_size=1, max_size=6))
def test_the_hull_is_convex_and_never_above_a_level(levels):
    speed, power = (np.array(column, dtype=float) for column in zip(*sorted(levels.items()), strict=True))

    low, high = hull(speed, power), hull(speed, power, dearest=True)

    assert (np.diff(low.power_w / low.speed) > 0).all()
    assert (np.diff(high.power_w / high.speed) < 0).all()
    for one, below in ((low, True), (high, False)):
        there = np.interp(speed, np.cumsum([0, *one.speed]), np.cumsum([0, *one.power_w]))
        assert (there <= power + 1e-9).all() if below else (there >= power - 1e-9).all()
        assert one.speed.sum() == speed[-1]


def test_a_job_is_sped_up_where_energy_is_paid_for_being_used():
    rate = np.array([[-1.0, 2.0, 2.0]])
    speed, power = np.array([1.0, 2.0]), np.array([10.0, 30.0])

    use = elastic_use(rate, Windows.of(0, 0, 3, 2), speed, power)

    assert (use.step.tolist(), use.work.tolist(), use.draw.tolist()) == ([0], [2.0], [30.0])


# --- bad input ---------------------------------------------------------------------------------------------

KERNELS = {
    "contiguous": lambda rate, rows: contiguous(rate, rows),
    "interruptible": lambda rate, rows: interruptible(rate, rows),
    "interruptible_use": lambda rate, rows: interruptible_use(rate, rows),
    "resuming": lambda rate, rows: resuming(rate, rows, 1, 1.0),
    "resuming_use": lambda rate, rows: resuming_use(rate, rows, 1, 1.0),
    "elastic": lambda rate, rows: elastic(rate, rows, np.array([1.0]), np.array([5.0])),
    "now": lambda rate, rows: now(rate, rows),
}


@pytest.fixture(params=sorted(KERNELS))
def kernel(request):
    return KERNELS[request.param]


def test_a_gap_in_the_window_is_refused_and_one_outside_is_not(kernel):
    rate = np.array([[1.0, np.nan, 2.0, 3.0]])

    with pytest.raises(GapsTooLarge, match=r"33 %.*steps 1 to 4"):
        kernel(rate, Windows.of(0, 1, 4, 2))
    kernel(rate, Windows.of(0, 2, 4, 2))


def test_a_job_longer_than_its_window_is_infeasible_by_so_much(kernel):
    with pytest.raises(PlanInfeasible) as refused:
        kernel(np.ones((1, 9)), Windows.of(0, 2, 5, 4))

    assert refused.value.missing.startswith("1 steps")


@pytest.mark.parametrize(
    ("rate", "rows"),
    [
        (np.ones(4), (0, 0, 4, 1)),
        (np.ones((0, 4)), (0, 0, 4, 1)),
        (np.array([[1.0, np.inf]]), (0, 0, 2, 1)),
        (np.ones((1, 4)), (1, 0, 4, 1)),
        (np.ones((1, 4)), (-1, 0, 4, 1)),
        (np.ones((1, 4)), (0, 0, 5, 1)),
        (np.ones((1, 4)), (0, -1, 4, 1)),
        (np.ones((1, 4)), (0, 0, 4, 0)),
        (np.ones((1, 4)), (0, 0, 4, -1)),
        (np.ones((1, 4)), (0, 0, np.nan, 1)),
        (np.ones((1, 4)), (0, 0, 4, np.inf)),
    ],
)
def test_what_cannot_be_a_rate_or_a_window_is_refused(kernel, rate, rows):
    with pytest.raises(InvalidQuantity):
        kernel(rate, Windows.of(*rows))


def test_no_rows_are_no_work(kernel):
    nothing = np.empty(0)

    found = kernel(np.ones((1, 4)), Windows.of(np.empty(0, int), nothing, nothing, nothing))

    assert len(found[0] if isinstance(found, tuple) else getattr(found, "row", found)) == 0


def test_fractions_are_refused_where_pauses_would_have_any_length():
    with pytest.raises(InvalidQuantity, match="fraction"):
        resuming(np.ones((1, 4)), Windows.of(0, 0.5, 4, 2), 1, 0.0)


@pytest.mark.parametrize("bad", [-1.0, np.nan, np.inf])
def test_a_resumption_costs_a_finite_amount_of_0_or_more(bad):
    with pytest.raises(InvalidQuantity):
        resuming(np.ones((1, 4)), Windows.of(0, 0, 4, 2), 1, bad)


@pytest.mark.parametrize(
    ("speed", "power"),
    [([], []), ([1.0], []), ([0.0], [1.0]), ([1.0], [-1.0]), ([2.0, 1.0], [1.0, 2.0]), ([1.0], [np.nan])],
)
def test_levels_that_cannot_be_are_refused(speed, power):
    with pytest.raises(InvalidQuantity):
        hull(np.array(speed), np.array(power))


def test_lots_too_large_for_memory_are_cut_and_give_the_same(monkeypatch):
    rng = np.random.default_rng(3)
    rate = rng.uniform(-50, 500, (2, 60))
    release = rng.integers(0, 30, 50)
    rows = Windows.of(rng.integers(0, 2, 50), release, release + rng.integers(12, 30, 50), rng.integers(1, 12, 50))
    whole = all_kernels(rate, rows)

    monkeypatch.setattr("outweigh.plan.kernels.windows.CHUNK", 100)

    for name, (cost, use) in all_kernels(rate, rows).items():
        np.testing.assert_array_equal(cost, whole[name][0])
        np.testing.assert_array_equal(use.step, whole[name][1].step)
