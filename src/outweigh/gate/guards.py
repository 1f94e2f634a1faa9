"""Part (b): each guard metric is non-inferior, one-sided at its margin."""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace

from outweigh.compare.evidence import Evidence
from outweigh.compare.quality import PairedQuality, latency_ratio, paired_quality
from outweigh.core.errors import UsageError
from outweigh.core.project import Guard, TaskSpec
from outweigh.core.verdict import Outcome
from outweigh.gate.inputs import Terms
from outweigh.gate.judged import Judged, from_tails, not_binding
from outweigh.gate.pair import Pair
from outweigh.gate.power import Spread
from outweigh.gate.tails import Tails
from outweigh.gate.wording import share, with_ends

LATENCY_QUANTILES: Mapping[str, float] = {"p50_latency_ms": 0.50, "p95_latency_ms": 0.95}
MEAN_LATENCY = "mean_latency_ms"


def all_guards(terms: Terms) -> tuple[Guard, ...]:
    """The declared guards, and the primary metric as one more where the team wants none of it lost."""
    primary = terms.primary
    declared = terms.guards
    if primary.margin is not None and all(guard.metric != primary.metric for guard in declared):
        return (Guard(primary.metric, primary.margin), *declared)
    return declared


def check_metrics(terms: Terms, everyone: Sequence[Evidence]) -> None:
    """Raises UsageError, with the known metrics, for a primary or guard metric that was not measured."""
    for evidence in everyone:
        _check_names(terms.primary.metric, terms.guards, evidence.scores, evidence.variant.name)


def check_metric_names(task: TaskSpec, metrics: Iterable[str]) -> None:
    """The same before anything is measured, from the metrics the task says it has."""
    _check_names(task.primary.metric, task.guards, metrics, "by this task")


def _check_names(primary: str, guarded: Iterable[Guard], metrics: Iterable[str], whom: str) -> None:
    scored = sorted(metrics)
    known = [*scored, *LATENCY_QUANTILES, MEAN_LATENCY]
    told = whom if whom.startswith("by ") else f"for {whom}"
    if primary not in scored:
        raise UsageError(f"the primary metric {primary!r} is not measured {told}", _nearest(primary, scored))
    for guard in guarded:
        if guard.metric not in known:
            raise UsageError(f"the guard metric {guard.metric!r} is not measured {told}", _nearest(guard.metric, known))


def _nearest(name: str, known: Sequence[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f"{f'Did you mean {near[0]!r}? ' if near else ''}Known metrics: {', '.join(known)}"


def guards(pair: Pair) -> list[Judged]:
    found = []
    for guard in all_guards(pair.terms):
        tails = guard_tails(pair, guard, pair.terms.alpha)
        sentence = _sentence(guard, tails)
        found.append(from_tails("guards", guard.metric, tails, sentence, Spread(items=tails.variance)))
    return found or [not_binding("guards", "no guard metric is declared")]


def guard_tails(pair: Pair, guard: Guard, alpha: float) -> Tails:
    """The non-inferiority test of one guard; good is non-inferior.

    Scores: difference of means, candidate minus base, against -margin (Tango's score test for binary scores,
    paired t otherwise). A relative margin holds the candidate against (1 - margin) times the base.
    Latency: the quantile's ratio against 1 + margin by paired bootstrap, and the mean by paired t. An absolute
    margin in ms is laid on the base first, since quantile(base + margin) = quantile(base) + margin.
    """
    if guard.metric in LATENCY_QUANTILES:
        base_ms = pair.base.latency_ms + (0.0 if guard.relative else guard.margin)
        ratio = latency_ratio(
            base_ms,
            pair.candidate.latency_ms,
            pair.rng(guard.metric),
            quantile=LATENCY_QUANTILES[guard.metric],
            rounds=pair.base.item_rounds,
        )
        most = 1 + guard.margin if guard.relative else 1.0
        return Tails.of_draws(ratio.value, ratio.sampled, most, alpha, lower_is_better=True)
    if guard.metric == MEAN_LATENCY:
        base_ms = pair.base.latency_ms * (1 + guard.margin) if guard.relative else pair.base.latency_ms + guard.margin
        slack = _tails(paired_quality(-base_ms, -pair.candidate.latency_ms), 0.0, alpha)
        # The slack is the margin less the slowdown; shown as milliseconds over the allowance, lower is better.
        return replace(
            slack, estimate=-slack.estimate, low=-slack.high, high=-slack.low, unit="ms", lower_is_better=True
        )
    if guard.relative:
        base = pair.base.scores[guard.metric] * (1 - guard.margin)
        return _tails(paired_quality(base, pair.candidate.scores[guard.metric]), 0.0, alpha)
    return _tails(pair.quality(guard.metric), -guard.margin, alpha)


def _tails(quality: PairedQuality, threshold: float, alpha: float) -> Tails:
    bounds = quality.bounds(1 - 2 * alpha)
    return Tails(
        quality.difference,
        bounds.low,
        bounds.high,
        threshold,
        quality.p_greater(threshold),
        quality.p_less(threshold),
        alpha,
    )


def _sentence(guard: Guard, tails: Tails) -> str:
    figure = with_ends(tails.estimate, tails.low, tails.high)
    allowed = share(guard.margin) if guard.relative else f"{guard.margin:g}"
    if guard.metric in LATENCY_QUANTILES:
        over = "" if guard.relative else f" after {guard.margin:g} ms are allowed for"
        body = f"{guard.metric} is {figure} times the incumbent's{over}, and may be at most {tails.threshold:.4g} times"
    elif guard.metric == MEAN_LATENCY:
        unit = "" if guard.relative else " ms"
        body = f"{guard.metric} lies {figure} ms over what the margin of {allowed}{unit} allows"
    elif guard.relative:
        body = f"{guard.metric} lies {figure} over the incumbent's less {allowed}, and may not lie under it"
    else:
        body = f"{guard.metric} changes by {figure}, and may fall by at most {allowed}"
    return f"{body}: {_said(tails.outcome)}"


def _said(outcome: Outcome) -> str:
    return {
        Outcome.PASS: "non-inferior",
        Outcome.FAIL: "worse than the margin allows",
        Outcome.INCONCLUSIVE: "not shown either way",
    }[outcome]
