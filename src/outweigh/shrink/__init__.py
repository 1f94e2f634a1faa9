"""Cheaper variants: made with levers, and charged with what making them took."""

from outweigh.shrink.breakeven import break_even_units
from outweigh.shrink.devices import holding, put_back_settings, usable_levers
from outweigh.shrink.making import MadeVariant, Metered, Metering, make_variants

__all__ = [
    "MadeVariant",
    "Metered",
    "Metering",
    "break_even_units",
    "holding",
    "make_variants",
    "put_back_settings",
    "usable_levers",
]
