"""How variants are measured against each other: interleaved rounds, in random order, in one sitting.

The evaluation items are shuffled and split into rounds. In each round every variant runs the same items, in an order
drawn anew, so that drift of the machine falls on all alike and energy is paired by round; quality, latency and power
come from the same runs. Where a variant's round is too short for the meter, or for `protocol.window_s`, all run their
items again within one window, equally often, so that what a first pass costs weighs the same for all; quality and
latency are those of the first pass. The first variant runs twice a round, the second time under a
hidden name: what it differs by from itself is the noise floor of the sitting. A variant that fails is left out and
named, and the others go on. A receipt leaves for the ledger after every round: stopping in the middle loses nothing
that was measured, and the round that was cut short leaves a receipt that says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass, field
from datetime import timedelta
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from outweigh.compare.energy import LogRatio, log_ratio
from outweigh.compare.evidence import Evidence, Floats, Ints
from outweigh.compare.perunit import Facility, PerUnit, energy_per_unit
from outweigh.compare.sequential import Looks
from outweigh.compare.settling import settle
from outweigh.compare.steady import saturated, steps_of
from outweigh.compare.windows import repeats_for, shortest_window_s
from outweigh.core.budget import Phase
from outweigh.core.errors import ModelError, UnusableMeasurement, UsageError
from outweigh.core.measurement import Grade, Measurement
from outweigh.core.project import Protocol
from outweigh.core.receipt import Latency, MeterCost, Quality, Receipt, RunStatus
from outweigh.core.variant import Variant
from outweigh.measure.reading import HumReading, WindowReading
from outweigh.measure.receipts import receipt_for
from outweigh.measure.session import MeterSession
from outweigh.ports import ItemResults, Runner

AA = " (A/A)"  # what the second run of the first variant is called in `Comparison.order`
_ATTEMPTS = 2  # a round whose samples do not carry its energy is run once more
_NOTHING_TRAINED_S = 0.05  # a fit shorter than this did no work that a meter could see


@dataclass(frozen=True, slots=True)
class Sitting:
    """What every receipt of one comparison carries."""

    project: str
    unit: str
    batch: str
    labels: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Comparison:
    """What one sitting gave.

    Attributes:
        evidence: variant name -> what was measured of it, in the order given.
        order: for each round, the names in the order they ran.
        hum: the idle draw, observed before the rounds.
        seed: reproduces the split into rounds and the order.
        aa: the first variant against itself, second runs over first runs; None where it ran once a round.
        failed: variant name -> why it was left out.
        stopped: how the rounds ended where stopping early was asked for; None where all were to run.
        notes: what else a reader has to know, a sentence each.
    """

    evidence: Mapping[str, Evidence]
    order: tuple[tuple[str, ...], ...]
    hum: HumReading
    seed: int
    aa: LogRatio | None = None
    failed: Mapping[str, str] = field(default_factory=dict)
    stopped: Stopped | None = None
    notes: tuple[str, ...] = ()

    def ratio_confidence(self, confidence: float) -> float:
        """Confidence at which to take the t-interval of an energy ratio so that it covers at `confidence`.

        The same where all rounds were to run; more where the rounds were looked at as they came.
        """
        if self.stopped is None:
            return confidence
        return Looks(self.stopped.planned, confidence).level(self.stopped.rounds)


@dataclass(frozen=True, slots=True)
class Stopped:
    """How rounds that were looked at as they came ended (`outweigh.compare.sequential`).

    Attributes:
        rounds: run, of `planned`.
        reasons: variant name -> "decided", "narrow", or "" where it was neither when the rounds were over.
    """

    rounds: int
    planned: int
    reasons: Mapping[str, str]


@dataclass(slots=True)
class _Tally:
    """What is gathered of one variant while the rounds go by."""

    runner: Runner
    latency_ms: Floats
    scores: dict[str, Floats] = field(default_factory=dict)
    units: list[float] = field(default_factory=list)
    counts: dict[str, list[float]] = field(default_factory=dict)
    readings: list[WindowReading] = field(default_factory=list)
    receipts: list[str] = field(default_factory=list)
    fit: Measurement | None = None
    item_s: float | None = None
    drawn_j: float = 0.0  # by its rounds, whole
    saturated_s: float = 0.0
    whole_rounds: int = 0

    @property
    def variant(self) -> Variant:
        return self.runner.variant  # a fit may complete the content hash

    @property
    def spent_j(self) -> float:
        """IT energy of its evaluation and training so far."""
        return self.drawn_j + (self.fit.value.joules if self.fit else 0.0)


def run_protocol(
    session: MeterSession,
    runners: Sequence[Runner],
    *,
    n_items: int,
    protocol: Protocol,
    sitting: Sitting,
    facility: Facility,
    on_receipt: Callable[[Receipt], str | None],
    making_j: Mapping[str, float] | None = None,
    progress: Callable[[str, float], None] = lambda text, share: None,
    around: Callable[[Variant], AbstractContextManager[object]] = lambda variant: nullcontext(),
    essential: Collection[str] = (),
    confidence: float = 0.95,
    mix_standard: float = 0.0,
) -> Comparison:
    """Measure all variants against each other.

    The idle draw is observed first. Each runner's `fit` is metered as a training run of its own, then all are warmed
    up (`outweigh.compare.settling`) on a few items that do not count, and then the rounds begin. With
    `protocol.precision` they end early once every ratio to the first variant is decided or narrow
    (`outweigh.compare.sequential`).

    Args:
        session: an open meter session.
        runners: one per variant, at least one, with distinct names and content hashes filled in. The others are held
            against the first, which is also the one that runs twice a round.
        n_items: evaluation items of the task; `protocol.max_items` takes a random part of them.
        protocol: rounds, warm-up, windows, seed, how long the hum is observed. With fewer items than rounds there are
            as many rounds as items.
        sitting: what the receipts carry.
        facility: where the variants would serve, for the energy per unit.
        on_receipt: keeps a receipt durably; may return its address.
        making_j: variant name -> IT energy [J] that making it took (its levers), written off like its training.
        progress: told what is going on, and the share that is done in [0, 1].
        around: entered around every warm-up and every round of a variant: settings of the device that belong to it.
        essential: names without which there is nothing to say, beside the first.
        confidence: two-sided, of the intervals that stopping early looks at.
        mix_standard: as in `LogRatio`, for the same intervals.

    Raises:
        UsageError: no runner, or two of one name.
        UnusableMeasurement: fewer than two items or rounds, no idle draw known, a round that could not be read twice in
            a row, or that no number of repeats makes long enough for the meter.
        ModelError: an essential variant, or every variant but the first, gave scores or latencies that are not finite,
            other items than asked for, or other metrics than the variant before it.
    """
    names = [runner.variant.name for runner in runners]
    if not names or len(set(names)) != len(names):
        raise UsageError(
            f"these variants cannot be compared: {', '.join(names) or 'none'}", "Name one or more, each once"
        )
    rng = np.random.default_rng(protocol.seed)
    chunks = _rounds(n_items, protocol, rng)
    items = np.sort(np.concatenate(chunks))
    steps = len(runners) * (len(chunks) + 1) + 1
    done = 0

    def advance(text: str) -> None:
        nonlocal done
        progress(text, min(1.0, done / steps))
        done += 1

    advance("hum")
    # Who made the variants in the same session has listened already; the idle draw is listened to once.
    hum = session.latest_hum or session.hum(protocol.hum_s)

    bench = _Bench(session, sitting, on_receipt, max(0.0, protocol.window_s), shortest_window_s(session.meter))
    tallies = {runner.variant.name: _Tally(runner, np.full(items.size, np.nan)) for runner in runners}
    first = tallies[names[0]]
    needed = {names[0], *essential}
    failed: dict[str, str] = {}
    notes: list[str] = []

    def left_out(name: str, error: ModelError) -> None:
        """Go on without it. What it drew is in the ledger."""
        if name in needed or len(tallies) == 2:
            raise error
        failed[name] = str(error)
        del tallies[name]

    for name in names:
        advance(f"{name}: fit and warm-up")
        tally = tallies[name]
        try:
            tally.fit = bench.fit(tally.runner)
            with around(tally.variant):
                settled = settle(tally.runner, [int(item) for item in chunks[0]], protocol, session.clock)
        except ModelError as error:
            left_out(name, error)
            continue
        tally.item_s = settled.item_s
        if not settled.level and settled.blocks:
            notes.append(
                f"{name} had not settled after {settled.blocks} warm-up blocks (the last two took "
                f"{settled.drift:+.1%} of the two before): allow more with protocol.warmup_most"
            )

    twin = _Tally(first.runner, first.latency_ms.copy(), item_s=first.item_s)
    paired = protocol.aa and len(runners) > 1
    looks = None if protocol.precision is None else Looks(len(chunks), confidence)
    reasons: dict[str, str] = {}
    order = []
    for index, chunk in enumerate(chunks):
        turns = [*tallies.items(), *([(names[0] + AA, twin)] if paired else [])]
        turns = [turns[place] for place in rng.permutation(len(turns))]
        order.append(tuple(name for name, _ in turns))
        repeats = max(bench.repeats(tally, chunk) for _, tally in turns)
        for name, tally in turns:
            if tally is not twin:
                advance(f"round {index + 1} of {len(chunks)}: {name}")
            labels = {"pair": "A/A"} if tally is twin else {}
            try:
                with around(tally.variant):
                    reading, results, units, address = bench.round(tally, index, chunk, repeats, labels)
                _record(tally, results, items)
                _check_same_metrics(tally, first)
            except ModelError as error:
                left_out(tally.variant.name, error)
                continue
            tally.units.append(units)
            tally.readings.append(reading)
            tally.receipts.append(address)
            for count, values in results.counts.items():
                # What the first time counted stands for each of the repeats.
                tally.counts.setdefault(count, []).append(math.fsum(values) * units / chunk.size)
        if looks is not None and protocol.precision is not None and len(tallies) > 1 and index > 0:
            against = _per_unit(first, hum.power.watts, facility, 0.0).energy_j
            reasons = {
                name: looks.settled(
                    log_ratio(
                        _per_unit(tally, hum.power.watts, facility, 0.0).energy_j, against, confidence, mix_standard
                    ),
                    protocol.precision,
                )
                for name, tally in tallies.items()
                if tally is not first
            }
            if all(reasons.values()):
                break

    for name, tally in tallies.items():
        if tally.saturated_s > 0:
            whole = f"; {tally.whole_rounds} rounds could not be cut and count whole" if tally.whole_rounds else ""
            notes.append(
                f"{name}: energy and time are those of the {tally.saturated_s:.3g} s in which its server was saturated "
                f"(filling up and running dry are left out){whole}; its receipts hold whole rounds"
            )
    progress("done", 1.0)
    ran = np.concatenate(chunks[: len(order)])
    kept = np.isin(items, ran)
    item_rounds = np.empty(items.size, dtype=np.int64)
    for index, chunk in enumerate(chunks):
        item_rounds[np.searchsorted(items, chunk)] = index
    made_j = making_j or {}
    evidence = {
        name: _evidence(
            tally, items, item_rounds, kept, _per_unit(tally, hum.power.watts, facility, made_j.get(name, 0.0))
        )
        for name, tally in tallies.items()
    }
    return Comparison(
        evidence=evidence,
        order=tuple(order),
        hum=hum,
        seed=protocol.seed,
        aa=_against_itself(twin, first, hum.power.watts, facility, confidence) if paired else None,
        failed=failed,
        stopped=None if looks is None else Stopped(len(order), len(chunks), reasons),
        notes=tuple(notes),
    )


def _against_itself(twin: _Tally, first: _Tally, hum_w: float, facility: Facility, confidence: float) -> LogRatio:
    # The second runs are charged with the training of the first, as it is the same variant.
    apart_j = first.spent_j - twin.spent_j
    return log_ratio(
        _per_unit(twin, hum_w, facility, apart_j).energy_j, _per_unit(first, hum_w, facility, 0.0).energy_j, confidence
    )


def _rounds(n_items: int, protocol: Protocol, rng: np.random.Generator) -> list[Ints]:
    shuffled = rng.permutation(n_items).astype(np.int64)
    kept = shuffled if protocol.max_items is None else shuffled[: protocol.max_items]
    count = min(protocol.rounds, kept.size)
    if count < 2:
        raise UnusableMeasurement(
            "comparison",
            f"{kept.size} item(s) in {protocol.rounds} round(s) show no scatter",
            "Give the task at least two evaluation items and the protocol at least two rounds",
        )
    return np.array_split(kept, count)


@dataclass(frozen=True, slots=True)
class _Bench:
    """Where runners are metered and receipts written."""

    session: MeterSession
    sitting: Sitting
    on_receipt: Callable[[Receipt], str | None]
    wanted_s: float
    needed_s: float

    def fit(self, runner: Runner) -> Measurement | None:
        """Energy of the fit; None, and no receipt, when it was too short to have trained anything."""
        for _ in range(_ATTEMPTS):
            metered = _Metered(self.session)
            with self._kept_if_cut_short(metered, runner, Phase.TRAINING), metered:
                runner.fit()
            reading = metered.window.reading
            if reading.seconds < _NOTHING_TRAINED_S:
                return None
            self._hand_on(metered, runner, Phase.TRAINING)
            if _usable(reading):
                return reading.total
        raise _unusable(f"the training of {runner.variant.name}", reading)

    def repeats(self, tally: _Tally, chunk: Ints) -> int:
        """How often to run the items; once where nobody knows yet how long they take: the first attempt will tell."""
        once_s = math.inf if tally.item_s is None else tally.item_s * chunk.size
        return repeats_for(tally.variant.name, once_s, self.needed_s, self.wanted_s)

    def round(
        self, tally: _Tally, index: int, chunk: Ints, repeats: int, labels: Mapping[str, str]
    ) -> tuple[WindowReading, ItemResults, float, str]:
        """One round: its reading, the results of its first pass, its functional units, its receipt's address."""
        runner, wanted = tally.runner, tuple(int(item) for item in chunk)
        name = runner.variant.name
        for _ in range(_ATTEMPTS):
            metered = _Metered(self.session)
            with self._kept_if_cut_short(metered, runner, Phase.DEVELOPMENT, index):
                with metered:
                    passes = [runner.run(wanted) for _ in range(repeats)]
                results = passes[0]
                _check_results(name, results, wanted)
            units = float(chunk.size * repeats)
            # Handed on whether usable or not: the energy of a failed attempt was drawn too.
            told = dict(labels) | ({"repeats": str(repeats)} if repeats > 1 else {})
            address = self._hand_on(metered, runner, Phase.DEVELOPMENT, index, results, units=units, labels=told)
            reading = metered.window.reading
            if _usable(reading):
                tally.drawn_j += reading.total.value.joules
                steady = self._saturated(reading, passes)
                if steady is not None:
                    tally.saturated_s += steady[0].seconds
                    return steady[0], results, steady[1], address
                tally.whole_rounds += 1
                return reading, results, units, address
            tally.item_s = reading.seconds / units
            repeats = max(repeats, self.repeats(tally, chunk))
        raise _unusable(f"a round of {name}", reading)

    def _saturated(self, reading: WindowReading, passes: Sequence[ItemResults]) -> tuple[WindowReading, float] | None:
        """The part of a round in which its server was saturated, and the units of work in it; None for all of it."""
        stretches = [results.steady for results in passes if results.steady is not None]
        if len(stretches) < len(passes):
            return None
        clock = self.session.clock
        begun = clock.utc() - timedelta(seconds=clock.monotonic_s() - stretches[0].start_s)
        cut = saturated(reading, stretches, steps_of(self.session.trace(), self.session.started_s), begun)
        return None if cut is None else (cut, math.fsum(stretch.units for stretch in stretches))

    @contextmanager
    def _kept_if_cut_short(
        self, metered: _Metered, runner: Runner, phase: Phase, index: int | None = None
    ) -> Iterator[None]:
        try:
            yield
        except (ModelError, KeyboardInterrupt) as cut:
            if metered.ended:
                status = RunStatus.FAILED if isinstance(cut, ModelError) else RunStatus.INTERRUPTED
                self._hand_on(metered, runner, phase, index, status=status)
            raise

    def _hand_on(
        self,
        metered: _Metered,
        runner: Runner,
        phase: Phase,
        index: int | None = None,
        results: ItemResults | None = None,
        status: RunStatus | None = None,
        units: float | None = None,
        labels: Mapping[str, str] | None = None,
    ) -> str:
        receipt = receipt_for(
            metered.window.reading,
            meter=self.session.meter.name,
            meter_cost=metered.cost,
            project=self.sitting.project,
            phase=phase,
            status=status,
            batch=self.sitting.batch,
            variant=runner.variant.name,
            variant_hash=runner.variant.content_hash,
            round_index=index,
            units=units,
            unit="" if results is None else self.sitting.unit,
            quality=() if results is None else _quality(results),
            latency=None if results is None else _latency(results),
            labels=dict(self.sitting.labels) | dict(labels or {}),
        )
        return self.on_receipt(receipt) or receipt.content_hash


