"""What earlier receipts of a job say of the next one: how long it runs and what it draws, against what was said."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Final

from outweigh.core.receipt import Receipt, RunStatus
from outweigh.run.inside import MEASURED_J, MEASURED_S
from outweigh.run.settling import JOB, POWER_FACTOR, PREDICTED_J, PREDICTED_S, RAN_S, RUN_FACTOR, TRIAL

#: Only so many of the newest receipts speak: a job changes.
NEWEST: Final = 20
#: Actual, and predicted where anybody did.
Pair = tuple[float, float | None]
#: A prediction counts as so many receipts that agree with it, so that one odd run does not turn the next plan over.
PRIOR: Final = 1.0


@dataclass(frozen=True, slots=True)
class Learned:
    """Factors to multiply a prediction with, and how many receipts they rest on; 1 where there are none.

    Attributes:
        runs: receipts that say how long it ran and was to run. run_ratio: actual over predicted run time.
        metered: receipts in which energy was measured and predicted. power_ratio: actual over predicted mean power.
        timed: receipts that say how long it ran. run_s: their mean run time [s]; None without any.
        power_w: mean power [W] of those that measured it; None without any.
    """

    runs: int = 0
    run_ratio: float = 1.0
    metered: int = 0
    power_ratio: float = 1.0
    timed: int = 0
    run_s: float | None = None
    power_w: float | None = None

    def words(self, name: str) -> str:
        """
        >>> Learned(runs=3, run_ratio=1.2).words("train")
        'train: run time x 1.20 (from 3 receipts); power as declared (no receipt measured it)'
        """
        ran = f"run time x {self.run_ratio:.2f} (from {_receipts(self.runs)})" if self.runs else "run time as declared"
        drew = (
            f"power x {self.power_ratio:.2f} (from {_receipts(self.metered)})" if self.metered
            else "power as declared (no receipt measured it)"
        )  # fmt: skip
        return f"{name}: {ran}; {drew}"


def learn(receipts: Iterable[Receipt]) -> dict[str, Learned]:
    """By name of job, from receipts that `outweigh run` left, oldest first.

    A factor is the geometric mean of actual over declared (which is a prediction without what had been learnt before
    it), with the declaration itself as one more receipt: n receipts weigh n / (n + 1). A receipt of which nobody
    predicted anything says how long the job runs all the same. Runs that failed, and trials on a clock that is not the
    world's, say nothing.
    """
    ran: dict[str, list[Pair]] = {}
    drew: dict[str, list[Pair]] = {}
    for receipt in receipts:
        labels = dict(receipt.labels)
        name = labels.get(JOB)
        if name is None or TRIAL in labels or receipt.status is not RunStatus.COMPLETED:
            continue
        # A command in the foreground is measured from its start to its end; a job may have paused in between.
        ran_s = _number(labels[RAN_S]) if RAN_S in labels else receipt.interval.seconds or None
        if ran_s is None:
            continue
        predicted_s, predicted_j = _number(labels.get(PREDICTED_S)), _number(labels.get(PREDICTED_J))
        # A plan that had learnt predicts the truth: held against that, the next would be as if nothing had been learnt.
        declared_s = None if predicted_s is None else predicted_s / (_number(labels.get(RUN_FACTOR)) or 1.0)
        ran.setdefault(name, []).append((ran_s, declared_s))
        power_w = _power_w(receipt, labels, ran_s)
        if power_w is not None:
            predicted_w = None if predicted_s is None or predicted_j is None else predicted_j / predicted_s
            declared_w = None if predicted_w is None else predicted_w / (_number(labels.get(POWER_FACTOR)) or 1.0)
            drew.setdefault(name, []).append((power_w, declared_w))
    return {name: _learned(pairs[-NEWEST:], drew.get(name, [])[-NEWEST:]) for name, pairs in ran.items()}


def _power_w(receipt: Receipt, labels: Mapping[str, str], ran_s: float) -> float | None:
    """Mean power that was measured [W], by this receipt or by those that were written inside the job."""
    inside_j, inside_s = _number(labels.get(MEASURED_J)), _number(labels.get(MEASURED_S))
    if inside_j is not None and inside_s is not None:
        return inside_j / inside_s
    joules = receipt.total.value.joules
    return joules / ran_s if receipt.total.method.is_measured and joules > 0 else None


def _learned(ran: list[Pair], drew: list[Pair]) -> Learned:
    (runs, run_ratio), (metered, power_ratio) = _ratio(ran), _ratio(drew)
    return Learned(
        runs, run_ratio, metered, power_ratio, len(ran), sum(each for each, _ in ran) / len(ran),
        sum(each for each, _ in drew) / len(drew) if drew else None,
    )  # fmt: skip


def _ratio(pairs: list[Pair]) -> tuple[int, float]:
    """How many pairs have both sides, and the mean of the one over the other."""
    logs = [math.log(actual / predicted) for actual, predicted in pairs if predicted is not None]
    return len(logs), math.exp(sum(logs) / (len(logs) + PRIOR)) if logs else 1.0


def _number(text: str | None) -> float | None:
    try:
        value = float(text or "")
    except ValueError:
        return None
    return value if math.isfinite(value) and value > 0 else None


def _receipts(n: int) -> str:
    return f"{n} receipt{'s' if n != 1 else ''}"
