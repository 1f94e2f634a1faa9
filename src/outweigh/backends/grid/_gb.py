"""The fourteen regions of Great Britain's distribution networks: one zone for a region's carbon and for its price.

The letter is the grid supply point group's ("_C" is London), which a tariff code of Octopus Energy ends with; the
number is what the Carbon Intensity API calls the same region. Groups and names: Elexon's GSP groups; numbers: the
Carbon Intensity API's list of regions.
"""

from __future__ import annotations

from typing import NamedTuple


class Region(NamedTuple):
    name: str
    number: int

    @property
    def path(self) -> str:
        return f"/regionid/{self.number}"


REGIONS = {
    "GB-A": Region("East England", 10),
    "GB-B": Region("East Midlands", 9),
    "GB-C": Region("London", 13),
    "GB-D": Region("North Wales and Merseyside", 6),
    "GB-E": Region("West Midlands", 8),
    "GB-F": Region("North East England", 4),
    "GB-G": Region("North West England", 3),
    "GB-H": Region("South England", 12),
    "GB-J": Region("South East England", 14),
    "GB-K": Region("South Wales", 7),
    "GB-L": Region("South West England", 11),
    "GB-M": Region("Yorkshire", 5),
    "GB-N": Region("South Scotland", 2),
    "GB-P": Region("North Scotland", 1),
}
NAMES = {zone: (region.name,) for zone, region in REGIONS.items()}
