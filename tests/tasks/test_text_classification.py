from __future__ import annotations

import json
import pickle
import sys
from dataclasses import replace

import numpy as np
import pytest

from outweigh.backends.tasks.text_classification import TextClassification
from outweigh.core.errors import MissingExtra, ModelError, TaskError, UsageError
from outweigh.core.variant import Variant
from outweigh.ports import TaskAdapter
from outweigh.registry import levers, tasks

pytest.importorskip("onnxruntime")
pytest.importorskip("sklearn")


@pytest.fixture
def loaded(tmp_path, corpus, spec):
    def make(**options):
        task = TextClassification()
        task.load(spec(**options), tmp_path)
        return task

    return make


def variant(path, name="v", **options):
    return Variant(name, str(path), options=Variant.freeze_options(options))


def scores_of(runner):
    runner.fit()
    return runner.run(range(60))


# --- the contract of the port -----------------------------------------------------------------------


def test_the_adapter_is_found_by_its_name_and_keeps_the_port(tmp_path, corpus, spec):
    adapter = tasks.get("text-classification")()
    adapter.load(spec(), tmp_path)

    assert isinstance(adapter, TaskAdapter)
    assert adapter.name == "text-classification"
    assert adapter.probe().usable


def test_a_runner_answers_the_items_it_was_asked_in_that_order(loaded, encoder):
    task = loaded()
    runner = task.runner(variant(encoder()))
    runner.fit()

    whole = runner.run(range(task.n_items))
    part = runner.run([5, 3, 8])

    assert task.n_items == 60
    assert part.items == (5, 3, 8)
    assert part.scores["accuracy"] == tuple(whole.scores["accuracy"][item] for item in (5, 3, 8))
    assert all(latency > 0 for latency in whole.latency_ms)
    assert set(whole.scores) == set(task.metrics)


def test_topics_told_apart_by_their_words_are_learnt(loaded, encoder):
    results = scores_of(loaded().runner(variant(encoder())))

    assert np.mean(results.scores["accuracy"]) > 0.95


def test_recall_counts_the_items_of_its_class_only_and_adds_up_to_accuracy(loaded, encoder):
    results = scores_of(loaded(train=9).runner(variant(encoder())))

    recalls = [results.scores[f"recall_{topic}"] for topic in ("cooking", "sailing", "weaving")]
    for accuracy, *of_classes in zip(results.scores["accuracy"], *recalls, strict=True):
        assert [score for score in of_classes if score is not None] == [accuracy]


def test_fitting_again_gives_the_same_answers(loaded, encoder):
    runner = loaded(train=9).runner(variant(encoder()))

    assert scores_of(runner).scores == scores_of(runner).scores


def test_a_runner_must_be_fitted_before_and_not_closed(loaded, encoder):
    runner = loaded().runner(variant(encoder()))

    with pytest.raises(UsageError, match="no head yet"):
        runner.run([0])
    runner.close()
    runner.close()
    with pytest.raises(UsageError, match="was closed"):
        runner.fit()


def test_shuffled_labels_bring_quality_down_to_chance(loaded, encoder):
    task = loaded(control="shuffled-labels")

    accuracy = np.mean(scores_of(task.runner(variant(encoder()))).scores["accuracy"])

    # Three classes of equal size: 1/3, with a binomial standard deviation of 0.061 over 60 items.
    assert abs(accuracy - 1 / 3) < 3 * 0.061
    assert task.content_hash != loaded().content_hash


# --- hashes -----------------------------------------------------------------------------------------


def test_the_same_model_under_two_names_has_one_content_hash(loaded, encoder):
    task = loaded()
    first = task.runner(variant(encoder(name="a.onnx"), "a"))
    second = task.runner(variant(encoder(name="b.onnx"), "b", output="tokens", pooling="mean", threads=1))

    assert first.variant.name == "a"
    assert len(first.variant.content_hash) == 64
    assert first.variant.content_hash == second.variant.content_hash


@pytest.mark.parametrize("options", [{"pooling": "cls"}, {"threads": 2}, {"max_tokens": 12}, {"output": "pooled"}])
def test_an_option_that_changes_behaviour_or_cost_changes_the_content_hash(loaded, encoder, options):
    task, model = loaded(), encoder(outputs=("tokens", "pooled"))

    assert (
        task.runner(variant(model)).variant.content_hash != task.runner(variant(model, **options)).variant.content_hash
    )


