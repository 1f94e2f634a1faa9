"""A fleet's samples out of a Prometheus server's answer to a range query, minute by minute.

Each series is a unit that draws: a board (dcgm-exporter), the packages of a node (Kepler), a whole node (a baseboard
controller, through ipmi_exporter). A gauge's samples are averaged over each minute, a counter is divided where it is
read at both edges. A minute in which nothing was scraped is missing. Known names, with unit and scope:

- `DCGM_FI_DEV_POWER_USAGE`, W, a board; busy from `DCGM_FI_PROF_GR_ENGINE_ACTIVE` (0 to 1) or `DCGM_FI_DEV_GPU_UTIL`
  (%) of the same board (NVIDIA/dcgm-exporter, etc/default-counters.csv and dcp-metrics-included.csv).
- `kepler_node_cpu_joules_total{zone="package..."}`, J, the packages of a node, summed (sustainable-computing-io/kepler,
  0.10 and newer).
- `ipmi_dcmi_power_consumption_watts`, W, a node (prometheus-community/ipmi_exporter, docs/metrics.md).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from outweigh.core.errors import UsageError
from outweigh.core.measurement import Grade, Method, Scope
from outweigh.ledger.fleet.minutes import ASSUMED_DOUBT, MINUTE_S, HowKnown, Labels, Minutes
from outweigh.ledger.imports import About
from outweigh.ledger.imports._foreign import NVML, RAPL
from outweigh.ledger.imports._prometheus import Series, series

UNKNOWN = "unknown"
_LONGEST_BRIDGED_S = 300.0  # a counter that was silent for longer says nothing of single minutes
_MOST_W = {Scope.GPU: 5_000.0, Scope.PACKAGE: 20_000.0, Scope.NODE: 200_000.0}  # several times any of 2026


@dataclass(frozen=True, slots=True)
class Kind:
    """A metric whose unit is known by its name."""

    metric: str
    counts_j: bool
    scope: Scope
    doubt: float
    source: str
    node_labels: tuple[str, ...]
    gpus: int = 0


KINDS = (
    Kind("ipmi_dcmi_power_consumption_watts", False, Scope.NODE, ASSUMED_DOUBT[Grade.B], "ipmi_exporter (DCMI)",
         ("node", "instance")),
    Kind("DCGM_FI_DEV_POWER_USAGE", False, Scope.GPU, NVML[0], "dcgm-exporter", ("Hostname", "instance"), 1),
    Kind("kepler_node_cpu_joules_total", True, Scope.PACKAGE, RAPL[0], "kepler (RAPL)", ("node_name", "instance")),
)  # fmt: skip
_BUSY = {"DCGM_FI_PROF_GR_ENGINE_ACTIVE": 1.0, "DCGM_FI_DEV_GPU_UTIL": 100.0}  # and what is all of it


def read_prometheus(
    text: str, about: About, *, metric: str = "", owner_labels: Sequence[str] = (), site: str = "", site_label: str = ""
) -> tuple[Minutes, HowKnown, tuple[str, ...]]:
    """The minutes in an answer, or in several, one a line.

    Args:
        metric: the name of one of `KINDS`; "" takes the first of them that is in it.
        owner_labels: the first of these labels that a series bears names who holds the unit ("namespace"); a series
            without holds none. Without any label to look for, the owner is `UNKNOWN`, which is somebody.
        site, site_label: where the units stand: a label of each series, else one name for all.

    Returns:
        Samples, how they are known, and a sentence for each thing left out.

    Raises:
        UsageError: no known metric is in it, its unit is not what its name says, or it is no such answer.
    """
    by_name: dict[str, list[Series]] = defaultdict(list)
    for each in series(text, about):
        by_name[each.name].append(each)
    kind = _kind(by_name, metric, about)
    units: dict[tuple[str, ...], list[Series]] = defaultdict(list)
    left_out: list[str] = []
    for each in by_name[kind.metric]:
        zone = each.labels.get("zone", "")
        if kind.counts_j and zone and not zone.startswith("package"):
            left_out.append(f"zone {zone!r} lies within or beside the packages, which are taken")
            continue
        units[_unit(each, kind)].append(each)
    busy = {_unit(each, kind): (each, whole) for name, whole in _BUSY.items() for each in reversed(by_name[name])}
    columns = _Columns()
    for (node, *_), parts in sorted(units.items()):
        key = _unit(parts[0], kind)
        t_s, power_w = _of_unit(parts, kind)
        if not len(t_s):
            left_out.append(f"{node}: no minute of it was read whole")
            continue
        _check_unit(power_w, kind, node, about)
        worked = _busy_of(*busy[key], t_s) if key in busy else np.full(len(t_s), np.nan)
        columns.add(
            t_s, power_w, worked, node, _owner(parts, owner_labels), parts[0].labels.get(site_label, "") or site
        )
    left_out += _coarse(by_name[kind.metric], kind)
    if not columns.t_s:
        raise UsageError(
            f"{about.source}: no minute in it was read whole", "Query a longer range, with step=60 or less"
        )
    how = HowKnown(
        kind.scope, Grade.B, Method.COUNTER if kind.counts_j else Method.INTEGRATED, f"{kind.source}: {kind.metric}",
        kind.doubt,
    )  # fmt: skip
    return columns.minutes(kind.gpus), how, tuple(dict.fromkeys(left_out))


class _Columns:
    def __init__(self) -> None:
        self.t_s: list[NDArray[np.int64]] = []
        self.power_w: list[NDArray[np.float64]] = []
        self.busy: list[NDArray[np.float64]] = []
        self.node: list[str] = []
        self.owner: list[str] = []
        self.site: list[str] = []

    def add(
        self, t_s: NDArray[np.int64], power_w: NDArray[np.float64], busy: NDArray[np.float64],
        node: str, owner: str, site: str,
    ) -> None:  # fmt: skip
        self.t_s.append(t_s)
        self.power_w.append(power_w)
        self.busy.append(busy)
        for column, name in ((self.node, node), (self.owner, owner), (self.site, site)):
            column.extend([name] * len(t_s))

    def minutes(self, gpus: int) -> Minutes:
        t_s = np.concatenate(self.t_s)
        return Minutes(
            t_s, Labels.of(self.node), Labels.of(self.owner), Labels.of(self.site),
            np.concatenate(self.power_w).astype(np.float32), np.full(len(t_s), gpus, np.int32),
            np.concatenate(self.busy).astype(np.float32),
        )  # fmt: skip


def _kind(by_name: dict[str, list[Series]], metric: str, about: About) -> Kind:
    known = {kind.metric: kind for kind in KINDS}
    if metric and metric not in known:
        raise UsageError(f"the unit of {metric!r} is not known here", f"Give one of {', '.join(known)}")
    for name in [metric] if metric else known:
        if name in by_name:
            return known[name]
    raise UsageError(
        f"{about.source}: {metric or 'no power that outweigh knows'} is not in it", f"Query one of {', '.join(known)}"
    )


def _unit(each: Series, kind: Kind) -> tuple[str, ...]:
    """A series' unit: its name, then what keeps units of one name apart."""
    labels = each.labels
    node = next((labels[name] for name in kind.node_labels if labels.get(name)), "node")
    return (f"{node}/gpu{labels.get('gpu') or labels.get('UUID', '')}",) if kind.scope is Scope.GPU else (node,)


