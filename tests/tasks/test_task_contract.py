"""What every task keeps, whatever it runs."""

from __future__ import annotations

import math
import pickle
from dataclasses import replace

import numpy as np
import pytest

from outweigh.core.errors import ModelError, TaskError, UsageError
from outweigh.core.variant import Variant
from outweigh.ports import TaskAdapter, TeachesLevers
from outweigh.registry import tasks


def loaded(bench, **options):
    task = tasks.get(bench.task)()
    task.load(bench.spec(**options), bench.root)
    return task


def ready(task, variant):
    runner = task.runner(variant)
    runner.fit()
    return runner


def used(runner):
    runner.fit()
    return runner.run(range(4))


def test_it_is_found_by_its_name_and_keeps_the_port(bench):
    task = loaded(bench)

    assert isinstance(task, TaskAdapter)
    assert task.name == bench.task
    assert task.probe().name == bench.task
    assert task.probe().usable
    assert task.n_items > 1
    assert len(set(task.metrics)) == len(task.metrics) > 0


def test_the_hash_is_the_same_each_time_and_another_when_an_item_changes(bench):
    before = loaded(bench).content_hash

    assert len(before) == 64
    assert loaded(bench).content_hash == before
    bench.changes()
    assert loaded(bench).content_hash != before


def test_a_copy_of_an_item_changes_nothing(bench):
    before = loaded(bench)
    bench.copies()
    after = loaded(bench)

    assert after.n_items == before.n_items
    assert after.content_hash == before.content_hash


def test_items_are_answered_in_the_order_asked_with_a_score_a_metric(bench):
    task = loaded(bench)
    runner = ready(task, bench.good)

    whole = runner.run(range(task.n_items))
    part = runner.run([5, 3, 8])
    runner.close()

    assert part.items == (5, 3, 8)
    assert set(whole.scores) == set(task.metrics)
    for metric in task.metrics:
        assert part.scores[metric] == tuple(whole.scores[metric][item] for item in (5, 3, 8))
        assert all(score is None or math.isfinite(score) for score in whole.scores[metric])
    assert all(latency > 0 for latency in whole.latency_ms)
    assert all(len(values) == task.n_items and min(values) >= 0 for values in whole.counts.values())


def test_a_good_model_does_better_than_none(bench):
    task = loaded(bench)
    runner = ready(task, bench.good)

    scores = runner.run(range(task.n_items)).scores[task.metrics[0]]
    runner.close()

    # Half of the sums and numbers have the answer that counts as right; the other tasks can be solved whole.
    assert np.mean(scores) >= 0.5


def test_the_runner_carries_a_content_hash_that_goes_by_the_model_not_by_its_name(bench):
    task = loaded(bench)
    first, second = (task.runner(replace(bench.good, name=name)) for name in ("one", "other"))

    assert len(first.variant.content_hash) == 64
    assert first.variant.name == "one"
    assert first.variant.content_hash == second.variant.content_hash
    first.close()
    second.close()


def test_twelve_items_can_be_run(bench):
    bench.short(12)
    options = {"train": 6} if "train" in bench.options else {}
    task = loaded(bench, **options)
    runner = ready(task, bench.good)

    results = runner.run(range(task.n_items))
    runner.close()

    assert 2 <= task.n_items <= 12
    assert len(results.latency_ms) == task.n_items


def test_answers_that_are_not_finite_are_a_model_error_that_says_so(bench):
    if bench.broken is None:
        pytest.skip("a server sends its answers as text; its likelihoods are tested on their own")
    task = loaded(bench)
    runner = task.runner(bench.broken)

    with pytest.raises(ModelError, match="not finite") as caught:
        used(runner)

    runner.close()
    assert caught.value.variant == "broken"
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)


def test_asking_before_loading_is_a_usage_error(bench):
    task = tasks.get(bench.task)()

    for ask in (lambda: task.n_items, lambda: task.metrics, lambda: task.content_hash, lambda: task.runner(bench.good)):
        with pytest.raises(UsageError, match="no data"):
            ask()


def test_a_closed_runner_says_so_and_closes_twice(bench):
    runner = loaded(bench).runner(bench.good)
    runner.close()
    runner.close()

    with pytest.raises(UsageError, match="was closed"):
        runner.fit()
    with pytest.raises(UsageError, match="was closed"):
        runner.run([0])


def test_unknown_options_are_refused_with_a_remedy(bench):
    with pytest.raises(TaskError, match="unknown option 'sead'") as of_task:
        loaded(bench, sead=1)
    options = Variant.freeze_options(dict(bench.good.options) | {"thraeds": 1})
    with pytest.raises(ModelError, match="unknown option 'thraeds'") as of_variant:
        loaded(bench).runner(replace(bench.good, options=options))

    assert "seed" in of_task.value.remedy
    assert "threads" in of_variant.value.remedy


def test_a_missing_data_set_and_a_missing_model_say_so(bench):
    task = tasks.get(bench.task)()
    with pytest.raises(TaskError, match="data set: 'nowhere' does not exist"):
        task.load(replace(bench.spec(), dataset="nowhere"), bench.root)
    if not bench.good.model.startswith("http"):
        with pytest.raises(ModelError, match=r"does not exist|cannot be read"):
            loaded(bench).runner(replace(bench.good, model=str(bench.root / "none.onnx")))


def test_levers_are_taught_from_the_training_split_alone(bench):
    task = loaded(bench)
    if not isinstance(task, TeachesLevers):
        assert bench.task in ("language-model", "command")
        return

    fed = list(task.feeds(bench.good, 5))
    inputs, targets = task.examples()
    held_out = {item.digest for item in task._loaded.evaluation}

    assert len(fed) == 5
    assert all(array.shape[0] == 1 for feed in fed for array in feed.values())
    assert len(inputs) == len(targets) == bench.options["train"]
    assert targets.dtype == np.int64
    assert not held_out & {item.digest for item in task._loaded.train}
    assert all(
        np.array_equal(a, b) for first, again in zip(fed, task.feeds(bench.good, 5), strict=True)
        for a, b in zip(first.values(), again.values(), strict=True)
    )  # fmt: skip
