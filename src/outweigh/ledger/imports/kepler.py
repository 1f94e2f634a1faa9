"""Kepler's energy counters, from a range query of the Prometheus server that scrapes it. Joules.

Kepler 0.10 and newer: `kepler_node_cpu_joules_total{zone, path, node_name}`, with `..._idle_joules_total` beside it,
which is the hum; workloads as `kepler_{container,process,pod,vm}_cpu_joules_total{zone}`. Kepler before 0.10:
`kepler_node_{package,core,uncore,dram}_joules_total{mode="dynamic"|"idle"}`.

A node's zones become one receipt a disjoint zone (package, dram); core and uncore lie within the package and stand
beside it; psys is taken only where no package is. Node counters are RAPL's. What a workload is given is the node's
energy shared out by CPU time: modelled, grade C. In a virtual machine Kepler models the node too, and the answer does
not say so: keep that in mind, or say it with a label.

Source: sustainable-computing-io/kepler-doc, docs/archive/design/metrics.md; for versions before 0.10 its predecessor.
"""

from __future__ import annotations

import re
from collections import defaultdict
from dataclasses import replace

from outweigh.core.intervals import Interval
from outweigh.core.measurement import Grade, Measurement, Method, Scope
from outweigh.core.receipt import Receipt, RunStatus
from outweigh.ledger.imports._foreign import RAPL, About, Foreign, energy, pseudonym, receipt, refuse
from outweigh.ledger.imports._prometheus import Series, series

_NODE = re.compile(r"kepler_node_cpu_(?:(idle|active)_)?joules_total")
_OLD_NODE = re.compile(r"kepler_node_(package|core|uncore|dram)_joules_total")
_WORKLOAD = re.compile(r"kepler_(container|process|pod|vm)_cpu_joules_total")
_SCOPES = {
    "package": Scope.PACKAGE, "dram": Scope.DRAM, "psys": Scope.PSYS, "core": Scope.CORE, "uncore": Scope.UNCORE
}  # fmt: skip
_COUNTED: tuple[str, ...] = ("psys", "package", "dram")
_WITHIN: tuple[str, ...] = ("core", "uncore")
_NAMES = ("container_name", "pod_name", "vm_name", "comm")
_Key = tuple[str, str]  # machine, zone


def read(text: str, about: About) -> Foreign:
    """Receipts of a node's zones and of workloads. Raises UsageError when none of Kepler's counters is in it."""
    totals: dict[_Key, list[Series]] = defaultdict(list)
    idle: dict[_Key, list[Series]] = defaultdict(list)
    found: list[Receipt] = []
    left_out: list[str] = []
    for each in series(text, about):
        machine = each.labels.get("node_name") or each.labels.get("instance", "")
        if match := _NODE.fullmatch(each.name):
            key = (machine, each.labels.get("zone", "").split("-")[0])
            if match[1] == "idle":
                idle[key].append(each)
            elif match[1] is None:  # active is the rest, and would be counted twice
                totals[key].append(each)
        elif match := _OLD_NODE.fullmatch(each.name):
            totals[machine, match[1]].append(each)
            if each.labels.get("mode") == "idle":
                idle[machine, match[1]].append(each)
        elif match := _WORKLOAD.fullmatch(each.name):
            _workload(about, each, match[1], found, left_out)
    zones: dict[str, dict[str, list[Series]]] = defaultdict(dict)
    for (machine, zone), group in totals.items():
        zones[machine][zone] = group
    for machine, by_zone in sorted(zones.items()):
        found += _node(about, machine, by_zone, {zone: idle.get((machine, zone), []) for zone in by_zone}, left_out)
    if not found and not left_out:
        refuse(about, 0, "none of Kepler's energy counters is in it", 'Query {__name__=~"kepler_.*_joules_total"}')
    return Foreign(tuple(found), tuple(left_out))


