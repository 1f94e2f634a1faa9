"""The modelled meter: which curve, how much, and never more than it knows."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import pytest

from outweigh.backends.meters.cpu_model import CpuModelMeter, available_threads, container
from outweigh.core.measurement import Grade, Method, combine
from outweigh.measure import INSTRUCTION_MIX, FakeClock, MeterSession


def test_energy_is_cpu_seconds_times_the_curve_plus_the_idle_draw_of_the_threads(cpuinfo):
    # Sapphire Rapids row: idle 1.0773 W, full load 4.1238 W per hardware thread.
    clock, cpu_s = FakeClock(), [10.0]
    meter = CpuModelMeter(now=clock.monotonic_s, cpu_seconds=lambda: cpu_s[0], cpuinfo=cpuinfo(), threads=4)
    with MeterSession(meter, clock) as session, session.window() as window:
        clock.sleep(20.0)
        cpu_s[0] += 30.0
    reading = window.reading
    assert reading.work.value.joules == pytest.approx(30.0 * (4.1238 - 1.0773))
    assert reading.hum.value.joules == pytest.approx(20.0 * 4 * 1.0773)
    assert reading.total.method is Method.MODELLED
    assert "model's constant" in " ".join(reading.notes)


def test_a_known_microarchitecture_is_grade_c_and_an_unknown_one_d_and_says_so(cpuinfo):
    known = CpuModelMeter(cpuinfo=cpuinfo(model="143"))
    unknown = CpuModelMeter(cpuinfo=cpuinfo(model="99"))
    assert known.grade is Grade.C
    assert unknown.grade is Grade.D
    assert any("no sourced power curve for GenuineIntel family 6 model 99" in note for note in unknown.notes)
    assert combine(unknown.components()) > combine(known.components())


def test_a_platform_without_proc_gets_the_default_curve(tmp_path):
    meter = CpuModelMeter(cpuinfo=tmp_path / "none")
    assert meter.grade is Grade.D
    assert [f.value for f in meter.factors] == [0.74, 3.5]  # Cloud Carbon Footprint, MIN_ and MAX_WATTS_AVG


def test_the_instruction_mix_belongs_to_work_alone_and_can_be_read_apart(cpuinfo):
    clock = FakeClock()
    meter = CpuModelMeter(now=clock.monotonic_s, cpu_seconds=clock.monotonic_s, cpuinfo=cpuinfo(), threads=1)
    with MeterSession(meter, clock) as session, session.window() as window:
        clock.sleep(10.0)
    reading = window.reading
    mix = {c.name: c.standard for c in reading.work.components}[INSTRUCTION_MIX]
    assert mix == pytest.approx(0.12 * reading.work.value.joules)
    assert INSTRUCTION_MIX not in {c.name for c in reading.hum.components}
    assert INSTRUCTION_MIX in {c.name for c in reading.total.components}


BURN = "import time\nend = time.process_time() + {s}\nwhile time.process_time() < end: pass\n"


def cpu_s_of(window, meter):
    dynamic_w = meter.factors[1].value - meter.factors[0].value
    return window.reading.work.value.joules / dynamic_w


@pytest.mark.skipif(sys.platform == "win32", reason="Windows keeps no account of ended children")
def test_a_child_that_lived_for_a_moment_is_counted_in_full():
    meter = CpuModelMeter()
    with MeterSession(meter, sample_hz=0) as session, session.window() as window:
        subprocess.run([sys.executable, "-c", BURN.format(s=0.4)], check=True)
    assert cpu_s_of(window, meter) >= 0.4


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="needs /proc")
def test_a_worker_that_lives_on_is_counted_while_it_lives():
    # What a data loader does: workers that nobody waits for until the program ends.
    code = BURN.format(s=0.4) + "print('done', flush=True)\nimport sys\nsys.stdin.readline()"
    meter = CpuModelMeter()
    with MeterSession(meter) as session, session.window() as window:
        worker = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        assert worker.stdout.readline() == b"done\n"
    worker.communicate(timeout=60)
    # A clock tick, 10 ms, is what /proc counts in: user and system time may each lose one.
    assert cpu_s_of(window, meter) >= 0.38


def test_following_a_run_counts_its_time_alone_and_the_energy_never_falls(cpuinfo):
    clock, ours, runs = FakeClock(), [100.0], [3.0]
    meter = CpuModelMeter(now=clock.monotonic_s, cpu_seconds=lambda: ours[0], cpuinfo=cpuinfo(), threads=1)
    with MeterSession(meter, clock) as session:
        with session.window() as before:
            ours[0] += 1.0
        meter.follow(lambda: runs[0])
        with session.window() as run:
            ours[0] += 50.0
            runs[0] += 2.0
        meter.follow(None)
        with session.window() as after:
            ours[0] += 4.0
            runs[0] += 70.0
    assert [cpu_s_of(window, meter) for window in (before, run, after)] == pytest.approx([1.0, 2.0, 4.0])


def test_a_busy_loop_on_this_machine_is_work_and_sleep_is_hum():
    with MeterSession(CpuModelMeter()) as session:
        with session.window() as busy:
            end_s = time.process_time() + 0.2
            while time.process_time() < end_s:
                pass
        with session.window() as idle:
            before_s = time.process_time()
            time.sleep(0.2)
            # What other threads of this process did meanwhile is work; the reading itself is some of it, too.
            awake_s = time.process_time() - before_s + 0.02
    dynamic_w = session.meter.factors[1].value - session.meter.factors[0].value
    assert busy.reading.work.value.joules >= 0.2 * dynamic_w
    assert idle.reading.work.value.joules <= awake_s * dynamic_w
    assert idle.reading.hum.value.joules > 0


@pytest.mark.parametrize(
    ("own", "files", "threads"),
    [
        ("0::/job\n", {"job/cpu.max": "150000 100000"}, 1.5),
        ("0::/job/inner\n", {"job/cpu.max": "50000 100000", "job/inner/cpu.max": "max 100000"}, 0.5),
        ("4:cpu,cpuacct:/job\n", {"cpu/job/cpu.cfs_quota_us": "25000", "cpu/job/cpu.cfs_period_us": "100000"}, 0.25),
    ],
)
def test_a_container_is_charged_for_its_quota_and_not_for_the_host(tmp_path, own, files, threads):
    (tmp_path / "cgroup").write_text(own)
    for name, text in files.items():
        (tmp_path / "fs" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "fs" / name).write_text(text)
    free = available_threads(tmp_path / "none", tmp_path / "fs")
    assert available_threads(tmp_path / "cgroup", tmp_path / "fs") == min(free, threads)


@pytest.mark.parametrize(
    ("group", "files", "found"),
    [
        ("0::/user.slice/user-1000.slice/session-2.scope\n", [], ""),
        ("0::/system.slice/docker-0123abc.scope\n", [], "a control group of docker"),
        ("0::/kubepods.slice/kubepods-burstable.slice/cri-containerd-99.scope\n", [], "a control group of kubepods"),
        ("4:cpu:/docker/0123abc\n", [], "a control group of docker"),
        ("0::/user.slice/libpod-77.scope/container\n", [], "a control group of libpod"),
        ("0::/\n", [".dockerenv"], "/.dockerenv"),
        ("0::/\n", ["run/.containerenv"], "/run/.containerenv"),
    ],
)
def test_a_container_is_known_by_its_file_or_its_control_group(tmp_path, group, files, found):
    (tmp_path / "cgroup").write_text(group)
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert container(tmp_path / "cgroup", tmp_path) == found


def test_what_the_sampler_costs_is_told_in_joules_too():
    with MeterSession(CpuModelMeter(), sample_hz=50) as session:
        with session.window():
            time.sleep(0.3)
        cost = session.cost()
    assert 0 < cost.cpu_s < 0.1
    assert cost.energy_j == pytest.approx(
        cost.cpu_s * (session.meter.factors[1].value - session.meter.factors[0].value)
    )
