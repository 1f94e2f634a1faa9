"""From what may happen to arrays: every state of the world with its probability, listed or drawn."""

from __future__ import annotations

import math
from itertools import product

import numpy as np
from numpy.typing import NDArray

from outweigh.core.constants import G_PER_TONNE
from outweigh.core.errors import UsageError
from outweigh.plan.placement.problem import Change, Grouping, Question, Scenario, Shock
from outweigh.plan.placement.program import Floats, Group, Program
from outweigh.plan.serving import planning_pue

_UNCHANGED = Change()
_MOST_CELLS = 20_000_000  # scenarios x sites: some gigabytes
Flags = NDArray[np.bool_]


def program_of(question: Question, *, seed: int | None = None, samples: int | None = None) -> Program:
    """The arrays of a question.

    Shocks that befall sites independently are listed in all their combinations where these are no more than the
    samples asked for, and drawn by Latin hypercube sampling otherwise (McKay, Beckman and Conover, Technometrics
    21(2), 1979): of n draws, a shock of probability p befalls each site in n p of them, to within one.

    Args:
        seed, samples: instead of the question's own: a fresh draw to judge a placement by.

    Raises:
        UsageError: no site has any capacity, or a load has no power to count.
    """
    seconds = question.interval.seconds
    if seconds <= 0:
        raise UsageError("the term has no length", "Give an end after its start")
    states = len(question.scenarios) * math.ceil((samples or question.samples) / len(question.scenarios))
    if states * len(question.candidates) > _MOST_CELLS and _combinations(question) > question.samples:
        raise UsageError(
            f"{states} samples of {len(question.candidates)} sites are more than fit into memory",
            f"Take at most {_MOST_CELLS // len(question.candidates)} samples",
        )
    load_kwh, load_w = question.energy_it.to_kwh(), question.energy_it.per(seconds).watts
    pue = np.array([planning_pue(one.site) for one in question.candidates])
    capacity = np.array([one.site.capacity.watts for one in question.candidates]) / (load_w * pue)
    hits, odds = _drawn(question, seed if seed is not None else question.seed, samples or question.samples)

    cost, room, kept, probability, label = [], [], [], [], []
    for number, scenario in enumerate(question.scenarios):
        price, left, keep = _declared(question, scenario)
        prices = np.broadcast_to(price, (len(odds), len(pue))).copy()
        lefts = np.broadcast_to(left, prices.shape).copy()
        keeps = np.broadcast_to(keep, prices.shape).copy()
        for shock, hit in zip(question.shocks, hits, strict=True):
            _strike(shock.change, hit, prices, lefts, keeps)
        carbon = scenario.carbon_price or question.carbon_price_per_tonne
        grams = np.array([one.site.intensity.g_per_kwh for one in question.candidates])
        cost.append(load_kwh * pue * (prices + grams / G_PER_TONNE * carbon.amount))
        # Beyond the whole load, capacity is of no use; without the cut, a huge site would spoil the scale.
        room.append(np.minimum(capacity * lefts, 1.0))
        kept.append(keeps)
        probability.append(scenario.probability * odds)
        label.append(np.full(len(odds), number))
    kinds = [by for by in Grouping if by is not Grouping.SITE and question.caps.of(by) < 1]
    return Program(
        cost=np.concatenate(cost),
        room=np.concatenate(room),
        kept=np.concatenate(kept),
        probability=np.concatenate(probability),
        label=np.concatenate(label),
        cap=np.minimum(question.caps.site, np.minimum(capacity, 1.0)),
        opening=np.array([one.opening.amount if one.opening else 0.0 for one in question.candidates]),
        groups=tuple(group for by in kinds for group in _groups(question, by)),
        moving=question.moving.amount if question.moving is not None else None,
        unserved=question.unserved.amount_per_kwh * load_kwh,
        risk_weight=question.risk_weight,
        tail=question.tail,
    )


def is_drawn(question: Question) -> bool:
    """Whether the shocks are sampled, so that another seed gives other figures."""
    return _combinations(question) > question.samples


def _combinations(question: Question) -> float:
    bits = sum(len(_struck(question, shock)) for shock in question.shocks if 0 < shock.probability < 1)
    return len(question.scenarios) * 2.0**bits


def _struck(question: Question, shock: Shock) -> list[int]:
    return [i for i, name in enumerate(question.names) if not shock.sites or name in shock.sites]


def _drawn(question: Question, seed: int, samples: int) -> tuple[list[Flags], Floats]:
    """For every shock, whom it hits, shape (n, N); and the probabilities of the n draws."""
    sites = len(question.candidates)
    if _combinations(question) > question.samples:
        rng = np.random.default_rng(seed)
        count = math.ceil(samples / len(question.scenarios))
        hits = []
        for shock in question.shocks:
            # Permuted strata: one draw in each n-th of the unit interval, for every site on its own.
            strata = rng.permuted(np.tile(np.arange(count, dtype=np.float64), (sites, 1)), axis=1).T
            hit = (strata + rng.random((count, sites))) / count < shock.probability
            hits.append(hit & np.isin(np.arange(sites), _struck(question, shock)))
        return hits, np.full(count, 1 / count)
    places = [(n, site) for n, shock in enumerate(question.shocks) for site in _struck(question, shock)]
    odds_of = [
        ((True, p), (False, 1 - p)) if 0 < (p := question.shocks[n].probability) < 1 else ((p == 1, 1.0),)
        for n, _ in places
    ]
    outcomes = list(product(*odds_of))
    hits = [np.zeros((len(outcomes), sites), dtype=np.bool_) for _ in question.shocks]
    for row, outcome in enumerate(outcomes):
        for (n, site), (struck, _) in zip(places, outcome, strict=True):
            hits[n][row, site] = struck
    return hits, np.array([math.prod(chance for _, chance in outcome) for outcome in outcomes])


def _declared(question: Question, scenario: Scenario) -> tuple[Floats, Floats, Floats]:
    """Price [currency/kWh], share of capacity left and share of hours kept, each shape (N,)."""
    changes = [scenario.at.get(name, _UNCHANGED) for name in question.names]
    added = [change.price_added.amount_per_kwh if change.price_added else 0.0 for change in changes]
    base = np.array([one.site.price.amount_per_kwh for one in question.candidates])
    price = base * np.array([change.price_factor for change in changes]) + np.array(added)
    left = np.array([0.0 if change.lost else change.capacity_left for change in changes])
    return price, left, np.array([1 - change.duty for change in changes])


def _strike(change: Change, hit: Flags, price: Floats, left: Floats, kept: Floats) -> None:
    price[hit] *= change.price_factor
    if change.price_added is not None:
        price[hit] += change.price_added.amount_per_kwh
    left[hit] *= 0.0 if change.lost else change.capacity_left
    kept[hit] *= 1 - change.duty


def _groups(question: Question, by: Grouping) -> list[Group]:
    names = [candidate.group(by) for candidate in question.candidates]
    return [
        Group(f"{by} {name}", np.array([one == name for one in names]), question.caps.of(by))
        for name in dict.fromkeys(names)
        if name
    ]
