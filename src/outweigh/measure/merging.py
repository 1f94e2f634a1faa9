"""Several ranks, one run: their receipts merged into one, each joule of a node counted once.

A counter belongs to a node, not to a process: eight ranks on one machine that read it at the same time have seen the
same joules. A receipt says which node (a hash of its boot id, no host name) and which devices in two labels,
`node_labels`; ranks of one node and device are united over time, different nodes or devices are added.
"""

from __future__ import annotations

import hashlib
import itertools
import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime
from pathlib import Path

from outweigh.core.errors import UsageError
from outweigh.core.intervals import Interval
from outweigh.core.measurement import Grade, Measurement, Method, UncertaintyComponent
from outweigh.core.quantities import Energy
from outweigh.core.receipt import MeterCost, Receipt, RunStatus
from outweigh.measure.reading import common_scope
from outweigh.ports import Meter

NODE, DEVICES = "node", "devices"

#: Uncertainty that one instrument makes in the same direction every time; it adds up, the rest adds in squares.
_COMMON = frozenset({"calibration", "power curve", "idle intercept", "instruction mix"})

_WORST_FIRST = (RunStatus.UNUSABLE, RunStatus.INTERRUPTED, RunStatus.FAILED, RunStatus.COMPLETED)


def node_labels(meter: Meter, boot_id: Path = Path("/proc/sys/kernel/random/boot_id")) -> dict[str, str]:
    """Labels for a rank's receipt: which node, since which boot, and which devices an open meter counts.

    A meter whose figure holds several nodes (`spans`: Slurm's, of a job step) has that for its node, so that ranks
    which all read it are united and not added.

    Raises:
        UsageError: the platform gives no boot id (it is a file of Linux).
    """
    devices = sorted({channel.device for channel in meter.channels if channel.counted})
    spans = getattr(meter, "spans", "")
    if spans:
        return {NODE: hashlib.sha256(spans.encode()).hexdigest()[:16], DEVICES: ",".join(devices)}
    try:
        text = boot_id.read_text(encoding="ascii").strip()
    except OSError as err:
        raise UsageError(f"{boot_id} cannot be read ({err.strerror})", "Label receipts with `node` yourself") from err
    return {NODE: hashlib.sha256(text.encode()).hexdigest()[:16], DEVICES: ",".join(devices)}


def merge_receipts(receipts: Iterable[Receipt]) -> Receipt:
    """One receipt of a run whose ranks each wrote one.

    Ranks of one node and the same devices are united: where several saw the same moment it is counted once, with the
    mean of what they saw. A rank whose devices are a part of another's on the same node is refused, for nobody can
    tell which part. Status and grade are the worst of all; hum and work are known only if they are everywhere.

    Args:
        receipts: at least one, of one project and phase, with the labels of `node_labels`.

    Returns:
        Receipt under the first one's run id, over the time from the first start to the last end.

    Raises:
        UsageError: none, of several projects or phases, without labels, or with devices that overlap in part.
    """
    every = sorted(receipts, key=lambda r: (r.interval.start, r.run_id))
    if not every:
        raise UsageError("there is no receipt to merge", "Give the receipts of all ranks")
    if len({(r.project, r.phase) for r in every}) > 1:
        raise UsageError("the receipts are of several projects or phases", "Merge the ranks of one run")
    groups: dict[tuple[str, frozenset[str]], list[Receipt]] = defaultdict(list)
    for receipt in every:
        labels = dict(receipt.labels)
        if not labels.get(NODE) or not labels.get(DEVICES):
            raise UsageError(
                f"receipt {receipt.run_id} does not say on which node and devices it was measured",
                "Add the labels of `node_labels(meter)` when it is written",
            )
        groups[labels[NODE], frozenset(labels[DEVICES].split(","))].append(receipt)
    for (node, devices), (other_node, other) in itertools.combinations(groups, 2):
        if node == other_node and devices & other:
            raise UsageError(
                f"two ranks of one node count {', '.join(sorted(devices & other))} among different devices",
                "Let every rank of a node read the same devices, or one of its own",
            )
    first = every[0]
    interval = Interval(first.interval.start, max(r.interval.end for r in every))
    parts = {
        name: [_united([getattr(r, name) for r in ranks], interval) for ranks in groups.values()]
        for name in ("total", "hum", "work")
        if all(getattr(r, name) is not None for r in every)
    }
    costs = [r.meter_cost for r in every if r.meter_cost is not None]
    units = [r.units for r in every if r.units is not None]
    nodes = len({node for node, _ in groups})
    return replace(
        first,
        status=next(status for status in _WORST_FIRST if any(r.status is status for r in every)),
        total=_added(parts["total"], interval),
        hum=_added(parts["hum"], interval) if "hum" in parts else None,
        work=_added(parts["work"], interval) if "work" in parts else None,
        units=sum(units) if units else None,
        meter_cost=MeterCost(sum(c.cpu_s for c in costs)) if costs else None,
        overlapping=(),
        exit_code=max((r.exit_code for r in every if r.exit_code is not None), default=None),
        labels=tuple(sorted({key: value for key, value in first.labels if key not in (NODE, DEVICES)}.items())),
        notes=(
            f"merged from {len(every)} ranks on {nodes} node{'s' if nodes > 1 else ''}; joules that several ranks of a "
            "node saw are counted once",
            *dict.fromkeys(note for r in every for note in r.notes),
        ),
    )


