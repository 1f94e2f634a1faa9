"""What the page of a plan and the page of what came of it say and draw alike: times, money, mass, sites and sources."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final

from outweigh.core.rounding import si, significant

#: The script that draws times and sites on both pages.
SCRIPT: Final = "timetable.js"
SOURCE_HEADINGS: Final = ("site", "what", "level", "quality", "grade", "source")


def site_strips(sites: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Carbon [gCO2e/kWh] and price [currency/MWh] of every site by step, for the strips; null where not known."""
    return [
        {
            "name": site["name"],
            "intensity_g_per_kwh": site["intensity_g_per_kwh"],
            "price_per_mwh": [None if price is None else 1e3 * price for price in site["price_per_kwh"]],
        }
        for site in sites
    ]


def source_rows(sites: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, ...]]:
    """Where carbon and price of every site come from; a single command's plan says less of it than a file's."""
    for site in sites:
        for known in (site.get("sources") or {}).values():
            yield (
                f"{site['name']} ({known.get('zone') or site.get('zone')})",
                known["meaning"],
                known["level"],
                known.get("quality", ""),
                known.get("grade", ""),
                f"{known['source']} ({known['licence']})" if "source" in known else "",
            )


def when(text: str) -> str:
    """
    >>> when("2026-12-01T04:30:00+00:00")
    '2026-12-01 04:30'
    """
    return f"{text[:10]} {text[11:16]}"


def seconds(text: str) -> float:
    """A stamp of ISO 8601 in seconds since 1970."""
    return datetime.fromisoformat(text).timestamp()


def amount(value: float, currency: str) -> str:
    return f"{significant(value, 4)} {currency}"


def mass(kg: float) -> str:
    """
    >>> mass(12.5), mass(2500.0)
    ('12.5 kg', '2.50 t')
    """
    return si(1e3 * kg, "g") if abs(kg) < 1e3 else f"{significant(kg / 1e3)} t"
