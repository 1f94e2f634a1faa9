"""Figures as people read them, for the templates: the value rounded to its uncertainty, the unit beside it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from markupsafe import Markup, escape

from outweigh.app.pages.shape import SUFFIXES
from outweigh.core.constants import J_PER_WH
from outweigh.core.rounding import plus_minus, si_prefix, significant

_MOST_SHOWN = 240  # characters of a name; the CSV and the JSON have it whole
_UNITS = {
    "energy": (J_PER_WH, "Wh"),
    "joules": (1.0, "J"),
    "power": (1.0, "W"),
    "intensity": (1.0, "g/kWh"),
    "latency": (1.0, "ms"),
}
_KG_PER_T = 1000.0


def figure_text(row: Mapping[str, Any], key: str, kind: str) -> str:
    """A figure of a row with its interval, or "missing"; NAME_said stands there where none is to be expected.

    >>> figure_text({"hum_w": 81.2, "hum_low_w": 80.1, "hum_high_w": 82.3}, "hum", "power")
    '81.2 ± 1.1 W'
    >>> figure_text({"hum_w": None}, "hum", "power")
    'missing'
    """
    end = SUFFIXES[kind]
    if f"{key}{end}" not in row:
        return "–"  # no figure of this row
    value, low, high = (row.get(f"{key}{part}{end}") for part in ("", "_low", "_high"))
    if value is None:
        return str(row.get(f"{key}_said") or "missing")
    if kind == "duration":
        return duration(value)
    if kind == "share":
        return f"{_interval(100 * value, *(None if one is None else 100 * one for one in (low, high)))} %"
    if kind == "money":
        return _money(value, low, high, row.get(f"{key}_currency", ""))
    if kind == "carbon":
        return _mass(value, low, high)
    if kind == "number":
        return _interval(value, low, high)
    per, unit = _UNITS[kind]
    if kind in ("intensity", "latency"):
        return f"{_interval(value, low, high)} {unit}"
    factor, prefix = si_prefix(value / per)
    ends = [None if one is None else one / per / factor for one in (low, high)]
    return f"{_interval(value / per / factor, *ends)} {prefix}{unit}"


def _money(value: float, low: float | None, high: float | None, currency: str) -> str:
    factor, prefix = si_prefix(value) if 0 < abs(value) < 1e-3 else (1.0, "")
    ends = [None if one is None else one / factor for one in (low, high)]
    return f"{_interval(value / factor, *ends)} {prefix}{currency}".strip()


def _mass(grams: float, low: float | None, high: float | None) -> str:
    factor, unit = (1e6, "t") if abs(grams) >= 1e6 else (1e3, "kg") if abs(grams) >= 1e3 else (1.0, "g")
    if 0 < abs(grams) < 0.1:
        factor, prefix = si_prefix(grams)
        unit = f"{prefix}g"
    ends = [None if one is None else one / factor for one in (low, high)]
    return f"{_interval(grams / factor, *ends)} {unit}"


def _interval(value: float, low: float | None, high: float | None, *, digits: int = 3) -> str:
    if (low is None and high is None) or low == high:
        # Without an interval three digits are what a reader may rest on, whole numbers of many digits included.
        places = digits - 1 - math.floor(math.log10(abs(value))) if value and math.isfinite(value) else 0
        return significant(round(value, max(places, 0)) if places > 0 else value, digits)
    return plus_minus(value, low, high)


def duration(seconds: float) -> str:
    """
    >>> duration(0.25), duration(95), duration(7260), duration(200_000)
    ('0.250 s', '1 min 35 s', '2 h 1 min', '2 d 7 h')
    """
    if seconds < 60:
        return f"{significant(seconds)} s"
    whole = round(seconds)
    for size, unit, part, lower in ((86_400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // part
            return f"{whole // size} {unit}" + (f" {rest} {lower}" if rest else "")
    return f"{whole} s"


def time_text(stamp: str | None) -> str:
    """
    >>> time_text("2026-11-23T06:01:02.000000Z"), time_text(None)
    ('2026-11-23 06:01', 'missing')
    """
    return f"{stamp[:10]} {stamp[11:16]}".strip() if stamp else "missing"


def ticks(text: object) -> Markup:
    """Escaped text, with `what stands between backticks` as code; a stray backtick is left as it is.

    >>> str(ticks("run `outweigh gate` <now>"))
    'run <code>outweigh gate</code> &lt;now&gt;'
    """
    words = clip(text).split("`")
    if len(words) % 2 == 0:
        return escape("`".join(words))
    return Markup("").join(
        Markup("<code>{}</code>").format(word) if index % 2 else escape(word) for index, word in enumerate(words)
    )


#: What the letters mean, for whoever points at one.
GRADES = {
    "A": "A: a wall or rack meter",
    "B": "B: a device's own counter",
    "C": "C: a fitted or calibrated model",
    "D": "D: a nameplate or a default",
}


def clip(text: object, most: int = _MOST_SHOWN) -> str:
    """A name short enough for a page."""
    whole = str(text)
    return whole if len(whole) <= most else f"{whole[: most - 1]}…"


def now_text(now: datetime) -> str:
    return f"{now.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