def _owner(parts: list[Series], owner_labels: Sequence[str]) -> str:
    if not owner_labels:
        return UNKNOWN
    found = {
        next((each.labels[label] for label in owner_labels if each.labels.get(label)), "") for each in parts
    } - {""}  # fmt: skip
    return " + ".join(sorted(found))


def _of_unit(parts: list[Series], kind: Kind) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Minutes and power of a unit: the sum of a node's packages; of the same gauge scraped twice, the mean."""
    read = [_by_counter(each) if kind.counts_j else _by_gauge(each) for each in parts]
    t_s = np.concatenate([t for t, _ in read])
    minutes, place, times = np.unique(t_s, return_inverse=True, return_counts=True)
    total = np.bincount(place, weights=np.concatenate([power for _, power in read]), minlength=len(minutes))
    if not kind.counts_j:
        return minutes, total / times
    every = times == len(parts)  # without one of its packages, a node's minute is not known
    return minutes[every], total[every]


def _by_gauge(each: Series) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    t_s, values = np.array(each.t_s), np.array(each.values)
    minutes, place, times = np.unique(t_s // MINUTE_S * MINUTE_S, return_inverse=True, return_counts=True)
    return minutes.astype(np.int64), np.bincount(place, weights=values) / times


def _by_counter(each: Series) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
    """Minutes that lie whole between two readings, each stretch without a restart or a long silence on its own."""
    t_s, values = np.array(each.t_s), np.array(each.values)
    broken = np.flatnonzero((np.diff(values) < 0) | (np.diff(t_s) > _LONGEST_BRIDGED_S)) + 1
    found_s, found_w = [np.empty(0, np.int64)], [np.empty(0)]
    for times, counted in zip(np.split(t_s, broken), np.split(values, broken), strict=True):
        edges = np.arange(np.ceil(times[0] / MINUTE_S), times[-1] // MINUTE_S + 1) * MINUTE_S
        if len(edges) >= 2:
            found_s.append(edges[:-1].astype(np.int64))
            found_w.append(np.diff(np.interp(edges, times, counted)) / MINUTE_S)
    return np.concatenate(found_s), np.concatenate(found_w)


def _busy_of(each: Series, whole: float, t_s: NDArray[np.int64]) -> NDArray[np.float64]:
    minutes, values = _by_gauge(each)
    at = np.searchsorted(minutes, t_s)
    there = (at < len(minutes)) & (minutes[np.minimum(at, len(minutes) - 1)] == t_s)
    return np.where(there, np.clip(values[np.minimum(at, len(minutes) - 1)] / whole, 0.0, 1.0), np.nan)


def _check_unit(power_w: NDArray[np.float64], kind: Kind, node: str, about: About) -> None:
    if power_w.mean() > _MOST_W[kind.scope]:
        raise UsageError(
            f"{about.source}: {kind.metric} of {node} would mean {power_w.mean():.4g} W: its unit is not the one its "
            "name stands for",
            "Check the exporter's version, and what the query multiplies it by",
        )


def _coarse(found: list[Series], kind: Kind) -> list[str]:
    step_s = max(float(np.median(np.diff(each.t_s))) for each in found)
    if kind.counts_j or step_s <= MINUTE_S:
        return []
    return [f"the query's step is {step_s:g} s, so most minutes are missing; ask with step=60"]
