"""Climb the smoothed dual: prices of capacity by L-BFGS-B at falling temperatures, each checked by the exact bound."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np

from outweigh.plan.problem import Floats
from outweigh.plan.shared.capacity import CapacityPrices
from outweigh.plan.shared.pricing import Field, Priced, Pricer
from outweigh.plan.shared.smooth import Smooth, total_use

# Shares of the mean rate. Smoothing costs about six of them a kWh, so the last ones leave little.
TEMPERATURES: Final = (0.1, 0.03, 0.01, 0.003, 0.001)
# For when the bound is what keeps a plan from its goal.
COLD: Final = (0.0003,)
_MEMORY: Final = 12
# Temperatures beyond which a site hardly counts: exp(-15), and prices move by a few temperatures more.
_MARGIN: Final = 25.0


@dataclass(frozen=True, slots=True, eq=False)
class Summit:
    """The best prices found.

    Attributes:
        bound: the exact bound at them [currency].
        prices: of capacity.
        temperature: [currency/kWh] at which they were found.
        use: of capacity by the spread shapes [units], shape (S, T).
        peak_kw: highest facility power over what is free of charge by site [kW], shape (S,); empty if uncharged.
    """

    bound: float
    prices: CapacityPrices
    temperature: float
    use: Floats
    priced: Priced


class _OutOfTime(Exception):
    pass


def climb(
    smooth: Smooth,
    pricer: Pricer,
    field: Field,
    start: CapacityPrices,
    *,
    weight: Floats,
    goal: float,
    until: float | None = None,
    progress: Callable[[float], None] | None = None,
    most: float | None = None,
    unit: float | None = None,
    temperatures: Sequence[float] = TEMPERATURES,
    turns: int = 150,
    lessons: int = 3,
) -> Summit:
    """The best prices the temperatures lead to.

    Args:
        weight: of the shapes [kW], shape (K,).
        goal: stop cooling when a step gains less than this share of the bound.
        until: `time.monotonic()` at which to stop.
        most: no price above this [currency per unit and hour]; far above all rates if not given.
        unit: the price that temperatures are shares of; the mean rate if not given.
        temperatures: falling, as shares of it.
        turns: of the quasi-Newton method at one temperature, at most.
        lessons: climbs at one temperature, at most, where every one teaches new runs (`Smooth.learn`).
    """
    climber = _Climber(smooth, field, until, most, unit, turns)
    best: Summit | None = None
    at = start
    for share in temperatures:
        heat = share * climber.unit
        before = best
        for _ in range(lessons if smooth.learns else 1):
            if smooth.learns:
                smooth.learn(at)
            smooth.focus(at, _MARGIN * heat)
            at, use, done = climber.run(at, heat)
            priced = pricer.price(at)
            bound = float(weight @ priced.best) - field.worth(at)
            better = best is None or bound > best.bound + goal * abs(bound)
            if best is None or bound > best.bound:
                best = Summit(bound, at, heat, use, priced)
            if not done or not better:
                break
        assert best is not None
        gain = np.inf if before is None else (best.bound - before.bound) / max(abs(best.bound), 1e-300)
        if progress is not None:
            progress(gain if np.isfinite(gain) else 1.0)
        if not done or gain < goal:
            break
    assert best is not None
    return best


class _Climber:
    def __init__(
        self, smooth: Smooth, field: Field, until: float | None, most: float | None, unit: float | None, turns: int
    ) -> None:
        self._smooth, self._field, self._until, self._turns = smooth, field, until, turns
        known = np.abs(field.rate[np.isfinite(field.rate)])
        self.unit = unit or (float(known.mean()) if known.size and known.any() else 1.0)
        self._bounded = np.isfinite(field.limit).ravel()
        self._size = float(smooth.shapes.weight_kw @ (smooth.shapes.jobs.work / smooth.shapes.jobs.speed[:, 0])) or 1.0
        self._most = most or 50.0 * (float(known.max()) if known.size else 1.0) / max(float(smooth.ratios.min()), 1e-12)

    def run(self, start: CapacityPrices, heat: float) -> tuple[CapacityPrices, Floats, bool]:
        from scipy.optimize import minimize

        field, shape = self._field, self._field.rate.shape
        scale = self.unit * field.step_h * self._size
        first = start.limit.ravel()[self._bounded] / self.unit
        bounds = [(0.0, self._most / self.unit)] * len(first)
        if field.charged:
            top = np.repeat(field.demand_rate, shape[1])
            first = np.concatenate([first, start.demand.ravel() / np.where(top > 0, top, 1.0)])
            bounds += [(0.0, 1.0 if rate > 0 else 0.0) for rate in top.tolist()]
        last: dict[str, Floats] = {}

        def fall(x: Floats) -> tuple[float, Floats]:
            if self._until is not None and time.monotonic() > self._until and "x" in last:
                raise _OutOfTime
            prices = self._prices(x)
            answer = self._smooth.answer(prices, heat)
            use, it_kw = total_use(answer, self._smooth.ratios)
            value = answer.value - field.worth(prices)
            slope = [((use - field.limit).ravel()[self._bounded]) * field.step_h * self.unit]
            if field.charged:
                part, tilt = self._peaks(prices, heat)
                value -= part
                slope.append(
                    ((field.pue * it_kw - field.spare_kw) - tilt).ravel() * np.repeat(field.demand_rate, shape[1])
                )
            last["x"], last["use"] = x.copy(), use
            return -value / scale, -np.concatenate(slope) / scale

        if not bounds:  # nothing is limited and no peak costs: there is no price to look for
            fall(first)
            return self._valid(self._prices(first)), last["use"], True
        done = True
        try:
            found = minimize(
                fall, first, jac=True, method="L-BFGS-B", bounds=bounds,
                options={"maxiter": self._turns, "maxcor": _MEMORY, "ftol": 1e-8, "gtol": 1e-9},
            )  # fmt: skip
            x = found.x
            if not np.array_equal(x, last["x"]):
                fall(x)
        except _OutOfTime:
            x, done = last["x"], False
        return self._valid(self._prices(x)), last["use"], done

    def _prices(self, x: Floats) -> CapacityPrices:
        shape = self._field.rate.shape
        limit = np.zeros(shape)
        bounded = int(self._bounded.sum())
        limit.ravel()[self._bounded] = x[:bounded] * self.unit
        if not self._field.charged:
            return CapacityPrices(limit)
        return CapacityPrices(limit, x[bounded:].reshape(shape) * self._field.demand_rate[:, np.newaxis])

    def _peaks(self, prices: CapacityPrices, heat: float) -> tuple[float, Floats]:
        """What it costs the dual that the shares of a demand rate sum to more than the rate, and its slope by step.

        A peak of any height is allowed in the programme, so no sum above the rate is; until the end it is only dear.
        """
        over = prices.demand.sum(axis=1) - self._field.demand_rate
        highest = self._size
        soft = np.maximum(0.01 * self._field.demand_rate, 1e-300)
        penalty = highest * soft * np.logaddexp(0.0, over / soft)
        tilt = highest / (1 + np.exp(-np.clip(over / soft, -500, 500)))
        return float(penalty.sum()), np.broadcast_to(tilt[:, np.newaxis], prices.demand.shape)

    def _valid(self, prices: CapacityPrices) -> CapacityPrices:
        if not self._field.charged:
            return prices
        total = prices.demand.sum(axis=1)
        rate = self._field.demand_rate
        scale = np.where(total > rate, rate / np.maximum(total, 1e-300), 1.0)
        return CapacityPrices(prices.limit, prices.demand * scale[:, np.newaxis])
