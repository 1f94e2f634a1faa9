"""Several meters in one session, several ranks in one receipt, and the hum of many receipts."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from outweigh.backends.meters.replay import ReplayMeter
from outweigh.core.budget import Phase
from outweigh.core.errors import InvalidQuantity, MeterUnavailable, UsageError
from outweigh.core.intervals import Interval
from outweigh.core.measurement import Grade, Measurement, Method, Scope, UncertaintyComponent
from outweigh.core.quantities import Energy
from outweigh.core.receipt import Receipt, RunStatus
from outweigh.measure import CombinedMeter, FakeClock, MeterSession, hum_view, merge_receipts, node_labels, split_hum
from outweigh.measure.hum import split_of
from outweigh.measure.reading import HumPart

START = datetime(2026, 1, 1, tzinfo=UTC)


def playing(watts, clock, scope, **options):
    return ReplayMeter([(0.0, watts)], now=clock.monotonic_s, scope=scope, **options)


def test_processor_and_board_in_one_session_are_added():
    clock = FakeClock()
    meter = CombinedMeter([playing(50.0, clock, Scope.PACKAGE), playing(300.0, clock, Scope.GPU)])
    with MeterSession(meter, clock) as session, session.window() as window:
        clock.sleep(10.0)
    assert window.reading.total.value.joules == pytest.approx(3_500.0)
    assert window.reading.total.scope is Scope.NODE


def test_a_scope_inside_another_meters_scope_is_shown_and_not_added():
    clock = FakeClock()
    meter = CombinedMeter([playing(50.0, clock, Scope.PACKAGE), playing(400.0, clock, Scope.NODE)])
    with MeterSession(meter, clock) as session, session.window() as window:
        clock.sleep(10.0)
    assert window.reading.total.value.joules == pytest.approx(4_000.0)
    assert [m.value.joules for m in window.reading.overlapping] == [pytest.approx(500.0)]
    assert any("contains it" in note for note in window.reading.notes)


def test_what_is_uncertain_about_one_meter_weighs_by_its_share():
    clock = FakeClock()
    gain = UncertaintyComponent("calibration", 0.10, "made")
    meter = CombinedMeter(
        [playing(100.0, clock, Scope.PACKAGE, components=(gain,)), playing(300.0, clock, Scope.GPU, grade=Grade.B)]
    )
    with MeterSession(meter, clock) as session, session.window() as window:
        clock.sleep(10.0)
    assert window.reading.total.standard_uncertainty.joules == pytest.approx(100.0)
    assert window.reading.total.grade is Grade.D


def test_one_of_two_meters_that_vanishes_spoils_the_window_and_not_the_other_meter():
    clock = FakeClock()
    meter = CombinedMeter([playing(50.0, clock, Scope.PACKAGE), playing(300.0, clock, Scope.GPU, vanish_at_s=5.0)])
    with MeterSession(meter, clock) as session, session.window() as window:
        clock.sleep(10.0)
    assert window.reading.status == "unusable"
    assert window.reading.total.value.joules == pytest.approx(500.0 + 1_500.0, rel=0.03)


def test_a_meter_that_cannot_be_opened_leaves_none_of_the_others_open():
    clock = FakeClock()
    first = playing(50.0, clock, Scope.PACKAGE)
    with pytest.raises(MeterUnavailable):
        CombinedMeter([first, ReplayMeter((), now=clock.monotonic_s)]).open()
    with pytest.raises(MeterUnavailable):
        first.read()


def receipt(
    total_j=1_000.0,
    hum_j=400.0,
    *,
    node="n1",
    devices="gpu-0",
    start_s=0.0,
    seconds=100.0,
    phase=Phase.TRAINING,
    **rest,
):
    begin = START + timedelta(seconds=start_s)
    interval = Interval(begin, begin + timedelta(seconds=seconds))

    def measured(joules):
        return Measurement(
            Energy(joules),
            interval,
            Scope.GPU,
            Grade.B,
            Method.COUNTER,
            "made",
            (UncertaintyComponent("calibration", 0.03 * joules), UncertaintyComponent("counter step", 1.0)),
        )

    labels = {"node": node, "devices": devices, **rest.pop("labels", {})}
    return Receipt(
        run_id=rest.pop("run_id", f"{node}-{devices}-{start_s}"),
        project=rest.pop("project", "p"),
        phase=phase,
        status=rest.pop("status", RunStatus.COMPLETED),
        total=measured(total_j),
        hum=None if hum_j is None else measured(hum_j),
        work=None if hum_j is None else measured(total_j - hum_j),
        labels=tuple(sorted((k, v) for k, v in labels.items() if v)),
        **rest,
    )


def test_eight_ranks_that_read_the_same_board_count_its_joules_once():
    merged = merge_receipts(receipt(run_id=f"r{rank}", units=1.0) for rank in range(8))
    assert merged.total.value.joules == pytest.approx(1_000.0)
    assert merged.units == 8.0
    assert merged.hum.value.joules + merged.work.value.joules == pytest.approx(merged.total.value.joules)
    calibration = next(c for c in merged.total.components if c.name == "calibration")
    assert calibration.standard == pytest.approx(30.0)


def test_ranks_on_several_nodes_and_boards_are_added():
    merged = merge_receipts([receipt(), receipt(devices="gpu-1"), receipt(node="n2"), receipt(node="n2", run_id="x")])
    assert merged.total.value.joules == pytest.approx(3_000.0)
    assert "4 ranks on 2 nodes" in merged.notes[0]


def test_ranks_that_overlap_in_time_in_part_count_the_common_time_once():
    # 10 W over [0, 100) and over [50, 150): 150 s of 10 W
    merged = merge_receipts([receipt(), receipt(start_s=50.0)])
    assert merged.total.value.joules == pytest.approx(1_500.0)
    assert merged.interval.seconds == 150.0


@given(starts=st.lists(st.floats(0, 500), min_size=1, max_size=6))
def test_ranks_under_one_steady_draw_merge_to_that_draw_over_the_time_they_cover(starts):
    merged = merge_receipts(receipt(start_s=s, run_id=str(i)) for i, s in enumerate(starts))
    covered, end = 0.0, -1.0
    for start in sorted(starts):
        covered += max(0.0, start + 100.0 - max(start, end))
        end = max(end, start + 100.0)
    assert merged.total.value.joules == pytest.approx(10.0 * covered, rel=1e-6)


def test_the_worst_rank_decides_status_and_grade_and_an_unknown_hum_stays_unknown():
    bad = replace(receipt(1_000.0, None, node="n2"), status=RunStatus.UNUSABLE)
    merged = merge_receipts([receipt(), bad])
    assert merged.status is RunStatus.UNUSABLE
    assert merged.hum is None
    assert merged.work is None


@pytest.mark.parametrize(
    "ranks",
    [
        [],
        [receipt(node="")],
        [receipt(devices="gpu-0"), receipt(devices="gpu-0,gpu-1")],
        [receipt(), receipt(project="other", node="n2")],
    ],
)
def test_what_cannot_be_merged_without_guessing_is_refused(ranks):
    with pytest.raises(UsageError):
        merge_receipts(ranks)


def test_a_node_is_named_by_a_hash_of_its_boot_and_not_by_its_host(tmp_path):
    (tmp_path / "boot_id").write_text("b7e3c8a2-0000-4000-8000-000000000001\n")
    clock = FakeClock()
    meter = playing(1.0, clock, Scope.GPU)
    labels = node_labels(meter, tmp_path / "boot_id")
    assert labels["devices"] == "replay"
    assert len(labels["node"]) == 16
    assert "b7e3" not in labels["node"]
    with pytest.raises(UsageError):
        node_labels(meter, tmp_path / "none")


def test_the_hum_of_a_period_goes_to_its_owners_with_an_action_each():
    period = Interval(START, START + timedelta(seconds=100))
    rows = hum_view(
        [
            receipt(1_000.0, 800.0, labels={"owner": "a"}),
            receipt(1_000.0, 100.0, labels={"owner": "b"}),
            receipt(2_000.0, None, labels={"owner": "c"}),
            receipt(3_000.0, None, labels={"owner": "d"}, phase=Phase.IDLE),
            receipt(1_000.0, 800.0, start_s=50.0, project="q"),
            receipt(9_000.0, 800.0, labels={"owner": "e"}, status=RunStatus.UNUSABLE),
            receipt(9_000.0, 800.0, labels={"owner": "e"}, start_s=500.0),
        ],
        period,
    )
    assert [(row.owner, row.hum.joules) for row in rows] == [
        ("d", 3_000.0),
        ("a", 800.0),
        ("q", 400.0),
        ("b", 100.0),
        ("c", 0.0),
    ]
    assert sum(row.share for row in rows) == pytest.approx(1.0)
    actions = {row.owner: row.action for row in rows}
    assert "switch off" in actions["d"]
    assert "smaller" in actions["a"]
    assert "listen" in actions["c"]
    assert "more than its hum" in actions["b"]


def test_the_parts_of_a_hum_make_the_whole_and_unknown_parts_stay_unknown():
    split = split_hum(Energy(100.0), allocated_share=0.25, node=Energy(160.0), pue=1.5)
    it = split.allocated + split.unallocated + split.host
    assert it.joules == pytest.approx(160.0)
    assert (it + split.cooling).joules == pytest.approx(240.0)
    bare = split_hum(Energy(100.0), allocated_share=1.0)
    assert bare.host is None
    assert bare.cooling is None
    assert split_hum(Energy(100.0), allocated_share=None).allocated is None


def idle(watts, scope, device="", counted=True):
    return HumPart(scope, device, counted, watts)


def test_a_quarter_of_the_threads_and_a_whole_board_are_allocated_each_by_its_kind():
    # 40 W of package for 10 s, a quarter of it the run's; 60 W of the board it may see, all of it
    split = split_of(Energy(1_000.0), [idle(40.0, Scope.PACKAGE), idle(60.0, Scope.GPU)], thread_share=0.25, pue=1.5)
    assert split.allocated.joules == pytest.approx(700.0)
    assert split.unallocated.joules == pytest.approx(300.0)
    assert split.host is None
    assert split.cooling.joules == pytest.approx(500.0)


def test_a_node_meter_beside_the_devices_gives_the_host():
    parts = [
        idle(100.0, Scope.NODE), idle(30.0, Scope.PACKAGE, counted=False), idle(20.0, Scope.CORE, counted=False),
        idle(10.0, Scope.DRAM, counted=False),
    ]  # fmt: skip
    split = split_of(Energy(1_000.0), parts, thread_share=0.5)
    assert split.host.joules == pytest.approx(600.0)
    assert split.allocated.joules == split.unallocated.joules == pytest.approx(200.0)


@pytest.mark.parametrize(
    ("parts", "thread_share"),
    [
        ([idle(100.0, Scope.NODE)], 0.5),  # nobody read its devices
        ([idle(100.0, Scope.PACKAGE)], None),  # nobody knows what the run may use
        (
            [idle(100.0, Scope.NODE), idle(150.0, Scope.PACKAGE, counted=False)],
            0.5,
        ),  # parts exceed the whole
        ([idle(0.0, Scope.PACKAGE)], 0.5),
        ([], 0.5),
    ],
)
def test_a_hum_of_which_nothing_is_known_is_not_split(parts, thread_share):
    assert split_of(Energy(1_000.0), parts, thread_share=thread_share) is None


@given(
    watts=st.lists(st.floats(0.1, 1e4), min_size=1, max_size=4), share=st.floats(0, 1), pue=st.floats(1, 3),
    hum_j=st.floats(1, 1e9),
)  # fmt: skip
def test_whatever_is_metered_the_parts_make_the_hum(watts, share, pue, hum_j):
    parts = [idle(w, Scope.PACKAGE, f"package-{i}") for i, w in enumerate(watts)] + [idle(50.0, Scope.GPU, "gpu-0")]
    split = split_of(Energy(hum_j), parts, thread_share=share, pue=pue)
    assert split.allocated.joules + split.unallocated.joules == pytest.approx(hum_j)
    assert split.cooling.joules == pytest.approx(hum_j * (pue - 1), abs=1e-9 * hum_j)


@pytest.mark.parametrize("scope", [Scope.GPU, Scope.CPU_THREADS])
def test_what_others_have_and_nobody_meters_is_not_known_and_not_nothing(scope):
    split = split_of(Energy(100.0), [idle(10.0, scope)], thread_share=0.5)
    assert split.allocated.joules == pytest.approx(100.0)
    assert split.unallocated is None


def test_the_hum_of_a_period_says_what_it_is_made_of_as_far_as_it_is_known():
    period = Interval(START, START + timedelta(seconds=100))
    known = replace(receipt(1_000.0, 800.0), hum_split=split_hum(Energy(800.0), allocated_share=0.25, pue=1.2))
    half_inside = replace(
        receipt(1_000.0, 800.0, start_s=50.0), hum_split=split_hum(Energy(800.0), allocated_share=1.0)
    )
    (row,) = hum_view([known, half_inside, receipt(1_000.0, 100.0)], period)
    assert row.split.allocated.joules == pytest.approx(200.0 + 400.0)
    assert row.split.unallocated.joules == pytest.approx(600.0)
    assert row.split.cooling.joules == pytest.approx(160.0)
    assert row.split.host is None


def test_a_session_knows_its_idle_draw_by_channel():
    clock = FakeClock()
    meter = CombinedMeter([playing(50.0, clock, Scope.PACKAGE), playing(400.0, clock, Scope.NODE)])
    with MeterSession(meter, clock) as session:
        hum = session.hum(2.0)
    assert [(p.scope, p.counted, round(p.power_w)) for p in hum.parts] == [
        (Scope.PACKAGE, False, 50),
        (Scope.NODE, True, 400),
    ]
    assert split_of(Energy(400.0), hum.parts, thread_share=1.0).host.joules == pytest.approx(350.0)


@pytest.mark.parametrize(
    "wrong", [{"allocated_share": 1.1}, {"allocated_share": 0.5, "pue": 0.9}, {"allocated_share": 1, "node": Energy(1)}]
)
def test_a_split_that_cannot_be_is_refused(wrong):
    with pytest.raises(InvalidQuantity):
        split_hum(Energy(100.0), **wrong)
