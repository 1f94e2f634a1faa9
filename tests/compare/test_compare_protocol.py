import math
from contextlib import contextmanager

import numpy as np
import pytest

from outweigh.backends.meters.replay import ReplayMeter
from outweigh.compare.energy import log_ratio
from outweigh.compare.perunit import Facility
from outweigh.compare.protocol import Sitting, run_protocol
from outweigh.core.budget import Phase
from outweigh.core.errors import ModelError, UnusableMeasurement, UsageError
from outweigh.core.measurement import Grade, Method
from outweigh.core.project import Protocol, Serving
from outweigh.core.receipt import RunStatus
from outweigh.core.variant import Variant
from outweigh.measure.clock import FakeClock
from outweigh.measure.session import MeterSession
from outweigh.ports import ItemResults

HUM_W, WORK_W = 40.0, 25.0
SITTING = Sitting(project="news", unit="article", batch="b1")
FACILITY = Facility(1.5, Serving(threads=1), volume_low_per_month=1e6, horizon_months=12, threads_total=4)
SIX_ROUNDS = Protocol(rounds=6)
ONE_SCORE = {"accuracy": lambda item: float(item % 10 != 0)}


class ClockedRunner:
    """A variant that takes a given time an item, on a clock that only moves when it works."""

    def __init__(self, clock, name, item_s=0.1, fit_s=0.0, scores=ONE_SCORE, noise=None, counts=None):
        self.variant = Variant(name, f"{name}.onnx", content_hash=f"hash of {name}")
        self.clock, self.item_s, self.fit_s, self.scores, self.noise = clock, item_s, fit_s, scores, noise
        self.ran, self.counts = [], counts or {}

    def fit(self):
        self.clock.sleep(self.fit_s)

    def run(self, items):
        times_s = [self.item_s * (self.noise() if self.noise else 1.0) for _ in items]
        for time_s in times_s:
            self.clock.sleep(time_s)
        self.ran.append(tuple(items))
        return ItemResults(
            items=tuple(items),
            scores={metric: tuple(score(item) for item in items) for metric, score in self.scores.items()},
            latency_ms=tuple(1e3 * time_s for time_s in times_s),
            counts={name: (value,) * len(items) for name, value in self.counts.items()},
        )

    def close(self):
        pass


class Sitter:
    """A session on a replayed 40 W hum for 3 s and 65 W after it, with runners on its clock and receipts kept."""

    def __init__(self, trace=None, **meter):
        self.clock = FakeClock()
        trace = trace or [(0.0, HUM_W), (3.0 - 2e-9, HUM_W), (3.0 - 1e-9, HUM_W + WORK_W)]
        self.meter = ReplayMeter(trace, now=self.clock.monotonic_s, **meter)
        self.receipts = []

    def compare(self, *runners, n_items=60, protocol=SIX_ROUNDS, on_receipt=None, **options):
        with MeterSession(self.meter, self.clock) as session:
            return run_protocol(
                session,
                runners,
                n_items=n_items,
                protocol=protocol,
                sitting=SITTING,
                facility=FACILITY,
                on_receipt=on_receipt or self.keep,
                **options,
            )

    def keep(self, receipt):
        self.receipts.append(receipt)
        return receipt.content_hash


def test_energy_per_unit_is_that_of_the_trace():
    sitter = Sitter()
    comparison = sitter.compare(ClockedRunner(sitter.clock, "small"), ClockedRunner(sitter.clock, "large", item_s=0.3))

    small, large = comparison.evidence["small"], comparison.evidence["large"]
    assert comparison.hum.power.watts == pytest.approx(HUM_W)
    assert small.work_j == pytest.approx(WORK_W * 10 * 0.1)
    assert small.hum_j == pytest.approx(HUM_W * 10 * 0.1)
    assert small.service_s == pytest.approx(1.0)
    assert small.work_j_per_unit == pytest.approx(1.5 * WORK_W * 0.1)
    assert small.hum_j_per_unit == pytest.approx(1.5 * HUM_W / 4 * 0.1)
    # 60 items at 0.1 s and 65 W, evaluated once, written off over a year of the low volume.
    assert small.amortised_j_per_unit == pytest.approx(1.5 * 65.0 * 6.0 / 12e6)
    assert log_ratio(large.energy_j_per_unit, small.energy_j_per_unit).ratio().value == pytest.approx(3.0)
    assert (small.grade, small.method) == (Grade.D, Method.REPLAYED)


