"""Keep the devices that are there, or replace them: energy, carbon with its embodied debt, and money over years."""

from __future__ import annotations

from outweigh.whatif.hardware.keeping import Choice, Fleet, Flip, Replacement, Side, Site, weigh

__all__ = ["Choice", "Fleet", "Flip", "Replacement", "Side", "Site", "weigh"]
