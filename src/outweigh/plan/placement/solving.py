"""The cheapest placement: cuts from the recourse, a small programme for HiGHS, branching on the sites to open.

The recourse is a knapsack with a known answer and a known slope, so the first stage is found by cutting planes (the
L-shaped method; Van Slyke and Wets, SIAM Journal on Applied Mathematics 17(4), 1969) with one cut per bundle of
scenarios (Birge and Louveaux, European Journal of Operational Research 34(3), 1988) for the mean and one for the
excess over the VaR. Cuts hold for every weight of risk and every set of open sites, so they are kept.
"""

from __future__ import annotations

import heapq
from dataclasses import dataclass, replace
from itertools import count

import numpy as np
from numpy.typing import NDArray

from outweigh.core.errors import PlanInfeasible
from outweigh.plan.highs import quiet_highs
from outweigh.plan.placement.measures import tail_weights
from outweigh.plan.placement.program import (
    Floats,
    Program,
    marginal_price,
    objective,
    pieces,
)
from outweigh.plan.placement.proof import Leaf, fewest_sites, leaf_bound, site_values

_BUNDLES = 20  # of scenarios: fewer need more rounds, more make each round dearer
_ROUNDS = 400  # of cuts in one node; a few dozen are the rule
_NODES = 400
_IDLE = 5  # nodes
_TINY = 1e-9  # a share that is rounding
_FEASIBLE = 1e-9


@dataclass(frozen=True, slots=True, eq=False)
class Solved:
    """A placement and the proof of how good it is.

    Attributes:
        shares: shape (N,), sum to 1. opened: 1 where open, shape (N,).
        objective, bound: [currency].
        leaves: the proof of the bound.
    """

    shares: Floats
    opened: Floats
    objective: float
    bound: float
    leaves: tuple[Leaf, ...]

    @property
    def gap(self) -> float:
        return (self.objective - self.bound) / (abs(self.objective) or 1.0)


@dataclass(slots=True, eq=False)
class _Cut:
    """A plane under the cost of a bundle; `counts` is 1 where a scenario of it counts, `prices` are those of the point
    where it was taken, `idle` is for how many solutions it has not been needed."""

    bundle: int
    of_tail: bool
    counts: Floats
    prices: Floats
    idle: int = 0


class Solver:
    """Finds placements of one programme, for any weight of risk; what it learns for one serves the next."""

    def __init__(self, program: Program, *, goal_gap: float = 1e-3) -> None:
        """
        Raises:
            PlanInfeasible: the caps leave part of the load without a place.
        """
        self._program = program
        self._goal = goal_gap
        _check_reach(program)
        self._master = _Master(program)

    def solve(self, risk_weight: float | None = None) -> Solved:
        """The best placement at this weight of risk (the programme's own by default)."""
        program = self._program if risk_weight is None else self._program.weighted(risk_weight)
        master = self._master
        master.weigh(program)
        number = count()
        root = best = master.bounded(program, frozenset(), frozenset(), self._goal)
        if root.upper == np.inf:
            raise PlanInfeasible(
                "HiGHS found no placement, although the caps leave room for one", "0 % of the load",
                "Report this with the file; a smaller spread of costs may help until then",
            )  # fmt: skip
        if root.branch is not None:
            used = frozenset(np.flatnonzero((root.shares > 0) | (root.opened > 0)).tolist())
            dived = master.bounded(program, frozenset(range(len(root.shares))) - used, used, self._goal)
            best = min(root, dived, key=lambda node: node.upper)
        heap = [(root.leaf_bound, next(number), root)]
        done: list[tuple[float, Leaf]] = []
        for _ in range(_NODES):
            good_enough = best.upper - self._goal * abs(best.upper)
            if not heap or heap[0][0] >= good_enough:
                break
            _, _, node = heapq.heappop(heap)
            if node.branch is None:
                done.append((node.leaf_bound, node.leaf))
                continue
            case, decided = _decided(program, node.leaf, good_enough)
            done += decided
            branch = frozenset({node.branch})
            for closed, opened in ((branch, frozenset()), (frozenset(), branch)):
                if (closed & case.opened) or (opened & case.closed):
                    continue
                child = master.bounded(program, case.closed | closed, case.opened | opened, self._goal, best.upper)
                if child.upper < best.upper:
                    best = child
                heapq.heappush(heap, (child.leaf_bound, next(number), child))
        done += [(node.leaf_bound, node.leaf) for _, _, node in heap]
        bound = min(best.upper, *(bound for bound, _ in done))
        return Solved(best.shares, best.opened, best.upper, bound, tuple(leaf for _, leaf in done))