class _Metered:
    """A window, and what the meter itself cost meanwhile."""

    def __init__(self, session: MeterSession) -> None:
        self._session, self.window = session, session.window()
        self.cost = MeterCost(0.0)
        self.ended = False

    def __enter__(self) -> Self:
        self._before = self._session.cost()
        self.window.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        self.window.__exit__(kind, error, at)
        after, before = self._session.cost(), self._before
        known = after.energy_j is not None and before.energy_j is not None
        self.cost = MeterCost(
            after.cpu_s - before.cpu_s, (after.energy_j or 0.0) - (before.energy_j or 0.0) if known else None
        )
        self.ended = True


def _usable(reading: WindowReading) -> bool:
    return reading.status is not RunStatus.UNUSABLE and reading.work is not None and reading.hum is not None


def _unusable(what: str, reading: WindowReading) -> UnusableMeasurement:
    if reading.status is not RunStatus.UNUSABLE:
        return UnusableMeasurement(what, "no idle draw is known to split it from", "Let protocol.hum_s be above zero")
    notes = "; ".join(reading.notes)
    return UnusableMeasurement(
        what,
        f"the meter did not carry it in {_ATTEMPTS} attempts" + (f" ({notes})" if notes else ""),
        "Lengthen the rounds (fewer rounds or more items), or choose another meter: `outweigh doctor` lists them",
    )


