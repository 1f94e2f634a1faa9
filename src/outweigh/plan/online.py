"""Running, pausing and resuming while prices come one by one: a guarantee without a forecast, and trust in one.

A job needs `steps` of the steps still to come. At each of them the price of that step is seen, and it runs or it does
not. Nothing is known of later prices but that they lie within [low, high]; a forecast may be at hand, and be wrong.
"""

from __future__ import annotations

import math
from bisect import insort
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from outweigh.core.errors import InvalidQuantity, PlanInfeasible
from outweigh.plan.problem import Bools, Floats

# Prices and costs come as floats: what is this close to a threshold is at it.
_RELATIVE = 1e-12


@dataclass(frozen=True, slots=True)
class PauseResume:
    """The online pause-and-resume problem (OPR-min of Lechowicz et al. 2023).

    Attributes:
        steps: how many steps the job must run, k >= 1.
        low, high: bounds of every price [currency/step], 0 < low <= high.
        switch: what one pause with its resumption costs [currency], >= 0; the published 2 beta.
        first: what the first start and the last stop cost [currency], >= 0. Published: as `switch`; 0 where only
            resumptions are charged, as for `Job.checkpoint_h`.

    Raises:
        InvalidQuantity: any of these not so. Where a price can be 0 or negative no ratio to the optimum is bounded.
    """

    steps: int
    low: float
    high: float
    switch: float = 0.0
    first: float = 0.0

    def __post_init__(self) -> None:
        if self.steps < 1:
            raise InvalidQuantity("steps to run", str(self.steps), "give 1 or more")
        if not 0 < self.low <= self.high < math.inf:
            given = f"{self.low} to {self.high}"
            raise InvalidQuantity("bounds of the price", given, "give finite bounds above 0: no ratio holds otherwise")
        for name in ("switch", "first"):
            if not 0 <= getattr(self, name) < math.inf:
                raise InvalidQuantity(f"cost of {name}", str(getattr(self, name)), "give a finite number, 0 or more")

    @property
    def worst_ratio(self) -> float:
        """What no way to run can exceed: the dearest steps in as many runs, over the cheapest in one."""
        dearest = self.steps * self.high + self.first + (self.steps - 1) * self.switch
        return dearest / (self.steps * self.low + self.first)

    @property
    def ratio(self) -> float:
        """Competitive ratio of `play` with no trust: its cost over the optimum's, whatever the prices.

        With U, L the bounds, k the steps, s the cost of a switch and f that of the first start, it is the alpha of

            (U - L - s) / (U (1 - 1/alpha) - s + (f/k)(1 - 1/alpha)) = (1 + 1/(k alpha))^k

        For f = s = 2 beta that is the ratio of DTPR-min, which is the best of any deterministic algorithm; for s = 0 it
        is that of k-min search, and for k = 1 the square root of U / L. Where a switch costs more than prices can
        differ (U - L <= s), running through is as good as it gets, and its ratio is (k U + f) / (k L + f).
        Where 2 s is large beside the lowest cost, the proof needs alpha >= 1 + s / (L + f/k); the larger one is given.

        Sources: Lechowicz et al., The Online Pause and Resume Problem, Proc. ACM Meas. Anal. Comput. Syst. 7(3), 2023,
        doi 10.1145/3626776, section 3. Lorenz, Panagiotou, Steger, Optimal Algorithms for k-Search with Application in
        Option Pricing, Algorithmica 55, 2009, p. 311-328. El-Yaniv et al., Algorithmica 30, 2001 (k = 1).

        >>> round(PauseResume(1, 1.0, 9.0).ratio, 9), round(PauseResume(2, 1.0, 10.0).ratio, 3)
        (3.0, 2.892)
        """
        through = (self.steps * self.high + self.first) / (self.steps * self.low + self.first)
        if self.through:
            return through
        k, low, high, switch = self.steps, self.low, self.high, self.switch
        needed = high - low - switch

        def reached(alpha: float) -> float:
            first = high * (1 - 1 / alpha) - switch + self.first / k * (1 - 1 / alpha)
            return first * math.exp(k * math.log1p(1 / (k * alpha))) - needed

        # `reached` grows with alpha: thresholds that start lower end below the lowest price.
        below, above = 1.0, self.worst_ratio + 1.0
        while reached(above) < 0:
            above *= 2
        while above - below > _RELATIVE * above:
            middle = (below + above) / 2
            below, above = (middle, above) if reached(middle) < 0 else (below, middle)
        return min(max(above, 1 + switch / (low + self.first / k)), self.worst_ratio)

    @property
    def through(self) -> bool:
        """Whether pausing can never pay: a switch costs as much as prices can differ."""
        return self.high - self.low <= self.switch

    def target(self, trust: float) -> float:
        """The ratio kept at this trust, between `ratio` (0) and `worst_ratio` (1), even in logarithm.

        Raises:
            InvalidQuantity: trust outside [0, 1].
        """
        if not 0 <= trust <= 1:
            raise InvalidQuantity("trust", str(trust), "give 0 (worst case) to 1 (the forecast)")
        if trust in (0, 1):
            return self.worst_ratio if trust else self.ratio
        return math.exp((1 - trust) * math.log(self.ratio) + trust * math.log(max(self.ratio, self.worst_ratio)))


