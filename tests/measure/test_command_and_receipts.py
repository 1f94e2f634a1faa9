"""A command measured through an executor, and what its receipt holds and does not hold."""

from __future__ import annotations

import json
import socket
from typing import ClassVar

import pytest

from outweigh.backends.meters.replay import ReplayMeter
from outweigh.core.budget import Phase
from outweigh.core.errors import CommandNotRun
from outweigh.core.measurement import Method
from outweigh.core.receipt import Receipt, RunStatus
from outweigh.data.processes import Process
from outweigh.measure import FakeClock, MeterSession, attribution, measure_command
from outweigh.ports import Availability, Completed


class FakeExecutor:
    """Lets the clock run for a while and ends as told."""

    name: ClassVar[str] = "fake"

    def __init__(self, clock, ends, seconds=4.0):
        self.clock, self.ends, self.seconds, self.commands = clock, ends, seconds, []

    @classmethod
    def probe(cls):
        return Availability("fake", usable=True)

    def run(self, command):
        self.commands.append(tuple(command))
        self.clock.sleep(self.seconds)
        if isinstance(self.ends, BaseException):
            raise self.ends
        return self.ends


def measured(ends, **trace_options):
    clock = FakeClock()
    meter = ReplayMeter([(0.0, 30.0), (2.0, 30.0), (2.0, 80.0)], now=clock.monotonic_s, **trace_options)
    executor = FakeExecutor(clock, ends)
    with MeterSession(meter, clock) as session:
        return measure_command(
            session, executor, ["train", "--secret", "s3cr3t"], project="p", phase=Phase.TRAINING, hum_s=2.0,
            labels={"team": "a"},
        )  # fmt: skip


@pytest.mark.parametrize(
    ("ends", "status", "code"),
    [
        (Completed(0, 3.9), RunStatus.COMPLETED, 0),
        (Completed(3, 3.9), RunStatus.FAILED, 3),
        (Completed(143, 3.9), RunStatus.INTERRUPTED, 143),
        (Completed(130, 3.9, interrupted=True), RunStatus.INTERRUPTED, 130),
        (KeyboardInterrupt(), RunStatus.INTERRUPTED, 130),
    ],
)
def test_however_a_command_ends_its_energy_and_exit_code_are_kept(ends, status, code):
    receipt = measured(ends)
    assert receipt.status is status
    assert receipt.exit_code == code
    assert receipt.total.value.joules == pytest.approx(320.0)
    assert receipt.hum.value.joules == pytest.approx(120.0)
    assert receipt.work.value.joules == pytest.approx(200.0)


def test_a_reading_that_cannot_be_used_stays_unusable_whatever_the_command_did():
    receipt = measured(Completed(0, 1.0), reset_at_s=(4.0,))
    assert receipt.status is RunStatus.UNUSABLE
    assert receipt.exit_code == 0


def test_a_receipt_survives_its_file_form_and_names_its_versions_but_no_host_or_command():
    receipt = measured(Completed(0, 3.9))
    text = json.dumps(receipt.to_dict())
    assert Receipt.from_dict(json.loads(text)) == receipt
    assert {"outweigh", "python", "meter"} <= dict(receipt.versions).keys()
    assert socket.gethostname() not in text
    assert "s3cr3t" not in text
    assert receipt.labels == (("team", "a"),)
    assert receipt.meter == "replay"
    assert receipt.meter_cost is not None