def _check_results(name: str, results: ItemResults, wanted: tuple[int, ...]) -> None:
    def broken(problem: str) -> ModelError:
        return ModelError(name, problem, "Check the model file and its options on a few items")

    if tuple(results.items) != wanted or len(results.latency_ms) != len(wanted):
        raise broken("it did not answer the items it was given")
    for metric, scores in results.scores.items():
        if len(scores) != len(wanted):
            raise broken(f"it gave {len(scores)} scores of {metric} for {len(wanted)} items")
        if any(score is not None and not math.isfinite(score) for score in scores):
            raise broken(f"a score of {metric} is not a finite number")
    if not all(math.isfinite(latency) and latency >= 0 for latency in results.latency_ms):
        raise broken("a latency is not a finite number")
    for count, values in results.counts.items():
        if len(values) != len(wanted) or not all(math.isfinite(value) and value >= 0 for value in values):
            raise broken(f"its {count} are not one number of at least 0 for each of {len(wanted)} items")


def _record(tally: _Tally, results: ItemResults, items: Ints) -> None:
    at = np.searchsorted(items, results.items)
    tally.latency_ms[at] = results.latency_ms
    for metric, scores in results.scores.items():
        column = tally.scores.setdefault(metric, np.full(items.size, np.nan))
        column[at] = [np.nan if score is None else score for score in scores]


