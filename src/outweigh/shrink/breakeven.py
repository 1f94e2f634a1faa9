"""When a lever has paid back what applying it took."""

from __future__ import annotations

import math

from outweigh.core.errors import InvalidQuantity
from outweigh.core.quantities import Energy


def break_even_units(applying: Energy, saving_per_unit: Energy) -> float:
    """Functional units to serve before a lever has saved what applying it drew.

    Both energies are of one scope: IT or facility, not one of each.

    Args:
        applying: energy of applying the lever, not negative.
        saving_per_unit: energy of the original less that of the variant, per functional unit; negative when the lever
            made it dearer.

    Returns:
        Units, not rounded: 0 when applying took nothing, infinity when nothing is saved.

    >>> break_even_units(Energy(120.0), Energy(0.02))
    6000.0
    >>> break_even_units(Energy(120.0), Energy(-0.01))
    inf
    """
    if applying.joules < 0:
        raise InvalidQuantity("energy of applying a lever", repr(applying.joules), "give the energy drawn, 0 or more")
    if saving_per_unit.joules <= 0:
        return math.inf
    return applying / saving_per_unit
