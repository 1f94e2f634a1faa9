"""The baseboard controller through its tools.

`ipmitool` and `ipmi-dcmi` are shell scripts here that print what real ones were recorded to print: they stand in for
a controller, which no test machine has. What the real ipmitool says without one is tested where it is installed.
"""

import runpy
import shutil
from pathlib import Path
from types import SimpleNamespace

import pytest

from outweigh.backends.meters.ipmi import IpmiMeter
from outweigh.core.errors import MeterUnavailable
from outweigh.core.measurement import Grade, Scope
from outweigh.measure import FakeClock, MeterSession

further = SimpleNamespace(**runpy.run_path(str(Path(__file__).with_name("further_meters.py"))))
IPMITOOL, IPMI_DCMI = further.IPMITOOL, further.IPMI_DCMI


@pytest.fixture
def tool(tmp_path, monkeypatch):
    """Call it to put a tool on an otherwise empty PATH."""

    def put(name, script):
        folder = further.executable(tmp_path / "bin", name, script)
        monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
        return folder

    return put


def printing(text):
    return f"cat <<'END'\n{text}\nEND"


def opened(tool="ipmitool", **options):
    meter = IpmiMeter(tool, **options)
    meter.open()
    return meter


@pytest.mark.parametrize(
    ("name", "text", "state"), [("ipmitool", IPMITOOL, "activated"), ("ipmi-dcmi", IPMI_DCMI, "Active")]
)
def test_the_watts_of_either_tool_are_the_nodes(tool, name, text, state):
    tool(name, printing(text.format(watts=332, state=state)))
    meter = opened(name)
    assert meter.read().values == (332.0,)
    assert meter.channels[0].scope is Scope.NODE
    assert meter.grade is Grade.B


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("ipmitool", IPMITOOL.format(watts=0, state="deactivated")),
        ("ipmitool", IPMITOOL.format(watts=212, state="deactivated")),
        ("ipmitool", IPMITOOL.format(watts=0, state="activated")),
        ("ipmi-dcmi", IPMI_DCMI.format(watts=100, state="Not Available")),
    ],
)
def test_a_controller_that_measures_nothing_is_refused_and_never_zero(tool, name, text):
    tool(name, printing(text))
    with pytest.raises(MeterUnavailable, match="does not measure power"):
        opened(name)


def test_a_controller_without_dcmi_is_told_from_one_that_cannot_be_reached(tool):
    tool("ipmitool", "echo 'DCMI request failed because: Invalid command (c1)' >&2; exit 1")
    with pytest.raises(MeterUnavailable, match="Invalid command"):
        opened()
    tool("ipmitool", "echo nothing of use")
    with pytest.raises(MeterUnavailable, match="no power reading"):
        opened()


def test_a_controller_that_hangs_is_left_after_the_time_limit(tool):
    tool("ipmitool", "exec sleep 60")
    with pytest.raises(MeterUnavailable, match=r"within 0.2 s"):
        opened(timeout_s=0.2)


def test_one_dropped_request_is_asked_again(tool, tmp_path):
    once = tmp_path / "asked"
    good = printing(IPMITOOL.format(watts=50, state="activated"))
    tool("ipmitool", f"[ -e {once} ] || {{ touch {once}; exit 1; }}\n{good}")
    assert opened().read().values == (50.0,)


def test_the_controller_is_asked_at_most_once_a_second(tool, tmp_path):
    log = tmp_path / "log"
    tool("ipmitool", f"echo x >> {log}\n" + printing(IPMITOOL.format(watts=50, state="activated")))
    clock = FakeClock()
    with MeterSession(opened(now=clock.monotonic_s), clock) as session, session.window() as window:
        clock.sleep(5.0)
    assert len(log.read_text().splitlines()) <= 8
    assert window.reading.total.value.joules == pytest.approx(250.0)


def test_a_tool_that_is_not_there_and_one_that_is_unknown_are_refused(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    assert not IpmiMeter.probe().usable
    with pytest.raises(MeterUnavailable, match="not on the PATH"):
        opened()
    with pytest.raises(MeterUnavailable, match="not a tool"):
        opened("racadm")


@pytest.mark.skipif(shutil.which("ipmitool") is None, reason="needs ipmitool: apt-get install ipmitool")
@pytest.mark.skipif(Path("/dev/ipmi0").exists(), reason="this machine has a baseboard controller")
def test_the_real_ipmitool_without_a_controller_is_told_what_to_load():
    found = IpmiMeter.probe("ipmitool")
    assert not found.usable
    assert "Could not open device" in found.reason
    assert "ipmi_devintf" in found.remedy
