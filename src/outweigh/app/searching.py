"""`shrink --search`: finds its items, its meter and its place to keep things, and shows what came of it."""

from __future__ import annotations

import hashlib
import json
import math
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from outweigh.app.sitting import Progress, facility_of, silent, workdir
from outweigh.app.weighing import sites_of
from outweigh.config import load_project
from outweigh.core.budget import Phase
from outweigh.core.errors import UsageError
from outweigh.core.measurement import combine
from outweigh.core.project import Project
from outweigh.core.quantities import Energy
from outweigh.core.receipt import Receipt, RunStatus
from outweigh.core.rounding import plus_minus, si, significant
from outweigh.core.verdict import Outcome
from outweigh.gate import check_metric_names
from outweigh.gate.holm import holm
from outweigh.ledger import default_path, open_ledger
from outweigh.measure import INSTRUCTION_MIX, MeterSession, choose_meter
from outweigh.measure.reading import WindowReading
from outweigh.measure.receipts import receipt_for
from outweigh.ports import ReceiptFilter, Store, TaskAdapter
from outweigh.registry import tasks
from outweigh.shrink import break_even_units
from outweigh.shrink.search_bench import Bench, Setup, Sweep
from outweigh.shrink.search_judging import Bar, Judged, Seen
from outweigh.shrink.search_kept import Kept
from outweigh.shrink.search_proposing import Proposer
from outweigh.shrink.search_space import Space, name_of, space_of
from outweigh.shrink.search_split import HELD_OUT_SHARE, Split, split_items
from outweigh.shrink.searching import Found, Limits, Search, known_to, short_of

COLUMNS = ("combination", "quality", "against the base", "energy", "p95", "judged on", "shown", "pays off after")
PLACES = ("here", "ray")
_VERSION = 1  # of what is kept and how it is measured: a search of another version is another search


@dataclass(frozen=True, slots=True)
class Asked:
    """What a search is asked for.

    Attributes:
        levers: to combine; every usable one without.
        limits: when to stop trying.
        at_least: value of the primary metric to reach, instead of the base's less its margin.
        margin: loss of the primary metric that is tolerated; the project's margin, or equivalence, by default.
        held_out: share of the items kept for the verdict.
        seed: of the split, the order and the proposals; the protocol's by default.
        place: where looks run, of PLACES.
    """

    levers: tuple[str, ...] = ()
    limits: Limits = field(default_factory=lambda: Limits(trials=20))
    at_least: float | None = None
    margin: float | None = None
    held_out: float = HELD_OUT_SHARE
    seed: int | None = None
    place: str = "here"


@dataclass(frozen=True, slots=True, eq=False)
class Searched:
    """What came of a search: objects for programs; rows, the verdict in a line and notes for people."""

    objects: list[dict[str, Any]]
    rows: list[tuple[str, ...]]
    headline: str
    notes: list[str]
    outcome: Outcome


