"""GPU energy of NVIDIA's dcgm-exporter, from a range query of the Prometheus server that scrapes it.

Units are pinned by name, since dcgm-exporter 4.9.0 changed energy from millijoules to joules with new field names:

- `DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION`: counter, mJ (etc/default-counters.csv up to 4.8.4).
- a counter of total energy whose name ends in `_JOULES` or `_JOULES_TOTAL`: J (the naming of DCGM 4.7 fields).
- `DCGM_FI_DEV_POWER_USAGE` or a name ending in `_WATTS`: gauge, W; used where a GPU has no counter, and to check one.

A figure that means more than 5 kW or, with the gauge beside it, differs from it tenfold has another unit than its name
says, and the file is refused. One receipt a GPU; a MIG instance's counter is its card's, and said to be.

Source: NVIDIA/dcgm-exporter, etc/default-counters.csv and the release notes of 4.9.0.
"""

from __future__ import annotations

import re
from collections import defaultdict

from outweigh.core.measurement import Grade, Method, Scope
from outweigh.core.receipt import Receipt
from outweigh.ledger.imports._foreign import NVML, About, Foreign, energy, pseudonym, receipt, refuse
from outweigh.ledger.imports._prometheus import Series, series

_MILLIJOULES = "DCGM_FI_DEV_TOTAL_ENERGY_CONSUMPTION"
_JOULES = re.compile(r"DCGM_FI_DEV_\w*ENERGY\w*_JOULES(_TOTAL)?")
_POWER = re.compile(r"DCGM_FI_DEV_POWER_USAGE|DCGM_FI_DEV_\w*POWER_USAGE\w*_WATTS")
_MOST_W = 5_000.0  # several times any board of 2026
_LEAST_CHECKED_W = 1.0
_TENFOLD = 10.0


def read(text: str, about: About) -> Foreign:
    """Receipts of GPUs. Raises UsageError when no known field is in it, or a unit is not what the name says."""
    counters: dict[str, list[tuple[Series, float]]] = defaultdict(list)
    gauges: dict[str, Series] = {}
    for each in series(text, about):
        if each.name == _MILLIJOULES:
            counters[_device(each)].append((each, 1e-3))
        elif _JOULES.fullmatch(each.name):
            counters[_device(each)].append((each, 1.0))
        elif _POWER.fullmatch(each.name):
            gauges.setdefault(_device(each), each)
    if not counters and not gauges:
        refuse(about, 0, "none of DCGM's energy or power fields is in it", f"Query {_MILLIJOULES}")
    found: list[Receipt] = []
    left_out: list[str] = []
    for device in sorted({*counters, *gauges}):
        if device in counters:
            # The same counter may be scraped by the pod that uses the board, once for each label set.
            each, scale = counters[device][0]
            found.append(_from_counter(about, each, scale, gauges.get(device), len(counters[device])))
        elif gauges[device].has_gap:
            left_out.append(f"GPU {pseudonym(device)}: its power has a gap of {gauges[device].longest_gap_s:.3g} s")
        else:
            found.append(_from_gauge(about, gauges[device]))
    return Foreign(tuple(found), tuple(left_out))


def _from_counter(about: About, each: Series, scale: float, gauge: Series | None, times: int) -> Receipt:
    grown, restarts = each.increase()
    joules, interval = grown * scale, each.interval(about)
    mean_w = joules / interval.seconds
    seen_w = gauge.integral() / (gauge.t_s[-1] - gauge.t_s[0]) if gauge is not None else None
    other_unit = mean_w > _MOST_W
    if seen_w is not None and min(mean_w, seen_w) > 0 and max(mean_w, seen_w) > _LEAST_CHECKED_W:
        other_unit |= not 1 / _TENFOLD < mean_w / seen_w < _TENFOLD
    if other_unit:
        beside = f" beside a gauge of {seen_w:.4g} W" if seen_w is not None else ""
        refuse(
            about, 0, f"{each.name} would mean {mean_w:.4g} W{beside}: its unit is not the one its name stands for",
            "Check the exporter's version: 4.9.0 changed millijoules to joules",
        )  # fmt: skip
    notes = [f"{each.name} in {'mJ' if scale != 1.0 else 'J'}"]
    if restarts:
        notes.append(f"the counter started again {restarts} time(s): the figure is a lower bound")
    if each.has_gap:
        notes.append("scrapes are missing; the counter went on counting")
    if times > 1:
        notes.append(f"{times} series of this GPU; one is taken")
    return _receipt(about, each, joules, Method.COUNTER, notes)


def _from_gauge(about: About, each: Series) -> Receipt:
    notes = [f"{each.name} integrated, {len(each.t_s)} samples, longest gap {each.longest_gap_s:.3g} s"]
    return _receipt(about, each, each.integral(), Method.INTEGRATED, notes)


def _receipt(about: About, each: Series, joules: float, method: Method, notes: list[str]) -> Receipt:
    if each.labels.get("GPU_I_ID"):
        notes = [*notes, "a MIG instance has no counter of its own: the figure is the whole card's"]
    version = next((each.labels[name] for name in each.labels if name.endswith("DRIVER_VERSION")), "")
    total = energy(
        joules, each.interval(about), scope=Scope.GPU, grade=Grade.B, method=method, source="dcgm-exporter", doubt=NVML
    )  # fmt: skip
    labels = {"device": pseudonym(_device(each))}
    if machine := each.labels.get("Hostname") or each.labels.get("instance", ""):
        labels["machine"] = pseudonym(machine)
    identity = {"labels": sorted(each.labels.items()), "t_s": (each.t_s[0], each.t_s[-1]), "joules": joules}
    versions = (("driver", version),) if version else ()
    return receipt(about, "dcgm", identity, total, versions=versions, labels=labels, notes=notes)


def _device(each: Series) -> str:
    return each.labels.get("UUID") or f"{each.labels.get('Hostname', '')}/{each.labels.get('gpu', '')}"