class Counter(ReplayMeter):
    """A recorded trace that is taken for the processor's own counter."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.method = Method.COUNTER


class Modelled(ReplayMeter):
    """A meter that can go by one run, and keeps what it was told to go by."""

    def __init__(self, *args, **options):
        super().__init__(*args, **options)
        self.followed = []

    def follow(self, cpu_seconds):
        self.followed.append(cpu_seconds)


def run(ends, meter_class=ReplayMeter, trace=((0.0, 30.0), (2.0, 30.0), (2.0, 80.0)), **options):
    clock = FakeClock()
    meter = meter_class(list(trace), now=clock.monotonic_s)
    executor = FakeExecutor(clock, ends)
    with MeterSession(meter, clock) as session:
        options = {"hum_s": 2.0, **options}
        return measure_command(session, executor, ["x"], project="p", phase=Phase.TRAINING, **options), meter


IDLE_40_W_AFTER = ((0.0, 30.0), (2.0, 30.0), (2.0, 80.0), (6.0, 80.0), (6.0, 40.0), (20.0, 40.0))


def test_a_hum_before_and_after_splits_the_run_by_both():
    receipt, _ = run(Completed(0, 3.9), trace=IDLE_40_W_AFTER, hum_after_s=2.0)

    assert receipt.total.value.joules == pytest.approx(320.0)
    assert receipt.hum.value.joules == pytest.approx(4.0 * 35.0, rel=0.01)
    assert receipt.work.value.joules == pytest.approx(320.0 - 4.0 * 35.0, rel=0.01)
    assert any("before and after the work: 30 W and 40 W" in note for note in receipt.notes)


def test_a_hum_after_alone_is_taken_where_there_was_none_before():
    trace = ((0.0, 80.0), (4.0, 80.0), (4.0, 40.0), (20.0, 40.0))

    receipt, _ = run(Completed(0, 3.9), trace=trace, hum_s=0.0, hum_after_s=2.0)

    assert receipt.hum.value.joules == pytest.approx(4.0 * 40.0, rel=0.01)


def test_whoever_stops_a_run_does_not_wait_for_the_hum_after_it():
    receipt, _ = run(Completed(130, 3.9, interrupted=True), trace=IDLE_40_W_AFTER, hum_after_s=2.0)

    assert receipt.hum.value.joules == pytest.approx(4.0 * 30.0, rel=0.01)
    assert not any("after" in note for note in receipt.notes)


def test_a_hum_after_that_cannot_be_used_leaves_the_one_before_it_and_says_so():
    class Resets(ReplayMeter):
        def __init__(self, *args, **options):
            super().__init__(*args, reset_at_s=(7.0,), **options)

    receipt, _ = run(Completed(0, 3.9), Resets, trace=IDLE_40_W_AFTER, hum_after_s=4.0)

    assert receipt.status is RunStatus.COMPLETED
    assert receipt.hum.value.joules == pytest.approx(4.0 * 30.0, rel=0.01)
    assert any(note.startswith("no idle draw was observed after the run") for note in receipt.notes)


def test_idle_draw_is_not_listened_to_while_the_run_still_lives(monkeypatch):
    monkeypatch.setattr(attribution.Account, "living", lambda self: {7: Process(1, 5, 150, 0, "S", "worker")})
    monkeypatch.setattr(attribution, "_account", lambda proc, may_move: attribution.Account())
    monkeypatch.setattr(attribution.Account, "cpu_s", lambda self: 0.0)

    receipt, _ = run(Completed(0, 3.9), Counter, trace=IDLE_40_W_AFTER, hum_after_s=2.0)

    assert receipt.hum.value.joules == pytest.approx(4.0 * 30.0, rel=0.01)
    assert any(note.startswith("1 process of the run still lived when it ended (worker)") for note in receipt.notes)
    assert any("processes of it still lived" in note for note in receipt.notes)


def test_a_model_goes_by_the_run_while_it_lasts_and_by_what_it_did_before_afterwards():
    receipt, meter = run(Completed(0, 3.9), Modelled)

    assert [source is None for source in meter.followed] == [False, True]
    assert any(note.startswith("attribution: ") for note in receipt.notes)


@pytest.mark.parametrize("error", [CommandNotRun("x", "command not found", 127, "y"), OSError("gone")])
def test_a_command_that_could_not_be_started_leaves_the_meter_as_it_was(error):
    clock = FakeClock()
    meter = Modelled([(0.0, 30.0)], now=clock.monotonic_s)
    with MeterSession(meter, clock) as session, pytest.raises(type(error)):
        measure_command(session, FakeExecutor(clock, error), ["x"], project="p", phase=Phase.TRAINING, hum_s=0)
    assert meter.followed[-1] is None


@pytest.mark.parametrize(("others_s", "warned"), [(0.2, False), (3.0, True)])
def test_a_counter_of_the_machine_says_what_share_of_it_the_run_had(monkeypatch, others_s, warned):
    machine_s = iter([100.0, 104.0 + others_s])
    run_s = iter([0.0, 4.0, 4.0])
    monkeypatch.setattr(attribution, "machine_cpu_s", lambda proc=None: next(machine_s))
    monkeypatch.setattr(attribution, "_account", lambda proc, may_move: attribution.Account())
    monkeypatch.setattr(attribution.Account, "cpu_s", lambda self: next(run_s))

    receipt, _ = run(Completed(0, 3.9), Counter)

    (note,) = [note for note in receipt.notes if "CPU s that this machine spent" in note]
    assert f"the run had {100 * 4.0 / (4.0 + others_s):.0f} %" in note
    assert ("other processes had" in note) is warned
    # Told, and never taken off: the joules stay what the counter gave.
    assert receipt.total.value.joules == pytest.approx(320.0)


def test_a_trace_that_was_played_back_says_nothing_of_this_machine():
    receipt, _ = run(Completed(0, 3.9))
    assert not any("this machine" in note or "attribution" in note for note in receipt.notes)