def _decided(program: Program, leaf: Leaf, good_enough: float) -> tuple[Leaf, list[tuple[float, Leaf]]]:
    """The case with what its own multipliers decide: sites whose opening, or closing, cannot lead to anything better.

    Every decision leaves a leaf of the proof: the case it rules out, with these multipliers.
    """
    ruled_out: list[tuple[float, Leaf]] = []
    values = site_values(program, leaf)
    whole = leaf_bound(program, leaf)
    for site in np.flatnonzero(program.opening > 0).tolist():
        if site in leaf.closed or site in leaf.opened:
            continue
        # What a decided site adds is in the bound of all that follows, so what is ruled out later is ruled out by more.
        value = float(values[site])
        if whole + max(value, 0.0) >= good_enough:
            ruled_out.append((whole + max(value, 0.0), replace(leaf, opened=leaf.opened | {site})))
            leaf = replace(leaf, closed=leaf.closed | {site})
            whole -= min(value, 0.0)
        elif whole - min(value, 0.0) >= good_enough:
            ruled_out.append((whole - min(value, 0.0), replace(leaf, closed=leaf.closed | {site})))
            leaf = replace(leaf, opened=leaf.opened | {site})
            whole += max(value, 0.0)
    return leaf, ruled_out


@dataclass(frozen=True, slots=True, eq=False)
class _Node:
    """A case solved: a placement that is allowed with its cost, the proof of its bound, where to branch."""

    shares: Floats
    opened: Floats
    upper: float
    leaf: Leaf
    leaf_bound: float
    branch: int | None


