"""A command measured through an executor, and what its receipt holds and does not hold."""

from __future__ import annotations

import json
import socket
from typing import ClassVar

import pytest

from outweigh.backends.meters.replay import ReplayMeter
from outweigh.core.budget import Phase
from outweigh.core.receipt import Receipt, RunStatus
from outweigh.measure import FakeClock, MeterSession, measure_command
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
