"""The search for a cheaper combination of levers, and the verdict on what it ends with.

    first looks      combinations in batches, few items each, beside the base
    re-measurement   the front and what lies near it, on more items; a third of a rung goes on
    verdict          the cheapest that meet the bar, on items that the search never saw

Levers do not compose: what two save together has to be measured. Whatever is measured is kept at once; a search that
was stopped goes on where it was, and asks for nothing that it has.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field

from outweigh.shrink.search_bench import Order, Sweep
from outweigh.shrink.search_judging import Bar, Judged, Seen, judge, may_go_on, nominees, promoted
from outweigh.shrink.search_kept import HELD_OUT, Failure, Kept
from outweigh.shrink.search_proposing import Proposal, Proposer
from outweigh.shrink.search_series import Series
from outweigh.shrink.search_space import Combination, name_of
from outweigh.shrink.search_split import Split, parts

_FIRST_LOOKS_SHARE = 0.5  # of the seconds or joules: the rest is for looking again

Progress = Callable[[str, float], None]


@dataclass(frozen=True, slots=True)
class Limits:
    """When a search stops trying. None does not limit. The verdict is reached in any case, and costs what it costs.

    Attributes:
        trials: combinations looked at, counted over all legs of the search.
        seconds: wall time [s], over all legs.
        energy_j: by the search's receipts [J], over all legs.
    """

    trials: int
    seconds: float | None = None
    energy_j: float | None = None

    def used(self, seconds: float, energy_j: float) -> float:
        """The larger of the shares of seconds and joules that are gone."""
        by_time = 0.0 if self.seconds is None else seconds / self.seconds
        by_energy = 0.0 if self.energy_j is None else energy_j / self.energy_j
        return max(by_time, by_energy)


@dataclass(frozen=True, slots=True, eq=False)
class Found:
    """What a search ends with.

    Attributes:
        seen: every combination that could be measured, on the search's items, in the order first looked at.
        failures: every one that could not, and why.
        judged: the nominees on the held-out items, in the order nominated; empty when nothing was nominated.
        chosen: the cheapest that is shown, None when none is.
        stopped: what ended the trying: "trials", "budget" or "nothing left to try".
        making_j: IT energy [J] of applying the levers of each combination, where it is known.
        seconds, energy_j: of the whole search, all legs; the verdict's included.
    """

    seen: tuple[Seen, ...]
    failures: tuple[Failure, ...]
    judged: tuple[Judged, ...]
    chosen: Judged | None
    stopped: str
    making_j: Mapping[Combination, float]
    seconds: float
    energy_j: float


@dataclass(slots=True)
class Search:
    """One search: where things are kept, who proposes, who measures.

    Attributes:
        base: name of the variant that combinations are made from.
        mix_standard: relative standard uncertainty [k = 1] that one instruction mix leaves on an energy.
        correct: adjusts p-values for several tests at once.
        drawn_j: what this leg has drawn by its receipts until now [J].
        before_j: what the legs before it drew [J].
        metered: opened around what the search itself does between looks.
    """

    base: str
    split: Split
    bar: Bar
    limits: Limits
    kept: Kept
    proposer: Proposer
    sweep: Sweep
    correct: Callable[[Sequence[float]], Sequence[float]]
    mix_standard: float = 0.0
    drawn_j: Callable[[], float] = float
    before_j: float = 0.0
    metered: Callable[[], AbstractContextManager[object]] = nullcontext
    progress: Progress = lambda what, share: None
    _began_s: float = field(default_factory=time.monotonic)

    def run(self) -> Found:
        """Search, or go on searching, and judge.

        Raises:
            ModelError, LeverError, ...: the base itself cannot be made, loaded or measured.
            UnusableMeasurement: a look at several combinations could not be read.
        """
        stopped = self._first_looks()
        for rung in range(1, len(self.split.rungs)):
            if self._used() >= 1:
                stopped = "budget"
                break
            with self.metered():
                going_on = promoted([self._seen(one, rung - 1) for one in self._alive(rung - 1)], self.bar)
            if len(going_on) == 1 and going_on[0].meets(self.bar):
                break  # nothing is left to choose between; the verdict has items of its own
            self._look_again(rung, [seen.combination for seen in going_on])
        finalists = self._finalists()
        self._judge(finalists)
        with self.metered():
            left = [one for one in finalists if self._is_whole(one, HELD_OUT, parts(self.split.held_out))]
            judged = judge([self._seen(one, HELD_OUT) for one in left], self.bar, self.correct) if left else []
        self._tick()
        shown = sorted((one for one in judged if one.shown), key=lambda one: one.energy_ratio.value)
        return Found(
            seen=tuple(self._seen(one) for one in self.kept.measured()),
            failures=tuple(self.kept.failures()),
            judged=tuple(judged),
            chosen=shown[0] if shown else None,
            stopped=stopped,
            making_j=self._making_j(),
            seconds=self._seconds(),
            energy_j=self.before_j + self.drawn_j(),
        )

    def _first_looks(self) -> str:
        while True:
            tried = self._tried()
            if len(tried) >= self.limits.trials:
                return "trials"
            if self._used() >= _FIRST_LOOKS_SHARE and tried:
                return "budget"
            with self.metered():
                batch = self.proposer.batch(self.limits.trials - len(tried))
            if not batch:
                return "nothing left to try"
            new = [proposal.combination for proposal in batch if proposal.combination not in tried]
            self._measure([self._order((one,), 0, part) for one in new for part in range(len(self.split.rungs[0]))])
            with self.metered():
                self._tell(batch)

    def _tell(self, batch: Sequence[Proposal]) -> None:
        for proposal in sorted(batch, key=lambda one: one.number):
            if any(failure.combination == proposal.combination for failure in self.kept.failures()):
                self.proposer.tell(proposal.number, None, {})
            else:
                seen = self._seen(proposal.combination, 0)
                self.proposer.tell(proposal.number, (seen.energy_ratio, seen.latency_ratio), seen.constraints(self.bar))

    def _look_again(self, rung: int, combinations: list[Combination]) -> None:
        for part, items in enumerate(self.split.rungs[rung]):
            if self._used() >= 1:
                return
            self._together(rung, part, items, combinations)

    def _judge(self, finalists: list[Combination]) -> None:
        for part, items in enumerate(parts(self.split.held_out)):
            self._together(HELD_OUT, part, items, finalists)

    def _together(self, rung: int, part: int, items: tuple[int, ...], combinations: Sequence[Combination]) -> None:
        """One part, all of them interleaved; without the one that fails, where one does."""
        while True:
            dead = {failure.combination for failure in self.kept.failures()}
            missing = tuple(one for one in combinations if one not in dead and not self.kept.has(one, rung, part))
            if not missing:
                return
            self._measure([Order(missing, rung, part, items)])

    def _measure(self, orders: Sequence[Order]) -> None:
        wanted = [one for one in orders if not all(self.kept.has(c, one.rung, one.part) for c in one.combinations)]
        for done in self.sweep.run(wanted) if wanted else ():
            if done.failure is not None:
                self.kept.add_failure(done.failure, done.steps)
            elif done.base is not None:
                self.kept.add_part(done.order.rung, done.order.part, done.base, done.own, done.steps)
            self._tick()
            tried = len(self._tried())
            names = ", ".join(name_of(self.base, one) for one in done.order.combinations)
            share = max(self._used(), tried / self.limits.trials) if done.order.rung == 0 else max(self._used(), 0.7)
            self.progress(_WHAT.get(done.order.rung, "looking again") + f": {names}", min(0.99, 0.7 * share))

    def _order(self, combinations: tuple[Combination, ...], rung: int, part: int) -> Order:
        return Order(combinations, rung, part, self.split.rungs[rung][part])

    def _finalists(self) -> list[Combination]:
        """From the last rung in which somebody meets the bar and saves energy."""
        for rung in reversed(range(len(self.split.rungs))):
            found = nominees([self._seen(one, rung) for one in self._alive(rung)], self.bar)
            if found:
                return [seen.combination for seen in found]
        return []

    def _alive(self, rung: int) -> list[Combination]:
        """Those that were looked at in this rung, whole, and have not failed."""
        dead = {failure.combination for failure in self.kept.failures()}
        return [
            one
            for one in self.kept.measured(rung)
            if one not in dead and self._is_whole(one, rung, self.split.rungs[rung])
        ]

    def _is_whole(self, combination: Combination, rung: int, wanted: Sequence[tuple[int, ...]]) -> bool:
        return all(self.kept.has(combination, rung, part) for part in range(len(wanted)))

    def _seen(self, combination: Combination, last: int = 2**31) -> Seen:
        """On the search's items, up to a rung: what is decided after it must not depend on what came later.

        Or on the held-out ones.
        """
        first = HELD_OUT if last == HELD_OUT else 0
        found = Seen.of(combination, self.kept.parts(combination, first, last))
        mix = math.sqrt(2) * self.mix_standard * max(_work_share(found.base), _work_share(found.own))
        return Seen(combination, found.base, found.own, mix)

    def _tried(self) -> set[Combination]:
        first = {one for one in self.kept.measured(0) if self._is_whole(one, 0, self.split.rungs[0])}
        return first | {failure.combination for failure in self.kept.failures()}

    def _making_j(self) -> dict[Combination, float]:
        steps = self.kept.steps()
        chains = {one: [one[: length + 1] for length in range(len(one))] for one in self.kept.measured()}
        return {
            one: sum(steps[prefix] for prefix in chain)
            for one, chain in chains.items()
            if all(prefix in steps for prefix in chain)
        }

    def _used(self) -> float:
        return self.limits.used(self._seconds(), self.before_j + self.drawn_j())

    def _seconds(self) -> float:
        return self.kept.earlier[0] + time.monotonic() - self._began_s

    def _tick(self) -> None:
        self.kept.tick(time.monotonic() - self._began_s, self.drawn_j())


_WHAT = {0: "first look", HELD_OUT: "verdict"}


def known_to(kept: Kept) -> Callable[[], Callable[[Combination], bool]]:
    """Says, as things stand, whether a combination was tried or begins with levers that were seen to fail."""

    def now() -> Callable[[Combination], bool]:
        tried, dead = set(kept.measured()), {failure.dead for failure in kept.failures()}
        failed = {failure.combination for failure in kept.failures()}

        def known(combination: Combination) -> bool:
            begins = (combination[: length + 1] for length in range(len(combination)))
            return combination in tried or combination in failed or any(begin in dead for begin in begins)

        return known

    return now


def short_of(found: Found, bar: Bar) -> str:
    """Why nothing was nominated."""
    if not found.seen:
        return "no combination could be measured"
    best = max(found.seen, key=lambda seen: (-max(seen.constraints(bar).values()), -seen.energy_ratio))
    name = " + ".join(best.combination)
    if any(seen.meets(bar) for seen in found.seen):
        return f"nothing that reaches the bar ({bar.words()}) saves energy; the nearest is {name}"
    refuted = sum(not may_go_on(seen, bar) for seen in found.seen)
    return (
        f"nothing reaches the bar ({bar.words()}): {refuted} of {len(found.seen)} combinations are shown to miss it; "
        f"{name} comes nearest, with {best.own.metric(bar.metric):.4g} against the base's "
        f"{best.base.metric(bar.metric):.4g}"
    )


def _work_share(series: Series) -> float:
    total = float(series.work_j.sum() + series.hum_j.sum())
    return float(series.work_j.sum()) / total if total > 0 else 1.0
