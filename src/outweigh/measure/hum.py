"""The hum over a period: who owns it, what it is made of, and what to do about it.

Pure functions of receipts. The hum of a receipt is the idle draw under its run; receipts of the phase `idle` are all
hum. Nothing is subtracted from anything: the rows say what was drawn.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass

from outweigh.core.budget import Phase
from outweigh.core.errors import InvalidQuantity
from outweigh.core.intervals import Interval
from outweigh.core.quantities import Energy
from outweigh.core.receipt import Receipt, RunStatus

OWNER = "owner"


@dataclass(frozen=True, slots=True)
class HumSplit:
    """What a hum is made of. A part that nobody measured or declared is None; known parts and `rest` make the whole.

    Attributes:
        allocated: idle draw of what the run had for itself.
        unallocated: idle draw of the same devices that nobody had.
        host: the rest of the machine: board, memory, fans.
        cooling: what the building adds, on top of IT energy (PUE - 1).
    """

    allocated: Energy
    unallocated: Energy
    host: Energy | None
    cooling: Energy | None


def split_hum(
    devices: Energy, *, allocated_share: float, node: Energy | None = None, pue: float | None = None
) -> HumSplit:
    """Split an idle draw by what is known of it.

    Args:
        devices: idle energy of the devices that were measured.
        allocated_share: share of them that the run had for itself, in [0, 1] (4 of 16 threads: 0.25).
        node: idle energy of the whole machine over the same time, where a node meter says.
        pue: facility energy per IT energy, at least 1, where it is declared.

    Raises:
        InvalidQuantity: a share outside [0, 1], a PUE below 1, or a node that draws less than its devices.

    >>> split_hum(Energy(100.0), allocated_share=0.25, node=Energy(160.0), pue=1.5).cooling
    Energy(joules=80.0)
    """
    if not 0 <= allocated_share <= 1:
        raise InvalidQuantity("allocated share", repr(allocated_share), "give it as a share between 0 and 1")
    if pue is not None and pue < 1:
        raise InvalidQuantity("PUE", repr(pue), "facility energy is not below IT energy")
    if node is not None and node.joules < devices.joules:
        raise InvalidQuantity("node's idle energy", f"{node.joules:g} J", "it holds that of its devices")
    it = node if node is not None else devices
    return HumSplit(
        allocated=devices * allocated_share,
        unallocated=devices * (1 - allocated_share),
        host=node - devices if node is not None else None,
        cooling=it * (pue - 1) if pue is not None else None,
    )


@dataclass(frozen=True, slots=True)
class HumRow:
    """The hum of one owner in a period.

    Attributes:
        hum: idle energy under the owner's runs, and all of its idle receipts.
        work: what the runs drew above it.
        share: of the period's hum, in [0, 1].
        runs: how many receipts; `unknown` of them know no hum, and `unknown_energy` is what they drew in all.
        action: what this owner can do about it.
    """

    owner: str
    hum: Energy
    work: Energy
    share: float
    runs: int
    unknown: int
    unknown_energy: Energy
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
    for receipt in receipts:
        if receipt.status is RunStatus.UNUSABLE or receipt.interval.seconds <= 0:
            continue
        inside = receipt.interval.overlap_s(period) / receipt.interval.seconds
        if inside <= 0:
            continue
        energy, count = sums[owner_of(receipt)], counts[owner_of(receipt)]
        count[0] += 1
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