def search(
    project_path: Path,
    name: str,
    asked: Asked | None = None,
    *,
    ledger: Path | str | None = None,
    meter: str | None = None,
    progress: Progress = silent,
) -> Searched:
    """Search combinations of levers on one variant, or go on with a search of the same question.

    Whatever decides what is measured (variant, data, levers, bar, split, seed, meter) is the question; its digest is
    the search's id and the batch of its receipts. More trials, seconds or joules are the same question.

    Raises:
        UsageError: no such variant, too few items, nothing to search, or the search is under way already.
        OutweighError: with the exit code and remedy of what went wrong. What was measured before is kept.
    """
    asked = asked or Asked()
    project = load_project(project_path)
    _check(project, name, asked)
    space = space_of(asked.levers)
    store = open_ledger(ledger if ledger is not None else default_path(Path(project.root)))
    with ExitStack() as stack:
        stack.callback(store.close)
        chosen, _ = choose_meter(meter)
        session = stack.enter_context(MeterSession(chosen))
        seed = project.protocol.seed if asked.seed is None else asked.seed
        project = replace(project, protocol=replace(project.protocol, seed=seed))
        primary = project.task.primary
        margin = asked.margin if asked.margin is not None else primary.margin
        bar = Bar(
            metric=primary.metric,
            margin=primary.equivalence if margin is None else margin,
            at_least=asked.at_least,
            guards=project.task.guards,
            confidence=project.gate.confidence,
        )
        progress("hum", 0.0)
        session.hum(project.protocol.hum_s)
        with session.window() as reading_data:
            progress("reading the data", 0.01)
            task = tasks.get(project.task.adapter)()
            task.load(project.task, Path(project.root))
        check_metric_names(project.task, task.metrics)
        split = split_items(task.n_items, seed, asked.held_out, project.protocol.max_items)
        identity = _identity(project, name, space, bar, split, task, chosen.name)
        kept = Kept(_file(project, identity))
        stack.callback(kept.close)
        ledgered = _Ledgered(store, project, identity, session)
        # A kill may have left receipts in the ledger that the search's own file had not counted yet.
        before_j = max(kept.earlier[1], ledgered.total_j())
        ledgered.receipt(reading_data.reading, "reading the data")
        home = next(iter(sites_of(project)), None)
        setup = Setup(project, name, identity, facility_of(project, home, session), workdir(project))
        sweep = _sweep(asked.place, setup, session, task, ledgered, chosen.name, meter)
        stack.callback(sweep.close)
        with ledgered.metered():
            proposer = Proposer(kept.path, space, seed, known_to(kept))
        stack.callback(proposer.close)
        running = Search(
            base=name,
            split=split,
            bar=bar,
            limits=asked.limits,
            kept=kept,
            proposer=proposer,
            sweep=sweep,
            correct=holm,
            mix_standard=combine(c for c in chosen.components() if c.name == INSTRUCTION_MIX),
            drawn_j=lambda: ledgered.drawn_j,
            before_j=before_j,
            metered=ledgered.metered,
            progress=progress,
        )
        return _shown(running.run(), running, setup, space, chosen.source)


def _check(project: Project, name: str, asked: Asked) -> None:
    known = [variant.name for variant in project.variants]
    if name not in known:
        raise UsageError(f"{project.source} declares no variant {name!r}", f"It declares: {', '.join(known)}")
    limits = asked.limits
    if limits.trials < 1:
        raise UsageError(f"{limits.trials} trials", "Give --trials 1 or more")
    for what, value in (("--seconds", limits.seconds), ("--energy", limits.energy_j)):
        if value is not None and not (math.isfinite(value) and value > 0):
            raise UsageError(f"a budget of {value:g} for {what}", "Give a number above zero")
    if asked.place not in PLACES:
        raise UsageError(f"there is no place {asked.place!r} to search on", f"Give one of {', '.join(PLACES)}")


def _identity(project: Project, name: str, space: Space, bar: Bar, split: Split, task: TaskAdapter, meter: str) -> str:
    """Digest of the question: 16 hexadecimal digits."""
    chain, spec = [], project.variant(name)
    while True:
        chain.append([spec.model, list(spec.levers), [list(pair) for pair in spec.options]])
        if not spec.parent:
            break
        spec = project.variant(spec.parent)
    question = {
        "version": _VERSION, "project": project.name, "variant": chain, "task": task.content_hash,
        "space": [[family, list(members)] for family, members in space.families],
        "bar": [bar.metric, bar.margin, bar.at_least, bar.confidence, [repr(guard) for guard in bar.guards]],
        "search": split.search, "held_out": split.held_out, "seed": project.protocol.seed, "meter": meter,
    }  # fmt: skip
    return hashlib.sha256(json.dumps(question, sort_keys=True).encode()).hexdigest()[:16]


def _file(project: Project, identity: str) -> Path:
    folder = default_path(Path(project.root)).parent / "search"
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as err:
        raise UsageError(f"{folder} cannot be made ({err.strerror})", "Make the project's folder writable") from err
    return folder / f"{identity}.sqlite"


class _Ledgered:
    """Receipts of the search: into the ledger at once, and counted."""

    def __init__(self, store: Store, project: Project, identity: str, session: MeterSession) -> None:
        self._store, self._project = store, project
        self._identity, self._session = identity, session
        self.drawn_j = 0.0

    def keep(self, receipt: Receipt) -> str:
        address = self._store.append(receipt)
        self.drawn_j += receipt.total.value.joules
        return address

    def total_j(self) -> float:
        """What the receipts of this search add up to in this ledger [J]."""
        found = self._store.receipts(ReceiptFilter(batch=self._identity))
        return math.fsum(receipt.total.value.joules for _, receipt in found)

    @contextmanager
    def metered(self) -> Iterator[None]:
        """Around what the search does between looks; it draws too."""
        window = self._session.window()
        try:
            with window:
                yield
        finally:
            self.receipt(window.reading, "deciding")

    def receipt(self, reading: WindowReading, step: str) -> None:
        self.keep(
            receipt_for(
                reading, meter=self._session.meter.name, project=self._project.name, phase=Phase.DEVELOPMENT,
                status=RunStatus.COMPLETED, batch=self._identity, labels={"step": step},
            )
        )  # fmt: skip