def test_every_item_runs_once_per_variant_and_in_the_same_round_for_all():
    sitter = Sitter()
    runners = [ClockedRunner(sitter.clock, name) for name in "abc"]

    comparison = sitter.compare(*runners, n_items=50, protocol=Protocol(rounds=7, warmup=0, aa=False))

    for runner in runners:
        assert runner.ran == runners[0].ran
        assert sorted(item for chunk in runner.ran for item in chunk) == list(range(50))
    evidence = comparison.evidence["b"]
    assert evidence.items.tolist() == list(range(50))
    assert all(evidence.item_rounds[item] == index for index, chunk in enumerate(runners[1].ran) for item in chunk)
    assert evidence.units.tolist() == [8.0] + [7.0] * 6


def test_the_order_is_random_and_reproduced_by_the_seed():
    def order(seed):
        sitter = Sitter()
        runners = [ClockedRunner(sitter.clock, name) for name in "abc"]
        return sitter.compare(*runners, protocol=Protocol(rounds=12, seed=seed, aa=False)).order

    assert order(1) == order(1)
    assert order(1) != order(2)
    assert len(set(order(1))) > 2
    assert all(sorted(names) == ["a", "b", "c"] for names in order(1))


def test_scores_are_aligned_with_items_and_missing_where_an_item_has_no_say():
    sitter = Sitter()
    scores = {"accuracy": lambda item: float(item % 2), "recall_urgent": lambda item: 1.0 if item < 5 else None}
    evidence = sitter.compare(ClockedRunner(sitter.clock, "only", scores=scores), n_items=20).evidence["only"]

    assert evidence.scores["accuracy"].tolist() == [float(item % 2) for item in range(20)]
    assert np.isnan(evidence.scores["recall_urgent"][5:]).all()
    assert evidence.metric("recall_urgent") == 1.0


def test_every_round_leaves_a_receipt_at_once_and_a_fit_one_of_its_own():
    sitter = Sitter()
    seen_when_asked = []
    runner = ClockedRunner(sitter.clock, "head", fit_s=2.0)
    comparison = sitter.compare(
        runner,
        protocol=Protocol(rounds=3, warmup=1),
        progress=lambda text, share: seen_when_asked.append((text, share, len(sitter.receipts))),
    )

    fit, *rounds = sitter.receipts
    assert (fit.phase, fit.total.value.joules) == (Phase.TRAINING, pytest.approx(65.0 * 2.0))
    assert comparison.evidence["head"].fit == fit.total
    assert [r.round_index for r in rounds] == [0, 1, 2]
    assert {r.phase for r in rounds} == {Phase.DEVELOPMENT}
    first = rounds[0]
    assert (first.units, first.unit, first.variant, first.variant_hash) == (20.0, "article", "head", "hash of head")
    assert (first.project, first.batch, first.meter) == ("news", "b1", "replay")
    assert first.quality[0].metric == "accuracy"
    assert first.quality[0].n == 20
    assert first.latency.p95_ms == pytest.approx(100.0)
    assert first.meter_cost is not None
    assert comparison.evidence["head"].receipts == tuple(r.content_hash for r in rounds)
    # One receipt for the fit, then one more each time progress is told of a round.
    assert [count for _, _, count in seen_when_asked] == [0, 0, 1, 2, 3, 4]
    shares = [share for _, share, _ in seen_when_asked]
    assert shares == sorted(shares)
    assert (shares[0], shares[-1]) == (0.0, 1.0)


def test_a_fit_that_trains_nothing_leaves_no_receipt():
    sitter = Sitter()
    comparison = sitter.compare(ClockedRunner(sitter.clock, "fixed"), protocol=Protocol(rounds=2))

    assert comparison.evidence["fixed"].fit is None
    assert {r.phase for r in sitter.receipts} == {Phase.DEVELOPMENT}