def _node(
    about: About,
    machine: str,
    by_zone: dict[str, list[Series]],
    idle: dict[str, list[Series]],
    left_out: list[str],
) -> list[Receipt]:
    figures: dict[str, tuple[Measurement, Measurement | None, list[str]]] = {}
    for zone, group in by_zone.items():
        if zone not in _SCOPES:
            left_out.append(f"zone {zone!r} is none that outweigh knows")
            continue
        figures[zone] = _figure(about, _SCOPES[zone], group, idle[zone])
    if "package" in figures and "psys" in figures:
        del figures["psys"]
        left_out.append("zone psys contains the package, which is taken")
    if "psys" in figures and "dram" in figures:
        del figures["dram"]
        left_out.append("zone dram lies within psys, which is taken")
    beside = tuple(figures[zone][0] for zone in _WITHIN if zone in figures)
    receipts = []
    for zone in [z for z in _COUNTED if z in figures] or [z for z in _WITHIN if z in figures]:
        total, hum, notes = figures[zone]
        work = replace(total, value=total.value - hum.value) if hum is not None else None
        receipts.append(
            receipt(
                about,
                "kepler",
                {"machine": machine, "zone": zone, "total": _said(by_zone[zone])},
                total,
                hum=hum,
                work=work,
                overlapping=beside if zone == "package" else (),
                labels={"machine": pseudonym(machine)} if machine else {},
                notes=notes,
            )
        )
    return receipts


def _figure(
    about: About, scope: Scope, group: list[Series], idle: list[Series]
) -> tuple[Measurement, Measurement | None, list[str]]:
    interval = _around([each.interval(about) for each in group])
    grown = [each.increase() for each in group]
    notes = [f"{len(group)} counter(s), summed"] if len(group) > 1 else []
    if restarts := sum(times for _, times in grown):
        notes.append(f"a counter started again {restarts} time(s): the figure is a lower bound")
    if any(each.has_gap for each in group):
        notes.append("scrapes are missing; the counter went on counting")
    total = _measured(sum(joules for joules, _ in grown), interval, scope)
    hum_j = sum(each.increase()[0] for each in idle)
    hum = _measured(hum_j, interval, scope) if idle and hum_j <= total.value.joules else None
    return total, hum, notes


def _measured(joules: float, interval: Interval, scope: Scope) -> Measurement:
    return energy(
        joules, interval, scope=scope, grade=Grade.B, method=Method.COUNTER, source="kepler (RAPL)", doubt=RAPL
    )


def _workload(about: About, each: Series, kind: str, found: list[Receipt], left_out: list[str]) -> None:
    if each.labels.get("zone", "").split("-")[0] != "package":
        left_out.append(f"a {kind}'s zone {each.labels.get('zone')!r} lies within or beside its package share")
        return
    joules, restarts = each.increase()
    total = energy(
        joules, each.interval(about),
        scope=Scope.CPU_THREADS, grade=Grade.C, method=Method.MODELLED, source="kepler (share by CPU time)",
    )  # fmt: skip
    name = next((each.labels[label] for label in _NAMES if each.labels.get(label)), "")
    machine = each.labels.get("node_name") or each.labels.get("instance", "")
    labels = {"kind": kind, "device": pseudonym(_said([each]))}
    if machine:
        labels["machine"] = pseudonym(machine)
    if name:
        labels["workload"] = name
    notes = ["the node's energy shared out by CPU time"]
    if restarts:
        notes.append(f"the counter started again {restarts} time(s): the figure is a lower bound")
    status = RunStatus.COMPLETED
    found.append(
        receipt(about, "kepler", {"workload": _said([each])}, total, status=status, labels=labels, notes=notes)
    )


def _said(group: list[Series]) -> str:
    return repr(sorted((sorted(each.labels.items()), each.t_s[0], each.t_s[-1], each.values[-1]) for each in group))


def _around(intervals: list[Interval]) -> Interval:
    return Interval(min(each.start for each in intervals), max(each.end for each in intervals))
