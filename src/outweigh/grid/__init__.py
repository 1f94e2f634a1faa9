"""Grid: carbon intensity, prices and PUE of the places where work can run."""

from outweigh.grid.sites import DECLARED, resolve_site, site_factors

__all__ = ["DECLARED", "resolve_site", "site_factors"]