class Player:
    """One job on its way: told a price, it says whether to run; told what a forecast would do, it may follow.

    It keeps what was really paid, and from it the reservation price q: the lowest price that may be turned down. If all
    later prices were `high`, the cost would be exactly the target ratio times what the optimum could still be, were all
    prices turned down q:

        C + s + (k - i) U = ratio x (sum_j min(a_j, q) + (k - i) q + f)

    with i steps run at prices a_j for C in all. A price at or below q is taken, and while running one at or below
    q + s: a pause would cost s. When every a_j is at its threshold these are the thresholds of DTPR-min (section 3 of
    Lechowicz et al. 2023) and, without switches, the reservation prices of Lorenz et al. 2009. Those are set in
    advance, and that is not enough: k = 2, prices within 1 to 10, and the sequence 1, 2.327, 10 cost them 3.31 times
    the optimum where 2.89 is stated. The first step was cheap, but it used up the higher threshold. Reservation prices
    from what was paid keep the stated ratio; tests play against them.

    What a forecast asks for is followed as long as the target can be kept from there on; `trust` sets the target.
    """

    def __init__(self, problem: PauseResume, trust: float = 0.0) -> None:
        self.problem = problem
        self.target = problem.target(trust)
        self.done = 0
        self.running = False
        self.cost = 0.0
        self._taken: list[float] = []  # prices paid, ascending
        self._free = trust == 1

    def decide(self, price: float, left: int, wish: bool | None = None) -> bool:
        """Whether to run in this step; keeps account of it.

        Args:
            price: of this step [currency/step], within the bounds.
            left: steps there are, this one included, >= what is still to run.
            wish: what a forecast would do; None is no forecast.

        Raises:
            InvalidQuantity: a price outside the bounds, on which every guarantee rests.
            PlanInfeasible: too few steps are left.
        """
        missing = self.problem.steps - self.done
        if missing > left:
            raise PlanInfeasible("too few steps are left", f"{missing - left} steps", "Give it a later deadline")
        slack = _RELATIVE * self.problem.high
        if not self.problem.low - slack <= price <= self.problem.high + slack:
            given = f"{price} outside {self.problem.low} to {self.problem.high}"
            raise InvalidQuantity("price", given, "widen the bounds: the guarantee holds within them only")
        runs = missing > 0 and (missing == left or self._chooses(price, wish))
        if runs:
            self.cost += price + self._entry()
            insort(self._taken, price)
            self.done += 1
        self.running = runs
        return runs

    def _chooses(self, price: float, wish: bool | None) -> bool:
        if self._free and wish is not None:
            return wish
        slack = _RELATIVE * self.problem.high
        reserve = self._reserve(self._taken, self.cost)
        robust = price <= reserve + (self.problem.switch if self.running else 0.0) + slack or self.problem.through
        if wish is None or wish == robust:
            return robust
        if wish:
            return self._safe_after(price, reserve)
        # Turning a price down that is not below the reservation price keeps the target.
        return price < reserve - slack or self.problem.through

    def _entry(self) -> float:
        if self.running:
            return 0.0
        return self.problem.switch if self.done else self.problem.first

    def _safe_after(self, price: float, before: float) -> bool:
        """Whether the target can be kept once this price is paid, whatever comes."""
        problem, taken, cost = self.problem, list(self._taken), self.cost + price + self._entry()
        insort(taken, price)
        # What was turned down was so at earlier reservation prices, so they must never rise.
        if self._reserve(taken, cost) > before + _RELATIVE * problem.high:
            return False
        # The dearest that can come: every further step at its reservation price, after a pause.
        while len(taken) < problem.steps:
            reserve = self._reserve(taken, cost)
            if reserve < problem.low:
                return True
            cost += reserve + problem.switch
            insort(taken, reserve)
        return cost <= self.target * (problem.steps * problem.low + problem.first) * (1 + _RELATIVE)

    def _reserve(self, taken: list[float], cost: float) -> float:
        problem, left = self.problem, self.problem.steps - len(taken)
        if not left:
            return -math.inf
        restart = problem.switch if taken else problem.first
        optimum = (cost + restart + left * problem.high) / self.target - problem.first
        below = 0.0
        for count, price in enumerate(taken):
            reserve = (optimum - below) / (problem.steps - count)
            if reserve <= price:
                return reserve
            below += price
        return (optimum - below) / left


