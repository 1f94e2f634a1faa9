"""Superconducting links: what they would take at the plug, and from which use on they would take less. A projection.

No cooler does better than Carnot: to lift 1 W from T_c to T_h takes (T_h - T_c) / T_c watts at least, 70 at 4.2 K; real
ones reach a share of that. A link's power is fixed + slope x use: what it draws whatever happens, and what bits add.
Warm optics draw nearly all of theirs whatever happens; a cold link has the heat that leaks into it, lifted, and the
energy of its bits, lifted too. What turns a bit of a warm chip into one of a cold link is not in any published figure
we know, and is left out: every figure here flatters the cold link.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

from outweigh.core.errors import InvalidQuantity
from outweigh.core.intervals import Bounds
from outweigh.whatif.estimating.ranges import Ranged

J_PER_PJ = 1e-12
READINESS = (
    "technology readiness 3 to 4, our reading: one link of one bit at 3.6 GHz worked in a laboratory (arXiv 2109.01808)"
)
PROJECTION = "a projection: no such link has carried the traffic of a data centre"


def carnot_w_per_w(cold_k: float, warm_k: float) -> float:
    """Watts at the plug per watt lifted from `cold_k` to `warm_k` [K] by a perfect cooler (Carnot).

    >>> round(carnot_w_per_w(4.2, 300.0), 1)
    70.4
    """
    if not 0 < cold_k < warm_k < math.inf:
        raise InvalidQuantity("temperature", f"{cold_k:g} K below {warm_k:g} K", "the cold end is the colder one")
    return (warm_k - cold_k) / cold_k


@dataclass(frozen=True, slots=True)
class Cooling:
    """A cooler: its ends [K] and the share of Carnot's efficiency that it reaches, as a range."""

    cold_k: float
    warm_k: float
    fraction: Ranged

    def __post_init__(self) -> None:
        self.fraction.at_most(1.0, "nothing cools better than Carnot: at most 1")
        carnot_w_per_w(self.cold_k, self.warm_k)

    @property
    def w_per_w(self) -> Bounds:
        """Watts at the plug per watt at the cold end, best to worst."""
        best = carnot_w_per_w(self.cold_k, self.warm_k)
        return Bounds(best / self.fraction.high, best / self.fraction.low)


@dataclass(frozen=True, slots=True)
class Link:
    """What links one device to the others.

    Attributes:
        bits_per_s: what the link carries at most.
        warm_pj_per_bit: of the optics it would replace, at full use [pJ/bit]; `standing` is the share they draw
            whatever is sent.
        cold_pj_per_bit: of the superconducting link, at its own temperature [pJ/bit].
        leak_w: heat that leaks into the cold link [W at the cold end]; None where nobody said, and then it is left out.
    """

    bits_per_s: float
    warm_pj_per_bit: Ranged
    cold_pj_per_bit: Ranged
    leak_w: float | None = None
    standing: float = 1.0

    def __post_init__(self) -> None:
        if not (math.isfinite(self.bits_per_s) and self.bits_per_s > 0):
            raise InvalidQuantity("rate of the link", f"{self.bits_per_s:g} bit/s", "give a rate above 0")
        if self.leak_w is not None and not (math.isfinite(self.leak_w) and self.leak_w >= 0):
            raise InvalidQuantity("heat leak", f"{self.leak_w:g} W", "0 or more")
        if not 0 <= self.standing <= 1:
            raise InvalidQuantity("standing share", f"{self.standing:g}", "a share of the optics' power: 0 to 1")


@dataclass(frozen=True, slots=True)
class BreakEven:
    """Use [share of the rate] at which both draw the same; None where one is better at any use. `sense` says which."""

    use: float | None
    sense: str


@dataclass(frozen=True, slots=True)
class Links:
    """Both links at the use asked for, per device. Always a projection, grade D.

    Attributes:
        warm_w, cold_w: power at the plug [W], the cold one with its cooler.
        saved_w: warm less cold; its ends pair the worst of one with the best of the other.
        wall_pj_per_bit: energy of a bit at the plug, at that use [pJ/bit]; None where no bit is sent.
        share: of the device and its link together that the link draws today; no saving can be more.
        saved_share: of the same.
        break_even_best, break_even_middle, break_even_worst: with the best figures, the middles and the worst.
        leak_limit_w: heat leak [W at the cold end] that would eat the saving, worst cooler to best; negative where
            nothing is saved without any.
    """

    use: float
    device_w: float
    warm_w: Bounds
    cold_w: Bounds
    saved_w: Bounds
    warm_pj_per_bit: Bounds | None
    cold_pj_per_bit: Bounds | None
    share: Bounds
    saved_share: Bounds
    w_per_w: Bounds
    break_even_best: BreakEven
    break_even_middle: BreakEven
    break_even_worst: BreakEven
    leak_limit_w: Bounds
    notes: tuple[str, ...]


