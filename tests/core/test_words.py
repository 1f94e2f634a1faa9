"""The rest of the core: intervals, scopes, sites, budgets, receipts."""

import json
import pickle
from datetime import UTC, datetime, timedelta, timezone

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outweigh.core import (
    Bounds,
    Budget,
    Energy,
    Factor,
    Grade,
    Interval,
    Latency,
    Measurement,
    MeterCost,
    Method,
    Outcome,
    Phase,
    PueCurve,
    Quality,
    Receipt,
    RunStatus,
    Scope,
    UncertaintyComponent,
)
from outweigh.core.errors import InvalidQuantity, OverlappingScopes, UsageError
from outweigh.core.measurement import check_disjoint

START = datetime(2026, 1, 1, tzinfo=UTC)
DAY = Interval.starting(START, 86_400)


def test_an_interval_is_half_open_and_kept_in_utc():
    berlin = timezone(timedelta(hours=1))
    hour = Interval(datetime(2026, 1, 1, 1, tzinfo=berlin), datetime(2026, 1, 1, 2, tzinfo=berlin))

    assert hour.start == START
    assert hour.start.tzinfo is UTC
    assert hour.contains(START)
    assert not hour.contains(hour.end)


def test_an_interval_without_a_time_zone_or_backwards_is_refused():
    with pytest.raises(InvalidQuantity, match="time zone"):
        Interval(datetime(2026, 1, 1), datetime(2026, 1, 2))  # noqa: DTZ001
    with pytest.raises(InvalidQuantity, match="ends before"):
        Interval(DAY.end, DAY.start)


@given(st.integers(0, 86_400), st.integers(0, 86_400))
def test_touching_intervals_share_nothing_and_cut_intervals_re_add(a, b):
    first, last = sorted((a, b))
    parts = [Interval.starting(START, first), Interval(START + timedelta(seconds=first), DAY.end)]
    probe = Interval(START + timedelta(seconds=first), START + timedelta(seconds=last))

    assert parts[0].overlap_s(parts[1]) == 0
    assert sum(p.overlap_s(probe) for p in parts) == probe.seconds


def test_bounds_refuse_nan_and_disorder():
    for low, high in [(2.0, 1.0), (float("nan"), 1.0)]:
        with pytest.raises(InvalidQuantity):
            Bounds(low, high)


@pytest.mark.parametrize(
    ("outer", "inner"),
    [
        (Scope.PSYS, Scope.PACKAGE),
        (Scope.PSYS, Scope.DRAM),
        (Scope.PACKAGE, Scope.CORE),
        (Scope.PACKAGE, Scope.UNCORE),
        (Scope.NODE, Scope.GPU),
    ],
)
def test_a_parent_scope_and_its_part_are_never_added(outer, inner):
    for order in ([("a", outer), ("b", inner)], [("b", inner), ("a", outer)]):
        with pytest.raises(OverlappingScopes):
            check_disjoint(order)


def test_two_sockets_and_memory_beside_them_do_add():
    check_disjoint([("p0", Scope.PACKAGE), ("p1", Scope.PACKAGE), ("d0", Scope.DRAM), ("g0", Scope.GPU)])


def test_the_same_device_counted_twice_is_refused():
    with pytest.raises(OverlappingScopes):
        check_disjoint([("p0", Scope.PACKAGE), ("p0", Scope.PACKAGE)])


def test_grade_a_is_best_and_a_chain_is_as_good_as_its_weakest_link():
    assert Grade.A.at_least(Grade.B)
    assert not Grade.C.at_least(Grade.B)
    assert Grade.worst([Grade.B, Grade.D, Grade.C]) is Grade.D


def test_exit_codes_of_verdicts_are_those_of_the_design():
    assert [o.exit_code for o in (Outcome.PASS, Outcome.FAIL, Outcome.INCONCLUSIVE)] == [0, 1, 5]


def test_pue_below_one_is_refused_and_falls_with_load_on_a_line():
    with pytest.raises(InvalidQuantity):
        PueCurve(0.9, 1.2)
    assert PueCurve(1.6, 1.2).at(0.25) == pytest.approx(1.5)


def test_a_budget_sets_a_limit_that_is_not_negative_and_a_total_has_a_period():
    with pytest.raises(InvalidQuantity, match="per_unit, total or limit"):
        Budget("serve", Phase.INFERENCE)
    with pytest.raises(InvalidQuantity, match="not negative"):
        Budget("serve", Phase.INFERENCE, per_unit=Energy(-1.0))
    with pytest.raises(InvalidQuantity, match="period"):
        Budget("serve", Phase.INFERENCE, total=Energy(1.0))


def test_the_uncertainty_budget_combines_in_quadrature_and_covers_at_two_sigma():
    reading = measurement(100.0, 3.0, 4.0)

    assert reading.standard_uncertainty.joules == 5.0
    assert reading.bounds_j == Bounds(90.0, 110.0, 0.95)


FACTOR = Factor("power curve", 2.1, "W", "a made-up table, for tests", "2023", "2026-11-23", "CC0-1.0", Grade.D)


def measurement(joules, *standards):
    parts = tuple(UncertaintyComponent(f"part {i}", s) for i, s in enumerate(standards))
    return Measurement(Energy(joules), DAY, Scope.CPU_THREADS, Grade.D, Method.MODELLED, "test", parts, (FACTOR,))


def receipt(joules=10.0, **changes):
    fields = {
        "run_id": "ab" * 16,
        "project": "p",
        "phase": Phase.DEVELOPMENT,
        "status": RunStatus.COMPLETED,
        "total": measurement(joules, 1.0),
        "hum": measurement(joules / 4, 0.5),
        "work": measurement(joules * 3 / 4, 1.1),
        "quality": (Quality("accuracy", 0.9, 100, Bounds(0.8, 0.95)), Quality("recall", 1.0, 3)),
        "latency": Latency(1.0, 0.9, 2.0, 100),
        "meter_cost": MeterCost(0.01),
        "versions": (("outweigh", "0"), ("python", "3.11")),
        "labels": (("team", "triage"),),
    }
    return Receipt(**{**fields, **changes})


def test_a_receipt_comes_back_from_json_with_the_same_address():
    kept = receipt()

    back = Receipt.from_dict(json.loads(json.dumps(kept.to_dict())))

    assert back == kept
    assert back.content_hash == kept.content_hash
    assert pickle.loads(pickle.dumps(kept)) == kept


def test_any_change_of_a_receipt_changes_its_address():
    assert receipt(10.0).content_hash != receipt(10.000001).content_hash
    assert receipt().content_hash != receipt(labels=()).content_hash


def test_a_receipt_of_a_newer_schema_is_refused_with_a_remedy():
    body = receipt().to_dict() | {"schema": 99}

    with pytest.raises(UsageError, match="Upgrade"):
        Receipt.from_dict(body)
