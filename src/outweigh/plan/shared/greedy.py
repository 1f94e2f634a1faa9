"""A first plan: the hardest jobs first, each where energy and capacity together cost it least."""

from __future__ import annotations

import numpy as np

from outweigh.plan.problem import Floats, Ints
from outweigh.plan.shared.finding import Priced
from outweigh.plan.shared.packing import Packing


def by_size(packing: Packing, counts: Ints, prices: Floats) -> None:
    """Put all jobs in, where there is room if there is any; `repair` sees to the others.

    Args:
        counts: jobs of each row, shape (J,).
        prices: rate with what capacity is worth in it [currency/kWh], shape (S, T). Without
            it the first ones take what the last ones need.
    """
    packing.empty()
    place(packing, packing.hardest(np.arange(len(counts))), counts, prices)


def place(packing: Packing, rows: Ints, counts: Ints, prices: Floats) -> None:
    """Put the jobs of these rows in, in this order."""
    priced = Priced(prices)
    shut = 20 * (float(np.abs(priced.rate).mean()) or 1.0)
    for row in rows.tolist():
        left = int(counts[row])
        while left:
            spot = packing.find(row, priced)
            if spot is None:
                anywhere = packing.find(row, priced, shut=shut)
                assert anywhere is not None  # its window is long enough: `Places.jobs` checked
                packing.put(row, anywhere, left)
                break
            many = max(1, packing.fitting(row, spot, left))
            packing.put(row, spot, many)
            left -= many
    packing.settle()
