"""How often a comparison of a model with itself calls a difference, and how narrow its intervals are under load.

The workload is real: a small network of numpy matrix products classifies scikit-learn's handwritten digits where that
is installed, made-up ones elsewhere, one process, the `cpu-model` meter. Each comparison is `run_protocol` whole: hum,
warm-up, 20 interleaved rounds of one loaded model under two names, one window each. A false alarm is a 95 % interval of
the energy ratio that excludes 1. The second half runs while `stress-ng` keeps the other core busy.

A second copy of the same weights, loaded apart, runs in the same rounds. It is shown without a goal: where arrays
happen to lie in memory changes what they cost by some per cent (Mytkowicz et al. 2009, ASPLOS, 265-276), for as long as
the process lives, and no number of rounds averages that away. A lead of that size between two models is not a lead.

Goals: 5 % ± 2 of false alarms at 20 rounds, and a half-width of at most 3 % under load. `--comparisons N` runs N
instead of 400 in each half; `--width` only the half-width under load, at the protocol's own window.
"""

from __future__ import annotations

import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from scipy import stats

from outweigh.backends.meters.cpu_model import CpuModelMeter
from outweigh.compare.energy import log_ratio
from outweigh.compare.perunit import Facility
from outweigh.compare.protocol import Sitting, run_protocol
from outweigh.core.project import Protocol, Serving
from outweigh.core.variant import Variant
from outweigh.measure import MeterSession
from outweigh.ports import ItemResults
from shape import Row, finish

ROUNDS = 20
COMPARISONS = 400  # the standard error of a share of 5 % is then 1.1 points
ITEMS = 20 * 64
WINDOW_S = 0.02  # a fifth of the default, so that the whole takes minutes: intervals are wider than a user's
USERS_WINDOW_S = Protocol().window_s  # what a half-width is promised for
WIDTH = 256


class Digits:
    """Two dense layers with fixed weights over 64 pixels; what is right does not matter here, what is drawn does."""

    def __init__(self, name: str, pixels: np.ndarray) -> None:
        rng = np.random.default_rng(0)
        self.variant = Variant(name, "digits.npz", content_hash=f"{name}: the same weights")
        self._pixels = pixels
        self._first = rng.standard_normal((pixels.shape[1], WIDTH))
        self._second = rng.standard_normal((WIDTH, WIDTH))
        self._last = rng.standard_normal((WIDTH, 10))

    def fit(self) -> None:
        pass

    def run(self, items: Sequence[int]) -> ItemResults:
        scores, times_ms = [], []
        for item in items:
            start = time.perf_counter()
            hidden = np.maximum(self._pixels[item % len(self._pixels)] @ self._first, 0)
            hidden = np.maximum(hidden @ self._second, 0)
            scores.append(float(np.argmax(hidden @ self._last) == item % 10))
            times_ms.append(1e3 * (time.perf_counter() - start))
        return ItemResults(tuple(items), {"accuracy": tuple(scores)}, tuple(times_ms))

    def close(self) -> None:
        pass


def pixels() -> tuple[np.ndarray, str]:
    try:
        from sklearn.datasets import load_digits
    except ImportError:
        return np.random.default_rng(1).random((1797, 64)), "made-up pixels"
    return np.asarray(load_digits().data / 16.0), "scikit-learn digits"


@dataclass(frozen=True, slots=True)
class Seen:
    """One comparison: was a difference called, and how wide was the ratio's interval, as a share."""

    alarm: bool
    half_width: float
    copy_alarm: bool
    copy_apart: float