def _united(seen: Sequence[Measurement], interval: Interval) -> Measurement:
    """What one set of devices drew, by all who looked at it: each moment once, at the mean of their mean powers."""
    cuts: list[datetime] = sorted({stamp for m in seen for stamp in (m.interval.start, m.interval.end)})
    credited = [0.0] * len(seen)
    for start, end in itertools.pairwise(cuts):
        there = [i for i, m in enumerate(seen) if m.interval.start <= start and end <= m.interval.end]
        for i in there:
            share = (end - start).total_seconds() / seen[i].interval.seconds
            credited[i] += seen[i].value.joules * share / len(there)
    if not any(m.interval.seconds for m in seen):
        credited = [m.value.joules / len(seen) for m in seen]
    scale = [c / m.value.joules if m.value.joules else 1.0 for c, m in zip(credited, seen, strict=True)]
    return replace(
        seen[0],
        value=Energy(sum(credited)),
        interval=interval,
        grade=Grade.worst(m.grade for m in seen),
        # One instrument, looked at by several: what is wrong with it is wrong for all of them.
        components=_components(list(zip(seen, scale, strict=True)), one_instrument=True),
    )


def _added(parts: Sequence[Measurement], interval: Interval) -> Measurement:
    methods = {m.method for m in parts}
    measured = all(method.is_measured for method in methods)
    return replace(
        parts[0],
        value=Energy(sum(m.value.joules for m in parts)),
        interval=interval,
        scope=common_scope([m.scope for m in parts]),
        grade=Grade.worst(m.grade for m in parts),
        method=parts[0].method if len(methods) == 1 else Method.INTEGRATED if measured else Method.MODELLED,
        source=" + ".join(dict.fromkeys(m.source for m in parts)),
        components=_components([(m, 1.0) for m in parts], one_instrument=False),
        factors=tuple(dict.fromkeys(f for m in parts for f in m.factors)),
    )


def _components(
    scaled: Sequence[tuple[Measurement, float]], *, one_instrument: bool
) -> tuple[UncertaintyComponent, ...]:
    """Components by name: those of `_COMMON`, and all of one instrument, add up; the others in squares."""
    by_name: dict[str, list[float]] = defaultdict(list)
    sources: dict[str, str] = {}
    for measurement, scale in scaled:
        for component in measurement.components:
            by_name[component.name].append(abs(component.standard * scale))
            sources.setdefault(component.name, component.source)
    return tuple(
        UncertaintyComponent(
            name,
            sum(standards) if one_instrument or name in _COMMON else math.hypot(*standards),
            sources[name],
        )
        for name, standards in by_name.items()
    )
