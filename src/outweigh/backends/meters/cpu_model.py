"""`cpu-model`: energy modelled from the CPU seconds of this process and its children.

    energy(t) = CPU seconds x (full-load - idle) power per hardware thread            the work
              + idle power per hardware thread x hardware threads available x t       the hum

The powers come from published load measurements of servers of the same microarchitecture
(`outweigh.data.cpu_power`), never from a nameplate, and no constant for memory is added. What is modelled is this
process tree and its share of a server; the machine's other work is not in it. It is the only way to speak of
energy on a virtual machine, where the processor's counters are not passed through, and it is never called
measured: grade C when the microarchitecture is in the table, grade D with the table's default otherwise. Where
`outweigh doctor --calibrate` was run on this processor its fit takes the table's place, at grade C: what a busy
thread adds and this process's share of the idle draw, in the scope of the meter it was fitted to.

Children that were waited for are counted exactly and however short they lived (RUSAGE_CHILDREN), living ones by
/proc where there is one (Linux). A command is followed by whoever measures it (`follow`), with what it abandoned and
without us. In a container the idle draw is that of the CPU quota, never the host's.

Linear in CPU seconds: two threads of one core and a core in turbo cost the same per second here, which is what the
"power curve" and "instruction mix" components are for.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from outweigh.core.errors import FactorMissing
from outweigh.core.measurement import Factor, Grade, Method, Scope, UncertaintyComponent
from outweigh.data.cpu_power import (
    IDLE_FACTOR,
    IDLE_INTERCEPT,
    INSTRUCTION_MIX,
    MAX_FACTOR,
    POWER_CURVE,
    CpuPower,
    cpu_power_for,
    default_cpu_power,
    spread_between,
    spread_within,
)
from outweigh.data.processes import Descendants
from outweigh.ports import Availability, Channel, ChannelKind, Sample
from outweigh.registry import meters

if TYPE_CHECKING:
    from outweigh.data.calibration import Calibration

# Dargie and Wen, "A Probabilistic Model for Estimating the Power Consumption of Processors and Network Interface
# Cards", IEEE TrustCom 2013, doi:10.1109/TrustCom.2013.103: a power model driven by utilisation, fitted on one
# set of workloads, errs by less than 12 % on a standard benchmark. The limit is of whole-server power, idle
# included, so it is taken as the standard uncertainty of the work alone rather than divided by sqrt(3).
_INSTRUCTION_MIX = 0.12
_MIX_SOURCE = (
    "Dargie and Wen, IEEE TrustCom 2013, doi:10.1109/TrustCom.2013.103: utilisation-driven model, error below 12 % "
    "on a benchmark it was not fitted to"
)

_CONTAINER_FILES = (".dockerenv", "run/.containerenv")
_CONTAINER_GROUP = re.compile(r"[/:-](docker|kubepods|containerd|cri-o|crio|libpod|lxc|garden|ecs)\b")


@meters.register("cpu-model")
class CpuModelMeter:
    """Modelled energy of this process tree, cumulative [J]. Works on every platform; see the module for what it is.

    Args:
        now: monotonic time [s].
        cpu_seconds: CPU time to go by so far [s]; by default that of this process and its descendants.
        cpuinfo: where the processor names itself; absent on platforms other than Linux, and then grade D.
        threads: hardware threads this process may use; None to ask the platform.
        calibration: the file of calibrations; None for the user's.
    """

    name: ClassVar[str] = "cpu-model"

    def __init__(
        self,
        *,
        now: Callable[[], float] = time.monotonic,
        cpu_seconds: Callable[[], float] | None = None,
        cpuinfo: Path = Path("/proc/cpuinfo"),
        threads: float | None = None,
        calibration: Path | None = None,
    ) -> None:
        self._now = now
        self._default = cpu_seconds if cpu_seconds is not None else _OwnTree().cpu_s
        # What is gone by, and what it said when the energy so far was 0: replaced as one, for a sampler reads it.
        self._counting: tuple[Callable[[], float], float] = (self._default, 0.0)
        self._threads = threads if threads is not None else available_threads()
        self._calibration, self._why_not = _calibration_for(cpuinfo, calibration)
        if self._calibration is not None:
            self._row, self._unknown = self._calibration.row(), ""
        else:
            self._row, self._unknown = _row_for(cpuinfo)
        self._start_s = 0.0
        self.grade = Grade.D if self._row.is_default else Grade.C
        self.method = Method.MODELLED
        told = f"power curve of {self._row.microarchitecture}"
        if self._calibration is not None:
            told = f"a power curve {self._calibration.told}"
        self.source = f"cpu-model: CPU seconds x {told}, {self._threads:g} hardware threads"
        told_notes = _notes(self._row, self._unknown, self._calibration, self._why_not)
        if threads is None:
            told_notes += _container_notes(self._threads)
        self.notes = tuple(told_notes)
        self.factors = tuple(
            Factor(
                name, value, "W", self._row.source, self._row.year, self._row.year, self._row.licence, grade=self.grade
            )
            for name, value in ((IDLE_FACTOR, self._row.idle_w_per_thread), (MAX_FACTOR, self._row.max_w_per_thread))
        )

    @classmethod
    def probe(cls) -> Availability:
        meter = cls()
        hints = [hint for hint in (meter._unknown, meter._why_not) if hint]
        one = meter._calibration
        if is_virtual(Path("/proc/cpuinfo")):
            hints.append("on a virtual machine energy is only modelled; a bare-metal host has counters")
        else:
            hints.append("an energy counter or a power meter beats any model")
        return Availability(
            "cpu-model",
            usable=True,
            sees=f"this process tree, modelled ({meter._row.microarchitecture if one is None else one.told})",
            grade=meter.grade,
            improve="; ".join(hints),
        )

    @property
    def channels(self) -> tuple[Channel, ...]:
        return (
            Channel(
                id="process-tree",
                device="cpu",
                scope=Scope.CPU_THREADS,
                kind=ChannelKind.ENERGY,
                # No plausible maximum: the CPU time of a long-lived child arrives all at once when it is waited for.
                max_power_w=None,
                hum_w=self._row.idle_w_per_thread * self._threads,
            ),
        )

    def open(self) -> None:
        self._start_s, self._counting = self._now(), (self._default, self._default())

    def follow(self, cpu_seconds: Callable[[], float] | None) -> None:
        """Go by the CPU time of one run from now on [s], ours not in it; None for what was gone by at first.

        The energy so far stays, so that counters go on and never fall.
        """
        counted_s = self._counted_s()
        source = self._default if cpu_seconds is None else cpu_seconds
        self._counting = (source, source() - counted_s)

    def read(self) -> Sample:
        now_s = self._now()
        work_j = self._counted_s() * self._row.dynamic_w_per_thread
        hum_j = (now_s - self._start_s) * self._row.idle_w_per_thread * self._threads
        return Sample(now_s, (work_j + hum_j,))

    def components(self) -> tuple[UncertaintyComponent, ...]:
        one = self._calibration
        return (
            *(_curve_components(self._row) if one is None else one.components()),
            UncertaintyComponent(INSTRUCTION_MIX, _INSTRUCTION_MIX, _MIX_SOURCE),
        )

    def close(self) -> None:
        """Nothing is held open."""

    def _counted_s(self) -> float:
        source, from_s = self._counting
        return source() - from_s


class _OwnTree:
    """CPU time of this process, all threads, with its descendants: the living too, which rusage does not see."""

    def __init__(self) -> None:
        self._pid = 0
        self._below: Descendants | None = None

    def cpu_s(self) -> float:
        if self._below is None or self._pid != os.getpid():  # a forked child has a tree of its own
            self._pid, self._below = os.getpid(), Descendants()
        return time.process_time() + self._below.cpu_s()


def available_threads(cgroup: Path = Path("/proc/self/cgroup"), root: Path = Path("/sys/fs/cgroup")) -> float:
    """Hardware threads this process may use: affinity, and a container's CPU quota where it is smaller.

    The quota is the smallest of `cpu.max` (cgroup v2), or of cpu.cfs_quota_us / cpu.cfs_period_us (v1), from this
    process's control group up to the top (the kernel's Documentation/admin-guide/cgroup-v2.rst).
    """
    if sys.platform == "win32" or not hasattr(os, "sched_getaffinity"):
        allowed = float(os.cpu_count() or 1)
    else:
        allowed = float(len(os.sched_getaffinity(0)))
    quotas = [quota for quota in _quotas(cgroup, root) if quota > 0]
    return min([allowed, *quotas])


def container(cgroup: Path = Path("/proc/self/cgroup"), root: Path = Path("/")) -> str:
    """What says that this process is in a container; "" when nothing does.

    A container engine leaves a file (`/.dockerenv`, `/run/.containerenv`) or names its control groups; one whose
    group is hidden by a namespace of its own and that leaves no file is not told from a plain machine.
    """
    for name in _CONTAINER_FILES:
        if (root / name).exists():
            return f"/{name}"
    try:
        text = cgroup.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
    found = _CONTAINER_GROUP.search(text)
    return f"a control group of {found.group(1)}" if found else ""


def is_virtual(cpuinfo: Path) -> bool:
    """Whether the processor says that a hypervisor runs it (the "hypervisor" CPUID flag on x86)."""
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return False
    return any(line.startswith("flags") and "hypervisor" in line.split() for line in text.splitlines())


def _quotas(cgroup: Path, root: Path) -> list[float]:
    """CPU quotas [threads] of this process's control group and those above it, in version 2 and version 1 form."""
    try:
        lines = cgroup.read_text(encoding="utf-8").splitlines()
    except OSError:
        return []
    quotas = []
    for line in lines:
        _, controllers, path = line.split(":", 2)
        if controllers == "":
            folders = [root, root / "unified"]
        elif "cpu" in controllers.split(","):
            folders = [root / controllers, root / "cpu"]
        else:
            continue
        # ".." leads out of a namespace of control groups, to a folder that cannot be seen from here.
        parts = [p for p in path.split("/") if p not in ("", "..")]
        quotas += [_quota(folder.joinpath(*parts[:depth])) for folder in folders for depth in range(len(parts) + 1)]
    return quotas


