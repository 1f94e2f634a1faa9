"""A placement found: what each way to place costs on average and in the tail, the premium of the hedge, and a proof."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from outweigh.core.plan import Certificate
from outweigh.plan.placement.measures import concentration, cvar
from outweigh.plan.placement.problem import Candidate, Grouping, Question
from outweigh.plan.placement.program import Floats, Program, recourse
from outweigh.plan.placement.proof import Leaf
from outweigh.plan.placement.scenarios import is_drawn, program_of
from outweigh.plan.placement.sensitivity import Stable, probability_ranges, weight_ranges
from outweigh.plan.placement.solving import Solved, Solver

AS_NOW, CHEAPEST, HEDGED = "as now", "cheapest on average", "hedged"
METHOD = (
    "Lagrangian dual of the two-stage programme, evaluated case by case over the sites that are opened or not; "
    "multipliers proposed by HiGHS"
)
_FRESH_SAMPLES = 10_000
_MOST_PERFECT = 64  # scenarios to solve one by one

Progress = Callable[[str, float], None]


def silent(_what: str, _fraction: float) -> None:
    """Progress that nobody watches."""


@dataclass(frozen=True, slots=True, eq=False)
class Way:
    """One way to place the load, and what it comes to. Money is in the question's currency, for the whole term.

    Attributes:
        shares: planned, of the load, by site, in the order of the candidates; all of them, zeros too.
        opened: sites with a planned share, and those that are paid for to stand by; `opening` is what that costs.
        expected, tail: mean and CVaR, opening included.
        runs: mean share that runs at each site once the scenario is known.
        moved, unserved: mean shares of the load that are moved after the scenario is known, and that run nowhere.
        scenario_cost: by scenario, opening included, shape (S,).
        hhi: by grouping.
    """

    name: str
    shares: dict[str, float]
    opened: tuple[str, ...]
    opening: float
    expected: float
    tail: float
    runs: dict[str, float]
    moved: float
    unserved: float
    scenario_cost: Floats
    hhi: dict[Grouping, float]


@dataclass(frozen=True, slots=True)
class Declared:
    """What a declared scenario costs the hedged placement on average [currency], and how much of it is regret: the
    cost beyond what a placement made for this scenario alone would have had. None where that was not worked out."""

    name: str
    probability: float
    cost: float
    regret: float | None


@dataclass(frozen=True, slots=True, eq=False)
class Placement:
    """Ways to place a load: as now, the cheapest on average, and the hedged one.

    Attributes:
        ways: as now first; it may break the caps, and says so in the notes.
        premium: expected cost of the hedged way over the cheapest, as a share of the latter.
        tail_cut: by how much its CVaR is lower, as a share of the cheapest way's.
        certificate: of the hedged way, and `leaves` its proof; `average` and `average_leaves` those of the cheapest.
        declared: cost and regret by declared scenario.
        perfect_information: expected cost that knowing the scenario beforehand would save the cheapest way; None
            where there are too many scenarios to solve one by one.
        stochastic_solution: expected cost that planning for the mean scenario adds to the cheapest way's.
        fresh: expected cost and CVaR of the hedged way on scenarios drawn anew; None where none were drawn.
        weights, probabilities: ranges in which the hedged way keeps its sites.
        scenarios: how many states of the world were counted.
    """

    question: Question
    ways: tuple[Way, ...]
    premium: float
    tail_cut: float
    certificate: Certificate
    leaves: tuple[Leaf, ...]
    average: Certificate
    average_leaves: tuple[Leaf, ...]
    declared: tuple[Declared, ...]
    perfect_information: float | None
    stochastic_solution: float
    fresh: tuple[float, float] | None
    weights: tuple[Stable, ...]
    probabilities: tuple[Stable, ...]
    scenarios: int
    notes: tuple[str, ...]

    def way(self, name: str) -> Way:
        return next(way for way in self.ways if way.name == name)


def place_load(question: Question, *, sensitivity: bool = True, progress: Progress = silent) -> Placement:
    """Shares of a load over sites under declared scenarios, with risk weighed by the question's `risk_weight`.

    First stage: shares and sites to open, the same in all scenarios. Second stage: once the scenario is known, load
    moves between open sites at the price of moving, and what finds no place goes unserved at its price. Minimised is
    ``(1 - w) mean + w CVaR`` of the cost, carbon at its price included.

    Args:
        sensitivity: also find the ranges of w and of the probabilities in which the choice of sites stays.

    Raises:
        PlanInfeasible: the caps leave part of the load without a place; says how much.
        UsageError, InvalidQuantity: as `Question` and `program_of`.

    Two sites, alike but for a price shock that hits each with 1 in 20: half and half costs no more on average and
    the worst twentieth is 1.75 instead of 2.5 times as dear as a year without a shock, near enough.

    >>> from datetime import UTC, datetime
    >>> from outweigh.core import CarbonIntensity, Energy, Interval, Money, Power, Price, PueCurve, Site
    >>> from outweigh.plan.placement.problem import Candidate, Change, Scenario, Shock
    >>> def site(name: str) -> Candidate:
    ...     return Candidate(Site(name, name, PueCurve(1, 1), Power.kw(9), CarbonIntensity(0), Price(0.1, "EUR")))
    >>> year = Interval(datetime(2026, 1, 1, tzinfo=UTC), datetime(2027, 1, 1, tzinfo=UTC))
    >>> asked = Question(
    ...     (site("here"), site("there")),
    ...     Energy.kwh(8760),
    ...     year,
    ...     "here",
    ...     Money(0, "EUR"),
    ...     (Scenario("as today", 1.0),),
    ...     Price(9, "EUR"),
    ...     (Shock("price", 0.05, Change(price_factor=2.5)),),
    ... )
    >>> found = place_load(asked)
    >>> [(way.name, round(way.expected), round(way.tail)) for way in found.ways]
    [('as now', 942, 2190), ('cheapest on average', 942, 2190), ('hedged', 942, 1566)]
    >>> found.way("hedged").shares, found.certificate.gap < 1e-3
    ({'here': 0.5, 'there': 0.5}, True)
    """
    progress("scenarios", 0.0)
    program = program_of(question)
    solver = Solver(program)
    progress("cheapest on average", 0.1)
    cheapest = solver.solve(0.0)
    progress("hedged", 0.2)
    hedged = solver.solve() if question.risk_weight > 0 else cheapest
    now_shares, now_opened = _as_now(question, program)
    ways = (
        _way(AS_NOW, question, program, now_shares, now_opened),
        _way(CHEAPEST, question, program, cheapest.shares, cheapest.opened),
        _way(HEDGED, question, program, hedged.shares, hedged.opened),
    )
    as_now, average, hedge = ways
    progress("perfect foresight", 0.4)
    known = _known_beforehand(program) if len(program.cost) <= _MOST_PERFECT else None
    progress("sensitivity", 0.6)
    weights = weight_ranges(solver, hedged, question.risk_weight, question.names) if sensitivity else ()
    odds: tuple[Stable, ...] = ()
    if sensitivity:
        odds = probability_ranges(program, question, hedged, lambda what, part: progress(what, 0.7 + 0.3 * part))
    progress("done", 1.0)
    return Placement(
        question=question,
        ways=ways,
        premium=_relative(hedge.expected - average.expected, average.expected),
        tail_cut=_relative(average.tail - hedge.tail, average.tail),
        certificate=_certificate(hedged, question.currency),
        leaves=hedged.leaves,
        average=_certificate(cheapest, question.currency),
        average_leaves=cheapest.leaves,
        declared=_declared(question, program, hedge, known),
        perfect_information=None if known is None else max(average.expected - float(program.probability @ known), 0.0),
        stochastic_solution=_mean_planned(program) - average.expected,
        fresh=_judged_afresh(question, hedged),
        weights=weights,
        probabilities=odds,
        scenarios=len(program.cost),
        notes=tuple(_notes(question, program, as_now, hedge, known is None)),
    )


def home_first(question: Question, program: Program) -> Floats:
    """Shares with as much as fits at home and the rest in the order the sites are given, whatever the caps say."""
    room = _capacity(question)
    shares = np.zeros(len(room))
    rest = 1.0
    for index in sorted(range(len(room)), key=lambda i: question.names[i] != question.home):
        shares[index] = min(rest, room[index])
        rest -= shares[index]
    return shares


def _as_now(question: Question, program: Program) -> tuple[Floats, Floats]:
    shares = home_first(question, program)
    return shares, (shares > 0).astype(np.float64)


def _capacity(question: Question) -> Floats:
    """What each site can hold of the load today, shape (N,)."""
    from outweigh.plan.serving import planning_pue

    load_w = question.energy_it.per(question.interval.seconds).watts
    held = [one.site.capacity.watts / (load_w * planning_pue(one.site)) for one in question.candidates]
    return np.asarray(np.minimum(np.array(held), 1.0))


def _way(name: str, question: Question, program: Program, shares: Floats, opened: Floats) -> Way:
    paid = float(program.opening @ opened)
    done = recourse(program, shares, opened)
    cost, p = paid + done.cost, program.probability
    # A site that costs nothing to open is open to what moves; it is named only where load is planned there.
    used = [i for i in range(len(shares)) if shares[i] > 0 or (opened[i] and program.opening[i] > 0)]
    placed = [(question.candidates[i], float(shares[i])) for i in used]
    return Way(
        name=name,
        shares={name: float(share) for name, share in zip(question.names, shares, strict=True)},
        opened=tuple(question.names[i] for i in used),
        opening=paid,
        expected=float(p @ cost),
        tail=cvar(cost, p, program.tail),
        runs={name: float(share) for name, share in zip(question.names, p @ done.runs, strict=True)},
        moved=float(p @ done.moved.sum(axis=1)),
        unserved=float(p @ done.unserved),
        scenario_cost=cost,
        hhi={by: concentration(_shares_by(placed, by)) for by in Grouping},
    )


def _shares_by(placed: list[tuple[Candidate, float]], by: Grouping) -> list[tuple[str, float]]:
    return [(candidate.group(by), share) for candidate, share in placed]


def _certificate(solved: Solved, currency: str) -> Certificate:
    return Certificate(solved.objective, solved.bound, solved.gap, currency, METHOD)


def _relative(part: float, whole: float) -> float:
    return part / abs(whole) if whole else 0.0


def _known_beforehand(program: Program) -> Floats:
    """The least cost of each scenario if it had been known, opening included, shape (S,)."""
    return np.array([Solver(program.only(s)).solve(0.0).objective for s in range(len(program.cost))])


def _mean_planned(program: Program) -> float:
    """Expected cost of the placement that is best for the mean scenario."""
    mean = program.mean()
    planned = Solver(mean).solve(0.0)
    paid = float(program.opening @ planned.opened)
    return paid + float(program.probability @ recourse(program, planned.shares, planned.opened).cost)


def _declared(question: Question, program: Program, way: Way, known: Floats | None) -> tuple[Declared, ...]:
    found = []
    for number, scenario in enumerate(question.scenarios):
        of_it = program.label == number
        odds = program.probability[of_it]
        # A scenario of probability 0 is still a scenario: all its draws are alike likely.
        odds = odds / odds.sum() if odds.sum() > 0 else np.full(len(odds), 1 / len(odds))
        cost = float(odds @ way.scenario_cost[of_it])
        regret = None if known is None else max(cost - float(odds @ known[of_it]), 0.0)
        found.append(Declared(scenario.name, scenario.probability, cost, regret))
    return tuple(found)


def _judged_afresh(question: Question, solved: Solved) -> tuple[float, float] | None:
    if not is_drawn(question):
        return None
    fresh = program_of(question, seed=question.seed + 1, samples=max(_FRESH_SAMPLES, question.samples))
    cost = float(fresh.opening @ solved.opened) + recourse(fresh, solved.shares, solved.opened).cost
    return float(fresh.probability @ cost), cvar(cost, fresh.probability, fresh.tail)


def _notes(question: Question, program: Program, as_now: Way, hedge: Way, too_many: bool) -> list[str]:
    notes = []
    if sum(as_now.shares.values()) < 1 - 1e-9:
        missing = 1 - sum(as_now.shares.values())
        notes.append(f"As now, {missing:.1%} of the load has no place at all; it goes unserved.")
    crowded = [
        f"{by} {name} ({share:.0%} of at most {question.caps.of(by):.0%})"
        for by in Grouping
        for name, share in _by_name(question, as_now, by).items()
        if name and share > question.caps.of(by) + 1e-9
    ]
    if crowded:
        notes.append(f"As now breaks caps: {', '.join(crowded)}. It is shown for comparison.")
    if abs(hedge.expected - as_now.expected) <= 1e-3 * abs(as_now.expected):
        notes.append("The hedged placement costs as much on average as what is done now, to within a thousandth.")
    if is_drawn(question):
        notes.append(f"The shocks are sampled ({len(program.cost)} draws, seed {question.seed}): another seed differs.")
    if too_many:
        notes.append(f"Regret needs one placement a scenario; beyond {_MOST_PERFECT} scenarios it is left out.")
    notes.append("Caps and concentration are of the planned shares.")
    notes += _beyond_caps(question, program, hedge)
    notes.append("Scenarios and their odds are declared, not forecast: see the ranges in which the sites stay.")
    basis = question.candidates[0].site.intensity
    notes.append(f"Carbon is {basis.basis}-based ({basis.scope}), one figure a site for the whole term.")
    return notes


def _beyond_caps(question: Question, program: Program, hedge: Way) -> list[str]:
    """Where more runs than a cap allows to plan, once load has moved."""
    shares = np.array([hedge.shares[name] for name in question.names])
    is_open = np.array([name in hedge.opened for name in question.names]) | (program.opening == 0)
    runs = recourse(program, shares, is_open.astype(np.float64)).runs
    found = []
    for by in Grouping:
        names = [candidate.group(by) for candidate in question.candidates]
        for name in dict.fromkeys(names):
            share = runs[:, [one == name for one in names]].sum(axis=1)
            over = share > question.caps.of(by) + 1e-6
            if name and over.any():
                odds = float(program.probability[over].sum())
                found.append(f"{by} {name} up to {share.max():.0%} (odds {odds:.0%})")
    return [f"Once load has moved, more than the cap runs in {', '.join(found)}."] if found else []


def _by_name(question: Question, way: Way, by: Grouping) -> dict[str, float]:
    found: dict[str, float] = {}
    for candidate in question.candidates:
        name = candidate.group(by)
        found[name] = found.get(name, 0.0) + way.shares[candidate.site.name]
    return found
