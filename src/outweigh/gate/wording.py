"""Figures as they stand in a verdict's sentences."""

from __future__ import annotations

import math

from outweigh.core.constants import J_PER_WH
from outweigh.core.rounding import decimals_between, fixed, si_prefix, significant


def with_ends(value: float, low: float, high: float, unit: str = "") -> str:
    """A figure and both ends of its interval, rounded to the width of the interval.

    >>> with_ends(2.1342, 2.031, 2.22, "times")
    '2.134 times [2.031, 2.220]'
    >>> with_ends(9.1, -18.2, 31.0, "%")
    '9 % [−18 %, 31 %]'
    """
    # Three decimals are enough to act on, and tens of a percent would round -18 to -20.
    places = min(3, max(0, decimals_between(low, high, value=value)))
    suffix = f" {unit}" if unit else ""
    inner = " %" if unit == "%" else ""
    return f"{fixed(value, places)}{suffix} [{_end(low, places)}{inner}, {_end(high, places)}{inner}]"


def _end(value: float, places: int) -> str:
    return fixed(value, places) if math.isfinite(value) else ("∞" if value > 0 else "−∞")


def share(value: float) -> str:
    """
    >>> share(0.1071)
    '11 %'
    """
    return f"{fixed(100 * value, 0 if abs(value) >= 0.02 else 1)} %"


def energy(joules: float) -> str:
    """
    >>> energy(4320.0), energy(1.5), energy(1.26e11)
    ('1.20 Wh', '417 µWh', '35 MWh')
    """
    factor, prefix = si_prefix(joules / J_PER_WH)
    return f"{significant(joules / J_PER_WH / factor)} {prefix}Wh"


def power(watts: float) -> str:
    factor, prefix = si_prefix(watts)
    return f"{significant(watts / factor)} {prefix}W"


def energy_change(log_ratio: float, low: float, high: float) -> str:
    """ln(E_new / E_old) in words.

    >>> energy_change(0.756, 0.70, 0.80)
    'rises 2.13 times [2.01, 2.23]'
    """
    verb = "rises" if log_ratio > 0 else "falls to" if log_ratio < 0 else "stays at"
    return f"{verb} {with_ends(math.exp(log_ratio), math.exp(low), math.exp(high), 'times')}"


def error_change(gain: float, low: float, high: float) -> str:
    """g = ln(err_old / err_new) in words; the ends are those of the cut, or of the growth.

    >>> error_change(0.094, -0.166, 0.371)
    'fell by 9 % [−18 %, 31 %]'
    >>> error_change(-0.094, -0.371, 0.166)
    'rose by 10 % [−15 %, 45 %]'
    """
    if gain >= 0:
        return f"fell by {with_ends(_fall(gain), _fall(low), _fall(high), '%')}"
    return f"rose by {with_ends(-_fall(gain), -_fall(high), -_fall(low), '%')}"


def _fall(gain: float) -> float:
    return -100 * math.expm1(-gain)
