"""The hum over a period: who owns it, what it is made of, and what to do about it.

Pure functions of receipts. The hum of a receipt is the idle draw under its run; receipts of the phase `idle` are all
hum. Nothing is subtracted from anything: the rows say what was drawn.
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from outweigh.core.budget import Phase
from outweigh.core.errors import InvalidQuantity
from outweigh.core.intervals import Interval
from outweigh.core.measurement import Scope
from outweigh.core.quantities import Energy
from outweigh.core.receipt import HumSplit, Receipt, RunStatus

if TYPE_CHECKING:
    from outweigh.measure.reading import HumPart

__all__ = ["OWNER", "HumRow", "HumSplit", "hum_view", "split_hum", "split_of"]

OWNER = "owner"
_PARTS = ("allocated", "unallocated", "host", "cooling")


def split_hum(
    devices: Energy, *, allocated_share: float | None, node: Energy | None = None, pue: float | None = None
) -> HumSplit:
    """Split an idle draw by what is known of it. The parts but cooling make the whole.

    Args:
        devices: idle energy of the devices that were measured.
        allocated_share: share of them that the run had for itself, in [0, 1] (4 of 16 threads: 0.25); None when
            nobody can tell, and then neither part is known.
        node: idle energy of the whole machine over the same time, where a node meter says.
        pue: facility energy per IT energy, at least 1, where it is declared.

    Raises:
        InvalidQuantity: a share outside [0, 1], a PUE below 1, or a node that draws less than its devices.

    >>> split_hum(Energy(100.0), allocated_share=0.25, node=Energy(160.0), pue=1.5).cooling
    Energy(joules=80.0)
    """
    if allocated_share is not None and not 0 <= allocated_share <= 1:
        raise InvalidQuantity("allocated share", repr(allocated_share), "give it as a share between 0 and 1")
    if pue is not None and pue < 1:
        raise InvalidQuantity("PUE", repr(pue), "facility energy is not below IT energy")
    if node is not None and node.joules < devices.joules:
        raise InvalidQuantity("node's idle energy", f"{node.joules:g} J", "it holds that of its devices")
    it = node if node is not None else devices
    return HumSplit(
        allocated=devices * allocated_share if allocated_share is not None else None,
        unallocated=devices * (1 - allocated_share) if allocated_share is not None else None,
        host=node - devices if node is not None else None,
        cooling=it * (pue - 1) if pue is not None else None,
    )


#: Scopes whose idle draw goes with hardware threads: a run that may use a quarter of them holds a quarter of it.
_BY_THREADS = frozenset({Scope.PSYS, Scope.PACKAGE, Scope.CORE, Scope.UNCORE, Scope.DRAM})
#: Scopes of which all that is metered is the run's: boards it may see, threads that were modelled for it.
_ITS_OWN = frozenset({Scope.GPU, Scope.CPU_THREADS})
#: Scopes that hold the whole machine, and what nobody reads beside.
_WHOLE = frozenset({Scope.NODE, Scope.RACK, Scope.FACILITY})


def split_of(
    hum: Energy, parts: Sequence[HumPart], *, thread_share: float | None, pue: float | None = None
) -> HumSplit | None:
    """What the hum of a run is made of, from its idle draw by channel.

    Args:
        hum: idle energy under the run, of all that is counted.
        parts: idle power by channel, counted and shown (`HumReading.parts`).
        thread_share: share of the machine's hardware threads that the run may use, in [0, 1]; None when unknown.
        pue: facility energy per IT energy when idle, where it is declared.

    Returns:
        The split, or None when none of its parts is known. A channel counts as allocated as its kind is shared out:
        processors by hardware threads, boards and modelled threads whole, for those of others are not metered; where
        nothing else is counted the unallocated part is not known. Of a node, rack or building the host is what is
        left beside the devices that were read with it.
    """
    counted_w = math.fsum(part.power_w for part in parts if part.counted)
    if counted_w <= 0 or hum.joules <= 0:
        return None
    seconds = hum.joules / counted_w
    whole = [part for part in parts if part.counted and part.scope in _WHOLE]
    devices = _outermost([part for part in parts if part.scope not in _WHOLE and (whole or part.counted)])
    devices_w = math.fsum(part.power_w for part in devices)
    allocated_w = 0.0
    share: float | None = None
    for part in devices:
        own = 1.0 if part.scope in _ITS_OWN else thread_share if part.scope in _BY_THREADS else None
        if own is None:
            break
        allocated_w += part.power_w * own
    else:
        share = min(1.0, max(0.0, allocated_w / devices_w)) if devices_w > 0 else None
    # A sensor of a device may read a little more than the node's, which is read at another moment: no host then.
    beside = bool(whole) and bool(devices) and counted_w >= devices_w
    if whole and not beside:
        return None if pue is None else HumSplit(cooling=hum * (pue - 1))
    split = split_hum(
        Energy(devices_w * seconds), allocated_share=share, node=Energy(hum.joules) if beside else None, pue=pue
    )
    if devices and all(part.scope in _ITS_OWN for part in devices):
        split = replace(split, unallocated=None)
    return split if split != HumSplit() else None


def _outermost(parts: Sequence[HumPart]) -> list[HumPart]:
    """The parts that lie in no other of them, each scope of a device once."""
    outer = [p for p in parts if not any(o.scope is not p.scope and o.scope.contains(p.scope) for o in parts)]
    return list({(part.scope, part.device): part for part in outer}.values())


@dataclass(frozen=True, slots=True)
class HumRow:
    """The hum of one owner in a period.

    Attributes:
        hum: idle energy under the owner's runs, and all of its idle receipts.
        work: what the runs drew above it.
        share: of the period's hum, in [0, 1].
        runs: how many receipts; `unknown` of them know no hum, and `unknown_energy` is what they drew in all.
        split: the hum's parts, each summed over the receipts that know it; None where none does. What is left of
            `hum` beside allocated, unallocated and host is of unknown make; cooling comes on top of it.
        action: what this owner can do about it.
    """

    owner: str
    hum: Energy
    work: Energy
    share: float
    runs: int
    unknown: int
    unknown_energy: Energy
    split: HumSplit
    action: str


def hum_view(
    receipts: Iterable[Receipt], period: Interval, owner_of: Callable[[Receipt], str] | None = None
) -> tuple[HumRow, ...]:
    """Who owned the hum of a period, largest first, with an action for each.

    A receipt that lies in the period in part counts by the share of its time there. Unusable receipts are left out.

    Args:
        owner_of: whose a receipt is; by default its label "owner", else its project.
    """
    owner_of = owner_of if owner_of is not None else _owner
    sums: dict[str, list[float]] = defaultdict(lambda: [0.0, 0.0, 0.0, 0.0])
    counts: dict[str, list[int]] = defaultdict(lambda: [0, 0])
    parts: dict[str, dict[str, float]] = defaultdict(dict)
    for receipt in receipts:
        if receipt.status is RunStatus.UNUSABLE or receipt.interval.seconds <= 0:
            continue
        inside = receipt.interval.overlap_s(period) / receipt.interval.seconds
        if inside <= 0:
            continue
        energy, count = sums[owner_of(receipt)], counts[owner_of(receipt)]
        count[0] += 1
        for part in _PARTS if receipt.hum_split is not None else ():
            known: Energy | None = getattr(receipt.hum_split, part)
            if known is not None:
                its = parts[owner_of(receipt)]
                its[part] = its.get(part, 0.0) + inside * known.joules
        if receipt.phase is Phase.IDLE:
            energy[0] += inside * receipt.total.value.joules
            energy[3] += inside * receipt.total.value.joules
        elif receipt.hum is not None and receipt.work is not None:
            energy[0] += inside * receipt.hum.value.joules
            energy[1] += inside * receipt.work.value.joules
        else:
            count[1] += 1
            energy[2] += inside * receipt.total.value.joules
    whole_j = sum(energy[0] for energy in sums.values())
    rows = [
        HumRow(
            owner=owner,
            hum=Energy(hum_j),
            work=Energy(work_j),
            share=hum_j / whole_j if whole_j > 0 else 0.0,
            runs=counts[owner][0],
            unknown=counts[owner][1],
            unknown_energy=Energy(unknown_j),
            split=HumSplit(**{part: Energy(joules) for part, joules in parts[owner].items()}),
            action=_action(hum_j, work_j, unknown_j, idle_j),
        )
        for owner, (hum_j, work_j, unknown_j, idle_j) in sums.items()
    ]
    return tuple(sorted(rows, key=lambda row: (-row.hum.joules, -row.unknown_energy.joules, row.owner)))


def _owner(receipt: Receipt) -> str:
    return dict(receipt.labels).get(OWNER) or receipt.project


def _action(hum_j: float, work_j: float, unknown_j: float, idle_j: float) -> str:
    if unknown_j > hum_j + work_j:
        return "most of it is not split: listen to the idle draw before each run"
    if idle_j > hum_j / 2:
        return "release or switch off what stands idle: most of this hum had no run on it"
    if hum_j > work_j:
        return "fill the machine or ask for a smaller one: its idle draw is more than its work"
    return "nothing to gain here first: its work is more than its hum"
