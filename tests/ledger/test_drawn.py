from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outweigh.core import Energy, Grade, Interval, Phase, RunStatus, Scope
from outweigh.core.errors import OverlappingScopes
from outweigh.ledger import drawdown, drawn, summary
from outweigh.ledger.drawn import add_up
from outweigh.ports import ReceiptFilter


@pytest.fixture
def day(made):
    return Interval.starting(made.EPOCH, 86_400)


def test_a_budget_is_drawn_down_by_its_phase_alone(store, made_receipt, day):
    store.append(made_receipt(1, joules=10.0, phase=Phase.TRAINING))
    store.append(made_receipt(2, joules=20.0, phase=Phase.INFERENCE))
    store.append(made_receipt(3, joules=40.0, phase=Phase.INFERENCE, project="other"))

    assert drawn(store, Phase.TRAINING, day) == Energy(10.0)
    assert drawn(store, Phase.INFERENCE, day) == Energy(60.0)
    assert drawn(store, Phase.INFERENCE, day, project="other") == Energy(40.0)
    assert drawn(store, Phase.IDLE, day) == Energy(0.0)


def test_failed_and_interrupted_runs_drew_their_energy_all_the_same(store, made_receipt, day):
    for index, status in enumerate((RunStatus.COMPLETED, RunStatus.FAILED, RunStatus.INTERRUPTED)):
        store.append(made_receipt(index, joules=10.0, status=status))

    found = drawdown(store, Phase.INFERENCE, day)

    assert found.energy == Energy(30.0)
    assert (found.receipts, found.failed) == (3, 2)


def test_an_unusable_figure_is_missing_and_named_not_added(store, made_receipt, day):
    store.append(made_receipt(1, joules=10.0))
    store.append(made_receipt(2, joules=1e9, status=RunStatus.UNUSABLE, grade=Grade.D))

    found = drawdown(store, Phase.INFERENCE, day)

    assert found.energy == Energy(10.0)
    assert found.unusable == ("run-000002",)
    assert found.grade is Grade.B


def test_the_sum_is_as_good_as_its_worst_part(store, made_receipt, day):
    assert drawdown(store, Phase.INFERENCE, day).grade is None
    for index, grade in enumerate((Grade.A, Grade.C, Grade.B)):
        store.append(made_receipt(index, grade=grade))

    assert drawdown(store, Phase.INFERENCE, day).grade is Grade.C


def test_a_run_over_midnight_is_charged_to_both_days_by_time(store, made, made_receipt, day):
    midnight = day.end
    store.append(made_receipt(1, joules=100.0, start=midnight - timedelta(seconds=30), seconds=120))

    assert drawn(store, Phase.INFERENCE, day).joules == pytest.approx(25.0)
    assert drawn(store, Phase.INFERENCE, Interval.starting(midnight, 86_400)).joules == pytest.approx(75.0)


def test_a_run_of_no_length_is_charged_once_at_a_boundary(store, made_receipt, day):
    store.append(made_receipt(1, joules=7.0, start=day.end, seconds=0))

    assert drawn(store, Phase.INFERENCE, day) == Energy(0.0)
    assert drawn(store, Phase.INFERENCE, Interval.starting(day.end, 1)) == Energy(7.0)


@given(
    runs=st.lists(st.tuples(st.integers(-50, 150), st.integers(0, 80), st.floats(0, 1e6)), max_size=8),
    cut=st.integers(0, 100),
)
def test_energy_does_not_depend_on_where_the_period_is_cut(made, runs, cut):
    receipts = [
        made.made_receipt(index, joules=joules, start=made.EPOCH + timedelta(seconds=start), seconds=seconds)
        for index, (start, seconds, joules) in enumerate(runs)
    ]
    start, middle, end = (made.EPOCH + timedelta(seconds=s) for s in (0, cut, 100))

    whole = add_up(receipts, Interval(start, end)).energy.joules
    parts = [add_up(receipts, Interval(*ends)).energy.joules for ends in ((start, middle), (middle, end))]

    assert sum(parts) == pytest.approx(whole)
    assert whole <= add_up(receipts).energy.joules * (1 + 1e-12)


