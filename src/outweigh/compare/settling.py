"""Warm-up: run and throw away until a variant's blocks take equally long.

The first items pay for loading, allocating, filling caches, clocks that ramp up and code that is compiled on its first
call. Blocks of the same few items are run until the means of the last two and of the two before them differ by no more
than `LEVEL` of each other, or by no more than the scatter within the two pairs explains (a two-sample t test with two
degrees of freedom at 50 %: what is left then is noise and no trend, which the random order of the rounds deals with). A
variant that has not settled after so many blocks is measured all the same, and said to be still moving.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from scipy import stats

from outweigh.core.errors import ModelError
from outweigh.core.project import Protocol
from outweigh.measure.clock import Clock
from outweigh.ports import Runner

LEVEL = 0.02  # two means that differ by no more than this count as level
BLOCK_ITEMS = 8  # enough to load, allocate and settle a model
_BLOCK_S = 1.0  # blocks of slow items are cut to about this length, down to one item
_TESTED = 4  # blocks that are looked at: two against the two before
_SAME_NOISE = 0.5  # confidence of the t test; low, so that little has to be explained by noise


@dataclass(frozen=True, slots=True)
class Settled:
    """How a warm-up went.

    Attributes:
        blocks: run and thrown away.
        level: whether the last blocks were level; True where none were asked for.
        drift: relative change between the last two pairs of blocks, 0 before there are four.
        item_s: wall time of an item in the last block [s]; None when nothing was run.
    """

    blocks: int
    level: bool
    drift: float
    item_s: float | None


def is_level(blocks_s: Sequence[float]) -> bool:
    """Whether the last four block times are level, by the test at the top of this module; False on fewer.

    >>> is_level([9.0, 1.00, 1.01, 1.00, 1.01]), is_level([1.6, 1.4, 1.2, 1.1])
    (True, False)
    """
    if len(blocks_s) < _TESTED:
        return False
    a, b, c, d = blocks_s[-_TESTED:]
    change = abs(drift(blocks_s))
    if change <= LEVEL:
        return True
    # Welch's t of two pairs with one pooled variance: each pair's scatter is half the squared difference.
    pooled = ((a - b) ** 2 + (c - d) ** 2) / 4
    return abs((c + d) / 2 - (a + b) / 2) <= float(stats.t.ppf((1 + _SAME_NOISE) / 2, 2)) * math.sqrt(pooled)


def drift(blocks_s: Sequence[float]) -> float:
    """Relative change from the two blocks before the last two to the last two; 0 on fewer than four."""
    if len(blocks_s) < _TESTED:
        return 0.0
    a, b, c, d = blocks_s[-_TESTED:]
    return (c + d) / (a + b) - 1 if a + b > 0 else 0.0


def settle(runner: Runner, items: Sequence[int], protocol: Protocol, clock: Clock) -> Settled:
    """Warm a variant up on the first few of `items`.

    Args:
        protocol: `warmup` blocks at least (0: none at all), `warmup_most` at most.
        clock: what blocks are timed with.

    Raises:
        ModelError: the variant did not answer.
    """
    if protocol.warmup == 0:
        return Settled(0, True, 0.0, None)
    chosen = [int(item) for item in items[:BLOCK_ITEMS]]
    times_s: list[float] = []
    item_s, blocks = None, 0
    most = max(protocol.warmup, protocol.warmup_most)
    while blocks < most and not (blocks >= protocol.warmup and is_level(times_s)):
        before_s = clock.monotonic_s()
        if len(runner.run(chosen).items) != len(chosen):
            raise ModelError(runner.variant.name, "it did not answer the items it was given", "Check the model file")
        took_s = clock.monotonic_s() - before_s
        item_s, blocks = took_s / len(chosen), blocks + 1
        times_s.append(took_s)
        fitting = max(1, math.floor(_BLOCK_S / item_s)) if item_s > 0 else len(chosen)
        if fitting < len(chosen) and blocks == 1:
            # Other items take another time: blocks are compared from here on only.
            chosen, times_s = chosen[:fitting], []
    return Settled(blocks, is_level(times_s), drift(times_s), item_s)