class _Master:
    """The first stage for HiGHS: shares x, sites z, the mean and the excess of each bundle, and the VaR."""

    def __init__(self, program: Program) -> None:
        import highspy

        scenarios, sites = program.shape
        self._inf = highspy.kHighsInf
        self._optimal = highspy.HighsModelStatus.kOptimal
        self._highs = highs = quiet_highs()
        highs.setOptionValue("primal_feasibility_tolerance", 1e-9)
        highs.setOptionValue("dual_feasibility_tolerance", 1e-9)
        self._bundles = min(_BUNDLES, scenarios)
        self._bundle = np.arange(scenarios) % self._bundles
        self._member = np.zeros((self._bundles, scenarios))
        self._member[self._bundle, np.arange(scenarios)] = program.probability
        # No scenario costs less than all of it at its cheapest price; without a bound the first round has none.
        self._floor = program.slopes.min(axis=1)
        # HiGHS' tolerances are absolute, so the costs it sees are made to be about 1.
        self._unit = float(np.abs(self._floor).mean()) or float(np.abs(program.slopes).max()) or 1.0
        self._x, self._z = np.arange(sites), np.arange(sites, 2 * sites)
        self._mean = 2 * sites + np.arange(self._bundles)
        self._excess = 2 * sites + self._bundles + np.arange(self._bundles)
        self._var = 2 * sites + 2 * self._bundles
        self._opening = program.opening > 0
        self._cuts: list[_Cut] = []
        self._build(program)

    def _build(self, program: Program) -> None:
        highs, inf, unit = self._highs, self._inf, self._unit
        none: tuple[int, list[int], list[float]] = (0, [], [])
        for cap in program.cap:
            highs.addCol(0.0, 0.0, float(cap), *none)
        for opening in program.opening:
            # A site that costs nothing to open is open.
            highs.addCol(float(opening) / unit, 0.0 if opening > 0 else 1.0, 1.0, *none)
        for bundle in range(self._bundles):
            highs.addCol(0.0, float(self._member[bundle] @ self._floor) / unit, inf, *none)
        for _ in range(self._bundles):
            highs.addCol(0.0, 0.0, inf, *none)
        most = max(float(self._floor.max()), program.unserved)
        highs.addCol(0.0, float(self._floor.min()) / unit, most / unit, *none)
        self._whole = self._row(1.0, 1.0, self._x, np.ones(len(self._x)))
        self._capped = [self._row(-inf, g.cap, self._x[g.members], np.ones(g.members.sum())) for g in program.groups]
        self._fewest = self._row(float(fewest_sites(program)), inf, self._z, np.ones(len(self._z)))
        for site in np.flatnonzero(self._opening):
            self._row(-inf, 0.0, np.array([self._x[site], self._z[site]]), np.array([1.0, -program.cap[site]]))

    def _row(self, low: float, high: float, columns: NDArray[np.integer], values: Floats) -> int:
        row = int(self._highs.getNumRow())
        self._highs.addRow(low, high, len(columns), columns.astype(np.int32), values.astype(np.float64))
        return row

    def weigh(self, program: Program) -> None:
        w = program.risk_weight
        for column in self._mean:
            self._highs.changeColCost(int(column), 1 - w)
        for column in self._excess:
            self._highs.changeColCost(int(column), w / (1 - program.tail))
        self._highs.changeColCost(self._var, w)

    def bounded(
        self, program: Program, closed: frozenset[int], opened: frozenset[int], goal: float, upper: float = np.inf
    ) -> _Node:
        """The relaxation of a case, cut until it is exact to a tenth of the goal, or no better than `upper`."""
        for site in np.flatnonzero(self._opening).tolist():
            low, high = (0.0, 0.0) if site in closed else (1.0, 1.0) if site in opened else (0.0, 1.0)
            self._highs.changeColBounds(int(self._z[site]), low, high)
        for remaining in reversed(range(_ROUNDS)):
            self._highs.run()
            if self._highs.getModelStatus() != self._optimal:
                return self._impossible(program, closed, opened)
            info, solution = self._highs.getInfo(), self._highs.getSolution()
            values = np.asarray(solution.col_value)
            shares, opening = values[self._x].clip(0.0), values[self._z].clip(0.0, 1.0)
            lower = info.objective_function_value * self._unit
            off = objective(program, shares, opening) - lower
            if not remaining or lower >= upper or off <= 0.1 * goal * abs(lower) + 1e-12 * self._unit:
                break
            self._cut(program, shares, opening, float(values[self._var]) * self._unit)
        duals = np.asarray(solution.row_dual) * self._unit
        leaf = self._leaf(program, duals, closed, opened)
        self._forget(duals)
        found, shares, used = _cleaned(program, shares, opening, self._opening)
        undecided = np.minimum(opening, 1 - opening)
        branch = int(undecided.argmax()) if undecided.max(initial=0.0) > 1e-7 else None
        return _Node(shares, used, found, leaf, leaf_bound(program, leaf), branch)

    def _cut(self, program: Program, shares: Floats, opened: Floats, var: float) -> None:
        """Planes under the cost of the recourse that touch it here: its slope in the shares and in the opening.

        The excess is that over `var`, the master's VaR, where the plane has to touch; and that over the true VaR of
        this point, which the master will come to.
        """
        lengths = pieces(program, shares, opened)
        price = marginal_price(program, lengths)
        gain = np.maximum(price[:, np.newaxis] - program.slopes, 0.0)
        cost = price - (gain * lengths).sum(axis=1)
        sites = len(shares)
        kept, taken = gain[:, :sites], gain[:, sites : 2 * sites]
        if program.moving is None:
            taken = np.zeros_like(taken)
        worth = program.kept * (kept - taken)
        within = shares <= program.room * opened
        of_shares = -worth * within
        of_opening = -program.room * (program.kept * taken + worth * ~within)
        w = program.risk_weight
        over = [cost > var, tail_weights(cost, program.probability, program.tail) > 0]
        # The mean does not matter where only the tail is weighed, nor the tail where only the mean is.
        kinds = [(False, np.ones(len(cost)))] if w < 1 else []
        kinds += [(True, one.astype(np.float64)) for one in over] if w > 0 else []
        inf, unit = self._inf, self._unit
        for bundle, member in enumerate(self._member):
            seen = None
            for of_tail, counts in kinds:
                weight = member * counts
                if not weight.any() or (of_tail and seen is not None and np.array_equal(weight, seen)):
                    continue
                seen = weight if of_tail else None
                own = self._excess[bundle] if of_tail else self._mean[bundle]
                columns = np.concatenate([self._x, self._z, [own], [self._var] if of_tail else []])
                slope = np.concatenate([-(weight @ of_shares), -(weight @ of_opening)]) / unit
                values = np.concatenate([slope, [1.0], [weight.sum()] if of_tail else []])
                self._row(float(weight @ price) / unit, inf, columns, values)
                self._cuts.append(_Cut(bundle, of_tail, counts, price))

    def _forget(self, duals: Floats) -> None:
        """Drop what has not been needed for long: one plane too many is paid at every turn, a lost one found again."""
        first = len(duals) - len(self._cuts)
        for cut, dual in zip(self._cuts, duals[first:].tolist(), strict=True):
            cut.idle = 0 if dual > 0 else cut.idle + 1
        stale = [first + n for n, cut in enumerate(self._cuts) if cut.idle > _IDLE]
        if stale:
            self._highs.deleteRows(len(stale), np.array(stale, dtype=np.int32))
            self._cuts = [cut for cut in self._cuts if cut.idle <= _IDLE]

    def _leaf(self, program: Program, duals: Floats, closed: frozenset[int], opened: frozenset[int]) -> Leaf:
        """The multipliers of the cuts as weights and prices of scenarios: averages of those the cuts were taken at."""
        w, p = program.risk_weight, program.probability
        in_mean, in_tail = np.zeros_like(p), np.zeros_like(p)
        paid = np.zeros_like(p)
        for cut, dual in zip(self._cuts, duals[len(duals) - len(self._cuts) :].tolist(), strict=True):
            multiplier = max(dual / self._unit, 0.0)
            if multiplier > 0:
                weight = multiplier * p * (self._bundle == cut.bundle) * cut.counts
                paid += weight * cut.prices
                if cut.of_tail:
                    in_tail += weight
                else:
                    in_mean += weight
        # A bundle whose cost lies on its floor has no cut for the rest of its weight: the floor is its price there.
        rest = np.maximum((1 - w) * p - in_mean, 0.0)
        weights = in_mean + rest + in_tail
        prices = np.divide(paid + rest * self._floor, weights, out=self._floor.copy(), where=weights > 0)
        groups = np.array([max(-float(duals[row]), 0.0) for row in self._capped])
        count = max(float(duals[self._fewest]), 0.0)
        return Leaf(closed, opened, weights, prices, float(duals[self._whole]), groups, count)

    def _impossible(self, program: Program, closed: frozenset[int], opened: frozenset[int]) -> _Node:
        """A case whose sites cannot hold the load: multipliers that lift its bound above all else."""
        reach, groups = _reach(program, closed)
        dearest = float(np.abs(program.slopes).max()) + float(program.opening.sum())
        lift = 4 * dearest / max(1 - reach, _FEASIBLE)
        leaf = Leaf(closed, opened, program.probability, self._floor, lift, lift * groups)
        nothing = np.zeros(program.shape[1])
        return _Node(nothing, nothing, np.inf, leaf, leaf_bound(program, leaf), None)


