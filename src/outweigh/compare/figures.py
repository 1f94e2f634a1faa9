"""Energy per unit, per correct answer and per token, three ways: net, gross and all-in.

    net      the work alone: what was drawn above the idle draw, in the meter's scope
    gross    what the meter saw while the rounds ran: work and hum
    all-in   facility energy with the replica's share of the hum, training and development written off: E of the gate

Each is a ratio of sums over rounds, with a jackknife over rounds on its logarithm and Student's t on R - 1 degrees of
freedom (Tukey 1958, Ann Math Stat 29:614; Cochran 1977, Sampling Techniques, 6.17, for ratios): scatter only, the
meter's own uncertainty comes on top and is the same factor for all.

A token's energy is allocated, not measured, unless its windows were separate: reading the input and writing the output
share a round, and the round's energy is split by the time each took, as if the machine drew the same power in both. It
draws more while reading, which is one large multiplication, so the figure for reading is low and that for writing high.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from scipy import stats

from outweigh.compare.evidence import Evidence, Floats
from outweigh.core.errors import UnusableMeasurement
from outweigh.core.intervals import Bounds, Estimate

ALLOCATED = "allocated by the share of time within the round"
TOKENS_IN, TOKENS_OUT, PREFILL_S, DECODE_S = "tokens_in", "tokens_out", "prefill_s", "decode_s"


@dataclass(frozen=True, slots=True)
class EnergyFigure:
    """Energy per something [J], three ways; None where a way makes no sense or a sum is not positive."""

    net: Estimate | None
    gross: Estimate | None
    all_in: Estimate | None


@dataclass(frozen=True, slots=True)
class EnergyFigures:
    """Energy of one variant per what it delivers.

    Attributes:
        per_unit: per functional unit.
        per_correct: per correct answer; None where the primary metric is not right or wrong, or nothing was right.
        per_token: "prefill" (per token read), "decode" (per token written), or "tokens" (per token of either, where no
            times tell them apart); empty where nobody counted.
        token_method: how energy was split between reading and writing; "" where it was not.
        power_w: mean power while the rounds ran [W].
    """

    per_unit: EnergyFigure
    per_correct: EnergyFigure | None
    per_token: Mapping[str, EnergyFigure]
    token_method: str
    power_w: float


def ratio_of_sums(numerator: Floats, denominator: Floats, confidence: float = 0.95) -> Estimate:
    """Sum of the one over the sum of the other, shape (R,), with its jackknife interval on the log scale.

    One round shows no scatter: its ends are infinite.

    Raises:
        UnusableMeasurement: unequal shapes, or a sum, with all rounds or with all but one, that is not positive.

    >>> ratio_of_sums(np.array([2.0, 4.0]), np.array([1.0, 2.0])).value
    2.0
    """
    if numerator.shape != denominator.shape or numerator.ndim != 1 or numerator.size == 0:
        raise UnusableMeasurement(
            "ratio", f"{numerator.size} rounds do not pair with {denominator.size}", "Give both for the same rounds"
        )
    top, bottom, rounds = float(numerator.sum()), float(denominator.sum()), numerator.size
    left_top, left_bottom = top - numerator, bottom - denominator
    if not (top > 0 and bottom > 0):
        raise UnusableMeasurement("ratio", "a sum over the rounds is not positive", "Measure longer rounds")
    if rounds < 2 or min(left_top.min(), left_bottom.min()) <= 0:
        return Estimate(top / bottom, Bounds(0.0, math.inf, confidence))
    logs = np.log(left_top) - np.log(left_bottom)
    standard = math.sqrt((rounds - 1) / rounds * float(np.sum((logs - logs.mean()) ** 2)))
    spread = math.exp(float(stats.t.ppf((1 + confidence) / 2, rounds - 1)) * standard)
    value = top / bottom
    return Estimate(value, Bounds(value / spread, value * spread, confidence))


def energy_figures(evidence: Evidence, metric: str, confidence: float = 0.95) -> EnergyFigures:
    """All figures of one variant. Raises KeyError for a metric the task does not have."""
    units, gross = evidence.units, evidence.work_j + evidence.hum_j
    counts = evidence.counts
    per_token: dict[str, EnergyFigure] = {}
    method = ""
    tokens_in, tokens_out = counts.get(TOKENS_IN), counts.get(TOKENS_OUT)
    prefill_s, decode_s = counts.get(PREFILL_S), counts.get(DECODE_S)
    if prefill_s is not None and decode_s is not None and np.all(prefill_s + decode_s > 0):
        reading = prefill_s / (prefill_s + decode_s)
        method = ALLOCATED
        if tokens_in is not None:
            per_token["prefill"] = _figure(evidence, gross, tokens_in, confidence, reading)
        if tokens_out is not None:
            per_token["decode"] = _figure(evidence, gross, tokens_out, confidence, 1 - reading)
    elif tokens_in is not None or tokens_out is not None:
        both = (0.0 if tokens_in is None else tokens_in) + (0.0 if tokens_out is None else tokens_out)
        per_token["tokens"] = _figure(evidence, gross, np.asarray(both, dtype=float), confidence)
    correct = _correct(evidence, metric)
    return EnergyFigures(
        per_unit=_figure(evidence, gross, units, confidence),
        per_correct=None if correct is None else _figure(evidence, gross, correct, confidence),
        per_token=per_token,
        token_method=method,
        power_w=float(gross.sum() / evidence.service_s.sum()),
    )


def _figure(
    evidence: Evidence, gross: Floats, delivered: Floats, confidence: float, share: Floats | float = 1.0
) -> EnergyFigure:
    def per(energy_j: Floats) -> Estimate | None:
        split = energy_j * share
        if not (split.sum() > 0 and delivered.sum() > 0):
            return None
        return ratio_of_sums(split, delivered, confidence)

    return EnergyFigure(per(evidence.work_j), per(gross), per(evidence.energy_j_per_unit * evidence.units))


def _correct(evidence: Evidence, metric: str) -> Floats | None:
    """Right answers of each round, shape (R,); None where scores are not all 0 or 1, or nothing was right."""
    scores = evidence.scores[metric]
    counted = scores[np.isfinite(scores)]
    if evidence.item_rounds is None or not np.all((counted == 0) | (counted == 1)) or not counted.sum() > 0:
        return None
    # The scored share of the items stands for all units: an item without a say is right as often as the others.
    right = np.bincount(evidence.item_rounds, weights=np.nan_to_num(scores), minlength=evidence.units.size)
    said = np.bincount(evidence.item_rounds, weights=np.isfinite(scores).astype(float), minlength=evidence.units.size)
    return np.asarray(evidence.units * right / np.maximum(said, 1), dtype=np.float64)