def compare_links(link: Link, cooling: Cooling, device_w: float, use: float, adopted: float = 1.0) -> Links:
    """A link of `device_w` [W] as it is, and superconducting.

    Args:
        use: share of the link's rate that is sent, 0 to 1.
        adopted: share of the links that are replaced; at 0 nothing changes, to the last digit.

    Raises:
        InvalidQuantity: a share that is none, a power that is not above 0, or figures beyond what can be computed.
    """
    for name, share in (("use of the link", use), ("adopted share", adopted)):
        if not 0 <= share <= 1:
            raise InvalidQuantity(name, f"{share:g}", "a share: 0 to 1")
    if not (math.isfinite(device_w) and device_w > 0):
        raise InvalidQuantity("power of the device", f"{device_w:g} W", "give watts above 0")
    warm = Bounds(*(_warm_w(link, pj, use) for pj in (link.warm_pj_per_bit.low, link.warm_pj_per_bit.high)))
    lift = cooling.w_per_w
    new = Bounds(
        _cold_w(link, link.cold_pj_per_bit.low, lift.low, use), _cold_w(link, link.cold_pj_per_bit.high, lift.high, use)
    )
    if not math.isfinite(new.high) or not math.isfinite(warm.high):
        remedy = "the figures are beyond what can be computed: check energies of a bit, temperatures and the cooler"
        raise InvalidQuantity("power of a link", f"{max(warm.high, new.high):g} W", remedy)
    ends = sorted(old + adopted * (then - old) for old, then in ((warm.low, new.low), (warm.high, new.high)))
    mixed = Bounds(*ends)
    saved = Bounds(adopted * (warm.low - new.high), adopted * (warm.high - new.low))
    sent = link.bits_per_s * use
    per_bit = None if sent == 0 else Bounds(warm.low / sent / J_PER_PJ, warm.high / sent / J_PER_PJ)
    cold_bit = None if sent == 0 else Bounds(new.low / sent / J_PER_PJ, new.high / sent / J_PER_PJ)
    today = Bounds(warm.low / (warm.low + device_w), warm.high / (warm.high + device_w))
    bits = link.bits_per_s * use * J_PER_PJ
    return Links(
        use, device_w, warm, mixed, saved, per_bit, cold_bit, today,
        Bounds(saved.low / (warm.low + device_w), saved.high / (warm.high + device_w)), lift,
        _break_even(link, link.warm_pj_per_bit.high, link.cold_pj_per_bit.low, lift.low),
        _break_even(
            link, link.warm_pj_per_bit.central, link.cold_pj_per_bit.central, math.sqrt(lift.low) * math.sqrt(lift.high)
        ),
        _break_even(link, link.warm_pj_per_bit.low, link.cold_pj_per_bit.high, lift.high),
        Bounds(
            warm.low / lift.high - link.cold_pj_per_bit.high * bits,
            warm.high / lift.low - link.cold_pj_per_bit.low * bits,
        ),
        _notes(link),
    )  # fmt: skip


def _warm_w(link: Link, pj_per_bit: float, use: float) -> float:
    return link.bits_per_s * pj_per_bit * J_PER_PJ * (link.standing + (1 - link.standing) * use)


def _cold_w(link: Link, pj_per_bit: float, lift: float, use: float) -> float:
    return lift * ((link.leak_w or 0.0) + link.bits_per_s * pj_per_bit * J_PER_PJ * use)


def _break_even(link: Link, warm_pj: float, cold_pj: float, lift: float) -> BreakEven:
    at_rest = _cold_w(link, cold_pj, lift, 0.0) - _warm_w(link, warm_pj, 0.0)
    at_full = _cold_w(link, cold_pj, lift, 1.0) - _warm_w(link, warm_pj, 1.0)
    if at_rest <= 0 and at_full <= 0:
        return BreakEven(None, "the cold link draws no more at any use")
    if at_rest >= 0 and at_full >= 0:
        return BreakEven(None, "the cold link draws no less at any use")
    use = at_rest / (at_rest - at_full)
    return BreakEven(use, "the cold link draws less " + ("below it" if at_rest < 0 else "above it"))


def _notes(link: Link) -> tuple[str, ...]:
    notes = [PROJECTION]
    if link.leak_w is None:
        notes.append("the heat that leaks into the cold is left out: --leak counts it")
    notes.append(
        "turning bits of warm chips into those of a cold link is left out: no figure is published that we know"
    )
    return tuple(notes)