@given(st.permutations([1e16, 1.0, -1e16, 3.0, 1e-3]))
def test_the_sum_does_not_depend_on_the_order_written(made, joules):
    receipts = [made.made_receipt(index, joules=value) for index, value in enumerate(joules)]

    assert add_up(receipts).energy == Energy(4.001)


# --- nothing is counted twice -----------------------------------------------------------------------


def together(made_receipt, *runs):
    """Runs that start at one time: (scope, batch, labels)."""
    return [
        made_receipt(
            index, start=made_receipt(0).interval.start, scope=scope, batch=batch, labels=tuple(labels.items())
        )
        for index, (scope, batch, labels) in enumerate(runs)
    ]


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((Scope.NODE, "review", {}), (Scope.GPU, "review", {})),
        ((Scope.CORE, "review", {}), (Scope.PSYS, "review", {})),
        ((Scope.PACKAGE, "review", {}), (Scope.PACKAGE, "review", {})),
        ((Scope.PACKAGE, "review", {"machine": "a"}), (Scope.PACKAGE, "review", {})),
        ((Scope.NODE, "", {"machine": "a"}), (Scope.PACKAGE, "", {"machine": "a"})),
        ((Scope.NODE, "one", {"machine": "a"}), (Scope.PACKAGE, "two", {"machine": "a"})),
        ((Scope.GPU, "review", {"device": "0"}), (Scope.GPU, "review", {"device": "0"})),
        ((Scope.NODE, "review", {"device": "0"}), (Scope.GPU, "review", {"device": "1"})),
    ],
)
def test_simultaneous_runs_of_one_machine_whose_scopes_overlap_are_never_added(made_receipt, first, second):
    for order in ((first, second), (second, first)):
        with pytest.raises(OverlappingScopes, match="at the same time"):
            add_up(together(made_receipt, *order))


@pytest.mark.parametrize(
    ("first", "second"),
    [
        ((Scope.PACKAGE, "review", {}), (Scope.DRAM, "review", {})),
        ((Scope.PACKAGE, "review", {}), (Scope.GPU, "review", {})),
        ((Scope.GPU, "review", {"device": "0"}), (Scope.GPU, "review", {"device": "1"})),
        ((Scope.NODE, "sweep", {"machine": "a"}), (Scope.NODE, "sweep", {"machine": "b"})),
        ((Scope.NODE, "", {}), (Scope.NODE, "", {})),
        ((Scope.NODE, "one", {}), (Scope.NODE, "two", {})),
    ],
)
def test_simultaneous_runs_that_see_different_things_are_added(made_receipt, first, second):
    assert add_up(together(made_receipt, first, second)).energy == Energy(201.0)


def test_a_run_inside_a_longer_one_is_found_among_others(made, made_receipt):
    receipts = [made_receipt(index, batch="review") for index in range(20)]
    assert add_up(receipts).receipts == 20
    around = made_receipt(99, start=made.EPOCH, seconds=3600, scope=Scope.NODE, batch="review")

    with pytest.raises(OverlappingScopes) as caught:
        add_up([*receipts, around])

    assert "run-000099 (node)" in caught.value.outer
    assert "machine=" in caught.value.remedy


def test_runs_that_only_touch_do_not_overlap(made, made_receipt):
    receipts = [
        made_receipt(index, start=made.EPOCH + timedelta(seconds=10 * index), seconds=10, batch="review")
        for index in range(5)
    ]

    assert add_up(receipts).receipts == 5


def test_readings_a_receipt_shows_beside_its_total_are_not_added(made, made_receipt):
    from dataclasses import replace

    receipt = replace(made_receipt(1, joules=10.0), overlapping=(made.made_measurement(8.0, scope=Scope.CORE),))

    assert add_up([receipt]).energy == Energy(10.0)


def test_the_summary_refuses_to_count_twice_too(store, made_receipt):
    for receipt in together(made_receipt, (Scope.NODE, "review", {}), (Scope.GPU, "review", {})):
        store.append(receipt)

    with pytest.raises(OverlappingScopes):
        summary(store, ReceiptFilter(batch="review"))
