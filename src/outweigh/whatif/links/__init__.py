"""Links between chips, kept cold: a projection, whoever reads it."""

from __future__ import annotations

from outweigh.whatif.links.cold import BreakEven, Cooling, Link, Links, carnot_w_per_w, compare_links

__all__ = ["BreakEven", "Cooling", "Link", "Links", "carnot_w_per_w", "compare_links"]