def _sweep(
    place: str, setup: Setup, session: MeterSession, task: TaskAdapter, ledgered: _Ledgered, used: str,
    named: str | None,
) -> Sweep:  # fmt: skip
    if place == "here":
        return Bench(setup, session, task, ledgered.keep)
    from outweigh.shrink.search_ray import RaySweep, WorkerSetup

    # A meter with an argument ("replay:trace.csv") is known by what was typed, not by its name.
    return RaySweep(WorkerSetup(setup, named or used), ledgered.keep)


# --- shown ------------------------------------------------------------------------------------------


def _shown(found: Found, search: Search, setup: Setup, space: Space, source: str) -> Searched:
    pue, bar = setup.facility.pue, search.bar
    objects: list[dict[str, Any]] = []
    rows: list[tuple[str, ...]] = []
    for judged in found.judged:
        body = _judged_object(judged, found, setup, bar, pue)
        objects.append(body)
        rows.append(_judged_row(body, setup.project.unit))
    objects.extend(_seen_object(seen, search, setup.base) for seen in found.seen)
    if not rows:
        rows = [_seen_row(seen, setup.base, bar) for seen in found.seen]
    objects.extend(
        {
            "kind": "infeasible",
            "combination": name_of(setup.base, failure.combination),
            "levers": list(failure.combination),
            "reason": failure.reason,
        }
        for failure in found.failures
    )
    outcome = Outcome.PASS if found.chosen else Outcome.INCONCLUSIVE
    objects.append(
        {
            "kind": "verdict", "outcome": outcome.value, "search": setup.search, "base": setup.base,
            "chosen": name_of(setup.base, found.chosen.combination) if found.chosen else None,
            "bar": bar.words(), "confidence": bar.confidence, "stopped_by": found.stopped,
            "combinations_possible": space.size, "combinations_seen": len(found.seen),
            "combinations_infeasible": len(found.failures),
            "search_items": len(search.split.search), "held_out_items": len(search.split.held_out),
            "search_energy_j": found.energy_j, "search_s": found.seconds,
            "file": str(search.kept.path),
        }
    )  # fmt: skip
    return Searched(objects, rows, _headline(found, search, setup), list(_notes(found, setup, space, source)), outcome)


def _headline(found: Found, search: Search, setup: Setup) -> str:
    bar, held_out = search.bar, len(search.split.held_out)
    if found.chosen is not None:
        name, ratio = name_of(setup.base, found.chosen.combination), found.chosen.energy_ratio
        return (
            f"PASS  {name} takes x {plus_minus(ratio.value, ratio.bounds.low, ratio.bounds.high)} of the energy of "
            f"{setup.base}, and keeps {bar.words()}: shown on {held_out} items that the search never saw"
        )
    if not found.judged:
        return "INCONCLUSIVE  " + short_of(found, bar)
    first, needed = found.judged[0], ""
    if first.items_needed is not None:
        items = math.ceil(first.items_needed * (held_out + len(search.split.search)) / held_out)
        needed = f"; about {items:,} evaluation items would settle it"
    return (
        f"INCONCLUSIVE  {name_of(setup.base, first.combination)} is not shown on {held_out} held-out items: its "
        f"{first.weakest} is not certain enough (p = {first.adjusted:.2g} after Holm's correction){needed}"
    )


def _notes(found: Found, setup: Setup, space: Space, source: str) -> Iterator[str]:
    for failure in found.failures:
        yield f"infeasible: {' + '.join(failure.combination)}: {failure.reason}"
    for left_out in space.left_out:
        yield f"not searched: {left_out.name}: {left_out.reason}"
    yield (
        f"{len(found.seen)} of {space.size} combinations measured, {len(found.failures)} infeasible; stopped by: "
        f"{found.stopped}"
    )
    yield (
        f"the search drew {si(found.energy_j, 'J')} in {significant(found.seconds)} s, all of it on receipts of the "
        f"development phase (batch {setup.search}); {source}"
    )