def _quota(folder: Path) -> float:
    """CPU quota of one control group [threads]; 0 when it sets none."""
    try:
        if (folder / "cpu.max").exists():
            limit, _, period = (folder / "cpu.max").read_text(encoding="utf-8").partition(" ")
            return 0.0 if limit == "max" else float(limit) / float(period)
        limit_us = float((folder / "cpu.cfs_quota_us").read_text(encoding="utf-8"))
        return limit_us / float((folder / "cpu.cfs_period_us").read_text(encoding="utf-8")) if limit_us > 0 else 0.0
    except (OSError, ValueError, ZeroDivisionError):
        return 0.0


def _row_for(cpuinfo: Path) -> tuple[CpuPower, str]:
    """The processor's row, or the default one with the reason."""
    try:
        text = cpuinfo.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return default_cpu_power(), "this platform does not name its processor in a way we read"
    fields: dict[str, str] = {}
    for line in text.splitlines():
        key, colon, value = line.partition(":")
        if not colon and fields:
            break
        fields.setdefault(key.strip(), value.strip())
    try:
        numbers = [int(fields[key]) for key in ("cpu family", "model")]
        return cpu_power_for(fields["vendor_id"], numbers[0], numbers[1], int(fields.get("stepping", "0"))), ""
    except (KeyError, ValueError):
        return default_cpu_power(), "/proc/cpuinfo gives no vendor, family and model"
    except FactorMissing as err:
        return default_cpu_power(), f"no sourced power curve for {err.key}"


