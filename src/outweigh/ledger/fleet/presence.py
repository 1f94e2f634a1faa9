"""Which nodes a fleet has, and when each is expected to be read."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from outweigh.ledger.fleet.minutes import MINUTE_S
from outweigh.ledger.fleet.rollups import NodeDays


class Presence:
    """Nodes with the time from their first to past their last sample: within it, a minute without one is missing.

    Attributes:
        names, sites: nodes and sites there ever were, in order.
        site, gpus: of each node, as last seen; shape (nodes,).
        span_s: first minute, and the end of the last [s, Unix epoch].
        read_all: samples there are.
    """

    def __init__(self, nodes: NodeDays) -> None:
        names, place = np.unique(nodes.node.astype(str), return_inverse=True)
        self.names: tuple[str, ...] = tuple(names.tolist())
        self._number = {name: number for number, name in enumerate(self.names)}
        in_order = np.argsort(place, kind="stable")  # days of a node stay in order
        self._day_s, self._hum_w = nodes.day_s[in_order], nodes.hum_w[in_order]
        self._begins = np.searchsorted(place[in_order], np.arange(len(names) + 1))
        first_s = np.full(len(names), np.iinfo(np.int64).max)
        last_s = np.zeros(len(names), np.int64)
        np.minimum.at(first_s, place, nodes.first_s)
        np.maximum.at(last_s, place, nodes.last_s)
        self.first_s, self.end_s = first_s, last_s + MINUTE_S
        latest = np.zeros(len(names), np.int64)
        latest[place] = np.arange(len(place))  # rows are in order of days: the last one stays
        self.site, self.gpus = nodes.site[latest], nodes.gpus[latest]
        self.sites: tuple[str, ...] = tuple(sorted({str(site) for site in nodes.site}))
        self.span_s = int(self.first_s.min()), int(self.end_s.max())
        self.read_all = int(nodes.minutes.sum())

    def expected(self, edges_s: NDArray[np.int64], *, site: str = "", node: str = "") -> NDArray[np.float64]:
        """Minutes of nodes to be read between each two of the edges; a node counts for the site it was last seen at.

        Args:
            edges_s: shape (n + 1,), in order [s, Unix epoch].

        Returns:
            Shape (n,).
        """
        chosen = np.ones(len(self.names), bool)
        if site:
            chosen &= self.site == site
        if node:
            chosen &= np.arange(len(self.names)) == self._number[node]
        so_far_s = _elapsed(edges_s, self.first_s[chosen]) - _elapsed(edges_s, self.end_s[chosen])
        minutes: NDArray[np.float64] = np.diff(so_far_s) / MINUTE_S
        return minutes

    def has(self, node: str) -> bool:
        return node in self._number

    def gpus_of(self, node: str) -> int:
        return int(self.gpus[self._number[node]])

    def idle_of(self, node: str) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Days a node was seen on [s, Unix epoch], and its hum figure on each [W], NaN without one."""
        number = self._number[node]
        of_node = slice(int(self._begins[number]), int(self._begins[number + 1]))
        return self._day_s[of_node], self._hum_w[of_node]


def _elapsed(at_s: NDArray[np.int64], since_s: NDArray[np.int64]) -> NDArray[np.int64]:
    """How long ago the moments `since_s` are, summed over them, at each of `at_s`."""
    ordered = np.sort(since_s)
    sums = np.concatenate([[0], np.cumsum(ordered)])
    begun = np.searchsorted(ordered, at_s, side="right")
    elapsed: NDArray[np.int64] = begun * at_s - sums[begun]
    return elapsed
