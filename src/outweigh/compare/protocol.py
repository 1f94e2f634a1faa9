"""How variants are measured against each other: interleaved rounds, in random order, in one sitting.

The evaluation items are shuffled and split into rounds. In each round every variant runs the same items, in an order
drawn anew, so that drift of the machine falls on all alike and energy is paired by round; quality comes from the
same runs, each item once per variant. A receipt leaves for the ledger after every round: stopping in the middle
loses nothing that was measured, and the round that was cut short leaves a receipt that says so.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import numpy as np

from outweigh.compare.evidence import Evidence, Floats, Ints
from outweigh.compare.perunit import Facility, energy_per_unit
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

WARMUP_ITEMS = 8  # enough to load, allocate and settle a model; their results are thrown away
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
    """

    evidence: Mapping[str, Evidence]
    order: tuple[tuple[str, ...], ...]
    hum: HumReading
    seed: int


@dataclass(slots=True)
class _Tally:
    """What is gathered of one variant while the rounds go by."""

    variant: Variant
    scores: dict[str, Floats]
    latency_ms: Floats
    units: list[float] = field(default_factory=list)
    readings: list[WindowReading] = field(default_factory=list)
    receipts: list[str] = field(default_factory=list)
    fit: Measurement | None = None


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
) -> Comparison:
    """Measure all variants against each other.

    The idle draw is observed first. Each runner's `fit` is metered as a training run of its own, then all are warmed
    up, `protocol.warmup` times on a few items that do not count, and then the rounds begin.

    Args:
        session: an open meter session.
        runners: one per variant, at least one, with distinct names and content hashes filled in.
        n_items: evaluation items of the task; `protocol.max_items` takes a random part of them.
        protocol: rounds, warm-up, seed, how long the hum is observed. With fewer items than rounds there are as
            many rounds as items.
        sitting: what the receipts carry.
        facility: where the variants would serve, for the energy per unit.
        on_receipt: keeps a receipt durably; may return its address.
        making_j: variant name -> IT energy [J] that making it took (its levers), written off like its training.
        progress: told what is going on, and the share that is done in [0, 1].

    Raises:
        UsageError: no runner, or two of one name.
        UnusableMeasurement: fewer than two items or rounds, no idle draw known, or a round that could not be read
            twice in a row.
        ModelError: a variant gave scores or latencies that are not finite, other items than asked for, or other
            metrics than the variant before it.
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
        progress(text, done / steps)
        done += 1

    advance("hum")
    # Who made the variants in the same session has listened already; the idle draw is listened to once.
    hum = session.latest_hum or session.hum(protocol.hum_s)

    bench = _Bench(session, sitting, on_receipt)
    tallies = {runner.variant.name: _Tally(runner.variant, {}, np.full(items.size, np.nan)) for runner in runners}
    for runner in runners:
        advance(f"{runner.variant.name}: fit and warm-up")
        tally = tallies[runner.variant.name]
        tally.fit = bench.fit(runner)
        tally.variant = runner.variant  # a fit may complete the content hash
        for _ in range(protocol.warmup):
            runner.run([int(item) for item in chunks[0][:WARMUP_ITEMS]])

    order = []
    for index, chunk in enumerate(chunks):
        turn = [runners[place] for place in rng.permutation(len(runners))]
        order.append(tuple(runner.variant.name for runner in turn))
        for runner in turn:
            advance(f"round {index + 1} of {len(chunks)}: {runner.variant.name}")
            tally = tallies[runner.variant.name]
            reading, results, address = bench.round(runner, index, chunk)
            _record(tally, results, items)
            _check_same_metrics(tally, tallies[order[0][0]])
            tally.units.append(float(chunk.size))
            tally.readings.append(reading)
            tally.receipts.append(address)

    progress("done", 1.0)
    item_rounds = np.empty(items.size, dtype=np.int64)
    for index, chunk in enumerate(chunks):
        item_rounds[np.searchsorted(items, chunk)] = index
    evidence = {
        name: _evidence(tally, items, item_rounds, hum.power.watts, facility, (making_j or {}).get(name, 0.0))
        for name, tally in tallies.items()
    }
    return Comparison(evidence=evidence, order=tuple(order), hum=hum, seed=protocol.seed)


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

    def round(self, runner: Runner, index: int, chunk: Ints) -> tuple[WindowReading, ItemResults, str]:
        """One round, its results and the address of its receipt."""
        wanted = tuple(int(item) for item in chunk)
        for _ in range(_ATTEMPTS):
            metered = _Metered(self.session)
            with self._kept_if_cut_short(metered, runner, Phase.DEVELOPMENT, index):
                with metered:
                    results = runner.run(wanted)
                _check_results(runner.variant.name, results, wanted)
            # Handed on whether usable or not: the energy of a failed attempt was drawn too.
            address = self._hand_on(metered, runner, Phase.DEVELOPMENT, index, results)
            if _usable(metered.window.reading):
                return metered.window.reading, results, address
        raise _unusable(f"a round of {runner.variant.name}", metered.window.reading)

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
            units=None if results is None else float(len(results.items)),
            unit="" if results is None else self.sitting.unit,
            quality=() if results is None else _quality(results),
            latency=None if results is None else _latency(results),
            labels=dict(self.sitting.labels),
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


def _evidence(
    tally: _Tally, items: Ints, item_rounds: Ints, hum_w: float, facility: Facility, making_j: float
) -> Evidence:
    totals = [reading.total for reading in tally.readings]
    work_j = np.array([reading.work.value.joules for reading in tally.readings if reading.work is not None])
    hum_j = np.array([reading.hum.value.joules for reading in tally.readings if reading.hum is not None])
    units, service_s = np.array(tally.units), np.array([total.interval.seconds for total in totals])
    # Levers, training and evaluation of the variant were drawn by the same machine, under the same roof.
    spent_j = (
        making_j + math.fsum(total.value.joules for total in totals) + (tally.fit.value.joules if tally.fit else 0.0)
    )
    per_unit = energy_per_unit(
        work_j, units, service_s, hum_w=hum_w, amortised_j=facility.pue * spent_j, facility=facility
    )
    return Evidence(
        variant=tally.variant,
        items=items,
        scores=tally.scores,
        latency_ms=tally.latency_ms,
        units=units,
        work_j=work_j,
        hum_j=hum_j,
        service_s=service_s,
        energy_j_per_unit=per_unit.energy_j,
        work_j_per_unit=float(per_unit.work_j.mean()),
        hum_j_per_unit=float(per_unit.hum_j.mean()),
        amortised_j_per_unit=per_unit.amortised_j,
        grade=Grade.worst(total.grade for total in totals),
        method=totals[0].method,
        fit=tally.fit,
        receipts=tuple(tally.receipts),
        item_rounds=item_rounds,
    )
