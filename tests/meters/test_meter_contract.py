"""What every meter promises, whatever it reads."""

from __future__ import annotations

import importlib.util
import itertools
from collections.abc import Callable
from pathlib import Path

import pytest

from outweigh import registry
from outweigh.backends.meters.cpu_model import CpuModelMeter
from outweigh.backends.meters.nvml import NvmlMeter
from outweigh.backends.meters.rapl import RaplMeter
from outweigh.backends.meters.replay import ReplayMeter
from outweigh.core.errors import MeterUnavailable
from outweigh.core.measurement import check_disjoint
from outweigh.measure import FakeClock, MeterSession
from outweigh.ports import Availability, ChannelKind, Meter

MakeMeter = Callable[[FakeClock], Meter]

_spec = importlib.util.spec_from_file_location("further_meters", Path(__file__).with_name("further_meters.py"))
further = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(further)


@pytest.fixture(params=["rapl", "nvml", "nvml-power", "cpu-model", "replay", "replay-power", *further.MAKERS])
def make_meter(request, powercap, cpuinfo, nvml) -> MakeMeter:
    """A meter of each kind on a made machine that draws 50 W per counter."""
    if request.param in further.MAKERS:
        return lambda clock: further.MAKERS[request.param](request, clock)

    def rapl(clock):
        zones = sorted(path.name for path in powercap.server().root.iterdir())

        def draw():
            for i, zone in enumerate(zones):
                powercap.set_j(zone, 1_000 * (i + 1) + 50 * clock.monotonic_s())

        draw()
        clock.every(0.01, draw)
        return RaplMeter(powercap.root, cpuinfo=cpuinfo(), now=clock.monotonic_s)

    def gpu(clock, counter=True):
        def draw():
            for board in nvml.boards:
                board.energy_mj = round(5e6 + 50e3 * clock.monotonic_s()) if counter else None
                board.instant_mw = 50_000

        draw()
        clock.every(0.01, draw)
        return NvmlMeter(nvml=nvml, now=clock.monotonic_s)

    return {
        "rapl": rapl,
        "nvml": gpu,
        "nvml-power": lambda clock: gpu(clock, counter=False),
        "cpu-model": lambda clock: CpuModelMeter(
            now=clock.monotonic_s, cpu_seconds=lambda: 0.7 * clock.monotonic_s(), cpuinfo=cpuinfo(), threads=2
        ),
        "replay": lambda clock: ReplayMeter([(0.0, 50.0)], now=clock.monotonic_s),
        "replay-power": lambda clock: ReplayMeter([(0.0, 50.0)], now=clock.monotonic_s, kind=ChannelKind.POWER),
    }[request.param]


def test_a_meter_keeps_the_port_and_is_registered_under_the_name_it_bears(make_meter):
    meter = make_meter(FakeClock())
    assert isinstance(meter, Meter)
    assert registry.meters.get(meter.name) is type(meter)


def test_a_probe_never_raises_and_says_why_not_and_what_to_do(make_meter):
    found = type(make_meter(FakeClock())).probe()
    assert isinstance(found, Availability)
    assert found.usable or (found.reason and found.remedy)
    assert not found.usable or (found.sees and found.grade)


def test_a_reading_has_one_value_a_channel_and_time_goes_on(make_meter):
    clock = FakeClock()
    meter = make_meter(clock)
    meter.open()
    first = meter.read()
    clock.sleep(1.0)
    second = meter.read()
    meter.close()
    assert len(first.values) == len(meter.channels)
    assert second.t_s - first.t_s == pytest.approx(1.0)


def test_channels_are_named_once_and_what_is_counted_never_overlaps(make_meter):
    meter = make_meter(FakeClock())
    meter.open()
    ids = [channel.id for channel in meter.channels]
    assert len(set(ids)) == len(ids)
    check_disjoint((c.device, c.scope) for c in meter.channels if c.counted)
    assert any(channel.counted for channel in meter.channels)
    meter.close()


def test_a_counter_does_not_fall_while_the_machine_draws_power(make_meter):
    clock = FakeClock()
    meter = make_meter(clock)
    meter.open()
    readings = []
    for _ in range(20):
        clock.sleep(0.1)
        readings.append(meter.read().values)
    counters = [i for i, c in enumerate(meter.channels) if c.kind is ChannelKind.ENERGY]
    assert all(later[i] >= earlier[i] for earlier, later in itertools.pairwise(readings) for i in counters)
    meter.close()


def test_every_uncertainty_and_factor_has_a_name_and_a_source(make_meter):
    meter = make_meter(FakeClock())
    meter.open()
    for component in meter.components():
        assert component.name
        assert component.source
        assert 0 < component.standard < 2
    assert all(factor.source and factor.issued for factor in meter.factors)
    assert meter.source
    meter.close()


def test_a_meter_opens_again_after_it_was_closed_and_closing_twice_is_harmless(make_meter):
    meter = make_meter(FakeClock())
    meter.open()
    meter.close()
    meter.close()
    meter.open()
    assert meter.read().values
    meter.close()


def test_a_closed_hardware_meter_does_not_pretend_to_read(make_meter):
    meter = make_meter(FakeClock())
    if meter.name == "cpu-model":
        pytest.skip("a model of this process has nothing to lose")
    with pytest.raises(MeterUnavailable) as caught:
        meter.read()
    assert caught.value.remedy


def test_a_session_on_any_meter_splits_a_window_into_hum_and_work_that_add_up(make_meter):
    clock = FakeClock()
    with MeterSession(make_meter(clock), clock=clock) as session:
        session.hum(5.0)
        seconds = max(10.0, *(5 * channel.update_s for channel in session.meter.channels))
        with session.window(align=False) as window:
            clock.sleep(seconds)
    reading = window.reading
    assert reading.status == "completed", reading.notes
    assert reading.total.value.joules > 0
    assert reading.hum.value.joules + reading.work.value.joules == pytest.approx(reading.total.value.joules)
    assert reading.total.interval.seconds == pytest.approx(seconds)