def test_warm_up_is_run_until_it_is_level_and_not_counted():
    sitter = Sitter()
    runner = ClockedRunner(sitter.clock, "a")
    sitter.compare(runner, protocol=Protocol(rounds=2, warmup=3))

    assert [len(chunk) for chunk in runner.ran] == [8, 8, 8, 8, 30, 30]
    assert len(sitter.receipts) == 2


def test_max_items_takes_a_random_part_the_same_for_all():
    sitter = Sitter()
    comparison = sitter.compare(
        *(ClockedRunner(sitter.clock, n) for n in "ab"), n_items=500, protocol=Protocol(rounds=4, max_items=40)
    )

    items = comparison.evidence["a"].items
    assert items.size == 40
    assert np.array_equal(items, comparison.evidence["b"].items)
    assert items.max() > 100


def test_with_fewer_items_than_rounds_there_are_as_many_rounds_as_items():
    sitter = Sitter()
    assert len(sitter.compare(ClockedRunner(sitter.clock, "a"), n_items=5, protocol=Protocol(rounds=12)).order) == 5


@pytest.mark.parametrize(("n_items", "protocol"), [(1, Protocol()), (60, Protocol(rounds=1)), (0, Protocol())])
def test_a_comparison_without_scatter_is_refused(n_items, protocol):
    sitter = Sitter()
    with pytest.raises(UnusableMeasurement, match="no scatter") as caught:
        sitter.compare(ClockedRunner(sitter.clock, "a"), n_items=n_items, protocol=protocol)
    assert caught.value.remedy


@pytest.mark.parametrize("names", ["", "aa"])
def test_no_variants_or_two_of_one_name_are_refused(names):
    sitter = Sitter()
    with pytest.raises(UsageError):
        sitter.compare(*(ClockedRunner(sitter.clock, name) for name in names))


@pytest.mark.parametrize("score", [math.nan, math.inf])
def test_scores_that_are_not_finite_are_the_models_fault_and_their_energy_stays_on_record(score):
    sitter = Sitter()
    broken = ClockedRunner(sitter.clock, "broken", scores={"accuracy": lambda item: score})

    with pytest.raises(ModelError, match="broken: a score of accuracy is not a finite number"):
        sitter.compare(broken, protocol=Protocol(rounds=2, warmup=0))

    assert [r.status for r in sitter.receipts] == [RunStatus.FAILED]
    assert sitter.receipts[0].total.value.joules > 0


def test_variants_judged_by_different_metrics_are_refused():
    sitter = Sitter()
    other = ClockedRunner(sitter.clock, "other", scores={"f1": lambda item: 1.0})
    with pytest.raises(ModelError, match="Judge all variants by one task"):
        sitter.compare(ClockedRunner(sitter.clock, "a"), other)


def test_answers_to_other_items_than_asked_are_refused():
    sitter = Sitter()
    runner = ClockedRunner(sitter.clock, "a")
    honest = runner.run
    runner.run = lambda items: honest([*items][::-1])
    with pytest.raises(ModelError, match="did not answer the items"):
        sitter.compare(runner)


def test_stopping_in_the_middle_keeps_every_round_measured_and_marks_the_one_cut_short():
    sitter = Sitter()
    runner = ClockedRunner(sitter.clock, "a")
    honest = runner.run

    def stopped_in_round_three(items):
        results = honest(items)
        if len(runner.ran) == 3:
            raise KeyboardInterrupt
        return results

    runner.run = stopped_in_round_three
    with pytest.raises(KeyboardInterrupt):
        sitter.compare(runner, protocol=Protocol(rounds=6, warmup=0))

    assert [r.status for r in sitter.receipts] == [RunStatus.COMPLETED, RunStatus.COMPLETED, RunStatus.INTERRUPTED]


def test_a_round_the_meter_lost_is_run_again_and_both_attempts_are_kept():
    # The counter falls to nothing at 5.5 s, in the third round of one second.
    sitter = Sitter(reset_at_s=(5.5,), max_power_w=100.0)
    runner = ClockedRunner(sitter.clock, "a")

    comparison = sitter.compare(runner, protocol=Protocol(rounds=6, warmup=0))

    assert [r.status for r in sitter.receipts].count(RunStatus.UNUSABLE) == 1
    assert [r.round_index for r in sitter.receipts] == [0, 1, 2, 2, 3, 4, 5]
    assert comparison.evidence["a"].work_j == pytest.approx(WORK_W)
    assert len(comparison.evidence["a"].receipts) == 6


