"""Which power rules of MLPerf a set of receipts meets.

Sources: MLCommons, "MLPerf Training - Power Measurement Rules" (training_policies/power_measurement.adoc) and "MLPerf
Inference v2.0 - Power Measurement Rules" (inference_policies/power_measurement.adoc, 15 December 2021), read
2026-11-27. The MLPerf name is a trademark: a result is one only by a submission under its rules, with its own
workflow. This check says what stands in the way; it makes no result.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from outweigh.core.measurement import Grade, Method, Scope, half_width_95
from outweigh.core.receipt import Receipt, RunStatus
from outweigh.core.rounding import significant
from outweigh.report.declared import Given
from outweigh.report.sheet import Asked, Row, Section, Sheet
from outweigh.report.totals import Addressed, total

SOURCES = (
    "MLCommons, MLPerf Training - Power Measurement Rules, read 2026-11-27",
    "MLCommons, MLPerf Inference v2.0 - Power Measurement Rules, 15 December 2021",
)
LEAST_SAMPLES = 60
LONGEST_GAP_S = 1.0
ACCURACY = 0.05


class Answer(StrEnum):
    MET = "met"
    NOT_MET = "not met"
    UNKNOWN = "not known"


@dataclass(frozen=True, slots=True)
class Sampled:
    """The samples kept of a run: how many, and the longest time between two [s]."""

    count: int
    longest_gap_s: float


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule and what the receipts say to it."""

    suite: str
    name: str
    says: str
    answer: Answer
    because: str


def mlperf_check(receipts: Iterable[Addressed], given: Given, samples: Mapping[str, Sampled | None]) -> Sheet:
    """The rules of both suites, each met, not met or not known, and why.

    Args:
        samples: what was kept of each receipt's power over time, by its address; None or absent where nothing was.

    Raises:
        UsageError: no usable receipt.
    """
    kept = [(address, one) for address, one in receipts if one.status is not RunStatus.UNUSABLE]
    of = total(kept)
    runs = [one for _, one in kept]
    rules = [*_training(kept, runs, given, samples), *_inference(runs, given, kept, samples)]
    counts = {answer: sum(rule.answer is answer for rule in rules) for answer in Answer}
    sections = tuple(
        Section(
            suite, f"{suite.capitalize()} rules", ("rule", "answer", "because", "the rule"),
            [Row((r.name, str(r.answer), r.because, r.says),
                 {"rule": r.name, "answer": str(r.answer), "because": r.because}) for r in rules if r.suite == suite],
            text=frozenset({1, 2, 3}),
        )
        for suite in ("training", "inference")
    )  # fmt: skip
    return Sheet(
        report="mlperf-check",
        title="MLPerf power rules",
        lead=f"{counts[Answer.MET]} rules are met, {counts[Answer.NOT_MET]} are not, {counts[Answer.UNKNOWN]} cannot "
        "be told from receipts and what was declared.",
        key=(("met", str(counts[Answer.MET])), ("not met", str(counts[Answer.NOT_MET])),
             ("not known", str(counts[Answer.UNKNOWN])), ("receipts", str(of.receipts))),
        sections=sections,
        figures={
            **of.about(),
            "rules": [
                {"suite": r.suite, "rule": r.name, "answer": str(r.answer), "because": r.because} for r in rules
            ],
            **{f"rules_{answer.name.lower()}": count for answer, count in counts.items()},
        },
        missing=tuple(_missing(given)),
        notes=(
            "no figure here is an MLPerf result: that takes a submission, its workflow and its review; MLPerf is a "
            "trademark of MLCommons",
            *of.sentences(),
        ),
        sources=SOURCES,
    )  # fmt: skip


def _training(
    kept: list[Addressed], runs: list[Receipt], given: Given, samples: Mapping[str, Sampled | None]
) -> Iterable[Rule]:
    setup = given.power
    scopes = sorted({one.total.scope.value for one in runs})
    node = all(one.total.scope is Scope.NODE for one in runs)
    below = "a part of the node" if not any(one.total.scope in (Scope.RACK, Scope.FACILITY) for one in runs) else "more"
    yield Rule(
        "training", "node level", "The whole node is measured.", Answer.MET if node else Answer.NOT_MET,
        "scope node" if node else f"scope {', '.join(scopes)} is {below}",
    )  # fmt: skip
    machines = {dict(one.labels).get("machine", "") for one in runs} - {""}
    if setup.nodes is None:
        nodes = (Answer.UNKNOWN, "the number of nodes is not declared")
    elif setup.nodes <= max(1, len(machines)):
        nodes = (Answer.MET, f"{setup.nodes} declared, {max(1, len(machines))} measured")
    else:
        nodes = (Answer.NOT_MET, f"{setup.nodes} declared, {max(1, len(machines))} measured")
    yield Rule("training", "all nodes", "Every node that took part is measured.", *nodes)
    one_node = setup.nodes == 1
    yield Rule(
        "training", "interconnect", "The interconnect's energy is measured or estimated.",
        *_declared(True if one_node else setup.interconnect_counted, "one node needs none" if one_node else "declared"),
    )  # fmt: skip
    wall = all(one.grade is Grade.A for one in runs)
    yield Rule(
        "training", "at the supply", "Power is read at the supplies or the distribution unit.",
        Answer.MET if node and wall else Answer.NOT_MET,
        "a meter of grade A sees the node" if node and wall else f"grade {Grade.worst(one.grade for one in runs)}, "
        f"scope {', '.join(scopes)}",
    )  # fmt: skip
    yield _measured("training", runs)
    found = [samples.get(address) for address, _ in kept]
    yield _sampling(
        "once a second",
        "At least one reading a second, evenly.",
        found,
        lambda s: s.longest_gap_s <= LONGEST_GAP_S,
        lambda s: f"{significant(s.longest_gap_s)} s between two",
    )
    yield _sampling(
        "60 samples",
        "The run, or 60 samples where it is shorter.",
        found,
        lambda s: s.count >= LEAST_SAMPLES,
        lambda s: f"{s.count} samples",
    )
    if setup.accuracy is not None:
        good = setup.accuracy <= ACCURACY
        accuracy = (Answer.MET if good else Answer.NOT_MET, f"the meter is specified to {100 * setup.accuracy:g} %")
    else:
        worst = max(half_width_95(one.total.components) / one.total.value.joules if one.total.value.joules else 0.0
                    for one in runs)  # fmt: skip
        why = f"our own interval is up to ± {100 * worst:.2g} %; the meter's specified accuracy is not declared"
        accuracy = (Answer.NOT_MET if worst > ACCURACY else Answer.UNKNOWN, why)
    yield Rule(
        "training", "5 % accuracy", "A meter of revenue grade, or shown to agree with one, to 5 % at 1 Hz.", *accuracy
    )


