"""Carbon intensity of a zone from what ran in it: generation by fuel × life-cycle factors of `outweigh.data.fuels`.

Average, life-cycle and production-based: imports are not traced. What storage gives back is left out on both sides of
the fraction, because its carbon was counted when it was charged.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import datetime
from itertools import pairwise
from typing import NamedTuple

from outweigh.core.errors import FactorMissing, GridDataInvalid
from outweigh.core.quantities import CarbonScope
from outweigh.core.series import Accounting, CarbonKind, CarbonMeaning, DataQuality, Gap, Slot
from outweigh.data.fuels import fuel_intensities

MEANING = CarbonMeaning(CarbonKind.AVERAGE, CarbonScope.LIFECYCLE, Accounting.PRODUCTION)
METHOD = "generation by fuel × life-cycle medians (IPCC AR5 WG3 Annex III; outweigh fuel_intensity 2026-11)"
STORAGE = "storage"
# A fuel that usually gives less than this share may be late without moving the mean; above it, the slot is a gap.
MATERIAL = 0.01
# A slot with more than this share from fuels without a factor has no intensity; below it, they are left out.
MAX_WITHOUT_FACTOR = 0.05


class Generation(NamedTuple):
    """Mean power [MW] that one kind of plant gave; None is the provider's null. `code` is the provider's own."""

    start: datetime
    end: datetime
    code: str
    mw: float | None


def intensity_slots(rows: Iterable[Generation], fuels: Mapping[str, str], source: str, zone: str) -> list[Slot]:
    """One slot of intensity [gCO2e/kWh] for every stretch in which no plant kind changes its value.

    A slot is a gap where a kind of plant that matters (1 % of all) is late, or where more than 5 % comes from fuels
    without a factor. Net consumption of a power station (a negative value) counts as nothing.

    Args:
        rows: in any order; steps may differ between codes.
        fuels: the provider's code -> fuel of `fuel_intensities`, or `STORAGE`. A code that is not here, or a fuel
            without a row there, has no factor.

    Raises:
        GridDataInvalid: two different values of one code for one time.
        FactorMissing: no slot is left because of fuels without a factor.
    """
    by_code: dict[str, list[Generation]] = {}
    for row in sorted(set(rows), key=lambda one: (one.code, one.start, one.end)):
        held = by_code.setdefault(row.code, [])
        if held and row.start < held[-1].end:
            where = f"{zone} {row.start:%Y-%m-%dT%H:%MZ} {row.code}"
            raise GridDataInvalid(source, where, "there are two values for the same time", "Report it to the provider")
        held.append(row)
    counted = {code: held for code, held in by_code.items() if fuels.get(code) != STORAGE}
    matters = _material(counted)
    factors = {code: _factor(fuels.get(code, "")) for code in counted}
    edges = sorted({edge for held in counted.values() for row in held for edge in (row.start, row.end)})
    at = dict.fromkeys(counted, 0)
    slots: list[Slot] = []
    without: set[str] = set()
    for start, end in pairwise(edges):
        grams_per_h, known_mw, unknown_mw = 0.0, 0.0, 0.0
        late, seen = False, False
        for code, held in counted.items():
            i = at[code]
            while i < len(held) and held[i].end <= start:
                i += 1
            at[code] = i
            mw = held[i].mw if i < len(held) and held[i].start <= start else None
            if mw is None or not math.isfinite(mw):
                late = late or code in matters
                continue
            seen = True
            factor = factors[code]
            if factor is None:
                unknown_mw += max(0.0, mw)
            else:
                grams_per_h += factor * max(0.0, mw)
                known_mw += max(0.0, mw)
        if not seen:
            continue
        value: float | Gap = Gap.MISSING
        if unknown_mw > MAX_WITHOUT_FACTOR * (known_mw + unknown_mw):
            without |= {code for code, factor in factors.items() if factor is None}
        elif known_mw > 0 and not late:
            value = grams_per_h / known_mw
        slots.append(Slot(start, end, value, DataQuality.ESTIMATED))
    if without and all(isinstance(slot.value, Gap) for slot in slots):
        raise FactorMissing(
            "life-cycle factor",
            ", ".join(sorted(fuels.get(code) or code for code in without)),
            (),
            f"More than 5 % of the generation of {zone} has none; take a source that publishes the intensity itself",
        )
    return slots


def _factor(fuel: str) -> float | None:
    row = fuel_intensities().get(fuel)
    return None if row is None else row.g_per_kwh


def _material(by_code: Mapping[str, list[Generation]]) -> frozenset[str]:
    means: dict[str, float] = {}
    for code, held in by_code.items():
        known = [row.mw for row in held if row.mw is not None and math.isfinite(row.mw)]
        means[code] = max(0.0, math.fsum(known) / len(known)) if known else 0.0
    total = math.fsum(means.values())
    return frozenset(code for code, mean in means.items() if mean > 0 and mean >= MATERIAL * total)
