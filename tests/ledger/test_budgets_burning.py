"""Budgets as they burn: drawn, left, how fast, and when it will be gone."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from outweigh.core.budget import Budget, BudgetChange, Period, Phase
from outweigh.core.errors import InvalidQuantity
from outweigh.core.intervals import Interval
from outweigh.core.quantities import Energy, Power
from outweigh.core.receipt import RunStatus
from outweigh.ledger import State, burn_down, burnt_so_far, check_nesting, drawn_j

NOW = datetime(2026, 4, 16, tzinfo=UTC)  # half of a month of 30 days is gone
MONTH = datetime(2026, 4, 1, tzinfo=UTC)
DAY = timedelta(days=1)


def line(name="serve", joules=3_000.0, phase=Phase.INFERENCE, **fields):
    return Budget(name, phase, total=Energy(joules), period=Period.MONTH, **fields)


@pytest.fixture
def daily(made_receipt):
    """A receipt of a minute at noon of each of the last days."""

    def make(joules, days=15, **fields):
        joules = np.broadcast_to(joules, (days,))
        return [
            made_receipt(i, joules=float(one), start=NOW - (days - i) * DAY + DAY / 2, seconds=60.0, **fields)
            for i, one in enumerate(joules)
        ]

    return make


def test_an_even_use_draws_the_half_of_a_line_in_half_a_period_and_burns_at_one(daily):
    (burn,) = burn_down([line()], daily(100.0), NOW)

    assert burn.drawn.energy == Energy(1_500.0)
    assert burn.left == Energy(1_500.0)
    assert burn.share == 0.5
    assert burn.rates[0].rate == pytest.approx(1.0)


def test_a_line_used_twice_too_fast_is_forecast_to_be_gone_before_the_period_ends(daily):
    scatter = np.random.default_rng(1).normal(0, 20, 15)

    (burn,) = burn_down([line("serve", 2_500.0)], daily(150.0 + scatter), NOW)

    assert burn.state is State.WARNING
    assert burn.exhaustion is not None
    assert burn.exhaustion.probability > 0.99
    # 2,250 J are gone at some 150 J a day: what is left lasts for less than two days.
    assert burn.exhaustion.earliest <= burn.exhaustion.at <= burn.exhaustion.latest
    assert NOW + DAY < burn.exhaustion.at < NOW + 3 * DAY


def test_the_forecast_covers_the_day_of_exhaustion_as_often_as_it_says(made_receipt):
    rng = np.random.default_rng(5)
    inside = 0
    trials = 300
    for _ in range(trials):
        days = rng.gamma(4.0, 25.0, 30)  # mean 100 J, skewed
        receipts = [
            made_receipt(i, joules=float(days[i]), start=NOW - (15 - i) * DAY, seconds=86_400.0) for i in range(15)
        ]
        limit_j = float(days[:15].sum()) + 700.0
        (burn,) = burn_down([line("serve", limit_j)], receipts, NOW)
        ahead = np.cumsum(days[15:])
        k = int(np.searchsorted(ahead, 700.0))
        before = ahead[k - 1] if k else 0.0
        gone = NOW + DAY * (k + (700.0 - before) / (ahead[k] - before))
        inside += burn.exhaustion.earliest <= gone <= (burn.exhaustion.latest or NOW + 15 * DAY)

    assert inside / trials == pytest.approx(0.95, abs=3.5 * (0.95 * 0.05 / trials) ** 0.5)


def test_with_less_than_three_days_of_history_no_day_is_forecast(daily):
    (burn,) = burn_down([line()], daily(100.0, days=2), NOW)

    assert burn.exhaustion is None


def test_failed_and_interrupted_runs_drew_theirs_all_the_same(daily):
    receipts = daily(100.0, days=3, status=RunStatus.FAILED)

    (burn,) = burn_down([line()], receipts, NOW)

    assert burn.drawn.energy == Energy(300.0)
    assert burn.drawn.failed == 3


def test_a_line_over_its_limit_is_breached_and_says_so(daily):
    (burn,) = burn_down([line("serve", 1_000.0)], daily(100.0), NOW)

    assert burn.state is State.BREACHED
    assert burn.left == Energy(-500.0)
    assert burn.reasons[0] == "more is drawn than the line allows"


def test_a_warning_comes_before_the_breach_at_the_share_that_was_declared(daily):
    receipts = daily(100.0)

    (warned,) = burn_down([line("serve", 4_000.0, warn_at=0.375)], receipts, NOW)
    (quiet,) = burn_down([line("serve", 4_000.0, warn_at=0.376)], receipts, NOW)

    assert (warned.state, quiet.state) == (State.WARNING, State.OK)


def test_a_receipt_that_names_its_line_draws_that_line_alone(made_receipt):
    lines = [line("a"), line("b")]
    receipt = made_receipt(joules=100.0, start=MONTH, labels=(("budget", "b"),))

    a, b = burn_down(lines, [receipt], NOW)

    assert (a.drawn.energy, b.drawn.energy) == (Energy(0.0), Energy(100.0))


def test_what_is_drawn_from_a_part_is_drawn_from_every_line_it_is_part_of(made_receipt):
    lines = [
        line("org", 5_000.0, phase=Phase.IDLE),
        line("team", 4_000.0, phase=Phase.IDLE, parent="org"),
        line("serve", 3_000.0, parent="team"),
    ]
    receipt = made_receipt(joules=100.0, start=MONTH)

    assert [burn.drawn.energy.joules for burn in burn_down(lines, [receipt], NOW)] == [100.0, 100.0, 100.0]


def test_parts_that_promise_more_than_the_whole_are_refused():
    lines = [line("org", 5_000.0), line("a", 3_000.0, parent="org"), line("b", 3_000.0, parent="org")]

    with pytest.raises(InvalidQuantity, match=r"its parts \(a, b\) promise"):
        check_nesting(lines, NOW)


def test_parts_of_another_period_are_held_to_the_whole_by_their_mean_power():
    weekly = Budget("a", Phase.INFERENCE, total=Energy(1_000.0), period=Period.WEEK, parent="org")

    check_nesting([line("org", 4_400.0), weekly], NOW)
    with pytest.raises(InvalidQuantity):
        check_nesting([line("org", 4_300.0), weekly], NOW)


def test_a_parent_that_is_not_declared_and_a_circle_are_refused():
    with pytest.raises(InvalidQuantity, match="part of it"):
        check_nesting([line("a", parent="nobody")], NOW)
    with pytest.raises(InvalidQuantity, match="a -> b -> a"):
        check_nesting([line("a", parent="b"), line("b", parent="a")], NOW)


def test_a_change_holds_from_its_day_on_and_what_was_before_stays():
    raised = BudgetChange(NOW, "launch in France", "platform", total=Energy(9_000.0))
    budget = line(changes=(raised,), per_unit=Energy(2.0))

    assert budget.at(NOW - timedelta(seconds=1)).total == Energy(3_000.0)
    assert budget.at(NOW).total == Energy(9_000.0)
    assert budget.at(NOW).per_unit == Energy(2.0)


def test_a_change_without_a_reason_or_an_owner_is_refused():
    with pytest.raises(InvalidQuantity, match="reason and an owner"):
        BudgetChange(NOW, " ", "platform", total=Energy(1.0))
    with pytest.raises(InvalidQuantity, match="reason and an owner"):
        BudgetChange(NOW, "because", "", total=Energy(1.0))


def test_a_hum_line_is_held_to_the_mean_idle_draw(made_receipt):
    hum = Budget("hum", Phase.IDLE, hum=Power(2.0))
    idle = made_receipt(joules=300.0, start=MONTH, seconds=100.0, phase=Phase.IDLE)

    (burn,) = burn_down([hum], [idle], NOW)

    assert burn.hum_w == pytest.approx(3.0)
    assert burn.state is State.BREACHED


@given(cut=st.floats(0.01, 0.99), joules=st.floats(1.0, 1e6))
@settings(max_examples=50)
def test_a_run_across_the_end_of_a_period_draws_both_periods_by_its_time(made, cut, joules):
    start = datetime(2026, 5, 1, tzinfo=UTC) - timedelta(seconds=cut * 100)
    receipt = made.made_receipt(joules=joules, start=start, seconds=100.0)
    budget = line("serve", 1e9)

    (april,) = burn_down([budget], [receipt], datetime(2026, 4, 30, 23, 59, 59, 999999, tzinfo=UTC))
    (may,) = burn_down([budget], [receipt], datetime(2026, 5, 2, tzinfo=UTC))

    assert april.drawn.energy.joules + may.drawn.energy.joules == pytest.approx(joules, rel=1e-4)


@settings(max_examples=60, deadline=None)
@given(
    runs=st.lists(st.tuples(st.floats(0, 40), st.floats(0, 12 * 86_400), st.floats(0, 1e6)), max_size=6),
    hour=st.integers(0, 14 * 24),
)
@example(runs=[(12.0, 0.00390625, 1.0)], hour=169)  # four milliseconds, a week into the month
def test_the_course_of_a_line_ends_at_what_is_drawn_and_never_falls(made, runs, hour):
    now = MONTH + timedelta(hours=hour)
    receipts = [
        made.made_receipt(i, joules=joules, start=MONTH - 5 * DAY + day * DAY, seconds=seconds)
        for i, (day, seconds, joules) in enumerate(runs)
    ]

    course = burnt_so_far(line(), [line()], receipts, now)

    drawn = [joules for _, joules in course]
    assert course[0] == (MONTH, 0.0)
    assert course[-1][0] == now
    assert drawn == sorted(drawn)
    at_the_end = [one for one in receipts if one.interval.seconds > 0 or one.interval.start < now]
    assert drawn[-1] == pytest.approx(drawn_j(at_the_end, Interval(MONTH, now)), rel=1e-9, abs=1e-9)


def test_the_course_of_a_line_leaves_out_other_phases_and_runs_without_a_usable_figure(made_receipt):
    begun = NOW - DAY / 2
    receipts = [
        made_receipt(0, joules=100.0, start=begun, seconds=60.0),
        made_receipt(1, joules=40.0, start=begun, seconds=60.0, phase=Phase.TRAINING),
        made_receipt(2, joules=7.0, start=begun, seconds=60.0, status=RunStatus.UNUSABLE),
    ]

    assert burnt_so_far(line(), [line()], receipts, NOW)[-1] == (NOW, 100.0)


def test_the_hum_of_a_hundred_machines_is_the_sum_of_theirs_and_breaches_what_one_may_draw(made_receipt):
    hum = Budget("hum", Phase.IDLE, hum=Power(180.0))
    fleet = [
        made_receipt(i, joules=10_000.0, start=MONTH, seconds=100.0, phase=Phase.IDLE, labels=(("machine", f"m{i}"),))
        for i in range(100)
    ]

    (burn,) = burn_down([hum], fleet, NOW)

    assert burn.hum_w == pytest.approx(100 * 100.0)
    assert burn.state is State.BREACHED


def test_a_machine_that_was_listened_to_twice_hums_at_the_mean_and_two_that_never_met_at_the_sum(made_receipt):
    one, other, third = (
        made_receipt(i, joules=joules, start=MONTH + i * DAY, seconds=100.0, phase=Phase.IDLE,
                     labels=(("machine", machine),))
        for i, (joules, machine) in enumerate(((100.0, "m1"), (300.0, "m1"), (500.0, "m2")))
    )  # fmt: skip
    hum = Budget("hum", Phase.IDLE, hum=Power(180.0))

    (twice,) = burn_down([hum], [one, other], NOW)
    (apart,) = burn_down([hum], [one, other, third], NOW)

    assert twice.hum_w == pytest.approx(2.0)
    assert apart.hum_w == pytest.approx(2.0 + 5.0)
