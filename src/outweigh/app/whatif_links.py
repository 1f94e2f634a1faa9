"""`outweigh whatif links`: superconducting links beside those of today. A projection wherever it is read."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from outweigh.app.estimating_asked import parse_range
from outweigh.core.errors import UsageError
from outweigh.core.intervals import Bounds
from outweigh.core.measurement import Grade
from outweigh.core.rounding import si, significant
from outweigh.core.units import parse_power, parse_share
from outweigh.data.hardware import device
from outweigh.data.links import LinkFact, link_facts
from outweigh.whatif.estimating.ranges import Ranged
from outweigh.whatif.links import BreakEven, Cooling, Link, Links, carnot_w_per_w, compare_links
from outweigh.whatif.links.cold import PROJECTION, READINESS

SCHEMA = "outweigh.links/1"


@dataclass(frozen=True, slots=True)
class Asked:
    """What the command line was told, as written."""

    device: str = "nvidia-h100-sxm"
    device_power: str = ""
    gbit_per_s: float = 400.0
    use: str = "30%"
    optics: str = "pluggable"
    warm_pj: str = ""
    standing: str = "100%"
    cold_pj: str = ""
    leak: str = ""
    carnot: str = ""
    cold_k: float = 4.2
    warm_k: float = 300.0
    adopted: str = "100%"


@dataclass(frozen=True, slots=True)
class Projected:
    """The answer as JSON, as a table, and what to say with it."""

    document: dict[str, Any]
    title: str
    headings: tuple[str, ...]
    rows: list[tuple[str, ...]]
    lines: list[str]
    notes: list[str]


def projected(asked: Asked) -> Projected:
    """Links as they are, the first column, and superconducting ones.

    Raises:
        UsageError, InvalidQuantity: a device, a share or a temperature that cannot be.
    """
    facts = link_facts()
    if asked.optics not in ("pluggable", "co-packaged"):
        raise UsageError(f"no optics are called {asked.optics!r}", "There are pluggable and co-packaged; or --warm-pj")
    watts = parse_power(asked.device_power).watts if asked.device_power else device(asked.device).rated_w
    cold = _fact(asked.cold_pj, facts["superconducting"], "energy of a cold bit")
    link = Link(
        asked.gbit_per_s * 1e9,
        _fact(asked.warm_pj, facts[asked.optics], "energy of a warm bit"),
        cold,
        parse_power(asked.leak).watts if asked.leak else None,
        parse_share(asked.standing),
    )
    cooling = Cooling(asked.cold_k, asked.warm_k, _fact(asked.carnot, facts["carnot-fraction"], "share of Carnot"))
    found = compare_links(link, cooling, watts, parse_share(asked.use), parse_share(asked.adopted))
    notes = [*found.notes, *(f"{one.name}: {one.source}" for one in (link.warm_pj_per_bit, cold, cooling.fraction))]
    return Projected(
        _document(found, link, cooling, asked, notes),
        f"{PROJECTION} (grade D)",
        ("per device", "as it is (do nothing)", "superconducting (projected)"),
        _rows(found),
        _lines(found, cooling),
        notes,
    )


def _fact(given: str, fact: LinkFact, name: str) -> Ranged:
    known = fact.provenance
    if given:
        return parse_range(given, name, known.unit)
    return Ranged.between(name, fact.low, fact.high, known.unit, f"{fact.what}; {known.source}", known.grade)


def _rows(found: Links) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = [
        ("link, with its cooler", _watts(found.warm_w), _watts(found.cold_w)),
        ("of device and link", _percent(found.share), ""),
        ("saved of device and link", "0 %", _percent(found.saved_share)),
    ]
    if found.warm_pj_per_bit is not None and found.cold_pj_per_bit is not None:
        pair = (found.warm_pj_per_bit, found.cold_pj_per_bit)
        rows.insert(1, ("energy of a bit at the plug", *(f"{_ends(one)} pJ" for one in pair)))
    return rows


def _lines(found: Links, cooling: Cooling) -> list[str]:
    best, limit = carnot_w_per_w(cooling.cold_k, cooling.warm_k), found.leak_limit_w
    return [
        f"projected: lifting 1 W from {cooling.cold_k:g} K takes {best:.1f} W by Carnot, "
        f"{found.w_per_w.low:,.0f} to {found.w_per_w.high:,.0f} W with coolers that exist",
        f"projected, break-even use with the best cooler: {_told(found.break_even_best)}",
        f"projected, with one between: {_told(found.break_even_middle)}",
        f"projected, with the worst: {_told(found.break_even_worst)}",
        f"projected: a heat leak of {si(limit.low, 'W')} (worst) to {si(limit.high, 'W')} (best) at the cold end of "
        "each link would eat the saving",
        READINESS,
    ]


def _told(one: BreakEven) -> str:
    return one.sense if one.use is None else f"{one.use:.0%}, {one.sense}"


def _watts(one: Bounds) -> str:
    return f"{_ends(one)} W"


def _ends(one: Bounds) -> str:
    if one.low == one.high:
        return significant(one.low)
    return f"{significant(one.low)} to {significant(one.high)}"


def _percent(one: Bounds) -> str:
    return f"{_ends(Bounds(100 * one.low, 100 * one.high))} %"


def _document(found: Links, link: Link, cooling: Cooling, asked: Asked, notes: list[str]) -> dict[str, Any]:
    def ends(name: str, one: Bounds | None) -> dict[str, Any]:
        return {f"{name}_low": None if one is None else one.low, f"{name}_high": None if one is None else one.high}

    return {
        "schema": SCHEMA,
        "projected": True,
        "projection": PROJECTION,
        "readiness": READINESS,
        "grade": Grade.D.value,
        "use": found.use,
        "adopted": parse_share(asked.adopted),
        "device_w": found.device_w,
        "bits_per_s": link.bits_per_s,
        "leak_w": link.leak_w,
        **ends("as_is_w", found.warm_w),
        **ends("projected_w", found.cold_w),
        **ends("projected_saved_w", found.saved_w),
        **ends("as_is_pj_per_bit", found.warm_pj_per_bit),
        **ends("projected_pj_per_bit", found.cold_pj_per_bit),
        **ends("link_share", found.share),
        **ends("projected_saved_share", found.saved_share),
        "carnot_w_per_w": carnot_w_per_w(cooling.cold_k, cooling.warm_k),
        **ends("cooler_w_per_w", found.w_per_w),
        "projected_break_even_use_best": found.break_even_best.use,
        "projected_break_even_best": found.break_even_best.sense,
        "projected_break_even_use_middle": found.break_even_middle.use,
        "projected_break_even_middle": found.break_even_middle.sense,
        "projected_break_even_use_worst": found.break_even_worst.use,
        "projected_break_even_worst": found.break_even_worst.sense,
        **ends("projected_leak_limit_w", found.leak_limit_w),
        "inputs": [
            {"name": one.name, "low": one.low, "high": one.high, "unit": one.unit, "grade": one.grade.value,
             "source": one.source}
            for one in (link.warm_pj_per_bit, link.cold_pj_per_bit, cooling.fraction)
        ],
        "notes": notes,
    }  # fmt: skip