def test_weights_kept_beside_the_model_are_part_of_its_content_hash(loaded, encoder, tmp_path):
    import onnx

    model = onnx.load(encoder())
    onnx.save(model, tmp_path / "split.onnx", save_as_external_data=True, location="weights.bin", size_threshold=0)
    task = loaded()
    before = task.runner(variant(tmp_path / "split.onnx")).variant.content_hash
    weights = bytearray((tmp_path / "weights.bin").read_bytes())
    weights[0] ^= 1
    (tmp_path / "weights.bin").write_bytes(weights)

    assert task.runner(variant(tmp_path / "split.onnx")).variant.content_hash != before


def test_the_task_hash_pins_texts_labels_split_seed_and_tokenizer(loaded, corpus, tokenizer_file):
    pinned = loaded().content_hash

    assert loaded().content_hash == pinned
    assert loaded(seed=1).content_hash != pinned
    assert loaded(train=61).content_hash != pinned
    assert loaded(max_tokens=12).content_hash != pinned
    (corpus / "cooking" / "000.txt").rename(corpus / "cooking" / "renamed.txt")
    assert loaded().content_hash == pinned
    (corpus / "cooking" / "renamed.txt").rename(corpus / "sailing" / "moved.txt")
    assert loaded().content_hash != pinned
    (corpus / "sailing" / "moved.txt").rename(corpus / "cooking" / "000.txt")
    tokenizer = json.loads(tokenizer_file.read_text())
    tokenizer_file.write_text(json.dumps(tokenizer, indent=1))
    assert loaded().content_hash != pinned


# --- outputs and pooling ----------------------------------------------------------------------------


def embedding(task, model, **options):
    return task._encoder(variant(model, **options))[2].embed("simmer the broth")


def test_token_embeddings_are_found_among_the_outputs_and_averaged(loaded, encoder):
    task = loaded()
    model = encoder(outputs=("mask", "pooled", "tokens"))

    chosen = embedding(task, model)

    assert chosen.shape == (48,)
    assert chosen == pytest.approx(embedding(task, model, output=2, pooling="mean"))
    # The graph's own "pooled" is the mean over tokens too; float32 there, float64 here.
    assert chosen == pytest.approx(embedding(task, model, output="pooled"), rel=1e-5, abs=1e-6)
    assert chosen != pytest.approx(embedding(task, model, pooling="cls"))


def test_only_declared_inputs_are_fed_in_the_type_they_have(loaded, encoder):
    import onnx

    task = loaded()
    names = ("input_ids", "attention_mask", "token_type_ids")

    found = [
        embedding(task, encoder(inputs=names[:1])),
        embedding(task, encoder(inputs=names)),
        embedding(task, encoder(inputs=names, kind=onnx.TensorProto.INT32)),
    ]

    assert found[1] == pytest.approx(found[0])
    assert found[2] == pytest.approx(found[0])


def test_padding_of_the_tokenizer_is_off_and_texts_are_cut_at_max_tokens(loaded, encoder):
    task = loaded()
    tokens = task._tokens({"max_tokens": 8})

    assert len(task._tokens({}).tokenizer().encode("simmer the broth").ids) == 5
    assert len(tokens.tokenizer().encode("the " * 50).ids) == 8


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"output": 7}, "no output 7"),
        ({"output": "nope"}, "no output 'nope'"),
        ({"output": True}, "no output True"),
        ({"pooling": "max"}, "pooling 'max' is not known"),
        ({"pooling": "none"}, "which pooling 'none' cannot use"),
        ({"output": "pooled", "pooling": "mean"}, "which pooling 'mean' cannot use"),
        ({"output": "mask"}, "not finite|cannot use"),
        ({"poolin": "mean"}, "Did you mean 'pooling'"),
    ],
)
def test_an_output_that_is_no_embedding_is_refused_with_what_the_model_gives(loaded, encoder, options, problem):
    task, model = loaded(), encoder(outputs=("tokens", "pooled", "mask"))

    with pytest.raises(ModelError, match=problem) as caught:
        task.runner(variant(model, **options)).fit()

    assert caught.value.remedy


# --- models that are none ---------------------------------------------------------------------------


@pytest.mark.parametrize("content", [b"", b"not a model", b"\x08\x08"])
def test_a_file_that_is_not_onnx_is_a_model_error_and_nothing_is_printed(loaded, tmp_path, capfd, content):
    (tmp_path / "broken.onnx").write_bytes(content)

    with pytest.raises(ModelError, match=r"variant v: broken.onnx is not a usable ONNX model") as caught:
        loaded().runner(variant(tmp_path / "broken.onnx"))

    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)
    assert capfd.readouterr() == ("", "")