def _inference(
    runs: list[Receipt], given: Given, kept: list[Addressed], samples: Mapping[str, Sampled | None]
) -> Iterable[Rule]:
    setup = given.power
    wall = all(one.total.scope is Scope.NODE and one.grade is Grade.A for one in runs)
    yield Rule(
        "inference", "wall power", "AC power of the whole system at the wall.", Answer.MET if wall else Answer.NOT_MET,
        "a meter of grade A sees the node" if wall else "the meter sees a part, or is no wall meter",
    )  # fmt: skip
    yield _measured("inference", runs)
    analyser = setup.analyser
    supported = "yokogawa" in analyser.lower()
    yield Rule(
        "inference", "analyser", "A power analyser the rules support (v2.0: Yokogawa), run by their own workflow.",
        Answer.UNKNOWN if not analyser else Answer.NOT_MET,
        "no analyser is declared" if not analyser
        else f"{analyser} is {'supported' if supported else 'not in the rules'}, receipts are not by their workflow",
    )  # fmt: skip
    battery = setup.battery_between
    yield Rule(
        "inference", "no battery", "No store of power between the wall and the supplies.",
        *_declared(None if battery is None else not battery, "declared"),
    )  # fmt: skip
    yield Rule(
        "inference",
        "clocks",
        "System and director are kept in time by NTP.",
        *_declared(setup.clocks_synchronised, "declared"),
    )
    yield Rule(
        "inference",
        "performance phase",
        "Only the performance phase counts.",
        *_declared(setup.performance_phase_only, "declared"),
    )
    same = all(one.units and one.latency is not None for one in runs)
    yield Rule(
        "inference", "same run", "Power and performance are of one run.", Answer.MET if same else Answer.UNKNOWN,
        "every receipt holds units and latency of its own run" if same else "some receipts hold no performance",
    )  # fmt: skip
    yield Rule(
        "inference",
        "power management",
        "Its settings are documented.",
        *_declared(setup.management_documented, "declared"),
    )
    logs = sum(samples.get(address) is not None for address, _ in kept)
    yield Rule(
        "inference", "logs", "Power logs of the run are kept.",
        Answer.MET if logs == len(kept) else Answer.NOT_MET if logs else Answer.UNKNOWN,
        f"samples are kept of {logs} of {len(kept)} receipts",
    )  # fmt: skip


def _measured(suite: str, runs: list[Receipt]) -> Rule:
    methods = sorted({one.total.method.value for one in runs})
    real = all(one.total.method in (Method.COUNTER, Method.INTEGRATED) for one in runs)
    return Rule(
        suite, "measured", "Power is measured, not modelled.", Answer.MET if real else Answer.NOT_MET,
        f"method {', '.join(methods)}",
    )  # fmt: skip


def _declared(said: bool | None, word: str) -> tuple[Answer, str]:
    if said is None:
        return Answer.UNKNOWN, "not declared"
    return (Answer.MET, word) if said else (Answer.NOT_MET, "declared not to be so")


def _sampling(name: str, says: str, found: list[Sampled | None], holds: Any, shown: Any) -> Rule:
    known = [one for one in found if one is not None]
    if not known:
        return Rule("training", name, says, Answer.UNKNOWN, "no samples are kept beside the ledger")
    bad = [one for one in known if not holds(one)]
    if bad:
        return Rule("training", name, says, Answer.NOT_MET, f"{len(bad)} of {len(known)} runs: {shown(bad[0])}")
    if len(known) < len(found):
        return Rule("training", name, says, Answer.UNKNOWN, f"samples are kept of {len(known)} of {len(found)} runs")
    return Rule("training", name, says, Answer.MET, f"{len(known)} runs, the first with {shown(known[0])}")


def _missing(given: Given) -> Iterable[Asked]:
    setup, why = given.power, "a rule hangs on it, and no receipt can say it"
    for key, value, example in (
        ("nodes", setup.nodes, "1"), ("accuracy", setup.accuracy, "0.01"),
        ("clocks_synchronised", setup.clocks_synchronised, "true"),
        ("battery_between", setup.battery_between, "false"),
        ("performance_phase_only", setup.performance_phase_only, "true"),
        ("management_documented", setup.management_documented, "true"),
    ):  # fmt: skip
        if value is None:
            yield Asked(f"power.{key}", why, f"[power]\n{key} = {example}")
