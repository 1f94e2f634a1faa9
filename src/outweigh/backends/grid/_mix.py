"""Carbon intensity of a zone from what ran in it: generation by fuel × life-cycle factors of `outweigh.data.fuels`.

Average, life-cycle and production-based: imports are not traced. What storage gives back is left out on both sides of
the fraction, because its carbon was counted when it was charged.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple, TypeAlias

from outweigh.core.errors import FactorMissing, GridDataInvalid
from outweigh.core.quantities import CarbonScope
from outweigh.core.series import Accounting, CarbonKind, CarbonMeaning, DataQuality, Gap, Slot
from outweigh.data.fuels import fuel_intensities

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    # Starts and ends [s, UTC epoch] and power [MW], each of shape (n,), in order of time.
    _Curve: TypeAlias = tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]

MEANING = CarbonMeaning(CarbonKind.AVERAGE, CarbonScope.LIFECYCLE, Accounting.PRODUCTION)
METHOD = "generation by fuel × life-cycle medians (IPCC AR5 WG3 Annex III; outweigh fuel_intensity 2026-11)"
STORAGE = "storage"
# A fuel that usually gives less than this share may be late without moving the mean; above it, the slot is a gap.
MATERIAL = 0.01
# So much before a window is looked at too: a fuel that is late all through a short window is missed only by who knows
# that it ran the day before.
BEFORE = timedelta(days=1)
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
        rows: in any order, from `BEFORE` the window on; steps may differ between codes.
        fuels: the provider's code -> fuel of `fuel_intensities`, or `STORAGE`. A code that is not here, or a fuel
            without a row there, has no factor.

    Raises:
        GridDataInvalid: two different values of one code for one time.
        FactorMissing: no slot is left because of fuels without a factor.
    """
    import numpy as np

    # By code, so that the last digit does not depend on the order in which rows came.
    curves = {
        code: _curve(held, source, f"{zone} {code}")
        for code, held in sorted(_by_code(rows, fuels, source, zone).items())
    }
    if not curves:
        return []
    edges_s = np.unique(np.concatenate([np.concatenate(curve[:2]) for curve in curves.values()]))
    at_s = edges_s[:-1]
    grams_per_h, known_mw, unknown_mw = np.zeros(at_s.size), np.zeros(at_s.size), np.zeros(at_s.size)
    late, seen = np.zeros(at_s.size, bool), np.zeros(at_s.size, bool)
    matters = _material({code: curve[2] for code, curve in curves.items()})
    without: dict[str, NDArray[np.float64]] = {}
    for code, (start_s, end_s, value_mw) in curves.items():
        i = np.searchsorted(start_s, at_s, side="right") - 1
        mw = np.where((i >= 0) & (end_s[i] > at_s), value_mw[i], np.nan)
        known = np.isfinite(mw)
        seen |= known
        if code in matters:
            late |= ~known
        given_mw = np.where(known, np.maximum(mw, 0.0), 0.0)
        factor = fuel_intensities().get(fuels.get(code, ""))
        if factor is None:
            without[code] = given_mw
            unknown_mw += given_mw
        else:
            grams_per_h += factor.g_per_kwh * given_mw
            known_mw += given_mw
    too_much = unknown_mw > MAX_WITHOUT_FACTOR * (known_mw + unknown_mw)
    answered = seen & ~late & ~too_much & (known_mw > 0)
    if too_much.any() and not answered.any():
        named = {fuels.get(code) or code for code, mw in without.items() if mw[too_much].any()}
        raise FactorMissing(
            "life-cycle factor",
            ", ".join(sorted(named)),
            (),
            f"More than 5 % of the generation of {zone} has none; take a source that publishes the intensity itself",
        )
    g_per_kwh = np.divide(grams_per_h, known_mw, out=np.full(at_s.size, np.nan), where=answered)
    stamps = [datetime.fromtimestamp(edge_s, UTC) for edge_s in edges_s.tolist()]
    return [
        Slot(start, end, value if has else Gap.MISSING, DataQuality.ESTIMATED)
        for (start, end), value, has, any_here in zip(
            pairwise(stamps), g_per_kwh.tolist(), answered.tolist(), seen.tolist(), strict=True
        )
        if any_here
    ]


def _by_code(
    rows: Iterable[Generation], fuels: Mapping[str, str], source: str, zone: str
) -> dict[str, dict[tuple[float, float], float]]:
    """Code -> (start, end) [s, UTC epoch] -> MW, NaN for null; without what storage gives."""
    found: dict[str, dict[tuple[float, float], float]] = {}
    for row in rows:
        if fuels.get(row.code) == STORAGE:
            continue
        span, mw = (row.start.timestamp(), row.end.timestamp()), math.nan if row.mw is None else row.mw
        before = found.setdefault(row.code, {}).setdefault(span, mw)
        if before != mw and not (math.isnan(before) and math.isnan(mw)):
            raise _twice(source, f"{zone} {row.code}", row.start)
    return found


def _curve(held: Mapping[tuple[float, float], float], source: str, where: str) -> _Curve:
    import numpy as np

    spans = sorted(held)
    start_s, end_s = (np.array([span[end] for span in spans]) for end in (0, 1))
    overlapping = np.flatnonzero(start_s[1:] < end_s[:-1])
    if overlapping.size:
        raise _twice(source, where, datetime.fromtimestamp(float(start_s[overlapping[0] + 1]), UTC))
    return start_s, end_s, np.array([held[span] for span in spans])


def _twice(source: str, where: str, at: datetime) -> GridDataInvalid:
    problem = "there are two values for the same time"
    return GridDataInvalid(source, f"{where} {at:%Y-%m-%dT%H:%MZ}", problem, "Ask again later, or take another source")


def _material(by_code: Mapping[str, NDArray[np.float64]]) -> frozenset[str]:
    import numpy as np

    known = {code: mw[np.isfinite(mw)] for code, mw in by_code.items()}
    means = {code: max(0.0, float(mw.mean())) if mw.size else 0.0 for code, mw in known.items()}
    total = math.fsum(means.values())
    return frozenset(code for code, mean in means.items() if mean > 0 and mean >= MATERIAL * total)