def _judged_object(judged: Judged, found: Found, setup: Setup, bar: Bar, pue: float) -> dict[str, Any]:
    seen = judged.seen
    saving = Energy(float(seen.base.energy_j_per_unit.mean() - seen.own.energy_j_per_unit.mean()))
    making = found.making_j.get(judged.combination)
    levers = None if making is None else break_even_units(Energy(making * pue), saving)
    whole = break_even_units(Energy(found.energy_j * pue), saving)
    difference, ratio = judged.quality_difference, judged.energy_ratio
    return {
        "kind": "judged",
        **_seen_figures(seen, setup.base, bar),
        "on": "held-out items",
        "energy_ratio_low": ratio.bounds.low,
        "energy_ratio_high": ratio.bounds.high,
        "quality_difference": difference.value,
        "quality_difference_low": difference.bounds.low,
        "quality_difference_high": difference.bounds.high,
        "p_value": judged.p_value,
        "p_value_adjusted": judged.adjusted,
        "weakest": judged.weakest,
        "shown": judged.shown,
        "chosen": judged is found.chosen,
        "items_needed": judged.items_needed,
        "applying_levers_j": making,
        "break_even_units": None if levers is None or math.isinf(levers) else levers,
        "break_even_units_with_search": None if math.isinf(whole) else whole,
        "grade": seen.own.grade.value,
        "method": seen.own.method.value,
        "receipts": list(seen.own.receipts),
    }


def _seen_object(seen: Seen, search: Search, base: str) -> dict[str, Any]:
    return {
        "kind": "seen",
        **_seen_figures(seen, base, search.bar),
        "on": "search items",
        "meets_bar": seen.meets(search.bar),
        "constraints": seen.constraints(search.bar),
        "receipts": list(seen.own.receipts),
    }


def _seen_figures(seen: Seen, base: str, bar: Bar) -> dict[str, Any]:
    return {
        "combination": name_of(base, seen.combination),
        "levers": list(seen.combination),
        "metric": bar.metric,
        "quality": seen.own.metric(bar.metric),
        "base_quality": seen.base.metric(bar.metric),
        "n_items": int(seen.own.items.size),
        "energy_ratio": seen.energy_ratio,
        "energy_j_per_unit": float(seen.own.energy_j_per_unit.mean()),
        "base_energy_j_per_unit": float(seen.base.energy_j_per_unit.mean()),
        "p95_latency_ms": seen.own.latency_quantile_ms(0.95),
        "base_p95_latency_ms": seen.base.latency_quantile_ms(0.95),
    }


def _judged_row(body: Mapping[str, Any], unit: str) -> tuple[str, ...]:
    low, high = body["quality_difference_low"], body["quality_difference_high"]
    ratio = plus_minus(body["energy_ratio"], body["energy_ratio_low"], body["energy_ratio_high"])
    levers, whole = body["break_even_units"], body["break_even_units_with_search"]
    if whole is None:
        pays = "never"
    else:
        alone = "levers unknown" if levers is None else f"{significant(math.ceil(levers))}"
        pays = f"{alone}; with the search {significant(math.ceil(whole))} {unit}s"
    return (
        body["combination"],
        f"{100 * body['quality']:.1f} %",
        f"{plus_minus(100 * body['quality_difference'], 100 * low, 100 * high)} points",
        f"x {ratio}",
        f"{significant(body['p95_latency_ms'])} ms",
        f"{body['n_items']} held-out items",
        "chosen" if body["chosen"] else "yes" if body["shown"] else "no",
        pays,
    )


def _seen_row(seen: Seen, base: str, bar: Bar) -> tuple[str, ...]:
    own, other = seen.own.metric(bar.metric), seen.base.metric(bar.metric)
    return (
        name_of(base, seen.combination),
        f"{100 * own:.1f} %",
        f"{100 * (own - other):+.1f} points",
        f"x {significant(seen.energy_ratio)}",
        f"{significant(seen.own.latency_quantile_ms(0.95))} ms",
        f"{seen.own.items.size} search items",
        "no",
        "-",
    )


def resume_words(argv: Sequence[str] | None = None) -> str:
    """How to go on with a search that was stopped: the command line that began it."""
    import shlex

    given = list(sys.argv[1:] if argv is None else argv)
    return f"stopped; everything measured is kept. Go on with: outweigh {shlex.join(given)}"
