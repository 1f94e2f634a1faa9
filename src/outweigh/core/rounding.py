"""Numbers as people read them: the uncertainty to two digits and the value rounded to match.

Full precision belongs in JSON; these strings belong in tables and sentences.
Source: JCGM 100:2008 (GUM), 7.2.6, for at most two significant digits of an uncertainty.
"""

from __future__ import annotations

import math
from decimal import ROUND_HALF_EVEN, Decimal

_PREFIXES = ((1e-9, "n"), (1e-6, "µ"), (1e-3, "m"), (1.0, ""), (1e3, "k"), (1e6, "M"), (1e9, "G"), (1e12, "T"))
_MINUS = "\N{MINUS SIGN}"
_MOST_PLACES = 15  # a float holds no more digits than that; what stands behind them would be made up
_MOST_DIGITS = 9  # nor is any figure known to more: an interval that is narrower is one of floats


def decimals_for(uncertainty: float, digits: int = 2) -> int | None:
    """Decimal places that show `digits` significant digits of it; negative means tens, hundreds.

    None when there is nothing to go by: zero, infinite or NaN.

    >>> decimals_for(0.00224), decimals_for(678.0), decimals_for(0.0996)
    (4, -1, 2)
    """
    size = abs(uncertainty)
    if not math.isfinite(size) or size == 0:
        return None
    # Rounding first: 0.0996 becomes 0.10, whose second digit is the hundredth and not the thousandth.
    return digits - 1 - int(f"{size:.{digits - 1}e}".partition("e")[2])


def fixed(value: float, decimals: int) -> str:
    """To so many decimal places, or to tens and hundreds when negative; thousands apart, a true minus sign.

    What has more digits than a float can hold is written as a power of ten, and infinity as its sign.

    >>> fixed(0.11302, 4), fixed(12345.0, -1), fixed(-0.0004, 3)
    ('0.1130', '12,340', '0.000')
    >>> fixed(1.25e300, 2), fixed(-math.inf, 2)
    ('1.25 × 10^300', '−∞')
    """
    if not math.isfinite(value):
        return "not known" if math.isnan(value) else "∞" if value > 0 else f"{_MINUS}∞"
    if abs(value) >= 10**_MOST_PLACES or (value and decimals > _MOST_PLACES):
        return _power_of_ten(value)
    decimals = min(decimals, _MOST_PLACES)
    rounded = Decimal(value).quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_EVEN)
    text = f"{rounded or abs(rounded):,.{max(decimals, 0)}f}"
    return text.replace("-", _MINUS)


def _power_of_ten(value: float, digits: int = 3) -> str:
    mantissa, exponent = f"{value:.{digits - 1}e}".split("e")
    return f"{mantissa} × 10^{int(exponent)}".replace("-", _MINUS)


def significant(value: float, digits: int = 3) -> str:
    """A figure that comes without an interval, to `digits` significant digits; whole numbers are kept whole.

    >>> significant(0.0123456), significant(1234567.0), significant(12), significant(0.0)
    ('0.0123', '1,234,567', '12', '0')
    """
    if math.isfinite(value) and abs(value) < 10**_MOST_PLACES and value == int(value):
        return f"{int(value):,}".replace("-", _MINUS)
    places = decimals_for(value, digits)
    return fixed(value, max(places, 0) if places is not None else 0)


def decimals_between(low: float | None, high: float | None, *, value: float | None = None) -> int:
    """Decimal places for an estimate and its two ends, from half their distance.

    Args:
        low, high: ends of the interval; None or infinite when that side is open.
        value: what to go by when there is no width to go by (three significant digits of it).
    """
    ends = [end for end in (low, high) if end is not None and math.isfinite(end)]
    half = (ends[1] - ends[0]) / 2 if len(ends) == 2 else abs(ends[0] - value) if ends and value is not None else 0.0
    places = decimals_for(half)
    if places is None and value is not None:
        places = decimals_for(value, 3)
    most = decimals_for(max((abs(each) for each in (*ends, value or 0.0)), default=0.0), _MOST_DIGITS)
    return 3 if places is None else places if most is None else min(places, most)


def plus_minus(value: float, low: float | None, high: float | None) -> str:
    """A value with its interval: `±` where it is symmetric as rounded, both ends where it is not.

    >>> plus_minus(0.11302, 0.11078, 0.11526)
    '0.1130 ± 0.0022'
    >>> plus_minus(0.951, 0.9381, 0.9611)
    '0.951 (0.938 to 0.961)'
    >>> plus_minus(0.11302, None, None)
    '0.113'
    """
    if low is None and high is None:
        return significant(value)
    places = decimals_between(low, high, value=value)
    if low is None or high is None:
        side = f"at most {fixed(high, places)}" if high is not None else f"at least {fixed(low or 0.0, places)}"
        return f"{fixed(value, places)} ({side})"
    below, above = fixed(value - low, places), fixed(high - value, places)
    if below == above:
        return f"{fixed(value, places)} ± {below}"
    return f"{fixed(value, places)} ({fixed(low, places)} to {fixed(high, places)})"


def si_prefix(value: float) -> tuple[float, str]:
    """Factor and prefix that make a figure readable; from 0.1 up to 1,000 the plain unit stays.

    >>> si_prefix(0.113), si_prefix(0.0113), si_prefix(8213.0)
    ((1.0, ''), (0.001, 'm'), (1000.0, 'k'))
    """
    size = abs(value)
    if not math.isfinite(size) or size == 0 or 0.1 <= size < 1000:
        return 1.0, ""
    fitting = [pair for pair in _PREFIXES if size >= pair[0]]
    return fitting[-1] if fitting else _PREFIXES[0]


def si(value: float, unit: str, half_width: float | None = None) -> str:
    """A figure with its unit and a readable SI prefix, and `±` where its half-width is known.

    >>> si(8213.0, "J", 41.0), si(0.0113, "J")
    ('8.213 ± 0.041 kJ', '11.3 mJ')
    """
    factor, prefix = si_prefix(value)
    if half_width is None or not math.isfinite(half_width) or half_width == 0:
        return f"{significant(value / factor)} {prefix}{unit}"
    scaled, spread = value / factor, half_width / factor
    return f"{plus_minus(scaled, scaled - spread, scaled + spread)} {prefix}{unit}"
