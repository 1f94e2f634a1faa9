"""Which items a search may look at, and which are kept from it for the verdict.

Whoever tries twenty variants on one set of items finds one that is lucky on it. So the items are split once, by seed:
the search looks at one part, in portions that grow for those that do well, and the variants it ends with are judged
on the other part, which nothing was chosen by.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from outweigh.core.errors import UsageError

HELD_OUT_SHARE = 0.5
_FEWEST_ITEMS = 8  # two rounds of two items on either side: less is not a comparison
_FIRST_LOOK_ITEMS = 24
_PART_ITEMS = 96
#: Share of the search's items that is seen after each rung. Thirds are what Hyperband uses by default
#: (Li et al. 2018, JMLR 18(185):1-52, section 3.6: eta = 3 or 4).
_RUNGS = (1 / 9, 1 / 3, 1.0)


@dataclass(frozen=True, slots=True)
class Split:
    """Items of the task, by index: disjoint, each in the order drawn."""

    search: tuple[int, ...]
    held_out: tuple[int, ...]

    @property
    def rungs(self) -> tuple[tuple[tuple[int, ...], ...], ...]:
        """For each rung the items that it adds, in parts that are measured (and kept) one after the other."""
        ends: list[int] = []
        for share in _RUNGS:
            end = min(len(self.search), max(_FIRST_LOOK_ITEMS, math.ceil(share * len(self.search))))
            # What a rung would add that is too little for a round is left to the next one, or added to the last.
            if not ends or end - ends[-1] >= 4:
                ends.append(end)
        ends[-1] = len(self.search)
        starts = [0, *ends[:-1]]
        return tuple(parts(self.search[start:end]) for start, end in zip(starts, ends, strict=True))


def split_items(n_items: int, seed: int, share: float = HELD_OUT_SHARE, most: int | None = None) -> Split:
    """Split item indices 0 to n - 1 by seed alone.

    Args:
        share: of the items that is held out, in (0, 1).
        most: use so many items at random, None for all.

    Raises:
        UsageError: too few items for two comparisons, or a share outside (0, 1).

    >>> split = split_items(100, seed=1)
    >>> len(split.search), len(split.held_out), set(split.search) & set(split.held_out)
    (50, 50, set())
    """
    if not 0 < share < 1:
        raise UsageError(f"a held-out share of {share:g}", "Give a number between 0 and 1, such as 0.5")
    shuffled = [int(item) for item in np.random.default_rng([seed, 0x5EA5C4]).permutation(n_items)]
    used = shuffled if most is None else shuffled[:most]
    cut = len(used) - round(share * len(used))
    if min(cut, len(used) - cut) < _FEWEST_ITEMS:
        raise UsageError(
            f"{len(used)} evaluation items are too few to search on one part and judge on another",
            f"Give the task more: at least {math.ceil(_FEWEST_ITEMS / min(share, 1 - share))}, and some hundreds to "
            "tell two good variants apart",
        )
    return Split(tuple(used[:cut]), tuple(used[cut:]))


def parts(items: tuple[int, ...]) -> tuple[tuple[int, ...], ...]:
    """Items cut into nearly equal parts of at most 96: a kill loses the part in flight."""
    count = max(1, math.ceil(len(items) / _PART_ITEMS))
    return tuple(tuple(int(item) for item in part) for part in np.array_split(np.array(items, dtype=int), count))