def test_a_round_the_meter_lost_twice_ends_the_comparison():
    sitter = Sitter(reset_at_s=(5.5, 6.5), max_power_w=100.0)
    with pytest.raises(UnusableMeasurement, match=r"a round of a is unusable: .* in 2 attempts") as caught:
        sitter.compare(ClockedRunner(sitter.clock, "a"), protocol=Protocol(rounds=6, warmup=0))
    assert caught.value.exit_code == 3


class Forgetful(MeterSession):
    """Listens to the hum and forgets it."""

    def hum(self, seconds):
        heard = super().hum(seconds)
        self.latest_hum = None
        return heard


def test_without_an_idle_draw_there_is_no_work_to_compare():
    sitter = Sitter()
    with (
        Forgetful(sitter.meter, sitter.clock) as session,
        pytest.raises(UnusableMeasurement, match="no idle draw is known") as caught,
    ):
        run_protocol(
            session,
            [ClockedRunner(sitter.clock, "a")],
            n_items=60,
            protocol=SIX_ROUNDS,
            sitting=SITTING,
            facility=FACILITY,
            on_receipt=sitter.keep,
        )
    assert caught.value.remedy


# --- a variant against itself -----------------------------------------------------------------------


def test_the_first_variant_runs_twice_a_round_under_a_hidden_name_and_shows_the_noise():
    sitter = Sitter()
    first = ClockedRunner(sitter.clock, "first")

    comparison = sitter.compare(first, ClockedRunner(sitter.clock, "second", item_s=0.2), protocol=Protocol(rounds=4))

    assert comparison.aa.ratio().value == pytest.approx(1.0)
    assert comparison.aa.rounds == 4
    assert list(comparison.evidence) == ["first", "second"]
    assert all(sorted(names) == ["first", "first (A/A)", "second"] for names in comparison.order)
    pairs = [r for r in sitter.receipts if dict(r.labels).get("pair") == "A/A"]
    assert [r.variant for r in pairs] == ["first"] * 4
    # What the second runs drew is on record, and neither variant pays for it.
    assert not {r.content_hash for r in pairs} & set(comparison.evidence["first"].receipts)
    assert comparison.evidence["first"].amortised_j_per_unit == pytest.approx(1.5 * 65.0 * 6.0 / 12e6)


def test_with_one_variant_or_where_it_is_switched_off_nothing_runs_twice():
    one, two = Sitter(), Sitter()
    assert one.compare(ClockedRunner(one.clock, "a")).aa is None
    runners = [ClockedRunner(two.clock, name) for name in "ab"]
    assert two.compare(*runners, protocol=Protocol(rounds=3, aa=False)).aa is None
    assert len(two.receipts) == 6


# --- windows ----------------------------------------------------------------------------------------


def test_where_a_round_is_shorter_than_the_meter_needs_all_run_their_items_again_equally_often():
    sitter = Sitter(update_s=0.1)
    quick, slow = ClockedRunner(sitter.clock, "quick", item_s=0.005), ClockedRunner(sitter.clock, "slow", item_s=0.1)

    evidence = sitter.compare(quick, slow, protocol=Protocol(rounds=3, aa=False)).evidence

    # 20 items of 5 ms make 0.1 s; five refreshes of the counter take 0.5 s.
    assert evidence["quick"].service_s.min() >= 0.5
    assert evidence["quick"].units.tolist() == [140.0] * 3
    assert evidence["slow"].units.tolist() == [140.0] * 3
    assert evidence["slow"].service_s == pytest.approx(14.0, rel=1e-3)
    assert evidence["quick"].items.size == 60
    assert evidence["quick"].work_j / evidence["quick"].units == pytest.approx(WORK_W * 0.005, rel=0.2)
    assert {dict(r.labels).get("repeats") for r in sitter.receipts if r.variant == "quick"} == {"7"}