def _cleaned(
    program: Program, shares: Floats, opening: Floats, paid: NDArray[np.bool_]
) -> tuple[float, Floats, Floats]:
    """Objective, shares without rounding, and the sites to open: those with a share, and where it pays those, too,
    that stand by for what moves. A site that costs nothing to open is open."""
    kept = np.where(shares > _TINY, shares, 0.0)
    kept /= kept.sum()
    needed = np.where(paid, kept > 0, True)
    sets = {tuple(one.tolist()): one for one in (needed, needed | (opening > 0.5))}
    found = [(objective(program, kept, one.astype(np.float64)), one) for one in sets.values()]
    upper, opened = min(found, key=lambda pair: pair[0])
    return upper, kept, opened.astype(np.float64)


def _check_reach(program: Program) -> None:
    reach, _ = _reach(program, frozenset())
    if reach < 1 - _FEASIBLE:
        raise PlanInfeasible(
            "the caps and capacities leave part of the load without a place",
            f"{1 - reach:.2%} of the load",
            "Raise a cap or a capacity, or add sites in another country, grid or with another provider",
        )


def _reach(program: Program, closed: frozenset[int]) -> tuple[float, Floats]:
    """The largest share that sites outside `closed` can hold, and multipliers of the groups that prove it."""
    cap = program.cap.copy()
    cap[list(closed)] = 0.0
    if not program.groups:
        return float(cap.sum()), np.zeros(0)
    from scipy.optimize import linprog

    rows = np.array([group.members for group in program.groups], dtype=np.float64)
    found = linprog(
        -np.ones_like(cap),
        A_ub=rows,
        b_ub=[group.cap for group in program.groups],
        bounds=list(zip(np.zeros_like(cap), cap, strict=True)),
        method="highs",
    )
    return -float(found.fun or 0.0), np.maximum(-np.asarray(found.ineqlin.marginals), 0.0)
