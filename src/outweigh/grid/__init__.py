"""Grid: carbon intensity, prices and PUE of the places where work can run."""

from outweigh.grid.live import live_order, open_live
from outweigh.grid.resolving import (
    Answer,
    Level,
    PassedOver,
    Sources,
    open_source,
    resolve_carbon,
    resolve_prices,
    soonest_back,
)
from outweigh.grid.sites import DECLARED, resolve_site, site_factors
from outweigh.grid.zones import Zone, find_zone, name_at, nearest_zones, price_zones, zone_among

__all__ = [
    "DECLARED",
    "Answer",
    "Level",
    "PassedOver",
    "Sources",
    "Zone",
    "find_zone",
    "live_order",
    "name_at",
    "nearest_zones",
    "open_live",
    "open_source",
    "price_zones",
    "resolve_carbon",
    "resolve_prices",
    "resolve_site",
    "site_factors",
    "soonest_back",
    "zone_among",
]