def test_without_a_warm_up_the_first_attempt_tells_how_long_a_round_is():
    sitter = Sitter(update_s=0.1)
    quick = ClockedRunner(sitter.clock, "quick", item_s=0.005)

    evidence = sitter.compare(quick, protocol=Protocol(rounds=3, warmup=0)).evidence["quick"]

    assert [r.status for r in sitter.receipts].count(RunStatus.UNUSABLE) == 1
    assert evidence.units.tolist() == [140.0] * 3


def test_a_meter_too_slow_for_any_number_of_repeats_is_refused_with_the_remedy():
    sitter = Sitter(update_s=3600.0)
    with pytest.raises(UnusableMeasurement, match="repeats do not reach") as caught:
        sitter.compare(ClockedRunner(sitter.clock, "tiny", item_s=0.0005), n_items=6, protocol=Protocol(rounds=6))
    assert "more items" in caught.value.remedy


def test_a_variant_that_never_settles_is_measured_and_said_to_be_moving():
    sitter = Sitter()
    pace = iter([1.1**n for n in range(200, -5000, -1)])
    warming = ClockedRunner(sitter.clock, "warming", item_s=1e-9, noise=lambda: next(pace))

    comparison = sitter.compare(warming, n_items=20, protocol=Protocol(rounds=2, warmup_most=5))

    (note,) = comparison.notes
    assert "warming had not settled after 5 warm-up blocks" in note


# --- who fails, what is held, what is counted -------------------------------------------------------


def test_a_variant_that_fails_is_left_out_and_named_and_the_others_go_on():
    sitter = Sitter()
    broken = ClockedRunner(sitter.clock, "broken", scores={"accuracy": lambda item: math.nan})

    comparison = sitter.compare(
        ClockedRunner(sitter.clock, "a"), broken, ClockedRunner(sitter.clock, "b"), protocol=Protocol(rounds=3)
    )

    assert list(comparison.evidence) == ["a", "b"]
    assert "a score of accuracy is not a finite number" in comparison.failed["broken"]
    assert [r.status for r in sitter.receipts if r.variant == "broken"] == [RunStatus.FAILED]


@pytest.mark.parametrize("options", [{}, {"essential": ["broken"]}])
def test_one_that_the_comparison_cannot_do_without_ends_it(options):
    sitter = Sitter()
    runners = [ClockedRunner(sitter.clock, name) for name in ("a", "b")]
    broken = ClockedRunner(sitter.clock, "broken", scores={"accuracy": lambda item: math.nan})
    # Without more said, the first is the one that everything is held against.
    order = [*runners, broken] if options else [broken, *runners]

    with pytest.raises(ModelError, match="broken"):
        sitter.compare(*order, **options)


def test_a_setting_is_held_around_every_warm_up_and_round_of_its_variant_and_let_go_in_between():
    sitter, held = Sitter(), []

    @contextmanager
    def around(variant):
        held.append(variant.name)
        yield
        held.append(f"{variant.name} let go")

    runners = [ClockedRunner(sitter.clock, name) for name in "ab"]
    sitter.compare(*runners, protocol=Protocol(rounds=2), around=around)

    entered, left = held[::2], held[1::2]
    assert [f"{name} let go" for name in entered] == left
    # A warm-up, two rounds, and for the first one two more as its own noise floor.
    assert (entered.count("a"), entered.count("b")) == (5, 3)


def test_what_a_task_counts_is_summed_over_rounds_and_their_repeats():
    sitter = Sitter(update_s=0.1)
    runner = ClockedRunner(sitter.clock, "llm", item_s=0.005, counts={"tokens_out": 3.0, "decode_s": 0.004})

    evidence = sitter.compare(runner, protocol=Protocol(rounds=3)).evidence["llm"]

    assert evidence.counts["tokens_out"] == pytest.approx(3.0 * evidence.units)
    assert evidence.counts["decode_s"] == pytest.approx(0.004 * evidence.units)


@pytest.mark.parametrize("count", [math.nan, -1.0])
def test_counts_that_are_no_counts_are_the_models_fault(count):
    sitter = Sitter()
    with pytest.raises(ModelError, match="tokens_out"):
        sitter.compare(ClockedRunner(sitter.clock, "llm", counts={"tokens_out": count}))