def compared(data: np.ndarray, seed: int, window_s: float = WINDOW_S) -> Seen:
    with MeterSession(CpuModelMeter()) as session:
        done = run_protocol(
            session,
            [Digits(name, data) for name in ("one", "copy")],
            n_items=ITEMS,
            protocol=Protocol(rounds=ROUNDS, seed=seed, window_s=window_s),
            sitting=Sitting("aa", "digit", "benchmark"),
            facility=Facility(1.0, Serving(), 1e9, 12, threads_total=os.cpu_count() or 1),
            on_receipt=lambda receipt: receipt.run_id,
        )
    one, copy = done.evidence["one"], done.evidence["copy"]
    assert done.aa is not None
    itself = done.aa.bounds(0.95)
    apart = log_ratio(copy.energy_j_per_unit, one.energy_j_per_unit)
    return Seen(
        alarm=not itself.contains(0.0),
        half_width=float(np.expm1(itself.half_width)),
        copy_alarm=not apart.bounds(0.95).contains(0.0),
        copy_apart=abs(apart.estimate),
    )


@contextmanager
def stressed() -> Iterator[None]:
    """One worker of stress-ng on the last core, this process on the first."""
    before = os.sched_getaffinity(0)
    cores = sorted(before)
    load = subprocess.Popen(
        ["stress-ng", "--cpu", "1", "--taskset", str(cores[-1]), "--quiet"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        if len(cores) > 1:
            os.sched_setaffinity(0, {cores[0]})
        yield
    finally:
        os.sched_setaffinity(0, before)
        load.terminate()
        load.wait(timeout=30)


def rows_of(case: str, data: np.ndarray, what: str, n: int) -> list[Row]:
    start = time.perf_counter()
    found = [compared(data, seed) for seed in range(n)]
    alarms, widths = [one.alarm for one in found], [one.half_width for one in found]
    share = 100 * statistics.mean(alarms)
    exact = stats.binomtest(sum(alarms), n).proportion_ci(0.95)
    busy = os.getloadavg()[0]
    note = (
        f"{sum(alarms)} of {n} comparisons of {ROUNDS} rounds on {what}; 95 % interval {100 * exact.low:.1f} to "
        f"{100 * exact.high:.1f} %; load {busy:.1f}; {time.perf_counter() - start:.0f} s"
    )
    ordered = sorted(widths)
    return [
        Row(f"false alarms, {case}", share, "%", 5.0, "5 % ± 2", 3.0 <= share <= 7.0, note),
        Row(
            f"half-width of the energy ratio, {case}",
            100 * statistics.median(widths),
            "%",
            note=f"median at windows of {WINDOW_S:g} s; 95 % below {100 * ordered[int(0.95 * (n - 1))]:.2g} %",
        ),
        Row(
            f"differences called with a second copy of the weights, {case}",
            100 * statistics.mean(one.copy_alarm for one in found),
            "%",
            note=f"median distance {100 * statistics.median(one.copy_apart for one in found):.2g} %",
        ),
    ]


def width_under_load(data: np.ndarray, n: int) -> Row:
    """At the protocol's own window."""
    widths = sorted(compared(data, seed, USERS_WINDOW_S).half_width for seed in range(n))
    median = 100 * statistics.median(widths)
    return Row(
        "half-width of the energy ratio, under load, default window", median, "%", goal="<= 3 %", holds=median <= 3.0,
        note=f"median of {n} comparisons of {ROUNDS} rounds at {USERS_WINDOW_S:g} s; 95 % below "
        f"{100 * widths[int(0.95 * (n - 1))]:.2g} %; load {os.getloadavg()[0]:.1f}",
    )  # fmt: skip


def main() -> int:
    data, what = pixels()
    asked = sys.argv[1:]
    n = int(asked[asked.index("--comparisons") + 1]) if "--comparisons" in asked else COMPARISONS
    rows = [] if "--width" in asked else rows_of("as the machine is", data, what, n)
    if shutil.which("stress-ng") is None:
        absent = "stress-ng is not installed (Debian: apt-get install stress-ng)"
        rows += [
            Row("false alarms, under load", None, "%", 5.0, "5 % ± 2", note=absent),
            Row("half-width of the energy ratio, under load, default window", None, "%", goal="<= 3 %", note=absent),
        ]
    else:
        with stressed():
            rows += [] if "--width" in asked else rows_of("under load", data, what, n)
            rows.append(width_under_load(data, max(12, n // 10)))
    return finish("compare_aa", rows)


if __name__ == "__main__":
    sys.exit(main())
