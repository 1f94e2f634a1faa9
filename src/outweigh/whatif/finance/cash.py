"""What a row of yearly payments is worth. Money that comes in is positive; the first payment is now.

Source: Brealey, Myers and Allen, Principles of Corporate Finance: present value and annuities, payback, internal rate
of return and where it is not defined.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike, NDArray

from outweigh.core.errors import InvalidQuantity

Floats = NDArray[np.float64]
# ln(1 + rate) where a rate of return is looked for: a billionth to a billionfold a year.
_LOWEST, _HIGHEST = -math.log(1e9), math.log(1e9)
_HALVINGS = 100


def npv(flows: ArrayLike, rate: ArrayLike) -> Floats:
    """Present value of payments at years 0, 1, 2 ..., discounted to year 0.

    Args:
        flows: shape (..., n).
        rate: yearly discount rate, shape (...); 0.08 is 8 %.

    >>> round(float(npv([-100.0, 121.0], 0.1)), 6)
    10.0
    """
    paid, yearly = np.asarray(flows, dtype=np.float64), np.asarray(rate, dtype=np.float64)
    if not (np.isfinite(yearly).all() and (yearly > -1).all()):
        raise InvalidQuantity("discount rate", f"{float(yearly.min()):g}", "it is finite and above -100 %")
    found: Floats = np.sum(paid / (1.0 + yearly[..., None]) ** np.arange(paid.shape[-1]), axis=-1)
    return found


def annuity(rate: float, years: float) -> float:
    """Yearly payment, at the end of each year, that is worth 1 now.

    >>> round(annuity(0.08, 5), 6), annuity(0.0, 4)
    (0.250456, 0.25)
    """
    if not years > 0 or not rate > -1:
        raise InvalidQuantity("annuity", f"{rate:g} over {years:g} years", "take years above 0 and a rate above -100 %")
    return 1 / years if rate == 0 else rate / -math.expm1(-years * math.log1p(rate))


def irr(flows: ArrayLike) -> float | None:
    """The rate at which the present value is 0; None where it is not defined.

    It is defined where the payments change sign exactly once: then there is one such rate (Descartes' rule of signs),
    else none, or several that contradict each other.

    >>> round(irr([-100.0, 60.0, 60.0]), 6), irr([-100.0, 230.0, -132.0]), irr([0.0, 5.0])
    (0.130662, None, None)
    """
    paid = np.asarray(flows, dtype=np.float64)
    if sign_changes(paid) != 1:
        return None
    low, high = _LOWEST, _HIGHEST
    at_low, at_high = _value(paid, low), _value(paid, high)
    if at_low * at_high > 0:
        return None
    for _ in range(_HALVINGS):
        middle = (low + high) / 2
        if at_low * _value(paid, middle) <= 0:
            high = middle
        else:
            low = middle
    return math.expm1((low + high) / 2)


def sign_changes(flows: ArrayLike) -> int:
    """How often payments change from one direction to the other; nothing paid counts as neither.

    >>> sign_changes([-5.0, 0.0, 3.0, -1.0])
    2
    """
    paid = np.asarray(flows, dtype=np.float64)
    signs = np.sign(paid[paid != 0])
    return int(np.count_nonzero(np.diff(signs)))


def payback(flows: ArrayLike, rate: float = 0.0) -> float | None:
    """Years until what came in covers what went out, for good; within a year by its share. None where it never does.

    Args:
        rate: discounts the payments first, where it is not 0.

    >>> payback([-100.0, 40.0, 40.0, 40.0]), payback([-100.0, 40.0]), payback([0.0, 1.0])
    (2.5, None, 0.0)
    """
    paid = np.asarray(flows, dtype=np.float64) / (1.0 + rate) ** np.arange(np.size(flows))
    total = np.cumsum(paid)
    if total[-1] < 0:
        return None
    short = np.flatnonzero(total < 0)
    if not short.size:
        return 0.0
    last = int(short[-1])
    return last + float(-total[last] / paid[last + 1])


def _value(paid: Floats, growth: float) -> float:
    # Horner from the far end: no power of a small number overflows before it is needed.
    value = 0.0
    for one in paid[::-1]:
        value = float(one) + value * math.exp(-growth)
    return value