# --- stopping early ---------------------------------------------------------------------------------


def test_a_clear_difference_stops_the_rounds_and_quality_is_that_of_the_items_run_by_then():
    sitter = Sitter(trace=noisy_trace(np.random.default_rng(1), seconds=300.0))
    runners = [ClockedRunner(sitter.clock, name, item_s=item_s) for name, item_s in (("a", 0.05), ("b", 0.15))]

    comparison = sitter.compare(*runners, n_items=240, protocol=Protocol(rounds=20, precision=0.01))

    assert comparison.stopped.reasons == {"b": "decided"}
    assert 4 <= comparison.stopped.rounds < comparison.stopped.planned == 20
    b = comparison.evidence["b"]
    assert b.units.size == len(comparison.order) == comparison.stopped.rounds
    assert b.items.size == b.latency_ms.size == b.scores["accuracy"].size == 12 * comparison.stopped.rounds
    assert np.isfinite(b.scores["accuracy"]).all()
    assert comparison.ratio_confidence(0.95) > 0.95


def test_without_a_precision_all_rounds_run_and_the_level_is_the_one_asked_for():
    sitter = Sitter()
    comparison = sitter.compare(*(ClockedRunner(sitter.clock, name) for name in "ab"))
    assert comparison.stopped is None
    assert len(comparison.order) == 6
    assert comparison.ratio_confidence(0.95) == 0.95


# --- calibration ------------------------------------------------------------------------------------


def noisy_trace(rng, seconds=60.0, step_s=0.1):
    """Power of a shared machine: warming up, slow drift, correlated jitter, and bursts of somebody else's work.

    The sizes are made up, of the order that counters of small servers show; the pattern is what matters.
    """
    t_s = np.arange(0.0, seconds, step_s)
    drift_w = 4 * (1 - np.exp(-t_s / 20)) + np.cumsum(rng.normal(0, 0.05, t_s.size))
    jitter_w = np.zeros(t_s.size)
    for i in range(1, t_s.size):
        jitter_w[i] = 0.8 * jitter_w[i - 1] + rng.normal(0, 1.0)
    bursts_w = np.zeros(t_s.size)
    for start in np.flatnonzero(rng.random(t_s.size) < 0.01):
        bursts_w[start : start + int(rng.integers(2, 20))] += 5 * rng.pareto(2.5)
    base_w = np.where(t_s < 3.0, HUM_W, HUM_W + WORK_W)
    # Points lie between the samples of the session, as those of a real counter would.
    at_s = np.append(0.0, t_s[1:] + 0.0137)
    return list(zip(at_s.tolist(), np.maximum(base_w + drift_w + jitter_w + bursts_w, 1.0).tolist(), strict=True))


def calls_a_difference(seed, item_s=0.05):
    rng = np.random.default_rng([2026, seed])
    sitter = Sitter(noisy_trace(rng))

    def slower_now_and_then():
        return float(np.exp(0.1 * rng.standard_t(3)))

    first = ClockedRunner(sitter.clock, "first", item_s=0.05, noise=slower_now_and_then)
    second = ClockedRunner(sitter.clock, "second", item_s=item_s, noise=slower_now_and_then)
    evidence = sitter.compare(first, second, n_items=240, protocol=Protocol(rounds=12, seed=seed)).evidence
    ratio = log_ratio(evidence["second"].energy_j_per_unit, evidence["first"].energy_j_per_unit)
    return not ratio.bounds(0.95).contains(0.0)


def test_of_forty_comparisons_of_a_variant_with_itself_at_most_four_call_a_difference():
    assert sum(calls_a_difference(seed) for seed in range(40)) <= 4


@pytest.mark.slow
def test_false_alarms_come_about_as_often_as_the_confidence_says():
    # Three standard errors of a proportion of 0.05 in 400 trials are 0.033.
    assert sum(calls_a_difference(seed) for seed in range(400)) / 400 == pytest.approx(0.05, abs=0.033)


def test_a_difference_of_a_sixth_is_called_through_the_same_noise():
    assert sum(calls_a_difference(seed, item_s=0.05 * 7 / 6) for seed in range(20)) >= 18
