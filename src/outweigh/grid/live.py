"""Which live sources to ask for a zone, and in which order: those that need no key first.

The order is stated here and nowhere else; docs/grid-sources.md shows it. It holds sources of average intensity only: a
marginal one answers another question and never stands in (ask for it by name). Sources of one zone may still differ
in scope or accounting, so whoever compares two zones asks `resolve_carbon` for one meaning.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from outweigh.core.errors import GridUnavailable, MissingExtra
from outweigh.grid.resolving import Level, PassedOver, open_source
from outweigh.ports import Offer

if TYPE_CHECKING:
    from outweigh.ports import GridSource

# Great Britain's regions by the letter of their grid supply point group (Elexon): only live sources know more of them.
_REGIONS = frozenset(f"GB-{letter}" for letter in "ABCDEFGHJKLMNP")

_DENMARK = ("DK-DK1", "DK-DK2")
# Whose zones ENTSO-E's members report, Great Britain (until 2021) left out.
_EUROPE = frozenset(
    (
        *("AL", "AT", "BA", "BE", "BG", "CH", "CY", "CZ", "DE", "DK", "EE", "ES", "FI", "FR", "GE", "GR", "HR", "HU"),
        *("IE", "IT", "LT", "LU", "LV", "MD", "ME", "MK", "MT", "NL", "NO", "PL", "PT", "RO", "RS", "SE", "SI", "SK"),
        *("UA", "XK"),
    )
)


def live_order(zone: str, offer: Offer = Offer.CARBON) -> tuple[str, ...]:
    """Names of live sources that may have it, in the order to ask them in; empty where none is known.

    Args:
        zone: by the name it has today (`find_zone(...).key`).
        offer: what is asked for; a forecast has the order of carbon.

    >>> live_order("GB-C"), live_order("DE", Offer.PRICES)
    (('neso',), ('energy-charts', 'awattar', 'entsoe'))
    """
    return tuple(_prices(zone) if offer is Offer.PRICES else _carbon(zone))


def _carbon(zone: str) -> Iterator[str]:
    country = zone.partition("-")[0]
    if country == "GB" and zone != "GB-NIR":
        yield "neso"
    if zone in _DENMARK:
        yield "energinet"
    if zone in _EUROPE or zone in ("GB", "GB-NIR"):
        yield "energy-charts"
    if country in _EUROPE:
        yield "entsoe"
    if country == "US" and zone != "US":
        yield "eia"
        yield "gridstatus"
    if zone not in _REGIONS:
        yield "electricity-maps"


def _prices(zone: str) -> Iterator[str]:
    country = zone.partition("-")[0]
    if zone in _REGIONS:
        yield "octopus"
    if zone in _DENMARK:
        yield "energinet"
    if country in _EUROPE:
        yield "energy-charts"
    if zone in ("AT", "DE"):
        yield "awattar"
    if country in _EUROPE:
        yield "entsoe"


def open_live(zone: str, offer: Offer = Offer.CARBON) -> tuple[list[GridSource], list[PassedOver]]:
    """The sources of `live_order` that know the zone, and why others of them cannot be asked. Nobody is asked yet."""
    opened: list[GridSource] = []
    passed: list[PassedOver] = []
    for name in live_order(zone, offer):
        try:
            source = open_source(name)
        except (GridUnavailable, MissingExtra) as err:
            passed.append(PassedOver(Level.LIVE, name, str(err)))
            continue
        zones = source.zones()
        if not zones or zone in zones:
            opened.append(source)
    return opened, passed
