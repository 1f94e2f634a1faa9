"""Pitfalls that a meter meets at its source, and where the test of every known one stands."""

from __future__ import annotations

import random
import re
from pathlib import Path

import pytest

from outweigh.backends.meters.cpu_model import CpuModelMeter
from outweigh.backends.meters.rapl import RaplMeter
from outweigh.backends.meters.replay import ReplayMeter
from outweigh.measure import FakeClock, MeterSession
from outweigh.ports import ChannelKind

# What goes wrong when energy is measured, and a test that shows it does not go wrong here.
PITFALLS = {
    "a counter wraps": "a_wrap_loses_no_joule_wherever_the_counter_starts",
    "a counter is reset": "a_session_never_adds_the_range_after_a_reset",
    "a counter wraps more than once": "a_counter_left_alone_for_longer_than_its_range_lasts_is_ambiguous",
    "a reading is stale": "the_edge_term_holds_95_of_100_ages_whatever_the_powers",
    "domains overlap or repeat": "of_every_kind_of_tree_an_antichain_is_counted",
    "only one socket is seen": "a_socket_without_a_counter_is_missed_aloud",
    "a counter may not be read": "the_probe_says_so_when_the_kernel_lets_only_root_read",
    "the next best way is taken in silence": "the_best_grade_wins_and_the_others_say_why_they_were_passed_over",
    "a virtual machine has no counters of its own": "a_virtual_machine_is_told_that_its_energy_is_only_modelled",
    "a container is charged for its host": "a_container_is_charged_for_its_quota_and_not_for_the_host",
    "power is an average": "a_board_without_the_instantaneous_field_is_marked_as_averaging",
    "a sensor looks part of the time": "the_interval_of_a_sensor_that_looks_a_quarter_of_the_time_holds_the_truth",
    "a GPU counter is absent, frozen, backward or wrong": "a_counter_that_fails_its_test_gives_way_to_integrated_power_"
    "a_grade_lower",
    "two sensors disagree": "a_counter_far_from_the_power_beside_it_loses_a_grade_and_says_so",
    "an instance of a card": "an_instance_is_allocated_its_size_of_the_card_and_never_measured",
    "several processes on a board": "the_shares_of_all_processes_add_up_to_at_most_the_card",
    "several ranks on a node": "eight_ranks_that_read_the_same_board_count_its_joules_once",
    "a device that is not there": "a_device_that_is_not_there_is_an_error_and_not_ignored",
    "children that live for a moment": "a_child_that_lived_for_a_moment_is_counted_in_full",
    "the meter is forked": "a_forked_child_cannot_use_the_session_and_does_not_disturb_it",
    "the idle share": "an_unknown_hum_stays_unknown",
    "the machine was suspended": "a_suspended_machine_makes_the_window_unusable",
    "the clock was set": "a_clock_set_by_an_hour_does_not_stretch_the_run",
    "samples are missing": "a_gap_is_not_bridged_and_lowers_the_coverage_until_the_window_is_unusable",
    "the machine warms up": "a_pulled_plug_another_governor_and_heat_are_told",
    "a block is short": "a_short_block_is_refused_with_the_repeats_that_would_do",
    "looking costs": "what_the_sampler_costs_is_told_in_joules_too",
    "work is handed to a device": "work_handed_to_a_device_is_waited_for_at_both_edges",
    "units drift": "a_unit_given_wrongly_cannot_pass_unseen",
    "the building is mixed into the machine": "a_pue_makes_it_energy_of_the_facility_once",
    "a constant decides a comparison": "a_constant_draw_is_hum_and_never_work",
    "others share the machine": "work_of_other_programs_is_told_and_our_own_is_not",
    "watching wakes an NVIDIA board": "a_sleeping_board_is_seen_without_waking_it",
    "watching wakes an AMD board": "a_sleeping_board_is_not_woken_by_the_doctor",
    "watching wakes a board through its sensors": "a_sleeping_board_is_not_woken_unless_it_is_named",
    "the job is killed": "a_killed_run_is_closed_as_interrupted_with_the_energy_seen_so_far",
}


def test_every_known_pitfall_has_a_test():
    tests = Path(__file__).parents[1]
    names = {
        name
        for path in tests.rglob("test_*.py")
        for name in re.findall(r"^def test_(\w+)\(", path.read_text(encoding="utf-8"), re.MULTILINE)
    }
    assert {pitfall: test for pitfall, test in PITFALLS.items() if test not in names} == {}


