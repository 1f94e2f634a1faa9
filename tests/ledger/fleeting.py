"""Fleets of a few minutes for the tests of the fleet's room, and the same figures worked out the long way."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta

import numpy as np

from outweigh.core.intervals import Interval
from outweigh.core.measurement import Grade, Method, Scope
from outweigh.ledger.fleet import HowKnown, Labels, Minutes, append_minutes

START = datetime(2026, 11, 1, tzinfo=UTC)
START_S = int(START.timestamp())
DAY_S = 86_400
BMC = HowKnown(Scope.NODE, Grade.B, Method.INTEGRATED, "a baseboard controller", 0.1)


def window(start_min: float = 0, minutes: float = 1_440, *, seconds: float = 0) -> Interval:
    start = START + timedelta(minutes=start_min, seconds=seconds)
    return Interval(start, start + timedelta(minutes=minutes))


def rows(*given, site: str = "fra"):
    """(minute, node, owner, power_w, busy) each; busy None where unknown."""
    at, node, owner, power_w, busy = zip(*given, strict=True) if given else ((), (), (), (), ())
    n = len(given)
    return Minutes(
        START_S + 60 * np.array(at, dtype=np.int64), Labels.of(node), Labels.of(owner), Labels.same(site, n),
        np.array(power_w, dtype=np.float32), np.full(n, 8, np.int32),
        np.array([math.nan if each is None else each for each in busy], dtype=np.float32),
    )  # fmt: skip


def stretch(node, owner, first_min, minutes, power_w, busy):
    """One node over some minutes; `power_w` is one figure or one for each."""
    powers = np.broadcast_to(power_w, minutes)
    return [(first_min + i, node, owner, float(powers[i]), busy) for i in range(minutes)]


def keep(folder, *given, how: HowKnown = BMC, site: str = "fra"):
    return append_minutes(folder, rows(*given, site=site), how)