def test_a_model_that_is_not_there_says_so(loaded, tmp_path):
    with pytest.raises(ModelError, match="does not exist"):
        loaded().runner(variant(tmp_path / "none.onnx"))


def test_a_model_that_wants_something_else_than_text_is_refused(loaded, encoder):
    with pytest.raises(ModelError, match=r"it wants pixels tensor\(int64\)"):
        loaded().runner(variant(encoder(inputs=("pixels",))))


def test_embeddings_that_are_not_finite_are_refused(loaded, encoder):
    with pytest.raises(ModelError, match="not finite"):
        loaded().runner(variant(encoder(fill=float("nan")))).fit()


def test_a_tokenizer_of_another_model_is_a_model_error_and_nothing_is_printed(loaded, encoder, capfd):
    with pytest.raises(ModelError, match="fails on a text") as caught:
        loaded().runner(variant(encoder(vocabulary=5))).fit()

    assert "tokenizer" in caught.value.remedy
    assert capfd.readouterr() == ("", "")


# --- data and options that cannot be ----------------------------------------------------------------


def test_a_missing_data_set_or_tokenizer_is_a_task_error(tmp_path, corpus, spec):
    with pytest.raises(TaskError, match="data set: 'nowhere' does not exist"):
        TextClassification().load(spec("nowhere"), tmp_path)
    with pytest.raises(TaskError, match=r"tokenizer: 'none.json' does not exist"):
        TextClassification().load(spec(tokenizer="none.json"), tmp_path)


def test_a_file_that_is_no_tokenizer_is_a_task_error(tmp_path, corpus, spec):
    (tmp_path / "t.json").write_text("{}")

    with pytest.raises(TaskError, match=r"t.json is not a tokenizer"):
        TextClassification().load(spec(tokenizer="t.json"), tmp_path)


def test_a_variant_may_bring_its_own_tokenizer_and_needs_one_from_somewhere(loaded, encoder, tokenizer_file):
    task = loaded(tokenizer="")

    with pytest.raises(TaskError, match="no tokenizer for v"):
        task.runner(variant(encoder()))
    assert task.runner(variant(encoder(), tokenizer=str(tokenizer_file))).variant.content_hash


@pytest.mark.parametrize(
    ("options", "problem"),
    [
        ({"max_tokens": 0}, "max_tokens is 0"),
        ({"max_tokens": "many"}, "max_tokens is 'many'"),
        ({"train": True}, "train is True"),
        ({"seed": -1}, "seed is -1"),
        ({"maxtokens": 5}, "Did you mean 'max_tokens'"),
        ({"control": "noise"}, "control is 'noise'"),
        ({"train": 119}, "too few"),
    ],
)
def test_options_that_cannot_be_are_refused(loaded, options, problem):
    with pytest.raises(TaskError, match=problem) as caught:
        loaded(**options)

    assert caught.value.remedy


def test_a_set_with_one_class_is_refused(tmp_path, corpus, spec):
    for topic in ("sailing", "weaving"):
        for file in (corpus / topic).iterdir():
            file.unlink()

    with pytest.raises(TaskError, match="quality set with one class"):
        TextClassification().load(spec(train=10), tmp_path)


def test_asking_before_loading_is_a_usage_error():
    with pytest.raises(UsageError, match="no data"):
        _ = TextClassification().n_items


def test_a_missing_package_is_named_with_the_extra_that_brings_it(loaded, encoder, monkeypatch):
    task, model = loaded(), encoder()
    monkeypatch.setitem(sys.modules, "onnxruntime", None)

    with pytest.raises(MissingExtra, match=r"onnxruntime.*outweigh\[onnx\]"):
        task.runner(variant(model))


# --- with the lever ---------------------------------------------------------------------------------


def test_a_quantised_encoder_answers_as_its_original_does(loaded, encoder, tmp_path, capfd):
    task = loaded()
    original = variant(encoder(), "original")
    quantised = replace(levers.get("quantize:int8-dynamic")().apply(original, tmp_path / "made"), name="quantised")

    before, after = (np.mean(scores_of(task.runner(v)).scores["accuracy"]) for v in (original, quantised))

    assert after == pytest.approx(before, abs=0.05)
    assert capfd.readouterr() == ("", "")