# Trees as kernels lay them out: (folder, name, joules) of each zone, and what may be added up.
TREES = {
    "a laptop with psys": (
        [("intel-rapl:0", "package-0", 900.0), ("intel-rapl:0:0", "core", 500.0), ("intel-rapl:0:1", "uncore", 90.0),
         ("intel-rapl:1", "psys", 2_000.0)],
        {"package-0"},
    ),
    "a package seen twice": (
        [("intel-rapl:0", "package-0", 900.0), ("intel-rapl-mmio:0", "package-0", 900.0)],
        {"package-0"},
    ),
    "a zone for each die of one counter": (
        [("intel-rapl:0", "package-0-die-0", 9_000.0), ("intel-rapl:1", "package-0-die-1", 9_000.0)],
        {"package-0-die-0"},
    ),
    "a server with memory": (
        [("intel-rapl:0", "package-0", 900.0), ("intel-rapl:0:0", "dram", 300.0)],
        {"package-0", "package-0/dram"},
    ),
    "cores alone": ([("intel-rapl:0", "core", 500.0)], {"core"}),
}  # fmt: skip


@pytest.mark.parametrize("kind", TREES)
def test_of_every_kind_of_tree_an_antichain_is_counted(kind, powercap, cpuinfo):
    zones, expected = TREES[kind]
    for folder, name, energy_j in zones:
        powercap.zone(folder, name, energy_j)
    meter = RaplMeter(powercap.root, cpuinfo=cpuinfo(sockets=1))
    meter.open()
    counted = {channel.id for channel in meter.channels if channel.counted}
    meter.close()

    assert counted == expected
    # Whatever is left out is named with the reason.
    assert len(meter.notes) == len(zones) - len(expected) + (kind == "cores alone")


def test_cores_that_stand_for_no_package_are_said_to_miss_it(powercap, cpuinfo):
    powercap.zone("intel-rapl:0", "core")
    meter = RaplMeter(powercap.root, cpuinfo=cpuinfo(sockets=1))
    meter.open()
    assert meter.channels[0].scope == "core"
    assert "0 of 1 processor packages have a counter; the rest is not seen" in meter.notes


class QuarterSeen(ReplayMeter):
    """Power that is the mean of a quarter of every tenth of a second, the last one that is over.

    Source: Yang et al. 2024, "Accurate and Convenient Energy Measurements for GPUs", arXiv:2312.02741.
    """

    seen_share, shortest_s = 0.25, 5.0
    phase_s = 0.0

    def read(self):
        sample = super().read()
        since_s = sample.t_s - self._opened_s
        start_s = max(0.0, ((since_s - self.phase_s - 0.025) // 0.1) * 0.1 + self.phase_s)
        mean_w = (self.energy_j(start_s + 0.025) - self.energy_j(start_s)) / 0.025
        return type(sample)(sample.t_s, (mean_w,))


def test_the_interval_of_a_sensor_that_looks_a_quarter_of_the_time_holds_the_truth():
    held = 0
    for seed in range(20):
        clock, chance = FakeClock(), random.Random(seed)
        trace, t_s = [], 0.0
        while t_s < 12.0:  # work in bursts that begin and end between the looks
            for power_w in (90.0, 310.0):
                end_s = t_s + chance.uniform(0.02, 0.3)
                trace += [(t_s, power_w), (end_s, power_w)]
                t_s = end_s
        meter = QuarterSeen(trace, now=clock.monotonic_s, kind=ChannelKind.POWER, update_s=0.1)
        meter.phase_s = chance.uniform(0.0, 0.1)
        with MeterSession(meter, clock) as session:
            clock.sleep(chance.uniform(0.0, 0.5))
            begin_s = clock.monotonic_s() - meter._opened_s
            with session.window() as window:
                clock.sleep(6.0)
            end_s = clock.monotonic_s() - meter._opened_s
        truth_j = meter.energy_j(end_s) - meter.energy_j(begin_s)
        total = window.reading.total
        assert window.reading.status == "completed", window.reading.notes
        held += abs(total.value.joules - truth_j) <= 2 * total.standard_uncertainty.joules
    assert held >= 18


def test_a_constant_draw_is_hum_and_never_work(cpuinfo):
    works = []
    for threads in (2, 64):  # a machine with a constant term thirty-two times as large
        clock = FakeClock()
        meter = CpuModelMeter(
            now=clock.monotonic_s, cpu_seconds=lambda c=clock: 0.7 * c.monotonic_s(), cpuinfo=cpuinfo(), threads=threads
        )
        with MeterSession(meter, clock) as session, session.window() as window:
            clock.sleep(10.0)
        works.append((window.reading.hum.value.joules, window.reading.work.value.joules))
    (small_hum_j, small_work_j), (large_hum_j, large_work_j) = works
    assert large_hum_j > 10 * small_hum_j
    assert large_work_j == pytest.approx(small_work_j)
