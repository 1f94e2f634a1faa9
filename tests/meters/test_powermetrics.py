"""powermetrics: Apple's figures added up, interval by interval.

The executable is a shell script on the PATH that plays property lists of the recorded shape: it stands in for a Mac,
which no test machine is.
"""

import os
import runpy
from pathlib import Path
from types import SimpleNamespace

import pytest

from outweigh.backends.meters.powermetrics import PowermetricsMeter
from outweigh.core.errors import MeterUnavailable
from outweigh.core.measurement import Grade, Method, Scope

further = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("further_meters.py"))))
document, FakeStream = further.powermetrics_document, further.FakeStream

# Apple M-series: processor of the shape recorded with macOS 14 in a public parser's notes [mW].
M_SERIES = {"cpu_power": 2978.45, "gpu_power": 269.614, "ane_power": 0.0, "combined_power": 3248.07}


def opened(stream):
    meter = PowermetricsMeter(stream=lambda: stream)
    meter.open()
    return meter


def test_mean_power_times_the_interval_the_tool_measured_is_added_up():
    stream = FakeStream(document(**M_SERIES))
    meter = opened(stream)
    assert meter.read().values == (0.0, 0.0, 0.0)
    stream.printed = document(1.5, **M_SERIES) + document(0.5, **M_SERIES)
    assert meter.read().values == pytest.approx((2 * 3.24807, 2 * 2.97845, 2 * 0.269614))


def test_the_whole_package_is_counted_and_its_parts_are_shown():
    meter = opened(FakeStream(document(**M_SERIES)))
    assert [(c.id, c.scope, c.counted) for c in meter.channels] == [
        ("soc", Scope.PACKAGE, True),
        ("cpu", Scope.CORE, False),
        ("gpu", Scope.GPU, False),
    ]


def test_a_vendors_model_is_not_called_measured():
    meter = opened(FakeStream(document(**M_SERIES)))
    assert (meter.grade, meter.method) == (Grade.C, Method.MODELLED)


def test_an_intel_mac_gives_watts_of_the_package():
    stream = FakeStream(document(package_watts=12.5))
    meter = opened(stream)
    stream.printed = document(2.0, package_watts=12.5)
    assert meter.read().values == (25.0,)


def test_a_document_that_comes_in_pieces_is_put_together():
    stream = FakeStream(document(**M_SERIES))
    meter = opened(stream)
    whole = document(combined_power=1000.0)
    for start in range(0, len(whole), 100):
        stream.printed = whole[start : start + 100]
        values = meter.read().values
    assert values[0] == pytest.approx(1.0)


def test_output_without_power_or_without_its_interval_is_refused():
    with pytest.raises(MeterUnavailable, match="no power of the package"):
        opened(FakeStream(document(clusters=[])))
    with pytest.raises(MeterUnavailable, match="elapsed_ns"):
        opened(FakeStream(document(**M_SERIES).replace(b"elapsed_ns", b"elapsed_ms")))
    with pytest.raises(MeterUnavailable, match="no property list"):
        opened(FakeStream(b"<?xml garbage </plist>"))


def test_a_tool_that_ends_during_a_run_is_said_to_have_ended():
    stream = FakeStream(document(**M_SERIES))
    meter = opened(stream)
    stream.ended = "powermetrics: killed"
    with pytest.raises(MeterUnavailable, match="it ended, saying: powermetrics: killed"):
        meter.read()


@pytest.fixture
def tool(tmp_path, monkeypatch):
    def put(script, name="powermetrics"):
        monkeypatch.setenv("PATH", f"{further.executable(tmp_path / 'bin', name, script)}:/usr/bin:/bin")

    return put


def last_before_the_end(meter):
    last_j = 0.0
    while True:
        try:
            last_j = meter.read().values[0]
        except MeterUnavailable as err:
            return last_j, str(err)


def test_the_tool_is_run_as_a_child_read_without_waiting_and_ended(tool, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    (tmp_path / "first").write_bytes(document(**M_SERIES))
    (tmp_path / "second").write_bytes(document(combined_power=7000.0))
    os.mkfifo(tmp_path / "go")
    tool(
        f'echo "$@" > {tmp_path}/arguments; echo $$ > {tmp_path}/pid\n'
        f"cat {tmp_path}/first; cat {tmp_path}/go {tmp_path}/second"
    )
    meter = PowermetricsMeter()
    meter.open()
    assert meter.read().values[0] == 0.0
    (tmp_path / "go").write_text("")  # returns once the tool reads it: now it prints the second document and ends
    last_j, said = last_before_the_end(meter)
    meter.close()
    assert last_j == pytest.approx(7.0)
    assert "it ended" in said
    assert (tmp_path / "arguments").read_text().split() == ["-s", "cpu_power,gpu_power", "-f", "plist", "-i", "1000"]
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}").exists()


def test_closing_ends_a_tool_that_would_go_on(tool, tmp_path, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    (tmp_path / "first").write_bytes(document(**M_SERIES))
    tool(f"echo $$ > {tmp_path}/pid; cat {tmp_path}/first; exec sleep 600")
    meter = PowermetricsMeter()
    meter.open()
    meter.close()
    assert not Path(f"/proc/{(tmp_path / 'pid').read_text().strip()}").exists()


def test_a_user_who_may_not_is_told_the_sudo_rule(tool, monkeypatch):
    monkeypatch.setattr(os, "geteuid", lambda: 501)
    tool("exit 0")
    tool("echo 'sudo: a password is required' >&2; exit 1", "sudo")
    found = PowermetricsMeter.probe()
    assert "a password is required" in found.reason
    assert "NOPASSWD: /usr/bin/powermetrics" in found.remedy


def test_anything_but_a_mac_is_told_so(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    found = PowermetricsMeter.probe()
    assert "part of macOS" in found.reason
