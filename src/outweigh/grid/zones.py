"""Names of zones: what people type, what it is called today, and in which country it lies."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from outweigh.core.errors import UnknownZone
from outweigh.data.places import cloud_regions, wholesale_years, zone_names
from outweigh.data.tables import industrial_prices, zone_intensities
from outweigh.ports.names import TakesNames

if TYPE_CHECKING:
    from outweigh.ports import GridSource


@dataclass(frozen=True, slots=True)
class Zone:
    """A zone by the name it has today. `note` says how it came from what was typed, "" when it is the same.

    `taken`: nobody here has a name for it but a source that takes it as its provider's own, and may still refuse it.
    """

    key: str
    name: str
    country: str
    note: str = ""
    taken: bool = False

    @property
    def is_country(self) -> bool:
        return self.key == self.country


def find_zone(asked: str, known: Iterable[str] = ()) -> Zone:
    """The zone somebody means: by its name, its ISO or balancing authority code, its old name, or a cloud region.

    Args:
        asked: exactly as typed; case counts ("NA" is Namibia).
        known: further names that are taken as they are (zones of a user's file, or of prices).

    Raises:
        UnknownZone: with the nearest names. Nothing is guessed.

    >>> find_zone("CISO").key, find_zone("NZ-NZN").note
    ('US-CAL-CISO', 'NZ-NZN is now NZ: the two islands were merged')
    """
    rows, names = zone_intensities(), zone_names()
    if asked in set(known) and asked:
        country = asked.partition("-")[0]
        return Zone(asked, _name(asked), country if country in rows else "")
    if asked in rows:
        row = rows[asked]
        note = f"{asked} is {row.zone}, {row.name}" if asked != row.zone else ""
        return Zone(row.zone, row.name, row.zone.partition("-")[0], note)
    if asked in names:
        entry = names[asked]
        if not entry.now:
            return Zone(entry.zone, entry.name, entry.country)
        return _led(find_zone(entry.now), f"{asked} is now {entry.now}: {entry.note}")
    region = cloud_regions().get(asked)
    if region is not None and region.zone:
        named = f"{asked} ({region.name})" if region.name else asked
        return _led(find_zone(region.zone), f"{named} lies in {region.zone}, {region.zone_basis}")
    raise UnknownZone(asked, nearest_zones(asked, known), "`outweigh grid zones` lists all; case counts")


def zone_among(sources: Iterable[GridSource], asked: str, known: Iterable[str] = ()) -> Zone:
    """`find_zone`, where a name that one of these sources takes as its provider's own is a zone too.

    Args:
        known: as of `find_zone`; the zones of these sources are known without it.

    Raises:
        UnknownZone: nobody here knows it, nor takes it.
    """
    sources = list(sources)
    names = {*known, *(zone for source in sources for zone in source.zones())}
    try:
        return find_zone(asked, names)
    except UnknownZone:
        if not any(_takes(source, asked) for source in sources):
            raise
    country = asked.partition("-")[0]
    return Zone(asked, _name(asked), country if country in zone_intensities() else "", taken=True)


def name_at(source: GridSource, zone: Zone, asked: str) -> str:
    """What to call a zone when asking this source: its key, or as typed where only that is a name of the provider's.

    "azure:eastus" lies in US-MIDA-PJM, but a Carbon Aware SDK knows its regions and no zones.
    """
    return asked if zone.key not in source.zones() and _takes(source, asked) else zone.key


def _takes(source: GridSource, name: str) -> bool:
    return isinstance(source, TakesNames) and source.takes(name)


def _name(zone: str) -> str:
    if zone in zone_intensities():
        return zone_intensities()[zone].name
    if zone in industrial_prices():
        return next(iter(industrial_prices()[zone].values())).name
    return zone_names()[zone].name if zone in zone_names() else ""


def price_zones() -> frozenset[str]:
    """Zones the embedded prices go by; a US state goes by ISO 3166-2 ("US-CA") there."""
    return frozenset({*industrial_prices(), *wholesale_years()})


def nearest_zones(asked: str, known: Iterable[str] = (), n: int = 4) -> tuple[str, ...]:
    """Names like the one typed, by key, name or code, the enclosing country first."""
    import difflib

    wanted = asked.casefold()
    if not wanted:
        return ()
    shown: dict[str, str] = {}
    by_text: dict[str, str] = {}

    def enter(key: str, name: str, *texts: str) -> None:
        shown[key] = f"{key} ({name})" if name else key
        for text in (key, name, *texts):
            if text:
                by_text.setdefault(text.casefold(), key)

    for row in dict.fromkeys(zone_intensities().values()):
        enter(row.zone, row.name, row.alias)
    for entry in zone_names().values():
        if not entry.now:
            enter(entry.zone, entry.name)
    for key in known:
        if key not in shown:
            enter(key, "")
    regions = [key for key in cloud_regions() if len(wanted) > 4 and wanted in key]
    for key in regions:
        enter(key, cloud_regions()[key].name)
    inside = [key for text, key in by_text.items() if len(wanted) > 2 and wanted in text]
    country = [by_text[head] for head in wanted.split("-")[:1] if head in by_text]
    similar = [by_text[text] for text in difflib.get_close_matches(wanted, list(by_text), n=n)]
    return tuple(shown[key] for key in dict.fromkeys([*country, *inside, *similar]))[:n]


def _led(zone: Zone, note: str) -> Zone:
    return Zone(zone.key, zone.name, zone.country, f"{note}; {zone.note}" if zone.note else note)