def _check_same_metrics(tally: _Tally, first: _Tally) -> None:
    if first.scores and set(tally.scores) != set(first.scores):
        raise ModelError(
            tally.variant.name,
            f"it is scored by {', '.join(sorted(tally.scores)) or 'nothing'}, not by {', '.join(sorted(first.scores))}",
            "Judge all variants by one task",
        )


def _quality(results: ItemResults) -> tuple[Quality, ...]:
    found = []
    for metric, scores in sorted(results.scores.items()):
        counted = [score for score in scores if score is not None]
        if counted:
            found.append(Quality(metric, math.fsum(counted) / len(counted), len(counted)))
    return tuple(found)


def _latency(results: ItemResults) -> Latency:
    times = np.asarray(results.latency_ms, dtype=float)
    p50, p95 = np.quantile(times, [0.5, 0.95])
    return Latency(mean_ms=float(times.mean()), p50_ms=float(p50), p95_ms=float(p95), n=int(times.size))


def _per_unit(tally: _Tally, hum_w: float, facility: Facility, making_j: float) -> PerUnit:
    # Levers, training and evaluation of the variant were drawn by the same machine, under the same roof.
    return energy_per_unit(
        np.array([reading.work.value.joules for reading in tally.readings if reading.work is not None]),
        np.array(tally.units),
        np.array([reading.total.interval.seconds for reading in tally.readings]),
        hum_w=hum_w,
        amortised_j=facility.pue * (making_j + tally.spent_j),
        facility=facility,
    )


def _evidence(tally: _Tally, items: Ints, item_rounds: Ints, kept: NDArray[np.bool_], per_unit: PerUnit) -> Evidence:
    totals = [reading.total for reading in tally.readings]
    return Evidence(
        variant=tally.variant,
        items=items[kept],
        scores={metric: column[kept] for metric, column in tally.scores.items()},
        latency_ms=tally.latency_ms[kept],
        units=np.array(tally.units),
        work_j=np.array([reading.work.value.joules for reading in tally.readings if reading.work is not None]),
        hum_j=np.array([reading.hum.value.joules for reading in tally.readings if reading.hum is not None]),
        service_s=np.array([total.interval.seconds for total in totals]),
        energy_j_per_unit=per_unit.energy_j,
        work_j_per_unit=float(per_unit.work_j.mean()),
        hum_j_per_unit=float(per_unit.hum_j.mean()),
        amortised_j_per_unit=per_unit.amortised_j,
        grade=Grade.worst(total.grade for total in totals),
        method=totals[0].method,
        fit=tally.fit,
        receipts=tuple(tally.receipts),
        item_rounds=item_rounds[kept],
        counts={count: np.array(sums) for count, sums in tally.counts.items() if len(sums) == len(totals)},
    )