@dataclass(frozen=True, slots=True, eq=False)
class Played:
    """A sequence played to its end.

    Attributes:
        runs: in which steps it ran, shape (T,).
        cost: prices paid, pauses and first start [currency].
        target: the ratio to the optimum that was promised.
    """

    runs: Bools
    cost: float
    target: float


def play(
    problem: PauseResume,
    prices: Floats,
    *,
    trust: float = 0.0,
    forecast: Callable[[int], Floats] | None = None,
) -> Played:
    """Play a whole sequence: at each step its price is seen, then it is decided.

    Args:
        prices: shape (T,), T >= `problem.steps`.
        trust: 0 keeps `problem.ratio` and follows the forecast only as far as that allows; 1 follows it always.
        forecast: of the prices after step t, as known at t, shape (T - t - 1,); None plays without.

    With trust 1 and a forecast that comes true, the cost is the optimum's.

    >>> problem = PauseResume(2, 1.0, 10.0)
    >>> prices = np.array([6.0, 3.0, 9.0, 2.0, 10.0])
    >>> played = play(problem, prices)
    >>> played.runs.tolist(), played.cost, round(played.target, 3)
    ([False, True, False, True, False], 5.0, 2.892)
    """
    player = Player(problem, trust)
    runs = np.zeros(len(prices), dtype=np.bool_)
    for t, price in enumerate(prices.tolist()):
        left = len(prices) - t
        wish: bool | None = None
        if forecast is not None and player.done < problem.steps:
            ahead = np.concatenate([[price], forecast(t)])
            wish = bool(cheapest(problem, ahead, done=player.done, running=player.running)[0])
        runs[t] = player.decide(price, left, wish)
    return Played(runs, player.cost, player.target)


def cost_of(problem: PauseResume, prices: Floats, runs: Bools) -> float:
    """What running in these steps costs: prices, switches between runs, first start."""
    begins = int(runs[0]) + int(np.count_nonzero(runs[1:] & ~runs[:-1]))
    return float(prices[runs].sum()) + problem.first + (begins - 1) * problem.switch


def cheapest(problem: PauseResume, prices: Floats, *, done: int = 0, running: bool = False) -> Bools:
    """The steps an optimum runs in, shape (T,), of equals the earliest runs: a dynamic programme over the steps left.

    Args:
        done: steps that ran before. running: whether the last one did.

    Raises:
        PlanInfeasible: fewer steps than are still to run.
    """
    left = problem.steps - done
    if left > len(prices):
        raise PlanInfeasible("too few steps are left", f"{left - len(prices)} steps", "Give it a later deadline")
    start = problem.switch if done else problem.first
    # cost[r]: least cost from here on with r steps to run, if the step before ran, or did not.
    after_run, after_rest = np.full((2, left + 1), np.inf)
    after_run[0] = after_rest[0] = 0.0
    goes: list[tuple[Bools, Bools]] = []
    for price in prices[::-1].tolist():
        ran = np.full(left + 1, np.inf)
        ran[1:] = price + after_run[:-1]
        entry = np.full(left + 1, problem.switch)
        entry[left] = start
        goes.append((ran <= after_rest, ran + entry <= after_rest))
        after_run, after_rest = np.minimum(ran, after_rest), np.minimum(ran + entry, after_rest)
    runs = np.zeros(len(prices), dtype=np.bool_)
    for t, (on, off) in enumerate(reversed(goes)):
        running = bool((on if running else off)[left]) and left > 0
        runs[t] = running
        left -= int(running)
    return runs
