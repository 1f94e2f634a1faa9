"""Joules of nodes that several jobs were charged for, split among those jobs.

A scheduler that meters nodes charges each job with the whole of its nodes while it ran. Where two were on a node at
once, their figures hold the same joules. We cut the time of a node at the begins and ends of its jobs. In each stretch
the node draws the mean of the mean powers of the jobs that were there, and each gets the share of its CPUs. The parts
then add up to the node's joules; who of them made it work we do not know, so a part is modelled.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import pairwise

from outweigh.core.intervals import Interval


@dataclass(frozen=True, slots=True)
class Claim:
    """What a job was charged with: joules of all its nodes over its time, taken as alike on each.

    Attributes:
        cpus: it held on all nodes together, > 0.
    """

    nodes: tuple[str, ...]
    cpus: float
    interval: Interval
    joules: float


def parts(claims: Mapping[str, Claim]) -> dict[str, float]:
    """The part of each job that was not alone on all its nodes [J], by the job; the others are left out.

    >>> from datetime import UTC, datetime
    >>> hour = Interval.starting(datetime(2026, 3, 1, tzinfo=UTC), 3600)
    >>> parts({"a": Claim(("n1",), 1, hour, 7200.0), "b": Claim(("n1",), 3, hour, 7200.0)})
    {'a': 1800.0, 'b': 5400.0}
    """
    on_node: dict[str, list[str]] = defaultdict(list)
    for job, claim in claims.items():
        for node in claim.nodes:
            on_node[node].append(job)
    charged: dict[str, float] = defaultdict(float)
    shared: set[str] = set()
    for jobs in on_node.values():
        cuts = sorted({edge for job in jobs for edge in (claims[job].interval.start, claims[job].interval.end)})
        for start, end in pairwise(cuts):
            there = [job for job in jobs if claims[job].interval.start <= start and end <= claims[job].interval.end]
            if not there:
                continue
            power_w = sum(_power_w(claims[job]) for job in there) / len(there)
            cpus = sum(_cpus(claims[job]) for job in there)
            for job in there:
                charged[job] += power_w * (end - start).total_seconds() * _cpus(claims[job]) / cpus
            if len(there) > 1:
                shared.update(there)
    return {job: charged[job] for job in claims if job in shared}


def _power_w(claim: Claim) -> float:
    """Of one of its nodes."""
    return claim.joules / len(claim.nodes) / claim.interval.seconds


def _cpus(claim: Claim) -> float:
    """On one of its nodes."""
    return claim.cpus / len(claim.nodes)
