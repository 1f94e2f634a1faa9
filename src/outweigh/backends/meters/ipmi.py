"""`ipmi`: power of the whole node from its baseboard controller, through `ipmitool` or FreeIPMI's `ipmi-dcmi`.

The reading is DCMI's "Get Power Reading": whole watts of the machine at its power supplies. Controllers refresh it
about once a second and some average it over longer, so what happens within seconds is not seen. A controller that
measures nothing answers 0 W or "deactivated", and both are refused: a machine that answers draws something.

Grade B, not A: it is a sensor inside the machine it measures, of stated and not of certified accuracy. What is asked of
it, at best, is +/- 5 % above 200 W (ENERGY STAR for servers); a wall meter fit for benchmarks is held to 1 %.

Asking costs a process and tens of milliseconds, so it is done at most once a second; in between, the last answer
stands, and that age is in the update interval.

Sources: Data Center Manageability Interface 1.5, 6.6.1 Get Power Reading (watts, statistics, measurement state);
ipmitool lib/ipmi_dcmi.c and freeipmi ipmi-dcmi/ipmi-dcmi.c (the lines read here); ENERGY STAR Program Requirements
for Computer Servers, standard performance data measurement (accuracy); SPEC Power and Performance Benchmark
Methodology (1 % for analysers); docs.green-coding.io, PSU Energy AC IPMI (about one reading a second).
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

from outweigh.backends._probing import probed
from outweigh.core.errors import MeterUnavailable
from outweigh.core.measurement import Factor, Grade, Method, Scope, UncertaintyComponent
from outweigh.ports import Availability, Channel, ChannelKind, Sample
from outweigh.registry import meters

_COMMANDS = {
    "ipmitool": ("dcmi", "power", "reading"),
    "ipmi-dcmi": ("--get-system-power-statistics",),
}
_POWER = re.compile(
    r"^\s*(?:Instantaneous power reading|Current Power)\s*:\s*(\d+)\s*watts", re.IGNORECASE | re.MULTILINE
)
_STATE = re.compile(r"^\s*(?:Power reading state is|Power Measurement)\s*:\s*(.+?)\s*$", re.IGNORECASE | re.MULTILINE)
_MEASURING = ("activated", "active")

_REFRESH_S = 1.0
_ASK_EVERY_S = 1.0
_ATTEMPTS = 2  # controllers drop a request now and then
_RESOLUTION_W = 1.0
_MAX_POWER_W = 20_000.0  # a plausibility bound, not a rating

_CALIBRATION = 0.05 / 3**0.5
_CALIBRATION_SOURCE = "ENERGY STAR Program Requirements for Computer Servers: +/- 5 % above 200 W, rectangular"

_ACCESS = (
    "As root load ipmi_si and ipmi_devintf (modprobe -a), and let a group read and write /dev/ipmi0 by a udev rule; "
    "the machine must have a baseboard controller"
)


@meters.register("ipmi")
class IpmiMeter:
    """Whole-node power from the baseboard controller [W], about one reading per second. Grade B.

    Args:
        tool: "ipmitool", "ipmi-dcmi" or the path of one; "" for the first that is installed.
        now: monotonic time [s].
        timeout_s: how long to wait for an answer [s].
    """

    name: ClassVar[str] = "ipmi"

    def __init__(self, tool: str = "", *, now: Callable[[], float] = time.monotonic, timeout_s: float = 5.0) -> None:
        self._tool, self._now, self._timeout_s = tool, now, timeout_s
        self._command: tuple[str, ...] = ()
        self._last: tuple[float, float] | None = None
        self.grade = Grade.B
        self.method = Method.INTEGRATED
        self.source = "ipmi"
        self.factors: tuple[Factor, ...] = ()
        self.notes: tuple[str, ...] = ()

    @classmethod
    def probe(cls, tool: str = "") -> Availability:
        return probed(cls(tool), lambda: "the whole node")

    @property
    def channels(self) -> tuple[Channel, ...]:
        return (
            Channel(
                id="node power",
                device="node",
                scope=Scope.NODE,
                kind=ChannelKind.POWER,
                update_s=_REFRESH_S + _ASK_EVERY_S,
                resolution=_RESOLUTION_W,
                max_power_w=_MAX_POWER_W,
            ),
        )

    def open(self) -> None:
        """Find the tool and ask once. Raises MeterUnavailable with the way to mend it."""
        self._command = _command(self._tool)
        self._last = None
        try:
            self.read()
        except MeterUnavailable:
            self.close()
            raise
        self.source = f"ipmi: DCMI power reading through {Path(self._command[0]).name}"
        self.notes = ("the controller gives about one reading a second: windows of a minute, not of seconds",)

    def read(self) -> Sample:
        if not self._command:
            raise MeterUnavailable("ipmi", "it is not open", "Call open() first")
        now_s = self._now()
        if self._last is None or now_s - self._last[0] >= _ASK_EVERY_S:
            self._last = (now_s, self._ask())
        return Sample(now_s, (self._last[1],))

    def components(self) -> tuple[UncertaintyComponent, ...]:
        return (UncertaintyComponent("calibration", _CALIBRATION, _CALIBRATION_SOURCE),)

    def close(self) -> None:
        self._command = ()

    def _ask(self) -> float:
        for attempt in range(1, _ATTEMPTS + 1):
            try:
                return _power_w(_run(self._command, self._timeout_s))
            except MeterUnavailable:
                if attempt == _ATTEMPTS:
                    raise
        raise AssertionError("unreachable: the last attempt returns or raises")


def _command(tool: str) -> tuple[str, ...]:
    for name in (tool,) if tool else tuple(_COMMANDS):
        found = shutil.which(name)
        arguments = _COMMANDS.get(Path(name).name)
        if arguments is None:
            raise MeterUnavailable("ipmi", f"{name} is not a tool it can read", f"Use {' or '.join(_COMMANDS)}")
        if found is not None:
            return (found, *arguments)
    raise MeterUnavailable(
        "ipmi", f"{tool or 'neither ipmitool nor ipmi-dcmi'} is not on the PATH", "Install ipmitool or freeipmi-tools"
    )


def _run(command: tuple[str, ...], timeout_s: float) -> str:
    name = Path(command[0]).name
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=timeout_s,
            check=False,
            env={**os.environ, "LC_ALL": "C"},
        )
    except subprocess.TimeoutExpired as err:
        raise MeterUnavailable(
            "ipmi", f"{name} did not answer within {timeout_s:g} s", "The controller may hang: `ipmitool mc reset cold`"
        ) from err
    except OSError as err:
        raise MeterUnavailable("ipmi", f"{name} cannot be run ({err.strerror})", "Install it again") from err
    if done.returncode != 0:
        said = (done.stderr.strip() or done.stdout.strip() or f"exit code {done.returncode}").splitlines()[0]
        raise MeterUnavailable("ipmi", f"{name} says: {said}", _ACCESS)
    return done.stdout


def _power_w(text: str) -> float:
    """Watts from what either tool prints. Raises MeterUnavailable when it measures nothing.

    >>> _power_w("Instantaneous power reading:   212 Watts\\nPower reading state is:   activated\\n")
    212.0
    """
    power, state = _POWER.search(text), _STATE.search(text)
    if power is None:
        raise MeterUnavailable("ipmi", "the controller gives no power reading", "It may lack DCMI: try redfish")
    if state is None or state[1].lower() not in _MEASURING or int(power[1]) == 0:
        said = state[1] if state is not None else "unknown"
        raise MeterUnavailable(
            "ipmi",
            f"the controller does not measure power (state {said}, {power[1]} W)",
            "Its power supplies may have no sensor: see `ipmitool dcmi discover`, or try redfish",
        )
    return float(power[1])
