"""The power of the hum under runs: of each machine its mean, and machines are added."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from outweigh.core.budget import Phase
from outweigh.core.intervals import Bounds, Interval
from outweigh.core.measurement import half_width_95
from outweigh.core.receipt import Receipt, RunStatus
from outweigh.ledger.drawn import MACHINE, refuse_double_counting


@dataclass(frozen=True, slots=True)
class HumPower:
    """Mean idle draw while somebody measured.

    Attributes:
        power_w: sum over machines of the mean of each [W].
        half_w: half of its 95 % interval [W]. Meters err alike from run to run: half-widths add up in full.
        read_s: time in which the hum of any machine was read, machine by machine [s].
        machines: how many are told apart.
    """

    power_w: float
    half_w: float
    read_s: float
    machines: int

    @property
    def bounds_w(self) -> Bounds:
        return Bounds(self.power_w - self.half_w, self.power_w + self.half_w, 0.95)


def hum_power(receipts: Iterable[Receipt], within: Interval) -> HumPower | None:
    """The mean hum of the machines that runs knew the hum of; None where none does.

    Of each machine its energy over the time in which it was read, runs side by side counted once; the idle draw is
    there between its runs too, so machines are added whether or not they ran at one time. The label `machine` tells
    them apart. Receipts without one are taken as of one machine: what ran side by side adds up, and what ran one after
    the other is a mean.

    Raises:
        OverlappingScopes: two receipts counted the same joules; see `add_up`.
    """
    known: list[Receipt] = []
    of_machine: dict[str, list[tuple[Interval, float, float]]] = {}
    for receipt in receipts:
        hum = receipt.total if receipt.phase is Phase.IDLE else receipt.hum
        start, end = max(receipt.interval.start, within.start), min(receipt.interval.end, within.end)
        if receipt.status is RunStatus.UNUSABLE or hum is None or start >= end:
            continue
        known.append(receipt)
        inside = Interval(start, end)
        share = inside.seconds / receipt.interval.seconds
        machine = dict(receipt.labels).get(MACHINE, "")
        read = inside, share * hum.value.joules, share * half_width_95(hum.components)
        of_machine.setdefault(machine, []).append(read)
    if not known:
        return None
    refuse_double_counting(known)
    power_w = half_w = read_s = 0.0
    for reads in of_machine.values():
        seconds = _union_s(inside for inside, _, _ in reads)
        power_w += sum(joules for _, joules, _ in reads) / seconds
        half_w += sum(half_j for _, _, half_j in reads) / seconds
        read_s += seconds
    return HumPower(power_w, half_w, read_s, len(of_machine))


def _union_s(intervals: Iterable[Interval]) -> float:
    """Time that lies in any of them [s]."""
    total_s, reached = 0.0, None
    for one in sorted(intervals):
        start = one.start if reached is None else max(one.start, reached)
        if one.end > start:
            total_s += (one.end - start).total_seconds()
            reached = one.end
    return total_s
