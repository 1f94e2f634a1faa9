"""Zeus: the window log of a ZeusMonitor (CSV), a Measurement as JSON, and a PowerMonitor's trace (CSV).

- Window log: `start_time` [s, Unix epoch], `window_name`, `elapsed_time` [s], `gpu0_energy`, ... [J].
- JSON: an object or a list of them with `time` [s], `gpu_energy`, and `cpu_energy`, `dram_energy` where there are
  [J by index]. A Measurement carries no stamp: it must stand beside it as `start_time`, or be given as `ended`.
- Trace: `time` [s, Unix epoch], then one column a GPU, named by its index [W].

GPU, package and memory become receipts of their own (disjoint scopes, one batch). A window of 0 J on a GPU was shorter
than the counter's update, and is unusable; a negative one crossed a reset of the counter, and is left out.

Source: ml-energy/zeus, zeus/monitor/energy.py (Measurement, log_file) and zeus/monitor/power.py.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from itertools import pairwise
from typing import Any

from outweigh.core.intervals import Interval
from outweigh.core.measurement import Grade, Method, Scope
from outweigh.core.receipt import Receipt, RunStatus
from outweigh.ledger.imports._foreign import (
    NVML,
    RAPL,
    About,
    Foreign,
    digest,
    document,
    energy,
    mapping,
    moment,
    number,
    receipt,
    refuse,
    span,
    table,
)

_GPU = re.compile(r"gpu(\d+)_energy")
_LONGEST_GAP_S = 10.0
_KINDS = (("gpu_energy", Scope.GPU, NVML), ("cpu_energy", Scope.PACKAGE, RAPL), ("dram_energy", Scope.DRAM, RAPL))


def read(text: str, about: About) -> Foreign:
    """Receipts of a Zeus file of any of the three kinds. Raises UsageError with the line of what cannot be read."""
    if text.lstrip().startswith(("{", "[")):
        return _json(text, about)
    first = text.partition("\n")[0].strip().split(",")
    return _trace(text, about) if first[0] == "time" else _log(text, about)


def _log(text: str, about: About) -> Foreign:
    found: list[Receipt] = []
    left_out: list[str] = []
    rows = table(about, text, ("start_time", "window_name", "elapsed_time"))
    if rows and not any(_GPU.fullmatch(name) for name in rows[0][1]):
        refuse(about, 1, "it has no column gpuN_energy", "Give the log_file of a ZeusMonitor")
    for line, row in rows:
        start = moment(about, line, "start_time", number(about, line, "start_time", row["start_time"]))
        seconds = number(about, line, "elapsed_time", row["elapsed_time"], least=0.0)
        interval = span(about, line, seconds, start=start)
        by_gpu = {match[1]: row[name] for name in row if (match := _GPU.fullmatch(name))}
        window = {"gpu_energy": {index: number(about, line, f"gpu{index}_energy", j) for index, j in by_gpu.items()}}
        _take(about, f"line {line}", window, interval, row["window_name"], found, left_out)
    return Foreign(tuple(found), tuple(left_out))


def _json(text: str, about: About) -> Foreign:
    body = document(about, text)
    found: list[Receipt] = []
    left_out: list[str] = []
    for index, entry in enumerate(body if isinstance(body, list) else [body], start=1):
        record = mapping(about, entry, f"record {index}")
        if "time" not in record or "gpu_energy" not in record:
            refuse(about, 0, f"record {index} has no time or no gpu_energy", "Give a Measurement of a ZeusMonitor")
        seconds = number(about, 0, "time", record["time"], least=0.0)
        if "start_time" in record:
            interval = span(about, 0, seconds, start=moment(about, 0, "start_time", record["start_time"]))
        elif about.ended is not None:
            interval = span(about, 0, seconds, end=about.ended)
        else:
            refuse(about, 0, f"record {index} does not say when it ran", "Give when it ended, or add start_time")
        window = {
            kind: {
                str(device): number(about, 0, f"{kind}[{device}]", joules)
                for device, joules in mapping(about, record[kind], kind).items()
            }
            for kind, _, _ in _KINDS
            if record.get(kind)
        }
        _take(about, f"record {index}", window, interval, str(record.get("window_name", "")), found, left_out)
    return Foreign(tuple(found), tuple(left_out))


def _take(
    about: About,
    where: str,
    window: Mapping[str, Mapping[str, float]],
    interval: Interval,
    name: str,
    found: list[Receipt],
    left_out: list[str],
) -> None:
    identity: dict[str, Any] = {"window": window, "start": interval.start, "seconds": interval.seconds, "name": name}
    if interval.seconds == 0:
        left_out.append(f"{where}: it lasted no time")
        return
    for kind, scope, doubt in _KINDS:
        by_device = window.get(kind, {})
        if not by_device:
            continue
        if any(joules < 0 for joules in by_device.values()):
            left_out.append(f"{where}: its {kind} is negative, so the counter was reset on the way")
            continue
        unseen = scope is Scope.GPU and any(joules == 0 for joules in by_device.values())
        notes = [f"{kind} of {len(by_device)} device(s), summed"] if len(by_device) > 1 else []
        if unseen:
            notes.append("a GPU shows 0 J: the window was shorter than its counter's update")
        total = energy(
            sum(by_device.values()), interval,
            scope=scope, grade=Grade.B, method=Method.COUNTER, source="zeus", doubt=doubt,
        )  # fmt: skip
        found.append(
            receipt(
                about,
                "zeus",
                {**identity, "kind": kind},
                total,
                batch=digest(identity)[:16],
                status=RunStatus.UNUSABLE if unseen else RunStatus.COMPLETED,
                labels={"window": name} if name else {},
                notes=notes,
            )
        )


def _trace(text: str, about: About) -> Foreign:
    rows = table(about, text, ("time",))
    gpus = [name for name in (rows[0][1] if rows else {}) if name.isdecimal()]
    if rows and not gpus:
        refuse(about, 1, "it has no column named by a GPU's index", "Give the trace of a PowerMonitor")
    found = []
    left_out = []
    points = [
        (number(about, line, "time", row["time"]), [number(about, line, gpu, row[gpu], least=0.0) for gpu in gpus])
        for line, row in rows
    ]
    if len(points) < 2:
        return Foreign((), ("it has fewer than two samples",))
    for (line, _), (before, after) in zip(rows[1:], pairwise(points), strict=True):
        if not before[0] < after[0]:
            refuse(about, line, "its time does not grow", "Sort it by time, and leave out what is there twice")
    longest_s = max(after[0] - before[0] for before, after in pairwise(points))
    if longest_s > _LONGEST_GAP_S:
        left_out.append(f"the trace has a gap of {longest_s:.3g} s, longer than {_LONGEST_GAP_S:g} s")
    else:
        start = moment(about, rows[0][0], "time", points[0][0])
        # The trapezoid rule over all boards at once: the boards are sampled together.
        joules = sum((b[0] - a[0]) * (sum(a[1]) + sum(b[1])) / 2 for a, b in pairwise(points))
        total = energy(
            joules, span(about, 0, points[-1][0] - points[0][0], start=start),
            scope=Scope.GPU, grade=Grade.B, method=Method.INTEGRATED, source="zeus", doubt=NVML,
        )  # fmt: skip
        notes = [f"{len(points)} power samples of {len(gpus)} device(s), longest gap {longest_s:.3g} s"]
        found.append(receipt(about, "zeus", {"trace": points}, total, notes=notes))
    return Foreign(tuple(found), tuple(left_out))