def _calibration_for(cpuinfo: Path, path: Path | None) -> tuple[Calibration | None, str]:
    """The calibration that holds for this processor now, or why a kept one is not used; both empty without one."""
    # Imported here, so that a meter that is only listed need not load it.
    from datetime import UTC, datetime

    from outweigh.data.calibration import find_calibration

    return find_calibration(cpuinfo, datetime.now(UTC), path)


def _notes(row: CpuPower, unknown: str, calibration: Calibration | None, why_not: str) -> list[str]:
    seen = "this process tree's share of a server, not the whole machine"
    if calibration is not None:
        seen = f"this process tree's share of what {calibration.reference} sees ({calibration.reference_scope})"
    notes = [f"modelled from CPU seconds, not measured: {seen}"]
    if unknown:
        notes.append(f"{unknown}: the {row.microarchitecture} stands in, at grade D")
    if why_not:
        notes.append(why_not)
    if calibration is not None and not calibration.straight:
        notes.append("the calibrated power curve bends: a straight line stands for it, with a wider interval")
    return notes


def _container_notes(threads: float) -> list[str]:
    where = container()
    if not where:
        return []
    return [
        f"in a container (by {where}): the idle draw is that of the {threads:g} hardware threads its affinity and CPU "
        "quota allow, not the host's"
    ]


def _curve_components(row: CpuPower) -> tuple[UncertaintyComponent, ...]:
    """Doubt about the curve: within a known microarchitecture, or between all of the table for an unknown one."""
    if row.is_default:
        idle, dynamic = spread_between()
        source = "root mean square distance of the table's microarchitectures from the default"
    else:
        pooled_idle, pooled_dynamic = spread_within()
        # Published results are tuned machines of few models: the scatter of one row alone can flatter it, so the
        # scatter pooled over all rows is the least we claim.
        idle = max(pooled_idle, row.idle_relative_sd or 0.0)
        dynamic = max(pooled_dynamic, row.dynamic_relative_sd or 0.0)
        source = "scatter of published results within a microarchitecture, the row's own or the table's pooled one"
    return (
        UncertaintyComponent(POWER_CURVE, dynamic, source),
        UncertaintyComponent(IDLE_INTERCEPT, idle, source),
    )
