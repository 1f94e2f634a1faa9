from __future__ import annotations

import pickle

import numpy as np
import pytest

from outweigh.core.errors import ModelError, TaskError
from outweigh.core.variant import Variant
from outweigh.registry import tasks


def variant(model, **options):
    return Variant("v", str(model), options=Variant.freeze_options(options))


@pytest.fixture
def loaded(table_bench):
    def make(**options):
        task = tasks.get("tabular")()
        task.load(table_bench.spec(**options), table_bench.root)
        return task

    return make


class Trap:
    """A pickle of this writes a file when it is read."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (open, (self.path, "w"))


def test_a_pickle_is_not_read_without_an_explicit_word(loaded, tmp_path):
    (tmp_path / "trap.pkl").write_bytes(pickle.dumps(Trap(str(tmp_path / "sprung"))))

    for name in ("trap.pkl",):
        with pytest.raises(ModelError, match="runs whatever code it holds") as caught:
            loaded().runner(variant(tmp_path / name))

    assert not (tmp_path / "sprung").exists()
    assert "unpickle = true" in caught.value.remedy


def test_an_estimator_of_ones_own_is_read_from_a_pickle_when_told_to(loaded, tmp_path):
    linear = pytest.importorskip("sklearn.linear_model")
    joblib = pytest.importorskip("joblib")
    task = loaded()
    features, places = task.examples()
    fitted = linear.LogisticRegression(C=1e4).fit(features, np.array(task.classes)[places])
    joblib.dump(fitted, tmp_path / "model.joblib")

    runner = task.runner(variant(tmp_path / "model.joblib", unpickle=True, batch=4))

    assert np.mean(runner.run(range(task.n_items)).scores["accuracy"]) > 0.9


@pytest.mark.frameworks
def test_a_skops_file_is_read_where_each_type_is_known_and_refused_where_not(loaded, tmp_path, needs_package):
    needs_package("skops", "sklearn")
    import skops.io
    from sklearn.linear_model import LogisticRegression
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import FunctionTransformer

    task = loaded()
    features, places = task.examples()
    labels = np.array(task.classes)[places]
    skops.io.dump(LogisticRegression(C=1e4).fit(features, labels), tmp_path / "plain.skops")
    strange = make_pipeline(FunctionTransformer(np.nan_to_num), LogisticRegression()).fit(features, labels)
    skops.io.dump(strange, tmp_path / "strange.skops")

    runner = task.runner(variant(tmp_path / "plain.skops"))

    assert np.mean(runner.run(range(task.n_items)).scores["accuracy"]) > 0.9
    if skops.io.get_untrusted_types(file=tmp_path / "strange.skops"):
        with pytest.raises(ModelError, match="types that are not trusted"):
            task.runner(variant(tmp_path / "strange.skops"))
    assert task.runner(variant(tmp_path / "strange.skops", trust=True)).run([0]).items == (0,)
    (tmp_path / "broken.skops").write_bytes(b"not zip")
    with pytest.raises(ModelError, match="not a usable skops file"):
        task.runner(variant(tmp_path / "broken.skops"))


def test_r2_is_the_coefficient_of_determination_over_all_items(table_bench, tmp_path):
    metrics = pytest.importorskip("sklearn.metrics")
    linear = pytest.importorskip("sklearn.linear_model")
    joblib = pytest.importorskip("joblib")
    chance = np.random.default_rng(2)
    a = chance.normal(size=200)
    y = 3 * a + chance.normal(size=200)
    lines = [f"{x:.6f},{target:.6f}" for x, target in zip(a, y, strict=True)]
    (tmp_path / "rows.csv").write_text("a,y\n" + "\n".join(lines) + "\n")
    task = tasks.get("tabular")()
    task.load(table_bench.spec(target="y", kind="regression", train=100), tmp_path)
    model = linear.LinearRegression().fit(*task.examples())
    joblib.dump(model, tmp_path / "m.joblib")

    scores = task.runner(variant(tmp_path / "m.joblib", unpickle=True)).run(range(task.n_items)).scores

    held = task._split.evaluation
    truth = np.array([float(row.label) for row in held])
    answers = model.predict(np.stack([row.features for row in held]))
    assert np.mean(scores["r2"]) == pytest.approx(metrics.r2_score(truth, answers))
    assert np.mean(scores["negative_absolute_error"]) == pytest.approx(-metrics.mean_absolute_error(truth, answers))
    assert task.metrics == ("r2", "negative_absolute_error")


@pytest.mark.parametrize(
    ("content", "options", "problem"),
    [
        ("a,big\n1,yes\n", {"target": "bigg"}, "no column 'bigg'"),
        ("a,big\nred,yes\n", {}, "a is 'red', no number"),
        ("a,big\n1,\n", {}, "has no 'big'"),
        ("big\nyes\n", {}, "no rows of features"),
        ("a,big\n1,yes\n2,yes\n", {}, "quality set with one class"),
        ("a,big\n1,yes\n2,no\n", {"kind": "regression"}, "a target is no number"),
        ("a,big\n1,5\n2,5\n", {"kind": "regression"}, "all the same"),
        ("a,big\n1,yes\n", {"kind": "ranking"}, "kind is 'ranking'"),
    ],
)
def test_tables_that_cannot_be_judged_are_refused(table_bench, tmp_path, content, options, problem):
    (tmp_path / "rows.csv").write_text(content)
    task = tasks.get("tabular")()

    with pytest.raises(TaskError, match=problem) as caught:
        task.load(table_bench.spec(**options), tmp_path)

    assert caught.value.remedy


def test_columns_can_be_left_out(table_bench, tmp_path):
    rows = [f"{n % 7},{n},name{n},{'yes' if n % 2 else 'no'}" for n in range(80)]
    (tmp_path / "rows.csv").write_text("a,b,who,big\n" + "\n".join(rows))
    task = tasks.get("tabular")()

    task.load(table_bench.spec(drop="who"), tmp_path)

    assert task.examples()[0].shape == (30, 2)


def test_runtime_options_are_refused_where_there_is_no_graph(loaded, tmp_path):
    (tmp_path / "m.pkl").write_bytes(b"")

    with pytest.raises(ModelError, match="are for ONNX models"):
        loaded().runner(variant(tmp_path / "m.pkl", unpickle=True, runtime="openvino"))
